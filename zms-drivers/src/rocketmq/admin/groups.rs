//! Consumer groups: look, make, remove.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;
use zms_core::names::PhysicalName;

use super::bodies::{GroupConfig, Groups, Members, Offsets, RunningInfo};
use super::own::{DEAD_LETTERS, RETRY, is_internal_group};
use super::{RocketMqAdmin, at_once, group_named};
use crate::broker::{BrokerError, Committed, Ensured, Group, GroupState, GroupSummary, GroupWish, Member, PartitionId};
use crate::rocketmq::remoting::{RemotingError, Request, RequestCode, answers};
use crate::rocketmq::route::ClusterInfo;

/// A member, and which master hears it.
type Heard = BTreeMap<String, (String, String)>;

/// Members of a group, as all masters together hear them.
#[derive(Default)]
struct Found {
    /// Client id → its address, the master's address.
    members: Heard,
    /// `clustering`, `broadcasting`, or nothing when nobody is there.
    protocol: String,
}

impl Found {
    fn summary(&self, name: &PhysicalName) -> GroupSummary {
        let state = if self.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        GroupSummary { name: name.clone(), state, protocol: self.protocol.clone() }
    }
}

/// Whether the request failed because nobody of the group is connected there: so brokers answer for groups that they do not know, too.
pub(in crate::rocketmq) fn is_offline(error: &RemotingError) -> bool {
    error.answer() == Some(answers::NO_MEMBERS)
}

/// Committed offsets of one broker, added to those of others.
pub(in crate::rocketmq) fn add_committed(
    all: &mut BTreeMap<String, Committed>,
    broker: &Arc<str>,
    offsets: &Offsets,
    wanted: impl Fn(&str) -> bool,
) {
    for (topic, group, offsets) in offsets.each().filter(|(_, group, _)| wanted(group)) {
        let Ok(topic) = PhysicalName::new(topic) else { continue };
        let ids = offsets.iter().map(|(number, offset)| (PartitionId::queue(Arc::clone(broker), *number), *offset));
        // Java writes -1 for an offset that it does not know.
        let known = ids.filter(|(_, offset)| *offset >= 0);
        all.entry(group.to_owned()).or_default().entry(topic).or_default().extend(known);
    }
}

impl RocketMqAdmin {
    /// Groups that a broker lists, or that somebody committed for. Brokers' own are left out.
    async fn group_names(&self, info: &ClusterInfo) -> Result<BTreeSet<PhysicalName>, BrokerError> {
        let (listed, committed) =
            (Request::new(RequestCode::GetAllSubscriptionGroupConfig), Request::new(RequestCode::GetAllConsumerOffset));
        let (listed, committed) = futures::future::try_join(
            self.ask_each::<Groups>(info, "groups", &listed),
            self.ask_each::<Offsets>(info, "groups", &committed),
        )
        .await?;
        let listed = listed.values().flat_map(|groups| groups.groups.keys().map(String::as_str));
        let committed = committed.values().flat_map(|offsets| offsets.each().map(|(_, group, _)| group));
        let names = listed.chain(committed).filter(|name| !is_internal_group(name));
        Ok(names.filter_map(|name| PhysicalName::new(name).ok()).collect())
    }

    /// Members of each group, in the same order.
    async fn members(&self, info: &ClusterInfo, names: &[PhysicalName]) -> Result<Vec<Found>, BrokerError> {
        let masters: Vec<&str> = info.masters().map(|(_, address)| address).collect();
        let of_master = masters.iter().map(|address| async move {
            let asks = names.iter().map(|name| async move {
                let request = Request::new(RequestCode::GetConsumerConnectionList).with("consumerGroup", name);
                match self.ask::<Members>(address, request).await {
                    Err(error) if is_offline(&error) => Ok(Members::default()),
                    answer => answer.map_err(|error| self.classify(&group_named(name), error)),
                }
            });
            at_once(asks.collect()).await
        });
        let mut found: Vec<Found> = names.iter().map(|_| Found::default()).collect();
        for (address, answers) in masters.iter().zip(futures::future::join_all(of_master).await) {
            for (found, members) in found.iter_mut().zip(answers) {
                let members = members?;
                if !members.connection_set.is_empty() {
                    found.protocol = members.message_model.to_lowercase();
                }
                let heard = members.connection_set.into_iter();
                found.members.extend(heard.map(|client| (client.client_id, (client.client_addr, (*address).to_owned()))));
            }
        }
        Ok(found)
    }

    pub(super) async fn all_groups(&self) -> Result<Vec<GroupSummary>, BrokerError> {
        let info = self.cluster("groups").await?;
        let names: Vec<PhysicalName> = self.group_names(&info).await?.into_iter().collect();
        let found = self.members(&info, &names).await?;
        Ok(names.iter().zip(found).map(|(name, found)| found.summary(name)).collect())
    }

    pub(super) async fn groups_with_members(&self, names: &[PhysicalName]) -> Result<Vec<Group>, BrokerError> {
        let info = self.cluster("members of groups").await?;
        let known = self.group_names(&info).await?;
        let found = self.members(&info, names).await?;
        let mut groups = Vec::with_capacity(names.len());
        for (name, found) in names.iter().zip(found) {
            let mut summary = found.summary(name);
            if found.members.is_empty() && !known.contains(name) {
                summary.state = GroupState::Dead;
            }
            let members = found.members.into_iter().map(|(id, (host, master))| async move {
                let assigned = self.assigned(name, &id, &master).await;
                Member { client_id: id.clone(), id, host, assigned }
            });
            groups.push(Group { summary, members: at_once(members.collect()).await });
        }
        Ok(groups)
    }

    /// Queues that a member says it has: brokers do not know, members decide it among themselves. A client that does not tell has none here.
    async fn assigned(&self, group: &PhysicalName, client: &str, master: &str) -> BTreeMap<PhysicalName, Vec<PartitionId>> {
        let request = Request::new(RequestCode::GetConsumerRunningInfo)
            .with("consumerGroup", group)
            .with("clientId", client)
            .with("jstackEnable", false);
        // The broker asks the client meanwhile, and waits longer than we do.
        let said = self.ask_within::<RunningInfo>(master, request, self.remoting.options().call_deadline / 4).await;
        let mut assigned: BTreeMap<PhysicalName, Vec<PartitionId>> = BTreeMap::new();
        match said {
            Ok(info) => {
                for key in info.queues.into_keys().filter(|key| !key.topic.starts_with(RETRY)) {
                    let Ok(topic) = PhysicalName::new(key.topic) else { continue };
                    assigned.entry(topic).or_default().push(PartitionId::queue(key.broker, key.number));
                }
            }
            Err(error) => tracing::debug!(%error, %group, client, "a member does not say which queues it has"),
        }
        assigned
    }

    pub(super) async fn committed_by(&self, names: &[PhysicalName]) -> Result<Vec<Result<Committed, BrokerError>>, BrokerError> {
        let what = "committed offsets";
        let info = self.cluster(what).await?;
        let (mut all, mut failed, mut answered) = (BTreeMap::new(), None, info.brokers.is_empty());
        for (broker, offsets) in self.ask_masters(&info, &Request::new(RequestCode::GetAllConsumerOffset)).await {
            match offsets {
                Ok(offsets) => {
                    answered = true;
                    add_committed(&mut all, &broker, &offsets, |group| names.iter().any(|name| name.as_str() == group));
                }
                // Offsets on its queues are not known, so they are absent.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if !answered => Err(self.classify(what, error)),
            None if !answered => Err(BrokerError::Passing { what: what.to_owned(), why: "no master is there".to_owned() }),
            _ => Ok(names.iter().map(|name| Ok(all.remove(name.as_str()).unwrap_or_default())).collect()),
        }
    }

    /// How many are there.
    pub(super) async fn count_members(&self, info: &ClusterInfo, group: &PhysicalName) -> Result<usize, BrokerError> {
        let found = self.members(info, std::slice::from_ref(group)).await?;
        Ok(found.iter().map(|found| found.members.len()).sum())
    }

    async fn no_members(&self, info: &ClusterInfo, group: &PhysicalName) -> Result<(), BrokerError> {
        match self.count_members(info, group).await? {
            0 => Ok(()),
            count => {
                let why = format!("it has {count} members; stop them first");
                Err(BrokerError::Conflict { what: group_named(group), why })
            }
        }
    }

    /// Groups as masters list them.
    async fn listed(&self, info: &ClusterInfo, what: &str) -> Result<BTreeMap<Arc<str>, Groups>, BrokerError> {
        let answers = self.ask_masters(info, &Request::new(RequestCode::GetAllSubscriptionGroupConfig)).await;
        answers.into_iter().map(|(broker, groups)| Ok((broker, groups.map_err(|error| self.classify(what, error))?))).collect()
    }

    pub(super) async fn make_group(&self, wish: &GroupWish) -> Result<Ensured, BrokerError> {
        let what = group_named(&wish.name);
        let info = self.cluster(&what).await?;
        self.make_group_on(&info, &wish.name, Some(wish.broadcast)).await
    }

    /// `broadcast: None`: as it is, where it is.
    pub(super) async fn make_group_on(
        &self,
        info: &ClusterInfo,
        name: &PhysicalName,
        broadcast: Option<bool>,
    ) -> Result<Ensured, BrokerError> {
        let what = group_named(name);
        let mut ensured = Ensured::There;
        loop {
            let listed = self.listed(info, &what).await?;
            let mut wanting = Vec::new();
            for (broker, address) in info.masters() {
                let known = listed.get(broker).and_then(|groups| groups.groups.get(name.as_str()));
                let fits = |group: &GroupConfig| {
                    group.consume_enable && broadcast.is_none_or(|broadcast| group.consume_broadcast_enable == broadcast)
                };
                if !known.is_some_and(fits) {
                    let mut group = known.cloned().unwrap_or_else(|| new_group(name));
                    group.consume_enable = true;
                    group.consume_broadcast_enable = broadcast.unwrap_or(group.consume_broadcast_enable);
                    wanting.push((address, group));
                }
            }
            if wanting.is_empty() {
                return Ok(ensured);
            }
            // Again where it was not to be read back: a master that came up in between.
            if ensured == Ensured::Made {
                self.pause().await;
            }
            for (address, group) in wanting {
                let body = serde_json::to_string(&group).expect("names, numbers and what was JSON before");
                let request = Request::new(RequestCode::UpdateAndCreateSubscriptionGroup).with_body(body);
                self.remoting.ask(address, request).await.map_err(|error| self.classify(&what, error))?;
            }
            ensured = Ensured::Made;
        }
    }

    pub(super) async fn remove_group(&self, name: &PhysicalName) -> Result<Ensured, BrokerError> {
        let what = group_named(name);
        let info = self.cluster(&what).await?;
        if !self.group_names(&info).await?.contains(name) {
            return Ok(Ensured::There);
        }
        self.no_members(&info, name).await?;
        let info = self.nobody_is_away(&what).await?;
        while self.group_names(&info).await?.contains(name) {
            for (_, address) in info.masters() {
                // The second name is that of brokers before 5.0.
                let request = Request::new(RequestCode::DeleteSubscriptionGroup)
                    .with("groupName", name)
                    .with("removeOffset", true)
                    .with("cleanOffset", true);
                self.remoting.ask(address, request).await.map_err(|error| self.classify(&what, error))?;
            }
        }
        for prefix in [RETRY, DEAD_LETTERS] {
            if let Ok(topic) = PhysicalName::new(format!("{prefix}{name}")) {
                self.delete_topic(&topic).await?;
            }
        }
        Ok(Ensured::Made)
    }
}

/// As brokers make it for a client that they have not heard of.
fn new_group(name: &PhysicalName) -> GroupConfig {
    let rest = json!({
        "consumeFromMinEnable": true,
        "retryQueueNums": 1,
        "retryMaxTimes": 16,
        "brokerId": 0,
        "whichBrokerWhenConsumeSlowly": 1,
        "notifyConsumerIdsChangedEnable": true,
    });
    GroupConfig {
        group_name: name.to_string(),
        consume_enable: true,
        consume_broadcast_enable: true,
        rest: rest.as_object().cloned().expect("it is one"),
    }
}
