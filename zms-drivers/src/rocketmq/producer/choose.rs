//! Which queue a message goes to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::rocketmq::message::outgoing::place_of;
use crate::rocketmq::queue::Queue;

/// A broker that failed is passed over so long, as far as there is another one.
const PASSED_OVER: Duration = Duration::from_secs(3);

/// Queues that share what is under way: fewer requests with more messages in each, and still one under way while another waits.
const AT_ONCE: usize = 2;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    turn: usize,
    /// Messages that go to the same queue before the turn passes.
    left: usize,
    failed: HashMap<Arc<str>, Instant>,
}

impl Turns {
    /// A key always has the same queue, as long as the queues stay the same; without a key each queue in turn, of brokers that did not fail
    /// lately. The more messages are under way, the more of them go to one queue before the turn passes, so that they travel together.
    /// `queues` must be in the order that every client has: by broker, then number.
    pub fn choose(&self, queues: &[Queue], key: Option<&[u8]>, avoid: &BTreeSet<Arc<str>>, under_way: usize) -> Option<Queue> {
        if queues.is_empty() {
            return None;
        }
        if let Some(key) = key {
            return queues.get(place_of(key, queues.len())).cloned();
        }
        let mut state = self.lock();
        if state.left == 0 {
            state.left = (under_way / AT_ONCE).max(1);
            state.turn = state.turn.wrapping_add(1);
        }
        state.left -= 1;
        let State { turn, failed, .. } = &*state;
        let in_turn = || (0..queues.len()).map(|step| &queues[turn.wrapping_add(step) % queues.len()]);
        if failed.is_empty() && avoid.is_empty() {
            return in_turn().next().cloned();
        }
        let now = Instant::now();
        let well = |queue: &&Queue| {
            !avoid.contains(&queue.broker) && failed.get(&queue.broker).is_none_or(|since| now - *since > PASSED_OVER)
        };
        in_turn()
            .find(well)
            .or_else(|| in_turn().find(|queue| !avoid.contains(&queue.broker)))
            .or_else(|| in_turn().next())
            .cloned()
    }

    pub fn failed(&self, broker: &Arc<str>) {
        let mut state = self.lock();
        state.failed.insert(Arc::clone(broker), Instant::now());
        state.left = 0;
    }

    pub fn worked(&self, broker: &Arc<str>) {
        let mut state = self.lock();
        if !state.failed.is_empty() {
            state.failed.remove(broker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues() -> Vec<Queue> {
        let queue = |broker: &str, number| Queue { topic: "orders".into(), broker: broker.into(), number };
        vec![queue("a", 0), queue("a", 1), queue("b", 0), queue("b", 1)]
    }

    fn chosen(turns: &Turns, avoid: &[&str]) -> Vec<(String, i32)> {
        let avoid = avoid.iter().map(|broker| Arc::from(*broker)).collect();
        let queues = queues();
        let chosen = (0..4).map(|_| turns.choose(&queues, None, &avoid, 1).unwrap());
        chosen.map(|queue| (queue.broker.to_string(), queue.number)).collect()
    }

    #[test]
    fn without_a_key_each_queue_has_its_turn_and_a_broker_that_failed_has_none() {
        let (turns, pairs) = (Turns::default(), |list: &[(&str, i32)]| -> Vec<_> {
            list.iter().map(|(broker, number)| ((*broker).to_owned(), *number)).collect()
        });
        let in_turn = pairs(&[("a", 1), ("b", 0), ("b", 1), ("a", 0)]);
        assert_eq!(chosen(&turns, &[]), in_turn);
        turns.failed(&"a".into());
        assert!(chosen(&turns, &[]).iter().all(|(broker, _)| broker == "b"));
        assert!(chosen(&turns, &["b"]).iter().all(|(broker, _)| broker == "a"), "rather one that failed than this one");
        turns.worked(&"a".into());
        assert_eq!(chosen(&turns, &[]), in_turn);
        assert_eq!(chosen(&turns, &["a", "b"]), in_turn, "all are to be avoided");
    }

    #[test]
    fn many_messages_under_way_go_to_few_queues_at_a_time() {
        let (turns, queues) = (Turns::default(), queues());
        let chosen: Vec<_> = (0..16).map(|_| turns.choose(&queues, None, &BTreeSet::new(), 8).unwrap()).collect();
        for (at, four) in chosen.chunks(4).enumerate() {
            assert!(four.iter().all(|queue| *queue == four[0]), "{at}: {four:?}");
        }
        assert_eq!(chosen.into_iter().collect::<BTreeSet<_>>().len(), 4, "every queue has its turn");
    }

    #[test]
    fn a_key_has_one_queue_whatever_failed() {
        let (turns, queues) = (Turns::default(), queues());
        let of = |key: &[u8]| turns.choose(&queues, Some(key), &BTreeSet::new(), 1).unwrap();
        let before = of(b"order-7");
        turns.failed(&before.broker);
        assert_eq!(of(b"order-7"), before);
        assert!((0..20).map(|n| of(n.to_string().as_bytes())).collect::<BTreeSet<_>>().len() > 2);
        assert_eq!(turns.choose(&[], Some(b"k"), &BTreeSet::new(), 1), None);
    }
}
