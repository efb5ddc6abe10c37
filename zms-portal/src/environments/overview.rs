//! What environments look like now, and what a person should do next.

use std::collections::BTreeMap;

use super::Environment;
use crate::access::{Role, User};
use crate::app::App;
use crate::clusters::{self, Cluster};
use crate::error::{Result, Text};
use crate::hosts::{self, HostRow, HostStatus};
use crate::metadata::external;
use crate::metrics::Pulse;
use crate::services::{self, ServiceStatus, ServiceView};
use crate::web::links::Link;
use crate::web::messages::Messages;

/// One environment at a glance.
pub(super) struct Glance {
    pub environment: Environment,
    pub hosts: Vec<(HostRow, HostStatus)>,
    pub services: Vec<ServiceView>,
    /// Clusters that ZMS did not install.
    pub adopted: Vec<Cluster>,
    /// Service by purpose.
    pub stores: BTreeMap<String, String>,
    /// Addresses of the metadata store, if ZMS did not install it.
    pub external: Option<String>,
    /// What the collector last saw, and how many seconds ago that was; `None` when there is none, or it is silent.
    pub pulse: Option<(Pulse, i64)>,
}

impl Glance {
    pub async fn load(app: &App, environment: Environment, now_ms: i64) -> Result<Self> {
        let hosts = hosts::list(&app.db, &environment.id).await?;
        let hosts = hosts.into_iter().map(|host| {
            let status = host.status(now_ms);
            (host, status)
        });
        let hosts = hosts.filter(|(_, status)| *status != HostStatus::Revoked).collect();
        let services = services::list(app, &environment, now_ms).await?;
        let adopted = clusters::list(&app.db, &environment.id).await?.into_iter().filter(Cluster::is_adopted).collect();
        let stores = services::stores(app, &environment).await?;
        let external = external::find(&app.db, &environment.id).await?.map(|external| external.addresses);
        let told = app.metrics.snapshots.fresh(&environment.id, now_ms);
        let pulse = told.map(|told| (Pulse::of(&told.snapshot), (now_ms - told.at_ms) / 1000));
        Ok(Self { environment, hosts, services, adopted, stores, external, pulse })
    }

    pub fn online(&self) -> usize {
        self.count(HostStatus::Online)
    }

    pub fn offline(&self) -> usize {
        self.count(HostStatus::Offline)
    }

    pub fn pending(&self) -> usize {
        self.count(HostStatus::Pending)
    }

    fn count(&self, wanted: HostStatus) -> usize {
        self.hosts.iter().filter(|(_, status)| *status == wanted).count()
    }
}

/// The way from an empty portal to a first service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstSteps {
    pub environment: bool,
    pub host: bool,
    pub service: bool,
}

impl FirstSteps {
    /// `None` when all of them are done, for whoever adopted a cluster instead, or for a person who cannot do them.
    pub fn of(glances: &[Glance], user: &User) -> Option<Self> {
        let steps = Self {
            environment: !glances.is_empty(),
            host: glances.iter().any(|glance| !glance.hosts.is_empty()),
            service: glances.iter().any(|glance| !glance.services.is_empty()),
        };
        let adopted = glances.iter().any(|glance| !glance.adopted.is_empty());
        let done = adopted || steps.environment && steps.host && steps.service;
        (!done && user.may(Role::Operator)).then_some(steps)
    }
}

/// Something that waits for a person.
pub(super) struct Need {
    pub text: Text,
    pub link: String,
    /// Worse than something that could be better.
    pub urgent: bool,
}

impl Need {
    /// The sentence.
    pub fn say(&self, m: &Messages) -> String {
        self.text.say(*m)
    }
}

/// Everything that waits for a person in these environments, the urgent first.
pub(super) fn needs(glances: &[Glance]) -> Vec<Need> {
    let mut needs = Vec::new();
    for glance in glances {
        let env = &glance.environment.name;
        for (host, _) in glance.hosts.iter().filter(|(_, status)| *status == HostStatus::Offline) {
            let (place, link) = (format!("{env}/{}", host.name), Link::Host(env, &host.id).to_string());
            needs.push(Need { text: Text::new(move |m| m.environments_need_host(&place)), link, urgent: true });
        }
        for service in &glance.services {
            let place = format!("{env}/{}", service.name);
            let (healthy, wanted) = (service.healthy, service.wanted);
            let link = Link::Service(env, &service.name, "status").to_string();
            match service.status {
                ServiceStatus::Degraded | ServiceStatus::Failed => {
                    let text = Text::new(move |m| m.environments_need_service(&place, healthy, wanted));
                    needs.push(Need { text, link, urgent: true });
                }
                ServiceStatus::Stopped => {
                    needs.push(Need { text: Text::new(move |m| m.environments_need_start(&place)), link, urgent: false })
                }
                ServiceStatus::Healthy | ServiceStatus::Installing | ServiceStatus::Changing | ServiceStatus::Removing => {}
            }
        }
        if let Some((pulse, _)) = &glance.pulse {
            for (cluster, none, why) in pulse.silent.clone() {
                let (place, link) = (format!("{env}/{cluster}"), Link::Cluster(env, &cluster).to_string());
                let text = Text::new(move |m| {
                    if none { m.environments_need_cluster(&place, &why) } else { m.environments_need_broker(&place, &why) }
                });
                needs.push(Need { text, link, urgent: true });
            }
            let (offline, under, name) = (pulse.offline, pulse.under_replicated, env.clone());
            let link = Link::Clusters(env).to_string();
            if offline > 0 {
                needs.push(Need { text: Text::new(move |m| m.environments_need_leaders(&name, offline)), link, urgent: true });
            } else if under > 0 {
                needs.push(Need { text: Text::new(move |m| m.environments_need_replicas(&name, under)), link, urgent: false });
            }
        }
        let name = env.clone();
        // Whoever adopted what is there may need none.
        if glance.hosts.is_empty() && glance.adopted.is_empty() {
            let link = Link::HostJoin(env).to_string();
            needs.push(Need { text: Text::new(move |m| m.environments_need_hosts(&name)), link, urgent: false });
        } else if glance.services.is_empty() && !glance.hosts.is_empty() {
            let link = Link::ServiceNew(env, "kind").to_string();
            needs.push(Need { text: Text::new(move |m| m.environments_need_services(&name)), link, urgent: false });
        }
    }
    needs.sort_by_key(|need| !need.urgent);
    needs
}
