//! The right to change the store, and the one function that makes a change durable and known.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::engine::{Fate, Turned};
use super::flight::Stage;
use super::inner::{Inner, broken};
use super::pending::{Pending, Slot};
use super::snapshot::closed;
use super::stored::{Accepted, Begun, Stored};
use crate::journal::merge::{Outcome, merge};
use crate::journal::state::{AfterRejection, Known, Mark, Millis, Sent, State, millis};
use crate::journal::{Claim, Guard, Offer, Origin};
use crate::manager::activity::Write;
use crate::manager::events::Level;
use crate::manager::policy;
use crate::manager::status::Auth;
use crate::mirror::{Allowance, Follower};
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, ErrorCode, Result, task};

/// The right to change the store, and the state in it. Only one task has it at a time, within this process and between processes.
///
/// Durable, then known, then shown: [`Transaction::commit`] is the only way to make an outcome known. The mark
/// before a request and a logout write first, too: see [`Transaction::mark`] and [`Transaction::erase`].
pub(in crate::manager) struct Transaction<'a> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) state: State,
    /// What the store held when it was last read or written by this transaction.
    pub(super) read: Stored,
    /// Whether the state has changes that have to be written even if nothing else changes.
    pub(super) changed: bool,
    /// Whether the state could not be written: it must not be lost, and no other process may use the one on the disk.
    pub(super) pending: bool,
    /// How often another process has written in spite of the lock.
    pub(super) overtaken: u32,
    pub(super) guard: Option<Box<dyn Guard>>,
    /// The time that this task may still wait for a program's own code.
    pub(super) allowance: Arc<Allowance>,
    /// The token that the mirror showed under the lock, until it was looked up.
    pub(super) shown: Option<RefreshToken>,
    pub(super) slot: MutexGuard<'a, Slot>,
    /// The record of a shared store, once it was read.
    pub(super) turned: Option<Box<Turned>>,
    /// An answer that is on its way to the disk.
    pub(super) in_flight: Option<Box<Answered>>,
}

/// An answer of Ring that is about to be committed.
pub(super) struct Answered {
    /// Holds the end of the process until the answer is on the disk.
    pub(super) write: Option<Write>,
    /// What the callers of the refresh get for it.
    pub(super) auth: Option<Auth>,
}

/// Whether a request may follow a write that was made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::manager) enum Start {
    /// It may follow: the write is durable.
    Ready,
    /// It may not follow: another process has written meanwhile, and its state was merged.
    Overtaken,
    /// It may not follow: the copy of the journal at that path uses the token.
    Elsewhere(PathBuf),
}

/// The purpose of a write before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Purpose {
    /// A request with the token in the store.
    Refresh,
    /// A login, which brings a token of its own.
    Login,
}

/// The journal that keeps a token from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum KeptIn {
    /// The journal that was entered, or none because the token is an old copy.
    Here,
    /// Another journal of the folder, which has to be entered.
    Elsewhere,
}

/// How often another process may write in spite of the lock before this one gives up.
const MOST_OVERTAKEN: u32 = 3;

impl Transaction<'_> {
    /// The state, with all outcomes that were noted.
    pub(in crate::manager) fn state(&self) -> &State {
        &self.state
    }

    /// Notes an outcome. The next write makes it durable; it is not known before.
    pub(in crate::manager) fn note(&mut self, outcome: &Outcome) {
        self.remember_for_record(outcome);
        let state = std::mem::replace(&mut self.state, State::new(""));
        self.state = merge(state, outcome);
    }

    /// Notes that Ring rejected a token. Returns what may be tried instead.
    pub(in crate::manager) fn reject(&mut self, sent: Fingerprint, at: Millis, in_doubt: bool) -> AfterRejection {
        let before = self.state.fingerprint();
        let siblings = self.state.siblings.len();
        self.note(&Outcome::Rejected { sent, at, in_doubt });
        let after = match self.state.sendable() {
            Some(_) if self.state.siblings.len() != siblings => AfterRejection::Sibling,
            Some(_) if self.state.fingerprint() != before => AfterRejection::Fallback,
            Some(Sent::Previous) => AfterRejection::Previous,
            _ => AfterRejection::Dead,
        };
        // A request of another host may be under way with the fallback, which a user displaced meanwhile.
        let is_doubted = after == AfterRejection::Fallback && self.state.doubted == self.state.fingerprint();
        if is_doubted || matches!(after, AfterRejection::Sibling | AfterRejection::Previous) {
            self.rest();
        }
        after
    }

    /// Makes an outcome durable, and only then known and shown: writes, releases the store, takes the state over into the snapshot,
    /// sends the events and wakes the mirror. It merges what another process wrote meanwhile. If the write fails, the state stays in
    /// memory, with the lock, and the write is tried again.
    pub(in crate::manager) async fn commit(mut self, outcome: &Outcome) -> Fate {
        self.note(outcome);
        self.write().await
    }

    /// Holds the end of the process until the answer that is about to be committed is on the disk. `auth` is what callers get for it.
    pub(in crate::manager) fn hold(&mut self, write: Option<Write>, auth: Option<Auth>) {
        self.in_flight = Some(Box::new(Answered { write, auth }));
    }

    /// Remembers an outcome, so that it can be applied again if another host writes the record first.
    pub(super) fn remember_for_record(&mut self, outcome: &Outcome) {
        if let Some(turned) = &mut self.turned {
            turned.noted.push(outcome.clone());
        }
    }

    /// Whether this transaction has read the record of a shared store, so that its changes must be written there too.
    pub(super) fn is_shared(&self) -> bool {
        self.turned.is_some()
    }

    /// Leaves the store without an outcome.
    pub(in crate::manager) async fn leave(self) {
        if self.changed {
            self.write().await;
        } else if self.is_shared() {
            Box::pin(self.leave_shared()).await;
        } else {
            self.abandon().await;
        }
    }

    /// Leaves the store without a write.
    pub(in crate::manager) async fn abandon(mut self) {
        let Some(guard) = self.guard.take() else { return };
        if self.pending {
            *self.slot = Some(Box::new(Pending { guard, state: self.state, adopted: self.read }));
        } else {
            self.inner.release(guard).await;
        }
    }

    /// Logs out: empties the store, and removes the token from the mirror before the lock is released. Returns whether the mirror could
    /// be changed.
    pub(in crate::manager) async fn erase(mut self, clear: impl Future<Output = Result<()>>) -> Result<Result<()>> {
        if let Err(error) = Box::pin(self.erase_record()).await {
            self.abandon().await;
            return Err(error);
        }
        let Some(guard) = self.guard.take() else { return Err(closed()) };
        let (former, now) = (self.state, self.inner.parts.clock.wall());
        let (guard, result) =
            self.inner.blocking(guard, move |guard| Stored::forget(guard.as_mut(), former, now)).await;
        let cleared = match &result {
            Ok(_) => clear.await,
            Err(_) => Ok(()),
        };
        self.inner.release(guard).await;
        let (emptied, notices) = result?;
        self.inner.log_notices(notices);
        self.inner.update(|snapshot, clock| {
            snapshot.offered.given = None;
            snapshot.adopt(&emptied, clock);
        });
        Ok(cleared)
    }

    /// Adopts what was read, unless something was merged into it: that is adopted after it was written.
    pub(in crate::manager) fn adopt_read(&self) {
        if !self.changed {
            self.inner.adopt(&self.read);
        }
    }

    /// Replaces an older state, or an empty one, by the state that this manager knows.
    pub(super) fn restore(&mut self, known: &State) {
        let sequence = self.state.sequence.max(known.sequence);
        self.state = State { sequence, mark: None, ..known.clone() };
        self.changed = true;
    }

    async fn write(mut self) -> Fate {
        if self.is_shared() {
            return Box::pin(self.write_shared()).await;
        }
        let Some(guard) = self.guard.take() else { return Fate::Kept };
        self.inner.snapshot().offered.given = None;
        if !self.inner.write_state(guard, self.state, &mut self.slot, &self.allowance).await {
            self.inner.keep_writing();
        }
        Fate::Kept
    }

    /// Writes the mark of a token before it is sent.
    pub(in crate::manager) async fn mark(
        &mut self,
        token: Fingerprint,
        starts: u32,
        hardware_id: &str,
    ) -> Result<Start> {
        let now = self.inner.parts.clock.wall();
        self.state.hardware_id = Some(hardware_id.to_owned());
        let deadline = now + millis(policy::longest_refresh(self.inner.settings.request_timeout));
        let mark = Mark { fingerprint: token, started_at: now, deadline, starts, lease: None };
        let begun = if self.is_shared() {
            Box::pin(self.mark_record(mark)).await
        } else {
            self.state.mark = Some(mark);
            self.begin(Purpose::Refresh).await
        };
        if begun.is_err() {
            self.state.mark = None;
        }
        begun
    }

    /// Stores the hardware id of a login, which also proves that its token can be stored. The current token keeps its own hardware id.
    pub(in crate::manager) async fn prepare_login(&mut self, hardware_id: &str) -> Result<Start> {
        self.state.hardware_id = Some(hardware_id.to_owned());
        if self.is_shared() {
            return Ok(Box::pin(self.write_before()).await?.map_or(Start::Overtaken, |_| Start::Ready));
        }
        self.begin(Purpose::Login).await
    }

    /// Takes over a token from outside, in the journal that it belongs to. If that fails, the store is released.
    pub(in crate::manager) async fn accept(&mut self, token: &RefreshToken, origin: Origin) -> Result<KeptIn> {
        let now = self.inner.parts.clock.wall();
        if self.is_shared() {
            self.note(&Outcome::Given { token: token.clone(), at: now });
            self.changed = true;
            return Ok(KeptIn::Here);
        }
        if self.pending {
            self.state.take_over(token.clone(), now);
            self.changed = true;
            return Ok(KeptIn::Here);
        }
        let Some(guard) = self.guard.take() else { return Err(closed()) };
        let (mut state, token) = (self.state.clone(), token.clone());
        let (guard, (state, accepted)) = self
            .inner
            .blocking(guard, move |guard| {
                let offer = Offer { token: &token, origin, now };
                let accepted = Stored::accept(guard.as_mut(), &mut state, offer);
                (state, accepted)
            })
            .await;
        match accepted {
            Ok(Accepted::Here(stored, notices)) => {
                self.guard = Some(guard);
                self.state = state;
                self.changed = stored.is_none();
                self.inner.snapshot().mirror.due |= stored.is_some();
                if let Some(stored) = stored {
                    self.read = stored;
                }
                self.inner.log_notices(notices);
                Ok(KeptIn::Here)
            }
            Ok(Accepted::Elsewhere) => {
                self.guard = Some(guard);
                Ok(KeptIn::Elsewhere)
            }
            Err(error) => {
                self.inner.release(guard).await;
                self.inner.update(|snapshot, _| snapshot.store_problem = Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Writes before a request, with space reserved for its answer. If another process has written meanwhile, nothing is written, its
    /// state is merged, and the caller has to decide again.
    async fn begin(&mut self, purpose: Purpose) -> Result<Start> {
        let Some(guard) = self.guard.take() else { return Err(closed()) };
        let mut state = self.state.clone();
        let (guard, (state, claimed, result)) = self
            .inner
            .blocking(guard, move |guard| {
                let claimed = match purpose {
                    Purpose::Refresh => guard.claim(&mut state),
                    Purpose::Login => Ok(Claim::Here(Vec::new())),
                };
                let result = matches!(claimed, Ok(Claim::Here(_))).then(|| Stored::begin(guard.as_mut(), &mut state));
                (state, claimed, result)
            })
            .await;
        self.guard = Some(guard);
        // The id of the journal and its sequence count even if the write failed.
        self.state = state;
        let result = match claimed {
            Ok(Claim::Here(notices)) => {
                self.inner.log_once(notices);
                result.unwrap_or_else(|| Err(broken()))
            }
            Ok(Claim::Elsewhere(path)) => {
                self.state.mark = None;
                self.read = self.read.moved_to(path.clone());
                return Ok(Start::Elsewhere(path));
            }
            // This is no problem of the store.
            Err(error) if error.code() == ErrorCode::StoreLocked => return Err(error),
            Err(error) => Err(error),
        };
        match result {
            Ok(Begun::Overtaken(theirs)) => {
                self.inner.log(
                    Level::Warn,
                    format!(
                        "Another process changed {} although this one had its lock. Its state is taken in. Keep the journal on a file system whose locks work, and let one machine alone use it.",
                        self.inner.parts.store.name()
                    ),
                );
                self.state.mark = None;
                self.state.merge(State::clone(&theirs));
                // What is known from here on is their state. The merged one is written first.
                self.changed |= self.state != *theirs;
                self.read = theirs;
                self.overtaken += 1;
                let now = self.inner.parts.clock.wall();
                let is_at_work = self.state.mark.as_ref().is_some_and(|mark| mark.deadline > now);
                if is_at_work || self.overtaken > MOST_OVERTAKEN {
                    return Err(Error::new(
                        ErrorCode::StoreLocked,
                        format!(
                            "Another process is using {} at the same time, although this one has its lock. Nothing was sent; this is tried again at the next call.",
                            self.inner.parts.store.name()
                        ),
                    ));
                }
                Ok(Start::Overtaken)
            }
            Ok(Begun::Ready(written, notices)) => {
                self.inner.log_notices(notices);
                self.read = written;
                // What was merged, or could not be written before, is durable by now.
                let is_news = std::mem::take(&mut self.changed) | std::mem::take(&mut self.pending);
                self.inner.update(|snapshot, clock| {
                    if is_news {
                        snapshot.adopt(&self.read, clock);
                    }
                    snapshot.offered.given = None;
                    snapshot.store_problem = None;
                });
                Ok(Start::Ready)
            }
            Err(error) => {
                self.inner.update(|snapshot, _| snapshot.store_problem = Some(error.clone()));
                Err(error)
            }
        }
    }
}

impl Inner {
    /// The state that could not be written, if there is one.
    pub(in crate::manager) async fn unwritten(&self) -> Option<State> {
        self.entry.lock().await.as_ref().map(|pending| pending.state.clone())
    }

    /// Whether the newest token is in the spool of this host, and the shared store has not taken it.
    pub(in crate::manager) fn is_spooled(&self) -> bool {
        // No write is under way, and the spool has taken everything.
        let is_idle = self.entry.try_lock().is_ok_and(|unwritten| unwritten.is_none());
        let snapshot = self.snapshot();
        let is_unshared = !snapshot.is_persisted() && snapshot.offered.given.is_none();
        is_idle && is_unshared && self.sharing().is_some() && self.parts.store.is_durable()
    }

    /// Without a journal, `load` may return another token before the pending one is saved. Then that token is used, and the pending one
    /// becomes the fallback. `close()` does not call this, because a `load` that hangs would leave no time to save.
    pub(super) async fn take_over_shown_instead(&self, state: &mut State, allowance: &Allowance) {
        if self.parts.store.needs_the_program()
            && let Some(shown) = self.look_into_mirror(allowance).await
            && state.recognise(shown.fingerprint()) == Known::Unknown
        {
            self.log(
                Level::Info,
                "The refresh token from the store's own load is a new one: it is used from now on, and the one before is kept as a fallback.",
            );
            state.take_over(shown, self.parts.clock.wall());
        }
    }

    /// Tries to write what is pending. Returns whether it is written.
    pub(super) async fn write_pending(&self, pending: Box<Pending>, slot: &mut Slot, allowance: &Allowance) -> bool {
        let Pending { guard, state, .. } = *pending;
        self.write_state(guard, state, slot, allowance).await
    }

    /// Writes a state and adopts it as it is then. If it cannot be written, it is pending. Returns whether it is written.
    async fn write_state(&self, guard: Box<dyn Guard>, state: State, slot: &mut Slot, allowance: &Allowance) -> bool {
        // From here on the end of the process waits for the write.
        let _write = self.begin_write();
        let (guard, (mut stored, result)) =
            self.blocking(guard, move |guard| Stored::commit(guard.as_mut(), state)).await;
        let result = match result {
            Ok(notices) => self.save_without_a_journal(&stored, allowance).await.map(|()| notices),
            failed => failed,
        };
        let problem = match result {
            Ok(notices) => {
                self.log_notices(notices);
                self.release(guard).await;
                None
            }
            Err(error) => {
                let place = match guard.stand_in() {
                    Some(place) => format!("in memory and in {place}, which a restart of this computer may empty,"),
                    None => "in memory only".to_owned(),
                };
                let error = error.with_sentence(&format!(
                    "The newest token is {place} until it can be written; that is tried every 5 seconds."
                ));
                if !self.snapshot().is_unwritten_because_of(&error) {
                    self.log(Level::Error, format!("{error}"));
                }
                stored = stored.unwritten();
                *slot = Some(Box::new(Pending { guard, state: State::clone(&stored), adopted: stored.clone() }));
                Some(error)
            }
        };
        let is_written = problem.is_none();
        self.update(|snapshot, clock| {
            snapshot.store_problem = problem;
            // Only one task writes at a time, so a request that was under way has ended.
            snapshot.set_stage(Stage::Deciding);
            snapshot.adopt(&stored, clock);
        });
        // The caller updates the mirror.
        self.snapshot().mirror.wake();
        is_written
    }

    /// Tries to write a pending state for the last time.
    pub(in crate::manager) async fn write_at_the_end(&self, allowance: &Allowance) {
        let mut slot = self.entry.lock().await;
        if let Some(pending) = slot.take() {
            self.write_pending(pending, &mut slot, allowance).await;
        }
    }

    /// Gives up a pending state, and releases its lock. With a shared store it does not wait for a task that still writes: the wait for
    /// that is over.
    pub(in crate::manager) async fn give_up_pending(&self) {
        let mut slot = match self.entry.try_lock() {
            Ok(slot) => slot,
            Err(_) if self.sharing().is_some() => return,
            Err(_) => self.entry.lock().await,
        };
        if let Some(pending) = slot.take() {
            self.release(pending.guard).await;
        }
    }

    /// Calls the program's own `save`, which makes a state durable if there is no journal.
    async fn save_without_a_journal(&self, state: &State, allowance: &Allowance) -> Result<()> {
        match (&self.parts.mirror, state.current()) {
            (Some(Follower::Program(program)), Some(stored)) if program.replaces_journal() => {
                program.save(&stored.token.wrapped(), allowance).await
            }
            _ => Ok(()),
        }
    }

    fn keep_writing(self: &Arc<Self>) {
        if std::mem::replace(&mut self.snapshot().keeps_writing, true) {
            return;
        }
        // The state exists only in memory, so this task keeps the manager alive even if its program has dropped it.
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            loop {
                inner.parts.clock.sleep(policy::BETWEEN_WRITES).await;
                let allowance = Allowance::new();
                let mut slot = inner.entry.lock().await;
                if inner.snapshot().is_closing() {
                    // `close` tries once by itself.
                    inner.snapshot().keeps_writing = false;
                    return;
                }
                let written = match slot.take() {
                    Some(mut pending) => {
                        inner.take_over_shown_instead(&mut pending.state, &allowance).await;
                        inner.write_pending(pending, &mut slot, &allowance).await
                    }
                    None => true,
                };
                drop(slot);
                if written {
                    inner.snapshot().keeps_writing = false;
                    (inner.hooks.sync_mirror)(Arc::clone(&inner), allowance).await;
                    return;
                }
            }
        });
    }
}
