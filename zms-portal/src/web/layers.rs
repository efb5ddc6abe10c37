//! Everything around the handlers. From the outside to the inside: headers on every answer · compression · errors made readable ·
//! forged requests refused · time and size bounded · panics caught.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::csrf::CsrfLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use super::links::Link;
use super::{assets, docs, failure, flash, preferences};
use crate::app::App;
use crate::error::Error;

/// Largest body of a form or of a JSON request, in bytes.
const BODY_LIMIT: usize = 1 << 20;
/// Longest time for one answer. Long work is a flow, not a request.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Nothing but our own files; no inline script or style.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    // Not for subdomains: what else a company serves below this name is none of our business.
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Pages, API below `/api/v1`, files, the page of the API, and everything around them.
pub fn layers(app: &App, pages: Router<App>, api: Router<App>, document: utoipa::openapi::OpenApi) -> Router {
    let description = docs::Description::new(document);
    let api = api
        .route("/openapi.json", get(docs::json).with_state(description.clone()))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(failure::json_only));
    let pages = pages
        .merge(preferences::pages())
        .route(&Link::ApiDocs.to_string(), get(docs::page).layer(axum::Extension(description)))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method);
    let api = guarded(api, ANSWER_WITHIN).layer(from_fn(failure::api));
    let pages = guarded(pages, ANSWER_WITHIN).layer(from_fn_with_state(app.clone(), failure::pages)).layer(from_fn(flash::shown));
    let files = Router::new().route(assets::ROUTE, get(assets::serve));
    let all = Router::new().nest("/api/v1", api).merge(pages).with_state(app.clone()).merge(files).layer(CompressionLayer::new());
    headers(all)
}

/// The headers of every answer, also of those that [`layers`] does not surround. Whoever says nothing about caching is not cached.
pub fn headers(router: Router) -> Router {
    let no_store = SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    HEADERS.into_iter().fold(router.layer(no_store), |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    })
}

/// Refusals and bounds. They answer with bare statuses, so the layers of [`failure`] must lie around them.
fn guarded<S: Clone + Send + Sync + 'static>(router: Router<S>, within: Duration) -> Router<S> {
    router.layer(
        ServiceBuilder::new()
            .layer(CsrfLayer::new())
            .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, within))
            .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
            .layer(CatchPanicLayer::custom(panicked)),
    )
}

async fn not_found() -> Error {
    Error::NotFound
}

async fn wrong_method() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    Error::from(anyhow::anyhow!("panic: {}", text.unwrap_or_default())).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_never_comes_is_given_up() {
        let slow = Router::new().route("/slow", get(async || std::future::pending::<()>().await));
        let router = guarded(slow, Duration::from_millis(20)).layer(from_fn(failure::api));
        let answer = router.oneshot(Request::get("/slow").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = to_bytes(answer.into_body(), 4096).await.unwrap();
        assert!(String::from_utf8_lossy(&body).contains("longer than 30 seconds"));
    }
}
