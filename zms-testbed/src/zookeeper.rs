use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::packages;
use crate::process::{Process, free_port};

/// What kind of ZooKeeper.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZooWish {
    /// A port with TLS beside the plain one.
    pub tls: bool,
}

/// One ZooKeeper server.
#[derive(Debug)]
pub struct ZooKeeper {
    folder: TempDir,
    process: Option<Process>,
    port: u16,
    secure: Option<(u16, Certificates)>,
}

impl ZooKeeper {
    /// Starts one; ready when it serves.
    pub fn start(wish: ZooWish) -> Self {
        let folder = tempfile::Builder::new().prefix("zms-zookeeper-").tempdir().unwrap();
        let port = free_port();
        let secure = wish.tls.then(|| (free_port(), Certificates::new()));
        let mut config = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\nminSessionTimeout=1000\nmaxSessionTimeout=60000\n\
             admin.enableServer=false\n4lw.commands.whitelist=srvr,mntr,isro,ruok\nmaxClientCnxns=0\n",
            folder.path().join("data").display()
        );
        if let Some((port, certificates)) = &secure {
            let (server, authority) = (folder.path().join("server.pem"), folder.path().join("authority.pem"));
            fs::write(&server, &certificates.server_pem).unwrap();
            fs::write(&authority, &certificates.authority_pem).unwrap();
            write!(
                config,
                "secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\n\
                 serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\nssl.keyStore.location={}\nssl.keyStore.type=PEM\n\
                 ssl.trustStore.location={}\nssl.trustStore.type=PEM\nssl.clientAuth=want\nssl.enabledProtocols=TLSv1.3,TLSv1.2\n\
                 authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n",
                server.display(),
                authority.display()
            )
            .unwrap();
        }
        fs::write(folder.path().join("zoo.cfg"), config).unwrap();
        let mut server = Self { folder, process: None, port, secure };
        server.restart();
        server
    }

    /// `127.0.0.1:port`, without TLS.
    pub fn plain(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:port` with TLS, if it was wished.
    pub fn tls(&self) -> Option<String> {
        self.secure.as_ref().map(|(port, _)| format!("127.0.0.1:{port}"))
    }

    /// Certificate of the authority that signed the server's. Panics without TLS.
    pub fn authority_pem(&self) -> &str {
        &self.secure.as_ref().expect("it was started with TLS").1.authority_pem
    }

    /// Starts it again after [`kill`](Self::kill), with its data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut command = Command::new(packages::java());
        command.args(["-Xms64m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.arg("-cp").arg(packages::unpacked("zookeeper", "3.9.").join("libs/*"));
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(self.folder.path().join("zoo.cfg"));
        let mut process = Process::start(&mut command, self.folder.path());
        process.await_ready("ZooKeeper", |_| serves(self.port));
        self.process = Some(process);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }
}

fn serves(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.write_all(b"isro").is_ok() && stream.read_to_string(&mut answer).is_ok() && answer == "rw"
}
