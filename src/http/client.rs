//! The implementation of [`Http`] over the network.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use url::Url;

use super::connector::{Cause, Connector, LeadsHere, Stream, proxy};
use super::encoding::decoded;
use super::inspect::{Certificate, Recorder};
use super::{
    Answer, Body, Enough, Environment, FailureKind, Headers, Http, HttpConfig, HttpFailure, Method, Request,
    is_loopback, received, roots,
};
use crate::task::BoxFuture;

/// An HTTP client over the network: HTTP/1.1, TLS 1.2 or 1.3.
///
/// A client is small: it sets up TLS at the first request, and all clients with equal settings share TLS and connections.
#[derive(Debug)]
pub struct HttpClient {
    timeout: Duration,
    environment: Arc<Environment>,
    keep_alive: bool,
}

impl HttpClient {
    /// Creates a client. It reads no file and opens no connection yet.
    pub fn new(config: HttpConfig) -> Self {
        let HttpConfig { timeout, environment, keep_alive } = config;
        Self { timeout, environment: shared(environment), keep_alive }
    }

    /// Does an exchange with hyper. After a timeout, the part of the answer that has arrived is lost.
    async fn exchange(&self, request: Request, sent: &Arc<AtomicBool>) -> Result<Answer, HttpFailure> {
        let (transport, hints) = self.transport(&request.url).await?;
        let wire = to_wire(&request)?;
        by_library(&transport.client, wire, request, sent, &hints).await
    }

    /// Does an exchange without hyper, for an answer that must not be lost because it is malformed. After a timeout, the part of the
    /// answer that has arrived is still read.
    async fn exchange_by_hand(
        &self,
        request: &Request,
        enough: Enough,
        sent: &AtomicBool,
        deadline: Instant,
    ) -> Result<Answer, HttpFailure> {
        let begun = tokio::time::timeout_at(deadline, self.begin(request, sent)).await;
        let (mut stream, written) = begun.unwrap_or_else(|_| Err(timed_out(sent)))?;
        received::read(&mut stream, deadline, request.limit, enough, &request.url).await.map_err(|(kind, cause)| {
            let cause = cause.or_else(|| written.err().map(|error| error.to_string()));
            HttpFailure { kind, ambiguous: true, cause }
        })
    }

    /// Connects, and sends the request. Returns the result of sending beside the stream, because a server may answer before
    /// it has read the whole request.
    async fn begin(&self, request: &Request, sent: &AtomicBool) -> Result<(Stream, io::Result<()>), HttpFailure> {
        let (transport, hints) = self.transport(&request.url).await?;
        let wire = to_wire(request)?;
        let connected = transport.connector.connect(wire.uri().clone()).await;
        let mut stream = connected.map_err(|error| failure(true, &*error, false, &hints))?.into_inner();
        let bytes = to_bytes(&wire, request.body.as_ref().map(Body::bytes));
        sent.store(true, Ordering::Release);
        let written = match stream.write_all(&bytes).await {
            Ok(()) => stream.flush().await,
            Err(error) => Err(error),
        };
        Ok((stream, written))
    }

    /// Connects to a server and returns its certificate, or `None` if the server shows none. Sends nothing but the TLS handshake.
    pub async fn certificate(&self, url: &Url) -> Result<Option<Certificate>, HttpFailure> {
        let unfit = |cause: String| HttpFailure { kind: FailureKind::NotSent, ambiguous: false, cause: Some(cause) };
        let (roots, ca_problem) = roots::trusted(&self.environment, FILE_TIMEOUT.min(self.timeout / 2)).await;
        let recorder = Recorder::new(roots).map_err(unfit)?;
        let tls = roots::tls_by(Arc::clone(&recorder) as Arc<_>).map_err(unfit)?;
        let proxy = if is_loopback(url) { None } else { proxy(&self.environment) };
        let to = url.as_str().parse().map_err(|_| unfit("the URL cannot be asked for".to_owned()))?;
        let connected = Connector::new(Some(tls), proxy, self.timeout.min(CONNECT_TIMEOUT)).connect(to).await;
        match (recorder.seen(), connected) {
            (None, Err(error)) => {
                let hints = Hints { ca_problem, npm_proxy: self.environment.unused_npm_proxy() };
                Err(failure(true, &*error, false, &hints))
            }
            (seen, _) => Ok(seen),
        }
    }

    /// The transport for a URL, and possible causes of a failure to connect. Fails if the URL needs a proxy that cannot be used.
    async fn transport(&self, url: &Url) -> Result<(Transport, Hints), HttpFailure> {
        let (transport, hints) = self.find_transport(url).await?;
        match transport.connector.proxy_problem(url) {
            Some(sentence) => Err(HttpFailure {
                kind: FailureKind::Misconfigured,
                ambiguous: false,
                cause: Some(sentence.to_owned()),
            }),
            None => Ok((transport, hints)),
        }
    }

    async fn find_transport(&self, url: &Url) -> Result<(Transport, Hints), HttpFailure> {
        let is_secure = url.scheme() == "https";
        let key = Key {
            loopback: is_loopback(url),
            is_secure,
            connect_timeout: self.timeout.min(CONNECT_TIMEOUT),
            environment: Arc::clone(&self.environment),
            keep_alive: self.keep_alive,
        };
        let known = |transports: &[(Key, Transport)]| {
            transports.iter().find(|(known, _)| *known == key).map(|(_, transport)| transport.clone())
        };
        let hints = |ca_problem: Option<String>| Hints {
            ca_problem: ca_problem.or_else(|| self.environment.system_ca_problem().map(str::to_owned)),
            npm_proxy: if key.loopback { None } else { self.environment.unused_npm_proxy() },
        };
        if let Some(transport) = known(&TRANSPORTS.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok((transport, hints(None)));
        }
        let unfit = |cause: String| HttpFailure { kind: FailureKind::NotSent, ambiguous: false, cause: Some(cause) };
        let proxy = if key.loopback { None } else { proxy(&key.environment) };
        let (tls, ca_problem) = if is_secure {
            let (tls, problem) =
                roots::tls(&key.environment, FILE_TIMEOUT.min(self.timeout / 2)).await.map_err(unfit)?;
            (Some(tls), problem)
        } else {
            (None, None)
        };
        let connector = Connector::new(tls, proxy, key.connect_timeout);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(if key.keep_alive { KEPT_PER_HOST } else { 0 })
            .pool_idle_timeout(KEPT_FOR)
            .pool_timer(TokioTimer::new())
            // If the server had closed a kept connection before any of the request was sent, send the request on another.
            .retry_canceled_requests(true)
            .http1_max_headers(MOST_HEADERS)
            .build(connector.clone());
        let transport = Transport { connector, client };
        let mut transports = TRANSPORTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(transport) = known(&transports) {
            return Ok((transport, hints(None)));
        }
        // Do not keep a transport that lacks the certificates of an unreadable file: the file may be readable next time.
        if ca_problem.is_none() {
            if transports.len() >= TRANSPORTS_KEPT {
                transports.remove(0);
            }
            transports.push((key.clone(), transport.clone()));
        }
        drop(transports);
        Ok((transport, hints(ca_problem)))
    }
}

impl Http for HttpClient {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, HttpFailure>> {
        Box::pin(async move {
            // Without a body, the client cannot detect when sending begins, so the request counts as sent.
            let sent = Arc::new(AtomicBool::new(request.body.is_none()));
            let deadline = Instant::now() + request.timeout.unwrap_or(self.timeout);
            if let Some(enough) = request.enough {
                return self.exchange_by_hand(&request, enough, &sent, deadline).await;
            }
            let exchange = tokio::time::timeout_at(deadline, self.exchange(request, &sent)).await;
            exchange.unwrap_or_else(|_| Err(timed_out(&sent)))
        })
    }

    fn prepare<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<(), HttpFailure>> {
        Box::pin(async move {
            match self.transport(url).await {
                Err(failure) if failure.kind == FailureKind::Misconfigured => Err(failure),
                // Every other failure occurs again in the request, which reports it.
                _ => Ok(()),
            }
        })
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit for reading a certificate file. It is half of a request's time if that is less. After it, the request is made
/// without the file.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest number of idle connections per host, as in ring-client-api.
const KEPT_PER_HOST: usize = 6;

/// The time for which the client keeps an idle connection. Ring's servers close one after two minutes.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The largest number of headers in an answer: ten times the default of hyper.
const MOST_HEADERS: usize = 1_000;

/// The largest number of transports that a process keeps. A further one replaces the oldest.
const TRANSPORTS_KEPT: usize = 8;

static TRANSPORTS: Mutex<Vec<(Key, Transport)>> = Mutex::new(Vec::new());

static ENVIRONMENTS: Mutex<Vec<Weak<Environment>>> = Mutex::new(Vec::new());

/// The settings of a transport. Requests with equal settings share a transport.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    loopback: bool,
    is_secure: bool,
    connect_timeout: Duration,
    environment: Arc<Environment>,
    keep_alive: bool,
}

/// Possible causes of a failure to connect.
#[derive(Debug, Default)]
struct Hints {
    /// The problem with the files of certificates.
    ca_problem: Option<String>,
    /// The variable that holds a proxy for npm only.
    npm_proxy: Option<&'static str>,
}

/// A connector, and a hyper client that keeps its connections if the settings say so.
#[derive(Clone)]
struct Transport {
    connector: Connector,
    client: Client<Connector, MarkedBody>,
}

/// Returns the shared copy of an environment, so that a process holds equal environments only once.
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

/// Does one exchange with hyper, which accepts only well-formed answers.
async fn by_library(
    client: &Client<Connector, MarkedBody>,
    wire: http::Request<()>,
    request: Request,
    sent: &Arc<AtomicBool>,
    hints: &Hints,
) -> Result<Answer, HttpFailure> {
    let failed =
        |is_connecting: bool, error: Cause| failure(is_connecting, &*error, sent.load(Ordering::Acquire), hints);
    let Request { body, limit, url, .. } = request;
    let bytes = body.map(|body| Bytes::from(body.bytes));
    let wire = wire.map(|()| MarkedBody { bytes, sent: Arc::clone(sent) });
    let too_large = || HttpFailure { kind: FailureKind::TooLarge, ambiguous: true, cause: None };
    let response = client.request(wire).await.map_err(|error| failed(error.is_connect(), error.into()))?;
    // An answer means that the request was sent, even if a part of its body was not.
    sent.store(true, Ordering::Release);
    let (head, mut body) = response.into_parts();
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = next_frame(&mut body).await {
        let Ok(data) = frame.map_err(|error| failed(false, error.into()))?.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    let headers =
        Headers::new(head.headers.iter().map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes()))));
    let body = decoded(&headers, &bytes, limit).into_owned();
    Ok(Answer { status: head.status.as_u16(), headers, body, url })
}

async fn next_frame(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

fn timed_out(sent: &AtomicBool) -> HttpFailure {
    HttpFailure { kind: FailureKind::Timeout, ambiguous: sent.load(Ordering::Acquire), cause: None }
}

/// Converts the head of a request to the type that hyper uses.
fn to_wire(request: &Request) -> Result<http::Request<()>, HttpFailure> {
    let unfit = |cause: String| HttpFailure { kind: FailureKind::NotSent, ambiguous: false, cause: Some(cause) };
    let mut wire = http::Request::new(());
    *wire.method_mut() = match request.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
        Method::Delete => http::Method::DELETE,
        Method::Head => http::Method::HEAD,
    };
    *wire.uri_mut() = request.url.as_str().parse().map_err(|_| unfit("the URL cannot be asked for".to_owned()))?;
    let headers = wire.headers_mut();
    for (name, text) in &request.headers {
        let value = HeaderValue::from_bytes(text.as_bytes())
            .map_err(|_| unfit(format!("the header {name} cannot hold that value")))?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| unfit("a header has a name that none can have".to_owned()))?;
        headers.append(name, value);
    }
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.entry(header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    if let Some(content_type) = request.body.as_ref().and_then(Body::content_type) {
        let value = HeaderValue::from_bytes(content_type.as_bytes())
            .map_err(|_| unfit("the header content-type cannot hold that value".to_owned()))?;
        headers.insert(header::CONTENT_TYPE, value);
    }
    Ok(wire)
}

/// The bytes of a request in HTTP/1.1.
fn to_bytes(wire: &http::Request<()>, body: Option<&[u8]>) -> Vec<u8> {
    let uri = wire.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut bytes = format!("{} {path} HTTP/1.1\r\n", wire.method()).into_bytes();
    let mut line = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    };
    for (name, value) in wire.headers() {
        line(name.as_str().as_bytes(), value.as_bytes());
    }
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().filter(|port| *port != default_port).map(|port| format!(":{port}")).unwrap_or_default();
    line(b"host", format!("{}{port}", uri.host().unwrap_or_default()).as_bytes());
    if let Some(body) = body {
        line(b"content-length", body.len().to_string().as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body.unwrap_or_default());
    bytes
}

/// A request body that records when hyper takes it: after hyper has connected, and before it writes a byte of the body.
struct MarkedBody {
    bytes: Option<Bytes>,
    sent: Arc<AtomicBool>,
}

impl http_body::Body for MarkedBody {
    type Data = Bytes;
    type Error = Infallible;

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

fn failure(is_connecting: bool, error: &(dyn StdError + 'static), sent: bool, hints: &Hints) -> HttpFailure {
    let ambiguous = sent && !is_connecting;
    let kind = if is_connecting && sources(error).any(<dyn StdError>::is::<LeadsHere>) {
        // This check comes before the certificate: another server that answers on this machine is not trusted.
        FailureKind::BlockedByNameServer
    } else if is_connecting && is_certificate(error) {
        FailureKind::Untrusted
    } else if let Some(variable) = hints.npm_proxy.filter(|_| is_connecting) {
        FailureKind::NotSentWithoutProxy(variable)
    } else if is_timeout(error) {
        FailureKind::Timeout
    } else if ambiguous {
        FailureKind::CutOff
    } else {
        FailureKind::NotSent
    };
    let mut cause = chain(error);
    if let (FailureKind::Untrusted, Some(problem)) = (kind, &hints.ca_problem) {
        cause = format!("{cause}; {problem}");
    }
    HttpFailure { kind, ambiguous, cause: Some(cause).filter(|cause| !cause.is_empty()) }
}

/// An error and its sources.
fn sources<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| (*error).source())
}

/// The messages of an error and its sources, without repetitions. No message contains the URL.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for text in sources(error).map(ToString::to_string) {
        if !text.is_empty() && words.last().is_none_or(|last| *last != text) {
            words.push(text);
        }
    }
    words.join(": ")
}

fn is_certificate(error: &(dyn StdError + 'static)) -> bool {
    sources(error).any(|source| matches!(tls_error(source), Some(rustls::Error::InvalidCertificate(_))))
}

fn is_timeout(error: &(dyn StdError + 'static)) -> bool {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    sources(error).filter_map(|source| source.downcast_ref()).any(timed_out)
}

/// The TLS error within an `io::Error`. The `source` of an `io::Error` skips it.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut error = error;
    loop {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        error = error.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(no_proxy: String) -> Environment {
        Environment { no_proxy: Some(no_proxy), ..Environment::default() }
    }

    fn client(millis: u64, environment: Environment) -> HttpClient {
        HttpClient::new(HttpConfig { timeout: Duration::from_millis(millis), environment, keep_alive: false })
    }

    #[test]
    fn idle_ones_are_small_and_share_what_they_know() {
        let (one, other) = (client(1, environment("x".repeat(1_000))), client(2, environment("x".repeat(1_000))));
        assert!(Arc::ptr_eq(&one.environment, &other.environment));
        assert!(size_of::<HttpClient>() < 200);
        assert!(!format!("{one:?}").contains("xxx"));
    }

    #[tokio::test]
    async fn transports_are_shared() {
        let url = Url::parse("https://transports.invalid").unwrap();
        let ours = shared(environment("transports.invalid".to_owned()));
        loop {
            for timeout in [11_000, 12_000] {
                client(timeout, environment("transports.invalid".to_owned())).prepare(&url).await.unwrap();
            }
            let transports = TRANSPORTS.lock().unwrap();
            assert!(transports.len() <= TRANSPORTS_KEPT);
            match transports.iter().filter(|(key, _)| Arc::ptr_eq(&key.environment, &ours)).count() {
                // Transports of other tests have replaced it in the meantime.
                0 => {}
                count => return assert_eq!(count, 1),
            }
        }
    }
}
