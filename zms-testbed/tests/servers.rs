//! The servers themselves: each one starts, is killed and starts again.

use std::io::{Read, Write};
use std::net::TcpStream;

use zms_testbed::{Influx, Kafka, KafkaWish, Proxy, ZooKeeper, ZooWish};

#[test]
fn every_server_starts_and_comes_back_after_a_kill() {
    let mut zookeeper = ZooKeeper::start(ZooWish { tls: true });
    zookeeper.kill();
    zookeeper.restart();
    let mut influx = Influx::start();
    influx.kill();
    influx.restart();
    let mut kafka = Kafka::start(KafkaWish { brokers: 2, secure: true });
    kafka.kill(1);
    kafka.restart(1);
    assert_eq!(kafka.plain().split(',').count(), 2);
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
