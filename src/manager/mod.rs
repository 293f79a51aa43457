//! The life of a token: when it is refreshed, by whom, and what becomes of the answer.
//!
//! This module does not depend on Node, file formats or sockets: the journal, its mirror, the OAuth client, the clocks and the listener
//! are injected through [`Parts`]. Everything that changes the journal runs in a task of its own, which continues if its caller is
//! dropped.
//!
//! Each file uses only files in lines below its own, by an import or by a method of `Inner`. No struct has more than twelve fields
//! or two booleans. A test, `__test__/architecture.test.mjs`, reads this table and checks both.
//!
//! ```text
//!  handle                                      the manager as its callers have it
//!  edit, login                                 what a user changes
//!  refresh                                     what time changes
//!  sync, watch, share                          the mirror follows the journal; another process logs in; the shared store gets what only the spool has
//!  account/ enter                              the way into the store
//!  account/ sharing                            the record of a shared store within a transaction
//!  account/ transaction                        the right to change what is kept
//!  account/ look                               what the mirror shows
//!  account/ inner                              what all of these share
//!  parts, account/ snapshot                    what a manager is given, and what it knows
//!  account/ flight, mirror_sync, pending       parts of what it knows
//!  events, account/ stored                     what it reports, and what it may adopt
//!  account/ engine                             the engine of a shared store
//!  ring_clock                                  the time of Ring
//!  activity, authenticator, clock, policy, shown, stats, status, steps
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
mod ring_clock;
mod share;
mod shown;
mod stats;
mod status;
mod steps;
mod sync;
mod watch;

pub use account::snapshot::inspect;
pub use account::stored::look_at_shared;
pub use clock::{Clock, SystemClock};
pub use events::{Ended, Event, Level, Listener};
pub use handle::Manager;
pub use parts::{DEFAULT_DEVICE_NAME, Parts, Settings, SharedParts};
pub use shown::Shown;
pub use stats::Stats;
pub use status::{Auth, Phase, Status};
pub use steps::{Credentials, Device, Step};

#[cfg(test)]
mod tests;
