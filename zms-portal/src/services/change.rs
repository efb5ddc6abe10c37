//! Other settings, and starts, stops and restarts.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest, Sha256};
use zms_core::host::{InstanceSpec, Phase};

use super::flow::{self, Change, Ending, Placement};
use super::plan::{self, Plan};
use super::status::report_of;
use super::store::{self, InstanceRow, ServiceRow};
use super::{decide, drain, place, resource, stored, target};
use crate::access::{Actor, Role};
use crate::app::App;
use crate::db::Tx;
use crate::engine::NewFlow;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::hosts::{self, HostRow, HostStatus};

/// What a person may do to what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// What is stopped shall run.
    Start,
    /// What runs shall stop; its data and configuration stay.
    Stop,
    /// What runs shall run anew.
    Restart,
}

impl Act {
    /// As it stands in the path and, behind `service.`, in the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    /// The other way round.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Restart].into_iter().find(|act| act.as_str() == text)
    }

    /// What becomes of an instance; `None` where it has nothing to do.
    fn apply(self, spec: &InstanceSpec) -> Option<InstanceSpec> {
        match (self, spec.phase) {
            (Self::Start, Phase::Stopped | Phase::Absent) => Some(InstanceSpec { phase: Phase::Running, ..spec.clone() }),
            (Self::Stop, Phase::Running) => Some(InstanceSpec { phase: Phase::Stopped, ..spec.clone() }),
            (Self::Restart, Phase::Running) => {
                let InstanceSpec { id, uid, kind, phase, mut body, .. } = spec.clone();
                body.restart += 1;
                Some(InstanceSpec::new(id, uid, kind, phase, body))
            }
            (Self::Start, Phase::Running) | (Self::Stop | Self::Restart, Phase::Stopped | Phase::Absent) => None,
        }
    }
}

/// Starts, stops or restarts a service or one instance of it; the id of the flow.
///
/// # Errors
/// [`Error::Conflict`] if there is nothing to do or another flow holds the service.
pub async fn act(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    service: &str,
    instance: Option<&str>,
    act: Act,
    now_ms: i64,
) -> Result<String> {
    let name = format!("service.{}", act.as_str());
    let target = match instance {
        None => target(environment, service),
        Some(instance) => format!("{}/instance/{instance}", target(environment, service)),
    };
    actor.require(&app.db, Role::Operator, &name, &target, now_ms).await?;
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let mut tx = app.db.begin().await?;
    let row = store::service(&mut *tx, &environment.id, service).await?;
    let rows = store::instances(&mut *tx, &row.id).await?;
    let chosen = || rows.iter().filter(|row| instance.is_none_or(|instance| row.name() == instance));
    if chosen().next().is_none() {
        return Err(Error::NotFound);
    }
    let placements: Vec<Placement> =
        chosen().filter_map(|row| Some(placement(environment, &hosts, row, act.apply(&row.spec)?))).collect();
    if placements.is_empty() {
        return Err(Error::conflict(move |m| match act {
            Act::Start => m.services_nothing_to_start().to_owned(),
            Act::Stop | Act::Restart => m.services_nothing_to_stop().to_owned(),
        }));
    }
    let batches = match act {
        // The members of a quorum come up together or not at all, and go down together too.
        Act::Start | Act::Stop => vec![placements],
        Act::Restart => one_after_another(placements, &rows, &hosts, now_ms),
    };
    let flow = start(app, &mut tx, actor, environment, &row, drained(batches, &rows), now_ms).await?;
    actor.record(&mut tx, &name, &target, json!({ "flow": flow }), now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

/// Other settings, and what would come of them.
#[derive(Debug)]
pub struct Proposal {
    /// What changes on each host; instances that stay as they are are left out.
    pub plan: Plan,
    /// Stands for exactly this change.
    pub fingerprint: String,
    pub(super) settings: BTreeMap<String, String>,
    pub(super) row: ServiceRow,
    pub(super) rows: Vec<InstanceRow>,
    pub(super) placements: Vec<Placement>,
}

/// What would come of setting `changes`; an empty value goes back to the default, keys that are not named stay.
pub async fn propose(
    app: &App,
    environment: &Environment,
    service: &str,
    changes: &BTreeMap<String, String>,
) -> Result<Proposal> {
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let mut connection = app.db.read().acquire().await?;
    let row = store::service(&mut *connection, &environment.id, service).await?;
    let rows = store::instances(&mut *connection, &row.id).await?;
    proposal(app, environment, row, rows, &hosts, changes)
}

fn proposal(
    app: &App,
    environment: &Environment,
    row: ServiceRow,
    rows: Vec<InstanceRow>,
    hosts: &[HostRow],
    changes: &BTreeMap<String, String>,
) -> Result<Proposal> {
    let mut settings = row.settings.clone();
    for (key, value) in changes {
        if value.trim().is_empty() {
            settings.remove(key);
        } else {
            settings.insert(key.clone(), value.clone());
        }
    }
    let Some(kind) = app.catalogue.find(&row.kind) else {
        let kind = row.kind.clone();
        return Err(Error::conflict(move |m| m.services_kind_gone(&kind)));
    };
    let mut service =
        stored::service(&row, &rows, hosts).ok_or_else(|| anyhow::anyhow!("service {}: its name is not one", row.name))?;
    service.settings.clone_from(&settings);
    let hosts_of_members: Vec<HostRow> =
        rows.iter().filter_map(|row| hosts.iter().find(|host| host.id == row.host_id).cloned()).collect();
    let planned = kind.plan(&service).map_err(|problems| {
        Error::Invalid(problems.iter().map(|problem| decide::of_catalogue(kind, &service, &hosts_of_members, problem)).collect())
    })?;
    let mut digest = Sha256::new();
    let (mut instances, mut placements) = (Vec::new(), Vec::new());
    for (instance, planned) in rows.iter().zip(planned) {
        if planned.spec.hash == instance.spec.hash {
            continue;
        }
        digest.update(planned.spec.hash.as_str());
        let host_name = hosts.iter().find(|host| host.id == instance.host_id).map_or("", |host| host.name.as_str());
        instances.push(plan::of_instance(
            &planned.spec,
            Some(&instance.spec),
            (&instance.host_id, host_name),
            planned.memory_mib,
        ));
        placements.push(placement(environment, hosts, instance, planned.spec));
    }
    let fingerprint = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(Proposal { plan: Plan { instances }, fingerprint, settings, row, rows, placements })
}

/// Saves other settings and brings them to the instances, one after another; the id of the flow, `None` if no instance changes.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong. [`Error::Conflict`] if `fingerprint` is given and what would come of it is not what it
/// stood for, or another flow holds the service.
pub async fn settings(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    service: &str,
    changes: &BTreeMap<String, String>,
    fingerprint: Option<&str>,
    now_ms: i64,
) -> Result<Option<String>> {
    let target = target(environment, service);
    actor.require(&app.db, Role::Operator, "service.settings", &target, now_ms).await?;
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let mut tx = app.db.begin().await?;
    let row = store::service(&mut *tx, &environment.id, service).await?;
    let rows = store::instances(&mut *tx, &row.id).await?;
    let Proposal { fingerprint: found, settings, row, rows, placements, .. } =
        proposal(app, environment, row, rows, &hosts, changes)?;
    if fingerprint.is_some_and(|seen| seen != found) {
        return Err(Error::conflict(|m| m.services_changed_meanwhile().to_owned()));
    }
    store::save_settings(&mut tx, &row.id, &settings).await?;
    let flow = if placements.is_empty() {
        None
    } else {
        let batches = one_after_another(placements, &rows, &hosts, now_ms);
        Some(start(app, &mut tx, actor, environment, &row, drained(batches, &rows), now_ms).await?)
    };
    let detail = json!({ "before": row.settings, "after": settings, "flow": flow });
    actor.record(&mut tx, "service.settings", &target, detail, now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    Ok(flow)
}

/// Instances that do not serve anyhow go first and together (a quorum that is down needs all of them), then the healthy ones one
/// by one, and those whose host is away last, so that they hold up nobody.
fn one_after_another(placements: Vec<Placement>, rows: &[InstanceRow], hosts: &[HostRow], now_ms: i64) -> Vec<Vec<Placement>> {
    let (mut first, mut healthy, mut away) = (Vec::new(), Vec::new(), Vec::new());
    for placement in placements {
        let host = hosts.iter().find(|host| host.id == placement.host);
        let row = rows.iter().find(|row| row.id == placement.instance);
        let is_done =
            |host: &HostRow| row.is_some_and(|row| report_of(host, &row.spec).is_some_and(|report| report.done_as(&row.spec)));
        match host {
            Some(host) if host.status(now_ms) == HostStatus::Online && is_done(host) => healthy.push(vec![placement]),
            Some(host) if host.status(now_ms) == HostStatus::Online => first.push(placement),
            Some(_) | None => away.push(placement),
        }
    }
    [vec![first], healthy, vec![away]].into_iter().flatten().filter(|batch| !batch.is_empty()).collect()
}

/// Masters that stop or are started anew while another one goes on are drained before.
fn drained(mut batches: Vec<Vec<Placement>>, rows: &[InstanceRow]) -> Vec<Vec<Placement>> {
    for batch in &mut batches {
        let serves = |row: &&InstanceRow| drain::takes_messages(row) && row.spec.phase == Phase::Running;
        let stays = |row: &&InstanceRow| !batch.iter().any(|placement| placement.instance == row.id);
        if !rows.iter().filter(serves).any(|row| stays(&row)) {
            continue;
        }
        let serving: Vec<&String> = rows.iter().filter(serves).map(|row| &row.id).collect();
        for placement in batch.iter_mut() {
            placement.drain = serving.contains(&&placement.instance);
        }
    }
    batches
}

/// `spec` for the instance of `row`.
pub(super) fn placement(environment: &Environment, hosts: &[HostRow], row: &InstanceRow, spec: InstanceSpec) -> Placement {
    let host = hosts.iter().find(|host| host.id == row.host_id).map_or(row.host_id.as_str(), |host| host.name.as_str());
    Placement { instance: row.id.clone(), host: row.host_id.clone(), place: place(environment, host), spec, drain: false }
}

async fn start(
    app: &App,
    tx: &mut Tx,
    actor: Actor<'_>,
    environment: &Environment,
    row: &ServiceRow,
    batches: Vec<Vec<Placement>>,
    now_ms: i64,
) -> Result<String> {
    let next = flow::begin(batches, Ending::Nothing);
    let resource = resource(&row.name);
    let new = NewFlow::<Change> {
        environment_id: Some(&environment.id),
        subject: &resource,
        lock: Some(&resource),
        state: next.state,
        effects: next.effects,
        by: &actor.user.name,
        now_ms,
    };
    app.engine.start::<Change>(tx, new).await
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
