//! Two portals behind a load balancer that sends each request wherever it likes.

use serde_json::json;

use super::http::{Browser, PASSWORD, portal};
use crate::app::now_ms;
use crate::web::links::Link;
use crate::{serve, setup};

/// Sends every further request to the other portal.
struct Balanced {
    browser: Browser,
    routers: [axum::Router; 2],
    sent: usize,
}

impl Balanced {
    fn next(&mut self) -> &mut Browser {
        self.browser.router = self.routers[self.sent % 2].clone();
        self.sent += 1;
        &mut self.browser
    }
}

#[tokio::test]
async fn set_up_sign_in_forms_and_sign_out_go_through_whichever_portal() {
    let (_folder, app, browser) = portal().await;
    let other = serve::open(app.config.clone()).await.unwrap();
    let routers = [serve::ui_router(&app), serve::ui_router(&other)];
    let mut person = Balanced { browser, routers, sent: 0 };

    // A code of one portal opens the set-up at the other, once.
    let code = setup::new_code(&app.db, &app.config, now_ms()).await.unwrap();
    let body = json!({ "code": code, "name": "ada", "password": PASSWORD });
    person.sent = 1;
    person.next().api("POST", "/setup", body.clone()).await.is(204);
    person.next().api("POST", "/setup", body).await.is(404);

    for _ in 0..4 {
        person.next().get("/settings/users").await.is(200);
    }
    let new = [("name", "dev"), ("title", "Development"), ("colour", "green")];
    person.next().form("/environments/new", &new).await.is(303);
    for _ in 0..2 {
        person.next().get(&Link::Environment("dev").to_string()).await.is(200);
    }
    // Signed out at one, a stranger at both.
    let cookie = person.browser.cookie.clone();
    person.next().form("/logout", &[]).await.is(303);
    person.browser.cookie = cookie;
    for _ in 0..2 {
        person.next().get("/settings/users").await.leads_to("/login?next=%2Fsettings%2Fusers");
    }
}

#[tokio::test]
async fn who_guesses_at_two_portals_has_no_more_tries_than_at_one() {
    let (_folder, app, browser) = portal().await;
    let other = serve::open(app.config.clone()).await.unwrap();
    let routers = [serve::ui_router(&app), serve::ui_router(&other)];
    let mut guesser = Balanced { browser, routers, sent: 0 };
    for _ in 0..5 {
        guesser.next().form("/login", &[("name", "ada"), ("password", "wrong")]).await.is(422);
    }
    guesser.next().form("/login", &[("name", "ada"), ("password", "wrong")]).await.is(429);
    guesser.next().form("/login", &[("name", "ada"), ("password", "wrong")]).await.is(429);
}
