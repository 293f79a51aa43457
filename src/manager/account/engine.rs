//! The engine of a shared store, and what a manager knows about the record in it.

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

/// How often one write is made, if the store refuses it and has it nevertheless.
const MOST_WRITES: usize = 5;

/// What a manager needs for its shared store.
pub(in crate::manager) struct Sharing {
    pub(super) store: Arc<dyn SharedStore>,
    codec: Codec,
    /// This manager, in the marks that it writes.
    pub(in crate::manager) holder: u128,
    pub(in crate::manager) clock: Arc<RingClock>,
    /// The record that was seen last.
    seen: Mutex<Option<Seen>>,
    has_asked_for_warnings: AtomicBool,
    /// Whether a task is there already that brings the spool's answer to the store.
    is_brought: AtomicBool,
    /// Whether the record was read, or is being read because of [`Sharing::begins_first_look`].
    is_looked_at: AtomicBool,
    /// How many callers wait for a login.
    pub(in crate::manager) waiting: AtomicUsize,
}

/// What a manager remembers of the record that it saw last.
struct Seen {
    version: Option<String>,
    /// When this host first saw that version.
    since: Duration,
    sequence: u64,
    /// The mark of another host in it.
    mark: Option<Mark>,
}

/// The record, as a transaction has read it.
pub(super) struct Turned {
    /// The version that was read, or written since.
    pub(super) version: Option<String>,
    /// What the spool held when it was entered.
    pub(super) spool: State,
    /// What was noted since the record was read: it is applied again to a record that another host wrote meanwhile.
    pub(super) noted: Vec<Outcome>,
    /// Whether the spool does not have what was read.
    pub(super) is_spool_behind: bool,
}

/// What became of a write of the record.
pub(super) enum Put {
    /// It is durable, and was begun at that time.
    Done { began: Duration },
    /// Another host was faster: this is what it wrote.
    Lost(Box<Read>),
}

/// The record and its version; neither if there is none yet.
pub(super) struct Read {
    pub(super) state: Option<State>,
    pub(super) version: Option<String>,
}

/// What became of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Fate {
    /// It is kept.
    Kept,
    /// Another host had moved on from the token, so that a rejection of it says nothing.
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
            has_asked_for_warnings: AtomicBool::new(false),
            is_brought: AtomicBool::new(false),
            is_looked_at: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        }
    }

    /// How long this host has seen the record at that version.
    pub(super) fn watched(&self, version: Option<&str>) -> Duration {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let since = seen.as_ref().filter(|seen| seen.version.as_deref() == version).map(|seen| seen.since);
        since.map_or(Duration::ZERO, |since| self.clock.monotonic().saturating_sub(since))
    }

    /// Remembers a record of that version and sequence, and what it says. If it is older than the one that was seen before, the store
    /// forgot writes, and perhaps the mark of a request that is under way: the state gets that mark again.
    pub(super) fn sees(&self, version: Option<&str>, sequence: u64, state: &mut State) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = seen.as_ref().is_some_and(|seen| seen.version.as_deref() == version);
        if let Some(Seen { mark: Some(mark), sequence: before, .. }) = &*seen
            && (is_same || sequence < *before)
            && state.mark.is_none()
            && Some(mark.fingerprint) == state.fingerprint()
        {
            state.mark = Some(mark.clone());
        }
        if !is_same {
            let is_own = |mark: &&Mark| mark.lease.is_some_and(|lease| lease.holder == self.holder);
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

    /// Waits for the engine, but not forever.
    pub(super) async fn limited<T>(&self, call: Answer<'_, T>) -> Result<T> {
        let limit = self.clock.sleep(CALL_LIMIT);
        tokio::select! {
            biased;
            result = call => result.map_err(|words| {
                let words = without_tokens(words.expose(), []);
                let message =
                    format!("{} failed ({words}). Nothing is sent until it works again; this is tried again.", self.store.name());
                Error::new(ErrorCode::Store, message).passing()
            }),
            () = limit => Err(Error::new(
                ErrorCode::Store,
                format!("{} did not answer within 10 seconds. Nothing is sent until it does; this is tried again.", self.store.name()),
            )
            .passing()),
        }
    }

    pub(super) async fn load(&self) -> Result<Read> {
        let kept = self.limited(self.store.load()).await?;
        self.is_looked_at.store(true, Ordering::Release);
        let Some(Kept { value, version }) = kept else { return Ok(Read { state: None, version: None }) };
        let (codec, name) = (self.codec.clone(), self.store.name());
        let state = if codec.has_key() {
            // A key may have to be asked for.
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

    /// Writes a record over the version that was read. A write whose answer was lost is recognised in what is kept then; it is made
    /// once more, because what is visible need not be durable. Two failures in a row are `STORE`, and so is a store that goes on to
    /// refuse a write that it has.
    pub(super) async fn put(&self, state: &mut State, version: &mut Option<String>) -> Result<Put> {
        let mut writes = Vec::new();
        let mut failed = false;
        loop {
            let write = self.clock.random();
            writes.push(write);
            state.write = Some(write);
            // A record that went back is recognised by its sequence.
            state.sequence += 1;
            let text = self.encode(state).await?;
            let began = self.clock.with_suspend();
            let fails = match self.limited(self.store.commit(text, version.clone())).await {
                Ok(Some(new)) => {
                    // From now on it is this host's own.
                    self.sees(Some(&new), state.sequence, state);
                    *version = Some(new);
                    return Ok(Put::Done { began });
                }
                Ok(None) => false,
                Err(error) if failed => return Err(error),
                Err(_) => true,
            };
            failed |= fails;
            let read = self.load().await?;
            let found = read.state.as_ref().and_then(|state| state.write);
            if found == Some(write) && !fails {
                // The client sent the same write twice.
                *version = read.version;
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

    /// Begins the first look at the record, unless this manager has read it, or another task begins it.
    pub(in crate::manager) fn begins_first_look(&self) -> bool {
        !self.is_looked_at.swap(true, Ordering::AcqRel)
    }

    /// The first look failed: the next call may begin another one.
    pub(in crate::manager) fn misses_first_look(&self) {
        self.is_looked_at.store(false, Ordering::Release);
    }

    /// Whether the engine has to be asked for its warnings: once.
    pub(super) fn takes_warnings(&self) -> bool {
        !self.has_asked_for_warnings.swap(true, Ordering::AcqRel)
    }

    /// Begins to bring the spool's answer to the store, if no task does it already.
    pub(in crate::manager) fn begins_sharing(&self) -> bool {
        !self.is_brought.swap(true, Ordering::AcqRel)
    }

    /// The task that brought the spool's answer to the store has ended.
    pub(in crate::manager) fn ends_sharing(&self) {
        self.is_brought.store(false, Ordering::Release);
    }
}

/// The runtime has ended, and the process with it.
fn broken() -> Error {
    Error::new(ErrorCode::Store, "The record could not be read or written, because the process ends.").passing()
}

/// What a call is answered with if other hosts are always faster: a store that compares wrongly does that.
pub(super) fn raced(sharing: &Sharing, then: &str) -> Error {
    let message =
        format!("Other hosts changed {} again and again while this one wrote it. {then}", sharing.store.name());
    Error::new(ErrorCode::Store, message).passing()
}

/// A store that says that another host was faster, while it shows this host's own write.
fn refuses_what_it_has(sharing: &Sharing) -> Error {
    let message = format!(
        "{} says again and again that another host was faster, but what it holds is from this host. Test the store with checkStore of ring-auth/stores/check; this is tried again.",
        sharing.store.name()
    );
    Error::new(ErrorCode::Store, message).passing()
}
