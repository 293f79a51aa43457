//! The proof that a state may become known: it was read from the store, or the store was asked to write it.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{Put, Read, Sharing};
use crate::Result;
use crate::journal::state::{Millis, State};
use crate::journal::{self, Codec, Guard, Notice, Offer, Store, record};
use crate::manager::clock::{Clock, SystemClock};
use crate::manager::ring_clock::RingClock;
use crate::shared::SharedStore;
use crate::shared::decide::{self, Joined};

/// A state that came from the store; or one that the store could not write in any way, kept in memory with the lock.
///
/// A snapshot adopts nothing else, and no code outside of this file can make one from a state.
#[derive(Debug, Clone)]
pub(in crate::manager) struct Stored {
    state: Arc<State>,
    /// Whether a restart of the computer can lose it.
    is_unwritten: bool,
}

/// The result of a write before a request.
pub(super) enum Begun {
    /// The state is durable.
    Ready(Stored, Vec<Notice>),
    /// Nothing was written, because another process wrote since the state was read: this is its state.
    Overtaken(Stored),
}

/// The result of offering a token from outside to the store.
pub(super) enum Accepted {
    /// The token is the current one of the state that was passed. `Stored` is that state if it is durable.
    Here(Option<Stored>, Vec<Notice>),
    /// Nothing was changed: another journal of the folder knows the token.
    Elsewhere,
}

/// The result of writing the record of a shared store.
pub(super) enum Shared {
    /// The record holds the state. The write began at that time.
    Written(Stored, Duration),
    /// Nothing was written, because another host was faster: this is its record.
    Lost(Box<Read>),
}

impl Stored {
    fn read(state: State) -> Self {
        Self { is_unwritten: state.volatile, state: Arc::new(state) }
    }

    /// Reads what the store holds now, without the lock.
    pub(in crate::manager) fn peek(store: &dyn Store) -> Result<Option<Self>> {
        Ok(store.peek()?.map(Self::read))
    }

    /// Reads what the store holds, with the lock.
    pub(super) fn read_locked(guard: &mut dyn Guard) -> Result<(Self, Vec<Notice>)> {
        guard.read().map(|found| (Self::read(found.state), found.notices))
    }

    /// Writes a state before a request, with space reserved for the answer.
    pub(super) fn begin(guard: &mut dyn Guard, state: &mut State) -> Result<Begun> {
        Ok(match guard.begin(state)? {
            journal::Begun::Ready(notices) => {
                state.volatile = false;
                Begun::Ready(Self::read(state.clone()), notices)
            }
            journal::Begun::Overtaken(theirs) => Begun::Overtaken(Self::read(*theirs)),
        })
    }

    /// Writes a state. If that fails, the state that comes back is in memory only.
    pub(super) fn commit(guard: &mut dyn Guard, mut state: State) -> (Self, Result<Vec<Notice>>) {
        let result = guard.commit(&mut state);
        (Self { state: Arc::new(state), is_unwritten: result.is_err() }, result)
    }

    /// Offers a token from outside to the store.
    pub(super) fn accept(guard: &mut dyn Guard, state: &mut State, offer: Offer<'_>) -> Result<Accepted> {
        Ok(match guard.accept(state, offer)? {
            journal::Accepted::Here { written, notices } => {
                Accepted::Here(written.then(|| Self::read(state.clone())), notices)
            }
            journal::Accepted::Elsewhere => Accepted::Elsewhere,
        })
    }

    /// Makes the store forget the tokens of a state. Returns what it holds then: that the account was logged out, and the fingerprints.
    pub(super) fn forget(guard: &mut dyn Guard, former: State, now: Millis) -> Result<(Self, Vec<Notice>)> {
        guard.forget().map(|notices| (Self::read(former.after_logout(now)), notices))
    }

    /// Joins the record of a shared store with everything that only the spool of this host has. The state counts as unwritten until the
    /// store has confirmed that too.
    pub(super) fn joined(read: Read, spool: &State, sharing: &Sharing) -> Self {
        let sequence = read.state.as_ref().map_or(0, |record| record.sequence);
        let is_unconfirmed = sharing.is_unconfirmed(read.state.as_ref().and_then(|record| record.write));
        let Joined { mut state, is_ahead } = decide::join(read.state, spool);
        sharing.sees(read.version.as_deref(), sequence, &mut state);
        let state = record::on_host(state, spool, sharing.clock.wall());
        let state = State { clock_offset: sharing.clock.offset(), ..state };
        Self { state: Arc::new(state), is_unwritten: is_ahead || is_unconfirmed }
    }

    /// Writes a state into the record of a shared store.
    pub(super) async fn put(sharing: &Sharing, state: &mut State, version: &mut Option<String>) -> Result<Shared> {
        Ok(match sharing.put(state, version).await? {
            Put::Done { began } => Shared::Written(Self { state: Arc::new(state.clone()), is_unwritten: false }, began),
            Put::Lost(read) => Shared::Lost(read),
        })
    }

    /// This state after its `save` failed, which alone would have made it durable.
    pub(super) fn unwritten(self) -> Self {
        Self { is_unwritten: true, ..self }
    }

    /// This state with the path of the copy that was found to use its token. The store looks for that copy at each claim, so it
    /// does not matter whether the path is written.
    pub(super) fn moved_to(&self, path: PathBuf) -> Self {
        let state = State { moved: Some(path), ..State::clone(&self.state) };
        Self { state: Arc::new(state), is_unwritten: self.is_unwritten }
    }

    /// The state, to be kept beside others that have it.
    pub(super) fn share(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Whether a restart of the computer can lose this state.
    pub(super) fn is_unwritten(&self) -> bool {
        self.is_unwritten
    }

    pub(in crate::manager) fn into_state(self) -> State {
        Arc::unwrap_or_clone(self.state)
    }
}

/// Reads a shared store without a manager and without a request to Ring. Returns the record joined with the spool of this host, and the
/// clock by which its times count. The state is volatile if only the spool has its newest answer.
///
/// # Errors
///
/// `STORE` if the record cannot be read, `INVALID_ARGUMENT` for the record of another issuer.
pub async fn look_at_shared(
    engine: Arc<dyn SharedStore>,
    codec: Codec,
    spool: Option<State>,
) -> Result<(State, Arc<dyn Clock>)> {
    let clock = Arc::new(RingClock::new(SystemClock::shared()));
    let spool = spool.unwrap_or_else(|| State::new(codec.issuer()));
    clock.set_offset(spool.clock_offset);
    let sharing = Sharing::new(engine, codec, Arc::clone(&clock));
    let read = sharing.load().await?;
    if let Some(access) = read.state.as_ref().and_then(|record| record.access.as_ref()) {
        clock.note_at_least(access.obtained_at);
    }
    let joined = Stored::joined(read, &spool, &sharing);
    let state = State { volatile: joined.is_unwritten(), ..joined.into_state() };
    Ok((state, clock))
}

impl Deref for Stored {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}
