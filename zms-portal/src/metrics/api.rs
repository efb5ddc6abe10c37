//! Figures over REST.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zms_core::collect::{ClusterFigures, ConsumerFigures, GroupFigures, HostFrames, ProducerFigures, Reach, TopicFigures};

use super::chart::{Chart, LONGEST_MS, Subject, Windows};
use super::draw::{Drawn, draw};
use crate::access::{Role, User};
use crate::app::{App, now_ms};
use crate::environments;
use crate::error::{Error, Problem, Result};
use crate::web::chrome::messages;
use crate::web::{Json, Path, Query};

/// Operations on figures.
pub fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_chart)).routes(routes!(get_figures))
}

/// What a chart is asked with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChartQuery {
    cluster: String,
    topic: String,
    group: String,
    host: String,
    range: String,
    from: Option<i64>,
    to: Option<i64>,
}

/// Ranges that have a name, and their length in milliseconds.
pub(super) const RANGES: [(&str, i64); 7] = [
    ("15m", 900_000),
    ("1h", 3_600_000),
    ("6h", 21_600_000),
    ("24h", DAY_MS),
    ("7d", 7 * DAY_MS),
    ("30d", 30 * DAY_MS),
    ("1y", 365 * DAY_MS),
];
const DAY_MS: i64 = 86_400_000;

/// A chart's numbers. A window without a figure is null, which is not 0, and its gap says why.
#[utoipa::path(get, path = "/environments/{env}/charts/{chart}", tag = "figures",
    params(("env" = String, Path, description = "Name of the environment", example = "dev"), ("chart" = String, Path, description = "topic-rate, topic-lag, topic-sends, topic-latency, topic-handling, group-lag, group-rate, cluster-rate, cluster-bytes, cluster-requests, host-cpu, host-memory, host-disk or host-network", example = "topic-rate"),
        ("cluster" = Option<String>, Query, description = "Name of a cluster", example = "kafka"), ("topic" = Option<String>, Query, description = "Name of a topic", example = "orders"),
        ("group" = Option<String>, Query, description = "Name of a consumer group"), ("host" = Option<String>, Query, description = "Name of a host"),
        ("range" = Option<String>, Query, description = "15m, 1h, 6h, 24h, 7d, 30d or 1y until now; 1h unless said", example = "1h"),
        ("from" = Option<i64>, Query, description = "Instead of a range: milliseconds since 1970"), ("to" = Option<i64>, Query, description = "Milliseconds since 1970; now unless said")),
    responses((status = 200, description = "The numbers", body = Drawn), (status = 404, description = "There is no such environment or chart"),
        (status = 422, description = "It needs a subject that was not named, or its range is too long"),
        (status = 503, description = "The metric store is away, or there is none")))]
async fn get_chart(
    user: User,
    headers: HeaderMap,
    State(app): State<App>,
    Path((env, chart)): Path<(String, String)>,
    Query(query): Query<ChartQuery>,
) -> Result<Response> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let chart = Chart::ALL.into_iter().find(|known| known.name() == chart).ok_or(Error::NotFound)?;
    let now_ms = now_ms();
    let windows = windows(&query, now_ms)?;
    let subject = Subject { cluster: query.cluster, topic: query.topic, group: query.group, host: query.host };
    if let Some(need) = chart.needs().iter().find(|need| subject.of(need).is_none()) {
        return Err(Error::invalid(need, |m| m.metrics_needs_a_subject().to_owned()));
    }
    let m = messages(&headers, Some(&user));
    let drawn = draw(&app, &environment, (chart, &subject), windows, (now_ms, m)).await?;
    let mut response = axum::Json(drawn).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn windows(query: &ChartQuery, now_ms: i64) -> Result<Windows> {
    let to = query.to.unwrap_or(now_ms);
    let from = match (query.from, query.range.as_str()) {
        (Some(from), _) => from,
        (None, "") => to.saturating_sub(RANGES[1].1),
        (None, name) => {
            let length = RANGES.iter().find(|(known, _)| *known == name).map(|(_, length)| *length);
            to.saturating_sub(length.ok_or_else(|| Error::invalid("range", |m| m.metrics_no_such_range().to_owned()))?)
        }
    };
    let fits = from >= 0 && from < to && to - from <= LONGEST_MS && to <= now_ms + LONGEST_MS;
    if !fits {
        return Err(Error::Invalid(vec![Problem::new("from", |m| m.metrics_range_too_long().to_owned())]));
    }
    Ok(Windows::new(from, to, now_ms))
}

/// What the leading collector saw in its last tick. What is not known is absent.
#[derive(Debug, Serialize, ToSchema)]
struct Figures {
    /// When it came, milliseconds since 1970; absent: nothing came since this portal runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<i64>,
    /// It missed more than one tick since then.
    silent: bool,
    /// By name.
    clusters: Vec<ClusterItem>,
    /// By cluster and name.
    topics: Vec<TopicItem>,
    /// A line for each topic of each group.
    groups: Vec<GroupItem>,
    /// Who sends with our SDK, as it says itself.
    producers: Vec<ClientItem>,
    /// Who consumes with our SDK, as it says itself.
    consumers: Vec<ClientItem>,
    /// Hosts whose figures come to the leading collector.
    hosts: Vec<HostItem>,
    /// Points that wait for the metric store.
    points_queued: u64,
    /// Points that were given up since the collector started.
    points_dropped: u64,
    /// Reports of applications that could not be read since the collector started.
    reports_unreadable: u64,
    /// Topics, groups and clients of reports that were left out since then, as they were too many.
    reports_over: Option<u64>,
    /// Reports that applications could not send since then, as they said later.
    reports_lost: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HostFrames)]
struct HostItem {
    /// Its id.
    host: String,
    /// When its figures came last, milliseconds since 1970.
    at_ms: i64,
    /// Figures that its agent gave up since it started, one each 10 s.
    frames_dropped: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClusterFigures)]
struct ClusterItem {
    name: String,
    /// `whole`, `partly` or `away`.
    reach: &'static str,
    /// Why not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    brokers: Option<u32>,
    topics: Option<u32>,
    partitions: Option<u32>,
    under_replicated: Option<u32>,
    offline: Option<u32>,
    groups: Option<u32>,
    /// Messages a second.
    rate_in: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TopicFigures)]
struct TopicItem {
    cluster: String,
    topic: String,
    partitions: u32,
    under_replicated: u32,
    offline: u32,
    /// Sum of the log end offsets.
    end: Option<i64>,
    /// Messages still there.
    kept: Option<i64>,
    /// Messages a second.
    rate_in: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GroupFigures)]
struct GroupItem {
    cluster: String,
    group: String,
    topic: String,
    state: String,
    members: Option<u32>,
    /// Log end minus committed.
    lag: Option<i64>,
    /// Partitions without a commit.
    unknown: u32,
    /// Messages a second.
    rate_out: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClientFigures)]
struct ClientItem {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    application: String,
    client: String,
    /// rust, java.
    language: String,
    ip: String,
    /// Messages a second; absent where the client does not say.
    rate: Option<f64>,
    /// Failures a second; absent where the client does not say.
    failed: Option<f64>,
    /// 99th percentile, milliseconds.
    p99_ms: Option<f64>,
    /// Reports that it could not send since it was first heard; absent where the client does not say.
    reports_lost: Option<u64>,
}

impl From<&ClusterFigures> for ClusterItem {
    fn from(cluster: &ClusterFigures) -> Self {
        let (reach, why) = match &cluster.reach {
            Reach::Whole => ("whole", None),
            Reach::Partly(why) => ("partly", Some(why.clone())),
            Reach::Away(why) => ("away", Some(why.clone())),
        };
        let ClusterFigures { brokers, topics, partitions, under_replicated, offline, groups, rate_in, .. } = *cluster;
        let name = cluster.cluster.to_string();
        Self { name, reach, why, brokers, topics, partitions, under_replicated, offline, groups, rate_in }
    }
}

impl From<&TopicFigures> for TopicItem {
    fn from(topic: &TopicFigures) -> Self {
        let TopicFigures { partitions, under_replicated, offline, end, kept, rate_in, .. } = *topic;
        let (cluster, topic) = (topic.cluster.to_string(), topic.topic.to_string());
        Self { cluster, topic, partitions, under_replicated, offline, end, kept, rate_in }
    }
}

impl From<&GroupFigures> for GroupItem {
    fn from(group: &GroupFigures) -> Self {
        let GroupFigures { members, lag, unknown, rate_out, .. } = *group;
        Self {
            cluster: group.cluster.to_string(),
            group: group.group.to_string(),
            topic: group.topic.to_string(),
            state: group.state.clone(),
            members,
            lag,
            unknown,
            rate_out,
        }
    }
}

impl From<&HostFrames> for HostItem {
    fn from(one: &HostFrames) -> Self {
        Self { host: one.host.to_string(), at_ms: one.at_ms, frames_dropped: one.dropped }
    }
}

/// Producers and consumers are told with the same figures; a consumer has a group beside them.
macro_rules! client {
    ($one:expr, $group:expr) => {
        ClientItem {
            topic: $one.topic.to_string(),
            group: $group,
            application: $one.application.clone(),
            client: $one.client.clone(),
            language: $one.language.clone(),
            ip: $one.ip.clone(),
            rate: $one.rate,
            failed: $one.failed,
            p99_ms: $one.p99_ms,
            reports_lost: $one.dropped,
        }
    };
}

impl From<&ProducerFigures> for ClientItem {
    fn from(one: &ProducerFigures) -> Self {
        client!(one, None)
    }
}

impl From<&ConsumerFigures> for ClientItem {
    fn from(one: &ConsumerFigures) -> Self {
        client!(one, Some(one.group.to_string()))
    }
}

/// The last figures of an environment: what its leading collector saw.
#[utoipa::path(get, path = "/environments/{env}/figures", tag = "figures", params(("env" = String, Path, description = "Name of the environment", example = "dev")),
    responses((status = 200, description = "The figures, with their age", body = Figures), (status = 404, description = "There is no such environment")))]
async fn get_figures(user: User, State(app): State<App>, Path(env): Path<String>) -> Result<Json<Figures>> {
    user.require(Role::Viewer)?;
    let environment = environments::find_by_name(&app.db, &env).await?;
    let told = app.metrics.snapshots.last(&environment.id);
    let now_ms = now_ms();
    let snapshot = told.as_ref().map(|told| told.snapshot.clone()).unwrap_or_default();
    Ok(Json(Figures {
        at_ms: told.as_ref().map(|told| told.at_ms),
        silent: told.is_none_or(|told| told.is_silent(now_ms)),
        clusters: snapshot.clusters.iter().map(ClusterItem::from).collect(),
        topics: snapshot.topics.iter().map(TopicItem::from).collect(),
        groups: snapshot.groups.iter().map(GroupItem::from).collect(),
        producers: snapshot.producers.iter().map(ClientItem::from).collect(),
        consumers: snapshot.consumers.iter().map(ClientItem::from).collect(),
        hosts: snapshot.hosts.iter().map(HostItem::from).collect(),
        points_queued: snapshot.sink.queued,
        points_dropped: snapshot.sink.dropped,
        reports_unreadable: snapshot.sink.unreadable,
        reports_over: snapshot.sink.over,
        reports_lost: snapshot.sink.lost,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_named_or_given_and_never_longer_than_what_is_kept() {
        let now = 10 * LONGEST_MS;
        let query = |range: &str, from, to| ChartQuery { range: range.to_owned(), from, to, ..ChartQuery::default() };
        for (query, fits) in [
            (query("", None, None), true),
            (query("7d", None, None), true),
            (query("1y", None, None), true),
            (query("8d", None, None), false),
            (query("", Some(now - LONGEST_MS), None), true),
            (query("", Some(now - LONGEST_MS - 1), None), false),
            (query("", Some(now), Some(now)), false),
            (query("", Some(-5), Some(5)), false),
            (query("", Some(i64::MIN), Some(i64::MAX)), false),
            (query("", None, Some(i64::MIN)), false),
        ] {
            assert_eq!(windows(&query, now).is_ok(), fits, "{query:?}");
        }
    }
}
