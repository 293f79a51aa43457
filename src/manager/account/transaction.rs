//! The right to change what is kept: what is written, and what is known once it is.

use std::path::PathBuf;
use std::sync::Arc;

use super::inner::{Inner, broken};
use super::pending::Pending;
use super::snapshot::closed;
use crate::journal::state::{Known, State};
use crate::journal::{Accepted, Begun, Claim, Guard, Offer, Origin};
use crate::manager::events::Level;
use crate::manager::policy;
use crate::mirror::{Allowance, Follower};
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Result, task};

/// The right to change the state, and the state as it is now.
pub(in crate::manager) struct Transaction<'a> {
    pub(in crate::manager) state: State,
    /// Whether the caller's own token changed it, which is not written yet.
    pub(super) changed: bool,
    /// Whether it was never written: it must not be forgotten, and nobody else may go on from the disk.
    pub(super) pending: bool,
    /// How often another process was faster meanwhile.
    pub(super) overtaken: u32,
    pub(super) guard: Option<Box<dyn Guard>>,
    /// How long whoever entered may still wait for a program's own code.
    pub(super) allowance: Arc<Allowance>,
    /// What the mirror showed under the lock, until it was looked up.
    pub(super) shown: Option<RefreshToken>,
    pub(super) slot: tokio::sync::MutexGuard<'a, Option<Box<Pending>>>,
}

impl Transaction<'_> {
    /// Goes on with what is known here, in place of an older state or of none.
    pub(super) fn restore(&mut self, known: &State) {
        let sequence = self.state.sequence.max(known.sequence);
        self.state = State { sequence, mark: None, ..known.clone() };
        self.changed = true;
    }
}

/// Whether a request may follow a write that was made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::manager) enum Start {
    /// It may: the write is durable.
    Ready,
    /// It may not: another process wrote meanwhile, and its state was taken in.
    Overtaken,
    /// It may not: the copy of the journal at that path uses the token.
    Elsewhere(PathBuf),
}

/// What a write is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Purpose {
    /// A request with the token in the store.
    Refresh,
    /// A login, which brings a token of its own.
    Login,
}

/// Where a token from outside is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum KeptIn {
    /// In the journal that was entered, or nowhere because it is an old copy.
    Here,
    /// In another journal of the folder: that one has to be entered.
    Elsewhere,
}

/// How often a process lets others overtake it before it leaves the store to them.
const MOST_OVERTAKEN: u32 = 3;

impl Inner {
    /// Takes over a token from outside, in the journal that it belongs to. If that fails, the store is left.
    pub(in crate::manager) async fn accept(
        &self,
        transaction: &mut Transaction<'_>,
        token: &RefreshToken,
        origin: Origin,
    ) -> Result<KeptIn> {
        let now = self.parts.clock.wall();
        if transaction.pending {
            transaction.state.take_over(token.clone(), now);
            transaction.changed = true;
            return Ok(KeptIn::Here);
        }
        let Some(guard) = transaction.guard.take() else { return Err(closed()) };
        let (mut state, token) = (transaction.state.clone(), token.clone());
        let (guard, (state, accepted)) = self
            .blocking(guard, move |guard| {
                let accepted = guard.accept(&mut state, Offer { token: &token, origin, now });
                (state, accepted)
            })
            .await;
        match accepted {
            Ok(Accepted::Here { written, notices }) => {
                transaction.guard = Some(guard);
                transaction.state = state;
                transaction.changed = !written;
                self.snapshot().mirror_due |= written;
                self.tell(notices);
                Ok(KeptIn::Here)
            }
            Ok(Accepted::Elsewhere) => {
                transaction.guard = Some(guard);
                Ok(KeptIn::Elsewhere)
            }
            Err(error) => {
                self.release(guard).await;
                self.update(|snapshot, _| snapshot.store_problem = Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Writes before a request, with room kept for its answer. If another process wrote meanwhile, nothing is written, its
    /// state is taken in, and everything has to be decided anew.
    pub(in crate::manager) async fn begin(&self, transaction: &mut Transaction<'_>, purpose: Purpose) -> Result<Start> {
        let Some(guard) = transaction.guard.take() else { return Err(closed()) };
        let mut state = transaction.state.clone();
        let (guard, (state, claimed, result)) = self
            .blocking(guard, move |guard| {
                let claimed = match purpose {
                    Purpose::Refresh => guard.claim(&mut state),
                    Purpose::Login => Ok(Claim::Here(Vec::new())),
                };
                let result = matches!(claimed, Ok(Claim::Here(_))).then(|| guard.begin(&mut state));
                (state, claimed, result)
            })
            .await;
        transaction.guard = Some(guard);
        // Which journal it is and how often it was written is so, whatever comes of this.
        transaction.state = state;
        let result = match claimed {
            Ok(Claim::Here(notices)) => {
                self.tell_once(notices);
                result.unwrap_or_else(|| Err(broken()))
            }
            Ok(Claim::Elsewhere(path)) => {
                transaction.state.mark = None;
                return Ok(Start::Elsewhere(path));
            }
            // Nothing is wrong with the store.
            Err(error) if error.code() == ErrorCode::StoreLocked => return Err(error),
            Err(error) => Err(error),
        };
        match result {
            Ok(Begun::Overtaken(theirs)) => {
                self.log(
                    Level::Warn,
                    format!(
                        "Another process changed {} although this one had its lock. Its state is taken in. Keep the journal on a file system whose locks work, and let one machine alone use it.",
                        self.parts.store.name()
                    ),
                );
                transaction.state.mark = None;
                transaction.state.merge(*theirs);
                transaction.overtaken += 1;
                let now = self.parts.clock.wall();
                let is_at_work = transaction.state.mark.as_ref().is_some_and(|mark| mark.deadline > now);
                if is_at_work || transaction.overtaken > MOST_OVERTAKEN {
                    return Err(Error::new(
                        ErrorCode::StoreLocked,
                        format!(
                            "Another process is using {} at the same time, although this one has its lock. Nothing was sent; this is tried again at the next call.",
                            self.parts.store.name()
                        ),
                    ));
                }
                Ok(Start::Overtaken)
            }
            Ok(Begun::Ready(notices)) => {
                transaction.state.volatile = false;
                self.tell(notices);
                transaction.changed = false;
                transaction.pending = false;
                let durable = self.parts.store.is_durable();
                self.update(|snapshot, _| {
                    snapshot.given = None;
                    snapshot.store_problem = None;
                    snapshot.set_persisted(durable);
                });
                Ok(Start::Ready)
            }
            Err(error) => {
                self.update(|snapshot, _| snapshot.store_problem = Some(error.clone()));
                Err(error)
            }
        }
    }

    /// The state that could not be written, if there is one.
    pub(in crate::manager) async fn unwritten(&self) -> Option<State> {
        self.entry.lock().await.as_ref().map(|pending| pending.state.clone())
    }

    /// Writes what must not be lost, and returns it with what another process wrote meanwhile. Where that fails it stays in
    /// memory, with the lock, and is tried again.
    pub(in crate::manager) async fn commit(self: &Arc<Self>, mut transaction: Transaction<'_>) -> State {
        let Some(guard) = transaction.guard.take() else { return transaction.state };
        let pending = Box::new(Pending { guard, state: transaction.state });
        self.snapshot().given = None;
        let (state, written) = self.write_pending(pending, &mut transaction.slot, &transaction.allowance).await;
        if !written {
            self.keep_writing();
        }
        state
    }

    /// Without a journal, what could not be saved is saved where another token may have been put meanwhile: that one is used
    /// then, and the other kept aside. Not when the manager is closed, where a `load` that hangs would leave no time to save.
    pub(super) async fn take_over_shown_instead(&self, pending: &mut Pending, allowance: &Allowance) {
        if self.parts.store.needs_the_program()
            && let Some(shown) = self.look_into_mirror(allowance).await
            && pending.state.recognise(shown.fingerprint()) == Known::Unknown
        {
            self.log(
                Level::Info,
                "The refresh token from the store's own load is a new one: it is used from now on, and the one before is kept aside.",
            );
            pending.state.take_over(shown, self.parts.clock.wall());
        }
    }

    /// Tries to write what was known before, and could not be written then. Says whether that worked.
    pub(in crate::manager) async fn write_late(
        &self,
        pending: Box<Pending>,
        slot: &mut Option<Box<Pending>>,
        allowance: &Allowance,
    ) -> bool {
        let (state, written) = self.write_pending(pending, slot, allowance).await;
        if written {
            self.adopt(&state);
        }
        written
    }

    /// Tries to write what is pending; where it still cannot be, it is pending again. Returns it as it is by then, and
    /// whether it is written.
    async fn write_pending(
        &self,
        pending: Box<Pending>,
        slot: &mut Option<Box<Pending>>,
        allowance: &Allowance,
    ) -> (State, bool) {
        let Pending { guard, mut state } = *pending;
        // Not even the end of the process comes between.
        let _write = self.begin_write();
        self.snapshot().mirror_due = true;
        let (guard, (state, result)) = self
            .blocking(guard, move |guard| {
                let result = guard.commit(&mut state);
                (state, result)
            })
            .await;
        let result = match result {
            Ok(notices) => self.save_without_a_journal(&state, allowance).await.map(|()| notices),
            failed => failed,
        };
        match result {
            Ok(notices) => {
                self.tell(notices);
                let durable = self.parts.store.is_durable();
                self.update(|snapshot, _| {
                    snapshot.set_persisted(durable);
                    snapshot.store_problem = None;
                });
                self.release(guard).await;
                (state, true)
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
                self.update(|snapshot, _| {
                    snapshot.set_persisted(false);
                    snapshot.store_problem = Some(error);
                });
                *slot = Some(Box::new(Pending { guard, state: state.clone() }));
                (state, false)
            }
        }
    }

    /// Where no journal is, a program's own `save` is what makes a state durable.
    async fn save_without_a_journal(&self, state: &State, allowance: &Allowance) -> Result<()> {
        match (&self.parts.mirror, &state.current) {
            (Some(Follower::Program(program)), Some(held)) if program.replaces_journal() => {
                program.save(&held.token.wrapped(), allowance).await
            }
            _ => Ok(()),
        }
    }

    /// Leaves without a change of its own.
    pub(in crate::manager) async fn leave(self: &Arc<Self>, transaction: Transaction<'_>) {
        if transaction.changed {
            self.commit(transaction).await;
            return;
        }
        self.abandon(transaction).await;
    }

    /// Leaves after a write before a request has failed: what is on the disk is as good as before.
    pub(in crate::manager) async fn abandon(&self, mut transaction: Transaction<'_>) {
        let Some(guard) = transaction.guard.take() else { return };
        if transaction.pending {
            *transaction.slot = Some(Box::new(Pending { guard, state: transaction.state }));
        } else {
            self.release(guard).await;
        }
    }

    /// Forgets everything there is, and takes the token out of the mirror before anybody else comes in. Says how that
    /// went.
    pub(in crate::manager) async fn erase(self: &Arc<Self>, mut transaction: Transaction<'_>) -> Result<Result<()>> {
        let Some(guard) = transaction.guard.take() else { return Err(closed()) };
        let (guard, result) = self.blocking(guard, |guard| guard.forget()).await;
        let cleared = match &result {
            Ok(_) => self.clear_mirror().await,
            Err(_) => Ok(()),
        };
        self.release(guard).await;
        self.tell(result?);
        Ok(cleared)
    }

    fn keep_writing(self: &Arc<Self>) {
        if std::mem::replace(&mut self.snapshot().keeps_writing, true) {
            return;
        }
        // What is nowhere else is kept, even where nobody has the manager any more.
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            loop {
                inner.parts.clock.sleep(policy::BETWEEN_WRITES).await;
                let allowance = Allowance::new();
                let mut slot = inner.entry.lock().await;
                if inner.snapshot().closing {
                    // Closing tries it itself, once.
                    inner.snapshot().keeps_writing = false;
                    return;
                }
                let written = match slot.take() {
                    Some(mut pending) => {
                        inner.take_over_shown_instead(&mut pending, &allowance).await;
                        inner.write_late(pending, &mut slot, &allowance).await
                    }
                    None => true,
                };
                drop(slot);
                if written {
                    inner.snapshot().keeps_writing = false;
                    inner.sync_mirror(&allowance).await;
                    return;
                }
            }
        });
    }
}
