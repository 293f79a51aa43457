//! Tests of the HTTP client against local servers with scripted answers.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
#[cfg(unix)]
use std::time::Instant;

use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Two: a\r\nx-two: b\r\n\r\nhi";

/// The behaviour of a test server after it has read a request.
#[derive(Clone, Copy)]
enum Then {
    Say(&'static str),
    SayAndHang(&'static str),
    Reset,
}

/// Starts a server that serves `count` connections one after another. Its task returns the requests that it has read.
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
                    // Wait until the client closes the connection.
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

/// An address of no machine. Every system refuses to connect to it immediately, and needs no name server for it.
const NOWHERE: &str = "https://255.255.255.255/";

/// A timeout in milliseconds that only a test that hangs reaches.
const PATIENCE: u64 = 120_000;

/// An address at which no program listens. As long as the socket exists, no other program gets its port.
fn nobody_s() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn http(millis: u64, environment: Environment) -> HttpClient {
    HttpClient::new(HttpConfig { timeout: Duration::from_millis(millis), environment, keep_alive: false })
}

fn post(url: &str) -> Request {
    Request {
        method: Method::Post,
        url: Url::parse(url).unwrap(),
        headers: vec![("hardware_id".into(), "hid".to_owned()), ("2fa-code".into(), String::new())],
        body: Some(Body::form(&[("a", "canary é")])),
        limit: 100,
        timeout: None,
        enough: None,
    }
}

/// The outcome of one POST to a server that behaves as `then` says.
async fn outcome(then: Then) -> Result<Answer, HttpFailure> {
    let (port, _task) = server(1, then).await;
    http(PATIENCE, Environment::default()).send(post(&format!("http://127.0.0.1:{port}/x?canary"))).await
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
    let http = http(PATIENCE, Environment::default());
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
async fn a_kept_connection_that_the_server_has_closed_is_replaced() {
    // The server closes each connection after its answer, without announcing that in a header.
    let (port, _task) = server(50, Then::Say(OK)).await;
    let config = HttpConfig {
        timeout: Duration::from_millis(PATIENCE),
        environment: Environment { no_proxy: Some("kept".to_owned()), ..Environment::default() },
        keep_alive: true,
    };
    let client = HttpClient::new(config);
    for _ in 0..20 {
        // The server may close the connection at the moment when the client sends a request. Only that failure is allowed.
        match client.send(post(&format!("http://127.0.0.1:{port}/"))).await {
            Ok(answer) => assert_eq!(answer.body, b"hi"),
            Err(failure) => assert!(failure.ambiguous, "{failure:?}"),
        }
    }
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
        // On a busy machine the timeout can occur before the client has sent the request.
        for millis in [300, 3_000, PATIENCE] {
            let (port, task) = server(1, Then::SayAndHang(text)).await;
            let outcome = http(millis, Environment::default()).send(post(&format!("http://127.0.0.1:{port}/"))).await;
            let (kind, ambiguous) = failed(outcome);
            assert_eq!(kind, FailureKind::Timeout);
            // The task of the server does not end if the client has not connected.
            let seen = tokio::time::timeout(Duration::from_secs(5), task).await;
            let is_sent = matches!(seen, Ok(Ok(seen)) if seen[0].ends_with("a=canary+%C3%A9"));
            assert!(ambiguous || !is_sent, "what was sent may have been acted on");
            if is_sent {
                break;
            }
            assert_ne!(millis, PATIENCE, "the request never came");
        }
    }
}

#[tokio::test]
async fn what_was_not_sent_is_not_ambiguous() {
    let (_socket, nobody) = nobody_s();
    let patient = http(PATIENCE, Environment::default());
    let outcome = patient.send(post(&format!("http://{nobody}/?canary"))).await;
    assert_eq!(failed(outcome), (FailureKind::NotSent, false));
    let http = http(300, Environment::default());
    // A server that does not use TLS, and one that sends nothing at all.
    let (port, _task) = server(1, Then::Say("HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    let outcome = http.send(post(&format!("https://127.0.0.1:{port}/?canary"))).await;
    assert!(!failed(outcome).1);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outcome = http.send(post(&format!("https://{}/", silent.local_addr().unwrap()))).await;
    assert_eq!(failed(outcome), (FailureKind::Timeout, false));
    // A name that cannot exist.
    let outcome = http.send(post("https://does-not-exist.invalid/?canary")).await;
    assert!(!failed(outcome).1);
    // A header with an invalid value.
    let odd = Request { headers: vec![("2fa-code".into(), "canary\r\n".to_owned())], ..post("http://127.0.0.1:1/") };
    assert_eq!(failed(patient.send(odd).await), (FailureKind::NotSent, false));
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
    let patient = http(PATIENCE, environment.clone());
    let (port, direct) = server(2, Then::Say(OK)).await;
    for host in ["127.0.0.1", "localhost"] {
        patient.send(post(&format!("http://{host}:{port}/"))).await.unwrap();
        // No TLS server listens on this port. It is enough that the proxy gets no request.
        failed(patient.send(post(&format!("https://{host}:1/"))).await);
    }
    assert_eq!(direct.await.unwrap().len(), 2);
    // A name server may need some time to answer that it knows neither name.
    let http = http(2_000, environment);
    for host in ["direct.invalid", "oauth.ring.invalid"] {
        failed(http.send(post(&format!("https://{host}/"))).await);
    }
    assert!(!task.is_finished());
    let outcome = patient.send(post("https://oauth.example.com/?canary")).await;
    assert_eq!(failed(outcome), (FailureKind::NotSent, false));
    let seen = task.await.unwrap();
    assert!(seen[0].starts_with("CONNECT oauth.example.com:443 HTTP/1.1\r\n") && !seen[0].contains("hardware_id"));
    assert!(seen[0].to_lowercase().contains("\r\nproxy-authorization: basic "));
}

#[tokio::test]
async fn proxies_that_cannot_be_used_are_not_passed_by() {
    for text in ["socks5://canary@127.0.0.1:1", "http://", "ftp://canary", "http://D\\u:canary@127.0.0.1:1"] {
        let environment = Environment { all_proxy: Some(text.to_owned()), ..Environment::default() };
        let http = http(300, environment);
        let url = Url::parse("https://oauth.example.com/").unwrap();
        for failure in [http.prepare(&url).await.unwrap_err(), http.send(post(url.as_str())).await.unwrap_err()] {
            let error = failure.to_error();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().starts_with("ALL_PROXY ") && error.cause().is_none(), "{error}");
            assert_eq!(failed(Err(failure)), (FailureKind::Misconfigured, false));
        }
    }
}

#[tokio::test]
async fn a_proxy_that_npm_alone_knows_is_named() {
    let npm_proxy = Some("npm_config_https_proxy");
    let environment = Environment { npm_proxy, ..Environment::default() };
    let failure = http(PATIENCE, environment.clone()).send(post(NOWHERE)).await.unwrap_err();
    let error = failure.to_error();
    assert_eq!(error.code(), ErrorCode::Network);
    assert_eq!(
        error.message(),
        "Ring could not be reached. npm uses a proxy here (npm_config_https_proxy) that other programs do not know: set HTTPS_PROXY to the same address."
    );
    // The message does not apply to a server on this machine, or if the client uses a proxy.
    let (_socket, nobody) = nobody_s();
    let failure = http(PATIENCE, environment.clone()).send(post(&format!("https://{nobody}/"))).await.unwrap_err();
    assert_eq!(failed(Err(failure)), (FailureKind::NotSent, false));
    let environment = Environment { https_proxy: Some(format!("http://{nobody}")), ..environment };
    let failure = http(PATIENCE, environment).send(post(NOWHERE)).await.unwrap_err();
    assert_eq!(failed(Err(failure)), (FailureKind::NotSent, false));
}

/// A stream that collects the written bytes instead of sending them while `gathered` is set.
struct Gathering {
    stream: TcpStream,
    gathered: Option<Vec<u8>>,
}

impl AsyncRead for Gathering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        match &mut self.gathered {
            Some(gathered) => {
                gathered.extend_from_slice(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tokio::test]
async fn an_answer_with_something_else_than_tls_behind_it_is_not_lost() {
    let (acceptor, pem) = tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(Gathering { stream, gathered: None }).await.unwrap();
        read_request(&mut stream).await;
        stream.get_mut().0.gathered = Some(Vec::new());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").await.unwrap();
        stream.flush().await.unwrap();
        // Send one segment that contains the record, and bytes that cannot be a record.
        let below = stream.get_mut().0;
        let mut segment = below.gathered.take().unwrap();
        segment.extend_from_slice(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
        below.stream.write_all(&segment).await.unwrap();
        // Wait until the client closes the connection.
        let _ = below.stream.read(&mut [0; 16]).await;
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, pem).unwrap();
    let client = http(PATIENCE, Environment { extra_ca_certs: Some(file), ..Environment::default() });
    let enough: Enough = |_, body, _| body == b"{}";
    let answer = client.send(Request { enough: Some(enough), ..post(&url) }).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
    serving.await.unwrap();
}

#[tokio::test]
async fn certificates_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    let (url, pem) = secure_server().await;

    let environment = Environment { extra_ca_certs: Some(file.clone()), ..Environment::default() };
    let with_file = http(PATIENCE, environment);
    for http in [&http(PATIENCE, Environment::default()), &with_file] {
        let failure = http.send(post(&url)).await.unwrap_err();
        assert!(failure.to_error().message().contains("NODE_EXTRA_CA_CERTS"));
        assert_eq!(failed(Err(failure)), (FailureKind::Untrusted, false));
    }
    let failure = with_file.send(post(&url)).await.unwrap_err();
    assert!(failure.cause.is_some_and(|cause| cause.contains("NODE_EXTRA_CA_CERTS cannot be read")));
    // The client tries to read the file again until it exists.
    std::fs::write(&file, format!("# roots\n{pem}")).unwrap();
    assert_eq!(with_file.send(post(&url)).await.unwrap().body, b"hi");
    let environment = Environment { ssl_cert_file: Some(file), ..Environment::default() };
    assert_eq!(http(PATIENCE, environment).send(post(&url)).await.unwrap().body, b"hi");
}

/// The TLS of a server with a self-signed certificate, and that certificate (PEM).
fn tls() -> (tokio_rustls::TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = made.cert.pem();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(tls).into(), pem)
}

/// Starts a server with a self-signed certificate that answers each request. Returns its URL and the certificate (PEM).
async fn secure_server() -> (String, String) {
    let (acceptor, pem) = tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/?canary", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                answer(&mut stream).await;
            }
        }
    });
    (url, pem)
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_of_certificates_that_never_answers_costs_a_moment_and_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let (file, never) = (folder.path().join("roots.pem"), folder.path().join("never.pem"));
    let (url, pem) = secure_server().await;
    std::fs::write(&file, pem).unwrap();
    // No process writes into this pipe, so that even opening it blocks.
    assert!(std::process::Command::new("mkfifo").arg(&never).status().unwrap().success());
    let environment = Environment { extra_ca_certs: Some(file), ssl_cert_file: Some(never), ..Environment::default() };
    let client = http(PATIENCE, environment);
    let beginning = Instant::now();
    client.prepare(&Url::parse(&url).unwrap()).await.unwrap();
    assert!(beginning.elapsed() >= Duration::from_secs(5), "it is waited for");
    // The client does not wait for the file any more, and makes requests with the other roots.
    for _ in 0..50 {
        assert_eq!(client.send(post(&url)).await.unwrap().body, b"hi");
    }
    // Waiting for the file at each request would take more than four minutes.
    assert!(beginning.elapsed() < Duration::from_secs(150), "but once");
    let failure = client.send(post("https://127.0.0.1:1/")).await.unwrap_err();
    assert_eq!(failed(Err(failure)), (FailureKind::NotSent, false));
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    read_request(stream).await;
    stream.write_all(OK.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
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
        // It is a race whether the client sends the request first. The failure must match what has happened.
        let (kind, ambiguous) = failed(http(PATIENCE, Environment::default()).send(post(&url)).await);
        assert!(matches!((kind, ambiguous), (FailureKind::CutOff, true) | (FailureKind::NotSent, false)));
    }
}
