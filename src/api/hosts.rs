//! The servers that may get the account's token: a pure function of the URL.

use url::{Host, Url};

use crate::oauth::{Endpoints, Origin};

/// The servers that get credentials: Ring's own over https, and those that the options name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    api: Origin,
    oauth: Origin,
    /// `apiUrl` names a server that is not Ring's, such as a gateway.
    elsewhere: bool,
}

impl Hosts {
    /// The servers for a manager with these endpoints.
    pub fn new(endpoints: &Endpoints) -> Self {
        let elsewhere = !is_rings(&endpoints.api.url("/"));
        Self { api: endpoints.api.clone(), oauth: endpoints.oauth.clone(), elsewhere }
    }

    /// The address for a request with credentials to that URL; `None` if that host must not get them.
    ///
    /// An `apiUrl` that is not Ring's stands for all of Ring's API: a request for any of Ring's hosts goes there, with the same path, so
    /// that the tokens of a gateway never reach Ring.
    pub fn target(&self, url: &Url) -> Option<Url> {
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let mut url = url.clone();
        url.set_fragment(None);
        if self.api.holds(&url) || self.oauth.holds(&url) {
            return Some(url);
        }
        if !is_rings(&url) {
            return None;
        }
        if self.elsewhere || url.origin().ascii_serialization() == Endpoints::API_URL {
            let mut there = self.api.url(url.path());
            there.set_query(url.query());
            return Some(there);
        }
        Some(url)
    }
}

/// Whether the URL is `ring.com`, or a host below it or below `rings.solutions`, over https on its default port.
fn is_rings(url: &Url) -> bool {
    let Some(Host::Domain(name)) = url.host() else { return false };
    let is_its_name = name == "ring.com" || name.ends_with(".ring.com") || name.ends_with(".rings.solutions");
    is_its_name && url.scheme() == "https" && url.port().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(oauth_url: Option<&str>, api_url: Option<&str>) -> Hosts {
        Hosts::new(&Endpoints::parse(oauth_url, api_url).unwrap())
    }

    fn target(hosts: &Hosts, url: &str) -> Option<String> {
        hosts.target(&Url::parse(url).unwrap()).map(Into::into)
    }

    #[test]
    fn rings_own_hosts_over_https_get_the_token() {
        let ring = hosts(None, None);
        for url in [
            "https://api.ring.com/clients_api/x?y=z",
            "https://ring.com/",
            "https://app-snaps.ring.com/snapshots/next/1",
            "https://prd-api-us.prd.rings.solutions/api/v1/x",
            "https://a.b.c.ring.com:443/",
            "https://API.Ring.COM/",
        ] {
            assert_eq!(target(&ring, url), Some(Url::parse(url).unwrap().into()), "{url}");
        }
        assert_eq!(target(&ring, "https://api.ring.com/a#canary").as_deref(), Some("https://api.ring.com/a"));
    }

    #[test]
    fn nobody_else_gets_it() {
        let ring = hosts(None, None);
        for url in [
            "http://api.ring.com/",
            "https://api.ring.com:8443/",
            "https://evil-ring.com/",
            "https://ring.com.evil.example/",
            "https://evil.example/?https://api.ring.com/",
            "https://api.ring.com@evil.example/",
            "https://me@api.ring.com/",
            "https://:canary@api.ring.com/",
            "https://api.ring.com./",
            "https://rings.solutions/",
            "https://evilrings.solutions/",
            "https://xn--rng-rma.com/",
            "https://127.0.0.1/",
            "http://127.0.0.1:1/",
            "wss://api.ring.com/",
            "file:///etc/passwd",
            "data:,x",
        ] {
            assert_eq!(target(&ring, url), None, "{url}");
        }
    }

    #[test]
    fn the_configured_servers_get_it_by_their_very_origin() {
        let own = hosts(Some("http://127.0.0.1:8001"), Some("http://127.0.0.1:8002"));
        for url in ["http://127.0.0.1:8001/a?b", "http://127.0.0.1:8002/a?b"] {
            assert_eq!(target(&own, url).as_deref(), Some(url));
        }
        for url in ["http://127.0.0.1:8003/", "https://127.0.0.1:8002/", "http://localhost:8002/"] {
            assert_eq!(target(&own, url), None, "{url}");
        }
    }

    #[test]
    fn a_gateway_stands_for_all_of_rings_api() {
        let own = hosts(None, Some("https://gateway.example"));
        for url in ["https://api.ring.com/a?b=c", "https://app-snaps.ring.com/a?b=c", "https://x.rings.solutions/a?b=c"]
        {
            assert_eq!(target(&own, url).as_deref(), Some("https://gateway.example/a?b=c"));
        }
        assert_eq!(target(&own, "http://api.ring.com/a"), None);
    }

    #[test]
    fn another_api_server_of_rings_stands_for_the_usual_one_alone() {
        let own = hosts(None, Some("https://api-eu.ring.com"));
        assert_eq!(target(&own, "https://api.ring.com/a").as_deref(), Some("https://api-eu.ring.com/a"));
        assert_eq!(target(&own, "https://app-snaps.ring.com/a").as_deref(), Some("https://app-snaps.ring.com/a"));
    }
}
