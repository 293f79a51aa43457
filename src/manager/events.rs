//! What a manager tells its listener.

use std::time::Duration;

use super::status::Status;
use crate::{Error, Secret};

/// The receiver of a manager's events, in their order. Any thread calls it, one call at a time. It must neither block nor call the
/// manager.
pub trait Listener: Send + Sync + 'static {
    /// Receives an event.
    fn on_event(&self, event: Event);

    /// Whether the manager should make [`Event::Begun`] and [`Event::Ended`].
    fn traces(&self) -> bool {
        false
    }
}

/// An event of a manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a newer refresh token, and it is durable.
    Token {
        /// The token that it replaces, as the caller last knew it.
        old: Option<Secret>,
        /// The newest token, wrapped.
        new: Secret,
    },
    /// The status changed.
    Status(Status),
    /// A sentence for a log, without secrets.
    Log(Level, String),
    /// A refresh has begun, for this reason.
    Begun(&'static str),
    /// A refresh has ended.
    Ended(Ended),
}

/// The end of a refresh, for traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why it was made.
    pub reason: &'static str,
    /// How many requests it made.
    pub requests: u32,
    /// Whether it needed no request, because another process or manager had rotated.
    pub adopted: bool,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed.
    pub error: Option<Error>,
}

/// The level of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The user has to act.
    Error,
    /// The user may have to act.
    Warn,
    /// An event of normal use.
    Info,
    /// A detail for debugging.
    Debug,
}
