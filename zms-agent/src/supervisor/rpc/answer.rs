//! supervisord's answers as types.

use std::collections::BTreeMap;

use dxr::{TryFromValue, Value};

use super::RpcError;

/// What supervisord is doing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// It works.
    Running,
    /// It starts over.
    Restarting,
    /// It stops its programs and ends.
    ShuttingDown,
    /// It is broken.
    Fatal,
}

impl ServerState {
    pub(super) fn read(fields: &Fields) -> Result<Self, RpcError> {
        match fields.number("statecode")? {
            1 => Ok(Self::Running),
            0 => Ok(Self::Restarting),
            -1 => Ok(Self::ShuttingDown),
            2 => Ok(Self::Fatal),
            other => Err(RpcError::Answer(format!("has the state {other}"))),
        }
    }
}

/// What supervisord is doing with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Never started, or stopped because somebody asked for it.
    Stopped,
    /// Started, and not yet for as long as it takes to count as running.
    Starting,
    /// It has a process. That says nothing of its health.
    Running,
    /// It ended too soon and is started again after a pause.
    Backoff,
    /// It was told to stop.
    Stopping,
    /// It ended by itself.
    Exited,
    /// It ended too soon too often; it is not started again.
    Fatal,
    /// supervisord does not know.
    Unknown,
}

/// A program as supervisord sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The instance's id.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// When it was last started, in seconds since 1970; 0 if never.
    pub start: i32,
    /// Why it could not be started; empty if it could. Stays when a later start succeeds.
    pub spawnerr: String,
    /// Exit code of the last process that had counted as running.
    pub exitstatus: i32,
}

/// What the files say that supervisord has not acted on yet, as names of programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// In the files, not active.
    pub added: Vec<String>,
    /// Active with another content.
    pub changed: Vec<String>,
    /// Active and no longer in the files.
    pub removed: Vec<String>,
}

/// A structure of an answer; fields that a newer supervisord adds do not disturb.
pub(super) struct Fields(BTreeMap<String, Value>);

impl TryFromValue for Fields {
    fn try_from_value(value: &Value) -> Result<Self, dxr::Error> {
        BTreeMap::try_from_value(value).map(Self)
    }
}

impl Fields {
    fn get<T: TryFromValue>(&self, name: &str) -> Result<T, RpcError> {
        let value = self.0.get(name).ok_or_else(|| RpcError::Answer(format!("has no {name}")))?;
        T::try_from_value(value).map_err(|error| RpcError::Answer(format!("has another form of {name}: {error}")))
    }

    fn number(&self, name: &str) -> Result<i32, RpcError> {
        self.get(name)
    }
}

impl Program {
    pub(super) fn read(fields: &Fields) -> Result<Self, RpcError> {
        let state = match fields.number("state")? {
            0 => State::Stopped,
            10 => State::Starting,
            20 => State::Running,
            30 => State::Backoff,
            40 => State::Stopping,
            100 => State::Exited,
            200 => State::Fatal,
            _ => State::Unknown,
        };
        Ok(Self {
            name: fields.get("name")?,
            state,
            pid: u32::try_from(fields.number("pid")?).ok().filter(|pid| *pid > 0),
            start: fields.number("start")?,
            spawnerr: fields.get("spawnerr")?,
            exitstatus: fields.number("exitstatus")?,
        })
    }
}
