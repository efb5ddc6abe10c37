//! What an approver is offered: a cluster, partitions and replicas, and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zms_core::metadata::BrokerKind;
use zms_drivers::broker::not_internal;

use super::TopicWish;
use crate::app::App;
use crate::clusters::{self, Cluster};
use crate::error::Result;

/// A cluster that says nothing for so long is shown as away.
const DEADLINE: Duration = Duration::from_secs(3);
/// What one partition should carry, bytes a second: consumers keep up with it on one thread.
const PER_PARTITION: u64 = 5_000_000;
/// Partitions are a multiple of this, so that they spread evenly over three consumers.
const MULTIPLE: u64 = 3;

/// What an approver chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({ "cluster": "kafka", "partitions": 3, "replicas": 1 }))]
pub struct Choice {
    /// Name of the cluster; for a group it is that of its topic.
    pub cluster: String,
    /// Partitions.
    pub partitions: i32,
    /// Replicas. On RocketMQ they are not looked at: the slaves of its masters are replicas of all topics alike.
    pub replicas: i16,
}

/// A cluster as an approver sees it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Which one.
    pub cluster: Cluster,
    /// Brokers that are up; or why nothing is known.
    pub brokers: Result<usize, String>,
    /// Topics that are there.
    pub topics: Option<usize>,
    /// Partitions that are there.
    pub partitions: Option<usize>,
}

/// What is offered.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Clusters of the environment; those with the fewest partitions first, those that are away last.
    pub candidates: Vec<Candidate>,
    /// The best choice.
    pub choice: Choice,
    /// Bytes a second that were asked for.
    pub bytes: u64,
}

impl Proposal {
    /// Is a cluster of RocketMQ among them?
    pub fn has_rocketmq(&self) -> bool {
        self.candidates.iter().any(|candidate| candidate.cluster.broker == BrokerKind::RocketMq)
    }
}

/// Looks at the environment's clusters, all at once.
pub async fn propose(app: &App, environment_id: &str, wish: &TopicWish) -> Result<Proposal> {
    let clusters = clusters::list(&app.db, environment_id).await?;
    let mut candidates = futures::future::join_all(clusters.into_iter().map(|cluster| look(app, cluster))).await;
    candidates.sort_by_key(|candidate| (candidate.brokers.is_err(), candidate.partitions, candidate.cluster.name.clone()));
    let brokers = candidates.first().and_then(|best| best.brokers.as_ref().ok()).copied().unwrap_or(1);
    let bytes = u64::from(wish.rate) * u64::from(wish.size);
    let choice = Choice {
        cluster: candidates.first().map(|best| best.cluster.name.to_string()).unwrap_or_default(),
        partitions: partitions(bytes),
        replicas: i16::try_from(brokers.clamp(1, 3)).unwrap_or(1),
    };
    Ok(Proposal { candidates, choice, bytes })
}

fn partitions(bytes: u64) -> i32 {
    let needed = bytes.div_ceil(PER_PARTITION).max(1);
    i32::try_from(needed.div_ceil(MULTIPLE) * MULTIPLE).unwrap_or(i32::MAX)
}

async fn look(app: &App, cluster: Cluster) -> Candidate {
    let ask = async {
        let admin = app.brokers.admin(&cluster)?;
        Ok::<_, zms_drivers::broker::BrokerError>((admin.describe().await?, admin.topics().await?))
    };
    match tokio::time::timeout(DEADLINE, ask).await {
        Ok(Ok((view, topics))) => {
            let (topics, partitions) = not_internal(&topics);
            Candidate { cluster, brokers: Ok(view.brokers.len()), topics: Some(topics), partitions: Some(partitions) }
        }
        Ok(Err(error)) => Candidate { cluster, brokers: Err(error.to_string()), topics: None, partitions: None },
        Err(_) => {
            let why = format!("{} did not answer within {} s", cluster.name, DEADLINE.as_secs());
            Candidate { cluster, brokers: Err(why), topics: None, partitions: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_the_bytes_in_threes() {
        for (bytes, expected) in [(0, 3), (1, 3), (15_000_000, 3), (15_000_001, 6), (100_000_000, 21)] {
            assert_eq!(partitions(bytes), expected, "{bytes}");
        }
    }
}
