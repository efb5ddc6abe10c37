use super::*;
use crate::services::test_support::{host_row, instance_row, report, spec};
use zms_core::host::{HostReport, SupervisorReport};

const NOW: i64 = 1_795_608_000_000;

#[test]
fn an_act_changes_what_it_should_and_nothing_else() {
    let running = spec("a-1", Phase::Running, 2181);
    let stopped = spec("a-1", Phase::Stopped, 2181);
    for (act, spec, expected) in [
        (Act::Start, &running, None),
        (Act::Start, &stopped, Some(Phase::Running)),
        (Act::Stop, &running, Some(Phase::Stopped)),
        (Act::Stop, &stopped, None),
        (Act::Restart, &running, Some(Phase::Running)),
        (Act::Restart, &stopped, None),
    ] {
        let found = act.apply(spec);
        assert_eq!(found.as_ref().map(|found| found.phase), expected, "{act:?} {:?}", spec.phase);
        let Some(found) = found else { continue };
        // Only a restart is another spec; a start must find the configuration it stopped with.
        assert_eq!(found.hash != spec.hash, act == Act::Restart, "{act:?}");
        assert_eq!((&found.uid, &found.body.files), (&spec.uid, &spec.body.files));
    }
}

#[test]
fn what_serves_is_restarted_one_by_one_after_what_does_not_and_before_what_is_away() {
    let mut hosts = Vec::new();
    let mut rows = Vec::new();
    // Number, healthy, host online.
    for (number, healthy, online) in [(1, true, true), (2, false, true), (3, true, false), (4, true, true), (5, false, true)] {
        let mut host = host_row(number, if online { NOW } else { NOW - 3_600_000 });
        let spec = spec(&format!("a-{number}"), Phase::Running, 2181);
        host.report = Some(HostReport {
            agent_version: "1".to_owned(),
            generation: 1,
            supervisor: SupervisorReport::NotNeeded,
            instances: vec![report(&spec, healthy)],
            strays: Vec::new(),
        });
        rows.push(instance_row(&host.id, spec));
        hosts.push(host);
    }
    let environment = crate::environments::Environment {
        id: "E".to_owned(),
        name: "dev".to_owned(),
        title: "Development".to_owned(),
        colour: "green".to_owned(),
        protected: false,
    };
    let placements =
        rows.iter().map(|row| placement(&environment, &hosts, row, Act::Restart.apply(&row.spec).unwrap())).collect();
    let batches = one_after_another(placements, &rows, &hosts, NOW);
    let places: Vec<Vec<&str>> =
        batches.iter().map(|batch| batch.iter().map(|placement| placement.place.as_str()).collect()).collect();
    assert_eq!(places, [vec!["dev/host-2", "dev/host-5"], vec!["dev/host-1"], vec!["dev/host-4"], vec!["dev/host-3"]]);
}
