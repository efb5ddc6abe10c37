use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::packages;
use crate::process::{Process, accepts, free_port};

/// What kind of RocketMQ cluster.
#[derive(Debug, Clone, Copy)]
pub struct RocketMqWish {
    /// `5.5.0` or `4.9.7`.
    pub version: &'static str,
    /// Brokers, each a master of its own: `broker-a`, `broker-b` …
    pub brokers: usize,
}

impl Default for RocketMqWish {
    fn default() -> Self {
        Self { version: "5.5.0", brokers: 1 }
    }
}

/// A name server and its brokers.
#[derive(Debug)]
pub struct RocketMq {
    folder: TempDir,
    wish: RocketMqWish,
    name_server: u16,
    _name_server: Process,
    brokers: Vec<Broker>,
}

#[derive(Debug)]
struct Broker {
    name: String,
    port: u16,
    process: Option<Process>,
}

/// Version 4 wants one of these for each program, version 5 the flag `rmq.logback.configurationFile`.
const LOGGING: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %p %logger{0} %m%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;
/// Small files, few threads, nothing that is not needed. `autoCreateSubscriptionGroup` is what Apache ships.
const BROKER: &str = "brokerClusterName=zms-test
brokerId=0
brokerRole=ASYNC_MASTER
flushDiskType=ASYNC_FLUSH
brokerIP1=127.0.0.1
brokerIP2=127.0.0.1
bindAddress=127.0.0.1
autoCreateTopicEnable=false
autoCreateSubscriptionGroup=true
mappedFileSizeCommitLog=16777216
mappedFileSizeConsumeQueue=60000
maxIndexNum=50000
maxHashSlotNum=10000
diskMaxUsedSpaceRatio=98
warmMapedFileEnable=false
traceTopicEnable=false
useEpollNativeSelector=false
sendMessageThreadPoolNums=2
pullMessageThreadPoolNums=2
adminBrokerThreadPoolNums=2
clientManageThreadPoolNums=2
consumerManageThreadPoolNums=2
serverWorkerThreads=2
serverSelectorThreads=1
";
/// The wheel of timers is 37 MB, written each second by default; and 5.x spins for the last one of these after each start.
const BROKER_5: &str = "mappedFileSizeTimerLog=1048576
timerFlushIntervalMs=60000
transactionMetricFlushInterval=1000
";

impl RocketMq {
    /// Starts a cluster; ready when its name server lists every broker.
    pub fn start(wish: RocketMqWish) -> Self {
        assert!((1..=3).contains(&wish.brokers), "1 to 3 brokers");
        let folder = tempfile::Builder::new().prefix("zms-rocketmq-").tempdir().unwrap();
        let name_server = free_port();
        let home = folder.path().join("namesrv");
        let config = format!(
            "listenPort={name_server}\nbindAddress=127.0.0.1\nrocketmqHome={0}\nkvConfigPath={0}/kv.json\nconfigStorePath={0}/namesrv.properties\n",
            home.display()
        );
        let mut process = launch(wish.version, &home, "org.apache.rocketmq.namesrv.NamesrvStartup", 64, &config);
        process.await_ready("name server", |_| accepts(name_server));
        let brokers = ["broker-a", "broker-b", "broker-c"].into_iter().take(wish.brokers);
        let brokers = brokers.map(|name| Broker { name: name.to_owned(), port: broker_port(), process: None }).collect();
        let mut cluster = Self { folder, wish, name_server, _name_server: process, brokers };
        for index in 0..wish.brokers {
            cluster.launch(index);
        }
        for index in 0..wish.brokers {
            cluster.await_ready(index);
        }
        cluster
    }

    /// `127.0.0.1:port`.
    pub fn name_server(&self) -> String {
        format!("127.0.0.1:{}", self.name_server)
    }

    /// `127.0.0.1:port` of each broker.
    pub fn brokers(&self) -> Vec<String> {
        self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port)).collect()
    }

    /// The folder of the jars that it runs from; Apache's client is among them.
    pub fn jars(&self) -> PathBuf {
        packages::unpacked_version("rocketmq", self.wish.version).join("libs")
    }

    /// Makes a topic with so many queues on each broker; ready when the name server tells where it is.
    pub fn make_topic(&self, topic: &str, queues: usize) {
        let queues = queues.to_string();
        for broker in self.brokers() {
            let fields = serde_json::json!({
                "topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues, "writeQueueNums": queues, "perm": "6",
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
            });
            let (code, body) = ask(&broker, 17, &fields).unwrap();
            assert_eq!(code, 0, "making topic {topic} on {broker}: {}", String::from_utf8_lossy(&body));
        }
        let routed = |body: &str| self.brokers.iter().all(|broker| body.contains(&broker.name));
        self.await_answer(105, &serde_json::json!({"topic": topic}), &format!("topic {topic} has no route"), routed);
    }

    /// Positions of all groups on a broker, counted from 0, as it writes them: `{"offsetTable":{"topic@group":{0:3}}}`, which is no JSON.
    pub fn positions(&self, index: usize) -> String {
        let (code, body) = ask(&self.brokers()[index], 43, &serde_json::json!({})).unwrap();
        assert_eq!(code, 0, "asking for positions");
        String::from_utf8(body).unwrap()
    }

    /// kill -9 of a broker, counted from 0.
    pub fn kill(&mut self, index: usize) {
        self.brokers[index].process.take().expect("it runs").kill();
    }

    /// Stops a broker's process where it is (SIGSTOP), or lets it go on.
    pub fn freeze(&self, index: usize, frozen: bool) {
        use nix::sys::signal::Signal;
        let process = self.brokers[index].process.as_ref().expect("it runs");
        process.signal(if frozen { Signal::SIGSTOP } else { Signal::SIGCONT });
    }

    /// Starts a killed broker again, with its data.
    pub fn restart(&mut self, index: usize) {
        self.launch(index);
        self.await_ready(index);
    }

    fn launch(&mut self, index: usize) {
        let broker = &mut self.brokers[index];
        assert!(broker.process.is_none(), "it runs");
        let home = self.folder.path().join(&broker.name);
        let more = if self.wish.version.starts_with('5') { BROKER_5 } else { "" };
        let config = format!(
            "{BROKER}{more}brokerName={name}\nlistenPort={port}\nhaListenPort={ha}\nnamesrvAddr=127.0.0.1:{name_server}\n\
             storePathRootDir={home}/store\nstorePathCommitLog={home}/store/commitlog\n",
            name = broker.name,
            port = broker.port,
            ha = free_port(),
            name_server = self.name_server,
            home = home.display(),
        );
        broker.process = Some(launch(self.wish.version, &home, "org.apache.rocketmq.broker.BrokerStartup", 128, &config));
    }

    /// An open port is not enough: clients find a broker when the name server lists it.
    fn await_ready(&mut self, index: usize) {
        let (name, port) = (self.brokers[index].name.clone(), self.brokers[index].port);
        self.brokers[index].process.as_mut().expect("it runs").await_ready(&name, |_| accepts(port));
        let listed = |body: &str| body.contains(&format!("127.0.0.1:{port}"));
        self.await_answer(106, &serde_json::json!({}), &format!("{name} is not listed"), listed);
    }

    fn await_answer(&self, code: i32, fields: &serde_json::Value, otherwise: &str, right: impl Fn(&str) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = ask(&self.name_server(), code, fields).ok().filter(|(code, _)| *code == 0);
            if answer.is_some_and(|(_, body)| right(&String::from_utf8_lossy(&body))) {
                return;
            }
            assert!(Instant::now() < end, "{otherwise} after 60 s");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn launch(version: &'static str, home: &Path, class: &str, heap: usize, config: &str) -> Process {
    let conf = home.join("conf");
    fs::create_dir_all(&conf).unwrap();
    for name in ["rmq.logback.xml", "logback_namesrv.xml", "logback_broker.xml"] {
        fs::write(conf.join(name), LOGGING).unwrap();
    }
    fs::write(home.join("server.conf"), config).unwrap();
    let jars = packages::unpacked_version("rocketmq", version).join("libs");
    let mut command = Command::new(packages::java());
    command
        .args([format!("-Xms{heap}m"), format!("-Xmx{heap}m"), format!("-Duser.home={}", home.display())])
        .args(["-XX:MaxDirectMemorySize=160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k", "-XX:-UsePerfData"])
        .args([
            "-Djava.net.preferIPv4Stack=true",
            "-Dio.netty.allocator.numDirectArenas=1",
            "-Dio.netty.allocator.numHeapArenas=1",
        ])
        // Without these 4.9 cannot delete topics on Java 17.
        .args(["--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED"])
        .arg(format!("-Drocketmq.home.dir={}", home.display()))
        .arg(format!("-Drmq.logback.configurationFile={}", conf.join("rmq.logback.xml").display()))
        .arg("-cp")
        .arg(format!("{}:{}/*", conf.display(), jars.display()))
        .arg(class)
        .arg("-c")
        .arg(home.join("server.conf"));
    Process::start(&mut command, home)
}

/// A broker listens on its port and on the one two below.
fn broker_port() -> u16 {
    loop {
        let port = free_port();
        if port > 1_026 && TcpListener::bind(("127.0.0.1", port - 2)).is_ok() {
            return port;
        }
    }
}

/// One request of the remoting protocol and its answer: code and body.
fn ask(address: &str, code: i32, fields: &serde_json::Value) -> std::io::Result<(i64, Vec<u8>)> {
    let header = serde_json::json!({
        "code": code, "flag": 0, "language": "OTHER", "opaque": 1, "version": 399, "serializeTypeCurrentRPC": "JSON", "extFields": fields,
    })
    .to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = u32::try_from(header.len()).expect("it is short");
    stream.write_all(&[&(length + 4).to_be_bytes()[..], &length.to_be_bytes(), header.as_bytes()].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)?;
    let header = u32::from_be_bytes(frame[..4].try_into().expect("4 bytes")) as usize & 0x00ff_ffff;
    let body = frame.split_off(4 + header);
    let header: serde_json::Value = serde_json::from_slice(&frame[4..])?;
    Ok((header["code"].as_i64().unwrap_or(-1), body))
}
