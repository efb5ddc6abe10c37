//! A member of a group in a process of its own, which can be killed. It says on stdout what it gets and which queues it has.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zms_core::metadata::{BrokerKind, ConsumeFrom};
use zms_core::names::PhysicalName;
use zms_drivers::broker::Subscription;
use zms_drivers::open::{self, Endpoint};

/// What a member said.
pub enum Said {
    Got(String),
    Has(BTreeSet<String>),
}

/// Its process.
pub struct Member {
    pub name: String,
    child: Child,
    said: mpsc::Receiver<Said>,
    pub has: BTreeSet<String>,
}

impl Member {
    pub fn start(name: String, mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: prctl is async-signal-safe and touches nothing of ours.
        #[allow(unsafe_code, reason = "there is no safe way to run something between fork and exec")]
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(std::io::Error::from));
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let heard = match line.split_once(' ') {
                    Some(("got", body)) => Said::Got(body.to_owned()),
                    Some(("has", queues)) => Said::Has(queues.split(',').filter(|q| !q.is_empty()).map(str::to_owned).collect()),
                    _ => continue,
                };
                if sender.send(heard).is_err() {
                    return;
                }
            }
        });
        Self { name, child, said, has: BTreeSet::new() }
    }

    /// Everything that it said since the last time.
    pub fn listen(&mut self, mut got: impl FnMut(String)) {
        while let Ok(said) = self.said.try_recv() {
            match said {
                Said::Got(body) => got(body),
                Said::Has(queues) => self.has = queues,
            }
        }
    }

    /// What it said until its end, after it was killed or left.
    fn rest(mut self, mut got: impl FnMut(String)) {
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end {
            match self.said.recv_timeout(Duration::from_secs(1)) {
                Ok(Said::Got(body)) => got(body),
                Ok(Said::Has(_)) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.child.wait().unwrap();
                    return;
                }
            }
        }
        panic!("{} did not end within 30 s", self.name);
    }

    /// SIGKILL.
    pub fn kill(mut self, got: impl FnMut(String)) {
        self.child.kill().unwrap();
        self.rest(got);
    }

    /// It is told to leave its group.
    pub fn leave(mut self, got: impl FnMut(String)) {
        drop(self.child.stdin.take());
        self.rest(got);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What our own member does in its process. `careless`: it says that a message is done long before it has handled it.
pub async fn be(name_servers: &str, group: &str, topic: &str, careless: bool) {
    let topic = PhysicalName::new(topic).unwrap();
    let subscription = Subscription::new(PhysicalName::new(group).unwrap(), topic, ConsumeFrom::Earliest);
    let endpoint = Endpoint::plain("fault", [name_servers]);
    let consumer = open::consumer(BrokerKind::RocketMq, &endpoint, &subscription).unwrap();
    let (left, mut leave) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = left.send(());
    });
    let mut look = tokio::time::interval(Duration::from_millis(100));
    let mut last = None;
    let mut later = std::collections::VecDeque::new();
    loop {
        tokio::select! {
            _ = &mut leave => break,
            _ = look.tick() => {
                let queues: BTreeSet<String> = consumer.assigned().into_iter().map(|(_, partition)| named(&partition)).collect();
                if last.as_ref() != Some(&queues) {
                    println!("has {}", queues.iter().cloned().collect::<Vec<_>>().join(","));
                    last = Some(queues);
                }
                while later.front().is_some_and(|(since, _): &(Instant, String)| since.elapsed() > Duration::from_secs(3)) {
                    let (_, body) = later.pop_front().unwrap();
                    println!("got {body}");
                }
            }
            message = consumer.receive() => {
                let message = message.unwrap();
                let body = String::from_utf8_lossy(message.value.as_deref().unwrap_or_default()).into_owned();
                if careless {
                    later.push_back((Instant::now(), body));
                } else {
                    println!("got {body}");
                }
                consumer.done(&message).unwrap();
            }
        }
    }
    consumer.close(Duration::from_secs(10)).await.unwrap();
}

/// `broker:number`, as our Java program says it.
fn named(partition: &zms_drivers::broker::PartitionId) -> String {
    format!("{}:{}", partition.broker.as_deref().unwrap(), partition.number)
}
