//! The collector of an environment: what brokers, hosts and applications say becomes series in InfluxDB and a snapshot at the portal.
//!
//! ```text
//! agents ──frames──▶ frames ─┐
//! brokers ◀──ticks── cluster ─┼─▶ sink ──▶ InfluxDB
//! applications ─────▶ reports ┘        board ──snapshot──▶ portal
//! ```
//!
//! Any number of collectors takes frames; the one that holds the lease in ZooKeeper also asks brokers, reads what applications report and
//! tells the portal. Points carry the time of their tick, so what two collectors write is one point.
//!
//! Read in this order:
//! 1. [`orders`]: what is to be done, from the portal, kept on disk. [`lease`]: who leads.
//! 2. [`tick`]: from what a cluster said to figures and points; pure. [`host`]: the same for frames of hosts; pure.
//!    [`rollup`]: what is kept for months.
//! 3. [`cluster`], [`reports`], [`frames`]: where it comes from; [`ways`]: how clusters are dialled. [`board`], [`sink`], [`portal`]: where it goes.
//! 4. [`run`]: how it hangs together.

pub mod board;
pub mod cluster;
pub mod config;
pub mod frames;
pub mod host;
pub mod lease;
pub mod listen;
mod news;
pub mod orders;
pub mod portal;
pub mod reports;
pub mod rollup;
pub mod run;
pub mod sink;
pub mod tick;
pub mod tls;
pub mod ways;

/// The clock, milliseconds since 1970. What decides takes the time as an argument.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
