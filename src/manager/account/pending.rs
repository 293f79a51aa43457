//! A state that could not be written yet.

use super::stored::Stored;
use crate::journal::Guard;
use crate::journal::state::State;

/// A state that could not be written, with the lock that keeps other processes from using the older state on the disk.
pub(in crate::manager) struct Pending {
    pub(super) guard: Box<dyn Guard>,
    pub(super) state: State,
    /// The state as it was adopted: `state` may have changed since.
    pub(super) adopted: Stored,
}

/// The place for a pending state. A task of this process that enters the store takes the lock of this place first.
pub(in crate::manager) type Slot = Option<Box<Pending>>;
