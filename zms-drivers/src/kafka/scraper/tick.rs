//! One tick under way.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use zms_kafka_wire::{Options, WireError};

/// How long it may take, who is silent, what it cost so far.
#[derive(Debug)]
pub(super) struct Tick {
    pub begun: Instant,
    until: Instant,
    limit: Duration,
    /// Somebody else is asked for metadata after this.
    pub patience: Duration,
    /// Not asked any more in this tick.
    pub silent: BTreeMap<i32, String>,
    /// Somebody answered something.
    pub answered: bool,
    /// The next tick reads metadata and groups again.
    pub look_again: bool,
    pub first_error: Option<WireError>,
    pub requests: u64,
    pub round_trips: u32,
}

impl Tick {
    /// A silent broker is met once in a tick, in whichever step: half the deadline of a call there, and an eighth in each of the steps
    /// that another broker can do for it, stay below that deadline.
    pub fn begin(options: &Options, deadline: Duration) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            until: begun + deadline,
            limit: options.call_deadline / 2,
            patience: options.call_deadline / 8,
            silent: BTreeMap::new(),
            answered: false,
            look_again: false,
            first_error: None,
            requests: 0,
            round_trips: 0,
        }
    }

    /// What one broker may take from now on. When time is up nobody is made silent for not answering within no time.
    pub fn limit(&self) -> Duration {
        self.limit.min(self.until.saturating_duration_since(Instant::now())).max(self.patience)
    }

    /// A broker was asked. Whatever ends without its answer makes it silent for this tick.
    pub fn note<T>(&mut self, broker: i32, done: &Result<T, WireError>) {
        match done {
            Ok(_) => self.answered = true,
            Err(WireError::Answer { .. }) => {
                self.answered = true;
                self.look_again = true;
            }
            Err(error) => {
                self.silent.entry(broker).or_insert_with(|| error.to_string());
                self.failed(error);
            }
        }
    }

    /// Something could not be had from anybody.
    pub fn failed(&mut self, error: &WireError) {
        self.look_again = true;
        self.first_error.get_or_insert_with(|| error.clone());
    }

    /// Requests that went out together. Where there was no connection, none went out.
    pub fn count<'a, T: 'a>(&mut self, trip: impl Iterator<Item = &'a Result<T, WireError>>) {
        let requests = trip.filter(|done| !matches!(done, Err(WireError::Connect { .. }))).count() as u64;
        self.requests += requests;
        self.round_trips += u32::from(requests > 0);
    }
}
