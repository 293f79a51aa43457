//! The proof that a state may be known.

use std::ops::Deref;

use crate::Result;
use crate::journal::Store;
use crate::journal::state::State;

/// A state as the store holds it; or one that could not be written in any way and is kept in memory, with the lock.
///
/// A snapshot takes over nothing else. Outside of this room a state becomes a `Stored` only by being read.
#[derive(Debug, Clone)]
pub(in crate::manager) struct Stored(State);

impl Stored {
    pub(super) fn new(state: State) -> Self {
        Self(state)
    }

    /// Reads what the store holds now, without the lock.
    pub(in crate::manager) fn peek(store: &dyn Store) -> Result<Option<Self>> {
        Ok(store.peek()?.map(Self))
    }

    pub(in crate::manager) fn into_state(self) -> State {
        self.0
    }
}

impl Deref for Stored {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}
