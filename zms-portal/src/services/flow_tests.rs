use proptest::prelude::*;

use super::*;
use crate::error::Text;
use crate::services::test_support::spec;

fn placement(instance: &str, host: &str) -> Placement {
    let place = format!("dev/{host}");
    Placement {
        instance: instance.to_owned(),
        host: host.to_owned(),
        place,
        spec: spec(instance, Phase::Running, 2181),
        drain: false,
    }
}

fn drained_first(instance: &str, host: &str) -> Placement {
    Placement { drain: true, ..placement(instance, host) }
}

fn drained(instance: &str) -> Command {
    Command::Drained { instance: InstanceId::new(instance).unwrap() }
}

fn placed(host: &str) -> Command {
    Command::Placed { host: format!("dev/{host}") }
}

fn reached(instance: &str) -> Command {
    Command::Reached { instance: InstanceId::new(instance).unwrap() }
}

fn names(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::EnsureNoSends { instance, .. } => format!("drain {instance}"),
            Effect::EnsureDesired { host, placements, .. } => format!("desired {host} {}", placements.len()),
            Effect::AwaitInstance(awaited) => format!("await {}", awaited.instance),
            Effect::EnsureStore { .. } | Effect::EnsureRowsGone { .. } => Install::effect_name(effect).to_owned(),
        })
        .collect()
}

/// Runs the commands and says which effects each one asked for.
fn run(first: Next<State, Effect>, commands: &[Command]) -> (State, Vec<Vec<String>>) {
    let mut asked = vec![names(&first.effects)];
    let mut state = first.state;
    for command in commands {
        let next = step(&state, command).unwrap_or_else(|refused| panic!("{command:?} in {state:?}: {refused:?}"));
        asked.push(names(&next.effects));
        state = next.state;
    }
    (state, asked)
}

#[test]
fn an_installation_places_all_hosts_waits_for_all_instances_and_records_the_store() {
    let batch = vec![placement("a", "h1"), placement("b", "h2"), placement("c", "h2")];
    let first = begin(vec![batch], Ending::RecordStore { service: "s".to_owned() });
    let commands = [placed("h2"), placed("h1"), reached("b"), reached("c"), reached("a"), Command::Finished];
    let (state, asked) = run(first, &commands);
    assert_eq!(state, State::Done);
    let expected: [&[&str]; 7] =
        [&["desired h1 1", "desired h2 2"], &[], &["await a", "await b", "await c"], &[], &[], &["ensure_store"], &[]];
    assert_eq!(asked, expected);
}

#[test]
fn a_careful_change_touches_the_second_instance_after_the_first_is_healthy() {
    let batches = vec![vec![placement("a", "h1")], Vec::new(), vec![placement("b", "h2")]];
    let (state, asked) = run(begin(batches, Ending::Nothing), &[placed("h1"), reached("a"), placed("h2"), reached("b")]);
    assert_eq!(state, State::Done);
    let expected: [&[&str]; 5] = [&["desired h1 1"], &["await a"], &["desired h2 1"], &["await b"], &[]];
    assert_eq!(asked, expected);
}

#[test]
fn clients_send_elsewhere_before_a_broker_is_placed_and_nobody_ends_it_half_way() {
    let batches = || vec![vec![drained_first("a", "h1"), drained_first("b", "h1"), placement("c", "h2")]];
    let commands = [drained("b"), drained("a"), placed("h2"), placed("h1"), reached("a"), reached("c"), reached("b")];
    let (state, asked) = run(begin(batches(), Ending::Nothing), &commands);
    assert_eq!(state, State::Done);
    let expected: [&[&str]; 4] = [&["drain a", "drain b"], &[], &["desired h1 2", "desired h2 1"], &[]];
    assert_eq!(asked[..4], expected);
    let mut state = begin(batches(), Ending::Nothing).state;
    for command in &commands[..3] {
        assert!(matches!(step(&state, &Command::Cancel), Err(Refused::Because(_))), "{state:?}");
        state = step(&state, command).unwrap().state;
    }
    state = step(&state, &commands[3]).unwrap().state;
    assert_eq!(step(&state, &Command::Cancel).unwrap().state, State::Cancelled, "they are started anew");
}

#[test]
fn a_removal_deletes_rows_last_and_cannot_be_taken_back() {
    let first = begin(vec![vec![placement("a", "h1")]], Ending::DeleteRows { service: "s".to_owned() });
    assert!(matches!(step(&first.state, &Command::Cancel), Err(Refused::Because(_))));
    let (state, asked) = run(first, &[placed("h1"), reached("a")]);
    assert_eq!((state, asked.last().unwrap().as_slice()), (State::Finishing, ["ensure_rows_gone".to_owned()].as_slice()));
}

#[test]
fn what_each_state_makes_of_each_command() {
    let batch = || vec![placement("a", "h1")];
    let planned = State::Planned { batches: vec![batch()], ending: Ending::Nothing };
    let placing = begin(vec![batch()], Ending::Nothing).state;
    let waiting = step(&placing, &placed("h1")).unwrap().state;
    let failed = State::Failed { why: "x".to_owned() };
    let superseded = Command::Superseded { why: "x".to_owned() };
    let draining = begin(vec![vec![drained_first("a", "h1")]], Ending::Nothing).state;
    let commands = [Command::Begin, drained("a"), placed("h1"), reached("a"), superseded, Command::Finished, Command::Cancel];
    let goes_on = format!("{:?}", Text::new(|m| m.services_draining_goes_on().to_owned()));
    let table = [
        (&planned, ["placing", "-", "-", "-", "-", "-", "cancelled"]),
        (&draining, ["-", "placing", "-", "-", "failed", "-", goes_on.as_str()]),
        (&placing, ["-", "-", "waiting", "-", "failed", "-", "cancelled"]),
        (&waiting, ["-", "-", "-", "done", "failed", "-", "cancelled"]),
        (&State::Finishing, ["-", "-", "-", "-", "failed", "done", "-"]),
        (&State::Done, ["-"; 7]),
        (&failed, ["-"; 7]),
        (&State::Cancelled, ["-"; 7]),
    ];
    for (state, expected) in table {
        for (command, expected) in commands.iter().zip(expected) {
            let found = match step(state, command) {
                Ok(next) => serde_json::to_value(&next.state).unwrap()["state"].as_str().unwrap().to_owned(),
                Err(Refused::Stale) => "-".to_owned(),
                Err(Refused::Because(text)) => format!("{text:?}"),
            };
            assert_eq!(found, expected, "{command:?} in {state:?}");
        }
    }
}

#[test]
fn a_late_answer_about_another_host_or_instance_changes_nothing() {
    let placing = begin(vec![vec![placement("a", "h1")]], Ending::Nothing).state;
    assert!(matches!(step(&placing, &placed("h9")), Err(Refused::Stale)));
    let waiting = step(&placing, &placed("h1")).unwrap().state;
    assert!(matches!(step(&waiting, &reached("z")), Err(Refused::Stale)));
}

proptest! {
    /// Whatever the order of the answers: every instance is placed once, in the order of the batches, and the flow ends.
    #[test]
    fn every_order_of_answers_ends_well(sizes in proptest::collection::vec(0..4_usize, 0..4), seed: u64) {
        let mut number = 0;
        let mut batches = Vec::new();
        for size in &sizes {
            let batch = (0..*size).map(|_| {
                number += 1;
                let placement = placement(&format!("i{number}"), &format!("h{}", number % 2));
                Placement { drain: number % 3 == 0, ..placement }
            });
            batches.push(batch.collect::<Vec<_>>());
        }
        let mut next = begin(batches, Ending::RecordStore { service: "s".to_owned() });
        let (mut due, mut seen, mut dice) = (next.effects, Vec::new(), seed);
        while !due.is_empty() {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let effect = due.remove((dice >> 33) as usize % due.len());
            let command = match effect {
                Effect::EnsureDesired { place: host, placements, .. } => {
                    seen.extend(placements.into_iter().map(|placement| placement.instance));
                    Command::Placed { host }
                }
                Effect::EnsureNoSends { name: instance, .. } => Command::Drained { instance },
                Effect::AwaitInstance(awaited) => Command::Reached { instance: awaited.name },
                Effect::EnsureStore { .. } | Effect::EnsureRowsGone { .. } => Command::Finished,
            };
            next = step(&next.state, &command).unwrap();
            due.extend(next.effects);
        }
        prop_assert_eq!(next.state, State::Done);
        seen.sort();
        let mut all: Vec<String> = (1..=number).map(|n| format!("i{n}")).collect();
        all.sort();
        prop_assert_eq!(seen, all);
    }
}
