use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::packages;
use crate::process::{Process, SMALL_JVM, accepts, free_port};

/// Lines of Kafka that are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KafkaLine {
    /// 3.9, the last one that can run with ZooKeeper. Here it runs without.
    V3,
    /// 4.
    V4,
}

impl KafkaLine {
    /// How its versions begin.
    const fn version(self) -> &'static str {
        match self {
            Self::V3 => "3.9.",
            Self::V4 => "4.",
        }
    }
}

/// What kind of Kafka cluster.
#[derive(Debug, Clone, Copy)]
pub struct KafkaWish {
    /// Which line of versions.
    pub line: KafkaLine,
    /// 1 to 3; the first is the controller too.
    pub brokers: usize,
    /// A listener with TLS and SCRAM-SHA-512 beside the plain one.
    pub secure: bool,
}

impl Default for KafkaWish {
    fn default() -> Self {
        Self { line: KafkaLine::V4, brokers: 1, secure: false }
    }
}

/// A cluster of Kafka brokers (KRaft).
#[derive(Debug)]
pub struct Kafka {
    _folder: TempDir,
    nodes: Vec<Node>,
    certificates: Certificates,
    wish: KafkaWish,
}

#[derive(Debug)]
struct Node {
    folder: std::path::PathBuf,
    plain: u16,
    secure: u16,
    process: Option<Process>,
}

/// User of the secure listener.
const USER: &str = "zms";
/// Its password.
const PASSWORD: &str = "only-for-tests";
/// Without it only errors are logged.
const LOGGING: &str = "Configuration:
  Appenders:
    Console:
      name: STDOUT
      PatternLayout:
        pattern: '%d %p %m%n'
  Loggers:
    Root:
      level: INFO
      AppenderRef:
        - ref: STDOUT
";
/// The same for Kafka 3.
const LOGGING_V3: &str = "log4j.rootLogger=INFO, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d %p %m%n
";
const CLUSTER: &str = "kIqRJbVaQ2mXvXWbp0L3Zg";

impl Kafka {
    /// Starts a cluster; ready when every broker serves.
    pub fn start(wish: KafkaWish) -> Self {
        assert!((1..=3).contains(&wish.brokers), "1 to 3 brokers");
        let folder = tempfile::Builder::new().prefix("zms-kafka-").tempdir().unwrap();
        let certificates = Certificates::new();
        fs::write(folder.path().join("server.pem"), &certificates.server_pem).unwrap();
        let controller = free_port();
        let nodes = (1..=wish.brokers).map(|id| {
            let node = folder.path().join(id.to_string());
            fs::create_dir(&node).unwrap();
            let (plain, secure) = (free_port(), free_port());
            let text = properties(id, wish, controller, plain, secure, folder.path());
            fs::write(node.join("server.properties"), text).unwrap();
            format(&node, id, wish);
            Node { folder: node, plain, secure, process: None }
        });
        let nodes = nodes.collect();
        let mut cluster = Self { _folder: folder, nodes, certificates, wish };
        for index in 0..wish.brokers {
            cluster.launch(index);
        }
        for index in 0..wish.brokers {
            cluster.await_ready(index);
        }
        cluster
    }

    /// `127.0.0.1:port,…` without TLS and credentials.
    pub fn plain(&self) -> String {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.plain)).collect::<Vec<_>>().join(",")
    }

    /// `127.0.0.1:port,…` with TLS and SCRAM-SHA-512, certificate of the authority (PEM), user and password.
    pub fn tls_scram(&self) -> (String, &str, &'static str, &'static str) {
        assert!(self.wish.secure, "it was started without");
        let addresses: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.secure)).collect();
        (addresses.join(","), &self.certificates.authority_pem, USER, PASSWORD)
    }

    /// Its line of versions.
    pub fn line(&self) -> KafkaLine {
        self.wish.line
    }

    /// kill -9 of a broker, counted from 0.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].process.take().expect("it runs").kill();
    }

    /// Stops a broker's process where it is (SIGSTOP), or lets it go on.
    pub fn freeze(&self, index: usize, frozen: bool) {
        let process = self.nodes[index].process.as_ref().expect("it runs");
        process.freeze(frozen);
    }

    /// Starts a killed broker again, with its data.
    pub fn restart(&mut self, index: usize) {
        self.launch(index);
        self.await_ready(index);
    }

    fn launch(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        assert!(node.process.is_none(), "it runs");
        // Readiness is read from the log of this start.
        let _ = fs::remove_file(node.folder.join("log"));
        let mut command = java(self.wish.line);
        let (file, text, option) = match self.wish.line {
            KafkaLine::V3 => ("log4j.properties", LOGGING_V3, "log4j.configuration=file:"),
            KafkaLine::V4 => ("log4j2.yaml", LOGGING, "log4j2.configurationFile="),
        };
        fs::write(node.folder.join(file), text).unwrap();
        command.arg(format!("-D{option}{}", node.folder.join(file).display()));
        command.arg("kafka.Kafka").arg(node.folder.join("server.properties"));
        node.process = Some(Process::start(&mut command, &node.folder));
    }

    fn await_ready(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let port = node.plain;
        let process = node.process.as_mut().expect("it was launched");
        process.await_ready(&format!("Kafka broker {}", index + 1), |log| log.contains("Kafka Server started") && accepts(port));
    }
}

fn java(line: KafkaLine) -> Command {
    let mut command = Command::new(packages::java());
    command.env("MALLOC_ARENA_MAX", "2").args(SMALL_JVM);
    command.arg("-cp").arg(packages::unpacked("kafka", line.version()).join("libs/*"));
    command
}

fn format(node: &std::path::Path, id: usize, wish: KafkaWish) {
    let mut command = java(wish.line);
    command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]).arg(node.join("server.properties"));
    command.arg(if id == 1 { "--standalone" } else { "--no-initial-controllers" });
    if wish.secure && id == 1 {
        command.args(["--add-scram", &format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")]);
    }
    let output = command.current_dir(node).output().unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

fn properties(id: usize, wish: KafkaWish, controller: u16, plain: u16, secure: u16, folder: &std::path::Path) -> String {
    let roles = if id == 1 { "broker,controller" } else { "broker" };
    let mut listeners = vec![format!("PLAIN://127.0.0.1:{plain}")];
    if wish.secure {
        listeners.push(format!("SECURE://127.0.0.1:{secure}"));
    }
    let advertised = listeners.join(",");
    if id == 1 {
        listeners.push(format!("CONTROLLER://127.0.0.1:{controller}"));
    }
    let replicas = wish.brokers.min(3);
    let mut text = format!(
        "process.roles={roles}\nnode.id={id}\nlisteners={}\nadvertised.listeners={advertised}\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAIN\n\
         listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n\
         log.dirs={}\nnum.partitions=1\nauto.create.topics.enable=false\ngroup.initial.rebalance.delay.ms=0\n\
         offsets.topic.replication.factor={replicas}\noffsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor={replicas}\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=2\n\
         share.coordinator.state.topic.replication.factor={replicas}\nshare.coordinator.state.topic.min.isr=1\n\
         log.cleaner.dedupe.buffer.size=4194304\ngroup.coordinator.rebalance.protocols=classic,consumer\n",
        listeners.join(","),
        folder.join(id.to_string()).join("data").display(),
    );
    if wish.secure {
        text += &format!(
            "sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.secure.ssl.keystore.type=PEM\nlistener.name.secure.ssl.keystore.location={}\n\
             listener.name.secure.ssl.client.auth=none\n",
            folder.join("server.pem").display()
        );
    }
    text
}
