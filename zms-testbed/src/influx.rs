use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::packages;
use crate::process::{Process, free_port};

/// Lines of InfluxDB that are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfluxLine {
    /// 1.6, whose administration is InfluxQL.
    V1,
    /// 2.7, whose administration is an API of its own. Its package needs Go to be built.
    V2,
}

impl InfluxLine {
    /// How its versions begin.
    const fn version(self) -> &'static str {
        match self {
            Self::V1 => "1.6.",
            Self::V2 => "2.7.",
        }
    }

    /// Is there a package to start one from?
    pub fn is_at_hand(self) -> bool {
        packages::is_at_hand("influxdb", self.version())
    }
}

/// Administrator of an InfluxDB 2 that the test bed has set up.
#[derive(Debug, Clone, Copy)]
pub struct InfluxOperator {
    /// For `Authorization: Token …`.
    pub token: &'static str,
    /// Of the only organisation.
    pub organisation: &'static str,
}

const OPERATOR: InfluxOperator = InfluxOperator { token: "only-for-tests-operator", organisation: "zms" };

/// One InfluxDB with authentication on.
#[derive(Debug)]
pub struct Influx {
    line: InfluxLine,
    folder: TempDir,
    process: Option<Process>,
    port: u16,
}

impl Influx {
    /// Starts a 1.6 that has no user yet; ready when it answers.
    pub fn start() -> Self {
        Self::start_line(InfluxLine::V1)
    }

    /// Starts one that has no user yet, or (2.7) the operator alone; ready when it answers.
    pub fn start_line(line: InfluxLine) -> Self {
        let folder = tempfile::Builder::new().prefix("zms-influxdb-").tempdir().unwrap();
        let (port, rpc) = (free_port(), free_port());
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\n  dir = \"{0}/meta\"\n[data]\n  dir = \"{0}/data\"\n  \
             wal-dir = \"{0}/wal\"\n  index-version = \"tsi1\"\n[monitor]\n  store-enabled = false\n[http]\n  \
             bind-address = \"127.0.0.1:{port}\"\n  auth-enabled = true\n  log-enabled = false\n[logging]\n  level = \"warn\"\n",
            folder.path().display()
        );
        fs::write(folder.path().join("influxdb.conf"), config).unwrap();
        let mut server = Self { line, folder, process: None, port };
        server.restart();
        if line == InfluxLine::V2 {
            server.set_up();
        }
        server
    }

    /// Who may do everything. Panics for 1.6, whose first administrator is made by a statement.
    pub fn operator(&self) -> InfluxOperator {
        assert_eq!(self.line, InfluxLine::V2, "1.6 has no operator");
        OPERATOR
    }

    fn set_up(&self) {
        let InfluxOperator { token, organisation } = OPERATOR;
        let body = format!(
            r#"{{"username":"operator","password":"only-for-tests","org":"{organisation}","bucket":"unused","token":"{token}"}}"#
        );
        let request = format!(
            "POST /api/v2/setup HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
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
        let folder = self.folder.path();
        let mut command = Command::new(packages::unpacked("influxdb", self.line.version()).join("bin/influxd"));
        command.env("GOMAXPROCS", "2");
        match self.line {
            InfluxLine::V1 => command.arg("run").arg("-config").arg(folder.join("influxdb.conf")),
            InfluxLine::V2 => command
                .env("HOME", folder)
                .args(["--reporting-disabled", "--log-level", "warn", "--http-bind-address"])
                .arg(format!("127.0.0.1:{}", self.port))
                .arg(format!("--bolt-path={}", folder.join("influxd.bolt").display()))
                .arg(format!("--sqlite-path={}", folder.join("influxd.sqlite").display()))
                .arg(format!("--engine-path={}", folder.join("engine").display())),
        };
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
