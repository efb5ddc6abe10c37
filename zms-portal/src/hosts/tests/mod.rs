//! Hosts as they join, ask and are taken out of service: on a real database, and over real TLS on this machine.

mod joining;
mod listener;
mod pages;
mod script;
mod script_ended;
mod script_root;
mod several;
mod support;
mod syncing;
