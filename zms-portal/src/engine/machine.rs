//! What a slice writes: a pure machine, and somebody who performs its effects.

use std::fmt;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Text;
use crate::web::messages::Messages;

/// A state machine: no clock, no I/O. State, commands and effects are kept as JSON, so a released shape is only ever added to, and
/// no secret belongs into them: they are shown as history.
pub trait Machine: 'static {
    /// Names the machine in the database, for example `service.install`.
    const KIND: &'static str;
    /// Where a flow stands. A state holds what its next steps need.
    type State: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// What moves it: a person's wish, or what came of an effect.
    type Command: Serialize + DeserializeOwned + Send + Sync;
    /// What is to be done outside.
    type Effect: Serialize + DeserializeOwned + Send + Sync;

    /// The one decision: where `command` leads from `state`.
    fn step(state: &Self::State, command: &Self::Command) -> Result<Next<Self::State, Self::Effect>, Refused>;

    /// A final status frees the flow's lock and cancels what is still due; after it every command is refused. A flow that a person
    /// may try again is `Waiting`, not `Failed`.
    fn status(state: &Self::State) -> Status;

    /// Names the step in lists, for example `place_files`.
    fn effect_name(effect: &Self::Effect) -> &'static str;

    /// Whose overload it would be: a cluster, a host, the portal. At most four effects of a target are under way.
    fn target(effect: &Self::Effect) -> String;

    /// Is an effect that is still due wanted in `state`? What is not is cancelled with the step that led there.
    fn wanted(_state: &Self::State, _effect: &Self::Effect) -> bool {
        true
    }

    /// The flow's title for people, for example "Installation".
    fn title(_m: Messages) -> &'static str {
        Self::KIND
    }

    /// An effect's title for people; `name` is what [`Machine::effect_name`] said.
    fn effect_title(_m: Messages, name: &str) -> String {
        name.replace('_', " ")
    }

    /// A command's title for people; `name` is its variant as serde writes it.
    fn command_title(_m: Messages, name: &str) -> String {
        name.replace('_', " ")
    }
}

/// Where a step led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next<S, E> {
    /// The new state.
    pub state: S,
    /// What is to be done now. These run side by side and in no order: where order matters, put a state between.
    pub effects: Vec<E>,
}

/// Why a step was not taken. Nothing changes then.
#[derive(Debug, Clone)]
pub enum Refused {
    /// The flow has moved on: the command says nothing to this state.
    Stale,
    /// A reason for people.
    Because(Text),
}

impl Refused {
    /// For example `Refused::because(|m| m.services_is_stopped().to_owned())`.
    pub fn because(say: impl Fn(Messages) -> String + Send + Sync + 'static) -> Self {
        Self::Because(Text::new(say))
    }

    /// The reason as a sentence.
    pub fn text(self) -> Text {
        match self {
            Self::Stale => Text::new(|m| m.engine_stale().to_owned()),
            Self::Because(text) => text,
        }
    }
}

/// What a flow's state means to everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Effects are under way.
    Running,
    /// A person or a time has to come.
    Waiting,
    /// Ended as wished.
    Done,
    /// Ended otherwise.
    Failed,
    /// Ended because somebody wished so.
    Cancelled,
}

impl Status {
    /// All, in the order of a flow's life.
    pub const ALL: [Self; 5] = [Self::Running, Self::Waiting, Self::Done, Self::Failed, Self::Cancelled];

    /// Has the flow ended?
    pub fn is_final(self) -> bool {
        match self {
            Self::Running | Self::Waiting => false,
            Self::Done | Self::Failed | Self::Cancelled => true,
        }
    }

    /// As the database and the API write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Does the effects of a machine on the outside world.
///
/// An effect happens at least once: a portal may die between the act and its outcome. So it is written `ensure_…`, reads what is
/// wanted now before it acts, and does nothing if that is newer than the effect.
pub trait Perform<M: Machine>: Send + Sync + 'static {
    /// Does it, with a deadline on every wait. The future is dropped when the lease is lost or the portal ends.
    fn perform(&self, context: &EffectContext, effect: &M::Effect) -> impl Future<Output = Outcome<M::Command>> + Send;
}

/// Which effect is performed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectContext {
    /// Its flow.
    pub flow_id: String,
    /// The same for every attempt: a key for what must not happen twice elsewhere.
    pub effect_id: String,
    /// 1 for the first; counts failures, and portals that died, since the last [`Outcome::Again`].
    pub attempt: i64,
    /// When the flow asked for it, milliseconds since 1970. With `now_ms`: how long it has been waited for.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<C> {
    /// It is done; the machine is told so. A failure that shall end the flow is a command too.
    Done(C),
    /// Not there yet, which is no failure: the step shows as waiting for `why`.
    Again {
        /// Look again after this time.
        after_ms: i64,
        /// A sentence for people.
        why: String,
    },
    /// It went wrong, and the sentence is shown. It is tried again, later each time.
    Failed(String),
}
