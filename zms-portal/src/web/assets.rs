//! Files that browsers load: embedded, under an address that names their content, so that they may be kept for ever.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

/// Where they are served.
pub(super) const ROUTE: &str = "/static/{version}/{*name}";

/// `static/` without what only helps to make it.
#[derive(RustEmbed)]
#[folder = "static/"]
#[exclude = "vendor/icons/*"]
#[exclude = "vendor/.made"]
#[exclude = ".*"]
struct Files;

/// Hash over all files. One for all, so that a module may name its neighbour by a relative path and gets it of the same version.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: BTreeMap<String, [u8; 32]> =
        Files::iter().filter_map(|name| Some((name.to_string(), Files::get(&name)?.metadata.sha256_hash()))).collect();
    let mut digest = Sha256::new();
    for (name, hash) in &all {
        digest.update(name);
        digest.update(hash);
    }
    hex(&digest.finalize()[..6])
});

/// The address of a file, for templates: `{{ crate::web::assets::asset("css/zms.css") }}`.
pub fn asset(name: &str) -> String {
    format!("/static/{}/{name}", *VERSION)
}

/// One file. The address of another version still gets today's file, but is not kept: during a rollout of several portals a page of
/// one may ask another.
pub(super) async fn serve(Path((version, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(EmbeddedFile { data, metadata, .. }) = Files::get(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = format!("\"{}\"", hex(&metadata.sha256_hash()[..12]));
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-cache" };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let common = [(header::CACHE_CONTROL, keep.to_owned()), (header::ETAG, tag.clone())];
    // A proxy or our own compression marks a tag as weak.
    if known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = mime_guess::from_path(&name).first_or_octet_stream();
    let kind = if kind.type_() == mime_guess::mime::TEXT { format!("{kind}; charset=utf-8") } else { kind.to_string() };
    (common, [(header::CONTENT_TYPE, kind)], data.into_owned()).into_response()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_frame_names_is_there() {
        for name in
            ["css/zms.css", "js/theme.js", "js/zms.js", "js/charts.js", "img/logo.svg", "vendor/tabler.css", "vendor/echarts.js"]
        {
            assert!(Files::get(name).is_some(), "{name}");
        }
        assert!(Files::get("vendor/icons/home.svg").is_none() && Files::get("vendor/.made").is_none());
    }

    #[tokio::test]
    async fn a_file_is_kept_for_ever_under_its_version_and_asked_for_again_under_another() {
        let path = |version: &str| Path((version.to_owned(), "css/zms.css".to_owned()));
        let today = serve(path(&VERSION), HeaderMap::new()).await;
        assert_eq!(today.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
        assert!(today.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
        let other = serve(path("0000"), HeaderMap::new()).await;
        assert_eq!((other.status(), other.headers()[header::CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "no-cache"));
        let headers = HeaderMap::from_iter([(
            header::IF_NONE_MATCH,
            format!("W/{}", today.headers()[header::ETAG].to_str().unwrap()).parse().unwrap(),
        )]);
        assert_eq!(serve(path("0000"), headers).await.status(), StatusCode::NOT_MODIFIED);
    }
}
