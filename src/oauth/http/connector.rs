//! Connections: to a server or through a proxy, plain on this machine and with TLS to any other.

use std::error::Error as StdError;
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
use crate::oauth::BoxFuture;

/// What a library says when it fails.
pub(super) type Cause = Box<dyn StdError + Send + Sync>;

/// Makes connections. Clones share what they need for it.
#[derive(Clone)]
pub(super) struct Connector {
    direct: Direct,
    proxy: Option<Arc<Matcher>>,
    timeout: Duration,
}

impl Connector {
    /// `tls` is `None` for a connector that only makes plain connections, `proxy` for one that knows none.
    pub(super) fn new(tls: Option<Arc<rustls::ClientConfig>>, proxy: Option<Matcher>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Divided among the addresses of a host: one that does not answer must not take the time of the others.
        tcp.set_connect_timeout(Some(timeout));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(3));
        Self { direct: Direct { tcp, tls }, proxy: proxy.map(Arc::new), timeout }
    }

    /// Connects to the host of that URL, within the time for that.
    pub(super) async fn connect(self, to: Uri) -> Result<TokioIo<Stream>, Cause> {
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.intercept(&to));
        let connecting = async {
            let Some(proxy) = proxy else { return self.direct.connect(to).await };
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

/// The proxy for https that an environment names. Plain http goes to loopback only, and never through a proxy.
pub(super) fn proxy(environment: &Environment) -> Result<Option<Matcher>, String> {
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
    let without = environment.no_proxy.as_deref().unwrap_or_default();
    // Node and curl also know `*.ring.com` and `ring.com:443`, which the matcher does not.
    let without: Vec<_> = without
        .split([',', ' '])
        .map(|entry| entry.strip_suffix(":443").unwrap_or(entry))
        .map(|entry| entry.strip_prefix("*.").unwrap_or(entry))
        .collect();
    let matcher = |without: &str| Matcher::builder().https(url.as_str()).no(without).build();
    // It has no words for a URL that it cannot use, and would connect without the proxy.
    if matcher("").intercept(&Uri::from_static("https://ring.com")).is_none() {
        return Err(format!("{name} cannot be used"));
    }
    Ok(Some(matcher(&without.join(","))))
}

/// How often an idle connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Connections without a proxy.
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

    /// Puts TLS on a connection.
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

/// Names to addresses, by the system. Whatever a hosts file says, `localhost` is this machine.
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
                // Port 0 stands for the URL's.
                let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                loopback.map(|address| SocketAddr::new(address, 0)).into()
            } else {
                GaiResolver::new().call(name).await?.collect()
            };
            Ok(addresses.into_iter())
        })
    }
}

/// Whatever bytes go through both ways.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection of any kind: one type, so that what reads and writes HTTP is compiled once.
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
