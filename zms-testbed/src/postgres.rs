//! A PostgreSQL of Debian's package, in a temporary folder. The system's own cluster is not touched.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, User};
use tempfile::TempDir;

use crate::process::{Process, free_port};

/// Who owns every database.
const USER: &str = "zms";
/// Has signs that a URL writes as `%..`, so that whoever forgets to read them does not get in.
const PASSWORD: &str = "secret/of@tests";
const PASSWORD_IN_URL: &str = "secret%2Fof%40tests";

/// One PostgreSQL server. It does not wait for disks: what it kept is good for a test.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    process: Option<Process>,
    port: u16,
}

impl Postgres {
    /// Starts one without databases of ours; ready when it answers.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("zms-postgresql-").tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some(user) = servant() {
            for path in [folder.path(), &password] {
                std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
            }
        }
        let mut command = Command::new(program("initdb"));
        command.args([
            "--no-sync",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username",
            USER,
            "--pwfile",
        ]);
        command.arg(&password).arg("--pgdata").arg(folder.path().join("data")).current_dir(folder.path());
        let made = as_servant(&mut command).stdin(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { folder, process: None, port: free_port() };
        server.restart();
        server
    }

    /// The one that all tests of this process share; it ends with the process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| {
            let server = Self::start();
            let process = server.process.as_ref().expect("it was started");
            END.set((process.pid(), server.folder.path().to_owned())).expect("this runs once");
            // SAFETY: the function is of this program, takes nothing, and does not unwind: what may fail in it is ignored.
            #[allow(unsafe_code, reason = "statics are not dropped, and nothing else is called at the end")]
            let registered = unsafe { libc::atexit(end_shared) };
            assert_eq!(registered, 0, "the end cannot be waited for");
            server
        })
    }

    /// Makes a database, as a copy of another one where that is named; nobody may be connected to the other one.
    pub fn create(&self, name: &str, copy_of: Option<&str>) {
        self.sql(&format!("create database {} template {}", checked(name), copy_of.map_or("template0", checked)));
    }

    /// Takes a database away, and whoever is connected to it.
    pub fn remove(&self, name: &str) {
        self.sql(&format!("drop database if exists {} with (force)", checked(name)));
    }

    /// `postgres://…` of a database, with the password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{}", self.port, checked(database))
    }

    /// The password within [`url`](Self::url), as people type it.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Ends it at once, as a crash would: whoever is connected is cut off.
    pub fn stop(&mut self) {
        let process = self.process.take().expect("it runs");
        process.signal(Signal::SIGQUIT);
        process.wait_or_kill(Duration::from_secs(10));
    }

    /// Starts it again after [`stop`](Self::stop), with its data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let folder = self.folder.path().display().to_string();
        let settings = [
            format!("port={}", self.port),
            format!("unix_socket_directories={folder}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "fsync=off".to_owned(),
            "synchronous_commit=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "max_connections=300".to_owned(),
            "shared_buffers=64MB".to_owned(),
            "dynamic_shared_memory_type=mmap".to_owned(),
            "autovacuum_naptime=5s".to_owned(),
        ];
        let mut command = Command::new(program("postgres"));
        command.arg("-D").arg(self.folder.path().join("data"));
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let mut process = Process::start(as_servant(&mut command), self.folder.path());
        process.await_ready("PostgreSQL", |_| self.run("select 1").is_ok());
        self.process = Some(process);
    }

    fn sql(&self, sql: &str) {
        self.run(sql).unwrap_or_else(|said| panic!("{sql}: {said}"));
    }

    fn run(&self, sql: &str) -> Result<(), String> {
        let mut command = Command::new(program("psql"));
        command.args(["--no-psqlrc", "--quiet", "--host=127.0.0.1", "--username", USER, "--dbname=postgres", "--command", sql]);
        command.arg(format!("--port={}", self.port)).env("PGPASSWORD", PASSWORD).stdin(Stdio::null());
        let said = command.output().map_err(|error| error.to_string())?;
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
    }
}

/// Process and folder of the shared one.
static END: OnceLock<(Pid, PathBuf)> = OnceLock::new();

extern "C" fn end_shared() {
    if let Some((pid, folder)) = END.get() {
        // Errors mean that it is gone already.
        let _ = kill(*pid, Signal::SIGQUIT);
        let _ = waitpid(*pid, None);
        let _ = fs::remove_dir_all(folder);
    }
}

/// Names stand in SQL as they are.
fn checked(name: &str) -> &str {
    assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
    name
}

/// PostgreSQL refuses to run as root; then somebody of the system without rights runs it.
fn servant() -> Option<User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let found = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
    Some(found.expect("this system has a user postgres or nobody"))
}

fn as_servant(command: &mut Command) -> &mut Command {
    if let Some(user) = servant() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Debian keeps them outside of PATH, a folder a version; the newest is taken.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter(|path| path.join("bin/initdb").exists()).max_by_key(|path| number(path));
    newest.map(|path| path.join("bin").join(name)).unwrap_or_else(|| {
        panic!("no PostgreSQL below /usr/lib/postgresql; scripts/setup installs it");
    })
}
