//! What an invited person sees.

use askama::Template;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use crate::access::Address;
use crate::access::session::{self, Limits};
use crate::access::throttle::Throttle;
use crate::app::{App, now_ms};
use crate::error::{Error, Result};
use crate::users::{self, Acceptance};
use crate::web::chrome::Chrome;
use crate::web::links::Link;
use crate::web::{self, Form, Problems};

#[derive(Template)]
#[template(path = "users/accept.html")]
struct AcceptPage {
    chrome: Chrome,
    /// What was in the field; the first time a script puts it there from behind the `#` of the address.
    token: String,
    problems: Problems,
}

#[derive(Deserialize)]
pub(super) struct AcceptForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    again: String,
}

pub(super) async fn show(chrome: Chrome) -> Result<Response> {
    web::page(AcceptPage { chrome: alone(chrome), token: String::new(), problems: Problems::default() })
}

pub(super) async fn accept(
    chrome: Chrome,
    address: Address,
    State(app): State<App>,
    headers: HeaderMap,
    Form(AcceptForm { token, password, again }): Form<AcceptForm>,
) -> Result<Response> {
    let accepted = if password == again {
        let throttle = Throttle::open(&app).await?;
        // Somebody without script may paste the whole link.
        let secret = token.rsplit_once('#').map_or(token.as_str(), |(_, secret)| secret).to_owned();
        let acceptance = Acceptance { token: secret, password };
        let before = session::cookie_of(&headers);
        users::accept(&app.db, &throttle, Limits::of(&app.config), acceptance, before.as_ref(), &address.0, now_ms()).await
    } else {
        Err(Error::invalid("again", |m| m.users_again_wrong().to_owned()))
    };
    match accepted {
        Ok(session) => {
            let mut response = web::see_other(Link::Overview);
            session::set_cookie(response.headers_mut(), &session);
            Ok(response)
        }
        Err(error) => {
            let (status, problems) = Problems::of_error(error, chrome.m)?;
            web::page_with(status, AcceptPage { chrome: alone(chrome), token, problems })
        }
    }
}

/// An administrator who tries the link out sees what the invited person will see.
fn alone(chrome: Chrome) -> Chrome {
    Chrome { user: None, ..chrome }
}
