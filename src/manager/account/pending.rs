//! What could not be written yet.

use crate::journal::Guard;
use crate::journal::state::State;

/// A state that could not be written, with the lock that keeps others from the older one on the disk.
pub(in crate::manager) struct Pending {
    pub(super) guard: Box<dyn Guard>,
    pub(super) state: State,
}

impl Pending {
    /// Gives up what could not be written.
    pub(in crate::manager) fn into_guard(self) -> Box<dyn Guard> {
        self.guard
    }
}
