//! The servers themselves: each one starts, is killed and starts again.

use std::io::{Read, Write};
use std::net::TcpStream;

use zms_testbed::{
    Influx, InfluxLine, Kafka, KafkaLine, KafkaWish, Postgres, Proxy, RocketLine, RocketMq, RocketWish, ZooKeeper, ZooWish,
};

#[test]
fn zookeeper_and_influxdb_come_back_after_a_kill() {
    let mut zookeeper = ZooKeeper::start(ZooWish { tls: true });
    zookeeper.kill();
    zookeeper.restart();
    let mut influx = Influx::start();
    influx.kill();
    influx.restart();
}

#[test]
fn influxdb_2_comes_back_after_a_kill() {
    if !InfluxLine::V2.is_at_hand() {
        println!("NOT RUN: InfluxDB 2 (no Go)");
        return;
    }
    let mut influx = Influx::start_line(InfluxLine::V2);
    influx.kill();
    influx.restart();
    assert!(!influx.operator().token.is_empty());
}

#[test]
fn postgresql_comes_back_with_its_databases() {
    let mut postgres = Postgres::start();
    postgres.create("one", None);
    postgres.stop();
    postgres.restart();
    postgres.create("two", Some("one"));
    postgres.remove("one");
    assert!(postgres.url("two").ends_with("/two"));
}

fn kafka_comes_back(line: KafkaLine) {
    let mut kafka = Kafka::start(KafkaWish { line, brokers: 2, secure: true });
    kafka.kill(1);
    kafka.restart(1);
    assert_eq!(kafka.plain().split(',').count(), 2);
}

#[test]
fn kafka_3_comes_back_after_a_kill() {
    kafka_comes_back(KafkaLine::V3);
}

#[test]
fn kafka_4_comes_back_after_a_kill() {
    kafka_comes_back(KafkaLine::V4);
}

/// A name server that was killed knows nothing; the brokers tell it within 30 s, and nobody waits for that here.
fn rocketmq_comes_back(wish: &RocketWish) {
    let mut rocketmq = RocketMq::start(wish);
    rocketmq.kill("broker-a", 0);
    rocketmq.restart("broker-a", 0);
    rocketmq.kill_name_server(0);
    rocketmq.start_name_server(0);
    assert_eq!(rocketmq.name_servers().len(), wish.name_servers);
}

#[test]
fn rocketmq_4_comes_back_after_a_kill() {
    rocketmq_comes_back(&RocketWish { slaves: true, name_servers: 2, ..RocketWish::one(RocketLine::V4) });
}

#[test]
fn rocketmq_5_comes_back_after_a_kill() {
    rocketmq_comes_back(&RocketWish::one(RocketLine::V5));
}

#[test]
fn a_cut_proxy_refuses_and_a_healed_one_passes() {
    let echo = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(echo.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in echo.incoming() {
            let mut stream = stream.unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        }
    });
    let speaks = || {
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        let mut byte = [0];
        stream.write_all(b"x").is_ok() && stream.read_exact(&mut byte).is_ok()
    };
    assert!(speaks());
    proxy.cut();
    assert!(!speaks());
    proxy.heal();
    assert!(speaks());
}
