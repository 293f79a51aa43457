//! Other places that show the newest token, because people look there: Homebridge's `config.json`, a `.env` file, a
//! program's own code. The journal is the truth; what stands here follows it.
//!
//! The manager knows [`Mirror`] alone; files and their formats stay in here.

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

pub use custom::{CustomStore, Program, ProgramStore, Settling, key_of_program};
pub use dotenv::Dotenv;
pub use file::FileMirror;
pub use format::{Format, FormatError, Introduced};
pub use homebridge::Homebridge;
pub(crate) use target::state_folder;
pub use target::{Purpose, Target};
pub use turns::{Allowance, Turns};
pub(crate) use which_journal::JOURNALS_FOLDER;
pub use which_journal::Places;

use std::sync::Arc;

use crate::journal::Notice;
use crate::{Result, Secret};

/// What shows the newest token, behind a journal.
#[derive(Clone)]
pub enum Follower {
    /// A place that is read and written by this package. That blocks, for a short time.
    Place(Arc<dyn Mirror>),
    /// A program's own code. It runs on a thread of the program's, and is waited for without one of ours.
    Program(Arc<Program>),
}

impl Follower {
    /// How it is called in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Place(mirror) => mirror.name(),
            Self::Program(program) => program.name(),
        }
    }
}

/// A place that shows a token, behind a journal.
///
/// Everything here may block: call it where blocking is allowed.
pub trait Mirror: Send + Sync + 'static {
    /// The token that is shown; `None` where there is none.
    ///
    /// # Errors
    ///
    /// `STORE` for a place that cannot be read, `INVALID_ARGUMENT` for one that is not clear.
    fn look(&self, attempts: Attempts) -> Result<Option<Secret>>;

    /// Enters the place, alone among the processes that use this package, and does what is decided of the token that is
    /// shown then. Asks again where somebody else changed the place meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::look`], `STORE_LOCKED` while somebody else stays in it, and what `decide` says.
    fn settle(&self, decide: &mut Decide<'_>) -> Result<Settled>;

    /// Makes sure that a token can be written here, before a login asks Ring for one. Only a mirror that makes the place for
    /// a token checks this: for any other one a failure is reported after the login, whose token the journal keeps.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::settle`].
    fn check_place(&self) -> Result<()> {
        Ok(())
    }

    /// Checks, as far as that is possible without showing a token, that a token can be written here, and says what a login would
    /// change beyond the token.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::settle`].
    fn dry_run(&self) -> Result<Introduced> {
        Ok(Introduced::default())
    }

    /// How the place is called in messages.
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

/// Decides what becomes of the token that is shown.
pub type Decide<'a> = dyn FnMut(Option<&Secret>) -> Result<Decision> + 'a;

/// What is to become of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is.
    Leave,
    /// It shows this token.
    Show(Secret),
    /// It shows none.
    Clear,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Whether it was written.
    pub written: bool,
    /// What was changed beyond the token.
    pub introduced: Introduced,
    /// What a person should hear of it.
    pub notices: Vec<Notice>,
}

#[cfg(test)]
mod tests;
