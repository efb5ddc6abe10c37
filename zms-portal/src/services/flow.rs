//! The state machine behind installing, changing and removing a service: batches of instances, one batch after another.
//!
//! ```text
//! Planned ─▶ (Draining ─▶) Placing ─▶ Waiting ─▶ (next batch: Placing …) ─▶ Finishing ─▶ Done
//! ```
//!
//! Draining: clients of brokers that are about to stop, while others go on, are told to send to those.
//! The instances of a batch are placed together and all waited for; the next batch begins when every one of them is what its spec
//! wants. So an installation is one batch, and a careful change has one instance a batch.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use zms_core::host::{InstanceSpec, Phase, SpecHash};
use zms_core::names::InstanceId;

use crate::engine::{Machine, Next, Refused, Status};
use crate::web::messages::Messages;

/// A new service: ends with its instances healthy and, if it is the first of its kind, recorded as the environment's store.
pub struct Install;
/// Other settings, a start, a stop or a restart.
pub struct Change;
/// A service goes: ends with its rows deleted, after every host has said that nothing is left.
pub struct Remove;

/// An instance and what its host should make of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Id of its row.
    pub instance: String,
    /// Id of its host.
    pub host: String,
    /// Environment and name of its host, for people.
    pub place: String,
    /// What is wanted.
    pub spec: InstanceSpec,
    /// Before it, clients are told to send elsewhere.
    #[serde(default)]
    pub drain: bool,
}

/// An instance that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited {
    /// Id of its row.
    pub instance: String,
    /// Its name.
    pub name: InstanceId,
    /// Id of its host.
    pub host: String,
    /// Environment and name of its host, for people.
    pub place: String,
    /// What is wanted of it; something newer ends the flow.
    pub phase: Phase,
    /// What is wanted of it; something newer ends the flow.
    pub hash: SpecHash,
}

/// What is done when every batch is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Ending {
    /// Nothing.
    Nothing,
    /// The service becomes its environment's store if there is none for its purpose.
    RecordStore {
        /// Id of the service.
        service: String,
    },
    /// The service's rows are deleted.
    DeleteRows {
        /// Id of the service.
        service: String,
    },
}

/// Where a flow stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Decided, and not begun.
    Planned {
        /// In their order.
        batches: Vec<Vec<Placement>>,
        /// After the last.
        ending: Ending,
    },
    /// Clients are being told to send elsewhere.
    Draining {
        /// Instances whose clients may not have heard it.
        instances: BTreeSet<InstanceId>,
        /// Instances of this batch.
        batch: Vec<Placement>,
        /// Batches after this one.
        later: Vec<Vec<Placement>>,
        /// After the last.
        ending: Ending,
    },
    /// Desired states are being written.
    Placing {
        /// Clients were told to send elsewhere, and hear of it again only when the instances are started anew.
        #[serde(default)]
        drained: bool,
        /// Places of hosts whose desired state is not written yet.
        hosts: BTreeSet<String>,
        /// Instances of this batch.
        batch: Vec<Awaited>,
        /// Batches after this one.
        later: Vec<Vec<Placement>>,
        /// After the last.
        ending: Ending,
    },
    /// Hosts are at work.
    Waiting {
        /// Instances that are not yet what they should be.
        instances: BTreeSet<InstanceId>,
        /// Batches after this one.
        later: Vec<Vec<Placement>>,
        /// After the last.
        ending: Ending,
    },
    /// The ending is being done.
    Finishing,
    /// Everything is as it was wanted.
    Done,
    /// Something else happened to an instance meanwhile.
    Failed {
        /// What, for people.
        why: String,
    },
    /// A person ended it. What was placed stays placed.
    Cancelled,
}

/// What moves a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Begin.
    Begin,
    /// Clients of an instance send elsewhere.
    Drained {
        /// Which one.
        instance: InstanceId,
    },
    /// A host's desired state is written.
    Placed {
        /// Its environment and name.
        host: String,
    },
    /// An instance is what it should be.
    Reached {
        /// Which one.
        instance: InstanceId,
    },
    /// What this flow wanted is not wanted any more.
    Superseded {
        /// What happened, for people.
        why: String,
    },
    /// The ending is done.
    Finished,
    /// A person does not want to wait any longer.
    Cancel,
}

/// What is done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Tells clients of an instance to send elsewhere, and waits until they have heard it.
    EnsureNoSends {
        /// Id of its row.
        instance: String,
        /// Its name.
        name: InstanceId,
        /// Environment and name of its host, for people.
        place: String,
    },
    /// Saves the specs of one host's instances, writes its desired state and wakes its agent.
    EnsureDesired {
        /// Which host.
        host: String,
        /// Its environment and name, for people.
        place: String,
        /// Its instances.
        placements: Vec<Placement>,
    },
    /// Waits until the host reports the instance as it is wanted.
    AwaitInstance(Awaited),
    /// See [`Ending::RecordStore`].
    EnsureStore {
        /// Id of the service.
        service: String,
    },
    /// See [`Ending::DeleteRows`].
    EnsureRowsGone {
        /// Id of the service.
        service: String,
    },
}

/// The first step of a flow: what [`NewFlow`](crate::engine::NewFlow) begins with.
pub fn begin(batches: Vec<Vec<Placement>>, ending: Ending) -> Next<State, Effect> {
    step(&State::Planned { batches, ending }, &Command::Begin).expect("a planned flow can always begin")
}

fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
    match (state, command) {
        (State::Planned { batches, ending }, Command::Begin) => Ok(next_batch(batches, ending)),
        (State::Draining { instances, batch, later, ending }, Command::Drained { instance }) if instances.contains(instance) => {
            let mut instances = instances.clone();
            instances.remove(instance);
            if instances.is_empty() {
                return Ok(placing(batch, later, ending, true));
            }
            let (batch, later, ending) = (batch.clone(), later.clone(), ending.clone());
            Ok(Next { state: State::Draining { instances, batch, later, ending }, effects: Vec::new() })
        }
        (State::Placing { drained, hosts, batch, later, ending }, Command::Placed { host }) if hosts.contains(host) => {
            let mut hosts = hosts.clone();
            hosts.remove(host);
            if !hosts.is_empty() {
                let (batch, later, ending) = (batch.clone(), later.clone(), ending.clone());
                let state = State::Placing { drained: *drained, hosts, batch, later, ending };
                return Ok(Next { state, effects: Vec::new() });
            }
            let instances = batch.iter().map(|awaited| awaited.name.clone()).collect();
            let effects = batch.iter().cloned().map(Effect::AwaitInstance).collect();
            Ok(Next { state: State::Waiting { instances, later: later.clone(), ending: ending.clone() }, effects })
        }
        (State::Waiting { instances, later, ending }, Command::Reached { instance }) if instances.contains(instance) => {
            let mut instances = instances.clone();
            instances.remove(instance);
            if instances.is_empty() {
                return Ok(next_batch(later, ending));
            }
            let state = State::Waiting { instances, later: later.clone(), ending: ending.clone() };
            Ok(Next { state, effects: Vec::new() })
        }
        (State::Finishing, Command::Finished) => Ok(end(State::Done)),
        (
            State::Draining { .. } | State::Placing { .. } | State::Waiting { .. } | State::Finishing,
            Command::Superseded { why },
        ) => Ok(end(State::Failed { why: why.clone() })),
        (
            State::Placing { ending: Ending::DeleteRows { .. }, .. } | State::Waiting { ending: Ending::DeleteRows { .. }, .. },
            Command::Cancel,
        ) => Err(Refused::because(|m| m.services_removal_goes_on().to_owned())),
        // Nobody would tell the clients to come back.
        (State::Draining { .. } | State::Placing { drained: true, .. }, Command::Cancel) => {
            Err(Refused::because(|m| m.services_draining_goes_on().to_owned()))
        }
        (State::Planned { .. } | State::Placing { .. } | State::Waiting { .. }, Command::Cancel) => Ok(end(State::Cancelled)),
        (
            State::Planned { .. }
            | State::Draining { .. }
            | State::Placing { .. }
            | State::Waiting { .. }
            | State::Finishing
            | State::Done
            | State::Failed { .. }
            | State::Cancelled,
            Command::Begin
            | Command::Drained { .. }
            | Command::Placed { .. }
            | Command::Reached { .. }
            | Command::Superseded { .. }
            | Command::Finished
            | Command::Cancel,
        ) => Err(Refused::Stale),
    }
}

fn next_batch(batches: &[Vec<Placement>], ending: &Ending) -> Next<State, Effect> {
    let mut later = batches.iter().skip_while(|batch| batch.is_empty());
    let Some(batch) = later.next() else {
        let effect = match ending.clone() {
            Ending::Nothing => return end(State::Done),
            Ending::RecordStore { service } => Effect::EnsureStore { service },
            Ending::DeleteRows { service } => Effect::EnsureRowsGone { service },
        };
        return Next { state: State::Finishing, effects: vec![effect] };
    };
    let (later, drained) = (later.cloned().collect::<Vec<_>>(), batch.iter().filter(|placement| placement.drain));
    let effects: Vec<Effect> = drained
        .map(|placement| Effect::EnsureNoSends {
            instance: placement.instance.clone(),
            name: placement.spec.id.clone(),
            place: placement.place.clone(),
        })
        .collect();
    if effects.is_empty() {
        return placing(batch, &later, ending, false);
    }
    let instances = batch.iter().filter(|placement| placement.drain).map(|placement| placement.spec.id.clone()).collect();
    Next { state: State::Draining { instances, batch: batch.clone(), later, ending: ending.clone() }, effects }
}

fn placing(batch: &[Placement], later: &[Vec<Placement>], ending: &Ending, drained: bool) -> Next<State, Effect> {
    let hosts: BTreeMap<&String, &String> = batch.iter().map(|placement| (&placement.host, &placement.place)).collect();
    let effects = hosts.iter().map(|(host, place)| Effect::EnsureDesired {
        host: (*host).clone(),
        place: (*place).clone(),
        placements: batch.iter().filter(|placement| placement.host == **host).cloned().collect(),
    });
    let awaited = batch.iter().map(|placement| Awaited {
        instance: placement.instance.clone(),
        name: placement.spec.id.clone(),
        host: placement.host.clone(),
        place: placement.place.clone(),
        phase: placement.spec.phase,
        hash: placement.spec.hash.clone(),
    });
    let state = State::Placing {
        drained,
        hosts: hosts.values().map(|place| (*place).clone()).collect(),
        batch: awaited.collect(),
        later: later.to_vec(),
        ending: ending.clone(),
    };
    Next { state, effects: effects.collect() }
}

fn end(state: State) -> Next<State, Effect> {
    Next { state, effects: Vec::new() }
}

macro_rules! machine {
    ($name:ident, $kind:literal, $title:ident) => {
        impl Machine for $name {
            const KIND: &'static str = $kind;
            type State = State;
            type Command = Command;
            type Effect = Effect;

            fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
                step(state, command)
            }

            fn status(state: &State) -> Status {
                match state {
                    State::Planned { .. }
                    | State::Draining { .. }
                    | State::Placing { .. }
                    | State::Waiting { .. }
                    | State::Finishing => Status::Running,
                    State::Done => Status::Done,
                    State::Failed { .. } => Status::Failed,
                    State::Cancelled => Status::Cancelled,
                }
            }

            fn effect_name(effect: &Effect) -> &'static str {
                match effect {
                    Effect::EnsureNoSends { .. } => "ensure_no_sends",
                    Effect::EnsureDesired { .. } => "ensure_desired",
                    Effect::AwaitInstance(_) => "await_instance",
                    Effect::EnsureStore { .. } => "ensure_store",
                    Effect::EnsureRowsGone { .. } => "ensure_rows_gone",
                }
            }

            fn target(effect: &Effect) -> String {
                match effect {
                    Effect::EnsureNoSends { place, .. } | Effect::EnsureDesired { place, .. } => place.clone(),
                    Effect::AwaitInstance(awaited) => awaited.place.clone(),
                    Effect::EnsureStore { .. } | Effect::EnsureRowsGone { .. } => "portal".to_owned(),
                }
            }

            fn title(m: Messages) -> &'static str {
                m.$title()
            }

            fn effect_title(m: Messages, name: &str) -> String {
                match name {
                    "ensure_no_sends" => m.services_effect_drain().to_owned(),
                    "ensure_desired" => m.services_effect_desired().to_owned(),
                    "await_instance" => m.services_effect_await().to_owned(),
                    "ensure_store" => m.services_effect_store().to_owned(),
                    "ensure_rows_gone" => m.services_effect_rows().to_owned(),
                    other => other.replace('_', " "),
                }
            }

            fn command_title(m: Messages, name: &str) -> String {
                match name {
                    "drained" => m.services_command_drained().to_owned(),
                    "placed" => m.services_command_placed().to_owned(),
                    "reached" => m.services_command_reached().to_owned(),
                    "superseded" => m.services_command_superseded().to_owned(),
                    "finished" => m.services_command_finished().to_owned(),
                    "cancel" => m.services_command_cancel().to_owned(),
                    other => other.replace('_', " "),
                }
            }
        }
    };
}

machine!(Install, "service.install", services_flow_install);
machine!(Change, "service.change", services_flow_change);
machine!(Remove, "service.remove", services_flow_remove);

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
