//! Into the store and out again: one at a time, in this process and between processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Write;
use super::login::count_as_accepted;
use super::{Inner, Level, closed, ignoring, policy};
use crate::journal::state::{Known, State};
use crate::journal::{Accepted, Begun, Claim, Found, Guard, Notice, Offer, Origin};
use crate::mirror::{Allowance, Follower};
use crate::oauth::BoxFuture;
use crate::pasted::{self, Pasted};
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, ErrorCode, Result, task};

/// A state that could not be written, with the lock that keeps others from the older one on the disk.
pub(super) struct Pending {
    guard: Box<dyn Guard>,
    state: State,
}

impl Pending {
    /// Gives up what could not be written.
    pub(super) fn into_guard(self) -> Box<dyn Guard> {
        self.guard
    }
}

/// The right to change the state, and the state as it is now.
pub(super) struct Transaction<'a> {
    pub(super) state: State,
    /// Whether the caller's own token changed it, which is not written yet.
    changed: bool,
    /// Whether it was never written: it must not be forgotten, and nobody else may go on from the disk.
    pending: bool,
    /// How often another process was faster meanwhile.
    overtaken: u32,
    guard: Option<Box<dyn Guard>>,
    /// How long whoever entered may still wait for a program's own code.
    allowance: Arc<Allowance>,
    /// What the mirror showed under the lock, until it was looked up.
    shown: Option<RefreshToken>,
    slot: tokio::sync::MutexGuard<'a, Option<Box<Pending>>>,
}

impl Transaction<'_> {
    /// Goes on with what is known here, in place of an older state or of none.
    fn restore(&mut self, known: &State) {
        let sequence = self.state.sequence.max(known.sequence);
        self.state = State { sequence, mark: None, ..known.clone() };
        self.changed = true;
    }
}

/// Whether a request may follow a write that was made for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// It may: the write is durable.
    Ready,
    /// It may not: another process wrote meanwhile, and its state was taken in.
    Overtaken,
    /// It may not: the copy of the journal at that path uses the token.
    Elsewhere(PathBuf),
}

/// What a write is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A request with the token in the store.
    Refresh,
    /// A login, which brings a token of its own.
    Login,
}

/// Where a token from outside is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptIn {
    /// In the journal that was entered, or nowhere because it is an old copy.
    Here,
    /// In another journal of the folder: that one has to be entered.
    Elsewhere,
}

/// How often the journal is found anew because another process put the token of the mirror into another one.
const MOST_RELOCATIONS: u32 = 3;
/// How often a process lets others overtake it before it leaves the store to them.
const MOST_OVERTAKEN: u32 = 3;

/// How long somebody waits for the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Until the manager is being closed: what was wanted can be had at the next start.
    UntilClosing,
    /// As long as a holder may take: what is brought exists nowhere else.
    ToTheEnd,
}

const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// No holder's own deadline is believed beyond this: its clock may be another.
const LONGEST_HOLD: Duration = Duration::from_secs(600);

impl Inner {
    /// Enters the store: waits for whoever is in it, reads what is there, and looks the caller's own token up.
    ///
    /// Its future is boxed here, because the addon's crate would otherwise compile all of it a second time.
    pub(super) fn enter<'a: 'b, 'b>(
        self: &'a Arc<Self>,
        allowance: &'b Arc<Allowance>,
    ) -> BoxFuture<'b, Result<Transaction<'a>>> {
        Box::pin(self.enter_with(Patience::UntilClosing, allowance))
    }

    /// The same, for what must not be lost because the manager is being closed meanwhile.
    pub(super) fn enter_although_closing<'a: 'b, 'b>(
        self: &'a Arc<Self>,
        allowance: &'b Arc<Allowance>,
    ) -> BoxFuture<'b, Result<Transaction<'a>>> {
        Box::pin(self.enter_with(Patience::ToTheEnd, allowance))
    }

    async fn enter_with(self: &Arc<Self>, patience: Patience, allowance: &Arc<Allowance>) -> Result<Transaction<'_>> {
        let mut slot = self.entry.lock().await;
        if self.snapshot().closed {
            return Err(closed());
        }
        if let Some(mut pending) = slot.take() {
            self.take_over_shown_instead(&mut pending, allowance).await;
            self.write_late(pending, &mut slot, allowance).await;
        }
        if let Some(pending) = slot.take() {
            let Pending { guard, state } = *pending;
            // Still not written. What is known is in memory, and nobody else may go on from the disk.
            let allowance = Arc::clone(allowance);
            let guard = Some(guard);
            let mut transaction =
                Transaction { state, changed: false, pending: true, overtaken: 0, guard, allowance, shown: None, slot };
            self.merge_external(&mut transaction, None).await?;
            return Ok(transaction);
        }
        let mut relocations = MOST_RELOCATIONS;
        loop {
            let mut transaction = self.enter_once(slot, patience, allowance).await?;
            let shown = transaction.shown.take();
            if self.merge_external(&mut transaction, shown.clone()).await? == KeptIn::Here {
                return Ok(transaction);
            }
            // The token of the mirror, or of the options, is in another journal by now: that one is found in the next round.
            if relocations == 0 {
                let given = self.snapshot().given.as_ref().map(RefreshToken::fingerprint);
                transaction.state.spent_elsewhere.extend(shown.as_ref().map(RefreshToken::fingerprint).or(given));
                self.merge_external(&mut transaction, shown).await?;
                return Ok(transaction);
            }
            relocations -= 1;
            let Transaction { guard, slot: left, .. } = transaction;
            if let Some(guard) = guard {
                self.release(guard).await;
            }
            slot = left;
        }
    }

    /// Locks the journal that is meant now, and reads it.
    async fn enter_once<'a>(
        self: &'a Arc<Self>,
        slot: tokio::sync::MutexGuard<'a, Option<Box<Pending>>>,
        patience: Patience,
        allowance: &Arc<Allowance>,
    ) -> Result<Transaction<'a>> {
        let mut shown = self.look_into_mirror(allowance).await;
        let (guard, found) = match self.lock_and_read(patience).await {
            Ok(transaction) => transaction,
            Err(error) => {
                // Another program's file in the place of the journal is a matter of the store as well.
                if matches!(error.code(), ErrorCode::Store | ErrorCode::InvalidArgument) {
                    self.update(|snapshot, _| snapshot.store_problem = Some(error.clone()));
                }
                return Err(error);
            }
        };
        self.tell_once(found.notices);
        let is_new = |token: &RefreshToken| found.state.recognise(token.fingerprint()) == Known::Unknown;
        if !self.parts.store.is_in_memory() && shown.as_ref().is_some_and(is_new) {
            // Another process may have forgotten the account or logged in to another one during the wait. Only what the
            // mirror shows now, under the lock, can be a paste.
            shown = self.look_into_mirror(allowance).await;
        }
        if self.snapshot().store_problem.is_some() {
            self.update(|snapshot, _| snapshot.store_problem = None);
        }
        let mut transaction = Transaction {
            state: found.state,
            changed: false,
            pending: false,
            overtaken: 0,
            guard: Some(guard),
            allowance: Arc::clone(allowance),
            shown,
            slot,
        };
        let is_shown_newest =
            transaction.shown.as_ref().map(RefreshToken::fingerprint) == transaction.state.fingerprint();
        if matches!(self.parts.mirror, Some(Follower::Place(_))) && !is_shown_newest {
            // Another mirror may follow this journal too, and only that one was written after the last rotation.
            self.snapshot().mirror_due = true;
        }
        let ahead = self.snapshot().ahead_of(&transaction.state);
        let mut missing = self.snapshot().missing_in(&transaction.state);
        if let Some(token) = missing.as_ref().and_then(|known| known.fingerprint())
            && self.is_known_elsewhere(&mut transaction, token).await?
        {
            // The mirror got another journal, and the former one still has the token.
            missing = None;
        }
        if let Some(known) = ahead {
            self.log(
                Level::Warn,
                "The journal was put back to an older version. The newer token, which is still known here, is used.",
            );
            transaction.restore(&known);
        } else if let Some(known) = missing {
            self.log(
                Level::Warn,
                format!(
                    "The journal {} is gone or empty, although nobody logged out. The token is still known here, and is written again.",
                    self.parts.store.name()
                ),
            );
            transaction.restore(&known);
            self.update(|snapshot, _| snapshot.set_persisted(false));
        }
        if transaction.state.volatile {
            // It is written to the journal as soon as that is possible, whether or not anything else changes.
            transaction.changed = true;
            self.update(|snapshot, _| snapshot.set_persisted(false));
        }
        Ok(transaction)
    }

    async fn is_known_elsewhere(&self, transaction: &mut Transaction<'_>, token: Fingerprint) -> Result<bool> {
        let Some(guard) = transaction.guard.take() else { return Ok(false) };
        let (guard, known) = self.blocking(guard, move |guard| guard.is_known_elsewhere(token)).await;
        transaction.guard = Some(guard);
        known
    }

    /// Takes over a token from outside, in the journal that it belongs to. If that fails, the store is left.
    pub(super) async fn accept(
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
    pub(super) async fn begin(&self, transaction: &mut Transaction<'_>, purpose: Purpose) -> Result<Start> {
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

    /// An answer is on its way to where it is kept. What the program itself has to write is not waited for at its end.
    pub(super) fn begin_write(&self) -> Option<Write> {
        (!self.parts.store.needs_the_program()).then(Write::begin)
    }

    /// The state that could not be written, if there is one.
    pub(super) async fn unwritten(&self) -> Option<State> {
        self.entry.lock().await.as_ref().map(|pending| pending.state.clone())
    }

    /// Writes what must not be lost, and returns it with what another process wrote meanwhile. Where that fails it stays in
    /// memory, with the lock, and is tried again.
    pub(super) async fn commit(self: &Arc<Self>, mut transaction: Transaction<'_>) -> State {
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
    async fn take_over_shown_instead(&self, pending: &mut Pending, allowance: &Allowance) {
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
    pub(super) async fn write_late(
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
    pub(super) async fn leave(self: &Arc<Self>, transaction: Transaction<'_>) {
        if transaction.changed {
            self.commit(transaction).await;
            return;
        }
        self.abandon(transaction).await;
    }

    /// Leaves after a write before a request has failed: what is on the disk is as good as before.
    pub(super) async fn abandon(&self, mut transaction: Transaction<'_>) {
        let Some(guard) = transaction.guard.take() else { return };
        if transaction.pending {
            *transaction.slot = Some(Box::new(Pending { guard, state: transaction.state }));
        } else {
            self.release(guard).await;
        }
    }

    /// Forgets everything there is, and takes the token out of the mirror before anybody else comes in. Says how that
    /// went.
    pub(super) async fn erase(self: &Arc<Self>, mut transaction: Transaction<'_>) -> Result<Result<()>> {
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

    pub(super) fn tell(&self, notices: Vec<Notice>) {
        for Notice(sentence) in notices {
            self.log(Level::Warn, sentence);
        }
    }

    /// The caller's own token is looked up once, under the lock, and the mirror's each time.
    async fn merge_external(&self, transaction: &mut Transaction<'_>, shown: Option<RefreshToken>) -> Result<KeptIn> {
        if !self.snapshot().holds_given_back(&transaction.state) {
            let changed = self.merge_given_and_shown(transaction, shown).await?;
            if changed == KeptIn::Elsewhere {
                return Ok(changed);
            }
        }
        if !transaction.pending && !transaction.changed && self.snapshot().given.is_none() {
            // What is known here is what was just read.
            self.snapshot().set_persisted(self.parts.store.is_durable());
        }
        Ok(KeptIn::Here)
    }

    async fn merge_given_and_shown(
        &self,
        transaction: &mut Transaction<'_>,
        shown: Option<RefreshToken>,
    ) -> Result<KeptIn> {
        let given = self.snapshot().given.clone();
        let is_new = |state: &State, token: &RefreshToken| state.recognise(token.fingerprint()) == Known::Unknown;
        if let (Some(given), Some(shown)) = (&given, &shown)
            && given.fingerprint() != shown.fingerprint()
            && is_new(&transaction.state, given)
            && is_new(&transaction.state, shown)
        {
            self.log(
                Level::Info,
                "Two refresh tokens are new, the one given and the one in the store: that one is used.",
            );
            transaction.state.pass_over(given);
            transaction.changed = true;
            self.snapshot().given = None;
        }
        let (given, by_login) = {
            let snapshot = self.snapshot();
            (snapshot.given.clone(), snapshot.has_unstored_login())
        };
        if let Some(given) = given {
            let origin = if by_login { Origin::Login } else { Origin::Given };
            match self.merge_token(transaction, &given, "given", origin).await? {
                Some(KeptIn::Here) if by_login => {
                    count_as_accepted(&mut transaction.state, self.parts.clock.wall());
                    transaction.changed = true;
                }
                Some(KeptIn::Here) if transaction.changed => {}
                // Another mirror has got it meanwhile. This one shows no token of its own, so it follows the same journal.
                Some(KeptIn::Elsewhere) if shown.is_none() && transaction.state.lacks_its_token() => {
                    return Ok(KeptIn::Elsewhere);
                }
                // Another mirror has it, and stays its only keeper.
                Some(KeptIn::Elsewhere) => {
                    self.log(
                        Level::Warn,
                        "The refresh token given is kept by another journal of the same folder, so it is not used here. A login makes another one.",
                    );
                    transaction.state.spent_elsewhere.push(given.fingerprint());
                    self.snapshot().given = None;
                }
                Some(KeptIn::Here) | None => self.snapshot().given = None,
            }
        }
        if let Some(shown) = shown
            && let Some(mirror) = &self.parts.mirror
        {
            let source = match mirror {
                Follower::Place(mirror) => format!("in {}", mirror.name()),
                Follower::Program(_) => "from the store's own load".to_owned(),
            };
            if self.merge_token(transaction, &shown, &source, Origin::Given).await? == Some(KeptIn::Elsewhere) {
                return Ok(KeptIn::Elsewhere);
            }
        }
        self.decide_refused(transaction).await?;
        Ok(KeptIn::Here)
    }

    /// A text of the options that was no token when the store could not be read: now it is a token that the store knows, or is ignored
    /// beside another one, or waits to be reported by a call.
    async fn decide_refused(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let Some(refused) = self.snapshot().refused.take() else { return Ok(()) };
        match pasted::read(refused.text.expose(), Some(&transaction.state)) {
            Pasted::Token(token) => {
                self.merge_token(transaction, &token, "given", Origin::Given).await?;
            }
            _ if transaction.state.current.is_some() => self.log(Level::Warn, ignoring(refused.flaw)),
            _ => self.snapshot().refused = Some(refused),
        }
        Ok(())
    }

    /// Says where the token is kept; `None` if it changes nothing.
    async fn merge_token(
        &self,
        transaction: &mut Transaction<'_>,
        token: &RefreshToken,
        source: &str,
        origin: Origin,
    ) -> Result<Option<KeptIn>> {
        let state = &mut transaction.state;
        match state.recognise(token.fingerprint()) {
            Known::Unknown => {
                let displaces = state.current.is_some();
                let changed = self.accept(transaction, token, origin).await?;
                if displaces && changed == KeptIn::Here {
                    self.log(Level::Info, format!("The refresh token {source} is a new one: it is used from now on, and the one before is kept aside."));
                }
                Ok(Some(changed))
            }
            Known::Current => {
                let changed = !state.had_wrapping(token) && state.rewrap(token);
                transaction.changed |= changed;
                Ok(changed.then_some(KeptIn::Here))
            }
            Known::Aside | Known::Former | Known::Rejected => {
                let fingerprint = token.fingerprint();
                let has_newer = state.current.as_ref().is_some_and(|held| held.token.fingerprint() != fingerprint);
                // It stays where it is for as long as nobody can write there, and is looked up each time.
                let is_news = has_newer && self.snapshot().old_copy.replace(fingerprint) != Some(fingerprint);
                if is_news {
                    self.log(
                        Level::Info,
                        format!("The refresh token {source} is an old copy: the newer one in the journal is used."),
                    );
                }
                Ok(None)
            }
        }
    }

    async fn lock_and_read(&self, patience: Patience) -> Result<(Box<dyn Guard>, Found)> {
        let guard = self.lock(patience).await?;
        let (guard, found) = self.blocking(guard, |guard| guard.read()).await;
        match found {
            Ok(found) => Ok((guard, found)),
            Err(error) => {
                self.release(guard).await;
                Err(error)
            }
        }
    }

    async fn lock(&self, patience: Patience) -> Result<Box<dyn Guard>> {
        let clock = self.parts.clock.as_ref();
        let longest = policy::longest_refresh(self.settings.request_timeout);
        let mut limit = clock.monotonic() + longest + policy::LOCK_GRACE;
        let mut look = FIRST_LOOK;
        let mut seen = None;
        loop {
            let store = Arc::clone(&self.parts.store);
            let tried = if store.is_in_memory() {
                store.try_lock()
            } else {
                task::spawn_blocking(move || store.try_lock()).await.unwrap_or_else(|_| Err(broken()))
            };
            if let Some(guard) = tried? {
                return Ok(guard);
            }
            if patience == Patience::UntilClosing && self.snapshot().closing {
                return Err(closed());
            }
            if clock.monotonic() >= limit {
                return Err(Error::new(
                    ErrorCode::StoreLocked,
                    format!(
                        "Another process has been holding {} for longer than a refresh takes. Look for one that hangs; this is tried again at the next call.",
                        self.parts.store.name()
                    ),
                ));
            }
            if look == LONGEST_LOOK {
                // Each holder has a deadline of its own, and the wait is for the one that is in there now.
                let mark = self.peek().await.ok().flatten().and_then(|state| state.mark);
                if let Some(mark) = mark
                    && seen.as_ref() != Some(&mark)
                {
                    let left = Duration::from_millis(mark.deadline.saturating_sub(clock.wall())).min(LONGEST_HOLD);
                    limit = limit.max(clock.monotonic() + left + policy::LOCK_GRACE);
                    seen = Some(mark);
                }
            }
            clock.sleep(policy::spread(look, clock.jitter())).await;
            look = (look * 2).min(LONGEST_LOOK);
        }
    }

    /// Runs what may wait for a disk where that stops nobody else.
    async fn blocking<T: Send + 'static>(
        &self,
        mut guard: Box<dyn Guard>,
        work: impl FnOnce(&mut Box<dyn Guard>) -> T + Send + 'static,
    ) -> (Box<dyn Guard>, T) {
        if self.parts.store.is_in_memory() {
            let done = work(&mut guard);
            return (guard, done);
        }
        let task = task::spawn_blocking(move || {
            let done = work(&mut guard);
            (guard, done)
        });
        match task.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going, and with it the process.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// What is kept now, without the lock.
    pub(super) async fn peek(&self) -> Result<Option<State>> {
        let store = Arc::clone(&self.parts.store);
        if store.is_in_memory() {
            return store.peek();
        }
        task::spawn_blocking(move || store.peek()).await.unwrap_or_else(|_| Err(broken()))
    }

    pub(super) async fn release(&self, guard: Box<dyn Guard>) {
        if !self.parts.store.is_in_memory() {
            // Giving the room back is a storage call as well.
            let _ = task::spawn_blocking(move || drop(guard)).await;
        }
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

    /// Stores what a login brought when the store could not even be entered.
    pub(super) async fn store_unstored(self: &Arc<Self>, allowance: &Arc<Allowance>) {
        if self.snapshot().has_unstored_login()
            && let Ok(transaction) = self.enter_although_closing(allowance).await
        {
            self.leave(transaction).await;
            self.sync_mirror(allowance).await;
        }
    }

    pub(super) fn keep_storing(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            loop {
                inner.parts.clock.sleep(policy::BETWEEN_WRITES).await;
                inner.store_unstored(&Allowance::new()).await;
                let snapshot = inner.snapshot();
                if snapshot.closed || !snapshot.has_unstored_login() {
                    return;
                }
            }
        });
    }
}

/// For what only a mistake of our own can cause; the next call starts from the journal.
pub(super) fn broken() -> Error {
    Error::new(
        ErrorCode::Protocol,
        "Something went wrong inside ring-auth. Nothing that was stored is lost; the next call starts afresh. Please report it.",
    )
}
