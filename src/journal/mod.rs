//! The durable state of one account: its format, the rules of token families, and the ways to keep it.
//!
//! The manager knows only the two traits here with their values, [`state::State`] and [`merge::merge`]. Files, locks
//! and their failures stay inside this module.

mod codec;
mod file;
mod finder;
mod format;
pub mod id;
mod links;
mod memory;
pub mod merge;
mod origin;
mod ours;
pub mod record;
mod seal;
pub mod state;

pub use codec::{Codec, KeySource, SealedWith, sealed_with};
pub(crate) use finder::{Finder, Journals, Readable, Sought};
pub use links::JournalStore;
pub use memory::MemoryStore;
pub use origin::{Claim, ELSEWHERE, elsewhere};
pub use ours::carries_signature;
pub use seal::{KEY_BYTES, Key};

use std::fs::Metadata;
use std::time::SystemTime;

use crate::Result;
use crate::token::{Fingerprint, RefreshToken};
use state::{Millis, State};

/// A store, which keeps the state of one account.
///
/// Every method may block on a disk: call it only on a thread that may block.
pub trait Store: Send + Sync + 'static {
    /// Reads the state, without the lock; `None` if there is none yet, or none that can be read.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for the journal of another issuer, `STORE` for one that cannot be used.
    fn peek(&self) -> Result<Option<State>>;

    /// Takes the lock without which this account must not be refreshed; `None` while another task or process has it.
    ///
    /// # Errors
    ///
    /// `STORE_LOCKED` if the file system has no locks, `STORE` if the file of the lock cannot be made.
    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>>;

    /// Whether what is written outlives the process.
    fn is_durable(&self) -> bool;

    /// Passes the token of the options: if the mirror shows no token and no journal has recorded the mirror, the journal that knows
    /// this token is used.
    fn prefer(&self, _token: Fingerprint) {}

    /// A stamp from the file's metadata, which differs after each write. `None` if the store is no file, so that only its own process
    /// changes it.
    fn stamp(&self) -> Option<Stamp>;

    /// Whether a write needs the program's own code, so that nothing can be written while the program ends.
    fn needs_the_program(&self) -> bool {
        false
    }

    /// Whether everything is in memory, so that no method blocks.
    fn is_in_memory(&self) -> bool {
        !self.is_durable() || self.needs_the_program()
    }

    /// Whether the state cannot be read before the first call, because its key is asked for only then.
    fn is_shut(&self) -> bool {
        false
    }

    /// The name of the store in messages.
    fn name(&self) -> String;
}

/// The right to read and write, released when it is dropped or its process dies.
pub trait Guard: Send {
    /// Reads the state, and returns notices for the user about it.
    ///
    /// # Errors
    ///
    /// As for [`Store::peek`].
    fn read(&mut self) -> Result<Found>;

    /// Decides whether the token of the state may be sent from here, or a copy of the journal uses it. Notes the path of the journal and
    /// the machine in the state, which the caller has to write before it sends the token.
    ///
    /// # Errors
    ///
    /// `STORE_LOCKED` while another process is sending the token, so that nothing can be decided; otherwise as for
    /// [`Store::peek`].
    fn claim(&mut self, _state: &mut State) -> Result<Claim> {
        Ok(Claim::Here(Vec::new()))
    }

    /// Reserves space for the next write, then makes this one durable. The manager calls it before it sends a request.
    ///
    /// # Errors
    ///
    /// `STORE`. The state that was written before is then still there.
    fn begin(&mut self, state: &mut State) -> Result<Begun>;

    /// Makes the state durable, in the reserved space if there is any, and tries every way to write. If another process has written since
    /// the state was read, its state is merged first.
    ///
    /// # Errors
    ///
    /// `STORE`. The state that was written before is then still there.
    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>>;

    /// Takes over a token from outside, in the journal that it belongs to. If other mirrors follow that journal as
    /// well, it is left to them, and the token gets a new journal. If several journals share a folder, the token is
    /// durable in this one before another process can take it.
    ///
    /// # Errors
    ///
    /// `STORE`. The state is then unchanged.
    fn accept(&mut self, state: &mut State, offer: Offer<'_>) -> Result<Accepted> {
        state.take_over(offer.token.clone(), offer.now);
        Ok(Accepted::Here { written: false, notices: Vec::new() })
    }

    /// Whether another journal of the same folder knows a token.
    ///
    /// # Errors
    ///
    /// `STORE` if the folder cannot be read.
    fn is_known_elsewhere(&self, _token: Fingerprint) -> Result<bool> {
        Ok(false)
    }

    /// The place that has the state which the last `commit` could not make durable, if there is one. The next process finds it there, but a
    /// restart of the computer may empty that place.
    fn stand_in(&self) -> Option<String> {
        None
    }

    /// Where the journal is, in a text that differs for each copy of it: its path, the device and number of its lock, and the machine.
    /// `None` if the locks of that file system are not known to be those of this machine alone.
    fn place(&self) -> Option<String> {
        None
    }

    /// Removes all tokens from the journal and from the files that are left of earlier ones. An empty journal stays and
    /// records that the account was logged out. A journal that other mirrors follow, too, stays for them, and a notice
    /// says so.
    ///
    /// # Errors
    ///
    /// `STORE` if something could not be removed.
    fn forget(&mut self) -> Result<Vec<Notice>>;
}

/// A token from outside that is to be used from now on.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The token.
    pub token: &'a RefreshToken,
    /// The origin of the token.
    pub origin: Origin,
    /// The time by the wall clock.
    pub now: Millis,
}

/// The origin of a token from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The user or a program had it: another journal may know it.
    Given,
    /// Ring gave it to a login just now: no other journal can know it.
    Login,
}

/// The result of an offer.
#[derive(Debug)]
pub enum Accepted {
    /// The token is the current one.
    Here {
        /// Whether that is durable already.
        written: bool,
        /// Notices for the user.
        notices: Vec<Notice>,
    },
    /// Nothing was changed: another journal of the folder knows the token.
    Elsewhere,
}

/// The result of a write before a request.
#[derive(Debug)]
pub enum Begun {
    /// The state is durable, and there is space for the answer. The notices are for the user.
    Ready(Vec<Notice>),
    /// Nothing was written, because another process has written since the state was read. This is its state.
    Overtaken(Box<State>),
}

/// The result of reading with the lock.
#[derive(Debug)]
pub struct Found {
    /// The state; a new one if there was none.
    pub state: State,
    /// Notices for the user.
    pub notices: Vec<Notice>,
}

/// The time of the last write to a store, as its file's metadata shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `None` if the file does not exist or its metadata cannot be read.
    written: Option<(SystemTime, u64)>,
}

impl Stamp {
    /// The stamp of a file with this metadata.
    pub(crate) fn of(metadata: Option<&Metadata>) -> Self {
        let modified = |metadata: &Metadata| metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Self { written: metadata.map(|metadata| (modified(metadata), metadata.len())) }
    }

    #[cfg(test)]
    pub(crate) fn of_length(length: u64) -> Self {
        Self { written: Some((SystemTime::UNIX_EPOCH, length)) }
    }
}

/// A message for the user about the store that is no failure: a damaged journal was moved aside, or a file could not be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(pub String);
