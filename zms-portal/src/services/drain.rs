//! Before a broker of RocketMQ stops while others go on: its clients are told to send to those. Brokers of Kafka hand over what they lead
//! when they are told to stop.

use zms_drivers::broker::{BrokerError, BrokerId, Ensured};

use super::flow::Command;
use super::store::{self, InstanceRow};
use crate::app::App;
use crate::clusters;
use crate::engine::{EffectContext, Outcome};
use crate::error::Error;

/// A broker that cannot be told so within this time, milliseconds, is stopped without: whoever stops a broker may do it because it is ill.
const PATIENCE_MS: i64 = 60_000;
/// It is tried again after this, milliseconds.
const TRY_AGAIN_MS: i64 = 2000;

/// Do clients send to it, and know of others?
pub(super) fn takes_messages(row: &InstanceRow) -> bool {
    row.spec.kind.as_str() == "rocketmq" && row.role == "master"
}

/// See the module. It is done when the broker said so already: between the two looks clients asked for routes.
pub(super) async fn perform(app: &App, context: &EffectContext, instance: &str) -> Result<Outcome<Command>, Error> {
    let Some(row) = store::instance(app.db.read(), instance).await? else {
        return Ok(Outcome::Done(Command::Superseded { why: "an instance is not there any more".to_owned() }));
    };
    let drained = || Ok(Outcome::Done(Command::Drained { instance: row.spec.id.clone() }));
    // One that never was a cluster has no clients.
    let Some(cluster) = clusters::of_service(&app.db, &row.service_id).await? else { return drained() };
    // Its broker is called as it is.
    let broker = BrokerId::named(row.name(), 0);
    let told = match app.brokers.admin(&cluster) {
        Ok(admin) => admin.ensure_no_sends(&broker).await,
        Err(error) => Err(error),
    };
    match told {
        Ok(Ensured::There) | Err(BrokerError::Missing { .. }) => drained(),
        Ok(Ensured::Made) => {
            let wait = app.brokers.routes_known();
            let why = format!("broker {broker} takes no new messages; clients hear it within {} s", wait.as_secs());
            Ok(Outcome::Again { after_ms: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX), why })
        }
        Err(error) if context.now_ms - context.created_ms < PATIENCE_MS => {
            Ok(Outcome::Again { after_ms: TRY_AGAIN_MS, why: error.to_string() })
        }
        Err(error) => {
            tracing::warn!(%error, %broker, cluster = %cluster.name, "clients could not be told to send elsewhere; the broker is stopped nevertheless");
            drained()
        }
    }
}
