//! Kinds of service: one TOML file describes a kind, and from it come the form, the validation and the rendering.
//!
//! Everything here is pure. Random values (ids) are made from bytes that the caller gives, files are read by the
//! caller, and what a person typed is checked before any of it reaches a file, an argument or an environment.
//!
//! Read in this order:
//! 1. `model`, `setting`, `output`: what a catalogue file holds; `template` and `condition` are its two small languages.
//! 2. `check`: what [`Kind::parse`] refuses in a catalogue file.
//! 3. `service`: what people decided, `places`: on which host what; and `members`: which of it makes no sense.
//! 4. `value`, `amount`, `guard`: a typed text becomes a value or a [`Problem`].
//! 5. `scope`, `render`, `files`, `properties`: values become files, arguments and ports.

mod amount;
mod check;
mod condition;
mod files;
mod guard;
mod members;
mod model;
mod output;
mod places;
mod problem;
mod properties;
mod random_id;
mod render;
mod scope;
mod service;
mod setting;
mod template;
mod value;

pub use check::CatalogueError;
pub use condition::{Condition, Operator};
pub use model::*;
pub use output::*;
pub use places::Place;
pub use problem::{Fault, Problem};
pub use render::Planned;
pub use service::{Member, Service};
pub use setting::*;
pub use template::{Part, Template};
pub use value::{Chars, Value};
