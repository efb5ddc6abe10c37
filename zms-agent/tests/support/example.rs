//! A small kind for tests: one Python file that answers `/livez` and writes a line for each request, and one that answers garbage.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha512};
use zms_core::host::{ConfigFile, Exec, InstanceSpec, Phase, Port, Prepare, SpecBody, StopSignal};
use zms_core::package::{Manifest, PackageKind, PackageRef};
use zms_core::probe::Probe;

/// With a third argument it listens only when the file of this name is there.
const PROGRAM: &str = r#"#!/usr/bin/env python3
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(sys.argv[2], "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, form, *args):
        print("request", self.path, flush=True)
while len(sys.argv) > 3 and not os.path.exists(sys.argv[3]):
    time.sleep(0.05)
print("listening on", sys.argv[1], flush=True)
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// Answers whoever connects at once, with bytes that are no protocol's, and writes a line for each.
const GARBAGE: &str = r#"#!/usr/bin/env python3
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = server.accept()
    try:
        connection.sendall(b"\x7f\x03garbage\r\n" * 8)
        connection.recv(4096)
    except OSError:
        pass
    connection.close()
    print("garbage", flush=True)
"#;

/// Makes the package `example` in `folder`, beside links to the project's own packages.
pub fn stock(folder: &Path) -> PackageRef {
    fs::create_dir_all(folder).unwrap();
    for entry in fs::read_dir(super::package_folder()).expect("run scripts/packages") {
        let path = entry.unwrap().path();
        let _ = std::os::unix::fs::symlink(&path, folder.join(path.file_name().unwrap()));
    }
    let mut tar = tar::Builder::new(Vec::new());
    for (name, program) in [("bin/example", PROGRAM), ("bin/garbage", GARBAGE)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(program.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        tar.append_data(&mut header, name, program.as_bytes()).unwrap();
    }
    let bytes = zstd::encode_all(tar.into_inner().unwrap().as_slice(), 3).unwrap();
    let hash: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let package = PackageRef {
        name: "example".parse().unwrap(),
        version: "1".parse().unwrap(),
        sha512: hash.parse().unwrap(),
        size: bytes.len() as u64,
    };
    fs::write(folder.join("example.tar.zst"), bytes).unwrap();
    let manifest = Manifest {
        package: package.clone(),
        licence: "Apache-2.0".into(),
        kind: PackageKind::Service,
        arch: "any".into(),
        archive: "example.tar.zst".into(),
        tar_sha512: "0".repeat(128).parse().unwrap(),
    };
    fs::write(folder.join("example.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    package
}

/// An instance of it.
pub fn instance(id: &str, package: &PackageRef, port: u16, greeting: &str) -> InstanceSpec {
    let body = SpecBody {
        restart: 0,
        packages: vec![package.clone()],
        files: vec![ConfigFile { name: "greeting.txt".into(), body: greeting.into(), private: false }],
        prepare: vec![Prepare::Copy { from: "greeting.txt".into(), to: "{data}/greeting.txt".into() }],
        exec: Exec {
            argv: vec!["{package:example}/bin/example".into(), port.to_string(), "{data}/greeting.txt".into()],
            env: Default::default(),
            nofile: 1024,
            stop_signal: StopSignal::Term,
            stop_wait_s: 5,
            start_secs: 1,
        },
        ports: vec![Port { name: "http".into(), address: "127.0.0.1".into(), port }],
        probe: Probe::Http { host: "127.0.0.1".into(), port, path: "/livez".into() },
        min_free_mib: 1,
        disk_full_at: None,
    };
    InstanceSpec::new(id.parse().unwrap(), format!("uid-{id}"), "example".parse().unwrap(), Phase::Running, body)
}

/// A folder for a test's own packages, removed with the returned guard.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let packages = folder.path().join("packages");
    fs::create_dir(&packages).unwrap();
    fs::set_permissions(&packages, fs::Permissions::from_mode(0o755)).unwrap();
    (folder, packages)
}
