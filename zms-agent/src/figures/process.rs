//! The process of an instance.

use procfs::process::Process;
use procfs::{Current as _, Uptime};
use zms_core::collect::InstanceFigures;

use super::host::ticks_to_ms;

/// Looks at a process; one that is gone has no figures.
pub(super) fn look(pid: u32) -> InstanceFigures {
    let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else { return InstanceFigures::default() };
    let mut figures = InstanceFigures::default();
    if let Ok(stat) = process.stat() {
        figures.cpu_ms = Some(ticks_to_ms(stat.utime + stat.stime));
        figures.rss_bytes = Some(stat.rss * procfs::page_size());
        figures.threads = u32::try_from(stat.num_threads).ok();
        figures.uptime_ms = machine_up_ms().and_then(|up| up.checked_sub(ticks_to_ms(stat.starttime)));
    }
    figures.open_files = process.fd_count().ok().and_then(|count| u32::try_from(count).ok());
    figures
}

/// Time since the machine started.
fn machine_up_ms() -> Option<u64> {
    let up = Uptime::current().ok()?;
    u64::try_from(up.uptime_duration().as_millis()).ok()
}
