//! The cookies of one web login, in memory only.

use cookie_store::{Cookie, CookieStore};
use url::Url;

use crate::http::Headers;

/// A cookie jar for one login. It honours Domain, Path, Secure and expiry, and refuses cookies of foreign domains.
pub(super) struct Jar(CookieStore);

impl Jar {
    pub(super) fn new() -> Self {
        Self(CookieStore::new())
    }

    /// Stores the cookies in the headers of the answer to `url`.
    pub(super) fn store(&mut self, headers: &Headers, url: &Url) {
        for text in headers.all("set-cookie") {
            if text.len() > LONGEST || text.chars().any(char::is_control) {
                continue;
            }
            let Ok(cookie) = Cookie::parse(text.to_owned(), url) else { continue };
            let same = |other: &Cookie<'_>| {
                other.name() == cookie.name() && other.domain == cookie.domain && other.path == cookie.path
            };
            if self.0.iter_any().count() >= MOST && !self.0.iter_any().any(same) {
                continue;
            }
            // `insert` refuses a cookie of a foreign domain, and a new cookie that has already expired.
            let _ = self.0.insert(cookie, url);
        }
    }

    /// The `Cookie` header for a request to `url`, if any cookie matches that URL.
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let mut cookies: Vec<&Cookie<'_>> = Vec::new();
        for cookie in self.0.matches(url) {
            // RFC 6265 puts longer paths first. The names only make the order deterministic.
            let order = |other: &Cookie<'_>| {
                cookie.path.len().cmp(&other.path.len()).then_with(|| other.name().cmp(cookie.name()))
            };
            let at = cookies.partition_point(|other| order(other).is_le());
            cookies.insert(at, cookie);
        }
        let pairs: Vec<_> = cookies.iter().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// The value of the cookie of that name. Its path does not matter.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter_unexpired().find(|cookie| cookie.name() == name).map(|cookie| cookie.value())
    }
}

/// The largest number of cookies in a jar: as many as browsers keep for one domain.
const MOST: usize = 50;

/// The length of the longest accepted `Set-Cookie` header in bytes, as in browsers.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn jar(cookies: &[&str]) -> Jar {
        let mut jar = Jar::new();
        jar.store(
            &Headers::new(cookies.iter().map(|text| ("set-cookie", *text))),
            &url("https://oauth.ring.com/oauth/v2/authorize"),
        );
        jar
    }

    #[test]
    fn domain_path_and_secure_are_honoured() {
        let jar = jar(&[
            "a=1; Path=/oauth/v2",
            "b=2; Path=/; Secure",
            "c=3; Domain=ring.com; Path=/",
            "d=4; Path=/elsewhere",
        ]);
        let header = |text| jar.header(&url(text));
        assert_eq!(header("https://oauth.ring.com/oauth/v2/signin").as_deref(), Some("a=1; b=2; c=3"));
        assert_eq!(header("https://oauth.ring.com/oauth/token").as_deref(), Some("b=2; c=3"));
        assert_eq!(header("http://oauth.ring.com/").as_deref(), Some("c=3"));
        assert_eq!(header("https://api.ring.com/").as_deref(), Some("c=3"));
        assert_eq!(header("https://example.com/"), None);
        assert_eq!(jar.value("d"), Some("4"));
    }

    #[test]
    fn foreign_and_odd_cookies_are_refused() {
        let long = format!("long={}", "x".repeat(5000));
        let jar =
            jar(&["a=1; Domain=example.com", "b=2; Domain=api.ring.com", "c=3; Max-Age=0", "", "=", "d=\u{7}4", &long]);
        assert_eq!(jar.header(&url("https://oauth.ring.com/oauth/v2/")), None);
    }

    #[test]
    fn fifty_are_kept_and_can_change() {
        let many: Vec<_> = (0..80).map(|n| format!("n{n:02}={n}")).collect();
        let mut jar = jar(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let from = url("https://oauth.ring.com/oauth/v2/authorize");
        assert_eq!(jar.header(&from).unwrap().split("; ").count(), 50);
        jar.store(&Headers::new([("set-cookie", "n00=new"), ("set-cookie", "n01=; Max-Age=0")]), &from);
        assert_eq!((jar.value("n00"), jar.value("n01"), jar.value("n60")), (Some("new"), None, None));
    }
}
