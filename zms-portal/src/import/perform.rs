//! Makes rows of nodes, and then the tree this environment's.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use super::flow::{Command, Effect, Import, Part, Task};
use super::plan::{self, Plan};
use crate::access::{Actor, User};
use crate::app::{App, new_id, now_ms};
use crate::clusters::{self, Cluster};
use crate::db::is_taken;
use crate::engine::{EffectContext, Outcome, Perform};
use crate::environments::{self, Environment};
use crate::error::Error;
use crate::groups::{self, Group};
use crate::hindrance::Hindrance;
use crate::metadata::rights;
use crate::topics::{self, State, Topic};
use crate::web::messages::Messages;

/// Rows of one transaction: nobody else writes meanwhile.
const BATCH: usize = 200;
/// For asking a cluster how its topics are laid out. One that is away does not stop an import.
const LAYOUT: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Performer(pub App);

impl Perform<Import> for Performer {
    async fn perform(&self, _: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let done = match effect {
            Effect::EnsureRows { task, part } => {
                self.ensure_rows(task, *part).await.map(|rows| Command::Added { part: *part, rows })
            }
            Effect::EnsureOurs { task } => self.ensure_ours(task).await.map(|()| Command::TakenOver),
        };
        match done {
            Ok(command) => Outcome::Done(command),
            Err(hindrance) => hindrance.outcome(),
        }
    }
}

impl Performer {
    /// The environment, and what is in its tree now.
    async fn found(&self, task: &Task) -> Result<(Environment, Plan), Hindrance> {
        let environment = environments::by_id(&self.0.db, &task.environment).await?;
        let plan = plan::of(&self.0, &environment).await.map_err(|error| match error {
            Error::Unavailable(text) => Hindrance::Later(text.say(Messages::ENGLISH)),
            other => other.into(),
        })?;
        Ok((environment, plan))
    }

    async fn ensure_rows(&self, task: &Task, part: Part) -> Result<u64, Hindrance> {
        let (environment, plan) = self.found(task).await?;
        match part {
            Part::Clusters => self.clusters(&environment, plan, task).await,
            Part::Topics => self.topics(&environment, plan, task).await,
            Part::Groups => self.groups(&environment, plan, task).await,
        }
    }

    async fn clusters(&self, environment: &Environment, plan: Plan, task: &Task) -> Result<u64, Hindrance> {
        // The role was asked for when it began.
        let user = User { id: task.by.clone(), name: task.by.clone(), roles: Vec::new(), language: String::new() };
        let actor = Actor { user: &user, address: &task.address };
        let mut added = 0;
        let mut tx = self.0.db.begin().await?;
        for found in plan.clusters.iter().filter(|found| !found.known) {
            let adopted = (&found.new_cluster(), found.epoch);
            let done = clusters::adopt_found(&self.0, &mut tx, actor, environment, adopted, now_ms()).await;
            done.map_err(|error| match error {
                Error::Invalid(problems) => {
                    let why = problems.first().map(|problem| problem.text.say(Messages::ENGLISH)).unwrap_or_default();
                    Hindrance::Stuck(format!("cluster {}: {why}", found.name))
                }
                other => other.into(),
            })?;
            added += 1;
        }
        tx.commit().await?;
        Ok(added)
    }

    async fn topics(&self, environment: &Environment, plan: Plan, task: &Task) -> Result<u64, Hindrance> {
        let clusters = clusters::list(&self.0.db, &environment.id).await?;
        // Side by side: one that is away delays no other.
        let layouts = clusters.iter().map(async |cluster| (cluster.id.clone(), self.layout(cluster).await));
        let layouts: BTreeMap<_, _> = join_all(layouts).await.into_iter().collect();
        let home = |name: &str| clusters.iter().find(|cluster| cluster.name.as_str() == name);
        let new = plan.topics.into_iter().filter(|found| !found.known).filter_map(|found| {
            let cluster = home(found.cluster.as_str())?;
            let layout = layouts.get(&cluster.id).and_then(|layout| layout.get(found.name.as_str()));
            let (partitions, replicas) = layout.copied().unwrap_or_default();
            Some(Topic {
                id: new_id(),
                environment_id: environment.id.clone(),
                name: found.name,
                cluster_id: cluster.id.clone(),
                partitions,
                replicas,
                config: BTreeMap::new(),
                owner: task.by.clone(),
                about: String::new(),
                state: State::Active,
                order: found.order,
                created_at: now_ms(),
            })
        });
        let new: Vec<Topic> = new.collect();
        let mut added = 0;
        for batch in new.chunks(BATCH) {
            let mut tx = self.0.db.begin().await?;
            for topic in batch {
                topics::insert(&mut tx, topic).await.map_err(taken)?;
                topics::set_order(&mut tx, &topic.id, topic.order).await?;
                added += 1;
            }
            tx.commit().await?;
        }
        self.learn_layouts(environment, &layouts).await?;
        Ok(added)
    }

    /// Topics that were imported while their cluster was away.
    async fn learn_layouts(
        &self,
        environment: &Environment,
        layouts: &BTreeMap<String, BTreeMap<String, (i32, i16)>>,
    ) -> Result<(), Hindrance> {
        let unknown = topics::list(&self.0.db, &environment.id).await?.into_iter().filter(|topic| topic.partitions == 0);
        let learnt: Vec<(String, i32, i16)> = unknown
            .filter_map(|topic| {
                let (partitions, replicas) = layouts.get(&topic.cluster_id)?.get(topic.name.as_str())?;
                Some((topic.id, *partitions, *replicas))
            })
            .collect();
        for batch in learnt.chunks(BATCH) {
            let mut tx = self.0.db.begin().await?;
            for (id, partitions, replicas) in batch {
                topics::set_layout(&mut tx, id, *partitions, *replicas).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Partitions and replicas of a cluster's topics; empty if it does not say.
    async fn layout(&self, cluster: &Cluster) -> BTreeMap<String, (i32, i16)> {
        let ask = async { self.0.brokers.admin(cluster)?.topics().await };
        match tokio::time::timeout(LAYOUT, ask).await {
            Ok(Ok(topics)) => topics
                .into_iter()
                .map(|topic| {
                    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                    let replicas = i16::try_from(topic.replicas()).unwrap_or(i16::MAX);
                    (topic.name.to_string(), (partitions, replicas))
                })
                .collect(),
            Ok(Err(error)) => {
                tracing::info!(cluster = %cluster.name, %error, "topics are imported without their layout");
                BTreeMap::new()
            }
            Err(_late) => {
                tracing::info!(cluster = %cluster.name, "topics are imported without their layout: no answer in time");
                BTreeMap::new()
            }
        }
    }

    async fn groups(&self, environment: &Environment, plan: Plan, task: &Task) -> Result<u64, Hindrance> {
        let topics = topics::list(&self.0.db, &environment.id).await?;
        let ids: BTreeMap<&str, &str> = topics.iter().map(|topic| (topic.name.as_str(), topic.id.as_str())).collect();
        let new = plan.groups.into_iter().filter(|found| !found.known).filter_map(|found| {
            let topic = ids.get(found.topic.as_str())?;
            Some(Group {
                id: new_id(),
                environment_id: environment.id.clone(),
                name: found.name,
                from: found.from,
                broadcast: found.broadcast,
                owner: task.by.clone(),
                about: String::new(),
                state: State::Active,
                topics: vec![(*topic).to_owned()],
                order: found.order,
                created_at: now_ms(),
            })
        });
        let new: Vec<Group> = new.collect();
        let mut added = 0;
        for batch in new.chunks(BATCH) {
            let mut tx = self.0.db.begin().await?;
            for group in batch {
                groups::insert(&mut tx, group).await.map_err(taken)?;
                groups::set_order(&mut tx, &group.id, group.order).await?;
                added += 1;
            }
            tx.commit().await?;
        }
        Ok(added)
    }

    async fn ensure_ours(&self, task: &Task) -> Result<(), Hindrance> {
        let (environment, plan) = self.found(task).await?;
        self.0.metadata.adopt(&environment, plan.term()).await?;
        let mut tx = self.0.db.begin().await?;
        clusters::begin_statistics(&self.0, &mut tx, &environment.id, &task.by, now_ms()).await?;
        if task.renew_rights {
            rights::begin_renewal(&self.0, &mut tx, &environment.id, &task.by, now_ms()).await?;
        }
        tx.commit().await?;
        self.0.engine.wake();
        Ok(())
    }
}

/// Somebody was quicker: the next try finds it known.
fn taken(error: sqlx::Error) -> Hindrance {
    if is_taken(&error) { Hindrance::Later("a name was taken meanwhile".to_owned()) } else { error.into() }
}
