//! The journal's file format: one JSON object, described in `docs/journal.md`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::state::{Access, Aside, CoolDown, Held, Mark, Millis, State, Tombstone, millis};
use crate::token::{Fingerprint, RefreshToken};
use crate::{ErrorCode, Secret};

/// The version that is written, and the highest that is understood.
pub const VERSION: u64 = 1;

/// Why a file is no journal that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Not a journal, or a damaged one.
    Damaged,
    /// Written by a later version of this package.
    Newer(u64),
}

/// The file's bytes for a state.
pub fn encode(state: &State) -> Vec<u8> {
    let mut map = Map::new();
    map.insert("version".into(), VERSION.into());
    map.insert("warning".into(), WARNING.into());
    map.insert("issuer".into(), state.issuer.clone().into());
    map.insert("sequence".into(), state.sequence.into());
    map.insert("hardwareId".into(), state.hardware_id.clone().into());
    map.insert("current".into(), state.current.as_ref().map(held).into());
    map.insert("previous".into(), state.previous.as_ref().map(held).into());
    map.insert("proven".into(), state.proven.into());
    let aside = state.aside.as_ref().map(|aside| {
        json!({ "current": held(&aside.current), "previous": aside.previous.as_ref().map(held), "proven": aside.proven })
    });
    map.insert("aside".into(), aside.into());
    let access = state.access.as_ref().map(|access| {
        json!({
            "token": access.token.expose(), "tokenType": access.token_type, "scope": access.scope,
            "obtainedAt": access.obtained_at, "lifetimeMs": millis(access.lifetime), "expiresAt": access.expires_at(),
        })
    });
    map.insert("access".into(), access.into());
    let mark = state.mark.as_ref().map(|mark| {
        json!({
            "fingerprint": hex(mark.fingerprint), "startedAt": mark.started_at, "deadline": mark.deadline,
            "starts": mark.starts,
        })
    });
    map.insert("mark".into(), mark.into());
    let cool_down = state.cool_down.as_ref().map(|cool_down| {
        json!({
            "startedAt": cool_down.started_at, "lengthMs": millis(cool_down.length), "failures": cool_down.failures,
            "code": cool_down.code.as_str(), "message": cool_down.message, "httpStatus": cool_down.http_status,
        })
    });
    map.insert("coolDown".into(), cool_down.into());
    let rejected: Vec<Value> = state
        .rejected
        .iter()
        .map(|tombstone| json!({ "fingerprint": hex(tombstone.fingerprint), "at": tombstone.at }))
        .collect();
    map.insert("rejected".into(), rejected.into());
    map.insert("forcedAt".into(), state.forced_at.into());
    map.insert("unwrapped".into(), fingerprints(&state.unwrapped).into());
    map.insert("given".into(), fingerprints(&state.given).into());
    map.insert("known".into(), fingerprints(&state.known).into());
    for (key, value) in &state.unknown {
        map.entry(key.clone()).or_insert_with(|| value.clone());
    }
    // A line a key: a person who looks into it sees what is what.
    let mut text = String::from("{\n");
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            text.push_str(",\n");
        }
        text.push_str("  ");
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push_str(": ");
        text.push_str(&value.to_string());
    }
    text.push_str("\n}\n");
    text.into_bytes()
}

/// The state in a file's bytes.
///
/// # Errors
///
/// [`Unreadable`], and then nothing of it may be overwritten.
pub fn decode(bytes: &[u8]) -> Result<State, Unreadable> {
    // The room kept for an answer is longer than the answer, and is cut only after it was written.
    let room = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[..bytes.len() - room];
    let Ok(Value::Object(mut map)) = serde_json::from_slice(bytes) else { return Err(Unreadable::Damaged) };
    match map.remove("version").and_then(|version| version.as_u64()) {
        Some(VERSION) => {}
        Some(version) if version > VERSION => return Err(Unreadable::Newer(version)),
        _ => return Err(Unreadable::Damaged),
    }
    decode_fields(map).ok_or(Unreadable::Damaged)
}

const WARNING: &str = "This file is worth as much as your Ring password. Do not edit, copy or share it.";

fn decode_fields(mut map: Map<String, Value>) -> Option<State> {
    map.remove("warning");
    let mut state = State::new(map.remove("issuer")?.as_str()?);
    state.sequence = map.remove("sequence")?.as_u64()?;
    state.hardware_id = match map.remove("hardwareId") {
        Some(Value::String(id)) => Some(id),
        Some(Value::Null) | None => None,
        Some(_) => return None,
    };
    state.current = optional(map.remove("current"), parse_held)?;
    state.previous = optional(map.remove("previous"), parse_held)?;
    state.proven = map.remove("proven")?.as_bool()?;
    state.aside = optional(map.remove("aside"), |value| {
        Some(Aside {
            current: parse_held(value.get("current")?)?,
            previous: optional(value.get("previous").cloned(), parse_held)?,
            proven: value.get("proven")?.as_bool()?,
        })
    })?;
    // Those three are conveniences: without them the token is as good as before.
    state.access = map.remove("access").as_ref().and_then(parse_access);
    state.mark = map.remove("mark").as_ref().and_then(parse_mark);
    state.cool_down = map.remove("coolDown").as_ref().and_then(parse_cool_down);
    for tombstone in map.remove("rejected")?.as_array()? {
        state.rejected.push(Tombstone {
            fingerprint: unhex(tombstone.get("fingerprint")?.as_str()?)?,
            at: tombstone.get("at")?.as_u64()?,
        });
    }
    state.forced_at = map.remove("forcedAt").and_then(|at| at.as_u64());
    // Journals of before there were mirrors have none.
    state.unwrapped = map.remove("unwrapped").map_or(Some(Vec::new()), |known| parse_fingerprints(known.as_str()?))?;
    state.given = parse_fingerprints(map.remove("given")?.as_str()?)?;
    state.known = parse_fingerprints(map.remove("known")?.as_str()?)?;
    state.unknown = map;
    Some(state)
}

fn held(held: &Held) -> Value {
    json!({ "token": held.token.wrapped().expose(), "obtainedAt": held.obtained_at, "succeeded": held.succeeded })
}

fn parse_held(value: &Value) -> Option<Held> {
    Some(Held {
        token: RefreshToken::parse_kept(value.get("token")?.as_str().filter(|text| !text.is_empty())?).ok()?,
        obtained_at: value.get("obtainedAt")?.as_u64()?,
        succeeded: value.get("succeeded")?.as_bool()?,
    })
}

fn parse_access(value: &Value) -> Option<Access> {
    let text = |key: &str| value.get(key)?.as_str();
    Some(Access {
        token: Secret::new(text("token").filter(|token| !token.is_empty())?),
        token_type: text("tokenType")?.to_owned(),
        scope: text("scope")?.to_owned(),
        obtained_at: value.get("obtainedAt")?.as_u64()?,
        lifetime: duration(value.get("lifetimeMs")?)?,
    })
}

fn parse_mark(value: &Value) -> Option<Mark> {
    let number = |key: &str| -> Option<Millis> { value.get(key)?.as_u64() };
    Some(Mark {
        fingerprint: unhex(value.get("fingerprint")?.as_str()?)?,
        started_at: number("startedAt")?,
        deadline: number("deadline")?,
        starts: u32::try_from(number("starts")?).ok()?,
    })
}

fn parse_cool_down(value: &Value) -> Option<CoolDown> {
    Some(CoolDown {
        started_at: value.get("startedAt")?.as_u64()?,
        length: duration(value.get("lengthMs")?)?,
        failures: u32::try_from(value.get("failures")?.as_u64()?).ok()?,
        code: ErrorCode::parse(value.get("code")?.as_str()?)?,
        message: value.get("message")?.as_str()?.to_owned(),
        http_status: value.get("httpStatus").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok()),
    })
}

/// `Some(None)` for what is absent or null, `None` for what is there and wrong.
#[allow(clippy::option_option, reason = "absent and damaged are two things here, and both end in `?`")]
fn optional<T>(value: Option<Value>, parse: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => parse(&value).map(Some),
    }
}

/// No length here is longer than a day; one that is comes from a damaged file.
fn duration(value: &Value) -> Option<Duration> {
    value.as_u64().map(|ms| Duration::from_millis(ms.min(24 * 60 * 60 * 1000)))
}

fn fingerprints(list: &[Fingerprint]) -> String {
    let bytes: Vec<u8> = list.iter().flat_map(|fingerprint| fingerprint.to_bytes()).collect();
    STANDARD.encode(bytes)
}

fn parse_fingerprints(text: &str) -> Option<Vec<Fingerprint>> {
    let bytes = STANDARD.decode(text).ok()?;
    let chunks = bytes.chunks_exact(Fingerprint::BYTES);
    if !chunks.remainder().is_empty() {
        return None;
    }
    chunks.map(|chunk| chunk.try_into().ok().map(Fingerprint::from_bytes)).collect()
}

fn hex(fingerprint: Fingerprint) -> String {
    format!("{fingerprint:?}")
}

fn unhex(text: &str) -> Option<Fingerprint> {
    (text.len() == 2 * Fingerprint::BYTES && text.is_ascii()).then_some(())?;
    u64::from_str_radix(text, 16).ok().map(|number| Fingerprint::from_bytes(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::state::Sent;
    use super::*;

    fn full() -> State {
        let mut state = State::new("https://oauth.ring.com");
        let access = Access {
            token: Secret::new("access"),
            token_type: "Bearer".into(),
            scope: "client".into(),
            obtained_at: 5,
            lifetime: Duration::from_secs(14400),
        };
        state.take_over(RefreshToken::from_raw("a"), 1);
        state.rotated(Sent::Current, "b", "h", access.clone());
        state.take_over(RefreshToken::from_raw("x"), 3);
        state.reject(Sent::Current, 4);
        state.rotated(Sent::Current, "c", "h", access);
        state.mark = Some(Mark { fingerprint: Fingerprint::of("c"), started_at: 1, deadline: 2, starts: 1 });
        state.cool_down = Some(CoolDown {
            started_at: 7,
            length: Duration::from_secs(5),
            failures: 2,
            code: ErrorCode::Network,
            message: "No answer.".into(),
            http_status: None,
        });
        state.forced_at = Some(9);
        state.sequence = 12;
        state
    }

    #[test]
    fn everything_round_trips() {
        let state = full();
        assert!(state.aside.is_some() && state.access.is_some() && !state.rejected.is_empty());
        assert_eq!(decode(&encode(&state)), Ok(state));
    }

    #[test]
    fn room_that_is_left_over_does_not_matter() {
        let mut bytes = encode(&full());
        bytes.extend([0; 100]);
        assert_eq!(decode(&bytes), Ok(full()));
    }

    #[test]
    fn unknown_keys_survive() {
        let mut text = String::from_utf8(encode(&full())).unwrap();
        text.insert_str(1, "\"later\": {\"a\": [1.50]}, ");
        let state = decode(text.as_bytes()).unwrap();
        let again = String::from_utf8(encode(&state)).unwrap();
        assert!(again.contains("\"later\": {\"a\":[1.50]}"), "{again}");
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        assert_eq!(decode(b"{\"version\": 2}"), Err(Unreadable::Newer(2)));
        for bytes in [&b""[..], b"{", b"[]", b"null", b"{}", b"{\"version\": \"1\"}", b"{\"version\": 0}", b"\xff\x00"]
        {
            assert_eq!(decode(bytes), Err(Unreadable::Damaged));
        }
        let text = String::from_utf8(encode(&full())).unwrap();
        let wrong = text.replacen("\"current\": {", "\"current\": 5, \"was\": {", 1);
        assert_eq!(decode(wrong.as_bytes()), Err(Unreadable::Damaged));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_cut_panics_or_passes_for_whole(cut in 0usize..2000) {
            let bytes = encode(&full());
            // The closing line feed is the one byte that does not matter.
            let cut = cut.min(bytes.len() - 2);
            prop_assert_eq!(decode(&bytes[..cut]), Err(Unreadable::Damaged));
        }

        #[test]
        fn no_changed_byte_panics(at in 0usize..2000, byte in any::<u8>()) {
            let mut bytes = encode(&full());
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            if let Ok(state) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&state)), Ok(state));
            }
        }
    }
}
