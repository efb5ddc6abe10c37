//! One connection: many requests under way, each waits for the answer with its number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::frame::{self, Frame};
use super::pool::Setup;
use super::tls::{self, server_name, split};
use super::{Answer, RemotingError, Request};

/// Frames that wait to be written. Whoever comes then waits too, within its deadline.
const QUEUE: usize = 1024;
/// Frames that wait together are written together, up to so many bytes.
const TOGETHER: usize = 256 << 10;
/// Read at once, at most.
const PIECE: usize = 64 << 10;

/// Waiting for answers, by the number of the request.
type Waiting = HashMap<i32, oneshot::Sender<Answer>>;

/// A connection that was opened; it may have ended since.
pub(super) struct Connection {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Bytes>,
    opaque: AtomicI32,
    tasks: [AbortHandle; 2],
}

struct Shared {
    address: Arc<str>,
    state: Mutex<State>,
    /// Frames that were read. One that reads nothing while something is waited for is dead, though TCP has not noticed.
    heard: AtomicU64,
}

enum State {
    Open(Waiting),
    /// Why.
    Closed(String),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Everybody who waits is told at once: their senders go.
    fn close(&self, why: String) {
        let mut state = self.state();
        if matches!(*state, State::Open(_)) {
            *state = State::Closed(why);
        }
    }

    fn lost(&self, code: i32) -> RemotingError {
        let why = match &*self.state() {
            State::Closed(why) => why.clone(),
            State::Open(_) => "it was closed".to_owned(),
        };
        RemotingError::Lost { address: self.address.to_string(), code, why }
    }
}

/// Takes the waiting entry away however the call ends.
struct Place<'a> {
    shared: &'a Shared,
    opaque: i32,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let State::Open(waiting) = &mut *self.shared.state() {
            waiting.remove(&self.opaque);
        }
    }
}

impl Connection {
    /// Opens one within the deadline.
    pub async fn open(address: &str, setup: &Arc<Setup>) -> Result<Self, RemotingError> {
        let deadline = setup.options.connect_deadline;
        let late =
            || RemotingError::Connect { address: address.to_owned(), why: format!("not within {} ms", deadline.as_millis()) };
        tokio::time::timeout(deadline, Self::connect(address, setup)).await.map_err(|_| late())?
    }

    async fn connect(address: &str, setup: &Arc<Setup>) -> Result<Self, RemotingError> {
        let failed = |error: std::io::Error| RemotingError::Connect { address: address.to_owned(), why: error.to_string() };
        let (host, port) = split(address)?;
        let stream = match &setup.options.networks {
            None => TcpStream::connect((host, port)).await.map_err(failed)?,
            Some(networks) => {
                let found: Vec<_> = tokio::net::lookup_host((host, port)).await.map_err(failed)?.collect();
                let allowed = networks.allowed(&found).map_err(|found| {
                    let outside = "outside the networks in which brokers may be";
                    RemotingError::Options(format!("{address}: {found}: {outside} ({networks})"))
                })?;
                TcpStream::connect(&allowed[..]).await.map_err(failed)?
            }
        };
        stream.set_nodelay(true).map_err(failed)?;
        let Some(tls) = &setup.tls else { return Ok(Self::over(stream, address, setup)) };
        let stream = tls.connect(server_name(host)?, stream).await.map_err(|error| tls::failed(address, &error))?;
        Ok(Self::over(stream, address, setup))
    }

    fn over(stream: impl AsyncRead + AsyncWrite + Send + 'static, address: &str, setup: &Arc<Setup>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let state = Mutex::new(State::Open(Waiting::new()));
        let shared = Arc::new(Shared { address: address.into(), state, heard: AtomicU64::new(0) });
        let (queue, frames) = mpsc::channel(QUEUE);
        let reading = tokio::spawn(read(reader, Arc::clone(&shared), Arc::clone(setup), queue.downgrade()));
        let writing = tokio::spawn(write(writer, Arc::clone(&shared), frames));
        let tasks = [reading.abort_handle(), writing.abort_handle()];
        Self { shared, queue, opaque: AtomicI32::new(1), tasks }
    }

    pub fn is_open(&self) -> bool {
        matches!(*self.shared.state(), State::Open(_))
    }

    /// Asks, and waits for the answer, whatever its code.
    pub async fn call(&self, request: Request, deadline: Duration) -> Result<Answer, RemotingError> {
        let code = request.code;
        let opaque = self.opaque.fetch_add(1, Ordering::Relaxed);
        let bytes = self.encode(Frame::Request { opaque, oneway: false, request }, code)?;
        let (sender, answer) = oneshot::channel();
        let open = match &mut *self.shared.state() {
            State::Open(waiting) => waiting.insert(opaque, sender).is_none(),
            State::Closed(_) => false,
        };
        if !open {
            return Err(self.shared.lost(code));
        }
        let _place = Place { shared: &self.shared, opaque };
        let heard = self.shared.heard.load(Ordering::Relaxed);
        let asked = async {
            self.queue.send(bytes).await.map_err(|_| self.shared.lost(code))?;
            answer.await.map_err(|_| self.shared.lost(code))
        };
        tokio::time::timeout(deadline, asked).await.unwrap_or_else(|_| {
            if self.shared.heard.load(Ordering::Relaxed) == heard {
                self.shared.close(format!("nothing was heard for {} ms", deadline.as_millis()));
            }
            Err(RemotingError::Silent { address: self.shared.address.to_string(), code, deadline })
        })
    }

    /// Tells; nobody answers.
    pub async fn tell(&self, request: Request, deadline: Duration) -> Result<(), RemotingError> {
        let code = request.code;
        let opaque = self.opaque.fetch_add(1, Ordering::Relaxed);
        let bytes = self.encode(Frame::Request { opaque, oneway: true, request }, code)?;
        match tokio::time::timeout(deadline, self.queue.send(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.shared.lost(code)),
            Err(_) => Err(RemotingError::Silent { address: self.shared.address.to_string(), code, deadline }),
        }
    }

    fn encode(&self, frame: Frame, code: i32) -> Result<Bytes, RemotingError> {
        let address = &self.shared.address;
        frame::encode(frame).map_err(|why| RemotingError::Options(format!("{address}: request {code} cannot be written: {why}")))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.shared.close("it was closed by this side".to_owned());
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, shared: Arc<Shared>, setup: Arc<Setup>, queue: mpsc::WeakSender<Bytes>) {
    let mut bytes = BytesMut::new();
    let why = loop {
        match frame::decode(&mut bytes, setup.options.largest_frame) {
            Ok(Some(frame)) => {
                shared.heard.fetch_add(1, Ordering::Relaxed);
                hear(&shared, &setup, &queue, frame);
                continue;
            }
            Ok(None) => {}
            Err(why) => break format!("what came is no frame: {why}"),
        }
        // Grows with what really comes, never by what is announced.
        bytes.reserve(PIECE);
        match stream.read_buf(&mut bytes).await {
            Ok(0) if setup.tls.is_none() && shared.heard.load(Ordering::Relaxed) == 0 => {
                break "the other side closed it without a word, as one that wants TLS does".to_owned();
            }
            Ok(0) => break "the other side closed it".to_owned(),
            Ok(count) => setup.traffic.received(count),
            Err(error) => break error.to_string(),
        }
    };
    shared.close(why);
}

fn hear(shared: &Shared, setup: &Setup, queue: &mpsc::WeakSender<Bytes>, frame: Frame) {
    match frame {
        Frame::Answer { opaque, answer } => {
            let waiting = match &mut *shared.state() {
                State::Open(waiting) => waiting.remove(&opaque),
                State::Closed(_) => None,
            };
            // Nobody waits any more for an answer that is late.
            let _late = waiting.map(|sender| sender.send(answer));
        }
        Frame::Request { opaque, oneway, request } => {
            let code = request.code;
            let Some(answer) = setup.handler.as_deref().and_then(|handler| handler.asked(&shared.address, request)) else {
                return;
            };
            let (false, Some(queue)) = (oneway, queue.upgrade()) else { return };
            let sent = frame::encode(Frame::Answer { opaque, answer }).map(|bytes| queue.try_send(bytes).is_ok());
            if sent != Ok(true) {
                tracing::warn!(address = %shared.address, code, ?sent, "a broker's request was not answered");
            }
        }
    }
}

async fn write(mut stream: impl AsyncWrite + Unpin, shared: Arc<Shared>, mut frames: mpsc::Receiver<Bytes>) {
    let mut bytes = BytesMut::new();
    while let Some(frame) = frames.recv().await {
        bytes.extend_from_slice(&frame);
        while bytes.len() < TOGETHER
            && let Ok(frame) = frames.try_recv()
        {
            bytes.extend_from_slice(&frame);
        }
        let written = async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        };
        if let Err(error) = written.await {
            shared.close(error.to_string());
            return;
        }
        bytes.clear();
        if bytes.capacity() > 4 * TOGETHER {
            bytes = BytesMut::new();
        }
    }
}
