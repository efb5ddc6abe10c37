//! Pages of services.
//!
//! `list` · `wizard` with its steps, `fields` of settings · `service` with its tabs, `config`, `log` · `acts` that change something.

mod acts;
mod config;
mod fields;
mod list;
mod log;
mod service;
#[cfg(test)]
mod tests;
mod wizard;

use axum::Router;
use axum::routing::{get, post};

use super::status::{InstanceState, ServiceStatus};
use crate::app::App;
use crate::engine::Status;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::web::chrome::Chrome;
use crate::web::icon;
use crate::web::messages::Messages;

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/e/{env}/services", get(list::page))
        .route("/e/{env}/services/rows", get(list::rows))
        .route("/e/{env}/services/new", get(wizard::first))
        .route("/e/{env}/services/new/install", post(wizard::install))
        .route("/e/{env}/services/new/{step}", get(wizard::first).post(wizard::step))
        .route("/e/{env}/services/{name}", get(service::first))
        .route("/e/{env}/services/{name}/status", get(service::status))
        .route("/e/{env}/services/{name}/status/part", get(service::status_part))
        .route("/e/{env}/services/{name}/instances", get(service::instances))
        .route("/e/{env}/services/{name}/instances/part", get(service::instances_part))
        .route("/e/{env}/services/{name}/history", get(service::history))
        .route("/e/{env}/services/{name}/config", get(config::page).post(config::apply))
        .route("/e/{env}/services/{name}/config/plan", post(config::plan))
        .route("/e/{env}/services/{name}/logs", get(log::page))
        .route("/e/{env}/services/{name}/logs/part", get(log::part))
        .route("/e/{env}/services/{name}/cancel", post(acts::cancel))
        .route("/e/{env}/services/{name}/remove", post(acts::remove))
        .route("/e/{env}/services/{name}/act/{act}", post(acts::of_service))
        .route("/e/{env}/services/{name}/instances/{instance}/act/{act}", post(acts::of_instance))
}

/// The environment of the path.
fn environment(chrome: &Chrome) -> Result<Environment> {
    chrome.environment.clone().ok_or(Error::NotFound)
}

impl ServiceStatus {
    /// As the style sheet and the API write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Installing => "installing",
            Self::Changing => "changing",
            Self::Removing => "removing",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// For people.
    pub fn text(self, m: &Messages) -> &'static str {
        match self {
            Self::Healthy => m.services_status_healthy(),
            Self::Degraded => m.services_status_degraded(),
            Self::Installing => m.services_status_installing(),
            Self::Changing => m.services_status_changing(),
            Self::Removing => m.services_status_removing(),
            Self::Stopped => m.services_status_stopped(),
            Self::Failed => m.services_status_failed(),
        }
    }
}

impl InstanceState {
    /// For the style sheet.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Stopped => "stopped",
            Self::Gone => "gone",
            Self::Working => "working",
            Self::Unhealthy => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// For people.
    pub fn text(self, m: &Messages) -> &'static str {
        match self {
            Self::Healthy => m.services_state_healthy(),
            Self::Stopped => m.services_state_stopped(),
            Self::Gone => m.services_state_gone(),
            Self::Working => m.services_state_working(),
            Self::Unhealthy => m.services_state_unhealthy(),
            Self::Unknown => m.services_state_unknown(),
        }
    }
}

/// Where a flow stands, for people.
pub fn flow_status_text(status: &Status, m: &Messages) -> &'static str {
    match status {
        Status::Running => m.engine_status_running(),
        Status::Waiting => m.engine_status_waiting(),
        Status::Done => m.engine_status_done(),
        Status::Failed => m.engine_status_failed(),
        Status::Cancelled => m.engine_status_cancelled(),
    }
}

/// An agent's step for people.
pub fn step_text(step: &str, m: &Messages) -> &'static str {
    match step {
        "fetch" => m.services_step_fetch(),
        "unpack" => m.services_step_unpack(),
        "render" => m.services_step_render(),
        "preflight" => m.services_step_preflight(),
        "supervisor" => m.services_step_supervisor(),
        "register" => m.services_step_register(),
        "stop" => m.services_step_stop(),
        "start" => m.services_step_start(),
        "health" => m.services_step_health(),
        "remove" => m.services_step_remove(),
        "done" => m.services_step_done(),
        _ => m.services_step_none(),
    }
}

/// The picture of a kind; a kind of an operator's own gets a plain one.
pub fn kind_icon(kind: &str) -> &'static str {
    match kind {
        "zookeeper" => icon("sitemap"),
        "kafka" | "rocketmq" => icon("messages"),
        "influxdb" => icon("chart-line"),
        _ => icon("box"),
    }
}

/// A size for people.
pub fn bytes(size: u64) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{:.1} KiB", size as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", size as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", size as f64 / 1_073_741_824.0),
    }
}
