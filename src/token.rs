//! The refresh token as users paste it: a wrapper of `{rt, hid, pnc, …}`, byte-compatible with ring-client-api's.
//!
//! Since 2023 ring-client-api gives out base64 of a JSON object: `rt` is Ring's own refresh token, `hid` the hardware
//! id with which it was obtained, `pnc` push-notification credentials. Every other text is a raw token of Ring's.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{Error, Result, Secret};

/// The length of the longest token that is accepted, in bytes; real ones have some 1500.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// The most that may be in a wrapper beside the token, in bytes of JSON.
const MAX_REST_BYTES: usize = MAX_TOKEN_BYTES / 4 * 3;

/// The length of the longest wrapper, in bytes: base64 of a token in which every character is escaped, and of everything beside it.
pub const MAX_WRAPPER_BYTES: usize = 256 * 1024;

/// A refresh token with its wrapper. Unknown keys survive, in their order. Clones share the text.
///
/// It is kept as text, which takes a fraction of the memory of its parsed parts: push credentials are long, and a process may have
/// thousands of managers.
#[derive(Clone)]
pub struct RefreshToken {
    /// A JSON object with a token among its fields.
    json: Arc<str>,
    /// The hardware id, which is needed often, if it can be sent.
    hardware_id: Option<Arc<str>>,
}

impl RefreshToken {
    /// Reads a wrapper; `None` for any other text.
    pub fn from_wrapper(text: &str) -> Option<Self> {
        unwrap(text).map(Self::of)
    }

    /// Reads a token that this package has written before, without a limit: it must not be lost because of its length.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for characters that no token has.
    pub fn parse_kept(text: &str) -> Result<Self> {
        if let Some(token) = Self::from_wrapper(text) {
            return Ok(token);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(
                "The refresh token has characters in it that no token has. Paste the value of \"refreshToken\" alone, in one line.",
            ));
        }
        Ok(Self::from_raw(text))
    }

    /// Wraps a raw token.
    pub fn from_raw(raw: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("rt".to_owned(), Value::String(raw.to_owned()));
        Self::of(fields)
    }

    /// Makes a token of fields with a token among them.
    fn of(fields: Map<String, Value>) -> Self {
        let hardware_id = fields.get("hid").and_then(Value::as_str).filter(|id| is_sendable(id)).map(Arc::from);
        Self { json: Value::Object(fields).to_string().into(), hardware_id }
    }

    /// The fields of the wrapper; none if push credentials are nested too deeply to be read again.
    fn fields(&self) -> Map<String, Value> {
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// The raw token, which is sent. Two wrappers with the same raw token are the same token.
    pub fn raw(&self) -> String {
        match self.fields().remove("rt") {
            Some(Value::String(raw)) => raw,
            // `unwrap` and `from_raw` are the only makers, and both put a string there.
            _ => String::new(),
        }
    }

    /// The hardware id in the wrapper. It has priority over any other.
    pub fn hardware_id(&self) -> Option<&str> {
        self.hardware_id.as_deref()
    }

    /// The hardware id in the wrapper, in a form that can be kept without a copy.
    pub fn shared_hardware_id(&self) -> Option<Arc<str>> {
        self.hardware_id.clone()
    }

    /// Whether push-notification credentials are in the wrapper.
    pub fn has_push_credentials(&self) -> bool {
        self.fields().get("pnc").is_some_and(|credentials| !credentials.is_null())
    }

    /// The next token, with which Ring answered, in the wrapper of this one.
    #[must_use]
    pub fn rotated(&self, raw: &str, hardware_id: &str) -> Self {
        // ring-client-api writes a new key in this order, too.
        let mut fields = self.fields();
        fields.insert("rt".to_owned(), Value::String(raw.to_owned()));
        fields.insert("hid".to_owned(), Value::String(hardware_id.to_owned()));
        Self::of(fields)
    }

    /// Whether this package and ring-client-api can read its wrapper again.
    pub fn survives_wrapping(&self) -> bool {
        let wrapped = self.wrapped();
        let text = wrapped.expose();
        (text.len() <= MAX_TOKEN_BYTES || is_wrapper(text))
            && Self::from_wrapper(text).is_some_and(|token| token == *self)
    }

    /// This token with other push-notification credentials, or without any.
    #[must_use]
    pub fn with_push_credentials(&self, credentials: Option<Value>) -> Self {
        let mut fields = self.fields();
        match credentials {
            Some(credentials) => fields.insert("pnc".to_owned(), credentials),
            None => fields.shift_remove("pnc"),
        };
        Self::of(fields)
    }

    /// The string that is shown, stored and given to programs.
    pub fn wrapped(&self) -> Secret {
        Secret::new(STANDARD.encode(self.json.as_bytes()))
    }

    /// The fingerprint of the raw token, which identifies it and is useless for anything else.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.raw())
    }
}

impl PartialEq for RefreshToken {
    /// The order of the fields does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json || self.fields() == other.fields()
    }
}

impl Eq for RefreshToken {}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({:?})", self.fingerprint())
    }
}

/// The first eight bytes of the SHA-256 of the inner token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The length of a fingerprint in bytes.
    pub const BYTES: usize = 8;

    /// The fingerprint of a raw refresh token.
    pub fn of(raw: &str) -> Self {
        let digest = Sha256::digest(raw.as_bytes());
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&digest[..Self::BYTES]);
        Self(bytes)
    }

    /// The fingerprint with these bytes.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes of the fingerprint.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Whether a hardware id can be sent in a header at all; real ones are UUIDs.
fn is_sendable(id: &str) -> bool {
    !id.is_empty() && id.len() <= 256 && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Base64 as ring-client-api writes it, read with or without its padding, as JavaScript's `Buffer` does.
pub(crate) const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whether a text is a wrapper in which neither the token nor the other fields are too long. A hardware id that a rotation would write
/// does not count.
fn is_wrapper(text: &str) -> bool {
    let Some(mut fields) = Some(text).filter(|text| text.len() <= MAX_WRAPPER_BYTES).and_then(unwrap) else {
        return false;
    };
    let raw = fields.remove("rt");
    if fields.get("hid").and_then(Value::as_str).is_some_and(is_sendable) {
        fields.remove("hid");
    }
    raw.as_ref().and_then(Value::as_str).is_some_and(|raw| raw.len() <= MAX_TOKEN_BYTES)
        && Value::Object(fields).to_string().len() <= MAX_REST_BYTES
}

fn unwrap(text: &str) -> Option<Map<String, Value>> {
    // A wrapper copied out of a terminal may have been broken into lines.
    let compact: String = text.split_ascii_whitespace().collect();
    let json = STANDARD.decode(compact).ok()?;
    let Ok(Value::Object(fields)) = serde_json::from_slice(&json) else { return None };
    let raw = fields.get("rt")?.as_str()?;
    (!raw.is_empty() && !raw.chars().any(char::is_control)).then_some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wrap(json: &str) -> String {
        STANDARD.encode(json)
    }

    #[test]
    fn a_wrapper_round_trips_byte_for_byte() {
        for json in [
            r#"{"rt":"eyJ.aaaaaa.bbbbbb","hid":"11111111-2222-5333-8444-555555555555"}"#,
            r#"{"rt":"eyJ.aaaaaa.bbbbbb","hid":"h","pnc":{"fcm":{"token":"t","n":[1,2.50,1e+30,12345678901234567890123]},"x":null},"new":true}"#,
            r#"{"hid":"h","rt":"é\"\\ ✓ and twelve more"}"#,
        ] {
            let text = wrap(json);
            assert_eq!(RefreshToken::parse(&text).unwrap().wrapped().expose(), text);
        }
    }

    #[test]
    fn a_raw_token_is_wrapped_around_itself() {
        let token = RefreshToken::parse(" eyJhbGciOi.JSUzI1.NiIsInR5cCI \n").unwrap();
        assert_eq!(token.raw(), "eyJhbGciOi.JSUzI1.NiIsInR5cCI");
        assert_eq!(token.hardware_id(), None);
        assert_eq!(token.wrapped().expose(), wrap(r#"{"rt":"eyJhbGciOi.JSUzI1.NiIsInR5cCI"}"#));
    }

    #[test]
    fn what_decodes_to_no_object_with_a_token_is_raw() {
        for json in ["{}", "[]", "null", r#"{"rt":1}"#, r#"{"rt":""}"#, r#""rt""#, "{\"rt\":"] {
            let text = wrap(json);
            assert_eq!(RefreshToken::parse_kept(&text).unwrap().raw(), text);
        }
    }

    #[test]
    fn padding_and_line_breaks_do_not_matter() {
        let text = wrap(r#"{"rt":"eyJ.aaaaaa.bbbbbb","hid":"h1"}"#);
        let bare = text.trim_end_matches('=');
        let broken = format!("{}\n{}", &text[..10], &text[10..]);
        assert_eq!(RefreshToken::parse(bare).unwrap(), RefreshToken::parse(&text).unwrap());
        assert_eq!(RefreshToken::parse(&broken).unwrap(), RefreshToken::parse(&text).unwrap());
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        for text in ["", "  \n", "two words", "bell\u{7}", "naïve", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
            assert_eq!(RefreshToken::parse(text).unwrap_err().code(), crate::ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn the_wrapper_of_whatever_ring_gave_is_accepted_again() {
        let id = "h".repeat(256);
        for raw in
            ["x".repeat(48 * 1024), "x".repeat(MAX_TOKEN_BYTES), "\"".repeat(MAX_TOKEN_BYTES), "é".repeat(32 * 1024)]
        {
            let mut token = RefreshToken::from_raw("a-token-of-this-test");
            for wrapped in [false, true] {
                if wrapped {
                    // As much as a person can have handed over with it, and as much as can be added.
                    let credentials = serde_json::json!({ "x": "y".repeat(40_000) });
                    token = RefreshToken::parse(&wrap(
                        &serde_json::json!({ "rt": "a-token-of-this-test", "pnc": credentials }).to_string(),
                    ))
                    .unwrap();
                    assert!(token.with_push_credentials(Some("z".repeat(49_000).into())).survives_wrapping());
                }
                let rotated = token.rotated(&raw, &id);
                assert!(rotated.survives_wrapping() && rotated.wrapped().expose().len() > MAX_TOKEN_BYTES);
                assert_eq!(RefreshToken::parse(rotated.wrapped().expose()).unwrap().raw(), raw);
            }
        }
        for json in [
            serde_json::json!({ "rt": "x".repeat(MAX_TOKEN_BYTES + 1) }),
            serde_json::json!({ "rt": "a-token-of-this-test", "pnc": "x".repeat(MAX_TOKEN_BYTES) }),
            serde_json::json!({ "rt": "a-token-of-this-test", "hid": "x".repeat(MAX_TOKEN_BYTES) }),
            serde_json::json!({ "x": "x".repeat(MAX_TOKEN_BYTES) }),
        ] {
            let error = RefreshToken::parse(&wrap(&json.to_string())).unwrap_err();
            assert_eq!(error.code(), crate::ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn a_rotation_keeps_everything_else_and_its_order() {
        let token = RefreshToken::parse_kept(&wrap(r#"{"rt":"a","hid":"h","pnc":{"k":1},"z":2}"#)).unwrap();
        assert_eq!(token.rotated("b", "h").wrapped().expose(), wrap(r#"{"rt":"b","hid":"h","pnc":{"k":1},"z":2}"#));
        let raw = RefreshToken::from_raw("a");
        assert_eq!(raw.rotated("b", "h").wrapped().expose(), wrap(r#"{"rt":"b","hid":"h"}"#));
    }

    #[test]
    fn push_credentials_do_not_change_who_it_is() {
        let token = RefreshToken::from_raw("a");
        let with = token.with_push_credentials(Some(serde_json::json!({"fcm": "t"})));
        assert!(with.has_push_credentials() && !token.has_push_credentials());
        assert_eq!(with.fingerprint(), token.fingerprint());
        assert_ne!(with.wrapped(), token.wrapped());
        assert_eq!(with.with_push_credentials(None), token);
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", RefreshToken::from_raw("canary-token"));
        assert!(!shown.contains("canary"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_given_panics(text in "\\PC*") {
            let _ = RefreshToken::parse(&text);
        }

        #[test]
        fn any_wrapper_round_trips(rt in "[!-~]{16,40}", hid in "\\PC{0,40}", key in "[a-z]{4,8}", number in any::<f64>()) {
            let json = serde_json::json!({"rt": rt, "hid": hid, "pnc": {key: number}}).to_string();
            let text = STANDARD.encode(&json);
            let token = RefreshToken::parse(&text).unwrap();
            let wrapped = token.wrapped();
            prop_assert_eq!(wrapped.expose(), text.as_str());
            prop_assert_eq!(token.raw(), rt.as_str());
        }
    }
}
