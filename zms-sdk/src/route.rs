//! Where a topic is written and read: the only place that decides it, from what is known and what was read. Pure.

use zms_core::metadata::{BrokerKind, ClusterNode, Order, Route, TopicNode};
use zms_core::names::{ClusterName, PhysicalName};

/// One place of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Names the route within its topic; empty while there is only one.
    pub rid: String,
    /// On which cluster.
    pub cluster: ClusterName,
    /// The topic's name there.
    pub name: PhysicalName,
    /// What runs there; `None`: as the cluster's own node says.
    pub kind: Option<BrokerKind>,
}

/// What to do with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Messages go there.
    pub write: Place,
    /// Messages come from there, from each of them.
    pub read: Vec<Place>,
}

/// What is followed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Id of the environment that it is from; empty in a tree that has none.
    pub environment: String,
    /// Which value it was.
    pub order: Order,
    /// What it says.
    pub plan: Plan,
}

/// What becomes of a value that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is followed from now on.
    Take(Known),
    /// It says what is followed already.
    Same,
    /// It is older than what is followed: a lagging server, or a portal with a restored database.
    Older,
    /// It says nothing that could be followed.
    Unusable(&'static str),
}

/// Decides about a topic's node, whatever source it is from. In one environment only a value of the same or a higher order counts; another environment
/// begins anew. Nodes of the first ZMS have no order: of those the last one read counts.
pub fn decide(topic: &PhysicalName, known: Option<&Known>, environment: &str, node: &TopicNode) -> Verdict {
    let before = known.filter(|known| known.environment == environment);
    if before.is_some_and(|before| node.order < before.order) {
        return Verdict::Older;
    }
    let plan = match plan(topic, node) {
        Ok(plan) => plan,
        Err(why) => return Verdict::Unusable(why),
    };
    let taken = Known { environment: environment.to_owned(), order: node.order, plan };
    if known == Some(&taken) { Verdict::Same } else { Verdict::Take(taken) }
}

fn plan(topic: &PhysicalName, node: &TopicNode) -> Result<Plan, &'static str> {
    if node.routes.is_empty() {
        let only = Place { rid: String::new(), cluster: node.cluster.clone(), name: topic.clone(), kind: None };
        return Ok(Plan { write: only.clone(), read: vec![only] });
    }
    let place = |route: &Route| {
        let Route { rid, cluster, name, kind, .. } = route;
        Place { rid: rid.clone(), cluster: cluster.clone(), name: name.clone(), kind: Some(*kind) }
    };
    // The first one: while writers are switched there is exactly one, and the portal puts the preferred one first.
    let write = node.routes.iter().find(|route| route.write).map(place).ok_or("no route is written")?;
    let mut read: Vec<Place> = Vec::new();
    for place in node.routes.iter().filter(|route| route.read).map(place) {
        if read.iter().any(|other| (&other.cluster, &other.name) == (&place.cluster, &place.name)) {
            return Err("two routes read the same topic of the same cluster");
        }
        read.push(place);
    }
    if read.is_empty() {
        return Err("no route is read");
    }
    Ok(Plan { write, read })
}

/// The same for a cluster's node, which has an epoch and no term: whether it is followed from now on.
pub fn newer(known: Option<&ClusterNode>, read: &ClusterNode) -> bool {
    known.is_none_or(|known| read.epoch >= known.epoch && read != known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> PhysicalName {
        PhysicalName::new(text).unwrap()
    }

    fn cluster(text: &str) -> ClusterName {
        ClusterName::new(text).unwrap()
    }

    fn node(at: &str, term: u64, epoch: u64) -> TopicNode {
        TopicNode::new(cluster(at), Order { term, epoch })
    }

    fn route(rid: &str, at: &str, read: bool, write: bool) -> Route {
        Route {
            rid: rid.into(),
            cluster: cluster(at),
            kind: BrokerKind::Kafka,
            name: name("orders"),
            read,
            write,
            gate: None,
            end: None,
        }
    }

    fn with(routes: &[Route]) -> TopicNode {
        let mut node = node("a", 1, 9);
        node.routes = routes.to_vec();
        node
    }

    fn followed(known: &Known) -> (String, Vec<String>) {
        (known.plan.write.cluster.to_string(), known.plan.read.iter().map(|place| place.cluster.to_string()).collect())
    }

    fn take(known: Option<&Known>, environment: &str, node: &TopicNode) -> Known {
        match decide(&name("orders"), known, environment, node) {
            Verdict::Take(known) => known,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_routes_a_topic_lives_on_its_cluster_under_its_own_name() {
        let known = take(None, "e", &node("a", 0, 0));
        assert_eq!(followed(&known), ("a".into(), vec!["a".into()]));
        assert_eq!(known.plan.write.name, name("orders"));
    }

    #[test]
    fn routes_say_where_it_is_written_and_read_through_a_whole_migration() {
        let table: [(&[Route], &str, &[&str]); 4] = [
            (&[route("r1", "a", true, true)], "a", &["a"]),
            (&[route("r1", "a", true, true), route("r2", "b", true, false)], "a", &["a", "b"]),
            (&[route("r1", "a", true, false), route("r2", "b", true, true)], "b", &["a", "b"]),
            (&[route("r1", "a", false, false), route("r2", "b", true, true)], "b", &["b"]),
        ];
        for (routes, write, read) in table {
            let known = take(None, "e", &with(routes));
            assert_eq!(followed(&known), (write.to_owned(), read.iter().map(|at| (*at).to_owned()).collect()), "{routes:?}");
        }
    }

    #[test]
    fn routes_that_say_nothing_to_follow_leave_what_is_known() {
        for routes in [
            vec![route("r1", "a", true, false)],
            vec![route("r1", "a", false, true)],
            vec![route("r1", "a", true, true), route("r2", "a", true, false)],
        ] {
            assert!(matches!(decide(&name("orders"), None, "e", &with(&routes)), Verdict::Unusable(_)), "{routes:?}");
        }
    }

    #[test]
    fn a_value_counts_by_environment_then_term_then_epoch() {
        let known = take(None, "e", &node("a", 2, 5));
        let verdict = |environment: &str, node: &TopicNode| decide(&name("orders"), Some(&known), environment, node);
        assert_eq!(verdict("e", &node("b", 2, 4)), Verdict::Older);
        assert_eq!(verdict("e", &node("b", 1, 99)), Verdict::Older, "an old portal that still writes");
        assert_eq!(verdict("e", &node("a", 2, 5)), Verdict::Same);
        for (environment, newer) in
            [("e", node("b", 2, 6)), ("e", node("b", 3, 0)), ("e", node("b", 2, 5)), ("other", node("b", 0, 0))]
        {
            assert!(matches!(verdict(environment, &newer), Verdict::Take(_)), "{environment} {newer:?}");
        }
    }

    #[test]
    fn a_cluster_never_goes_back_to_an_older_address() {
        let mut old = ClusterNode::new(BrokerKind::Kafka, "a:1", "a:1");
        old.epoch = 3;
        let mut new = old.clone();
        new.boot_addr = "b:1".into();
        assert!(newer(None, &old) && newer(Some(&old), &new) && !newer(Some(&old), &old));
        new.epoch = 2;
        assert!(!newer(Some(&old), &new));
    }

    fn any_node() -> impl Strategy<Value = TopicNode> {
        (0..3_u64, 0..6_u64, "[a-d]", proptest::collection::vec(("[a-d]", any::<bool>(), any::<bool>()), 0..4)).prop_map(
            |(term, epoch, at, routes)| {
                let mut node = node(&at, term, epoch);
                node.routes =
                    routes.iter().enumerate().map(|(n, (at, read, write))| route(&format!("r{n}"), at, *read, *write)).collect();
                node
            },
        )
    }

    proptest! {
        /// Whatever is read, from whichever source and in whichever order: what is followed never gets older, and is always one that was read.
        #[test]
        fn what_is_followed_never_gets_older(nodes in proptest::collection::vec(any_node(), 1..20)) {
            let mut known: Option<Known> = None;
            for read in nodes {
                let before = known.as_ref().map(|known| known.order);
                if let Verdict::Take(taken) = decide(&name("orders"), known.as_ref(), "e", &read) {
                    prop_assert_eq!(taken.order, read.order);
                    known = Some(taken);
                }
                prop_assert!(known.as_ref().map(|known| known.order) >= before);
                prop_assert!(known.as_ref().is_none_or(|known| !known.plan.read.is_empty()));
            }
        }

        /// A process that starts with a copy from disk ends where one ends that was there all the time.
        #[test]
        fn a_restart_changes_nothing(nodes in proptest::collection::vec(any_node(), 1..20), cut in 0..20_usize) {
            let follow = |mut known: Option<Known>, nodes: &[TopicNode]| {
                for read in nodes {
                    if let Verdict::Take(taken) = decide(&name("orders"), known.as_ref(), "e", read) {
                        known = Some(taken);
                    }
                }
                known
            };
            let cut = cut.min(nodes.len());
            prop_assert_eq!(follow(follow(None, &nodes[..cut]), &nodes[cut..]), follow(None, &nodes));
        }
    }
}
