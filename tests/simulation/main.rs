//! A simulation of several hosts with one account. Each host runs the real manager, on a simulated clock, and a seed determines everything that
//! happens. The rules are those of `docs/shared-store.md`.
//!
//! `RING_AUTH_SIMULATION` is the number of executions of each kind, and `RING_AUTH_SIMULATION_ROW` the number of the only row that is run.
//! `RING_AUTH_SIMULATION_MINUTES` continues with other seeds, that many executions at a time, until the time is over. `RING_AUTH_SEED` runs
//! one execution again and prints what happened in it: `RING_AUTH_SEED=row:kind:seed cargo test --test simulation -- --nocapture`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a suite that cannot set itself up fails where it should")]

mod host;
mod models;
mod rules;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant, SystemTime};

use host::{Disk, Process};
use models::Writes;
use ring_auth::ErrorCode;
use ring_auth::manager::Manager;
use rules::Moment;
use tokio::runtime::Builder;
use tokio::time::sleep;
use world::{Accident, Chance, Death, Hits, Kind, Plan, Shared, Step, World, lock};

const HOSTS: usize = 3;
const EXECUTIONS: u64 = 40;
/// Three lifetimes.
const TROUBLE: Duration = Duration::from_secs(360);
/// The time for healing: longer than any cool-down.
const HEALING: Duration = Duration::from_secs(1_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Ours,
    Model(Writes),
}

#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    protocol: Protocol,
    plan: fn(&mut Chance) -> Plan,
}

fn a_step(chance: &mut Chance) -> u64 {
    1 + chance.below(30)
}

fn nothing(_chance: &mut Chance) -> Plan {
    Plan::default()
}

fn a_lease_is_lost(chance: &mut Chance) -> Plan {
    let accident = Accident::Stop(chance.between(26_000, 90_000));
    Plan { accidents: BTreeMap::from([(1 + chance.below(12), accident)]), hits: Hits::BeforeSending, ..Plan::default() }
}

fn a_stop(chance: &mut Chance) -> Plan {
    let accident = Accident::Stop(chance.between(1_000, 90_000));
    Plan { accidents: BTreeMap::from([(a_step(chance), accident)]), ..Plan::default() }
}

/// A crash at one of so many steps, each as likely as the others. The steps of hosts that only read count as well.
fn a_crash_within(chance: &mut Chance, steps: u64) -> Plan {
    let accident = Accident::Die(chance.between(100, 120_000));
    Plan { accidents: BTreeMap::from([(1 + chance.below(steps), accident)]), hits: Hits::All, ..Plan::default() }
}

/// A crash at one of the steps of three lifetimes: in each, the host that refreshes has 12 steps, and the two that adopt have 4 each.
fn a_crash(chance: &mut Chance) -> Plan {
    a_crash_within(chance, 60)
}

/// The same for a model, in which these hosts have 10 steps, and 2 each.
fn a_crash_of_a_model(chance: &mut Chance) -> Plan {
    a_crash_within(chance, 42)
}

fn engine_trouble(chance: &mut Chance) -> Plan {
    let from = chance.between(0, 300_000);
    let outage = chance.one_in(2).then(|| (from, from + chance.between(1_000, 150_000)));
    Plan { engine_trouble: 3 + chance.below(20), outage, skews: chance.one_in(2), ..Plan::default() }
}

fn forgetting(chance: &mut Chance) -> Plan {
    Plan { forgets: vec![2 + chance.below(20), 2 + chance.below(20)], skews: chance.one_in(2), ..Plan::default() }
}

fn everything(chance: &mut Chance) -> Plan {
    let mut plan = engine_trouble(chance);
    for _ in 0..=chance.below(4) {
        let accident = match chance.below(2) {
            0 => Accident::Stop(chance.between(100, 90_000)),
            _ => Accident::Die(chance.between(100, 120_000)),
        };
        plan.accidents.insert(a_step(chance), accident);
    }
    plan.lost_answers = if chance.one_in(2) { 5 } else { 0 };
    plan
}

fn everything_and_forgetting(chance: &mut Chance) -> Plan {
    Plan { forgets: vec![2 + chance.below(20), 2 + chance.below(20)], asks: true, ..everything(chance) }
}

/// Access tokens expire while hosts are stopped, and answers are so slow that one host wakes, starts again or reaches the engine again
/// during the request of another.
fn late_answers(chance: &mut Chance) -> Plan {
    let mut accidents = BTreeMap::new();
    for _ in 0..=chance.below(3) {
        let long = chance.between(15_000, 60_000);
        let accident = match chance.below(4) {
            0 => Accident::Die(long),
            1 => Accident::Cut(long),
            _ => Accident::Stop(long),
        };
        accidents.insert(1 + chance.below(12), accident);
    }
    Plan {
        accidents,
        hits: Hits::WithARequest,
        slow_answers: 2,
        lifetime: Some(chance.between(20_000, 60_000)),
        shares_disk: chance.one_in(3),
        asks: chance.one_in(2),
        ..Plan::default()
    }
}

/// The row for which the output says where the process died.
const A_CRASH: usize = 6;

const ROWS: [Row; 15] = [
    Row { name: "nothing happens", protocol: Protocol::Ours, plan: nothing },
    Row {
        name: "a lease is lost: lock, blind write",
        protocol: Protocol::Model(Writes::Blindly),
        plan: a_lease_is_lost,
    },
    Row {
        name: "a lease is lost: lock, fenced write",
        protocol: Protocol::Model(Writes::Fenced),
        plan: a_lease_is_lost,
    },
    Row { name: "a lease is lost: this protocol", protocol: Protocol::Ours, plan: a_lease_is_lost },
    Row { name: "a crash: lock, blind write", protocol: Protocol::Model(Writes::Blindly), plan: a_crash_of_a_model },
    Row { name: "a crash: lock, fenced write", protocol: Protocol::Model(Writes::Fenced), plan: a_crash_of_a_model },
    Row { name: "a crash: this protocol", protocol: Protocol::Ours, plan: a_crash },
    Row { name: "a stop anywhere: lock, blind write", protocol: Protocol::Model(Writes::Blindly), plan: a_stop },
    Row { name: "a stop anywhere: lock, fenced write", protocol: Protocol::Model(Writes::Fenced), plan: a_stop },
    Row { name: "a stop anywhere: this protocol", protocol: Protocol::Ours, plan: a_stop },
    Row { name: "engine trouble: this protocol", protocol: Protocol::Ours, plan: engine_trouble },
    Row { name: "forgetting: this protocol", protocol: Protocol::Ours, plan: forgetting },
    Row { name: "everything: this protocol", protocol: Protocol::Ours, plan: everything },
    Row { name: "and forgetting, and more calls", protocol: Protocol::Ours, plan: everything_and_forgetting },
    Row { name: "late answers: this protocol", protocol: Protocol::Ours, plan: late_answers },
];

/// The result of an execution.
struct Ended {
    /// No host has a token that Ring takes.
    is_lost: bool,
    violations: Vec<String>,
    death: Option<Death>,
    log: String,
    steps: u64,
}

/// A process that runs the manager or one of the models.
#[derive(Clone)]
enum Running {
    Ours(Manager),
    Model(Arc<Mutex<models::Known>>),
}

impl Running {
    async fn auth(&self, process: &Process, protocol: Protocol) -> bool {
        match (self, protocol) {
            (Self::Ours(manager), _) => {
                let result = manager.auth().await;
                if let Err(error) = &result {
                    let host = process.host;
                    process.world().say(|| format!("host {host} has no access token: {error}"));
                }
                result.is_ok_and(|auth| is_fresh(process, auth.access_token.expose()))
            }
            (Self::Model(known), Protocol::Model(writes)) => models::auth(process, writes, known).await,
            (Self::Model(_), Protocol::Ours) => unreachable!("each process has its own protocol"),
        }
    }
}

/// Makes other calls than those for an access token, if the plan says so.
async fn ask_more(process: &Process, manager: &Manager) {
    let (what, steps) = {
        let mut world = process.world();
        (if world.plan.asks && !world.heals { world.chance.below(24) } else { u64::MAX }, world.steps)
    };
    match what {
        0 => drop(manager.refresh(false).await),
        1 => drop(manager.set_push_credentials(Some(steps.into())).await),
        2 => drop(manager.refresh(true).await),
        _ => {}
    }
}

/// Makes a call each time the host wakes, if the plan says so.
async fn ask_at_waking(process: Process, running: Running) {
    let stops = Arc::clone(&process.world().stops);
    let Running::Ours(manager) = running else { return };
    if !process.world().plan.asks {
        return;
    }
    loop {
        stops.notified().await;
        process.runs().await;
        let forces = process.world().chance.one_in(2);
        drop(if forces { manager.refresh(true).await } else { manager.auth().await });
    }
}

/// Whether an access token still works; nothing is handed out long after its end.
fn is_fresh(process: &Process, access: &str) -> bool {
    let number: usize = access.strip_prefix("access-").unwrap().parse().unwrap();
    let mut world = process.world();
    let age = world.now().saturating_sub(world.ring.access[number]);
    let (host, now) = (process.host, world.now());
    // A host whose clock is behind, and that never had an answer of Ring, counts the age of another host's from its first look.
    let since = *world.handed_out.entry((host, process.number, number)).or_insert(now);
    let is_late = world.hosts[host].skew < 0 && !world.hosts[host].knows_the_time;
    let age_here = if is_late { now.saturating_sub(since) } else { age };
    if age_here > world.ring.lifetime + host::TIMEOUT && !world.was_stopped(host, host::TIMEOUT) {
        world.violated(format!("host {host} hands out an access token that ended long ago"));
    }
    age < world.ring.lifetime
}

/// Runs the processes of a host, one after the other.
async fn live(world: Shared, host: usize, protocol: Protocol, disk: Disk, fine: Arc<Mutex<Vec<bool>>>) {
    let (auto_refresh, is_local) = {
        let mut world = lock(&world);
        (world.chance.one_in(2), world.chance.one_in(2))
    };
    let deaths = Arc::clone(&lock(&world).deaths);
    let mut dead = Vec::new();
    loop {
        let number = lock(&world).hosts[host].process;
        let process = Process { world: Arc::clone(&world), host, number };
        let running = match protocol {
            // Each of them is given the same token.
            Protocol::Ours => Running::Ours(host::start(&process, &disk, Some(&host::raw(0)), auto_refresh, is_local)),
            Protocol::Model(_) => Running::Model(Arc::default()),
        };
        let (caller, manager, told) = (process.clone(), running.clone(), Arc::clone(&fine));
        let calls = tokio::spawn(async move {
            loop {
                let pause = caller.world().chance.between(500, 15_000);
                sleep(pause).await;
                caller.runs().await;
                if let Running::Ours(manager) = &manager {
                    ask_more(&caller, manager).await;
                }
                let has = manager.auth(&caller, protocol).await;
                caller.runs().await;
                told.lock().unwrap()[host] = has;
            }
        });
        let wakes = tokio::spawn(ask_at_waking(process.clone(), running.clone()));
        // Until it dies.
        let again = loop {
            let died = Arc::clone(&deaths);
            let died = died.notified();
            tokio::pin!(died);
            died.as_mut().enable();
            if let Some(at) = lock(&world).hosts[host].starts_at {
                break at;
            }
            died.await;
        };
        fine.lock().unwrap()[host] = false;
        loop {
            let now = lock(&world).now();
            let at = lock(&world).hosts[host].starts_at.unwrap_or(again);
            if at <= now {
                break;
            }
            sleep(at.saturating_sub(now).min(Duration::from_secs(1))).await;
        }
        let mut world = lock(&world);
        world.say(|| format!("host {host} starts again"));
        world.hosts[host].starts_at = None;
        world.hosts[host].is_up = true;
        drop(world);
        calls.abort();
        wakes.abort();
        // The tasks of the dead process stay, and wait for something that never comes.
        dead.push(running);
    }
}

fn execute(row: &Row, kind: Kind, seed: u64, speaks: bool) -> Ended {
    let mut chance = Chance::new(seed ^ 0x5eed);
    let plan = (row.plan)(&mut chance);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let ended = runtime.block_on(async {
        let world = World::new(seed, kind, plan, HOSTS, speaks);
        let world: Shared = Arc::new(Mutex::new(world));
        if row.protocol != Protocol::Ours {
            let mut world = lock(&world);
            world.commit("0:".to_owned(), None);
        }
        let fine = Arc::new(Mutex::new(vec![false; HOSTS]));
        let disks: Vec<Disk> = lock(&world).hosts.iter().map(|host| host.disk.clone()).collect();
        for (host, disk) in disks.iter().enumerate() {
            tokio::spawn(live(Arc::clone(&world), host, row.protocol, disk.clone(), Arc::clone(&fine)));
        }
        sleep(TROUBLE).await;
        lock(&world).heal();
        let healed_at = lock(&world).now();
        fine.lock().unwrap().fill(false);
        let wait_at_least = Duration::from_secs(150);
        loop {
            sleep(Duration::from_secs(5)).await;
            let since = lock(&world).now().saturating_sub(healed_at);
            let all = fine.lock().unwrap().iter().all(|fine| *fine);
            let is_over = !lock(&world).ring.alive;
            if (all && since > wait_at_least) || since > HEALING || is_over {
                break;
            }
        }
        let fine = fine.lock().unwrap().clone();
        let mut world = lock(&world);
        let is_lost = !world.ring.alive || !fine.iter().any(|fine| *fine);
        let all = fine.iter().all(|fine| *fine);
        if row.protocol == Protocol::Ours && !all && !world.is_excused() {
            world.violations.push(format!("(iv) after healing not every host has a token: {fine:?}"));
        }
        if row.protocol == Protocol::Ours && all {
            let dropped = world.dropped();
            world.violations.extend(dropped);
        }
        if row.protocol == Protocol::Ours && !world.may_repeat && world.requests.all.len() as u64 != world.ring.grants {
            world.violations.push("(vi) more requests than rotations, and nothing happened".to_owned());
        }
        Ended {
            is_lost,
            violations: std::mem::take(&mut world.violations),
            death: world.death,
            log: world.log().to_owned(),
            steps: world.steps,
        }
    });
    drop(runtime);
    ended
}

fn again() -> Option<(usize, Kind, u64)> {
    let text = std::env::var("RING_AUTH_SEED").ok()?;
    let mut parts = text.split(':');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (row, kind, seed) = (number()?, number()?, number()?);
    Some((usize::try_from(row).ok()?, Kind::ALL[usize::try_from(kind).ok()?], seed))
}

/// How many executions there were, and how many of them ended without a live token.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    lost: u64,
    of: u64,
}

impl Share {
    fn count(&mut self, is_lost: bool) {
        self.lost += u64::from(is_lost);
        self.of += 1;
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.of += other.of;
    }

    fn percent(self) -> f64 {
        100.0 * f64::from(u32::try_from(self.lost).unwrap()) / f64::from(u32::try_from(self.of.max(1)).unwrap())
    }
}

/// The results of the executions of one row on one kind of Ring.
#[derive(Debug, Clone, Default)]
struct Cell {
    all: Share,
    /// By where the process died, and whether its host was down for longer than a lease.
    deaths: BTreeMap<(Moment, Step, bool), Share>,
    failures: Vec<String>,
}

impl Cell {
    fn add(&mut self, other: Self) {
        self.all.add(other.all);
        for (moment, share) in other.deaths {
            self.deaths.entry(moment).or_default().add(share);
        }
        self.failures.extend(other.failures);
    }
}

/// Whether a crash alone can leave no live token: the answer was on no disk and Ring takes nothing twice, or another host sent the token
/// before the answer that only a host that was down had, and Ring ended the family for it.
fn is_excused_by(death: Option<Death>, kind: Kind) -> bool {
    let takes_nothing_twice = matches!(kind, Kind::StrictAndKilling | Kind::Strict);
    death.is_some_and(|death| match death.moment {
        Moment::NoRequest => false,
        Moment::OnItsWay | Moment::BeforeTheDisk => takes_nothing_twice,
        Moment::BeforeTheStore => kind == Kind::StrictAndKilling,
    })
}

/// Runs a row on one kind of Ring.
fn run(row: usize, kind: usize, executions: u64, from: u64) -> Cell {
    let mut cell = Cell::default();
    for seed in from..from + executions {
        let mut ended = execute(&ROWS[row], Kind::ALL[kind], seed, false);
        cell.all.count(ended.is_lost);
        if let Some(death) = ended.death {
            let is_long = death.down > ring_auth::shared::lease(host::TIMEOUT);
            cell.deaths.entry((death.moment, death.step, is_long)).or_default().count(ended.is_lost);
        }
        if row == A_CRASH && ended.is_lost && !is_excused_by(ended.death, Kind::ALL[kind]) {
            ended.violations.push(
                "(iv) it is lost, although no answer died with its process or was on the disk of a host that was down"
                    .to_owned(),
            );
        }
        if !ended.violations.is_empty() {
            cell.failures.push(format!(
                "{} on {}: {}\n    RING_AUTH_SEED={row}:{kind}:{seed} cargo test --test simulation -- --nocapture",
                ROWS[row].name,
                Kind::ALL[kind].name(),
                ended.violations.join("; ")
            ));
        }
    }
    cell
}

type Table = [[Cell; Kind::ALL.len()]; ROWS.len()];

/// Runs all rows on all kinds of Ring, on as many threads as there are cores, and adds up the results.
fn run_all(table: &mut Table, executions: u64, from: u64, only: Option<u64>) {
    let (next, columns) = (AtomicUsize::new(0), Kind::ALL.len());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (row, kind) = (at / columns, at % columns);
                    if row >= ROWS.len() {
                        return;
                    }
                    if only.is_some_and(|only| only != row as u64) {
                        continue;
                    }
                    // The simulation checks no rule for the models.
                    let is_ours = ROWS[row].protocol == Protocol::Ours;
                    let cell = run(row, kind, if is_ours { executions } else { executions.div_ceil(4) }, from);
                    done.lock().unwrap().push((row, kind, cell));
                }
            });
        }
    });
    for (row, kind, cell) in done.into_inner().unwrap() {
        table[row][kind].add(cell);
    }
}

fn show(table: &Table) -> String {
    let mut text = format!("{:<44}", "ends without a live token");
    for kind in Kind::ALL {
        write!(text, "{:>13}", kind.name()).unwrap();
    }
    for (row, cells) in ROWS.iter().zip(table) {
        write!(text, "\n{:<44}", row.name).unwrap();
        for cell in cells {
            write!(text, "{:>11.1} %", cell.all.percent()).unwrap();
        }
    }
    write!(
        text,
        "\n\n{} by where the process died, at which step, and for how long its host was down: lost, of so many",
        ROWS[A_CRASH].name
    )
    .unwrap();
    let keys: BTreeSet<_> = table[A_CRASH].iter().flat_map(|cell| cell.deaths.keys()).copied().collect();
    for (moment, step, is_long) in keys {
        let length = if is_long { "longer than L" } else { "for L at most" };
        write!(text, "\n{:<30}{:<14}{length:<14}", moment.name(), format!("{step:?}")).unwrap();
        for cell in &table[A_CRASH] {
            let share = cell.deaths.get(&(moment, step, is_long)).copied().unwrap_or_default();
            write!(text, "{:>13}", format!("{} / {}", share.lost, share.of)).unwrap();
        }
    }
    text
}

/// Runs that many executions of each row and kind, and repeats this with other seeds until the time is over.
fn main_of(executions: u64, from: u64, time: Duration, only: Option<u64>) {
    let began = Instant::now();
    let mut table = Table::default();
    let mut rounds = 0;
    loop {
        run_all(&mut table, executions, from + rounds * executions, only);
        rounds += 1;
        let failures: Vec<_> = table.iter().flatten().flat_map(|cell| &cell.failures).collect();
        if !failures.is_empty() || began.elapsed() >= time {
            println!("{}\n{} executions a cell, seeds from {from}", show(&table), rounds * executions);
            let shown: Vec<_> = failures.iter().take(12).map(|failure| failure.as_str()).collect();
            assert!(failures.is_empty(), "{} executions break a rule:\n{}", failures.len(), shown.join("\n"));
            return;
        }
    }
}

/// A first seed that no earlier run had: there are fewer executions than milliseconds.
fn fresh() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[test]
fn no_rule_is_broken_in_any_execution() {
    if let Some((row, kind, seed)) = again() {
        let ended = execute(&ROWS[row], kind, seed, true);
        println!("{}\n{} steps; lost: {}; {:?}", ended.log, ended.steps, ended.is_lost, ended.violations);
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let minutes = number("RING_AUTH_SIMULATION_MINUTES");
    let from = number("RING_AUTH_SIMULATION_FROM").unwrap_or_else(|| minutes.map_or(1, |_| fresh()));
    let time = Duration::from_secs(60 * minutes.unwrap_or(0));
    main_of(number("RING_AUTH_SIMULATION").unwrap_or(EXECUTIONS), from, time, number("RING_AUTH_SIMULATION_ROW"));
}

#[test]
fn the_same_seed_is_the_same_execution() {
    for seed in 1..4 {
        let row = &ROWS[12];
        let (first, second) = (execute(row, Kind::Another, seed, true), execute(row, Kind::Another, seed, true));
        assert_eq!(first.log, second.log, "seed {seed}");
        assert!(first.steps > 50, "something happens");
    }
}

/// Runs a scenario on simulated hosts, without accidents from a plan.
fn calmly<F: Future<Output = ()>>(work: impl FnOnce(Vec<(Process, Disk)>) -> F) {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world: Shared = Arc::new(Mutex::new(World::new(1, Kind::StrictAndKilling, Plan::default(), HOSTS, false)));
        let process = |host| Process { world: Arc::clone(&world), host, number: 0 };
        let disk = |host: usize| lock(&world).hosts[host].disk.clone();
        work((0..HOSTS).map(|host| (process(host), disk(host))).collect()).await;
        assert!(lock(&world).violations.is_empty(), "{:?}", lock(&world).violations);
    });
}

fn open((process, disk): &(Process, Disk), first: Option<&str>) -> Manager {
    host::start(process, disk, first, false, false)
}

#[test]
fn a_logout_of_one_host_empties_the_spools_of_all() {
    calmly(|hosts| async move {
        let (one, other) = (open(&hosts[0], Some(&host::raw(0))), open(&hosts[1], None));
        one.auth().await.unwrap();
        other.auth().await.unwrap();
        assert!(hosts[1].1.state().unwrap().current().is_some());
        one.forget().await.unwrap();
        assert_eq!(one.auth().await.unwrap_err().code(), ErrorCode::NoRefreshToken);
        // An access token at hand lives on to its end.
        other.auth().await.unwrap();
        assert_eq!(other.refresh(false).await.unwrap_err().code(), ErrorCode::NoRefreshToken);
        assert!(hosts[1].1.state().unwrap().current().is_none(), "the spool is empty");
        // A host that was away has an older spool, which revives nothing.
        let away = open(&hosts[2], None);
        assert_eq!(away.auth().await.unwrap_err().code(), ErrorCode::NoRefreshToken);
        let newest = hosts[0].0.world().ring.current;
        away.set_refresh_token(&host::raw(newest)).await.unwrap();
        one.auth().await.unwrap();
        other.auth().await.unwrap();
    });
}

#[test]
fn the_mark_of_a_dead_process_of_this_host_is_not_waited_for() {
    for (is_local, waits) in [(true, false), (false, true)] {
        calmly(|hosts| async move {
            let (process, disk) = &hosts[0];
            let first = host::start(process, disk, Some(&host::raw(0)), false, is_local);
            process.world().plan.accidents.insert(4, Accident::Die(Duration::ZERO));
            drop(tokio::spawn(async move { first.auth().await }));
            sleep(Duration::from_secs(1)).await;
            let number = {
                let mut world = process.world();
                assert!(!world.hosts[0].is_up, "it died with its mark in the store");
                world.hosts[0].is_up = true;
                world.hosts[0].process
            };
            let next = Process { number, ..process.clone() };
            let began = next.world().now();
            host::start(&next, disk, None, false, is_local).auth().await.unwrap();
            let took = next.world().now().saturating_sub(began);
            assert_eq!(took > Duration::from_secs(20), waits, "{took:?}");
        });
    }
}

#[test]
fn a_host_that_starts_again_brings_its_answer_before_others_take_over() {
    calmly(|hosts| async move {
        let (process, disk) = &hosts[0];
        let first = host::start(process, disk, Some(&host::raw(0)), false, false);
        let other = open(&hosts[1], None);
        // At the write of the record after that of its answer to the disk.
        process.world().plan.accidents.insert(8, Accident::Die(Duration::ZERO));
        drop(tokio::spawn(async move { first.auth().await }));
        sleep(Duration::from_secs(1)).await;
        let number = {
            let mut world = process.world();
            assert_eq!(world.death.map(|death| death.moment), Some(Moment::BeforeTheStore));
            world.hosts[0].is_up = true;
            world.hosts[0].process
        };
        let again = host::start(&Process { number, ..process.clone() }, disk, None, false, false);
        let (served, adopted) = tokio::join!(again.auth(), other.auth());
        assert_eq!(served.unwrap().access_token.expose(), adopted.unwrap().access_token.expose());
        assert_eq!(tokens_sent(&hosts), [0], "the spool served the one, and the record the other");
    });
}

#[test]
fn the_mark_of_another_host_is_waited_for_after_it_came_into_the_own_spool() {
    calmly(|hosts| async move {
        let process = &hosts[0].0;
        let one = host::start(process, &hosts[0].1, Some(&host::raw(0)), false, true);
        one.auth().await.unwrap();
        let other = open(&hosts[1], None);
        other.auth().await.unwrap();
        // Its request lasts until its time-out.
        process.world().plan.lost_answers = 1;
        drop(tokio::spawn(async move { other.refresh(false).await }));
        sleep(Duration::from_secs(10)).await;
        process.world().plan.lost_answers = 0;
        one.set_push_credentials(Some("pnc".into())).await.unwrap();
        assert!(hosts[0].1.state().unwrap().mark.is_some(), "it is in the spool");
        drop(tokio::spawn(async move { one.refresh(false).await }));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(process.world().requests.all.len(), 2, "nothing was sent beside the request of the other host");
    });
}

#[test]
fn a_host_learns_rings_time_from_a_failing_answer() {
    calmly(|hosts| async move {
        let (process, disk) = &hosts[0];
        process.world().hosts[0].skew = -3_600_000;
        process.world().ring.alive = false;
        let error = open(&hosts[0], Some(&host::raw(0))).auth().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::RefreshTokenRejected);
        let offset = disk.state().unwrap().clock_offset;
        assert!((3_598_000..=3_602_000).contains(&offset), "{offset}");
    });
}

/// Two hosts with access tokens. The first one refreshes, without an answer if `loses`, and the engine forgets its mark.
async fn with_a_forgotten_mark(hosts: &[(Process, Disk)], loses: bool, waits: bool) -> (Manager, Manager) {
    let world = || hosts[0].0.world();
    let (one, other) = (open(&hosts[0], Some(&host::raw(0))), open(&hosts[1], None));
    one.auth().await.unwrap();
    other.auth().await.unwrap();
    world().plan.lost_answers = u64::from(loses);
    let before = world().snapshot();
    let refreshes = one.clone();
    drop(tokio::spawn(async move { refreshes.refresh(false).await }));
    // Its request is under way, and Ring has it if its answer is not lost.
    while world().requests.all.get(1).is_none_or(|request| !loses && request.child.is_none()) {
        sleep(Duration::from_millis(1)).await;
    }
    if waits {
        let waits = other.clone();
        drop(tokio::spawn(async move { waits.refresh(false).await }));
        sleep(Duration::from_secs(5)).await;
    }
    world().restore(before);
    world().plan.lost_answers = 0;
    (one, other)
}

fn tokens_sent(hosts: &[(Process, Disk)]) -> Vec<usize> {
    hosts[0].0.world().requests.all.iter().map(|request| request.token).collect()
}

#[test]
fn a_mark_that_was_seen_is_waited_for_after_the_engine_forgot_it() {
    calmly(|hosts| async move {
        let (_one, _other) = with_a_forgotten_mark(&hosts, true, true).await;
        sleep(Duration::from_secs(14)).await;
        assert_eq!(hosts[0].0.world().requests.all.len(), 2, "nothing was sent beside the request of the other host");
    });
}

#[test]
fn a_host_puts_the_newest_token_back_whatever_the_engine_forgot() {
    for forgets_all in [true, false] {
        calmly(|hosts| async move {
            let world = || hosts[0].0.world();
            let one = open(&hosts[0], Some(&host::raw(0)));
            let empty = world().snapshot();
            one.auth().await.unwrap();
            let early = world().snapshot();
            for _ in 0..3 {
                one.refresh(false).await.unwrap();
            }
            world().restore(if forgets_all { empty } else { early });
            one.refresh(false).await.unwrap();
            assert_eq!(tokens_sent(&hosts), [0, 1, 2, 3, 4], "nothing older is sent");
        });
    }
}

#[test]
fn a_request_without_an_answer_leaves_its_doubt_although_the_engine_forgot_its_mark() {
    calmly(|hosts| async move {
        let (one, other) = with_a_forgotten_mark(&hosts, true, false).await;
        // Another host changes the record, so that the next try is decided anew.
        other.set_push_credentials(Some("pnc".into())).await.unwrap();
        sleep(Duration::from_secs(120)).await;
        let sent = tokens_sent(&hosts);
        assert_eq!(sent, [0, 1, 1], "the token before is two behind");
        assert_eq!(one.status().phase, ring_auth::manager::Phase::NeedsLogin);
    });
}

#[test]
fn the_token_before_a_rejected_one_rests_until_the_answer_of_a_forgotten_request_is_there() {
    calmly(|hosts| async move {
        let (_one, other) = with_a_forgotten_mark(&hosts, false, false).await;
        {
            let mut world = hosts[0].0.world();
            // Ring does not end the family, so that the answer is worth something.
            world.ring.kind = Kind::Strict;
            world.hosts[0].stopped_until = world.now() + Duration::from_secs(15);
        }
        other.refresh(false).await.unwrap();
        let sent = tokens_sent(&hosts);
        assert_eq!(sent, [0, 1, 1], "the first host's answer came meanwhile, and t0 was never sent again");
    });
}
