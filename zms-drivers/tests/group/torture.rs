//! A group of our members and Java's that loses one of them every few seconds while messages flow.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zms_core::metadata::BrokerKind;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Outgoing, Producer};
use zms_drivers::open::{self, Endpoint};

use super::java::Java;
use super::member::Member;

/// Within this every queue has exactly one owner, whatever happened to the group.
const SETTLED: Duration = Duration::from_secs(30);
/// Within this everything has arrived after the last message was sent.
const ARRIVED: Duration = Duration::from_secs(90);

/// What is done to a group.
pub struct Plan {
    pub name_servers: String,
    pub topic: String,
    pub group: String,
    /// `broker:number` of all queues.
    pub queues: BTreeSet<String>,
    pub messages: usize,
    /// Messages a second.
    pub rate: usize,
    pub between_kills: Duration,
    pub seed: u64,
    /// Our members say that a message is done before they have handled it: the checker must see that.
    pub careless: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub sent: usize,
    pub lost: usize,
    pub twice: usize,
    pub kills: usize,
    /// Longest time until every queue had one owner.
    pub slowest: Duration,
}

/// Numbers that follow from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % count as u64).unwrap()
    }
}

struct Group<'a> {
    plan: &'a Plan,
    java: &'a Java,
    members: Vec<Member>,
    made: usize,
    got: BTreeMap<String, usize>,
    slowest: Duration,
}

impl Group<'_> {
    fn add(&mut self, java: bool) {
        self.made += 1;
        let Plan { name_servers, group, topic, careless, .. } = self.plan;
        let (name, command) = if java {
            (format!("java-{}", self.made), self.java.command("Member", &[name_servers, group, topic]))
        } else {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["member", name_servers, group, topic, if *careless { "careless" } else { "careful" }]);
            (format!("ours-{}", self.made), command)
        };
        println!("  {name} comes");
        self.members.push(Member::start(name, command));
    }

    fn listen(&mut self) {
        for member in &mut self.members {
            member.listen(|body| *self.got.entry(body).or_default() += 1);
        }
    }

    /// Waits until every queue has one owner.
    fn settle(&mut self) {
        let begun = Instant::now();
        loop {
            self.listen();
            let owned: usize = self.members.iter().map(|member| member.has.len()).sum();
            let all: BTreeSet<&String> = self.members.iter().flat_map(|member| &member.has).collect();
            if owned == self.plan.queues.len() && all.into_iter().eq(&self.plan.queues) {
                self.slowest = self.slowest.max(begun.elapsed());
                return;
            }
            let shares = self.members.iter().map(|member| format!("{}: {:?}", member.name, member.has)).collect::<Vec<_>>();
            assert!(begun.elapsed() < SETTLED, "not one owner for each queue within {SETTLED:?}: {shares:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn remove(&mut self, index: usize, kill: bool) {
        let member = self.members.swap_remove(index);
        println!("  {} {}", member.name, if kill { "is killed" } else { "leaves" });
        let got = |body| *self.got.entry(body).or_default() += 1;
        if kill { member.kill(got) } else { member.leave(got) }
    }
}

/// Blocks; must be called outside of a runtime.
pub fn run(plan: &Plan, java: &Java, runtime: &tokio::runtime::Runtime) -> Outcome {
    let mut dice = Dice(plan.seed | 1);
    let mut group = Group { plan, java, members: Vec::new(), made: 0, got: BTreeMap::new(), slowest: Duration::ZERO };
    for java in [false, true, false, true] {
        // Nobody of another kind hides a loss that the checker must see.
        group.add(java && !plan.careless);
    }
    group.settle();
    let over = Arc::new(AtomicBool::new(false));
    let sending = runtime.spawn(send(plan.name_servers.clone(), plan.topic.clone(), plan.messages, plan.rate, Arc::clone(&over)));
    let mut kills = 0;
    while !over.load(Ordering::Acquire) {
        let next = Instant::now() + plan.between_kills;
        while Instant::now() < next && !over.load(Ordering::Acquire) {
            group.listen();
            std::thread::sleep(Duration::from_millis(20));
        }
        // Every fourth one goes in peace.
        let kill = dice.below(4) != 0;
        kills += usize::from(kill);
        group.remove(dice.below(group.members.len()), kill);
        group.settle();
        group.add(dice.below(2) == 0 && !plan.careless);
        group.settle();
    }
    let sent = runtime.block_on(sending).unwrap();
    let end = Instant::now() + ARRIVED;
    let missing = |got: &BTreeMap<String, usize>| sent.iter().filter(|body| !got.contains_key(*body)).count();
    // What a careless member lost never comes: the last messages are waited for, not those.
    while missing(&group.got) > 0 && Instant::now() < end {
        group.listen();
        std::thread::sleep(Duration::from_millis(200));
    }
    while let Some(member) = group.members.pop() {
        member.leave(|body| *group.got.entry(body).or_default() += 1);
    }
    let twice = group.got.values().map(|times| times - 1).sum();
    Outcome { sent: sent.len(), lost: missing(&group.got), twice, kills, slowest: group.slowest }
}

/// Sends numbers; says those that a broker has for certain.
async fn send(name_servers: String, topic: String, messages: usize, rate: usize, over: Arc<AtomicBool>) -> Vec<String> {
    let endpoint = Endpoint::plain("fault", [name_servers]);
    let producer: Arc<dyn Producer> = open::producer(BrokerKind::RocketMq, &endpoint, Duration::from_secs(30)).unwrap();
    let topic = PhysicalName::new(topic).unwrap();
    let mut sent = Vec::with_capacity(messages);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut next = 0;
    while next < messages {
        tick.tick().await;
        let batch = (next..messages.min(next + rate / 10)).map(|number| {
            let (producer, topic) = (Arc::clone(&producer), topic.clone());
            async move {
                let body = number.to_string();
                let message =
                    Outgoing { topic, key: None, value: Some(body.clone().into()), headers: Vec::new(), tag: None, delay: None };
                producer.send(message).await.map(|_| body)
            }
        });
        sent.extend(futures::future::join_all(batch).await.into_iter().map(|sent| sent.unwrap()));
        next += rate / 10;
    }
    assert_eq!(producer.close(Duration::from_secs(10)).await, 0);
    over.store(true, Ordering::Release);
    sent
}
