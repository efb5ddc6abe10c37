use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::packages;
use crate::process::{Process, free_port};

/// One InfluxDB 1.6.7 with authentication on.
#[derive(Debug)]
pub struct Influx {
    folder: TempDir,
    process: Option<Process>,
    port: u16,
}

impl Influx {
    /// Starts one that has no user yet; ready when it answers.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("zms-influxdb-").tempdir().unwrap();
        let (port, rpc) = (free_port(), free_port());
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\n  dir = \"{0}/meta\"\n[data]\n  dir = \"{0}/data\"\n  \
             wal-dir = \"{0}/wal\"\n  index-version = \"tsi1\"\n[monitor]\n  store-enabled = false\n[http]\n  \
             bind-address = \"127.0.0.1:{port}\"\n  auth-enabled = true\n  log-enabled = false\n[logging]\n  level = \"warn\"\n",
            folder.path().display()
        );
        fs::write(folder.path().join("influxdb.conf"), config).unwrap();
        let mut server = Self { folder, process: None, port };
        server.restart();
        server
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Address of the same port.
    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Starts it again after [`kill`](Self::kill), with its data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = Command::new(packages::unpacked("influxdb", "1.6.").join("bin/influxd"));
        command.env("GOMAXPROCS", "2").arg("run").arg("-config").arg(self.folder.path().join("influxdb.conf"));
        let mut process = Process::start(&mut command, self.folder.path());
        process.await_ready("InfluxDB", |_| answers(self.port));
        self.process = Some(process);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut head = [0; 12];
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head.starts_with(b"HTTP/1.1 204")
}
