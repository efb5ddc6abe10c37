//! Rows become what the catalogue renders from.

use zms_core::catalogue::{Member, Service};
use zms_core::names::ServiceName;

use super::store::{InstanceRow, ServiceRow};
use crate::hosts::HostRow;

/// The service as it was decided; `None` if the row's name is not one (which only a hand in the database can bring about).
pub(super) fn service(row: &ServiceRow, instances: &[InstanceRow], hosts: &[HostRow]) -> Option<Service> {
    let member = |instance: &InstanceRow| Member {
        instance: instance.spec.id.clone(),
        uid: instance.spec.uid.clone(),
        node_id: i32::try_from(instance.node_id).unwrap_or(i32::MAX),
        address: instance.address.clone(),
        memory_mib: hosts.iter().find(|host| host.id == instance.host_id).map_or(0, |host| host.facts.memory_mib),
        phase: instance.spec.phase,
        restart: instance.spec.body.restart,
        role: Some(instance.role.clone()).filter(|role| !role.is_empty()),
        generated: instance.generated.clone(),
        settings: instance.settings.clone(),
    };
    Some(Service {
        name: ServiceName::new(row.name.as_str()).ok()?,
        packages: row.packages.clone(),
        settings: row.settings.clone(),
        members: instances.iter().map(member).collect(),
        generated: row.generated.clone(),
    })
}
