//! The wire: requests to Ring, its answers, and what each answer means.
//!
//! The facts are those of the protocol page (`docs/protocol.md`); nothing in here decides when a request is made.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::{Error, Secret};

/// A future that can be held without naming its type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What Ring gives for a grant: an access token, and the refresh token that replaces the one used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// For the `Authorization` header of API requests.
    pub access_token: Secret,
    /// The raw refresh token, not the wrapper. It works once.
    pub refresh_token: Secret,
    /// `Bearer`, as far as anyone has seen.
    pub token_type: String,
    /// `client`, as far as anyone has seen.
    pub scope: String,
    /// How long the access token lives: any positive number is believed, 24 h at most; missing, zero, negative or not
    /// a number counts as 60 s.
    pub lifetime: Duration,
}

/// A failed request, with the one thing that the life of a token depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// What to tell the caller.
    pub error: Error,
    /// Ring may have processed the request although no answer of its came: the same token has to be sent again soon.
    pub ambiguous: bool,
}

/// The one request that the life of a token needs. The manager knows the wire by this alone.
pub trait Refresh: Send + Sync + 'static {
    /// Sends the refresh token once and says what Ring answered. Never retries by itself.
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a Secret,
        hardware_id: &'a str,
    ) -> BoxFuture<'a, Result<Grant, WireError>>;
}
