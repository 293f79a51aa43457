//! The status of a token, as it is shown.

use crate::journal::state::Millis;
use crate::{Error, Secret};

/// A valid access token and all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// For the `Authorization` header of API requests.
    pub access_token: Secret,
    /// `Bearer`.
    pub token_type: String,
    /// `client`.
    pub scope: String,
    /// When the access token expires.
    pub expires_at: Millis,
    /// The newest refresh token, wrapped.
    pub refresh_token: Secret,
    /// The hardware id that requests have to carry.
    pub hardware_id: String,
}

/// The status of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The state of the token.
    pub phase: Phase,
    /// The problem, if there is one.
    pub problem: Option<Error>,
    /// When the manager tries again.
    pub retry_at: Option<Millis>,
    /// Whether the token that is shown is in a journal.
    pub persisted: bool,
}

/// The state of a token. If several variants apply, the last one listed wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There is no access token, or it has expired; there is no problem.
    Idle,
    /// There is a valid access token.
    Ready,
    /// The manager waits for the end of a cool-down.
    Waiting,
    /// There is no token, or Ring rejected it.
    NeedsLogin,
    /// A request is under way.
    Refreshing,
}

impl Phase {
    /// The name that JavaScript and the command line show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ready => "ready",
            Self::Waiting => "waiting",
            Self::NeedsLogin => "needs-login",
            Self::Refreshing => "refreshing",
        }
    }
}
