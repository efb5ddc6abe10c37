//! What every page knows besides its own matter: language, person, environment, where it is.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum_extra::extract::CookieJar;

use crate::access::{Role, User, Visitor};
use crate::app::App;
use crate::environments::{self, Environment};
use crate::error::Error;
use crate::requests;
use crate::web::flash;
use crate::web::links::Link;
use crate::web::messages::{Language, Messages};

/// Cookie of the chosen language.
pub const LANGUAGE: &str = "zms-language";
/// Cookie of the chosen theme: `light`, `dark`, or none for the system's.
pub const THEME: &str = "zms-theme";

/// See the module. A field `chrome` of every page.
#[derive(Debug, Clone)]
pub struct Chrome {
    /// Texts in the reader's language.
    pub m: Messages,
    /// Who is signed in.
    pub user: Option<User>,
    /// The environment of the path.
    pub environment: Option<Environment>,
    /// All environments, for the switch.
    pub environments: Vec<Environment>,
    /// Requests that nobody has decided, for those who may.
    pub open_requests: i64,
    /// The path of this page.
    pub path: String,
    /// Path and query of this page, to come back to.
    pub here: String,
    /// `light`, `dark` or empty for the system's.
    pub theme: &'static str,
    /// What came of the form before; empty if there was none.
    pub flash: String,
}

impl Chrome {
    /// For a page of which nothing is known but the request.
    pub(super) fn bare(request: &Parts) -> Self {
        let theme = CookieJar::from_headers(&request.headers).get(THEME).map(|cookie| cookie.value().to_owned());
        Self {
            m: messages(&request.headers, None),
            user: None,
            environment: None,
            environments: Vec::new(),
            open_requests: 0,
            path: request.uri.path().to_owned(),
            here: request.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            theme: match theme.as_deref() {
                Some("light") => "light",
                Some("dark") => "dark",
                Some(_) | None => "",
            },
            flash: flash::read(&request.headers),
        }
    }

    /// May the person see what needs this role?
    pub fn may(&self, role: Role) -> bool {
        self.user.as_ref().is_some_and(|user| user.may(role))
    }

    /// Is this link the place where we are, or below it?
    pub fn at(&self, link: &str) -> bool {
        if link == "/" {
            self.path == "/"
        } else {
            self.path == link || self.path.strip_prefix(link).is_some_and(|rest| rest.starts_with('/'))
        }
    }

    /// The page of another environment that shows what this one shows, as far as every environment has it.
    pub fn same_in(&self, environment: &str) -> String {
        let here = self.environment_name();
        if here.is_empty() {
            return Link::Environment(environment).to_string();
        }
        if self.at(&Link::Hosts(here).to_string()) {
            return Link::Hosts(environment).to_string();
        }
        if self.at(&Link::Topics(here).to_string()) {
            return Link::Topics(environment).to_string();
        }
        if self.at(&Link::Groups(here).to_string()) {
            return Link::Groups(environment).to_string();
        }
        if self.at(&Link::Clusters(here).to_string()) {
            return Link::Clusters(environment).to_string();
        }
        if self.at(&Link::Services(here).to_string()) {
            return Link::Services(environment).to_string();
        }
        Link::Environment(environment).to_string()
    }

    /// The name of the environment, for links; empty outside of one.
    pub fn environment_name(&self) -> &str {
        self.environment.as_ref().map_or("", |environment| &environment.name)
    }

    /// The tag of the other language.
    pub fn other_language(&self) -> (&'static str, &'static str) {
        match self.m.0 {
            Language::English => ("zh", "中文"),
            Language::Chinese => ("en", "English"),
        }
    }
}

/// The reader's language: the one chosen in this browser, else the person's own, else the browser's.
pub fn messages(headers: &HeaderMap, user: Option<&User>) -> Messages {
    let jar = CookieJar::from_headers(headers);
    let here = jar.get(LANGUAGE).and_then(|cookie| Language::parse(cookie.value()));
    // The button of the top bar changes both, so the account's is never older than the cookie.
    let chosen = user.and_then(|user| Language::parse(&user.language)).or(here);
    match chosen {
        Some(language) => Messages(language),
        None => {
            Messages::accepting(headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default())
        }
    }
}

impl FromRequestParts<App> for Chrome {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Visitor(user) = Visitor::from_request_parts(parts, app).await?;
        // What exists is not for those who are not signed in.
        let environments = if user.is_some() { environments::list(&app.db).await? } else { Vec::new() };
        let named = match RawPathParams::from_request_parts(parts, app).await {
            Ok(params) => params.iter().find(|(key, _)| *key == "env").map(|(_, value)| value.to_owned()),
            Err(_) => None,
        };
        let environment = match named {
            Some(_) if user.is_none() => return Err(Error::SignIn),
            Some(name) => Some(environments.iter().find(|environment| environment.name == name).cloned().ok_or(Error::NotFound)?),
            None => None,
        };
        let decides = user.as_ref().is_some_and(|user| user.may(Role::Approver));
        let open_requests = if decides { requests::count_open(&app.db).await? } else { 0 };
        Ok(Self {
            m: messages(&parts.headers, user.as_ref()),
            user,
            environment,
            environments,
            open_requests,
            ..Self::bare(parts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chrome(path: &str, environment: &str) -> Chrome {
        let (parts, ()) = axum::http::Request::builder().uri(path).body(()).unwrap().into_parts();
        let environment = Environment {
            id: "1".into(),
            name: environment.into(),
            title: environment.into(),
            colour: "green".into(),
            protected: false,
        };
        Chrome { environment: Some(environment), ..Chrome::bare(&parts) }
    }

    #[test]
    fn switching_the_environment_stays_at_the_same_matter() {
        for (path, expected) in [
            ("/e/dev", "/e/prod"),
            ("/e/dev/hosts", "/e/prod/hosts"),
            ("/e/dev/hosts/01ABC", "/e/prod/hosts"),
            ("/e/dev/services/kafka/status", "/e/prod/services"),
            ("/e/dev/edit", "/e/prod"),
        ] {
            assert_eq!(chrome(path, "dev").same_in("prod"), expected, "{path}");
        }
    }

    #[test]
    fn a_link_is_current_at_and_below_its_place_only() {
        let chrome = chrome("/e/dev/hosts/1?q=x", "dev");
        assert!(chrome.at("/e/dev/hosts") && chrome.at("/e/dev/hosts/1"));
        assert!(!chrome.at("/e/dev/host") && !chrome.at("/") && !chrome.at("/e/dev/services"));
    }

    #[test]
    fn the_language_chosen_in_this_browser_wins_over_the_browser_s_own() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, "zh-CN".parse().unwrap());
        assert_eq!(messages(&headers, None), Messages::CHINESE);
        headers.insert(header::COOKIE, "zms-language=en".parse().unwrap());
        assert_eq!(messages(&headers, None), Messages::ENGLISH);
    }
}
