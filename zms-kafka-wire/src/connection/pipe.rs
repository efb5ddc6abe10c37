//! Frames there and back: two tasks own the halves of a stream, so that a caller that gives up never leaves half a frame behind.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Requests that wait to be written; more callers than that wait in line.
const QUEUE: usize = 64;

/// Counts of a connection, or of all connections to a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent.
    pub requests: u64,
    /// Bytes received, with lengths.
    pub bytes: u64,
}

/// Counts that several tasks add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> Traffic {
        Traffic { requests: self.requests.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn sent(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    Silent,
    Lost(String),
    Garbled(String),
}

pub(super) struct Pipe {
    frames: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    waiting: Mutex<Waiting>,
    next_id: AtomicI32,
    own: Counters,
    /// Of all connections to the same cluster, closed ones too.
    all: Arc<Counters>,
}

/// Who waits for which answer; the reason, once there will be no more.
type Waiting = Result<HashMap<i32, oneshot::Sender<Result<Bytes, Failure>>>, Failure>;

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits any longer. The first reason stays.
    fn end(&self, failure: Failure) {
        let mut waiting = self.waiting();
        if waiting.is_err() {
            return;
        }
        if let Ok(callers) = std::mem::replace(&mut *waiting, Err(failure.clone())) {
            for caller in callers.into_values() {
                let _ = caller.send(Err(failure.clone()));
            }
        }
    }
}

/// Takes a caller off the list, however it stops waiting.
struct Wait<'a>(&'a Shared, i32);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Ok(callers) = &mut *self.0.waiting() {
            callers.remove(&self.1);
        }
    }
}

impl Pipe {
    pub fn new<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, max_frame: usize, all: Arc<Counters>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (frames, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Ok(HashMap::new())),
            next_id: AtomicI32::new(1),
            own: Counters::default(),
            all,
        });
        let tasks = [tokio::spawn(write(writer, queue, shared.clone())), tokio::spawn(read(reader, shared.clone(), max_frame))];
        Self { frames, shared, tasks }
    }

    pub fn is_open(&self) -> bool {
        self.shared.waiting().is_ok()
    }

    pub fn traffic(&self) -> Traffic {
        self.shared.own.read()
    }

    pub fn next_id(&self) -> i32 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a frame whose first four bytes are free for its length, and waits for the answer that begins with this id.
    pub async fn exchange(&self, id: i32, mut frame: BytesMut, deadline: Duration) -> Result<Bytes, Failure> {
        let length = i32::try_from(frame.len() - 4).map_err(|_| Failure::Garbled("request above 2 GiB".to_owned()))?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        let (caller, answer) = oneshot::channel();
        match &mut *self.shared.waiting() {
            Ok(callers) => drop(callers.insert(id, caller)),
            Err(failure) => return Err(failure.clone()),
        }
        let _wait = Wait(&self.shared, id);
        let done = async {
            let closed = || Failure::Lost("it was closed".to_owned());
            self.frames.send(frame.freeze()).await.map_err(|_| closed())?;
            self.shared.own.sent();
            self.shared.all.sent();
            answer.await.map_err(|_| closed())?
        };
        tokio::time::timeout(deadline, done).await.unwrap_or(Err(Failure::Silent))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Bytes>, shared: Arc<Shared>) {
    while let Some(frame) = queue.recv().await {
        let mut written = writer.write_all(&frame).await;
        if written.is_ok() {
            written = writer.flush().await;
        }
        if let Err(error) = written {
            return shared.end(Failure::Lost(error.to_string()));
        }
    }
}

async fn read(mut reader: impl AsyncRead + Unpin, shared: Arc<Shared>, max_frame: usize) {
    let failure = loop {
        match read_frame(&mut reader, max_frame).await.and_then(|frame| deliver(&shared, frame)) {
            Ok(()) => {}
            Err(failure) => break failure,
        }
    };
    shared.end(failure);
}

async fn read_frame(mut reader: impl AsyncRead + Unpin, max_frame: usize) -> Result<Bytes, Failure> {
    let lost = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Failure::Lost("the broker closed it".to_owned()),
        _ => Failure::Lost(error.to_string()),
    };
    let length = reader.read_i32().await.map_err(lost)?;
    let length = match usize::try_from(length) {
        Ok(length) if (4..=max_frame).contains(&length) => length,
        // An alert of TLS, read as a length.
        Ok(0x1503_0000..=0x1503_ffff) => return Err(Failure::Garbled("this port speaks TLS".to_owned())),
        _ => return Err(Failure::Garbled(format!("an answer of {length} bytes; 4 to {max_frame} are accepted"))),
    };
    // Grows with what really comes: a length alone costs no memory.
    let mut frame = Vec::with_capacity(length.min(64 << 10));
    let come = (&mut reader).take(length as u64).read_to_end(&mut frame).await.map_err(lost)?;
    if come < length {
        return Err(Failure::Lost(format!("the broker closed it after {come} of {length} bytes of an answer")));
    }
    Ok(Bytes::from(frame))
}

/// Gives an answer to whoever waits for it.
fn deliver(shared: &Shared, frame: Bytes) -> Result<(), Failure> {
    shared.own.received(frame.len() + 4);
    shared.all.received(frame.len() + 4);
    let id = (&frame[..]).get_i32();
    let caller = match &mut *shared.waiting() {
        Ok(callers) => callers.remove(&id),
        Err(failure) => return Err(failure.clone()),
    };
    match caller {
        // Whoever waits may have given up this moment.
        Some(caller) => drop(caller.send(Ok(frame))),
        // Late: the caller's deadline has passed.
        None if (1..shared.next_id.load(Ordering::Relaxed)).contains(&id) => {}
        None => return Err(Failure::Garbled(format!("an answer to request {id}, which was never sent"))),
    }
    Ok(())
}
