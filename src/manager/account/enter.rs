//! Into the store and out again: one at a time, in this process and between processes.

use std::sync::Arc;
use std::time::Duration;

use super::inner::{Inner, broken};
use super::pending::Pending;
use super::snapshot::closed;
use super::transaction::{KeptIn, Transaction};
use crate::journal::state::{Known, Millis, State};
use crate::journal::{Found, Guard, Origin};
use crate::manager::events::Level;
use crate::manager::policy;
use crate::mirror::{Allowance, Follower};
use crate::oauth::BoxFuture;
use crate::pasted::{self, Flaw, Pasted};
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, ErrorCode, Result, task};

/// How often the journal is found anew because another process put the token of the mirror into another one.
const MOST_RELOCATIONS: u32 = 3;
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
    pub(in crate::manager) fn enter<'a: 'b, 'b>(
        self: &'a Arc<Self>,
        allowance: &'b Arc<Allowance>,
    ) -> BoxFuture<'b, Result<Transaction<'a>>> {
        Box::pin(self.enter_with(Patience::UntilClosing, allowance))
    }

    /// The same, for what must not be lost because the manager is being closed meanwhile.
    pub(in crate::manager) fn enter_although_closing<'a: 'b, 'b>(
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
}

/// What is logged of a text in the options that is no token, if the store holds one: a stale variable must not stop a journal.
pub(in crate::manager) fn ignoring(flaw: Flaw) -> String {
    format!(
        "The refreshToken of the options is ignored, and the token in the store is used: it {}. {}",
        flaw.reason(),
        flaw.advice()
    )
}

/// Ring has given this token to the person who logged in: if it is rejected, that person has to know. The lineage that it displaced may
/// be another account's, and must not come back by itself as for a token that was pasted and never worked.
pub(in crate::manager) fn count_as_accepted(state: &mut State, now: Millis) {
    state.proven = true;
    state.last_success_at = Some(now);
}
