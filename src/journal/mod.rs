//! The durable state of one account: its format, its lineage rules, and the ways to keep it.
//!
//! The manager knows the two traits here and [`state::State`]; files, locks and what can go wrong with them stay inside.

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

    /// Says which token the caller brought along: if the mirror shows no token and no journal has recorded it, the journal that
    /// knows this token is meant.
    fn prefer(&self, _token: Fingerprint) {}

    /// What one look at the file's metadata shows. It differs after each write. `None` if the store is no file, so that
    /// only its own process changes it.
    fn stamp(&self) -> Option<Stamp>;

    /// Whether writing needs the program's own code to run, so that nothing can be written once the program is ending.
    fn needs_the_program(&self) -> bool {
        false
    }

    /// Whether everything is in memory, so that nothing here blocks.
    fn is_in_memory(&self) -> bool {
        !self.is_durable() || self.needs_the_program()
    }

    /// Whether what is kept cannot be read before the first call, because its key is asked for only then.
    fn is_shut(&self) -> bool {
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

    /// Whether the token of the state may be sent from here, or a copy of the journal uses it. Where the journal is, and on which
    /// machine, is noted in the state, which is to be written before the token is sent.
    ///
    /// # Errors
    ///
    /// `STORE_LOCKED` while that is not decided because another process is sending the token; as for [`Store::peek`].
    fn claim(&mut self, _state: &mut State) -> Result<Claim> {
        Ok(Claim::Here(Vec::new()))
    }

    /// Keeps room for the write after this one, then makes this one durable. Done before a request is sent.
    ///
    /// # Errors
    ///
    /// `STORE`, and then what was kept before still is.
    fn begin(&mut self, state: &mut State) -> Result<Begun>;

    /// Makes the state durable, in every way there is, in the room kept if there is some. If another process wrote since
    /// the state was read, what that wrote is merged into the state first.
    ///
    /// # Errors
    ///
    /// `STORE`, and then what was kept before still is.
    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>>;

    /// Takes over a token from outside, in the journal that it belongs to. A journal that other mirrors follow as well is
    /// left to them, and the token gets a new one. Where several journals share a folder, the token is durable in this one
    /// before another process can take it.
    ///
    /// # Errors
    ///
    /// `STORE`, and then the state is what it was before.
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

    /// The place that has what the last `commit` could not make durable, if there is one: it is found by the next process,
    /// but may not outlive a restart of the computer.
    fn stand_in(&self) -> Option<String> {
        None
    }

    /// Forgets everything: the journal, and what is left of earlier ones. What stays says that the account was logged out.
    /// A journal that other mirrors follow as well stays for them, and the notices say so.
    ///
    /// # Errors
    ///
    /// `STORE` where something could not be removed.
    fn forget(&mut self) -> Result<Vec<Notice>>;
}

/// A token from outside that is to be used from now on.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The token.
    pub token: &'a RefreshToken,
    /// Where it comes from.
    pub origin: Origin,
    /// The time by the wall clock.
    pub now: Millis,
}

/// Where a token from outside comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A person or a program had it: another journal may know it.
    Given,
    /// Ring gave it to a login just now: no other journal can know it.
    Login,
}

/// What became of an offer.
#[derive(Debug)]
pub enum Accepted {
    /// The token is the current one.
    Here {
        /// Whether that is durable already.
        written: bool,
        /// What a person should hear of it.
        notices: Vec<Notice>,
    },
    /// Nothing was changed: another journal of the folder knows the token.
    Elsewhere,
}

/// What became of a write before a request.
#[derive(Debug)]
pub enum Begun {
    /// It is durable, and there is room for the answer. A person should hear these.
    Ready(Vec<Notice>),
    /// Nothing was written, because another process wrote since the state was read: this is its state now.
    Overtaken(Box<State>),
}

/// What a guard found.
#[derive(Debug)]
pub struct Found {
    /// The state; a new one where there was none.
    pub state: State,
    /// What a person should hear of it.
    pub notices: Vec<Notice>,
}

/// When a store was last written, as its file's metadata shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// `None` if the file is not there or cannot be looked at.
    written: Option<(SystemTime, u64)>,
}

impl Stamp {
    /// The stamp of a file with these metadata.
    pub(crate) fn of(metadata: Option<&Metadata>) -> Self {
        let modified = |metadata: &Metadata| metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Self { written: metadata.map(|metadata| (modified(metadata), metadata.len())) }
    }

    #[cfg(test)]
    pub(crate) fn of_length(length: u64) -> Self {
        Self { written: Some((SystemTime::UNIX_EPOCH, length)) }
    }
}

/// A sentence about the store that is no failure: a damaged journal moved aside, a file that could not be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(pub String);
