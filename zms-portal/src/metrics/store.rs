//! The InfluxDB of each environment: who may do what there, and that its database is as it should be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{StreamExt, stream};
use tokio::sync::{Mutex, watch};
use zms_core::collect::{Login, MetricStore as Order};
use zms_drivers::influx::{self, MetricAdmin, MetricError, MetricStore, Right};

use crate::access::token;
use crate::app::{App, now_ms};
use crate::error::{Error, Result, Text};
use crate::{environments, services};

/// The one database.
const DATABASE: &str = "zms";
/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at stores that are not as they should be.
const LOOK: Duration = Duration::from_secs(2);
/// Stores that are looked at side by side.
const AT_ONCE: usize = 16;

/// See the module; cheap to clone.
#[derive(Clone, Default)]
pub struct Stores(Arc<Mutex<BTreeMap<String, Opened>>>);

#[derive(Clone)]
struct Opened {
    url: String,
    reader: Arc<dyn MetricStore>,
    /// Users and database are there.
    prepared: bool,
    /// Why they are not.
    problem: String,
}

impl Stores {
    /// A store instead of the environment's own.
    #[cfg(test)]
    pub async fn with(&self, environment_id: &str, reader: Arc<dyn MetricStore>) {
        let opened = Opened { url: "fake".to_owned(), reader, prepared: true, problem: String::new() };
        self.0.lock().await.insert(environment_id.to_owned(), opened);
    }

    /// What collectors write to; `None` if the environment has no metric store.
    pub(super) async fn of_collectors(&self, app: &App, environment_id: &str) -> Result<Option<Order>> {
        let Some(url) = url(app, environment_id).await? else { return Ok(None) };
        let login = login(app, environment_id, "writer").await?;
        Ok(Some(Order { url, database: DATABASE.to_owned(), login }))
    }

    /// What charts are asked of.
    ///
    /// # Errors
    /// [`Error::Unavailable`] that says what to do when the environment has none, or why it cannot be used yet.
    pub async fn reader(&self, app: &App, environment_id: &str) -> Result<Arc<dyn MetricStore>> {
        let opened = self.open(app, environment_id).await?;
        let Some(opened) = opened else {
            return Err(Error::Unavailable(Text::new(|m| m.metrics_no_store().to_owned())));
        };
        if !opened.prepared {
            let why = opened.problem;
            return Err(Error::Unavailable(Text::new(move |m| m.metrics_not_prepared(&why))));
        }
        Ok(opened.reader)
    }

    async fn open(&self, app: &App, environment_id: &str) -> Result<Option<Opened>> {
        #[cfg(test)]
        if let Some(opened) = self.0.lock().await.get(environment_id).filter(|opened| opened.url == "fake") {
            return Ok(Some(opened.clone()));
        }
        let Some(url) = url(app, environment_id).await? else { return Ok(None) };
        if let Some(opened) = self.0.lock().await.get(environment_id).filter(|opened| opened.url == url) {
            return Ok(Some(opened.clone()));
        }
        let Login { user, password } = login(app, environment_id, "reader").await?;
        let store = influx::Store { url: url.clone(), database: DATABASE.to_owned(), user, password, deadline: DEADLINE };
        let reader = influx::store(&store).map_err(|error| anyhow::anyhow!("the metric store at {url}: {error}"))?;
        let opened = Opened { url, reader, prepared: false, problem: "it was not asked yet".to_owned() };
        self.0.lock().await.insert(environment_id.to_owned(), opened.clone());
        Ok(Some(opened))
    }

    /// It has to be looked at again: something of ours is missing there, such as after its data was lost.
    pub async fn doubt(&self, environment_id: &str) {
        if let Some(opened) = self.0.lock().await.get_mut(environment_id).filter(|opened| opened.url != "fake") {
            opened.prepared = false;
        }
    }

    /// Makes users and database of one environment's store, unless that was done.
    async fn prepare(&self, app: &App, environment_id: &str) -> Result<()> {
        let Some(opened) = self.open(app, environment_id).await?.filter(|opened| !opened.prepared) else { return Ok(()) };
        let done = ensure(app, environment_id, &opened.url).await?;
        let mut all = self.0.lock().await;
        let Some(known) = all.get_mut(environment_id).filter(|known| known.url == opened.url) else { return Ok(()) };
        match done {
            Ok(()) => {
                tracing::info!(url = opened.url, "the metric store is ready");
                known.prepared = true;
            }
            Err(error) => {
                let why = error.to_string();
                if known.problem != why {
                    tracing::warn!(url = opened.url, why, "the metric store is not ready");
                }
                known.problem = why;
            }
        }
        Ok(())
    }
}

/// Prepares metric stores as they come, until `stop` says so. Every portal may do it: each step looks first.
pub async fn keep(app: App, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(error) = look(&app).await {
            tracing::warn!(?error, "metric stores cannot be looked at");
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Side by side: an InfluxDB that does not answer costs the others nothing.
async fn look(app: &App) -> Result<()> {
    let looks = environments::list(&app.db).await?.into_iter().map(|environment| async move {
        if let Err(error) = app.metrics.stores.prepare(app, &environment.id).await {
            tracing::warn!(environment = environment.name, ?error, "the metric store cannot be looked at");
        }
    });
    stream::iter(looks).for_each_concurrent(AT_ONCE, |look| look).await;
    Ok(())
}

async fn ensure(app: &App, environment_id: &str, url: &str) -> Result<std::result::Result<(), MetricError>> {
    let [administrator, writer, reader] = [
        login(app, environment_id, "administrator").await?,
        login(app, environment_id, "writer").await?,
        login(app, environment_id, "reader").await?,
    ];
    let work = async {
        let admin: Arc<dyn MetricAdmin> = influx::admin(url, &administrator.user, &administrator.password, DEADLINE)?;
        admin.ensure_administrator().await?;
        admin.ensure_database(DATABASE).await?;
        admin.ensure_user(&writer.user, &writer.password, DATABASE, Right::Write).await?;
        admin.ensure_user(&reader.user, &reader.password, DATABASE, Right::Read).await
    };
    Ok(work.await)
}

/// Where it is; the first host's, if it has several: each host holds data of its own.
async fn url(app: &App, environment_id: &str) -> Result<Option<String>> {
    let instances = services::instances_of_store(&app.db, environment_id, "metrics").await?;
    let port = instances.first().and_then(|spec| spec.body.ports.iter().find(|port| port.name == "http"));
    Ok(port.map(|port| format!("http://{}", port.socket())))
}

/// Name and password of somebody in an environment's metric store; made when first asked for.
async fn login(app: &App, environment_id: &str, who: &str) -> Result<Login> {
    let reference = format!("metrics/{environment_id}/{who}");
    let password = app.vault.get_or_make(&reference, || URL_SAFE_NO_PAD.encode(token::random::<24>()), now_ms()).await?;
    Ok(Login { user: format!("zms-{who}"), password })
}
