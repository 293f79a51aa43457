use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use super::*;
use crate::http::{Headers, HttpFailure};
use crate::journal::MemoryStore;
use crate::journal::state::Millis;
use crate::manager::{Event, Parts, Settings};
use crate::oauth::{Endpoints, Grant, Login, LoginFlow, LoginRequest, OauthClient, RingOauth, WireError};
use crate::task::BoxFuture;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Clock that runs on tokio's paused time. A test can shift its wall clock.
struct HandClock {
    start: tokio::time::Instant,
    shift: AtomicI64,
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

/// OAuth client that rotates, or fails if the test says so.
struct Wire {
    refreshes: AtomicUsize,
    trouble: Mutex<Option<ErrorCode>>,
    /// Whether it gives the same access token each time.
    is_stubborn: AtomicBool,
    oauth: Arc<RingOauth>,
}

impl OauthClient for Wire {
    fn refresh<'a>(&'a self, token: &'a Secret, _id: &'a str) -> BoxFuture<'a, Result<Grant, WireError>> {
        Box::pin(async move {
            tokio::time::sleep(SECOND / 10).await;
            if let Some(code) = *self.trouble.lock().unwrap() {
                return Err(WireError { error: Error::new(code, "m"), ambiguous: false, date: None });
            }
            let number = self.refreshes.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(Grant {
                access_token: if self.is_stubborn.load(Ordering::SeqCst) {
                    Secret::from("canary")
                } else {
                    Secret::new(format!("canary-{number}"))
                },
                refresh_token: Secret::new(format!("{}+", token.expose())),
                token_type: "Bearer".into(),
                scope: "client".into(),
                lifetime: 4 * HOUR,
                date: None,
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

/// What Ring does with a request.
enum Reply {
    Says(u16, Vec<(&'static str, String)>, String),
    IsSilent(FailureKind),
}

use Reply::{IsSilent, Says};

type Respond = Box<dyn Fn(&Request, usize) -> Reply + Send + Sync>;

/// Simulated Ring: a function of the request and of the number of requests before it.
struct Ring {
    respond: Mutex<Respond>,
    sent: Mutex<Vec<(Duration, Request)>>,
    start: tokio::time::Instant,
}

impl Ring {
    fn then(&self, respond: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) {
        *self.respond.lock().unwrap() = Box::new(respond);
    }

    fn sent(&self) -> Vec<(u64, String)> {
        let sent = self.sent.lock().unwrap();
        sent.iter().map(|(at, request)| (at.as_secs(), format!("{:?} {}", request.method, request.url))).collect()
    }

    fn seconds(&self) -> Vec<u64> {
        self.sent().into_iter().map(|(at, _)| at).collect()
    }

    fn count(&self, path: &str) -> usize {
        self.sent.lock().unwrap().iter().filter(|(_, request)| request.url.path() == path).count()
    }
}

impl Http for Ring {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>> {
        Box::pin(async move {
            let answer = {
                let mut sent = self.sent.lock().unwrap();
                let answer = (self.respond.lock().unwrap())(&request, sent.len());
                sent.push((self.start.elapsed(), request.clone()));
                answer
            };
            tokio::time::sleep(SECOND / 100).await;
            match answer {
                Says(status, headers, body) => {
                    Ok(Answer { status, headers: Headers::new(headers), body: body.into_bytes(), url: request.url })
                }
                IsSilent(kind) => Err(HttpFailure { kind, ambiguous: true, cause: None }),
            }
        })
    }
}

#[derive(Default)]
struct Heard {
    sessions: AtomicUsize,
    said: Mutex<Vec<String>>,
}

impl Listener for Heard {
    fn on_session(&self, _answer: &Answer) {
        self.sessions.fetch_add(1, Ordering::SeqCst);
    }
}

impl crate::manager::Listener for Heard {
    fn on_event(&self, event: Event) {
        if let Event::Log(_, text) = event {
            self.said.lock().unwrap().push(text);
        }
    }
}

struct Rig {
    api: Api,
    manager: Manager,
    ring: Arc<Ring>,
    wire: Arc<Wire>,
    clock: Arc<HandClock>,
    heard: Arc<Heard>,
}

fn rig() -> Rig {
    let start = tokio::time::Instant::now();
    let ring = Arc::new(Ring { respond: Mutex::new(Box::new(|_, _| ok("{}"))), sent: Mutex::default(), start });
    let clock = Arc::new(HandClock { start, shift: AtomicI64::new(0) });
    let heard = Arc::new(Heard::default());
    let endpoints = Endpoints::parse(None, None).unwrap();
    let http: Arc<dyn Http> = Arc::clone(&ring) as _;
    let store = Arc::new(MemoryStore::new(endpoints.issuer()));
    let wire = Arc::new(Wire {
        refreshes: AtomicUsize::new(0),
        trouble: Mutex::default(),
        is_stubborn: AtomicBool::new(false),
        oauth: Arc::new(RingOauth::new(Arc::clone(&http), endpoints, None).unwrap()),
    });
    let parts = Parts {
        store,
        oauth: Arc::clone(&wire) as _,
        clock: Arc::clone(&clock) as _,
        listener: Arc::clone(&heard) as _,
        mirror: None,
        shared: None,
        runtime: tokio::runtime::Handle::current(),
    };
    let settings = Settings {
        refresh_token: Some(Secret::from("token-a-of-this-test")),
        refuses_at_calls: false,
        system_id: Some("test".into()),
        device_name: "unused".into(),
        login_flow: LoginFlow::Auto,
        request_timeout: 20 * SECOND,
        auto_refresh: false,
    };
    let manager = Manager::open(parts, settings).unwrap();
    let api = Api::new(manager.clone(), http, "Küche".into(), Arc::clone(&heard) as _);
    Rig { api, manager, ring, wire, clock, heard }
}

fn ok(body: &str) -> Reply {
    Says(200, Vec::new(), body.to_owned())
}

fn status(status: u16) -> Reply {
    Says(status, Vec::new(), String::new())
}

fn leads_to(status: u16, location: &str) -> Reply {
    Says(status, vec![("location", location.to_owned())], String::new())
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn call(method: Method, url: &str) -> Call {
    Call {
        url: Url::parse(url).unwrap(),
        method,
        headers: Vec::new(),
        body: None,
        timeout: None,
        allow_no_response: false,
        follow_redirects: true,
    }
}

fn get(path: &str) -> Call {
    call(Method::Get, &format!("https://api.ring.com/{path}"))
}

fn code(outcome: Result<Answer, Failure>) -> (ErrorCode, Option<u16>) {
    let failure = outcome.unwrap_err();
    (failure.error.code(), failure.answer.map(|answer| answer.status))
}

fn is_session(request: &Request) -> bool {
    request.url.path() == "/clients_api/session"
}

/// Answers as a Ring that requires a session first.
fn wants_session(request: &Request, made: usize) -> Reply {
    if is_session(request) {
        return ok(r#"{"profile":{"id":1}}"#);
    }
    if made == 0 {
        let id = header(request, "hardware_id").unwrap_or_default();
        return Says(404, Vec::new(), format!(r#"{{"error":"Session not found for device {id}"}}"#));
    }
    ok("[]")
}

#[tokio::test(start_paused = true)]
async fn the_account_goes_along_whatever_the_caller_says() {
    let rig = rig();
    let headers = [
        ("Accept", "image/jpeg"),
        ("AUTHORIZATION", "mine"),
        ("Hardware_Id", "mine"),
        ("user-agent", "mine"),
        ("Content-Type", "text/x"),
        ("host", "evil.example"),
        ("Content-Length", "7"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let request = Call { headers, body: Some(b"hi".to_vec()), ..call(Method::Put, "https://api.ring.com/x?y=z") };
    rig.api.request(request).await.unwrap();
    let sent = rig.ring.sent.lock().unwrap()[0].1.clone();
    let names: Vec<_> = sent.headers.iter().map(|(name, _)| name.as_ref()).collect();
    assert_eq!(names, ["user-agent", "hardware_id", "authorization", "accept"]);
    assert_eq!(header(&sent, "authorization"), Some("Bearer canary-1"));
    assert_eq!(header(&sent, "hardware_id").map(str::to_owned), rig.manager.hardware_id());
    assert_eq!(header(&sent, "user-agent"), Some(crate::oauth::DEFAULT_USER_AGENT));
    let body = sent.body.as_ref().unwrap();
    assert_eq!((body.content_type(), body.bytes()), (Some("text/x"), &b"hi"[..]));
    assert_eq!((sent.method, sent.url.as_str()), (Method::Put, "https://api.ring.com/x?y=z"));
    assert_eq!(sent.limit, DATA_LIMIT);
    // Some servers reject POST, PUT and PATCH without a length.
    for (method, has_body) in [
        (Method::Get, false),
        (Method::Head, false),
        (Method::Delete, false),
        (Method::Post, true),
        (Method::Put, true),
        (Method::Patch, true),
    ] {
        rig.api.request(call(method, "https://api.ring.com/x")).await.unwrap();
        let (_, sent) = rig.ring.sent.lock().unwrap().last().cloned().unwrap();
        assert_eq!(sent.body, has_body.then(|| Body::raw(Vec::new(), None)), "{method:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_anybody_else() {
    let rig = rig();
    for url in ["https://evil.example/x?canary", "http://api.ring.com/", "http://127.0.0.1:1/"] {
        let failure = rig.api.request(call(Method::Get, url)).await.unwrap_err();
        assert_eq!(failure.error.code(), ErrorCode::InvalidArgument);
        assert!(!failure.error.message().contains("canary"));
    }
    for (name, value) in [("a b", "x"), ("", "x"), ("x", "a\nb")] {
        let odd = Call { headers: vec![(name.into(), value.into())], ..get("x") };
        assert_eq!(code(rig.api.request(odd).await).0, ErrorCode::InvalidArgument);
    }
    assert_eq!((rig.ring.sent().len(), rig.wire.refreshes.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_401_is_tried_again_after_a_rotation_even_if_its_access_token_is_the_same() {
    let rig = rig();
    rig.wire.is_stubborn.store(true, Ordering::SeqCst);
    rig.ring.then(|_, n| if n == 0 { status(401) } else { ok("{}") });
    assert_eq!(rig.api.request(get("x")).await.unwrap().status, 200);
    assert_eq!((rig.wire.refreshes.load(Ordering::SeqCst), rig.ring.sent().len()), (2, 2));
    rig.ring.then(|_, _| status(401));
    assert_eq!(code(rig.api.request(get("x")).await).1, Some(401));
    assert!(rig.ring.sent().len() <= 5, "and not for ever");
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_401s_costs_one_rotation() {
    let rig = rig();
    rig.manager.auth().await.unwrap();
    rig.ring.then(|request, _| match header(request, "authorization") {
        Some("Bearer canary-1") => status(401),
        _ => ok("{}"),
    });
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let api = rig.api.clone();
            tokio::spawn(async move { api.request(get("x")).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status, 200);
    }
    assert_eq!(rig.wire.refreshes.load(Ordering::SeqCst), 2);
    assert_eq!(rig.ring.sent().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_says_401_to_everything_is_given_up_on() {
    let rig = rig();
    rig.ring.then(|_, _| status(401));
    assert_eq!(code(rig.api.request(get("x")).await), (ErrorCode::ServerError, Some(401)));
    assert_eq!((rig.ring.sent().len(), rig.wire.refreshes.load(Ordering::SeqCst)), (3, 3));
    // The client makes five such rotations, and then no more.
    for _ in 0..20 {
        assert_eq!(code(rig.api.request(get("x")).await), (ErrorCode::ServerError, Some(401)));
    }
    assert_eq!(rig.wire.refreshes.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn gateway_timeouts_and_busy_devices_are_tried_again_but_not_for_ever() {
    let rig = rig();
    rig.ring.then(|_, n| if n < 2 { status(504) } else { ok("{}") });
    rig.api.request(get("x")).await.unwrap();
    assert_eq!(rig.ring.seconds(), [0, 5, 10]);
    rig.ring.then(|_, _| status(504));
    assert_eq!(code(rig.api.request(get("x")).await), (ErrorCode::ServerError, Some(504)));
    assert_eq!(rig.ring.sent().len(), 3 + 13);

    let rig = self::rig();
    rig.ring.then(|_, _| Says(404, Vec::new(), r#"{"errors":[7019]}"#.into()));
    assert_eq!(code(rig.api.request(get("x?canary")).await), (ErrorCode::Protocol, Some(404)));
    assert_eq!(rig.ring.seconds(), (0..16).map(|n| n * 20).collect::<Vec<_>>());
    let said = rig.heard.said.lock().unwrap().join("\n");
    assert!(said.contains("ASSET_OFFLINE") && !said.contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn what_reads_waits_for_the_network_and_what_changes_something_a_minute() {
    let rig = rig();
    rig.ring.then(|_, n| if n < 1000 { IsSilent(FailureKind::NotSent) } else { ok("{}") });
    rig.api.request(get("x")).await.unwrap();
    assert_eq!(rig.ring.sent().len(), 1001);
    rig.ring.then(|_, _| IsSilent(FailureKind::CutOff));
    let before = rig.clock.monotonic();
    assert_eq!(code(rig.api.request(call(Method::Put, "https://api.ring.com/x")).await), (ErrorCode::Network, None));
    assert!(rig.clock.monotonic() <= before + 60 * SECOND);
    // A request with `allow_no_response` is not sent twice.
    let sent = rig.ring.sent().len();
    let careless = Call { allow_no_response: true, ..get("x") };
    assert_eq!(code(rig.api.request(careless).await).0, ErrorCode::Network);
    assert_eq!(rig.ring.sent().len(), sent + 1);
    rig.ring.then(|_, _| IsSilent(FailureKind::TooLarge));
    assert_eq!(code(rig.api.request(get("x")).await).0, ErrorCode::Protocol);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_token_endpoint_is_waited_for() {
    let rig = rig();
    *rig.wire.trouble.lock().unwrap() = Some(ErrorCode::ServerError);
    let reading = tokio::spawn({
        let api = rig.api.clone();
        async move { api.request(get("x")).await }
    });
    let failure = rig.api.request(call(Method::Post, "https://api.ring.com/x")).await.unwrap_err();
    assert_eq!((failure.error.code(), failure.no_token), (ErrorCode::ServerError, true));
    tokio::time::sleep(3 * HOUR).await;
    *rig.wire.trouble.lock().unwrap() = None;
    assert_eq!(reading.await.unwrap().unwrap().status, 200);
    assert_eq!((rig.ring.sent().len(), rig.wire.refreshes.load(Ordering::SeqCst)), (1, 1));
    // The client does not wait if the error needs the user.
    for code in [ErrorCode::Blocked, ErrorCode::RefreshTokenRejected] {
        let rig = self::rig();
        *rig.wire.trouble.lock().unwrap() = Some(code);
        assert_eq!(rig.api.request(get("x")).await.unwrap_err().error.code(), code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_made_when_ring_asks_for_one_and_once_for_all() {
    let rig = rig();
    let made = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&made);
    rig.ring.then(move |request, _| {
        let before = seen.load(Ordering::SeqCst);
        if is_session(request) {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        wants_session(request, before)
    });
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let api = rig.api.clone();
            tokio::spawn(async move { api.request(get("clients_api/x")).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().body, b"[]");
    }
    assert_eq!(rig.ring.count("/clients_api/session"), 1);
    assert_eq!(rig.heard.sessions.load(Ordering::SeqCst), 1);
    let sent = rig.ring.sent.lock().unwrap().iter().find(|(_, request)| is_session(request)).unwrap().1.clone();
    assert_eq!(header(&sent, "accept"), Some("application/json"));
    let body = sent.body.unwrap();
    assert_eq!(body.content_type(), Some("application/json"));
    let id = rig.manager.hardware_id().unwrap();
    assert_eq!(
        String::from_utf8_lossy(body.bytes()),
        format!(
            r#"{{"device":{{"hardware_id":"{id}","metadata":{{"api_version":11,"device_model":"Küche"}},"os":"android"}}}}"#
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_helps_nothing_is_not_made_for_ever() {
    let rig = rig();
    rig.ring.then(|request, _| wants_session(request, 0));
    assert_eq!(code(rig.api.request(get("x")).await), (ErrorCode::Protocol, Some(404)));
    assert_eq!(rig.ring.count("/clients_api/session"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_every_twelve_hours_until_the_timers_are_cleared() {
    let rig = rig();
    rig.api.session().await.unwrap();
    tokio::time::sleep(49 * HOUR).await;
    assert_eq!(rig.ring.count("/clients_api/session"), 5);
    assert_eq!(rig.heard.sessions.load(Ordering::SeqCst), 5);
    // The monotonic clock stands still while the machine is suspended.
    rig.clock.shift.store(12 * 3600 * 1000, Ordering::SeqCst);
    tokio::time::sleep(62 * SECOND).await;
    assert_eq!(rig.ring.count("/clients_api/session"), 6);
    rig.api.clear();
    tokio::time::sleep(49 * HOUR).await;
    assert_eq!(rig.ring.count("/clients_api/session"), 6);
    // The client renews a new session again.
    rig.api.session().await.unwrap();
    tokio::time::sleep(13 * HOUR).await;
    assert_eq!(rig.ring.count("/clients_api/session"), 8);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_in_ten_minutes_and_nobody_keeps_it_alive() {
    let rig = rig();
    rig.api.session().await.unwrap();
    rig.ring.then(|_, _| status(500));
    tokio::time::sleep(12 * HOUR + 25 * 60 * SECOND).await;
    let count = rig.ring.count("/clients_api/session");
    assert!((3..=4).contains(&count), "{count}");
    assert!(rig.heard.said.lock().unwrap().iter().any(|text| text.contains("could not be renewed")));
    let Rig { api, ring, .. } = rig;
    let count = ring.count("/clients_api/session");
    drop(api);
    tokio::time::sleep(49 * HOUR).await;
    assert_eq!(ring.count("/clients_api/session"), count);
}

#[tokio::test(start_paused = true)]
async fn a_429_on_the_session_is_waited_for_as_it_says_or_200_seconds() {
    for (headers, wait) in [
        (vec![("retry-after", "30".to_owned())], 31),
        (Vec::new(), 201),
        (vec![("retry-after", "soon".to_owned())], 201),
    ] {
        let rig = rig();
        rig.ring.then(move |_, n| if n == 0 { Says(429, headers.clone(), String::new()) } else { ok("{}") });
        rig.api.session().await.unwrap();
        assert_eq!(rig.ring.seconds(), [0, wait]);
    }
    // All callers wait for the same session. A request that changes something does not wait for long.
    let rig = rig();
    rig.ring.then(|request, n| match (is_session(request), n) {
        (true, 0..4) => status(429),
        (_, 4..) => ok("{}"),
        _ => wants_session(request, 0),
    });
    let reading: Vec<_> = (0..3)
        .map(|_| {
            let api = rig.api.clone();
            tokio::spawn(async move { api.request(get("x")).await })
        })
        .collect();
    tokio::time::sleep(SECOND).await;
    let changing = rig.api.request(call(Method::Put, "https://api.ring.com/x")).await;
    assert_eq!(code(changing), (ErrorCode::Timeout, None));
    for reading in reading {
        assert_eq!(reading.await.unwrap().unwrap().status, 200);
    }
    assert_eq!(rig.ring.count("/clients_api/session"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_429_on_the_session_is_not_answered_by_hammering() {
    let rig = rig();
    rig.ring.then(|_, _| Says(429, vec![("retry-after", "0".to_owned())], String::new()));
    assert_eq!(code(rig.api.session().await), (ErrorCode::RateLimited, Some(429)));
    assert_eq!(rig.ring.seconds(), [0, 1, 2, 3]);
    // The client does not wait for a day, but sends nothing during that day either.
    rig.ring.then(|_, _| Says(429, vec![("retry-after", "86400".to_owned())], String::new()));
    let failure = rig.api.session().await.unwrap_err();
    assert_eq!(failure.error.code(), ErrorCode::RateLimited);
    let sent = rig.ring.sent().len();
    let failure = rig.api.session().await.unwrap_err();
    assert!(failure.error.retry_after().is_some_and(|wait| wait > 23 * HOUR));
    assert_eq!(rig.ring.sent().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_401_on_the_session_refreshes_once() {
    let rig = rig();
    rig.ring.then(|request, _| match header(request, "authorization") {
        Some("Bearer canary-1") => status(401),
        _ => ok("{}"),
    });
    rig.api.session().await.unwrap();
    assert_eq!((rig.ring.sent().len(), rig.wire.refreshes.load(Ordering::SeqCst)), (2, 2));
    rig.ring.then(|_, _| leads_to(302, "https://api.ring.com/elsewhere"));
    assert_eq!(code(rig.api.session().await), (ErrorCode::Protocol, Some(302)));
    assert_eq!(rig.ring.sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn redirects_are_followed_with_ring_and_nowhere_else() {
    let rig = rig();
    rig.ring.then(|request, _| match request.url.path() {
        "/a" => leads_to(307, "/b?c"),
        "/b" => leads_to(308, "https://app-snaps.ring.com/d"),
        "/see-other" => leads_to(303, "/d"),
        "/moved" => leads_to(302, "/d"),
        "/round" => leads_to(302, "/round"),
        "/away" => leads_to(302, "https://bucket.example/canary"),
        "/plain" => leads_to(302, "http://api.ring.com/d"),
        _ => ok("{}"),
    });
    let with_body =
        |path: &str| Call { body: Some(b"x".to_vec()), ..call(Method::Post, &format!("https://api.ring.com{path}")) };
    rig.api.request(with_body("/a")).await.unwrap();
    rig.api.request(with_body("/see-other")).await.unwrap();
    rig.api.request(with_body("/moved")).await.unwrap();
    let sent: Vec<_> = rig.ring.sent().into_iter().map(|(_, line)| line).collect();
    assert_eq!(
        sent,
        [
            "Post https://api.ring.com/a",
            "Post https://api.ring.com/b?c",
            "Post https://app-snaps.ring.com/d",
            "Post https://api.ring.com/see-other",
            "Get https://api.ring.com/d",
            "Post https://api.ring.com/moved",
            "Get https://api.ring.com/d",
        ]
    );
    let bodies: Vec<_> = rig.ring.sent.lock().unwrap().iter().map(|(_, request)| request.body.is_some()).collect();
    assert_eq!(bodies, [true, true, true, true, false, true, false]);
    for (path, requests) in [("away", 1), ("plain", 1), ("round", 6)] {
        let before = rig.ring.sent().len();
        assert_eq!(code(rig.api.request(get(path)).await), (ErrorCode::Protocol, Some(302)));
        assert_eq!(rig.ring.sent().len(), before + requests, "{path}");
    }
    let before = rig.ring.sent().len();
    let stays = Call { follow_redirects: false, ..get("a") };
    assert_eq!(code(rig.api.request(stays).await), (ErrorCode::Protocol, Some(307)));
    assert_eq!(rig.ring.sent().len(), before + 1);
    for (_, request) in rig.ring.sent.lock().unwrap().iter() {
        assert!(request.url.host_str().is_some_and(|host| host.ends_with(".ring.com")));
    }
}

#[tokio::test(start_paused = true)]
async fn clearing_ends_waits_and_closing_ends_everything() {
    let rig = rig();
    rig.ring.then(|_, _| status(504));
    let spawn = |path: &'static str| {
        let api = rig.api.clone();
        tokio::spawn(async move { api.request(get(path)).await })
    };
    let waiting = spawn("x");
    tokio::time::sleep(SECOND).await;
    rig.api.clear();
    assert_eq!(code(waiting.await.unwrap()).0, ErrorCode::Aborted);
    // `clear` does not affect later requests.
    rig.ring.then(|_, n| if n < 3 { status(504) } else { ok("{}") });
    assert_eq!(rig.api.request(get("x")).await.unwrap().status, 200);

    // `clear` also ends the wait of a second caller for a session that the first caller has requested and that waits
    // itself.
    rig.ring.then(|request, _| if is_session(request) { status(429) } else { wants_session(request, 0) });
    let one = spawn("x");
    tokio::time::sleep(SECOND).await;
    let two = spawn("y");
    tokio::time::sleep(SECOND).await;
    let sent = rig.ring.sent().len();
    rig.api.clear();
    for waiting in [one, two] {
        assert_eq!(code(waiting.await.unwrap()).0, ErrorCode::Aborted);
    }
    assert_eq!(rig.ring.sent().len(), sent);

    rig.ring.then(|_, _| IsSilent(FailureKind::NotSent));
    let (one, two) = (spawn("x"), spawn("y"));
    tokio::time::sleep(SECOND).await;
    rig.api.close();
    for waiting in [one, two] {
        assert_eq!(code(waiting.await.unwrap()).0, ErrorCode::Closed);
    }
    assert_eq!(code(rig.api.request(get("x")).await).0, ErrorCode::Closed);
    assert_eq!(code(rig.api.session().await).0, ErrorCode::Closed);
    assert!(rig.manager.auth().await.is_ok());
}

#[test]
fn debug_shows_no_secret() {
    let request = Call {
        headers: vec![("authorization".into(), "canary".into())],
        body: Some(b"canary".to_vec()),
        ..call(Method::Get, "https://api.ring.com/x?canary")
    };
    let text = format!("{request:?}");
    assert!(text.contains("api.ring.com/x") && !text.contains("canary"));
}
