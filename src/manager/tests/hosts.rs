//! Managers on one shared store, with a simulated clock. The accidents of the protocol are in `tests/simulation`.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::journal::record;
use crate::journal::state::Lease;
use crate::shared::{Answer, CALL_LIMIT, Kept, SharedStore, lease};

/// The outcome of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commit {
    Works,
    Hangs,
    /// The value is visible, and the call fails: it may not be durable.
    IsNotConfirmed,
}

/// An engine with one value, in memory. A test chooses the outcome of each commit, and the time that a call takes.
struct Engine {
    kept: Mutex<Option<Kept>>,
    next: Mutex<VecDeque<Commit>>,
    after_that: Mutex<Commit>,
    takes: Mutex<Duration>,
    versions: AtomicU64,
    confirmed: AtomicUsize,
    loads: Mutex<Vec<tokio::time::Instant>>,
}

impl Engine {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            next: Mutex::default(),
            after_that: Mutex::new(Commit::Works),
            takes: Mutex::default(),
            versions: AtomicU64::new(0),
            confirmed: AtomicUsize::new(0),
            loads: Mutex::default(),
        })
    }

    fn commits(&self, next: &[Commit], after_that: Commit) {
        *self.next.lock().unwrap() = next.iter().copied().collect();
        *self.after_that.lock().unwrap() = after_that;
    }

    fn takes(&self, takes: Duration) {
        *self.takes.lock().unwrap() = takes;
    }

    async fn work(&self) {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
    }

    fn record(&self) -> State {
        let kept = self.kept.lock().unwrap();
        record::decode(&kept.as_ref().unwrap().value, &ISSUER.into(), "the engine").unwrap()
    }

    /// The token in the record.
    fn raw(&self) -> String {
        self.record().current().map_or_else(String::new, |held| held.token.raw())
    }

    /// Changes the record, as another host would.
    fn edit(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.record();
        change(&mut state);
        state.sequence += 1;
        let value = record::encode(&state, &ISSUER.into()).unwrap();
        let version = self.versions.fetch_add(1, Ordering::SeqCst).to_string();
        *self.kept.lock().unwrap() = Some(Kept { value, version });
    }

    /// Marks the current token, as another host would before it sends it.
    fn mark(&self, holder: u128) {
        self.edit(|state| {
            let fingerprint = state.fingerprint().unwrap();
            let lease = Some(Lease { holder, length: lease(SECOND * 20) });
            state.mark = Some(Mark { fingerprint, started_at: 1, deadline: 2, starts: 0, lease });
            state.cool_down = None;
        });
    }
}

impl SharedStore for Engine {
    fn load(&self) -> Answer<'_, Option<Kept>> {
        Box::pin(async move {
            self.loads.lock().unwrap().push(tokio::time::Instant::now());
            self.work().await;
            Ok(self.kept.lock().unwrap().clone())
        })
    }

    fn commit(&self, value: Secret, version: Option<String>) -> Answer<'_, Option<String>> {
        Box::pin(async move {
            let what = self.next.lock().unwrap().pop_front().unwrap_or(*self.after_that.lock().unwrap());
            if what == Commit::Hangs {
                std::future::pending::<()>().await;
            }
            self.work().await;
            let mut kept = self.kept.lock().unwrap();
            if kept.as_ref().map(|kept| &kept.version) != version.as_ref() {
                return Ok(None);
            }
            let version = self.versions.fetch_add(1, Ordering::SeqCst).to_string();
            *kept = Some(Kept { value, version: version.clone() });
            if what == Commit::IsNotConfirmed {
                return Err(Secret::from("not confirmed"));
            }
            self.confirmed.fetch_add(1, Ordering::SeqCst);
            Ok(Some(version))
        })
    }
}

/// Clock of one host: the jitter and the first random number are the test's.
struct HostClock {
    hand: Arc<HandClock>,
    jitter: f64,
    chance: u16,
    asked: AtomicU64,
}

impl Clock for HostClock {
    fn wall(&self) -> Millis {
        self.hand.wall()
    }

    fn monotonic(&self) -> Duration {
        self.hand.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.hand.sleep(duration)
    }

    fn jitter(&self) -> f64 {
        self.jitter
    }

    fn random(&self) -> u128 {
        u128::from(self.asked.fetch_add(1, Ordering::SeqCst)) << 16 | u128::from(self.chance)
    }
}

/// One host. Each has a spool, a wire and a listener of its own.
struct Host {
    bench: Bench,
    jitter: f64,
    chance: u16,
}

impl Host {
    fn new(chance: u16) -> Self {
        Self::on(Shaky::new(), chance)
    }

    fn without_a_disk(chance: u16) -> Self {
        Self::on(Arc::new(MemoryStore::new(ISSUER)), chance)
    }

    fn on(spool: Arc<dyn Store>, chance: u16) -> Self {
        Self { bench: Bench::on(spool), jitter: 0.0, chance }
    }

    fn open(&self, engine: &Arc<Engine>, token: Option<&str>, auto_refresh: bool) -> Manager {
        let (mut parts, settings) = self.bench.parts(token, auto_refresh);
        let hand = Arc::clone(&self.bench.clock);
        parts.clock = Arc::new(HostClock { hand, jitter: self.jitter, chance: self.chance, asked: AtomicU64::new(0) });
        parts.shared = Some(SharedParts::new(Arc::clone(engine) as Arc<_>, ISSUER.into()));
        Manager::open(parts, settings).unwrap()
    }

    fn sent(&self) -> Vec<String> {
        self.bench.wire.sent()
    }
}

/// Spool at a known place. A test can have another process write it in spite of its lock.
struct Spool {
    inner: MemoryStore,
    theirs: Arc<Mutex<Option<State>>>,
}

impl Spool {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(ISSUER), theirs: Arc::default() })
    }
}

impl Store for Spool {
    fn peek(&self) -> Result<Option<State>> {
        self.inner.peek()
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let locked = self.inner.try_lock()?;
        Ok(locked.map(|inner| Box::new(SpoolGuard { inner, theirs: Arc::clone(&self.theirs) }) as Box<dyn Guard>))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn name(&self) -> String {
        "spool".into()
    }
}

struct SpoolGuard {
    inner: Box<dyn Guard>,
    theirs: Arc<Mutex<Option<State>>>,
}

impl Guard for SpoolGuard {
    fn read(&mut self) -> Result<Found> {
        self.inner.read()
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        match self.theirs.lock().unwrap().take() {
            Some(theirs) => Ok(Begun::Overtaken(Box::new(theirs))),
            None => self.inner.begin(state),
        }
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        self.inner.commit(state)
    }

    fn forget(&mut self) -> Result<Vec<Notice>> {
        self.inner.forget()
    }

    fn place(&self) -> Option<String> {
        Some("here".into())
    }
}

const TOKEN: &str = "token-a-of-this-test";
const OTHER: &str = "another-token-of-this-test";

/// Waits until a condition holds, on the simulated clock.
async fn until(what: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if what() {
            return;
        }
        tokio::time::sleep(SECOND).await;
    }
    panic!("it never was");
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_for_one_call_of_a_store_that_hangs() {
    let (engine, host) = (Engine::new(), Host::new(1));
    let manager = host.open(&engine, Some(TOKEN), false);
    // The mark is written, and nothing after it.
    engine.commits(&[Commit::Works], Commit::Hangs);
    let began = host.bench.clock.monotonic();
    let auth = manager.auth().await.unwrap();
    let waited = host.bench.clock.since(began);
    assert!(waited >= CALL_LIMIT && waited <= CALL_LIMIT + SECOND, "{waited:?}");
    assert_eq!(auth.access_token.expose(), "access-1");
    let status = manager.status();
    assert_eq!((status.phase, status.persisted), (Phase::Ready, false));
    let problem = status.problem.unwrap();
    assert_eq!(problem.code(), ErrorCode::Store);
    assert!(problem.message().contains("only in shaky of this host until the store takes it"), "{problem}");
    assert_eq!(raw(manager.refresh_token()), format!("{TOKEN}+"));
    assert_eq!(host.bench.heard.tokens().len(), 1);
    assert_eq!(engine.raw(), TOKEN, "it has only the mark");
    // The next callers have the access token at once, although the write goes on.
    let asked = host.bench.clock.monotonic();
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-1");
    assert_eq!(host.bench.clock.since(asked), Duration::ZERO);
    engine.commits(&[], Commit::Works);
    until(|| manager.status().persisted).await;
    assert_eq!(engine.raw(), format!("{TOKEN}+"));
    assert_eq!(manager.status().problem, None);
    assert_eq!(host.sent().len(), 1);
    assert_eq!(host.bench.heard.warnings(), 1, "one failure is reported once");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_a_second_write_repairs_is_no_news_to_the_caller() {
    let (engine, host) = (Engine::new(), Host::new(1));
    let manager = host.open(&engine, Some(TOKEN), false);
    engine.commits(&[Commit::Works, Commit::IsNotConfirmed], Commit::Works);
    manager.auth().await.unwrap();
    assert!(manager.status().persisted);
    assert_eq!((host.bench.heard.warnings(), engine.confirmed.load(Ordering::SeqCst)), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_is_asked_for_begins_after_the_write_that_its_callers_did_not_wait_for() {
    let (engine, host) = (Engine::new(), Host::new(1));
    let manager = host.open(&engine, Some(TOKEN), false);
    engine.commits(&[Commit::Works, Commit::Hangs], Commit::Works);
    let asking = tokio::spawn({
        let manager = manager.clone();
        async move { manager.auth().await.unwrap() }
    });
    // The load after the write that hangs takes its time as well.
    tokio::time::sleep(SECOND).await;
    engine.takes(SECOND * 4);
    asking.await.unwrap();
    assert!(!manager.status().persisted);
    let auth = manager.refresh(false).await.unwrap();
    assert_eq!(auth.access_token.expose(), "access-2");
    assert_eq!(host.sent(), [TOKEN.to_owned(), format!("{TOKEN}+")]);
    assert!(manager.status().persisted);
}

#[tokio::test(start_paused = true)]
async fn close_tries_once_more_for_ten_seconds_while_the_store_hangs() {
    let (engine, host) = (Engine::new(), Host::new(1));
    let manager = host.open(&engine, Some(TOKEN), false);
    engine.commits(&[Commit::Works], Commit::Hangs);
    manager.auth().await.unwrap();
    let began = host.bench.clock.monotonic();
    manager.close().await;
    let waited = host.bench.clock.since(began);
    assert!(waited <= CALL_LIMIT + SECOND, "{waited:?}");
    assert_eq!(host.bench.state().current().unwrap().token.raw(), format!("{TOKEN}+"), "the spool has it");
    // The next process brings it to the store, also if it asks for an access token and ends at once.
    engine.commits(&[], Commit::Works);
    let manager = host.open(&engine, None, false);
    assert_eq!(manager.auth().await.unwrap().access_token.expose(), "access-1");
    manager.close().await;
    assert_eq!(engine.raw(), format!("{TOKEN}+"));
    assert_eq!(host.sent().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_waits_ten_seconds_in_all_although_another_task_writes() {
    let (engine, host) = (Engine::new(), Host::new(1));
    engine.commits(&[Commit::Works], Commit::Hangs);
    let manager = host.open(&engine, Some(TOKEN), false);
    manager.auth().await.unwrap();
    manager.close().await;
    // The first look of the next process finds that the store does not have the answer, and writes it.
    let manager = host.open(&engine, None, false);
    manager.auth().await.unwrap();
    tokio::time::sleep(SECOND).await;
    let began = host.bench.clock.monotonic();
    manager.close().await;
    let waited = host.bench.clock.since(began);
    assert!(waited <= CALL_LIMIT + SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn close_waits_ten_seconds_in_all_although_changes_wait_for_their_turn() {
    let (engine, host) = (Engine::new(), Host::new(1));
    let manager = host.open(&engine, Some(TOKEN), false);
    manager.auth().await.unwrap();
    engine.commits(&[], Commit::Hangs);
    let began = host.bench.clock.monotonic();
    let (first, second) = (manager.set_refresh_token(OTHER), manager.set_refresh_token("token-c-of-this-test"));
    manager.close().await;
    let waited = host.bench.clock.since(began);
    assert!(waited <= CALL_LIMIT + SECOND, "{waited:?}");
    // The spool has the first token. The second one is not accepted.
    first.await.unwrap();
    assert_eq!(code(second.await), ErrorCode::Closed);
    engine.commits(&[], Commit::Works);
    let manager = host.open(&engine, None, false);
    manager.auth().await.unwrap();
    assert_eq!(host.sent(), [TOKEN, OTHER]);
}

#[tokio::test(start_paused = true)]
async fn close_without_a_disk_loses_nothing_on_a_store_that_answers_each_call_in_time() {
    let (engine, host) = (Engine::new(), Host::without_a_disk(1));
    let manager = host.open(&engine, Some(TOKEN), false);
    engine.commits(&[Commit::Works, Commit::Hangs, Commit::Hangs], Commit::Works);
    assert_eq!(code(manager.auth().await), ErrorCode::Store, "no disk and no store has the answer");
    // A load and a commit take longer than one call may take.
    engine.takes(SECOND * 9);
    manager.close().await;
    assert_eq!(engine.raw(), format!("{TOKEN}+"));
    assert!(manager.status().persisted);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_as_kept_only_after_the_store_has_confirmed_a_write_of_it() {
    let (engine, host) = (Engine::new(), Host::new(1));
    let manager = host.open(&engine, Some(TOKEN), false);
    engine.commits(&[Commit::Works], Commit::IsNotConfirmed);
    manager.auth().await.unwrap();
    assert_eq!(engine.raw(), format!("{TOKEN}+"), "it is visible");
    assert!(!manager.status().persisted);
    tokio::time::sleep(SECOND * 60).await;
    assert!(!manager.status().persisted, "it is visible, and need not be durable");
    engine.commits(&[], Commit::Works);
    let before = engine.confirmed.load(Ordering::SeqCst);
    until(|| manager.status().persisted).await;
    assert_eq!(engine.confirmed.load(Ordering::SeqCst), before + 1);
    tokio::time::sleep(SECOND * 60).await;
    assert_eq!(engine.confirmed.load(Ordering::SeqCst), before + 1, "once is enough");
}

#[tokio::test(start_paused = true)]
async fn hosts_that_wait_look_after_250_ms_and_then_less_often_and_not_in_step() {
    for (jitter, factor) in [(0.0, 1.0), (1.0, 1.2), (-1.0, 0.8)] {
        let engine = Engine::new();
        let mut sender = Host::new(1);
        Arc::get_mut(&mut sender.bench.wire).unwrap().takes = SECOND * 15;
        let sends = sender.open(&engine, Some(TOKEN), false);
        let sending = tokio::spawn(async move { sends.auth().await.unwrap() });
        tokio::time::sleep(SECOND).await;
        engine.loads.lock().unwrap().clear();
        let waiter = Host { jitter, ..Host::new(2) };
        let waits = waiter.open(&engine, Some(TOKEN), false);
        assert_eq!(waits.auth().await.unwrap().access_token.expose(), "access-1");
        sending.await.unwrap();
        assert_eq!(waiter.sent().len(), 0);
        let looks = engine.loads.lock().unwrap().clone();
        let gaps: Vec<_> = looks.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() / factor).collect();
        // A timer of the runtime counts whole milliseconds.
        let is = |gap: f64, expected: f64| (gap - expected).abs() <= 0.002;
        for (gap, expected) in gaps.iter().zip([0.25, 0.5, 1.0]) {
            assert!(is(*gap, expected), "{gaps:?}");
        }
        assert!(gaps.len() > 6 && gaps[3..].iter().all(|gap| is(*gap, 2.0)), "{gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_wait_for_the_lease_of_a_mark_whose_host_is_gone_and_no_longer() {
    let engine = Engine::new();
    let gone = Host::new(1);
    let manager = gone.open(&engine, Some(TOKEN), false);
    // Its process dies during the request.
    let _ = tokio::time::timeout(Duration::from_millis(20), manager.auth()).await;
    let record = engine.kept.lock().unwrap().clone();
    tokio::time::sleep(SECOND).await;
    *engine.kept.lock().unwrap() = record;
    engine.loads.lock().unwrap().clear();
    let other = Host::new(2);
    let began = other.bench.clock.monotonic();
    other.open(&engine, Some(TOKEN), false).auth().await.unwrap();
    let waited = other.bench.clock.since(began);
    let lease = lease(SECOND * 20);
    assert!(waited >= lease && waited < lease + SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_rotations_after_401s_is_that_of_each_manager() {
    let engine = Engine::new();
    let hosts = [Host::new(1), Host::new(2)];
    let managers = hosts.each_ref().map(|host| host.open(&engine, Some(TOKEN), false));
    managers[0].auth().await.unwrap();
    managers[1].auth().await.unwrap();
    for (host, manager) in hosts.iter().zip(&managers) {
        // An answer of another host that is found instead counts as well.
        let rotations = || host.sent().len() as u64 + manager.stats().adopted;
        let before = rotations();
        for _ in 0..20 {
            let token = manager.auth().await.unwrap().access_token;
            manager.invalidate_access_token(token.expose()).unwrap();
        }
        manager.auth().await.unwrap();
        assert_eq!(rotations() - before, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_refresh_unasked_one_after_the_other_so_that_one_does_it_for_all() {
    for (chances, first) in [([0, 0xffff], 0), ([0xffff, 0x8000], 1)] {
        let engine = Engine::new();
        let hosts = chances.map(Host::new);
        let managers = hosts.each_ref().map(|host| host.open(&engine, Some(TOKEN), true));
        for manager in &managers {
            manager.auth().await.unwrap();
        }
        let begins = HOUR.mul_f64(0.9);
        let fifth = HOUR / 50;
        tokio::time::sleep(begins.saturating_sub(SECOND)).await;
        let before = hosts.each_ref().map(|host| host.sent().len());
        let asked = |host: usize| hosts[host].sent().len() - before[host];
        let adopted = managers[1 - first].stats().adopted;
        // Until just before its point of the first fifth of the margin, no host asks.
        tokio::time::sleep(fifth.mul_f64(f64::from(chances[first]) / f64::from(u16::MAX)).saturating_sub(SECOND)).await;
        assert_eq!((asked(0), asked(1)), (0, 0));
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!((asked(first), asked(1 - first)), (1, 0));
        // The other host finds its answer.
        tokio::time::sleep(fifth).await;
        assert_eq!((asked(first), asked(1 - first)), (1, 0));
        assert_eq!(managers[1 - first].stats().adopted, adopted + 1);
        let newest = managers.each_ref().map(|manager| raw(manager.refresh_token()));
        assert_eq!(newest[0], newest[1]);
    }
}

/// Opens a host that has rotated the token of an engine once.
async fn rotated_once(host: Host) -> (Arc<Engine>, Host, Manager) {
    let engine = Engine::new();
    let manager = host.open(&engine, Some(TOKEN), false);
    manager.auth().await.unwrap();
    (engine, host, manager)
}

/// A rotation that a caller asks for, in a task of its own.
fn asks(manager: &Manager) -> tokio::task::JoinHandle<Result<Auth>> {
    let manager = manager.clone();
    tokio::spawn(async move { manager.refresh(true).await })
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_mark_was_written_too_late_does_not_take_the_other_host_for_dead() {
    let (engine, host, manager) = rotated_once(Host::on(Spool::new(), 1)).await;
    engine.mark(7);
    engine.takes(SECOND * 6);
    assert_eq!(code(manager.refresh(false).await), ErrorCode::Store);
    engine.takes(Duration::ZERO);
    assert_eq!(host.sent().len(), 1);
    // The other host sends the token again.
    engine.mark(7);
    let asking = asks(&manager);
    tokio::time::sleep(SECOND * 24).await;
    assert_eq!(host.sent().len(), 1, "its request may be under way");
    asking.await.unwrap().unwrap();
    assert_eq!(host.sent().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_the_store_forgot_counts_also_if_an_older_one_of_this_host_is_there_again() {
    let (engine, host, manager) = rotated_once(Host::on(Spool::new(), 1)).await;
    host.bench.wire.always(ErrorCode::Network, true);
    assert_eq!(code(manager.refresh(false).await), ErrorCode::Network);
    host.bench.wire.recovers();
    let (before, record) = (host.sent().len(), engine.kept.lock().unwrap().clone());
    // Another host takes the mark over, and this one waits for it.
    engine.mark(7);
    let asking = asks(&manager);
    tokio::time::sleep(SECOND).await;
    *engine.kept.lock().unwrap() = record;
    tokio::time::sleep(SECOND * 20).await;
    assert_eq!(host.sent().len(), before, "the other host's request may be under way");
    asking.await.unwrap().unwrap();
    assert_eq!(host.sent().len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_store_forgets_before_the_mark_of_it_is_put_back() {
    for gone in [false, true] {
        let (engine, host, manager) = rotated_once(Host::on(Spool::new(), 1)).await;
        let record = engine.kept.lock().unwrap().clone().filter(|_| !gone);
        let newest = format!("{TOKEN}-of-another-host");
        engine.edit(|state| state.rotated(Sent::Current, &newest, "h", access_called("expired", 1)));
        engine.takes(SECOND);
        let asking = asks(&manager);
        // The record is read, and the mark is on its way.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        *engine.kept.lock().unwrap() = record;
        asking.await.unwrap().unwrap();
        assert_eq!(host.sent(), [TOKEN.to_owned(), newest]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_marked_token_that_comes_back_as_the_fallback_rests_and_stays_in_doubt() {
    let (engine, host, manager) = rotated_once(Host::on(Spool::new(), 1)).await;
    engine.mark(7);
    manager.set_refresh_token(OTHER).await.unwrap();
    for _ in 0..2 {
        host.bench.wire.then(failure(ErrorCode::RefreshTokenRejected, false));
    }
    let asking = asks(&manager);
    tokio::time::sleep(SECOND * 20).await;
    assert_eq!(host.sent(), [TOKEN, OTHER], "the other host's request may be under way");
    assert_eq!(code(asking.await.unwrap()), ErrorCode::RefreshTokenRejected);
    assert_eq!(host.sent(), [TOKEN.to_owned(), OTHER.to_owned(), format!("{TOKEN}+")], "the one before is two behind");
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_revives_no_account_that_was_logged_out_during_its_request() {
    let (engine, host, manager) = rotated_once(Host::on(Spool::new(), 1)).await;
    let asking = asks(&manager);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = host.bench.clock.wall();
    engine.edit(|state| *state = State { sequence: state.sequence, ..state.clone().after_logout(now) });
    asking.await.unwrap().unwrap();
    tokio::time::sleep(SECOND * 60).await;
    let newest = Fingerprint::of(&format!("{TOKEN}++"));
    for state in [engine.record(), host.bench.state()] {
        assert_eq!((state.family.is_none(), state.logged_out_at), (true, Some(now)));
        assert_eq!(state.recognise(newest), Known::Former, "a mirror that shows it brings nothing back");
    }
    assert_eq!(code(manager.refresh(true).await), ErrorCode::NoRefreshToken);
}

#[tokio::test(start_paused = true)]
async fn a_given_token_is_not_lost_if_another_process_writes_the_spool_in_spite_of_its_lock() {
    let (engine, spool) = (Engine::new(), Spool::new());
    let host = Host::on(Arc::clone(&spool) as Arc<_>, 1);
    host.open(&engine, Some(TOKEN), false).auth().await.unwrap();
    tokio::time::sleep(HOUR * 2).await;
    *spool.theirs.lock().unwrap() = Some(host.bench.state());
    host.open(&engine, Some(OTHER), false).auth().await.unwrap();
    assert_eq!(host.sent(), [TOKEN, OTHER]);
}

#[tokio::test(start_paused = true)]
async fn a_start_sends_nothing_for_a_token_that_only_rests() {
    let (engine, host) = (Engine::new(), Host::on(Spool::new(), 1));
    host.open(&engine, Some(TOKEN), false).auth().await.unwrap();
    engine.mark(Lease::NOBODY);
    host.bench.edit(|state| state.mark = engine.record().mark);
    let manager = host.open(&engine, None, false);
    tokio::time::sleep(SECOND * 60).await;
    manager.auth().await.unwrap();
    assert_eq!(host.sent(), [TOKEN]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_request_counts_although_another_host_sets_push_credentials_meanwhile() {
    let (engine, host, manager) = rotated_once(Host::new(1)).await;
    for is_ambiguous in [false, true] {
        let before = host.sent().len();
        host.bench.wire.always(ErrorCode::ServerError, is_ambiguous);
        let asking = asks(&manager);
        // The last try is the one that counts.
        while host.sent().len() < before + 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        engine.edit(|state| {
            let token = state.current().unwrap().token.with_push_credentials(Some(before.into()));
            state.wrap(token);
        });
        assert_eq!(code(asking.await.unwrap()), ErrorCode::ServerError);
        assert_eq!(host.sent().len(), before + 4);
        let record = engine.record();
        assert!(record.cool_down.is_some(), "no host asks again at once");
        assert_eq!((record.mark.is_some(), record.doubted.is_some()), (is_ambiguous, is_ambiguous));
        host.bench.wire.recovers();
    }
}
