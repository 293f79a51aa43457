//! Checks of the way from this process to a server: the proxy, the name and the certificate. They help a user whose computer cannot
//! reach Ring. No request to Ring needs them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use url::Url;

use super::connector::{are_here, is_rings_name, proxy};
use super::{Environment, is_loopback, roots};
use crate::task;

/// The way in which this process reaches a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Without a proxy: no variable names one.
    Direct,
    /// Without a proxy, although a variable names one: the host is this machine, or `NO_PROXY` names it.
    AroundProxy(&'static str),
    /// Through a proxy.
    Proxy {
        /// The variable that names the proxy.
        variable: &'static str,
        /// The address of the proxy, without credentials.
        address: String,
    },
    /// Not at all, because the proxy cannot be used. The text is the reason.
    Unusable(String),
    /// Without a proxy, although npm has one: this variable of npm names it, and no variable for all programs does.
    NpmAlone(&'static str),
}

impl Environment {
    /// The way to a URL in this environment.
    pub fn way_to(&self, url: &Url) -> Way {
        let variable = match (&self.https_proxy, &self.all_proxy) {
            (Some(_), _) => spelt(["https_proxy", "HTTPS_PROXY"]),
            (None, Some(_)) => spelt(["all_proxy", "ALL_PROXY"]),
            (None, None) => {
                return match self.unused_npm_proxy().filter(|_| !is_loopback(url)) {
                    Some(variable) => Way::NpmAlone(variable),
                    None => Way::Direct,
                };
            }
        };
        let proxy = proxy(self).filter(|_| !is_loopback(url));
        let through = proxy.as_ref().and_then(|proxy| Some((proxy.address_for(url)?, proxy.problem())));
        match through {
            None => Way::AroundProxy(variable),
            Some((_, Some(problem))) => Way::Unusable(problem.to_owned()),
            Some((address, None)) => Way::Proxy { variable, address },
        }
    }
}

/// The spelling of a variable that is set, with lower case first. On Windows both are one variable, which users write in capitals.
fn spelt([lower, upper]: [&'static str; 2]) -> &'static str {
    let is_set = !cfg!(windows) && std::env::var(lower).is_ok_and(|value| !value.trim().is_empty());
    if is_set { lower } else { upper }
}

/// Resolves the addresses of a host with the system's resolver.
///
/// # Errors
///
/// The error of the system, or `TimedOut` after `patience`.
pub async fn addresses(host: &str, port: u16, patience: Duration) -> io::Result<Vec<SocketAddr>> {
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    within(patience, move || Ok((name.as_str(), port).to_socket_addrs()?.collect())).await
}

/// Connects to an address, sends nothing, and closes the connection.
///
/// # Errors
///
/// The error of the system, or `TimedOut` after `patience`.
pub async fn connect(address: SocketAddr, patience: Duration) -> io::Result<()> {
    within(patience, move || TcpStream::connect_timeout(&address, patience).map(drop)).await
}

async fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::time::timeout(patience, task::spawn_blocking(work)).await;
    match done {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err(io::ErrorKind::Other.into()),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Whether a host is one of Ring's, and its addresses are those of this machine, as with a name server that blocks Ring.
pub fn is_sinkhole(host: &str, addresses: &[SocketAddr]) -> bool {
    is_rings_name(host) && are_here(addresses.iter().map(SocketAddr::ip).map(unmapped))
}

fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The certificate that a server has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The name of the issuer in the certificate.
    pub issuer: String,
    /// Whether the certificate is valid with Mozilla's authorities alone.
    pub is_public: bool,
    /// Whether a request would trust the certificate.
    pub trust: Trust,
}

/// Whether a certificate is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The certificate is trusted.
    Yes,
    /// By the clock of this machine, the certificate is valid only from this time on, in seconds since 1970.
    NotYet(u64),
    /// By the clock of this machine, the certificate has expired at this time, in seconds since 1970.
    NoMore(u64),
    /// The certificate is not trusted, for this reason.
    No(String),
}

/// A verifier that checks a certificate as every connection does, and records it.
#[derive(Debug)]
pub(super) struct Recorder {
    trusted: Arc<dyn ServerCertVerifier>,
    public: Arc<dyn ServerCertVerifier>,
    seen: Mutex<Option<Certificate>>,
}

impl Recorder {
    pub(super) fn new(trusted: RootCertStore) -> Result<Arc<Self>, String> {
        let (trusted, public) = (roots::verifier(trusted)?, roots::verifier(roots::public())?);
        Ok(Arc::new(Self { trusted, public, seen: Mutex::default() }))
    }

    pub(super) fn seen(&self) -> Option<Certificate> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify =
            |by: &Arc<dyn ServerCertVerifier>| by.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        let verified = verify(&self.trusted);
        let certificate = Certificate {
            issuer: issuer(end_entity).unwrap_or_else(|| "an issuer without a name".to_owned()),
            is_public: verify(&self.public).is_ok(),
            trust: verified.as_ref().map_or_else(distrust, |_| Trust::Yes),
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted.supported_verify_schemes()
    }
}

fn distrust(error: &rustls::Error) -> Trust {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            Trust::NotYet(not_before.as_secs())
        }
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Trust::NoMore(not_after.as_secs())
        }
        other => Trust::No(other.to_string()),
    }
}

/// The issuer of a certificate: its common name and its organisation, if the certificate has them.
fn issuer(certificate: &[u8]) -> Option<String> {
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    const ORGANISATION: &[u8] = &[0x55, 4, 10];
    let mut certificate = Der(certificate).enter(SEQUENCE)?;
    let mut body = certificate.enter(SEQUENCE)?;
    // Skip the version, the serial number and the algorithm of the signature.
    let _ = body.enter(VERSION);
    body.enter(INTEGER)?;
    body.enter(SEQUENCE)?;
    let mut names = body.enter(SEQUENCE)?;
    let (mut common_name, mut organisation) = (None, None);
    while let Some(mut set) = names.enter(SET) {
        while let Some(mut pair) = set.enter(SEQUENCE) {
            let kind = pair.enter(OBJECT_ID)?.0;
            let (tag, value) = pair.next()?;
            match kind {
                COMMON_NAME => common_name = text(tag, value),
                ORGANISATION => organisation = text(tag, value),
                _ => {}
            }
        }
    }
    match (common_name, organisation) {
        (Some(name), Some(organisation)) if name != organisation => Some(format!("{name} ({organisation})")),
        (Some(name), _) | (None, Some(name)) => Some(name),
        (None, None) => None,
    }
}

/// Decodes a text of a certificate. Keeps 64 characters at most, and removes those that could affect a terminal.
fn text(tag: u8, bytes: &[u8]) -> Option<String> {
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    const BMP: u8 = 0x1e;
    let text = match tag {
        UTF8 => String::from_utf8_lossy(bytes).into_owned(),
        PRINTABLE | TELETEX | IA5 => bytes.iter().copied().map(char::from).collect(),
        BMP => {
            let units: Vec<_> = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16_lossy(&units)
        }
        _ => return None,
    };
    let is_shown = |c: &char| {
        !c.is_control() && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let short: String = text.chars().filter(is_shown).take(64).collect();
    Some(short.trim().to_owned()).filter(|text| !text.is_empty())
}

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The unread rest of DER data.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the content of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // No certificate needs more than four bytes for a length.
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (digits, rest) = rest.split_at_checked(count)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// The content of the next value, if it has that tag.
    fn enter(&mut self, tag: u8) -> Option<Self> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.next().map(|(_, value)| Self(value))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

    use super::*;

    fn named(common_name: Option<DnValue>, organisation: Option<&str>) -> Vec<u8> {
        let mut params = CertificateParams::new(["oauth.ring.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CountryName, "DE");
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        if let Some(organisation) = organisation {
            params.distinguished_name.push(DnType::OrganizationName, organisation);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_issuer_is_read_from_a_certificate() {
        let utf8 = |text: &str| Some(DnValue::Utf8String(text.to_owned()));
        assert_eq!(issuer(&named(utf8("Proxy CA"), Some("Example"))).as_deref(), Some("Proxy CA (Example)"));
        assert_eq!(issuer(&named(utf8("Same"), Some("Same"))).as_deref(), Some("Same"));
        assert_eq!(issuer(&named(None, Some("Example"))).as_deref(), Some("Example"));
        assert_eq!(issuer(&named(None, None)), None);
        let printable = DnValue::PrintableString("Plain CA".try_into().unwrap());
        assert_eq!(issuer(&named(Some(printable), None)).as_deref(), Some("Plain CA"));
        let long = "x".repeat(200);
        assert_eq!(issuer(&named(utf8(&long), None)).map(|name| name.len()), Some(64));
        assert_eq!(issuer(&named(utf8("a\u{1b}[31m\u{202e}b\n"), None)).as_deref(), Some("a[31mb"));
    }

    #[test]
    fn a_torn_or_odd_certificate_has_no_issuer_and_does_no_harm() {
        let whole = named(Some(DnValue::Utf8String("Proxy CA".to_owned())), None);
        let end = whole.windows(8).position(|bytes| bytes == b"Proxy CA").unwrap() + 8;
        for cut in 0..end {
            assert_eq!(issuer(&whole[..cut]), None, "cut at {cut}");
        }
        for odd in
            [&[0x30, 0x80][..], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0xff], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(issuer(odd), None);
        }
    }

    fn environment(https_proxy: Option<&str>, no_proxy: &str) -> Environment {
        Environment {
            https_proxy: https_proxy.map(str::to_owned),
            no_proxy: Some(no_proxy.to_owned()),
            ..Environment::default()
        }
    }

    #[test]
    fn the_way_names_the_variable_and_no_password() {
        let ring = Url::parse("https://oauth.ring.com").unwrap();
        let here = Url::parse("http://127.0.0.1:1").unwrap();
        let proxy = environment(Some("http://user:canary@proxy:8080"), "");
        let Way::Proxy { variable, address } = proxy.way_to(&ring) else { panic!("{:?}", proxy.way_to(&ring)) };
        assert!(variable.eq_ignore_ascii_case("https_proxy"));
        assert_eq!(address, "http://proxy:8080");
        assert!(matches!(proxy.way_to(&here), Way::AroundProxy(_)));
        assert!(matches!(environment(Some("http://proxy"), ".ring.com").way_to(&ring), Way::AroundProxy(_)));
        assert!(matches!(environment(Some("socks5://proxy"), "").way_to(&ring), Way::Unusable(_)));
        assert_eq!(environment(None, "").way_to(&ring), Way::Direct);
        let npm = Environment { npm_proxy: Some("npm_config_proxy"), ..Environment::default() };
        assert_eq!((npm.way_to(&ring), npm.way_to(&here)), (Way::NpmAlone("npm_config_proxy"), Way::Direct));
    }

    #[test]
    fn a_sinkhole_is_a_name_of_ring_that_leads_here() {
        let at = |text: &str| [SocketAddr::new(text.parse().unwrap(), 443)];
        for address in ["0.0.0.0", "127.0.0.1", "127.9.9.9", "::", "::1", "::ffff:0.0.0.0"] {
            assert!(is_sinkhole("oauth.ring.com", &at(address)), "{address}");
            assert!(!is_sinkhole("ring.invalid", &at(address)), "{address}");
        }
        assert!(!is_sinkhole("oauth.ring.com", &at("93.184.216.34")) && !is_sinkhole("oauth.ring.com", &[]));
    }
}
