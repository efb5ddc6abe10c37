//! What people may not type, and services that make no sense.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use support::{codes, kind, package, service, with_setting};
use zms_core::catalogue::{Problem, Service};
use zms_core::host::Phase;

fn problems_of(kind_name: &str, key: &str, typed: &str) -> Vec<Problem> {
    let kind = kind(kind_name);
    kind.render(&with_setting(service(&kind, 3, 8192), key, typed)).err().unwrap_or_default()
}

#[test]
fn values_that_are_wrong_are_refused_at_their_field() {
    let cases = [
        ("zookeeper", "initLimit", "ten", "not_integer"),
        ("zookeeper", "initLimit", "+5", "not_integer"),
        ("zookeeper", "initLimit", "5\n6", "not_integer"),
        ("zookeeper", "initLimit", "99999999999999999999", "not_integer"),
        ("zookeeper", "initLimit", "0", "too_small"),
        ("zookeeper", "initLimit", "-1", "too_small"),
        ("zookeeper", "initLimit", "1001", "too_large"),
        ("zookeeper", "client_port", "80", "too_small"),
        ("zookeeper", "client_port", "65536", "too_large"),
        ("zookeeper", "tickTime", "2 hours", "not_duration"),
        ("zookeeper", "tickTime", "1", "too_small"),
        ("zookeeper", "autopurge.purgeInterval", "90min", "not_whole"),
        ("zookeeper", "heap", "512MB", "not_bytes"),
        ("zookeeper", "heap", "unlimited", "not_bytes"),
        ("zookeeper", "heap", "7g", "exceeds"),
        ("zookeeper", "log_level", "info", "not_choice"),
        ("zookeeper", "no_such", "1", "unknown_setting"),
        ("kafka", "unclean.leader.election.enable", "yes", "not_boolean"),
        ("kafka", "default.replication.factor", "4", "exceeds"),
        ("kafka", "min.insync.replicas", "4", "exceeds"),
        ("kafka", "log.cleaner.dedupe.buffer.size", "1g", "exceeds"),
        ("kafka", "log.segment.bytes", "2g", "too_large"),
        ("kafka", "broker.rack", "room b", "bad_character"),
        ("kafka", "broker.rack", "a\nlog.dirs=/", "bad_character"),
        ("kafka", "broker.rack", "{data}", "bad_character"),
        ("kafka", "extra_properties", "no equals sign", "bad_line"),
        ("kafka", "extra_properties", "=x", "bad_line"),
        ("kafka", "extra_properties", "a\\u0062c=x", "bad_line"),
        ("kafka", "extra_properties", "a b=x", "bad_line"),
        ("kafka", "extra_properties", "#comment=x", "bad_line"),
        ("kafka", "extra_properties", "a=1\na=2", "double_key"),
        ("kafka", "extra_properties", "a={conf}", "bad_character"),
        ("kafka", "extra_properties", "a=${env:HOME}", "bad_character"),
        ("kafka", "extra_properties", "a=\u{7}", "bad_character"),
        ("kafka", "extra_properties", &format!("a={}", "x".repeat(20_000)), "too_long"),
        ("influxdb", "environment", "GOGC", "bad_line"),
        ("influxdb", "environment", "gogc=1", "bad_line"),
        ("influxdb", "environment", "1GOGC=1", "bad_line"),
        ("influxdb", "environment", "INFLUXDB_HTTP_AUTH_ENABLED=false", "bad_character"),
    ];
    for (kind, key, typed, code) in cases {
        assert_eq!(codes(&problems_of(kind, key, typed)), [format!("{key}: {code}")], "{kind} {key}={typed:.60}");
    }
}

#[test]
fn keys_that_the_catalogue_sets_are_not_taken_over() {
    let kafka = [
        "log.dirs",
        "LOG.DIRS",
        "log.dir",
        "node.id",
        "listeners",
        "listener.name.client.sasl.enabled.mechanisms",
        "num.partitions",
        "process.roles",
        "controller.quorum.voters",
        "super.users",
        "log.retention.ms",
        "sasl.enabled.mechanisms",
        "ssl.keystore.location",
        "advertised.listeners",
        "controller.listener.names",
        "offsets.topic.replication.factor",
    ];
    let zookeeper = [
        "dataDir",
        "datalogdir",
        "clientPort",
        "server.9",
        "admin.enableServer",
        "4lw.commands.whitelist",
        "skipACL",
        "tickTime",
        "standaloneEnabled",
        "secureClientPort",
        "group.1",
        "jute.maxbuffer",
    ];
    for (kind, keys) in [("kafka", &kafka[..]), ("zookeeper", &zookeeper[..])] {
        for key in keys {
            let problems = problems_of(kind, "extra_properties", &format!("{key} = x"));
            assert_eq!(codes(&problems), ["extra_properties: owned_key"], "{kind} {key}");
        }
    }
}

#[test]
fn nothing_that_people_type_names_code() {
    let properties = [
        "replica.selector.class=x",
        "metric.reporters=x",
        "plugin.path=/tmp",
        "client.interceptor.classes=x",
        "foo.classes=x",
        "principal.builder.class=x",
        "create.topic.policy.class.name=x",
        "listener.name.a.plain.sasl.jaas.config=x",
        "config.providers=x",
        "ssl.engine.factory.class=x",
        "serverCnxnFactory=x",
        "metricsProvider.className=x",
        "authProvider.1=x",
        "security.providers=x",
        "LD_PRELOAD=x",
        "JAVA_TOOL_OPTIONS=x",
        "a=-XX:OnError=reboot",
        "a=x -javaagent:/x",
        "a=@/tmp/options",
        "a=b -agentpath:x",
        "a=LD_PRELOAD=/x",
    ];
    let jvm = [
        "-XX:OnError=reboot",
        "-xx:onerror=x",
        "-XX:OnOutOfMemoryError=kill",
        "-agentpath:/x",
        "-agentlib:jdwp",
        "-javaagent:/x.jar",
        "@/tmp/options",
        "-Dzookeeper.x.class=y",
        "-Djava.net.x=-javaagent:y",
        "JAVA_TOOL_OPTIONS=-x",
        "LD_PRELOAD=/x",
    ];
    let environment =
        ["LD_PRELOAD=/x", "LD_LIBRARY_PATH=/x", "PATH=/x", "JAVA_TOOL_OPTIONS=x", "BASH_ENV=x", "GOGC=-javaagent:x"];
    let cases = [
        ("kafka", "extra_properties", &properties[..]),
        ("zookeeper", "jvm_options", &jvm[..]),
        ("influxdb", "environment", &environment[..]),
    ];
    for (kind, key, texts) in cases {
        for typed in texts {
            let found = codes(&problems_of(kind, key, typed));
            let owned = found == [format!("{key}: owned_key")];
            assert!(found == [format!("{key}: names_code")] || (owned && key == "extra_properties"), "{kind} {typed}: {found:?}");
        }
    }
}

#[test]
fn jvm_options_are_an_allowlist() {
    for typed in [
        "-Xmx1g",
        "-Xms1g",
        "-Xrs",
        "-Xbootclasspath/a:x",
        "-Xloggc:x",
        "-Xlog:gc:gc.log",
        "-Xlog:gc:file=gc.log",
        "-Xlog:gc:/x",
        "-Xss",
        "-XX:+UseZGC",
        "-XX:-UseG1GC",
        "-XX:-ExitOnOutOfMemoryError",
        "-XX:MaxHeapSize=1g",
        "-XX:Flags=.hotspotrc",
        "-XX:VMOptionsFile=x",
        "-XX:HeapDumpPath=x",
        "-XX:ErrorFile=x",
        "-XX:CompileCommand=quiet",
        "-XX:SharedArchiveFile=x",
        "-XX:A=/x",
        "-XX:",
        "-XX:+A;B",
        "-Dlogback.configurationFile=x",
        "-Dcom.sun.management.jmxremote",
        "-Djava.security.manager",
        "-Dx",
        "-cp",
        "-jar",
        "Evil",
        "--add-opens",
        "-server",
        "-version",
    ] {
        assert_eq!(codes(&problems_of("zookeeper", "jvm_options", typed)), ["jvm_options: refused_option"], "{typed}");
    }
    for typed in ["-Djute.maxbuffer=1", "-Dzookeeper.4lw.commands.whitelist=*", "-Dzookeeper.skipACL=yes"] {
        assert_eq!(codes(&problems_of("zookeeper", "jvm_options", typed)), ["jvm_options: owned_key"], "{typed}");
    }
    for typed in [
        "-Xss1m",
        "-Xlog:gc*",
        "-Xlog:gc:stdout",
        "-XX:+AlwaysPreTouch",
        "-XX:MaxDirectMemorySize=64m -Xmn32m",
        "-Dzookeeper.fsync.warningthresholdms=20",
    ] {
        assert_eq!(problems_of("zookeeper", "jvm_options", typed), [], "{typed}");
    }
}

#[test]
fn all_problems_come_at_once_and_a_common_value_is_wrong_once() {
    let kind = kind("kafka");
    let mut service = with_setting(with_setting(service(&kind, 3, 8192), "heap", "lots"), "num.io.threads", "0");
    service.members[1].settings.insert("num.io.threads".to_owned(), "5000".to_owned());
    service.members[2].address = "0.0.0.0".to_owned();
    let problems = kind.render(&service).unwrap_err();
    assert_eq!(
        codes(&problems),
        ["heap: not_bytes", "kafka-2/num.io.threads: too_large", "kafka-3/address: bad_address", "num.io.threads: too_small"]
    );
}

#[test]
fn services_that_make_no_sense_are_refused() {
    type Change = fn(&mut Service);
    let cases: [(&str, u8, Change, &str); 25] = [
        ("zookeeper", 2, |_| {}, "members: member_count"),
        ("zookeeper", 0, |_| {}, "members: member_count"),
        ("zookeeper", 9, |_| {}, "members: member_count"),
        ("zookeeper", 1, |s| s.members[0].node_id = 256, "zookeeper-1/node_id: bad_node_id"),
        ("zookeeper", 1, |s| s.members[0].node_id = 0, "zookeeper-1/node_id: bad_node_id"),
        ("zookeeper", 3, |s| s.members[1].node_id = 1, "zookeeper-2/node_id: same_as"),
        ("zookeeper", 3, |s| s.members[1].instance = s.members[0].instance.clone(), "zookeeper-1/instance: same_as"),
        ("zookeeper", 3, |s| s.members[1].address = "10.0.0.1".to_owned(), "zookeeper-2/client_port: port_taken"),
        ("zookeeper", 1, |s| s.members[0].role = Some("boss".to_owned()), "zookeeper-1/role: unknown_role"),
        ("zookeeper", 1, |s| s.packages.clear(), "package:zookeeper: missing_package"),
        ("zookeeper", 1, |s| s.packages[0] = package("zookeeper", "3.8.4"), "package:zookeeper: unfit_package"),
        ("zookeeper", 1, |s| s.packages.push(package("kafka", "4.3.1")), "package:kafka: unknown_package"),
        ("zookeeper", 1, |s| s.packages.push(package("jre", "21.0.1")), "package:jre: unknown_package"),
        ("kafka", 1, |s| s.generated.clear(), "cluster_id: bad_generated"),
        ("kafka", 1, |s| s.members[0].generated.clear(), "kafka-1/directory_id: bad_generated"),
        (
            "kafka",
            1,
            |s| drop(s.generated.insert("cluster_id".to_owned(), "-AAAAAAAAAAAAAAAAAAAAA".to_owned())),
            "cluster_id: bad_generated",
        ),
        (
            "kafka",
            1,
            |s| drop(s.settings.insert("client_port".to_owned(), "9093".to_owned())),
            "kafka-1/controller_port: port_taken",
        ),
        (
            "kafka",
            1,
            |s| drop(s.members[0].settings.insert("nothing".to_owned(), String::new())),
            "kafka-1/nothing: unknown_setting",
        ),
        ("kafka", 1, |s| s.members[0].memory_mib = 256, "heap: exceeds"),
        ("rocketmq", 0, |_| {}, "members: member_count"),
        ("rocketmq", 2, |s| s.members.retain(|m| m.role.as_deref() != Some("nameserver")), "members: missing_role"),
        ("rocketmq", 2, |s| drop(s.settings.insert("slaves".to_owned(), "true".to_owned())), "slaves: settled"),
        (
            "rocketmq",
            1,
            |s| drop(s.settings.insert("nameserver_port".to_owned(), "10909".to_owned())),
            "rocketmq-201/nameserver_port: port_taken",
        ),
        ("rocketmq", 1, |s| drop(s.settings.insert("master_port".to_owned(), "65535".to_owned())), "master_port: too_large"),
        ("influxdb", 1, |s| s.packages[0] = package("influxdb", "2.7.12"), "package:influxdb: unfit_package"),
    ];
    for (name, members, change, expected) in cases {
        let kind = kind(name);
        let mut service = service(&kind, members, 8192);
        change(&mut service);
        let problems = kind.render(&service).expect_err(expected);
        assert!(codes(&problems).iter().any(|code| code == expected), "{expected}: {problems:?}");
    }
}

#[test]
fn an_address_is_one_that_others_can_dial() {
    let kind = kind("zookeeper");
    let render = |address: &str| {
        let mut service = service(&kind, 1, 0);
        service.members[0].address = address.to_owned();
        kind.render(&service)
    };
    for good in ["10.0.0.1", "::1", "fd00::1", "zk-1", "zk-1.rooms.example.com", "127.0.0.1"] {
        assert!(render(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "256.1.1.1",
        "1.2.3",
        "a_b",
        "-a",
        "a..b",
        "h:1",
        "[::1]",
        "fe80::1%eth0",
        "a b",
        "a\nb",
        "{data}",
        "a/b",
        "é",
    ] {
        let problems = render(bad).expect_err(bad);
        assert_eq!(codes(&problems), ["zookeeper-1/address: bad_address"], "{bad:?}");
    }
}

#[test]
fn an_empty_text_means_the_default() {
    let kind = kind("kafka");
    let plain = kind.render(&service(&kind, 1, 8192)).unwrap();
    assert_eq!(kind.render(&with_setting(service(&kind, 1, 8192), "heap", "  ")).unwrap(), plain);
}

#[test]
fn roles_stay_with_those_who_have_them() {
    let kind = kind("kafka");
    let roles = |service: &Service| -> Vec<String> {
        kind.plan(service).unwrap().into_iter().filter_map(|planned| planned.role).collect()
    };
    assert_eq!(roles(&service(&kind, 1, 0)), ["controller"]);
    assert_eq!(roles(&service(&kind, 2, 0)), ["controller", "broker"]);
    assert_eq!(roles(&service(&kind, 4, 0)), ["controller", "controller", "controller", "broker"]);

    // Given in another order, it is the lowest numbers that become controllers.
    let mut turned = service(&kind, 4, 0);
    turned.members.reverse();
    assert_eq!(roles(&turned), ["broker", "controller", "controller", "controller"]);

    // One became three: the others only join, they found no second quorum.
    let mut grown = service(&kind, 3, 0);
    grown.members[0].role = Some("controller".to_owned());
    for member in &mut grown.members[1..] {
        member.role = kind.later_role().map(str::to_owned);
    }
    assert_eq!(roles(&grown), ["controller", "broker", "broker"]);
    let specs = kind.render(&grown).unwrap();
    assert!(specs[1].body.files[0].body.contains("controller.quorum.bootstrap.servers=10.0.0.1:9093\n"));
}

#[test]
fn where_roles_stand_side_by_side_each_host_has_its_share() {
    let kind = kind("rocketmq");
    let places = |hosts, slaves: &str| -> Vec<(i32, usize)> {
        let settings = [("slaves".to_owned(), slaves.to_owned())].into();
        kind.places(hosts, &settings).into_iter().map(|place| (place.number, place.host)).collect()
    };
    assert_eq!(places(1, ""), [(1, 0), (201, 0)]);
    assert_eq!(places(1, "true"), [(1, 0), (201, 0)], "a copy beside its original would be none");
    assert_eq!(places(2, "true"), [(1, 0), (2, 1), (101, 1), (102, 0), (201, 0), (202, 1)]);
    assert_eq!(places(4, "").iter().filter(|(number, _)| *number > 200).count(), 3);
    assert_eq!(places(0, "true"), []);

    // Whose copy it is follows from its number, whatever the order, and with the role forgotten too.
    let mut service = support::service_with(&kind, 3, 8192, &[("slaves", "true")]);
    service.members.reverse();
    service.members.iter_mut().for_each(|member| member.role = None);
    let planned = kind.plan(&service).unwrap();
    let slave = planned.iter().find(|planned| planned.spec.id.as_str() == "rocketmq-103").unwrap();
    assert_eq!(slave.role.as_deref(), Some("slave"));
    assert!(slave.spec.body.files[0].body.contains("brokerName=orders-rocketmq-3\nbrokerId=1\nbrokerRole=SLAVE\n"));
}

#[test]
fn an_absent_member_is_rendered_and_counts_nowhere() {
    let kind = kind("zookeeper");
    let mut service = service(&kind, 4, 0);
    service.members[3].phase = Phase::Absent;
    let specs = kind.render(&service).unwrap();
    assert_eq!(specs.len(), 4);
    assert_eq!(specs[3].phase, Phase::Absent);
    assert!(!specs[0].body.files[0].body.contains("server.4"));
    service.members.iter_mut().for_each(|member| member.phase = Phase::Absent);
    assert_eq!(kind.render(&service).unwrap().len(), 4, "a service may go as a whole");
}

#[test]
fn stops_may_take_as_long_as_the_servers_need() {
    for (name, seconds) in [("kafka", 300), ("zookeeper", 60), ("influxdb", 120), ("rocketmq", 180)] {
        let kind = kind(name);
        assert_eq!(kind.render(&service(&kind, 1, 0)).unwrap()[0].body.exec.stop_wait_s, seconds, "{name}");
    }
}
