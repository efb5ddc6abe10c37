//! How many messages a second our producer sends to RocketMQ beside Apache's own Java client: they take turns on one broker, with the same
//! messages and the same number of senders that each wait for their message.
//!
//! ```text
//! cargo run --release -p zms-drivers --example rocketmq_send_bench
//! ```
//!
//! Starts the servers itself; `scripts/packages` must have been run, and a JDK's `javac` be on PATH. Prints one JSON line for each figure.

#![allow(clippy::disallowed_methods, reason = "a benchmark starts the program that it compares with")]
#![allow(clippy::unwrap_used, reason = "a benchmark says with its backtrace what failed")]

#[path = "../tests/group/java.rs"]
mod java;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use java::Java;
use zms_core::metadata::BrokerKind;
use zms_core::names::PhysicalName;
use zms_drivers::broker::{Outgoing, Producer};
use zms_drivers::open::{self, Endpoint};
use zms_testbed::{Against, Figure, RocketLine, RocketMq, RocketWish, percentile};

const TOPIC: &str = "send-bench";
const QUEUES: usize = 8;
/// The part of the Java client's throughput that ours should have.
const ENOUGH: f64 = 1.0;

#[derive(Parser)]
struct Arguments {
    /// Rounds of each client, for each number of senders.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Length of a round, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    round_ms: u64,
    /// Senders at once, one number for each figure.
    #[arg(long, value_delimiter = ',', default_value = "1,8,16,64")]
    in_flight: Vec<usize>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Versions of the brokers, and of the Java client.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "5.5.0,4.9.7")]
    versions: Vec<Version>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Version {
    #[value(name = "5.5.0")]
    New,
    #[value(name = "4.9.7")]
    Old,
}

fn main() {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for version in &arguments.versions {
        let (line, version) = match version {
            Version::New => (RocketLine::V5, "5.5.0"),
            Version::Old => (RocketLine::V4, "4.9.7"),
        };
        eprintln!("rocketmq: starting a name server and a broker {version}");
        let server = RocketMq::start(&RocketWish::one(line));
        server.make_topic(TOPIC, QUEUES);
        let java = Java::compile(&server.jars());
        let endpoint = Endpoint::plain("bench", server.name_servers());
        let ours = open::producer(BrokerKind::RocketMq, &endpoint, Duration::from_secs(30)).unwrap();
        let bench = Bench { runtime: &runtime, ours, body: vec![b'x'; arguments.size].into() };
        let mut theirs = Theirs::start(&java, &server.name_servers()[0]);
        for &in_flight in &arguments.in_flight {
            let length = Duration::from_millis(arguments.round_ms);
            compare(&bench, &mut theirs, version, in_flight, arguments.rounds, length).print();
        }
        runtime.block_on(bench.ours.close(Duration::from_secs(10)));
    }
}

/// Both in turn; who begins a pair of rounds changes, because what the first leaves to do slows the second.
fn compare(bench: &Bench<'_>, theirs: &mut Theirs, version: &str, in_flight: usize, rounds: usize, length: Duration) -> Figure {
    let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
    // A virtual machine is quick only after it has run for a while.
    for _ in 0..3 {
        bench.round(in_flight, length / 3);
        theirs.round(in_flight, length, bench.body.len());
    }
    for round in 0..rounds {
        for ours in [round % 2 == 0, round % 2 != 0] {
            if ours {
                our_rates.push(bench.round(in_flight, length));
            } else {
                their_rates.push(theirs.round(in_flight, length, bench.body.len()));
            }
        }
    }
    let show = |rates: &[f64]| {
        let [least, middle, most] = [0, 50, 100].map(|percent| percentile(rates, percent));
        format!("{middle:.0} ({least:.0} to {most:.0})")
    };
    eprintln!(
        "rocketmq: {version}, {in_flight} in flight, {rounds} rounds each: ours {}, Java client {} messages/s",
        show(&our_rates),
        show(&their_rates)
    );
    Figure {
        bench: "rocketmq",
        what: format!("our producer on {version}, {in_flight} in flight, {} B", bench.body.len()),
        value: percentile(&our_rates, 50),
        unit: "messages/s",
        against: Against::Peer { value: percentile(&their_rates, 50), at_least: ENOUGH },
    }
}

struct Bench<'a> {
    runtime: &'a tokio::runtime::Runtime,
    ours: Arc<dyn Producer>,
    body: Bytes,
}

impl Bench<'_> {
    /// Messages a second in one round.
    fn round(&self, in_flight: usize, length: Duration) -> f64 {
        let begun = Instant::now();
        let end = begun + length;
        let topic = PhysicalName::new(TOPIC).unwrap();
        let senders: Vec<_> = (0..in_flight)
            .map(|_| {
                let (ours, topic, body) = (Arc::clone(&self.ours), topic.clone(), self.body.clone());
                self.runtime.spawn(async move {
                    let mut sent = 0_u32;
                    while Instant::now() < end {
                        ours.send(Outgoing::new(topic.clone(), body.clone())).await.unwrap();
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let sent: u32 = senders.into_iter().map(|sender| self.runtime.block_on(sender).unwrap()).sum();
        f64::from(sent) / begun.elapsed().as_secs_f64()
    }
}

/// The Java program, which is told a round on stdin and says what came of it.
struct Theirs {
    child: Child,
    rounds: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Theirs {
    fn start(java: &Java, name_server: &str) -> Self {
        let mut command = java.command("Send", &[name_server, TOPIC]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (rounds, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut theirs = Self { child, rounds, answers };
        while theirs.answer() != "ready" {}
        theirs
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        assert!(self.answers.read_line(&mut line).unwrap() > 0, "the Java program ended");
        line.trim().to_owned()
    }

    fn round(&mut self, in_flight: usize, length: Duration, bytes: usize) -> f64 {
        writeln!(self.rounds, "{in_flight} {} {bytes}", length.as_millis()).unwrap();
        self.rounds.flush().unwrap();
        // The client of 4.9 logs between.
        let (sent, nanos) = loop {
            let answer = self.answer();
            let numbers = answer.split_once(' ');
            if let Some(numbers) = numbers.and_then(|(sent, nanos)| Some((sent.parse::<u32>().ok()?, nanos.parse::<u64>().ok()?)))
            {
                break numbers;
            }
        };
        f64::from(sent) / Duration::from_nanos(nanos).as_secs_f64()
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
