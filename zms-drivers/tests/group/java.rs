//! Programs of ours on Apache's own Java client, compiled against the jars of a packaged version.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The programs of `tests/java`, compiled against one version of the client.
pub struct Java {
    folder: TempDir,
    jars: PathBuf,
}

impl Java {
    /// `jars`: folder of a RocketMQ package with the client's jars in it.
    pub fn compile(jars: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("zms-java-").tempdir().unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java");
        let output = Command::new("javac")
            .args(["-nowarn", "-d"])
            .arg(folder.path())
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .args(["Member.java", "Send.java"].map(|name| sources.join(name)))
            .output()
            .expect("javac of a JDK 17 is on PATH; docs/contributing.md says how to install one");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder, jars: jars.to_owned() }
    }

    /// Runs one of them.
    pub fn command(&self, class: &str, arguments: &[&str]) -> Command {
        let folder = self.folder.path().display();
        let mut command = Command::new("java");
        command
            .args(["-Xms64m", "-Xmx192m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true"])
            // Its logs, and the offsets that it would keep, go where they vanish.
            .arg(format!("-Duser.home={folder}"))
            .arg("-Drocketmq.client.logUseSlf4j=true")
            .arg("-cp")
            .arg(format!("{folder}:{}/*", self.jars.display()))
            .arg(class)
            .args(arguments);
        command
    }
}
