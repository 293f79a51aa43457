//! What a manager tells its listener.

use std::time::Duration;

use super::status::Status;
use crate::{Error, Secret};

/// Hears of everything that happens, in order. Called from any thread, one call at a time; it must neither block nor call
/// the manager back.
pub trait Listener: Send + Sync + 'static {
    /// Something happened.
    fn on_event(&self, event: Event);

    /// Whether anybody wants to hear of [`Event::Begun`] and [`Event::Ended`]; otherwise they are not made.
    fn traces(&self) -> bool {
        false
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a newer refresh token, and it is durable.
    Token {
        /// The one that it replaces, as it was last known to the caller.
        old: Option<Secret>,
        /// The newest, wrapped.
        new: Secret,
    },
    /// The status is another one.
    Status(Status),
    /// A sentence for a log. It holds no secret.
    Log(Level, String),
    /// A refresh has begun, for this reason.
    Begun(&'static str),
    /// A refresh has ended.
    Ended(Ended),
}

/// How a refresh ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why it was made.
    pub reason: &'static str,
    /// How many requests it made.
    pub requests: u32,
    /// Whether it needed none, because another process or manager had rotated.
    pub adopted: bool,
    /// How long it took.
    pub duration: Duration,
    /// Why it failed.
    pub error: Option<Error>,
}

/// How much a sentence matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Somebody has to do something.
    Error,
    /// Somebody may have to.
    Warn,
    /// What happened.
    Info,
    /// How it happened.
    Debug,
}
