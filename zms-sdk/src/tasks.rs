//! Tasks that end with their client.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

/// A handle is cheap to clone. All tasks end when [`Tasks::end`] is called or the last handle that owns them goes.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl Tasks {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }

    /// Runs a task until it ends or all end; after that nothing is run any more.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            // Ended ones are let go now and then, so that a long life does not collect them.
            while running.try_join_next().is_some() {}
            running.spawn(task);
        }
    }

    /// Ends all.
    pub fn end(&self) {
        // Dropping the set aborts what is in it.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }
}
