//! The web login of 2026: Ring's sign-in page, and an authorization code with PKCE.
//!
//! It sends the requests that a browser sends, with two differences: it follows redirects only on Ring's own origin, and it reads
//! the callback from the last redirect and never requests it.

use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use url::Url;

use super::classify::Facts;
use super::cookies::Jar;
use super::json::Object;
use super::refresh::unasked_code;
use super::{CLIENT_ID, Grant, GrantKind, RingOauth, SCOPE, TokenAnswer, TwoFactor, check_hardware_id, csrf, page};
use crate::http::{Answer, Body, Enough, Method, PAGE_LIMIT, Request};
use crate::{Error, ErrorCode, Result, Secret};

/// A web login that waits for its code, or whose code Ring has already accepted.
pub(super) struct WebLogin {
    hardware_id: String,
    verifier: Secret,
    state: Secret,
    jar: Jar,
    csrf: Secret,
    /// The sign-in page, for the `Referer` header.
    page: Url,
    /// Whether Ring has accepted the code. If so, the remaining steps can be tried again without a code.
    verified: bool,
    /// Whether Ring's page has answered for another login. If so, no step of this login can be tried again.
    is_over: bool,
}

/// The state of a web login after a request.
pub(super) enum WebStep {
    /// Ring has issued tokens. Its APIs may reject this access token until the token is refreshed once.
    Granted(Grant),
    /// Ring waits for a code.
    CodeNeeded(TwoFactor),
}

/// The reason why a web login did not start.
#[derive(Debug)]
pub(super) struct StartFailure {
    pub(super) error: Error,
    /// Whether the other flow may work: Ring has sent no code and checked no password, and the cause is in this flow.
    pub(super) other_flow_may_work: bool,
}

impl From<Error> for StartFailure {
    fn from(error: Error) -> Self {
        Self { error, other_flow_may_work: false }
    }
}

impl WebLogin {
    /// Opens the sign-in page, and sends e-mail and password. That makes Ring send a code, so ring-auth does not repeat
    /// it by itself.
    pub(super) async fn start(
        oauth: &RingOauth,
        email: &str,
        password: &Secret,
        hardware_id: &str,
        device_name: &str,
    ) -> Result<(Self, WebStep), StartFailure> {
        let mut login = Self::open(oauth, hardware_id, device_name).await?;
        let fields = [("username", email), ("password", password.expose()), ("csrf-token", login.csrf.expose())];
        let body = Body::form(&fields);
        let answer = login.post(oauth, "/oauth/v2/signin", body).await?;
        if let Some(two_factor) = read_sign_in(oauth, &answer)? {
            // A page that asks for the code has a form with its own CSRF token.
            if let Some(csrf) = csrf::in_page(&String::from_utf8_lossy(&answer.body)) {
                login.csrf = csrf;
            }
            return Ok((login, WebStep::CodeNeeded(two_factor)));
        }
        let grant = login.finish(oauth).await?;
        Ok((login, WebStep::Granted(grant)))
    }

    /// Sends the code, and fetches the tokens. After a failure the caller may call it again: it does not send another
    /// code after Ring has accepted one.
    pub(super) async fn submit(&mut self, oauth: &RingOauth, code: &Secret) -> Result<WebStep> {
        if !self.verified {
            let fields = [("2fa_code", code.expose()), ("csrf-token", self.csrf.expose()), ("remember_me", "false")];
            let body = Body::form(&fields);
            let answer = self.post(oauth, "/oauth/v2/2fa/verify", body).await?;
            if let Some(two_factor) = read_verification(&answer)? {
                return Ok(WebStep::CodeNeeded(two_factor));
            }
            self.verified = true;
        }
        self.finish(oauth).await.map(WebStep::Granted)
    }

    /// Whether this login can no longer succeed, with any code or retry.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Fetches the sign-in page with its cookies and its CSRF token.
    async fn open(oauth: &RingOauth, hardware_id: &str, device_name: &str) -> Result<Self, StartFailure> {
        check_hardware_id(hardware_id)?;
        let (verifier, state) = (random()?, random()?);
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()));
        let mut url = oauth.endpoints.oauth.url(AUTHORIZE);
        url.query_pairs_mut().extend_pairs([
            ("redirect_uri", REDIRECT_URI),
            ("client_id", CLIENT_ID),
            ("response_type", "code"),
            ("prompt", "login"),
            ("state", state.expose()),
            ("scope", SCOPE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("device_model", device_name),
            ("app_version", "3.102.0"),
            ("dark_mode", "false"),
            ("device_brand", "google"),
            ("device_os_version", "14"),
            ("app_brand", "ring"),
            ("hardware_id", hardware_id),
        ]);
        let mut login = Self {
            hardware_id: hardware_id.to_owned(),
            verifier,
            state,
            jar: Jar::new(),
            csrf: Secret::new(""),
            page: url.clone(),
            verified: false,
            is_over: false,
        };
        let Landing::Page(answer) = login.walk(oauth, url).await? else {
            return Err(unfinished().into());
        };
        let facts = facts(&answer);
        match answer.status {
            200..=299 => {}
            404 | 405 => return Err(unavailable(&facts)),
            403 | 406 => {
                let error = if facts.asks_for_captcha() { facts.captcha() } else { facts.blocked() };
                return Err(StartFailure { error, other_flow_may_work: true });
            }
            _ => return Err(facts.common_error().into()),
        }
        login.csrf = csrf::find(&answer.body, &login.jar).ok_or_else(|| {
            if facts.asks_for_captcha() {
                return StartFailure { error: facts.captcha(), other_flow_may_work: true };
            }
            unavailable(&facts)
        })?;
        login.page = answer.url;
        login.page.set_fragment(None);
        Ok(login)
    }

    /// Fetches the authorization code, and exchanges it for tokens.
    async fn finish(&mut self, oauth: &RingOauth) -> Result<Grant> {
        let url = oauth.endpoints.oauth.url(AUTHORIZE);
        let callback = match self.walk(oauth, url).await? {
            Landing::Callback(url) => url,
            Landing::Page(answer) if answer.status < 300 => return Err(unfinished()),
            Landing::Page(answer) => return Err(facts(&answer).common_error()),
        };
        let code = self.read_callback(&callback)?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", self.verifier.expose()),
            ("client_id", CLIENT_ID),
        ];
        match oauth.token(GrantKind::AuthorizationCode, &fields, &self.hardware_id, "").await {
            Ok(TokenAnswer::Granted(grant)) => Ok(grant),
            Ok(TokenAnswer::CodeNeeded(_)) => Err(unasked_code()),
            Err(failed) => Err(failed.error),
        }
    }

    /// Reads the authorization code from the callback, whose origin and path the caller has checked. A parameter counts
    /// only if it occurs once.
    fn read_callback(&mut self, callback: &Url) -> Result<Secret> {
        let once = |name: &str| {
            let mut values = callback.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            values.next().filter(|_| values.next().is_none()).map(Secret::new)
        };
        let (code, state) = (once("code"), once("state"));
        if !state.is_some_and(|state| same(state.expose(), self.state.expose())) {
            self.is_over = true;
            return Err(Error::new(
                ErrorCode::Protocol,
                "Ring's sign-in page answered for another login than this one, so its code was not used. Log in again.",
            ));
        }
        code.filter(|code| !code.is_empty()).ok_or_else(unfinished)
    }

    /// Fetches a page. Follows redirects on Ring's own origin, up to the callback.
    async fn walk(&mut self, oauth: &RingOauth, start: Url) -> Result<Landing> {
        let mut url = start;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send(oauth, Method::Get, url, None).await?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Landing::Page(answer));
            }
            let facts = facts(&answer);
            let target = answer.headers.first("location").and_then(|location| answer.url.join(location).ok());
            let Some(target) = target else { return Err(facts.not_rings()) };
            if is_callback(&target) {
                return Ok(Landing::Callback(target));
            }
            if !oauth.endpoints.oauth.holds(&target) || has_credentials(&target) {
                return Err(facts.error(
                    ErrorCode::Protocol,
                    "Ring's sign-in page sent us to another site, which was not followed. Check whether a proxy or \
                     captive portal answers instead of Ring.",
                ));
            }
            url = target;
        }
        Err(Error::new(
            ErrorCode::Protocol,
            "Ring's sign-in page sent us around in circles. Try again later, or use the password flow.",
        ))
    }

    async fn post(&mut self, oauth: &RingOauth, path: &str, body: Body) -> Result<Answer> {
        self.send(oauth, Method::Post, oauth.endpoints.oauth.url(path), Some(body)).await
    }

    async fn send(&mut self, oauth: &RingOauth, method: Method, url: Url, body: Option<Body>) -> Result<Answer> {
        let mut headers = vec![
            ("user-agent".into(), oauth.user_agent().to_owned()),
            ("accept".into(), "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8".to_owned()),
            ("hardware_id".into(), self.hardware_id.clone()),
        ];
        if method == Method::Post {
            headers.push(("origin".into(), oauth.endpoints.oauth.ascii()));
            headers.push(("referer".into(), self.page.to_string()));
        }
        if let Some(cookies) = self.jar.header(&url) {
            headers.push(("cookie".into(), cookies));
        }
        // Ring may have sent or accepted a code for this form, so its answer must not be lost because of an invalid end.
        let enough: Option<Enough> = (method == Method::Post).then_some(is_enough);
        let request = Request { method, url, headers, body, limit: PAGE_LIMIT, timeout: None, enough };
        let answer = oauth.http.send(request).await.map_err(|failure| failure.to_error())?;
        // If the CSRF token comes from a cookie, a form must contain the same value as the cookie, even after the cookie has changed.
        let in_cookie = csrf::in_cookies(&self.jar).as_ref() == Some(&self.csrf);
        self.jar.store(&answer.headers, &answer.url);
        if in_cookie && let Some(csrf) = csrf::in_cookies(&self.jar) {
            self.csrf = csrf;
        }
        Ok(answer)
    }
}

const AUTHORIZE: &str = "/oauth/v2/authorize";

const REDIRECT_URI: &str = "https://ring.com/signin/callback";

const MOST_REDIRECTS: usize = 5;

/// Whether the part of the body that has arrived is enough to read the answer to a form.
fn is_enough(status: u16, body: &[u8], ended: bool) -> bool {
    Object::whole(body).is_some() || (ended && matches!(status, 204 | 300..=399 | 412))
}

/// The end of a chain of redirects.
enum Landing {
    Page(Answer),
    Callback(Url),
}

/// Reads the answer to e-mail and password: the code that Ring waits for, or `None` if it needs none.
fn read_sign_in(oauth: &RingOauth, answer: &Answer) -> Result<Option<TwoFactor>, StartFailure> {
    let facts = facts(answer);
    if (400..=499).contains(&answer.status) && facts.asked_for_too_many_codes() {
        return Err(facts.too_many_codes().into());
    }
    match answer.status {
        412 => return Ok(Some(TwoFactor::from_answer(&answer.body))),
        403 | 406 | 429 | 500.. => {}
        _ if TwoFactor::is_in(&answer.body) => return Ok(Some(TwoFactor::from_answer(&answer.body))),
        _ => {}
    }
    match answer.status {
        204 => Ok(None),
        // No such page is known yet. If a page asks for a code, the user can enter it even if the rest of the page is unknown.
        200..=299 if let Some(two_factor) = page::asks_for_code(&answer.body) => Ok(Some(two_factor)),
        200..=299 | 400..=499 if facts.asks_for_captcha() => Err(facts.captcha().into()),
        // This answer to a password is not known yet, but Ring's answer to a code has this form.
        200 | 201 if is_completed(&facts) => {
            let needed = facts.text("redirect_url").is_some_and(|url| url.contains("/2fa"));
            Ok(needed.then(|| TwoFactor::from_answer(&answer.body)))
        }
        300..=399 => {
            let target = answer.headers.first("location").and_then(|location| answer.url.join(location).ok());
            let target = target.ok_or_else(|| facts.not_rings())?;
            if !oauth.endpoints.oauth.holds(&target) && !is_callback(&target) {
                return Err(facts.common_error().into());
            }
            let needed = target.path().contains("/2fa");
            Ok(needed.then(|| TwoFactor::from_answer(&answer.body)))
        }
        401 => Err(facts.wrong_credentials().into()),
        // Ring has refused the CSRF token of the sign-in page, so it has not checked the password.
        403 if facts.is_json_object() && facts.mentions("csrf") => Err(facts
            .error(
                ErrorCode::Protocol,
                "Ring's sign-in page refused its own form. Try again, or use the password flow.",
            )
            .into()),
        404 | 405 => Err(unavailable(&facts)),
        200..=299 => Err(facts.not_rings().into()),
        _ => Err(facts.common_error().into()),
    }
}

/// Reads the answer to a code: `None` if Ring has accepted it, or the code that Ring waits for now.
fn read_verification(answer: &Answer) -> Result<Option<TwoFactor>> {
    let facts = facts(answer);
    match answer.status {
        400..=499 if facts.asked_for_too_many_codes() => Err(facts.too_many_codes()),
        200 | 201 if is_completed(&facts) => Ok(None),
        200..=299 | 400..=499 if facts.asks_for_captcha() => Err(facts.captcha()),
        412 => Ok(Some(TwoFactor::from_answer(&answer.body))),
        400 if facts.mentions("too many requests") || facts.is_page() => Err(facts.common_error()),
        400 | 401 => Err(facts.wrong_code()),
        403 if facts.is_json_object() && facts.mentions("csrf") => Err(facts
            .error(ErrorCode::Protocol, "Ring's sign-in page refused its own form. Try again, or begin a new login.")),
        200..=299 => Err(facts.not_rings()),
        _ => Err(facts.common_error()),
    }
}

/// Whether the answer is like `{"redirect_url":…,"status":"auth-completed"}`. One of the two members is enough.
fn is_completed(facts: &Facts<'_>) -> bool {
    facts.text("status").as_deref() == Some("auth-completed") || facts.text("redirect_url").is_some()
}

fn facts(answer: &Answer) -> Facts<'_> {
    Facts::new(answer.status, &answer.headers, &answer.body, SystemTime::now())
}

fn unavailable(facts: &Facts<'_>) -> StartFailure {
    let error = facts.error(ErrorCode::Protocol, "Ring offers no web login that is known here. Use the password flow.");
    StartFailure { error, other_flow_may_work: true }
}

fn unfinished() -> Error {
    Error::new(
        ErrorCode::Protocol,
        "Ring's sign-in page did not bring the login to its end. Try again, or use the password flow.",
    )
}

/// Whether a URL has the origin and path of the callback, and no credentials. Its query does not matter.
fn is_callback(url: &Url) -> bool {
    Url::parse(REDIRECT_URI).is_ok_and(|callback| callback.origin() == url.origin() && callback.path() == url.path())
        && !has_credentials(url)
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Compares two texts in constant time.
fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// 32 random bytes in base64url: 43 characters.
fn random() -> Result<Secret> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::new(
            ErrorCode::Protocol,
            "This system gives no random numbers, without which a web login is not safe. Use the password flow.",
        )
        .with_cause(error)
    })?;
    Ok(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}
