//! What of one queue was handed to the application and is not handled yet, and up to where may be committed.

use std::collections::BTreeMap;

use crate::broker::is_full;

/// A message that the application has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// Where it is in the broker's log: by this it is sent back.
    pub log_offset: i64,
    /// Bytes of its body.
    pub size: usize,
}

/// What the broker should be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    pub offset: i64,
    /// The broker may have no position of the group in this queue yet.
    pub first: bool,
}

/// A queue from the moment its beginning is known until it is given up or begins anew.
#[derive(Debug)]
pub(crate) struct Window {
    /// Of the next message that is not in the queue's window yet.
    next: i64,
    open: BTreeMap<i64, Open>,
    /// Of all of them.
    bytes: usize,
    /// What the broker has; `None` while it has nothing.
    committed: Option<i64>,
}

impl Window {
    /// `committed`: whether the broker knows this beginning already.
    pub fn new(begin: i64, committed: bool) -> Self {
        Self { next: begin, open: BTreeMap::new(), bytes: 0, committed: committed.then_some(begin) }
    }

    /// Where to read on.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// A message came.
    pub fn received(&mut self, offset: i64, message: Open) {
        self.done(offset);
        self.open.insert(offset, message);
        self.bytes += message.size;
        self.passed(offset + 1);
    }

    /// Nothing below this offset will come any more: filtered by the broker, by us, or not there.
    pub fn passed(&mut self, offset: i64) {
        self.next = self.next.max(offset);
    }

    /// It was handled; nothing happens if that was known.
    pub fn done(&mut self, offset: i64) {
        self.bytes -= self.open.remove(&offset).map_or(0, |open| open.size);
    }

    /// A message that the application has.
    pub fn open(&self, offset: i64) -> Option<Open> {
        self.open.get(&offset).copied()
    }

    /// Messages that the application has, and their bytes.
    pub fn held(&self) -> (usize, usize) {
        (self.open.len(), self.bytes)
    }

    /// So many that the queue is not read on.
    pub fn is_full(&self) -> bool {
        is_full(self.open.len(), self.bytes)
    }

    /// First and last of them.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        Some((*self.open.first_key_value()?.0, *self.open.last_key_value()?.0))
    }

    /// The offset of the first message that is not handled.
    pub fn position(&self) -> i64 {
        self.open.first_key_value().map_or(self.next, |(offset, _)| *offset)
    }

    /// What the broker does not know yet.
    pub fn to_commit(&self) -> Option<Commit> {
        let offset = self.position();
        (self.committed != Some(offset)).then_some(Commit { offset, first: self.committed.is_none() })
    }

    /// The broker has it.
    pub fn committed(&mut self, offset: i64) {
        self.committed = Some(offset);
    }

    /// As far as the broker is known to be told.
    pub fn last_committed(&self) -> Option<i64> {
        self.committed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const MESSAGE: Open = Open { log_offset: 0, size: 10 };

    fn window(begin: i64, committed: bool, messages: std::ops::Range<i64>) -> Window {
        let mut window = Window::new(begin, committed);
        messages.for_each(|offset| window.received(offset, MESSAGE));
        window
    }

    #[test]
    fn a_position_never_passes_a_message_that_is_not_handled() {
        let mut window = window(5, true, 5..9);
        let said = [7, 5, 8, 6].map(|offset| {
            window.done(offset);
            let said = window.to_commit().map(|commit| commit.offset);
            said.inspect(|offset| window.committed(*offset))
        });
        assert_eq!(said, [None, Some(6), None, Some(9)]);
        assert_eq!(window.to_commit(), None, "it is known");
    }

    #[test]
    fn a_beginning_that_nobody_committed_is_committed() {
        let mut young = window(5, false, 5..9);
        assert_eq!(young.to_commit(), Some(Commit { offset: 5, first: true }));
        young.committed(5);
        young.done(5);
        assert_eq!(young.to_commit(), Some(Commit { offset: 6, first: false }));
        assert_eq!(window(5, true, 5..9).to_commit(), None);
    }

    #[test]
    fn what_is_filtered_away_moves_the_position_and_open_messages_hold_it() {
        let mut window = window(5, true, 5..6);
        window.passed(40);
        assert_eq!((window.next(), window.to_commit()), (40, None));
        window.done(5);
        assert_eq!(window.to_commit(), Some(Commit { offset: 40, first: false }));
        window.passed(30);
        assert_eq!(window.next(), 40, "never back");
    }

    #[test]
    fn a_queue_is_full_by_messages_or_by_bytes_until_one_of_them_is_handled() {
        for (count, size) in [(256, 1), (4, 1 << 20), (1, 5 << 20)] {
            let mut window = Window::new(0, true);
            for offset in 0..count {
                assert!(!window.is_full(), "{size}: already with {offset}");
                window.received(offset, Open { log_offset: 0, size });
            }
            // The same one again is not a second one.
            window.received(0, Open { log_offset: 0, size });
            assert!(window.is_full(), "{size}");
            window.done(0);
            assert!(!window.is_full(), "{size}");
        }
    }

    proptest! {
        /// Handled in any order and committed at any moment: what is committed is the first offset not handled.
        #[test]
        fn positions_follow_the_first_open_message(order in Just((0..30_i64).collect::<Vec<_>>()).prop_shuffle(), commits: u32) {
            let mut window = window(0, true, 0..30);
            let mut handled = BTreeSet::new();
            for (at, offset) in order.into_iter().enumerate() {
                handled.insert(offset);
                window.done(offset);
                let first_open = (0..30).find(|offset| !handled.contains(offset)).unwrap_or(30);
                prop_assert_eq!(window.position(), first_open);
                if commits >> at & 1 == 1 && let Some(commit) = window.to_commit() {
                    window.committed(commit.offset);
                }
                prop_assert!(window.last_committed() <= Some(first_open));
            }
            prop_assert_eq!((window.held(), window.bounds()), ((0, 0), None));
        }
    }
}
