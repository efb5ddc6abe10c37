use async_trait::async_trait;
use zms_core::series::Retention;

use super::http::Client;
use super::{Lines, MetricError, MetricSink, Store, answer};

pub(super) struct Sink {
    client: Client,
    database: String,
}

impl Sink {
    pub(super) fn new(store: &Store) -> Result<Self, MetricError> {
        let client = Client::new(&store.url, &store.user, &store.password, store.deadline)?;
        Ok(Self { client, database: store.database.clone() })
    }
}

#[async_trait]
impl MetricSink for Sink {
    async fn write(&self, retention: Retention, lines: &Lines) -> Result<(), MetricError> {
        if lines.is_empty() {
            return Ok(());
        }
        let retention = retention.name();
        // A precision that a server does not know it takes for nanoseconds, without a word.
        let pairs = [("db", self.database.as_str()), ("rp", retention), ("precision", "ms")];
        let reply = self.client.write(&pairs, lines.as_str()).await?;
        let what = format!("write to {retention} of database {:?}", self.database);
        answer::written(&what, &reply).map_err(|error| self.client.hide(error))
    }
}
