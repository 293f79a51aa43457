//! Connections to a server, directly or through a proxy: plain on this machine, and with TLS to any other.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tower_service::Service;
use url::Url;

use super::Environment;
use crate::task::BoxFuture;

/// An error of any library.
pub(super) type Cause = Box<dyn StdError + Send + Sync>;

/// Makes connections. Its clones share its settings.
#[derive(Clone)]
pub(super) struct Connector {
    direct: Direct,
    proxy: Option<Arc<Proxy>>,
    timeout: Duration,
}

impl Connector {
    /// Creates a connector. Without `tls` it makes only plain connections, and without `proxy` only direct ones.
    pub(super) fn new(tls: Option<Arc<rustls::ClientConfig>>, proxy: Option<Proxy>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // The library divides this time among the addresses of a host, so that an address that does not answer leaves
        // time for the others.
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(3));
        Self { direct: Direct { tcp, tls }, proxy: proxy.map(Arc::new), timeout }
    }

    /// The reason why no connection to a URL is possible, if the URL needs a proxy that cannot be used.
    pub(super) fn proxy_problem(&self, to: &Url) -> Option<&str> {
        let proxy = self.proxy.as_ref()?;
        let problem = proxy.problem.as_deref()?;
        let to = to.as_str().parse().ok()?;
        proxy.matcher.intercept(&to).map(|_| problem)
    }

    /// Connects to the host of a URL, within the timeout of the connector.
    pub(super) async fn connect(self, to: Uri) -> Result<TokioIo<Stream>, Cause> {
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.matcher.intercept(&to));
        let connecting = async {
            let Some(proxy) = proxy else {
                let name = to.host().unwrap_or_default().to_owned();
                return match self.direct.connect(to).await {
                    Err(cause) if leads_here(&name).await => Err(LeadsHere(cause).into()),
                    connected => connected,
                };
            };
            let mut tunnel = Tunnel::new(proxy.uri().clone(), self.direct.clone());
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            let tunnel = tunnel.call(to.clone()).await?;
            self.direct.secure(&to, tunnel.into_inner()).await
        };
        tokio::time::timeout(self.timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into_cause()))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<Self::Response, Cause>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}

/// A proxy for https from the environment.
pub(super) struct Proxy {
    /// The hosts that need the proxy, and its URL. If there is a problem, the URL is a placeholder that no connection uses.
    matcher: Matcher,
    /// The reason why the proxy cannot be used, as a sentence. It does not repeat the URL, which can contain a password.
    problem: Option<String>,
}

impl Proxy {
    /// The reason why the proxy cannot be used.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The address of the proxy, without credentials, if a request to that URL needs the proxy.
    pub(super) fn address_for(&self, to: &Url) -> Option<String> {
        let proxy = self.matcher.intercept(&to.as_str().parse().ok()?)?;
        let uri = proxy.uri();
        let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{}{port}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default()))
    }
}

/// Reads the proxy for https from an environment. ring-auth uses plain http for loopback only, and never through a proxy.
pub(super) fn proxy(environment: &Environment) -> Option<Proxy> {
    let (name, text) = match (&environment.https_proxy, &environment.all_proxy) {
        (Some(text), _) => ("HTTPS_PROXY", text.trim()),
        (None, Some(text)) => ("ALL_PROXY", text.trim()),
        (None, None) => return None,
    };
    let without = environment.no_proxy.as_deref().unwrap_or_default();
    // Node and curl also accept `*.ring.com` and `ring.com:443`, which the matcher does not. On Windows, semicolons separate entries.
    let without: Vec<_> = without
        .split([',', ';', ' ', '\t', '\r', '\n'])
        .filter(|entry| !entry.is_empty())
        .map(|entry| entry.strip_suffix(":443").unwrap_or(entry))
        .map(|entry| entry.strip_prefix("*.").unwrap_or(entry))
        .collect();
    let matcher = |url: &str, without: &str| Matcher::builder().https(url).no(without).build();
    let usable = proxy_url(name, text).and_then(|url| {
        // The matcher reports no error for a URL that it cannot use, and would connect without the proxy.
        let is_usable = matcher(url.as_str(), "").intercept(&Uri::from_static("https://ring.com")).is_some();
        if is_usable { Ok(url) } else { Err(format!("{name} cannot be used as a proxy. {PROXY_FORM}")) }
    });
    let without = without.join(",");
    Some(match usable {
        Ok(url) => Proxy { matcher: matcher(url.as_str(), &without), problem: None },
        // The hosts in NO_PROXY stay reachable.
        Err(problem) => Proxy { matcher: matcher("http://proxy.invalid", &without), problem: Some(problem) },
    })
}

const PROXY_FORM: &str = "Write it as http://host:port.";

/// Parses the URL of a proxy. The error is a sentence that does not repeat the text.
fn proxy_url(name: &str, text: &str) -> Result<Url, String> {
    const ENCODED: &str = "Write it percent-encoded there";
    if text.contains('\\') {
        return Err(format!("{name} has a backslash in it, as in DOMAIN\\user. {ENCODED}: DOMAIN%5Cuser."));
    }
    // As in curl, `proxy:8080` means `http://proxy:8080`.
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // A `#`, `/` or `?` in a password ends the address, and the part before it would count as the host of the proxy.
    let address = text.split_once("://").map_or("", |(_, rest)| rest);
    let is_cut = address.split(['#', '/', '?']).next().is_some_and(|address| !address.contains('@'));
    if is_cut && address.contains('@') {
        return Err(format!(
            "{name} has a #, / or ? in its user name or password. {ENCODED}: # is %23, / is %2F and ? is %3F."
        ));
    }
    let url = Url::parse(&text).map_err(|_| format!("{name} is not the URL of a proxy. {PROXY_FORM}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme if scheme.starts_with("socks") => Err(format!(
            "{name} names a SOCKS proxy, and ring-auth can use http: and https: proxies only. Set HTTPS_PROXY to one of those, or name Ring in NO_PROXY (ring.com,rings.solutions) to connect without a proxy."
        )),
        _ => Err(format!("{name} names a proxy that is neither http: nor https:. {PROXY_FORM}")),
    }
}

/// The interval of keep-alive probes on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Makes direct connections, to a server or to a proxy.
#[derive(Clone)]
struct Direct {
    tcp: HttpConnector<Resolver>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Direct {
    async fn connect(&self, to: Uri) -> Result<TokioIo<Stream>, Cause> {
        let tcp = self.tcp.clone().call(to.clone()).await?.into_inner();
        if to.scheme_str() == Some("https") {
            return self.secure(&to, tcp).await;
        }
        Ok(TokioIo::new(Stream(Box::new(tcp))))
    }

    /// Does the TLS handshake on a connection.
    async fn secure(&self, to: &Uri, plain: impl Duplex + 'static) -> Result<TokioIo<Stream>, Cause> {
        let tls = self.tls.clone().ok_or_else(|| io::ErrorKind::Unsupported.into_cause())?;
        let host = to.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(tls).connect(name, plain).await?;
        Ok(TokioIo::new(Stream(Box::new(stream))))
    }
}

impl Service<Uri> for Direct {
    type Response = TokioIo<Stream>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<Self::Response, Cause>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let direct = self.clone();
        Box::pin(async move { direct.connect(to).await })
    }
}

/// Whether a name of Ring resolves to this machine itself, as with a name server or a hosts file that blocks Ring. Names of other
/// servers may resolve to this machine on purpose.
async fn leads_here(name: &str) -> bool {
    if !is_rings_name(name) {
        return false;
    }
    let Ok(name) = name.parse() else { return false };
    GaiResolver::new().call(name).await.is_ok_and(|addresses| are_here(addresses.map(|address| address.ip())))
}

/// Whether the name of a host belongs to Ring.
pub fn is_rings_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["ring.com", "rings.solutions"]
        .iter()
        .any(|domain| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether there is at least one address, and all addresses are those of this machine.
pub(super) fn are_here(addresses: impl Iterator<Item = IpAddr>) -> bool {
    let mut addresses = addresses.map(|address| address.is_loopback() || address.is_unspecified()).peekable();
    addresses.peek().is_some() && addresses.all(|is_here| is_here)
}

/// The error of a connection that failed because the name of the host resolves to this machine itself.
#[derive(Debug)]
pub(super) struct LeadsHere(Cause);

impl fmt::Display for LeadsHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its name leads to this machine")
    }
}

impl StdError for LeadsHere {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// Resolves names with the system's resolver. `localhost` is always this machine, even if a hosts file differs.
#[derive(Clone)]
struct Resolver;

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let addresses: Vec<_> = if name.as_str() == "localhost" {
                // The HTTP connector replaces port 0 with the port of the URL.
                let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                loopback.map(|address| SocketAddr::new(address, 0)).into()
            } else {
                GaiResolver::new().call(name).await?.collect()
            };
            Ok(addresses.into_iter())
        })
    }
}

/// A stream of bytes in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection of any kind. It is a single type, so that the binary contains the code for HTTP only once.
pub(super) struct Stream(Box<dyn Duplex>);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(context)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

trait IntoCause {
    fn into_cause(self) -> Cause;
}

impl IntoCause for io::ErrorKind {
    fn into_cause(self) -> Cause {
        Box::new(io::Error::from(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(https_proxy: &str, no_proxy: &str) -> Proxy {
        let environment = Environment {
            https_proxy: Some(https_proxy.to_owned()),
            no_proxy: Some(no_proxy.to_owned()),
            ..Environment::default()
        };
        proxy(&environment).unwrap()
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_by_name_and_its_password_is_in_no_sentence() {
        for (text, words) in [
            (
                "http://DOMAIN\\user:canary@proxy:8080",
                "HTTPS_PROXY has a backslash in it, as in DOMAIN\\user. Write it percent-encoded there: DOMAIN%5Cuser.",
            ),
            ("DOMAIN\\user:canary@proxy:8080", "HTTPS_PROXY has a backslash in it"),
            ("http://user:can#ary@proxy:8080", "HTTPS_PROXY has a #, / or ? in its user name or password."),
            ("http://user:12/canary@proxy:8080", "HTTPS_PROXY has a #, / or ? in its user name or password."),
            ("http://user:12?canary@proxy", "HTTPS_PROXY has a #, / or ? in its user name or password."),
            ("http://", "HTTPS_PROXY is not the URL of a proxy. Write it as http://host:port."),
            ("http://canary:99999", "HTTPS_PROXY is not the URL of a proxy."),
            (
                "socks5://canary@proxy:1080",
                "HTTPS_PROXY names a SOCKS proxy, and ring-auth can use http: and https: proxies only.",
            ),
            ("socks5h://proxy:1080", "HTTPS_PROXY names a SOCKS proxy"),
            ("ftp://canary", "HTTPS_PROXY names a proxy that is neither http: nor https:."),
        ] {
            let problem = of(text, "").problem.unwrap_or_default();
            assert!(problem.starts_with(words) && !problem.contains("canary"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_proxy_that_can_be_used_is() {
        for text in [
            "http://proxy:8080",
            "proxy:8080",
            "https://proxy/",
            // Node and curl ignore a path, too.
            "http://proxy:8080/path",
            "http://user:pass@proxy:8080/",
            "http://DOMAIN%5Cuser:p%23ss@proxy:8080",
            "http://user:p@ss@proxy:8080",
        ] {
            assert_eq!(of(text, "").problem, None, "{text}");
        }
    }

    #[test]
    fn a_user_of_a_domain_and_an_odd_password_reach_the_proxy() {
        let proxy = of("http://DOMAIN%5Cuser:p%23ss@proxy:8080", "");
        let found = proxy.matcher.intercept(&Uri::from_static("https://ring.com")).unwrap();
        // The credentials decode to `DOMAIN\user:p#ss`.
        assert_eq!(found.basic_auth().unwrap(), "Basic RE9NQUlOXHVzZXI6cCNzcw==");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_stops_nothing_that_does_not_need_it() {
        for (no_proxy, is_stopped) in [
            ("", true),
            ("example.com", true),
            ("*", false),
            ("ring.com", false),
            ("localhost;*.ring.com", false),
            ("localhost; oauth.ring.com:443\r\n", false),
            ("localhost\toauth.ring.com", false),
        ] {
            let connector = Connector::new(None, Some(of("socks5://proxy:1080", no_proxy)), Duration::from_secs(1));
            let problem = connector.proxy_problem(&Url::parse("https://oauth.ring.com/oauth/token").unwrap());
            assert_eq!(problem.is_some(), is_stopped, "{no_proxy:?}");
        }
    }

    #[test]
    fn a_name_is_blocked_if_all_its_addresses_are_here() {
        let here = |addresses: &[&str]| are_here(addresses.iter().map(|address| address.parse().unwrap()));
        assert!(here(&["0.0.0.0"]) && here(&["127.0.0.1", "::1"]) && here(&["::"]));
        assert!(!here(&["10.0.0.1"]) && !here(&["0.0.0.0", "93.184.216.34"]) && !here(&[]));
        for (name, is_rings) in [
            ("oauth.ring.com", true),
            ("RING.com", true),
            ("prd-api-us.prd.rings.solutions", true),
            ("notring.com", false),
            ("ring.com.example", false),
            ("localhost", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(is_rings_name(name), is_rings, "{name}");
        }
    }
}
