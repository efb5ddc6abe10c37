//! What a host says of itself: shown to people and used for defaults by size, never for trust.

use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::unistd::{geteuid, gethostname};
use sha2::{Digest, Sha256};
use zms_core::host::HostFacts;

use crate::fetch::hex;
use crate::layout::Layout;
use crate::space::Space;
use crate::supervisor::server;

/// `python3 --version` is given up after this.
const PYTHON: Duration = Duration::from_secs(5);
/// Longest text of a fact, in characters.
const LONGEST: usize = 120;

/// Looks at the host. What cannot be read is empty or 0.
pub async fn collect(layout: &Layout) -> HostFacts {
    let space = Space::of(layout.prefix()).ok();
    HostFacts {
        hostname: gethostname()
            .map(|name| name.to_string_lossy().split('.').next().unwrap_or_default().to_owned())
            .unwrap_or_default(),
        addresses: addresses().iter().map(IpAddr::to_string).collect(),
        os: os(&fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release")).unwrap_or_default()),
        kernel: line("/proc/sys/kernel/osrelease"),
        arch: std::env::consts::ARCH.to_owned(),
        cpus: std::thread::available_parallelism().map_or(0, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        memory_mib: memory_mib(),
        disk_mib: space.map_or(0, |space| space.total_mib()),
        disk_free_mib: space.map_or(0, |space| space.free_mib()),
        python: python().await.unwrap_or_default(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        machine: machine(&line("/etc/machine-id")),
        prefix: layout.prefix().display().to_string(),
        unprivileged: !geteuid().is_root(),
    }
}

/// The host's addresses but loopback and link-local ones, in the order of its interfaces.
pub fn addresses() -> Vec<IpAddr> {
    let mut found = Vec::new();
    for interface in getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())));
        let usable = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        };
        if let Some(ip) = ip.filter(usable)
            && !found.contains(&ip)
        {
            found.push(ip);
        }
    }
    found
}

/// The host's memory, MiB.
pub fn memory_mib() -> u64 {
    memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn memory(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    total.unwrap_or_default() >> 10
}

/// Size and free space of the file system that holds the prefix, MiB.
fn os(release: &str) -> String {
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    short(name.unwrap_or_default().trim().trim_matches(['"', '\'']))
}

/// Tells clones of a machine apart without giving its id away.
fn machine(id: &str) -> String {
    if id.is_empty() { String::new() } else { hex(&Sha256::digest(id)) }
}

fn line(path: &str) -> String {
    short(fs::read_to_string(path).unwrap_or_default().trim())
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

async fn python() -> Option<String> {
    let path = server::find_python(&std::env::var_os("PATH").unwrap_or_default()).ok()?;
    #[allow(clippy::disallowed_methods, reason = "it prints its version and ends; it is no service")]
    let mut command = tokio::process::Command::new(path);
    command
        .arg("--version")
        .env_clear()
        .env("PATH", OsStr::new("/usr/bin:/bin"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PYTHON, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(short(text.trim().strip_prefix("Python ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_system_become_facts() {
        assert_eq!(os("NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os(""), "");
        assert_eq!(memory("MemTotal:       24589324 kB\nMemFree: 1 kB\n"), 24013);
        assert_eq!(memory("garbage"), 0);
        assert_eq!((machine("").len(), machine("abc").len()), (0, 64));
        assert_eq!(short("a\u{1b}[1m\n"), "a[1m");
    }

    #[tokio::test]
    async fn this_host_knows_itself() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms/not/made/yet")).unwrap();
        let facts = collect(&layout).await;
        assert!(!facts.hostname.is_empty() && !facts.kernel.is_empty() && !facts.boot_id.is_empty(), "{facts:?}");
        assert!(
            facts.cpus > 0 && facts.memory_mib > 0 && facts.disk_mib >= facts.disk_free_mib && facts.disk_mib > 0,
            "{facts:?}"
        );
        assert!(facts.addresses.iter().all(|address| address != "127.0.0.1"), "{facts:?}");
        assert_eq!(facts.prefix, layout.prefix().display().to_string());
    }
}
