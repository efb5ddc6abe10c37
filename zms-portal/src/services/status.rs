//! How a service is, from what people decided and what its hosts last reported. Pure.

use serde::Serialize;
use zms_core::host::{Health, InstanceReport, InstanceSpec, Phase};

use super::store::{InstanceRow, ServiceRow};
use crate::hosts::{HostRow, HostStatus};

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStatus {
    /// Every instance that should run is healthy.
    Healthy,
    /// Some are not.
    Degraded,
    /// Its installation is under way.
    Installing,
    /// A change, start or stop is under way and not everything is healthy.
    Changing,
    /// It is being taken away.
    Removing,
    /// Nothing of it should run.
    Stopped,
    /// Nothing that should run is healthy.
    Failed,
}

/// A flow that holds a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ActiveFlow {
    /// Its id.
    pub id: String,
    /// For example `service.install`.
    pub kind: String,
}

/// A service as it is now.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Version of the server.
    pub version: String,
    /// How it is.
    pub status: ServiceStatus,
    /// Instances that are healthy.
    pub healthy: usize,
    /// Instances that should run.
    pub wanted: usize,
    /// By number.
    pub instances: Vec<InstanceView>,
    /// What is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<ActiveFlow>,
    /// Who installed it.
    pub created_by: String,
    /// When, milliseconds since 1970.
    pub created_at: i64,
}

/// An instance as it is now.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct InstanceView {
    /// Its name.
    pub name: String,
    /// Id of its host.
    pub host: String,
    /// Name of its host.
    pub host_name: String,
    /// Is the host heard of?
    pub host_online: bool,
    /// When the host was last heard of, milliseconds since 1970.
    pub host_seen_at: Option<i64>,
    /// Where the others reach it.
    pub address: String,
    /// Its role; empty where all are alike.
    pub role: String,
    /// `running`, `stopped` or `absent`.
    pub wanted: String,
    /// How it is.
    pub state: InstanceState,
    /// What its agent does about it.
    pub step: String,
    /// Why it is not done, by its agent.
    pub message: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Does supervisord watch the process?
    pub supervised: bool,
    /// Starts that failed in a row.
    pub failures: u32,
}

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// It runs what is wanted, and answers as it should.
    Healthy,
    /// It should not run, and does not.
    Stopped,
    /// It is gone.
    Gone,
    /// Its agent is at work.
    Working,
    /// It runs and does not answer as it should.
    Unhealthy,
    /// Its host is not heard of: how it is now is not known.
    Unknown,
}

/// The instance's part of what its host last reported.
pub(super) fn report_of<'h>(host: &'h HostRow, spec: &InstanceSpec) -> Option<&'h InstanceReport> {
    host.report.as_ref()?.instances.iter().find(|report| report.id == spec.id)
}

/// Puts a service together with its hosts' reports.
pub(super) fn view(
    service: &ServiceRow,
    instances: &[&InstanceRow],
    hosts: &[HostRow],
    flow: Option<ActiveFlow>,
    now_ms: i64,
) -> ServiceView {
    let host_of = |row: &InstanceRow| hosts.iter().find(|host| host.id == row.host_id);
    let instances: Vec<InstanceView> = instances.iter().map(|row| instance_view(row, host_of(row), now_ms)).collect();
    let healthy = instances.iter().filter(|instance| instance.state == InstanceState::Healthy).count();
    let wanted = instances.iter().filter(|instance| instance.wanted == "running").count();
    ServiceView {
        name: service.name.clone(),
        kind: service.kind.clone(),
        version: service.packages.first().map(|package| package.version.to_string()).unwrap_or_default(),
        status: status(flow.as_ref().map(|flow| flow.kind.as_str()), healthy, wanted),
        healthy,
        wanted,
        instances,
        flow,
        created_by: service.created_by.clone(),
        created_at: service.created_at,
    }
}

fn status(flow: Option<&str>, healthy: usize, wanted: usize) -> ServiceStatus {
    match flow {
        Some("service.remove") => return ServiceStatus::Removing,
        Some("service.install") if healthy < wanted => return ServiceStatus::Installing,
        Some(_) if healthy < wanted => return ServiceStatus::Changing,
        Some(_) | None => {}
    }
    match (healthy, wanted) {
        (_, 0) => ServiceStatus::Stopped,
        (healthy, wanted) if healthy == wanted => ServiceStatus::Healthy,
        (0, _) => ServiceStatus::Failed,
        (_, _) => ServiceStatus::Degraded,
    }
}

fn instance_view(row: &InstanceRow, host: Option<&HostRow>, now_ms: i64) -> InstanceView {
    let report = host.and_then(|host| report_of(host, &row.spec));
    let online = host.is_some_and(|host| host.status(now_ms) == HostStatus::Online);
    InstanceView {
        name: row.name().to_owned(),
        host: row.host_id.clone(),
        host_name: host.map(|host| host.name.clone()).unwrap_or_default(),
        host_online: online,
        host_seen_at: host.and_then(|host| host.seen_at),
        address: row.address.clone(),
        role: row.role.clone(),
        wanted: format!("{:?}", row.spec.phase).to_lowercase(),
        state: instance_state(&row.spec, report, online),
        step: report.map(step_name).unwrap_or_default(),
        message: report.map(|report| report.message.clone()).unwrap_or_default(),
        pid: report.and_then(|report| report.pid),
        supervised: report.is_some_and(|report| report.supervised),
        failures: report.map_or(0, |report| report.failures),
    }
}

/// The step as it is written in JSON.
pub(super) fn step_name(report: &InstanceReport) -> String {
    serde_json::to_value(report.step).ok().and_then(|step| step.as_str().map(str::to_owned)).unwrap_or_default()
}

fn instance_state(spec: &InstanceSpec, report: Option<&InstanceReport>, online: bool) -> InstanceState {
    if !online {
        return InstanceState::Unknown;
    }
    let Some(report) = report else { return InstanceState::Working };
    if report.done_as(spec) {
        return match spec.phase {
            Phase::Running => InstanceState::Healthy,
            Phase::Stopped => InstanceState::Stopped,
            Phase::Absent => InstanceState::Gone,
        };
    }
    match &report.health {
        Health::NotYet { .. } if report.failures > 0 => InstanceState::Unhealthy,
        Health::NotYet { .. } | Health::Unknown | Health::Healthy => InstanceState::Working,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::test_support::{report, spec};

    #[test]
    fn a_service_is_what_its_instances_are_and_what_is_done_to_it() {
        for (flow, healthy, wanted, expected) in [
            (None, 3, 3, ServiceStatus::Healthy),
            (None, 2, 3, ServiceStatus::Degraded),
            (None, 0, 3, ServiceStatus::Failed),
            (None, 0, 0, ServiceStatus::Stopped),
            (Some("service.install"), 2, 3, ServiceStatus::Installing),
            (Some("service.install"), 3, 3, ServiceStatus::Healthy),
            (Some("service.change"), 2, 3, ServiceStatus::Changing),
            (Some("service.change"), 0, 0, ServiceStatus::Stopped),
            (Some("service.remove"), 0, 0, ServiceStatus::Removing),
        ] {
            assert_eq!(status(flow, healthy, wanted), expected, "{flow:?} {healthy} of {wanted}");
        }
    }

    #[test]
    fn an_instance_is_healthy_only_as_it_is_wanted_now_and_only_while_its_host_is_heard_of() {
        let running = spec("a-1", Phase::Running, 2181);
        let other = spec("a-1", Phase::Running, 2182);
        let stopped = spec("a-1", Phase::Stopped, 2181);
        let mut failing = report(&running, false);
        failing.failures = 3;
        for (spec, report, online, expected) in [
            (&running, Some(report(&running, true)), true, InstanceState::Healthy),
            (&running, Some(report(&other, true)), true, InstanceState::Working),
            (&running, Some(report(&running, false)), true, InstanceState::Working),
            (&running, Some(failing), true, InstanceState::Unhealthy),
            (&running, Some(report(&running, true)), false, InstanceState::Unknown),
            (&running, None, true, InstanceState::Working),
            (&stopped, Some(report(&stopped, true)), true, InstanceState::Stopped),
            (&stopped, Some(report(&running, true)), true, InstanceState::Working),
        ] {
            assert_eq!(instance_state(spec, report.as_ref(), online), expected, "{report:?} {online}");
        }
    }
}
