//! One HTTP exchange: a request, and its answer or the reason why there is none.
//!
//! If a request has no answer, the manager needs to know whether it may have reached Ring. So a failure contains that, and in doubt it
//! says yes.

mod client;
mod connector;
mod crypto;
mod encoding;
mod inspect;
mod received;
mod roots;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use url::{Host, Url};

pub use client::HttpClient;
pub use connector::is_rings_name;
pub use inspect::{Certificate, Trust, Way, addresses, connect, is_sinkhole};

use crate::task::BoxFuture;
use crate::{Error, ErrorCode};

/// The length of the longest answer of the token endpoint, or of one about a session, in bytes.
pub const API_LIMIT: usize = 1024 * 1024;

/// The most that a page of the web login may hold, in bytes.
pub const PAGE_LIMIT: usize = 2 * 1024 * 1024;

/// A client for single requests. The flows use the network only by this trait, so that their tests open no socket.
pub trait Http: Send + Sync + 'static {
    /// Sends the request once, follows no redirect, repeats nothing, and reads the whole answer.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>>;

    /// Does the slow part of a request to that host beforehand, such as reading files, so that [`Http::send`] does not have to. It takes
    /// a few seconds at most.
    ///
    /// Fails only with [`FailureKind::Misconfigured`], which no other try can change. The request itself reports any other failure.
    fn prepare<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<(), HttpFailure>> {
        let _ = url;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Decides whether an answer is complete enough, by its status, the part of its body that has arrived, and whether the transfer has ended
/// early.
pub type Enough = fn(u16, &[u8], bool) -> bool;

/// The methods that Ring's servers know. Its authentication needs the first two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `HEAD`
    Head,
}

/// A request. `Debug` shows no header value, no query and no body.
#[derive(Clone)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: Method,
    /// The address.
    pub url: Url,
    /// Names in lower case, with their values; `content-type` comes from the body.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Option<Body>,
    /// The most bytes that the body of the answer may have; more is [`FailureKind::TooLarge`].
    pub limit: usize,
    /// The time limit of the whole exchange, if it is not that of the client.
    pub timeout: Option<Duration>,
    /// For an answer that may contain the only copy of a token. As soon as this function accepts what has arrived, that is the answer, even
    /// if the rest never comes, or if its headers, its length or its end are wrong.
    pub enough: Option<Enough>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &without_query(&self.url))
            .field("headers", &names)
            .field("body", &self.body)
            .field("limit", &self.limit)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The body of a request. `Debug` shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    content_type: Option<Cow<'static, str>>,
    bytes: Vec<u8>,
}

impl Body {
    /// A form (`application/x-www-form-urlencoded`), every odd character encoded.
    pub fn form(fields: &[(&str, &str)]) -> Self {
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self { content_type: Some("application/x-www-form-urlencoded".into()), bytes: text.into_bytes() }
    }

    /// A JSON text.
    pub fn json(value: &serde_json::Value) -> Self {
        Self { content_type: Some("application/json".into()), bytes: value.to_string().into_bytes() }
    }

    /// The caller's bytes, with their type.
    pub fn raw(bytes: Vec<u8>, content_type: Option<String>) -> Self {
        Self { content_type: content_type.map(Cow::Owned), bytes }
    }

    /// The value of the `content-type` header.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The bytes that are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({}, {} bytes)", self.content_type.as_deref().unwrap_or("no type"), self.bytes.len())
    }
}

/// A whole answer. `Debug` shows no header value, no query and no body.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
    /// The URL of the request: redirects are not followed.
    pub url: Url,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body_length", &self.body.len())
            .field("url", &without_query(&self.url))
            .finish()
    }
}

/// The headers of an answer. `Debug` shows their names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Takes names in any case, and several values of the same name.
    pub fn new<N: AsRef<str>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value.into())).collect())
    }

    /// The first value of that name (in lower case).
    pub fn first<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All of them, their names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All values of that name (in lower case), in the order they came.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFailure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The request may have been sent, and the server may have acted on it.
    pub ambiguous: bool,
    /// The system's message, without any URL.
    pub cause: Option<String>,
}

impl HttpFailure {
    /// The error for the caller. It does not contain whether the failure is ambiguous.
    pub fn to_error(&self) -> Error {
        let error = match self.kind {
            // The cause is the whole sentence, with the name of the variable.
            FailureKind::Misconfigured => return Error::invalid(self.cause.as_deref().unwrap_or_default()),
            FailureKind::NotSent => Error::new(
                ErrorCode::Network,
                "Ring could not be reached. Check the network connection, the name server and the proxy settings.",
            ),
            FailureKind::NotSentWithoutProxy(variable) => Error::new(
                ErrorCode::Network,
                format!(
                    "Ring could not be reached. npm uses a proxy here ({variable}) that other programs do not know: set HTTPS_PROXY to the same address."
                ),
            ),
            FailureKind::BlockedByNameServer => Error::new(
                ErrorCode::Network,
                "Ring is blocked by the name server: it answers with an address of this machine instead of Ring's. Allow \
                 ring.com and its subdomains where that is set: Pi-hole, AdGuard, a router, or the hosts file.",
            ),
            FailureKind::Untrusted => Error::new(
                ErrorCode::Network,
                "The server's certificate is not trusted. If a proxy or virus scanner inspects TLS here, name its \
                 root certificate (PEM) in NODE_EXTRA_CA_CERTS; otherwise check this machine's clock.",
            ),
            FailureKind::Timeout => Error::new(
                ErrorCode::Timeout,
                "Ring did not answer in time. Try again; if it stays so, check the network or allow more time.",
            ),
            FailureKind::CutOff => Error::new(
                ErrorCode::Network,
                "The connection to Ring broke before its answer was complete. Try again.",
            ),
            FailureKind::TooLarge => Error::new(
                ErrorCode::Protocol,
                "The answer is far larger than any of Ring's. Check whether a proxy or captive portal answers instead.",
            ),
        };
        match &self.cause {
            Some(cause) => error.with_cause(cause),
            None => error,
        }
    }
}

/// The kinds of [`HttpFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The environment says something about proxies that cannot be used: no other try can change that. The cause is the whole
    /// sentence.
    Misconfigured,
    /// As `NotSent`, and npm's variable of this name holds a proxy that no other variable has.
    NotSentWithoutProxy(&'static str),
    /// As `NotSent`, because the name of the host leads to this machine itself.
    BlockedByNameServer,
    /// Not resolved, not connected, or no TLS: no byte of the request went out.
    NotSent,
    /// The server's certificate is not to be trusted: no byte of the request went out.
    Untrusted,
    /// The time was up.
    Timeout,
    /// The connection ended before the answer was complete.
    CutOff,
    /// The body of the answer is over the request's limit.
    TooLarge,
}

/// The proxies and certificates of the process's environment. `Debug` shows none of them: a proxy's URL can contain a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `https_proxy` or `HTTPS_PROXY`: an `http:` or `https:` proxy.
    pub https_proxy: Option<String>,
    /// `all_proxy` or `ALL_PROXY`: used if there is no `https_proxy`.
    pub all_proxy: Option<String>,
    /// `no_proxy` or `NO_PROXY`: hosts, domains, addresses and networks, separated by commas, semicolons or spaces; `*` is all.
    pub no_proxy: Option<String>,
    /// The variable in which npm keeps a proxy of its own, which is not used here.
    pub npm_proxy: Option<&'static str>,
    /// `NODE_EXTRA_CA_CERTS`: a PEM file of additional roots.
    pub extra_ca_certs: Option<PathBuf>,
    /// `SSL_CERT_FILE`: a PEM file of additional roots.
    pub ssl_cert_file: Option<PathBuf>,
    /// The roots of the system (PEM) that the user wants to trust, too, or the reason why they are not available.
    pub system_ca: Option<Result<Arc<str>, Arc<str>>>,
}

/// Set once by a program that can read the system's roots.
static SYSTEM_CA: Mutex<Option<Result<Arc<str>, Arc<str>>>> = Mutex::new(None);

impl Environment {
    /// Passes the roots of the system (PEM), or the sentence that explains why they are not available. Each environment that is read
    /// afterwards has them.
    pub fn set_system_ca(roots: Result<String, String>) {
        let roots = roots.map(Arc::from).map_err(Arc::from);
        *SYSTEM_CA.lock().unwrap_or_else(PoisonError::into_inner) = Some(roots);
    }

    /// The reason why the roots of the system are not available, as a sentence for the log.
    pub fn system_ca_problem(&self) -> Option<&str> {
        self.system_ca.as_ref()?.as_ref().err().map(|problem| &**problem)
    }

    /// The variable of npm's proxy, if no variable names a proxy for all programs.
    fn unused_npm_proxy(&self) -> Option<&'static str> {
        self.npm_proxy.filter(|_| self.https_proxy.is_none() && self.all_proxy.is_none())
    }

    /// Reads the process's environment. An empty variable counts as none. `NODE_TLS_REJECT_UNAUTHORIZED` is ignored: no server gets
    /// these tokens without verification.
    pub fn from_process() -> Self {
        // Node's own clients prefer the lower-case name.
        let either = |name: &str| {
            [name, &name.to_ascii_uppercase()]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        };
        let file = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            // Behind a variable of a file that was edited on Windows there is a line end.
            Some(
                value.to_str().map_or_else(|| PathBuf::from(&value), |text| text.trim_end_matches(['\r', '\n']).into()),
            )
        };
        Self {
            https_proxy: either("https_proxy"),
            all_proxy: either("all_proxy"),
            no_proxy: either("no_proxy"),
            npm_proxy: NPM_PROXIES.into_iter().find(|name| either(name).is_some()),
            extra_ca_certs: file("NODE_EXTRA_CA_CERTS"),
            ssl_cert_file: file("SSL_CERT_FILE"),
            system_ca: SYSTEM_CA.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What npm tells its scripts, and `npx` the program that it runs, of the proxy in npm's own settings.
const NPM_PROXIES: [&str; 3] = ["npm_config_https_proxy", "npm_config_proxy", "npm_config_http_proxy"];

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// How [`HttpClient`] sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// The time for a whole exchange, the answer's body included. Connecting gets ten seconds of it at most.
    pub timeout: Duration,
    /// Proxies and certificate roots.
    pub environment: Environment,
    /// Whether connections are kept for the next request, up to six to a host. Never for tokens: one that the server
    /// has closed meanwhile would cost the answer to a rotation.
    pub keep_alive: bool,
}

impl Default for HttpConfig {
    /// 20 s, the process's environment, and a new connection for each request.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(20), environment: Environment::from_process(), keep_alive: false }
    }
}

/// Whether the URL's host is this machine: 127.0.0.0/8, `::1` or `localhost`.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests;
