//! What a portal wants of a host ([`desired`]) and what the host's agent says it has ([`report`]).
//!
//! Anything whose loss would matter is desired state: both sides may be killed at any time and go on from what
//! they find. Unknown fields are ignored, unknown kinds of probe or preparation are refused by name.

mod desired;
mod report;
mod sync;

pub use desired::*;
pub use report::*;
pub use sync::*;
