//! The OAuth client: requests to Ring, its answers, and the meaning of each answer.
//!
//! `docs/protocol.md` describes the protocol. The callers of this module decide when to make a request.

mod classify;
mod cookies;
mod csrf;
mod endpoint;
mod json;
mod login;
mod page;
mod password;
mod pkce;
mod refresh;
mod two_factor;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

pub use classify::{GrantKind, TokenAnswer, classify, http_date, is_page, refusal, retry_after};
pub use endpoint::{Endpoints, Origin};
pub use login::{Login, LoginFlow, LoginRequest, LoginStep};
pub use two_factor::{TwoFactor, TwoFactorMethod};

use crate::http::{API_LIMIT, Body, Http, HttpClient, HttpConfig, HttpFailure, Method, Request};
use crate::task::BoxFuture;
use crate::{Error, Result, Secret};

/// The default `User-Agent`. It must look like that of Ring's Android app, or Ring's edge answers 403 or 406.
pub const DEFAULT_USER_AGENT: &str = "android:com.ringapp:3.113.0(70497080)";

/// A client of Ring's authentication server: the HTTP client, the endpoints and the `User-Agent`.
pub struct RingOauth {
    http: Arc<dyn Http>,
    endpoints: Endpoints,
    user_agent: Option<Box<str>>,
}

impl RingOauth {
    /// Creates a client. `user_agent` defaults to [`DEFAULT_USER_AGENT`]. Fails with `INVALID_ARGUMENT` if `user_agent`
    /// is empty, is over 512 bytes, has spaces around it, or contains control or non-ASCII characters.
    pub fn new(http: Arc<dyn Http>, endpoints: Endpoints, user_agent: Option<&str>) -> Result<Self> {
        if let Some(text) = user_agent {
            let fits = text.len() <= 512 && text.trim().len() == text.len() && !text.is_empty();
            if !fits || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(Error::invalid(
                    "userAgent must be 1 to 512 printable ASCII characters without spaces around them. Leave it out \
                     for the default.",
                ));
            }
        }
        Ok(Self { http, endpoints, user_agent: user_agent.map(Box::from) })
    }

    /// Returns a client over the network. All managers of a process that have equal settings share one client.
    ///
    /// # Errors
    ///
    /// The errors of [`RingOauth::new`].
    pub fn shared(config: HttpConfig, endpoints: Endpoints, user_agent: Option<&str>) -> Result<Arc<Self>> {
        let key = (config, endpoints, user_agent.map(str::to_owned));
        let mut known = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, weak)| weak.strong_count() > 0);
        if let Some(same) = known.iter().find(|(of, _)| *of == key).and_then(|(_, weak)| weak.upgrade()) {
            return Ok(same);
        }
        let http = Arc::new(HttpClient::new(key.0.clone()));
        let oauth = Arc::new(Self::new(http, key.1.clone(), user_agent)?);
        known.push((key, Arc::downgrade(&oauth)));
        Ok(oauth)
    }

    /// The origins of Ring's servers.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The HTTP client that sends the requests.
    pub fn http(&self) -> &Arc<dyn Http> {
        &self.http
    }

    /// The value of the `User-Agent` header.
    pub fn user_agent(&self) -> &str {
        self.user_agent.as_deref().unwrap_or(DEFAULT_USER_AGENT)
    }

    /// Sends a form to the token endpoint. `code` is the value of the `2fa-code` header. It is empty if there is no code,
    /// as in ring-client-api.
    async fn token(
        &self,
        kind: GrantKind,
        fields: &[(&str, &str)],
        hardware_id: &str,
        code: &str,
    ) -> Result<TokenAnswer, WireError> {
        check_hardware_id(hardware_id).map_err(WireError::not_sent)?;
        let request = Request {
            method: Method::Post,
            url: self.endpoints.oauth.url(TOKEN_PATH),
            headers: vec![
                ("user-agent".into(), self.user_agent().to_owned()),
                ("accept".into(), "application/json".to_owned()),
                ("hardware_id".into(), hardware_id.to_owned()),
                ("2fa-support".into(), "true".to_owned()),
                ("2fa-code".into(), code.to_owned()),
            ],
            body: Some(Body::form(fields)),
            limit: API_LIMIT,
            timeout: None,
            // If Ring grants the request, the old token is spent, and only this answer contains the new one.
            enough: Some(classify::is_enough),
        };
        let answer = self.http.send(request).await?;
        classify(kind, answer.status, &answer.headers, &answer.body, SystemTime::now())
    }
}

/// The settings of a shared client, and the client as long as it is in use.
type Shared = ((HttpConfig, Endpoints, Option<String>), Weak<RingOauth>);

static SHARED: Mutex<Vec<Shared>> = Mutex::new(Vec::new());

impl fmt::Debug for RingOauth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingOauth")
            .field("endpoints", &self.endpoints)
            .field("user_agent", &self.user_agent())
            .finish_non_exhaustive()
    }
}

/// Ring's answer to a grant: an access token, and the refresh token that replaces the one that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The access token, for the `Authorization` header of API requests.
    pub access_token: Secret,
    /// The raw refresh token, not the wrapper. It works once.
    pub refresh_token: Secret,
    /// The token type. Ring is only known to send `Bearer`.
    pub token_type: String,
    /// The scope. Ring is only known to send `client`.
    pub scope: String,
    /// The lifetime of the access token, at most 24 h. It is 60 s if Ring's answer has none or one that is not a positive number.
    pub lifetime: Duration,
    /// The `Date` of the answer, since 1970: when Ring made it, by Ring's clock.
    pub date: Option<Duration>,
}

/// A failed request, and whether Ring may have processed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// The error for the caller.
    pub error: Error,
    /// Whether Ring may have processed the request although no usable answer arrived. If so, the caller must send the same
    /// token again soon.
    pub ambiguous: bool,
    /// The `Date` of Ring's answer, since 1970.
    pub date: Option<Duration>,
}

impl WireError {
    /// Creates the error for a failure before anything was sent.
    fn not_sent(error: Error) -> Self {
        Self { error, ambiguous: false, date: None }
    }
}

impl From<HttpFailure> for WireError {
    fn from(failure: HttpFailure) -> Self {
        Self { error: failure.to_error(), ambiguous: failure.ambiguous, date: None }
    }
}

/// The client of Ring's authentication server. The manager and the API client use [`RingOauth`] only through this trait.
pub trait OauthClient: Send + Sync + 'static {
    /// Sends the refresh token once and returns Ring's answer. It never retries.
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a Secret,
        hardware_id: &'a str,
    ) -> BoxFuture<'a, Result<Grant, WireError>>;

    /// Does the slow part of a request in advance, such as reading certificate files. It takes a few seconds at most.
    ///
    /// Fails only if no request is possible at all. In that case ring-auth sends nothing, and a retry cannot succeed.
    fn prepare(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Creates a login, which sends nothing yet.
    fn login(self: Arc<Self>, request: LoginRequest) -> Login;

    /// The origins of Ring's servers.
    fn endpoints(&self) -> &Endpoints;

    /// The value of the `User-Agent` header.
    fn user_agent(&self) -> &str;
}

const TOKEN_PATH: &str = "/oauth/token";

/// The client id of the Android app. Ring has required it in the body since September 2024.
const CLIENT_ID: &str = "ring_official_android";

/// The only known OAuth scope.
const SCOPE: &str = "client";

/// Checks that a hardware id is valid in a header. It may come from a pasted token.
fn check_hardware_id(hardware_id: &str) -> Result<()> {
    if (1..=256).contains(&hardware_id.len()) && hardware_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid(
        "The hardware id must be 1 to 256 printable ASCII characters without spaces. Log in again to get a token with \
         a proper one.",
    ))
}

#[cfg(test)]
mod tests;
