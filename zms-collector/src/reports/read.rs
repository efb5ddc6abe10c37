//! Reports as they come from the environment's topics.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use zms_core::collect::{MetadataStore, Orders};
use zms_core::statistics::GROUP;
use zms_core::statistics::java::{JavaReport, Side};
use zms_drivers::meta::MetaStore;
use zms_sdk::{ClientFile, Received, Waits, Zms};

use super::places::Places;
use crate::board::{Board, lock};
use crate::news::News;
use crate::now_ms;
use crate::orders::Current;
use crate::sink::Sink;
use crate::ways::Ways;

/// What the collector is called as an application.
const APPLICATION: &str = "zms-collector";
/// Before it is tried again to consume.
const AGAIN: Duration = Duration::from_secs(5);

/// What reading reports needs.
pub struct Reading<'a> {
    /// Where Java clients are is read there.
    pub store: Arc<dyn MetaStore>,
    /// The same store, for a client of our own.
    pub metadata: &'a MetadataStore,
    /// For that client's copy of the metadata.
    pub folder: &'a Path,
    /// Where they go.
    pub board: Arc<Board>,
    /// Where they go too.
    pub sink: Sink,
}

impl Reading<'_> {
    /// Consumes reports until the future is dropped; anew when clusters are to be dialled in another way, as a client that is open keeps its
    /// own.
    pub async fn follow(&self, mut orders: Current) {
        let ways = |orders: &Option<Arc<Orders>>| {
            let orders = orders.as_ref()?;
            Some((orders.adopted.clone(), orders.installed.clone(), orders.networks.clone()))
        };
        loop {
            let now = ways(&orders.borrow_and_update());
            let mut changes = orders.clone();
            let other = async {
                if changes.wait_for(|orders| ways(orders) != now).await.is_err() {
                    // Everything ends.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.read(&orders) => {}
                () = other => tracing::info!("clusters are dialled in another way: reports of applications are read anew"),
            }
        }
    }

    async fn read(&self, orders: &Current) {
        let zms = loop {
            match self.connect(orders) {
                Ok(zms) => break zms,
                Err(error) => tracing::warn!(%error, "reports of applications cannot be read"),
            }
            sleep(AGAIN).await;
        };
        let ours = {
            let (board, sink) = (self.board.clone(), self.sink.clone());
            move |message: Received| {
                sink.push(lock(&board.applications).take(message.bytes(), now_ms()));
                std::future::ready(Ok::<(), Infallible>(()))
            }
        };
        let places = Arc::new(Places::new(self.store.clone()));
        let java = |side| {
            let (board, sink, places) = (self.board.clone(), self.sink.clone(), places.clone());
            move |message: Received| {
                let (board, sink, places) = (board.clone(), sink.clone(), places.clone());
                async move {
                    let read = async {
                        let report = JavaReport::parse(side, message.bytes())?;
                        let place =
                            places.of(&report).await.ok_or_else(|| format!("{} is no group of this environment", report.name))?;
                        Ok((report, place))
                    };
                    let read = read.await;
                    sink.push(lock(&board.applications).take_java(read, now_ms()).into_iter().collect());
                    Ok::<(), Infallible>(())
                }
            }
        };
        tokio::join!(
            consume(&zms, GROUP, ours),
            consume(&zms, Side::Producer.group(), java(Side::Producer)),
            consume(&zms, Side::Consumer.group(), java(Side::Consumer)),
        );
    }

    fn connect(&self, orders: &Current) -> Result<Zms, zms_sdk::Error> {
        let metadata = self.metadata;
        let secure = !metadata.authority.is_empty();
        let client = ClientFile {
            environment: None,
            zookeeper: metadata.addresses.clone(),
            authority: secure.then(|| metadata.authority.clone()),
            user: secure.then(|| metadata.login.user.clone()),
            password: secure.then(|| metadata.login.password.clone()),
        };
        // Without TLS in ZooKeeper nobody has said whom to trust; brokers with TLS are adopted then, and have their own.
        let (authority, waits) = (metadata.authority.clone(), Waits::default());
        let ways = Ways { orders: orders.clone(), authority, client_id: APPLICATION.to_owned(), deadline: waits.call };
        let mut builder = Zms::builder().application(APPLICATION).client(client).cache(self.folder.join("sdk")).waits(waits);
        if let Some(networks) = metadata.networks.clone() {
            builder = builder.networks(networks);
        }
        builder.brokers(Arc::new(ways)).without_statistics().connect()
    }
}

/// Hands messages of a group to a handler, until the future is dropped.
async fn consume<H, F>(zms: &Zms, group: &str, handler: H)
where
    H: Fn(Received) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), Infallible>> + Send + 'static,
{
    let mut news = News::default();
    loop {
        let begun = async { zms.consumer(group)?.handle(handler.clone()).await };
        match begun.await {
            Ok(consuming) => {
                tracing::info!(group, "reports of applications are read");
                // Until the future is dropped, and with it the client.
                std::future::pending::<()>().await;
                drop(consuming);
            }
            Err(error) => {
                // Until the environment has its first cluster there are no reports.
                if news.is_new(&error.to_string()) {
                    tracing::info!(group, why = %error, "reports of applications are not read yet");
                }
                sleep(AGAIN).await;
            }
        }
    }
}
