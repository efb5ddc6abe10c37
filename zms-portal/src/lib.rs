//! The portal: web UI, REST API and agent API.
//!
//! Read in this order:
//! 1. [`app`]: what every request can reach; [`config`]: where it comes from.
//! 2. [`db`]: one portable SQL over SQLite and PostgreSQL; [`engine`]: state machines whose effects happen outside.
//! 3. [`access`]: who may do what; [`authority`]: certificates; [`secrets`]: what is sealed.
//! 4. [`web`]: the frame of every page, links, messages in both languages, errors.
//! 5. The slices, all alike (`mod` use cases · `flow` pure state machine · `store` SQL · `web` pages · `api` REST):
//!    [`setup`] [`users`] [`environments`] [`hosts`] [`packages`] [`services`] [`clusters`] [`topics`] [`groups`] [`requests`];
//!    [`metadata`] is what they write for applications, [`import`] takes it from what is there, [`metrics`] what collectors see; [`hindrance`] is why an effect waits.
//! 6. [`serve`]: the listeners.

pub mod access;
pub mod app;
pub mod audit;
pub mod authority;
pub mod clusters;
pub mod config;
pub mod db;
pub mod engine;
pub mod environments;
pub mod error;
pub mod groups;
pub mod hindrance;
pub mod hosts;
pub mod import;
pub mod metadata;
pub mod metrics;
pub mod packages;
pub mod requests;
pub mod secrets;
pub mod serve;
pub mod services;
pub mod setup;
pub mod topics;
pub mod users;
pub mod web;
