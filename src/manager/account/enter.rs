//! Entering the store: one task at a time, in this process and between processes.

use std::sync::Arc;
use std::time::Duration;

use super::inner::{Inner, broken};
use super::pending::{Pending, Slot};
use super::snapshot::{Given, closed};
use super::stored::Stored;
use super::transaction::{KeptIn, Transaction};
use crate::journal::merge::{LoggedIn, Outcome, merge};
use crate::journal::state::{Known, State};
use crate::journal::{Guard, Notice, Origin};
use crate::manager::events::Level;
use crate::manager::policy;
use crate::mirror::{Allowance, Follower};
use crate::pasted::{self, Flaw, Pasted};
use crate::task::BoxFuture;
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, ErrorCode, Result, task};

/// How often the journal is looked up again because another process put the token of the mirror into another one.
const MOST_RELOCATIONS: u32 = 3;
/// How long a task waits for the lock of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockWait {
    /// Until the manager is being closed: the task loses nothing by giving up.
    UntilClosing,
    /// As long as a holder may take: the task brings a token that exists nowhere else, or a change that a caller asked for before it closed
    /// the manager.
    ToTheEnd,
}

const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(50);
/// The longest deadline of a holder that is respected: the holder's clock may be wrong.
const LONGEST_HOLD: Duration = Duration::from_secs(600);

impl Inner {
    /// Enters the store: waits for its lock, reads it, and looks up the token of the options and that of the mirror.
    ///
    /// The future is boxed here, because the addon's crate would otherwise compile all of it a second time.
    pub(in crate::manager) fn enter<'a: 'b, 'b>(
        self: &'a Arc<Self>,
        allowance: &'b Arc<Allowance>,
    ) -> BoxFuture<'b, Result<Transaction<'a>>> {
        Box::pin(self.enter_with(LockWait::UntilClosing, allowance))
    }

    /// Enters the store like [`Inner::enter`], but does not give up if the manager is being closed meanwhile.
    pub(in crate::manager) fn enter_although_closing<'a: 'b, 'b>(
        self: &'a Arc<Self>,
        allowance: &'b Arc<Allowance>,
    ) -> BoxFuture<'b, Result<Transaction<'a>>> {
        Box::pin(self.enter_with(LockWait::ToTheEnd, allowance))
    }

    async fn enter_with(self: &Arc<Self>, wait: LockWait, allowance: &Arc<Allowance>) -> Result<Transaction<'_>> {
        let mut slot = self.entry.lock().await;
        if self.snapshot().is_closed() {
            return Err(closed());
        }
        if let Some(mut pending) = slot.take() {
            self.take_over_shown_instead(&mut pending.state, allowance).await;
            self.write_pending(pending, &mut slot, allowance).await;
        }
        if let Some(pending) = slot.take() {
            let Pending { guard, state, adopted: read } = *pending;
            // It still cannot be written. The newest state is in memory, and no other process may use the one on the disk.
            let allowance = Arc::clone(allowance);
            let guard = Some(guard);
            let transaction = Transaction {
                inner: self,
                state,
                read,
                changed: false,
                pending: true,
                overtaken: 0,
                guard,
                allowance,
                shown: None,
                slot,
                turned: None,
                in_flight: None,
            };
            let mut transaction = Box::pin(transaction.join_record()).await?;
            transaction.merge_external(None).await?;
            return Ok(transaction);
        }
        let mut relocations = MOST_RELOCATIONS;
        loop {
            let mut transaction = self.enter_once(slot, wait, allowance).await?;
            let shown = transaction.shown.take();
            if transaction.merge_external(shown.clone()).await? == KeptIn::Here {
                return Ok(transaction);
            }
            // The token of the mirror, or of the options, is in another journal now. The next round finds that one.
            if relocations == 0 {
                let given = self.snapshot().offered.given.as_ref().map(|given| given.token.fingerprint());
                transaction.state.spent_elsewhere.extend(shown.as_ref().map(RefreshToken::fingerprint).or(given));
                transaction.merge_external(shown).await?;
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

    /// Locks the journal that is the right one now, and reads it.
    async fn enter_once<'a>(
        self: &'a Arc<Self>,
        slot: tokio::sync::MutexGuard<'a, Slot>,
        wait: LockWait,
        allowance: &Arc<Allowance>,
    ) -> Result<Transaction<'a>> {
        let mut shown = self.look_into_mirror(allowance).await;
        let (guard, read, notices) = match self.lock_and_read(wait).await {
            Ok(read) => read,
            Err(error) => {
                // Another program's file in the place of the journal is a problem of the store, too.
                if matches!(error.code(), ErrorCode::Store | ErrorCode::InvalidArgument) {
                    self.update(|snapshot, _| snapshot.store_problem = Some(error.clone()));
                }
                return Err(error);
            }
        };
        self.log_once(notices);
        let is_new = |token: &RefreshToken| read.recognise(token.fingerprint()) == Known::Unknown;
        if !self.parts.store.is_in_memory() && shown.as_ref().is_some_and(is_new) {
            // Another process may have logged out or logged in to another account during the wait. Only a token that the
            // mirror shows now, under the lock, can be pasted.
            shown = self.look_into_mirror(allowance).await;
        }
        if self.snapshot().store_problem.is_some() {
            self.update(|snapshot, _| snapshot.store_problem = None);
        }
        let mut transaction = Transaction {
            inner: self,
            state: State::clone(&read),
            read,
            changed: false,
            pending: false,
            overtaken: 0,
            guard: Some(guard),
            allowance: Arc::clone(allowance),
            shown,
            slot,
            turned: None,
            in_flight: None,
        };
        let is_shown_newest =
            transaction.shown.as_ref().map(RefreshToken::fingerprint) == transaction.state.fingerprint();
        if matches!(self.parts.mirror, Some(Follower::Place(_))) && !is_shown_newest {
            // Another mirror may follow this journal, too, and only that one may have been written after the last rotation.
            self.snapshot().mirror.due = true;
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
                    "The journal {} is gone or empty, although there was no logout. The token is still known here, and is written again.",
                    self.parts.store.name()
                ),
            );
            transaction.restore(&known);
            self.update(|snapshot, _| snapshot.is_to_be_written_again());
        }
        if transaction.state.volatile {
            // It is written to the journal as soon as possible, even if nothing else changes.
            transaction.changed = true;
            self.update(|snapshot, _| snapshot.is_to_be_written_again());
        }
        Box::pin(transaction.join_record()).await
    }

    async fn is_known_elsewhere(&self, transaction: &mut Transaction<'_>, token: Fingerprint) -> Result<bool> {
        let Some(guard) = transaction.guard.take() else { return Ok(false) };
        let (guard, known) = self.blocking(guard, move |guard| guard.is_known_elsewhere(token)).await;
        transaction.guard = Some(guard);
        known
    }

    /// Writes a login into the spool, because the record could not be read after it. So its token outlives this process. Returns whether
    /// the spool has it.
    pub(in crate::manager) async fn spool_login(&self, login: &LoggedIn, error: &Error) -> bool {
        let unwritten = self.entry.lock().await;
        if self.sharing().is_none() || !self.parts.store.is_durable() || unwritten.is_some() {
            return false;
        }
        let Ok((guard, read, _)) = self.lock_and_read(LockWait::ToTheEnd).await else { return false };
        let login = Outcome::LoggedIn(Box::new(login.clone()));
        let state = merge(read.into_state(), &login);
        let (guard, (newest, result)) = self.blocking(guard, move |guard| Stored::commit(guard.as_mut(), state)).await;
        self.release(guard).await;
        if result.is_ok() {
            self.update(|snapshot, clock| {
                snapshot.adopt(&newest.unwritten(), clock);
                snapshot.store_problem = Some(error.clone());
            });
            (self.hooks.keep_sharing)(self);
            return true;
        }
        false
    }

    async fn lock_and_read(&self, wait: LockWait) -> Result<(Box<dyn Guard>, Stored, Vec<Notice>)> {
        let guard = self.lock(wait).await?;
        let (guard, read) = self.blocking(guard, |guard| Stored::read_locked(guard.as_mut())).await;
        match read {
            Ok((read, notices)) => Ok((guard, read, notices)),
            Err(error) => {
                self.release(guard).await;
                Err(error)
            }
        }
    }

    async fn lock(&self, wait: LockWait) -> Result<Box<dyn Guard>> {
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
            if wait == LockWait::UntilClosing && self.snapshot().is_closing() {
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
                // Each holder has a deadline of its own. The wait is for the current holder.
                let mark = self.peek().await.ok().flatten().and_then(|state| state.mark.clone());
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
}

impl Transaction<'_> {
    /// Takes over new tokens under the lock: that of the options once, that of the mirror each time.
    pub(super) async fn merge_external(&mut self, shown: Option<RefreshToken>) -> Result<KeptIn> {
        if !self.inner.snapshot().holds_given_back(&self.state) {
            let kept_in = self.merge_given_and_shown(shown).await?;
            if kept_in == KeptIn::Elsewhere {
                return Ok(kept_in);
            }
        }
        let is_settled = {
            let snapshot = self.inner.snapshot();
            snapshot.offered.given.is_some() || snapshot.is_persisted()
        };
        if !self.pending && !is_settled && self.inner.is_durable() {
            // What could be lost until now is in the journal.
            self.adopt_read();
        }
        Ok(KeptIn::Here)
    }

    async fn merge_given_and_shown(&mut self, shown: Option<RefreshToken>) -> Result<KeptIn> {
        let given = self.inner.snapshot().offered.given.as_ref().map(|given| given.token.clone());
        let is_new = |state: &State, token: &RefreshToken| state.recognise(token.fingerprint()) == Known::Unknown;
        if let (Some(given), Some(shown)) = (&given, &shown)
            && given.fingerprint() != shown.fingerprint()
            && is_new(&self.state, given)
            && is_new(&self.state, shown)
        {
            self.inner.log(
                Level::Info,
                "Two refresh tokens are new, the one given and the one in the store: that one is used.",
            );
            self.state.pass_over(given);
            self.changed = true;
            self.inner.snapshot().offered.given = None;
        }
        let given = self.inner.snapshot().offered.given.clone();
        if let Some(Given { token: given, by_login }) = given {
            let origin = if by_login.is_some() { Origin::Login } else { Origin::Given };
            match (self.merge_token(&given, "given", origin).await?, by_login) {
                (Some(KeptIn::Here), Some(login)) => {
                    self.note(&Outcome::LoggedIn(login));
                    self.changed = true;
                }
                (Some(KeptIn::Here), None) if self.changed => {}
                // Another mirror has got it meanwhile. This mirror shows no token, so it follows the same journal.
                (Some(KeptIn::Elsewhere), _) if shown.is_none() && self.state.lacks_its_token() => {
                    return Ok(KeptIn::Elsewhere);
                }
                // Another mirror has it, and its journal stays the only keeper.
                (Some(KeptIn::Elsewhere), _) => {
                    self.inner.log(
                        Level::Warn,
                        "The refresh token given is kept by another journal of the same folder, so it is not used here. A login makes another one.",
                    );
                    self.state.spent_elsewhere.push(given.fingerprint());
                    self.inner.snapshot().offered.given = None;
                }
                (Some(KeptIn::Here) | None, _) => self.inner.snapshot().offered.given = None,
            }
        }
        if let Some(shown) = shown
            && let Some(mirror) = &self.inner.parts.mirror
        {
            let source = match mirror {
                Follower::Place(mirror) => format!("in {}", mirror.name()),
                Follower::Program(_) => "from the store's own load".to_owned(),
            };
            if self.merge_token(&shown, &source, Origin::Given).await? == Some(KeptIn::Elsewhere) {
                return Ok(KeptIn::Elsewhere);
            }
        }
        self.decide_refused().await?;
        Ok(KeptIn::Here)
    }

    /// Decides about a text in the options that was no token when the store could not be read. It is a token that the store knows, or it
    /// is ignored beside another token, or a call reports it.
    async fn decide_refused(&mut self) -> Result<()> {
        let Some(refused) = self.inner.snapshot().offered.refused.take() else { return Ok(()) };
        match pasted::read(refused.text.expose(), Some(&self.state)) {
            Pasted::Token(token) => {
                self.merge_token(&token, "given", Origin::Given).await?;
            }
            _ if self.state.family.is_some() => self.inner.log(Level::Warn, ignoring(refused.flaw)),
            _ => self.inner.snapshot().offered.refused = Some(refused),
        }
        Ok(())
    }

    /// Takes over a token if it is new. Returns the journal that keeps it; `None` if nothing changed.
    async fn merge_token(&mut self, token: &RefreshToken, source: &str, origin: Origin) -> Result<Option<KeptIn>> {
        let state = &mut self.state;
        match state.recognise(token.fingerprint()) {
            Known::Unknown => {
                let displaces = state.family.is_some();
                let kept_in = self.accept(token, origin).await?;
                if displaces && kept_in == KeptIn::Here {
                    self.inner.log(Level::Info, format!("The refresh token {source} is a new one: it is used from now on, and the one before is kept as a fallback."));
                }
                Ok(Some(kept_in))
            }
            Known::Current => {
                let changed = !state.had_wrapper(token) && state.rewrap(token);
                if changed {
                    self.changed = true;
                    let at = self.inner.parts.clock.wall();
                    self.remember_for_record(&Outcome::Given { token: token.clone(), at });
                }
                Ok(changed.then_some(KeptIn::Here))
            }
            Known::Fallback | Known::Former | Known::Rejected => {
                let fingerprint = token.fingerprint();
                let has_newer = state.current().is_some_and(|stored| stored.token.fingerprint() != fingerprint);
                // If the mirror cannot be written, the old copy stays there and is found each time.
                let is_news =
                    has_newer && self.inner.snapshot().offered.old_copy.replace(fingerprint) != Some(fingerprint);
                if is_news {
                    self.inner.log(
                        Level::Info,
                        format!("The refresh token {source} is an old copy: the newer one in the journal is used."),
                    );
                }
                Ok(None)
            }
        }
    }
}

/// The log entry for a text in the options that is no token, if the store holds a token: an outdated variable must not stop a journal.
pub(in crate::manager) fn ignoring(flaw: Flaw) -> String {
    format!(
        "The refreshToken of the options is ignored, and the token in the store is used: it {}. {}",
        flaw.reason(),
        flaw.advice()
    )
}
