//! A store that several hosts share: the interface of its engine, and the decisions that a host makes about the record in it.
//!
//! The engine keeps one text for each account, and replaces it by compare-and-set. `docs/shared-store.md` says which module does
//! which step of the protocol.

pub mod decide;

use std::future::ready;
use std::time::Duration;

use crate::Secret;
use crate::task::BoxFuture;

/// The time limit of a call of [`SharedStore::load`] or [`SharedStore::commit`].
pub const CALL_LIMIT: Duration = Duration::from_secs(10);
/// The difference between a lease and the time-out of the request that it covers.
pub const BEYOND_THE_REQUEST: Duration = Duration::from_secs(5);

/// The lease of one request: the time for which other hosts wait for its answer.
pub fn lease(request_timeout: Duration) -> Duration {
    request_timeout + BEYOND_THE_REQUEST
}

/// The current value of a shared store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The record.
    pub value: Secret,
    /// The version of the write that stored the value. No two writes have the same version.
    pub version: String,
}

/// The result of a call of an engine. The future may never end. The error is the message of the engine or its client, which may contain
/// a token.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Secret>>;

/// A value in an engine with a compare-and-set operation, which all hosts of an account use.
pub trait SharedStore: Send + Sync + 'static {
    /// Returns the current value; `None` if there is none. Reads from the server that accepts writes, not from a replica or a cache.
    ///
    /// # Errors
    ///
    /// The message of the engine or its client. The manager sends nothing then.
    fn load(&self) -> Answer<'_, Option<Kept>>;

    /// Replaces the value if its version is still `version` (`None`: if there is no value yet), and returns the new version. Returns
    /// `None` if another host was faster. The value is durable when the future has ended.
    ///
    /// # Errors
    ///
    /// The message of the engine or its client. Then it is not known whether the value was stored.
    fn commit(&self, value: Secret, version: Option<String>) -> Answer<'_, Option<String>>;

    /// Returns sentences about settings of the engine that an operator should know. Each manager asks once.
    ///
    /// # Errors
    ///
    /// The message of the engine or its client, which is ignored.
    fn warnings(&self) -> Answer<'_, Vec<String>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    /// The name of the store in messages.
    fn name(&self) -> String {
        "the shared store".to_owned()
    }
}
