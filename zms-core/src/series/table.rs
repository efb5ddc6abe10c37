//! The table. It has all figures that ZMS has a name for; what a collector cannot have (yet, or from this version of a broker) it leaves out. Names of the figures that a Kafka broker gives by itself are those of `catalogue/kafka.toml`; a test compares them.

use super::{Field, Measurement, Retention, Unit};

/// A measurement by its name.
pub fn measurement(name: &str) -> Option<&'static Measurement> {
    MEASUREMENTS.iter().find(|measurement| measurement.name == name).copied()
}

macro_rules! fields {
    ($($name:ident: $unit:ident),* $(,)?) => { &[$(Field { name: stringify!($name), unit: Unit::$unit }),*] };
}

macro_rules! measurements {
    ($($(#[$about:meta])* $constant:ident $name:literal by [$($tag:literal),*] $retention:ident each $every:literal s { $($fields:tt)* })*) => {
        $($(#[$about])* pub static $constant: Measurement = Measurement { name: $name, tags: &[$($tag),*], fields: fields!($($fields)*), retention: Retention::$retention, every_s: $every };)*
        /// All measurements.
        pub static MEASUREMENTS: &[&Measurement] = &[$(&$constant),*];
    };
}

measurements! {
    /// A cluster. `reach`: 0 nobody answered, 1 some brokers did, 2 all did. `leaders_imbalance`: partitions that another than their preferred replica leads.
    /// `health`: 0 well, 1 degraded, 2 bad.
    CLUSTER "cluster" by ["cluster"] Raw each 10 s {
        brokers: Count, controller: State, topics: Count, partitions: Count, groups: Count, under_replicated: Count,
        offline: Count, under_min_isr: Count, leaders_imbalance: Count, health: State, reach: State, rate_in: PerSecond, rate_out: PerSecond, lag: Count, scrape_ms: Milliseconds,
        requests: Count, bytes: Bytes,
    }
    /// What a broker of Kafka says of itself, by way of its host's agent.
    KAFKA_BROKER "kafka_broker" by ["cluster", "broker"] Raw each 10 s {
        messages_in: Total, bytes_in: Total, bytes_out: Total, bytes_rejected: Total, replication_bytes_in: Total,
        replication_bytes_out: Total, produce_requests: Total, fetch_requests: Total, produce_requests_failed: Total,
        fetch_requests_failed: Total, under_replicated: Count, under_min_isr: Count, offline_replicas: Count, leaders: Count,
        partitions: Count, isr_shrinks: Total, isr_expands: Total, active_controller: Count, offline_partitions: Count,
        network_idle: Share, handler_idle: Share, request_queue: Count, produce_p99_ms: Milliseconds,
        fetch_p99_ms: Milliseconds, log_flush_p99_ms: Milliseconds, offline_log_dirs: Count, heap_used_bytes: Bytes,
        heap_max_bytes: Bytes, open_files_jvm: Count, rate_in: PerSecond, bytes_in_rate: BytesPerSecond,
        bytes_out_rate: BytesPerSecond, leaders_led: Count, disk_bytes: Bytes,
    }
    /// Requests of one kind at a broker of Kafka: how many, and how long their parts took.
    KAFKA_REQUEST "kafka_request" by ["cluster", "broker", "request"] Raw each 30 s {
        count: Total, mean_ms: Milliseconds, p50_ms: Milliseconds, p95_ms: Milliseconds, p99_ms: Milliseconds,
        p999_ms: Milliseconds, queue_p99_ms: Milliseconds, local_p99_ms: Milliseconds, remote_p99_ms: Milliseconds,
        send_p99_ms: Milliseconds,
    }
    /// A topic. `rate_in`: messages by log end offsets.
    TOPIC "topic" by ["cluster", "topic"] Raw each 10 s {
        partitions: Count, under_replicated: Count, offline: Count, start: Offset, end: Offset, kept: Count, rate_in: PerSecond,
        bytes_in: BytesPerSecond, bytes_out: BytesPerSecond, size_bytes: Bytes,
    }
    /// A topic on one broker.
    TOPIC_BROKER "topic_broker" by ["cluster", "topic", "broker"] Raw each 60 s {
        queues: Count, start: Offset, end: Offset, rate_in: PerSecond, bytes_in: BytesPerSecond, bytes_out: BytesPerSecond, size_bytes: Bytes,
    }
    /// A partition; written for chosen topics only.
    PARTITION "partition" by ["cluster", "topic", "partition"] Detail each 60 s {
        start: Offset, end: Offset, rate_in: PerSecond, isr: Count, size_bytes: Bytes,
    }
    /// A consumer group over all its topics. `lag_ms_max`: age of the oldest message that it has not handled. `state`: 0 dead, 1 empty, 2 rebalancing, 3 stable, 9 another.
    GROUP "consumer_group" by ["cluster", "group"] Raw each 10 s {
        lag: Count, lag_max: Count, lag_ms_max: Milliseconds, unknown: Count, members: Count, rebalances: Total, topics: Count, rate_out: PerSecond, state: State,
    }
    /// A group on one topic. `drain_s`: until lag is gone at these rates. `lost`: messages that went by retention before it had them. `status`: 0 well, 1 lags,
    /// 2 stalls, 3 stopped, 4 went back, 5 lost messages. RocketMQ alone: `inflight` given out and not acknowledged, `retry` waiting for another try, `dead_letters`
    /// given up since the last point.
    GROUP_TOPIC "consumer_group_topic" by ["cluster", "group", "topic"] Raw each 10 s {
        lag: Count, lag_max: Count, lag_ms: Milliseconds, unknown: Count, rate_in: PerSecond, rate_out: PerSecond,
        committed: Offset, drain_s: Seconds, partitions: Count, partitions_lagging: Count, status: State, lost: Count,
        inflight: Count, ready: Count, retry: Count, dead_letters: Count,
    }
    /// A group on a partition; written for chosen groups only.
    GROUP_PARTITION "consumer_group_partition" by ["cluster", "group", "topic", "partition"] Detail each 30 s {
        committed: Offset, lag: Count, lag_ms: Milliseconds, status: State,
    }
    /// What a master of RocketMQ says of itself. `put_rate`, `get_rate`: messages that it stored and gave out, also those of its own topics.
    ROCKETMQ_BROKER "rocketmq_broker" by ["cluster", "broker", "role"] Raw each 10 s {
        put_rate: PerSecond, get_rate: PerSecond, put_failed: Total, commit_log_max: Offset, commit_log_disk: Share,
        consume_queue_disk: Share, dispatch_behind: Bytes, page_cache_lock_ms: Milliseconds, send_queue: Count,
        pull_queue: Count,
    }
    /// A ZooKeeper server.
    ZOOKEEPER_SERVER "zookeeper_server" by ["service", "server"] Raw each 30 s {
        latency_avg_ms: Milliseconds, latency_max_ms: Milliseconds, connections: Count, outstanding: Count, znodes: Count,
        watches: Count, ephemerals: Count, data_bytes: Bytes,
    }
    /// A process that sends, as it says itself. `language`: `rust` for our SDK, `java` for clients of the first ZMS, whose application is
    /// what it calls this producer; times of several Java clients together are at most those.
    ZMS_PRODUCER "zms_producer" by ["cluster", "topic", "application", "client", "language"] Detail each 10 s {
        rate: PerSecond, failed: PerSecond, bytes_rate: BytesPerSecond, p50_ms: Milliseconds, p95_ms: Milliseconds,
        p99_ms: Milliseconds, max_ms: Milliseconds, size_avg: Bytes,
    }
    /// A process that consumes, as it says itself.
    ZMS_CONSUMER "zms_consumer" by ["cluster", "topic", "group", "application", "client", "language"] Detail each 10 s {
        rate: PerSecond, failed: PerSecond, bytes_rate: BytesPerSecond, p50_ms: Milliseconds, p95_ms: Milliseconds,
        p99_ms: Milliseconds, max_ms: Milliseconds,
    }
    /// All processes of one application that send to a topic.
    ZMS_PRODUCER_SUM "zms_producer_sum" by ["cluster", "topic", "application", "language"] Raw each 10 s {
        rate: PerSecond, failed: PerSecond, bytes_rate: BytesPerSecond, p50_ms: Milliseconds, p95_ms: Milliseconds,
        p99_ms: Milliseconds, max_ms: Milliseconds, clients: Count,
    }
    /// All processes of one application in a group on a topic.
    ZMS_CONSUMER_SUM "zms_consumer_sum" by ["cluster", "topic", "group", "application", "language"] Raw each 10 s {
        rate: PerSecond, failed: PerSecond, bytes_rate: BytesPerSecond, p50_ms: Milliseconds, p95_ms: Milliseconds,
        p99_ms: Milliseconds, max_ms: Milliseconds, clients: Count,
    }
    /// A host.
    HOST "host" by ["host"] Raw each 10 s {
        cpu: Percent, cpu_wait: Percent, load1: Count, memory_bytes: Bytes, memory_used_bytes: Bytes, memory: Percent,
        swap_used_bytes: Bytes, disk_bytes: Bytes, disk_used_bytes: Bytes, disk: Percent, disk_read: BytesPerSecond,
        disk_written: BytesPerSecond, net_in: BytesPerSecond, net_out: BytesPerSecond,
    }
    /// The process of an instance. `silent`: 1 when it did not say what it was asked for.
    INSTANCE "instance" by ["service", "instance", "host"] Raw each 10 s {
        cpu: Percent, rss_bytes: Bytes, threads: Count, open_files: Count, uptime_s: Seconds, silent: State,
    }
    /// Messages of our own, sent through a broker and back.
    E2E_PROBE "e2e_probe" by ["cluster", "broker"] Raw each 10 s {
        attempts: Total, acknowledged: Total, refused: Total, lost: Total, late: Total, p50_ms: Milliseconds, p99_ms: Milliseconds,
        max_ms: Milliseconds, round_trip_p50_ms: Milliseconds, round_trip_p99_ms: Milliseconds, round_trip_max_ms: Milliseconds,
    }
    /// A collector itself. `leads`: 1 for the one that scrapes.
    COLLECTOR "collector" by ["collector"] Raw each 10 s {
        leads: State, tick_ms: Milliseconds, clusters: Count, clusters_away: Count, frames: Total, frames_refused: Total, frames_dropped: Total,
        reports: Total, reports_unreadable: Total, reports_over: Total, reports_lost: Total, lines_written: Total, lines_queued: Count, lines_dropped: Total,
        rss_bytes: Bytes,
    }
}
