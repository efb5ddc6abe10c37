//! The join script, ended with SIGKILL before each thing that it changes, and run again.

use std::os::unix::process::ExitStatusExt as _;

use axum::response::IntoResponse as _;

use super::script::{Place, TOKEN, said, serve, whole};
use super::support::{AGENT, Portal, executable};

/// Before a script for bash: counts what the script's own process changes, and ends it before change number `$END_AT`.
const TRACE: &str = r#"set -o functrace
changes=0
trap 'case $BASH_COMMAND in
    mkdir* | chown* | chmod* | mv* | ln* | rm* | cat* | get* | useradd* | systemctl* | ": >"* | "case \$status"*)
        [ "$BASHPID" != "$$" ] || { changes=$((changes + 1)); [ "$changes" -ne "$END_AT" ] || kill -9 "$$"; }
        ;;
esac' DEBUG
"#;

/// What a joining changes on a host, at least.
const CHANGES: usize = 20;

/// `script`, to be run by bash.
pub(super) fn traced(script: &str) -> String {
    format!("{TRACE}{script}")
}

/// Ends a run of the script before change number `at`; false when it is through before that.
async fn end(place: &Place, script: &str, arguments: &[&str], at: usize) -> bool {
    let output = place.run(&["bash", "--posix"], &format!("END_AT={at}\n{}", traced(script)), arguments, TOKEN).await;
    assert!(output.status.success() || output.status.signal() == Some(9), "ended at {at}: {}", said(&output));
    !output.status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joining_that_was_ended_anywhere_is_completed_by_the_next() {
    let portal = Portal::new().await;
    let served = serve(&portal, whole).await;
    for at in 1.. {
        let place = Place::new();
        if !end(&place, &served.script.text, &["--no-start"], at).await {
            assert!(at > CHANGES, "only {at} changes were seen");
            return;
        }
        let output = place.run(&["sh"], &served.script.text, &["--no-start"], TOKEN).await;
        assert!(output.status.success(), "ended at {at}: {}", said(&output));
        assert_eq!(place.read("token").trim(), TOKEN, "ended at {at}");
        assert_eq!(place.read("bin/zms-agent"), AGENT, "ended at {at}");
        for helper in ["bin/zms-up", "bin/zms-down"] {
            assert!(place.read(helper).starts_with("#!/bin/sh"), "ended at {at}: {helper}");
        }
        for left in [".join", ".join.lock", "bin/.zms-agent"] {
            assert!(place.prefix().join(left).symlink_metadata().is_err(), "ended at {at}: {left}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_a_joining_replaced_before_it_was_ended_is_restarted_by_the_next() {
    let portal = Portal::new().await;
    let (old, place) = (serve(&portal, whole).await, Place::new());
    let output = place.run(&["sh"], &old.script.text, &[], TOKEN).await;
    assert!(output.status.success(), "{}", said(&output));

    let newer = AGENT.replace("run) while", "run) echo newer >>\"$prefix/calls\"; while");
    assert_ne!(newer, AGENT);
    executable(&portal.folder.path().join("agent"), &newer);
    let new = serve(&portal, move |_| newer.clone().into_response()).await;
    let ended = new.script.text.replace("\n    write_helpers\n", "\n    kill -9 $$\n");
    assert_ne!(ended, new.script.text);
    let output = place.run(&["sh"], &ended, &[], TOKEN).await;
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    let output = place.run(&["sh"], &new.script.text, &[], TOKEN).await;
    assert!(output.status.success() && said(&output).contains("the agent runs; its log is"), "{}", said(&output));
    assert!(place.read("calls").trim_end().ends_with("\nrun\nnewer"), "{}", place.read("calls"));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstalling_that_was_ended_anywhere_is_completed_by_the_next() {
    let portal = Portal::new().await;
    let served = serve(&portal, whole).await;
    for at in 1.. {
        let place = Place::new();
        let output = place.run(&["sh"], &served.script.text, &["--no-start"], TOKEN).await;
        assert!(output.status.success(), "{}", said(&output));
        if !end(&place, &served.script.text, &["--uninstall"], at).await {
            assert!(at > 8, "only {at} changes were seen");
            return;
        }
        let output = place.run(&["sh"], &served.script.text, &["--uninstall"], "").await;
        let through = said(&output).contains("nothing is installed there");
        assert!(output.status.success() || through, "ended at {at}: {}", said(&output));
        for folder in ["bin", "releases", "cas", "conf", "run", "pki", "state", ".join"] {
            assert!(!place.prefix().join(folder).exists(), "ended at {at}: {folder}");
        }
    }
}
