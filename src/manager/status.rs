//! How a token does, as it is shown.

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
    /// When the access token stops working.
    pub expires_at: Millis,
    /// The newest refresh token, wrapped.
    pub refresh_token: Secret,
    /// The device id that requests have to carry.
    pub hardware_id: String,
}

/// How a token does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In a word.
    pub phase: Phase,
    /// What is wrong, if something is.
    pub problem: Option<Error>,
    /// When it will be tried again.
    pub retry_at: Option<Millis>,
    /// Whether what is known is in a journal as well.
    pub persisted: bool,
}

/// How a token does, in a word. Where several fit, the later one here is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No access token yet, or an expired one; nothing is wrong.
    Idle,
    /// A valid access token.
    Ready,
    /// In a cool-down.
    Waiting,
    /// No token, or a rejected one.
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
