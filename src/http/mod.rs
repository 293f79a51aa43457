//! One HTTP exchange: a request, and its answer or the reason why there is none.
//!
//! If a request has no answer, the manager needs to know whether the request may have reached Ring. A failure contains that, and in
//! doubt the value is yes.

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

/// The limit for the body of an answer of the token endpoint, or of an answer about a session, in bytes.
pub const API_LIMIT: usize = 1024 * 1024;

/// The limit for the body of a page of the web login, in bytes.
pub const PAGE_LIMIT: usize = 2 * 1024 * 1024;

/// A client for single requests. The OAuth client uses the network only through this trait, so that its tests open no socket.
pub trait Http: Send + Sync + 'static {
    /// Sends the request once, and reads the whole answer. It follows no redirect and repeats nothing.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>>;

    /// Does the slow part of a request to that host in advance, such as reading files, so that [`Http::send`] does not have to. It takes
    /// a few seconds at most.
    ///
    /// Fails only with [`FailureKind::Misconfigured`], which a retry cannot change. The request itself reports any other failure.
    fn prepare<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<(), HttpFailure>> {
        let _ = url;
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Decides whether an answer is complete enough. The arguments are its status, the part of its body that has arrived, and whether
/// the transfer has ended.
pub type Enough = fn(u16, &[u8], bool) -> bool;

/// The methods that Ring's servers accept. Authentication needs only the first two.
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
    /// The HTTP method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// The headers, with names in lower case. `content-type` comes from the body.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Option<Body>,
    /// The most bytes that the body of the answer may have. A larger one fails with [`FailureKind::TooLarge`].
    pub limit: usize,
    /// The time limit of the whole exchange. `None` means that of the client.
    pub timeout: Option<Duration>,
    /// The check for an answer that may contain the only copy of a token. As soon as this function accepts the part that has arrived,
    /// that part is the answer, even if the rest never arrives, or if its headers, its length or its end are invalid.
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
    /// A form (`application/x-www-form-urlencoded`). Every special character is encoded.
    pub fn form(fields: &[(&str, &str)]) -> Self {
        let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self { content_type: Some("application/x-www-form-urlencoded".into()), bytes: text.into_bytes() }
    }

    /// A JSON text.
    pub fn json(value: &serde_json::Value) -> Self {
        Self { content_type: Some("application/json".into()), bytes: value.to_string().into_bytes() }
    }

    /// The caller's bytes, with their content type.
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
    /// Creates headers from names in any case. A name may occur several times.
    pub fn new<N: AsRef<str>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.as_ref().to_ascii_lowercase(), value.into())).collect())
    }

    /// The first value of that name (in lower case).
    pub fn first<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All headers, with names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All values of that name (in lower case), in the order of their arrival.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The reason why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFailure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// Whether the request may have been sent, so that the server may have acted on it.
    pub ambiguous: bool,
    /// The system's message, without any URL.
    pub cause: Option<String>,
}

impl HttpFailure {
    /// The error for the caller. It does not say whether the failure is ambiguous.
    pub fn to_error(&self) -> Error {
        let error = match self.kind {
            // The cause is the whole message, with the name of the variable.
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
    /// The environment names a proxy that cannot be used, which a retry cannot change. The cause is the whole message.
    Misconfigured,
    /// Like `NotSent`, but this variable of npm names a proxy, and no variable for all programs does.
    NotSentWithoutProxy(&'static str),
    /// Like `NotSent`, because the name of the host resolves to this machine itself.
    BlockedByNameServer,
    /// The name was not resolved, or the connection or TLS failed. No byte of the request was sent.
    NotSent,
    /// The server's certificate is not trusted. No byte of the request was sent.
    Untrusted,
    /// The time limit was exceeded.
    Timeout,
    /// The connection ended before the answer was complete.
    CutOff,
    /// The body of the answer is larger than the request's limit.
    TooLarge,
}

/// The proxies and certificates of the process's environment. `Debug` shows none of them, because a proxy's URL can contain a
/// password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `https_proxy` or `HTTPS_PROXY`: an `http:` or `https:` proxy.
    pub https_proxy: Option<String>,
    /// `all_proxy` or `ALL_PROXY`: used if there is no `https_proxy`.
    pub all_proxy: Option<String>,
    /// `no_proxy` or `NO_PROXY`: hosts, domains, addresses and networks, separated by commas, semicolons or spaces. `*` means all.
    pub no_proxy: Option<String>,
    /// The variable in which npm passes its own proxy, which ring-auth does not use.
    pub npm_proxy: Option<&'static str>,
    /// `NODE_EXTRA_CA_CERTS`: a PEM file of additional roots.
    pub extra_ca_certs: Option<PathBuf>,
    /// `SSL_CERT_FILE`: a PEM file of additional roots.
    pub ssl_cert_file: Option<PathBuf>,
    /// The roots of the system (PEM), which the user also wants to trust, or the reason why they are not available.
    pub system_ca: Option<Result<Arc<str>, Arc<str>>>,
}

/// The roots of the system. A program that can read them sets them once.
static SYSTEM_CA: Mutex<Option<Result<Arc<str>, Arc<str>>>> = Mutex::new(None);

impl Environment {
    /// Sets the roots of the system (PEM), or the sentence that explains why they are not available. Each environment that is read
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

    /// Reads the process's environment. An empty variable counts as unset. Ignores `NODE_TLS_REJECT_UNAUTHORIZED`, so that no server
    /// gets a token unless its certificate is verified.
    pub fn from_process() -> Self {
        // Node's own clients prefer the lower-case name.
        let either = |name: &str| {
            [name, &name.to_ascii_uppercase()]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        };
        let file = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            // A variable from a file that was edited on Windows can end with a line end.
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

/// The variables in which npm passes the proxy of its own settings to scripts, and `npx` to the program that it runs.
const NPM_PROXIES: [&str; 3] = ["npm_config_https_proxy", "npm_config_proxy", "npm_config_http_proxy"];

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// The settings of an [`HttpClient`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// The time limit of a whole exchange, including the body of the answer. Connecting takes ten seconds of it at most.
    pub timeout: Duration,
    /// Proxies and certificate roots.
    pub environment: Environment,
    /// Whether the client keeps connections for the next request, up to six per host. It must be off for token requests:
    /// a kept connection that the server has closed in the meantime would cost the answer to a rotation.
    pub keep_alive: bool,
}

impl Default for HttpConfig {
    /// A timeout of 20 s, the process's environment, and a new connection for each request.
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
