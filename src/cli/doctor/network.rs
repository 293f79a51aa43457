//! The checks of the way to Ring: clock, names, addresses, proxy, certificates, and the answer of Ring's edge to a request without a
//! token.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Url;

use super::super::args::Options;
use super::super::status::duration;
use super::Check;
use crate::http::{
    Answer, Certificate, Http, HttpClient, HttpConfig, HttpFailure, Method, PAGE_LIMIT, Request, Trust, Way, addresses,
    connect, is_rings_name, is_sinkhole,
};
use crate::oauth::{DEFAULT_USER_AGENT, Endpoints, RingOauth, http_date, is_page, refusal};
use crate::task::BoxFuture;
use crate::{ErrorCode, Result};

const CLOCK: &str = "clock";
const NAMES: &str = "name-resolution";
const IPV4: &str = "ipv4";
const IPV6: &str = "ipv6";
const PROXY: &str = "proxy";
const TLS: &str = "tls";
const OAUTH: &str = "oauth";
const API: &str = "api";

/// How long to wait for the resolution of a name, for a connection, and for an answer.
const RESOLVE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);

/// How wrong a clock may be. Codes of an authenticator are valid for half a minute. Nothing else needs a clock that is right to the
/// minute.
const SLIGHTLY_OFF: u64 = 20;
const WRONG: u64 = 5 * 60;

/// One of Ring's servers, and the findings about the way to it.
struct Server {
    id: &'static str,
    url: Url,
    host: String,
    way: Way,
    /// `None` if a proxy resolves the name.
    addresses: Option<io::Result<Vec<SocketAddr>>>,
    certificate: Option<std::result::Result<Option<Certificate>, HttpFailure>>,
    /// `None` if no request was made.
    answer: Option<std::result::Result<Answer, HttpFailure>>,
    asked_at: SystemTime,
}

/// Makes the checks of this group. `hardware_id` is the stored one. Ring's edge refuses requests without a hardware id, so an invented
/// one is sent if none is stored.
pub(super) async fn look(options: &Options, endpoints: &Endpoints, hardware_id: Option<&str>) -> Result<Vec<Check>> {
    let config = HttpConfig { timeout: ANSWER, ..HttpConfig::default() };
    let environment = config.environment.clone();
    let client = Arc::new(HttpClient::new(config));
    let oauth = RingOauth::new(Arc::clone(&client) as Arc<_>, endpoints.clone(), options.user_agent.as_deref());
    let oauth = oauth.map_err(|error| super::super::store::named(&error, &[("userAgent", "--user-agent")]))?;
    let server = |id, url: Url| Server {
        id,
        host: url.host_str().unwrap_or_default().to_owned(),
        way: environment.way_to(&url),
        url,
        addresses: None,
        certificate: None,
        answer: None,
        asked_at: UNIX_EPOCH,
    };
    let [mut first, mut second] = [server(OAUTH, endpoints.oauth.url("/")), server(API, endpoints.api.url("/"))];
    let is_one = endpoints.oauth == endpoints.api;
    let hardware_id = hardware_id.filter(|id| uuid::Uuid::parse_str(id).is_ok()).map(str::to_owned);
    let hardware_id = hardware_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let headers = [("user-agent", oauth.user_agent()), ("hardware_id", &hardware_id)];
    if is_one {
        first.visit(&client, headers).await;
    } else {
        tokio::join!(first.visit(&client, headers), second.visit(&client, headers));
    }
    let servers: &[Server] = if is_one { &[first] } else { &[first, second] };
    let mut checks = vec![clock(servers), names(servers)];
    checks.extend(families(&servers[0]).await);
    checks.extend([proxy(servers), tls(servers)]);
    checks.extend(servers.iter().map(edge));
    if is_one {
        checks.push(Check::skipped(API, "It is the same server as oauth."));
    }
    Ok(checks)
}

impl Server {
    /// Resolves the name, reads the certificate and requests the front page. Each step needs the one before. Boxed, so that it is
    /// compiled once for both servers.
    fn visit<'a>(&'a mut self, client: &'a HttpClient, headers: [(&'static str, &'a str); 2]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if matches!(self.way, Way::Unusable(_)) {
                return;
            }
            if !self.is_proxied() {
                let found = addresses(&self.host, self.port(), RESOLVE).await;
                let leads_nowhere = found.as_ref().map_or(true, |found| is_sinkhole(&self.host, found));
                self.addresses = Some(found);
                if leads_nowhere {
                    return;
                }
            }
            if self.url.scheme() == "https" {
                let certificate = client.certificate(&self.url).await;
                let is_trusted = matches!(&certificate, Ok(Some(Certificate { trust: Trust::Yes, .. }) | None));
                self.certificate = Some(certificate);
                if !is_trusted {
                    return;
                }
            }
            self.asked_at = SystemTime::now();
            self.answer = Some(client.send(front_page(&self.url, headers)).await);
        })
    }

    fn is_proxied(&self) -> bool {
        matches!(self.way, Way::Proxy { .. })
    }

    fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// Whether the certificate is from a public authority: then the answer comes from the server itself.
    fn is_itself(&self) -> bool {
        matches!(&self.certificate, Some(Ok(Some(certificate))) if certificate.is_public)
    }
}

/// Requests `/` with the headers that each request to Ring has, and without a token.
fn front_page(url: &Url, headers: [(&'static str, &str); 2]) -> Request {
    Request {
        method: Method::Get,
        url: url.clone(),
        headers: headers.map(|(name, value)| (name.into(), value.to_owned())).into(),
        body: None,
        limit: PAGE_LIMIT,
        timeout: None,
        enough: None,
    }
}

/// The check of this machine's clock, by the first answer with a date, or by a certificate that is not valid at this time.
fn clock(servers: &[Server]) -> Check {
    for server in servers {
        let date = server.answer.as_ref().and_then(|answer| answer.as_ref().ok()?.headers.first("date"));
        if let Some(date) = date.and_then(http_date) {
            return compare_clock(date.as_secs(), seconds(server.asked_at));
        }
    }
    let now = seconds(SystemTime::now());
    for server in servers {
        let Some(Ok(Some(certificate))) = &server.certificate else { continue };
        let (word, then) = match certificate.trust {
            Trust::NotYet(then) => ("from", then),
            Trust::NoMore(then) => ("until", then),
            Trust::Yes | Trust::No(_) => continue,
        };
        return Check::failed(
            CLOCK,
            ErrorCode::Protocol,
            format!(
                "The clock of this machine says {}, and the certificate of {} is valid {word} {}. Set the clock, or let it be set (NTP).",
                utc(now),
                server.host,
                utc(then)
            ),
        );
    }
    Check::skipped(CLOCK, "No server has said what time it is.")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn compare_clock(theirs: u64, ours: u64) -> Check {
    let off = theirs.abs_diff(ours);
    let direction = if ours > theirs { "fast" } else { "slow" };
    let sentence = format!("The clock of this machine is {} {direction}: it says {}.", duration(off), utc(ours));
    if off > WRONG {
        Check::failed(CLOCK, ErrorCode::Protocol, sentence).and("Set it, or let it be set (NTP).")
    } else if off > SLIGHTLY_OFF {
        Check::warning(CLOCK, sentence).and("The codes of an authenticator need it to the second: let it be set (NTP).")
    } else {
        Check::ok(CLOCK, "The clock of this machine is right.")
    }
}

/// A time for people.
fn utc(seconds: u64) -> String {
    // Days since the first of March of the year 0, so that a leap day is the last of its year.
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (day * 5 + 2) / 153;
    let (day, month) = (day - (month * 153 + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3_600 % 24, seconds / 60 % 60)
}

fn names(servers: &[Server]) -> Check {
    let mut fine = Vec::new();
    let mut private = None;
    for Server { host, addresses, .. } in servers {
        let Some(addresses) = addresses else { continue };
        match addresses {
            Err(error) => return unresolved(host, error),
            Ok(found) if is_sinkhole(host, found) => {
                let address = found.first().map(|address| address.ip().to_string()).unwrap_or_default();
                return Check::failed(
                    NAMES,
                    ErrorCode::Network,
                    format!(
                        "{host} is blocked by the name server: it answers with {address}, an address of this machine instead of Ring's. Allow ring.com and its subdomains where that is set: Pi-hole, AdGuard, a router, or the hosts file."
                    ),
                );
            }
            Ok(found) if found.is_empty() => return unresolved(host, &io::ErrorKind::NotFound.into()),
            Ok(_) if is_number(host) => fine.push(format!("{host} is an address")),
            Ok(found) => {
                private = private
                    .or(found.iter().find(|address| is_private(address.ip())).map(|address| (host, address.ip())));
                fine.push(format!(
                    "{host} is {}",
                    found.first().map_or_else(String::new, |address| address.ip().to_string())
                ));
            }
        }
    }
    match private {
        Some((host, address)) => Check::warning(
            NAMES,
            format!(
                "{host} is {address}, an address of your own network and not Ring's. Look at the name server, and at the hosts file."
            ),
        ),
        _ if fine.is_empty() => Check::skipped(NAMES, "The proxy resolves the names."),
        _ => Check::ok(NAMES, format!("{}.", fine.join(", "))),
    }
}

fn unresolved(host: &str, error: &io::Error) -> Check {
    Check::failed(
        NAMES,
        ErrorCode::Network,
        format!(
            "The name {host} cannot be resolved ({error}). Check the network connection, and the name server (in a container: its dns setting)."
        ),
    )
}

fn is_number(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

/// Whether an address belongs to a local network.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// The result of a connection with one family of addresses.
enum Reached {
    /// The server has no address of that family.
    NoAddress,
    Yes(SocketAddr),
    No(SocketAddr, io::Error),
}

/// The checks of the two families, by connections to the first server that send nothing.
async fn families(server: &Server) -> [Check; 2] {
    if server.is_proxied() {
        return [IPV4, IPV6].map(|id| Check::skipped(id, "The proxy makes the connection."));
    }
    let Some(Ok(found)) =
        server.addresses.as_ref().filter(|found| found.as_ref().is_ok_and(|found| !is_sinkhole(&server.host, found)))
    else {
        return [IPV4, IPV6].map(|id| Check::skipped(id, format!("The address of {} is not known.", server.host)));
    };
    let try_first = |wanted: fn(&SocketAddr) -> bool| -> BoxFuture<'_, Reached> {
        let address = found.iter().copied().find(wanted);
        Box::pin(async move {
            let Some(address) = address else { return Reached::NoAddress };
            match connect(address, CONNECT).await {
                Ok(()) => Reached::Yes(address),
                Err(error) => Reached::No(address, error),
            }
        })
    };
    let (ipv4, ipv6) = tokio::join!(try_first(SocketAddr::is_ipv4), try_first(SocketAddr::is_ipv6));
    [family(IPV4, &server.host, &ipv4, &ipv6), family(IPV6, &server.host, &ipv6, &ipv4)]
}

fn family(id: &'static str, host: &str, reached: &Reached, other: &Reached) -> Check {
    let (name, other_name) = if id == IPV4 { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    match (reached, other) {
        (Reached::Yes(address), _) => Check::ok(id, format!("{address} can be reached.")),
        (Reached::NoAddress, _) => Check::ok(id, format!("{host} has no {name} address, and needs none.")),
        (Reached::No(address, error), Reached::Yes(_)) if error.kind() == io::ErrorKind::TimedOut => Check::warning(
            id,
            format!(
                "{address} does not answer, and {other_name} works: connections can take longer. Fix {name} in this network, or turn it off on this machine."
            ),
        ),
        (Reached::No(_, error), Reached::Yes(_)) => {
            Check::ok(id, format!("There is no {name} to {host} here ({error}). {other_name} is used."))
        }
        (Reached::No(address, error), _) => Check::failed(
            id,
            ErrorCode::Network,
            format!(
                "{address} cannot be reached ({error}). Check the network connection, and whether a firewall lets port {} out.",
                address.port()
            ),
        ),
    }
}

fn proxy(servers: &[Server]) -> Check {
    let mut ways: Vec<&Way> = Vec::new();
    for Server { way, .. } in servers {
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways.into_iter().map(way).reduce(Check::or_worse).unwrap_or_else(|| Check::ok(PROXY, "None is used."))
}

fn way(way: &Way) -> Check {
    match way {
        Way::Direct => Check::ok(PROXY, "None is used: neither HTTPS_PROXY nor ALL_PROXY names one."),
        Way::AroundProxy(variable) => Check::ok(
            PROXY,
            format!(
                "None is used: {variable} names one, and NO_PROXY or the address of this machine takes Ring's servers out."
            ),
        ),
        Way::Proxy { variable, address } => Check::ok(PROXY, format!("{address}, from {variable}.")),
        Way::Unusable(problem) => Check::failed(PROXY, ErrorCode::InvalidArgument, problem.clone()),
        Way::NpmAlone(variable) => Check::warning(
            PROXY,
            format!(
                "None is used, but npm uses one here ({variable}) that other programs do not know. If Ring cannot be reached without it, set HTTPS_PROXY to the same address."
            ),
        ),
    }
}

fn tls(servers: &[Server]) -> Check {
    let seen: Vec<_> = servers.iter().filter_map(|server| Some((server, server.certificate.as_ref()?))).collect();
    if seen.is_empty() {
        let sentence = if servers.iter().all(|server| server.url.scheme() == "http") {
            "The servers are on this machine, without TLS."
        } else {
            "No connection was tried."
        };
        return Check::skipped(TLS, sentence);
    }
    let checks = seen.into_iter().map(|(server, certificate)| match certificate {
        Ok(Some(certificate)) => issued(&server.host, certificate),
        Ok(None) => Check::skipped(TLS, format!("{} has shown no certificate.", server.host)),
        Err(_) => Check::skipped(TLS, format!("There was no connection to {}: see {}.", server.host, server.id)),
    });
    checks.reduce(Check::or_worse).unwrap_or_else(|| Check::skipped(TLS, "No connection was tried."))
}

fn issued(host: &str, certificate: &Certificate) -> Check {
    let Certificate { issuer, is_public, trust } = certificate;
    let untrusted = |why: &str, advice: &str| {
        Check::failed(
            TLS,
            ErrorCode::Network,
            format!("The certificate of {host}, issued by {issuer}, is not trusted: {why}. {advice}"),
        )
    };
    match trust {
        Trust::Yes if *is_public => {
            Check::ok(TLS, format!("The certificate of {host} was issued by {issuer}, under a public authority."))
        }
        Trust::Yes => Check::warning(
            TLS,
            format!(
                "The certificate of {host} was issued by {issuer}, which is no public authority but is trusted here: a proxy or virus scanner inspects TLS, and can read every token. If that is not wanted, exempt ring.com and rings.solutions from it."
            ),
        ),
        Trust::NotYet(then) => {
            untrusted(&format!("it is valid from {} on", utc(*then)), "Set the clock of this machine.")
        }
        Trust::NoMore(then) => {
            untrusted(&format!("it was valid until {}", utc(*then)), "Set the clock of this machine, if it is wrong.")
        }
        Trust::No(why) => untrusted(
            why,
            "If a proxy or virus scanner inspects TLS here, name its root certificate (PEM) in NODE_EXTRA_CA_CERTS. In a network with a login page (captive portal), log in there with a browser first.",
        ),
    }
}

/// The check of the answer to a request without a token.
fn edge(server: &Server) -> Check {
    let Server { id, host, answer, .. } = server;
    let Some(answer) = answer else { return not_asked(server) };
    match answer {
        Ok(answer) => front(id, host, answer, server.is_itself()),
        Err(failure) => unreachable(server, failure),
    }
}

/// The check of a server that has not answered.
fn unreachable(server: &Server, failure: &HttpFailure) -> Check {
    let Server { id, host, way, .. } = server;
    let check = Check::of(id, &failure.to_error());
    match way {
        Way::Proxy { variable, address } => check.and(&format!(
            "The connection goes through the proxy {address} ({variable}): check whether it runs, allows {host}, and needs a user name and a password."
        )),
        _ => check,
    }
}

fn not_asked(server: &Server) -> Check {
    let Server { id, host, certificate, addresses, way, .. } = server;
    match (certificate, addresses) {
        (Some(Err(failure)), _) => unreachable(server, failure),
        (Some(Ok(_)), _) => {
            Check::skipped(id, format!("{host} was not asked: its certificate is not trusted. See tls."))
        }
        (None, _) if matches!(way, Way::Unusable(_)) => {
            Check::skipped(id, format!("{host} was not asked: the proxy cannot be used. See proxy."))
        }
        _ => Check::skipped(id, format!("{host} was not asked: its name does not lead to it. See name-resolution.")),
    }
}

/// `is_itself` says that the server has a certificate of a public authority, so that nothing else can have answered.
fn front(id: &'static str, host: &str, answer: &Answer, is_itself: bool) -> Check {
    let Answer { status, headers, body, url } = answer;
    let portal = |what: &str| {
        Check::failed(
            id,
            ErrorCode::Protocol,
            format!(
                "Something else answers in place of {host}: {what} (HTTP {status}). That is a captive portal, the login page of a hotel, a guest network or a filter. Log in there with a browser, or use another network."
            ),
        )
    };
    if *status == 511 {
        return portal("the network wants a login");
    }
    if *status == 407 {
        return Check::failed(
            id,
            ErrorCode::Network,
            "The proxy needs a user name and a password: write them into HTTPS_PROXY (http://user:password@host:port).",
        );
    }
    if !is_itself {
        let target = headers.first("location").filter(|_| (300..=399).contains(status));
        let target = target.and_then(|location| url.join(location).ok());
        if let Some(target) = target.filter(|target| !is_at_home(url, target)) {
            return portal(&format!("it sends to {}", shown(&target)));
        }
        if (200..=299).contains(status) && is_page(*status, headers, body) {
            return portal("it shows a page");
        }
    }
    match refusal(*status, headers, body, SystemTime::now()) {
        Some(error) if error.code() == ErrorCode::Blocked => Check::failed(
            id,
            ErrorCode::Blocked,
            format!(
                "Ring's edge refuses this machine at {host} (HTTP {status}), although no token was sent: token and password are not at fault. Try one after the other: wait a quarter of an hour; another network (the addresses of VPNs and data centres are often blocked); a new hardware id (ring-auth login --new-device); another app string (--user-agent, {DEFAULT_USER_AGENT} by default)."
            ),
        ),
        Some(error) => Check::of(id, &error).and(&format!("{host} answered with HTTP {status}.")),
        None => Check::ok(id, format!("{host} answers (HTTP {status}).")),
    }
}

/// Whether a redirect leads to the server itself or to Ring.
fn is_at_home(from: &Url, to: &Url) -> bool {
    let is_rings = to.scheme() == "https" && is_rings_name(to.host_str().unwrap_or_default());
    is_rings || to.host_str() == from.host_str()
}

/// The origin of a URL. The rest may contain personal data.
fn shown(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::http::Headers;

    fn server(url: &str) -> Server {
        let url = Url::parse(url).unwrap();
        Server {
            id: OAUTH,
            host: url.host_str().unwrap().to_owned(),
            url,
            way: Way::Direct,
            addresses: None,
            certificate: None,
            answer: None,
            asked_at: UNIX_EPOCH,
        }
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = Headers::new(headers.iter().map(|(name, value)| (*name, *value)));
        let url = Url::parse("https://oauth.ring.com/").unwrap();
        Answer { status, headers, body: body.as_bytes().to_vec(), url }
    }

    fn certificate(is_public: bool, trust: Trust) -> Certificate {
        Certificate { issuer: "Proxy CA (Example)".to_owned(), is_public, trust }
    }

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 443)
    }

    #[test]
    fn a_clock_is_right_slightly_off_or_wrong() {
        for (theirs, ours, state) in [
            (1_000, 1_000, State::Ok),
            (1_000, 1_020, State::Ok),
            (1_000, 1_021, State::Warning),
            (1_300, 1_000, State::Warning),
            (1_301, 1_000, State::Failed),
            (1_000, 1_301, State::Failed),
        ] {
            assert_eq!(compare_clock(theirs, ours).state, state, "{theirs} {ours}");
        }
        assert_eq!(
            compare_clock(1_764_129_600, 0).line(),
            "failed   clock           The clock of this machine is 20418 d 4 h slow: it says 1970-01-01 00:00 UTC. Set it, or let it be set (NTP). (PROTOCOL)"
        );
    }

    #[test]
    fn a_certificate_of_another_time_tells_of_the_clock_where_no_answer_does() {
        let mut ring = server("https://oauth.ring.com");
        ring.certificate = Some(Ok(Some(certificate(false, Trust::NotYet(4_102_444_800)))));
        let check = clock(&[ring]);
        assert_eq!(check.state, State::Failed);
        assert!(check.message.ends_with("the certificate of oauth.ring.com is valid from 2100-01-01 00:00 UTC. Set the clock, or let it be set (NTP)."), "{check:?}");
        let mut ring = server("https://oauth.ring.com");
        ring.certificate = Some(Ok(Some(certificate(false, Trust::NoMore(951_825_600)))));
        assert!(clock(&[ring]).message.contains("is valid until 2000-02-29 12:00 UTC."));
        assert_eq!(clock(&[server("https://oauth.ring.com")]).state, State::Skipped);
    }

    #[test]
    fn times_are_shown_as_people_read_them() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_825_600, "2000-02-29 12:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_704_067_199, "2023-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn a_name_that_leads_home_or_into_an_own_network_is_named() {
        let resolved = |host: &str, addresses: &[&str]| {
            let mut ring = server(&format!("https://{host}"));
            ring.addresses = Some(Ok(addresses.iter().map(|address| at(address)).collect()));
            names(&[ring])
        };
        assert_eq!(
            resolved("oauth.ring.com", &["93.184.216.34"]).line(),
            "ok       name-resolution oauth.ring.com is 93.184.216.34."
        );
        let sinkhole = resolved("oauth.ring.com", &["0.0.0.0", "::"]);
        assert_eq!(sinkhole.state, State::Failed);
        assert!(
            sinkhole.message.starts_with("oauth.ring.com is blocked by the name server: it answers with 0.0.0.0,"),
            "{sinkhole:?}"
        );
        assert_eq!(
            resolved("oauth.ring.com", &["192.168.1.1"]).line(),
            "warning  name-resolution oauth.ring.com is 192.168.1.1, an address of your own network and not Ring's. Look at the name server, and at the hosts file."
        );
        assert_eq!(resolved("127.0.0.1", &["127.0.0.1"]).message, "127.0.0.1 is an address.");
        assert_eq!(resolved("oauth.ring.com", &[]).state, State::Failed);
        assert_eq!(names(&[server("https://oauth.ring.com")]).state, State::Skipped);
    }

    #[test]
    fn a_family_that_is_missing_matters_only_if_the_other_one_does_not_work() {
        let v6 = || at("2001:db8::1");
        let refused = |kind: io::ErrorKind| Reached::No(v6(), kind.into());
        let works = Reached::Yes(at("93.184.216.34"));
        let check = |reached: &Reached, other: &Reached| family(IPV6, "oauth.ring.com", reached, other);
        assert_eq!(check(&refused(io::ErrorKind::NetworkUnreachable), &works).state, State::Ok);
        let slow = check(&refused(io::ErrorKind::TimedOut), &works);
        assert_eq!(slow.state, State::Warning);
        assert!(
            slow.message.starts_with("[2001:db8::1]:443 does not answer, and IPv4 works: connections can take longer."),
            "{slow:?}"
        );
        let none = check(&refused(io::ErrorKind::NetworkUnreachable), &Reached::NoAddress);
        assert_eq!((none.state, none.code.map(super::super::Code::as_str)), (State::Failed, Some("NETWORK")));
        assert_eq!(check(&Reached::NoAddress, &works).message, "oauth.ring.com has no IPv6 address, and needs none.");
        assert_eq!(check(&Reached::Yes(v6()), &works).state, State::Ok);
    }

    #[test]
    fn an_authority_that_is_not_public_is_a_warning_and_one_that_is_not_trusted_a_failure() {
        let check = |is_public, trust| issued("oauth.ring.com", &certificate(is_public, trust));
        assert_eq!(
            check(true, Trust::Yes).message,
            "The certificate of oauth.ring.com was issued by Proxy CA (Example), under a public authority."
        );
        let inspected = check(false, Trust::Yes);
        assert_eq!((inspected.state, inspected.code), (State::Warning, None));
        assert!(
            inspected.message.contains("was issued by Proxy CA (Example), which is no public authority"),
            "{inspected:?}"
        );
        assert_eq!(check(false, Trust::No("UnknownIssuer".to_owned())).state, State::Failed);
        let early = check(false, Trust::NotYet(951_825_600));
        assert!(
            early.message.contains("is not trusted: it is valid from 2000-02-29 12:00 UTC on. Set the clock"),
            "{early:?}"
        );
    }

    #[test]
    fn a_portal_is_named_unless_a_public_authority_vouches_for_the_server() {
        let html = [("content-type", "text/html")];
        let away = [("location", "http://login.hotel.example/?mac=canary")];
        for (given, words) in [
            (answer(200, &html, "<html>"), "it shows a page"),
            (answer(302, &away, ""), "it sends to http://login.hotel.example ("),
        ] {
            let portal = front(OAUTH, "oauth.ring.com", &given, false);
            assert_eq!((portal.state, portal.code.map(super::super::Code::as_str)), (State::Failed, Some("PROTOCOL")));
            assert!(portal.message.contains(words) && !portal.message.contains("canary"), "{portal:?}");
            assert_eq!(front(OAUTH, "oauth.ring.com", &given, true).state, State::Ok);
        }
        // The result does not depend on the authority that issued the certificate.
        assert_eq!(front(OAUTH, "oauth.ring.com", &answer(511, &html, "<html>"), true).state, State::Failed);
        for (status, headers, body) in [
            (200, &[][..], "{}"),
            (204, &[], ""),
            (302, &[("location", "/login")], ""),
            (301, &[("location", "https://ring.com/")], ""),
            (404, &html, "<html>"),
            (401, &[], ""),
        ] {
            let check = front(OAUTH, "oauth.ring.com", &answer(status, headers, body), false);
            assert_eq!(check.state, State::Ok, "{check:?}");
        }
        // This host does not belong to Ring, although its name begins like one of Ring's hosts.
        let near = answer(302, &[("location", "https://ring.com.example/")], "");
        assert_eq!(front(OAUTH, "oauth.ring.com", &near, false).state, State::Failed);
    }

    #[test]
    fn what_refuses_has_its_own_code() {
        for (status, code) in [
            (403, "BLOCKED"),
            (406, "BLOCKED"),
            (407, "NETWORK"),
            (429, "RATE_LIMITED"),
            (500, "SERVER_ERROR"),
            (503, "SERVER_ERROR"),
        ] {
            let check = front(OAUTH, "oauth.ring.com", &answer(status, &[], "no"), true);
            assert_eq!(
                (check.state, check.code.map(super::super::Code::as_str)),
                (State::Failed, Some(code)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_request_holds_no_secret() {
        let url = Url::parse("https://oauth.ring.com/").unwrap();
        let request = front_page(&url, [("user-agent", "app"), ("hardware_id", "id")]);
        assert_eq!(request.headers.len(), 2);
        assert_eq!((request.method, request.body), (Method::Get, None));
    }
}
