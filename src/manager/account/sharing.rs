//! The record of a shared store within a transaction. A transaction reads the record after it has entered the spool, and writes the record
//! after it has written the spool.
//!
//! The spool is this host's own journal. The decisions about the record are in [`decide`]. The numbers of the steps are those of
//! `docs/shared-store.md`.

use std::time::Duration;

use super::engine::{Fate, Read, Sharing, Turned, raced};
use super::flight::{Landing, Stage};
use super::inner::Inner;
use super::pending::Pending;
use super::snapshot::closed;
use super::stored::{Shared, Stored};
use super::transaction::{Answered, Start, Transaction};
use crate::journal::merge::{Outcome, merge};
use crate::journal::state::{Lease, Mark, Millis, State};
use crate::journal::{Begun, Guard, Notice};
use crate::manager::clock::Clock;
use crate::manager::events::Level;
use crate::manager::policy;
use crate::shared::decide::{self, FIRST_LOOK, LONGEST_LOOK, Turn};
use crate::shared::{CALL_LIMIT, lease};
use crate::token::Fingerprint;
use crate::{Error, ErrorCode, Result, task};

/// The largest number of tries of one write at which other hosts were faster.
const MOST_RACES: u32 = 20;
/// The largest number of marks in a row whose write left too little time for the request.
const MOST_LATE_MARKS: u32 = 3;

/// The next step of a transaction that has waited for its turn.
pub(in crate::manager) enum Next {
    /// Send the token.
    Send,
    /// Decide again, because another host has written the record.
    Decide,
}

impl Inner {
    /// The lease of this manager's requests.
    fn lease(&self) -> Duration {
        lease(self.settings.request_timeout)
    }

    fn store_failed(&self, error: &Error) {
        self.update(|snapshot, _| snapshot.store_problem = Some(error.clone()));
    }

    /// Adds a sentence to the error of a write of the record: where the newest token is meanwhile.
    fn only_in_spool(&self, error: Error) -> Error {
        let is_on_disk = self.parts.store.is_durable();
        let place = if is_on_disk { self.parts.store.name() } else { "memory".to_owned() };
        error.with_sentence(&format!(
            "The newest token is only in {place} of this host until the store takes it; that is tried every 5 seconds."
        ))
    }

    /// Reports that the store did not take the newest token.
    fn report_unshared(&self, error: &Error) {
        if !self.snapshot().is_unwritten_because_of(error) {
            self.log(Level::Error, format!("{error}"));
        }
        self.update(|snapshot, _| {
            snapshot.is_to_be_written_again();
            snapshot.store_problem = Some(error.clone());
        });
    }

    /// Asks the engine once for its warnings, and logs them. No call waits for the answer.
    fn tell_warnings(&self, sharing: &Sharing) {
        let Some(inner) = self.me.upgrade() else { return };
        if !sharing.takes_warnings() {
            return;
        }
        task::spawn(&self.parts.runtime, async move {
            if let Some(sharing) = inner.sharing()
                && let Ok(warnings) = sharing.limited(sharing.store.warnings()).await
            {
                inner.log_notices(warnings.into_iter().map(Notice).collect());
            }
        });
    }
}

impl Transaction<'_> {
    /// Steps 2 to 4: reads the record, and joins it with the spool.
    ///
    /// # Errors
    ///
    /// `STORE` if the record cannot be read. The transaction then leaves the spool, and nothing is sent.
    pub(super) async fn join_record(mut self) -> Result<Self> {
        let inner = self.inner;
        let Some(sharing) = inner.sharing() else { return Ok(self) };
        inner.tell_warnings(sharing);
        match sharing.load().await {
            Ok(read) => {
                let spool = self.state.clone();
                self.take_in(read, spool, Vec::new());
                Ok(self)
            }
            Err(error) => {
                inner.store_failed(&error);
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Replaces the state by the record that was read, and applies the noted outcomes to it again.
    fn take_in(&mut self, read: Read, spool: State, noted: Vec<Outcome>) {
        let Some(sharing) = self.inner.sharing() else { return };
        if let Some(access) = read.state.as_ref().and_then(|state| state.access.as_ref()) {
            sharing.clock.note_at_least(access.obtained_at);
        }
        let version = read.version.clone();
        // The spool may not have yet what this transaction has read before, and the store may have forgotten it since.
        let is_behind = |state: &State| state.is_behind(&self.read);
        let forgets = is_behind(&spool) && read.state.as_ref().is_none_or(is_behind);
        let joined = Stored::joined(read, if forgets { &self.read } else { &spool }, sharing);
        self.read = joined;
        let is_ahead = self.read.is_unwritten();
        let mut state = State::clone(&self.read);
        // These outcomes are about a request and its mark. Another host has written since, so they do not count. A failed request still does
        // if its mark is there: that host changed something else, such as the push credentials.
        let is_marked = state.mark.as_ref().and_then(Mark::holder) == Some(sharing.holder);
        let still_counts = |outcome: &Outcome| match outcome {
            Outcome::Rejected { .. } | Outcome::Ended { .. } => false,
            Outcome::BackedOff { .. } => is_marked,
            _ => true,
        };
        let noted: Vec<_> = noted.into_iter().filter(still_counts).collect();
        for outcome in &noted {
            state = merge(state, outcome);
        }
        self.changed = is_ahead || !noted.is_empty();
        if is_ahead {
            self.inner.update(|snapshot, _| snapshot.is_to_be_written_again());
        }
        let is_spool_behind = State { sequence: spool.sequence, write: spool.write, ..state.clone() } != spool;
        self.state = state;
        self.turned = Some(Box::new(Turned { version, spool, noted, is_spool_behind }));
    }

    /// Returns the record of a shared store as this host found it at its first look, if this host knew nothing newer than `known` before.
    /// Its tokens are from rotations of other hosts before the call, so they do not count as the rotation for which the caller has asked.
    pub(in crate::manager) fn found_by_first_look(&self, known: Option<Fingerprint>) -> Option<&State> {
        let spooled = self.turned.as_ref()?.spool.fingerprint();
        (spooled.is_none() || spooled == known).then_some(&self.state)
    }

    /// Step 5: waits while another host may have a request with the token under way. `since` is the time at which the call began.
    ///
    /// # Errors
    ///
    /// `STORE_LOCKED` two leases after `since`, `CLOSED` if the manager is closed meanwhile.
    pub(in crate::manager) async fn await_turn(mut self, since: Duration) -> Result<(Self, Next)> {
        let inner = self.inner;
        let Some(sharing) = inner.sharing() else { return Ok((self, Next::Send)) };
        let place = self.guard.as_ref().and_then(|guard| guard.place());
        let mut look = FIRST_LOOK;
        loop {
            let Some(turned) = &self.turned else { return Ok((self, Next::Send)) };
            let watched = sharing.watched(turned.version.as_deref());
            let dead = decide::dead_holder(&turned.spool, place.as_deref());
            let mark = self.state.mark.as_ref();
            let Turn::Wait(left) = decide::turn(mark, sharing.holder, dead, watched, inner.lease()) else {
                return Ok((self, Next::Send));
            };
            if sharing.clock.monotonic().saturating_sub(since) >= inner.lease() * 2 {
                self.leave().await;
                return Err(Error::new(
                    ErrorCode::StoreLocked,
                    format!(
                        "Another host has been refreshing the token in {} for longer than a refresh takes. Nothing was sent from here; this is tried again at the next call.",
                        sharing.store.name()
                    ),
                ));
            }
            if !inner.pause(policy::spread(look, sharing.clock.jitter()).min(left)).await {
                self.leave().await;
                return Err(closed());
            }
            look = (look * 2).min(LONGEST_LOOK);
            // A failure needs no handling here: while the store fails, the commit of the mark fails too, and nothing is sent.
            if let Ok(read) = sharing.load().await
                && let Some(turned) = self.turned.take_if(|turned| turned.version != read.version)
            {
                self.take_in(read, turned.spool, turned.noted);
                return Ok((self, Next::Decide));
            }
        }
    }

    /// Steps 6 and 7: writes the mark into the spool, then into the record, and makes sure that the request ends within the lease.
    pub(super) async fn mark_record(&mut self, mut mark: Mark) -> Result<Start> {
        let inner = self.inner;
        let Some(sharing) = inner.sharing() else { return Ok(Start::Ready) };
        mark.lease = Some(Lease { holder: sharing.holder, length: inner.lease() });
        let before = (self.state.mark.clone(), self.state.spool_place.clone());
        for _ in 0..MOST_LATE_MARKS {
            mark.started_at = sharing.clock.wall();
            self.state.mark = Some(mark.clone());
            match self.write_before().await? {
                Some(began) => {
                    let since = sharing.clock.with_suspend().saturating_sub(began);
                    if decide::may_send(since, inner.settings.request_timeout, inner.lease()) {
                        return Ok(Start::Ready);
                    }
                }
                None => return Ok(Start::Overtaken),
            }
        }
        // Nothing was sent with these marks. If the last one stayed, it would count as a request whose answer is not known.
        // The place of the spool belongs to them: with it, the holder of the mark before would count as a process that has ended.
        (self.state.mark, self.state.spool_place) = before;
        if self.write_before().await?.is_none() {
            return Ok(Start::Overtaken);
        }
        Err(Error::new(
            ErrorCode::Store,
            format!(
                "It took too long to store the mark of a request in {}, three times in a row. Nothing was sent; this is tried again at the next call.",
                sharing.store.name()
            ),
        )
        .passing())
    }

    /// Writes the spool and then the record, before a request. Returns the time at which the write of the record began. Returns `None` if
    /// another host was faster; the state is then that host's.
    pub(super) async fn write_before(&mut self) -> Result<Option<Duration>> {
        let inner = self.inner;
        let Some(sharing) = inner.sharing() else { return Ok(None) };
        let Some(guard) = self.guard.take() else { return Err(closed()) };
        let mut state = State { clock_offset: sharing.clock.offset(), ..self.state.clone() };
        let is_own = self.state.mark.as_ref().and_then(Mark::holder) == Some(sharing.holder);
        let (guard, (state, begun)) = inner
            .blocking(guard, move |guard| {
                // The place of the spool belongs to a mark of this host alone.
                if is_own {
                    state.spool_place = guard.place();
                }
                let begun = guard.begin(&mut state);
                (state, begun)
            })
            .await;
        self.guard = Some(guard);
        let result = match begun {
            Ok(Begun::Ready(notices)) => {
                inner.log_once(notices);
                self.state = state;
                self.put_state(sharing).await
            }
            // Another process of this host has written in spite of the lock.
            Ok(Begun::Overtaken(theirs)) => {
                let read = sharing.load().await;
                read.map(|read| {
                    let (mut spool, noted) = self
                        .turned
                        .take()
                        .map_or_else(|| (State::clone(&theirs), Vec::new()), |turned| (turned.spool, turned.noted));
                    spool.merge(*theirs);
                    self.take_in(read, spool, noted);
                    None
                })
            }
            Err(error) => Err(error),
        };
        match &result {
            Ok(Some(_)) => {
                let changed = std::mem::take(&mut self.changed);
                if let Some(turned) = &mut self.turned {
                    turned.noted.clear();
                    turned.is_spool_behind = false;
                }
                inner.update(|snapshot, clock| {
                    if changed {
                        snapshot.adopt(&self.read, clock);
                    }
                    snapshot.offered.given = None;
                    snapshot.store_problem = None;
                });
            }
            Ok(None) => {
                self.overtaken += 1;
                if self.overtaken > MOST_RACES {
                    return Err(raced(sharing, "Nothing was sent; this is tried again at the next call."));
                }
            }
            Err(error) => inner.store_failed(error),
        }
        result
    }

    /// Writes the state into the record. If another host was faster, the state is then that host's, with the noted outcomes.
    async fn put_state(&mut self, sharing: &Sharing) -> Result<Option<Duration>> {
        let Some(mut turned) = self.turned.take() else { return Err(closed()) };
        match Stored::put(sharing, &mut self.state, &mut turned.version).await {
            Ok(Shared::Lost(read)) => {
                self.take_in(*read, turned.spool, turned.noted);
                Ok(None)
            }
            Ok(Shared::Written(written, began)) => {
                self.read = written;
                self.turned = Some(turned);
                Ok(Some(began))
            }
            Err(error) => {
                self.turned = Some(turned);
                Err(error)
            }
        }
    }

    /// Writes the state into the record. If other hosts write meanwhile, applies the noted outcomes to their records and tries again. Returns
    /// whether a rejection among these outcomes still counts.
    async fn write_record(&mut self, sharing: &Sharing) -> (Fate, Result<()>) {
        let is_about_rejection = self
            .turned
            .as_ref()
            .is_some_and(|turned| turned.noted.iter().any(|noted| matches!(noted, Outcome::Rejected { .. })));
        let mut fate = Fate::Kept;
        for _ in 0..MOST_RACES {
            match self.put_state(sharing).await {
                Ok(Some(_)) => return (fate, Ok(())),
                Ok(None) => {
                    if is_about_rejection {
                        fate = Fate::MovedOn;
                    }
                    if !self.changed {
                        return (fate, Ok(()));
                    }
                }
                Err(error) => return (fate, Err(error)),
            }
        }
        (fate, Err(raced(sharing, "This is tried again.")))
    }

    /// Step 8: writes the outcome into the spool, then once into the record. If the record does not take it, a task writes it there later.
    pub(super) async fn write_shared(mut self) -> Fate {
        let inner = self.inner;
        let (Some(sharing), Some(guard)) = (inner.sharing(), self.guard.take()) else { return Fate::Kept };
        inner.snapshot().offered.given = None;
        let state = State { clock_offset: sharing.clock.offset(), ..self.state.clone() };
        let (write, auth) = match self.in_flight.take().map(|answered| *answered) {
            Some(Answered { write, auth }) => (write, auth),
            None => (inner.begin_write(), None),
        };
        let (guard, (newest, spooled)) =
            inner.blocking(guard, move |guard| Stored::commit(guard.as_mut(), state)).await;
        let state = State::clone(&newest);
        // From here on, the end of the process loses nothing.
        drop(write);
        self.state = state.clone();
        let is_on_disk = spooled.is_ok() && inner.parts.store.is_durable();
        let landing = auth.filter(|_| is_on_disk).map(|auth| Landing { result: Ok(auth), requests: 1 });
        let (fate, shared) = {
            let mut writing = Box::pin(self.write_record(sharing));
            tokio::select! {
                biased;
                written = &mut writing => written,
                // No caller waits longer than for one call of the store: the answer is on the disk.
                () = sharing.clock.sleep(CALL_LIMIT), if landing.is_some() => {
                    let error = inner.only_in_spool(sharing.unanswered());
                    inner.report_unshared(&error);
                    inner.update(|snapshot, clock| {
                        snapshot.set_stage(Stage::Deciding);
                        snapshot.adopt(&newest.clone().unwritten(), clock);
                        if let (Some(flight), Some(landing)) = (&snapshot.flight, landing) {
                            flight.land(landing);
                        }
                    });
                    inner.snapshot().mirror.wake();
                    tokio::select! {
                        biased;
                        written = &mut writing => written,
                        // `close` tries once by itself.
                        () = inner.closes() => (Fate::Kept, Err(sharing.unanswered())),
                    }
                }
            }
        };
        if shared.is_err() {
            sharing.owes();
        }
        // A state that the store did not take counts as unwritten, although the disk of this host may have it.
        let newest = if shared.is_ok() { self.read.clone() } else { newest.unwritten() };
        match (shared, spooled) {
            (Ok(()), spooled) => {
                if let Ok(notices) = spooled {
                    inner.log_once(notices);
                }
                inner.update(|snapshot, _| snapshot.store_problem = None);
                let guard = self.spool(guard, &state).await;
                inner.release(guard).await;
            }
            (Err(error), Err(_)) => {
                let error = error.with_sentence(
                    "The newest token is in memory only until it can be written; that is tried every 5 seconds.",
                );
                inner.report_unshared(&error);
                *self.slot = Some(Box::new(Pending { guard, state: self.state.clone(), adopted: newest.clone() }));
                (inner.hooks.keep_sharing)(inner);
            }
            (Err(error), Ok(_)) => {
                inner.report_unshared(&inner.only_in_spool(error));
                inner.release(guard).await;
                (inner.hooks.keep_sharing)(inner);
                if !is_on_disk {
                    // No caller gets tokens that neither the store nor a disk has.
                    return fate;
                }
            }
        }
        inner.update(|snapshot, clock| {
            snapshot.set_stage(Stage::Deciding);
            snapshot.adopt(&newest, clock);
        });
        inner.snapshot().mirror.wake();
        fate
    }

    /// Writes the record into the spool, so that this host can put it back if the store forgets it.
    async fn spool(&mut self, guard: Box<dyn Guard>, spooled: &State) -> Box<dyn Guard> {
        let mut state = self.state.clone();
        if (State { sequence: spooled.sequence, write: spooled.write, ..state.clone() }) == *spooled {
            return guard;
        }
        state.sequence = state.sequence.max(spooled.sequence);
        let (guard, result) = self.inner.blocking(guard, move |guard| guard.commit(&mut state)).await;
        if let Ok(notices) = result {
            self.inner.log_once(notices);
        }
        guard
    }

    /// Leaves the transaction without a change of its own. The spool gets the record, if it is behind.
    pub(super) async fn leave_shared(mut self) {
        let Some(guard) = self.guard.take() else { return };
        let spool = self.turned.take().filter(|turned| turned.is_spool_behind).map(|turned| turned.spool);
        let guard = match spool {
            Some(spool) => self.spool(guard, &spool).await,
            None => guard,
        };
        self.inner.release(guard).await;
    }

    /// Writes a record without tokens, so that every host that reads it empties its spool.
    ///
    /// # Errors
    ///
    /// `STORE` if the record cannot be written. The tokens then stay everywhere.
    pub(super) async fn erase_record(&mut self) -> Result<()> {
        let inner = self.inner;
        let Some(sharing) = inner.sharing() else { return Ok(()) };
        for _ in 0..MOST_RACES {
            let state = &self.state;
            let newest =
                [state.current().map(|held| held.obtained_at), state.access.as_ref().map(|access| access.obtained_at)];
            // With a clock that is behind, the logout would be older than the tokens that it removes.
            let at =
                newest.into_iter().flatten().map(|at| at.saturating_add(1)).fold(sharing.clock.wall(), Millis::max);
            let sequence = state.sequence + 1;
            self.state = State { sequence, ..state.clone().after_logout(at) };
            if self.put_state(sharing).await?.is_some() {
                return Ok(());
            }
        }
        Err(raced(sharing, "Nothing was forgotten; try again."))
    }

    /// Notes in the record that the token to send next rests for a lease, because Ring has rejected another one. The store may have
    /// forgotten the mark of an accepted request with the rejected token. Then the answer of that request arrives during the lease, and the
    /// token to send next is two rotations behind.
    pub(super) fn rest(&mut self) {
        let next = self.state.sendable().and_then(|sent| self.state.to_send(sent));
        if let (Some(sharing), Some(next)) = (self.inner.sharing(), next) {
            let lease = Lease { holder: Lease::NOBODY, length: self.inner.lease() };
            let started_at = sharing.clock.wall();
            let fingerprint = next.token.fingerprint();
            self.state.mark =
                Some(Mark { fingerprint, started_at, deadline: started_at, starts: 0, lease: Some(lease) });
        }
    }

    /// Whether a rejection of this token would be in doubt: see [`decide::is_in_doubt`].
    pub(in crate::manager) fn is_in_doubt(&self, sent: Fingerprint, found: Option<&Mark>) -> bool {
        decide::is_in_doubt(&self.state, sent, found)
    }
}
