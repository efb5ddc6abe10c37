//! The agent of a host: it makes the host equal to its desired state and says what it found.
//!
//! Read in this order:
//! 1. [`layout`]: where everything lies below the prefix.
//! 2. [`decide`]: the pure heart, from what is wanted and what was found to the next step.
//! 3. [`observe`] and [`instance`]: the eyes and the hands around it, one task an instance.
//! 4. [`fetch`], [`unpack`], [`render`], [`preflight`]: the steps before a start.
//! 5. [`exec`] and [`lock`]: the one way in which a process of ours is started.
//! 6. [`supervisor`], [`process`], [`probe`]: the foreign systems of a host.
//! 7. [`portal`], [`secrets`], [`facts`], [`answer`]: what a host and its portal say to one another.
//! 8. [`figures`]: what the host's processors, disks and instances do, for the collectors.
//! 9. [`host`]: the loop that ties the instances together; [`run`]: everything that runs in an agent.

pub mod answer;
pub mod decide;
pub mod disk;
pub mod exec;
pub mod facts;
pub mod fault;
pub mod fetch;
pub mod figures;
pub mod host;
pub mod instance;
pub mod keeper;
pub mod layout;
pub mod lock;
pub mod observe;
pub mod portal;
pub mod preflight;
pub mod probe;
pub mod process;
pub mod render;
pub mod rotate;
pub mod run;
pub mod secrets;
pub mod space;
pub mod status;
pub mod supervisor;
pub mod unpack;
