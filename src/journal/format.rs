//! The journal's file format: one JSON object, described in `docs/journal.md`.
//!
//! The object begins with a signature, which identifies a journal, and ends with a digest over everything before it, which
//! detects a torn one. The record of each token has a digest of its own: a torn text may still have a whole token in it, and
//! [`salvage`] finds that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::id::JournalId;
use super::seal;
use super::state::{
    Access, CoolDown, Family, Lease, Mark, Millis, MirrorRecord, Remains, Sibling, State, StoredToken, Tombstone,
    millis,
};
use crate::token::{Fingerprint, RefreshToken};
use crate::{ErrorCode, Secret};

/// The version of the format that is written, and the highest that is understood.
pub const VERSION: u64 = 1;

/// The beginning of each journal; the name of its file follows.
pub const SIGNATURE: &str = "{\n  \"ring-auth-journal\": ";
/// The first JSON key. Its value is the name of the file that the text was written for.
pub(super) const NAME: &str = "ring-auth-journal";
/// The key of a text that is written to find out whether it appears at another path.
pub const PROBE: &str = "probe";
/// The text before and after the digest, which is the last value in the text.
const DIGEST: (&str, &str) = ("  \"digest\": \"", "\"\n}");
/// The length of a digest in hexadecimal digits: 16 bytes of a SHA-256.
const DIGEST_DIGITS: usize = 32;

/// The reason why a file is no usable journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The file is not a journal, or is damaged.
    Damaged,
    /// A later version of this package wrote the file.
    Newer(u64),
}

/// Encodes a state as the bytes of the file with that name.
pub fn encode(state: &State, name: &str) -> Vec<u8> {
    let kept = |stored: &StoredToken| record(stored, state, name);
    let mut map = Map::new();
    map.insert("version".into(), VERSION.into());
    map.insert("warning".into(), WARNING.into());
    map.insert("id".into(), state.id.map(|id| id.to_string()).into());
    map.insert("place".into(), state.place.as_deref().map(path_value).into());
    map.insert("moved".into(), state.moved.as_deref().map(path_value).into());
    map.insert("machines".into(), fingerprints(&state.machines).into());
    map.insert("issuer".into(), state.issuer.clone().into());
    map.insert("sequence".into(), state.sequence.into());
    map.insert("loggedOutAt".into(), state.logged_out_at.into());
    map.insert("lastSuccessAt".into(), state.last_success_at.into());
    map.insert("hardwareId".into(), state.hardware_id.clone().into());
    map.insert("current".into(), state.current().map(kept).into());
    map.insert("previous".into(), state.previous().map(kept).into());
    map.insert("proven".into(), state.is_proven().into());
    let fallback = state.fallback.as_ref().map(|fallback| {
        json!({ "current": kept(&fallback.current), "previous": fallback.previous.as_ref().map(kept), "proven": fallback.proven })
    });
    map.insert("aside".into(), fallback.into());
    let access = state.access.as_ref().map(|access| {
        json!({
            "token": access.token.expose(), "tokenType": access.token_type, "scope": access.scope,
            "obtainedAt": access.obtained_at, "lifetimeMs": millis(access.lifetime), "expiresAt": access.expires_at(),
        })
    });
    map.insert("access".into(), access.into());
    let mark = state.mark.as_ref().map(|mark| {
        let mut value = json!({
            "fingerprint": hex(mark.fingerprint), "startedAt": mark.started_at, "deadline": mark.deadline,
            "starts": mark.starts,
        });
        if let Some(lease) = mark.lease {
            value["holder"] = bits(lease.holder).into();
            value["leaseMs"] = millis(lease.length).into();
        }
        value
    });
    map.insert("mark".into(), mark.into());
    let cool_down = state.cool_down.as_ref().map(|cool_down| {
        let mut value = json!({
            "startedAt": cool_down.started_at, "lengthMs": millis(cool_down.length), "failures": cool_down.failures,
            "code": cool_down.code.as_str(), "message": cool_down.message, "httpStatus": cool_down.http_status,
        });
        if let Some(seen_at) = cool_down.seen_at {
            value["seenAt"] = seen_at.into();
        }
        value
    });
    map.insert("coolDown".into(), cool_down.into());
    let rejected: Vec<Value> = state
        .rejected
        .iter()
        .map(|tombstone| json!({ "fingerprint": hex(tombstone.fingerprint), "at": tombstone.at }))
        .collect();
    map.insert("rejected".into(), rejected.into());
    map.insert("forcedAt".into(), state.forced_at.into());
    let mirrors: Vec<Value> = state
        .mirrors
        .iter()
        .map(|mirror| {
            json!({
                "file": mirror.file, "place": mirror.place, "paths": mirror.paths, "at": mirror.at,
                "over": fingerprints(&mirror.over),
            })
        })
        .collect();
    map.insert("mirrors".into(), mirrors.into());
    encode_shared(state, &mut map, name);
    map.insert("unwrapped".into(), fingerprints(&state.former_wrappers).into());
    map.insert("given".into(), fingerprints(&state.given).into());
    map.insert("known".into(), fingerprints(&state.known).into());
    for (key, value) in &state.unknown {
        map.entry(key.clone()).or_insert_with(|| value.clone());
    }
    // One line for each key: people can read it, and the whole lines of a torn text can be distinguished.
    let mut text = format!("{SIGNATURE}{}", Value::from(name));
    for (key, value) in &map {
        text.push_str(",\n  ");
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push_str(": ");
        text.push_str(&value.to_string());
    }
    text.push_str(",\n");
    let digest = digest(text.as_bytes());
    text.push_str(DIGEST.0);
    text.push_str(&digest);
    text.push_str(DIGEST.1);
    text.push('\n');
    text.into_bytes()
}

/// What most journals do not have: they belong to one host, and no answer is missing.
fn encode_shared(state: &State, map: &mut Map<String, Value>, name: &str) {
    if !state.siblings.is_empty() {
        let sibling = |sibling: &Sibling| {
            let mut value = record(&sibling.held, state, name);
            value["source"] = hex(sibling.source).into();
            value
        };
        map.insert("siblings".into(), state.siblings.iter().map(sibling).collect());
    }
    if let Some(doubted) = state.doubted {
        map.insert("doubted".into(), hex(doubted).into());
    }
    if let Some(write) = state.write {
        map.insert("write".into(), bits(write).into());
    }
    if state.clock_offset != 0 {
        map.insert("clockOffsetMs".into(), state.clock_offset.into());
    }
    if let Some(place) = &state.spool_place {
        map.insert("spoolPlace".into(), place.as_str().into());
    }
}

fn decode_shared(state: &mut State, map: &mut Map<String, Value>) -> Option<()> {
    if let Some(Value::Array(siblings)) = map.remove("siblings") {
        for value in &siblings {
            let source = unhex(value.get("source")?.as_str()?)?;
            state.siblings.push(Sibling { held: parse_stored(value)?, source });
        }
    }
    state.doubted = map.remove("doubted").and_then(|value| unhex(value.as_str()?));
    state.write = map.remove("write").as_ref().and_then(parse_bits);
    state.clock_offset = map.remove("clockOffsetMs").and_then(|offset| offset.as_i64()).unwrap_or_default();
    state.spool_place = map.remove("spoolPlace").and_then(|place| place.as_str().map(str::to_owned));
    Some(())
}

/// 128 bits as text.
fn bits(value: u128) -> String {
    format!("{value:032x}")
}

fn parse_bits(value: &Value) -> Option<u128> {
    u128::from_str_radix(value.as_str().filter(|text| text.len() == 32)?, 16).ok()
}

/// The state in a file's bytes, if they are whole.
///
/// # Errors
///
/// [`Unreadable`]. Then the file must not be overwritten.
pub fn decode(bytes: &[u8]) -> Result<State, Unreadable> {
    let bytes = without_room(bytes);
    let Ok(Value::Object(mut map)) = serde_json::from_slice(bytes) else { return Err(Unreadable::Damaged) };
    let version = map.remove("version").and_then(|version| version.as_u64());
    match version {
        // This version does not know how a later version detects a torn text.
        Some(version) if version > VERSION => return Err(Unreadable::Newer(version)),
        Some(VERSION) if is_whole(bytes) => {}
        _ => return Err(Unreadable::Damaged),
    }
    map.remove("digest");
    map.remove(NAME).and_then(|_| decode_fields(map)).ok_or(Unreadable::Damaged)
}

/// The rest of a torn text, if it contains a whole record of a current token of that issuer. `name` is the name of the
/// file for which the text was written, and is used if the text does not contain it any more.
pub fn salvage(bytes: &[u8], issuer: &str, name: &str) -> Option<Remains> {
    let bytes = without_room(bytes);
    let said = name_of(bytes);
    let of = Origin { issuer, name: said.as_deref().unwrap_or(name) };
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Map::new();
    for (key, value) in text.lines().filter_map(line) {
        // A text that was written over another one may have the same key again behind the tear, and the first is newer.
        lines.entry(key).or_insert(value);
    }
    let whole = |value: &Value| Some((verified(value, of)?, value.get("sequence")?.as_u64()?));
    if lines.get("current").and_then(whole).is_none() {
        // An editor may have laid out the same values in another way.
        if let Ok(Value::Object(map)) = serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            lines = map;
        }
    }
    if lines.get("version").and_then(Value::as_u64).is_some_and(|version| version > VERSION) {
        return None;
    }
    let (current, sequence) = lines.get("current").and_then(whole)?;
    let list = |key: &str| lines.get(key).and_then(Value::as_str).and_then(parse_fingerprints).unwrap_or_default();
    let fallback = lines.get("aside").and_then(|value| {
        Some(Family {
            current: verified(value.get("current")?, of)?,
            previous: value.get("previous").and_then(|value| verified(value, of)),
            proven: value.get("proven")?.as_bool()?,
        })
    });
    let rejected = lines.get("rejected").and_then(Value::as_array).into_iter().flatten();
    Some(Remains {
        id: lines.get("id").and_then(Value::as_str).and_then(JournalId::parse),
        sequence,
        current,
        sent: lines.get("current").and_then(was_sent)?,
        // A record of another write could be older than the token before the current one, and such a token is never sent.
        previous: lines.get("previous").and_then(whole).filter(|(_, of)| *of == sequence).map(|(stored, _)| stored),
        hardware_id: lines.get("hardwareId").and_then(Value::as_str).map(str::to_owned),
        proven: lines.get("proven").and_then(Value::as_bool),
        fallback,
        mark: lines.get("mark").and_then(parse_mark),
        known: list("known"),
        given: list("given"),
        rejected: rejected.filter_map(parse_tombstone).collect(),
    })
}

/// The issuer that a damaged text names.
pub fn issuer_of(bytes: &[u8]) -> Option<String> {
    lines_of(bytes, "issuer")
}

/// The name of the file for which a text was written, if the text contains it.
pub fn name_of(bytes: &[u8]) -> Option<String> {
    lines_of(bytes, NAME).or_else(|| lines_of(bytes, seal::NAME))
}

/// A digest of these bytes, without the reserved space behind them.
pub fn digest_of(bytes: &[u8]) -> String {
    digest(without_room(bytes))
}

/// The bytes without reserved space at their end: it is longer than the answer, and is cut only after the answer was written.
pub(super) fn without_room(bytes: &[u8]) -> &[u8] {
    let room = bytes.iter().rev().take_while(|byte| **byte == 0 || byte.is_ascii_whitespace()).count();
    &bytes[..bytes.len() - room]
}

/// Whether the digest at the end of a text is that of the text before it.
fn is_whole(text: &[u8]) -> bool {
    let Some(text) = text.strip_suffix(DIGEST.1.as_bytes()) else { return false };
    let Some((text, found)) = text.len().checked_sub(DIGEST_DIGITS).map(|at| text.split_at(at)) else { return false };
    text.strip_suffix(DIGEST.0.as_bytes()).is_some_and(|text| digest(text).as_bytes() == found)
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut half = [0; DIGEST_DIGITS / 2];
    half.copy_from_slice(&digest[..DIGEST_DIGITS / 2]);
    format!("{:032x}", u128::from_be_bytes(half))
}

/// One line of a text, as `encode` writes it.
pub(super) fn line(line: &str) -> Option<(String, Value)> {
    let line = line.trim().trim_end_matches(',');
    let (key, value) = line.split_once("\": ")?;
    Some((key.strip_prefix('"')?.to_owned(), serde_json::from_str(value).ok()?))
}

fn lines_of(bytes: &[u8], key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().filter_map(line);
    lines.find_map(|(found, value)| if found == key { value.as_str().map(str::to_owned) } else { None })
}

const WARNING: &str = "This file is worth as much as your Ring password. Do not edit, copy or share it.";

fn decode_fields(mut map: Map<String, Value>) -> Option<State> {
    map.remove("warning");
    let mut state = State::new(map.remove("issuer")?.as_str()?);
    state.id = optional(map.remove("id"), |id| JournalId::parse(id.as_str()?))?;
    state.place = optional(map.remove("place"), parse_path)?;
    state.moved = optional(map.remove("moved"), parse_path)?;
    state.machines = parse_fingerprints(map.remove("machines")?.as_str()?)?;
    // The probe was written to be read at another path, and has no meaning now.
    map.remove(PROBE);
    state.sequence = map.remove("sequence")?.as_u64()?;
    state.logged_out_at = map.remove("loggedOutAt").and_then(|at| at.as_u64());
    state.last_success_at = map.remove("lastSuccessAt").and_then(|at| at.as_u64());
    state.hardware_id = match map.remove("hardwareId") {
        Some(Value::String(id)) => Some(id),
        Some(Value::Null) | None => None,
        Some(_) => return None,
    };
    let current = optional(map.remove("current"), parse_stored)?;
    let previous = optional(map.remove("previous"), parse_stored)?;
    let proven = map.remove("proven")?.as_bool()?;
    state.family = current.map(|current| Family { current, previous, proven });
    state.fallback = optional(map.remove("aside"), |value| {
        Some(Family {
            current: parse_stored(value.get("current")?)?,
            previous: optional(value.get("previous").cloned(), parse_stored)?,
            proven: value.get("proven")?.as_bool()?,
        })
    })?;
    // The token is usable without these three.
    state.access = map.remove("access").as_ref().and_then(parse_access);
    state.mark = map.remove("mark").as_ref().and_then(parse_mark);
    state.cool_down = map.remove("coolDown").as_ref().and_then(parse_cool_down);
    for tombstone in map.remove("rejected")?.as_array()? {
        state.rejected.push(parse_tombstone(tombstone)?);
    }
    state.forced_at = map.remove("forcedAt").and_then(|at| at.as_u64());
    if let Some(Value::Array(mirrors)) = map.remove("mirrors") {
        // A record that cannot be understood is made again at the next write.
        state.mirrors = mirrors.iter().filter_map(parse_mirror).collect();
    }
    decode_shared(&mut state, &mut map)?;
    state.former_wrappers = parse_fingerprints(map.remove("unwrapped")?.as_str()?)?;
    state.given = parse_fingerprints(map.remove("given")?.as_str()?)?;
    state.known = parse_fingerprints(map.remove("known")?.as_str()?)?;
    state.unknown = map;
    Some(state)
}

/// The issuer and the name of the file to which a record belongs.
#[derive(Clone, Copy)]
struct Origin<'a> {
    issuer: &'a str,
    name: &'a str,
}

/// The record of a token, with the number of its write and a digest over the issuer, the file name and the record.
fn record(stored: &StoredToken, state: &State, name: &str) -> Value {
    let token = stored.token.wrapped();
    let of = Origin { issuer: &state.issuer, name };
    let sent = state.mark.as_ref().is_some_and(|mark| mark.fingerprint == stored.token.fingerprint());
    let digest = record_digest(of, state.sequence, token.expose(), stored, sent);
    json!({
        "token": token.expose(), "obtainedAt": stored.obtained_at, "succeeded": stored.succeeded, "sent": sent,
        "sequence": state.sequence, "digest": digest,
    })
}

fn record_digest(of: Origin<'_>, sequence: u64, token: &str, stored: &StoredToken, sent: bool) -> String {
    let Origin { issuer, name } = of;
    let StoredToken { obtained_at, succeeded, .. } = stored;
    digest(format!("{issuer}\n{name}\n{sequence}\n{token}\n{obtained_at}\n{succeeded}\n{sent}").as_bytes())
}

/// The token of a record, if the record is whole.
fn verified(value: &Value, of: Origin<'_>) -> Option<StoredToken> {
    let stored = parse_stored(value)?;
    let token = value.get("token")?.as_str()?;
    let digest = record_digest(of, value.get("sequence")?.as_u64()?, token, &stored, was_sent(value)?);
    (value.get("digest")?.as_str()? == digest).then_some(stored)
}

/// Whether a request with the token of a record had begun when the record was written.
fn was_sent(value: &Value) -> Option<bool> {
    value.get("sent")?.as_bool()
}

fn parse_stored(value: &Value) -> Option<StoredToken> {
    Some(StoredToken {
        token: RefreshToken::parse_kept(value.get("token")?.as_str().filter(|text| !text.is_empty())?).ok()?,
        obtained_at: value.get("obtainedAt")?.as_u64()?,
        succeeded: value.get("succeeded")?.as_bool()?,
    })
}

fn parse_mirror(value: &Value) -> Option<MirrorRecord> {
    let texts = |key: &str| -> Option<Vec<String>> {
        value.get(key)?.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
    };
    Some(MirrorRecord {
        file: value.get("file")?.as_str()?.to_owned(),
        paths: texts("paths")?,
        place: texts("place")?,
        at: value.get("at")?.as_u64()?,
        over: value.get("over").and_then(Value::as_str).and_then(parse_fingerprints).unwrap_or_default(),
    })
}

fn parse_tombstone(value: &Value) -> Option<Tombstone> {
    Some(Tombstone { fingerprint: unhex(value.get("fingerprint")?.as_str()?)?, at: value.get("at")?.as_u64()? })
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
        lease: value.get("holder").and_then(parse_bits).and_then(|holder| {
            let length = duration(value.get("leaseMs")?)?;
            Some(Lease { holder, length })
        }),
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
        seen_at: value.get("seenAt").and_then(Value::as_u64),
    })
}

/// A path as text, or as its bytes in base64 if it is no text.
fn path_value(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => text.into(),
        None => json!({ "bytes": STANDARD.encode(path_bytes::of(path)) }),
    }
}

fn parse_path(value: &Value) -> Option<PathBuf> {
    match value.as_str() {
        Some(text) => Some(text.into()),
        None => path_bytes::to_path(STANDARD.decode(value.get("bytes")?.as_str()?).ok()?),
    }
}

/// `Some(None)` if the value is absent or null, `None` if it is wrong.
#[allow(clippy::option_option, reason = "absent and damaged are two things here, and both end in `?`")]
fn optional<T>(value: Option<Value>, parse: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => parse(&value).map(Some),
    }
}

/// A length of at most a day. A longer one comes from a damaged file.
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

#[cfg(unix)]
mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub(super) fn of(path: &Path) -> Vec<u8> {
        path.as_os_str().as_bytes().to_vec()
    }

    #[allow(clippy::unnecessary_wraps, reason = "the same shape as on the systems where it can fail")]
    pub(super) fn to_path(bytes: Vec<u8>) -> Option<PathBuf> {
        Some(OsString::from_vec(bytes).into())
    }
}

/// A path of Windows is a sequence of 16-bit numbers, which need not be text.
#[cfg(windows)]
mod path_bytes {
    use std::ffi::OsString;
    use std::os::windows::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    pub(super) fn of(path: &Path) -> Vec<u8> {
        path.as_os_str().encode_wide().flat_map(u16::to_le_bytes).collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "the same shape as on the systems where it is consumed")]
    pub(super) fn to_path(bytes: Vec<u8>) -> Option<PathBuf> {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let wide: Vec<u16> = pairs.iter().copied().map(u16::from_le_bytes).collect();
        rest.is_empty().then(|| OsString::from_wide(&wide).into())
    }
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
        state.reject(Sent::Current, 4, false);
        state.rotated(Sent::Current, "c", "h", access);
        state.mark =
            Some(Mark { fingerprint: Fingerprint::of("c"), started_at: 1, deadline: 2, starts: 1, lease: None });
        state.cool_down = Some(CoolDown {
            started_at: 7,
            length: Duration::from_secs(5),
            failures: 2,
            code: ErrorCode::Network,
            message: "No answer.".into(),
            http_status: None,
            seen_at: None,
        });
        state.forced_at = Some(9);
        state.id = JournalId::parse("00112233445566778899aabbccddeeff");
        state.place = Some("/data/j.json".into());
        state.moved = Some("/other/j.json".into());
        state.machines = vec![Fingerprint::of("one"), Fingerprint::of("two")];
        state.mirrors = [Vec::new(), vec![Fingerprint::of("x")]]
            .map(|over| MirrorRecord {
                file: "../config.json".into(),
                paths: vec!["0123456789abcdef".into()],
                place: vec!["homebridge".into(), "Ring".into(), "Home".into()],
                at: 8,
                over,
            })
            .into();
        state.sequence = 12;
        state
    }

    #[test]
    fn everything_round_trips() {
        let state = full();
        assert!(state.fallback.is_some() && state.access.is_some() && !state.rejected.is_empty());
        assert_eq!(decode(&encode(&state, "j")), Ok(state));
        let empty = State { sequence: 3, ..State::logged_out("https://oauth.ring.com", 7) };
        assert_eq!(decode(&encode(&empty, "j")), Ok(empty));
    }

    /// The text with a digest that is right again, as a later version of this package would write it.
    fn sealed(text: &str) -> Vec<u8> {
        let text = &text[..text.rfind(DIGEST.0).unwrap()];
        format!("{text}{}{}{}\n", DIGEST.0, digest(text.as_bytes()), DIGEST.1).into_bytes()
    }

    fn text() -> String {
        String::from_utf8(encode(&full(), "j")).unwrap()
    }

    #[test]
    fn it_begins_with_its_signature_and_the_name_of_its_file() {
        for name in ["j.json", "with \"quotes\"", "\u{e4}"] {
            let bytes = encode(&full(), name);
            assert!(bytes.starts_with(SIGNATURE.as_bytes()));
            assert_eq!(name_of(&bytes).as_deref(), Some(name));
        }
        for other in ["{\"bridge\": {}}", "{\"ring_token\": \"x\"}", "A=1", "[]", "text"] {
            assert_eq!(name_of(other.as_bytes()), None);
        }
    }

    #[test]
    fn any_other_text_is_told_from_the_one_that_was_written() {
        let whole = text();
        for (what, wrong) in [
            ("another value in it", whole.replacen("\"succeeded\":true", "\"succeeded\":false", 1)),
            ("a space more", whole.replacen(": ", ":  ", 1)),
            ("another digest", whole.replace("  \"digest\": \"", "  \"digest\": \"0")),
            ("none", whole.replace("  \"digest\"", "  \"other\"")),
        ] {
            assert_ne!(wrong, whole);
            assert_eq!(decode(wrong.as_bytes()), Err(Unreadable::Damaged), "{what}");
        }
        assert_eq!(decode(&sealed(&whole)), Ok(full()));
    }

    #[test]
    fn a_whole_record_is_found_in_a_text_that_is_not() {
        let state = full();
        let issuer = state.issuer.clone();
        let found = |text: &str| salvage(text.as_bytes(), &issuer, "another");
        let whole = found(&text()).unwrap();
        assert_eq!((whole.sequence, Some(&whole.current)), (12, state.current()));
        assert_eq!((whole.id, whole.id.is_some()), (state.id, true));
        assert_eq!(whole.previous.as_ref(), state.previous());
        assert_eq!((whole.fallback, whole.mark), (state.fallback, state.mark));
        assert_eq!((whole.known, whole.given, whole.rejected), (state.known, state.given, state.rejected));
        // An editor has reformatted the text and added a byte order mark.
        let value: Value = serde_json::from_str(&text()).unwrap();
        let pretty = format!("\u{feff}{}", serde_json::to_string_pretty(&value).unwrap());
        assert_eq!(found(&pretty).unwrap().current, whole.current);
        assert_eq!(salvage(text().as_bytes(), "https://other.example", "j"), None, "it is another issuer's");
        assert_eq!(found(&text().replacen("\"succeeded\":false", "\"succeeded\":true", 1)), None);
        assert_eq!(found(&text().replacen("\"version\": 1", "\"version\": 2", 1)), None);
        // Without its first line the text does not say for which file it was written.
        let whole_text = text();
        let (_, rest) = whole_text.split_once(",\n").unwrap();
        assert!(salvage(rest.as_bytes(), &issuer, "j").is_some());
        assert_eq!(salvage(rest.as_bytes(), &issuer, "another"), None);
        // A record of another write may be older than the token before the current one.
        let mut later = full();
        later.sequence += 1;
        let later = String::from_utf8(encode(&later, "j")).unwrap();
        let line = |text: &str| text.lines().find(|line| line.contains("\"previous\": {")).unwrap().to_owned();
        let mixed = found(&later.replace(&line(&later), &line(&text()))).unwrap();
        assert_eq!((mixed.sequence, mixed.previous), (13, None));
    }

    #[test]
    fn room_that_is_left_over_does_not_matter() {
        for room in [0, b' '] {
            let mut bytes = encode(&full(), "j");
            bytes.extend([room; 100]);
            assert_eq!(decode(&bytes), Ok(full()));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_round_trips() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let mut state = full();
        state.place = Some(OsStr::from_bytes(b"/caf\xe9/j.json").into());
        let bytes = encode(&state, "j");
        assert!(String::from_utf8(bytes.clone()).unwrap().contains("\"place\": {\"bytes\":\"L2NhZukvai5qc29u\"}"));
        assert_eq!(decode(&bytes), Ok(state));
    }

    #[test]
    fn what_was_written_to_be_seen_elsewhere_is_no_part_of_the_state() {
        let mut probing = full();
        probing.unknown.insert(PROBE.into(), "x".into());
        assert_eq!(decode(&encode(&probing, "j")), Ok(full()));
    }

    #[test]
    fn unknown_keys_survive() {
        let later = text().replacen("\"proven\"", "\"later\": {\"a\": [1.50]}, \"proven\"", 1);
        let state = decode(&sealed(&later)).unwrap();
        let again = String::from_utf8(encode(&state, "j")).unwrap();
        assert!(again.contains("\"later\": {\"a\":[1.50]}"), "{again}");
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        assert_eq!(decode(b"{\"version\": 2}"), Err(Unreadable::Newer(2)));
        for bytes in [&b""[..], b"{", b"[]", b"null", b"{}", b"{\"version\": \"1\"}", b"{\"version\": 0}", b"\xff\x00"]
        {
            assert_eq!(decode(bytes), Err(Unreadable::Damaged));
        }
        let wrong = text().replacen("\"current\": {", "\"current\": 5, \"was\": {", 1);
        assert_eq!(decode(&sealed(&wrong)), Err(Unreadable::Damaged));
        let newer = text().replacen("\"version\": 1", "\"version\": 2", 1);
        assert_eq!(decode(newer.as_bytes()), Err(Unreadable::Newer(2)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (decode(&bytes), salvage(&bytes, "", ""), name_of(&bytes));
        }

        #[test]
        fn no_cut_panics_or_passes_for_whole(cut in 0usize..2000) {
            let bytes = encode(&full(), "j");
            // The closing line feed is the one byte that does not matter.
            let cut = cut.min(bytes.len() - 2);
            prop_assert_eq!(decode(&bytes[..cut]), Err(Unreadable::Damaged));
            let found = salvage(&bytes[..cut], "https://oauth.ring.com", "j");
            prop_assert!(found.is_none_or(|remains| Some(&remains.current) == full().current()));
        }

        #[test]
        fn no_changed_byte_panics_or_passes(at in 0usize..2000, byte in any::<u8>()) {
            let mut bytes = encode(&full(), "j");
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            if let Ok(state) = decode(&bytes) {
                prop_assert_eq!(state, full());
            }
            let found = salvage(&bytes, "https://oauth.ring.com", "j");
            prop_assert!(found.is_none_or(|remains| Some(&remains.current) == full().current()));
        }
    }
}
