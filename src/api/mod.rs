//! Requests to Ring's API with the manager's token: which hosts get the token, which requests are repeated, and the session that
//! some of them need.
//!
//! The manager decides when a token is refreshed. This module asks it for a token, and reports each 401.

mod hosts;
mod meaning;
mod policy;
mod session;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{HeaderName, HeaderValue};
use tokio::sync::watch;
use url::Url;

pub use hosts::Hosts;

use crate::http::{Answer, Body, FailureKind, Http, Method, Request};
use crate::journal::state::Millis;
use crate::manager::{Auth, Clock, Level, Manager};
use crate::{Error, ErrorCode, Result, Secret};
use meaning::{Meaning, meaning};
use policy::{Patience, Trouble};
use session::Session;

/// The length of the longest answer, in bytes: a recording is larger than any answer of the token endpoint.
pub const DATA_LIMIT: usize = 64 * 1024 * 1024;

/// The receiver of each session that was made. Any thread calls it; it must not block.
pub trait Listener: Send + Sync + 'static {
    /// Receives Ring's answer to the request that made a session.
    fn on_session(&self, answer: &Answer);
}

/// A request of a caller. `Debug` shows neither query, header values nor body.
#[derive(Clone)]
pub struct Call {
    /// The address, on one of the [`Hosts`].
    pub url: Url,
    /// The method.
    pub method: Method,
    /// The caller's own headers. This module sets those that Ring needs, and replaces the caller's.
    pub headers: Vec<(String, String)>,
    /// The body, with the caller's own `content-type`.
    pub body: Option<Vec<u8>>,
    /// The time limit of one exchange, if it is not the manager's.
    pub timeout: Option<Duration>,
    /// Whether the caller needs no answer. Then the request is not repeated if there is none.
    pub allow_no_response: bool,
    /// Whether redirects to Ring's hosts are followed.
    pub follow_redirects: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("method", &self.method).field("to", &place(&self.url)).finish_non_exhaustive()
    }
}

/// The reason why a request failed, and the answer if there was one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The error for the caller.
    pub error: Error,
    /// Ring's answer.
    pub answer: Option<Answer>,
    /// Whether the error is the manager's: there was no access token.
    pub no_token: bool,
}

impl Failure {
    fn without_token(error: Error) -> Self {
        Self { error, answer: None, no_token: true }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, answer: None, no_token: false }
    }
}

/// A client of the API for one account. Its clones are the same client.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    manager: Manager,
    http: Arc<dyn Http>,
    hosts: Hosts,
    device_name: String,
    listener: Arc<dyn Listener>,
    session: Mutex<Session>,
    /// The number of times that the waits were cleared, and whether the client is closed.
    ends: watch::Sender<Ends>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ends {
    cleared: u64,
    closed: bool,
}

impl Api {
    /// Makes a client. It makes no request, and no session before Ring asks for one.
    ///
    /// `http` is not the manager's: it may keep its connections. `device_name` is the name of this device in a session.
    pub fn new(manager: Manager, http: Arc<dyn Http>, device_name: String, listener: Arc<dyn Listener>) -> Self {
        let hosts = Hosts::new(manager.parts().oauth.endpoints());
        let inner = Inner {
            manager,
            http,
            hosts,
            device_name,
            listener,
            session: Mutex::default(),
            ends: watch::Sender::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Sends a request with a valid access token, and repeats it if that can help: after a 401 with a new token, after a session was
    /// made, and after a wait if a device is busy or there is no answer.
    ///
    /// A caller that drops the future gives up waiting; a rotation or a session under way continues for others.
    pub async fn request(&self, call: Call) -> Result<Answer, Failure> {
        let inner = &self.inner;
        inner.while_open(inner.request(call)).await
    }

    /// Makes a session, or joins the one that is being made, and gives Ring's answer.
    pub async fn session(&self) -> Result<Answer, Failure> {
        let inner = &self.inner;
        inner.while_open(inner.new_session()).await
    }

    /// Stops the renewal of the session. Callers that wait for a next try get `ABORTED`. Requests that were sent continue.
    pub fn clear(&self) {
        self.inner.ends.send_modify(|ends| ends.cleared += 1);
    }

    /// Closes the client; the manager stays open. Every later call fails with `CLOSED`.
    pub fn close(&self) {
        self.inner.ends.send_modify(|ends| *ends = Ends { cleared: ends.cleared + 1, closed: true });
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("hosts", &self.inner.hosts).finish_non_exhaustive()
    }
}

impl Inner {
    async fn while_open(&self, work: impl Future<Output = Result<Answer, Failure>>) -> Result<Answer, Failure> {
        let mut ends = self.ends.subscribe();
        tokio::select! {
            biased;
            _ = ends.wait_for(|ends| ends.closed) => Err(closed().into()),
            outcome = work => outcome,
        }
    }

    async fn request(self: &Arc<Self>, call: Call) -> Result<Answer, Failure> {
        let target = self.check(&call)?;
        let mut ends = self.ends.subscribe();
        let reads = matches!(call.method, Method::Get | Method::Head);
        let mut patience = Patience::new(reads, self.clock().monotonic());
        // The access token that was rejected, when it expires, and the answer.
        let mut refused: Option<(Secret, Millis, Failure)> = None;
        let mut noted = false;
        loop {
            let sessions_made = self.session_under_way(&patience, &ends).await?;
            let auth = match self.manager.auth().await {
                Ok(auth) => auth,
                Err(error) if passes(error.code()) && !call.allow_no_response => {
                    let trouble = Trouble::NoToken(error.retry_after());
                    self.pause(&mut patience, trouble, &mut ends, &Failure::without_token(error)).await?;
                    continue;
                }
                Err(error) => return Err(Failure::without_token(error)),
            };
            if let Some((token, expires_at, failure)) = refused.take()
                && (token, expires_at) == (auth.access_token.clone(), auth.expires_at)
            {
                // The manager rotates no further for this API.
                return Err(failure);
            }
            let answer = match self.exchange(&call, &target, &auth).await {
                Ok(answer) => answer,
                Err(failure) if call.allow_no_response || failure.error.code() == ErrorCode::Protocol => {
                    return Err(failure);
                }
                Err(failure) => {
                    let level = if noted { Level::Debug } else { Level::Warn };
                    noted = true;
                    let cause = failure.error.cause().map(|cause| format!(" ({cause})")).unwrap_or_default();
                    self.manager
                        .log(level, format!("No answer from {}{cause}. Trying again in 5 seconds.", place(&target)));
                    self.pause(&mut patience, Trouble::NoAnswer, &mut ends, &failure).await?;
                    continue;
                }
            };
            let trouble = match meaning(&answer, &auth.hardware_id) {
                Meaning::Fine => return Ok(answer),
                Meaning::Failed => return Err(failed(answer, &auth)),
                Meaning::Unauthorized => Trouble::Unauthorized,
                Meaning::GatewayTimeout => Trouble::GatewayTimeout,
                Meaning::SessionGone => Trouble::SessionGone,
                Meaning::Asset(names) => {
                    self.manager.log(Level::Warn, format!("{}: {names}. Trying again in 20 seconds.", place(&target)));
                    Trouble::Asset
                }
            };
            let failure = failed(answer, &auth);
            self.pause(&mut patience, trouble, &mut ends, &failure).await?;
            match trouble {
                Trouble::Unauthorized => {
                    self.manager.invalidate_access_token(auth.access_token.expose())?;
                    refused = Some((auth.access_token, auth.expires_at, failure));
                }
                Trouble::SessionGone => {
                    self.manager.log(Level::Info, "Ring has no session of this device: making one.");
                    match self.session_in_time(sessions_made, &patience).await {
                        Ok(()) => {}
                        // The session got no answer, so this counts as no answer, too.
                        Err(failure) if failure.answer.is_none() && passes(failure.error.code()) => {
                            self.pause(&mut patience, Trouble::NoAnswer, &mut ends, &failure).await?;
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                _ => {}
            }
        }
    }

    /// The address of the request, if it can be sent.
    fn check(&self, call: &Call) -> Result<Url> {
        for (name, value) in &call.headers {
            if HeaderName::from_bytes(name.as_bytes()).is_err() || HeaderValue::from_bytes(value.as_bytes()).is_err() {
                return Err(Error::invalid("One of the headers has a name or a value that no header can have."));
            }
        }
        self.hosts.target(&call.url).ok_or_else(|| {
            Error::invalid(format!(
                "The account's token goes to Ring's own hosts over https and to the configured ones, not to {}. Use fetch \
                 for other servers.",
                place(&call.url)
            ))
        })
    }

    /// Does one exchange, and follows redirects to Ring's hosts.
    async fn exchange(&self, call: &Call, target: &Url, auth: &Auth) -> Result<Answer, Failure> {
        let mut method = call.method;
        let mut body = call.body.as_deref();
        let mut url = target.clone();
        let mut redirects = 0;
        loop {
            let mut headers = self.credentials(auth);
            let mut content_type = None;
            for (name, value) in &call.headers {
                let name = name.to_ascii_lowercase();
                if name == "content-type" && body.is_some() {
                    content_type = Some(value.clone());
                } else if !OURS.contains(&name.as_str()) {
                    headers.push((Cow::Owned(name), value.clone()));
                }
            }
            let request = Request {
                method,
                url: url.clone(),
                headers,
                body: match body {
                    Some(bytes) => Some(Body::raw(bytes.to_vec(), content_type)),
                    // Some servers accept no such request without a length.
                    None if matches!(method, Method::Post | Method::Put | Method::Patch) => {
                        Some(Body::raw(Vec::new(), None))
                    }
                    None => None,
                },
                limit: DATA_LIMIT,
                timeout: call.timeout,
                enough: None,
            };
            let answer = self.send(request).await?;
            if !call.follow_redirects || redirects == policy::MOST_REDIRECTS {
                return Ok(answer);
            }
            // No request goes to a host that must not get the credentials.
            let Some(next) = redirect(&answer).and_then(|next| self.hosts.target(&next)) else { return Ok(answer) };
            if answer.status == 303 || (matches!(answer.status, 301 | 302) && method == Method::Post) {
                body = None;
                if method != Method::Head {
                    method = Method::Get;
                }
            }
            url = next;
            redirects += 1;
        }
    }

    async fn send(&self, request: Request) -> Result<Answer, Failure> {
        self.http.send(request).await.map_err(|failure| {
            let error = failure.to_error();
            match failure.kind {
                FailureKind::TooLarge => Error::new(
                    ErrorCode::Protocol,
                    format!("The answer is larger than {} MiB.", DATA_LIMIT / 1024 / 1024),
                )
                .into(),
                _ => error.into(),
            }
        })
    }

    /// The headers that Ring's API needs in every request.
    fn credentials(&self, auth: &Auth) -> Vec<(Cow<'static, str>, String)> {
        vec![
            ("user-agent".into(), self.manager.parts().oauth.user_agent().to_owned()),
            ("hardware_id".into(), auth.hardware_id.clone()),
            ("authorization".into(), format!("Bearer {}", auth.access_token.expose())),
        ]
    }

    /// Waits before the next try, or returns the failure if there is none.
    async fn pause(
        &self,
        patience: &mut Patience,
        trouble: Trouble,
        ends: &mut watch::Receiver<Ends>,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let wait = patience.again_after(trouble, self.clock().monotonic()).ok_or_else(|| failure.clone())?;
        self.nap(wait, ends).await.map_err(Into::into)
    }

    /// Waits, unless the waits are cleared.
    async fn nap(&self, wait: Duration, ends: &mut watch::Receiver<Ends>) -> Result<()> {
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            biased;
            // Closing clears the waits, too, and another thread can do so between two checks.
            _ = ends.changed() => Err(if ends.borrow().closed {
                closed()
            } else {
                Error::new(
                    ErrorCode::Aborted,
                    "The timers were cleared while this request waited for its next try.",
                )
            }),
            () = self.clock().sleep(wait) => Ok(()),
        }
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.manager.parts().clock
    }

    fn session_state(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The headers that a caller cannot set: those of the account, and those of the connection.
const OURS: [&str; 10] = [
    "authorization",
    "hardware_id",
    "user-agent",
    "host",
    "accept-encoding",
    "content-length",
    "connection",
    "transfer-encoding",
    "expect",
    "upgrade",
];

/// Whether a refresh that failed in this way may work later although the user does nothing. `BLOCKED` is reported.
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Network
            | ErrorCode::Timeout
            | ErrorCode::ServerError
            | ErrorCode::Protocol
            | ErrorCode::RateLimited
            | ErrorCode::StoreLocked
    )
}

/// The address to which an answer redirects.
fn redirect(answer: &Answer) -> Option<Url> {
    if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    answer.url.join(answer.headers.first("location")?).ok()
}

fn failed(answer: Answer, auth: &Auth) -> Failure {
    let error = meaning::error(&answer, auth.access_token.expose(), SystemTime::now());
    Failure { error, answer: Some(answer), no_token: false }
}

fn closed() -> Error {
    Error::new(ErrorCode::Closed, "This client was closed.")
}

/// Host and path, for a log: a query can contain a secret.
fn place(url: &Url) -> String {
    format!("{}{}", url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests;
