//! A refresh: one at a time for all callers, and never without its mark.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::account::engine::Fate;
use super::account::flight::{Flight, Landing, Stage};
use super::account::inner::{Inner, broken};
use super::account::sharing::Next;
use super::account::snapshot::{Invalidation, LiveAccess, closed, rejected};
use super::account::transaction::{Start, Transaction};
use super::activity::{Rotation, Write};
use super::clock::Clock;
use super::events::{Ended, Event, Level};
use super::policy::{self, Tries};
use super::status::Auth;
use super::sync;
use crate::journal::merge::{Granted, Outcome, merge};
use crate::journal::state::{Access, AfterRejection, CoolDown, Mark, Millis, Sent, State, millis};
use crate::journal::{Notice, elsewhere};
use crate::mirror::Allowance;
use crate::oauth::{Grant, WireError};
use crate::task::BoxFuture;
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, ErrorCode, Result, Secret, task};

/// Why a refresh is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A caller needs an access token, and the current one is expired or was invalidated.
    Needed,
    /// The access token expires soon.
    Unasked,
    /// A caller wants a rotation.
    Asked,
    /// A caller wants a rotation, even in a cool-down.
    Forced,
    /// An earlier process was stopped during a refresh.
    Recover,
}

impl Reason {
    /// The name in traces.
    fn as_str(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Unasked => "unasked",
            Self::Asked => "asked",
            Self::Forced => "forced",
            Self::Recover => "recover",
        }
    }

    /// Whether a caller wants a rotation, and not just an access token.
    fn is_asked(self) -> bool {
        matches!(self, Self::Asked | Self::Forced)
    }
}

/// How a caller came to a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boarding {
    /// The caller began the refresh.
    New,
    /// The caller joined a refresh under way.
    Joined,
    /// The caller came after the callers of the refresh had got their result, and before the shared store had the answer, or after another
    /// token was set. The next refresh begins when this one has ended.
    Late,
}

/// The result of sending a token.
enum Flown<'a> {
    /// Ring's answer is stored.
    Landed(Auth),
    /// Nothing was sent, because another process was faster.
    Overtaken(Box<Transaction<'a>>),
    /// With a rejection that says nothing, because another host had moved on from the token: the store was left.
    MovedOn,
}

/// The state of the snapshot at the beginning of a refresh, which shows later whether another process was faster.
struct Before {
    token: Option<Fingerprint>,
    /// The access token.
    access: Option<LiveAccess>,
    /// Whether the access token is expired, expires soon or was invalidated.
    is_useless: bool,
}

impl Before {
    /// With what was there before the refresh began, although this manager saw it only afterwards.
    fn replaced_by(&self, state: &State, clock: &dyn Clock) -> Self {
        let access = state.access.as_ref().and_then(|access| LiveAccess::new(access, clock));
        Self { token: state.fingerprint(), access, is_useless: self.is_useless }
    }
}

impl Inner {
    /// Waits for the refresh under way, or begins one and waits for it.
    pub(super) fn join(self: &Arc<Self>, reason: Reason, allowance: Arc<Allowance>) -> BoxFuture<'static, Landing> {
        // The refresh begins in this call, and not when the future is polled for the first time.
        let boarded = self.fly(reason, Arc::clone(&allowance));
        let may_begin_next = match &boarded {
            Ok((_, Boarding::Late)) => true,
            Ok((_, Boarding::Joined)) => reason == Reason::Forced,
            Ok((_, Boarding::New)) | Err(_) => false,
        };
        let joining = Arc::clone(self).join_in(boarded, reason, allowance);
        if !may_begin_next {
            return Box::pin(joining);
        }
        // The next refresh begins although its caller does not poll the future or drops it.
        let task = task::spawn(&self.parts.runtime, joining);
        Box::pin(async move { task.await.unwrap_or_else(|_| Landing { result: Err(broken()), requests: 0 }) })
    }

    async fn join_in(
        self: Arc<Self>,
        mut boarded: Result<(watch::Receiver<Option<Landing>>, Boarding)>,
        reason: Reason,
        allowance: Arc<Allowance>,
    ) -> Landing {
        loop {
            let (mut flight, boarding) = match boarded {
                Ok(flight) => flight,
                Err(error) => return Landing { result: Err(error), requests: 0 },
            };
            if boarding == Boarding::Late {
                while flight.changed().await.is_ok() {}
                boarded = self.fly(reason, Arc::clone(&allowance));
                continue;
            }
            let landing = match flight.wait_for(Option::is_some).await {
                Ok(landing) => landing.clone(),
                // Only the end of the runtime ends its task without a result.
                Err(_) => None,
            };
            let landing = landing.unwrap_or_else(|| Landing { result: Err(closed()), requests: 0 });
            // The refresh of another caller respected the cool-down; a forced one does not.
            if reason == Reason::Forced
                && boarding == Boarding::Joined
                && landing.requests == 0
                && landing.result.is_err()
            {
                boarded = self.fly(reason, Arc::clone(&allowance));
                continue;
            }
            return landing;
        }
    }

    /// Returns the refresh under way, or begins one, and says which. The refresh continues if its caller is dropped.
    pub(super) fn fly(
        self: &Arc<Self>,
        reason: Reason,
        allowance: Arc<Allowance>,
    ) -> Result<(watch::Receiver<Option<Landing>>, Boarding)> {
        let clock = self.parts.clock.as_ref();
        let (ended, flight, before, edits) = {
            let mut snapshot = self.snapshot();
            snapshot.check_open()?;
            if let Some(flight) = &snapshot.flight {
                let boarding = if flight.takes_callers() { Boarding::Joined } else { Boarding::Late };
                return Ok((flight.subscribe(), boarding));
            }
            if reason == Reason::Unasked {
                snapshot.demand.last_unasked = Some(clock.monotonic());
            }
            let complained_of = snapshot.demand.invalidation != Invalidation::None;
            let before = Before {
                token: snapshot.account().newest.as_ref().map(RefreshToken::fingerprint),
                access: snapshot.account().access.as_deref().cloned(),
                is_useless: complained_of
                    || snapshot.account().access.as_ref().is_some_and(|access| access.is_near_its_end(clock)),
            };
            let (ended, flight) = watch::channel(None);
            let ended = Arc::new(ended);
            snapshot.flight = Some(Flight {
                landing: flight.clone(),
                lands: Arc::downgrade(&ended),
                allowance: Arc::clone(&allowance),
                stage: Stage::Deciding,
                is_outdated: false,
            });
            // In one step with the check above: `close` waits for this refresh, and has a place in this queue itself.
            (ended, flight, before, task::queue_for(&self.edits))
        };
        // This begins now and not when the task runs first: the process may be about to end.
        let under_way = Rotation::begin(self.settings.request_timeout + Duration::from_secs(5));
        let inner = Arc::clone(self);
        let began = clock.monotonic();
        if self.parts.listener.traces() {
            self.parts.listener.on_event(Event::Begun(reason.as_str()));
        }
        task::spawn(&self.parts.runtime, async move {
            // The refresh uses a token that was set before it.
            drop(edits.await);
            let (worker, allowed) = (Arc::clone(&inner), Arc::clone(&allowance));
            // If this task panics, the callers get an error, and the next call begins a new refresh.
            let landing =
                match task::spawn(&inner.parts.runtime, async move { worker.rotate(reason, &before, &allowed).await })
                    .await
                {
                    Ok(landing) => landing,
                    Err(_) => Landing { result: Err(broken()), requests: 0 },
                };
            sync::after(&inner, allowance).await;
            inner.update(|snapshot, _| {
                snapshot.flight = None;
            });
            drop(under_way);
            inner.count_and_trace(reason, &landing, began);
            ended.send_replace(Some(landing));
        });
        Ok((flight, Boarding::New))
    }

    /// Counts a refresh, and reports its end to a listener that traces.
    fn count_and_trace(&self, reason: Reason, landing: &Landing, began: Duration) {
        let adopted = landing.requests == 0 && landing.result.is_ok();
        if adopted {
            self.snapshot().count(|stats| stats.adopted += 1);
        }
        if self.parts.listener.traces() {
            let duration = self.parts.clock.monotonic().saturating_sub(began);
            let error = landing.result.as_ref().err().cloned();
            let ended = Ended { reason: reason.as_str(), requests: landing.requests, adopted, duration, error };
            self.parts.listener.on_event(Event::Ended(ended));
        }
    }

    async fn rotate(self: &Arc<Self>, reason: Reason, before: &Before, allowance: &Arc<Allowance>) -> Landing {
        let mut tries = Tries::new(false);
        let result = self.rotate_counting(reason, before, &mut tries, allowance).await;
        Landing { result, requests: tries.requests() }
    }

    async fn rotate_counting(
        self: &Arc<Self>,
        reason: Reason,
        before: &Before,
        tries: &mut Tries,
        allowance: &Arc<Allowance>,
    ) -> Result<Auth> {
        let clock = Arc::clone(&self.parts.clock);
        let since = clock.monotonic();
        let mut doubted = None;
        let is_first_look = self.sharing().is_some_and(|sharing| !sharing.has_looked());
        let mut transaction = match self.enter(allowance).await {
            Ok(transaction) => transaction,
            Err(error) => {
                // The holder of the lock may have finished its refresh and hang afterwards.
                return self.adopt_from_store(reason, before).await.ok_or(error);
            }
        };
        let found = transaction.found_by_first_look(before.token).filter(|_| is_first_look && reason.is_asked());
        let found = found.map(|state| before.replaced_by(state, clock.as_ref()));
        let before = found.as_ref().unwrap_or(before);
        loop {
            transaction.adopt_read();
            if serves(reason, before, transaction.state(), clock.as_ref())
                && let Some(auth) = self.auth_of(transaction.state())
            {
                transaction.leave().await;
                return Ok(auth);
            }
            if let Err(refusal) = self.may_send(reason, &mut transaction) {
                let is_given_up =
                    transaction.state().mark.is_some() && reason == Reason::Recover && self.sharing().is_none();
                if is_given_up {
                    self.give_up_on_mark(transaction).await;
                } else {
                    transaction.leave().await;
                }
                return Err(refusal.unwrap_or_else(|| self.snapshot().missing()));
            }
            if tries.requests() == 0 {
                *tries = Tries::new(transaction.state().cool_down.is_some());
            }
            let (ours, next) = Box::pin(transaction.await_turn(since)).await?;
            transaction = ours;
            if matches!(next, Next::Decide) {
                continue;
            }
            if self.sharing().is_some() && is_spent_on_starts(transaction.state()) {
                self.give_up_on_mark(transaction).await;
                return Err(stopped_before());
            }
            match self.send(transaction, tries, &mut doubted).await? {
                Flown::Landed(auth) => return Ok(auth),
                Flown::Overtaken(again) => transaction = *again,
                Flown::MovedOn => transaction = self.enter(allowance).await?,
            }
        }
    }

    /// Whether a request may be made now. The error says why not; it is `None` if there is no token, which the snapshot explains after
    /// the store was left.
    fn may_send(&self, reason: Reason, transaction: &mut Transaction<'_>) -> Result<(), Option<Error>> {
        let now = self.parts.clock.wall();
        let Some(current) = transaction.state().fingerprint() else { return Err(None) };
        if transaction.state().is_dead() {
            let forced_at = transaction.state().forced_at;
            let waited = forced_at.is_none_or(|at| at > now || at + millis(policy::BETWEEN_FORCED) <= now);
            if reason != Reason::Forced || !waited {
                return Err(Some(rejected()));
            }
            transaction.note(&Outcome::Forced { sent: current, at: now });
        }
        let state = transaction.state();
        let starts = state.mark.as_ref().map(|mark| mark.starts);
        let has_had_its_starts = starts.is_some_and(|starts| starts >= policy::STARTS_PER_MARK);
        if reason == Reason::Recover && has_had_its_starts && self.sharing().is_none() {
            return Err(Some(stopped_before()));
        }
        // What Ring may have rotated is asked for again at once, whatever failed before that.
        let in_doubt = reason == Reason::Recover && starts.is_some() && !has_had_its_starts;
        match &state.cool_down {
            Some(cool_down) if reason != Reason::Forced && !in_doubt && cool_down.until(now).is_some() => {
                Err(Some(cool_down.error(now)))
            }
            _ => Ok(()),
        }
    }

    /// Begins a cool-down for a mark that too many starts have found: a crash loop must not send a request at each start.
    async fn give_up_on_mark(self: &Arc<Self>, transaction: Transaction<'_>) {
        let Some(sent) = transaction.state().fingerprint() else { return transaction.leave().await };
        let error = Error::new(ErrorCode::Network, "The last refresh was stopped before its answer came.");
        let cool_down = self.cool_down(transaction.state(), &error);
        transaction.commit(&Outcome::BackedOff { sent, cool_down, in_doubt: true }).await;
    }

    fn cool_down(&self, state: &State, error: &Error) -> CoolDown {
        let clock = &self.parts.clock;
        policy::cool_down(state.cool_down.as_ref(), error, clock.wall(), clock.jitter())
    }

    /// Sends the tokens that may be sent until Ring has answered or the tries are used up. `doubted` is the token that Ring may have
    /// accepted in a request of this call, also if the store has forgotten its mark since.
    async fn send<'a>(
        self: &'a Arc<Self>,
        mut transaction: Transaction<'a>,
        tries: &mut Tries,
        doubted: &mut Option<Fingerprint>,
    ) -> Result<Flown<'a>> {
        // A forced refresh sends the rejected token once more.
        let mut sent = transaction.state().sendable().unwrap_or(Sent::Current);
        let found = transaction.state().mark.clone().filter(Mark::is_of_a_request);
        let mut takes_over = found.is_some();
        let mut starts = found.as_ref().map_or(0, |mark| mark.starts.saturating_add(1));
        // Whatever takes its time is done before the mark: a mark says that Ring may have got the token.
        if let Err(error) = self.parts.oauth.prepare().await {
            // Nothing was sent, and no wait would change that: there is neither a mark nor a cool-down. The next start can act on a
            // mark that was there before.
            transaction.leave().await;
            return Err(error);
        }
        let (error, outcome) = loop {
            let Some(token) = transaction.state().to_send(sent).map(|stored| stored.token.clone()) else {
                transaction.leave().await;
                return Err(rejected());
            };
            let fingerprint = token.fingerprint();
            let ended = Outcome::Ended { sent: fingerprint };
            let hardware_id = match self.decide_hardware_id(transaction.state()).await {
                Ok(hardware_id) => hardware_id,
                Err(error) => break (error, ended),
            };
            match transaction.mark(fingerprint, starts, &hardware_id).await {
                Ok(Start::Ready) => {}
                Ok(Start::Overtaken) => return Ok(Flown::Overtaken(Box::new(transaction))),
                Ok(Start::Elsewhere(path)) => {
                    let error = elsewhere(&path);
                    transaction.adopt_read();
                    transaction.leave().await;
                    self.log_once(vec![Notice(error.message().to_owned())]);
                    return Err(error);
                }
                Err(error) => {
                    transaction.abandon().await;
                    return Err(error);
                }
            }
            self.update(|snapshot, _| snapshot.set_stage(Stage::Sending));
            if std::mem::take(&mut takes_over) {
                self.snapshot().count(|stats| stats.takeovers += 1);
            }
            let in_doubt = transaction.is_in_doubt(fingerprint, found.as_ref());
            let asked = self.request(&token, &hardware_id, tries, doubted).await;
            let failure = match asked {
                Ok((grant, asked_at, write)) => {
                    let granted = Granted {
                        sent: fingerprint,
                        token: token.rotated(grant.refresh_token.expose(), &hardware_id),
                        access: access_of(&grant, self.obtained_at(&grant, asked_at)),
                        hardware_id,
                        is_dated: self.sharing().is_none() || grant.date.is_some(),
                        holder: self.sharing().map(|sharing| sharing.holder),
                    };
                    return self.keep(transaction, granted, write).await.map(Flown::Landed);
                }
                Err(failure) => failure,
            };
            if failure.error.code() == ErrorCode::RefreshTokenRejected {
                starts = 0;
                let in_doubt = in_doubt || *doubted == Some(fingerprint);
                let after = transaction.reject(fingerprint, self.parts.clock.wall(), in_doubt);
                if !self.tries_another(transaction.state(), after, tries, &mut sent) {
                    break (failure.error, ended);
                }
                if transaction.state().mark.is_some() {
                    transaction.commit(&ended).await;
                    return Ok(Flown::MovedOn);
                }
            } else if self.sharing().is_none() || !self.waits_to_try_again(&failure, tries).await {
                // With a shared store each further try has a mark of its own, with a lease of its own.
                if failure.ambiguous && self.snapshot().is_closing() {
                    // There is no time to send the token again. The mark stays, so the next start does that first.
                    self.abandon_marked(transaction).await;
                    return Err(failure.error);
                }
                let cool_down = self.cool_down(transaction.state(), &failure.error);
                let error = failure.error.with_retry_after(cool_down.length);
                break (
                    error,
                    Outcome::BackedOff {
                        sent: fingerprint,
                        cool_down,
                        in_doubt: in_doubt || *doubted == Some(fingerprint),
                    },
                );
            }
        };
        if transaction.commit(&outcome).await == Fate::MovedOn {
            return Ok(Flown::MovedOn);
        }
        self.log(Level::Warn, format!("{error}"));
        Err(error)
    }

    /// Whether another token is tried after a rejection. If so, `sent` is that token.
    fn tries_another(&self, state: &State, after: AfterRejection, tries: &Tries, sent: &mut Sent) -> bool {
        let (next, text) = match after {
            AfterRejection::Previous => (
                Sent::Previous,
                "Ring rejected the newest refresh token, which was never used before; the one before it is tried.",
            ),
            AfterRejection::Sibling => (
                Sent::Current,
                "Ring rejected the newest of its answers to one refresh token; another of them is tried.",
            ),
            AfterRejection::Fallback => (
                state.sendable().unwrap_or(Sent::Current),
                "Ring rejected the refresh token that was given; the one before it is used again.",
            ),
            AfterRejection::Dead => return false,
        };
        let is_left = tries.another();
        if is_left || after == AfterRejection::Fallback {
            self.log(Level::Warn, text);
            *sent = next;
        }
        is_left
    }

    /// Leaves the store without an answer. The mark that was written before the request stays.
    async fn abandon_marked(&self, transaction: Transaction<'_>) {
        self.update(|snapshot, _| snapshot.set_stage(Stage::Deciding));
        transaction.abandon().await;
    }

    /// Sends one token, and sends it again if that can help. Returns when the request that succeeded was sent.
    async fn request(
        &self,
        token: &RefreshToken,
        hardware_id: &str,
        tries: &mut Tries,
        doubted: &mut Option<Fingerprint>,
    ) -> Result<(Grant, u64, Option<Write>), WireError> {
        let clock = &self.parts.clock;
        let raw = Secret::new(token.raw());
        loop {
            tries.count();
            let asked_at = clock.wall();
            let answer = self.parts.oauth.refresh(&raw, hardware_id).await;
            // From here on the answer is being written.
            let write = self.begin_write();
            let failure = match answer {
                Ok(grant) => return Ok((grant, asked_at, write)),
                Err(failure) => failure,
            };
            self.snapshot().count(|stats| stats.count_failure(failure.error.code()));
            if let Some(date) = failure.date {
                self.note_date(millis(date), asked_at);
            }
            if failure.error.code() == ErrorCode::RefreshTokenRejected {
                return Err(failure);
            }
            drop(write);
            if failure.ambiguous {
                *doubted = Some(token.fingerprint());
            }
            if self.sharing().is_some() || !self.waits_to_try_again(&failure, tries).await {
                return Err(failure);
            }
        }
    }

    /// Waits until the same token may be sent again, if it may. Says whether.
    async fn waits_to_try_again(&self, failure: &WireError, tries: &mut Tries) -> bool {
        let clock = &self.parts.clock;
        let Some(wait) = tries.again_after(failure, clock.monotonic(), clock.jitter()) else { return false };
        self.log(Level::Debug, format!("{} It is tried again in {} s.", failure.error, wait.as_secs()));
        self.pause(wait).await
    }

    /// When an answer was made: on one host when it was asked for, and between hosts by Ring's clock.
    pub(super) fn obtained_at(&self, grant: &Grant, asked_at: u64) -> u64 {
        let Some(sharing) = self.sharing() else { return asked_at };
        let Some(date) = grant.date.map(millis) else { return sharing.clock.wall() };
        self.note_date(date, asked_at);
        date
    }

    /// Learns Ring's time from an answer to a request that was sent at `asked_at`.
    fn note_date(&self, date: Millis, asked_at: Millis) {
        if let Some(sharing) = self.sharing() {
            sharing.clock.note(date, sharing.clock.on_host(asked_at), sharing.clock.host_wall());
        }
    }

    /// Makes a rotation durable, and only then known.
    async fn keep(&self, mut transaction: Transaction<'_>, granted: Granted, write: Option<Write>) -> Result<Auth> {
        let outcome = Outcome::Granted(Box::new(granted));
        // The answer's own lifetime may be over already: a second, on a slow disk.
        let auth = self.auth_even_if_expired(&merge(transaction.state().clone(), &outcome));
        transaction.hold(write, auth.clone());
        transaction.commit(&outcome).await;
        if let Some(problem) = self.unkept() {
            return Err(problem);
        }
        self.snapshot().count(|stats| stats.rotations += 1);
        self.log(Level::Debug, "The refresh token was rotated.");
        auth.ok_or_else(broken)
    }

    /// Why an answer is not handed out: this host has no disk, and the store did not take it.
    fn unkept(&self) -> Option<Error> {
        if self.sharing().is_none() || self.parts.store.is_durable() {
            return None;
        }
        let snapshot = self.snapshot();
        snapshot.store_problem.clone().filter(|_| !snapshot.is_persisted())
    }

    fn auth_of(&self, state: &State) -> Option<Auth> {
        LiveAccess::new(state.access.as_ref()?, self.parts.clock.as_ref())?;
        self.auth_even_if_expired(state)
    }

    fn auth_even_if_expired(&self, state: &State) -> Option<Auth> {
        let access = state.access.as_ref()?;
        Some(Auth {
            access_token: access.token.clone(),
            token_type: access.token_type.clone(),
            scope: access.scope.clone(),
            expires_at: self.parts.clock.on_host(access.expires_at()),
            refresh_token: state.current()?.token.wrapped(),
            hardware_id: state.hardware_id.clone()?,
        })
    }

    async fn adopt_from_store(&self, reason: Reason, before: &Before) -> Option<Auth> {
        let state = self.peek().await.ok().flatten()?;
        if self.snapshot().offered.given.is_some()
            || self.snapshot().ahead_of(&state).is_some()
            || !serves(reason, before, &state, self.parts.clock.as_ref())
        {
            return None;
        }
        self.update(|snapshot, clock| snapshot.adopt(&state, clock));
        self.auth_of(&state)
    }
}

/// Refreshes before the access token expires, and again after a failure, as long as the manager lives.
pub(super) fn keep_fresh(inner: &Arc<Inner>) {
    let weak = Arc::downgrade(inner);
    let (clock, changed) = (Arc::clone(&inner.parts.clock), Arc::clone(&inner.changed));
    task::spawn(&inner.parts.runtime, async move {
        loop {
            // Listening begins before the check, so that no change is missed.
            let notified = changed.notified();
            // A manager that its program dropped is not kept alive by this task.
            let Some(inner) = weak.upgrade() else { return };
            if inner.snapshot().is_closing() {
                return;
            }
            let wait = inner.until_due();
            if wait.is_zero() {
                let flight = inner.fly(Reason::Unasked, Allowance::new());
                drop(inner);
                if let Ok((mut flight, _)) = flight {
                    let _ = flight.wait_for(Option::is_some).await;
                }
                // A failure of the store begins no cool-down, and leaves one that is over as it was.
                if weak.upgrade().is_some_and(|inner| inner.until_due().is_zero()) {
                    clock.sleep(policy::BETWEEN_UNASKED).await;
                }
                continue;
            }
            drop(inner);
            tokio::select! {
                biased;
                () = clock.sleep(wait) => {}
                () = notified => {}
            }
        }
    });
}

/// The longest sleep by the monotonic clock, which stands still while the machine is suspended.
const LONGEST_NAP: Duration = Duration::from_secs(60);

impl Inner {
    /// The time until the next refresh of [`keep_fresh`].
    fn until_due(&self) -> Duration {
        let clock = self.parts.clock.as_ref();
        let snapshot = self.snapshot();
        if snapshot.account().newest.is_none()
            || snapshot.status(clock).problem.as_ref().map(Error::code) == Some(ErrorCode::RefreshTokenRejected)
        {
            return LONGEST_NAP;
        }
        let now = clock.wall();
        let cooling = snapshot.account().cool_down.as_ref().and_then(|cool_down| cool_down.until(now));
        let cooling = cooling.map_or(Duration::ZERO, |until| Duration::from_millis(until - now));
        if snapshot.account().cool_down.is_some() {
            // After a failure the next try is at the end of the cool-down, as the status says.
            return cooling.min(LONGEST_NAP);
        }
        let near = snapshot.account().access.as_ref().map_or(Duration::ZERO, |access| access.until_near_its_end(clock));
        near.max(snapshot.until_unasked(clock)).min(LONGEST_NAP)
    }
}

/// Whether the state in the store is what the caller needs, because another process was faster.
fn serves(reason: Reason, before: &Before, state: &State, clock: &dyn Clock) -> bool {
    let Some(access) = &state.access else { return false };
    let Some(live) = LiveAccess::new(access, clock) else { return false };
    let is_before = before.access.as_ref().map(|before| before.is(access));
    // Ring may keep the refresh token, and may give the same access token again: that is a rotation, too.
    let rotated = state.current().map(|stored| stored.token.fingerprint()) != before.token || is_before == Some(false);
    // By the wall clock alone an access token may look valid that is known to have expired.
    let is_useless = before.is_useless && is_before == Some(true);
    match reason {
        Reason::Needed => !is_useless,
        Reason::Unasked => !is_useless && (rotated || !live.is_near_its_end(clock)),
        // A caller who wants a rotation wants a refresh token that works, and may wait for a recovery that is under way.
        Reason::Asked | Reason::Forced => rotated && !state.is_dead(),
        Reason::Recover => state.mark.is_none() && !state.is_dead(),
    }
}

/// The access token of a grant, as a journal keeps it.
pub(super) fn access_of(grant: &Grant, obtained_at: u64) -> Access {
    Access {
        token: grant.access_token.clone(),
        token_type: grant.token_type.clone(),
        scope: grant.scope.clone(),
        obtained_at,
        lifetime: grant.lifetime,
    }
}

/// Whether as many starts of any host as may have gone on with a mark, and no wait has begun since.
fn is_spent_on_starts(state: &State) -> bool {
    state.cool_down.is_none() && state.mark.as_ref().is_some_and(|mark| mark.starts >= policy::STARTS_PER_MARK)
}

fn stopped_before() -> Error {
    Error::new(
        ErrorCode::Network,
        "Earlier starts were stopped in the middle of a refresh. It is tried again after a pause.",
    )
}
