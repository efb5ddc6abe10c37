//! In order: a queue that goes to another member goes when the message that the application has of it is handled. So long its lock is kept, so that no
//! two members handle messages of a queue at once, and the next one begins behind what was done.

use std::collections::HashMap;
use std::sync::MutexGuard;

use tokio::sync::oneshot;

use super::lock;
use super::shared::{Handled, Shared, Turn};
use super::window::{Commit, Window};
use crate::broker::Incoming;
use crate::rocketmq::queue::Queue;

/// Messages that the application has of queues that were given up, and who wants to hear what became of them.
pub(super) type Lasts = HashMap<Queue, (i64, oneshot::Sender<Handled>)>;

/// What a queue that was given up leaves to its task.
#[derive(Default)]
pub(super) struct Left {
    pub window: Option<Window>,
    /// The message that the application has.
    turn: Option<(i64, oneshot::Receiver<Handled>)>,
}

impl Shared {
    /// A queue is given up. Called while the table is locked, so that what the application says meanwhile is heard here or there.
    pub fn leave_behind(&self, queue: &Queue, window: Option<Window>, turn: Option<Turn>) -> Left {
        // One that still waits to be received never will be.
        let Some(Turn { offset, .. }) = turn.filter(|turn| turn.handed) else { return Left { window, turn: None } };
        let (sender, said) = oneshot::channel();
        self.lasts().insert(queue.clone(), (offset, sender));
        Left { window, turn: Some((offset, said)) }
    }

    /// What became of a message is told to whoever waits for it.
    pub fn said(&self, queue: &Queue, offset: i64, handled: Handled) {
        let mut table = self.table();
        let now = table.get_mut(queue).and_then(|held| held.turn.take_if(|turn| turn.offset == offset)).map(|turn| turn.said);
        let waiting = now.or_else(|| {
            let mut lasts = self.lasts();
            let ours = lasts.get(queue).is_some_and(|(last, _)| *last == offset);
            ours.then(|| lasts.remove(queue)).flatten().map(|(_, said)| said)
        });
        if let Some(waiting) = waiting {
            // The window may have closed meanwhile.
            let _ = waiting.send(handled);
        }
    }

    /// Whether something waits for what becomes of this message, also while the member closes.
    pub fn waits_for(&self, message: &Incoming) -> bool {
        let Some(queue) = self.queue_of(message) else { return false };
        let offset = message.placed.offset;
        let table = self.table();
        let turn = table.get(&queue).and_then(|held| held.turn.as_ref());
        turn.is_some_and(|turn| turn.offset == offset) || self.lasts().get(&queue).is_some_and(|(last, _)| *last == offset)
    }

    /// Nothing is waited for any more: what the application has comes to the next member again.
    pub fn wait_no_more(&self) {
        self.lasts().clear();
    }

    fn lasts(&self) -> MutexGuard<'_, Lasts> {
        self.lasts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Left {
    /// What is to be committed, once the message that the application has is handled.
    pub async fn commit(self, shared: &Shared, queue: &Queue) -> Option<Commit> {
        let Self { mut window, turn } = self;
        if let Some((offset, said)) = turn
            && is_done(shared, queue, offset, said).await
            && let Some(window) = &mut window
        {
            window.done(offset);
        }
        window?.to_commit()
    }
}

async fn is_done(shared: &Shared, queue: &Queue, offset: i64, said: oneshot::Receiver<Handled>) -> bool {
    let lost = async {
        // It may have been renewed long ago.
        if !matches!(lock::try_lock(shared, queue).await, Ok(false)) {
            lock::keep(shared, queue).await;
        }
    };
    let done = tokio::select! {
        biased;
        said = said => said == Ok(Handled::Done),
        () = lost => false,
        () = tokio::time::sleep(shared.waits.last_message) => {
            let seconds = shared.waits.last_message.as_secs();
            tracing::warn!(group = %shared.group, %queue, offset, seconds, "the application has not said what became of a message; its queue goes to another member, which gets it again");
            false
        }
    };
    shared.lasts().remove(queue);
    done
}
