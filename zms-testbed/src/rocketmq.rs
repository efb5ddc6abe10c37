mod ask;
mod secure;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tempfile::TempDir;

use self::ask::ask;
use crate::process::{Process, accepts, free_port};
use crate::{Certificates, packages};

/// Lines of RocketMQ that are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RocketLine {
    /// 4.9.
    V4,
    /// 5.
    V5,
}

impl RocketLine {
    /// How its versions begin.
    pub const fn version(self) -> &'static str {
        match self {
            Self::V4 => "4.9.",
            Self::V5 => "5.",
        }
    }
}

/// What kind of RocketMQ cluster. No topic makes itself; consumer groups do.
#[derive(Debug, Clone)]
pub struct RocketWish {
    /// Which line of versions.
    pub line: RocketLine,
    /// 1 to 3 masters, `broker-a`, `broker-b`, `broker-c`.
    pub masters: usize,
    /// Each master has a slave.
    pub slaves: bool,
    /// 1 to 3 name servers; every broker knows all of them.
    pub name_servers: usize,
    /// Further lines of the brokers' configuration; the last value of a key counts.
    pub settings: Vec<(&'static str, String)>,
    /// Name servers and brokers speak TLS only, and brokers want each request signed by an account of theirs.
    pub secure: bool,
}

impl RocketWish {
    /// One name server and one master.
    pub fn one(line: RocketLine) -> Self {
        Self { line, masters: 1, slaves: false, name_servers: 1, settings: Vec::new(), secure: false }
    }
}

/// A cluster of RocketMQ brokers (`zms-test`) with its name servers.
#[derive(Debug)]
pub struct RocketMq {
    _folder: TempDir,
    line: RocketLine,
    name_servers: Vec<Node>,
    brokers: Vec<Node>,
    security: Option<Security>,
}

#[derive(Debug)]
struct Security {
    certificates: Certificates,
    /// With what this process asks.
    client: Arc<ClientConfig>,
}

impl Security {
    fn new() -> Self {
        let certificates = Certificates::new();
        Self { client: secure::client(&certificates), certificates }
    }
}

#[derive(Debug)]
struct Node {
    /// Brokers: as others see it, `broker-a` and 0 for a master, 1 for its slave.
    name: String,
    id: u64,
    port: u16,
    folder: PathBuf,
    process: Option<Process>,
}

/// Where a server's configuration and log are, and what tells its log apart from the console's.
const LOGBACK: &str = r#"<configuration>
  <appender name="console" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %p %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="console"/></root>
</configuration>
"#;

/// Small thread pools and files: dozens of brokers fit on one machine.
const SMALL: &str = "flushDiskType=ASYNC_FLUSH
autoCreateTopicEnable=false
autoCreateSubscriptionGroup=true
mappedFileSizeCommitLog=16777216
mappedFileSizeConsumeQueue=60000
maxIndexNum=50000
maxHashSlotNum=10000
fileReservedTime=24
diskMaxUsedSpaceRatio=98
warmMapedFileEnable=false
transientStorePoolEnable=false
traceTopicEnable=false
enablePropertyFilter=true
useEpollNativeSelector=false
slaveReadEnable=true
sendMessageThreadPoolNums=2
putMessageFutureThreadPoolNums=2
pullMessageThreadPoolNums=2
queryMessageThreadPoolNums=2
adminBrokerThreadPoolNums=2
clientManageThreadPoolNums=2
consumerManageThreadPoolNums=2
heartbeatThreadPoolNums=1
endTransactionThreadPoolNums=1
serverWorkerThreads=2
serverSelectorThreads=1
";

/// What only 5 knows: its wheel of timers is written whole (37 MB) each second by default, and it spins after its start for as long as
/// `transactionMetricFlushInterval`. Without the wheel it cannot delete topics.
const SMALL_V5: &str = "timerWheelEnable=true
mappedFileSizeTimerLog=1048576
timerFlushIntervalMs=60000
transactionMetricFlushInterval=1000
litePullMessageThreadPoolNums=2
ackMessageThreadPoolNums=1
processReplyMessageThreadPoolNums=1
topicQueueLockNum=16
";

impl RocketMq {
    /// Starts a cluster; ready when every name server lists every broker.
    pub fn start(wish: &RocketWish) -> Self {
        assert!((1..=3).contains(&wish.masters) && (1..=3).contains(&wish.name_servers), "1 to 3 of each");
        let folder = tempfile::Builder::new().prefix("zms-rocketmq-").tempdir().unwrap();
        let name_servers = (0..wish.name_servers).map(|n| {
            let name = format!("name-server-{n}");
            Node { folder: folder.path().join(&name), name, id: 0, port: free_port(), process: None }
        });
        let masters = "abc".chars().take(wish.masters).map(|letter| format!("broker-{letter}"));
        let brokers = masters.flat_map(|name| (0..=u64::from(wish.slaves)).map(move |id| (name.clone(), id)));
        let brokers = brokers.map(|(name, id)| Node {
            folder: folder.path().join(format!("{name}-{id}")),
            name,
            id,
            port: free_port(),
            process: None,
        });
        let (name_servers, brokers) = (name_servers.collect(), brokers.collect());
        let security = wish.secure.then(Security::new);
        let mut cluster = Self { line: wish.line, name_servers, brokers, security, _folder: folder };
        cluster.write(wish);
        for index in 0..cluster.name_servers.len() {
            cluster.start_name_server(index);
        }
        for index in 0..cluster.brokers.len() {
            cluster.launch(index);
        }
        for index in 0..cluster.brokers.len() {
            cluster.await_ready(index);
        }
        cluster
    }

    /// Which line it is of.
    pub const fn line(&self) -> RocketLine {
        self.line
    }

    /// `127.0.0.1:port` of each name server.
    pub fn name_servers(&self) -> Vec<String> {
        self.name_servers.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect()
    }

    /// `127.0.0.1:port` of a broker by its name and id (0: master).
    pub fn address(&self, name: &str, id: u64) -> String {
        format!("127.0.0.1:{}", self.brokers[self.find(name, id)].port)
    }

    /// The folder of the jars that it runs from; Apache's client is among them.
    pub fn jars(&self) -> PathBuf {
        packages::unpacked("rocketmq", self.line.version()).join("libs")
    }

    /// Of a secure cluster: the authority whose certificates its servers have, PEM.
    pub fn authority(&self) -> &str {
        &self.security.as_ref().expect("it was wished to be secure").certificates.authority_pem
    }

    /// Access key and secret key of a secure cluster's account that may do everything.
    pub const fn operator(&self) -> (&'static str, &'static str) {
        secure::ADMIN
    }

    /// Access key and secret key of an account that may send to and consume from the topic `allowed` as the group `allowed`, and nothing else. On 4.9 it
    /// is there from the start; on 5 an operator makes it.
    pub const fn application(&self) -> (&'static str, &'static str) {
        secure::LIMITED
    }

    /// Gives a broker of a secure cluster another key and certificate, which it shows to those who come from within a second on.
    pub fn certify(&self, name: &str, id: u64, certificates: &Certificates) {
        secure::certify(&self.brokers[self.find(name, id)].folder, certificates);
    }

    /// Makes a topic with so many queues on each master; ready when every name server tells where it is.
    pub fn make_topic(&self, topic: &str, queues: usize) {
        let queues = queues.to_string();
        let masters: Vec<&Node> = self.brokers.iter().filter(|node| node.id == 0).collect();
        for master in &masters {
            let fields = serde_json::json!({
                "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues, "perm": "6",
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
            });
            let answer = ask(master.port, self.client(), 17, &fields).unwrap();
            assert!(answer.contains("\"code\":0"), "making topic {topic} on {}: {answer}", master.name);
        }
        let end = Instant::now() + Duration::from_secs(30);
        for server in &self.name_servers {
            let there = |answer: String| masters.iter().all(|master| answer.contains(&format!("\"{}\"", master.name)));
            while !ask(server.port, self.client(), 105, &serde_json::json!({"topic": topic})).is_some_and(there) {
                assert!(Instant::now() < end, "topic {topic} has no route after 30 s");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// One request to a master and its answer: header and body as text. It is not signed.
    pub fn ask(&self, name: &str, code: i32, fields: &serde_json::Value) -> String {
        ask(self.brokers[self.find(name, 0)].port, self.client(), code, fields)
            .unwrap_or_else(|| panic!("no answer of {name} to {code}"))
    }

    /// One request to every name server.
    pub fn ask_name_servers(&self, code: i32, fields: &serde_json::Value) -> Vec<String> {
        self.name_servers.iter().filter_map(|node| ask(node.port, self.client(), code, fields)).collect()
    }

    /// Positions of all groups on a master, as it writes them: `{"offsetTable":{"topic@group":{0:3}}}`, which is no JSON.
    pub fn positions(&self, name: &str) -> String {
        self.ask(name, 43, &serde_json::json!({}))
    }

    /// kill -9 of a broker.
    pub fn kill(&mut self, name: &str, id: u64) {
        let index = self.find(name, id);
        self.brokers[index].process.take().expect("it runs").kill();
    }

    /// Stops a broker's process where it is (SIGSTOP), or lets it go on.
    pub fn freeze(&self, name: &str, id: u64, frozen: bool) {
        let process = self.brokers[self.find(name, id)].process.as_ref().expect("it runs");
        process.freeze(frozen);
    }

    /// Starts a killed broker again, with its data.
    pub fn restart(&mut self, name: &str, id: u64) {
        let index = self.find(name, id);
        self.launch(index);
        self.await_ready(index);
    }

    /// kill -9 of a name server, counted from 0.
    pub fn kill_name_server(&mut self, index: usize) {
        self.name_servers[index].process.take().expect("it runs").kill();
    }

    /// Starts a killed name server again; brokers come back to it by themselves, within 30 s.
    pub fn start_name_server(&mut self, index: usize) {
        let mut command = self.java(&self.name_servers[index], "64m");
        let node = &mut self.name_servers[index];
        command.arg("org.apache.rocketmq.namesrv.NamesrvStartup").arg("-c").arg(node.folder.join("conf/server.conf"));
        let mut process = Process::start(&mut command, &node.folder);
        process.await_ready("RocketMQ's name server", |_| accepts(node.port));
        node.process = Some(process);
    }

    fn client(&self) -> Option<&Arc<ClientConfig>> {
        self.security.as_ref().map(|security| &security.client)
    }

    fn find(&self, name: &str, id: u64) -> usize {
        let found = self.brokers.iter().position(|node| node.name == name && node.id == id);
        found.unwrap_or_else(|| panic!("no broker {name} {id}"))
    }

    fn write(&self, wish: &RocketWish) {
        for node in self.name_servers.iter().chain(&self.brokers) {
            let conf = node.folder.join("conf");
            fs::create_dir_all(&conf).unwrap();
            // 5 is told its file, 4.9 looks for one of these names.
            for name in ["rmq.logback.xml", "logback_namesrv.xml", "logback_broker.xml", "logback_tools.xml"] {
                fs::write(conf.join(name), LOGBACK).unwrap();
            }
            if let Some(security) = &self.security {
                secure::write(&node.folder, wish.line, &security.certificates);
            }
        }
        for node in &self.name_servers {
            let text = format!(
                "listenPort={}\nrocketmqHome={folder}\nkvConfigPath={folder}/kvConfig.json\nconfigStorePath={folder}/namesrv.properties\n\
                 bindAddress=127.0.0.1\n",
                node.port,
                folder = node.folder.display()
            );
            fs::write(node.folder.join("conf/server.conf"), text).unwrap();
        }
        for node in &self.brokers {
            let mut text = format!(
                "brokerClusterName=zms-test\nbrokerName={}\nbrokerId={}\nbrokerRole={}\nnamesrvAddr={}\nbrokerIP1=127.0.0.1\n\
                 brokerIP2=127.0.0.1\nbindAddress=127.0.0.1\nlistenPort={}\nhaListenPort={}\nstorePathRootDir={store}\n\
                 storePathCommitLog={store}/commitlog\n{SMALL}",
                node.name,
                node.id,
                if node.id == 0 { "ASYNC_MASTER" } else { "SLAVE" },
                self.name_servers().join(";"),
                node.port,
                node.port + 1,
                store = node.folder.join("store").display()
            );
            if wish.line == RocketLine::V5 {
                text += SMALL_V5;
            }
            if wish.secure {
                text += &secure::settings(wish.line);
            }
            for (key, value) in &wish.settings {
                text += &format!("{key}={value}\n");
            }
            fs::write(node.folder.join("conf/server.conf"), text).unwrap();
        }
    }

    fn launch(&mut self, index: usize) {
        let mut command = self.java(&self.brokers[index], "128m");
        let node = &mut self.brokers[index];
        assert!(node.process.is_none(), "it runs");
        command.arg("org.apache.rocketmq.broker.BrokerStartup").arg("-c").arg(node.folder.join("conf/server.conf"));
        node.process = Some(Process::start(&mut command, &node.folder));
    }

    /// A port that is open says nothing: brokers open it before they are registered.
    fn await_ready(&mut self, index: usize) {
        let registries: Vec<u16> = self.name_servers.iter().filter(|node| node.process.is_some()).map(|node| node.port).collect();
        let client = self.security.as_ref().map(|security| &security.client);
        let node = &mut self.brokers[index];
        let (port, what) = (node.port, format!("RocketMQ broker {} {}", node.name, node.id));
        let listed =
            |registry: &u16| cluster_info(*registry, client).is_some_and(|said| said.contains(&format!("\"127.0.0.1:{port}\"")));
        node.process.as_mut().expect("it was launched").await_ready(&what, |_| accepts(port) && registries.iter().all(listed));
    }

    /// Each server has a folder of its own, which is its home: data, configuration, logs.
    fn java(&self, node: &Node, heap: &str) -> Command {
        let mut command = Command::new(packages::java());
        command.env("MALLOC_ARENA_MAX", "2").env("ROCKETMQ_HOME", &node.folder);
        command.args([format!("-Xms{heap}"), format!("-Xmx{heap}")]);
        command.args(["-XX:MaxDirectMemorySize=160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k"]);
        command.args(["-XX:MaxMetaspaceSize=128m", "-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true"]);
        command.args(["-Dio.netty.allocator.numDirectArenas=1", "-Dio.netty.allocator.numHeapArenas=1"]);
        // 4.9 reaches into the JDK when it unmaps files; without these it cannot delete topics on Java 17.
        for package in ["nio", "lang"] {
            command.arg(format!("--add-opens=java.base/java.{package}=ALL-UNNAMED"));
        }
        command.arg("--add-opens=java.base/sun.nio.ch=ALL-UNNAMED").arg("--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED");
        // Libraries that it unpacks and keys that it makes up are left behind when it is killed.
        for property in ["user.home", "rocketmq.home.dir", "java.io.tmpdir"] {
            command.arg(format!("-D{property}={}", node.folder.display()));
        }
        if self.security.is_some() {
            command.args(secure::flags(&node.folder));
        } else {
            // It would make itself a key that nobody can check, which takes longer than all else at its start.
            command.arg("-Dtls.server.mode=disabled");
        }
        command.arg(format!("-Drmq.logback.configurationFile={}", node.folder.join("conf/rmq.logback.xml").display()));
        let libs = packages::unpacked("rocketmq", self.line.version()).join("libs/*");
        command.arg("-cp").arg(format!("{}:{}", node.folder.join("conf").display(), libs.display()));
        command
    }
}

/// What a name server says of the cluster (request code 106); `None` if it says nothing yet.
fn cluster_info(port: u16, client: Option<&Arc<ClientConfig>>) -> Option<String> {
    ask(port, client, 106, &serde_json::json!({}))
}
