//! Every address of the portal; no other place writes one.

use std::fmt;

use crate::web::form::encode;

/// A page, a fragment or the target of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names and the addresses below say it")]
pub enum Link<'a> {
    Overview,
    Setup,
    SignIn,
    SignOut,
    Preferences,
    Users,
    Account,
    Invitation,
    EnvironmentNew,
    Environment(&'a str),
    EnvironmentEdit(&'a str),
    EnvironmentNetworks(&'a str),
    Hosts(&'a str),
    HostJoin(&'a str),
    Host(&'a str, &'a str),
    HostRevoke(&'a str, &'a str),
    HostRename(&'a str, &'a str),
    Services(&'a str),
    ServiceNew(&'a str, &'a str),
    Service(&'a str, &'a str, &'a str),
    Clusters(&'a str),
    Cluster(&'a str, &'a str),
    ClusterAdopt(&'a str),
    ClusterTab(&'a str, &'a str, &'a str),
    ClusterAct(&'a str, &'a str, &'a str),
    PhysicalTopic(&'a str, &'a str, &'a str),
    PhysicalGroup(&'a str, &'a str, &'a str),
    Topics(&'a str),
    Topic(&'a str, &'a str, &'a str),
    Groups(&'a str),
    Group(&'a str, &'a str),
    Requests,
    RequestNew(&'a str, &'a str),
    Request(i64),
    RequestAct(i64, &'a str),
    ClientFile(&'a str),
    Packages,
    Flow(&'a str),
    FlowSteps(&'a str),
    Audit,
    ApiDocs,
    OpenApi,
}

impl fmt::Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overview => f.write_str("/"),
            Self::Setup => f.write_str("/setup"),
            Self::SignIn => f.write_str("/login"),
            Self::SignOut => f.write_str("/logout"),
            Self::Preferences => f.write_str("/preferences"),
            Self::Users => f.write_str("/settings/users"),
            Self::Account => f.write_str("/settings/account"),
            Self::Invitation => f.write_str("/invite"),
            Self::EnvironmentNew => f.write_str("/environments/new"),
            Self::Environment(e) => write!(f, "/e/{}", encode(e)),
            Self::EnvironmentNetworks(e) => write!(f, "/e/{}/networks", encode(e)),
            Self::EnvironmentEdit(e) => write!(f, "/e/{}/edit", encode(e)),
            Self::Hosts(e) => write!(f, "/e/{}/hosts", encode(e)),
            Self::HostJoin(e) => write!(f, "/e/{}/hosts/join", encode(e)),
            Self::Host(e, id) => write!(f, "/e/{}/hosts/{}", encode(e), encode(id)),
            Self::HostRevoke(e, id) => write!(f, "/e/{}/hosts/{}/revoke", encode(e), encode(id)),
            Self::HostRename(e, id) => write!(f, "/e/{}/hosts/{}/rename", encode(e), encode(id)),
            Self::Services(e) => write!(f, "/e/{}/services", encode(e)),
            Self::ServiceNew(e, step) => write!(f, "/e/{}/services/new/{}", encode(e), encode(step)),
            Self::Service(e, service, tab) => write!(f, "/e/{}/services/{}/{}", encode(e), encode(service), encode(tab)),
            Self::Clusters(e) => write!(f, "/e/{}/clusters", encode(e)),
            Self::Cluster(e, name) => write!(f, "/e/{}/clusters/{}", encode(e), encode(name)),
            Self::ClusterAdopt(e) => write!(f, "/e/{}/clusters/adopt", encode(e)),
            Self::ClusterTab(e, name, tab) => write!(f, "/e/{}/clusters/{}/{}", encode(e), encode(name), encode(tab)),
            Self::ClusterAct(e, name, act) => write!(f, "/e/{}/clusters/{}/act/{}", encode(e), encode(name), encode(act)),
            Self::PhysicalTopic(e, name, topic) => {
                write!(f, "/e/{}/clusters/{}/topics/{}", encode(e), encode(name), encode(topic))
            }
            Self::PhysicalGroup(e, name, group) => {
                write!(f, "/e/{}/clusters/{}/groups/{}", encode(e), encode(name), encode(group))
            }
            Self::Topics(e) => write!(f, "/e/{}/topics", encode(e)),
            Self::Topic(e, name, tab) => write!(f, "/e/{}/topics/{}/{}", encode(e), encode(name), encode(tab)),
            Self::Groups(e) => write!(f, "/e/{}/groups", encode(e)),
            Self::Group(e, name) => write!(f, "/e/{}/groups/{}", encode(e), encode(name)),
            Self::Requests => f.write_str("/requests"),
            Self::RequestNew(e, kind) => write!(f, "/e/{}/requests/new/{}", encode(e), encode(kind)),
            Self::Request(number) => write!(f, "/requests/{number}"),
            Self::RequestAct(number, act) => write!(f, "/requests/{number}/{}", encode(act)),
            Self::ClientFile(e) => write!(f, "/e/{}/client-file", encode(e)),
            Self::Packages => f.write_str("/packages"),
            Self::Flow(id) => write!(f, "/flows/{}", encode(id)),
            Self::FlowSteps(id) => write!(f, "/flows/{}/steps", encode(id)),
            Self::Audit => f.write_str("/audit"),
            Self::ApiDocs => f.write_str("/docs/api"),
            Self::OpenApi => f.write_str("/api/v1/openapi.json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_place() {
        assert_eq!(Link::Service("dev", "a b/../c?x#y", "status").to_string(), "/e/dev/services/a%20b%2F..%2Fc%3Fx%23y/status");
    }
}
