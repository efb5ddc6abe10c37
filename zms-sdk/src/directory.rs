//! Where topics live and what groups want, as it is known now: each topic and group that is used has one task that follows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use zms_core::metadata::path::Path;
use zms_core::metadata::{BrokerKind, ClusterNode, GroupNode, Order, TopicNode};
use zms_core::names::{ClusterName, PhysicalName};

use crate::Error;
use crate::follow::{Follow, Source, Step};
use crate::route::{self, Known, Place, Plan, Verdict};
use crate::tasks::Tasks;

/// What is known of something.
#[derive(Debug)]
pub enum Status<T> {
    /// Nothing, and why.
    Looking(String),
    /// Nothing, and asking again is of no use until somebody changes something.
    Failed(Error),
    /// This, even if it was deleted or ZooKeeper is away.
    Known(Arc<T>),
}

impl<T> Clone for Status<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Looking(why) => Self::Looking(why.clone()),
            Self::Failed(error) => Self::Failed(error.clone()),
            Self::Known(known) => Self::Known(Arc::clone(known)),
        }
    }
}

/// A topic with the clusters that its plan names.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    pub order: Order,
    pub plan: Plan,
    pub clusters: BTreeMap<ClusterName, ClusterNode>,
}

impl Topic {
    /// The cluster of a place of this plan, and what runs there.
    pub fn at(&self, place: &Place) -> (BrokerKind, &ClusterNode) {
        let node = &self.clusters[&place.cluster];
        (place.kind.unwrap_or(node.broker), node)
    }
}

type Watched<T> = HashMap<PhysicalName, watch::Receiver<Status<T>>>;

/// See the module.
pub struct Directory {
    source: Arc<Source>,
    topics: Mutex<Watched<Topic>>,
    groups: Mutex<Watched<GroupNode>>,
    clusters: Mutex<HashMap<(String, ClusterName), Cluster>>,
    tasks: Tasks,
}

#[derive(Clone)]
struct Cluster {
    node: ClusterNode,
    /// When ZooKeeper said so; `None`: never in this process.
    read_at: Option<Instant>,
}

impl Directory {
    pub fn new(source: Arc<Source>, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self { source, topics: Mutex::default(), groups: Mutex::default(), clusters: Mutex::default(), tasks })
    }

    /// Follows a topic.
    pub fn topic(self: &Arc<Self>, name: &PhysicalName) -> watch::Receiver<Status<Topic>> {
        let start = |status| {
            let follow = Follow::new(&self.source, &Path::Topic(name.clone()), format!("topic {name}"));
            self.tasks.spawn(follow_topic(Arc::clone(self), name.clone(), follow, status));
        };
        watched(&mut lock(&self.topics), name, start)
    }

    /// Follows a group.
    pub fn group(self: &Arc<Self>, name: &PhysicalName) -> watch::Receiver<Status<GroupNode>> {
        let start = |status| {
            let follow = Follow::new(&self.source, &Path::Group(name.clone()), format!("group {name}"));
            self.tasks.spawn(follow_group(Arc::clone(&self.source), follow, status));
        };
        watched(&mut lock(&self.groups), name, start)
    }

    /// Waits until something is known, at most as long after `since` as the settings say.
    pub async fn known<T>(&self, what: &str, status: &mut watch::Receiver<Status<T>>, since: Instant) -> Result<Arc<T>, Error> {
        let waited = self.source.waits.metadata;
        let end = since + waited;
        loop {
            let why = match &*status.borrow_and_update() {
                Status::Known(known) => return Ok(Arc::clone(known)),
                Status::Failed(error) => return Err(error.clone()),
                Status::Looking(why) => why.clone(),
            };
            match timeout_at(end, status.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_ended)) => return Err(Error::Closed),
                Err(_late) => return Err(Error::NoMetadata { what: what.to_owned(), waited, why }),
            }
        }
    }

    /// Everything that a plan needs. The second value: all of it is as fresh as it can be.
    async fn resolve(&self, known: &Known) -> Result<(Topic, bool), String> {
        let (mut clusters, mut fresh) = (BTreeMap::new(), true);
        for place in known.plan.read.iter().chain([&known.plan.write]) {
            if !clusters.contains_key(&place.cluster) {
                let (node, read_now) = self.cluster(&known.environment, &place.cluster).await?;
                fresh &= read_now;
                clusters.insert(place.cluster.clone(), node);
            }
        }
        Ok((Topic { order: known.order, plan: known.plan.clone(), clusters }, fresh))
    }

    /// A cluster's node: what was read a moment ago, else what ZooKeeper says, else what is known, also from disk.
    async fn cluster(&self, environment: &str, name: &ClusterName) -> Result<(ClusterNode, bool), String> {
        let key = (environment.to_owned(), name.clone());
        let known = lock(&self.clusters).get(&key).cloned();
        let moment = self.source.waits.reread / 4;
        if let Some(known) = known.as_ref().filter(|known| known.read_at.is_some_and(|at| at.elapsed() < moment)) {
            return Ok((known.node.clone(), true));
        }
        let path = Path::Cluster(name.clone()).to_string();
        let why = match self.read_cluster(environment, &path).await {
            Ok((read, data)) => {
                let before = match known {
                    Some(known) => Some(known.node),
                    None => self.earlier_cluster(environment, &path).await,
                };
                let node = match before {
                    Some(known) if !route::newer(Some(&known), &read) => known,
                    _ => {
                        self.source.save(&path, environment, &data).await;
                        read
                    }
                };
                lock(&self.clusters).insert(key, Cluster { node: node.clone(), read_at: Some(Instant::now()) });
                return Ok((node, true));
            }
            Err(why) => why,
        };
        if let Some(known) = known {
            return Ok((known.node, false));
        }
        let node = self.earlier_cluster(environment, &path).await.ok_or(format!("cluster {name}: {why}"))?;
        lock(&self.clusters).insert(key, Cluster { node: node.clone(), read_at: None });
        Ok((node, false))
    }

    /// What the copy on disk says.
    async fn earlier_cluster(&self, environment: &str, path: &str) -> Option<ClusterNode> {
        let copy = self.source.load(path).await.filter(|copy| copy.environment == environment)?;
        ClusterNode::parse(&copy.data).ok()
    }

    async fn read_cluster(&self, environment: &str, path: &str) -> Result<(ClusterNode, Vec<u8>), String> {
        if self.source.environment().await? != environment {
            return Err("ZooKeeper serves another environment".to_owned());
        }
        let node = self.source.meta.get(path).await.map_err(|error| error.to_string())?;
        let node = node.ok_or_else(|| format!("{path} is not in ZooKeeper"))?;
        Ok((ClusterNode::parse(&node.data).map_err(|error| format!("{path}: {error}"))?, node.data.to_vec()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The receiver of a name; whoever asks first starts its task.
fn watched<T>(
    all: &mut Watched<T>,
    name: &PhysicalName,
    start: impl FnOnce(watch::Sender<Status<T>>),
) -> watch::Receiver<Status<T>> {
    if let Some(known) = all.get(name) {
        return known.clone();
    }
    let (sender, receiver) = watch::channel(Status::Looking("ZooKeeper was not asked yet".to_owned()));
    start(sender);
    all.insert(name.clone(), receiver.clone());
    receiver
}

/// Says what hinders, unless something is known.
fn tell<T>(status: &watch::Sender<Status<T>>, news: Status<T>) {
    status.send_if_modified(|now| {
        let first = !matches!(now, Status::Known(_));
        if first {
            *now = news;
        }
        first
    });
}

async fn follow_topic(directory: Arc<Directory>, name: PhysicalName, mut follow: Follow, status: watch::Sender<Status<Topic>>) {
    let waits = directory.source.waits;
    let (mut known, mut failures): (Option<Known>, u32) = (None, 0);
    // When the clusters of the plan are looked at again.
    let mut again: Option<Instant> = None;
    loop {
        let step = tokio::select! {
            step = follow.next(known.is_some()) => Some(step),
            () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => None,
        };
        if let Some(step) = step {
            take_topic(&directory.source, &name, &mut follow, &mut known, &status, step).await;
        }
        let Some(following) = &known else { continue };
        match directory.resolve(following).await {
            Ok((topic, fresh)) => {
                status.send_if_modified(|now| {
                    let changed = !matches!(now, Status::Known(before) if **before == topic);
                    if changed {
                        tracing::info!(topic = %name, order = ?topic.order, write = %topic.plan.write.cluster, "where the topic lives");
                        *now = Status::Known(Arc::new(topic));
                    }
                    changed
                });
                failures = if fresh { 0 } else { failures.saturating_add(1) };
                again = Some(Instant::now() + if fresh { waits.next_reread() } else { waits.back_off(failures) });
            }
            Err(why) => {
                // What was followed before goes on until all of the new plan is known.
                failures = failures.saturating_add(1);
                again = Some(Instant::now() + waits.back_off(failures));
                tracing::warn!(topic = %name, why, "where the topic lives is not clear yet");
                tell(&status, Status::Looking(why));
            }
        }
    }
}

/// One step of a topic's node: changes `known` if the node says something new.
async fn take_topic(
    source: &Source,
    name: &PhysicalName,
    follow: &mut Follow,
    known: &mut Option<Known>,
    status: &watch::Sender<Status<Topic>>,
    mut step: Step,
) {
    loop {
        let (environment, data, live) = match step {
            Step::Value { environment, data, live } => (environment, data, live),
            Step::Waiting(why) => return tell(status, Status::Looking(why)),
            Step::Failed(error) => {
                if known.is_some() {
                    tracing::warn!(topic = %name, %error, "going on with what is known");
                }
                return tell(status, Status::Failed(error));
            }
        };
        // What an earlier run followed counts as known, so that a restart does not go back to an older value either.
        let floor = match known {
            None if live => earlier(source, name, follow.path(), &environment).await,
            _ => None,
        };
        let before = known.as_ref().or(floor.as_ref());
        let verdict = TopicNode::parse(&data).map(|node| route::decide(name, before, &environment, &node));
        let why = match verdict {
            Ok(Verdict::Take(taken)) => {
                *known = Some(taken);
                if live {
                    source.save(follow.path(), &environment, &data).await;
                }
                return;
            }
            Ok(same_or_older @ (Verdict::Same | Verdict::Older)) => {
                if same_or_older == Verdict::Older {
                    tracing::warn!(topic = %name, "ZooKeeper has an older value than the one that is followed; it is ignored");
                }
                if known.is_none() {
                    *known = floor;
                }
                return;
            }
            Ok(Verdict::Unusable(why)) => why.to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(topic = %name, why, "the value of the topic's node is not usable; the last good one stays");
        if known.is_some() {
            return;
        }
        match follow.fall_back().await {
            Some(disk @ Step::Value { .. }) if live => step = disk,
            _ => return tell(status, Status::Looking(format!("the value of its node is not usable: {why}"))),
        }
    }
}

/// What the copy on disk says, if it is of the same environment.
async fn earlier(source: &Source, name: &PhysicalName, path: &str, environment: &str) -> Option<Known> {
    let copy = source.load(path).await.filter(|copy| copy.environment == environment)?;
    match route::decide(name, None, environment, &TopicNode::parse(&copy.data).ok()?) {
        Verdict::Take(known) => Some(known),
        Verdict::Same | Verdict::Older | Verdict::Unusable(_) => None,
    }
}

async fn follow_group(source: Arc<Source>, mut follow: Follow, status: watch::Sender<Status<GroupNode>>) {
    let mut known: Option<(String, GroupNode)> = None;
    loop {
        let mut step = Some(follow.next(known.is_some()).await);
        while let Some(now) = step.take() {
            let (environment, data, live) = match now {
                Step::Value { environment, data, live } => (environment, data, live),
                Step::Waiting(why) => {
                    tell(&status, Status::Looking(why));
                    continue;
                }
                Step::Failed(error) => {
                    tell(&status, Status::Failed(error));
                    continue;
                }
            };
            match GroupNode::parse(&data) {
                Ok(node) => {
                    if known.is_none() && live {
                        let copy = source.load(follow.path()).await.filter(|copy| copy.environment == environment);
                        let earlier = copy.and_then(|copy| GroupNode::parse(&copy.data).ok());
                        if let Some(earlier) = earlier.filter(|earlier| earlier.order > node.order) {
                            status.send_replace(Status::Known(Arc::new(earlier.clone())));
                            known = Some((environment.clone(), earlier));
                        }
                    }
                    let older = known.as_ref().is_some_and(|(of, before)| *of == environment && node.order < before.order);
                    if older {
                        tracing::warn!(
                            path = follow.path(),
                            "ZooKeeper has an older value than the one that is followed; it is ignored"
                        );
                        continue;
                    }
                    if live {
                        source.save(follow.path(), &environment, &data).await;
                    }
                    known = Some((environment, node.clone()));
                    status.send_replace(Status::Known(Arc::new(node)));
                }
                Err(error) => {
                    tracing::warn!(path = follow.path(), %error, "the value of the group's node is not usable; the last good one stays");
                    if known.is_none() && live {
                        step = follow.fall_back().await.filter(|step| matches!(step, Step::Value { .. }));
                        if step.is_none() {
                            tell(&status, Status::Looking(format!("the value of its node is not usable: {error}")));
                        }
                    }
                }
            }
        }
    }
}
