//! Kafka.

#[cfg(feature = "kafka-admin")]
mod admin;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod consumer;
#[cfg(feature = "kafka")]
mod producer;
#[cfg(feature = "kafka-admin")]
mod scraper;
#[cfg(feature = "kafka")]
mod within;

#[cfg(feature = "kafka-admin")]
pub use admin::KafkaAdmin;
#[cfg(feature = "kafka")]
pub use consumer::KafkaConsumer;
#[cfg(feature = "kafka")]
pub use producer::KafkaProducer;
#[cfg(feature = "kafka-admin")]
pub use scraper::{KafkaScraper, Pace};
