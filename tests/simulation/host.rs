//! The parts of a manager on a simulated host. Each part stops or ends with its process.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring_auth::journal::state::{Millis, State};
use ring_auth::journal::{Begun, Codec, Found, Guard, Notice, Stamp, Store};
use ring_auth::manager::{Clock, Event, Listener, Manager, Parts, Settings, SharedParts};
use ring_auth::oauth::{Endpoints, Grant, Login, LoginFlow, LoginRequest, OauthClient, RingOauth, WireError};
use ring_auth::shared::{Answer, Kept, SharedStore};
use ring_auth::{BoxFuture, Error, ErrorCode, Result, Secret};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::world::{Given, Shared, Step, World, lock};

pub const ISSUER: &str = "https://oauth.ring.com";
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// The longest way of a request to Ring, in milliseconds. Nothing protects from a request that arrives more than 5 seconds after its time-out.
const LONGEST_WAY: u64 = 4_000;
/// A slow answer may come when nobody waits for it any more, except a host that stood still meanwhile.
const SLOW_ANSWER: u64 = 23_000;
const EPOCH: i64 = 1_800_000_000_000;

/// A refresh token as Ring might write it.
pub fn raw(token: usize) -> String {
    format!("a-token-of-ring-{token}")
}

/// One process on one host.
#[derive(Clone)]
pub struct Process {
    pub world: Shared,
    pub host: usize,
    pub number: u64,
}

impl Process {
    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// Reaches a step, at which the host may be hit. Continues when the host does; never, if the process died.
    pub async fn at(&self, step: Step) {
        self.world().step(self.host, self.number, step);
        self.runs().await;
    }

    /// Waits until the host runs.
    pub async fn runs(&self) {
        loop {
            let still = self.world().stands_still(self.host, self.number);
            match still {
                None => return pending().await,
                Some(Duration::ZERO) => return,
                Some(still) => sleep(still).await,
            }
        }
    }

    /// What tells it from other processes.
    fn id(&self) -> (usize, u64) {
        (self.host, self.number)
    }

    pub fn is_alive(&self) -> bool {
        self.world().stands_still(self.host, self.number).is_some()
    }

    /// Sends a token. The request ends after the time-out at the latest; `Err` without an answer.
    pub async fn post(&self, token: usize, checks: bool) -> Result<Given, ()> {
        // The manager has just checked the clock. A stop between that check and this line is not simulated, because nothing can exclude it.
        let began = self.world().now();
        let request = self.world().begin_request(self.host, self.number, token, checks);
        let (there, back, lost) = {
            let mut world = self.world();
            let loses = world.plan.lost_answers;
            let lost = loses > 0 && !world.heals && world.chance.one_in(loses);
            let slow = if world.chance.one_in(10) { LONGEST_WAY } else { 200 };
            let there = world.chance.between(5, slow);
            let slows = world.plan.slow_answers;
            let is_slow = slows > 0 && !world.heals && world.chance.one_in(slows);
            (there, world.chance.between(5, if is_slow { SLOW_ANSWER } else { slow }), lost)
        };
        let (answer, mut answered) = oneshot::channel();
        let server = Arc::clone(&self.world);
        tokio::spawn(async move {
            sleep(there).await;
            let given = lock(&server).present(request);
            sleep(back).await;
            if lost {
                {
                    let mut world = lock(&server);
                    world.say(|| format!("the answer to t{token} is lost"));
                    world.loses(request);
                }
                pending::<()>().await;
            }
            // The receiver may be gone.
            let _ = answer.send(given);
        });
        self.world().step(self.host, self.number, Step::Sent);
        let given = tokio::select! {
            biased;
            given = &mut answered => given.map_err(drop),
            () = sleep(TIMEOUT) => {
                self.runs().await;
                // What arrived while the host stood still is read, although the time is over.
                answered.try_recv().map_err(drop)
            }
        };
        self.world().step(self.host, self.number, Step::Answered);
        self.runs().await;
        let mut world = self.world();
        if given.is_err() {
            world.loses(request);
        }
        world.requests.all[request].is_over = true;
        // A host that was stopped gets the answer late. It then learns only a limit of Ring's time.
        let is_quick = world.now().saturating_sub(began) < TIMEOUT / 2;
        world.hosts[self.host].knows_the_time |= given.is_ok() && is_quick;
        given
    }
}

impl Clock for Process {
    fn wall(&self) -> Millis {
        let world = self.world();
        let now = i64::try_from(world.now().as_millis()).unwrap();
        u64::try_from(EPOCH + now + world.hosts[self.host].skew).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.world().now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let process = self.clone();
        Box::pin(async move {
            sleep(duration).await;
            process.runs().await;
        })
    }

    fn jitter(&self) -> f64 {
        f64::from(u16::try_from(self.world().chance.below(2_001)).unwrap()) / 1_000.0 - 1.0
    }

    fn random(&self) -> u128 {
        let mut world = self.world();
        u128::from(world.chance.next()) << 64 | u128::from(world.chance.next())
    }
}

/// A time of Ring in the header `Date`: in whole seconds.
fn date(at: Duration) -> Duration {
    Duration::from_secs(u64::try_from(EPOCH / 1_000).unwrap() + at.as_secs())
}

/// Ring, as one process reaches it.
struct Wire {
    process: Process,
    rest: Arc<RingOauth>,
}

impl OauthClient for Wire {
    fn refresh<'a>(&'a self, token: &'a Secret, _id: &'a str) -> BoxFuture<'a, Result<Grant, WireError>> {
        let token: usize = token.expose().rsplit('-').next().unwrap().parse().unwrap();
        Box::pin(async move {
            match self.process.post(token, true).await {
                Ok(Given::Pair { refresh, access }) => {
                    let world = self.process.world();
                    let made = world.ring.access[access];
                    Ok(Grant {
                        access_token: Secret::new(format!("access-{access}")),
                        refresh_token: Secret::new(raw(refresh)),
                        token_type: "Bearer".into(),
                        scope: "client".into(),
                        lifetime: world.ring.lifetime,
                        date: Some(date(made)),
                    })
                }
                Ok(Given::Refused) => {
                    let error = Error::new(ErrorCode::RefreshTokenRejected, "invalid_grant").with_http_status(400);
                    Err(WireError { error, ambiguous: false, date: Some(date(self.process.world().now())) })
                }
                Err(()) => {
                    let error = Error::new(ErrorCode::Timeout, "no answer");
                    Err(WireError { error, ambiguous: true, date: None })
                }
            }
        })
    }

    fn login(self: Arc<Self>, request: LoginRequest) -> Login {
        Arc::clone(&self.rest).login(request)
    }

    fn endpoints(&self) -> &Endpoints {
        self.rest.endpoints()
    }

    fn user_agent(&self) -> &str {
        self.rest.user_agent()
    }
}

/// The engine, as a client on one host sees it.
pub struct Client(pub Process);

/// The course of a call of the engine: the time until the engine gets it, the time until the answer arrives, and whether the answer is lost.
struct Way {
    there: Duration,
    back: Duration,
    fails: bool,
}

impl Client {
    fn way(&self) -> Way {
        let mut world = self.0.world();
        let trouble = world.plan.engine_trouble;
        let mut way = Way { there: world.chance.between(1, 20), back: world.chance.between(1, 20), fails: false };
        if world.is_out(self.0.host) {
            way.fails = true;
            way.there = Duration::MAX;
        } else if trouble > 0 && !world.heals && world.chance.one_in(trouble) {
            match world.chance.below(4) {
                0 => way.there = world.chance.between(1_000, 15_000),
                1 => way.back = world.chance.between(1_000, 15_000),
                2 => way.fails = true,
                _ => {
                    way.fails = true;
                    way.there = Duration::MAX;
                }
            }
        }
        if way.fails || way.there + way.back > Duration::from_secs(1) {
            world.requests.has_trouble(self.0.host, self.0.number);
        }
        way
    }

    async fn call<T: Send + 'static>(&self, work: impl FnOnce(&mut World) -> T + Send + 'static) -> Result<T, Secret> {
        let Way { there, back, fails } = self.way();
        let world = Arc::clone(&self.0.world);
        let (answer, answered) = oneshot::channel();
        // The engine does its work even if the caller has stopped waiting.
        tokio::spawn(async move {
            if there == Duration::MAX {
                return;
            }
            sleep(there).await;
            let done = {
                let mut world = lock(&world);
                world.fail_over();
                work(&mut world)
            };
            sleep(back).await;
            if !fails {
                let _ = answer.send(done);
            }
        });
        answered.await.map_err(|_| Secret::from("the connection was closed"))
    }
}

impl SharedStore for Client {
    fn load(&self) -> Answer<'_, Option<Kept>> {
        Box::pin(async move {
            self.0.at(Step::BeforeLoad).await;
            let kept = self.call(|world| (world.engine.value.clone(), world.engine.number)).await;
            self.0.at(Step::AfterLoad).await;
            let (kept, write) = kept?;
            self.0.world().requests.saw(self.0.host, write);
            Ok(kept.map(|(value, version)| Kept { value: Secret::new(value), version }))
        })
    }

    fn commit(&self, value: Secret, version: Option<String>) -> Answer<'_, Option<String>> {
        Box::pin(async move {
            self.0.at(Step::BeforeCommit).await;
            let (value, text) = (value.expose().to_owned(), value.expose().to_owned());
            let done = self.call(move |world| world.commit(value, version.as_deref())).await;
            self.0.at(Step::AfterCommit).await;
            let done = done.inspect_err(|_| self.0.world().requests.marks_in_vain(&text))?;
            let Some((version, write)) = done else { return Ok(None) };
            self.0.world().requests.wrote(self.0.host, write, text);
            Ok(Some(version))
        })
    }

    fn name(&self) -> String {
        "the engine".to_owned()
    }
}

/// The disk of a host: it outlives its processes.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Spooled>>);

#[derive(Default)]
struct Spooled {
    state: Option<State>,
    /// The host and the number of the process that holds the lock.
    locked: Option<(usize, u64)>,
}

impl Disk {
    pub fn state(&self) -> Option<State> {
        self.0.lock().unwrap().state.clone()
    }

    pub fn clock_offset(&self) -> Option<i64> {
        self.0.lock().unwrap().state.as_ref().map(|state| state.clock_offset)
    }
}

pub struct Spool {
    pub disk: Disk,
    pub process: Process,
    /// Whether the locks of this disk are known to be those of this host.
    pub is_local: bool,
}

impl Store for Spool {
    fn peek(&self) -> Result<Option<State>> {
        Ok(self.disk.state())
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let world = self.process.world();
        let mut spooled = self.disk.0.lock().unwrap();
        // The death of a process releases its locks.
        if spooled.locked.is_some_and(|(host, number)| world.stands_still(host, number).is_some()) {
            return Ok(None);
        }
        spooled.locked = Some(self.process.id());
        let place = self.is_local.then(|| format!("machine {}", world.hosts[self.process.host].machine));
        Ok(Some(Box::new(SpoolGuard { disk: self.disk.clone(), process: self.process.clone(), place })))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_in_memory(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn name(&self) -> String {
        "the spool".to_owned()
    }
}

struct SpoolGuard {
    disk: Disk,
    process: Process,
    place: Option<String>,
}

impl SpoolGuard {
    fn write(&self, state: &mut State) {
        self.process.world().step(self.process.host, self.process.number, Step::BeforeSpool);
        if self.process.is_alive() {
            state.sequence += 1;
            self.disk.0.lock().unwrap().state = Some(state.clone());
            self.process.world().requests.spooled(self.process.host, self.process.number);
        }
        self.process.world().step(self.process.host, self.process.number, Step::AfterSpool);
    }
}

impl Guard for SpoolGuard {
    fn read(&mut self) -> Result<Found> {
        let state = self.disk.state().unwrap_or_else(|| State::new(ISSUER));
        Ok(Found { state, notices: Vec::new() })
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        self.write(state);
        Ok(Begun::Ready(Vec::new()))
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        self.write(state);
        Ok(Vec::new())
    }

    fn place(&self) -> Option<String> {
        self.place.clone()
    }

    fn forget(&mut self) -> Result<Vec<Notice>> {
        let mut nothing = State::logged_out(ISSUER, self.process.wall());
        self.write(&mut nothing);
        Ok(Vec::new())
    }
}

impl Drop for SpoolGuard {
    fn drop(&mut self) {
        let mut spooled = self.disk.0.lock().unwrap();
        if spooled.locked == Some(self.process.id()) {
            spooled.locked = None;
        }
    }
}

struct Hears(Process);

impl Listener for Hears {
    fn on_event(&self, event: Event) {
        if let Event::Log(level, text) = event {
            let host = self.0.host;
            self.0.world().say(|| format!("host {host} {level:?}: {text}"));
        }
    }
}

struct NoHttp;

impl ring_auth::http::Http for NoHttp {
    fn send(
        &self,
        _request: ring_auth::http::Request,
    ) -> BoxFuture<'_, Result<ring_auth::http::Answer, ring_auth::http::HttpFailure>> {
        Box::pin(pending())
    }
}

/// Starts the manager of a process.
pub fn start(process: &Process, disk: &Disk, first: Option<&str>, auto_refresh: bool, is_local: bool) -> Manager {
    let endpoints = Endpoints::parse(None, None).unwrap();
    let parts = Parts {
        store: Arc::new(Spool { disk: disk.clone(), process: process.clone(), is_local }),
        mirror: None,
        oauth: Arc::new(Wire {
            process: process.clone(),
            rest: Arc::new(RingOauth::new(Arc::new(NoHttp), endpoints, None).unwrap()),
        }),
        clock: Arc::new(process.clone()),
        listener: Arc::new(Hears(process.clone())),
        shared: Some(SharedParts::new(Arc::new(Client(process.clone())), Codec::from(ISSUER))),
        runtime: Handle::current(),
    };
    let settings = Settings {
        refresh_token: first.map(Secret::from),
        refuses_at_calls: false,
        system_id: Some("simulation".into()),
        device_name: "simulation".into(),
        login_flow: LoginFlow::Auto,
        request_timeout: TIMEOUT,
        auto_refresh,
    };
    Manager::open(parts, settings).unwrap()
}
