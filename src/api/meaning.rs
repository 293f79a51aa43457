//! The meaning of an answer of the API: a pure function of the answer.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::http::Answer;
use crate::oauth::retry_after;
use crate::{Error, ErrorCode};

/// The meaning of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// 2xx.
    Fine,
    /// 401: Ring rejected the access token.
    Unauthorized,
    /// 504: Ring's edge got no answer.
    GatewayTimeout,
    /// The device is busy or offline, in Ring's words.
    Asset(String),
    /// Ring knows no session of this device.
    SessionGone,
    /// Anything else.
    Failed,
}

/// The meaning of an answer for a device with that id.
pub fn meaning(answer: &Answer, hardware_id: &str) -> Meaning {
    match answer.status {
        200..=299 => Meaning::Fine,
        401 => Meaning::Unauthorized,
        504 => Meaning::GatewayTimeout,
        404 => {
            let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let names: Vec<_> =
                json.get("errors").and_then(Value::as_array).into_iter().flatten().filter_map(asset).collect();
            if !names.is_empty() {
                return Meaning::Asset(names.join(", "));
            }
            match json.get("error").and_then(Value::as_str) {
                Some(text) if text.contains(hardware_id) => Meaning::SessionGone,
                _ => Meaning::Failed,
            }
        }
        _ => Meaning::Failed,
    }
}

/// The error for an answer that is final. It must not contain `secret`.
pub fn error(answer: &Answer, secret: &str, now: SystemTime) -> Error {
    let retry_after = answer.headers.all("retry-after").find_map(|text| retry_after(text, now));
    let (code, message) = match answer.status {
        300..=399 => (
            ErrorCode::Protocol,
            "The answer is a redirect that is not followed: it leads away from Ring's servers, around in circles, or was \
             not to be followed."
                .to_owned(),
        ),
        401 => (
            ErrorCode::ServerError,
            "Ring's API refuses a new access token too; nothing is wrong with the refresh token. Try again later.".to_owned(),
        ),
        403 | 406 => (
            ErrorCode::Blocked,
            "Ring refuses this request: the account may not do that, or Ring's edge blocks this address, device id or \
             User-Agent."
                .to_owned(),
        ),
        // Programs for ring-client-api look for these words.
        404 => (ErrorCode::Protocol, format!("Not found with response: {}", quoted(&answer.body, secret))),
        429 => (
            ErrorCode::RateLimited,
            "Ring says that there were too many requests. Wait before trying again.".to_owned(),
        ),
        408 | 500..=599 => {
            (ErrorCode::ServerError, "Ring is in trouble and could not answer. Try again later.".to_owned())
        }
        _ => (ErrorCode::Protocol, format!("Ring does not take this request (status {}).", answer.status)),
    };
    let error = Error::new(code, message).with_http_status(answer.status);
    match retry_after {
        Some(wait) if matches!(code, ErrorCode::RateLimited | ErrorCode::ServerError) => error.with_retry_after(wait),
        _ => error,
    }
}

/// The wait that a 429 asks for, if it does.
pub fn asked_to_wait(answer: &Answer, now: SystemTime) -> Option<Duration> {
    answer.headers.all("retry-after").find_map(|text| retry_after(text, now))
}

fn asset(code: &Value) -> Option<&'static str> {
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    Some(match number {
        7050 => "NO_ASSET",
        7019 => "ASSET_OFFLINE",
        7061 => "ASSET_CELL_BACKUP",
        7062 => "UPDATING",
        7063 => "MAINTENANCE",
        _ => return None,
    })
}

/// Foreign text in a form for messages: printable, short, and without the secret.
fn quoted(body: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(body);
    let text = if secret.is_empty() { text.into_owned() } else { text.replace(secret, "…") };
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::http::Headers;

    const HID: &str = "7c0c1d8e-8f0e-4b5a-9d52-0b0a3e7d1c11";

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        Answer {
            status,
            headers: Headers::new(headers.iter().map(|(name, value)| (*name, *value))),
            body: body.into(),
            url: Url::parse("https://api.ring.com/clients_api/x").unwrap(),
        }
    }

    #[test]
    fn a_session_is_gone_only_where_the_error_names_the_device() {
        let gone = format!(r#"{{"error":"Session not found for device {HID}"}}"#);
        assert_eq!(meaning(&answer(404, &[], &gone), HID), Meaning::SessionGone);
        for body in
            ["", "{}", "null", "[]", "<html>", r#"{"error":"Not found"}"#, r#"{"error":7}"#, &format!(r#""{HID}""#)]
        {
            assert_eq!(meaning(&answer(404, &[], body), HID), Meaning::Failed, "{body}");
        }
        assert_eq!(meaning(&answer(400, &[], &gone), HID), Meaning::Failed);
    }

    #[test]
    fn busy_assets_are_told_by_their_numbers() {
        let of = |body: &str| meaning(&answer(404, &[], body), HID);
        assert_eq!(
            of(r#"{"errors":[7050,1,"7019",7061,7062,7063]}"#),
            Meaning::Asset("NO_ASSET, ASSET_OFFLINE, ASSET_CELL_BACKUP, UPDATING, MAINTENANCE".into())
        );
        for body in [r#"{"errors":[]}"#, r#"{"errors":[1]}"#, r#"{"errors":7050}"#, r#"{"errors":[null,[7050]]}"#] {
            assert_eq!(of(body), Meaning::Failed, "{body}");
        }
    }

    #[test]
    fn statuses_have_their_codes() {
        for (status, code) in [
            (302, ErrorCode::Protocol),
            (400, ErrorCode::Protocol),
            (401, ErrorCode::ServerError),
            (403, ErrorCode::Blocked),
            (404, ErrorCode::Protocol),
            (406, ErrorCode::Blocked),
            (408, ErrorCode::ServerError),
            (429, ErrorCode::RateLimited),
            (500, ErrorCode::ServerError),
            (504, ErrorCode::ServerError),
        ] {
            let error = error(&answer(status, &[("retry-after", "7")], ""), "", SystemTime::UNIX_EPOCH);
            assert_eq!((error.code(), error.http_status()), (code, Some(status)));
            let waits = matches!(code, ErrorCode::RateLimited | ErrorCode::ServerError);
            assert_eq!(error.retry_after(), waits.then_some(Duration::from_secs(7)), "{status}");
        }
    }

    #[test]
    fn what_was_not_found_is_quoted_without_the_token() {
        let body = format!("no canary here\u{1b}[2J {}", "x".repeat(1000));
        let error = error(&answer(404, &[], &body), "canary", SystemTime::UNIX_EPOCH);
        assert!(error.message().starts_with("Not found with response: no … here[2J xxx"));
        assert!(error.message().chars().count() < 400);
    }
}
