//! One connection: requests go out at once, answers come in any order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::frame::{self, Frame};
use super::reply::{Hearing, Request};

/// Bytes that a peer has not taken yet; a hung one must not fill our memory.
const MOST_WAITING: usize = 32 << 20;
/// A peer that has said nothing for as long as this, although it was asked, may be gone.
const SILENT: Duration = Duration::from_secs(10);

/// A connection to a broker or name server.
pub(super) struct Connection {
    shared: Arc<Shared>,
    reader: tokio::task::JoinHandle<()>,
    writer: tokio::task::JoinHandle<()>,
}

struct Shared {
    outgoing: Mutex<BytesMut>,
    write: OwnedWriteHalf,
    /// There is something that could not be written at once.
    left: Notify,
    /// `None` once the connection is closed.
    waiting: Mutex<Option<HashMap<i32, oneshot::Sender<Frame>>>>,
    /// When something came last.
    heard: Mutex<Instant>,
    /// Why it was closed.
    why: Mutex<String>,
    next: AtomicI32,
}

/// Forgets a request that nobody waits for any more.
struct Forget<'a>(&'a Shared, i32);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = lock(&self.0.waiting).as_mut() {
            waiting.remove(&self.1);
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The request did not leave.
    NotSent(String),
    /// Whether it arrived is open.
    Closed(String),
    TimedOut,
}

impl Connection {
    pub async fn open(address: &str, deadline: Duration, hearing: Hearing) -> std::io::Result<Self> {
        let timed_out =
            || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no connection within {} ms", deadline.as_millis()));
        let stream = tokio::time::timeout(deadline, TcpStream::connect(address)).await.map_err(|_| timed_out())??;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let shared = Arc::new(Shared {
            outgoing: Mutex::default(),
            write,
            left: Notify::new(),
            waiting: Mutex::new(Some(HashMap::new())),
            heard: Mutex::new(Instant::now()),
            why: Mutex::default(),
            next: AtomicI32::new(1),
        });
        let (theirs, ours) = (Arc::clone(&shared), Arc::clone(&shared));
        let reader = tokio::spawn(async move {
            let why = read_all(&theirs, read, &hearing).await;
            theirs.close(why);
        });
        let writer = tokio::spawn(async move {
            let why = write_left(&ours).await;
            ours.close(why);
        });
        Ok(Self { shared, reader, writer })
    }

    pub fn is_open(&self) -> bool {
        lock(&self.shared.waiting).is_some()
    }

    pub async fn call(&self, request: &Request, deadline: Duration) -> Result<Frame, NoAnswer> {
        let opaque = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        match lock(&self.shared.waiting).as_mut() {
            Some(waiting) => waiting.insert(opaque, sender),
            None => return Err(NoAnswer::NotSent(self.shared.why())),
        };
        let _forget = Forget(&self.shared, opaque);
        if lock(&self.shared.outgoing).len() > MOST_WAITING {
            return Err(NoAnswer::NotSent(format!("it has not taken {MOST_WAITING} bytes that wait for it")));
        }
        let begun = Instant::now();
        let fields = request.fields.iter().map(|(name, value)| (*name, value.as_str()));
        self.shared.write(|to| frame::encode(to, (request.code, opaque, false), "", fields, &request.body));
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(frame)) => Ok(frame),
            Ok(Err(_closed)) => Err(NoAnswer::Closed(self.shared.why())),
            Err(_) => {
                // Perhaps its host is gone without a word: the next request tries another connection.
                if begun.elapsed() >= SILENT && *lock(&self.shared.heard) < begun {
                    self.shared.close(format!("nothing came for {} s", begun.elapsed().as_secs()));
                }
                Err(NoAnswer::TimedOut)
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}

impl Shared {
    /// Writes at once what the socket takes: waking a task for it would cost more than the writing.
    fn write(&self, encode: impl FnOnce(&mut BytesMut)) {
        let mut outgoing = lock(&self.outgoing);
        let first = outgoing.is_empty();
        encode(&mut outgoing);
        if first && !self.flush(&mut outgoing) {
            self.left.notify_one();
        }
    }

    /// `false` if there is something left. A connection that broke is noticed by its reader.
    fn flush(&self, outgoing: &mut BytesMut) -> bool {
        while !outgoing.is_empty() {
            match self.write.try_write(outgoing) {
                Ok(count) if count > 0 => outgoing.advance(count),
                Ok(_) | Err(_) => return false,
            }
        }
        true
    }

    fn close(&self, why: String) {
        let mut known = lock(&self.why);
        if known.is_empty() {
            *known = why;
        }
        drop(known);
        // Whoever waits hears of it.
        lock(&self.waiting).take();
    }

    fn why(&self) -> String {
        lock(&self.why).clone()
    }
}

/// Until the connection is closed; says why.
async fn read_all(shared: &Shared, mut read: OwnedReadHalf, hearing: &Hearing) -> String {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        match read.read_buf(&mut buffer).await {
            Ok(0) => return "it closed the connection".to_owned(),
            Ok(_) => *lock(&shared.heard) = Instant::now(),
            Err(error) => return error.to_string(),
        }
        loop {
            match frame::decode(&mut buffer) {
                Ok(Some(frame)) => take(shared, frame, hearing),
                Ok(None) => break,
                Err(why) => return format!("it does not speak RocketMQ's protocol: {why}"),
            }
        }
    }
}

fn take(shared: &Shared, frame: Frame, hearing: &Hearing) {
    if frame.is_response() {
        let waiting = lock(&shared.waiting).as_mut().and_then(|waiting| waiting.remove(&frame.opaque));
        if let Some(waiting) = waiting {
            // It may have given up in this moment.
            let _ = waiting.send(frame);
        }
        return;
    }
    let (opaque, one_way) = (frame.opaque, frame.is_one_way());
    if let Some(answer) = hearing.hear(frame.into())
        && !one_way
    {
        shared.write(|to| frame::encode(to, (answer.code, opaque, true), &answer.remark, std::iter::empty(), &answer.body));
    }
}

/// Writes what could not be written at once; ends when the connection broke.
async fn write_left(shared: &Shared) -> String {
    loop {
        shared.left.notified().await;
        loop {
            if let Err(error) = shared.write.writable().await {
                return error.to_string();
            }
            let mut outgoing = lock(&shared.outgoing);
            match shared.write.try_write(&outgoing) {
                Ok(count) => outgoing.advance(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return error.to_string(),
            }
            if outgoing.is_empty() {
                break;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
