//! A refresh under way, which its callers share.

use std::sync::{Arc, Weak};

use tokio::sync::watch;

use crate::Result;
use crate::manager::status::Auth;
use crate::mirror::Allowance;

/// The result of a refresh.
#[derive(Debug, Clone)]
pub(in crate::manager) struct Landing {
    pub(in crate::manager) result: Result<Auth>,
    /// The number of requests that it made.
    pub(in crate::manager) requests: u32,
}

/// A refresh under way, for which any number of callers wait.
pub(in crate::manager) struct Flight {
    pub(in crate::manager) landing: watch::Receiver<Option<Landing>>,
    /// The sender of `landing`. Its task holds it, so that callers notice if that task ends without a result.
    pub(in crate::manager) lands: Weak<watch::Sender<Option<Landing>>>,
    pub(in crate::manager) allowance: Arc<Allowance>,
    pub(in crate::manager) stage: Stage,
    /// Whether a caller has set another token, or has logged out, since the refresh began. Then its result is not for later callers.
    pub(in crate::manager) is_outdated: bool,
}

/// The stage of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Stage {
    /// The refresh has the store, or waits for it.
    Deciding,
    /// A request is under way.
    Sending,
}

impl Flight {
    /// Whether a caller who comes now gets the result of this refresh.
    pub(in crate::manager) fn takes_callers(&self) -> bool {
        !self.is_outdated && self.landing.borrow().is_none()
    }

    pub(in crate::manager) fn subscribe(&self) -> watch::Receiver<Option<Landing>> {
        self.landing.clone()
    }

    /// Gives the callers their result before the refresh has ended.
    pub(super) fn land(&self, landing: Landing) {
        if let Some(lands) = self.lands.upgrade() {
            lands.send_replace(Some(landing));
        }
    }

    /// The time that this refresh may still wait for a program's own code.
    pub(in crate::manager) fn allowance(&self) -> Arc<Allowance> {
        Arc::clone(&self.allowance)
    }
}
