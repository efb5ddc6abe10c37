//! Groups of our members and Java's while members are killed. Run by `scripts/fault rocketmq`; seeded, so that a failure can be run again.
//!
//! `ZMS_FAULT_ROUNDS`: kills a version, one each 10 s (default 10); `ZMS_FAULT_SEED`.

#![allow(
    clippy::disallowed_methods,
    reason = "members are processes that are killed, and the group is watched without a runtime"
)]
#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

#[path = "group/java.rs"]
mod java;
#[path = "group/member.rs"]
mod member;
#[path = "group/torture.rs"]
mod torture;

use std::time::Duration;

use java::Java;
use torture::{Outcome, Plan};
use zms_testbed::{RocketLine, RocketMq, RocketWish};

const BETWEEN: Duration = Duration::from_secs(10);
const QUEUES: usize = 8;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, name_servers, group, topic, care] = &arguments[..]
        && what == "member"
    {
        runtime.block_on(member::be(name_servers, group, topic, care == "careless"));
        return;
    }
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (rounds, seed) = (usize::try_from(number("ZMS_FAULT_ROUNDS", 10)).unwrap(), number("ZMS_FAULT_SEED", 1));
    for (line, version) in [(RocketLine::V5, "5.5.0"), (RocketLine::V4, "4.9.7")] {
        let server = RocketMq::start(&RocketWish { masters: 2, ..RocketWish::one(line) });
        let java = Java::compile(&server.jars());
        let plan = |name: &str, rounds: usize, careless: bool| {
            let topic = format!("fault-{name}");
            server.make_topic(&topic, QUEUES);
            let queues =
                ["a", "b"].into_iter().flat_map(|broker| (0..QUEUES).map(move |number| format!("broker-{broker}:{number}")));
            let messages = 1_000 * rounds * usize::try_from(BETWEEN.as_secs()).unwrap();
            Plan {
                name_servers: server.name_servers()[0].clone(),
                group: topic.clone(),
                topic,
                queues: queues.collect(),
                messages,
                rate: 1_000,
                between_kills: BETWEEN,
                seed,
                careless,
            }
        };
        println!("RocketMQ {version}, seed {seed}: our members and Java's");
        let Outcome { sent, lost, twice, kills, slowest } = torture::run(&plan("mixed", rounds, false), &java, &runtime);
        println!(
            "RocketMQ {version}: {sent} messages, {kills} kills: {lost} lost, {twice} twice; one owner for each queue after {:.1} s at most",
            slowest.as_secs_f64()
        );
        assert_eq!(lost, 0, "lost messages; seed {seed}");
        println!("RocketMQ {version}: the negative control, members that say done before they have handled a message");
        let control = torture::run(&plan("careless", 3, true), &java, &runtime);
        println!("RocketMQ {version}: {} of {} messages lost, as they must be", control.lost, control.sent);
        assert!(control.lost > 0, "the checker saw nothing: {control:?}");
    }
}
