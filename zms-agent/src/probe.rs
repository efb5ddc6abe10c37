//! Asks a process whether it works: the I/O around [`zms_core::probe`].
//!
//! A process that listens and says nothing, says something else, or never ends its answer is not healthy, and each of
//! these has its own sentence.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zms_core::host::Health;
use zms_core::probe::{Probe, REPLY_LIMIT, Verdict};

/// No protocol needs more questions than this; one that does is not understood.
const QUESTIONS: usize = 8;

/// Dials, asks, reads and judges, all of it within `deadline`. At most [`REPLY_LIMIT`] bytes of an answer are read.
pub async fn probe(probe: &Probe, deadline: Duration) -> Health {
    let mut conversation = Conversation { probe, deadline, received: Vec::new(), stage: Stage::Connecting };
    let verdict = match tokio::time::timeout(deadline, conversation.hold()).await {
        Ok(verdict) => verdict,
        Err(_) => Err(conversation.took_too_long(deadline)),
    };
    match verdict {
        Ok(()) => Health::Healthy,
        Err(why) => {
            let (host, port) = probe.address();
            Health::NotYet { why: format!("{host}:{port}: {why}") }
        }
    }
}

/// How far it came, for the sentence when time runs out.
#[derive(Clone, Copy)]
enum Stage {
    Connecting,
    Asking,
    Listening,
}

struct Conversation<'a> {
    probe: &'a Probe,
    deadline: Duration,
    received: Vec<u8>,
    stage: Stage,
}

impl Conversation<'_> {
    async fn hold(&mut self) -> Result<(), String> {
        let mut stream = self.connect().await?;
        let mut request = self.probe.request();
        for question in 0..QUESTIONS {
            self.stage = Stage::Asking;
            self.received.clear();
            stream.write_all(&request).await.map_err(|error| Failed("send the question", error).to_string())?;
            self.stage = Stage::Listening;
            match self.listen(&mut stream, question).await? {
                Heard::Healthy => return Ok(()),
                Heard::Ask { request: next, reconnect } => {
                    request = next;
                    if reconnect {
                        stream = self.connect().await?;
                    }
                }
                Heard::AskAnother { request, at } => return self.ask_one_of(&request, &at, question + 1).await,
            }
        }
        Err(format!("the answers led to more than {QUESTIONS} questions"))
    }

    /// Asks these servers in turn; the first that answers decides. One that is silent gets its share of the time only.
    async fn ask_one_of(&mut self, request: &[u8], at: &[String], question: usize) -> Result<(), String> {
        let share = self.deadline.div_f64(at.len() as f64 + 1.0);
        let mut silent = Vec::new();
        for address in at {
            self.stage = Stage::Connecting;
            self.received.clear();
            let asked = tokio::time::timeout(share, async {
                let mut stream = TcpStream::connect(address).await.map_err(|error| Failed("connect", error).to_string())?;
                stream.write_all(request).await.map_err(|error| Failed("send the question", error).to_string())?;
                self.stage = Stage::Listening;
                Ok(self.listen(&mut stream, question).await)
            });
            match asked.await.unwrap_or_else(|_| Err(format!("no answer within {}", Time(share)))) {
                Ok(Ok(Heard::Healthy)) => return Ok(()),
                Ok(Ok(Heard::Ask { .. } | Heard::AskAnother { .. })) => return Err(format!("{address} led to more questions")),
                Ok(Err(why)) if self.received.is_empty() => silent.push(format!("{address}: {why}")),
                Ok(Err(why)) => return Err(format!("{why} (said by {address})")),
                Err(why) => silent.push(format!("{address}: {why}")),
            }
        }
        Err(format!("none of those that know it answers: {}", silent.join("; ")))
    }

    async fn connect(&mut self) -> Result<TcpStream, String> {
        self.stage = Stage::Connecting;
        TcpStream::connect(self.probe.address()).await.map_err(|error| Failed("connect", error).to_string())
    }

    /// Reads until the answer can be judged.
    async fn listen(&mut self, stream: &mut TcpStream, question: usize) -> Result<Heard, String> {
        let mut piece = vec![0; 16 << 10];
        loop {
            let room = piece.len().min(REPLY_LIMIT - self.received.len());
            let length = match stream.read(&mut piece[..room]).await {
                Ok(length) => length,
                // Some servers end a connection like this once they have said everything.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !self.received.is_empty() => 0,
                Err(error) => return Err(Failed("read the answer", error).to_string()),
            };
            self.received.extend_from_slice(&piece[..length]);
            let end = length == 0;
            match self.probe.check(question, &self.received, end) {
                Verdict::Healthy => return Ok(Heard::Healthy),
                Verdict::Ask { request, reconnect } => return Ok(Heard::Ask { request, reconnect }),
                Verdict::AskAnother { request, at } => return Ok(Heard::AskAnother { request, at }),
                Verdict::NotYet(why) => return Err(why),
                Verdict::Partial if end && self.received.is_empty() => {
                    return Err("closed the connection without an answer".to_owned());
                }
                Verdict::Partial if end => {
                    return Err(format!("closed the connection after {} bytes of an answer", self.received.len()));
                }
                Verdict::Partial if self.received.len() >= REPLY_LIMIT => {
                    return Err(format!("sent {} KiB without an end to its answer", REPLY_LIMIT >> 10));
                }
                Verdict::Partial => {}
            }
        }
    }

    fn took_too_long(&self, deadline: Duration) -> String {
        let time = Time(deadline);
        match (self.stage, self.received.len()) {
            (Stage::Connecting, _) => format!("accepted no connection within {time}"),
            (Stage::Asking, _) => format!("accepted the connection and took no question within {time}"),
            (Stage::Listening, 0) => format!("accepted the connection and said nothing for {time}"),
            (Stage::Listening, bytes) => format!("sent {bytes} bytes of an answer and no end to it within {time}"),
        }
    }
}

enum Heard {
    Healthy,
    Ask { request: Vec<u8>, reconnect: bool },
    AskAnother { request: Vec<u8>, at: Vec<String> },
}

/// A failed step, in words that do not depend on the system where it matters most.
struct Failed(&'static str, io::Error);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.kind() {
            io::ErrorKind::ConnectionRefused => f.write_str("connection refused (nothing listens)"),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                write!(f, "closed the connection while we tried to {}", self.0)
            }
            _ => write!(f, "{}: {}", self.0, self.1),
        }
    }
}

/// `3 s`, `250 ms`.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            _ => write!(f, "{} ms", self.0.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests;
