//! The two origins to which ring-auth sends secrets.

use url::Url;

use crate::http::is_loopback;
use crate::{Error, Result};

/// An origin to which ring-auth may send secrets: https, or plain http on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Url);

impl Origin {
    /// Parses the user's text for the option `name`.
    ///
    /// Accepts plain http for 127.0.0.0/8, `[::1]` and `localhost` only. Fails with `INVALID_ARGUMENT` for credentials, a
    /// path, a query or a fragment. The message names the option but does not repeat its value.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let invalid =
            |why: &str| Error::invalid(format!("{name} {why}. Give an origin such as https://oauth.ring.com."));
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid("contains a space or control character"));
        }
        if !text.is_ascii() {
            return Err(invalid("contains letters that are not ASCII; an international name is written with xn--"));
        }
        let url = Url::parse(text).map_err(|_| invalid("is not a URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(invalid("is plain http to another machine")),
            _ => return Err(invalid("is neither https nor http")),
        }
        // `Url` accepts an `@` without a name before it as no credentials, but it is invalid here, too.
        if text.contains('@') {
            return Err(invalid("contains credentials"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("contains a query or a fragment"));
        }
        if url.path() != "/" {
            return Err(invalid("contains a path"));
        }
        Ok(Self(url))
    }

    /// The origin as text, such as `https://oauth.ring.com`, without a slash at the end or a default port.
    pub fn ascii(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The URL of an absolute path on this origin.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }

    /// Whether the URL has the scheme, host and port of this origin.
    pub fn holds(&self, url: &Url) -> bool {
        self.0.origin() == url.origin()
    }
}

/// The origins of authentication and of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The origin for tokens and sign-in (`oauthUrl`).
    pub oauth: Origin,
    /// The origin for sessions (`apiUrl`).
    pub api: Origin,
}

impl Endpoints {
    /// The default of `oauthUrl`.
    pub const OAUTH_URL: &str = "https://oauth.ring.com";

    /// The default of `apiUrl`.
    pub const API_URL: &str = "https://api.ring.com";

    /// Parses the options `oauthUrl` and `apiUrl`. `None` means Ring's own origin.
    pub fn parse(oauth_url: Option<&str>, api_url: Option<&str>) -> Result<Self> {
        Ok(Self {
            oauth: Origin::parse(oauth_url.unwrap_or(Self::OAUTH_URL), "oauthUrl")?,
            api: Origin::parse(api_url.unwrap_or(Self::API_URL), "apiUrl")?,
        })
    }

    /// The issuer of the tokens: the origin of `oauthUrl`, as the journal stores it.
    pub fn issuer(&self) -> String {
        self.oauth.ascii()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn issuer_is_the_ascii_origin() {
        for (text, issuer) in [
            ("https://oauth.ring.com", "https://oauth.ring.com"),
            ("https://OAuth.Ring.com:443/", "https://oauth.ring.com"),
            ("https://oauth.ring.com:8443", "https://oauth.ring.com:8443"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://127.255.0.3:1234", "http://127.255.0.3:1234"),
            ("http://[::1]:9", "http://[::1]:9"),
            ("http://localhost:9", "http://localhost:9"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ] {
            assert_eq!(Origin::parse(text, "oauthUrl").map(|origin| origin.ascii()), Ok(issuer.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for text in [
            "",
            "oauth.ring.com",
            "ftp://oauth.ring.com",
            "http://oauth.ring.com",
            "http://localhost.example",
            "http://localhost.:1",
            "http://128.0.0.1",
            "http://[::ffff:127.0.0.1]",
            "https://me:canary@oauth.ring.com",
            "https://@oauth.ring.com",
            "https://oauth.ring.com/prefix",
            "https://oauth.ring.com/?canary",
            "https://oauth.ring.com/?",
            "https://oauth.ring.com/#",
            " https://oauth.ring.com",
            "https://oauth.ring.com\n",
            "https://bücher.example",
            // A full-width `r`, which a browser treats as the ASCII letter.
            "https://oauth.ｒing.com",
        ] {
            let error = Origin::parse(text, "oauthUrl").unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{text}");
            assert!(error.message().contains("oauthUrl") && !error.message().contains("canary"), "{text}");
        }
    }

    #[test]
    fn holds_compares_scheme_host_and_port() {
        let origin = Origin::parse("https://oauth.ring.com", "oauthUrl").unwrap();
        for (text, held) in [
            ("https://oauth.ring.com/a?b", true),
            ("https://oauth.ring.com:443/", true),
            ("http://oauth.ring.com/", false),
            ("https://oauth.ring.com:444/", false),
            ("https://oauth.ring.com.evil.example/", false),
        ] {
            assert_eq!(origin.holds(&Url::parse(text).unwrap()), held, "{text}");
        }
    }
}
