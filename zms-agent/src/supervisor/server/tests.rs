use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::rpc::Waits;
use super::*;

#[allow(clippy::disallowed_methods, reason = "a shell writes a file and ends")]
fn executable(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Written by a child: a descriptor open for writing here could leak into a process that another test starts.
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", "printf '%s' \"$1\" > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .arg(script)
        .status()
        .unwrap();
    assert!(status.success());
}

struct Host {
    _folder: tempfile::TempDir,
    layout: Layout,
    release: PathBuf,
    client: Client,
}

/// A host with a package, and `agent` as the agent's program.
fn host(agent: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    // A temporary folder begins with a dot, which is a good prefix.
    let layout = Layout::new(folder.path().join("zms")).unwrap();
    executable(&layout.agent_binary(), agent);
    let release = layout.releases().join("supervisor-4.3.0");
    fs::create_dir_all(release.join("lib/supervisor")).unwrap();
    fs::write(release.join("lib/supervisor/supervisord.py"), "").unwrap();
    let waits = Waits { answer: Duration::from_millis(500), stop: Duration::from_millis(500) };
    let client = Client::with_waits(layout.supervisor_socket(), waits);
    Host { _folder: folder, layout, release, client }
}

#[tokio::test]
async fn one_that_ends_at_once_is_told_with_the_end_of_its_log() {
    let host = host(
        "#!/bin/sh\nmkdir -p \"$2/log/supervisord\"\necho 'Error: cannot open x' > \"$2/log/supervisord/out.log\"\nexit 2\n",
    );
    let error = ensure(&host.layout, &host.release, &host.client, Duration::from_secs(30)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("exit status: 2") && text.contains("cannot open x"), "{text}");
}

#[tokio::test]
async fn one_that_another_holds_back_is_waited_for_until_the_deadline() {
    let host = host("#!/bin/sh\nexit 75\n");
    let error = ensure(&host.layout, &host.release, &host.client, Duration::from_millis(600)).await.unwrap_err();
    assert!(matches!(error, ServerError::NotReady { .. }), "{error}");
    assert!(error.to_string().contains("nobody answers on its socket"), "{error}");
}

#[tokio::test]
async fn what_is_written_can_be_started_by_exec() {
    let host = host("#!/bin/sh\nexit 75\n");
    let folder = host.layout.prefix().join("python");
    executable(&folder.join("python3"), "#!/bin/sh\n");
    let path = std::env::join_paths([Path::new("relative"), Path::new("/nonexistent"), &folder]).unwrap();
    write_supervisord(&host.layout, &host.release, &path).unwrap();
    let id = InstanceId::new(SUPERVISORD).unwrap();
    let file = ExecFile::read(&host.layout.exec_file(&id)).unwrap();
    assert_eq!(file.argv[0], folder.join("python3").to_str().unwrap());
    assert_eq!(file.argv.last().unwrap(), host.layout.supervisor_conf().to_str().unwrap());
    assert_eq!(file.env["PYTHONPATH"], host.release.join("lib").to_str().unwrap());
    assert_eq!(file.log_file, host.layout.supervisor_log());
    assert!(host.layout.programs_dir().is_dir());

    write_agent(&host.layout, &["run".to_owned()], BTreeMap::from([("ZMS_X".to_owned(), "1".to_owned())])).unwrap();
    let id = InstanceId::new(AGENT).unwrap();
    let agent = ExecFile::read(&host.layout.exec_file(&id)).unwrap();
    assert_eq!(agent.argv[1..], ["--prefix", host.layout.prefix().to_str().unwrap(), "run"]);
    assert_ne!(agent.spec, file.spec);
    assert_eq!(fs::read_to_string(host.layout.program_file(&id)).unwrap(), program::agent_text(&host.layout));
}

#[test]
fn a_host_without_python_or_package_says_what_is_missing() {
    let host = host("");
    let place = host.layout.prefix().join("empty");
    fs::create_dir_all(&place).unwrap();
    // Neither a folder nor a file that cannot be executed will do.
    fs::create_dir(place.join("python3")).unwrap();
    let error = write_supervisord(&host.layout, &host.release, place.as_os_str()).unwrap_err().to_string();
    assert!(error.contains("python3: not found in") && error.contains("empty"), "{error}");
    let file = place.join("bin/python3");
    executable(&file, "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(find_python(place.join("bin").as_os_str()).is_err());
    let error = write_supervisord(&host.layout, &place, place.as_os_str()).unwrap_err().to_string();
    assert!(error.contains("supervisord.py"), "{error}");
}
