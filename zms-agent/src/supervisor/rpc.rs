//! What can be asked of supervisord: the calls we use, typed, one at a time, each with a deadline.
//!
//! supervisord is one thread. Calls with `wait=true` hold back their answer for minutes, so none is made: start and
//! stop are asked for, and [`Client::all`] says what became of it.

mod answer;
mod fault;

use std::path::PathBuf;
use std::time::Duration;

use dxr::{TryFromValue, Value};
use tokio::sync::Mutex;
use tokio::time::{interval, timeout};

pub use answer::{Changes, Program, ServerState, State};
pub use fault::{Fault, FaultKind, RpcError};

use self::answer::Fields;
use super::xml;

/// How long the client waits.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// For an answer.
    pub answer: Duration,
    /// For a program to stop before it is removed; a slow one is asked for again.
    pub stop: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { answer: Duration::from_secs(5), stop: Duration::from_secs(10) }
    }
}

/// How often a program that must stop is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The one who speaks to supervisord.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    waits: Waits,
    turn: Mutex<()>,
}

impl Client {
    /// Speaks to the supervisord that listens on `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::with_waits(socket, Waits::default())
    }

    /// The same with other waits.
    pub fn with_waits(socket: impl Into<PathBuf>, waits: Waits) -> Self {
        Self { socket: socket.into(), waits, turn: Mutex::new(()) }
    }

    /// Its version.
    pub async fn version(&self) -> Result<String, RpcError> {
        self.call("supervisor.getSupervisorVersion", vec![]).await
    }

    /// Its process.
    pub async fn pid(&self) -> Result<u32, RpcError> {
        let pid: i32 = self.call("supervisor.getPID", vec![]).await?;
        u32::try_from(pid).map_err(|_| RpcError::Answer(format!("has the pid {pid}")))
    }

    /// What it is doing itself.
    pub async fn state(&self) -> Result<ServerState, RpcError> {
        let answer: Fields = self.call("supervisor.getState", vec![]).await?;
        ServerState::read(&answer)
    }

    /// All programs it knows.
    pub async fn all(&self) -> Result<Vec<Program>, RpcError> {
        let answer: Vec<Fields> = self.call("supervisor.getAllProcessInfo", vec![]).await?;
        answer.iter().map(Program::read).collect()
    }

    /// Reads the files again and says what is different. Nothing is started or stopped by it.
    pub async fn reload_config(&self) -> Result<Changes, RpcError> {
        let [[added, changed, removed]]: [[Vec<String>; 3]; 1] = self.call("supervisor.reloadConfig", vec![]).await?;
        Ok(Changes { added, changed, removed })
    }

    /// Makes a program of the files active, which also starts it.
    pub async fn add_group(&self, name: &str) -> Result<(), RpcError> {
        self.act("supervisor.addProcessGroup", vec![text(name)]).await
    }

    /// Forgets a stopped program.
    pub async fn remove_group(&self, name: &str) -> Result<(), RpcError> {
        self.act("supervisor.removeProcessGroup", vec![text(name)]).await
    }

    /// Asks for a start and does not wait for it.
    pub async fn start(&self, name: &str) -> Result<(), RpcError> {
        self.act("supervisor.startProcess", vec![text(name), Value::Boolean(false)]).await
    }

    /// Asks for a stop and does not wait for it.
    pub async fn stop(&self, name: &str) -> Result<(), RpcError> {
        self.act("supervisor.stopProcess", vec![text(name), Value::Boolean(false)]).await
    }

    /// Sends a signal (`QUIT` makes a JVM print its threads).
    pub async fn signal(&self, name: &str, signal: &str) -> Result<(), RpcError> {
        self.act("supervisor.signalProcess", vec![text(name), text(signal)]).await
    }

    /// The program is active afterwards.
    pub async fn ensure_added(&self, name: &str) -> Result<(), RpcError> {
        done_if(self.add_group(name).await, &[FaultKind::AlreadyAdded])
    }

    /// The program runs or is being started afterwards.
    pub async fn ensure_started(&self, name: &str) -> Result<(), RpcError> {
        done_if(self.start(name).await, &[FaultKind::AlreadyStarted])
    }

    /// The program is stopped or being stopped afterwards. One that it does not know is stopped.
    pub async fn ensure_stopped(&self, name: &str) -> Result<(), RpcError> {
        done_if(self.stop(name).await, &[FaultKind::NotRunning, FaultKind::BadName])
    }

    /// supervisord does not know the program afterwards. It is stopped first; where that takes longer than
    /// [`Waits::stop`] the answer is [`RpcError::StillRunning`], and the call may be made again.
    pub async fn ensure_removed(&self, name: &str) -> Result<(), RpcError> {
        let removed = async {
            let mut look = interval(LOOK_AGAIN);
            loop {
                look.tick().await;
                match done_if(self.remove_group(name).await, &[FaultKind::BadName]) {
                    Err(RpcError::Fault(Fault { kind: FaultKind::StillRunning, .. })) => self.ensure_stopped(name).await?,
                    other => return other,
                }
            }
        };
        let late = RpcError::StillRunning { name: name.to_owned() };
        timeout(self.waits.stop, removed).await.unwrap_or(Err(late))
    }

    async fn act(&self, method: &'static str, parameters: Vec<Value>) -> Result<(), RpcError> {
        // It answers true or a fault.
        self.call::<bool>(method, parameters).await.map(drop)
    }

    async fn call<T: TryFromValue>(&self, method: &'static str, parameters: Vec<Value>) -> Result<T, RpcError> {
        let _turn = self.turn.lock().await;
        let late = RpcError::Deadline { method, deadline: self.waits.answer };
        let answer = timeout(self.waits.answer, xml::call(&self.socket, method, parameters)).await.unwrap_or(Err(late))?;
        T::try_from_value(&answer).map_err(|error| RpcError::Answer(format!("to {method} has another form: {error}")))
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// Effects may happen twice: what was done already is done.
fn done_if(result: Result<(), RpcError>, kinds: &[FaultKind]) -> Result<(), RpcError> {
    match result {
        Err(RpcError::Fault(fault)) if kinds.contains(&fault.kind) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
