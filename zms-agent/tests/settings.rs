//! Every setting of the catalogue reaches the running server: each is given a value of its own, the server is started, and
//! the server itself (its log, its command line, its answers) is asked what it got.

#![allow(clippy::unwrap_used, reason = "a test says with its backtrace what failed")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{Host, free_port, real};
use zms_core::catalogue::{Kind, Member, Per, Place, Service};
use zms_core::host::InstanceSpec;

/// Where a value must be seen.
enum Seen {
    /// In the instance's log.
    Log(&'static str),
    /// In the process's arguments.
    Argument(&'static str),
    /// As the process's limit of open files.
    OpenFiles(&'static str),
    /// In the JVM's properties.
    Property(&'static str),
    /// In ZooKeeper's answer to `conf`, or in the configuration that a RocketMQ broker gives.
    Conf(&'static str),
    /// In what `influxd config` reads from its file, for what the running server does not show.
    OwnReading(&'static str),
    /// In InfluxDB's diagnostics, as `column: value`.
    Diagnostics(&'static str),
    /// In the process's environment.
    Environment(&'static str),
    /// Nowhere in the instance's log, where it stands without the setting.
    NotInLog(&'static str),
    /// In the arguments of the instance that has this port.
    ArgumentOf(&'static str, &'static str),
}

use Seen::{Argument, ArgumentOf, Conf, Diagnostics, Environment, Log, NotInLog, OpenFiles, OwnReading, Property};

/// Setting, value, place. The value differs from what the server takes without the setting, or nothing would be shown.
type Table = &'static [(&'static str, &'static str, Seen)];

const ZOOKEEPER: Table = &[
    ("heap", "96", Argument("-Xmx96m")),
    ("jvm_options", "-Dzookeeper.forceSync=yes", Property("zookeeper.forceSync=yes")),
    ("tickTime", "1500", Conf("tickTime=1500")),
    ("initLimit", "11", Conf("initLimit=11")),
    ("syncLimit", "6", Conf("syncLimit=6")),
    ("maxSessionTimeout", "50000", Conf("maxSessionTimeout=50000")),
    ("maxClientCnxns", "77", Conf("maxClientCnxns=77")),
    ("globalOutstandingLimit", "1234", Property("zookeeper.globalOutstandingLimit=1234")),
    ("jute.maxbuffer", "2MiB", Property("jute.maxbuffer=2097152")),
    ("open_files", "5000", OpenFiles("5000")),
    ("snapCount", "54321", Property("zookeeper.snapCount=54321")),
    ("preAllocSize", "128KiB", Property("zookeeper.preAllocSize=128")),
    ("autopurge.snapRetainCount", "4", Log("autopurge.snapRetainCount set to 4")),
    ("autopurge.purgeInterval", "7h", Log("autopurge.purgeInterval set to 7")),
    ("log_level", "DEBUG", Log(" DEBUG ")),
    ("extra_properties", "fsync.warningthresholdms=4321", Property("zookeeper.fsync.warningthresholdms=4321")),
];

const KAFKA: Table = &[
    ("heap", "200", Argument("-Xmx200m")),
    ("log.cleaner.dedupe.buffer.size", "3MiB", Log("\tlog.cleaner.dedupe.buffer.size = 3145728\n")),
    ("jvm_options", "-Djava.net.preferIPv4Stack=true", Argument("-Djava.net.preferIPv4Stack=true")),
    ("num.partitions", "5", Log("\tnum.partitions = 5\n")),
    ("default.replication.factor", "2", Log("\tdefault.replication.factor = 2\n")),
    ("min.insync.replicas", "2", Log("\tmin.insync.replicas = 2\n")),
    ("message.max.bytes", "2MiB", Log("\tmessage.max.bytes = 2097152\n")),
    ("unclean.leader.election.enable", "true", Log("\tunclean.leader.election.enable = true\n")),
    ("log.retention.hours", "5", Log("\tlog.retention.hours = 5\n")),
    ("log.retention.bytes", "3GiB", Log("\tlog.retention.bytes = 3221225472\n")),
    ("log.segment.bytes", "64MiB", Log("\tlog.segment.bytes = 67108864\n")),
    ("log.retention.check.interval.ms", "7s", Log("\tlog.retention.check.interval.ms = 7000\n")),
    ("num.network.threads", "4", Log("\tnum.network.threads = 4\n")),
    ("num.io.threads", "5", Log("\tnum.io.threads = 5\n")),
    ("num.replica.fetchers", "3", Log("\tnum.replica.fetchers = 3\n")),
    ("num.recovery.threads.per.data.dir", "3", Log("\tnum.recovery.threads.per.data.dir = 3\n")),
    ("socket.send.buffer.bytes", "65536", Log("\tsocket.send.buffer.bytes = 65536\n")),
    ("socket.receive.buffer.bytes", "65537", Log("\tsocket.receive.buffer.bytes = 65537\n")),
    ("socket.request.max.bytes", "50MiB", Log("\tsocket.request.max.bytes = 52428800\n")),
    ("group.initial.rebalance.delay.ms", "1s", Log("\tgroup.initial.rebalance.delay.ms = 1000\n")),
    ("offsets.topic.num.partitions", "4", Log("\toffsets.topic.num.partitions = 4\n")),
    ("offsets.retention.minutes", "1234", Log("\toffsets.retention.minutes = 1234\n")),
    ("broker.rack", "rack-7", Log("\tbroker.rack = rack-7\n")),
    ("open_files", "15000", OpenFiles("15000")),
    ("log_level", "DEBUG", Log("] DEBUG ")),
    ("extra_properties", "log.roll.hours=9", Log("\tlog.roll.hours = 9\n")),
];

const ROCKETMQ: Table = &[
    ("slaves", "true", Conf("listed with id 1: true")),
    ("replication", "SYNC_MASTER", Conf("brokerRole=SYNC_MASTER")),
    ("flushDiskType", "SYNC_FLUSH", Conf("flushDiskType=SYNC_FLUSH")),
    ("slaveReadEnable", "true", Conf("slaveReadEnable=true")),
    ("heap", "160", Argument("-Xmx160m")),
    ("direct_memory", "170", Argument("-XX:MaxDirectMemorySize=170m")),
    ("nameserver_heap", "72", ArgumentOf("nameserver", "-Xmx72m")),
    ("jvm_options", "-Djava.net.preferIPv4Stack=true", Argument("-Djava.net.preferIPv4Stack=true")),
    ("fileReservedTime", "4d", Conf("fileReservedTime=96")),
    ("deleteWhen", "05;17", Conf("deleteWhen=05;17")),
    ("diskMaxUsedSpaceRatio", "93", Conf("diskMaxUsedSpaceRatio=93")),
    ("maxMessageSize", "64KiB", Conf("maxMessageSize=65536")),
    ("autoCreateSubscriptionGroup", "false", Conf("autoCreateSubscriptionGroup=false")),
    ("enablePropertyFilter", "true", Conf("enablePropertyFilter=true")),
    ("traceTopicEnable", "true", Conf("traceTopicEnable=true")),
    ("messageDelayLevel", "2s 6s 20s", Conf("messageDelayLevel=2s 6s 20s")),
    ("timerFlushIntervalMs", "7s", Conf("timerFlushIntervalMs=7000")),
    ("sendMessageThreadPoolNums", "7", Conf("sendMessageThreadPoolNums=7")),
    ("pullMessageThreadPoolNums", "5", Conf("pullMessageThreadPoolNums=5")),
    ("adminBrokerThreadPoolNums", "6", Conf("adminBrokerThreadPoolNums=6")),
    ("waitTimeMillsInSendQueue", "400", Conf("waitTimeMillsInSendQueue=400")),
    ("maxTransferCountOnMessageInMemory", "33", Conf("maxTransferCountOnMessageInMemory=33")),
    ("transferMsgByHeap", "false", Conf("transferMsgByHeap=false")),
    ("mappedFileSizeCommitLog", "16MiB", Conf("mappedFileSizeCommitLog=16777216")),
    ("mappedFileSizeConsumeQueue", "60000", Conf("mappedFileSizeConsumeQueue=60000")),
    ("transientStorePoolEnable", "true", Conf("transientStorePoolEnable=true")),
    ("warmMapedFileEnable", "true", Conf("warmMapedFileEnable=true")),
    ("open_files", "5000", OpenFiles("5000")),
    ("log_level", "DEBUG", Log(" DEBUG ")),
    ("extra_properties", "maxIndexNum=50000\nmaxHashSlotNum=10000", Conf("maxIndexNum=50000")),
];

const INFLUXDB: Table = &[
    ("cache_max", "64", Diagnostics("cache-max-memory-size: 67108864")),
    ("cache_snapshot", "11", Diagnostics("cache-snapshot-memory-size: 11534336")),
    ("wal_fsync_delay", "70", Diagnostics("wal-fsync-delay: 70ms")),
    ("max_concurrent_compactions", "3", Diagnostics("max-concurrent-compactions: 3")),
    ("retention_check", "17", Diagnostics("check-interval: 17m0s")),
    ("max_series", "123456", Diagnostics("max-series-per-database: 123456")),
    ("max_values_per_tag", "65432", Diagnostics("max-values-per-tag: 65432")),
    ("max_body_size", "3MiB", OwnReading("max-body-size = 3145728")),
    ("max_connections", "345", Diagnostics("max-connection-limit: 345")),
    ("max_rows", "4567", Diagnostics("max-row-limit: 4567")),
    ("query_timeout", "44", Diagnostics("query-timeout: 44s")),
    ("max_concurrent_queries", "33", Diagnostics("max-concurrent-queries: 33")),
    ("max_select_series", "2222", Diagnostics("max-select-series: 2222")),
    ("open_files", "6000", OpenFiles("6000")),
    ("log_level", "error", OwnReading("level = \"error\"")),
    ("log_level", "error", NotInLog("lvl=info")),
    ("log_requests", "false", OwnReading("log-enabled = false")),
    ("log_requests", "false", NotInLog("[httpd]")),
    ("environment", "GOGC=57", Environment("GOGC=57")),
];

/// The members of a service of so many hosts, all of them on this one with ports of their own.
fn specs(kind: &Kind, table: Table, hosts: usize) -> Vec<InstanceSpec> {
    let made = |per: Per, seed: u8| -> BTreeMap<String, String> {
        kind.generated().iter().filter(|g| g.per == per).map(|g| (g.name.clone(), g.make([seed; 16]))).collect()
    };
    let base = real::service(kind, "settings", &[]);
    let member = |Place { number, role, .. }: Place| Member {
        instance: format!("{}-set-{number}", kind.name()).parse().unwrap(),
        uid: format!("settings-{number}"),
        node_id: number,
        role,
        generated: made(Per::Instance, number as u8),
        settings: kind.ports().iter().map(|port| (port.setting_key(), free_port().to_string())).collect(),
        ..base.members[0].clone()
    };
    let settings = table.iter().map(|(key, value, _)| ((*key).to_owned(), (*value).to_owned())).collect();
    let service = Service { members: kind.places(hosts, &settings).into_iter().map(member).collect(), settings, ..base };
    kind.render(&service).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Starts the members and checks each row of the table on the first one.
fn check(
    name: &str,
    table: Table,
    hosts: usize,
    change: impl Fn(&mut Vec<InstanceSpec>),
    ask: impl Fn(&[InstanceSpec]) -> String,
) {
    let kind = real::kind(name);
    let ports: Vec<String> = kind.ports().iter().map(|port| port.setting_key()).collect();
    let mut known: Vec<&str> =
        kind.settings().iter().map(|s| s.key.as_str()).filter(|key| !ports.iter().any(|port| port == key)).collect();
    let mut tested: Vec<&str> = table.iter().map(|(key, ..)| *key).collect();
    known.sort_unstable();
    tested.sort_unstable();
    tested.dedup();
    assert_eq!(tested, known, "each setting has a row here (ports have the check of who listens)");

    let mut host = Host::new();
    let mut specs = specs(&kind, table, hosts);
    change(&mut specs);
    host.want(specs.clone());
    host.start_agent();
    host.settle(Duration::from_secs(180));
    who_listens(&host, &specs);
    let first = &specs[0];
    let pid = host.instance(first.id.as_str()).unwrap().pid.unwrap();
    let (log, answer) = (host.log_of(first.id.as_str()), ask(&specs));
    let of = |pid: u32, file: &str| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap()).replace('\0', "\n")
    };
    let of_process = |file: &str| of(pid, file);
    let pid_with = |port: &str| {
        let spec = specs.iter().find(|spec| spec.body.ports.iter().any(|p| p.name == port)).unwrap();
        host.instance(spec.id.as_str()).unwrap().pid.unwrap()
    };
    let mut missing = Vec::new();
    let properties = if name == "influxdb" { String::new() } else { properties(&host, first, pid) };
    for (key, value, seen) in table {
        let found = match seen {
            Log(text) => host.log_of(first.id.as_str()).contains(text),
            NotInLog(text) => !host.log_of(first.id.as_str()).contains(text),
            Argument(text) => of_process("cmdline").lines().any(|word| word == *text),
            OpenFiles(limit) => of_process("limits")
                .lines()
                .any(|l| l.starts_with("Max open files") && l.split_whitespace().nth(3) == Some(limit)),
            Property(text) => properties.lines().any(|line| line == *text),
            OwnReading(text) => own_reading(&host, first).lines().any(|line| line.trim() == *text),
            Conf(text) | Diagnostics(text) => answer.lines().any(|line| line == *text),
            ArgumentOf(port, text) => of(pid_with(port), "cmdline").lines().any(|word| word == *text),
            Environment(text) => of_process("environ").lines().any(|line| line == *text),
        };
        if !found {
            missing.push(format!("{key} = {value}"));
        }
    }
    assert!(
        missing.is_empty(),
        "not seen in the running server: {missing:#?}\n{properties}\n{answer}\n{}",
        &log[..log.len().min(6000)]
    );
}

/// Each port of an instance, a free one of this host, is one on which its own process listens.
fn who_listens(host: &Host, specs: &[InstanceSpec]) {
    let sockets: Vec<_> = procfs::net::tcp().unwrap().into_iter().chain(procfs::net::tcp6().unwrap()).collect();
    let mut leaders = 0;
    for spec in specs {
        let pid = host.instance(spec.id.as_str()).unwrap().pid.unwrap();
        let files = procfs::process::Process::new(pid as i32).unwrap().fd().unwrap();
        let own: Vec<u64> = files
            .filter_map(|file| match file.ok()?.target {
                procfs::process::FDTarget::Socket(inode) => Some(inode),
                _ => None,
            })
            .collect();
        let listens = |port: u16| {
            let listening = |s: &&procfs::net::TcpNetEntry| s.state == procfs::net::TcpState::Listen && own.contains(&s.inode);
            sockets.iter().filter(listening).any(|socket| socket.local_address.port() == port)
        };
        assert!(!spec.body.ports.is_empty(), "{} has ports", spec.id);
        for port in &spec.body.ports {
            // ZooKeeper's leader alone takes followers.
            if port.name == "quorum" {
                leaders += usize::from(listens(port.port));
            } else {
                assert!(listens(port.port), "{}: nothing of it listens on port {} ({})", spec.id, port.port, port.name);
            }
        }
    }
    let quorum = specs.iter().any(|spec| spec.body.ports.iter().any(|port| port.name == "quorum"));
    assert_eq!(leaders, usize::from(quorum), "servers that listen on their quorum port");
}

/// The JVM's own properties, by the packaged `jcmd`.
#[allow(clippy::disallowed_methods, reason = "a tool of the JRE that asks a process, not a service")]
fn properties(host: &Host, spec: &InstanceSpec, pid: u32) -> String {
    let jre = spec.body.packages.iter().find(|package| package.name.as_str() == "jre").unwrap();
    let jcmd = host.layout.release(jre).join("bin/jcmd");
    let output = std::process::Command::new(jcmd).args([&pid.to_string(), "VM.system_properties"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The configuration as InfluxDB itself reads it.
#[allow(clippy::disallowed_methods, reason = "it prints and ends")]
fn own_reading(host: &Host, spec: &InstanceSpec) -> String {
    let influxd = host.layout.release(&spec.body.packages[0]).join("bin/influxd");
    let file = host.layout.current_conf(&spec.id).join("influxdb.conf");
    let output = std::process::Command::new(influxd).arg("config").arg("-config").arg(file).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ask(spec: &InstanceSpec, port: &str, request: &[u8]) -> String {
    let port = spec.body.ports.iter().find(|p| p.name == port).unwrap();
    let mut stream = TcpStream::connect((port.address.as_str(), port.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_setting_of_zookeeper_reaches_it() {
    let open_conf = |specs: &mut Vec<InstanceSpec>| {
        for spec in specs {
            // `conf` is not among the words that ZMS allows; the test allows it in its own copy.
            let file = spec.body.files.iter_mut().find(|file| file.name == "zoo.cfg").unwrap();
            file.body = file.body.replace("srvr,mntr,isro,ruok", "srvr,mntr,isro,ruok,conf");
            *spec = InstanceSpec::new(spec.id.clone(), spec.uid.clone(), spec.kind.clone(), spec.phase, spec.body.clone());
        }
    };
    check("zookeeper", ZOOKEEPER, 3, open_conf, |specs| ask(&specs[0], "client", b"conf"));
}

#[test]
fn every_setting_of_kafka_reaches_it() {
    check("kafka", KAFKA, 3, |_| (), |_| String::new());
}

/// Of the two hosts' masters, slaves and name servers one each: the others would only be more of the same.
#[test]
fn every_setting_of_rocketmq_reaches_it() {
    let one_of_each = |specs: &mut Vec<InstanceSpec>| {
        specs.retain(|spec| spec.id.as_str().ends_with('1'));
        assert_eq!(specs.iter().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), ONE_OF_EACH);
    };
    check("rocketmq", ROCKETMQ, 2, one_of_each, |specs| {
        let address = |spec: &InstanceSpec, port: &str| spec.body.ports.iter().find(|p| p.name == port).unwrap().socket();
        let listed = real::rocketmq_says(&address(&specs[2], "nameserver"), 106);
        let slave = listed.contains(&format!("1:\"{}\"", address(&specs[1], "slave")));
        format!("{}\nlisted with id 1: {slave}\n", real::rocketmq_says(&address(&specs[0], "master"), 26))
    });
}

const ONE_OF_EACH: [&str; 3] = ["rocketmq-set-1", "rocketmq-set-101", "rocketmq-set-201"];

#[test]
fn every_setting_of_influxdb_reaches_it() {
    check(
        "influxdb",
        INFLUXDB,
        1,
        |_| (),
        |specs| {
            let spec = &specs[0];
            let post = |query: &str, authorization: &str| {
                let body = format!("q={query}");
                let form = "Content-Type: application/x-www-form-urlencoded";
                let head = format!("POST /query HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{form}\r\n{authorization}");
                ask(spec, "http", format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
            };
            // The first user may be made by nobody; the test's server ends with the test.
            post("CREATE%20USER%20t%20WITH%20PASSWORD%20't'%20WITH%20ALL%20PRIVILEGES", "");
            let answer = post("SHOW%20DIAGNOSTICS", "Authorization: Basic dDp0\r\n");
            let json = &answer[answer.find("{\"results\"").unwrap_or_else(|| panic!("{answer}"))..];
            let mut values = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>();
            let found = values.next().unwrap().unwrap();
            let mut lines = String::new();
            for series in found["results"][0]["series"].as_array().unwrap() {
                let columns = series["columns"].as_array().unwrap();
                for (column, value) in columns.iter().zip(series["values"][0].as_array().unwrap()) {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    lines.push_str(&format!("{}: {value}\n", column.as_str().unwrap()));
                }
            }
            lines
        },
    );
}
