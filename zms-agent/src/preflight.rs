//! What must hold before a process is started; each failure is a sentence with the number that was found.

use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};

use zms_core::host::{InstanceSpec, Port};

use crate::layout::Layout;
use crate::space::Space;

/// Everything that stands against a start; empty when nothing does. Blocks shortly.
pub fn check(layout: &Layout, spec: &InstanceSpec) -> Vec<String> {
    let mut problems: Vec<String> = spec.body.ports.iter().filter_map(port_in_use).collect();
    problems.extend(too_little_space(layout.prefix(), spec.body.min_free_mib));
    problems
}

/// Why a port cannot be listened on.
pub fn port_in_use(port: &Port) -> Option<String> {
    let address = port.socket();
    let tried = match address.to_socket_addrs() {
        Ok(mut all) => {
            all.next().map_or_else(|| Err(io::Error::other("it has no address")), |one| TcpListener::bind(one).map(drop))
        }
        Err(error) => Err(error),
    };
    let error = tried.err()?;
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {address} ({}) is in use by another process; free it or choose another port", port.name)
        }
        io::ErrorKind::PermissionDenied => {
            format!("port {address} ({}): ports below 1024 need root; choose a higher one", port.name)
        }
        io::ErrorKind::AddrNotAvailable => format!("port {address} ({}): this host has no such address", port.name),
        _ => format!("port {address} ({}): {error}", port.name),
    })
}

/// Compares the free space below `prefix` with `wanted` MiB.
pub fn too_little_space(prefix: &Path, wanted: u64) -> Option<String> {
    if wanted == 0 {
        return None;
    }
    match Space::of(prefix) {
        Ok(space) => {
            let free = space.free_mib();
            (free < wanted).then(|| format!("{} has {free} MiB free; {wanted} MiB are needed", prefix.display()))
        }
        Err(error) => Some(format!("free space of {}: {error}", prefix.display())),
    }
}

/// Java of the host for specs without a package `jre`: `$JAVA_HOME`, else the first `java` on the path.
pub fn find_java() -> Option<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = home.into_iter().chain(std::env::split_paths(&path).collect::<Vec<_>>());
    folders.map(|folder| folder.join("java")).find(|java| java.is_absolute() && java.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_what_it_is_for() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port { name: "client".into(), address: "127.0.0.1".into(), port: taken.local_addr().unwrap().port() };
        let problem = port_in_use(&port).unwrap();
        assert!(problem.contains("client") && problem.contains("in use"), "{problem}");
        drop(taken);
        assert_eq!(port_in_use(&port), None);
    }

    #[test]
    fn an_address_of_another_host_is_a_sentence() {
        let port = Port { name: "client".into(), address: "192.0.2.1".into(), port: 9092 };
        assert!(port_in_use(&port).unwrap().contains("no such address"));
    }

    #[test]
    fn a_full_disk_is_told_before_the_start_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(too_little_space(folder.path(), 1), None);
        let problem = too_little_space(folder.path(), u64::MAX >> 1).unwrap();
        assert!(problem.contains("MiB free") && problem.contains("are needed"), "{problem}");
    }
}
