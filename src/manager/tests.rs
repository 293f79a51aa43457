mod hosts;
mod order;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;

use super::*;
use crate::files::{Disk, Moment, Probe, platform};
use crate::http::{Answer, Http, HttpFailure, Request};
use crate::journal::Store;
use crate::journal::state::{Access, Mark, Millis, Sent};
use crate::journal::state::{Known, State};
use crate::journal::{Begun, Found, Guard, JournalStore, MemoryStore, Notice, Stamp};
use crate::location::Location;
use crate::mirror::{Allowance, Attempts, Follower};
use crate::mirror::{CustomStore, Decide, Decision, Mirror, ProgramFuture, Purpose, Reconciled, Target};
use crate::oauth::{Endpoints, Grant, Login, LoginFlow, LoginRequest, OauthClient, RingOauth, WireError};
use crate::task::BoxFuture;
use crate::token::Fingerprint;
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Result, Secret};

const ISSUER: &str = "https://oauth.ring.com";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Clock that runs on tokio's paused time. A test can shift its wall clock.
struct HandClock {
    start: tokio::time::Instant,
    shift: AtomicI64,
}

impl HandClock {
    fn since(&self, began: Duration) -> Duration {
        self.monotonic().saturating_sub(began)
    }

    fn shift(&self, seconds: i64) {
        self.shift.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// Sets the wall clock to the time of the system, which the files of a journal have.
    fn follow_the_system(&self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let ahead = i64::try_from(now.as_millis()).unwrap() - i64::try_from(self.wall()).unwrap();
        self.shift.fetch_add(ahead, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn wall(&self) -> Millis {
        let elapsed = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        u64::try_from(1_800_000_000_000 + elapsed + self.shift.load(Ordering::SeqCst)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn jitter(&self) -> f64 {
        0.0
    }
}

/// OAuth client that gives the answers of the test, and otherwise rotates: `a` becomes `a+`.
struct Wire {
    answers: Mutex<VecDeque<Result<Grant, WireError>>>,
    sent: Mutex<Vec<String>>,
    lifetime: Mutex<Duration>,
    takes: Duration,
    /// How long `prepare` takes.
    prepares: Mutex<Duration>,
    /// The error of `prepare`, if no request can be made.
    misconfigured: Mutex<Option<Error>>,
    /// The OAuth client for logins, which no server answers.
    oauth: Arc<RingOauth>,
}

impl Wire {
    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }

    fn then(&self, answer: Result<Grant, WireError>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn always(&self, code: ErrorCode, ambiguous: bool) {
        for _ in 0..100 {
            self.then(failure(code, ambiguous));
        }
    }

    fn recovers(&self) {
        self.answers.lock().unwrap().clear();
    }
}

impl OauthClient for Wire {
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        let takes = *self.prepares.lock().unwrap();
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            match self.misconfigured.lock().unwrap().clone() {
                Some(error) => Err(error),
                None => Ok(()),
            }
        })
    }

    fn refresh<'a>(&'a self, token: &'a Secret, _id: &'a str) -> BoxFuture<'a, Result<Grant, WireError>> {
        Box::pin(async move {
            self.sent.lock().unwrap().push(token.expose().to_owned());
            tokio::time::sleep(self.takes).await;
            let answer = self.answers.lock().unwrap().pop_front();
            let number = self.sent.lock().unwrap().len();
            answer.unwrap_or_else(|| {
                Ok(Grant {
                    access_token: Secret::new(format!("access-{number}")),
                    refresh_token: Secret::new(format!("{}+", token.expose())),
                    token_type: "Bearer".into(),
                    scope: "client".into(),
                    lifetime: *self.lifetime.lock().unwrap(),
                    date: None,
                })
            })
        })
    }

    fn login(self: Arc<Self>, request: LoginRequest) -> Login {
        Arc::clone(&self.oauth).login(request)
    }

    fn endpoints(&self) -> &Endpoints {
        self.oauth.endpoints()
    }

    fn user_agent(&self) -> &str {
        self.oauth.user_agent()
    }
}

fn failure(code: ErrorCode, ambiguous: bool) -> Result<Grant, WireError> {
    Err(WireError { error: Error::new(code, "m"), ambiguous, date: None })
}

struct NoHttp;

impl Http for NoHttp {
    fn send(&self, _request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>> {
        Box::pin(std::future::pending())
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Heard {
    fn tokens(&self) -> Vec<(Option<String>, String)> {
        let raw = |text: &Secret| RefreshToken::parse(text.expose()).unwrap().raw();
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Token { old, new } => Some((old.as_ref().map(raw), raw(new))),
                _ => None,
            })
            .collect()
    }

    fn warnings(&self) -> usize {
        let events = self.0.lock().unwrap();
        events.iter().filter(|event| matches!(event, Event::Log(Level::Error | Level::Warn, _))).count()
    }

    fn phases(&self) -> Vec<Phase> {
        let events = self.0.lock().unwrap();
        events
            .iter()
            .filter_map(|event| match event {
                Event::Status(status) => Some(status.phase),
                _ => None,
            })
            .collect()
    }
}

impl Listener for Heard {
    fn on_event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// Store that claims to be durable, and that a test can make fail.
struct Shaky {
    inner: MemoryStore,
    fails: Arc<AtomicBool>,
    unreadable: AtomicBool,
    locked: AtomicUsize,
    /// Whether writes wait. `held` counts the writes that have waited.
    holds: Arc<AtomicBool>,
    held: Arc<AtomicUsize>,
    /// Stands for the metadata of a file. `stamps` counts each look at them.
    written: AtomicUsize,
    stamps: AtomicUsize,
    peeks: AtomicUsize,
}

struct ShakyGuard {
    inner: Box<dyn Guard>,
    fails: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
    held: Arc<AtomicUsize>,
}

impl Shaky {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(ISSUER),
            fails: Arc::default(),
            unreadable: AtomicBool::new(false),
            locked: AtomicUsize::new(0),
            holds: Arc::default(),
            held: Arc::default(),
            written: AtomicUsize::new(0),
            stamps: AtomicUsize::new(0),
            peeks: AtomicUsize::new(0),
        })
    }
}

impl Store for Shaky {
    fn peek(&self) -> Result<Option<State>> {
        self.peeks.fetch_add(1, Ordering::SeqCst);
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorCode::Store, "unreadable"));
        }
        self.inner.peek()
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        if self.unreadable.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorCode::Store, "unreadable"));
        }
        self.locked.fetch_add(1, Ordering::SeqCst);
        let (fails, holds, held) = (Arc::clone(&self.fails), Arc::clone(&self.holds), Arc::clone(&self.held));
        Ok(self.inner.try_lock()?.map(|inner| Box::new(ShakyGuard { inner, fails, holds, held }) as Box<dyn Guard>))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        self.stamps.fetch_add(1, Ordering::SeqCst);
        Some(Stamp::of_length(self.written.load(Ordering::SeqCst) as u64))
    }

    fn name(&self) -> String {
        "shaky".into()
    }
}

impl ShakyGuard {
    fn check(&self) -> Result<()> {
        if self.holds.load(Ordering::SeqCst) {
            self.held.fetch_add(1, Ordering::SeqCst);
            while self.holds.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if self.fails.load(Ordering::SeqCst) { Err(Error::new(ErrorCode::Store, "full")) } else { Ok(()) }
    }
}

impl Guard for ShakyGuard {
    fn read(&mut self) -> Result<Found> {
        self.inner.read()
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        self.check()?;
        self.inner.begin(state)
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        self.check()?;
        self.inner.commit(state)
    }

    fn forget(&mut self) -> Result<Vec<Notice>> {
        self.inner.forget()
    }
}

/// Mirror into which a test can write any text.
struct Board {
    shows: Mutex<Option<String>>,
    fails: AtomicBool,
    /// Whether it can be read but not written.
    sealed: AtomicBool,
    /// Whether a write takes a moment.
    slow: AtomicBool,
    /// Whether it does not answer, as on a mount whose server is gone.
    gone: AtomicBool,
    asked: AtomicUsize,
    writes: AtomicUsize,
    looks: AtomicUsize,
}

impl Board {
    fn new(shows: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            shows: Mutex::new(shows.map(str::to_owned)),
            fails: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        })
    }

    fn paste(&self, token: &str) {
        *self.shows.lock().unwrap() = Some(token.to_owned());
    }

    fn raw(&self) -> String {
        raw(self.shown())
    }

    fn shown(&self) -> Option<Secret> {
        self.shows.lock().unwrap().as_deref().map(Secret::from)
    }

    fn check(&self) -> Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        while self.gone.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.fails.load(Ordering::SeqCst) { Err(Error::new(ErrorCode::Store, "no board")) } else { Ok(()) }
    }
}

impl Mirror for Board {
    fn look(&self, _attempts: Attempts) -> Result<Option<Secret>> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        Ok(self.shown())
    }

    fn reconcile(&self, decide: &mut Decide<'_>) -> Result<Reconciled> {
        self.check()?;
        let shown = self.shown();
        let next = match decide(shown.as_ref())? {
            Decision::Leave => return Ok(Reconciled::default()),
            Decision::Show(token) => Some(token.expose().to_owned()),
            Decision::Clear => None,
        };
        if self.sealed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorCode::Store, "sealed"));
        }
        if self.slow.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(200));
        }
        *self.shows.lock().unwrap() = next;
        self.writes.fetch_add(1, Ordering::SeqCst);
        Ok(Reconciled { written: true, ..Reconciled::default() })
    }

    fn name(&self) -> String {
        "board".into()
    }
}

/// The parts around a manager, which a test can inspect and change.
struct Bench {
    mirror: Option<Follower>,
    store: Arc<dyn Store>,
    wire: Arc<Wire>,
    clock: Arc<HandClock>,
    heard: Arc<Heard>,
}

impl Bench {
    fn new() -> Self {
        Self::on(Arc::new(MemoryStore::new(ISSUER)))
    }

    /// A process was killed in the middle of its second request, with the token `token-a-of-this-test+`.
    async fn killed_in_its_request() -> Self {
        let bench = Self::new();
        bench.manager(Some("token-a-of-this-test")).auth().await.unwrap();
        bench.edit(|state| {
            let fingerprint = state.fingerprint().unwrap();
            state.mark = Some(Mark { fingerprint, started_at: 1, deadline: 2, starts: 0, lease: None });
        });
        bench
    }

    fn on(store: Arc<dyn Store>) -> Self {
        Self {
            mirror: None,
            store,
            wire: Arc::new(Wire {
                answers: Mutex::default(),
                sent: Mutex::default(),
                lifetime: Mutex::new(HOUR),
                takes: Duration::from_millis(50),
                prepares: Mutex::default(),
                misconfigured: Mutex::default(),
                oauth: Arc::new(RingOauth::new(Arc::new(NoHttp), Endpoints::parse(None, None).unwrap(), None).unwrap()),
            }),
            clock: Arc::new(HandClock { start: tokio::time::Instant::now(), shift: AtomicI64::new(0) }),
            heard: Arc::default(),
        }
    }

    /// A bench with a mirror.
    fn before(board: &Arc<Board>) -> Self {
        Self { mirror: Some(Follower::Place(Arc::clone(board) as Arc<_>)), ..Self::on(Shaky::new()) }
    }

    fn manager(&self, token: Option<&str>) -> Manager {
        self.try_manager(token, false).unwrap()
    }

    fn try_manager(&self, token: Option<&str>, auto_refresh: bool) -> Result<Manager> {
        let (parts, settings) = self.parts(token, auto_refresh);
        Manager::open(parts, settings)
    }

    fn parts(&self, token: Option<&str>, auto_refresh: bool) -> (Parts, Settings) {
        let parts = Parts {
            store: Arc::clone(&self.store),
            mirror: self.mirror.clone(),
            oauth: Arc::clone(&self.wire) as Arc<_>,
            clock: Arc::clone(&self.clock) as Arc<_>,
            listener: Arc::clone(&self.heard) as Arc<_>,
            shared: None,
            runtime: Handle::current(),
        };
        let settings = Settings {
            refresh_token: token.map(Secret::from),
            refuses_at_calls: false,
            system_id: Some("test".into()),
            device_name: "test".into(),
            login_flow: LoginFlow::Auto,
            request_timeout: SECOND * 20,
            auto_refresh,
        };
        (parts, settings)
    }

    fn state(&self) -> State {
        self.store.peek().unwrap().unwrap()
    }

    /// Changes the state in the store, as another process would.
    fn edit(&self, change: impl FnOnce(&mut State)) {
        let mut guard = self.store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        change(&mut state);
        guard.commit(&mut state).unwrap();
    }
}

/// Whether a state is what a logout leaves.
fn is_logged_out(state: &State) -> bool {
    let at = state.logged_out_at;
    at.is_some()
        && *state
            == State {
                sequence: state.sequence,
                id: state.id,
                mirrors: state.mirrors.clone(),
                known: state.known.clone(),
                given: state.given.clone(),
                rejected: state.rejected.clone(),
                ..State::logged_out(ISSUER, at.unwrap_or_default())
            }
}

fn raw(token: Option<Secret>) -> String {
    token.map_or_else(String::new, |token| RefreshToken::parse(token.expose()).unwrap().raw())
}

fn code<T>(result: Result<T>) -> ErrorCode {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.code(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_cause_one_request() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.auth().await.unwrap().access_token })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().expose(), "access-1");
    }
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"]);
    assert_eq!(manager.cached_access_token().unwrap().expose(), "access-1");
    assert_eq!(bench.heard.tokens(), [(Some("token-a-of-this-test".into()), "token-a-of-this-test+".into())]);
    assert_eq!(bench.heard.phases(), [Phase::Refreshing, Phase::Ready]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_outlives_the_caller_that_began_it() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    let caller = tokio::time::timeout(Duration::from_millis(10), manager.auth()).await;
    assert!(caller.is_err(), "the caller gave up in the middle of the request");
    tokio::time::sleep(SECOND).await;
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test+");
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test+");
}

#[tokio::test(start_paused = true)]
async fn the_mark_is_there_before_the_request_and_gone_after_the_answer() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mark = bench.state().mark.unwrap();
    assert_eq!(mark.fingerprint, Fingerprint::of("token-a-of-this-test"));
    assert!(mark.deadline >= bench.clock.wall() + 20_000);
    caller.await.unwrap().unwrap();
    assert!(bench.state().mark.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_401_seen_by_a_hundred_costs_one_rotation_and_five_in_a_row_at_most() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    let first = manager.auth().await.unwrap().access_token;
    for _ in 0..100 {
        manager.invalidate_access_token(first.expose()).unwrap();
    }
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let manager = manager.clone();
            tokio::spawn(async move { manager.auth().await.unwrap().access_token })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().expose(), "access-2");
    }
    assert_eq!(bench.wire.sent().len(), 2);
    manager.invalidate_access_token("access-1").unwrap();
    manager.auth().await.unwrap();
    assert_eq!(bench.wire.sent().len(), 2, "an older one was replaced already");
    for _ in 0..50 {
        let token = manager.auth().await.unwrap().access_token;
        manager.invalidate_access_token(token.expose()).unwrap();
    }
    assert_eq!(bench.wire.sent().len(), 6, "an API that says 401 to everything costs five");
    tokio::time::sleep(SECOND * 300).await;
    manager.invalidate_access_token(manager.auth().await.unwrap().access_token.expose()).unwrap();
    manager.auth().await.unwrap();
    assert_eq!(bench.wire.sent().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_takes_time_before_a_request_is_done_before_its_mark() {
    let bench = Bench::on(Shaky::new());
    let manager = bench.manager(Some("token-a-of-this-test"));
    *bench.wire.prepares.lock().unwrap() = SECOND * 5;
    let asking = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    tokio::time::sleep(SECOND * 4).await;
    assert!(bench.store.peek().unwrap().is_none_or(|state| state.mark.is_none()));
    assert!(bench.wire.sent().is_empty());
    asking.await.unwrap().unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"]);
}

#[tokio::test(start_paused = true)]
async fn what_no_other_try_can_change_leaves_neither_a_mark_nor_a_cool_down() {
    let bench = Bench::on(Shaky::new());
    let manager = bench.manager(Some("token-a-of-this-test"));
    *bench.wire.misconfigured.lock().unwrap() = Some(Error::invalid("ALL_PROXY names a SOCKS proxy."));
    for _ in 0..3 {
        let error = manager.auth().await.unwrap_err();
        assert_eq!((error.code(), error.retry_after()), (ErrorCode::InvalidArgument, None));
    }
    assert!(bench.wire.sent().is_empty());
    let state = bench.store.peek().unwrap();
    assert!(state.is_none_or(|state| state.mark.is_none() && state.cool_down.is_none()));
    // The next try does not have to wait.
    *bench.wire.misconfigured.lock().unwrap() = None;
    manager.auth().await.unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"]);
}

/// Ring's answer to a refresh of a token, with an access token that it has given before.
fn same_access(number: usize) -> Grant {
    Grant {
        access_token: Secret::from("always the same"),
        refresh_token: Secret::new(format!("a-{number}")),
        token_type: "Bearer".into(),
        scope: "client".into(),
        lifetime: HOUR,
        date: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_settles_a_complaint_and_renews_the_lifetime_even_if_its_access_token_is_the_same() {
    let bench = Bench::on(Shaky::new());
    let manager = bench.manager(Some("token-a-of-this-test"));
    for number in 0..20 {
        bench.wire.then(Ok(same_access(number)));
    }
    let first = manager.auth().await.unwrap();
    manager.invalidate_access_token(first.access_token.expose()).unwrap();
    for _ in 0..30 {
        assert_eq!(manager.auth().await.unwrap().access_token, first.access_token);
        assert_eq!(manager.status().phase, Phase::Ready);
    }
    assert_eq!(bench.wire.sent().len(), 2, "one invalidation, one rotation");

    // After these two waits the first lifetime is over, and the second one is not.
    tokio::time::sleep(SECOND * 3_000).await;
    let second = manager.refresh(false).await.unwrap();
    tokio::time::sleep(SECOND * 700).await;
    for _ in 0..30 {
        assert_eq!(manager.auth().await.unwrap().expires_at, second.expires_at);
        assert_eq!(manager.status().phase, Phase::Ready);
    }
    assert_eq!(bench.wire.sent().len(), 3);
    assert!(second.expires_at > first.expires_at);

    // The margin counts from the newest rotation as well.
    tokio::time::sleep(SECOND * 2_600).await;
    manager.auth().await.unwrap();
    tokio::time::sleep(SECOND).await;
    for _ in 0..30 {
        manager.auth().await.unwrap();
    }
    assert_eq!(bench.wire.sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_complaint_outlives_a_lifetime_that_a_journal_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let journal = JournalStore::open(folder.path().join("j.json"), ISSUER, Disk::default()).unwrap();
    let bench = Bench::on(Arc::new(journal));
    *bench.wire.lifetime.lock().unwrap() = Duration::from_nanos(3_600_000_000_001);
    let manager = bench.manager(Some("token-a-of-this-test"));
    let first = manager.auth().await.unwrap().access_token;
    manager.invalidate_access_token(first.expose()).unwrap();
    assert_ne!(manager.auth().await.unwrap().access_token, first);
    assert_eq!(bench.wire.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_by_another_process_serves_even_if_its_access_token_is_the_same() {
    let bench = Bench::on(Shaky::new());
    let (one, other) = (bench.manager(Some("token-a-of-this-test")), bench.manager(None));
    for number in 0..20 {
        bench.wire.then(Ok(same_access(number)));
    }
    let first = one.auth().await.unwrap().access_token;
    assert_eq!(other.auth().await.unwrap().access_token, first);
    for manager in [&one, &other] {
        manager.invalidate_access_token(first.expose()).unwrap();
    }
    tokio::time::sleep(SECOND).await;
    one.auth().await.unwrap();
    other.auth().await.unwrap();
    assert_eq!(bench.wire.sent().len(), 2, "what the one rotated is good enough for the other");
}

#[tokio::test(start_paused = true)]
async fn near_its_end_the_token_is_handed_out_and_refreshed_beside_that() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    tokio::time::sleep(SECOND * 3239).await;
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-1");
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.wire.sent().len(), 1, "a tenth of its lifetime is not reached");
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-1");
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.wire.sent().len(), 2);
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-2");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_nobodys_problem_while_the_access_token_is_valid() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    bench.wire.always(ErrorCode::ServerError, false);
    tokio::time::sleep(SECOND * 3300).await;
    for _ in 0..290 {
        assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-1");
        tokio::time::sleep(SECOND).await;
    }
    let before = bench.wire.sent().len();
    assert!(before < 20, "{before} requests");
    tokio::time::sleep(SECOND * 20).await;
    let error = manager.auth().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ServerError);
    bench.wire.recovers();
    tokio::time::sleep(SECOND * 1100).await;
    assert_eq!(raw(Some(manager.auth().await.unwrap().refresh_token)), "token-a-of-this-test++");
}

#[tokio::test(start_paused = true)]
async fn a_failing_refresh_cools_down_and_the_call_after_it_makes_one_request() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    bench.wire.always(ErrorCode::ServerError, false);
    let error = manager.auth().await.unwrap_err();
    assert_eq!(
        (error.code(), error.retry_after()),
        (ErrorCode::ServerError, Some(SECOND * 5)),
        "it says when to try again"
    );
    assert_eq!(bench.wire.sent().len(), 4);
    assert_eq!(manager.status().phase, Phase::Waiting);
    for _ in 0..10 {
        assert_eq!(code(manager.auth().await), ErrorCode::ServerError);
    }
    assert_eq!(bench.wire.sent().len(), 4, "calls within it are answered without a request");
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(manager.status().phase, Phase::Idle);
    assert_eq!(code(manager.auth().await), ErrorCode::ServerError);
    assert_eq!(bench.wire.sent().len(), 5);
    assert_eq!(bench.state().cool_down.unwrap().length, SECOND * 10);
    assert_eq!(code(manager.refresh(true).await), ErrorCode::ServerError);
    assert_eq!(bench.wire.sent().len(), 6, "force goes through it");
    bench.wire.recovers();
    assert_eq!(raw(Some(manager.refresh(true).await.unwrap().refresh_token)), "token-a-of-this-test+");
    assert!(bench.state().cool_down.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_cool_down_outlives_its_process() {
    let bench = Bench::new();
    bench.wire.always(ErrorCode::ServerError, false);
    for _ in 0..50 {
        let manager = bench.manager(Some("token-a-of-this-test"));
        assert_eq!(code(manager.auth().await), ErrorCode::ServerError);
    }
    assert_eq!(bench.wire.sent().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_failure_is_sent_again_at_once_with_the_same_token() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    bench.wire.then(failure(ErrorCode::Network, true));
    let began = bench.clock.monotonic();
    manager.auth().await.unwrap();
    assert!(bench.clock.since(began) < SECOND);
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-a-of-this-test"]);
}

#[tokio::test(start_paused = true)]
async fn only_invalid_grant_kills_and_a_dead_token_is_sent_once() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    bench.wire.always(ErrorCode::RefreshTokenRejected, false);
    for _ in 0..5 {
        assert_eq!(code(manager.auth().await), ErrorCode::RefreshTokenRejected);
    }
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"]);
    assert_eq!(manager.status().phase, Phase::NeedsLogin);
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test", "it stays, marked");
    drop(manager);
    let manager = bench.manager(Some("token-a-of-this-test"));
    assert_eq!(code(manager.auth().await), ErrorCode::RefreshTokenRejected);
    assert_eq!(bench.wire.sent().len(), 1, "after a restart as well");
    for _ in 0..3 {
        assert_eq!(code(manager.refresh(true).await), ErrorCode::RefreshTokenRejected);
    }
    assert_eq!(bench.wire.sent().len(), 2, "force sends it once a minute at most");
    tokio::time::sleep(SECOND * 60).await;
    bench.wire.recovers();
    assert_eq!(raw(Some(manager.refresh(true).await.unwrap().refresh_token)), "token-a-of-this-test+");
}

#[tokio::test(start_paused = true)]
async fn the_token_before_is_tried_when_the_newest_was_never_accepted() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    bench.wire.then(failure(ErrorCode::RefreshTokenRejected, false));
    let auth = manager.refresh(false).await.unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-a-of-this-test+", "token-a-of-this-test"]);
    assert_eq!(raw(Some(auth.refresh_token)), "token-a-of-this-test+", "the fake wire made the same one again");
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_the_token_before_is_tried_does_not_give_it_up() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    bench.wire.then(failure(ErrorCode::RefreshTokenRejected, false));
    bench.wire.always(ErrorCode::ServerError, false);
    assert_eq!(code(manager.refresh(false).await), ErrorCode::ServerError);
    assert_eq!(manager.status().phase, Phase::Waiting, "nobody has to log in yet");
    tokio::time::sleep(SECOND * 10).await;
    bench.wire.recovers();
    let before = bench.wire.sent().len();
    manager.refresh(false).await.unwrap();
    manager.refresh(false).await.unwrap();
    assert_eq!(
        bench.wire.sent()[before..],
        ["token-a-of-this-test", "token-a-of-this-test+"],
        "and the rejected one is not sent unasked"
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_finds_the_token_before_half_tried_goes_on_with_it() {
    let bench = Bench::new();
    bench.manager(Some("token-a-of-this-test")).auth().await.unwrap();
    let now = bench.clock.wall();
    bench.edit(|state| {
        state.reject(Sent::Current, now, false);
        state.mark = Some(Mark {
            fingerprint: Fingerprint::of("token-a-of-this-test"),
            started_at: now,
            deadline: now + 50_000,
            starts: 0,
            lease: None,
        });
    });
    let manager = bench.manager(None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        bench.wire.sent(),
        ["token-a-of-this-test", "token-a-of-this-test"],
        "first of all, without being asked"
    );
    assert_eq!(manager.status().phase, Phase::Ready);
    assert!(bench.state().mark.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_pasted_token_that_never_works_gives_way_to_the_one_before() {
    let bench = Bench::new();
    bench.manager(Some("token-a-of-this-test")).auth().await.unwrap();
    let manager = bench.manager(Some("token-pasted-of-this-test"));
    assert_eq!(raw(manager.refresh_token()), "token-pasted-of-this-test", "shown at once");
    assert!(manager.cached_access_token().is_none(), "the other account's access token is not handed out");
    bench.wire.then(failure(ErrorCode::RefreshTokenRejected, false));
    let auth = manager.auth().await.unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-pasted-of-this-test", "token-a-of-this-test+"]);
    assert_eq!(raw(Some(auth.refresh_token)), "token-a-of-this-test++");
    let said = bench.heard.0.lock().unwrap().iter().any(
        |event| matches!(event, Event::Log(Level::Warn, sentence) if sentence.contains("the one before it is used again")),
    );
    assert!(said);
}

#[tokio::test(start_paused = true)]
async fn an_old_copy_is_never_sent_and_the_program_hears_of_the_newer_one() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.refresh(false).await.unwrap();
    manager.refresh(false).await.unwrap();
    drop(manager);
    bench.heard.0.lock().unwrap().clear();
    let manager = bench.manager(Some("token-a-of-this-test"));
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test++");
    assert_eq!(bench.heard.tokens(), [(Some("token-a-of-this-test".into()), "token-a-of-this-test++".into())]);
    manager.set_refresh_token("token-a-of-this-test+").await.unwrap();
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test++");
    manager.refresh(false).await.unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-a-of-this-test+", "token-a-of-this-test++"]);
}

#[tokio::test(start_paused = true)]
async fn another_process_that_was_faster_is_adopted_without_a_request() {
    let bench = Bench::new();
    let one = bench.manager(Some("token-a-of-this-test"));
    let two = bench.manager(Some("token-a-of-this-test"));
    let (first, second) = tokio::join!(one.auth(), two.auth());
    assert_eq!(first.unwrap().access_token, second.unwrap().access_token);
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"]);
    let (first, second) = tokio::join!(one.refresh(false), two.refresh(false));
    assert_eq!(first.unwrap().access_token, second.unwrap().access_token);
    assert_eq!(
        bench.wire.sent(),
        ["token-a-of-this-test", "token-a-of-this-test+"],
        "nor does a rotation that both want cost two"
    );
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_hangs_is_waited_for_and_never_overtaken() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    let held = bench.store.try_lock().unwrap();
    let began = bench.clock.monotonic();
    assert_eq!(code(manager.auth().await), ErrorCode::StoreLocked);
    let waited = bench.clock.since(began);
    assert!(waited >= SECOND * 55, "{waited:?}: a refresh takes 50 s at most, and five more");
    assert!(bench.wire.sent().is_empty());
    drop(held);
    manager.auth().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_finishes_as_the_wait_ends_is_still_adopted() {
    // The holder either releases the lock, or hangs after its work is done.
    for hangs in [false, true] {
        let bench = Bench::new();
        let manager = bench.manager(Some("token-a-of-this-test"));
        manager.auth().await.unwrap();
        tokio::time::sleep(HOUR + SECOND).await;
        let mut held = bench.store.try_lock().unwrap().unwrap();
        let caller = tokio::spawn({
            let manager = manager.clone();
            async move { manager.auth().await }
        });
        // The waiter looks every 50 ms: when it wakes after this, its time is over.
        tokio::time::sleep(Duration::from_millis(54_999)).await;
        assert!(!caller.is_finished());
        let mut state = held.read().unwrap().state;
        let access = Access {
            token: Secret::from("theirs"),
            token_type: "Bearer".into(),
            scope: "client".into(),
            obtained_at: bench.clock.wall(),
            lifetime: HOUR,
        };
        state.rotated(Sent::Current, "token-a-of-this-test++", "hid", access);
        held.commit(&mut state).unwrap();
        let held = hangs.then_some(held);
        assert_eq!(caller.await.unwrap().unwrap().access_token.expose(), "theirs");
        assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test++");
        assert_eq!(bench.wire.sent(), ["token-a-of-this-test"], "what the holder brought is enough");
        drop(held);
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_enter_neither_goes_on_unlocked_nor_hands_out_an_expired_token() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    tokio::time::sleep(HOUR + SECOND).await;
    let held = bench.store.try_lock().unwrap();
    for _ in 0..3 {
        assert_eq!(code(manager.auth().await), ErrorCode::StoreLocked);
        assert_eq!(code(manager.refresh(true).await), ErrorCode::StoreLocked);
    }
    assert!(manager.cached_access_token().is_none());
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"], "nothing was sent without the lock");
    drop(held);
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-2");
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_left_behind_is_sent_first_and_twice_at_most() {
    let bench = Bench::new();
    bench.manager(Some("token-a-of-this-test")).auth().await.unwrap();
    let leave_mark = |starts| {
        bench.edit(|state| {
            state.access = None;
            state.mark = Some(Mark {
                fingerprint: Fingerprint::of("token-a-of-this-test+"),
                started_at: 1,
                deadline: 2,
                starts,
                lease: None,
            });
        });
    };
    leave_mark(0);
    let manager = bench.manager(None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-a-of-this-test+"], "without being asked");
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test++");
    // In a crash loop each start is killed in the middle of its request.
    leave_mark(0);
    for requests in [3, 4, 4, 4] {
        let manager = bench.manager(None);
        let caller = tokio::spawn(async move { manager.auth().await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(bench.wire.sent().len(), requests);
        if requests == bench.wire.sent().len() && bench.state().mark.is_some() {
            // A process that is killed leaves its mark, and the system releases its lock.
            caller.abort();
            let mark = bench.state().mark.clone();
            tokio::time::sleep(SECOND).await;
            bench.edit(|state| {
                state.access = None;
                state.mark.clone_from(&mark);
            });
        } else {
            assert_eq!(code(caller.await.unwrap()), ErrorCode::Network);
            assert!(bench.state().cool_down.is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_does_not_repeat_what_a_killed_process_left_behind() {
    let bench = Bench::killed_in_its_request().await;
    let (parts, settings) = bench.parts(None, false);
    let manager = Manager::open_to_forget(parts, settings).unwrap();
    tokio::time::sleep(SECOND).await;
    manager.forget().await.unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"]);
    assert!(is_logged_out(&bench.state()));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_before_the_request_means_no_request() {
    let store = Shaky::new();
    let bench = Bench::on(Arc::clone(&store) as Arc<_>);
    let manager = bench.manager(Some("token-a-of-this-test"));
    store.fails.store(true, Ordering::SeqCst);
    assert_eq!(code(manager.auth().await), ErrorCode::Store);
    assert!(bench.wire.sent().is_empty());
    assert_eq!(manager.status().problem.map(|error| error.code()), Some(ErrorCode::Store));
    store.fails.store(false, Ordering::SeqCst);
    manager.auth().await.unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"], "and no cool-down");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_after_the_answer_keeps_it_in_memory_and_others_out() {
    let store = Shaky::new();
    let bench = Bench::on(Arc::clone(&store) as Arc<_>);
    let manager = bench.manager(Some("token-a-of-this-test"));
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    while bench.wire.sent().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.fails.store(true, Ordering::SeqCst);
    assert_eq!(caller.await.unwrap().unwrap().access_token.expose(), "access-1", "it is served");
    assert!(!manager.status().persisted);
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test+");
    assert!(bench.store.try_lock().unwrap().is_none(), "nobody else goes on from the spent token");
    assert_eq!(code(manager.refresh(false).await), ErrorCode::Store);
    assert_eq!(bench.wire.sent().len(), 1);
    store.fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(SECOND * 6).await;
    assert!(manager.status().persisted);
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test+");
    assert!(bench.store.try_lock().unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_could_not_be_written() {
    let store = Shaky::new();
    let bench = Bench::on(Arc::clone(&store) as Arc<_>);
    let manager = bench.manager(Some("token-a-of-this-test"));
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    while bench.wire.sent().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.fails.store(true, Ordering::SeqCst);
    caller.await.unwrap().unwrap();
    store.fails.store(false, Ordering::SeqCst);
    manager.close().await;
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test+");
    manager.close().await;
    assert_eq!(code(manager.auth().await), ErrorCode::Closed);
    assert_eq!(code(manager.refresh(true).await), ErrorCode::Closed);
    assert_eq!(code(manager.set_refresh_token("token-b-of-this-test").await), ErrorCode::Closed);
    assert!(manager.cached_access_token().is_none());
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test+", "what is known can still be asked");
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_the_refresh_under_way() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    manager.close().await;
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test+");
    assert!(caller.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_sit_out_a_pause_between_tries() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    bench.wire.always(ErrorCode::ServerError, false);
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = bench.clock.monotonic();
    manager.close().await;
    assert!(bench.clock.since(began) < SECOND);
    assert_eq!(code(caller.await.unwrap()), ErrorCode::ServerError);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_ahead_means_a_refresh_at_the_next_use() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    // The monotonic clock of a laptop stands still while it is suspended.
    bench.clock.shift(3601);
    assert!(manager.cached_access_token().is_none());
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-2");
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_back_costs_one_refresh_at_most_and_nothing_lives_for_ever() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    bench.clock.shift(-3600);
    for _ in 0..10 {
        manager.auth().await.unwrap();
    }
    assert!(bench.wire.sent().len() <= 2);
    tokio::time::sleep(SECOND * 3601).await;
    manager.auth().await.unwrap();
    let sent = bench.wire.sent().len();
    assert!(sent >= 2, "it expires by the monotonic clock");
    // For another process that starts while the clock is wrong, the access token is from the future.
    bench.clock.shift(-7200);
    let other = bench.manager(None);
    other.auth().await.unwrap();
    other.auth().await.unwrap();
    assert_eq!(bench.wire.sent().len(), sent + 1);
}

#[tokio::test(start_paused = true)]
async fn a_cool_down_from_the_future_is_over() {
    let bench = Bench::new();
    bench.clock.shift(300_000_000);
    bench.wire.always(ErrorCode::Blocked, false);
    assert_eq!(code(bench.manager(Some("token-a-of-this-test")).auth().await), ErrorCode::Blocked);
    bench.clock.shift(-300_000_000);
    bench.wire.recovers();
    bench.manager(None).auth().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_lifetime_makes_it_loop() {
    for lifetime in [Duration::from_millis(1), SECOND, SECOND * 5] {
        let bench = Bench::new();
        *bench.wire.lifetime.lock().unwrap() = lifetime;
        let manager = bench.try_manager(Some("token-a-of-this-test"), true).unwrap();
        tokio::time::sleep(SECOND * 300).await;
        let unasked = bench.wire.sent().len();
        assert!((9..=11).contains(&unasked), "{unasked} in five minutes at {lifetime:?}: one every 30 s");
        manager.auth().await.unwrap();
        manager.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn auto_refresh_renews_ahead_and_recovers_by_itself() {
    let bench = Bench::new();
    let manager = bench.try_manager(Some("token-a-of-this-test"), true).unwrap();
    for _ in 0..3600 * 8 {
        tokio::time::sleep(SECOND).await;
        if bench.wire.sent().len() > 1 {
            assert!(manager.cached_access_token().is_some(), "there is always a valid one");
        }
    }
    let sent = bench.wire.sent().len();
    assert!((8..=10).contains(&sent), "{sent} in eight hours");
    bench.wire.always(ErrorCode::ServerError, false);
    tokio::time::sleep(HOUR * 3).await;
    let during = bench.wire.sent().len() - sent;
    assert!((10..40).contains(&during), "{during} in an outage of three hours");
    bench.wire.recovers();
    tokio::time::sleep(SECOND * 1100).await;
    assert_eq!(manager.status().phase, Phase::Ready);
    // The timer does not keep a manager alive that the program has dropped.
    let weak = Arc::downgrade(&manager.inner);
    drop(manager);
    tokio::time::sleep(SECOND * 61).await;
    assert!(weak.upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn auto_refresh_tries_again_when_the_status_says() {
    let bench = Bench::new();
    let manager = bench.try_manager(Some("token-a-of-this-test"), true).unwrap();
    bench.wire.always(ErrorCode::ServerError, false);
    while manager.status().phase != Phase::Waiting {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = manager.status().retry_at.unwrap() - bench.clock.wall();
    assert!((4900..=5000).contains(&left), "{left}");
    bench.wire.recovers();
    tokio::time::sleep(Duration::from_millis(left + 100)).await;
    assert_eq!(manager.status().phase, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn closing_in_doubt_leaves_the_mark_for_the_next_start() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    bench.wire.always(ErrorCode::Timeout, true);
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    manager.close().await;
    assert_eq!(code(caller.await.unwrap()), ErrorCode::Timeout);
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"], "closing takes one request, not two");
    assert!(bench.state().mark.is_some() && bench.state().cool_down.is_none());
    bench.wire.recovers();
    let next = bench.manager(None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(raw(next.refresh_token()), "token-a-of-this-test+", "without being asked");
}

/// A rejection after a request whose answer is not known says nothing of the token before: that one is two behind if Ring accepted it.
#[tokio::test(start_paused = true)]
async fn a_rejection_in_doubt_sends_nothing_older() {
    let rejection = || failure(ErrorCode::RefreshTokenRejected, false);
    let current = "token-a-of-this-test+";
    // A process was killed in the middle of its request.
    let bench = Bench::killed_in_its_request().await;
    bench.wire.then(rejection());
    let manager = bench.manager(None);
    tokio::time::sleep(SECOND).await;
    assert_eq!(code(manager.refresh(false).await), ErrorCode::RefreshTokenRejected);
    assert_eq!(bench.wire.sent()[1..], [current], "marked");
    // A try of the same call had no answer.
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    bench.wire.then(failure(ErrorCode::Network, true));
    bench.wire.then(rejection());
    assert_eq!(code(manager.refresh(false).await), ErrorCode::RefreshTokenRejected);
    assert_eq!(bench.wire.sent()[1..], [current; 2], "tried twice");
    // All tries of an earlier call had none.
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    for _ in 0..4 {
        bench.wire.then(failure(ErrorCode::Network, true));
    }
    assert_eq!(code(manager.refresh(false).await), ErrorCode::Network);
    bench.wire.then(rejection());
    assert_eq!(code(manager.refresh(true).await), ErrorCode::RefreshTokenRejected);
    assert_eq!(bench.wire.sent()[1..], [current; 5], "an earlier call");
    // A user gave another token meanwhile. Ring rejects it, so that the marked one is the current token again.
    let bench = Bench::killed_in_its_request().await;
    bench.wire.then(rejection());
    bench.wire.then(rejection());
    let manager = bench.manager(Some("another-token-of-this-test"));
    assert_eq!(code(manager.auth().await), ErrorCode::RefreshTokenRejected);
    assert_eq!(bench.wire.sent()[1..], ["another-token-of-this-test", current], "displaced");
    assert_eq!(manager.status().phase, Phase::NeedsLogin);
}

#[tokio::test(start_paused = true)]
async fn a_pasted_token_is_not_called_persisted_before_it_is() {
    let bench = Bench::on(Shaky::new());
    let manager = bench.manager(Some("token-a-of-this-test"));
    assert!(!manager.status().persisted);
    manager.auth().await.unwrap();
    assert!(manager.status().persisted);
    let again = bench.manager(Some("token-a-of-this-test"));
    assert!(again.status().persisted, "an old copy is in the journal already");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_read_is_no_reason_to_log_in() {
    let store = Shaky::new();
    let bench = Bench::on(Arc::clone(&store) as Arc<_>);
    bench.manager(Some("token-a-of-this-test")).auth().await.unwrap();
    store.unreadable.store(true, Ordering::SeqCst);
    let manager = bench.manager(None);
    let status = manager.status();
    assert_eq!((status.phase, status.problem.map(|error| error.code())), (Phase::Idle, Some(ErrorCode::Store)));
    assert_eq!(code(manager.auth().await), ErrorCode::Store);
    store.unreadable.store(false, Ordering::SeqCst);
    assert_eq!(raw(Some(manager.auth().await.unwrap().refresh_token)), "token-a-of-this-test+");
    assert_eq!(manager.status().problem, None);
}

#[tokio::test(start_paused = true)]
async fn push_credentials_change_the_string_without_a_rotation() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    assert_eq!(code(bench.manager(None).set_push_credentials(None).await), ErrorCode::NoRefreshToken);
    manager.auth().await.unwrap();
    let before = manager.refresh_token();
    manager.set_push_credentials(Some(serde_json::json!({"fcm": 1}))).await.unwrap();
    let with = manager.refresh_token();
    assert_ne!(before, with);
    assert_eq!(bench.heard.tokens().len(), 2);
    assert_eq!(bench.wire.sent().len(), 1);
    assert!(bench.state().current().unwrap().token.has_push_credentials());
    manager.refresh(false).await.unwrap();
    assert!(RefreshToken::parse(manager.refresh_token().unwrap().expose()).unwrap().has_push_credentials());
    // The same token with older credentials is no new token.
    let other = bench.manager(Some(
        RefreshToken::from_raw("token-a-of-this-test++").with_push_credentials(Some(1.into())).wrapped().expose(),
    ));
    other.set_refresh_token(other.refresh_token().unwrap().expose()).await.unwrap();
    other.refresh(false).await.unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-a-of-this-test+", "token-a-of-this-test++"]);
}

#[tokio::test(start_paused = true)]
async fn without_any_token_a_person_is_needed() {
    let bench = Bench::new();
    let manager = bench.manager(Some("  "));
    assert_eq!(code(manager.auth().await), ErrorCode::NoRefreshToken);
    assert_eq!(manager.status().phase, Phase::NeedsLogin);
    manager.set_refresh_token("token-a-of-this-test").await.unwrap();
    assert_eq!(manager.status().phase, Phase::Idle);
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test", "kept before it is used");
    manager.auth().await.unwrap();
    manager.forget().await.unwrap();
    assert_eq!(code(manager.auth().await), ErrorCode::NoRefreshToken);
    assert!(is_logged_out(&bench.state()));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_spent_before_a_logout_is_not_sent_after_it_and_the_newest_one_is() {
    for is_same_process in [true, false] {
        let bench = Bench::new();
        let manager = bench.manager(Some("token-a-of-this-test"));
        for _ in 0..2 {
            manager.refresh(false).await.unwrap();
        }
        manager.forget().await.unwrap();
        let manager = if is_same_process { manager } else { bench.manager(Some("token-a-of-this-test")) };
        for old in ["token-a-of-this-test", "token-a-of-this-test+"] {
            manager.set_refresh_token(old).await.unwrap();
            assert_eq!(code(manager.auth().await), ErrorCode::NoRefreshToken, "{old}");
            assert_eq!(manager.status().phase, Phase::NeedsLogin);
        }
        assert_eq!(bench.wire.sent().len(), 2);
        manager.set_refresh_token("token-a-of-this-test++").await.unwrap();
        manager.auth().await.unwrap();
        assert_eq!(bench.wire.sent()[2..], ["token-a-of-this-test++"]);
    }
}

#[tokio::test(start_paused = true)]
async fn auto_refresh_does_not_spin_on_a_store_that_fails() {
    let store = Shaky::new();
    let bench = Bench::on(Arc::clone(&store) as Arc<_>);
    bench.wire.always(ErrorCode::ServerError, false);
    let manager = bench.try_manager(Some("token-a-of-this-test"), true).unwrap();
    while manager.status().phase != Phase::Waiting {
        tokio::time::sleep(SECOND / 10).await;
    }
    store.fails.store(true, Ordering::SeqCst);
    // tokio's paused time stands still while a task is busy, which would hide a loop.
    let before = store.locked.load(Ordering::SeqCst);
    tokio::time::advance(SECOND * 10).await;
    let pass = async || {
        std::thread::sleep(Duration::from_micros(100));
        tokio::task::yield_now().await;
    };
    while store.locked.load(Ordering::SeqCst) == before {
        pass().await;
    }
    for _ in 0..2000 {
        pass().await;
    }
    let times = store.locked.load(Ordering::SeqCst) - before;
    assert!((1..10).contains(&times), "{times} times within a moment");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_outlives_whoever_asked_for_it() {
    let store = Shaky::new();
    let bench = Bench::on(Arc::clone(&store) as Arc<_>);
    let manager = bench.manager(Some("token-a-of-this-test"));
    let asked = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    store.fails.store(true, Ordering::SeqCst);
    asked.await.unwrap().unwrap();
    assert!(!manager.status().persisted);
    drop(manager);
    tokio::time::sleep(SECOND).await;
    store.fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test+");
}

fn granted(raw: &str) -> Grant {
    Grant {
        access_token: "access".into(),
        refresh_token: raw.into(),
        token_type: "Bearer".into(),
        scope: "client".into(),
        lifetime: HOUR,
        date: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_could_not_be_stored_is_stored_later_and_by_close() {
    for closes in [false, true] {
        let store = Shaky::new();
        let bench = Bench::on(Arc::clone(&store) as Arc<_>);
        let manager = bench.manager(None);
        store.unreadable.store(true, Ordering::SeqCst);
        manager.inner.store_login("h", &granted("token-fresh-of-this-test"), &Allowance::new()).await;
        assert!(!manager.status().persisted);
        assert_eq!(manager.cached_access_token().unwrap().expose(), "access");
        tokio::time::sleep(SECOND * 12).await;
        store.unreadable.store(false, Ordering::SeqCst);
        if closes {
            manager.close().await;
        } else {
            tokio::time::sleep(SECOND * 5).await;
            assert!(manager.status().persisted);
            assert_eq!(manager.status().problem, None);
            assert_eq!(manager.cached_access_token().unwrap().expose(), "access");
        }
        assert_eq!(bench.state().current().unwrap().token.raw(), "token-fresh-of-this-test", "closes: {closes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_is_followed_up_even_within_a_cool_down() {
    let bench = Bench::new();
    bench.wire.always(ErrorCode::ServerError, false);
    assert_eq!(code(bench.manager(Some("token-a-of-this-test")).auth().await), ErrorCode::ServerError);
    bench.wire.recovers();
    let now = bench.clock.wall();
    // Another process forced a refresh, and was killed.
    bench.edit(|state| {
        state.mark = Some(Mark {
            fingerprint: Fingerprint::of("token-a-of-this-test"),
            started_at: now,
            deadline: now + 50_000,
            starts: 0,
            lease: None,
        });
    });
    let manager = bench.manager(None);
    assert_eq!(raw(Some(manager.auth().await.unwrap().refresh_token)), "token-a-of-this-test+");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_put_back_does_not_take_the_newest_token_away() {
    let bench = Bench::new();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.auth().await.unwrap();
    let backup = bench.state();
    for _ in 0..3 {
        manager.refresh(false).await.unwrap();
    }
    bench.edit(|state| *state = backup.clone());
    manager.refresh(false).await.unwrap();
    assert_eq!(
        bench.wire.sent(),
        [
            "token-a-of-this-test",
            "token-a-of-this-test+",
            "token-a-of-this-test++",
            "token-a-of-this-test+++",
            "token-a-of-this-test++++"
        ]
    );
    let state = bench.state();
    assert_eq!(state.current().unwrap().token.raw(), "token-a-of-this-test+++++");
    assert_eq!(state.recognise(Fingerprint::of("token-a-of-this-test++")), Known::Former);
    // This state is no backup: the user logged out and logged in again.
    bench.edit(|state| {
        *state = State::new(ISSUER);
        state.take_over(RefreshToken::from_raw("token-new-of-this-test"), 1);
    });
    manager.refresh(false).await.unwrap();
    assert_eq!(bench.wire.sent().last().unwrap(), "token-new-of-this-test");
}

/// A bench with a `.env` file as the mirror, and with its journal.
fn shown_in(folder: &Path) -> Bench {
    let target = Target::Dotenv { path: folder.join(".env"), key: None };
    let location = Location::Mirror { target, state_path: None };
    let opened = location.open(&ISSUER.into(), Disk::default(), Purpose::Follow).unwrap();
    Bench { mirror: opened.mirror, ..Bench::on(opened.store) }
}

/// Every file below a folder, with its text. A manager may be using the folder: a file that it deletes between the
/// listing and the reading is left out.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, String)> {
    std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return files(&path);
            }
            match std::fs::read_to_string(&path) {
                Ok(text) => vec![(path, text)],
                Err(error) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", path.display());
                    Vec::new()
                }
            }
        })
        .collect()
}

#[tokio::test]
async fn what_is_forgotten_stays_forgotten() {
    for closes in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "A=1\nRING_REFRESH_TOKEN=the-token-of-this-test\n").unwrap();
        let bench = shown_in(folder.path());
        let manager = bench.manager(Some("the-token-of-this-test"));
        // The program calls `forget` while the start of the manager still reads the file.
        manager.forget().await.unwrap();
        if closes {
            manager.close().await;
        } else {
            // The manager deletes the token that came from the file at its second look.
            let began = std::time::Instant::now();
            while files(folder.path()).iter().any(|(_, text)| text.contains("the-token-of-this-test"))
                && began.elapsed() < SECOND * 30
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert!(is_logged_out(&bench.state()));
        for (path, text) in files(folder.path()) {
            assert!(!text.contains("the-token-of-this-test"), "{}: {text}", path.display());
        }
        assert_eq!(std::fs::read_to_string(folder.path().join(".env")).unwrap(), "A=1\nRING_REFRESH_TOKEN=\n");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_not_taken_over_by_who_looked_before() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    manager.auth().await.unwrap();
    // Another process forgets the account while this manager, which has already read the mirror, waits for the lock.
    let guard = bench.store.try_lock().unwrap().unwrap();
    let looks = board.looks.load(Ordering::SeqCst);
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.refresh(false).await }
    });
    while board.looks.load(Ordering::SeqCst) == looks {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut guard = guard;
    guard.forget().unwrap();
    *board.shows.lock().unwrap() = None;
    drop(guard);
    assert_eq!(code(caller.await.unwrap()), ErrorCode::NoRefreshToken);
    assert!(is_logged_out(&bench.state()));
    assert_eq!(board.shown(), None);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_replaced_during_the_wait_for_the_lock_is_not_taken_for_a_paste() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    manager.auth().await.unwrap();
    // Another process forgets the account and logs in to another one, after this manager has looked into the mirror.
    let mut guard = bench.store.try_lock().unwrap().unwrap();
    let looks = board.looks.load(Ordering::SeqCst);
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.refresh(false).await }
    });
    while board.looks.load(Ordering::SeqCst) == looks {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    guard.forget().unwrap();
    let mut state = guard.read().unwrap().state;
    state.take_over(RefreshToken::from_raw("token-of-another-account"), 1);
    guard.commit(&mut state).unwrap();
    *board.shows.lock().unwrap() = Some("token-of-another-account".to_owned());
    drop(guard);
    caller.await.unwrap().unwrap();
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-of-another-account"]);
    assert_eq!(board.raw(), "token-of-another-account+");
}

/// A store and its mirror. Another process changes both right after the first of the two was read.
struct ChangesAfterTheFirstRead {
    store: Arc<dyn Store>,
    board: Arc<Board>,
    change: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl ChangesAfterTheFirstRead {
    fn then<T>(&self, read: T) -> T {
        if let Some(change) = self.change.lock().unwrap().take() {
            change();
        }
        read
    }
}

impl Store for ChangesAfterTheFirstRead {
    fn peek(&self) -> Result<Option<State>> {
        self.then(self.store.peek())
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        self.store.try_lock()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        self.store.stamp()
    }

    fn name(&self) -> String {
        self.store.name()
    }
}

impl Mirror for ChangesAfterTheFirstRead {
    fn look(&self, attempts: Attempts) -> Result<Option<Secret>> {
        self.then(self.board.look(attempts))
    }

    fn reconcile(&self, decide: &mut Decide<'_>) -> Result<Reconciled> {
        self.board.reconcile(decide)
    }

    fn name(&self) -> String {
        self.board.name()
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_while_a_manager_starts_is_not_taken_for_a_paste() {
    let board = Board::new(Some("token-a-of-this-test"));
    let other = Bench::before(&board);
    other.manager(None).auth().await.unwrap();
    let (store, shows) = (Arc::clone(&other.store), Arc::clone(&board));
    let rotates = move || {
        let mut guard = store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        let access = state.access.clone().unwrap();
        state.rotated(Sent::Current, "token-a-of-this-test++", "id", access);
        guard.commit(&mut state).unwrap();
        shows.paste(state.current().unwrap().token.wrapped().expose());
    };
    let both = Arc::new(ChangesAfterTheFirstRead {
        store: Arc::clone(&other.store),
        board: Arc::clone(&board),
        change: Mutex::new(Some(Box::new(rotates))),
    });
    let bench = Bench { mirror: Some(Follower::Place(Arc::clone(&both) as Arc<_>)), ..Bench::on(both) };
    let manager = bench.manager(None);
    assert!(manager.status().persisted);
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test++");
    assert!(manager.cached_auth().is_some(), "the access token of the rotation is served at once");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_shows_an_old_copy_is_put_right_and_one_that_shows_a_new_one_is_followed() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test");
    manager.auth().await.unwrap();
    assert_eq!(board.raw(), "token-a-of-this-test+");
    for old in [Some("token-a-of-this-test"), None] {
        *board.shows.lock().unwrap() = old.map(str::to_owned);
        let next = bench.manager(None);
        assert_eq!(raw(next.refresh_token()), "token-a-of-this-test+");
        tokio::time::sleep(SECOND).await;
        assert_eq!(board.raw(), "token-a-of-this-test+");
        next.close().await;
    }
    board.paste("token-b-of-this-test");
    manager.refresh(false).await.unwrap();
    assert_eq!(board.raw(), "token-b-of-this-test+");
    assert_eq!(bench.state().fallback.unwrap().current.token.raw(), "token-a-of-this-test+");
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-b-of-this-test"]);
    assert_eq!(
        bench.heard.tokens().iter().map(|(_, new)| new.as_str()).filter(|new| *new == "token-b-of-this-test").count(),
        1,
        "told once: {:?}",
        bench.heard.tokens()
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_pasted_as_the_mirror_is_written_is_adopted() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    manager.auth().await.unwrap();
    let writes = board.writes.load(Ordering::SeqCst);
    // The user pastes a token after the rotation and before the manager writes the mirror.
    let pasted = Arc::clone(&board);
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.refresh(false).await }
    });
    while bench.wire.sent().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let b = RefreshToken::from_raw("token-b-of-this-test").wrapped();
    pasted.paste(b.expose());
    caller.await.unwrap().unwrap();
    assert_eq!((board.raw(), board.writes.load(Ordering::SeqCst)), ("token-b-of-this-test".into(), writes));
    assert_eq!(raw(manager.refresh_token()), "token-b-of-this-test");
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-b-of-this-test");
    // A token that the program sets wins over a pasted one, and the mirror shows it.
    board.paste("token-c-of-this-test");
    manager.set_refresh_token("token-d-of-this-test").await.unwrap();
    assert_eq!(board.raw(), "token-d-of-this-test");
    assert_eq!(bench.state().recognise(Fingerprint::of("token-c-of-this-test")), Known::Former);
}

#[tokio::test(start_paused = true)]
async fn a_broken_mirror_costs_nothing_and_is_said_once() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.try_manager(None, true).unwrap();
    tokio::time::sleep(SECOND).await;
    board.fails.store(true, Ordering::SeqCst);
    let looks = board.looks.load(Ordering::SeqCst);
    tokio::time::sleep(HOUR * 24).await;
    assert!(manager.cached_access_token().is_some());
    let status = manager.status();
    assert_eq!((status.phase, status.problem.unwrap().message().to_owned()), (Phase::Ready, "no board".to_owned()));
    assert!(status.persisted);
    assert_eq!(bench.heard.warnings(), 1);
    assert!(board.looks.load(Ordering::SeqCst) - looks < 100, "it is not looked into all the time");
    // The mirror works again, and shows the token of a day ago.
    board.fails.store(false, Ordering::SeqCst);
    manager.refresh(false).await.unwrap();
    assert_eq!(Some(board.raw()), manager.refresh_token().map(|token| raw(Some(token))));
    assert_eq!(manager.status().problem, None);
    assert!(
        bench.wire.sent().iter().enumerate().all(|(i, sent)| *sent == format!("token-a-of-this-test{}", "+".repeat(i)))
    );
    // `close` makes the write that failed after the last rotation.
    board.fails.store(true, Ordering::SeqCst);
    manager.refresh(false).await.unwrap();
    board.fails.store(false, Ordering::SeqCst);
    manager.close().await;
    assert_eq!(Some(board.raw()), manager.refresh_token().map(|token| raw(Some(token))));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_ends_after_its_mirror_was_written_even_if_another_look_begins_meanwhile() {
    let board = Board::new(Some("token-a-of-this-test"));
    let store = Shaky::new();
    let bench = Bench { store: Arc::clone(&store) as Arc<_>, ..Bench::before(&board) };
    let manager = bench.manager(None);
    manager.refresh(false).await.unwrap();
    store.holds.store(true, Ordering::SeqCst);
    let rotation = tokio::spawn({
        let manager = manager.clone();
        async move { manager.refresh(false).await }
    });
    // First the write of the mark waits in the store, then the write of the answer.
    while store.held.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    store.holds.store(false, Ordering::SeqCst);
    while bench.wire.sent().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.holds.store(true, Ordering::SeqCst);
    let held = store.held.load(Ordering::SeqCst);
    tokio::time::advance(Duration::from_millis(60)).await;
    while store.held.load(Ordering::SeqCst) == held {
        std::thread::sleep(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    let look = tokio::spawn({
        let inner = Arc::clone(&manager.inner);
        async move { inner.look_once_more().await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    board.slow.store(true, Ordering::SeqCst);
    store.holds.store(false, Ordering::SeqCst);
    rotation.await.unwrap().unwrap();
    assert_eq!(board.raw(), "token-a-of-this-test++");
    look.await.unwrap();
}

#[tokio::test]
async fn a_mirror_that_does_not_answer_is_asked_once_and_holds_a_call_for_ten_seconds_in_all() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    manager.auth().await.unwrap();
    board.gone.store(true, Ordering::SeqCst);
    let (began, asked) = (std::time::Instant::now(), board.asked.load(Ordering::SeqCst));
    let ended = tokio::time::timeout(SECOND * 60, async {
        for _ in 0..2 {
            manager.refresh(false).await.unwrap();
        }
        let problem = manager.status().problem;
        manager.close().await;
        problem
    });
    let (ended, took) = (ended.await, began.elapsed());
    let asked = board.asked.load(Ordering::SeqCst) - asked;
    // The thread that waits for the mirror can end now.
    board.gone.store(false, Ordering::SeqCst);
    let problem = ended.expect("each call is answered").unwrap();
    assert_eq!((asked, problem.code()), (1, ErrorCode::Store));
    assert!(problem.message().contains("board does not answer"), "{problem}");
    assert!(took < SECOND * 25, "{took:?}");
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-a-of-this-test+", "token-a-of-this-test++"]);
}

#[tokio::test(start_paused = true)]
async fn two_that_write_one_mirror_do_not_quarrel_for_ever() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    manager.auth().await.unwrap();
    // Another program writes an old copy back each time.
    let quarrels = tokio::spawn({
        let board = Arc::clone(&board);
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                board.paste("token-a-of-this-test");
            }
        }
    });
    tokio::time::sleep(SECOND * 600).await;
    let writes = board.writes.load(Ordering::SeqCst);
    assert!((2..=12).contains(&writes), "{writes}");
    quarrels.abort();
    manager.refresh(false).await.unwrap();
    assert_eq!(board.raw(), "token-a-of-this-test++");
}

/// Functions of a program whose `save` fails.
struct Fails(Arc<AtomicUsize>);

impl CustomStore for Fails {
    fn load(&self) -> ProgramFuture<Option<Secret>> {
        Box::pin(async { Ok(None) })
    }

    fn save(&self, _new: &Secret, _old: Option<&Secret>) -> ProgramFuture<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Err("no".into()) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_cannot_save_is_waited_for_once_in_each_rotation_and_once_at_the_end() {
    let saves = Arc::new(AtomicUsize::new(0));
    let location = Location::Custom { functions: Arc::new(Fails(Arc::clone(&saves))), state_path: None };
    let opened = location.open(&ISSUER.into(), Disk::default(), Purpose::Follow).unwrap();
    let bench = Bench { mirror: opened.mirror, ..Bench::on(opened.store) };
    let manager = bench.manager(Some("token-a-of-this-test"));
    tokio::time::sleep(SECOND).await;
    assert_eq!(saves.swap(0, Ordering::SeqCst), 1, "the token of the options");
    manager.auth().await.unwrap();
    // The manager tries to save the pending token when it enters the store, and the answer after that.
    assert_eq!(saves.swap(0, Ordering::SeqCst), 2);
    manager.close().await;
    assert_eq!(saves.swap(0, Ordering::SeqCst), 1);
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(saves.load(Ordering::SeqCst), 0, "nothing goes on behind a closed manager");
}

#[tokio::test(start_paused = true)]
async fn of_two_new_tokens_the_mirrors_is_used_and_the_other_never() {
    let board = Board::new(Some("token-m-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(Some("token-g-of-this-test"));
    assert_eq!(raw(manager.refresh_token()), "token-m-of-this-test", "at once");
    manager.auth().await.unwrap();
    manager.close().await;
    for given in ["token-g-of-this-test", "token-m-of-this-test"] {
        let next = bench.manager(Some(given));
        next.refresh(false).await.unwrap();
        next.close().await;
    }
    assert_eq!(bench.wire.sent(), ["token-m-of-this-test", "token-m-of-this-test+", "token-m-of-this-test++"]);
    assert_eq!(board.raw(), "token-m-of-this-test+++");
}

#[tokio::test(start_paused = true)]
async fn the_mirrors_wrapping_is_taken_over_and_an_older_one_is_not() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    manager.auth().await.unwrap();
    let before = board.shown().unwrap();
    let theirs = RefreshToken::parse(before.expose()).unwrap().with_push_credentials(Some(7.into())).wrapped();
    board.paste(theirs.expose());
    // The second look finds it, without a rotation.
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(manager.refresh_token(), Some(theirs.clone()));
    manager.close().await;
    // A settings page writes its old copy back, and the program starts with the same copy.
    board.paste(before.expose());
    let last = bench.manager(Some(before.expose()));
    tokio::time::sleep(SECOND).await;
    assert_eq!((board.shown(), last.refresh_token()), (Some(theirs.clone()), Some(theirs)));
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test"]);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_no_journal_took_is_shown_at_least() {
    let board = Board::new(Some("token-a-of-this-test"));
    let store = Shaky::new();
    let bench = Bench { store: Arc::clone(&store) as Arc<_>, ..Bench::before(&board) };
    let manager = bench.manager(None);
    tokio::time::sleep(SECOND * 2).await;
    let asked = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await }
    });
    while bench.wire.sent().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.fails.store(true, Ordering::SeqCst);
    asked.await.unwrap().unwrap();
    assert!(!manager.status().persisted);
    assert_eq!(board.raw(), "token-a-of-this-test+");
    // The status shows a problem of the store rather than one of the mirror.
    board.fails.store(true, Ordering::SeqCst);
    assert!(manager.refresh(false).await.is_err());
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(manager.status().problem.unwrap().message(), "full");
    store.fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(SECOND * 6).await;
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test+");
    assert_eq!(manager.status().problem.unwrap().message(), "no board");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_is_looked_at_again_after_a_write_a_failure_and_at_the_end() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    let manager = bench.manager(None);
    manager.auth().await.unwrap();
    tokio::time::sleep(SECOND * 60).await;
    board.fails.store(true, Ordering::SeqCst);
    manager.refresh(false).await.unwrap();
    board.fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(board.raw(), "token-a-of-this-test++", "by itself");
    assert_eq!(manager.status().problem, None);
    tokio::time::sleep(SECOND * 60).await;
    manager.refresh(false).await.unwrap();
    board.paste("token-a-of-this-test");
    manager.close().await;
    assert_eq!(board.raw(), "token-a-of-this-test+++", "closing looks once more, and at once");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_can_only_be_read_is_a_problem_said_once() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    board.sealed.store(true, Ordering::SeqCst);
    let manager = bench.manager(None);
    for _ in 0..3 {
        manager.refresh(false).await.unwrap();
        tokio::time::sleep(SECOND * 60).await;
        assert_eq!(manager.status().problem.unwrap().message(), "sealed");
    }
    assert_eq!(bench.heard.warnings(), 1);
    // The manager still adopts a token that the user pastes there.
    board.paste("token-b-of-this-test");
    manager.refresh(false).await.unwrap();
    assert_eq!(bench.wire.sent().last().unwrap(), "token-b-of-this-test");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_cannot_be_read_is_no_reason_to_log_in() {
    let board = Board::new(Some("token-a-of-this-test"));
    let bench = Bench::before(&board);
    board.fails.store(true, Ordering::SeqCst);
    let manager = bench.manager(None);
    assert_eq!(manager.status().phase, Phase::Idle);
    assert_eq!(code(manager.auth().await), ErrorCode::Store);
    board.fails.store(false, Ordering::SeqCst);
    manager.auth().await.unwrap();
    assert_eq!((board.raw(), manager.status().problem), ("token-a-of-this-test+".into(), None));
}

/// A journal in a folder of its own, and a manager that has rotated twice.
async fn kept_in(folder: &Path) -> (Bench, Manager) {
    std::fs::create_dir_all(folder).unwrap();
    let bench = Bench::on(Arc::new(JournalStore::open(folder.join("j.json"), ISSUER, Disk::default()).unwrap()));
    bench.clock.follow_the_system();
    let manager = bench.manager(Some("token-a-of-this-test"));
    manager.refresh(false).await.unwrap();
    manager.refresh(false).await.unwrap();
    (bench, manager)
}

#[tokio::test]
async fn a_journal_that_is_gone_without_a_logout_is_written_again_before_the_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, manager) = kept_in(folder.path()).await;
    let before = bench.state();
    for (number, how) in ["removed", "emptied", "damaged", "removed with its lock"].into_iter().enumerate() {
        let warnings = bench.heard.warnings();
        let journal = folder.path().join("j.json");
        match how {
            "emptied" => std::fs::write(&journal, "").unwrap(),
            "damaged" => std::fs::write(&journal, "{\n  \"ring-auth-journal\": \"j").unwrap(),
            _ => std::fs::remove_file(&journal).unwrap(),
        }
        if how.ends_with("lock") {
            std::fs::remove_file(folder.path().join("j.json.lock")).unwrap();
        }
        assert_ne!(manager.status().phase, Phase::NeedsLogin, "{how}");
        assert_eq!(manager.auth().await.unwrap().access_token, manager.cached_access_token().unwrap(), "it is served");
        manager.refresh(false).await.unwrap();
        assert_eq!(bench.wire.sent().len(), 3 + number, "{how}");
        assert!(bench.heard.warnings() > warnings, "{how}: it is said");
        let state = bench.state();
        assert_eq!(state.current().unwrap().token.wrapped(), manager.refresh_token().unwrap());
        assert!(before.known.iter().all(|ancestor| state.known.contains(ancestor)), "{how}");
        assert_eq!(state.given, before.given);
        assert!(manager.status().persisted);
    }
    assert_eq!(bench.wire.sent().last().unwrap(), "token-a-of-this-test+++++");
}

#[tokio::test]
async fn a_journal_whose_folder_is_gone_is_a_problem_of_the_store_until_the_folder_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (home, away) = (folder.path().join("home"), folder.path().join("away"));
    let (bench, manager) = kept_in(&home).await;
    std::fs::rename(&home, &away).unwrap();
    for _ in 0..2 {
        assert_eq!(code(manager.refresh(true).await), ErrorCode::Store);
        let status = manager.status();
        assert_eq!((status.phase, status.problem.unwrap().code()), (Phase::Ready, ErrorCode::Store));
        assert!(manager.cached_access_token().is_some(), "what is valid is served");
        assert_eq!(bench.wire.sent().len(), 2, "nothing is sent");
        assert!(!home.exists(), "nothing is made where the folder was");
    }
    let credentials = Credentials { email: "e".into(), password: "p".into(), totp: None, device: Device::Kept };
    assert_eq!(code(manager.login(credentials).await), ErrorCode::Store, "Ring sends no code");
    std::fs::rename(&away, &home).unwrap();
    manager.refresh(false).await.unwrap();
    assert_eq!(bench.wire.sent().len(), 3);
    assert_eq!(manager.status().problem, None);
    // The manager also uses a new folder of that name on the same file system.
    std::fs::rename(&home, &away).unwrap();
    std::fs::create_dir(&home).unwrap();
    manager.refresh(false).await.unwrap();
    assert_eq!(raw(manager.refresh_token()), "token-a-of-this-test++++");
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test++++");
}

#[tokio::test]
async fn a_folder_that_goes_between_mark_and_answer_leaves_the_answer_pending() {
    let folder = tempfile::tempdir().unwrap();
    let (home, away) = (folder.path().join("home"), folder.path().join("away"));
    let (bench, manager) = kept_in(&home).await;
    let caller = tokio::spawn({
        let manager = manager.clone();
        async move { manager.refresh(false).await }
    });
    while bench.wire.sent().len() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    std::fs::rename(&home, &away).unwrap();
    let auth = caller.await.unwrap().unwrap();
    assert_eq!(raw(Some(auth.refresh_token)), "token-a-of-this-test+++");
    let status = manager.status();
    assert!(!status.persisted);
    assert!(!home.exists());
    // A process that starts now finds the newest token in the copy that the problem of this manager names.
    let other = JournalStore::open(home.join("j.json"), ISSUER, Disk::default()).unwrap();
    assert_eq!(other.peek().unwrap().unwrap().current().unwrap().token.raw(), "token-a-of-this-test+++");
    let problem = status.problem.unwrap();
    assert!(problem.message().contains("restart") && problem.message().contains(".copy"), "{problem}");
    std::fs::rename(&away, &home).unwrap();
    manager.close().await;
    assert!(manager.status().persisted);
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-a-of-this-test+++");
}

#[tokio::test]
async fn another_process_that_logged_out_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, manager) = kept_in(folder.path()).await;
    bench.store.try_lock().unwrap().unwrap().forget().unwrap();
    let error = manager.refresh(false).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NoRefreshToken);
    assert!(error.message().contains("logged out"), "{error}");
    assert_eq!(manager.status().phase, Phase::NeedsLogin);
    assert_eq!(manager.refresh_token(), None);
    assert_eq!(bench.wire.sent().len(), 2);
    // A manager that starts later has the same phase.
    assert_eq!(bench.manager(None).status().phase, Phase::NeedsLogin);
    manager.set_refresh_token("token-b-of-this-test").await.unwrap();
    manager.auth().await.unwrap();
    assert_eq!(bench.state().logged_out_at, None);
}

/// Probe that writes into the journal at one moment although another process has its lock, as on a file system without
/// locks.
struct Intruder {
    /// Number of the write of the journal before which the probe writes, counted from now on.
    before: AtomicUsize,
    writes: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Probe for Intruder {
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> std::io::Result<()> {
        // This read is the last one before the journal is written.
        if call == "read" && moment == Moment::Before && path.ends_with("j.json") {
            let left = self.before.load(Ordering::SeqCst);
            if left == 1
                && let Some(writes) = self.writes.lock().unwrap().take()
            {
                writes();
            }
            self.before.store(left.saturating_sub(1), Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Intruder {
    /// The probe, and a bench whose journal at this path has it.
    fn at(path: &Path) -> (Arc<Self>, Bench) {
        let probe = Arc::new(Self { before: AtomicUsize::new(0), writes: Mutex::default() });
        let disk = Disk::with_probe(Arc::clone(&probe) as Arc<dyn Probe>);
        let bench = Bench::on(Arc::new(JournalStore::open(path, ISSUER, disk).unwrap()));
        bench.clock.follow_the_system();
        (probe, bench)
    }

    /// Has another process change the journal before one of the next reads. It reads the journal before it changes it.
    fn write(&self, before: usize, path: &Path, change: impl FnOnce(&mut dyn Guard, State) + Send + 'static) {
        let theirs = path.to_owned();
        *self.writes.lock().unwrap() = Some(Box::new(move || {
            // A journal in another folder has another lock, as in a container that has mounted only this file.
            let other = tempfile::tempdir().unwrap();
            let there = other.path().join("j.json");
            std::fs::copy(&theirs, &there).unwrap();
            let store = JournalStore::open(&there, ISSUER, Disk::default()).unwrap();
            let mut guard = store.try_lock().unwrap().unwrap();
            let mut state = guard.read().unwrap().state;
            // For that container the path of the journal has never changed.
            state.place = platform::canonicalize(&there).ok();
            change(guard.as_mut(), state);
            std::fs::copy(&there, &theirs).unwrap();
        }));
        self.before.store(before, Ordering::SeqCst);
    }
}

fn access_called(token: &str, now: u64) -> Access {
    Access {
        token: Secret::new(token),
        token_type: "Bearer".into(),
        scope: "client".into(),
        obtained_at: now,
        lifetime: HOUR,
    }
}

#[tokio::test]
async fn who_writes_in_spite_of_the_lock_is_never_written_over() {
    // The journal is read three times: when the store is entered, before the mark, and before the answer is written.
    for moment in 2..=3 {
        for how in ["rotated", "pasted", "logged out", "marked"] {
            let folder = tempfile::tempdir().unwrap();
            drop(kept_in(folder.path()).await);
            let path = folder.path().join("j.json");
            let (probe, bench) = Intruder::at(&path);
            let (manager, now) = (bench.manager(None), bench.clock.wall());
            probe.write(moment, &path, move |guard, mut state| {
                match how {
                    "rotated" => state.rotated(Sent::Current, "theirs", "h", access_called("theirs", now)),
                    "pasted" => state.take_over(RefreshToken::from_raw("token-pasted-of-this-test"), now),
                    _ => {}
                }
                state.mark = (how == "marked").then(|| Mark {
                    fingerprint: state.fingerprint().unwrap(),
                    started_at: now,
                    deadline: now + 50_000,
                    starts: 0,
                    lease: None,
                });
                if how == "logged out" {
                    guard.forget().unwrap();
                } else {
                    guard.commit(&mut state).unwrap();
                }
            });
            let result = manager.refresh(false).await;
            let state = bench.state();
            let current = state.current().map(|stored| stored.token.raw());
            let fallback = state.fallback.as_ref().map(|fallback| fallback.current.token.raw());
            let sent = bench.wire.sent();
            match (how, moment) {
                ("rotated", 2) => {
                    assert_eq!(result.unwrap().access_token.expose(), "theirs");
                    assert_eq!(
                        (current.as_deref(), sent.len()),
                        (Some("theirs"), 0),
                        "theirs is used without a request"
                    );
                }
                ("pasted", 2) => {
                    result.unwrap();
                    assert_eq!(
                        (current.as_deref(), &sent[..]),
                        (Some("token-pasted-of-this-test+"), &["token-pasted-of-this-test".to_owned()][..])
                    );
                }
                ("logged out", 2) => {
                    assert_eq!(result.unwrap_err().code(), ErrorCode::NoRefreshToken);
                    assert!(is_logged_out(&state) && sent.is_empty());
                }
                ("marked", 2) => {
                    assert_eq!(result.unwrap_err().code(), ErrorCode::StoreLocked);
                    assert!(sent.is_empty(), "the other one is sending that token");
                    assert!(state.mark.is_some());
                }
                ("marked", _) => {
                    result.unwrap();
                    assert_eq!((current.as_deref(), state.mark), (Some("token-a-of-this-test+++"), None));
                }
                ("rotated", _) => {
                    assert_eq!(result.unwrap().access_token.expose(), "access-1");
                    assert_eq!(
                        (current.as_deref(), fallback.as_deref()),
                        (Some("token-a-of-this-test+++"), Some("theirs"))
                    );
                }
                ("pasted", _) => {
                    result.unwrap();
                    assert_eq!(
                        (current.as_deref(), fallback.as_deref()),
                        (Some("token-pasted-of-this-test"), Some("token-a-of-this-test+++"))
                    );
                }
                _ => {
                    result.unwrap();
                    assert!(is_logged_out(&state));
                    assert_eq!(manager.refresh_token(), None);
                }
            }
            let known = ["token-a-of-this-test", "token-a-of-this-test+", "token-a-of-this-test++"]
                .map(|raw| state.known.contains(&Fingerprint::of(raw)));
            assert!(how == "logged out" || known == [true; 3], "{how} {moment}");
            assert!(how == "logged out" || bench.heard.warnings() > 0 || sent.is_empty());
        }
    }
}

#[tokio::test]
async fn states_that_went_apart_are_merged_and_written_before_they_are_known() {
    let folder = tempfile::tempdir().unwrap();
    drop(kept_in(folder.path()).await);
    let path = folder.path().join("j.json");
    let (probe, bench) = Intruder::at(&path);
    let (manager, now) = (bench.manager(None), bench.clock.wall());
    // Another process has read the journal before its last rotation, has sent the same token, and writes its own answer
    // now.
    probe.write(2, &path, move |guard, mut state| {
        let current = state.fingerprint();
        state.known.retain(|known| Some(*known) != current);
        let family = state.family.as_mut().unwrap();
        family.current = family.previous.take().unwrap();
        state.rotated(Sent::Current, "theirs", "h", access_called("theirs", now));
        guard.commit(&mut state).unwrap();
    });
    let auth = manager.refresh(false).await.unwrap();
    assert_eq!((auth.access_token.expose(), bench.wire.sent().len()), ("theirs", 0));
    let state = bench.state();
    assert_eq!(state.current().unwrap().token.raw(), "theirs");
    let fallback = state.fallback.map(|fallback| fallback.current.token.raw());
    assert_eq!(fallback.as_deref(), Some("token-a-of-this-test++"), "the answer that this process knew is not lost");
    assert!(manager.status().persisted);
}

#[tokio::test]
async fn a_start_that_finds_the_newest_state_in_a_volatile_place_writes_it_to_the_journal() {
    struct ReadOnly(AtomicBool);
    impl Probe for ReadOnly {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> std::io::Result<()> {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let writes = ["create", "open", "rename", "write"].contains(&call) && name.starts_with("j.json");
            if self.0.load(Ordering::SeqCst) && writes && moment == Moment::Before {
                // This is EROFS.
                return Err(crate::files::fault(30));
            }
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    drop(kept_in(folder.path()).await);
    let card = Arc::new(ReadOnly(AtomicBool::new(false)));
    let store = || {
        let disk = Disk::with_probe(Arc::clone(&card) as Arc<dyn Probe>);
        Arc::new(JournalStore::open(folder.path().join("j.json"), ISSUER, disk).unwrap())
    };
    let mut guard = store().try_lock().unwrap().unwrap();
    let mut state = guard.read().unwrap().state;
    guard.begin(&mut state).unwrap();
    card.0.store(true, Ordering::SeqCst);
    state.take_over(RefreshToken::from_raw("token-newest-of-this-test"), 1);
    guard.commit(&mut state).unwrap_err();
    // The process ends, and the next one starts with the unchanged card.
    drop(guard);
    let bench = Bench::on(store());
    let manager = bench.manager(None);
    assert_eq!(raw(manager.refresh_token()), "token-newest-of-this-test");
    assert!(!manager.status().persisted);
    let until = async |persisted| {
        while manager.status().persisted != persisted || bench.state().volatile == persisted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    while manager.status().problem.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until(false).await;
    card.0.store(false, Ordering::SeqCst);
    manager.close().await;
    until(true).await;
    assert_eq!(bench.state().current().unwrap().token.raw(), "token-newest-of-this-test");
    assert!(bench.wire.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_login_of_another_process_is_found_within_twenty_seconds() {
    let shaky = Shaky::new();
    let bench = Bench::on(Arc::clone(&shaky) as Arc<_>);
    let manager = bench.manager(None);
    let waiting = tokio::spawn({
        let manager = manager.clone();
        async move { manager.wait_for_login().await }
    });
    tokio::time::sleep(SECOND * 100).await;
    assert!(!waiting.is_finished());
    let began = bench.clock.monotonic();
    let access = Access {
        token: Secret::from("theirs"),
        token_type: "Bearer".into(),
        scope: "client".into(),
        lifetime: HOUR,
        obtained_at: bench.clock.wall(),
    };
    bench.edit(|state| {
        state.take_over(RefreshToken::from_raw("token-b-of-this-test"), 1);
        state.access = Some(access);
    });
    shaky.written.fetch_add(1, Ordering::SeqCst);
    waiting.await.unwrap().unwrap();
    assert!(bench.clock.since(began) <= SECOND * 20, "{:?}", bench.clock.since(began));
    assert_eq!(raw(manager.refresh_token()), "token-b-of-this-test");
    assert_eq!(manager.cached_access_token().unwrap().expose(), "theirs");
    assert_eq!(bench.heard.tokens(), [(None, "token-b-of-this-test".into())]);
    assert_eq!(bench.heard.phases(), [Phase::Ready]);
    assert!(bench.wire.sent().is_empty(), "the other process has an access token, which is used");
    // A manager that has a token does not look at the journal.
    tokio::time::sleep(SECOND * 20).await;
    let looks = shaky.stamps.load(Ordering::SeqCst);
    tokio::time::sleep(SECOND * 100).await;
    assert_eq!(shaky.stamps.load(Ordering::SeqCst), looks);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_journal_is_looked_at_and_not_read_while_a_login_is_needed() {
    let shaky = Shaky::new();
    let bench = Bench::on(Arc::clone(&shaky) as Arc<_>);
    let manager = bench.manager(None);
    tokio::time::sleep(SECOND * 16).await;
    let (stamps, peeks) = (shaky.stamps.load(Ordering::SeqCst), shaky.peeks.load(Ordering::SeqCst));
    tokio::time::sleep(SECOND * 150).await;
    assert_eq!(shaky.stamps.load(Ordering::SeqCst) - stamps, 10, "one look each 15 seconds");
    assert_eq!(shaky.peeks.load(Ordering::SeqCst), peeks);
    // If the journal could not be read, the manager reads it at the next look, although its metadata are unchanged.
    shaky.written.fetch_add(1, Ordering::SeqCst);
    shaky.unreadable.store(true, Ordering::SeqCst);
    tokio::time::sleep(SECOND * 30).await;
    shaky.unreadable.store(false, Ordering::SeqCst);
    bench.edit(|state| state.take_over(RefreshToken::from_raw("token-b-of-this-test"), 1));
    tokio::time::sleep(SECOND * 16).await;
    assert_eq!(raw(manager.refresh_token()), "token-b-of-this-test");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_replaced_by_the_login_of_another_process() {
    let shaky = Shaky::new();
    let bench = Bench::on(Arc::clone(&shaky) as Arc<_>);
    let manager = bench.manager(Some("token-a-of-this-test"));
    bench.wire.then(failure(ErrorCode::RefreshTokenRejected, false));
    assert_eq!(code(manager.auth().await), ErrorCode::RefreshTokenRejected);
    assert_eq!(manager.status().phase, Phase::NeedsLogin);
    shaky.written.fetch_add(1, Ordering::SeqCst);
    let waiting = tokio::time::timeout(SECOND * 60, manager.wait_for_login()).await;
    assert!(waiting.is_err(), "its journal is its own");
    bench.edit(|state| state.take_over(RefreshToken::from_raw("token-b-of-this-test"), 1));
    shaky.written.fetch_add(1, Ordering::SeqCst);
    tokio::time::timeout(SECOND * 20, manager.wait_for_login()).await.unwrap().unwrap();
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-2");
    assert_eq!(bench.wire.sent(), ["token-a-of-this-test", "token-b-of-this-test"]);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_login_ends_with_a_token_or_with_the_manager() {
    let bench = Bench::new();
    let manager = bench.manager(None);
    let wait = || {
        let manager = manager.clone();
        tokio::spawn(async move { manager.wait_for_login().await })
    };
    let waiting = wait();
    tokio::time::sleep(SECOND).await;
    manager.set_refresh_token("token-a-of-this-test").await.unwrap();
    waiting.await.unwrap().unwrap();
    manager.wait_for_login().await.unwrap();
    manager.forget().await.unwrap();
    let waiting = wait();
    tokio::time::sleep(SECOND).await;
    manager.close().await;
    assert_eq!(code(waiting.await.unwrap()), ErrorCode::Closed);
    assert_eq!(code(manager.wait_for_login().await), ErrorCode::Closed);
}
