//! Pages and API of this slice, as an operator meets them.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use tower::ServiceExt as _;

use crate::access::{Role, User, Visitor};
use crate::app::App;
use crate::clusters::test_support::user;
use crate::web::form::encode;

pub struct Browser {
    app: App,
    user: User,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn shows(self, wanted: &[&str]) -> Self {
        let missing: Vec<&&str> = wanted.iter().filter(|text| !self.body.contains(**text)).collect();
        assert!(missing.is_empty(), "without {missing:?}: {}", self.body);
        self
    }

    #[track_caller]
    pub fn hides(self, unwanted: &str) -> Self {
        assert!(!self.body.contains(unwanted) && !self.location().contains(unwanted), "{}", self.body);
        self
    }
}

impl Browser {
    pub fn of(app: &App) -> Self {
        Self::with(app, Role::Operator)
    }

    pub fn with(app: &App, role: Role) -> Self {
        Self { app: app.clone(), user: user("olga", role) }
    }

    async fn send(&self, method: &str, path: &str, language: &str, (kind, body): (&str, String)) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT_LANGUAGE, language)
            .header(header::CONTENT_TYPE, kind)
            .extension(Visitor(Some(self.user.clone())))
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000))))
            .body(Body::from(body))
            .unwrap();
        let router = match path.strip_prefix("/api/v1") {
            None => crate::clusters::pages().merge(crate::environments::pages()),
            Some(_) => {
                let api = crate::clusters::api().merge(crate::environments::api()).split_for_parts().0;
                axum::Router::new().nest("/api/v1", api)
            }
        };
        let response = router.with_state(self.app.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(to_bytes(body, 4 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str, language: &str) -> Answer {
        self.send("GET", path, language, ("text/plain", String::new())).await
    }

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.send("POST", path, "en", ("application/x-www-form-urlencoded", body)).await
    }

    pub async fn json(&self, method: &str, path: &str, body: serde_json::Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &format!("/api/v1{path}"), "en", ("application/json", body)).await
    }
}
