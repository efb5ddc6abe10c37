//! From frames of a host to points. Pure.

use std::collections::BTreeMap;

use zms_core::collect::{Frame, HostFigures, InstanceFigures, Placed, Watched};
use zms_core::names::InstanceId;
use zms_core::series::{HOST, INSTANCE, KAFKA_BROKER, Point};

/// A frame whose time is further than this from ours comes from a host with a wrong clock, milliseconds. Newer frames than the newest of
/// a request do not exist, so its time ought to be now.
pub const CLOCK_MS: i64 = 60_000;

/// The last frame of each host, to make rates of counters.
#[derive(Debug, Default)]
pub struct Last(Option<Frame>);

/// By how much a host's clock is wrong: zero while it is near enough. `newest`: time of the newest frame of a request that came at `now`.
pub const fn clock_error(newest: i64, now: i64) -> i64 {
    let error = now - newest;
    if error.unsigned_abs() > CLOCK_MS.unsigned_abs() { error } else { 0 }
}

impl Last {
    /// Points of the next frame, whose time is `frame.at_ms` plus `clock_error`. A frame that is not newer than the last one gives none.
    pub fn take(&mut self, watched: &Watched, frame: Frame, clock_error: i64) -> Vec<Point> {
        if self.0.as_ref().is_some_and(|last| frame.at_ms <= last.at_ms) {
            return Vec::new();
        }
        let at_ms = frame.at_ms + clock_error;
        let delta = Delta::new(self.0.as_ref(), &frame);
        let mut points = vec![host(&watched.name, &frame.host, at_ms, delta.as_ref())];
        let placed: BTreeMap<&InstanceId, &Placed> = watched.instances.iter().map(|placed| (&placed.instance, placed)).collect();
        for (id, figures) in &frame.instances {
            // What it may not speak of is left out; the listener counts it.
            let Some(placed) = placed.get(id) else { continue };
            let before = self.0.as_ref().and_then(|last| last.instances.get(id));
            points.push(instance(&watched.name, placed, figures, at_ms, delta.as_ref(), before));
            if let Some(cluster) = &placed.cluster
                && placed.kind.as_str() == "kafka"
                && !figures.said.is_empty()
            {
                let broker = placed.node_id.to_string();
                points.push(kafka(&[cluster.as_str(), &broker], figures, at_ms, delta.as_ref(), before));
            }
        }
        self.0 = Some(frame);
        points
    }
}

/// Between two frames.
struct Delta<'a> {
    seconds: f64,
    host: &'a HostFigures,
}

impl<'a> Delta<'a> {
    fn new(last: Option<&'a Frame>, now: &Frame) -> Option<Self> {
        let last = last?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds between two frames are far below 2^52")]
        let seconds = (now.at_ms - last.at_ms) as f64 / 1000.0;
        Some(Self { seconds, host: &last.host })
    }

    /// Growth of a counter a second; `None` when it began anew.
    fn rate(&self, before: Option<u64>, now: Option<u64>) -> Option<f64> {
        Some(float(now?.checked_sub(before?)?) / self.seconds)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure on a chart needs no more than 52 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

fn percent(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0)?;
    Some(100.0 * float(part?) / float(whole))
}

fn host(name: &str, now: &HostFigures, at_ms: i64, delta: Option<&Delta<'_>>) -> Point {
    let rate = |of: fn(&HostFigures) -> Option<u64>| delta.and_then(|delta| delta.rate(of(delta.host), of(now)));
    // Milliseconds of work a second on so many processors.
    let share = |of: fn(&HostFigures) -> Option<u64>| {
        let cpus = now.cpus.filter(|cpus| *cpus > 0)?;
        Some((rate(of)? / 10.0 / f64::from(cpus)).min(100.0))
    };
    let memory_used = now.memory_bytes.zip(now.memory_available_bytes).map(|(all, free)| all.saturating_sub(free));
    let disk_used = now.disk_bytes.zip(now.disk_free_bytes).map(|(all, free)| all.saturating_sub(free));
    Point::new(&HOST, &[name], at_ms)
        .with("cpu", share(|host| host.cpu_busy_ms))
        .with("cpu_wait", share(|host| host.cpu_wait_ms))
        .with("load1", now.load1)
        .with_whole("memory_bytes", now.memory_bytes)
        .with_whole("memory_used_bytes", memory_used)
        .with("memory", percent(memory_used, now.memory_bytes))
        .with_whole("swap_used_bytes", now.swap_used_bytes)
        .with_whole("disk_bytes", now.disk_bytes)
        .with_whole("disk_used_bytes", disk_used)
        .with("disk", percent(disk_used, now.disk_bytes))
        .with("disk_read", rate(|host| host.disk_read_bytes))
        .with("disk_written", rate(|host| host.disk_written_bytes))
        .with("net_in", rate(|host| host.net_in_bytes))
        .with("net_out", rate(|host| host.net_out_bytes))
}

fn instance(
    host: &str,
    placed: &Placed,
    now: &InstanceFigures,
    at_ms: i64,
    delta: Option<&Delta<'_>>,
    before: Option<&InstanceFigures>,
) -> Point {
    let cpu = delta.zip(before).and_then(|(delta, before)| delta.rate(before.cpu_ms, now.cpu_ms));
    Point::new(&INSTANCE, &[placed.service.as_str(), placed.instance.as_str(), host], at_ms)
        .with("cpu", cpu.map(|ms_a_second| ms_a_second / 10.0))
        .with_whole("rss_bytes", now.rss_bytes)
        .with_whole("threads", now.threads)
        .with_whole("open_files", now.open_files)
        .with("uptime_s", now.uptime_ms.map(|ms| float(ms) / 1000.0))
        .with_whole("silent", Some(i64::from(now.silence.is_some())))
}

/// What a broker says by its own names, and rates of the three that people look at.
fn kafka(tags: &[&str], now: &InstanceFigures, at_ms: i64, delta: Option<&Delta<'_>>, before: Option<&InstanceFigures>) -> Point {
    let rate = |name: &str| {
        let (delta, before) = delta.zip(before)?;
        let new = now.said.get(name)? - before.said.get(name)?;
        // It was started anew.
        (new >= 0.0).then(|| new / delta.seconds)
    };
    let said = |point: Point, (name, value): (&String, &f64)| point.with(name, Some(*value));
    now.said
        .iter()
        .fold(Point::new(&KAFKA_BROKER, tags, at_ms), said)
        .with("rate_in", rate("messages_in"))
        .with("bytes_in_rate", rate("bytes_in"))
        .with("bytes_out_rate", rate("bytes_out"))
}

#[cfg(test)]
mod tests {
    use zms_core::names::{ClusterName, HostId, KindName, ServiceName};
    use zms_core::series::Number;

    use super::*;

    fn watched() -> Watched {
        let placed = Placed {
            instance: InstanceId::new("kafka-1").unwrap(),
            kind: KindName::new("kafka").unwrap(),
            service: ServiceName::new("kafka").unwrap(),
            cluster: Some(ClusterName::new("kafka").unwrap()),
            node_id: 1,
        };
        Watched { host: HostId::new("01JD8Z3V9Q4M5N6P7R8S9TAVWX").unwrap(), name: "h1".to_owned(), instances: vec![placed] }
    }

    fn frame(at_ms: i64, busy: u64, messages: f64) -> Frame {
        let host = HostFigures {
            cpu_busy_ms: Some(busy),
            cpus: Some(2),
            memory_bytes: Some(100),
            memory_available_bytes: Some(40),
            ..HostFigures::default()
        };
        let said = BTreeMap::from([("messages_in".to_owned(), messages), ("unheard_of".to_owned(), 1.0)]);
        let known = InstanceFigures { said, ..InstanceFigures::default() };
        let instances = BTreeMap::from([
            (InstanceId::new("kafka-1").unwrap(), known.clone()),
            (InstanceId::new("somebody-elses").unwrap(), known),
        ]);
        Frame { at_ms, host, instances }
    }

    fn field(points: &[Point], measurement: &str, name: &str) -> Option<Number> {
        let point = points.iter().find(|point| point.measurement.name == measurement)?;
        point.fields.iter().find(|(field, _)| *field == name).map(|(_, number)| *number)
    }

    #[test]
    fn counters_become_rates_from_the_second_frame_on_and_only_while_they_grow() {
        let mut last = Last::default();
        let points = last.take(&watched(), frame(10_000, 1_000, 100.0), 0);
        assert_eq!((field(&points, "host", "cpu"), field(&points, "kafka_broker", "rate_in")), (None, None));
        assert_eq!(field(&points, "host", "memory"), Some(Number::Broken(60.0)));
        let points = last.take(&watched(), frame(20_000, 11_000, 150.0), 0);
        assert_eq!(field(&points, "host", "cpu"), Some(Number::Broken(50.0)), "10 of 20 processor seconds");
        assert_eq!(field(&points, "kafka_broker", "rate_in"), Some(Number::Broken(5.0)));
        let points = last.take(&watched(), frame(30_000, 500, 3.0), 0);
        assert_eq!((field(&points, "host", "cpu"), field(&points, "kafka_broker", "rate_in")), (None, None), "both began anew");
        assert_eq!(field(&points, "kafka_broker", "messages_in"), Some(Number::Broken(3.0)));
    }

    #[test]
    fn a_frame_that_came_before_gives_nothing_and_another_hosts_instances_give_nothing() {
        let mut last = Last::default();
        let points = last.take(&watched(), frame(10_000, 0, 0.0), 0);
        assert_eq!(points.iter().filter(|point| point.measurement.name == "instance").count(), 1);
        assert!(points.iter().all(|point| !point.tags.contains(&"somebody-elses".to_owned())));
        assert!(last.take(&watched(), frame(10_000, 0, 0.0), 0).is_empty());
        assert!(last.take(&watched(), frame(9_000, 0, 0.0), 0).is_empty());
    }

    #[test]
    fn a_wrong_clock_is_put_right_and_a_late_frame_is_no_wrong_clock() {
        for (newest, now, error) in [(0, 5_000, 0), (100_000, 100_000, 0), (0, 3_600_000, 3_600_000), (7_200_000, 0, -7_200_000)]
        {
            assert_eq!(clock_error(newest, now), error);
        }
        let points = Last::default().take(&watched(), frame(10_000, 0, 0.0), 3_600_000);
        assert!(points.iter().all(|point| point.at_ms == 3_610_000));
    }

    #[test]
    fn every_name_of_the_catalogue_is_a_field() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../catalogue/kafka.toml")).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let reads = table["jolokia"]["read"].as_array().unwrap();
        assert!(!reads.is_empty());
        for read in reads {
            let name = read["name"].as_str().unwrap();
            assert!(KAFKA_BROKER.field(name).is_some(), "{name}");
        }
    }
}
