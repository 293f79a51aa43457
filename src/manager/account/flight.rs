//! A refresh under way, as its callers see it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Result;
use crate::manager::status::Auth;
use crate::mirror::Allowance;

/// What a refresh came to.
#[derive(Debug, Clone)]
pub(in crate::manager) struct Landing {
    pub(in crate::manager) result: Result<Auth>,
    /// How many requests it made.
    pub(in crate::manager) requests: u32,
}

/// A refresh under way, which any number of callers wait for.
pub(in crate::manager) struct Flight {
    pub(in crate::manager) outcome: watch::Receiver<Option<Landing>>,
    pub(in crate::manager) allowance: Arc<Allowance>,
    pub(in crate::manager) stage: Stage,
}

/// How far a refresh is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Stage {
    /// It is in the store, or waits for it.
    Deciding,
    /// A request is under way.
    Sending,
}

impl Flight {
    pub(in crate::manager) fn subscribe(&self) -> watch::Receiver<Option<Landing>> {
        self.outcome.clone()
    }

    /// How long it may still wait for a program's own code.
    pub(in crate::manager) fn allowance(&self) -> Arc<Allowance> {
        Arc::clone(&self.allowance)
    }
}
