//! The two round trips of a tick: committed offsets of all groups, then the ends of all partitions.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use zms_kafka_wire::{Answers, Assignment, ByTopic, Code, WireError};

use super::KafkaScraper;
use super::known::{KnownGroup, has_members};
use super::tick::Tick;
use crate::broker::GroupSummary;
use crate::kafka::admin::{EARLIEST, LATEST};

/// Groups in one request: the answer about 100 groups with 1,600 offsets each has 4 MB.
const MOST_GROUPS: usize = 100;

/// Committed offsets of groups, or why they are not known; groups whose coordinator could not be asked are absent.
pub(super) type Commits = BTreeMap<String, Result<ByTopic<i64>, WireError>>;

/// Ends of partitions. `None`: its leader could not say it. Absent: nobody could be asked.
pub(super) type Latest = ByTopic<Option<i64>>;

/// What one broker says about members of groups.
type Counted = (i32, Result<Answers<usize>, WireError>);

/// Somebody else leads the partition, or it is gone: metadata knows.
fn leads_no_more(error: &WireError) -> bool {
    let gone = |code: &Code| matches!(code, Code::UnknownTopicOrPartition | Code::KafkaStorageError);
    error.is_moved() || matches!(error, WireError::Answer { code, .. } if gone(code))
}

/// It may have members, and is of a kind that they can be asked of.
fn may_be_counted(group: &GroupSummary) -> bool {
    has_members(group) && ["classic", "consumer"].contains(&group.protocol.as_str())
}

/// Requests about groups: coordinator and at most so many names as one may have.
fn in_requests(groups: &BTreeMap<i32, Vec<String>>) -> impl Iterator<Item = (i32, &[String])> {
    groups.iter().flat_map(|(coordinator, names)| names.chunks(MOST_GROUPS).map(|names| (*coordinator, names)))
}

impl KafkaScraper {
    /// The first round trip. Once more for groups whose coordinator has moved.
    pub(super) async fn committed(&mut self, tick: &mut Tick) -> Commits {
        let mut commits = Commits::new();
        for turn in 0..2 {
            let mut groups = self.known.by_coordinator(|name, _| !commits.contains_key(name));
            groups.retain(|id, _| self.asks(tick, *id));
            let (wire, limit) = (&self.admin.wire, tick.limit());
            let requests = in_requests(&groups).map(|(id, names)| async move { (id, wire.committed_at(id, names, limit).await) });
            let answers = join_all(requests).await;
            tick.count(answers.iter().map(|(_, done)| done));
            for (coordinator, done) in answers {
                tick.note(coordinator, &done);
                commits.extend(done.unwrap_or_default());
            }
            let moved = |done: &Result<_, WireError>| done.as_ref().is_err_and(WireError::is_moved);
            let moved: Vec<String> = commits.iter().filter(|(_, done)| moved(done)).map(|(name, _)| name.clone()).collect();
            if moved.is_empty() {
                break;
            }
            tick.look_again = true;
            if turn == 0 && self.find_coordinators(tick, &moved).await {
                commits.retain(|name, _| !moved.contains(name));
            }
        }
        commits
    }

    /// The second round trip. Once more for partitions whose leader has moved. What is asked `rarely` goes along in it: first offsets of
    /// all partitions, and members.
    pub(super) async fn latest(&mut self, tick: &mut Tick, rarely: bool) -> Latest {
        let mut latest = Latest::new();
        for turn in 0..2 {
            let rarely = rarely && turn == 0;
            let open = |name: &str, id: i32| !latest.get(name).is_some_and(|ends| ends.contains_key(&id));
            let mut ends = self.known.by_leader(|name, _, partition| open(name, partition.id.number));
            let mut starts = self.known.by_leader(|name, known, partition| {
                open(name, partition.id.number) && (rarely || !known.starts.contains_key(&partition.id.number))
            });
            ends.retain(|id, _| self.asks(tick, *id));
            starts.retain(|id, _| self.asks(tick, *id));
            let (wire, limit) = (&self.admin.wire, tick.limit());
            let ask = |leaders: BTreeMap<i32, Assignment>, time| {
                join_all(
                    leaders
                        .into_iter()
                        .map(move |(id, partitions)| async move { (id, wire.offsets_at(id, &partitions, time, limit).await) }),
                )
            };
            let counts = self.count(tick, |_, group| rarely && may_be_counted(&group.summary));
            // In this order: what is asked first is written first.
            let (ends, starts, counted) = tokio::join!(ask(ends, LATEST), ask(starts, EARLIEST), counts);
            tick.count(ends.iter().map(|(_, done)| done));
            for (leader, done) in starts {
                tick.note(leader, &done);
                self.read_starts(done.unwrap_or_default());
            }
            let mut moved = false;
            for (leader, done) in ends {
                tick.note(leader, &done);
                moved |= self.read_ends(done.unwrap_or_default(), &mut latest);
            }
            self.read_counted(tick, counted);
            if !moved {
                break;
            }
            tick.look_again = true;
            if turn == 0 {
                self.read_metadata(tick).await;
            }
        }
        latest
    }

    fn read_starts(&mut self, answer: ByTopic<Result<i64, WireError>>) {
        for (name, partitions) in answer {
            if let Some(known) = self.known.topics.get_mut(&name) {
                known.starts.extend(partitions.into_iter().filter_map(|(id, start)| Some((id, start.ok()?))));
            }
        }
    }

    /// Whether some must be asked again.
    fn read_ends(&mut self, answer: ByTopic<Result<i64, WireError>>, latest: &mut Latest) -> bool {
        let mut moved = false;
        for (name, partitions) in answer {
            let Some(known) = self.known.topics.get_mut(&name) else { continue };
            let ends = latest.entry(name).or_default();
            for (id, end) in partitions {
                match end {
                    // The topic was made anew, or its messages went: the start is of before.
                    Ok(end) if known.starts.get(&id).is_some_and(|start| *start > end) => {
                        known.starts.remove(&id);
                        moved = true;
                    }
                    Ok(end) => drop(ends.insert(id, Some(end))),
                    Err(error) if leads_no_more(&error) => moved = true,
                    Err(error) => {
                        tracing::debug!(%error, partition = id, "an end is not known");
                        ends.insert(id, None);
                    }
                }
            }
        }
        moved
    }

    /// Asks coordinators for groups with their members. Neither kind of request understands the other kind of group.
    async fn count(&self, tick: &Tick, wanted: impl Fn(&str, &KnownGroup) -> bool) -> Vec<Counted> {
        let of_kind = |consumer: bool| {
            let kind = |group: &KnownGroup| (group.summary.protocol == "consumer") == consumer;
            let mut groups = self.known.by_coordinator(|name, group| kind(group) && wanted(name, group));
            groups.retain(|id, _| self.asks(tick, *id));
            groups
        };
        let (classic, consumer) = (of_kind(false), of_kind(true));
        let (wire, limit) = (&self.admin.wire, tick.limit());
        let classic =
            in_requests(&classic).map(|(id, names)| async move { (id, wire.classic_members_at(id, names, limit).await) });
        let consumer =
            in_requests(&consumer).map(|(id, names)| async move { (id, wire.consumer_members_at(id, names, limit).await) });
        let (mut counted, consumer) = tokio::join!(join_all(classic), join_all(consumer));
        counted.extend(consumer);
        counted
    }

    fn read_counted(&mut self, tick: &mut Tick, counted: Vec<Counted>) {
        for (coordinator, done) in counted {
            tick.note(coordinator, &done);
            self.known.read_members(done.unwrap_or_default());
        }
    }

    /// Groups that no broker lists: whoever coordinates them now says whether they are there.
    pub(super) async fn look_for_missing(&mut self, tick: &mut Tick, missing: &[String]) {
        if self.find_coordinators(tick, missing).await {
            let missing: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
            let counted = self.count(tick, |name, _| missing.contains(name)).await;
            self.read_counted(tick, counted);
        }
    }
}
