//! The engine of a shared store, and what a manager remembers of the record in it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::journal::merge::Outcome;
use crate::journal::state::{Mark, State};
use crate::journal::{Codec, record};
use crate::manager::clock::Clock;
use crate::manager::ring_clock::RingClock;
use crate::mirror::without_tokens;
use crate::shared::{Answer, CALL_LIMIT, Kept, SharedStore};
use crate::{Error, ErrorCode, Result, Secret, task};

/// The largest number of tries of one write, if the store reports that another host was faster but has this write.
const MOST_WRITES: usize = 5;
/// The largest number of remembered writes whose outcome is not known.
const MOST_UNCONFIRMED: usize = 32;

/// The shared store of a manager, with everything that the manager needs to use it.
pub(in crate::manager) struct Sharing {
    pub(super) store: Arc<dyn SharedStore>,
    codec: Codec,
    /// The 128 random bits that stand for this manager in the marks that it writes.
    pub(in crate::manager) holder: u128,
    pub(in crate::manager) clock: Arc<RingClock>,
    /// The record that was seen last.
    seen: Mutex<Option<Seen>>,
    /// The writes whose outcome is not known, since the last one that was confirmed.
    unconfirmed: Mutex<Vec<u128>>,
    /// Whether one of these writes had the outcome of a request, which must be in the store, and not just a mark.
    is_owed: AtomicBool,
    has_asked_for_warnings: AtomicBool,
    /// Whether a task already writes the spool's answer to the store.
    is_brought: AtomicBool,
    /// Whether the record was read, or is being read because of [`Sharing::begins_first_look`].
    is_looked_at: AtomicBool,
    /// The number of callers that wait for a login.
    pub(in crate::manager) waiting: AtomicUsize,
}

/// The facts that a manager remembers of the record that it saw last.
struct Seen {
    version: Option<String>,
    /// The time of the monotonic clock at which this host first saw that version.
    since: Duration,
    sequence: u64,
    /// The mark of another host in it.
    mark: Option<Mark>,
}

/// The record that a transaction has read.
pub(super) struct Turned {
    /// The version that the transaction has read, or has written since.
    pub(super) version: Option<String>,
    /// The state in the spool when the transaction entered it.
    pub(super) spool: State,
    /// The outcomes since the record was read. They are applied again to a record that another host wrote meanwhile.
    pub(super) noted: Vec<Outcome>,
    /// Whether the record has something that the spool does not have.
    pub(super) is_spool_behind: bool,
}

/// The result of a write of the record.
pub(super) enum Put {
    /// The write is durable. `began` is the time of the clock with suspend at which it began.
    Done { began: Duration },
    /// Another host was faster, and wrote this record.
    Lost(Box<Read>),
}

/// The record and its version; both are `None` if there is no record yet.
pub(super) struct Read {
    pub(super) state: Option<State>,
    pub(super) version: Option<String>,
}

/// Whether the outcome of a request was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Fate {
    /// The outcome is stored.
    Kept,
    /// The outcome is a rejection, and another host has written since the mark of the request: the rejection does not count.
    MovedOn,
}

impl Sharing {
    pub(in crate::manager) fn new(store: Arc<dyn SharedStore>, codec: Codec, clock: Arc<RingClock>) -> Self {
        Self {
            store,
            codec,
            holder: clock.random(),
            clock,
            seen: Mutex::new(None),
            unconfirmed: Mutex::default(),
            is_owed: AtomicBool::new(false),
            has_asked_for_warnings: AtomicBool::new(false),
            is_brought: AtomicBool::new(false),
            is_looked_at: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        }
    }

    /// The time since this host first saw the record at that version; zero for another version than the last one seen.
    pub(super) fn watched(&self, version: Option<&str>) -> Duration {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = seen.as_ref().filter(|seen| seen.version.as_deref() == version).map(|seen| seen.since);
        since.map_or(Duration::ZERO, |since| self.clock.monotonic().saturating_sub(since))
    }

    /// Remembers the version, the sequence and the mark of a record. If the record is older than the one that was seen before, the store
    /// forgot writes, and perhaps the mark of a request that is under way. Then the state gets that mark again.
    pub(super) fn sees(&self, version: Option<&str>, sequence: u64, state: &mut State) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = seen.as_ref().is_some_and(|seen| seen.version.as_deref() == version);
        if let Some(Seen { mark: Some(mark), sequence: before, .. }) = &*seen
            && (is_same || sequence <= *before)
            && Some(mark.fingerprint) == state.fingerprint()
        {
            state.mark = Some(mark.clone());
        }
        if !is_same {
            let is_own = |mark: &&Mark| mark.holder() == Some(self.holder);
            *seen = Some(Seen {
                version: version.map(str::to_owned),
                since: self.clock.monotonic(),
                sequence,
                mark: state.mark.as_ref().filter(|mark| !is_own(mark)).cloned(),
            });
        }
    }

    /// Whether this manager has seen the record.
    pub(in crate::manager) fn has_looked(&self) -> bool {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Waits for a call of the engine, for [`CALL_LIMIT`] at most. An error of the engine becomes `STORE`.
    pub(super) async fn limited<T>(&self, call: Answer<'_, T>) -> Result<T> {
        let limit = self.clock.sleep(CALL_LIMIT);
        tokio::select! {
            biased;
            result = call => result.map_err(|words| {
                let words = without_tokens(words.expose(), []);
                let message =
                    format!("A call of {} failed ({words}). Nothing is sent until it works again; this is tried again.", self.store.name());
                Error::new(ErrorCode::Store, message).passing()
            }),
            () = limit => Err(self.unanswered()),
        }
    }

    /// The error for a call that did not end in time.
    pub(super) fn unanswered(&self) -> Error {
        let message = format!(
            "A call of {} took longer than 10 seconds. Nothing is sent until it works again; this is tried again.",
            self.store.name()
        );
        Error::new(ErrorCode::Store, message).passing()
    }

    pub(super) async fn load(&self) -> Result<Read> {
        let kept = self.limited(self.store.load()).await?;
        self.is_looked_at.store(true, Ordering::Release);
        let Some(Kept { value, version }) = kept else { return Ok(Read { state: None, version: None }) };
        let (codec, name) = (self.codec.clone(), self.store.name());
        let state = if codec.has_key() {
            // The source of the key may block.
            let read = task::spawn_blocking(move || record::decode(&value, &codec, &name)).await;
            read.unwrap_or_else(|_| Err(broken()))?
        } else {
            record::decode(&value, &codec, &name)?
        };
        Ok(Read { state: Some(state), version: Some(version) })
    }

    async fn encode(&self, state: &State) -> Result<Secret> {
        if !self.codec.has_key() {
            return record::encode(state, &self.codec);
        }
        let (codec, state) = (self.codec.clone(), state.clone());
        task::spawn_blocking(move || record::encode(&state, &codec)).await.unwrap_or_else(|_| Err(broken()))
    }

    /// Replaces the record of the version that was read. If a write fails, loads the record and looks for the `write` bits of this write.
    /// If they are there, writes once more, because a visible write need not be durable.
    ///
    /// # Errors
    ///
    /// `STORE` if the write fails twice, if the record cannot be loaded, and if the store reports again and again that another host was
    /// faster although it has this write.
    pub(super) async fn put(&self, state: &mut State, version: &mut Option<String>) -> Result<Put> {
        let mut writes = Vec::new();
        let mut failed = false;
        loop {
            let write = self.clock.random();
            writes.push(write);
            state.write = Some(write);
            // By its sequence, a manager recognises a record that lost writes.
            state.sequence += 1;
            let text = self.encode(state).await?;
            let began = self.clock.with_suspend();
            let fails = match self.limited(self.store.commit(text, version.clone())).await {
                Ok(Some(new)) => {
                    // The record of the new version is this host's own.
                    self.sees(Some(&new), state.sequence, state);
                    *version = Some(new);
                    self.confirms();
                    return Ok(Put::Done { began });
                }
                Ok(None) => false,
                Err(error) => {
                    self.remembers(write);
                    if failed {
                        return Err(error);
                    }
                    true
                }
            };
            failed |= fails;
            let read = self.load().await?;
            let found = read.state.as_ref().and_then(|state| state.write);
            if found == Some(write) && !fails {
                // The client sent the same write twice.
                *version = read.version;
                self.confirms();
                return Ok(Put::Done { began });
            }
            if found.is_some_and(|found| writes.contains(&found)) || (fails && read.version == *version) {
                if writes.len() > MOST_WRITES {
                    return Err(refuses_what_it_has(self));
                }
                *version = read.version;
                continue;
            }
            return Ok(Put::Lost(Box::new(read)));
        }
    }

    fn remembers(&self, write: u128) {
        let mut unconfirmed = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if unconfirmed.len() == MOST_UNCONFIRMED {
            unconfirmed.remove(0);
        }
        unconfirmed.push(write);
    }

    fn confirms(&self) {
        self.is_owed.store(false, Ordering::Release);
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Notes that the last write had the outcome of a request, which must be in the store.
    pub(super) fn owes(&self) {
        self.is_owed.store(true, Ordering::Release);
    }

    /// Whether the record with this write must be written once more: it has an outcome of this host, the store has not confirmed the write,
    /// and a visible write need not be durable.
    pub(super) fn is_unconfirmed(&self, write: Option<u128>) -> bool {
        let Some(write) = write.filter(|_| self.is_owed.load(Ordering::Acquire)) else { return false };
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).contains(&write)
    }

    /// Returns whether the caller has to take the first look at the record: this manager has not read the record, and no other task has
    /// begun to.
    pub(in crate::manager) fn begins_first_look(&self) -> bool {
        !self.is_looked_at.swap(true, Ordering::AcqRel)
    }

    /// Whether the first look was begun and has not ended.
    pub(in crate::manager) fn is_looking_first(&self) -> bool {
        self.is_looked_at.load(Ordering::Acquire) && !self.has_looked()
    }

    /// Notes that the first look failed, so that the next call may begin another one.
    pub(in crate::manager) fn misses_first_look(&self) {
        self.is_looked_at.store(false, Ordering::Release);
    }

    /// Returns whether the caller has to ask the engine for its warnings: `true` once.
    pub(super) fn takes_warnings(&self) -> bool {
        !self.has_asked_for_warnings.swap(true, Ordering::AcqRel)
    }

    /// Returns whether the caller has to start the task that writes the spool's answer to the store: no other task does it already.
    pub(in crate::manager) fn begins_sharing(&self) -> bool {
        !self.is_brought.swap(true, Ordering::AcqRel)
    }

    /// Notes that the task that wrote the spool's answer to the store has ended.
    pub(in crate::manager) fn ends_sharing(&self) {
        self.is_brought.store(false, Ordering::Release);
    }
}

/// The error of a call that the end of the runtime, and so of the process, has interrupted.
fn broken() -> Error {
    Error::new(ErrorCode::Store, "The record could not be read or written, because the process ends.").passing()
}

/// The error of a call if other hosts were faster each time. A store that compares wrongly causes this.
pub(super) fn raced(sharing: &Sharing, then: &str) -> Error {
    let message =
        format!("Other hosts changed {} again and again while this one wrote it. {then}", sharing.store.name());
    Error::new(ErrorCode::Store, message).passing()
}

/// The error for a store that reports that another host was faster, although it has this host's own write.
fn refuses_what_it_has(sharing: &Sharing) -> Error {
    let message = format!(
        "Again and again, {} says that another host was faster, but it holds what this host has written. Test the store with checkStore of ring-auth/stores/check; this is tried again.",
        sharing.store.name()
    );
    Error::new(ErrorCode::Store, message).passing()
}
