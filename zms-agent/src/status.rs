//! What a person on the host asks, also with the portal and the agent dead.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use zms_core::host::{Health, HostReport, SupervisorReport};

use crate::layout::Layout;
use crate::lock::{self, Holder};
use crate::portal::contact;

/// The last lines of a log are looked for in this many bytes from its end.
const TAIL_BYTES: u64 = 256 << 10;

/// The last `count` lines of a file; fewer if it has fewer or they are very long.
pub fn last_lines(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = VecDeque::new();
    for line in text.lines() {
        if lines.len() == count {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
    Ok(lines.into())
}

/// Prints a log's last lines and, with `follow`, what comes after them until the process is interrupted.
pub async fn print_log(path: &Path, count: usize, follow: bool) -> io::Result<()> {
    for line in last_lines(path, count)? {
        println!("{line}");
    }
    if !follow {
        return Ok(());
    }
    let mut offset = std::fs::metadata(path)?.len();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let size = std::fs::metadata(path)?.len();
        if size < offset {
            offset = 0;
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        offset += file.take(1 << 20).read_to_end(&mut bytes)? as u64;
        print!("{}", String::from_utf8_lossy(&bytes));
        io::Write::flush(&mut io::stdout())?;
    }
}

/// The last report as a table, with its age and who acts on the host.
pub fn show(layout: &Layout, now: SystemTime) -> io::Result<String> {
    let mut out = String::new();
    let agent = match lock::holder(&layout.agent_lock())? {
        Holder::Held { pid: Some(pid) } => format!("agent     process {pid}"),
        Holder::Held { pid: None } => "agent     running".to_owned(),
        Holder::Free => "agent     NOT RUNNING: nothing is repaired; what runs goes on".to_owned(),
    };
    let _ = writeln!(out, "{agent}");
    out.push_str(&contact::lines(layout));
    let path = layout.report();
    let Some(bytes) = crate::disk::read_bounded(&path, 16 << 20)? else {
        let _ = writeln!(out, "report    none yet");
        return Ok(out);
    };
    let report: HostReport = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    let age = std::fs::metadata(&path)?.modified()?;
    let age = now.duration_since(age).unwrap_or_default().as_secs();
    let _ = writeln!(out, "report    {age} s old, of generation {}", report.generation);
    let supervisor = match &report.supervisor {
        SupervisorReport::NotNeeded => "not needed".to_owned(),
        SupervisorReport::Running { pid, version } => format!("process {pid}, version {version}"),
        SupervisorReport::Down { reason } => format!("DOWN: {reason}"),
    };
    let _ = writeln!(out, "supervisor {supervisor}");
    for stray in &report.strays {
        let _ = writeln!(out, "unknown   {stray}: supervisord has it, the desired state does not");
    }
    let _ = writeln!(out, "\n{:<24} {:<8} {:<9} {:<10} {:<11} WHY", "INSTANCE", "WANTED", "PROCESS", "STEP", "HEALTH");
    for instance in &report.instances {
        let health = match &instance.health {
            Health::Unknown => "-",
            Health::Healthy => "healthy",
            Health::NotYet { .. } => "not healthy",
        };
        let pid = instance.pid.map_or("-".to_owned(), |pid| format!("{pid}{}", if instance.supervised { "" } else { "*" }));
        let wanted = format!("{:?}", instance.wanted).to_lowercase();
        let step = format!("{:?}", instance.step).to_lowercase();
        let _ = writeln!(out, "{:<24} {wanted:<8} {pid:<9} {step:<10} {health:<11} {}", instance.id.as_str(), instance.message);
    }
    if report.instances.iter().any(|i| i.pid.is_some() && !i.supervised) {
        let _ = writeln!(out, "\n* outlived its supervisord; it serves, and is supervised again after its next restart");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_come_in_order_also_from_a_log_that_is_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        std::fs::write(&path, b"one\ntwo\n\xff\xfe three\n").unwrap();
        assert_eq!(last_lines(&path, 2).unwrap(), ["two", "\u{fffd}\u{fffd} three"]);
        assert_eq!(last_lines(&path, 9).unwrap().len(), 3);
    }

    #[test]
    fn a_host_without_an_agent_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("zms")).unwrap();
        std::fs::create_dir_all(layout.prefix().join("run/locks")).unwrap();
        let text = show(&layout, SystemTime::now()).unwrap();
        assert!(text.contains("NOT RUNNING") && text.contains("none yet"), "{text}");
    }
}
