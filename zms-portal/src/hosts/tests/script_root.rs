//! The half of the join script that needs root rights and systemd, in a mount namespace with an /etc and a /run of its own: users and
//! owners are real there, only systemd is played.

use std::path::Path;
use std::time::Duration;

use axum::response::IntoResponse as _;

use super::script::{TOKEN, run_within, said, serve};
use super::script_ended::traced;
use super::support::{AGENT, Portal, executable};

const PATIENCE: Duration = Duration::from_secs(300);

/// Makes the host, then does what is asked: `once` joins twice and uninstalls, `ended` ends joinings before each thing that they change.
const HOST: &str = r#"
set -eu
place=$1
mount --make-rprivate /
cp -a /etc "$place/etc" 2>/dev/null || :
mount --bind "$place/etc" /etc
mount -t tmpfs none /run
mkdir -p /run/systemd/system /etc/systemd/system
sed -i '/^zms:/d' /etc/passwd /etc/group
PATH=$place/bin:$PATH
join() {
    sh "$place/join.sh" --prefix "$@" <"$place/token" >"$place/said" 2>&1 || { cat "$place/said"; exit 1; }
}
once() {
    for run in first second; do
        echo "--- $run"
        : >/run/calls
        join /run/zms
        cat /run/calls
        stat -c '%U:%G %a %n' /run/zms /run/zms/* /run/zms/log/zms-agent /run/zms/state/token
    done
    echo "--- user"
    grep '^zms:' /etc/passwd
    echo "--- verified"
    if command -v systemd-analyze >/dev/null; then systemd-analyze verify /etc/systemd/system/zms-agent.service 2>&1; fi
    echo "--- unit"
    cat /etc/systemd/system/zms-agent.service
    echo "--- uninstalled"
    : >/run/calls
    join /run/zms --uninstall
    cat /run/calls
    ls -d /run/zms/* /etc/systemd/system/zms-agent.service 2>/dev/null || :
}
ended() {
    at=1
    while :; do
        status=0
        END_AT=$at bash --posix "$place/traced.sh" --prefix "/run/zms-$at" <"$place/token" >"$place/said" 2>&1 || status=$?
        [ "$status" = 137 ] || break
        join "/run/zms-$at"
        [ "$(stat -c %U "/run/zms-$at/state/token")" = zms ] || { echo "ended at $at: no token came"; exit 1; }
        rm -rf "/run/zms-$at"
        at=$((at + 1))
    done
    [ "$status" = 0 ] || { cat "$place/said"; exit 1; }
    echo "changes $at"
}
"$2"
"#;

/// Root rights in a namespace, the real ones or a user namespace's.
async fn namespace() -> Option<&'static [&'static str]> {
    for flags in [&["-m"][..], &["-Urm", "--map-auto"]] {
        let tried = [flags, &["true"]].concat();
        if run_within(PATIENCE, "unshare", &tried, "").await.status.success() {
            return Some(flags);
        }
    }
    // A test that passes is not heard, so where nothing may be left out it does not pass.
    assert!(std::env::var_os("CI").is_none(), "joining with root rights needs a mount namespace: root, or a line in /etc/subuid");
    println!("NOT RUN: joining with root rights (no mount namespace: neither root nor a line in /etc/subuid)");
    None
}

/// What the host says after `task`; nothing where there are no namespaces.
async fn host(task: &str) -> Option<String> {
    let flags = namespace().await?;
    let portal = Portal::new().await;
    // The agent's user writes in its own folder only.
    let agent = ["calls", "token", "authority"]
        .iter()
        .fold(AGENT.to_owned(), |agent, file| agent.replace(&format!("$prefix/{file}"), &format!("$prefix/state/{file}")));
    executable(&portal.folder.path().join("agent"), &agent);
    let served = serve(&portal, move |_| agent.clone().into_response()).await;
    let folder = tempfile::Builder::new().prefix("zmsj").tempdir_in("/tmp").unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::create_dir(file("bin")).unwrap();
    let real =
        ["/usr/sbin/useradd", "/sbin/useradd"].into_iter().find(|path| Path::new(path).exists()).expect("useradd is there");
    for (name, then) in [("systemctl", ""), ("useradd", real), ("chown", "/bin/chown")] {
        let then = if then.is_empty() { String::new() } else { format!("exec {then} \"$@\"\n") };
        executable(&file("bin").join(name), &format!("#!/bin/sh\necho \"{name} $*\" >>/run/calls\n{then}"));
    }
    for (name, text) in [
        ("host.sh", HOST),
        ("token", &format!("{TOKEN}\n")),
        ("join.sh", &served.script.text),
        ("traced.sh", &traced(&served.script.text)),
    ] {
        std::fs::write(file(name), text).unwrap();
    }
    let (script, place) = (file("host.sh"), folder.path());
    let arguments = [flags, &["sh", script.to_str().unwrap(), place.to_str().unwrap(), task]].concat();
    let output = run_within(PATIENCE, "unshare", &arguments, "").await;
    assert!(output.status.success(), "{}", said(&output));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What stands below `--- title`.
fn part<'t>(text: &'t str, title: &str) -> Vec<&'t str> {
    let from = text.lines().skip_while(|line| line.strip_prefix("--- ") != Some(title));
    from.skip(1).take_while(|line| !line.starts_with("--- ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_root_rights_the_agent_has_a_user_and_a_unit_and_what_root_runs_stays_roots() {
    let Some(text) = host("once").await else { return };
    let unit = ["systemctl daemon-reload", "systemctl enable --quiet zms-agent", "systemctl restart zms-agent"];
    let starts = |line: &&str| line.starts_with("systemctl") || line.starts_with("useradd");
    let first: Vec<&str> = part(&text, "first").into_iter().filter(starts).collect();
    let user = "useradd --system --user-group --no-create-home --home-dir /run/zms --shell /sbin/nologin zms";
    assert_eq!(first, [&[user][..], &unit].concat(), "{text}");
    let second: Vec<&str> = part(&text, "second").into_iter().filter(starts).collect();
    assert_eq!(second, unit, "{text}");
    for run in ["first", "second"] {
        let lines = part(&text, run);
        let started = lines.iter().position(|line| line.starts_with("systemctl"));
        assert!(lines.iter().rposition(|line| line.starts_with("chown")) < started, "owners first, then the agent: {text}");
        let mut expected = vec!["root:root 755 /run/zms".to_owned(), "root:root 755 /run/zms/bin".to_owned()];
        expected.push("root:zms 1775 /run/zms/releases".to_owned());
        let own = ["cas", "conf", "data", "log", "pki", "run", "state", "trash"];
        expected.extend(own.map(|folder| format!("zms:zms 750 /run/zms/{folder}")));
        for line in &expected {
            assert!(lines.contains(&line.as_str()), "{run}: {line}: {text}");
        }
        // Nothing else lies there, and who asked the portal was the agent's user.
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.contains(" /run/zms") && !line.contains("chown") && !line.contains("useradd"))
                .count(),
            expected.len() + 2,
            "{text}"
        );
        assert!(lines.iter().any(|line| line.starts_with("zms:zms ") && line.ends_with("/state/token")), "{text}");
    }
    let user = part(&text, "user");
    assert!(user.len() == 1 && user[0].ends_with("::/run/zms:/sbin/nologin"), "{text}");
    assert_eq!(part(&text, "verified"), [""; 0], "systemd finds nothing wrong with the unit");
    let lines = part(&text, "unit");
    for line in [
        "User=zms",
        "ExecStart=/run/zms/bin/zms-agent --prefix /run/zms run",
        "Restart=always",
        "KillMode=process",
        "NoNewPrivileges=yes",
        "WantedBy=multi-user.target",
    ] {
        assert!(lines.contains(&line), "{line}: {text}");
    }
    assert_eq!(
        part(&text, "uninstalled"),
        [
            "systemctl stop zms-agent",
            "systemctl disable --quiet zms-agent",
            "systemctl daemon-reload",
            "/run/zms/data",
            "/run/zms/log",
            "/run/zms/trash"
        ],
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joining_with_root_rights_that_was_ended_anywhere_is_completed_by_the_next() {
    let Some(text) = host("ended").await else { return };
    let changes = text.lines().find_map(|line| line.strip_prefix("changes ")?.parse::<usize>().ok());
    assert!(changes > Some(50), "{text}");
}
