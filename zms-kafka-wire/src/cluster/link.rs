//! The way to one address: its connection, opened when it is needed, and left alone for a while after a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::options::Setup;
use crate::{Connection, WireError};

pub(super) struct Link {
    address: String,
    slot: Mutex<Slot>,
    /// Held while a connection is being opened: all who need it wait for the same one.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    /// In a row.
    failures: u32,
    failed: Option<(Instant, WireError)>,
}

impl Link {
    pub fn new(address: String) -> Self {
        Self { address, slot: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open connection, if there is one.
    pub fn current(&self) -> Option<Arc<Connection>> {
        self.slot().connection.clone().filter(|connection| connection.is_open())
    }

    /// The open connection, or a new one.
    pub async fn get(&self, setup: &Setup) -> Result<Arc<Connection>, WireError> {
        let _opening = self.opening.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        if let Some(error) = self.left_alone(&setup.options) {
            return Err(error);
        }
        match Connection::open_with(&self.address, setup).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *self.slot() = Slot { connection: Some(connection.clone()), failures: 0, failed: None };
                Ok(connection)
            }
            Err(error) => {
                self.fail(&error);
                Err(error)
            }
        }
    }

    /// The last failure, while it is too fresh to try again.
    fn left_alone(&self, options: &crate::Options) -> Option<WireError> {
        let slot = self.slot();
        let (at, error) = slot.failed.as_ref()?;
        let doubled = options.back_off.saturating_mul(1 << slot.failures.saturating_sub(1).min(16));
        (at.elapsed() < doubled.min(options.max_back_off)).then(|| match error {
            // Nothing was asked this time.
            WireError::Silent { .. } | WireError::Lost { .. } => {
                WireError::Connect { address: self.address.clone(), why: format!("left alone for now: {error}") }
            }
            other => other.clone(),
        })
    }

    fn fail(&self, error: &WireError) {
        let mut slot = self.slot();
        slot.connection = None;
        slot.failures = slot.failures.saturating_add(1);
        slot.failed = Some((Instant::now(), error.clone()));
    }

    /// A call on this connection ended so that it is of no more use.
    pub fn discard(&self, connection: &Arc<Connection>, error: &WireError) {
        let ours = self.slot().connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection));
        match error {
            // It was opened once, so the broker is there: it may be opened again at once.
            WireError::Lost { .. } if ours => self.slot().connection = None,
            _ if ours => self.fail(error),
            _ => {}
        }
    }
}

/// Between the first attempts at several addresses, so that a silent one delays little.
pub(super) const STAGGER: Duration = Duration::from_millis(250);
