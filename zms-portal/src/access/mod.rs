//! Who somebody is, and what they may do. Deny is the default: a handler that takes no [`User`] is for everybody, and there are few of those.
//!
//! Read in this order: `role` and `user` · `actor` somebody at work · [`name`] what a person signs in with · [`password`] hashing, and what a password must be ·
//! [`token`] random secrets, of which only a hash is kept · [`session`] the time between sign-in and sign-out, and its cookie ·
//! [`throttle`] guessing is made slow · `extract` what handlers ask for.
//!
//! Pages and API for all of it are the slices [`setup`](crate::setup) and [`users`](crate::users).

mod actor;
mod extract;
pub mod name;
pub mod password;
mod role;
pub mod session;
pub mod throttle;
pub mod token;
mod user;

pub use actor::Actor;
pub use extract::{Address, Visitor};
pub use role::{Role, UnknownRole};
pub use user::User;
