//! The durable state of one account: its format, its lineage rules, and the ways to keep it.
//!
//! The manager knows the two traits here and [`state::State`]; files, locks and what can go wrong with them stay inside.

mod file;
mod format;
mod links;
mod memory;
pub mod state;

pub use links::FileStore;
pub use memory::MemoryStore;

use crate::Result;
use state::State;

/// A place that keeps the state of one account.
///
/// Everything here may block on a disk: call it where blocking is allowed.
pub trait Store: Send + Sync + 'static {
    /// What is kept now, without the lock; `None` where there is nothing yet, or nothing that can be read.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for the journal of another issuer, `STORE` for one that cannot be used.
    fn peek(&self) -> Result<Option<State>>;

    /// Enters the one place from which this account may be refreshed; `None` while somebody else is in it.
    ///
    /// # Errors
    ///
    /// `STORE_LOCKED` where no lock can be had at all, `STORE` where there is no place for one.
    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>>;

    /// Whether what is written outlives the process.
    fn is_durable(&self) -> bool;

    /// Whether writing needs the program's own code to run, so that nothing can be written once the program is ending.
    fn needs_the_program(&self) -> bool {
        false
    }

    /// How the place is called in messages.
    fn name(&self) -> String;
}

/// The right to read and write, released when it is dropped or its process dies.
pub trait Guard: Send {
    /// What is kept now, and what a person should hear of how it was found.
    ///
    /// # Errors
    ///
    /// As for [`Store::peek`].
    fn read(&mut self) -> Result<Found>;

    /// Keeps room for the write after this one, then makes this one durable. Done before a request is sent.
    ///
    /// # Errors
    ///
    /// `STORE`, and then what was kept before still is.
    fn begin(&mut self, state: &mut State) -> Result<Vec<Notice>>;

    /// Makes the state durable, in every way there is, in the room kept if there is some.
    ///
    /// # Errors
    ///
    /// `STORE`, and then what was kept before still is.
    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>>;

    /// Forgets everything: the journal, and what is left of earlier ones.
    ///
    /// # Errors
    ///
    /// `STORE` where something could not be removed.
    fn forget(&mut self) -> Result<()>;
}

/// What a guard found.
#[derive(Debug)]
pub struct Found {
    /// The state; a new one where there was none.
    pub state: State,
    /// What a person should hear of it.
    pub notices: Vec<Notice>,
}

/// A sentence about the store that is no failure: a damaged journal moved aside, a file that could not be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(pub String);
