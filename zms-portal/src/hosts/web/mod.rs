//! Pages of hosts: [`list`], one [`host`], and [`join`] for new ones.

mod host;
mod join;
mod list;

use axum::Router;
use axum::routing::{get, post};

use crate::app::App;
use crate::environments::Environment;
use crate::error::{Error, Result};
use crate::web::chrome::Chrome;

/// Pages.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/e/{env}/hosts", get(list::page))
        .route("/e/{env}/hosts/rows", get(list::rows))
        .route("/e/{env}/hosts/join", get(join::page).post(join::make))
        .route("/e/{env}/hosts/join/{key_id}", get(join::joined).post(join::withdraw))
        .route("/e/{env}/hosts/{id}", get(host::page))
        .route("/e/{env}/hosts/{id}/part", get(host::part))
        .route("/e/{env}/hosts/{id}/rename", post(host::rename))
        .route("/e/{env}/hosts/{id}/revoke", post(host::revoke))
}

fn environment(chrome: &Chrome) -> Result<Environment> {
    chrome.environment.clone().ok_or(Error::NotFound)
}

/// MiB as people read it.
fn size(mib: u64) -> String {
    match mib {
        0 => String::new(),
        1..1024 => format!("{mib} MiB"),
        1024..1_048_576 => format!("{:.1} GiB", mib as f64 / 1024.0),
        _ => format!("{:.1} TiB", mib as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_by_people() {
        for (mib, expected) in [(0, ""), (512, "512 MiB"), (1024, "1.0 GiB"), (24_576, "24.0 GiB"), (2_097_152, "2.0 TiB")] {
            assert_eq!(size(mib), expected);
        }
    }
}
