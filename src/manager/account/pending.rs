//! What could not be written yet.

use super::stored::Stored;
use crate::journal::Guard;
use crate::journal::state::State;

/// A state that could not be written, with the lock that keeps others from the older one on the disk.
pub(in crate::manager) struct Pending {
    pub(super) guard: Box<dyn Guard>,
    pub(super) state: State,
    /// The state as it was adopted: `state` may have changed since.
    pub(super) adopted: Stored,
}

/// Where a state waits that could not be written. Its lock is the entry to the store for the tasks of this process.
pub(in crate::manager) type Slot = Option<Box<Pending>>;
