//! Tests of the OAuth client with scripted answers, without sockets.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use url::Url;

use super::*;
use crate::ErrorCode;
use crate::http::{Answer, FailureKind, Headers};

const TOKENS: &str = r#"{"access_token":"new-access","expires_in":14400,"refresh_token":"new-refresh","scope":"client","token_type":"Bearer"}"#;
const SMS: &str = r#"{"next_time_in_secs":60,"phone":"+1xxxxxxxx89","tsv_state":"sms"}"#;
const WRONG_CODE: &str = r#"{"error":"Verification Code is invalid or expired","err_msg":"bad request"}"#;
const DENIED: &str = r#"{"error":"access_denied","error_description":"invalid user credentials"}"#;
const TOO_MANY_CODES: &str = r#"{"error_description":"too many requests from dependency service"}"#;
const HTML: &str = "<!doctype html><title>Attention Required!</title>";
const PAGE: &str = r#"<form><input type="hidden" name="csrf-token" value="csrf&amp;1"></form>"#;
const COMPLETED: &str = r#"{"redirect_url":"/oauth/v2/authorize","status":"auth-completed"}"#;

const EMAIL: &str = "me+ring@example.com";
const PASSWORD: &str = " canary+&=%\"' pass wörd ";

/// The scripted answer to one request.
type Reply = Box<dyn FnOnce(&Request) -> Result<Answer, HttpFailure> + Send>;

/// An HTTP client that answers from a script and records the requests.
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    sent: Mutex<Vec<Request>>,
}

impl Http for Script {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>> {
        let reply = self.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let reply = reply.unwrap_or_else(|| panic!("a request that nobody expects: {request:?}"));
        let answer = reply(&request);
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        Box::pin(async move { answer })
    }
}

impl Script {
    fn new(replies: Vec<Reply>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into()), sent: Mutex::default() })
    }

    fn add(&self, replies: Vec<Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    fn sent(&self) -> Vec<Request> {
        self.sent.lock().unwrap().clone()
    }

    fn paths(&self) -> Vec<String> {
        self.sent().iter().map(|request| request.url.path().to_owned()).collect()
    }

    fn oauth(self: &Arc<Self>) -> Arc<RingOauth> {
        let http: Arc<dyn Http> = Arc::clone(self) as _;
        Arc::new(RingOauth::new(http, Endpoints::parse(None, None).unwrap(), None).unwrap())
    }

    fn login(self: &Arc<Self>, flow: LoginFlow) -> Login {
        Login::new(self.oauth(), request(flow))
    }

    /// Checks that each scripted answer was used, and that `Debug` of the requests shows no secret.
    fn finish(&self) {
        assert_eq!(self.replies.lock().unwrap().len(), 0, "the script was not used up: {:?}", self.paths());
        assert!(!format!("{:?}", self.sent()).contains("canary"));
    }
}

fn request(flow: LoginFlow) -> LoginRequest {
    LoginRequest {
        email: EMAIL.to_owned(),
        password: Secret::from(PASSWORD),
        flow,
        hardware_id: "hid-1".to_owned(),
        device_name: "Küche & Flur".to_owned(),
    }
}

fn reply(status: u16, body: &str) -> Reply {
    reply_with(status, &[], body)
}

fn reply_with(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
    let headers = Headers::new(headers.iter().map(|(name, value)| (*name, *value)));
    let body = body.as_bytes().to_vec();
    Box::new(move |request| Ok(Answer { status, headers, body, url: request.url.clone() }))
}

fn redirect(location: &str) -> Reply {
    reply_with(302, &[("location", location)], "")
}

fn broken(kind: FailureKind, ambiguous: bool) -> Reply {
    Box::new(move |_| Err(HttpFailure { kind, ambiguous, cause: None }))
}

fn form(request: &Request) -> Vec<(String, String)> {
    url::form_urlencoded::parse(request.body.as_ref().unwrap().bytes()).into_owned().collect()
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
}

fn query(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

/// Redirects to the callback with the `state` of the newest login, as Ring does.
fn callback(script: &Arc<Script>) -> Reply {
    let script = Arc::clone(script);
    Box::new(move |request| {
        let starts: Vec<_> = script.sent().into_iter().filter(|sent| sent.url.as_str().contains("state=")).collect();
        let state = query(&starts.last().unwrap().url, "state");
        let location = format!("https://ring.com/signin/callback?code=canary-code&state={state}");
        reply_with(302, &[("location", &location)], "")(request)
    })
}

fn code_of(outcome: Result<LoginStep>) -> ErrorCode {
    let error = outcome.expect_err("a failure");
    assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
    error.code()
}

fn waits(outcome: Result<LoginStep>) -> TwoFactor {
    match outcome {
        Ok(LoginStep::TwoFactor(two_factor)) => two_factor,
        other => panic!("{other:?}"),
    }
}

fn authenticated(outcome: Result<LoginStep>) -> bool {
    match outcome {
        Ok(LoginStep::Authenticated { grant, refresh_due }) => {
            assert_eq!(grant.refresh_token.expose(), "new-refresh");
            refresh_due
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn refresh_sends_what_ring_expects() {
    let script = Script::new(vec![reply(200, TOKENS)]);
    let grant = script.oauth().refresh(&Secret::from("canary+/="), "hid-1").await.unwrap();
    assert_eq!(grant.refresh_token.expose(), "new-refresh");
    let sent = &script.sent()[0];
    assert_eq!((sent.method, sent.url.as_str()), (Method::Post, "https://oauth.ring.com/oauth/token"));
    assert_eq!(
        sent.headers,
        [
            ("user-agent", DEFAULT_USER_AGENT),
            ("accept", "application/json"),
            ("hardware_id", "hid-1"),
            ("2fa-support", "true"),
            ("2fa-code", ""),
        ]
        .map(|(name, value)| (name.into(), value.to_owned()))
    );
    let body = sent.body.as_ref().unwrap();
    assert_eq!(body.content_type(), Some("application/x-www-form-urlencoded"));
    assert_eq!(
        body.bytes(),
        b"grant_type=refresh_token&refresh_token=canary%2B%2F%3D&client_id=ring_official_android&scope=client"
    );
    assert_eq!(sent.limit, 1024 * 1024);
    script.finish();
}

#[tokio::test]
async fn refresh_tells_failures_apart() {
    for (reply, code, ambiguous) in [
        (reply(401, r#"{"error":"invalid_grant"}"#), ErrorCode::RefreshTokenRejected, false),
        (reply(502, HTML), ErrorCode::ServerError, true),
        (reply(200, HTML), ErrorCode::Protocol, true),
        (reply(412, SMS), ErrorCode::Protocol, false),
        (redirect("https://evil.example/"), ErrorCode::Protocol, false),
        (broken(FailureKind::NotSent, false), ErrorCode::Network, false),
        (broken(FailureKind::Untrusted, false), ErrorCode::Network, false),
        (broken(FailureKind::CutOff, true), ErrorCode::Network, true),
        (broken(FailureKind::Timeout, true), ErrorCode::Timeout, true),
        (broken(FailureKind::TooLarge, true), ErrorCode::Protocol, true),
    ] {
        let script = Script::new(vec![reply]);
        let failed = script.oauth().refresh(&Secret::from("canary"), "hid-1").await.unwrap_err();
        assert_eq!((failed.error.code(), failed.ambiguous), (code, ambiguous));
        assert!(!format!("{failed:?}").contains("canary"));
        script.finish();
    }
}

#[tokio::test]
async fn odd_hardware_ids_are_not_sent() {
    for id in ["", "a b", "a\r\nx: y", "ü", &"x".repeat(257)] {
        let script = Script::new(vec![]);
        let failed = script.oauth().refresh(&Secret::from("r"), id).await.unwrap_err();
        assert_eq!((failed.error.code(), failed.ambiguous), (ErrorCode::InvalidArgument, false));
        let request = LoginRequest { hardware_id: id.to_owned(), ..request(LoginFlow::Auto) };
        assert_eq!(code_of(Login::new(script.oauth(), request).start().await), ErrorCode::InvalidArgument);
    }
}

#[test]
fn user_agents_are_checked() {
    let script = Script::new(vec![]);
    let new = |text| RingOauth::new(Arc::clone(&script) as _, Endpoints::parse(None, None).unwrap(), Some(text));
    assert_eq!(new("my agent/1").unwrap().user_agent(), "my agent/1");
    for text in ["", " ", " a", "a\n", "ü", "a\0b", &"x".repeat(513)] {
        let error = new(text).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains("userAgent"));
    }
}

#[tokio::test]
async fn password_flow_with_a_code() {
    let script = Script::new(vec![
        reply(412, SMS),
        reply(400, WRONG_CODE),
        broken(FailureKind::Timeout, true),
        reply(400, "Too many requests"),
        reply(200, TOKENS),
    ]);
    let mut login = script.login(LoginFlow::Password);
    assert_eq!(waits(login.start().await).prompt, "Please enter the code sent to +1xxxxxxxx89 via sms");
    // A second start while the login waits for a code sends no request.
    waits(login.start().await);
    assert_eq!(code_of(login.submit(&"111111".into()).await), ErrorCode::TwoFactorInvalid);
    assert!(login.two_factor().is_some());
    assert_eq!(code_of(login.submit(&"222222".into()).await), ErrorCode::Timeout);
    assert_eq!(code_of(login.submit(&"222222".into()).await), ErrorCode::RateLimited);
    assert!(!authenticated(login.submit(&" 123-4 56\n".into()).await));
    assert!(login.two_factor().is_none());

    let sent = script.sent();
    let fields = pairs(&[
        ("grant_type", "password"),
        ("username", EMAIL),
        ("password", PASSWORD),
        ("client_id", "ring_official_android"),
        ("scope", "client"),
    ]);
    assert!(sent.iter().all(|request| form(request) == fields && header(request, "hardware_id") == Some("hid-1")));
    assert_eq!((header(&sent[0], "2fa-code"), header(&sent[4], "2fa-code")), (Some(""), Some("123456")));
    let raw = String::from_utf8(sent[0].body.as_ref().unwrap().bytes().to_vec()).unwrap();
    assert!(raw.contains("password=+canary%2B%26%3D%25%22%27+pass+w%C3%B6rd+&"), "{raw}");
    script.finish();
}

#[tokio::test]
async fn password_flow_without_a_code_or_with_a_failure() {
    let script = Script::new(vec![reply(200, TOKENS)]);
    assert!(!authenticated(script.login(LoginFlow::Password).start().await));
    script.finish();
    for (reply, code) in [
        (reply(401, DENIED), ErrorCode::InvalidCredentials),
        (reply(403, HTML), ErrorCode::Blocked),
        (reply(400, TOO_MANY_CODES), ErrorCode::TwoFactorRateLimited),
        (reply(429, ""), ErrorCode::RateLimited),
        (reply(200, HTML), ErrorCode::Protocol),
        (broken(FailureKind::CutOff, true), ErrorCode::Network),
    ] {
        let script = Script::new(vec![reply]);
        let mut login = script.login(LoginFlow::Password);
        assert_eq!(code_of(login.start().await), code);
        assert!(login.two_factor().is_none());
        script.finish();
    }
}

#[tokio::test]
async fn codes_are_checked_before_anything_is_sent() {
    let script = Script::new(vec![reply(412, SMS)]);
    let mut login = script.login(LoginFlow::Password);
    assert_eq!(code_of(login.submit(&"123456".into()).await), ErrorCode::InvalidArgument);
    waits(login.start().await);
    for code in ["", " ", "-", "\n\t"] {
        assert_eq!(code_of(login.submit(&code.into()).await), ErrorCode::InvalidArgument, "{code:?}");
    }
    for code in ["12\r\nx: y", "１２３４", "é", "12\u{0}34", &"1".repeat(65)] {
        assert_eq!(code_of(login.submit(&code.into()).await), ErrorCode::TwoFactorInvalid, "{code:?}");
    }
    script.finish();
}

#[tokio::test]
async fn empty_credentials_are_not_sent() {
    let script = Script::new(vec![]);
    for (email, password) in [("", "p"), ("e", "")] {
        let request = LoginRequest { email: email.to_owned(), password: password.into(), ..request(LoginFlow::Auto) };
        assert_eq!(code_of(Login::new(script.oauth(), request).start().await), ErrorCode::InvalidArgument);
    }
}

#[tokio::test]
async fn web_flow_with_a_code() {
    let script = Script::new(vec![]);
    let cookies = [
        ("set-cookie", "session=canary-1; Path=/oauth/v2; Secure; HttpOnly"),
        ("set-cookie", "x=y; Domain=evil.example"),
    ];
    script.add(vec![
        reply_with(302, &[("location", "/oauth/v2/signin?x=1#top"), cookies[0], cookies[1]], ""),
        reply(200, PAGE),
        reply_with(412, &[("set-cookie", "step=2; Path=/oauth/v2/2fa")], SMS),
        reply(400, WRONG_CODE),
        reply(401, ""),
        reply(400, r#"{"error":"too many requests"}"#),
        reply(400, TOO_MANY_CODES),
        reply(403, r#"{"error":"invalid CSRF token"}"#),
        reply(403, HTML),
        reply(201, COMPLETED),
        callback(&script),
        reply(200, TOKENS),
    ]);
    let mut login = script.login(LoginFlow::Auto);
    assert_eq!(waits(login.start().await).method, TwoFactorMethod::Sms);
    for expected in [
        ErrorCode::TwoFactorInvalid,
        ErrorCode::TwoFactorInvalid,
        ErrorCode::RateLimited,
        ErrorCode::TwoFactorRateLimited,
        ErrorCode::Protocol,
        ErrorCode::Blocked,
    ] {
        assert_eq!(code_of(login.submit(&"000000".into()).await), expected);
    }
    assert!(authenticated(login.submit(&"123 456".into()).await));
    script.finish();

    let sent = script.sent();
    let start = &sent[0];
    let names: Vec<_> = start.url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(
        names,
        [
            "redirect_uri",
            "client_id",
            "response_type",
            "prompt",
            "state",
            "scope",
            "code_challenge",
            "code_challenge_method",
            "device_model",
            "app_version",
            "dark_mode",
            "device_brand",
            "device_os_version",
            "app_brand",
            "hardware_id",
        ]
    );
    assert_eq!(query(&start.url, "redirect_uri"), "https://ring.com/signin/callback");
    assert_eq!(query(&start.url, "device_model"), "Küche & Flur");
    assert_eq!(query(&start.url, "code_challenge_method"), "S256");
    assert_eq!((header(start, "hardware_id"), header(start, "cookie")), (Some("hid-1"), None));
    assert_eq!((header(start, "user-agent"), start.limit), (Some(DEFAULT_USER_AGENT), 2 * 1024 * 1024));
    assert_eq!(sent[1].url.as_str(), "https://oauth.ring.com/oauth/v2/signin?x=1#top");

    let sign_in = &sent[2];
    assert_eq!((sign_in.method, sign_in.url.as_str()), (Method::Post, "https://oauth.ring.com/oauth/v2/signin"));
    assert_eq!(form(sign_in), pairs(&[("username", EMAIL), ("password", PASSWORD), ("csrf-token", "csrf&1")]));
    assert_eq!(header(sign_in, "origin"), Some("https://oauth.ring.com"));
    assert_eq!(header(sign_in, "referer"), Some("https://oauth.ring.com/oauth/v2/signin?x=1"));
    assert_eq!(header(sign_in, "cookie"), Some("session=canary-1"));

    let verify = &sent[9];
    assert_eq!(verify.url.as_str(), "https://oauth.ring.com/oauth/v2/2fa/verify");
    assert_eq!(form(verify), pairs(&[("2fa_code", "123456"), ("csrf-token", "csrf&1"), ("remember_me", "false")]));
    assert_eq!(header(verify, "cookie"), Some("step=2; session=canary-1"));

    assert_eq!((sent[10].method, sent[10].url.as_str()), (Method::Get, "https://oauth.ring.com/oauth/v2/authorize"));
    let exchange = &sent[11];
    assert_eq!((exchange.url.path(), header(exchange, "cookie")), ("/oauth/token", None));
    let fields = form(exchange);
    let verifier = fields[3].1.clone();
    assert_eq!(
        fields,
        pairs(&[
            ("grant_type", "authorization_code"),
            ("code", "canary-code"),
            ("redirect_uri", "https://ring.com/signin/callback"),
            ("code_verifier", &verifier),
            ("client_id", "ring_official_android"),
        ])
    );
    assert_eq!(verifier.len(), 43);
    assert_eq!(query(&start.url, "code_challenge"), BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)));
    assert_ne!(query(&start.url, "state"), verifier);
}

#[tokio::test]
async fn a_csrf_token_in_a_cookie_follows_the_cookie() {
    let script = Script::new(vec![
        reply_with(200, &[("set-cookie", "_csrf=a%2B1; Path=/oauth/v2")], "<html>"),
        reply_with(412, &[("set-cookie", "_csrf=b%2B2; Path=/oauth/v2")], SMS),
        reply_with(400, &[("set-cookie", "other=c")], WRONG_CODE),
        reply(400, WRONG_CODE),
    ]);
    let mut login = script.login(LoginFlow::Pkce);
    waits(login.start().await);
    for _ in 0..2 {
        assert_eq!(code_of(login.submit(&"123456".into()).await), ErrorCode::TwoFactorInvalid);
    }
    let tokens: Vec<_> = script.sent()[1..]
        .iter()
        .map(|request| form(request)[usize::from(request.url.path().ends_with("signin")) + 1].1.clone())
        .collect();
    assert_eq!(tokens, ["a+1", "b+2", "b+2"]);
    assert_eq!(header(&script.sent()[2], "cookie"), Some("_csrf=b%2B2"));
    script.finish();
}

#[tokio::test]
async fn web_sign_in_without_a_code() {
    for signed_in in [reply(204, ""), redirect("/oauth/v2/authorize"), reply(200, COMPLETED)] {
        let script = Script::new(vec![reply(200, PAGE), signed_in]);
        script.add(vec![callback(&script), reply(200, TOKENS)]);
        assert!(authenticated(script.login(LoginFlow::Pkce).start().await));
        script.finish();
    }
}

#[tokio::test]
async fn web_sign_in_that_needs_a_code() {
    for (answer, method) in [
        (reply(412, SMS), TwoFactorMethod::Sms),
        (reply(412, ""), TwoFactorMethod::Unknown),
        (reply(200, r#"{"tsv_state":"totp"}"#), TwoFactorMethod::Totp),
        (reply(400, r#"{"next_time_in_secs":5}"#), TwoFactorMethod::Unknown),
        (redirect("/oauth/v2/2fa?x"), TwoFactorMethod::Unknown),
        (reply_with(302, &[("location", "/oauth/v2/2fa")], SMS), TwoFactorMethod::Sms),
    ] {
        let script = Script::new(vec![reply(200, PAGE), answer]);
        assert_eq!(waits(script.login(LoginFlow::Auto).start().await).method, method);
        script.finish();
    }
}

#[tokio::test]
async fn web_sign_in_that_answers_with_a_page_for_the_code() {
    const CODE_PAGE: &str = r#"<!doctype html><form action="/oauth/v2/2fa/verify"><input type="hidden" name="csrf-token" value="second">
        <input name="2fa_code" autocomplete="one-time-code"></form><script src="/recaptcha.js"></script>"#;
    let script = Script::new(vec![reply(200, PAGE), reply(200, CODE_PAGE), reply(200, COMPLETED)]);
    let mut login = script.login(LoginFlow::Auto);
    assert_eq!(waits(login.start().await).method, TwoFactorMethod::Unknown);
    script.add(vec![callback(&script), reply(200, TOKENS)]);
    assert!(authenticated(login.submit(&"123456".into()).await));
    // The form of that page has its own CSRF token.
    assert_eq!(form(&script.sent()[2])[1], ("csrf-token".to_owned(), "second".to_owned()));
    script.finish();
}

#[tokio::test]
async fn a_captcha_has_a_sentence_of_its_own() {
    const CAPTCHA: &str = "<html><div class='h-captcha'></div></html>";
    for (flow, replies) in [
        (LoginFlow::Auto, vec![reply(200, PAGE), reply(200, CAPTCHA)]),
        (LoginFlow::Auto, vec![reply(200, PAGE), reply(403, CAPTCHA)]),
        (LoginFlow::Auto, vec![reply(200, PAGE), reply(401, r#"{"error":"captcha_required"}"#)]),
        (LoginFlow::Pkce, vec![reply(200, CAPTCHA)]),
        (LoginFlow::Pkce, vec![reply(403, CAPTCHA)]),
        (LoginFlow::Password, vec![reply(400, r#"{"error":"Captcha required"}"#)]),
        (LoginFlow::Password, vec![reply(403, CAPTCHA)]),
    ] {
        let script = Script::new(replies);
        let error = script.login(flow).start().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Blocked);
        assert!(error.message().starts_with("Ring asks for a captcha, which only a browser can answer"), "{error}");
        script.finish();
    }
    // A page that loads a captcha script counts as the sign-in page if it has a form that asks for no captcha.
    let script = Script::new(vec![reply(200, &format!("{PAGE}<script src=recaptcha.js></script>")), reply(412, SMS)]);
    waits(script.login(LoginFlow::Pkce).start().await);
    script.finish();
}

#[tokio::test]
async fn web_sign_in_failures_start_no_other_flow() {
    for (answer, code) in [
        (reply(401, ""), ErrorCode::InvalidCredentials),
        (reply(401, HTML), ErrorCode::InvalidCredentials),
        (reply(403, HTML), ErrorCode::Blocked),
        (reply(406, ""), ErrorCode::Blocked),
        (reply(403, r#"{"error":"CSRF mismatch"}"#), ErrorCode::Protocol),
        (reply(400, TOO_MANY_CODES), ErrorCode::TwoFactorRateLimited),
        (reply(400, "too many requests"), ErrorCode::RateLimited),
        (reply(429, SMS), ErrorCode::RateLimited),
        (reply(400, HTML), ErrorCode::Blocked),
        (reply(400, "{}"), ErrorCode::Protocol),
        (reply(200, HTML), ErrorCode::Protocol),
        (reply(302, ""), ErrorCode::Protocol),
        (redirect("https://portal.example/"), ErrorCode::Protocol),
        (reply(503, ""), ErrorCode::ServerError),
        (broken(FailureKind::Timeout, true), ErrorCode::Timeout),
        (broken(FailureKind::CutOff, true), ErrorCode::Network),
    ] {
        let script = Script::new(vec![reply(200, PAGE), answer]);
        let mut login = script.login(LoginFlow::Auto);
        assert_eq!(code_of(login.start().await), code, "{:?}", script.paths());
        assert!(login.two_factor().is_none());
        script.finish();
    }
}

#[tokio::test]
async fn auto_falls_back_only_before_a_password_was_judged() {
    let signin = || redirect("/oauth/v2/signin");
    for first in [
        vec![reply(404, HTML)],
        vec![signin(), reply(404, "{}")],
        vec![signin(), reply(405, "")],
        vec![reply(200, "<html>no token here</html>")],
        vec![reply(200, PAGE), reply(404, "")],
        vec![reply(200, PAGE), reply(405, HTML)],
        vec![reply(403, HTML)],
        vec![reply(406, "")],
    ] {
        let count = first.len();
        let script = Script::new(first);
        script.add(vec![reply(412, SMS), reply(200, TOKENS)]);
        let mut login = script.login(LoginFlow::Auto);
        waits(login.start().await);
        assert!(!authenticated(login.submit(&"123456".into()).await));
        assert_eq!(script.paths()[count..], ["/oauth/token", "/oauth/token"]);
        script.finish();
    }
    // If Ring blocks both flows, the login does not try again.
    let script = Script::new(vec![reply(403, HTML), reply(403, HTML)]);
    assert_eq!(code_of(script.login(LoginFlow::Auto).start().await), ErrorCode::Blocked);
    script.finish();
    // If the caller has chosen a flow, the login uses no other.
    let script = Script::new(vec![reply(404, HTML)]);
    assert_eq!(code_of(script.login(LoginFlow::Pkce).start().await), ErrorCode::Protocol);
    script.finish();
}

#[tokio::test]
async fn first_page_failures() {
    for (answer, code) in [
        (reply(429, ""), ErrorCode::RateLimited),
        (reply(500, HTML), ErrorCode::ServerError),
        (reply(401, ""), ErrorCode::ServerError),
        (reply(300, ""), ErrorCode::Protocol),
        (reply(302, ""), ErrorCode::Protocol),
        (redirect("https://evil.example/oauth/v2/signin"), ErrorCode::Protocol),
        (redirect("http://oauth.ring.com/oauth/v2/signin"), ErrorCode::Protocol),
        (redirect("https://oauth.ring.com:444/"), ErrorCode::Protocol),
        (redirect("https://canary@oauth.ring.com/"), ErrorCode::Protocol),
        (redirect("https://ring.com/signin/callback?code=canary&state=x"), ErrorCode::Protocol),
        (redirect("javascript:alert(1)"), ErrorCode::Protocol),
        (broken(FailureKind::NotSent, false), ErrorCode::Network),
        (broken(FailureKind::Timeout, true), ErrorCode::Timeout),
        (broken(FailureKind::TooLarge, true), ErrorCode::Protocol),
    ] {
        let script = Script::new(vec![answer]);
        assert_eq!(code_of(script.login(LoginFlow::Auto).start().await), code);
        script.finish();
    }
    let script = Script::new((0..6).map(|n| redirect(&format!("/oauth/v2/{n}"))).collect());
    assert_eq!(code_of(script.login(LoginFlow::Auto).start().await), ErrorCode::Protocol);
    script.finish();
    let mut five: Vec<Reply> = (0..5).map(|n| redirect(&format!("/oauth/v2/{n}"))).collect();
    five.extend([reply(200, PAGE), reply(412, SMS)]);
    let script = Script::new(five);
    waits(script.login(LoginFlow::Auto).start().await);
    script.finish();
}

#[tokio::test]
async fn callbacks_are_checked_before_their_code_is_used() {
    for location in [
        "https://ring.com/signin/callback?code=canary&state=other",
        "https://ring.com/signin/callback?code=canary",
        "https://ring.com/signin/callback?code=canary&state=STATE&state=STATE",
        "https://ring.com/signin/callback?code=canary&code=b&state=STATE",
        "https://ring.com/signin/callback?code=&state=STATE",
        "https://ring.com/signin/callback?error=access_denied&state=STATE",
        "https://ring.com/signin/callback",
        "https://ring.com/signin/callback/?code=canary&state=STATE",
        "https://ring.com:444/signin/callback?code=canary&state=STATE",
        "http://ring.com/signin/callback?code=canary&state=STATE",
        "https://a@ring.com/signin/callback?code=canary&state=STATE",
        "https://evil.example/signin/callback?code=canary&state=STATE",
    ] {
        let script = Script::new(vec![reply(200, PAGE), reply(412, SMS), reply(200, COMPLETED)]);
        let seen = Arc::clone(&script);
        script.add(vec![Box::new(move |request: &Request| {
            let state = query(&seen.sent()[0].url, "state");
            reply_with(302, &[("location", &location.replace("STATE", &state))], "")(request)
        })]);
        let mut login = script.login(LoginFlow::Auto);
        waits(login.start().await);
        assert_eq!(code_of(login.submit(&"123456".into()).await), ErrorCode::Protocol, "{location}");
        script.finish();
    }
}

#[tokio::test]
async fn a_code_that_was_taken_is_not_sent_again() {
    let script = Script::new(vec![reply(200, PAGE), reply(412, SMS), reply(200, COMPLETED), reply(503, "")]);
    let mut login = script.login(LoginFlow::Pkce);
    waits(login.start().await);
    assert_eq!(code_of(login.submit(&"123456".into()).await), ErrorCode::ServerError);
    script.add(vec![callback(&script), reply(400, r#"{"error":"invalid_grant"}"#)]);
    assert_eq!(code_of(login.submit(&"123456".into()).await), ErrorCode::Protocol);
    script.add(vec![reply(200, PAGE)]);
    assert_eq!(code_of(login.submit(&"123456".into()).await), ErrorCode::Protocol);
    script.add(vec![callback(&script), reply(200, TOKENS)]);
    assert!(authenticated(login.submit(&"123456".into()).await));
    assert_eq!(script.paths().iter().filter(|path| path.ends_with("/verify")).count(), 1);
    script.finish();
}

#[tokio::test]
async fn verification_answers() {
    for (answer, code) in [
        (reply(200, HTML), ErrorCode::Protocol),
        (reply(200, "{}"), ErrorCode::Protocol),
        (reply(302, ""), ErrorCode::Protocol),
        (reply(400, HTML), ErrorCode::Blocked),
        (reply(400, ""), ErrorCode::TwoFactorInvalid),
        (reply(401, HTML), ErrorCode::TwoFactorInvalid),
        (reply(404, HTML), ErrorCode::Blocked),
        (reply(429, ""), ErrorCode::RateLimited),
        (reply(504, HTML), ErrorCode::ServerError),
        (broken(FailureKind::CutOff, true), ErrorCode::Network),
    ] {
        let script = Script::new(vec![reply(200, PAGE), reply(412, SMS), answer]);
        let mut login = script.login(LoginFlow::Pkce);
        waits(login.start().await);
        assert_eq!(code_of(login.submit(&"123456".into()).await), code);
        assert!(login.two_factor().is_some());
        script.finish();
    }
    let script = Script::new(vec![reply(200, PAGE), reply(412, SMS), reply(412, r#"{"tsv_state":"email"}"#)]);
    let mut login = script.login(LoginFlow::Pkce);
    waits(login.start().await);
    assert_eq!(waits(login.submit(&"123456".into()).await).method, TwoFactorMethod::Email);
    assert_eq!(login.two_factor().map(|two_factor| two_factor.method), Some(TwoFactorMethod::Email));
}

#[tokio::test]
async fn another_code_waits_for_its_time() {
    let script = Script::new(vec![reply(412, SMS)]);
    let mut login = script.login(LoginFlow::Password);
    assert_eq!(code_of(login.resend(Instant::now()).await), ErrorCode::InvalidArgument);
    let began = Instant::now();
    waits(login.start().await);
    let error = login.resend(Instant::now()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TwoFactorRateLimited);
    let minute = Duration::from_secs(60);
    assert!(error.retry_after().is_some_and(|wait| wait + began.elapsed() >= minute && wait <= minute));
    let later = Instant::now() + Duration::from_secs(61);
    script.add(vec![reply(400, TOO_MANY_CODES), reply(412, r#"{"tsv_state":"sms"}"#), reply(200, TOKENS)]);
    assert_eq!(code_of(login.resend(later).await), ErrorCode::TwoFactorRateLimited);
    assert!(login.two_factor().is_some());
    assert_eq!(waits(login.resend(later).await).resend_in, None);
    assert!(!authenticated(login.submit(&"123456".into()).await));
    script.finish();
}

#[tokio::test]
async fn another_code_in_the_web_flow_starts_afresh() {
    let script = Script::new(vec![
        reply_with(200, &[("set-cookie", "old=1")], PAGE),
        reply(412, r#"{"tsv_state":"email"}"#),
        reply(503, ""),
        reply(200, PAGE),
        reply(412, r#"{"tsv_state":"email"}"#),
        reply(200, COMPLETED),
    ]);
    script.add(vec![callback(&script), reply(200, TOKENS)]);
    let mut login = script.login(LoginFlow::Auto);
    waits(login.start().await);
    assert_eq!(code_of(login.resend(Instant::now()).await), ErrorCode::ServerError);
    waits(login.resend(Instant::now()).await);
    assert!(authenticated(login.submit(&"123456".into()).await));
    let sent = script.sent();
    assert_eq!((header(&sent[1], "cookie"), header(&sent[3], "cookie")), (Some("old=1"), None));
    assert_ne!(query(&sent[0].url, "state"), query(&sent[3].url, "state"));
    assert_ne!(query(&sent[0].url, "code_challenge"), query(&sent[3].url, "code_challenge"));
    script.finish();
}

#[tokio::test]
async fn an_app_sends_no_codes() {
    let script = Script::new(vec![reply(412, r#"{"tsv_state":"totp"}"#)]);
    let mut login = script.login(LoginFlow::Password);
    waits(login.start().await);
    let error = login.resend(Instant::now()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.message().starts_with("An authenticator app makes its own codes"));
    script.finish();
}

#[tokio::test]
async fn wrong_credentials_end_the_wait() {
    let script = Script::new(vec![reply(412, SMS), reply(401, DENIED)]);
    let mut login = script.login(LoginFlow::Password);
    waits(login.start().await);
    assert_eq!(code_of(login.submit(&"123456".into()).await), ErrorCode::InvalidCredentials);
    assert!(login.two_factor().is_none());
    assert!(!format!("{login:?}").contains("canary") && !format!("{login:?}").contains("example.com"));
    script.finish();
}
