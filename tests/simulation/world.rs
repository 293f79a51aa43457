//! The world around the hosts: time, chance, accidents, Ring and the engine. One seed determines everything that happens.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::host::Disk;
use crate::rules::{Moment, Requests};

/// What Ring does with a token before the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ring refuses it, and ends the family.
    StrictAndKilling,
    /// Ring refuses it.
    Strict,
    /// Ring answers the one before the current token with the current token again.
    Same,
    /// Ring answers the one before the current token with another token, which replaces the current one.
    Another,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::StrictAndKilling, Self::Strict, Self::Same, Self::Another];

    pub fn name(self) -> &'static str {
        match self {
            Self::StrictAndKilling => "strict+kill",
            Self::Strict => "strict",
            Self::Same => "same",
            Self::Another => "another",
        }
    }
}

/// A source of chance that gives the same numbers for the same seed.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

/// A moment at which an accident can hit a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    BeforeLoad,
    AfterLoad,
    BeforeCommit,
    AfterCommit,
    BeforeSpool,
    AfterSpool,
    /// The request is on its way, and Ring has not received it.
    Sent,
    /// Ring has answered, and the answer is not on the host's disk.
    Answered,
}

/// An accident of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accident {
    /// The host stops for that long, while the clocks continue.
    Stop(Duration),
    /// The process dies, and starts again after that time.
    Die(Duration),
    /// The host cannot reach the engine for that long.
    Cut(Duration),
}

/// The steps at which an accident can hit a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hits {
    /// All but those that read the record.
    #[default]
    Writes,
    /// All, also those of hosts that only read.
    All,
    /// Those of a host that has the lock or the mark, and has not sent.
    BeforeSending,
    /// Those of a host with a request whose answer is not in the record.
    WithARequest,
}

/// What can go wrong in one execution.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The accidents of hosts, each at the step with that number. Only some kinds of steps count.
    pub accidents: BTreeMap<u64, Accident>,
    /// The steps that count.
    pub hits: Hits,
    /// One answer of Ring in so many is lost; none for 0.
    pub lost_answers: u64,
    /// One answer of Ring in so many takes long, perhaps longer than its time-out; none for 0.
    pub slow_answers: u64,
    /// How long an access token lives; 120 seconds if it is not given.
    pub lifetime: Option<Duration>,
    /// Whether the last two hosts are processes of one host, with one spool.
    pub shares_disk: bool,
    /// One call of the engine in so many fails or takes long, before or after it was done; none for 0.
    pub engine_trouble: u64,
    /// The numbers of the writes that the engine forgets at a failover.
    pub forgets: Vec<u64>,
    /// The times between which the engine does not answer.
    pub outage: Option<(Duration, Duration)>,
    /// Whether hosts make more calls than those for an access token, also when they wake.
    pub asks: bool,
    /// Whether the clocks of hosts are up to an hour apart.
    pub skews: bool,
}

/// Where the first process died, and how long its host was down.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    pub moment: Moment,
    pub step: Step,
    pub down: Duration,
}

/// The state of a token family at Ring.
pub struct Ring {
    pub kind: Kind,
    /// For each token: the token that it came from, and the number of its ancestors.
    pub parents: Vec<(Option<usize>, u64)>,
    pub current: usize,
    pub alive: bool,
    pub grants: u64,
    pub rejections: u64,
    /// The time at which each access token was made.
    pub access: Vec<Duration>,
    pub lifetime: Duration,
}

pub enum Given {
    Pair { refresh: usize, access: usize },
    Refused,
}

impl Ring {
    fn grant(&mut self, now: Duration, refresh: usize) -> Given {
        self.grants += 1;
        self.access.push(now);
        Given::Pair { refresh, access: self.access.len() - 1 }
    }

    fn refuse(&mut self) -> Given {
        self.rejections += 1;
        Given::Refused
    }

    fn child(&mut self, of: usize) -> usize {
        self.parents.push((Some(of), self.parents[of].1 + 1));
        self.current = self.parents.len() - 1;
        self.current
    }
}

/// A value of the engine and its version, and the number of the write that it came with.
pub type Snapshot = (Option<(String, String)>, u64);

/// The engine behind the shared store.
#[derive(Default)]
pub struct Engine {
    pub value: Option<(String, String)>,
    /// The number of the write that is kept.
    pub number: u64,
    /// What comes back after a failover, and the number of that write.
    before: Option<Snapshot>,
    pub writes: u64,
    versions: Vec<String>,
    /// The lock of the models: its holder, and when it ends.
    pub lock: Option<(u128, Duration)>,
}

/// The facts about one host, whether its process knows them or not.
pub struct HostState {
    /// The number of its process. A process with another number is dead.
    pub process: u64,
    pub is_up: bool,
    pub stopped_until: Duration,
    /// Until then it cannot reach the engine.
    pub cut_until: Duration,
    /// The number of its machine: the place of its spool.
    pub machine: usize,
    pub starts_at: Option<Duration>,
    pub skew: i64,
    /// Whether its process knows Ring's time by an answer.
    pub knows_the_time: bool,
    /// The disk, which outlives the processes.
    pub disk: Disk,
}

pub struct World {
    pub start: Instant,
    pub chance: Chance,
    pub plan: Plan,
    pub ring: Ring,
    pub engine: Engine,
    pub hosts: Vec<HostState>,
    pub steps: u64,
    hittable: u64,
    pub heals: bool,
    /// Whether something happened after which a token before the current one may be sent.
    pub may_repeat: bool,
    pub requests: Requests,
    /// When each process first handed out an access token: host, process, token.
    pub handed_out: BTreeMap<(usize, u64, usize), Duration>,
    pub violations: Vec<String>,
    pub death: Option<Death>,
    /// Notified when a process dies.
    pub deaths: Arc<Notify>,
    /// Notified when a host stops.
    pub stops: Arc<Notify>,
    log: Option<String>,
}

pub type Shared = Arc<Mutex<World>>;

pub fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl World {
    pub fn new(seed: u64, kind: Kind, plan: Plan, hosts: usize, speaks: bool) -> Self {
        let mut chance = Chance::new(seed);
        let skews = plan.skews;
        let requests = Requests::new(hosts);
        let mut hosts: Vec<HostState> = (0..hosts)
            .map(|machine| {
                let skew = i64::try_from(chance.below(7_200_000)).unwrap() - 3_600_000;
                let skew = if skews { skew } else { 0 };
                HostState {
                    process: 0,
                    is_up: true,
                    stopped_until: Duration::ZERO,
                    cut_until: Duration::ZERO,
                    machine,
                    starts_at: None,
                    skew,
                    knows_the_time: false,
                    disk: Disk::default(),
                }
            })
            .collect();
        if let ([.., one, other], true) = (&mut *hosts, plan.shares_disk) {
            (other.machine, other.skew, other.disk) = (one.machine, one.skew, one.disk.clone());
        }
        let ring = Ring {
            kind,
            parents: vec![(None, 0)],
            current: 0,
            alive: true,
            grants: 0,
            rejections: 0,
            access: Vec::new(),
            lifetime: plan.lifetime.unwrap_or(Duration::from_secs(120)),
        };
        Self {
            start: Instant::now(),
            chance,
            plan,
            ring,
            engine: Engine::default(),
            hosts,
            steps: 0,
            hittable: 0,
            heals: false,
            may_repeat: false,
            requests,
            handed_out: BTreeMap::new(),
            violations: Vec::new(),
            death: None,
            deaths: Arc::default(),
            stops: Arc::default(),
            log: speaks.then(String::new),
        }
    }

    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn say(&mut self, text: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(log) = &mut self.log {
            writeln!(log, "{:>9.3} {}", now.as_secs_f64(), text()).unwrap();
        }
    }

    pub fn log(&self) -> &str {
        self.log.as_deref().unwrap_or_default()
    }

    pub fn violated(&mut self, rule: String) {
        self.say(|| format!("VIOLATED {rule}"));
        self.violations.push(rule);
    }

    /// Notes that a process has reached a step, at which an accident may hit its host.
    pub fn step(&mut self, host: usize, process: u64, step: Step) {
        if self.hosts[host].process != process || !self.hosts[host].is_up {
            return;
        }
        self.steps += 1;
        let at = self.steps;
        self.say(|| format!("step {at}: host {host} {step:?}"));
        if self.heals {
            return;
        }
        let is_about_a_read = matches!(step, Step::BeforeLoad | Step::AfterLoad);
        let has_request = self.requests.has_open(host, process);
        let is_spared = match self.plan.hits {
            Hits::Writes | Hits::All => false,
            Hits::BeforeSending => has_request,
            Hits::WithARequest => !has_request,
        };
        if is_spared || (is_about_a_read && self.plan.hits != Hits::All) {
            return;
        }
        self.hittable += 1;
        let Some(accident) = self.plan.accidents.remove(&self.hittable) else { return };
        let now = self.now();
        self.say(|| format!("host {host}: {accident:?}"));
        self.may_repeat = true;
        match accident {
            Accident::Stop(long) => {
                self.hosts[host].stopped_until = now + long;
                self.requests.has_trouble(host, process);
                self.stops.notify_waiters();
            }
            Accident::Cut(long) => {
                self.hosts[host].cut_until = now + long;
                self.requests.has_trouble(host, process);
            }
            Accident::Die(long) => {
                let moment = self.requests.moment(host, process);
                self.say(|| format!("host {host}: {}", moment.name()));
                self.death.get_or_insert(Death { moment, step, down: long });
                self.requests.dies(host, process);
                let (skew, offset) = (self.hosts[host].skew, self.hosts[host].disk.clock_offset());
                self.hosts[host].knows_the_time = offset.is_some_and(|offset| (offset + skew).abs() < 2_000);
                self.hosts[host].is_up = false;
                self.hosts[host].process += 1;
                self.hosts[host].starts_at = Some(now + long);
                self.deaths.notify_waiters();
            }
        }
    }

    /// The time for which a host is still stopped; `None` if the process is dead.
    pub fn stands_still(&self, host: usize, process: u64) -> Option<Duration> {
        let state = &self.hosts[host];
        (state.process == process && state.is_up).then(|| state.stopped_until.saturating_sub(self.now()))
    }

    /// Nobody waits for the answer to a request any more, or it is lost on its way.
    pub fn loses(&mut self, request: usize) {
        self.may_repeat = true;
        self.requests.loses(request);
    }

    /// Whether a host was stopped within that time.
    pub fn was_stopped(&self, host: usize, within: Duration) -> bool {
        self.hosts[host].stopped_until + within > self.now() && self.hosts[host].stopped_until > Duration::ZERO
    }

    fn runs(&self, host: usize, process: u64) -> bool {
        self.stands_still(host, process) == Some(Duration::ZERO)
    }

    /// Notes that a host sends a token. Returns the number of the request.
    pub fn begin_request(&mut self, host: usize, process: u64, token: usize, checks: bool) -> usize {
        self.say(|| format!("host {host} sends t{token}"));
        if checks {
            let overlaps = self.requests.all.iter().enumerate().any(|(at, other)| {
                !other.is_over && self.runs(other.host, other.process) && !self.requests.has_no_mark_for(at, host)
            });
            if overlaps && !self.requests.has_forgotten_mark_of(host) {
                self.violated(format!("(iii) host {host} sends while another running host does"));
            }
            let disk = self.hosts[host].disk.state();
            if let Some(rule) = self.requests.against(host, token, disk.as_ref()) {
                self.violated(format!("host {host}: {rule}"));
            }
            if token != self.ring.current && !self.may_repeat {
                self.violated(format!("(ii) t{token} is not the current one, and nothing happened"));
            }
        }
        self.requests.begin(host, process, token)
    }

    /// Lets Ring answer a request.
    pub fn present(&mut self, request: usize) -> Given {
        let token = self.requests.all[request].token;
        let now = self.now();
        let is_before = self.ring.parents[self.ring.current].0 == Some(token);
        let current = self.ring.current;
        let given = if !self.ring.alive {
            self.ring.refuse()
        } else if token == current {
            let child = self.ring.child(token);
            self.ring.grant(now, child)
        } else if is_before && self.ring.kind == Kind::Same {
            self.ring.grant(now, current)
        } else if is_before && self.ring.kind == Kind::Another {
            let child = self.ring.child(token);
            self.ring.grant(now, child)
        } else {
            if self.ring.kind == Kind::StrictAndKilling {
                self.ring.alive = false;
            }
            self.ring.refuse()
        };
        match &given {
            Given::Pair { refresh, .. } => self.requests.all[request].child = Some(*refresh),
            Given::Refused => self.requests.all[request].is_refused = true,
        }
        self.say(|| match &given {
            Given::Pair { refresh, .. } => format!("Ring: t{token} brings t{refresh}"),
            Given::Refused => format!("Ring: t{token} is refused, t{current} was current"),
        });
        given
    }

    /// Compares and sets the value of the engine.
    pub fn commit(&mut self, value: String, version: Option<&str>) -> Option<(String, u64)> {
        if self.engine.value.as_ref().map(|(_, kept)| kept.as_str()) != version {
            return None;
        }
        let new = format!("{:016x}", self.chance.next());
        if self.engine.versions.contains(&new) {
            self.violated("(v) a version comes again".to_owned());
        }
        self.engine.versions.push(new.clone());
        self.engine.writes += 1;
        let writes = self.engine.writes;
        let over = std::mem::replace(&mut self.engine.number, writes);
        self.requests.keep(writes, over, &value);
        let former = self.engine.value.replace((value, new.clone()));
        if self.plan.forgets.contains(&writes) && !self.heals {
            self.say(|| format!("the engine will forget write {writes}"));
            self.engine.before = Some((former, over));
            self.may_repeat = true;
        }
        Some((new, writes))
    }

    /// A failover of the engine, which forgets the last write.
    pub fn fail_over(&mut self) {
        // Only the last write can be forgotten.
        if let Some((before, number)) = self.engine.before.take() {
            self.say(|| "the engine forgets its last write".to_owned());
            let forgotten = std::mem::replace(&mut self.engine.number, number);
            self.requests.forget(forgotten);
            self.engine.value = before;
        }
    }

    /// Whether a host cannot reach the engine.
    pub fn is_out(&self, host: usize) -> bool {
        let now = self.now();
        let is_out = self.plan.outage.is_some_and(|(from, until)| from <= now && now < until);
        !self.heals && (is_out || now < self.hosts[host].cut_until)
    }

    pub fn heal(&mut self) {
        self.say(|| "everything heals".to_owned());
        self.heals = true;
        let now = self.now();
        for host in &mut self.hosts {
            host.stopped_until = host.stopped_until.min(now);
            if host.starts_at.is_some() {
                host.starts_at = Some(now);
            }
        }
    }
}

impl World {
    /// The current value of the engine, for [`World::restore`].
    pub fn snapshot(&self) -> Snapshot {
        (self.engine.value.clone(), self.engine.number)
    }

    /// Puts back an earlier value, so that the engine forgets the last write.
    pub fn restore(&mut self, snapshot: Snapshot) {
        self.may_repeat = true;
        self.engine.before = Some(snapshot);
        self.fail_over();
    }

    /// Reports the answers that reached a disk and that the record does not know.
    pub fn dropped(&self) -> Vec<String> {
        let value = self.engine.value.as_ref().map_or("", |(value, _)| value.as_str());
        let rule = |token| format!("(viii) the answer t{token} reached a disk, and the record knows nothing of it");
        self.requests.dropped(value).map(rule).collect()
    }

    /// Whether it cannot be helped that not every host has a token at the end.
    pub fn is_excused(&mut self) -> bool {
        let disks: Vec<_> = self.hosts.iter().map(|host| host.disk.state()).collect();
        let value = self.engine.value.as_ref().map(|(value, _)| value.as_str());
        let current = self.ring.current;
        match self.ring.kind {
            // The request that ended the family was checked when it was sent.
            Kind::StrictAndKilling if !self.ring.alive => true,
            Kind::StrictAndKilling | Kind::Strict => {
                self.requests.is_gone(current, &disks, value).unwrap_or_else(|rule| {
                    self.violated(rule);
                    false
                })
            }
            // The newest answer displaced those that the hosts have, and is gone.
            Kind::Another
                if self.requests.is_gone(current, &disks, value) == Ok(true) && self.requests.has_no_way_back() =>
            {
                true
            }
            Kind::Same | Kind::Another => self.requests.lost_a_rejection(),
        }
    }
}
