//! Sealed text: a journal that cannot be read without its key. `docs/journal.md` describes the format.
//!
//! Each line of the text is encrypted by itself (AES-256-GCM), so that the whole lines of a torn text can still be read.
//! The header stays readable: it names the key by a fingerprint, and the issuer. Both are authenticated with each line.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::format;
use crate::{Error, Result};

/// The format version that is written. It is also the highest one that is understood.
pub const VERSION: u64 = 1;
/// The first JSON key of a sealed text. Its value is the name of the file that the text was written for.
pub(super) const NAME: &str = "ring-auth-sealed";
/// The beginning of each sealed text. The name of its file follows.
pub const SIGNATURE: &str = "{\n  \"ring-auth-sealed\": ";
const WARNING: &str = "Sealed with a key that is not in this file. Do not edit or copy it.";
/// The JSON key of the encrypted lines.
const LINES: &str = "lines";
/// All JSON keys of a sealed text.
const KEYS: [&str; 9] = [NAME, "version", "warning", "key", "issuer", "id", "sequence", "nonce", LINES];
/// The number of bytes in a key.
pub const KEY_BYTES: usize = 32;
/// The number of hexadecimal digits in a key's fingerprint.
const FINGERPRINT_DIGITS: usize = 16;

/// A decoder for base64 with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&ALPHABET, {
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent)
});

/// A key with which a journal is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: Arc<[u8; KEY_BYTES]>,
    fingerprint: Arc<str>,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({}, …)", self.fingerprint)
    }
}

impl Key {
    /// The key with these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let digest = Sha256::new().chain_update(b"ring-auth key\0").chain_update(bytes).finalize();
        let mut fingerprint = hex_of(&digest);
        fingerprint.truncate(FINGERPRINT_DIGITS);
        Self { bytes: Arc::new(bytes), fingerprint: fingerprint.into() }
    }

    /// Parses a key of 32 bytes. The text has 64 hexadecimal digits, or base64 in its usual or its URL alphabet, with
    /// or without padding. White space around it is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('\u{feff}').trim();
        // All spellings of 32 bytes are ASCII and no longer than this.
        if text.len() > 2 * KEY_BYTES || !text.is_ascii() {
            return None;
        }
        let bytes = if text.len() == 2 * KEY_BYTES {
            (0..KEY_BYTES).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect()
        } else {
            LENIENT.decode(text.replace('-', "+").replace('_', "/")).ok()
        };
        // `from_str_radix` accepts a sign, which is no hexadecimal digit.
        let is_hex = || text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes: Option<Vec<u8>> = bytes.filter(|_| text.len() != 2 * KEY_BYTES || is_hex());
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self::new)
    }

    /// Parses a key as [`Key::parse`] does, and fails if the text is not a key.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the text is not a key. The message does not show the text.
    pub fn expect(text: &str, name: &str) -> Result<Self> {
        Self::parse(text).ok_or_else(|| Self::refused(name))
    }

    /// The error for a value that is not a key.
    pub(crate) fn refused(name: &str) -> Error {
        Error::invalid(format!(
            "{name} is not a key: a key has 32 bytes, as 64 hexadecimal digits or as base64. Make one with: openssl rand -base64 32"
        ))
    }

    /// Reads a key from the content of a file or the output of a command: a text as for [`Key::parse`], or the 32 bytes
    /// themselves. 32 printable characters are not accepted, because they are probably one half of a key in hexadecimal
    /// digits.
    pub fn from_content(content: &[u8]) -> Option<Self> {
        let is_text = content.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        match <[u8; KEY_BYTES]>::try_from(content) {
            Ok(bytes) if !is_text => Some(Self::new(bytes)),
            _ => Self::parse(std::str::from_utf8(content).ok()?),
        }
    }

    /// The fingerprint, which distinguishes keys and reveals nothing else about them.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The key as text, for another manager of the same process.
    pub fn to_text(&self) -> crate::Secret {
        crate::Secret::new(hex_of(&*self.bytes))
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &*self.bytes).ok().map(LessSafeKey::new)
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The part of a sealed text that can be read without its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The name of the file that the text was written for.
    pub name: String,
    /// The origin of the server that its tokens are for.
    pub issuer: String,
    /// The id of the journal.
    pub id: Option<String>,
    /// The number of the write.
    pub sequence: Option<u64>,
}

/// A new random nonce; `None` if the system gives no random numbers.
pub(super) fn fresh_nonce() -> Option<[u8; NONCE_LEN]> {
    let mut nonce = [0; NONCE_LEN];
    // If the system gives no random numbers, no substitute is good enough here.
    getrandom::fill(&mut nonce).ok().map(|()| nonce)
}

/// A nonce that is derived from a text, which has to be sealed to the same bytes each time. Another text gets another
/// nonce.
pub(super) fn nonce_of(bytes: &[u8], key: &Key) -> [u8; NONCE_LEN] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key.bytes), bytes);
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&tag.as_ref()[..NONCE_LEN]);
    nonce
}

/// Seals some bytes. `None` if the cipher refuses, which does not happen for texts of the size of a journal.
pub(super) fn seal(bytes: &[u8], key: &Key, header: &Header, nonce: [u8; NONCE_LEN]) -> Option<Vec<u8>> {
    let cipher = key.cipher()?;
    let mut text = format!("{SIGNATURE}{}", Value::from(header.name.as_str()));
    let fields: [(&str, Value); 7] = [
        ("version", VERSION.into()),
        ("warning", WARNING.into()),
        ("key", key.fingerprint().into()),
        ("issuer", header.issuer.as_str().into()),
        ("id", header.id.as_deref().into()),
        ("sequence", header.sequence.into()),
        ("nonce", STANDARD.encode(nonce).into()),
    ];
    for (name, value) in fields {
        for part in [",\n  \"", name, "\": ", &value.to_string()] {
            text.push_str(part);
        }
    }
    text.push_str(",\n  \"lines\": [");
    for (index, line) in (0_u32..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let mut line = line.to_vec();
        let aad = Aad::from(associated(header, key.fingerprint(), index));
        cipher.seal_in_place_append_tag(nth(nonce, index), aad, &mut line).ok()?;
        text.push_str(if index == 0 { "\n    \"" } else { ",\n    \"" });
        text.push_str(&STANDARD.encode(line));
        text.push('"');
    }
    text.push_str("\n  ]\n}\n");
    Some(text.into_bytes())
}

/// The nonce of one line.
fn nth(mut nonce: [u8; NONCE_LEN], index: u32) -> Nonce {
    for (byte, of_index) in nonce.iter_mut().rev().zip(index.to_le_bytes()) {
        *byte ^= of_index;
    }
    Nonce::assume_unique_for_key(nonce)
}

fn associated(header: &Header, fingerprint: &str, index: u32) -> Vec<u8> {
    let Header { name, issuer, id, sequence } = header;
    // This is JSON, so that two different headers never give the same bytes.
    serde_json::json!([NAME, VERSION, name, fingerprint, issuer, id, sequence, index]).to_string().into_bytes()
}

/// A sealed text that was read, whole or torn.
#[derive(Debug, Clone)]
pub(super) struct Sealed {
    pub(super) header: Header,
    /// The fingerprint of its key; `None` if the text was torn before it.
    pub(super) key: Option<String>,
    nonce: Option<[u8; NONCE_LEN]>,
    lines: Vec<String>,
    /// Whether the text contains only what a sealed text has.
    is_whole: bool,
}

impl Sealed {
    /// Parses a content that begins like a sealed text; `None` for any other, and for one in which nothing follows the
    /// signature.
    ///
    /// # Errors
    ///
    /// The version of the text, if it is later than [`VERSION`].
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, u64> {
        let Some(text) = crate::looks::text_in(bytes).or_else(|| crate::looks::text_in(format::without_room(bytes)))
        else {
            let lossy = String::from_utf8_lossy(format::without_room(bytes));
            return Self::read_text(&lossy);
        };
        Self::read_text(&text)
    }

    fn read_text(text: &str) -> Result<Option<Self>, u64> {
        let text = text.trim_start_matches('\u{feff}').trim_matches(|c: char| c == '\0' || c.is_whitespace());
        let whole = match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Some(map),
            _ => None,
        };
        let is_whole = whole.as_ref().is_some_and(|map| map.keys().all(|key| KEYS.contains(&key.as_str())));
        let (fields, lines) = match whole {
            Some(mut map) => {
                let lines = map.remove(LINES).unwrap_or_default();
                let lines = lines.as_array().into_iter().flatten();
                let lines = lines.map(|line| line.as_str().unwrap_or_default().to_owned()).collect();
                (map, lines)
            }
            None => torn(text),
        };
        let Some(name) = fields.get(NAME) else { return Ok(None) };
        match fields.get("version").and_then(Value::as_u64) {
            Some(version) if version > VERSION => return Err(version),
            _ => {}
        }
        let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
        let header = Header {
            name: name.as_str().unwrap_or_default().to_owned(),
            issuer: text("issuer").unwrap_or_default(),
            id: text("id"),
            sequence: fields.get("sequence").and_then(Value::as_u64),
        };
        let nonce = text("nonce").and_then(|nonce| STANDARD.decode(nonce).ok()?.try_into().ok());
        let is_fingerprint =
            |key: &String| key.len() == FINGERPRINT_DIGITS && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(Some(Self { header, key: text("key").filter(is_fingerprint), nonce, lines, is_whole }))
    }

    /// Decrypts the text. Leaves out the lines that are torn or were changed.
    pub(super) fn open(&self, key: &Key) -> Vec<u8> {
        let (Some(cipher), Some(nonce)) = (key.cipher(), self.nonce) else { return Vec::new() };
        let mut text = Vec::new();
        for (index, line) in (0_u32..).zip(&self.lines) {
            let Ok(mut line) = STANDARD.decode(line) else { continue };
            let aad = Aad::from(associated(&self.header, key.fingerprint(), index));
            if let Ok(line) = cipher.open_in_place(nth(nonce, index), aad, &mut line) {
                text.extend_from_slice(line);
            }
        }
        text
    }

    /// Whether everything in the text is sealed. A text that was torn while it was written over another one can contain
    /// a part of the other one.
    pub(super) fn hides_everything(&self) -> bool {
        self.is_whole
    }
}

/// The fields and the encrypted lines of a text that is not whole. If the text was written over another one, a field
/// can occur twice, and the first is the newer one.
fn torn(text: &str) -> (Map<String, Value>, Vec<String>) {
    let mut fields = Map::new();
    let mut lines = Vec::new();
    let mut have_begun = false;
    for line in text.lines() {
        if let Some((key, value)) = format::line(line) {
            fields.entry(key).or_insert(value);
        } else if !have_begun {
            // The array of the encrypted lines opens here.
            have_begun = line.trim_start().strip_prefix('"').is_some_and(|line| line.starts_with(LINES));
        } else {
            let line = line.trim().trim_end_matches(',');
            let line = line.strip_prefix('"').map(|line| line.trim_end_matches('"'));
            lines.extend(line.map(str::to_owned));
        }
    }
    (fields, lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: [u8; KEY_BYTES] = *b"0123456789abcdef0123456789\xffbcdef";

    fn key(byte: u8) -> Key {
        Key::new([byte; KEY_BYTES])
    }

    fn header() -> Header {
        Header {
            name: "j.json".into(),
            issuer: "https://oauth.ring.com".into(),
            id: Some("00112233445566778899aabbccddeeff".into()),
            sequence: Some(7),
        }
    }

    fn sealed(text: &str) -> Vec<u8> {
        seal(text.as_bytes(), &key(1), &header(), fresh_nonce().unwrap()).unwrap()
    }

    fn opened(bytes: &[u8], key: &Key) -> String {
        String::from_utf8(Sealed::read(bytes).unwrap().unwrap().open(key)).unwrap()
    }

    const TEXT: &str = "{\n  \"token\": \"canary\",\n  \"other\": 1\n}\n";

    #[test]
    fn what_was_sealed_opens_with_its_key_alone_and_shows_nothing_without() {
        let bytes = sealed(TEXT);
        assert_eq!(opened(&bytes, &key(1)), TEXT);
        assert_eq!(opened(&bytes, &key(2)), "");
        let shown = String::from_utf8(bytes.clone()).unwrap();
        assert!(shown.starts_with(SIGNATURE) && !shown.contains("canary"), "{shown}");
        let read = Sealed::read(&bytes).unwrap().unwrap();
        assert_eq!((read.header.clone(), read.key.as_deref()), (header(), Some(key(1).fingerprint())));
        assert!(read.hides_everything());
        assert_ne!(bytes, sealed(TEXT), "each write has a nonce of its own");
    }

    #[test]
    fn no_field_of_the_header_can_be_changed() {
        let shown = String::from_utf8(sealed(TEXT)).unwrap();
        for (from, to) in [
            ("j.json", "k.json"),
            ("https://oauth.ring.com", "https://oauth.example.com"),
            ("\"sequence\": 7", "\"sequence\": 8"),
            ("00112233445566778899aabbccddeeff", "10112233445566778899aabbccddeeff"),
        ] {
            let changed = shown.replacen(from, to, 1);
            assert_ne!(changed, shown);
            assert_eq!(opened(changed.as_bytes(), &key(1)), "", "{from}");
        }
    }

    #[test]
    fn lines_cannot_change_places_and_a_changed_one_alone_is_lost() {
        let shown = String::from_utf8(sealed(TEXT)).unwrap();
        let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("    ")).collect();
        let swapped = shown.replacen(lines[1], "#", 1).replacen(lines[2], lines[1], 1).replacen('#', lines[2], 1);
        assert_eq!(opened(swapped.as_bytes(), &key(1)), "{\n}\n");
        let other = if &lines[1][5..9] == "AAAA" { "BBBB" } else { "AAAA" };
        let changed = shown.replacen(lines[1], &format!("{}{other}{}", &lines[1][..5], &lines[1][9..]), 1);
        assert_eq!(opened(changed.as_bytes(), &key(1)), "{\n  \"other\": 1\n}\n");
        assert!(Sealed::read(changed.as_bytes()).unwrap().unwrap().hides_everything());
    }

    #[test]
    fn what_an_editor_laid_out_anew_opens_as_before() {
        let bytes = sealed(TEXT);
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let utf16 = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let marked = format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes();
        for text in [value.to_string().into_bytes(), marked, utf16, [&bytes[..], &[0; 99]].concat()] {
            assert_eq!(opened(&text, &key(1)), TEXT);
        }
    }

    #[test]
    fn the_lines_of_a_torn_text_that_are_whole_can_be_read() {
        let bytes = sealed(TEXT);
        for cut in SIGNATURE.len()..bytes.len() - 4 {
            let read = Sealed::read(&bytes[..cut]).unwrap();
            assert_eq!(read.is_some(), cut > SIGNATURE.len() + "\"j.json\"".len() - 1, "{cut}");
            let Some(read) = read else { continue };
            assert!(!read.hides_everything());
            let text = String::from_utf8(read.open(&key(1))).unwrap();
            let whole = bytes[..cut].split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"    \""));
            let whole = whole
                .filter(|line| line.len() > 5 && line.trim_ascii_end().ends_with(b"\"") || line.ends_with(b"\","))
                .count();
            let expected: String = TEXT.split_inclusive('\n').take(whole).collect();
            // A line can be whole without its closing quotation mark.
            let with_next: String = TEXT.split_inclusive('\n').take(whole + 1).collect();
            assert!(text == expected || text == with_next, "{cut}: {text}");
        }
        // This text was written over another one, and the end of the other one is still there.
        let other = sealed("{\n  \"token\": \"older\",\n  \"other\": 2\n}\n");
        let at = bytes.windows(5).rposition(|window| window == b"\n    ").unwrap() + 20;
        let mixed = [&bytes[..at], &other[at..]].concat();
        assert_eq!(opened(&mixed, &key(1)), "{\n  \"token\": \"canary\",\n  \"other\": 1\n");
    }

    #[test]
    fn a_later_version_is_known_without_the_key() {
        let newer = String::from_utf8(sealed(TEXT)).unwrap().replacen("\"version\": 1", "\"version\": 2", 1);
        assert_eq!(Sealed::read(newer.as_bytes()).unwrap_err(), 2);
        let torn = &newer.as_bytes()[..newer.len() / 2];
        assert_eq!(Sealed::read(torn).unwrap_err(), 2);
    }

    #[test]
    fn a_key_is_32_bytes_in_every_usual_spelling() {
        let expected = Key::new(BYTES);
        let hex = hex_of(&BYTES);
        let base64 = STANDARD.encode(BYTES);
        let unpadded = base64.trim_end_matches('=').to_owned();
        let of_url = unpadded.replace('+', "-").replace('/', "_");
        for text in [
            &hex,
            &hex.to_uppercase(),
            &base64,
            &unpadded,
            &of_url,
            &format!(" {base64}\r\n"),
            &format!("\u{feff}{hex}\n"),
        ] {
            assert_eq!(Key::parse(text), Some(expected.clone()), "{text}");
            assert_eq!(Key::from_content(text.as_bytes()), Some(expected.clone()), "{text}");
        }
        assert_eq!(Key::from_content(&BYTES), Some(expected.clone()));
        assert_eq!(Key::parse(expected.to_text().expose()), Some(expected));
        for text in [
            "",
            "short",
            &hex[..62],
            &format!("+{}", &hex[1..]),
            &format!("{hex}00"),
            &STANDARD.encode([7; 31]),
            &STANDARD.encode([7; 33]),
            "correct horse battery staple",
            &"g".repeat(64),
            &"é".repeat(32),
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
            assert_eq!(Key::from_content(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Key::from_content(&hex.as_bytes()[..32]), None, "half a key is none");
        assert_eq!((Key::from_content(&BYTES[..31]), Key::from_content(&[0xff; 64])), (None, None));
    }

    #[test]
    fn a_key_never_shows() {
        let shown = format!("{:?}", Key::new(BYTES));
        assert_eq!(shown, format!("Key({}, …)", Key::new(BYTES).fingerprint()));
        assert!(!hex_of(&BYTES).contains(Key::new(BYTES).fingerprint()));
    }

    #[test]
    fn a_text_that_is_kept_is_sealed_to_the_same_bytes_each_time() {
        let seal = |text: &[u8]| seal(text, &key(1), &header(), nonce_of(text, &key(1))).unwrap();
        assert_eq!(seal(b"one\xff"), seal(b"one\xff"));
        assert_ne!(nonce_of(b"one", &key(1)), nonce_of(b"two", &key(1)));
        assert_eq!(Sealed::read(&seal(b"one\xff\ntwo")).unwrap().unwrap().open(&key(1)), b"one\xff\ntwo");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Sealed::read(&bytes).map(|read| read.map(|sealed| sealed.open(&key(1)))), Key::from_content(&bytes));
        }

        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let sealed = seal(&bytes, &key(1), &header(), fresh_nonce().unwrap()).unwrap();
            prop_assert_eq!(Sealed::read(&sealed).unwrap().unwrap().open(&key(1)), bytes);
        }

        #[test]
        fn what_opens_of_a_changed_text_was_there_before(at in 0usize..2000, byte in any::<u8>()) {
            let mut bytes = sealed(TEXT);
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(Some(read)) = Sealed::read(&bytes) {
                let text = read.open(&key(1));
                let lines = TEXT.split_inclusive('\n').filter(|line| text.windows(line.len()).any(|w| w == line.as_bytes()));
                prop_assert_eq!(lines.map(str::len).sum::<usize>(), text.len());
            }
        }
    }
}
