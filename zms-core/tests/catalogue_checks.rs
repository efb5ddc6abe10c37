//! What a catalogue file may not say: each case damages a good file in one place.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use support::catalogue_text;
use zms_core::catalogue::{CatalogueError, Kind};

fn damaged(kind: &str, from: &str, to: &str) -> String {
    let text = catalogue_text(kind);
    assert!(text.contains(from), "catalogue/{kind}.toml no longer holds {from:?}");
    let error = Kind::parse(&text.replacen(from, to, 1)).expect_err(to);
    error.to_string()
}

#[test]
fn damaged_files_are_refused_with_place_and_remedy() {
    let cases = [
        // What serde says.
        ("zookeeper", "kind = \"zookeeper\"", "kind = \"Zoo Keeper\"", "lower-case letters"),
        ("zookeeper", "kind = ", "kid = ", "unknown field `kid`"),
        ("zookeeper", "max_node_id = 255\n", "max_node_id = 255\nmax_node_id = 255\n", "duplicate key"),
        ("zookeeper", "type = \"bytes\"", "type = \"megabytes\"", "unknown variant `megabytes`"),
        ("zookeeper", "when = \"members > 1\"", "when = \"members>1\"", "is no condition"),
        ("zookeeper", "stop_signal = \"TERM\"", "stop_signal = \"KILL\"", "unknown variant `KILL`"),
        ("zookeeper", "body = \"{node_id}\\n\"", "body = \"{node_id\\n\"", "belongs to no placeholder"),
        ("kafka", "chars = \"A-Za-z0-9._-\"", "chars = \" -~\"", "without quotes"),
        // Texts for people, groups.
        ("zookeeper", "zh = \"堆内存\"", "zh = \"\"", "setting \"heap\": a text for people is empty"),
        ("zookeeper", "group = \"timing\"", "group = \"time\"", "there is no group \"time\""),
        ("kafka", "name = \"other\"\n", "name = \"spare\"\n", "group \"spare\": no setting is in it"),
        // Names.
        ("zookeeper", "key = \"syncLimit\"", "key = \"initLimit\"", "name \"initLimit\": is there twice"),
        ("zookeeper", "key = \"log_level\"", "key = \"members\"", "name \"members\": is there twice"),
        ("zookeeper", "key = \"log_level\"", "key = \"conf\"", "is a placeholder of the agent"),
        ("zookeeper", "key = \"log_level\"", "key = \"log level\"", "a name has letters"),
        ("zookeeper", "name = \"election\"", "name = \"quorum\"", "name \"quorum_port\": is there twice"),
        ("zookeeper", "name = \"client\"", "name = \"client-1\"", "lower-case letters and _ only"),
        // Templates and conditions.
        ("zookeeper", "level=\"{log_level}\"", "level=\"{loglevel}\"", "there is no variable {loglevel}"),
        ("zookeeper", "-cp\",\n  \"{package:zookeeper}", "-cp\",\n  \"{package:zoo}", "there is no package \"zoo\""),
        ("zookeeper", "-cp\",\n  \"{package:zookeeper}", "-cp\",\n  \"{package:jre}", "is optional and may be missing"),
        ("zookeeper", "{ words = \"jvm_options\" }", "\"{jvm_options}\"", "{jvm_options} is a list"),
        ("zookeeper", "{ words = \"jvm_options\" }", "{ words = \"heap\" }", "\"heap\" is no setting of type jvm"),
        ("zookeeper", "when = \"heap <= 512\"", "when = \"heapp <= 512\"", "compares a variable that does not exist"),
        ("zookeeper", "when = \"heap <= 512\"", "when = \"heap <= small\"", "compares a number with something else"),
        ("zookeeper", "when = \"heap <= 512\"", "when = \"log_level < INFO\"", "orders texts"),
        ("zookeeper", "when = \"heap <= 512\"", "when = \"log_level == info\"", "names none of the choices"),
        ("kafka", "when = \"role == broker\"", "when = \"role == brocker\"", "names no role"),
        ("kafka", "when = \"role == broker\"", "when = \"controllers == x\"", "made later"),
        ("kafka", "item = \"{host}:{controller_port}\"", "item = \"{host}:{controllers}\"", "is not known yet"),
        ("kafka", "over = \"controller\"", "over = \"voter\"", "\"voter\" is no role"),
        // Settings.
        ("zookeeper", "unit = \"ms\"", "unit = \"fortnight\"", "its unit must be one of ms, s, min, h, d"),
        ("zookeeper", "min = 1\nmax = 1000\ndefault = 10\n", "min = 1\ndefault = 10\n", "setting \"initLimit\": max is missing"),
        ("zookeeper", "min = 1\nmax = 1000\ndefault = 10\n", "min = 2000\nmax = 1000\ndefault = 10\n", "min is above max"),
        ("zookeeper", "default = 10\n", "default = 0\n", "its default does not pass its own check: 0 ticks is below"),
        ("zookeeper", "default = \"24h\"", "default = \"90min\"", "its default does not pass its own check"),
        ("zookeeper", "{ value = 1024 }] }", "{ value = 1 }] }", "its default does not pass its own check"),
        ("zookeeper", "up_to = 8192", "up_to = 1024", "up_to must rise"),
        ("zookeeper", "by = \"memory_mib\"", "by = \"snapCount\"", "\"snapCount\" is no number that is known before"),
        ("zookeeper", "of = \"memory_mib\"", "of = \"memory\"", "\"memory\" is no number that is known before"),
        ("zookeeper", "choices = [\"ERROR\"", "min = 1\nchoices = [\"ERROR\"", "min or max has no meaning"),
        ("kafka", "default = \"{replicas}\"", "default = \"{node_id}\"", "one computed number"),
        ("kafka", "chars = \"A-Za-z0-9._-\"\n", "", "a text needs chars"),
        ("kafka", "unlimited = -1", "unlimited = 100", "unlimited must not lie above min"),
        ("zookeeper", "into = [{ file = \"zoo.cfg\" }]", "into = [{ file = \"zoo.conf\" }]", "there is no file \"zoo.conf\""),
        ("zookeeper", "into = [{ file = \"zoo.cfg\" }]", "into = [{ file = \"myid\" }]", "a text file has a body"),
        (
            "zookeeper",
            "into = [{ file = \"zoo.cfg\" }]",
            "into = [{ file = \"zoo.cfg\", section = \"a\" }]",
            "properties have no sections",
        ),
        ("zookeeper", "into = [{ file = \"zoo.cfg\" }]", "", "\"tickTime\": is written nowhere"),
        ("kafka", "-t\",\n  \"{cluster_id}\"", "-t\",\n  \"x\"", "\"cluster_id\": is written nowhere"),
        ("zookeeper", "memory_settings = [\"heap\"]", "memory_settings = [\"tickTime\"]", "is no setting of type bytes"),
        // Files, process, probe.
        ("zookeeper", "key = \"dataDir\"", "key = \"tickTime\"", "\"tickTime\": this key is written twice"),
        (
            "influxdb",
            "section = \"meta\", key = \"dir\"",
            "section = \"data\", key = \"dir\"",
            "\"dir\": this key is written twice",
        ),
        ("influxdb", "key = \"index-version\"", "key = \"index version\"", "keys and sections of a TOML file"),
        ("zookeeper", "key = \"server.{node_id}\"", "key = \"server\"", "a repeated key begins with a text and holds {node_id}"),
        ("zookeeper", "key = \"dataDir\"", "key = \"dataDir{node_id}\"", "only a repeated key"),
        ("zookeeper", "name = \"myid\"", "name = \"../myid\"", "a file name has letters"),
        ("zookeeper", "from = \"myid\"", "from = \"my-id\"", "there is no file \"my-id\""),
        ("zookeeper", "to = \"{data}/myid\"", "to = \"/etc/myid\"", "a copy goes into the data folder"),
        (
            "influxdb",
            "\"{package:influxdb}/bin/influxd\"",
            "\"/usr/bin/influxd\"",
            "the program must be {java} or lie in a package",
        ),
        ("zookeeper", "env = { MALLOC_ARENA_MAX", "env = { LD_PRELOAD", "this variable loads code"),
        ("influxdb", "more_env = \"environment\"", "more_env = \"log_level\"", "is no setting of type environment"),
        ("zookeeper", "nofile = \"{open_files}\"", "nofile = \"{log_level}\"", "must be a positive number"),
        ("zookeeper", "stop_wait_s = 60", "stop_wait_s = 0", "must be 1 or more"),
        ("zookeeper", "port = \"client\"", "port = \"quorum\"", "is no port that every instance has"),
        ("zookeeper", "port = \"client\"", "port = \"client\"\npath = \"/\"", "probes of kind http, and no others"),
        // Hosts, packages, roles.
        ("zookeeper", "counts = [1, 3, 5, 7]", "counts = [1, 9]", "must lie within min and max"),
        ("zookeeper", "max_node_id = 255", "max_node_id = 5", "max_node_id must be max or more"),
        ("zookeeper", "versions = [\"3.9.\"]", "versions = [\"3.9.\"]\noptional = true", "the first package is the server"),
        ("kafka", "take = [{ up_to = 2, value = 1 }, { value = 3 }]", "", "every role but the last has take"),
        ("kafka", "process_roles = \"broker\"\n", "", "must have the same names"),
        ("kafka", "name = \"broker\"\n", "name = \"broker\"\nfirst_host = 1\n", "are for roles side by side"),
        ("rocketmq", "first_number = 201", "first_number = 150", "hosts.max apart or more"),
        ("rocketmq", "max_node_id = 300", "max_node_id = 299", "max_node_id must be 300 or more"),
        ("rocketmq", "when = \"slaves == true\"", "when = \"heap > 100\"", "must compare a boolean or a choice"),
        ("rocketmq", "stop_wait_s = 30", "stop_wait_s = 0", "stop_wait_s must be 1 or more"),
        ("rocketmq", "port = \"nameserver\" }", "port = \"master\" }", "is no port that every instance has"),
        ("rocketmq", "probe = { kind = \"rocketmq-nameserver\"", "probe = { kind = \"rocketmq-broker\"", "say which broker"),
        ("rocketmq", "broker_id = \"1\"", "broker_id = \"one\"", "a number in every role"),
        ("rocketmq", "name = \"master_fast\"", "name = \"slave\"", "\"slave_port\": is there twice"),
        ("rocketmq", "full_at = 90", "full_at = 0", "a share in percent"),
        ("rocketmq", "from = \"logback.xml\"", "from = \"log.xml\"", "there is no file \"log.xml\""),
    ];
    for (kind, from, to, expected) in cases {
        let said = damaged(kind, from, to);
        assert!(said.contains(expected), "{kind}: {from:?} -> {to:?}\nwanted: {expected}\nsaid: {said}");
    }
}

#[test]
fn a_syntax_error_names_line_and_column() {
    let said = damaged("kafka", "max = 100\n", "max = \n");
    assert!(said.contains("line ") && said.contains("column "), "{said}");
}

#[test]
fn every_finding_is_listed() {
    let text = catalogue_text("zookeeper").replace("zh = \"堆内存\"", "zh = \"\"").replace("default = 10\n", "default = 0\n");
    match Kind::parse(&text) {
        Err(CatalogueError::Content(findings)) => assert_eq!(findings.len(), 3, "{findings:#?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_text_panics_the_parser() {
    let text = catalogue_text("kafka");
    // Every prefix that ends at a line: half a file is an error, not a crash.
    for (at, _) in text.match_indices('\n') {
        let _ = Kind::parse(&text[..at]);
    }
}
