//! A manager as its callers have it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::account::enter::ignoring;
use super::account::flight::Flight;
use super::account::inner::{Hooks, Inner};
use super::account::mirror_sync::{FirstLook, Problem};
use super::account::snapshot::{Beside, Given, Invalidation, Lifecycle, LiveAccess, Snapshot, read};
use super::account::stored::Stored;
use super::events::Level;
use super::login;
use super::parts::{Parts, Settings};
use super::refresh::{self, Reason};
use super::stats::Stats;
use super::status::{Auth, Status};
use super::steps::{Asked, Credentials, Step};
use super::sync;
use crate::journal::state::Known;
use crate::mirror::{Allowance, Follower, Patience};
use crate::pasted;
use crate::task::BoxFuture;
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Result, Secret};

/// What follows from a change that is known.
const HOOKS: Hooks = Hooks {
    sync_mirror: |inner, allowance| Box::pin(async move { inner.sync_mirror(&allowance).await }),
    watch_for_login: Inner::watch_for_login,
};

/// Keeps one account's token alive. Clones are the same manager.
///
/// What takes long is boxed here: the addon's crate would otherwise compile those futures, and all that they await, a second time.
#[derive(Clone)]
pub struct Manager {
    pub(super) inner: Arc<Inner>,
}

impl Manager {
    /// Starts to keep a token. What the store holds is read at once, so that [`Manager::refresh_token`] is there; no
    /// request is made, except where an earlier process was stopped in the middle of one.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a text that cannot be a token if the store holds none either, and for the journal of another issuer.
    pub fn open(parts: Parts, mut settings: Settings) -> Result<Self> {
        // No lock is held here, and the mirror follows the journal: read in this order, what another process writes in
        // between makes the token in the mirror an old copy, and never one that was pasted.
        let looked = match &parts.mirror {
            Some(Follower::Place(mirror)) => Some(mirror.look(Patience::None)),
            Some(Follower::Program(_)) | None => None,
        };
        let (found, trouble) = peek(&parts, settings.refresh_token.as_ref())?;
        let mut snapshot = Snapshot::new(parts.store.is_durable());
        let is_volatile = found.as_ref().is_some_and(|state| state.volatile);
        if let Some(state) = &found {
            snapshot.adopt(state, parts.clock.as_ref());
        }
        let shown = match looked {
            Some(Ok(shown)) => shown,
            Some(Err(error)) if error.code() == ErrorCode::InvalidArgument => return Err(error),
            Some(Err(error)) => {
                snapshot.mirror.problem = Some(Problem { error, is_unreadable: false });
                None
            }
            None => {
                if parts.mirror.is_some() {
                    snapshot.mirror.first_look = FirstLook::Pending;
                }
                None
            }
        };
        let looked_up =
            |token: &RefreshToken| found.as_ref().map_or(Known::Unknown, |state| state.recognise(token.fingerprint()));
        let read_shown = read(shown.as_ref(), found.as_deref());
        let flaw_shown = read_shown.flaw();
        let token_shown = read_shown.token();
        let beside = if snapshot.account().newest.is_some() || token_shown.is_some() {
            Beside::AToken
        } else if trouble.is_some()
            || snapshot.mirror.problem.is_some()
            || snapshot.mirror.is_unread()
            || settings.refuses_at_calls
        {
            Beside::NobodyKnows
        } else {
            Beside::Nothing
        };
        let (given, ignored) = snapshot.read_given(settings.refresh_token.as_ref(), found.as_deref(), beside)?;
        // Of two that were never seen the mirror's is used: people look there.
        let pasted = [&token_shown, &given].into_iter().flatten().find(|token| looked_up(token) == Known::Unknown);
        if let Some(token) = pasted {
            snapshot.show_pasted(token);
        }
        let known_to_caller = settings.refresh_token.take().filter(|_| given.is_some()).or(shown);
        let theirs = given.as_ref().or(token_shown.as_ref());
        let is_behind = theirs.is_some_and(|theirs| {
            snapshot.account().newest.as_ref().map(RefreshToken::fingerprint) != Some(theirs.fingerprint())
        });
        let mut replaced = None;
        if is_behind {
            replaced = known_to_caller;
        } else if let Some(known) = known_to_caller {
            snapshot.announce(known);
        } else if !snapshot.mirror.is_unread() {
            snapshot.announce_newest();
        }
        snapshot.offered.given = given.map(|token| Given { token, by_login: None });
        snapshot.mirror.flaw_shown = flaw_shown;
        snapshot.store_problem.clone_from(&trouble);
        snapshot.counts_as_heard(parts.clock.as_ref());
        let left_behind = found.as_ref().is_some_and(|state| state.mark.is_some());
        let inner = Inner::new(parts, settings, snapshot, HOOKS);
        // A key that is asked for at the first call is no trouble.
        let trouble = trouble.filter(|_| !inner.parts.store.is_shut());
        for error in [trouble, inner.snapshot().mirror.error().cloned()].into_iter().flatten() {
            inner.log(Level::Error, format!("{error}"));
        }
        if let Some(flaw) = flaw_shown {
            inner.tell_flaw(flaw);
        }
        if let Some(flaw) = ignored {
            inner.log(Level::Warn, ignoring(flaw));
        }
        if let Some(old) = replaced {
            inner.announce_newer(old);
        }
        if inner.parts.mirror.is_some() || is_volatile {
            sync::begin(&inner);
        }
        if left_behind {
            // Its result reaches whoever asks; nobody has to.
            drop(inner.fly(Reason::Recover, Allowance::new()));
        }
        if inner.settings.auto_refresh {
            refresh::keep_fresh(&inner);
        }
        inner.watch_for_login();
        Ok(Self { inner })
    }

    /// The access token, if a valid one is at hand: without waiting, and without a request but one beside it when its
    /// end is near.
    pub fn cached_access_token(&self) -> Option<Secret> {
        self.inner.cached(|access| access.token.clone())
    }

    /// Everything about the access token at hand, like [`Manager::cached_access_token`].
    pub fn cached_auth(&self) -> Option<Auth> {
        self.inner.cached_auth()
    }

    /// A valid access token and all that belongs to it, refreshed only when needed.
    pub async fn auth(&self) -> Result<Auth> {
        if let Some(auth) = self.cached_auth() {
            return Ok(auth);
        }
        self.inner.join(Reason::Needed, Allowance::new()).await.result
    }

    /// Rotates now, whatever the expiry says; with `force` even in a cool-down.
    pub async fn refresh(&self, force: bool) -> Result<Auth> {
        let reason = if force { Reason::Forced } else { Reason::Asked };
        self.inner.join(reason, Allowance::new()).await.result
    }

    /// An API answered 401 to this access token: the next caller causes a refresh, one, however many saw it.
    ///
    /// # Errors
    ///
    /// `CLOSED`.
    pub fn invalidate_access_token(&self, access_token: &str) -> Result<()> {
        let mut snapshot = self.inner.snapshot();
        snapshot.check_open()?;
        let at_hand = snapshot.account().access.as_ref().is_some_and(|access| access.token.expose() == access_token);
        if at_hand && snapshot.demand.invalidation == Invalidation::None {
            snapshot.demand.invalidation = Invalidation::Made;
        }
        Ok(())
    }

    /// The user linked the account again: this token is used from now on, unless it is an old copy.
    pub fn set_refresh_token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let known = self.inner.snapshot().account().known.clone();
            self.inner.set_refresh_token(pasted::token(token, known.as_deref())?).await
        })
    }

    /// Wraps other push-notification credentials with the token, or none.
    pub fn set_push_credentials(&self, credentials: Option<Value>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.inner.set_push_credentials(credentials))
    }

    /// Starts a login. Ring sends a code where the account wants one. The same login that was not answered yet is joined, so
    /// that a double click sends one code; so are the same steps of it.
    pub fn login(&self, credentials: Credentials) -> BoxFuture<'_, Result<Step>> {
        Box::pin(login::ask(&self.inner, Asked::Start { credentials, code: None }))
    }

    /// Logs in with a code that an earlier login asked for, so that Ring sends no other one. Only the password flow can.
    pub fn login_with_code(&self, credentials: Credentials, code: Secret) -> BoxFuture<'_, Result<Step>> {
        Box::pin(login::ask(&self.inner, Asked::Start { credentials, code: Some(code) }))
    }

    /// Ends a login with its code. After a wrong one it still waits.
    pub fn submit_two_factor_code(&self, code: Secret) -> BoxFuture<'_, Result<Step>> {
        Box::pin(login::ask(&self.inner, Asked::Submit(code)))
    }

    /// Asks for another code, where one can be sent.
    pub fn resend_two_factor_code(&self) -> BoxFuture<'_, Result<Step>> {
        Box::pin(login::ask(&self.inner, Asked::Resend))
    }

    /// Whether a login waits for its code. After a failure that ended it none does.
    pub fn awaits_code(&self) -> bool {
        self.inner.snapshot().login.waits
    }

    /// What this manager has done so far.
    pub fn stats(&self) -> Stats {
        self.inner.snapshot().stats()
    }

    /// Waits until no refresh is under way.
    pub async fn rested(&self) {
        let flight = self.inner.snapshot().flight.as_ref().map(Flight::subscribe);
        if let Some(mut flight) = flight {
            let _ = flight.wait_for(Option::is_some).await;
        }
    }

    /// Waits until there is a token that Ring did not reject: until somebody has logged in, here or in another process.
    ///
    /// # Errors
    ///
    /// `CLOSED`, also if the manager is closed meanwhile.
    pub async fn wait_for_login(&self) -> Result<()> {
        self.inner.wait_for_login().await
    }

    /// The newest token, wrapped.
    pub fn refresh_token(&self) -> Option<Secret> {
        self.inner.snapshot().account().newest.as_ref().map(RefreshToken::wrapped)
    }

    /// The device id, once it is decided.
    pub fn hardware_id(&self) -> Option<String> {
        self.inner.snapshot().account().hardware_id.as_deref().map(str::to_owned)
    }

    /// How the token does.
    pub fn status(&self) -> Status {
        self.inner.snapshot().status(self.inner.parts.clock.as_ref())
    }

    /// What it was given: whoever uses its token sends it from the same place, and waits by the same clock.
    pub fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// How long one request may take.
    pub fn request_timeout(&self) -> Duration {
        self.inner.settings.request_timeout
    }

    /// Says something to whoever hears of this manager.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.inner.log(level, message);
    }

    /// Waits for a refresh under way and for what is still to be written, and ends. Every later call is `CLOSED`.
    pub fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.inner.close())
    }

    /// Forgets the account: its journal and what is left of earlier ones.
    pub async fn forget(&self) -> Result<()> {
        self.inner.forget().await
    }
}

/// What the store holds at the start, or why it cannot be read now. The token of the options is a hint which journal is meant.
fn peek(parts: &Parts, given: Option<&Secret>) -> Result<(Option<Stored>, Option<Error>)> {
    if let Some(given) = read(given, None).token() {
        parts.store.prefer(given.fingerprint());
    }
    match Stored::peek(parts.store.as_ref()) {
        Ok(state) => Ok((state, None)),
        Err(error) if error.code() == ErrorCode::InvalidArgument => Err(error),
        // The disk may be well again by the time somebody asks for something.
        Err(error) => Ok((None, Some(error))),
    }
}

impl Inner {
    fn cached_auth(self: &Arc<Self>) -> Option<Auth> {
        let (newest, hardware_id) = {
            let snapshot = self.snapshot();
            (snapshot.account().newest.clone()?, snapshot.account().hardware_id.clone()?)
        };
        self.cached(|access| access.auth(&newest, &hardware_id))
    }

    /// What a valid access token gives. Starts a refresh beside it when its end is near.
    fn cached<T>(self: &Arc<Self>, take: impl FnOnce(&LiveAccess) -> T) -> Option<T> {
        let clock = self.parts.clock.as_ref();
        let mut snapshot = self.snapshot();
        if snapshot.is_closed() {
            return None;
        }
        if snapshot.demand.invalidation == Invalidation::Made {
            let granted = snapshot.demand.invalidations.take(clock.monotonic());
            // Too many already: this API says 401 to everything.
            snapshot.demand.invalidation = if granted { Invalidation::Granted } else { Invalidation::None };
        }
        if snapshot.demand.invalidation == Invalidation::Granted {
            return None;
        }
        let access = snapshot.account().access.as_ref().filter(|access| !access.is_expired(clock))?;
        let near_its_end = access.is_near_its_end(clock);
        let taken = take(access);
        if near_its_end && snapshot.may_refresh_unasked(clock) {
            drop(snapshot);
            drop(self.fly(Reason::Unasked, Allowance::new()));
        }
        Some(taken)
    }

    async fn close(self: &Arc<Self>) {
        let flight = {
            let mut snapshot = self.snapshot();
            snapshot.lifecycle = Lifecycle::Closing;
            snapshot.flight.as_ref().map(|flight| (flight.subscribe(), flight.allowance()))
        };
        self.changed.notify_waiters();
        let allowance = match flight {
            Some((mut flight, allowance)) => {
                let _ = flight.wait_for(Option::is_some).await;
                // What it waited for the program's own code, this has waited too.
                allowance
            }
            None => Allowance::new(),
        };
        // A step of a login may be about to bring a token, which has to be stored as well.
        drop(self.login.lock().await);
        self.store_unstored(&allowance).await;
        // Whoever is in the store ends first, and what could not be written is tried once more.
        self.write_at_the_end(&allowance).await;
        self.sync_mirror_at_the_end(&allowance).await;
        self.give_up_pending().await;
        self.snapshot().lifecycle = Lifecycle::Closed;
    }
}
