//! Detects a sign-in page that asks for a code, if Ring answers a form with a page and not with JSON.

use serde_json::Value;

use super::TwoFactor;
use super::csrf::{Tag, next_tag, raw_text};

/// The known details of the code that a page asks for. `None` if the page asks for no code.
pub(super) fn asks_for_code(body: &[u8]) -> Option<TwoFactor> {
    let page = String::from_utf8_lossy(body);
    let (mut asks, mut details) = (false, None);
    let mut rest = &*page;
    while let Some((tag, after)) = next_tag(rest) {
        rest = after;
        match tag.name.as_str() {
            "script" => {
                let (text, after) = raw_text(rest, "script");
                rest = after;
                details = details.or_else(|| challenge(&serde_json::from_str(text).ok()?));
            }
            "style" | "textarea" | "title" => rest = raw_text(rest, &tag.name).1,
            // This is the first step of the sign-in again: Ring has not accepted the password.
            "input" if tag.attribute("type").is_some_and(|kind| kind.eq_ignore_ascii_case("password")) => return None,
            "input" => asks |= is_for_code(&tag),
            "form" => asks |= tag.attribute("action").is_some_and(|action| action.contains("/2fa")),
            _ => {}
        }
    }
    details.or_else(|| asks.then(|| TwoFactor::from_answer(b"")))
}

fn is_for_code(input: &Tag) -> bool {
    let is = |attribute: &str, words: &[&str]| {
        input.attribute(attribute).is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
    };
    is("autocomplete", &["one-time-code"]) || is("name", &["2fa_code", "2fa-code", "verification_code", "otp"])
}

/// Finds a challenge anywhere in a page's data. It has the members of the JSON of a 412.
fn challenge(value: &Value) -> Option<TwoFactor> {
    match value {
        Value::Object(members) if ["tsv_state", "next_time_in_secs"].iter().any(|name| members.contains_key(*name)) => {
            Some(TwoFactor::from_answer(value.to_string().as_bytes()))
        }
        Value::Object(members) => members.values().find_map(challenge),
        Value::Array(items) => items.iter().find_map(challenge),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::TwoFactorMethod;

    fn method(page: &str) -> Option<TwoFactorMethod> {
        asks_for_code(page.as_bytes()).map(|two_factor| two_factor.method)
    }

    #[test]
    fn a_page_with_a_field_for_a_code_asks_for_one() {
        for page in [
            r#"<form action="/oauth/v2/2fa/verify" method="post"><input name="x"></form>"#,
            r#"<INPUT type=text autocomplete="one-time-code">"#,
            r#"<input name="2fa_code" inputmode="numeric"><script src="https://www.google.com/recaptcha/api.js"></script>"#,
        ] {
            assert_eq!(method(page), Some(TwoFactorMethod::Unknown), "{page}");
        }
        let page = r#"<html><script id="__NEXT_DATA__" type="application/json">{"props":[1,{"tsv_state":"sms","phone":"+1x89"}]}</script>"#;
        let two_factor = asks_for_code(page.as_bytes()).unwrap();
        assert_eq!((two_factor.method, two_factor.destination.as_deref()), (TwoFactorMethod::Sms, Some("+1x89")));
    }

    #[test]
    fn any_other_page_asks_for_none() {
        for page in [
            "",
            "<html>",
            r#"<input type="password" name="password"><input name="2fa_code">"#,
            r#"<!-- <input name="2fa_code"> -->"#,
            r#"<script>"<input name='2fa_code'>"</script>"#,
            r#"<input name="username"><script type="application/json">{"a":[null,"tsv_state"]}</script>"#,
        ] {
            assert_eq!(method(page), None, "{page}");
        }
    }
}
