//! One HTTP exchange at a time: a request, its answer, or why there is none.
//!
//! What matters to the life of a token is whether a request without an answer may have reached Ring. So a failure says
//! that, and when in doubt it says yes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::header::{HeaderName, HeaderValue};
use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use url::{Host, Url};

use super::BoxFuture;
use crate::{Error, ErrorCode};

/// The most that an answer of the token endpoint may hold, or one about a session, in bytes.
pub const API_LIMIT: usize = 1024 * 1024;

/// The most that a page of the web login may hold, in bytes.
pub const PAGE_LIMIT: usize = 2 * 1024 * 1024;

/// Sends one request. The flows know the network by this alone, so that their tests open no socket.
pub trait Http: Send + Sync + 'static {
    /// Sends the request once, follows no redirect, repeats nothing, and reads the whole answer.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>>;
}

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
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// Names in lower case, with their values; `content-type` comes from the body.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// What it carries.
    pub body: Option<Body>,
    /// The most bytes that the body of the answer may have; more is [`FailureKind::TooLarge`].
    pub limit: usize,
    /// The time for the whole exchange, where it is not the sender's own.
    pub timeout: Option<Duration>,
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
            .finish()
    }
}

/// What a request carries. `Debug` shows its length only.
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

    /// Bytes that somebody else has made, of the type that they say.
    pub fn raw(bytes: Vec<u8>, content_type: Option<String>) -> Self {
        Self { content_type: content_type.map(Cow::Owned), bytes }
    }

    /// The value of the `content-type` header.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// What goes over the wire.
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
    /// What was asked: redirects are not followed.
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
    /// What happened.
    pub kind: FailureKind,
    /// The request may have been sent, and the server may have acted on it.
    pub ambiguous: bool,
    /// What the system said, without any URL.
    pub cause: Option<String>,
}

impl HttpFailure {
    /// What to tell the caller. Whether it is ambiguous is not in it.
    pub fn to_error(&self) -> Error {
        let error = match self.kind {
            FailureKind::NotSent => Error::new(
                ErrorCode::Network,
                "Ring could not be reached. Check the network connection, the name server and the proxy settings.",
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

/// What the process's environment says about reaching servers. `Debug` shows nothing of it: a proxy's URL can hold a
/// password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `https_proxy` or `HTTPS_PROXY`: an `http:` or `https:` proxy.
    pub https_proxy: Option<String>,
    /// `all_proxy` or `ALL_PROXY`: used where there is no `https_proxy`.
    pub all_proxy: Option<String>,
    /// `no_proxy` or `NO_PROXY`: hosts, domains, addresses and networks, separated by commas; `*` is all.
    pub no_proxy: Option<String>,
    /// `NODE_EXTRA_CA_CERTS`: a PEM file of roots to trust as well.
    pub extra_ca_certs: Option<PathBuf>,
    /// `SSL_CERT_FILE`: a PEM file of roots to trust as well.
    pub ssl_cert_file: Option<PathBuf>,
}

impl Environment {
    /// What the process's environment says now. An empty variable counts as none. `NODE_TLS_REJECT_UNAUTHORIZED` is
    /// not looked at: nobody gets these tokens unverified.
    pub fn from_process() -> Self {
        // Node's own clients prefer the lower-case name.
        let either = |name: &str| {
            [name, &name.to_ascii_uppercase()]
                .into_iter()
                .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        };
        let file = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            https_proxy: either("https_proxy"),
            all_proxy: either("all_proxy"),
            no_proxy: either("no_proxy"),
            extra_ca_certs: file("NODE_EXTRA_CA_CERTS"),
            ssl_cert_file: file("SSL_CERT_FILE"),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// How [`ReqwestHttp`] sends.
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

/// [`Http`] over the network: HTTP/1.1, TLS 1.2 or 1.3.
///
/// It is small: its client is made at the first request, and is shared by all of the same environment.
#[derive(Debug)]
pub struct ReqwestHttp {
    timeout: Duration,
    environment: Arc<Environment>,
    keep_alive: bool,
}

impl ReqwestHttp {
    /// Reads no file and opens no connection yet.
    pub fn new(config: HttpConfig) -> Self {
        let HttpConfig { timeout, environment, keep_alive } = config;
        Self { timeout, environment: shared(environment), keep_alive }
    }

    async fn exchange(&self, request: Request, sent: &Arc<AtomicBool>) -> Result<Answer, HttpFailure> {
        let limit = request.limit;
        let url = request.url.clone();
        let (client, ca_problem) = self.client(&url)?;
        let request = to_reqwest(request, sent)?;
        let failed = |error: reqwest::Error| failure(&error, sent.load(Ordering::Acquire), ca_problem.as_deref());

        let mut response = client.execute(request).await.map_err(failed)?;
        // An answer means that the request went out, whatever became of its body.
        sent.store(true, Ordering::Release);
        let too_large = || HttpFailure { kind: FailureKind::TooLarge, ambiguous: true, cause: None };
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let headers = Headers::new(
            response.headers().iter().map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes()))),
        );
        Ok(Answer { status: response.status().as_u16(), headers, body, url })
    }

    /// The shared client for that URL, and what was wrong with a file of certificates.
    fn client(&self, url: &Url) -> Result<(reqwest::Client, Option<String>), HttpFailure> {
        let key = ClientKey {
            loopback: is_loopback(url),
            connect_timeout: self.timeout.min(CONNECT_TIMEOUT),
            environment: Arc::clone(&self.environment),
            keep_alive: self.keep_alive,
        };
        let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == key) {
            return Ok((client.clone(), None));
        }
        let (client, ca_problem) = build(&key).map_err(|cause| HttpFailure {
            kind: FailureKind::NotSent,
            ambiguous: false,
            cause: Some(cause),
        })?;
        // One made without a file that could not be read is not kept: the file may be there next time.
        if ca_problem.is_none() {
            if clients.len() >= CLIENTS_KEPT {
                clients.remove(0);
            }
            clients.push((key, client.clone()));
        }
        Ok((client, ca_problem))
    }
}

impl Http for ReqwestHttp {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>> {
        Box::pin(async move {
            // Without a body nothing tells when the sending began, so it counts as begun.
            let sent = Arc::new(AtomicBool::new(request.body.is_none()));
            let timeout = request.timeout.unwrap_or(self.timeout);
            match tokio::time::timeout(timeout, self.exchange(request, &sent)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(HttpFailure {
                    kind: FailureKind::Timeout,
                    ambiguous: sent.load(Ordering::Acquire),
                    cause: None,
                }),
            }
        })
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

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// As many as ring-client-api has.
const KEPT_PER_HOST: usize = 6;

/// Ring's servers close an idle connection after two minutes.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// More environments than this in one process are nobody's intention: the oldest client goes.
const CLIENTS_KEPT: usize = 8;

static CLIENTS: Mutex<Vec<(ClientKey, reqwest::Client)>> = Mutex::new(Vec::new());

static ENVIRONMENTS: Mutex<Vec<Weak<Environment>>> = Mutex::new(Vec::new());

/// What makes one client differ from another.
#[derive(PartialEq, Eq)]
struct ClientKey {
    loopback: bool,
    connect_timeout: Duration,
    environment: Arc<Environment>,
    keep_alive: bool,
}

/// The same environment is held once, however many managers a process has.
fn shared(environment: Environment) -> Arc<Environment> {
    let mut known = ENVIRONMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|weak| weak.strong_count() > 0);
    if let Some(same) = known.iter().filter_map(Weak::upgrade).find(|known| **known == environment) {
        return same;
    }
    let environment = Arc::new(environment);
    known.push(Arc::downgrade(&environment));
    environment
}

/// No server asks who we are by a certificate, and what would read and use its key stays out of the addon.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("there are no keys of our own".to_owned()))
    }
}

fn build(key: &ClientKey) -> Result<(reqwest::Client, Option<String>), String> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let mut ca_problem = None;
    let files =
        [("NODE_EXTRA_CA_CERTS", &key.environment.extra_ca_certs), ("SSL_CERT_FILE", &key.environment.ssl_cert_file)];
    for (name, file) in files {
        let Some(file) = file else { continue };
        match std::fs::read(file) {
            Ok(pem) => {
                let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
                if roots.add_parsable_certificates(certificates).0 == 0 {
                    ca_problem = Some(format!("the file in {name} holds no certificate"));
                }
            }
            Err(error) => ca_problem = Some(format!("the file in {name} cannot be read: {error}")),
        }
    }
    let provider = Arc::new(CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() });
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();

    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .pool_max_idle_per_host(if key.keep_alive { KEPT_PER_HOST } else { 0 })
        .pool_idle_timeout(KEPT_FOR)
        .connect_timeout(key.connect_timeout)
        // Whatever a hosts file says, `localhost` is this machine. Port 0 stands for the URL's.
        .resolve_to_addrs("localhost", &loopback.map(|address| SocketAddr::new(address, 0)))
        // Turns off reqwest's own reading of the environment, which would send loopback through a proxy too.
        .no_proxy();
    if !key.loopback
        && let Some(proxy) = proxy(&key.environment)?
    {
        builder = builder.proxy(proxy);
    }
    let client = builder.build().map_err(|error| chain(&error))?;
    Ok((client, ca_problem))
}

/// The proxy for https. Plain http goes to loopback only, and never through a proxy.
fn proxy(environment: &Environment) -> Result<Option<reqwest::Proxy>, String> {
    let (name, text) = match (&environment.https_proxy, &environment.all_proxy) {
        (Some(text), _) => ("HTTPS_PROXY", text.trim()),
        (None, Some(text)) => ("ALL_PROXY", text.trim()),
        (None, None) => return Ok(None),
    };
    // As in curl, `proxy:8080` means `http://proxy:8080`.
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // Its text is not repeated in the sentences below: it can hold a password.
    let url = Url::parse(&text).map_err(|_| format!("{name} is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{name} names a proxy that is neither http: nor https:"));
    }
    let proxy = reqwest::Proxy::https(url).map_err(|_| format!("{name} cannot be used"))?;
    let without = environment.no_proxy.as_deref().unwrap_or_default();
    // Node and curl also know `*.ring.com` and `ring.com:443`, which reqwest does not.
    let without: Vec<_> = without
        .split([',', ' '])
        .map(|entry| entry.strip_suffix(":443").unwrap_or(entry))
        .map(|entry| entry.strip_prefix("*.").unwrap_or(entry))
        .collect();
    Ok(Some(proxy.no_proxy(reqwest::NoProxy::from_string(&without.join(",")))))
}

fn to_reqwest(request: Request, sent: &Arc<AtomicBool>) -> Result<reqwest::Request, HttpFailure> {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        Method::Patch => reqwest::Method::PATCH,
        Method::Delete => reqwest::Method::DELETE,
        Method::Head => reqwest::Method::HEAD,
    };
    let mut wire = reqwest::Request::new(method, request.url);
    let unfit = |cause: String| HttpFailure { kind: FailureKind::NotSent, ambiguous: false, cause: Some(cause) };
    for (name, text) in request.headers {
        let value = HeaderValue::from_bytes(text.as_bytes())
            .map_err(|_| unfit(format!("the header {name} cannot hold that value")))?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| unfit("a header has a name that none can have".to_owned()))?;
        wire.headers_mut().append(name, value);
    }
    if let Some(body) = request.body {
        if let Some(content_type) = body.content_type {
            let value = HeaderValue::from_bytes(content_type.as_bytes())
                .map_err(|_| unfit("the header content-type cannot hold that value".to_owned()))?;
            wire.headers_mut().insert(reqwest::header::CONTENT_TYPE, value);
        }
        let marked = MarkedBody { bytes: Some(Bytes::from(body.bytes)), sent: Arc::clone(sent) };
        *wire.body_mut() = Some(reqwest::Body::wrap(marked));
    }
    Ok(wire)
}

/// A body that notes when hyper takes it, which is after a connection was made and before a byte of it is written.
struct MarkedBody {
    bytes: Option<Bytes>,
    sent: Arc<AtomicBool>,
}

impl http_body::Body for MarkedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.sent.store(true, Ordering::Release);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

fn failure(error: &reqwest::Error, sent: bool, ca_problem: Option<&str>) -> HttpFailure {
    let ambiguous = sent && !error.is_connect() && !error.is_builder();
    let kind = if error.is_connect() && is_certificate(error) {
        FailureKind::Untrusted
    } else if error.is_timeout() {
        FailureKind::Timeout
    } else if ambiguous {
        FailureKind::CutOff
    } else {
        FailureKind::NotSent
    };
    let mut cause = chain(error);
    if let (FailureKind::Untrusted, Some(problem)) = (kind, ca_problem) {
        cause = format!("{cause}; {problem}");
    }
    HttpFailure { kind, ambiguous, cause: Some(cause).filter(|cause| !cause.is_empty()) }
}

/// The words of the errors behind one of reqwest's, whose own words would name the URL with its query.
fn chain(error: &reqwest::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        let text = if source.is::<reqwest::Error>() { String::new() } else { source.to_string() };
        if !text.is_empty() && words.last().is_none_or(|last| *last != text) {
            words.push(text);
        }
        next = source.source();
    }
    words.join(": ")
}

fn is_certificate(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = tls_error(source) {
            return true;
        }
        next = source.source();
    }
    false
}

/// The TLS error that an `io::Error` wraps, which its `source` passes over.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut error = error;
    loop {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        error = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

fn without_query(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinHandle;

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Two: a\r\nx-two: b\r\n\r\nhi";

    /// What a server does once it has read the request.
    #[derive(Clone, Copy)]
    enum Then {
        Say(&'static str),
        SayAndHang(&'static str),
        Reset,
    }

    /// Serves one connection after another; its end tells the requests that were read.
    async fn server(count: usize, then: Then) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..count {
                let (mut stream, _) = listener.accept().await.unwrap();
                seen.push(read_request(&mut stream).await);
                match then {
                    Then::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                    Then::SayAndHang(text) => {
                        stream.write_all(text.as_bytes()).await.unwrap();
                        // Until the client goes.
                        let _ = stream.read(&mut [0; 16]).await;
                    }
                    Then::Reset => stream.set_zero_linger().unwrap(),
                }
            }
            seen
        });
        (port, task)
    }

    async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).await.unwrap_or(0);
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                body.len() >= length.map_or(0, |length| length.parse().unwrap())
            });
            if whole || count == 0 {
                return text;
            }
        }
    }

    fn http(millis: u64, environment: Environment) -> ReqwestHttp {
        ReqwestHttp::new(HttpConfig { timeout: Duration::from_millis(millis), environment, keep_alive: false })
    }

    fn post(url: &str) -> Request {
        Request {
            method: Method::Post,
            url: Url::parse(url).unwrap(),
            headers: vec![("hardware_id".into(), "hid".to_owned()), ("2fa-code".into(), String::new())],
            body: Some(Body::form(&[("a", "canary é")])),
            limit: 100,
            timeout: None,
        }
    }

    /// The outcome of one POST to a server that does that.
    async fn outcome(then: Then) -> Result<Answer, HttpFailure> {
        let (port, _task) = server(1, then).await;
        http(2_000, Environment::default()).send(post(&format!("http://127.0.0.1:{port}/x?canary"))).await
    }

    fn failed(outcome: Result<Answer, HttpFailure>) -> (FailureKind, bool) {
        let failure = outcome.expect_err("a failure");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        assert!(!format!("{:?}", failure.to_error()).contains("canary"));
        (failure.kind, failure.ambiguous)
    }

    #[tokio::test]
    async fn sends_each_request_over_a_connection_of_its_own() {
        let (port, task) = server(3, Then::Say(OK)).await;
        let http = http(5_000, Environment::default());
        let answer = http.send(post(&format!("http://127.0.0.1:{port}/x?y"))).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hi"[..]));
        assert_eq!(answer.headers.all("x-two").collect::<Vec<_>>(), ["a", "b"]);
        http.send(post(&format!("http://localhost:{port}/"))).await.unwrap();
        let get = Request { method: Method::Get, body: None, ..post(&format!("http://127.0.0.1:{port}/")) };
        http.send(get).await.unwrap();

        let seen = task.await.unwrap();
        assert!(seen[0].starts_with("POST /x?y HTTP/1.1\r\n"), "{}", seen[0]);
        assert!(seen[0].contains("\r\nhardware_id: hid\r\n") && seen[0].contains("\r\n2fa-code: \r\n"));
        assert!(seen[0].contains("\r\ncontent-type: application/x-www-form-urlencoded\r\n"));
        assert!(seen[0].contains("\r\ncontent-length: 15\r\n") && !seen[0].contains("transfer-encoding"));
        assert!(seen[0].ends_with("\r\n\r\na=canary+%C3%A9"));
        assert!(seen[2].starts_with("GET / HTTP/1.1\r\n") && !seen[2].contains("content-"));
    }

    #[tokio::test]
    async fn a_broken_answer_is_ambiguous() {
        for then in [
            Then::Say(""),
            Then::Say("HTTP/1.1 200 O"),
            Then::Say("HTTP/1.1 200 OK\r\ncontent-le"),
            Then::Say("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"access_token\":"),
            Then::Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel"),
            Then::Say("this is not HTTP\r\n\r\n"),
            Then::Reset,
        ] {
            assert_eq!(failed(outcome(then).await), (FailureKind::CutOff, true));
        }
    }

    #[tokio::test]
    async fn no_answer_in_time_is_ambiguous() {
        for text in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"] {
            let (port, _task) = server(1, Then::SayAndHang(text)).await;
            let started = Instant::now();
            let outcome = http(300, Environment::default()).send(post(&format!("http://127.0.0.1:{port}/"))).await;
            assert_eq!(failed(outcome), (FailureKind::Timeout, true));
            assert!(started.elapsed() < Duration::from_secs(5));
        }
    }

    #[tokio::test]
    async fn what_was_not_sent_is_not_ambiguous() {
        // A port that nobody listens on.
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let http = http(300, Environment::default());
        let outcome = http.send(post(&format!("http://127.0.0.1:{closed}/?canary"))).await;
        assert_eq!(failed(outcome), (FailureKind::NotSent, false));
        // A server that does not talk TLS, and one that says nothing at all.
        let (port, _task) = server(1, Then::Say("HTTP/1.1 400 Bad Request\r\n\r\n")).await;
        let outcome = http.send(post(&format!("https://127.0.0.1:{port}/?canary"))).await;
        assert!(!failed(outcome).1);
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outcome = http.send(post(&format!("https://{}/", silent.local_addr().unwrap()))).await;
        assert_eq!(failed(outcome), (FailureKind::Timeout, false));
        // A name that cannot exist.
        let outcome = http.send(post("https://does-not-exist.invalid/?canary")).await;
        assert!(!failed(outcome).1);
        // A header that cannot be written.
        let odd =
            Request { headers: vec![("2fa-code".into(), "canary\r\n".to_owned())], ..post("http://127.0.0.1:1/") };
        assert_eq!(failed(http.send(odd).await), (FailureKind::NotSent, false));
    }

    #[tokio::test]
    async fn large_answers_are_not_read() {
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
             40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n\
             40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n0\r\n\r\n";
        for text in ["HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n", chunked] {
            assert_eq!(failed(outcome(Then::SayAndHang(text)).await), (FailureKind::TooLarge, true));
        }
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        for status in ["301", "302", "303", "307", "308"] {
            let text = format!("HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
            let answer = outcome(Then::Say(text.leak())).await.unwrap();
            assert_eq!(answer.status.to_string(), status);
            assert_eq!(answer.headers.first("location"), Some("http://127.0.0.1:1/"));
        }
    }

    #[tokio::test]
    async fn proxies_are_for_other_machines() {
        let (proxy, task) = server(1, Then::Say("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")).await;
        let environment = Environment {
            https_proxy: Some(format!("http://me:canary@127.0.0.1:{proxy}")),
            no_proxy: Some("direct.invalid:443, *.ring.invalid".to_owned()),
            ..Environment::default()
        };
        let http = http(2_000, environment);
        let (port, direct) = server(2, Then::Say(OK)).await;
        for host in ["127.0.0.1", "localhost"] {
            http.send(post(&format!("http://{host}:{port}/"))).await.unwrap();
            // There is no TLS behind this port: it is enough that the proxy hears nothing.
            failed(http.send(post(&format!("https://{host}:1/"))).await);
        }
        assert_eq!(direct.await.unwrap().len(), 2);
        for host in ["direct.invalid", "oauth.ring.invalid"] {
            failed(http.send(post(&format!("https://{host}/"))).await);
        }
        assert!(!task.is_finished());
        let outcome = http.send(post("https://oauth.example.com/?canary")).await;
        assert_eq!(failed(outcome), (FailureKind::NotSent, false));
        let seen = task.await.unwrap();
        assert!(seen[0].starts_with("CONNECT oauth.example.com:443 HTTP/1.1\r\n") && !seen[0].contains("hardware_id"));
        assert!(seen[0].to_lowercase().contains("\r\nproxy-authorization: basic "));
    }

    #[tokio::test]
    async fn proxies_that_cannot_be_used_are_not_passed_by() {
        for text in ["socks5://canary@127.0.0.1:1", "http://", "ftp://canary"] {
            let environment = Environment { all_proxy: Some(text.to_owned()), ..Environment::default() };
            let failure = http(300, environment).send(post("https://oauth.example.com/")).await.unwrap_err();
            assert!(failure.cause.as_ref().is_some_and(|cause| cause.contains("ALL_PROXY")), "{failure:?}");
            assert_eq!(failed(Err(failure)), (FailureKind::NotSent, false));
        }
    }

    #[tokio::test]
    async fn certificates_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pem = made.cert.pem();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/?canary", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    answer(&mut stream).await;
                }
            }
        });

        let environment = Environment { extra_ca_certs: Some(file.clone()), ..Environment::default() };
        let with_file = http(2_000, environment);
        for http in [&http(2_000, Environment::default()), &with_file] {
            let failure = http.send(post(&url)).await.unwrap_err();
            assert!(failure.to_error().message().contains("NODE_EXTRA_CA_CERTS"));
            assert_eq!(failed(Err(failure)), (FailureKind::Untrusted, false));
        }
        let failure = with_file.send(post(&url)).await.unwrap_err();
        assert!(failure.cause.is_some_and(|cause| cause.contains("NODE_EXTRA_CA_CERTS cannot be read")));
        // The file is looked for again until it is there.
        std::fs::write(&file, format!("# roots\n{pem}")).unwrap();
        assert_eq!(with_file.send(post(&url)).await.unwrap().body, b"hi");
        let environment = Environment { ssl_cert_file: Some(file), ..Environment::default() };
        assert_eq!(http(2_000, environment).send(post(&url)).await.unwrap().body, b"hi");
    }

    async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        read_request(stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }

    #[test]
    fn idle_ones_are_small_and_share_what_they_know() {
        let environment = || Environment { no_proxy: Some("x".repeat(1_000)), ..Environment::default() };
        let (one, other) = (http(1, environment()), http(2, environment()));
        assert!(Arc::ptr_eq(&one.environment, &other.environment));
        assert!(size_of::<ReqwestHttp>() < 200);
        assert!(!format!("{one:?}").contains("xxx"));
    }

    #[tokio::test]
    async fn clients_are_shared() {
        let (port, task) = server(2, Then::Say(OK)).await;
        for timeout in [11_000, 12_000] {
            http(timeout, Environment::default()).send(post(&format!("http://127.0.0.1:{port}/"))).await.unwrap();
        }
        task.await.unwrap();
        let key = ClientKey {
            loopback: true,
            connect_timeout: CONNECT_TIMEOUT,
            environment: shared(Environment::default()),
            keep_alive: false,
        };
        let clients = CLIENTS.lock().unwrap();
        assert!(clients.iter().filter(|(known, _)| *known == key).count() <= 1 && clients.len() <= CLIENTS_KEPT);
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut request = post("https://oauth.ring.com/a?state=canary");
        request.headers.push(("cookie".into(), "canary".to_owned()));
        let text = format!("{request:?}");
        assert!(text.contains("https://oauth.ring.com/a") && text.contains("cookie") && !text.contains("canary"));
        let answer = Answer {
            status: 302,
            headers: Headers::new([("set-cookie", "canary")]),
            body: b"canary".to_vec(),
            url: request.url,
        };
        let text = format!("{answer:?}");
        assert!(text.contains("set-cookie") && !text.contains("canary"));
    }

    #[tokio::test]
    async fn a_connection_that_ends_at_once_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/?canary", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
                drop(stream);
            }
        });
        for _ in 0..20 {
            // Whether the request went out first is a race; both are told as what they are.
            let (kind, ambiguous) = failed(http(2_000, Environment::default()).send(post(&url)).await);
            assert!(matches!((kind, ambiguous), (FailureKind::CutOff, true) | (FailureKind::NotSent, false)));
        }
    }
}
