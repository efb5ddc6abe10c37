//! SQL of services, their instances and the environments' stores.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use zms_core::host::{InstanceSpec, Phase};
use zms_core::names::{InstanceId, KindName, ServiceName};
use zms_core::package::PackageRef;

use super::flow::Placement;
use super::status::ActiveFlow;
use super::{PlacedRow, WantedInstance};
use crate::db::Tx;
use crate::error::Result;

/// A service as people decided it.
#[derive(Debug, Clone)]
pub(super) struct ServiceRow {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub settings: BTreeMap<String, String>,
    pub packages: Vec<PackageRef>,
    pub generated: BTreeMap<String, String>,
    pub created_by: String,
    pub created_at: i64,
}

/// An instance as it was last placed.
#[derive(Debug, Clone)]
pub(super) struct InstanceRow {
    pub id: String,
    pub service_id: String,
    pub host_id: String,
    pub node_id: i64,
    pub role: String,
    pub address: String,
    pub generated: BTreeMap<String, String>,
    pub settings: BTreeMap<String, String>,
    pub spec: InstanceSpec,
}

impl InstanceRow {
    pub fn name(&self) -> &str {
        self.spec.id.as_str()
    }
}

const SERVICE: &str = "select id, name, kind, settings, packages, generated, created_by, created_at from services";
const INSTANCE: &str =
    "select i.id, i.service_id, i.host_id, i.node_id, i.role, i.address, i.generated, i.settings, i.spec from instances i";

fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    Ok(serde_json::from_str(&row.try_get::<String, _>(column)?)?)
}

fn read_service(row: &AnyRow) -> Result<ServiceRow> {
    Ok(ServiceRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        kind: row.try_get("kind")?,
        settings: json(row, "settings")?,
        packages: json(row, "packages")?,
        generated: json(row, "generated")?,
        created_by: row.try_get("created_by")?,
        created_at: row.try_get("created_at")?,
    })
}

fn read_instance(row: &AnyRow) -> Result<InstanceRow> {
    Ok(InstanceRow {
        id: row.try_get("id")?,
        service_id: row.try_get("service_id")?,
        host_id: row.try_get("host_id")?,
        node_id: row.try_get("node_id")?,
        role: row.try_get("role")?,
        address: row.try_get("address")?,
        generated: json(row, "generated")?,
        settings: json(row, "settings")?,
        spec: json(row, "spec")?,
    })
}

fn sql(text: String) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(text)
}

/// Services of an environment, by name.
pub(super) async fn services<'e>(executor: impl Executor<'e, Database = Any>, environment_id: &str) -> Result<Vec<ServiceRow>> {
    let query =
        sqlx::query(sql(format!("{SERVICE} where environment_id = $1 order by name"))).bind(environment_id).fetch_all(executor);
    query.await?.iter().map(read_service).collect()
}

pub(super) async fn service<'e>(
    executor: impl Executor<'e, Database = Any>,
    environment_id: &str,
    name: &str,
) -> Result<ServiceRow> {
    let query = sqlx::query(sql(format!("{SERVICE} where environment_id = $1 and name = $2"))).bind(environment_id).bind(name);
    read_service(&query.fetch_one(executor).await?)
}

/// Instances of a service, by number.
pub(super) async fn instances<'e>(executor: impl Executor<'e, Database = Any>, service_id: &str) -> Result<Vec<InstanceRow>> {
    let query = sqlx::query(sql(format!("{INSTANCE} where i.service_id = $1 order by i.node_id"))).bind(service_id);
    query.fetch_all(executor).await?.iter().map(read_instance).collect()
}

/// Instances of all services of an environment, by service and number.
pub(super) async fn instances_of_environment<'e>(
    executor: impl Executor<'e, Database = Any>,
    environment_id: &str,
) -> Result<Vec<InstanceRow>> {
    let text =
        format!("{INSTANCE} join services s on s.id = i.service_id where s.environment_id = $1 order by i.service_id, i.node_id");
    sqlx::query(sql(text)).bind(environment_id).fetch_all(executor).await?.iter().map(read_instance).collect()
}

pub(super) async fn instance<'e>(executor: impl Executor<'e, Database = Any>, id: &str) -> Result<Option<InstanceRow>> {
    let row = sqlx::query(sql(format!("{INSTANCE} where i.id = $1"))).bind(id).fetch_optional(executor).await?;
    row.as_ref().map(read_instance).transpose()
}

/// The name is taken: [`crate::db::is_taken`].
pub(super) async fn insert_service(tx: &mut Tx, environment_id: &str, row: &ServiceRow) -> Result<(), sqlx::Error> {
    let text = "insert into services (id, environment_id, name, kind, settings, packages, generated, created_by, created_at) \
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    sqlx::query(text)
        .bind(row.id.as_str())
        .bind(environment_id)
        .bind(row.name.as_str())
        .bind(row.kind.as_str())
        .bind(to_json(&row.settings))
        .bind(to_json(&row.packages))
        .bind(to_json(&row.generated))
        .bind(row.created_by.as_str())
        .bind(row.created_at)
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn insert_instance(tx: &mut Tx, row: &InstanceRow) -> Result<()> {
    let text = "insert into instances (id, service_id, host_id, name, node_id, role, address, phase, restart, generated, settings, spec) \
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    sqlx::query(text)
        .bind(row.id.as_str())
        .bind(row.service_id.as_str())
        .bind(row.host_id.as_str())
        .bind(row.name())
        .bind(row.node_id)
        .bind(row.role.as_str())
        .bind(row.address.as_str())
        .bind(phase(row.spec.phase))
        .bind(i64::try_from(row.spec.body.restart).unwrap_or(i64::MAX))
        .bind(to_json(&row.generated))
        .bind(to_json(&row.settings))
        .bind(to_json(&row.spec))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Saves what an instance shall be from now on; false if there is no such instance any more.
pub(super) async fn place(tx: &mut Tx, placement: &Placement) -> Result<bool> {
    let query = sqlx::query("update instances set phase = $1, restart = $2, spec = $3 where id = $4")
        .bind(phase(placement.spec.phase))
        .bind(i64::try_from(placement.spec.body.restart).unwrap_or(i64::MAX))
        .bind(to_json(&placement.spec))
        .bind(placement.instance.as_str());
    Ok(query.execute(&mut **tx).await?.rows_affected() == 1)
}

pub(super) async fn save_settings(tx: &mut Tx, service_id: &str, settings: &BTreeMap<String, String>) -> Result<()> {
    let query = sqlx::query("update services set settings = $1 where id = $2").bind(to_json(settings)).bind(service_id);
    query.execute(&mut **tx).await?;
    Ok(())
}

/// Deletes a service with its instances; the ids of their hosts.
pub(super) async fn delete(tx: &mut Tx, service_id: &str) -> Result<Vec<String>> {
    let hosts = sqlx::query_scalar("select distinct host_id from instances where service_id = $1 order by host_id");
    let hosts = hosts.bind(service_id).fetch_all(&mut **tx).await?;
    for text in [
        "delete from environment_stores where service_id = $1",
        "delete from instances where service_id = $1",
        "delete from services where id = $1",
    ] {
        sqlx::query(text).bind(service_id).execute(&mut **tx).await?;
    }
    Ok(hosts)
}

/// Flows that hold services of an environment: resource and flow.
pub(super) async fn active_flows<'e>(
    executor: impl Executor<'e, Database = Any>,
    environment_id: &str,
) -> Result<Vec<(String, ActiveFlow)>> {
    let text =
        "select l.resource, f.id, f.kind from resource_locks l join flows f on f.id = l.flow_id where l.environment_id = $1";
    let rows = sqlx::query(text).bind(environment_id).fetch_all(executor).await?;
    let read = |row: &AnyRow| Ok((row.try_get("resource")?, ActiveFlow { id: row.try_get("id")?, kind: row.try_get("kind")? }));
    rows.iter().map(read).collect()
}

/// Environment, name and packages of every service.
pub(super) async fn packages_in_use<'e>(
    executor: impl Executor<'e, Database = Any>,
) -> Result<Vec<(String, String, Vec<PackageRef>)>> {
    let text = "select e.name as environment, s.name, s.packages from services s join environments e on e.id = s.environment_id \
                order by e.name, s.name";
    let rows = sqlx::query(text).fetch_all(executor).await?;
    rows.iter().map(|row| Ok((row.try_get("environment")?, row.try_get("name")?, json(row, "packages")?))).collect()
}

/// Purpose and service name of the stores of an environment.
pub(super) async fn stores<'e>(
    executor: impl Executor<'e, Database = Any>,
    environment_id: &str,
) -> Result<BTreeMap<String, String>> {
    let text =
        "select e.purpose, s.name from environment_stores e join services s on s.id = e.service_id where e.environment_id = $1";
    let rows = sqlx::query(text).bind(environment_id).fetch_all(executor).await?;
    rows.iter().map(|row| Ok((row.try_get("purpose")?, row.try_get("name")?))).collect()
}

/// Makes a service its environment's store for `purpose`, unless there is one.
pub(super) async fn add_store(tx: &mut Tx, service_id: &str, purpose: &str) -> Result<()> {
    let text = "insert into environment_stores (environment_id, purpose, service_id) \
                select environment_id, $1, id from services where id = $2 on conflict (environment_id, purpose) do nothing";
    sqlx::query(text).bind(purpose).bind(service_id).execute(&mut **tx).await?;
    Ok(())
}

pub(super) async fn placed<'e>(executor: impl Executor<'e, Database = Any>, environment_id: &str) -> Result<Vec<PlacedRow>> {
    let text = "select i.host_id, i.name as instance, i.node_id, s.name as service, s.kind from instances i \
                join services s on s.id = i.service_id where s.environment_id = $1 and i.phase <> 'absent' order by i.host_id, i.name";
    let rows = sqlx::query(text).bind(environment_id).fetch_all(executor).await?;
    let read = |row: &AnyRow| -> Result<PlacedRow> {
        let name = |column: &str| row.try_get::<String, _>(column);
        let wrong = |error: zms_core::names::NameError| anyhow::Error::new(error);
        Ok(PlacedRow {
            host_id: name("host_id")?,
            instance: InstanceId::new(name("instance")?).map_err(wrong)?,
            node_id: u32::try_from(row.try_get::<i64, _>("node_id")?).unwrap_or_default(),
            service: ServiceName::new(name("service")?).map_err(wrong)?,
            kind: KindName::new(name("kind")?).map_err(wrong)?,
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn wanted_instance<'e>(
    executor: impl Executor<'e, Database = Any>,
    uid: &str,
) -> Result<Option<WantedInstance>> {
    let text = "select s.kind, s.environment_id from instances i join services s on s.id = i.service_id \
                where i.id = $1 and i.phase <> 'absent'";
    let row = sqlx::query(text).bind(uid).fetch_optional(executor).await?;
    row.map(|row| Ok(WantedInstance { kind: row.try_get("kind")?, environment_id: row.try_get("environment_id")? })).transpose()
}

/// Chooses the store of an environment for `purpose`; none clears it.
pub(super) async fn choose_store(tx: &mut Tx, environment_id: &str, purpose: &str, service_id: Option<&str>) -> Result<()> {
    let delete = sqlx::query("delete from environment_stores where environment_id = $1 and purpose = $2");
    delete.bind(environment_id).bind(purpose).execute(&mut **tx).await?;
    match service_id {
        Some(service_id) => add_store(tx, service_id, purpose).await,
        None => Ok(()),
    }
}

/// Kind, name and environment of a service; `None` if it is gone.
pub(super) async fn kind_of(tx: &mut Tx, service_id: &str) -> Result<Option<(String, String, String)>> {
    let sql = "select kind, name, environment_id from services where id = $1";
    let row = sqlx::query(sql).bind(service_id).fetch_optional(&mut **tx).await?;
    row.map(|row| Ok((row.try_get("kind")?, row.try_get("name")?, row.try_get("environment_id")?))).transpose()
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Stopped => "stopped",
        Phase::Absent => "absent",
    }
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("these types have string keys only")
}
