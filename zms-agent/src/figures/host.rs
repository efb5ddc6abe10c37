//! The host as a whole.

use std::path::Path;

use procfs::{Current, CurrentSI, DiskStat, KernelStats, LoadAverage, Meminfo};
use zms_core::collect::HostFigures;

use crate::space::Space;

/// The kernel counts disks in sectors of this size, whatever the disk's own.
const SECTOR: u64 = 512;

/// Looks at the host; `data`: a folder on the file system that holds the services' data.
pub(super) fn look(data: &Path) -> HostFigures {
    let mut figures = HostFigures::default();
    if let Ok(stat) = KernelStats::current() {
        let cpu = &stat.total;
        let busy = cpu.user + cpu.nice + cpu.system + cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0) + cpu.steal.unwrap_or(0);
        figures.cpu_busy_ms = Some(ticks_to_ms(busy));
        figures.cpu_wait_ms = cpu.iowait.map(ticks_to_ms);
        figures.cpus = u32::try_from(stat.cpu_time.len()).ok();
    }
    figures.load1 = LoadAverage::current().ok().map(|load| f64::from(load.one));
    if let Ok(memory) = Meminfo::current() {
        figures.memory_bytes = Some(memory.mem_total);
        figures.memory_available_bytes = memory.mem_available;
        figures.swap_used_bytes = memory.swap_total.checked_sub(memory.swap_free);
    }
    if let Ok(space) = Space::of(data) {
        figures.disk_bytes = Some(space.total);
        figures.disk_free_bytes = Some(space.free);
    }
    if let Ok(disks) = procfs::diskstats() {
        let whole: Vec<&DiskStat> = disks.iter().filter(|disk| is_whole_disk(&disk.name)).collect();
        figures.disk_read_bytes = Some(whole.iter().map(|disk| disk.sectors_read * SECTOR).sum());
        figures.disk_written_bytes = Some(whole.iter().map(|disk| disk.sectors_written * SECTOR).sum());
    }
    if let Ok(interfaces) = procfs::net::dev_status() {
        let outward = || interfaces.values().filter(|interface| interface.name != "lo");
        figures.net_in_bytes = Some(outward().map(|interface| interface.recv_bytes).sum());
        figures.net_out_bytes = Some(outward().map(|interface| interface.sent_bytes).sum());
    }
    figures
}

pub(super) fn ticks_to_ms(ticks: u64) -> u64 {
    ticks.saturating_mul(1000) / procfs::ticks_per_second().max(1)
}

/// Not a partition, and not what lies on another disk: each byte is counted once.
fn is_whole_disk(name: &str) -> bool {
    let layered = ["loop", "ram", "zram", "dm-", "md", "sr", "fd"].iter().any(|prefix| name.starts_with(prefix));
    !layered && Path::new("/sys/block").join(name).exists()
}
