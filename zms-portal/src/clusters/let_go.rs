//! An adopted cluster is let go: what applications read of it goes, then its row. Nothing on its brokers is touched.

use serde::{Deserialize, Serialize};
use serde_json::json;
use zms_core::metadata::Order;
use zms_core::names::PhysicalName;

use super::adopt::{must_be_adopted, target};
use super::perform::{GROUPS, STATISTICS, home_of};
use super::way::reference;
use super::{Cluster, environment_of, store, subject};
use crate::access::{Actor, Role};
use crate::app::App;
use crate::engine::{EffectContext, Machine, NewFlow, Next, Outcome, Perform, Refused, Status};
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::hindrance::Hindrance;
use crate::metadata::Wanted;
use crate::web::messages::Messages;

/// See the module.
pub struct LetGo;

/// Where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// What applications read of it is being taken away.
    Withdrawing,
    /// It is not there any more.
    Done,
}

/// What moves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Neither node nor row are there.
    Gone,
}

/// What is done outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// No node names it, then no row either.
    EnsureGone {
        /// Id of the cluster.
        cluster: String,
        /// Its name.
        name: String,
    },
}

impl Machine for LetGo {
    const KIND: &'static str = "cluster.let_go";
    type State = State;
    type Command = Command;
    type Effect = Effect;

    fn step(state: &State, command: &Command) -> Result<Next<State, Effect>, Refused> {
        match (state, command) {
            (State::Withdrawing, Command::Gone) => Ok(Next { state: State::Done, effects: Vec::new() }),
            (State::Done, Command::Gone) => Err(Refused::Stale),
        }
    }

    fn status(state: &State) -> Status {
        match state {
            State::Withdrawing => Status::Running,
            State::Done => Status::Done,
        }
    }

    fn effect_name(_: &Effect) -> &'static str {
        "ensure_gone"
    }

    fn target(effect: &Effect) -> String {
        let Effect::EnsureGone { name, .. } = effect;
        format!("cluster {name}")
    }

    fn title(m: Messages) -> &'static str {
        m.clusters_flow_let_go()
    }

    fn effect_title(m: Messages, _: &str) -> String {
        m.clusters_step_gone().to_owned()
    }

    fn command_title(m: Messages, _: &str) -> String {
        m.clusters_command_let_go().to_owned()
    }
}

/// Lets an adopted cluster go; for operators. The flow's id.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] for one that ZMS installed, while governed topics live there, and while another flow holds it.
pub async fn let_go(app: &App, actor: Actor<'_>, environment: &Environment, name: &str, now_ms: i64) -> Result<String> {
    let target = target(environment, name);
    actor.require(&app.db, Role::Operator, "cluster.let_go", &target, now_ms).await?;
    let mut tx = app.db.begin().await?;
    let cluster = store::find(&mut *tx, &environment.id, name).await?;
    must_be_adopted(&cluster)?;
    no_topics(store::topics_on(&mut tx, &cluster.id).await?)?;
    let subject = subject(&cluster.name);
    let new = NewFlow::<LetGo> {
        environment_id: Some(&environment.id),
        subject: &subject,
        lock: Some(&subject),
        state: State::Withdrawing,
        effects: vec![Effect::EnsureGone { cluster: cluster.id.clone(), name: cluster.name.to_string() }],
        by: &actor.user.name,
        now_ms,
    };
    let flow = app.engine.start::<LetGo>(&mut tx, new).await?;
    actor.record(&mut tx, "cluster.let_go", &target, json!({ "flow": flow }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

fn no_topics(topics: i64) -> Result<()> {
    if topics == 0 { Ok(()) } else { Err(Error::conflict(move |m| m.clusters_has_topics(topics))) }
}

pub(super) struct Performer(pub App);

impl Perform<LetGo> for Performer {
    async fn perform(&self, _: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let Effect::EnsureGone { cluster, .. } = effect;
        match self.ensure_gone(cluster).await {
            Ok(()) => Outcome::Done(Command::Gone),
            Err(hindrance) => hindrance.outcome(),
        }
    }
}

impl Performer {
    async fn ensure_gone(&self, id: &str) -> Result<(), Hindrance> {
        let app = &self.0;
        let cluster = match super::by_id(&app.db, id).await {
            Err(Error::NotFound) => return Ok(()),
            found => found?,
        };
        if cluster.epoch > 0 {
            self.withdraw(&cluster).await?;
        }
        let mut tx = app.db.begin().await?;
        // A topic may have been taken over between the wish and now.
        if store::topics_on(&mut tx, id).await? > 0 {
            return Err(Hindrance::Stuck(format!("governed topics live on {}: move or remove them first", cluster.name)));
        }
        app.vault.remove(&mut tx, &reference(id)).await?;
        store::delete(&mut tx, id).await?;
        tx.commit().await?;
        app.brokers.forget(id);
        tracing::info!(cluster = %cluster.name, "let a cluster go");
        Ok(())
    }

    /// Nodes that name it: topics of statistics first, the cluster's own last.
    async fn withdraw(&self, cluster: &Cluster) -> Result<(), Hindrance> {
        let environment = environment_of(&self.0.db, cluster).await?;
        let name = |text: &str| PhysicalName::new(text).expect("our own names are names");
        let mut nodes = Vec::new();
        let mut topics = Vec::new();
        for topic in STATISTICS {
            // Those of a first ZMS may be elsewhere.
            if home_of(&self.0, &environment, topic).await?.as_ref() == Some(&cluster.name) {
                topics.push(topic);
            }
        }
        nodes.extend(GROUPS.iter().filter(|(_, topic)| topics.contains(topic)).map(|(group, _)| Wanted::NoGroup(name(group))));
        nodes.extend(topics.iter().map(|topic| Wanted::NoTopic(name(topic))));
        nodes.push(Wanted::NoCluster(cluster.name.clone()));
        for wanted in &nodes {
            self.0.metadata.publish(&environment, wanted, Order::default()).await?;
        }
        Ok(())
    }
}
