//! The engine on a toy machine.

mod flows;
mod toy;
mod workers;
