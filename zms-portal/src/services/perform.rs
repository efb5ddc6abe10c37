//! Does the effects of a service's flows.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zms_core::catalogue::Secret;
use zms_core::host::{InstanceSpec, Phase};

use super::flow::{Awaited, Command, Effect, Placement};
use super::{drain, purpose_of, status, store};
use crate::app::{App, now_ms};
use crate::clusters;
use crate::db::Tx;
use crate::engine::{EffectContext, Machine, Outcome, Perform};
use crate::environments;
use crate::error::Error;
use crate::hosts::{self, HostRow, HostStatus};
use crate::metadata::{PublishError, Wanted};

/// An instance that is not ready is looked at again after this, milliseconds.
const LOOK_AGAIN_MS: i64 = 1000;

/// See the module.
pub(super) struct Performer(pub App);

impl<M: Machine<Command = Command, Effect = Effect>> Perform<M> for Performer {
    async fn perform(&self, context: &EffectContext, effect: &Effect) -> Outcome<Command> {
        let outcome = match effect {
            Effect::EnsureNoSends { instance, .. } => drain::perform(&self.0, context, instance).await,
            Effect::EnsureDesired { host, place, placements } => self.ensure_desired(host, place, placements).await,
            Effect::AwaitInstance(awaited) => self.await_instance(awaited, context.now_ms).await,
            Effect::EnsureStore { service } => self.ensure_store(service).await,
            Effect::EnsureRowsGone { service } => self.ensure_rows_gone(service).await,
        };
        outcome.unwrap_or_else(|error| Outcome::Failed(format!("{:#}", sentence(&error))))
    }
}

/// Of the portal's own failures; a person sees it beside the step, the log has the cause.
fn sentence(error: &Error) -> anyhow::Error {
    match error {
        Error::Internal(cause) => anyhow::anyhow!("{cause:#}"),
        other => anyhow::anyhow!("{} ({other:?})", other.status()),
    }
}

type Answer = Result<Outcome<Command>, Error>;

impl Performer {
    async fn ensure_desired(&self, host: &str, place: &str, placements: &[Placement]) -> Answer {
        let mut tx = self.0.db.begin().await?;
        for placement in placements {
            if !store::place(&mut tx, placement).await? {
                return Ok(Outcome::Done(Command::Superseded { why: format!("{} is not there any more", placement.spec.id) }));
            }
        }
        for placement in placements {
            self.ensure_certificate(&mut tx, &placement.spec).await?;
        }
        // Where collectors are concerns the agents of all hosts.
        let concerned = match placements.iter().find(|placement| placement.spec.kind.as_str() == "collector") {
            Some(_) => {
                let environment_id = hosts::environment_of(&self.0.db, host).await?;
                hosts::set_desired_of_environment(&mut tx, &self.0, &environment_id).await?
            }
            None => Vec::new(),
        };
        hosts::set_desired(&mut tx, &self.0, host).await?;
        tx.commit().await?;
        self.0.hub.wake(host);
        for host in &concerned {
            self.0.hub.wake(host);
        }
        Ok(Outcome::Done(Command::Placed { host: place.to_owned() }))
    }

    /// What the files of an instance name is there before its host asks for it.
    async fn ensure_certificate(&self, tx: &mut Tx, spec: &InstanceSpec) -> Result<(), Error> {
        let placeholder = Secret::Tls.placeholder(&spec.uid);
        if !spec.body.files.iter().any(|file| file.body.contains(&placeholder)) {
            return Ok(());
        }
        let names = spec.body.ports.iter().map(|port| port.address.clone()).collect();
        Ok(self.0.authority.ensure_instance(tx, &spec.uid, &names, now_ms()).await?)
    }

    async fn await_instance(&self, awaited: &Awaited, now_ms: i64) -> Answer {
        let reached = || Ok(Outcome::Done(Command::Reached { instance: awaited.name.clone() }));
        let row = store::instance(self.0.db.read(), &awaited.instance).await?;
        let Some(row) = row.filter(|row| row.spec.hash == awaited.hash && row.spec.phase == awaited.phase) else {
            return Ok(Outcome::Done(Command::Superseded {
                why: "something else was wanted of an instance meanwhile".to_owned(),
            }));
        };
        let host = hosts::find(&self.0.db, &awaited.host).await?;
        let report = status::report_of(&host, &row.spec);
        if report.is_some_and(|report| report.done_as(&row.spec)) {
            return reached();
        }
        // A host that was taken out of service will never say that the instance is gone.
        if host.status(now_ms) == HostStatus::Revoked && awaited.phase == Phase::Absent {
            return reached();
        }
        let at_work = match report {
            Some(report) if report.wanted_hash == row.spec.hash && report.wanted == row.spec.phase => {
                format!("{}: {}", status::step_name(report), report.message)
            }
            Some(_) | None => "the host has not taken it up yet".to_owned(),
        };
        let why = format!("{} on {}: {at_work}", row.name(), host.name);
        Ok(Outcome::Again { after_ms: LOOK_AGAIN_MS, why: with_absence(why, &host, now_ms) })
    }

    async fn ensure_store(&self, service: &str) -> Answer {
        let mut tx = self.0.db.begin().await?;
        if let Some((kind, name, environment_id)) = store::kind_of(&mut tx, service).await? {
            if let Some(purpose) = purpose_of(&kind) {
                store::add_store(&mut tx, service, purpose).await?;
            }
            let instances = store::instances(&mut *tx, service).await?;
            let ports = instances.iter().flat_map(|row| &row.spec.body.ports).collect();
            let new = clusters::NewService { id: service, name: &name, kind: &kind, environment_id: &environment_id, ports };
            clusters::begin(&self.0, &mut tx, &new, now_ms()).await?;
        }
        tx.commit().await?;
        self.0.engine.wake();
        Ok(Outcome::Done(Command::Finished))
    }

    async fn ensure_rows_gone(&self, service: &str) -> Answer {
        // Before the transaction: whatever is slow in one keeps everybody else from writing.
        let withdrawn = clusters::of_service(&self.0.db, service).await?.filter(|cluster| cluster.epoch > 0);
        if let Some(cluster) = &withdrawn {
            let environment = environments::by_id(&self.0.db, &cluster.environment_id).await?;
            match self.0.metadata.withdraw(&environment, &Wanted::NoCluster(cluster.name.clone())).await {
                Ok(()) => {}
                Err(PublishError::Passing(why)) => return Ok(Outcome::Again { after_ms: LOOK_AGAIN_MS, why }),
                // The row stays as long as the node does.
                Err(PublishError::Refused(why)) => return Ok(Outcome::Failed(why)),
            }
        }
        let mut tx = self.0.db.begin().await?;
        let forgotten = clusters::forget(&mut tx, service).await?;
        if withdrawn.is_none() && forgotten.is_some_and(|cluster| cluster.epoch > 0) {
            let why = "its cluster was published in this moment".to_owned();
            return Ok(Outcome::Again { after_ms: LOOK_AGAIN_MS, why });
        }
        let kind = store::kind_of(&mut tx, service).await?;
        let mut hosts = store::delete(&mut tx, service).await?;
        for host in &hosts {
            hosts::set_desired(&mut tx, &self.0, host).await?;
        }
        if let Some((_, _, environment_id)) = kind.filter(|(kind, _, _)| kind == "collector") {
            hosts = hosts::set_desired_of_environment(&mut tx, &self.0, &environment_id).await?;
        }
        tx.commit().await?;
        for host in &hosts {
            self.0.hub.wake(host);
        }
        Ok(Outcome::Done(Command::Finished))
    }
}

fn with_absence(why: String, host: &HostRow, now_ms: i64) -> String {
    match host.status(now_ms) {
        HostStatus::Online => why,
        HostStatus::Revoked => format!("{why}; the host was taken out of service"),
        HostStatus::Offline | HostStatus::Pending => match host.seen_at.and_then(rfc3339) {
            Some(seen) => format!("{why}; the host is offline since {seen}"),
            None => format!("{why}; the host was never heard of"),
        },
    }
}

fn rfc3339(at_ms: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(at_ms / 1000).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use crate::clusters::test_support::{Held, Stage, actor, until, user};
    use crate::metadata::external;

    /// A stage with a published cluster, and its service.
    async fn stage() -> (Stage, String) {
        let stage = Stage::set().await;
        // Never dialled: the stage has a store of its own. With none at all no node would matter.
        let plain = external::NewExternal { addresses: "10.0.0.1:2181".to_owned(), ..external::NewExternal::default() };
        let olga = user("olga", Role::Operator);
        external::choose(&stage.app, actor(&olga), &stage.environment, plain, now_ms()).await.unwrap();
        let service = stage.published().await.service_id.unwrap();
        (stage, service)
    }

    #[tokio::test]
    async fn while_the_metadata_is_slow_everybody_else_can_write() {
        let (stage, service) = stage().await;
        let held = Held::of(&stage.meta, "/zms/cluster/kafka");
        stage.app.metadata.with(&stage.environment.id, held.clone()).await;
        let performer = Performer(stage.app.clone());
        let removing = tokio::spawn(async move { performer.ensure_rows_gone(&service).await });
        until("the node is being taken away", async || held.waiting() == 1).await;
        let second = std::time::Duration::from_secs(1);
        let tx = tokio::time::timeout(second, stage.app.db.begin()).await.expect("somebody else holds the database").unwrap();
        tx.rollback().await.unwrap();
        held.release();
        assert_eq!(removing.await.unwrap().unwrap(), Outcome::Done(Command::Finished));
        assert_eq!(stage.node("/zms/cluster/kafka"), "");
    }

    #[tokio::test]
    async fn a_row_stays_as_long_as_its_node_and_the_step_says_why() {
        let (stage, service) = stage().await;
        let role = stage.node("/zms/system/role");
        stage.meta.put("/zms/system/role", role.replace("active", "standby"));
        let performer = Performer(stage.app.clone());
        let refused = performer.ensure_rows_gone(&service).await.unwrap();
        assert!(matches!(&refused, Outcome::Failed(why) if why.contains("standby")), "{refused:?}");
        assert!(clusters::of_service(&stage.app.db, &service).await.unwrap().is_some());
        stage.meta.put("/zms/system/role", role);
        assert_eq!(performer.ensure_rows_gone(&service).await.unwrap(), Outcome::Done(Command::Finished));
        assert!(clusters::of_service(&stage.app.db, &service).await.unwrap().is_none());
        assert_eq!(stage.node("/zms/cluster/kafka"), "");
    }
}
