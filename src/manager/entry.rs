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
pub(super) struct Entered<'a> {
    pub(super) state: State,
    /// Whether the caller's own token changed it, which is not written yet.
    absorbed: bool,
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

impl Entered<'_> {
    /// Goes on with what is known here, in place of an older state or of none.
    fn restore(&mut self, known: &State) {
        let sequence = self.state.sequence.max(known.sequence);
        self.state = State { sequence, mark: None, ..known.clone() };
        self.absorbed = true;
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
pub(super) enum Absorbed {
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
    ) -> BoxFuture<'b, Result<Entered<'a>>> {
        Box::pin(self.enter_with(Patience::UntilClosing, allowance))
    }

    /// The same, for what must not be lost because the manager is being closed meanwhile.
    pub(super) fn enter_although_closing<'a: 'b, 'b>(
        self: &'a Arc<Self>,
        allowance: &'b Arc<Allowance>,
    ) -> BoxFuture<'b, Result<Entered<'a>>> {
        Box::pin(self.enter_with(Patience::ToTheEnd, allowance))
    }

    async fn enter_with(self: &Arc<Self>, patience: Patience, allowance: &Arc<Allowance>) -> Result<Entered<'_>> {
        let mut slot = self.entry.lock().await;
        if self.view().closed {
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
            let mut entered =
                Entered { state, absorbed: false, pending: true, overtaken: 0, guard, allowance, shown: None, slot };
            self.absorb(&mut entered, None).await?;
            return Ok(entered);
        }
        let mut relocations = MOST_RELOCATIONS;
        loop {
            let mut entered = self.enter_once(slot, patience, allowance).await?;
            let shown = entered.shown.take();
            if self.absorb(&mut entered, shown.clone()).await? == Absorbed::Here {
                return Ok(entered);
            }
            // The token of the mirror, or of the options, is in another journal by now: that one is found in the next round.
            if relocations == 0 {
                let given = self.view().given.as_ref().map(RefreshToken::fingerprint);
                entered.state.spent_elsewhere.extend(shown.as_ref().map(RefreshToken::fingerprint).or(given));
                self.absorb(&mut entered, shown).await?;
                return Ok(entered);
            }
            relocations -= 1;
            let Entered { guard, slot: left, .. } = entered;
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
    ) -> Result<Entered<'a>> {
        let mut shown = self.look_into_mirror(allowance).await;
        let (guard, found) = match self.lock_and_read(patience).await {
            Ok(entered) => entered,
            Err(error) => {
                // Another program's file in the place of the journal is a matter of the store as well.
                if matches!(error.code(), ErrorCode::Store | ErrorCode::InvalidArgument) {
                    self.update(|view, _| view.store_problem = Some(error.clone()));
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
        if self.view().store_problem.is_some() {
            self.update(|view, _| view.store_problem = None);
        }
        let mut entered = Entered {
            state: found.state,
            absorbed: false,
            pending: false,
            overtaken: 0,
            guard: Some(guard),
            allowance: Arc::clone(allowance),
            shown,
            slot,
        };
        let is_shown_newest = entered.shown.as_ref().map(RefreshToken::fingerprint) == entered.state.fingerprint();
        if matches!(self.parts.mirror, Some(Follower::Place(_))) && !is_shown_newest {
            // Another mirror may follow this journal too, and only that one was written after the last rotation.
            self.view().mirror_due = true;
        }
        let ahead = self.view().ahead_of(&entered.state);
        let mut missing = self.view().missing_in(&entered.state);
        if let Some(token) = missing.as_ref().and_then(|known| known.fingerprint())
            && self.is_known_elsewhere(&mut entered, token).await?
        {
            // The mirror got another journal, and the former one still has the token.
            missing = None;
        }
        if let Some(known) = ahead {
            self.log(
                Level::Warn,
                "The journal was put back to an older version. The newer token, which is still known here, is used.",
            );
            entered.restore(&known);
        } else if let Some(known) = missing {
            self.log(
                Level::Warn,
                format!(
                    "The journal {} is gone or empty, although nobody logged out. The token is still known here, and is written again.",
                    self.parts.store.name()
                ),
            );
            entered.restore(&known);
            self.update(|view, _| view.set_persisted(false));
        }
        if entered.state.volatile {
            // It is written to the journal as soon as that is possible, whether or not anything else changes.
            entered.absorbed = true;
            self.update(|view, _| view.set_persisted(false));
        }
        Ok(entered)
    }

    async fn is_known_elsewhere(&self, entered: &mut Entered<'_>, token: Fingerprint) -> Result<bool> {
        let Some(guard) = entered.guard.take() else { return Ok(false) };
        let (guard, known) = self.blocking(guard, move |guard| guard.is_known_elsewhere(token)).await;
        entered.guard = Some(guard);
        known
    }

    /// Takes over a token from outside, in the journal that it belongs to. If that fails, the store is left.
    pub(super) async fn accept(
        &self,
        entered: &mut Entered<'_>,
        token: &RefreshToken,
        origin: Origin,
    ) -> Result<Absorbed> {
        let now = self.parts.clock.wall();
        if entered.pending {
            entered.state.take_over(token.clone(), now);
            entered.absorbed = true;
            return Ok(Absorbed::Here);
        }
        let Some(guard) = entered.guard.take() else { return Err(closed()) };
        let (mut state, token) = (entered.state.clone(), token.clone());
        let (guard, (state, accepted)) = self
            .blocking(guard, move |guard| {
                let accepted = guard.accept(&mut state, Offer { token: &token, origin, now });
                (state, accepted)
            })
            .await;
        match accepted {
            Ok(Accepted::Here { written, notices }) => {
                entered.guard = Some(guard);
                entered.state = state;
                entered.absorbed = !written;
                self.view().mirror_due |= written;
                self.tell(notices);
                Ok(Absorbed::Here)
            }
            Ok(Accepted::Elsewhere) => {
                entered.guard = Some(guard);
                Ok(Absorbed::Elsewhere)
            }
            Err(error) => {
                self.release(guard).await;
                self.update(|view, _| view.store_problem = Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Writes before a request, with room kept for its answer. If another process wrote meanwhile, nothing is written, its
    /// state is taken in, and everything has to be decided anew.
    pub(super) async fn begin(&self, entered: &mut Entered<'_>, purpose: Purpose) -> Result<Start> {
        let Some(guard) = entered.guard.take() else { return Err(closed()) };
        let mut state = entered.state.clone();
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
        entered.guard = Some(guard);
        // Which journal it is and how often it was written is so, whatever comes of this.
        entered.state = state;
        let result = match claimed {
            Ok(Claim::Here(notices)) => {
                self.tell_once(notices);
                result.unwrap_or_else(|| Err(broken()))
            }
            Ok(Claim::Elsewhere(path)) => {
                entered.state.mark = None;
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
                entered.state.mark = None;
                entered.state.merge(*theirs);
                entered.overtaken += 1;
                let now = self.parts.clock.wall();
                let is_at_work = entered.state.mark.as_ref().is_some_and(|mark| mark.deadline > now);
                if is_at_work || entered.overtaken > MOST_OVERTAKEN {
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
                entered.state.volatile = false;
                self.tell(notices);
                entered.absorbed = false;
                entered.pending = false;
                let durable = self.parts.store.is_durable();
                self.update(|view, _| {
                    view.given = None;
                    view.store_problem = None;
                    view.set_persisted(durable);
                });
                Ok(Start::Ready)
            }
            Err(error) => {
                self.update(|view, _| view.store_problem = Some(error.clone()));
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
    pub(super) async fn commit(self: &Arc<Self>, mut entered: Entered<'_>) -> State {
        let Some(guard) = entered.guard.take() else { return entered.state };
        let pending = Box::new(Pending { guard, state: entered.state });
        self.view().given = None;
        let (state, written) = self.write_pending(pending, &mut entered.slot, &entered.allowance).await;
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
        self.view().mirror_due = true;
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
                self.update(|view, _| {
                    view.set_persisted(durable);
                    view.store_problem = None;
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
                if !self.view().is_unwritten_because_of(&error) {
                    self.log(Level::Error, format!("{error}"));
                }
                self.update(|view, _| {
                    view.set_persisted(false);
                    view.store_problem = Some(error);
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
    pub(super) async fn leave(self: &Arc<Self>, entered: Entered<'_>) {
        if entered.absorbed {
            self.commit(entered).await;
            return;
        }
        self.abandon(entered).await;
    }

    /// Leaves after a write before a request has failed: what is on the disk is as good as before.
    pub(super) async fn abandon(&self, mut entered: Entered<'_>) {
        let Some(guard) = entered.guard.take() else { return };
        if entered.pending {
            *entered.slot = Some(Box::new(Pending { guard, state: entered.state }));
        } else {
            self.release(guard).await;
        }
    }

    /// Forgets everything there is, and takes the token out of the mirror before anybody else comes in. Says how that
    /// went.
    pub(super) async fn erase(self: &Arc<Self>, mut entered: Entered<'_>) -> Result<Result<()>> {
        let Some(guard) = entered.guard.take() else { return Err(closed()) };
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
    async fn absorb(&self, entered: &mut Entered<'_>, shown: Option<RefreshToken>) -> Result<Absorbed> {
        if !self.view().holds_given_back(&entered.state) {
            let absorbed = self.absorb_both(entered, shown).await?;
            if absorbed == Absorbed::Elsewhere {
                return Ok(absorbed);
            }
        }
        if !entered.pending && !entered.absorbed && self.view().given.is_none() {
            // What is known here is what was just read.
            self.view().set_persisted(self.parts.store.is_durable());
        }
        Ok(Absorbed::Here)
    }

    async fn absorb_both(&self, entered: &mut Entered<'_>, shown: Option<RefreshToken>) -> Result<Absorbed> {
        let given = self.view().given.clone();
        let is_new = |state: &State, token: &RefreshToken| state.recognise(token.fingerprint()) == Known::Unknown;
        if let (Some(given), Some(shown)) = (&given, &shown)
            && given.fingerprint() != shown.fingerprint()
            && is_new(&entered.state, given)
            && is_new(&entered.state, shown)
        {
            self.log(
                Level::Info,
                "Two refresh tokens are new, the one given and the one in the store: that one is used.",
            );
            entered.state.pass_over(given);
            entered.absorbed = true;
            self.view().given = None;
        }
        let (given, by_login) = {
            let view = self.view();
            (view.given.clone(), view.has_unstored_login())
        };
        if let Some(given) = given {
            let origin = if by_login { Origin::Login } else { Origin::Given };
            match self.absorb_one(entered, &given, "given", origin).await? {
                Some(Absorbed::Here) if by_login => {
                    count_as_accepted(&mut entered.state, self.parts.clock.wall());
                    entered.absorbed = true;
                }
                Some(Absorbed::Here) if entered.absorbed => {}
                // Another mirror has got it meanwhile. This one shows no token of its own, so it follows the same journal.
                Some(Absorbed::Elsewhere) if shown.is_none() && entered.state.lacks_its_token() => {
                    return Ok(Absorbed::Elsewhere);
                }
                // Another mirror has it, and stays its only keeper.
                Some(Absorbed::Elsewhere) => {
                    self.log(
                        Level::Warn,
                        "The refresh token given is kept by another journal of the same folder, so it is not used here. A login makes another one.",
                    );
                    entered.state.spent_elsewhere.push(given.fingerprint());
                    self.view().given = None;
                }
                Some(Absorbed::Here) | None => self.view().given = None,
            }
        }
        if let Some(shown) = shown
            && let Some(mirror) = &self.parts.mirror
        {
            let whence = match mirror {
                Follower::Place(mirror) => format!("in {}", mirror.name()),
                Follower::Program(_) => "from the store's own load".to_owned(),
            };
            if self.absorb_one(entered, &shown, &whence, Origin::Given).await? == Some(Absorbed::Elsewhere) {
                return Ok(Absorbed::Elsewhere);
            }
        }
        self.decide_refused(entered).await?;
        Ok(Absorbed::Here)
    }

    /// A text of the options that was no token when the store could not be read: now it is a token that the store knows, or is ignored
    /// beside another one, or waits to be reported by a call.
    async fn decide_refused(&self, entered: &mut Entered<'_>) -> Result<()> {
        let Some(refused) = self.view().refused.take() else { return Ok(()) };
        match pasted::read(refused.text.expose(), Some(&entered.state)) {
            Pasted::Token(token) => {
                self.absorb_one(entered, &token, "given", Origin::Given).await?;
            }
            _ if entered.state.current.is_some() => self.log(Level::Warn, ignoring(refused.flaw)),
            _ => self.view().refused = Some(refused),
        }
        Ok(())
    }

    /// Says where the token is kept; `None` if it changes nothing.
    async fn absorb_one(
        &self,
        entered: &mut Entered<'_>,
        token: &RefreshToken,
        whence: &str,
        origin: Origin,
    ) -> Result<Option<Absorbed>> {
        let state = &mut entered.state;
        match state.recognise(token.fingerprint()) {
            Known::Unknown => {
                let displaces = state.current.is_some();
                let absorbed = self.accept(entered, token, origin).await?;
                if displaces && absorbed == Absorbed::Here {
                    self.log(Level::Info, format!("The refresh token {whence} is a new one: it is used from now on, and the one before is kept aside."));
                }
                Ok(Some(absorbed))
            }
            Known::Current => {
                let changed = !state.had_wrapping(token) && state.rewrap(token);
                entered.absorbed |= changed;
                Ok(changed.then_some(Absorbed::Here))
            }
            Known::Aside | Known::Former | Known::Rejected => {
                let fingerprint = token.fingerprint();
                let has_newer = state.current.as_ref().is_some_and(|held| held.token.fingerprint() != fingerprint);
                // It stays where it is for as long as nobody can write there, and is looked up each time.
                let is_news = has_newer && self.view().old_copy.replace(fingerprint) != Some(fingerprint);
                if is_news {
                    self.log(
                        Level::Info,
                        format!("The refresh token {whence} is an old copy: the newer one in the journal is used."),
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
            if patience == Patience::UntilClosing && self.view().closing {
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
        if std::mem::replace(&mut self.view().keeps_writing, true) {
            return;
        }
        // What is nowhere else is kept, even where nobody has the manager any more.
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            loop {
                inner.parts.clock.sleep(policy::BETWEEN_WRITES).await;
                let allowance = Allowance::new();
                let mut slot = inner.entry.lock().await;
                if inner.view().closing {
                    // Closing tries it itself, once.
                    inner.view().keeps_writing = false;
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
                    inner.view().keeps_writing = false;
                    inner.follow(&allowance).await;
                    return;
                }
            }
        });
    }

    /// Stores what a login brought when the store could not even be entered.
    pub(super) async fn store_unstored(self: &Arc<Self>, allowance: &Arc<Allowance>) {
        if self.view().has_unstored_login()
            && let Ok(entered) = self.enter_although_closing(allowance).await
        {
            self.leave(entered).await;
            self.follow(allowance).await;
        }
    }

    pub(super) fn keep_storing(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            loop {
                inner.parts.clock.sleep(policy::BETWEEN_WRITES).await;
                inner.store_unstored(&Allowance::new()).await;
                let view = inner.view();
                if view.closed || !view.has_unstored_login() {
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
