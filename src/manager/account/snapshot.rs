//! The snapshot: what a manager knows without reading the store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::flight::{Flight, Stage};
use super::mirror_sync::MirrorSync;
use super::stored::Stored;
use crate::journal::merge::LoggedIn;
use crate::journal::state::{Access, CoolDown, Known, Millis, State, millis};
use crate::journal::{Notice, elsewhere};
use crate::manager::clock::Clock;
use crate::manager::events::Event;
use crate::manager::policy::{self, Invalidations};
use crate::manager::stats::Stats;
use crate::manager::status::{Auth, Phase, Status};
use crate::pasted::{self, Flaw, Pasted};
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, ErrorCode, Result, Secret};

/// An access token, and when it was obtained by both clocks.
#[derive(Debug, Clone)]
pub(in crate::manager) struct LiveAccess {
    pub(in crate::manager) token: Secret,
    token_type: String,
    scope: String,
    obtained_wall: Millis,
    obtained_monotonic: Duration,
    lifetime: Duration,
}

impl LiveAccess {
    /// The access token of a journal; `None` if it has expired or if its time is in the future.
    pub(in crate::manager) fn new(access: &Access, clock: &dyn Clock) -> Option<Self> {
        let age = clock.age(access.obtained_at)?;
        if age >= access.lifetime {
            return None;
        }
        Some(Self {
            token: access.token.clone(),
            token_type: access.token_type.clone(),
            scope: access.scope.clone(),
            obtained_wall: access.obtained_at,
            // If the machine started after the token came, its monotonic clock cannot show the age of the token. The wall clock
            // does.
            obtained_monotonic: clock.monotonic().saturating_sub(age),
            lifetime: access.lifetime,
        })
    }

    /// Whether both came with the same answer. Ring may give an access token twice: the answer counts, not the text.
    pub(in crate::manager) fn is(&self, access: &Access) -> bool {
        // A journal keeps milliseconds.
        let lifetime = millis(self.lifetime) == millis(access.lifetime);
        lifetime && self.token == access.token && self.obtained_wall == access.obtained_at
    }

    /// Its age, by the clock that shows more: the monotonic clock stands still while the machine is suspended, and the wall clock can be
    /// set back.
    fn age(&self, clock: &dyn Clock) -> Duration {
        let wall = Duration::from_millis(clock.wall().saturating_sub(self.obtained_wall));
        wall.max(clock.monotonic().saturating_sub(self.obtained_monotonic))
    }

    pub(in crate::manager) fn is_expired(&self, clock: &dyn Clock) -> bool {
        self.age(clock) >= self.lifetime
    }

    pub(in crate::manager) fn is_near_its_end(&self, clock: &dyn Clock) -> bool {
        self.until_near_its_end(clock).is_zero()
    }

    pub(in crate::manager) fn until_near_its_end(&self, clock: &dyn Clock) -> Duration {
        let margin = policy::margin(self.lifetime);
        // Hosts that share a store do not all begin at the same moment, so that one is done before the others look.
        let begins = self.lifetime.saturating_sub(margin) + margin.mul_f64(clock.stagger() / 5.0);
        begins.saturating_sub(self.age(clock))
    }

    pub(in crate::manager) fn auth(&self, newest: &RefreshToken, hardware_id: &str, clock: &dyn Clock) -> Auth {
        Auth {
            access_token: self.token.clone(),
            token_type: self.token_type.clone(),
            scope: self.scope.clone(),
            expires_at: clock.on_host(self.obtained_wall.saturating_add(millis(self.lifetime))),
            refresh_token: newest.wrapped(),
            hardware_id: hardware_id.to_owned(),
        }
    }
}

/// Whether callers invalidated the access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Invalidation {
    /// No caller did.
    None,
    /// A caller did, and it is not decided yet whether that may cost a rotation.
    Made,
    /// It may cost a rotation.
    Granted,
}

/// The token that the caller knows.
enum Announced {
    /// A token that is wrapped as it is shown. It is nearly always the newest one, and then it is in memory once.
    Token(RefreshToken),
    /// Any other text: a raw token, one with spaces around it, or no token.
    Text(Secret),
}

impl Announced {
    fn text(&self) -> Secret {
        match self {
            Self::Token(token) => token.wrapped(),
            Self::Text(text) => text.clone(),
        }
    }

    /// Whether it is that token, in whatever form it was given.
    fn is(&self, newest: &RefreshToken) -> bool {
        match self {
            Self::Token(token) => token == newest,
            Self::Text(text) => {
                *text == newest.wrapped() || RefreshToken::parse(text.expose()).is_ok_and(|token| token == *newest)
            }
        }
    }
}

/// What the store holds if the text in the options is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Beside {
    /// A token.
    AToken,
    /// No token.
    Nothing,
    /// This is known after a call has read the store.
    NobodyKnows,
}

/// A token from outside that is not in the store yet.
#[derive(Debug, Clone)]
pub(in crate::manager) struct Given {
    pub(in crate::manager) token: RefreshToken,
    /// The login that brought the token. Then no other journal can have it.
    pub(in crate::manager) by_login: Option<Box<LoggedIn>>,
}

/// A text in the options that is no token.
pub(in crate::manager) struct Refused {
    pub(in crate::manager) text: Secret,
    pub(in crate::manager) flaw: Flaw,
}

/// The account as the manager knows it. Fields that few managers need are boxed: a process may have thousands of managers.
#[derive(Default)]
pub(in crate::manager) struct Account {
    pub(in crate::manager) newest: Option<RefreshToken>,
    pub(in crate::manager) hardware_id: Option<Arc<str>>,
    pub(in crate::manager) access: Option<Box<LiveAccess>>,
    rejected: bool,
    /// The copy of the journal that uses the token. The token is not sent from here.
    moved: Option<Arc<Path>>,
    pub(in crate::manager) cool_down: Option<Box<CoolDown>>,
    /// The state in the store when it was last read or written. Its journal may be deleted while this manager runs.
    pub(in crate::manager) known: Option<Arc<State>>,
    /// Whether a restart of the computer can lose `known`: it could not be written, or its journal is gone.
    is_unwritten: bool,
}

/// What the options offered.
#[derive(Default)]
pub(in crate::manager) struct Offered {
    /// The token of the options, until it has been looked up under the lock.
    pub(in crate::manager) given: Option<Given>,
    /// The text in the options if it is no token, until there is a token.
    pub(in crate::manager) refused: Option<Box<Refused>>,
    /// The old copy that was logged last.
    pub(in crate::manager) old_copy: Option<Fingerprint>,
}

/// The state of a login.
#[derive(Default)]
pub(in crate::manager) struct LoginState {
    /// Whether the login waits for its code.
    pub(in crate::manager) waits: bool,
    /// The authenticator's code that a login sent last.
    pub(in crate::manager) last_code: Option<Secret>,
    /// Whether a task looks for the login of another process already.
    pub(in crate::manager) is_watched: bool,
}

/// What causes the next refresh.
pub(in crate::manager) struct Demand {
    pub(in crate::manager) invalidation: Invalidation,
    pub(in crate::manager) invalidations: Invalidations,
    pub(in crate::manager) last_unasked: Option<Duration>,
}

/// What the listener knows already.
#[derive(Default)]
pub(in crate::manager) struct Heard {
    /// The notices that are logged once.
    pub(in crate::manager) logged: Vec<Notice>,
    /// The token that the caller knows, as it was given or announced.
    announced: Option<Announced>,
    last_status: Option<Status>,
}

/// Whether the manager takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Lifecycle {
    /// The manager takes calls.
    Open,
    /// The manager takes no new calls, and ends those under way.
    Closing,
    /// No call is under way.
    Closed,
}

/// What a manager knows without reading the store.
pub(in crate::manager) struct Snapshot {
    account: Account,
    /// The problem with the store, until it is solved.
    pub(in crate::manager) store_problem: Option<Error>,
    /// Whether what the store holds outlives the process.
    is_durable: bool,
    pub(in crate::manager) mirror: MirrorSync,
    pub(in crate::manager) offered: Offered,
    pub(in crate::manager) login: LoginState,
    pub(in crate::manager) flight: Option<Flight>,
    pub(in crate::manager) demand: Demand,
    /// Whether a task tries to write the pending state already.
    pub(in crate::manager) keeps_writing: bool,
    /// The counters, if they are not all zero.
    pub(in crate::manager) counts: Option<Box<Stats>>,
    pub(in crate::manager) heard: Heard,
    pub(in crate::manager) lifecycle: Lifecycle,
}

impl Snapshot {
    pub(in crate::manager) fn new(is_durable: bool) -> Self {
        Self {
            account: Account::default(),
            store_problem: None,
            is_durable,
            mirror: MirrorSync::default(),
            offered: Offered::default(),
            login: LoginState::default(),
            flight: None,
            demand: Demand {
                invalidation: Invalidation::None,
                invalidations: Invalidations::new(),
                last_unasked: None,
            },
            keeps_writing: false,
            counts: None,
            heard: Heard::default(),
            lifecycle: Lifecycle::Open,
        }
    }

    /// What is known of the account. Only [`Snapshot::adopt`] and the two methods that show a token before it is stored change it.
    pub(in crate::manager) fn account(&self) -> &Account {
        &self.account
    }

    pub(in crate::manager) fn is_closing(&self) -> bool {
        self.lifecycle != Lifecycle::Open
    }

    pub(in crate::manager) fn is_closed(&self) -> bool {
        self.lifecycle == Lifecycle::Closed
    }

    /// Notes that a request of the refresh under way begins or has ended.
    pub(in crate::manager) fn set_stage(&mut self, stage: Stage) {
        if let Some(flight) = &mut self.flight {
            flight.stage = stage;
        }
    }

    fn is_sending(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.stage == Stage::Sending)
    }

    /// Counts the current status as known to the listener: a new manager sends no event for it.
    pub(in crate::manager) fn counts_as_heard(&mut self, clock: &dyn Clock) {
        self.heard.last_status = Some(self.status(clock));
    }

    /// Takes over what the store holds.
    pub(in crate::manager) fn adopt(&mut self, stored: &Stored, clock: &dyn Clock) {
        self.know(stored.share(), stored.is_unwritten(), clock);
    }

    /// Takes over that another host has logged out. The access token at hand lives on to its end.
    pub(super) fn adopt_logout(&mut self, stored: &Stored, clock: &dyn Clock) {
        let kept = (self.account.access.take(), self.demand.invalidation);
        self.adopt(stored, clock);
        (self.account.access, self.demand.invalidation) = kept;
    }

    fn know(&mut self, state: Arc<State>, is_unwritten: bool, clock: &dyn Clock) {
        let fingerprint = |token: &RefreshToken| token.fingerprint();
        let rotated =
            self.account.newest.as_ref().map(fingerprint) != state.current().map(|stored| fingerprint(&stored.token));
        self.account.newest = state.current().map(|stored| stored.token.clone());
        self.account.rejected = state.is_dead();
        self.account.moved = state.moved.as_deref().map(Arc::from);
        self.account.cool_down = state.cool_down.clone().map(Box::new);
        self.account.hardware_id = state.hardware_id.as_deref().map(Arc::from);
        self.account.is_unwritten = is_unwritten;
        let same = !rotated
            && match (&state.access, &self.account.access) {
                (Some(new), Some(old)) => old.is(new) && LiveAccess::new(new, clock).is_some(),
                _ => false,
            };
        if !same {
            // The same access token keeps its monotonic time. One of another answer was never invalidated.
            self.account.access = state.access.as_ref().and_then(|access| LiveAccess::new(access, clock)).map(Box::new);
            self.demand.invalidation = Invalidation::None;
        }
        self.account.known = Some(state);
    }

    /// The journal does not hold what is known any more, or only a place does that a restart of the computer may empty. The next
    /// write makes it durable again.
    pub(in crate::manager) fn is_to_be_written_again(&mut self) {
        self.account.is_unwritten = true;
    }

    /// Whether everything that is known is in the store as well: the token that is shown, and a token of the options that the store
    /// did not know when it was last read.
    pub(in crate::manager) fn is_persisted(&self) -> bool {
        let known = self.account.known.as_deref();
        let is_new =
            |token: &RefreshToken| known.is_none_or(|known| known.recognise(token.fingerprint()) == Known::Unknown);
        self.is_durable
            && !self.account.is_unwritten
            && self.account.newest.as_ref() == known.and_then(State::current).map(|stored| &stored.token)
            && !self.offered.given.as_ref().is_some_and(|given| is_new(&given.token))
    }

    /// Shows a token that was just pasted, until it has been looked up under the lock.
    pub(in crate::manager) fn show_pasted(&mut self, token: &RefreshToken) {
        self.account.newest = Some(token.clone());
        if let Some(hardware_id) = token.shared_hardware_id() {
            self.account.hardware_id = Some(hardware_id);
        }
        self.account.access = None;
        self.account.rejected = false;
        self.account.moved = None;
        self.account.cool_down = None;
    }

    /// Shows the token of a login that could not be stored.
    pub(in crate::manager) fn show_unstored(&mut self, login: Box<LoggedIn>, problem: Error, clock: &dyn Clock) {
        self.show_pasted(&login.token);
        self.account.hardware_id = Some(login.hardware_id.as_str().into());
        self.account.access = LiveAccess::new(&login.access, clock).map(Box::new);
        self.offered.given = Some(Given { token: login.token.clone(), by_login: Some(login) });
        self.store_problem = Some(problem);
    }

    /// The token in the options, or the reason why their text is ignored beside another token. An empty text counts as an old copy: a
    /// settings page wrote it.
    pub(in crate::manager) fn read_given(
        &mut self,
        text: Option<&Secret>,
        state: Option<&State>,
        beside: Beside,
    ) -> Result<(Option<RefreshToken>, Option<Flaw>)> {
        let given = read(text, state);
        let (Some(text), Some(flaw)) = (text, given.flaw()) else { return Ok((given.token(), None)) };
        match beside {
            Beside::AToken => Ok((None, Some(flaw))),
            Beside::Nothing => Err(flaw.error()),
            Beside::NobodyKnows => {
                self.offered.refused = Some(Box::new(Refused { text: text.clone(), flaw }));
                Ok((None, None))
            }
        }
    }

    /// Whether the token of a login is only in memory.
    pub(in crate::manager) fn has_unstored_login(&self) -> bool {
        self.offered.given.as_ref().is_some_and(|given| given.by_login.is_some())
    }

    /// Whether the token of the options has to wait for the first answer of the program's own `load`. The token there may descend from
    /// that of the options, which is spent then and must not be sent.
    pub(in crate::manager) fn holds_given_back(&self, state: &State) -> bool {
        self.awaits_first_answer() && state.family.is_none()
    }

    /// Whether a token of the options is there, and the program's own `load` has not answered yet.
    pub(in crate::manager) fn awaits_first_answer(&self) -> bool {
        self.mirror.is_unread() && self.offered.given.as_ref().is_some_and(|given| given.by_login.is_none())
    }

    /// The known state, if the store was restored to an earlier version.
    pub(in crate::manager) fn ahead_of(&self, state: &State) -> Option<Arc<State>> {
        self.account.known.clone().filter(|known| self.offered.given.is_none() && state.is_behind(known))
    }

    /// The known state, if the store holds no token and there was no logout.
    pub(in crate::manager) fn missing_in(&self, state: &State) -> Option<Arc<State>> {
        self.account.known.clone().filter(|known| known.family.is_some() && state.lacks_its_token())
    }

    /// Changes the counters.
    pub(in crate::manager) fn count(&mut self, what: impl FnOnce(&mut Stats)) {
        what(self.counts.get_or_insert_default());
    }

    pub(in crate::manager) fn stats(&self) -> Stats {
        let counts = self.counts.as_deref().cloned().unwrap_or_default();
        Stats { last_success_at: self.account.known.as_ref().and_then(|known| known.last_success_at), ..counts }
    }

    /// Whether the newest state could not be written before, for the same reason.
    pub(in crate::manager) fn is_unwritten_because_of(&self, error: &Error) -> bool {
        !self.is_persisted() && self.store_problem.as_ref().map(Error::message) == Some(error.message())
    }

    pub(in crate::manager) fn check_open(&self) -> Result<()> {
        if self.is_closing() { Err(closed()) } else { Ok(()) }
    }

    pub(in crate::manager) fn may_refresh_unasked(&self, clock: &dyn Clock) -> bool {
        !self.is_closing()
            && self.flight.is_none()
            && self.has_usable_token()
            && self.account.cool_down.as_ref().is_none_or(|cool_down| cool_down.until(clock.wall()).is_none())
            && self.until_unasked(clock).is_zero()
    }

    /// The wait before the next refresh that no caller asked for.
    pub(in crate::manager) fn until_unasked(&self, clock: &dyn Clock) -> Duration {
        self.demand
            .last_unasked
            .map_or(Duration::ZERO, |last| (last + policy::BETWEEN_UNASKED).saturating_sub(clock.monotonic()))
    }

    /// Whether there is a token that may be sent from here and that Ring did not reject, so that the user does not have to log in.
    pub(in crate::manager) fn has_usable_token(&self) -> bool {
        self.account.newest.is_some() && !self.account.rejected && self.account.moved.is_none()
    }

    /// The reason why there is no token that could be sent.
    pub(in crate::manager) fn missing(&self) -> Error {
        if self.login.waits {
            Error::new(
                ErrorCode::TwoFactorRequired,
                "A login is waiting for its code. Pass it to submitTwoFactorCode, or ask for another one.",
            )
        } else if let Some(problem) = self.mirror.error() {
            // The mirror may have a token.
            problem.clone()
        } else if let Some(refused) = &self.offered.refused {
            refused.flaw.error()
        } else if let Some(flaw) = self.mirror.flaw_shown {
            flaw.nothing_in("the store")
        } else if self.account.known.as_ref().is_some_and(|known| known.logged_out_at.is_some()) {
            Error::new(
                ErrorCode::NoRefreshToken,
                "The account was logged out here, so there is no refresh token. Log in again with `npx ring-auth`.",
            )
        } else {
            Error::new(
                ErrorCode::NoRefreshToken,
                "There is no refresh token yet. Get one with `npx ring-auth`, and pass it as refreshToken.",
            )
        }
    }

    pub(in crate::manager) fn status(&self, clock: &dyn Clock) -> Status {
        let now = clock.wall();
        let until = self.account.cool_down.as_ref().and_then(|cool_down| cool_down.until(now));
        let waiting = self.account.cool_down.as_ref().filter(|_| until.is_some()).map(|cool_down| cool_down.error(now));
        let (phase, problem) = if self.is_sending() {
            (Phase::Refreshing, None)
        } else if self.account.newest.is_none()
            && (self.mirror.is_unread() || self.store_problem.is_some() || self.mirror.problem.is_some())
        {
            // A store that cannot be read may hold a token: the user should not log in again for that.
            (Phase::Idle, None)
        } else if self.account.newest.is_none() {
            (Phase::NeedsLogin, Some(self.missing()))
        } else if self.account.rejected {
            (Phase::NeedsLogin, Some(rejected()))
        } else if let Some(path) = &self.account.moved {
            (Phase::NeedsLogin, Some(elsewhere(path)))
        } else if waiting.is_some() {
            (Phase::Waiting, waiting)
        } else if self.account.access.as_ref().is_some_and(|access| !access.is_expired(clock)) {
            (Phase::Ready, None)
        } else {
            (Phase::Idle, None)
        };
        Status {
            phase,
            retry_at: until.filter(|_| phase == Phase::Waiting).map(|at| clock.on_host(at)),
            problem: problem.or_else(|| self.store_problem.clone()).or_else(|| self.mirror.error().cloned()),
            persisted: self.is_persisted(),
        }
    }

    /// The events that the listener did not get yet.
    pub(in crate::manager) fn news(&mut self, clock: &dyn Clock) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(newest) = &self.account.newest
            && !self.heard.announced.as_ref().is_some_and(|announced| announced.is(newest))
        {
            let old = self.heard.announced.replace(Announced::Token(newest.clone()));
            events.push(Event::Token { old: old.map(|old| old.text()), new: newest.wrapped() });
        }
        let mut status = self.status(clock);
        // `retry_at` shows how long a cool-down still lasts. A shorter rest in the problem is no new status.
        if let (Some(problem), Some(last)) = (&status.problem, &self.heard.last_status)
            && let Some(last_problem) = &last.problem
            && (problem.code(), problem.message()) == (last_problem.code(), last_problem.message())
        {
            status.problem = Some(last_problem.clone());
        }
        if self.heard.last_status.as_ref() != Some(&status) {
            self.heard.last_status = Some(status.clone());
            events.push(Event::Status(status));
        }
        events
    }

    /// Notes the token that the caller knows.
    pub(in crate::manager) fn announce(&mut self, text: Secret) {
        let newest = self.account.newest.as_ref().filter(|newest| newest.wrapped() == text);
        self.heard.announced = Some(newest.map_or(Announced::Text(text), |newest| Announced::Token(newest.clone())));
    }

    /// Notes that the caller knows the newest token.
    pub(in crate::manager) fn announce_newest(&mut self) {
        self.heard.announced = self.account.newest.clone().map(Announced::Token);
    }

    /// Whether the caller knows no token yet.
    pub(in crate::manager) fn nothing_announced(&self) -> bool {
        self.heard.announced.is_none()
    }
}

/// The status of the token in a store, without a manager and without a request.
pub fn inspect(state: Option<&State>, clock: &dyn Clock) -> Status {
    let mut snapshot = Snapshot::new(state.is_some());
    if let Some(state) = state {
        snapshot.know(Arc::new(state.clone()), state.volatile, clock);
    }
    snapshot.status(clock)
}

/// The error for a token that Ring rejected.
pub(in crate::manager) fn rejected() -> Error {
    Error::new(
        ErrorCode::RefreshTokenRejected,
        "Ring no longer accepts the refresh token: the device was removed in Ring's app, or the password was changed. Log in again with `npx ring-auth`.",
    )
}

/// The error of every call of a closed manager.
pub(in crate::manager) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "This token manager was closed. Make a new one.")
}

pub(in crate::manager) fn read(text: Option<&Secret>, state: Option<&State>) -> Pasted {
    text.map_or(Pasted::Nothing, |text| pasted::read(text.expose(), state))
}
