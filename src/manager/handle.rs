//! The manager's interface for its callers.

use std::future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinError;

use super::account::engine::Sharing;
use super::account::enter::ignoring;
use super::account::flight::Flight;
use super::account::inner::{Hooks, Inner};
use super::account::mirror_sync::{FirstLook, Problem};
use super::account::snapshot::{Beside, Given, Invalidation, Lifecycle, LiveAccess, Snapshot, read};
use super::account::stored::Stored;
use super::clock::Clock;
use super::events::Level;
use super::login;
use super::parts::{Parts, Settings};
use super::refresh::{self, Reason};
use super::ring_clock::RingClock;
use super::stats::Stats;
use super::status::{Auth, Status};
use super::steps::{Asked, Credentials, Step};
use super::sync;
use crate::journal::state::{Known, Mark};
use crate::mirror::{Allowance, Attempts, Follower};
use crate::pasted;
use crate::task::BoxFuture;
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Result, Secret, task};

/// What the files above `account/` do after the snapshot has changed.
const HOOKS: Hooks = Hooks {
    sync_mirror: |inner, allowance| Box::pin(async move { inner.sync_mirror(&allowance).await }),
    watch_for_login: Inner::watch_for_login,
    keep_sharing: Inner::keep_sharing,
};

/// A manager, which keeps one account's token valid. Its clones are the same manager.
///
/// A call that returns a boxed future begins at once, and not when the future is polled for the first time. It continues if the future is
/// dropped. So calls have their effect in the order in which they are made: the token that is set last counts, and a refresh uses the token
/// that was set before it.
///
/// Large futures are boxed here, because the addon's crate would otherwise compile them, and all that they await, a second time.
#[derive(Clone)]
pub struct Manager {
    pub(super) inner: Arc<Inner>,
}

impl Manager {
    /// Makes a manager. It reads the store at once, so that [`Manager::refresh_token`] is available. It makes no request, unless
    /// an earlier process was stopped during one.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a text that cannot be a token if the store holds none either, and for the journal of another issuer.
    pub fn open(parts: Parts, settings: Settings) -> Result<Self> {
        Self::open_and(parts, settings, true)
    }

    /// Makes a manager for a logout, which repeats no request of an earlier process.
    ///
    /// # Errors
    ///
    /// As for [`Manager::open`].
    pub fn open_to_forget(parts: Parts, settings: Settings) -> Result<Self> {
        Self::open_and(parts, settings, false)
    }

    fn open_and(mut parts: Parts, mut settings: Settings, recovers: bool) -> Result<Self> {
        if let Some(shared) = &mut parts.shared {
            let clock = Arc::new(RingClock::new(Arc::clone(&parts.clock)));
            parts.clock = Arc::clone(&clock) as Arc<dyn Clock>;
            shared.sharing = Some(Box::new(Sharing::new(Arc::clone(&shared.engine), shared.codec.clone(), clock)));
        }
        let sharing = parts.shared.as_ref().and_then(|shared| shared.sharing.as_deref());
        // No lock is held here, and the mirror follows the journal: read in this order, what another process writes in
        // between makes the token in the mirror an old copy, and never one that was pasted.
        let looked = match &parts.mirror {
            Some(Follower::Place(mirror)) => Some(mirror.look(Attempts::One)),
            Some(Follower::Program(_)) | None => None,
        };
        let (found, trouble) = peek(&parts, settings.refresh_token.as_ref())?;
        let mut snapshot = Snapshot::new(sharing.is_some() || parts.store.is_durable());
        let is_volatile = found.as_ref().is_some_and(|state| state.volatile);
        if let (Some(sharing), Some(state)) = (sharing, &found) {
            sharing.clock.set_offset(state.clock_offset);
        }
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
        // If both tokens are unknown, the mirror's is used, because users look there.
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
        let left_behind = found.as_ref().is_some_and(|state| state.mark.as_ref().is_some_and(Mark::is_of_a_request));
        let inner = Inner::new(parts, settings, snapshot, HOOKS);
        // A key that is asked for at the first call is no trouble.
        let trouble = trouble.filter(|_| !inner.parts.store.is_shut());
        for error in [trouble, inner.snapshot().mirror.error().cloned()].into_iter().flatten() {
            inner.log(Level::Error, format!("{error}"));
        }
        if let Some(flaw) = flaw_shown {
            inner.log_flaw(flaw);
        }
        if let Some(flaw) = ignored {
            inner.log(Level::Warn, ignoring(flaw));
        }
        if let Some(old) = replaced {
            inner.announce_newer(old);
        }
        if inner.parts.mirror.is_some() || is_volatile {
            sync::at_start(&inner);
        }
        if left_behind && recovers {
            // Callers that ask later get its result.
            drop(inner.fly(Reason::Recover, Allowance::new()));
        }
        if inner.settings.auto_refresh {
            refresh::keep_fresh(&inner);
        }
        inner.watch_for_login();
        Ok(Self { inner })
    }

    /// The access token, if the manager has a valid one. Does not wait. Starts a refresh beside it if the access token expires soon.
    pub fn cached_access_token(&self) -> Option<Secret> {
        self.inner.cached(|access| access.token.clone())
    }

    /// The access token and all that belongs to it, under the conditions of [`Manager::cached_access_token`].
    pub fn cached_auth(&self) -> Option<Auth> {
        self.inner.cached_auth()
    }

    /// A valid access token and all that belongs to it. Refreshes only if needed.
    pub fn auth(&self) -> BoxFuture<'static, Result<Auth>> {
        match self.cached_auth() {
            Some(auth) => Box::pin(future::ready(Ok(auth))),
            None => self.join(Reason::Needed),
        }
    }

    /// Rotates now, even if the access token is still valid; with `force` even in a cool-down.
    pub fn refresh(&self, force: bool) -> BoxFuture<'static, Result<Auth>> {
        self.join(if force { Reason::Forced } else { Reason::Asked })
    }

    fn join(&self, reason: Reason) -> BoxFuture<'static, Result<Auth>> {
        let landing = self.inner.join(reason, Allowance::new());
        Box::pin(async move { landing.await.result })
    }

    /// Reports that an API answered 401 to this access token. However many callers report it, the next call makes one refresh.
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

    /// Uses this token from now on, unless it is an old copy: the user linked the account again.
    pub fn set_refresh_token(&self, token: &str) -> BoxFuture<'static, Result<()>> {
        let known = self.inner.snapshot().account().known.clone();
        match pasted::token(token, known.as_deref()) {
            Ok(token) => self.inner.set_refresh_token(token),
            Err(error) => Box::pin(future::ready(Err(error))),
        }
    }

    /// Replaces the push-notification credentials in the wrapper of the token, or removes them.
    pub fn set_push_credentials(&self, credentials: Option<Value>) -> BoxFuture<'static, Result<()>> {
        self.inner.set_push_credentials(credentials)
    }

    /// Starts a login. Ring sends a code if the account needs one. A call with the same credentials joins a login that is not answered
    /// yet, so that a double click sends one code. The other steps of a login do the same.
    pub fn login(&self, credentials: Credentials) -> BoxFuture<'static, Result<Step>> {
        login::ask(&self.inner, Asked::Start { credentials, code: None })
    }

    /// Logs in with a code that an earlier login asked for, so that Ring sends no other code. This uses the password flow.
    pub fn login_with_code(&self, credentials: Credentials, code: Secret) -> BoxFuture<'static, Result<Step>> {
        login::ask(&self.inner, Asked::Start { credentials, code: Some(code) })
    }

    /// Ends a login with its code. After a wrong code the login still waits.
    pub fn submit_two_factor_code(&self, code: Secret) -> BoxFuture<'static, Result<Step>> {
        login::ask(&self.inner, Asked::Submit(code))
    }

    /// Asks Ring for another code, if it can send one.
    pub fn resend_two_factor_code(&self) -> BoxFuture<'static, Result<Step>> {
        login::ask(&self.inner, Asked::Resend)
    }

    /// Whether a login waits for its code. A failure that ends a login ends this, too.
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

    /// Waits until there is a token that Ring did not reject: until the user has logged in, here or in another process.
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

    /// The hardware id, after it was decided.
    pub fn hardware_id(&self) -> Option<String> {
        self.inner.snapshot().account().hardware_id.as_deref().map(str::to_owned)
    }

    /// The status of the token.
    pub fn status(&self) -> Status {
        self.inner.snapshot().status(self.inner.parts.clock.as_ref())
    }

    /// Whether the newest token is in the spool of this host, and the shared store has not taken it.
    pub fn is_spooled(&self) -> bool {
        self.inner.is_spooled()
    }

    /// The manager's parts: code that uses the token of this manager sends requests by the same client, and waits by the same clock.
    pub fn parts(&self) -> &Parts {
        &self.inner.parts
    }

    /// The time limit of one request.
    pub fn request_timeout(&self) -> Duration {
        self.inner.settings.request_timeout
    }

    /// Logs a message to the manager's listener.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.inner.log(level, message);
    }

    /// Closes the manager, after a refresh under way and all pending writes. Every later call fails with `CLOSED`.
    pub fn close(&self) -> BoxFuture<'static, ()> {
        self.inner.close()
    }

    /// Logs out: removes the tokens in the journal, its copies and the mirror.
    pub fn forget(&self) -> BoxFuture<'static, Result<()>> {
        self.inner.forget()
    }
}

/// The state in the store at the start, or the reason why it cannot be read now. The token of the options is a hint which journal is
/// meant.
fn peek(parts: &Parts, given: Option<&Secret>) -> Result<(Option<Stored>, Option<Error>)> {
    if let Some(given) = read(given, None).token() {
        parts.store.prefer(given.fingerprint());
    }
    match Stored::peek(parts.store.as_ref()) {
        Ok(state) => Ok((state, None)),
        Err(error) if error.code() == ErrorCode::InvalidArgument => Err(error),
        // The disk may work again at the time of the first call.
        Err(error) => Ok((None, Some(error))),
    }
}

impl Inner {
    fn cached_auth(self: &Arc<Self>) -> Option<Auth> {
        let (newest, hardware_id) = {
            let snapshot = self.snapshot();
            (snapshot.account().newest.clone()?, snapshot.account().hardware_id.clone()?)
        };
        self.cached(|access| access.auth(&newest, &hardware_id, self.parts.clock.as_ref()))
    }

    /// A value of the access token, if it is valid. Starts a refresh beside it if it expires soon.
    fn cached<T>(self: &Arc<Self>, take: impl FnOnce(&LiveAccess) -> T) -> Option<T> {
        let clock = self.parts.clock.as_ref();
        let mut snapshot = self.snapshot();
        if snapshot.is_closed() {
            return None;
        }
        if snapshot.demand.invalidation == Invalidation::Made {
            let granted = snapshot.demand.invalidations.take(clock.monotonic());
            // There were too many: this API answers 401 to everything.
            snapshot.demand.invalidation = if granted { Invalidation::Granted } else { Invalidation::None };
        }
        if snapshot.demand.invalidation == Invalidation::Granted {
            return None;
        }
        let access = snapshot.account().access.as_ref().filter(|access| !access.is_expired(clock))?;
        let near_its_end = access.is_near_its_end(clock);
        let taken = take(access);
        let refreshes = near_its_end && snapshot.may_refresh_unasked(clock);
        drop(snapshot);
        if refreshes {
            drop(self.fly(Reason::Unasked, Allowance::new()));
        } else {
            self.look_first();
        }
        Some(taken)
    }

    fn close(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        let (flight, login, edits) = {
            let mut snapshot = self.snapshot();
            if !snapshot.is_closed() {
                snapshot.lifecycle = Lifecycle::Closing;
            }
            let flight = snapshot.flight.as_ref().map(|flight| (flight.subscribe(), flight.allowance()));
            // A step of a login may be about to bring a token, which has to be stored as well, and so may a change that a caller has asked
            // for.
            (flight, task::queue_for(&self.logins.waiting), task::queue_for(&self.edits))
        };
        self.changed.notify_waiters();
        let inner = Arc::clone(self);
        // In a task: the places in the queues must not depend on a future that its caller does not poll.
        let closing = task::spawn(&self.parts.runtime, async move {
            let allowance = match flight {
                Some((mut flight, allowance)) => {
                    let _ = flight.wait_for(Option::is_some).await;
                    // The time that the refresh has waited for the program's own code counts for this call, too.
                    allowance
                }
                None => Allowance::new(),
            };
            drop(login.await);
            let last_try = async {
                drop(edits.await);
                inner.store_unstored(&allowance).await;
                // Another task that has the store ends first. Then a pending write is tried once more.
                inner.write_at_the_end(&allowance).await;
                inner.share_spooled(&allowance).await;
            };
            inner.at_the_end(Box::pin(last_try)).await;
            inner.sync_mirror_at_the_end(&allowance).await;
            inner.give_up_pending().await;
            inner.snapshot().lifecycle = Lifecycle::Closed;
        });
        Box::pin(async move {
            // If the task does not panic, only the end of the runtime ends it without a result.
            if let Err(Ok(panic)) = closing.await.map_err(JoinError::try_into_panic) {
                resume_unwind(panic);
            }
        })
    }
}
