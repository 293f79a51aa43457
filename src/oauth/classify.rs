//! What an answer of the token endpoint means: a pure function of the answer.
//!
//! The table is that of `docs/protocol.md`. Its two rules above all: a refresh token is dead only when a 400 or 401 says
//! `invalid_grant` in its `error`, never because of a description, a status or a page; and a whole pair of tokens in a 2xx is a
//! grant, whatever the rest of the answer is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_core::de::IgnoredAny;
use serde_json::Value;

use super::json::{Object, without_mark};
use super::{Grant, TwoFactor, WireError};
use crate::http::Headers;
use crate::token::MAX_TOKEN_BYTES;
use crate::{Error, ErrorCode, Secret};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// `grant_type=password`
    Password,
    /// `grant_type=authorization_code`
    AuthorizationCode,
    /// `grant_type=refresh_token`
    RefreshToken,
}

/// An answer that is no failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAnswer {
    /// The tokens.
    Granted(Grant),
    /// A code is needed; only for [`GrantKind::Password`].
    CodeNeeded(TwoFactor),
}

/// Says what an answer of the token endpoint means. `now` is for a `Retry-After` that is a date.
pub fn classify(
    kind: GrantKind,
    status: u16,
    headers: &Headers,
    body: &[u8],
    now: SystemTime,
) -> Result<TokenAnswer, WireError> {
    let facts = Facts::new(status, headers, body, now);
    match status {
        200..=299 => match grant(body) {
            Some(mut grant) => {
                grant.date = headers.all("date").find_map(http_date);
                Ok(TokenAnswer::Granted(grant))
            }
            None => Err(WireError { error: facts.not_rings(), ambiguous: true, date: None }),
        },
        412 if kind == GrantKind::Password && !facts.asked_for_too_many_codes() => {
            Ok(TokenAnswer::CodeNeeded(TwoFactor::from_answer(body)))
        }
        _ => {
            // A page may be that of a gateway, and its clock is not Ring's.
            let date = if facts.is_json_object() { headers.all("date").find_map(http_date) } else { None };
            Err(WireError { error: facts.token_error(kind), ambiguous: is_ambiguous(status), date })
        }
    }
}

/// What is wrong according to an answer to a request without a token, at any path: that the edge refuses it, or that Ring is in
/// trouble. `None` if the answer shows neither.
pub fn refusal(status: u16, headers: &Headers, body: &[u8], now: SystemTime) -> Option<Error> {
    let is_refusal = matches!(status, 403 | 406 | 408 | 429 | 500..=599);
    is_refusal.then(|| Facts::new(status, headers, body, now).common_error())
}

/// Whether an answer is a page, and neither empty nor JSON.
pub fn is_page(status: u16, headers: &Headers, body: &[u8]) -> bool {
    Facts::new(status, headers, body, UNIX_EPOCH).is_page()
}

/// Whether an answer of the token endpoint says all that it can say with that part of its body, so that it does not matter how
/// its transfer ends. `ended` says that the transfer has ended, without having come to its own end.
pub(super) fn is_enough(status: u16, body: &[u8], ended: bool) -> bool {
    match status {
        200..=299 => grants(body).any(|(_, is_whole)| is_whole || ended),
        // The status alone says that a code is on its way, and asking anew would send another one.
        412 if ended => true,
        _ => Object::whole(body).is_some(),
    }
}

/// What is known of an answer that may be a failure. The web login reads its pages by it too.
pub(super) struct Facts<'a> {
    status: u16,
    headers: &'a Headers,
    body: &'a [u8],
    object: Option<Object<'a>>,
    retry_after: Option<Duration>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(status: u16, headers: &'a Headers, body: &'a [u8], now: SystemTime) -> Self {
        let object = Object::whole(body);
        let retry_after = headers.all("retry-after").find_map(|text| retry_after(text, now));
        Self { status, headers, body, object, retry_after }
    }

    /// A member of the JSON object that the body is.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.object.as_ref()?.text(name)
    }

    pub(super) fn is_json_object(&self) -> bool {
        self.object.is_some()
    }

    /// Whether the body, whatever it is, has those words (in lower case).
    pub(super) fn mentions(&self, words: &str) -> bool {
        String::from_utf8_lossy(self.body).to_lowercase().contains(words)
    }

    /// A page of something in front of Ring: neither empty, nor JSON, nor meant to be JSON.
    pub(super) fn is_page(&self) -> bool {
        let text = without_mark(self.body);
        let declared =
            self.headers.first("content-type").is_some_and(|value| value.to_ascii_lowercase().contains("json"));
        let is_meant = declared || matches!(text.first(), None | Some(b'{' | b'['));
        !is_meant && serde_json::from_slice::<IgnoredAny>(text).is_err()
    }

    /// Ring has sent too many codes to this account.
    pub(super) fn asked_for_too_many_codes(&self) -> bool {
        ["error_description", "err_msg", "error"]
            .iter()
            .filter_map(|name| self.text(name))
            .any(|text| text.to_lowercase().contains("too many requests from dependency service"))
    }

    /// An error with this answer's status and `Retry-After`.
    pub(super) fn error(&self, code: ErrorCode, message: &str) -> Error {
        let error = Error::new(code, message).with_http_status(self.status);
        match self.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    pub(super) fn wrong_code(&self) -> Error {
        self.error(
            ErrorCode::TwoFactorInvalid,
            "The code is wrong or too old. Enter the newest code, or ask for another one.",
        )
    }

    pub(super) fn wrong_credentials(&self) -> Error {
        self.error(
            ErrorCode::InvalidCredentials,
            "Ring does not know this e-mail and password. Check both and log in again.",
        )
    }

    pub(super) fn too_many_codes(&self) -> Error {
        self.error(
            ErrorCode::TwoFactorRateLimited,
            "Too many codes were asked for. Wait at least ten minutes before logging in again; Ring may insist on a day.",
        )
    }

    /// Whether a person in a browser is to show that it is one.
    pub(super) fn asks_for_captcha(&self) -> bool {
        self.mentions("captcha")
    }

    pub(super) fn captcha(&self) -> Error {
        self.error(
            ErrorCode::Blocked,
            "Ring asks for a captcha, which only a browser can answer; the password is not at fault. Log in once at ring.com \
             or in Ring's app on this network, wait a quarter of an hour and try again.",
        )
    }

    pub(super) fn blocked(&self) -> Error {
        self.error(
            ErrorCode::Blocked,
            "Ring's edge refuses this machine, its device id or its User-Agent; the password and token are not at \
             fault. Wait a quarter of an hour; if it stays so, try another User-Agent or a new device id.",
        )
    }

    pub(super) fn not_rings(&self) -> Error {
        self.error(
            ErrorCode::Protocol,
            "The answer is not one of Ring's. Check whether a proxy or captive portal answers instead.",
        )
    }

    /// What any failure means that is particular to no endpoint.
    pub(super) fn common_error(&self) -> Error {
        match self.status {
            403 | 406 => self.blocked(),
            429 => self.rate_limited(),
            401 | 408 | 500..=599 => self.error(
                ErrorCode::ServerError,
                "Ring is in trouble and could not answer; nothing is wrong with the account. Try again later.",
            ),
            300..=399 => self.error(
                ErrorCode::Protocol,
                "The answer is a redirect, which is not followed here. Check whether a proxy or captive portal answers \
                 instead of Ring.",
            ),
            400 if self.mentions("too many requests") => self.rate_limited(),
            // 407 is the word of a proxy that wants a password, not of Ring's edge.
            400..=499 if self.status != 407 && self.status != 412 && self.is_page() => self.blocked(),
            _ => self.not_rings(),
        }
    }

    fn rate_limited(&self) -> Error {
        self.error(ErrorCode::RateLimited, "Ring says that there were too many requests. Wait before trying again.")
    }

    /// What a failure of the token endpoint means.
    fn token_error(&self, kind: GrantKind) -> Error {
        let is_login = kind != GrantKind::RefreshToken;
        let error = self.text("error");
        if is_login && (400..=499).contains(&self.status) && self.asks_for_captcha() {
            return self.captcha();
        }
        match (self.status, error.as_deref()) {
            (400 | 401, Some("invalid_grant")) => return self.invalid_grant(kind),
            // These statuses say more than a code beside them could.
            (403 | 406 | 408 | 412 | 429, _) => {}
            (400..=499, Some("unauthorized_client" | "invalid_client")) => {
                return self.error(
                    ErrorCode::ClientRejected,
                    "Ring refuses the client id that this version uses; the token is not at fault. Look for a newer \
                     version of ring-auth.",
                );
            }
            (401, Some("access_denied")) if kind == GrantKind::Password => return self.wrong_credentials(),
            _ => {}
        }
        if (400..=499).contains(&self.status) && self.asked_for_too_many_codes() {
            return if is_login { self.too_many_codes() } else { self.rate_limited() };
        }
        if matches!(self.status, 400 | 401) && kind == GrantKind::Password && self.speaks_of_the_code() {
            return self.wrong_code();
        }
        self.common_error()
    }

    fn invalid_grant(&self, kind: GrantKind) -> Error {
        match kind {
            GrantKind::RefreshToken => self.error(
                ErrorCode::RefreshTokenRejected,
                "Ring says that this refresh token is no longer valid. Log in again to get a new one.",
            ),
            GrantKind::Password => self.wrong_credentials(),
            GrantKind::AuthorizationCode => self.error(
                ErrorCode::Protocol,
                "Ring did not take the code that its own sign-in page gave. Try again, or use the password flow.",
            ),
        }
    }

    fn speaks_of_the_code(&self) -> bool {
        ["error", "err_msg", "error_description"]
            .iter()
            .filter_map(|name| self.text(name))
            .any(|text| text.trim_start().to_lowercase().starts_with("verification code"))
    }
}

/// The tokens in the body of an answer, if both are whole.
fn grant(body: &[u8]) -> Option<Grant> {
    grants(body).next().map(|(grant, _)| grant)
}

/// Each pair of tokens in a body, and whether the object that holds it is whole. One that was cut off behind both tokens brought them
/// all the same.
fn grants(body: &[u8]) -> impl Iterator<Item = (Grant, bool)> {
    Object::all(body).filter_map(|object| {
        let token = |name: &str| object.text(name).filter(|text| is_token(text)).map(Secret::new);
        let word = |name: &str, default: &str| {
            let text = object.text(name).filter(|text| is_token(text) && text.len() <= 256);
            text.unwrap_or_else(|| default.to_owned())
        };
        let lifetime = object.number("expires_in").as_ref().and_then(seconds).filter(|lifetime| !lifetime.is_zero());
        let grant = Grant {
            access_token: token("access_token")?,
            refresh_token: token("refresh_token")?,
            token_type: word("token_type", "Bearer"),
            scope: word("scope", "client"),
            lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME),
            date: None,
        };
        Some((grant, object.is_whole()))
    })
}

/// A JSON number of seconds, not negative, of 24 h at most. A fraction is believed, to the nanosecond.
pub(super) fn seconds(value: &Value) -> Option<Duration> {
    let Value::Number(number) = value else { return None };
    // By its text: as an f64 serde_json refuses the numbers that are too large for one.
    let number: f64 = number.to_string().parse().ok()?;
    if number < 0.0 {
        return None;
    }
    let span = Duration::from_secs_f64(number.min(A_DAY.as_secs_f64()));
    Some(if number > 0.0 { span.max(Duration::from_nanos(1)) } else { span })
}

const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The lifetime of an access token that came without a believable one.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Whether a text can be a token: it goes into headers, files and terminals.
fn is_token(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_TOKEN_BYTES && !text.chars().any(char::is_control)
}

/// Whether Ring may have done what was asked although it did not say so: an edge gave up on it, or something else
/// answered in its place.
fn is_ambiguous(status: u16) -> bool {
    matches!(status, 0..=299 | 408 | 502 | 504 | 520..=524 | 600..)
}

/// Reads `Retry-After`: seconds or an HTTP date, 24 h at most. A date that has passed is no wait.
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that do not fit are many.
        return Some(text.parse().map_or(A_DAY, Duration::from_secs).min(A_DAY));
    }
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    Some(http_date(text)?.saturating_sub(now).min(A_DAY))
}

/// Reads the one form of HTTP date that is still sent (`Sun, 06 Nov 1994 08:49:37 GMT`), as the time since the epoch.
pub fn http_date(text: &str) -> Option<Duration> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let fields: Vec<&str> = text.split(' ').collect();
    let [_weekday, day, month, year, time, "GMT"] = fields[..] else { return None };
    let number = |text: &str, digits: usize| -> Option<u64> {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let (day, year) = (number(day, 2)?, number(year, 4)?);
    let [hour, minute, second] = time.split(':').map(|part| number(part, 2)).collect::<Vec<_>>()[..] else {
        return None;
    };
    let (hour, minute, second) = (hour?, minute?, second?);
    if !(1..=31).contains(&day) || year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days from the civil date, with years that start in March so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(Duration::from_secs(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [GrantKind; 3] = [GrantKind::Password, GrantKind::AuthorizationCode, GrantKind::RefreshToken];

    const HTML: &str = "<!doctype html><title>Attention Required! | Cloudflare</title>";

    fn of(kind: GrantKind, status: u16, body: &str) -> Result<TokenAnswer, WireError> {
        classify(kind, status, &Headers::default(), body.as_bytes(), UNIX_EPOCH)
    }

    fn code(kind: GrantKind, status: u16, body: &str) -> (ErrorCode, bool) {
        let error = of(kind, status, body).expect_err("a failure");
        assert_eq!(error.error.http_status(), Some(status));
        (error.error.code(), error.ambiguous)
    }

    fn granted(body: &str) -> Grant {
        match of(GrantKind::RefreshToken, 200, body) {
            Ok(TokenAnswer::Granted(grant)) => grant,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn tokens_are_granted() {
        let grant = granted(
            r#"{"access_token":"a","expires_in":14400,"refresh_token":"r","scope":"client","token_type":"Bearer","x":[1]}"#,
        );
        assert_eq!((grant.access_token.expose(), grant.refresh_token.expose()), ("a", "r"));
        assert_eq!((grant.token_type.as_str(), grant.scope.as_str()), ("Bearer", "client"));
        assert_eq!(grant.lifetime, Duration::from_secs(14_400));
        let bare = granted(r#"{"access_token":"a","refresh_token":"r","token_type":7,"scope":""}"#);
        assert_eq!((bare.token_type.as_str(), bare.scope.as_str()), ("Bearer", "client"));
    }

    #[test]
    fn lifetime_is_believed_within_reason() {
        for (text, millis) in [
            ("1", 1_000),
            ("0.5", 500),
            ("3600", 3_600_000),
            ("86400", 86_400_000),
            ("86401", 86_400_000),
            ("1e400", 86_400_000),
            ("123456789012345678901234567890", 86_400_000),
            ("0", 60_000),
            ("-0", 60_000),
            ("0.0", 60_000),
            ("-1", 60_000),
            ("-1e400", 60_000),
            ("null", 60_000),
            ("\"3600\"", 60_000),
            ("[3600]", 60_000),
            ("true", 60_000),
        ] {
            let grant = granted(&format!(r#"{{"access_token":"a","refresh_token":"r","expires_in":{text}}}"#));
            assert_eq!(grant.lifetime, Duration::from_millis(millis), "{text}");
        }
        assert_eq!(granted(r#"{"access_token":"a","refresh_token":"r"}"#).lifetime, Duration::from_secs(60));
        assert!(!granted(r#"{"access_token":"a","refresh_token":"r","expires_in":1e-300}"#).lifetime.is_zero());
    }

    #[test]
    fn the_time_of_a_failure_is_rings_only_in_rings_own_answer() {
        let headers = Headers::new([("date", "Thu, 01 Jan 1970 00:00:07 GMT")]);
        let date = |status, body: &str| {
            let answer = classify(GrantKind::RefreshToken, status, &headers, body.as_bytes(), UNIX_EPOCH);
            answer.expect_err("a failure").date
        };
        assert_eq!(date(400, r#"{"error":"invalid_grant"}"#), Some(Duration::from_secs(7)));
        for (status, body) in [(503, HTML), (200, HTML), (502, "")] {
            assert_eq!(date(status, body), None, "{status} {body}");
        }
    }

    #[test]
    fn a_200_that_is_not_rings_is_ambiguous() {
        let long = format!(r#"{{"access_token":"a","refresh_token":"{}"}}"#, "x".repeat(64 * 1024 + 1));
        for body in [
            "",
            " ",
            HTML,
            "null",
            "[]",
            "{}",
            "\"ok\"",
            "7",
            "{\"access_token\":\"a\"",
            r#"{"access_token":"a"}"#,
            r#"{"refresh_token":"r"}"#,
            r#"{"access_token":"","refresh_token":"r"}"#,
            r#"{"access_token":"a","refresh_token":""}"#,
            r#"{"access_token":"a","refresh_token":" "}"#,
            r#"{"access_token":"a","refresh_token":null}"#,
            r#"{"access_token":7,"refresh_token":"r"}"#,
            r#"{"access_token":"a","refresh_token":"r\n"}"#,
            r#"{"access_token":"a\u0000","refresh_token":"r"}"#,
            r#"{"access_token":"a","refresh_token":"r"#,
            r#"{"access_token":"a","refresh_token":"r\"#,
            r#"{"access_token":"a","refresh_token":"\ud800"}"#,
            r#"{"x":"{\"access_token\":\"a\",\"refresh_token\":\"r\"}"}"#,
            r#"{"access_token":"a","x":{"refresh_token":"r"}}"#,
            r#"{"error":"invalid_grant"}"#,
            &long,
        ] {
            for kind in KINDS {
                assert_eq!(code(kind, 200, body), (ErrorCode::Protocol, true), "{body}");
            }
        }
        assert_eq!(code(GrantKind::RefreshToken, 201, "{}"), (ErrorCode::Protocol, true));
        assert_eq!(code(GrantKind::RefreshToken, 204, ""), (ErrorCode::Protocol, true));
        let invalid_utf8 = classify(GrantKind::RefreshToken, 200, &Headers::default(), b"\xff\xfe{", UNIX_EPOCH);
        assert_eq!(invalid_utf8.unwrap_err().error.code(), ErrorCode::Protocol);
    }

    #[test]
    fn a_whole_pair_of_tokens_is_a_grant_whatever_the_rest_is() {
        let tokens = r#"{"access_token":"a","refresh_token":"r"}"#;
        for status in 200..300 {
            for kind in KINDS {
                assert!(matches!(of(kind, status, tokens), Ok(TokenAnswer::Granted(_))), "{status}");
            }
        }
        let deep = format!(r#"{{"x":{}{},"access_token":"a","refresh_token":"r"}}"#, "[".repeat(200), "]".repeat(200));
        for body in [
            &format!("\u{feff}{tokens}"),
            &format!(")]}}',\n{tokens}"),
            &format!("{tokens}\0\0<!-- a proxy -->"),
            &format!("[{tokens}]"),
            &format!(r#"{{"data":{tokens}}}"#),
            r#"{"access_token":"a","refresh_token":"r","x":"\ud800"}"#,
            r#"{"access_token":"a","refresh_token":"r","expires_in":{"s":1}}"#,
            r#"{"access_token":"a","refresh_token":"r","expires_in":36"#,
            r#"{"access_token":"a","refresh_token":"r""#,
            &deep,
        ] {
            let grant = granted(body);
            assert_eq!((grant.access_token.expose(), grant.refresh_token.expose()), ("a", "r"), "{body}");
            assert_eq!(grant.lifetime, Duration::from_secs(60));
        }
        for status in [199, 300, 302, 400, 500] {
            assert!(of(GrantKind::RefreshToken, status, tokens).is_err(), "{status}");
        }
    }

    #[test]
    fn a_part_of_an_answer_is_enough_if_it_says_all() {
        let tokens = r#"{"access_token":"a","refresh_token":"r"}"#;
        for (status, body, so_far, at_the_end) in [
            (200, tokens, true, true),
            (203, tokens, true, true),
            (200, &tokens[..tokens.len() - 1], false, true),
            (200, &tokens[..tokens.len() - 2], false, false),
            (200, "{}", false, false),
            (200, "", false, false),
            (401, r#"{"error":"invalid_grant"}"#, true, true),
            (401, r#"{"error":"invalid_grant""#, false, false),
            (401, "", false, false),
            (412, r#"{"tsv_state":"sms"}"#, true, true),
            (412, r#"{"tsv_state":"#, false, true),
            (412, "", false, true),
        ] {
            let enough = (is_enough(status, body.as_bytes(), false), is_enough(status, body.as_bytes(), true));
            assert_eq!(enough, (so_far, at_the_end), "{status} {body}");
        }
    }

    #[test]
    fn only_invalid_grant_kills_a_token() {
        for status in [400, 401] {
            let body = r#"{"error":"invalid_grant","error_description":"too many requests, unauthorized_client"}"#;
            assert_eq!(code(GrantKind::RefreshToken, status, body), (ErrorCode::RefreshTokenRejected, false));
            assert_eq!(code(GrantKind::Password, status, body), (ErrorCode::InvalidCredentials, false));
            assert_eq!(code(GrantKind::AuthorizationCode, status, body), (ErrorCode::Protocol, false));
        }
        for (status, body, expected) in [
            (403, r#"{"error":"invalid_grant"}"#, ErrorCode::Blocked),
            (404, r#"{"error":"invalid_grant"}"#, ErrorCode::Protocol),
            (500, r#"{"error":"invalid_grant"}"#, ErrorCode::ServerError),
            (400, r#"{"error":"Invalid_Grant"}"#, ErrorCode::Protocol),
            (400, r#"{"error":["invalid_grant"]}"#, ErrorCode::Protocol),
            (400, r#"[{"error":"invalid_grant"}]"#, ErrorCode::Protocol),
            (400, r#"{"error":"invalid_grant""#, ErrorCode::Protocol),
            (400, r#"{"x":{"error":"invalid_grant"}}"#, ErrorCode::Protocol),
            (400, r#"page {"error":"invalid_grant"}"#, ErrorCode::Blocked),
            (400, r#""invalid_grant""#, ErrorCode::Protocol),
            (400, r#"{"error":"invalid_request","error_description":"invalid_grant"}"#, ErrorCode::Protocol),
            (400, "<html>invalid_grant</html>", ErrorCode::Blocked),
            (401, r#"{"error_description":"invalid_grant"}"#, ErrorCode::ServerError),
            (
                401,
                r#"{"error":"access_denied","error_description":"invalid user credentials"}"#,
                ErrorCode::ServerError,
            ),
            (401, r#"{"error":"Unauthorized","status_code":401}"#, ErrorCode::ServerError),
        ] {
            assert_eq!(code(GrantKind::RefreshToken, status, body), (expected, false), "{status} {body}");
        }
    }

    #[test]
    fn every_failure_of_any_grant() {
        for kind in KINDS {
            for (status, body, expected, ambiguous) in [
                (302, "", ErrorCode::Protocol, false),
                (307, HTML, ErrorCode::Protocol, false),
                (400, "{}", ErrorCode::Protocol, false),
                (400, "", ErrorCode::Protocol, false),
                (400, "{\"error\":", ErrorCode::Protocol, false),
                (400, HTML, ErrorCode::Blocked, false),
                (400, "Too many requests", ErrorCode::RateLimited, false),
                (400, r#"{"error":"TOO MANY REQUESTS, slow down"}"#, ErrorCode::RateLimited, false),
                (400, "\"Too Many Requests\"", ErrorCode::RateLimited, false),
                (401, "", ErrorCode::ServerError, false),
                (401, HTML, ErrorCode::ServerError, false),
                (401, "null", ErrorCode::ServerError, false),
                (401, r#"{"error":"unauthorized_client"}"#, ErrorCode::ClientRejected, false),
                (400, r#"{"error":"invalid_client"}"#, ErrorCode::ClientRejected, false),
                (403, "", ErrorCode::Blocked, false),
                (403, "{}", ErrorCode::Blocked, false),
                (403, HTML, ErrorCode::Blocked, false),
                (406, "openresty", ErrorCode::Blocked, false),
                (404, HTML, ErrorCode::Blocked, false),
                (404, "{}", ErrorCode::Protocol, false),
                (407, HTML, ErrorCode::Protocol, false),
                (408, HTML, ErrorCode::ServerError, true),
                (418, "", ErrorCode::Protocol, false),
                (429, "", ErrorCode::RateLimited, false),
                (429, HTML, ErrorCode::RateLimited, false),
                (500, "{}", ErrorCode::ServerError, false),
                (502, HTML, ErrorCode::ServerError, true),
                (503, "", ErrorCode::ServerError, false),
                (504, "[]", ErrorCode::ServerError, true),
                (520, "", ErrorCode::ServerError, true),
                (524, HTML, ErrorCode::ServerError, true),
                (525, HTML, ErrorCode::ServerError, false),
                (999, "", ErrorCode::Protocol, true),
            ] {
                assert_eq!(code(kind, status, body), (expected, ambiguous), "{kind:?} {status} {body}");
            }
        }
    }

    #[test]
    fn the_password_grant_has_its_own_lines() {
        let needed = of(GrantKind::Password, 412, r#"{"next_time_in_secs":60,"phone":"+1x89","tsv_state":"sms"}"#);
        assert!(matches!(needed, Ok(TokenAnswer::CodeNeeded(two_factor)) if two_factor.destination.is_some()));
        for body in ["", "{}", HTML] {
            assert!(matches!(of(GrantKind::Password, 412, body), Ok(TokenAnswer::CodeNeeded(_))));
            assert_eq!(code(GrantKind::RefreshToken, 412, body), (ErrorCode::Protocol, false));
            assert_eq!(code(GrantKind::AuthorizationCode, 412, body), (ErrorCode::Protocol, false));
        }
        let wrong = r#"{"error":"Verification Code is invalid or expired","err_msg":"bad request"}"#;
        assert_eq!(code(GrantKind::Password, 400, wrong).0, ErrorCode::TwoFactorInvalid);
        assert_eq!(code(GrantKind::RefreshToken, 400, wrong).0, ErrorCode::Protocol);
        let denied = r#"{"error":"access_denied","error_description":"invalid user credentials"}"#;
        assert_eq!(code(GrantKind::Password, 401, denied).0, ErrorCode::InvalidCredentials);
        assert_eq!(code(GrantKind::AuthorizationCode, 401, denied).0, ErrorCode::ServerError);
        for status in [400, 401, 403, 412, 429] {
            for name in ["error_description", "err_msg"] {
                let body = format!(r#"{{"{name}":"Too many requests from dependency service"}}"#);
                assert_eq!(code(GrantKind::Password, status, &body).0, ErrorCode::TwoFactorRateLimited);
                assert_eq!(code(GrantKind::AuthorizationCode, status, &body).0, ErrorCode::TwoFactorRateLimited);
                assert_eq!(code(GrantKind::RefreshToken, status, &body).0, ErrorCode::RateLimited);
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        for (text, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("31536000", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("Tue, 29 Feb 2028 00:00:00 GMT", Some(86_400)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 06 Nov 1994 08:50 GMT", None),
            ("Sun, 00 Nov 1994 08:50:37 GMT", None),
            ("Sun, 06 Nov 1994 25:50:37 GMT", None),
            ("Sun, 06 Nov 0000 08:50:37 GMT", None),
            ("Sun, 06 Nix 1994 08:50:37 GMT", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(http_date("Tue, 29 Feb 2000 12:00:00 GMT"), Some(Duration::from_secs(951_825_600)));

        let headers = Headers::new([("Retry-After", "nonsense"), ("retry-after", "7")]);
        let error = classify(GrantKind::RefreshToken, 429, &headers, b"", now).unwrap_err();
        assert_eq!(error.error.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn errors_hold_nothing_of_the_body() {
        for status in 200..600 {
            for kind in KINDS {
                let body =
                    r#"{"error":"canary","refresh_token":"canary","access_token":"\ncanary","err_msg":"canary"}"#;
                assert!(!format!("{:?}", of(kind, status, body)).contains("canary"));
            }
        }
    }

    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            Just("invalid_grant".to_owned()),
            Just("unauthorized_client".to_owned()),
            Just("access_denied".to_owned()),
            Just("Too many requests from dependency service".to_owned()),
            ".{0,20}",
        ];
        let value = prop_oneof![
            word.prop_map(Value::String),
            any::<f64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ]
        .prop_recursive(4, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name(), inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        });
        prop_oneof![prop::collection::vec(any::<u8>(), 0..200), value.prop_map(|value| value.to_string().into_bytes()),]
    }

    fn name() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "error",
            "error_description",
            "err_msg",
            "access_token",
            "refresh_token",
            "expires_in",
            "tsv_state",
            "phone",
            "next_time_in_secs",
        ])
        .prop_map(str::to_owned)
    }

    proptest! {
        #[test]
        fn never_panics_and_never_kills_without_the_code(
            status in prop_oneof![Just(400u16), Just(401u16), any::<u16>()],
            body in bodies(),
            wait in ".{0,40}",
            kind in prop::sample::select(KINDS.to_vec()),
        ) {
            let headers = Headers::new([("retry-after", wait)]);
            let outcome = classify(kind, status, &headers, &body, SystemTime::now());
            let json: Value = serde_json::from_slice(&body).unwrap_or_default();
            let dead = matches!(status, 400 | 401)
                && kind == GrantKind::RefreshToken
                && json.get("error") == Some(&Value::from("invalid_grant"));
            let said = matches!(&outcome, Err(failed) if failed.error.code() == ErrorCode::RefreshTokenRejected);
            prop_assert_eq!(said, dead);
            if let Ok(TokenAnswer::Granted(grant)) = outcome {
                prop_assert!((200..300).contains(&status) && !grant.lifetime.is_zero() && grant.lifetime <= A_DAY);
                prop_assert!(!grant.access_token.is_empty() && !grant.refresh_token.is_empty());
            }
        }
    }
}
