//! Other places that show the newest token, because people look there: Homebridge's `config.json`, a `.env` file, a program's
//! own code. The journal is the truth, and mirrors follow it.
//!
//! The manager depends on the traits and values here, such as [`Mirror`] and [`Follower`]. Files and their formats stay in this module.

mod assignments;
#[cfg(test)]
mod corpus;
mod custom;
mod dotenv;
mod file;
mod format;
mod homebridge;
mod json;
mod json_edit;
mod redact;
mod target;
mod turns;
mod wanted;
mod which_journal;

pub use custom::{CustomStore, Program, ProgramFuture, ProgramStore, key_of_program};
pub use dotenv::Dotenv;
pub use file::FileMirror;
pub use format::{Format, FormatError, Introduced};
pub use homebridge::Homebridge;
pub(crate) use redact::without_tokens;
pub(crate) use target::state_folder;
pub use target::{Purpose, Target};
pub use turns::{Allowance, Turns};
pub(crate) use which_journal::JOURNALS_FOLDER;
pub use which_journal::Places;

use std::sync::Arc;

use crate::journal::Notice;
use crate::{Result, Secret};

/// A mirror behind a journal.
#[derive(Clone)]
pub enum Follower {
    /// A place that this package reads and writes. That blocks for a short time.
    Place(Arc<dyn Mirror>),
    /// A program's own code. It runs on a thread of the program, and no thread of ours waits for it.
    Program(Arc<Program>),
}

impl Follower {
    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Place(mirror) => mirror.name(),
            Self::Program(program) => program.name(),
        }
    }
}

/// A place that shows a token, behind a journal.
///
/// Every method may block: call it only where blocking is allowed.
pub trait Mirror: Send + Sync + 'static {
    /// The token that the place shows; `None` if it shows none.
    ///
    /// # Errors
    ///
    /// `STORE` if the place cannot be read, `INVALID_ARGUMENT` if it is ambiguous.
    fn look(&self, attempts: Attempts) -> Result<Option<Secret>>;

    /// Locks the place between the processes that use this package, and does what `decide` says about the token that it shows
    /// then. Asks again if another program changed the place in the meantime.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::look`], `STORE_LOCKED` as long as another process has the lock, and the error of `decide`.
    fn reconcile(&self, decide: &mut Decide<'_>) -> Result<Reconciled>;

    /// Checks that a token can be written, before a login asks Ring for one. Only a mirror that creates the place for a token
    /// checks this: for any other one a failure is reported after the login, whose token the journal keeps.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::reconcile`].
    fn check_place(&self) -> Result<()> {
        Ok(())
    }

    /// Checks, as far as that is possible without showing a token, that a token can be written here, and says what a login would
    /// change beyond the token.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::reconcile`].
    fn dry_run(&self) -> Result<Introduced> {
        Ok(Introduced::default())
    }

    /// The name of the place in messages.
    fn name(&self) -> String;
}

/// How often a file is read that another program may be writing at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// Once: the caller blocks JavaScript's thread.
    One,
    /// Until it is whole, for a fraction of a second.
    Several,
}

/// Decides what happens to a mirror, by the token that it shows.
pub type Decide<'a> = dyn FnMut(Option<&Secret>) -> Result<Decision> + 'a;

/// What happens to a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is.
    Leave,
    /// It shows this token.
    Show(Secret),
    /// It shows none.
    Clear,
}

/// The result of [`Mirror::reconcile`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Whether it was written.
    pub written: bool,
    /// Changes besides the token.
    pub introduced: Introduced,
    /// Messages for a person.
    pub notices: Vec<Notice>,
}

#[cfg(test)]
mod tests;
