//! Ring's information about the code for which it waits.

use std::time::Duration;

use super::classify::seconds;
use super::json::Object;

/// The way in which a code reaches the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwoFactorMethod {
    /// A text message.
    Sms,
    /// An e-mail.
    Email,
    /// An authenticator app.
    Totp,
    /// A method that Ring has not named, or an unknown one.
    Unknown,
}

/// A code that Ring waits for. Each of its fields can be missing from Ring's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoFactor {
    /// The way in which the code reaches the user.
    pub method: TwoFactorMethod,
    /// The destination of the code, masked by Ring; printable, and 64 characters at most.
    pub destination: Option<String>,
    /// The wait before another code may be requested.
    pub resend_in: Option<Duration>,
    /// The prompt for the user, in the words of ring-client-api.
    pub prompt: String,
}

impl TwoFactor {
    /// Reads the body that came with a 412: `{"next_time_in_secs":60,"phone":"+1xxxxxxxx89","tsv_state":"sms"}`.
    ///
    /// A member of an unexpected type counts as missing.
    pub fn from_answer(body: &[u8]) -> Self {
        // The status means that a code was sent, so the readable part of the body is enough.
        let object = Object::leading(body);
        let text = |name: &str, longest| object.as_ref()?.text(name).and_then(|text| printable(&text, longest));
        let (state, destination) = (text("tsv_state", 32), text("phone", 64));
        let resend_in =
            object.as_ref().and_then(|object| object.number("next_time_in_secs")).as_ref().and_then(seconds);
        let method = match state.as_deref() {
            Some("sms") => TwoFactorMethod::Sms,
            Some("email") => TwoFactorMethod::Email,
            Some("totp") => TwoFactorMethod::Totp,
            _ => TwoFactorMethod::Unknown,
        };
        let prompt = match (&state, &destination) {
            (Some(state), _) if state == "totp" => "Please enter the code from your authenticator app".to_owned(),
            (Some(state), Some(phone)) => format!("Please enter the code sent to {phone} via {state}"),
            (Some(state), None) => format!("Please enter the code sent via {state}"),
            (None, Some(phone)) => format!("Please enter the code sent to {phone}"),
            (None, None) => "Please enter the code sent to your text/email".to_owned(),
        };
        Self { method, destination, resend_in, prompt }
    }

    /// Whether a body has a member that only a challenge for a code has. The status does not matter.
    pub(super) fn is_in(body: &[u8]) -> bool {
        Object::whole(body).is_some_and(|object| object.has("tsv_state") || object.has("next_time_in_secs"))
    }
}

/// Makes foreign text safe for a terminal: removes control characters, invisible characters and those that change the
/// direction of writing, and keeps `longest` characters at most. `None` if nothing is left.
fn printable(text: &str, longest: usize) -> Option<String> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let text: String = text.chars().filter(|c| !hidden(*c)).take(longest).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(body: &str) -> String {
        TwoFactor::from_answer(body.as_bytes()).prompt
    }

    #[test]
    fn prompts_are_those_of_ring_client_api() {
        assert_eq!(
            prompt(r#"{"next_time_in_secs":60,"phone":"+1xxxxxxxx89","tsv_state":"sms"}"#),
            "Please enter the code sent to +1xxxxxxxx89 via sms"
        );
        assert_eq!(prompt(r#"{"tsv_state":"totp","phone":"x"}"#), "Please enter the code from your authenticator app");
        for body in ["", "{}", "null", "[]", "\"tsv_state\"", "<html>", r#"{"phone":7,"tsv_state":null}"#] {
            assert_eq!(prompt(body), "Please enter the code sent to your text/email", "{body}");
        }
        assert_eq!(prompt(r#"{"tsv_state":"email"}"#), "Please enter the code sent via email");
        assert_eq!(prompt(r#"{"phone":"+1xx"}"#), "Please enter the code sent to +1xx");
    }

    #[test]
    fn fields_are_read_one_by_one() {
        let all = TwoFactor::from_answer(br#"{"next_time_in_secs":60,"phone":"m**@x.org","tsv_state":"email"}"#);
        assert_eq!(all.method, TwoFactorMethod::Email);
        assert_eq!(all.destination.as_deref(), Some("m**@x.org"));
        assert_eq!(all.resend_in, Some(Duration::from_secs(60)));

        let odd = TwoFactor::from_answer(br#"{"next_time_in_secs":"60","phone":["x"],"tsv_state":"pigeon"}"#);
        assert_eq!((odd.method, odd.destination, odd.resend_in), (TwoFactorMethod::Unknown, None, None));
        for (number, expected) in [("-1", None), ("0", Some(0)), ("1e400", Some(86_400)), ("99999999", Some(86_400))] {
            let body = format!(r#"{{"next_time_in_secs":{number}}}"#);
            assert_eq!(
                TwoFactor::from_answer(body.as_bytes()).resend_in,
                expected.map(Duration::from_secs),
                "{number}"
            );
        }
    }

    #[test]
    fn destination_is_safe_for_a_terminal() {
        let body = format!(r#"{{"phone":"\u001b[2J+1\n\u202e{}"}}"#, "9".repeat(500));
        let destination = TwoFactor::from_answer(body.as_bytes()).destination.unwrap();
        assert!(destination.starts_with("[2J+19") && destination.chars().count() == 64);
        assert_eq!(TwoFactor::from_answer(br#"{"phone":" \u0007 "}"#).destination, None);
    }
}
