//! A new service: from a wish to a running flow.

use serde_json::json;
use zms_core::catalogue::Planned;

use super::decide::{self, Decided, Known};
use super::flow::{self, Ending, Install, Placement};
use super::plan::{self, Plan};
use super::preflight::{self, Checked};
use super::store::{self, InstanceRow, ServiceRow};
use super::wish::Wish;
use super::{memory, place, resource, target};
use crate::access::{Actor, Role};
use crate::app::{App, new_id};
use crate::clusters;
use crate::db::is_taken;
use crate::engine::NewFlow;
use crate::environments::Environment;
use crate::error::{Error, Problem, Result};
use crate::hosts;
use zms_core::host::Level;

/// Everything that can be said of a wish without changing anything.
pub(super) struct Looked {
    pub decided: Decided,
    pub checks: Vec<Checked>,
}

/// Is the wish right? The problems otherwise.
pub(super) async fn decide(
    app: &App,
    environment: &Environment,
    wish: &Wish,
    now_ms: i64,
) -> Result<Result<Decided, Vec<Problem>>> {
    let hosts = hosts::list(&app.db, &environment.id).await?;
    let mut taken: Vec<String> = store::services(app.db.read(), &environment.id).await?.into_iter().map(|row| row.name).collect();
    // A service of brokers is a cluster of the same name.
    taken.extend(clusters::list(&app.db, &environment.id).await?.into_iter().map(|cluster| cluster.name.to_string()));
    let known = Known { catalogue: &app.catalogue, stock: &app.stock, hosts: &hosts, taken: &taken, now_ms };
    Ok(decide::decide(&known, wish))
}

/// Asks the hosts.
pub(super) async fn preflight(app: &App, environment: &Environment, decided: &Decided) -> Result<Vec<Checked>> {
    let in_use = memory::in_use(app, environment).await?;
    Ok(preflight::run(app, decided, &in_use).await)
}

/// What would be done.
pub(super) fn plan(decided: &Decided) -> Plan {
    let instances = decided.planned.iter().zip(&decided.hosts);
    let of = |(planned, host): (&Planned, &hosts::HostRow)| {
        plan::of_instance(&planned.spec, None, (&host.id, &host.name), planned.memory_mib)
    };
    Plan { instances: instances.map(of).collect() }
}

/// Decides and asks the hosts, for a person who may install.
pub(super) async fn look(app: &App, actor: Actor<'_>, environment: &Environment, wish: &mut Wish, now_ms: i64) -> Result<Looked> {
    actor.require(&app.db, Role::Operator, "service.plan", &target(environment, &wish.name), now_ms).await?;
    if let Some(kind) = app.catalogue.find(&wish.kind) {
        wish.generate(kind);
    }
    let decided = decide(app, environment, wish, now_ms).await?.map_err(Error::Invalid)?;
    let checks = preflight(app, environment, &decided).await?;
    Ok(Looked { decided, checks })
}

/// Installs; the id of the flow. Hosts are asked again: much may have happened since a person looked.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong, a failed check under `preflight`, an unaccepted warning under `accept_warnings`.
pub async fn install(app: &App, actor: Actor<'_>, environment: &Environment, mut wish: Wish, now_ms: i64) -> Result<String> {
    actor.require(&app.db, Role::Operator, "service.install", &target(environment, &wish.name), now_ms).await?;
    let looked = look(app, actor, environment, &mut wish, now_ms).await?;
    let objections = objections(&looked.checks, wish.accept_warnings);
    if !objections.is_empty() {
        return Err(Error::Invalid(objections));
    }
    begin(app, actor, environment, &wish.kind, looked.decided, now_ms).await
}

/// Saves what was decided and begins to bring it about; the id of the flow.
pub(super) async fn begin(
    app: &App,
    actor: Actor<'_>,
    environment: &Environment,
    kind: &str,
    decided: Decided,
    now_ms: i64,
) -> Result<String> {
    let Decided { service, planned, hosts } = decided;
    let target = target(environment, service.name.as_str());
    let row = ServiceRow {
        id: new_id(),
        name: service.name.to_string(),
        kind: kind.to_owned(),
        settings: service.settings,
        packages: service.packages,
        generated: service.generated,
        created_by: actor.user.name.clone(),
        created_at: now_ms,
    };
    let mut tx = app.db.begin().await?;
    store::insert_service(&mut tx, &environment.id, &row).await.map_err(|error| name_taken(error, &row.name))?;
    let mut batch = Vec::new();
    for ((planned, member), host) in planned.into_iter().zip(service.members).zip(&hosts) {
        let instance = InstanceRow {
            id: member.uid,
            service_id: row.id.clone(),
            host_id: host.id.clone(),
            node_id: member.node_id.into(),
            role: planned.role.unwrap_or_default(),
            address: member.address,
            generated: member.generated,
            settings: member.settings,
            spec: planned.spec,
        };
        store::insert_instance(&mut tx, &instance).await?;
        let place = place(environment, &host.name);
        batch.push(Placement { instance: instance.id, host: instance.host_id, place, spec: instance.spec, drain: false });
    }
    let next = flow::begin(vec![batch], Ending::RecordStore { service: row.id.clone() });
    let resource = resource(&row.name);
    let new = NewFlow::<Install> {
        environment_id: Some(&environment.id),
        subject: &resource,
        lock: Some(&resource),
        state: next.state,
        effects: next.effects,
        by: &actor.user.name,
        now_ms,
    };
    let flow = app.engine.start::<Install>(&mut tx, new).await?;
    let detail = json!({
        "kind": row.kind,
        "packages": row.packages.iter().map(|package| format!("{} {}", package.name, package.version)).collect::<Vec<_>>(),
        "hosts": hosts.iter().map(|host| host.name.as_str()).collect::<std::collections::BTreeSet<_>>(),
        "settings": row.settings,
        "flow": flow,
    });
    actor.record(&mut tx, "service.install", &target, detail, now_ms).await?;
    tx.commit().await?;
    app.engine.wake();
    tracing::info!(service = row.name, environment = environment.name, flow, "installation begins");
    Ok(flow)
}

/// What the checks have against it.
pub(super) fn objections(checks: &[Checked], accept_warnings: bool) -> Vec<Problem> {
    let failed = checks.iter().filter(|check| check.level == Level::Fail).map(|check| {
        let (instance, text) = (check.instance.clone(), check.text.clone());
        Problem::new("preflight", move |m| format!("{instance}: {}", text.say(m)))
    });
    let mut problems: Vec<Problem> = failed.collect();
    if !accept_warnings && checks.iter().any(|check| check.level == Level::Warn) {
        problems.push(Problem::new("accept_warnings", |m| m.services_accept_warnings_first().to_owned()));
    }
    problems
}

fn name_taken(error: sqlx::Error, name: &str) -> Error {
    if is_taken(&error) {
        let name = name.to_owned();
        return Error::invalid("name", move |m| m.services_name_taken(&name));
    }
    error.into()
}
