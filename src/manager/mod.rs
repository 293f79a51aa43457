//! The life of a token: when it is refreshed, by whom, and what becomes of the answer.
//!
//! This module does not depend on Node, file formats or sockets: the journal, its mirror, the OAuth client, the clocks and the listener
//! are injected through [`Parts`]. Everything that changes the journal runs in a task of its own, so that a caller who goes away takes
//! nothing with it.
//!
//! Each file imports only from those below it:
//!
//! ```text
//!  handle                                  the manager as its callers have it
//!  edit   login                            what a person changes
//!  refresh   watch                         what time changes
//!  sync                                    the mirror follows the journal
//!  account/ enter, transaction, look       who may change what is kept
//!  account/ inner, snapshot, flight        what is known of it
//!  parts, events, steps, shown, status           what is given, told and shown
//!  activity, authenticator, clock, policy, stats
//! ```

mod account;
pub mod activity;
mod authenticator;
mod clock;
mod edit;
mod events;
mod handle;
mod login;
mod parts;
mod policy;
mod refresh;
mod shown;
mod stats;
mod status;
mod steps;
mod sync;
mod watch;

pub use account::snapshot::inspect;
pub use clock::{Clock, SystemClock};
pub use events::{Ended, Event, Level, Listener};
pub use handle::Manager;
pub use parts::{DEFAULT_DEVICE_NAME, Parts, Settings};
pub use shown::Shown;
pub use stats::Stats;
pub use status::{Auth, Phase, Status};
pub use steps::{Credentials, Device, Step};

#[cfg(test)]
mod tests;
