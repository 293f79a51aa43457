//! A store that several hosts share: what it has to do, and the decisions that hosts make about its record.
//!
//! The engine behind it keeps one text for each account, and compares and sets it. `docs/shared-store.md` says which module does
//! which step of the protocol.

pub mod decide;

use std::future::ready;
use std::time::Duration;

use crate::Secret;
use crate::task::BoxFuture;

/// How long a call of [`SharedStore::load`] or [`SharedStore::commit`] may take.
pub const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How much longer a lease is than the request that it covers.
pub const BEYOND_THE_REQUEST: Duration = Duration::from_secs(5);

/// The lease of one request: how long other hosts wait for its answer.
pub fn lease(request_timeout: Duration) -> Duration {
    request_timeout + BEYOND_THE_REQUEST
}

/// What a shared store keeps now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The record.
    pub value: Secret,
    /// Which write it came with. No two writes have the same.
    pub version: String,
}

/// What a call of an engine comes to, which may be never. The error is the words of the engine or its client, which may contain a token.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Secret>>;

/// A place on an engine that compares and sets, which all hosts of an account use.
pub trait SharedStore: Send + Sync + 'static {
    /// What is kept now; `None` if there is nothing. It is read from the place that decides, not from a replica or a cache.
    ///
    /// # Errors
    ///
    /// Whatever the engine or its client says. Nothing is sent then.
    fn load(&self) -> Answer<'_, Option<Kept>>;

    /// Keeps a value if the version is still that one (`None`: if there is no value yet), and says its new version. `None` if another
    /// host was faster. The value is durable when this has ended.
    ///
    /// # Errors
    ///
    /// Whatever the engine or its client says. Whether the value was kept is not known then.
    fn commit(&self, value: Secret, version: Option<String>) -> Answer<'_, Option<String>>;

    /// What an operator should know about the engine's settings. It is asked once by each manager.
    ///
    /// # Errors
    ///
    /// Whatever the engine or its client says. It is ignored.
    fn warnings(&self) -> Answer<'_, Vec<String>> {
        Box::pin(ready(Ok(Vec::new())))
    }

    /// The name of the store in messages.
    fn name(&self) -> String {
        "the shared store".to_owned()
    }
}
