//! What a text or a file looks like, by its content, for the message that tells a person which file was probably meant.
//!
//! This module decides nothing. `journal/ours.rs` decides whether a file belongs to this package, and `mirror/wanted.rs` which
//! files a mirror accepts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde_core::de::IgnoredAny;

/// The kind of a content. `Display` is a noun with its article, for a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing but zero bytes.
    Zeros,
    /// Nothing but white space.
    Blank,
    /// A JSON object with `bridge`, `platforms` or `accessories`.
    HomebridgeConfig,
    /// Assignments, one in a line.
    Dotenv,
    /// A JSON object in which another tool keeps a Ring token.
    OtherToolsState,
    /// A JSON object with any other keys.
    JsonObject,
    /// Any other JSON value.
    Json,
    /// A text that begins like a JSON object, and is not valid JSON.
    BrokenJson,
    /// A text in UTF-16.
    Utf16,
    /// A text in UTF-8.
    Text,
    /// A text in another encoding, such as Latin-1.
    OtherText,
    /// A key or a certificate in PEM.
    Pem,
    /// A picture.
    Picture,
    /// An archive.
    Archive,
    /// A database of `SQLite`.
    Database,
    /// A PDF document.
    Document,
    /// A program.
    Program,
    /// Bytes that are neither text nor a known format.
    Binary,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zeros => "a file of nothing but zero bytes, as a power cut can leave one",
            Self::Blank => "a text of nothing but white space",
            Self::HomebridgeConfig => "Homebridge's config.json",
            Self::Dotenv => "a .env file",
            Self::OtherToolsState => "the file in which another tool keeps its Ring token",
            Self::JsonObject | Self::Json => "a JSON file",
            Self::BrokenJson => "a JSON file with an error in it",
            Self::Utf16 => "a text in UTF-16",
            Self::Text => "a text",
            Self::OtherText => "a text that is not UTF-8",
            Self::Pem => "a key or a certificate",
            Self::Picture => "a picture",
            Self::Archive => "an archive",
            Self::Database => "a database",
            Self::Document => "a PDF document",
            Self::Program => "a program",
            Self::Binary => "a binary file",
        })
    }
}

impl Look {
    /// The kind of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        if let Some(known) = by_its_magic(bytes) {
            return known;
        }
        match decoded(bytes) {
            Some(Decoded { text, is_utf16 }) => match of_text(&text) {
                Self::Text if is_utf16 => Self::Utf16,
                look => look,
            },
            None if bytes.iter().all(|byte| *byte == 0) => Self::Zeros,
            None if bytes.iter().any(|byte| is_control(*byte)) => Self::Binary,
            None => Self::OtherText,
        }
    }

    /// Whether the content is neither text nor a known format, which a disk can leave of any file.
    pub fn is_undecodable(self) -> bool {
        matches!(self, Self::Zeros | Self::Binary)
    }
}

/// A text and its encoding.
struct Decoded<'a> {
    text: Cow<'a, str>,
    is_utf16: bool,
}

/// The text in these bytes without its byte order mark; `None` if they are not text.
fn decoded(bytes: &[u8]) -> Option<Decoded<'_>> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    let utf16 = match bytes {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        _ => None,
    };
    if let Some(text) = utf16 {
        return Some(Decoded { text: text.into(), is_utf16: true });
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let is_text = !text.bytes().any(is_control);
    is_text.then(|| Decoded { text: text.strip_prefix(BOM).unwrap_or(text).into(), is_utf16: false })
}

/// The text in these bytes without its byte order mark, in UTF-8 or UTF-16; `None` if they are not text.
pub fn text_in(bytes: &[u8]) -> Option<Cow<'_, str>> {
    decoded(bytes).map(|decoded| decoded.text)
}

const BOM: char = '\u{feff}';

/// A character that no text has: not white space, and not the escape character, which logs have.
fn is_control(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0x1b | 0x08)
}

/// The keys of a JSON object at its top level; `None` if the text is not one.
pub fn keys_of(text: &str) -> Option<Vec<String>> {
    #[allow(clippy::zero_sized_map_values, reason = "serde reads an object as a map, and the values are not wanted")]
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_str(text).ok()?;
    Some(members.into_keys().collect())
}

/// Whether these bytes are a whole JSON object.
pub fn is_json_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start().starts_with(b"{")
        && text_in(bytes).is_some_and(|text| keys_of(&text).is_some())
}

fn of_text(text: &str) -> Look {
    if text.trim().is_empty() {
        return Look::Blank;
    }
    let text = text.trim_start();
    if text.starts_with('{') {
        return of_object(text);
    }
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Look::Json;
    }
    if text.starts_with("-----BEGIN ") {
        return Look::Pem;
    }
    if is_dotenv(text) { Look::Dotenv } else { Look::Text }
}

/// The keys by which Homebridge's configuration is recognised.
pub const HOMEBRIDGE_KEYS: [&str; 3] = ["bridge", "platforms", "accessories"];
/// The keys under which other tools keep a refresh token of Ring.
const TOKEN_KEYS: [&str; 5] = ["ring_token", "refresh_token", "refreshToken", "rt", "ringToken"];

fn of_object(text: &str) -> Look {
    let Some(keys) = keys_of(text) else {
        let is_config = HOMEBRIDGE_KEYS.iter().any(|key| text.contains(&format!("\"{key}\"")));
        return if is_config { Look::HomebridgeConfig } else { Look::BrokenJson };
    };
    let has = |wanted: &[&str]| keys.iter().any(|key| wanted.contains(&key.as_str()));
    if has(&HOMEBRIDGE_KEYS) {
        Look::HomebridgeConfig
    } else if has(&TOKEN_KEYS) {
        Look::OtherToolsState
    } else {
        Look::JsonObject
    }
}

/// Whether most of the lines that are neither empty nor a comment assign a value to a name.
fn is_dotenv(text: &str) -> bool {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_assignment = |line: &&str| {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, _)) = line.split_once('=') else { return false };
        let name = name.trim_end();
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
    };
    2 * lines().filter(is_assignment).count() > lines().count()
}

fn by_its_magic(bytes: &[u8]) -> Option<Look> {
    const MAGIC: [(&[u8], Look); 15] = [
        (b"\x89PNG\r\n\x1a\n", Look::Picture),
        (b"\xff\xd8\xff", Look::Picture),
        (b"GIF87a", Look::Picture),
        (b"GIF89a", Look::Picture),
        (b"BM", Look::Picture),
        (b"II*\0", Look::Picture),
        (b"MM\0*", Look::Picture),
        (b"PK\x03\x04", Look::Archive),
        (b"\x1f\x8b", Look::Archive),
        (b"\xfd7zXZ\0", Look::Archive),
        (b"7z\xbc\xaf\x27\x1c", Look::Archive),
        (b"\x28\xb5\x2f\xfd", Look::Archive),
        (b"SQLite format 3\0", Look::Database),
        (b"%PDF-", Look::Document),
        (b"\x7fELF", Look::Program),
    ];
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") || bytes.get(4..12) == Some(b"ftypavif") {
        return Some(Look::Picture);
    }
    let known = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, look)| *look);
    // A text may begin with two letters.
    known.filter(|_| !bytes.starts_with(b"BM") || bytes.iter().any(|byte| is_control(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_named_by_what_is_in_it() {
        let utf16 = |text: &str| -> Vec<u8> {
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
        };
        let cases: [(&[u8], Look); 30] = [
            (b"{\"bridge\": {}}", Look::HomebridgeConfig),
            (b"\xef\xbb\xbf{\"platforms\": []}", Look::HomebridgeConfig),
            (b"{\n  // mine\n  \"platforms\": [],\n}", Look::HomebridgeConfig),
            (&utf16("{\"accessories\": []}"), Look::HomebridgeConfig),
            (b"RING_REFRESH_TOKEN=x\n", Look::Dotenv),
            (b"# mine\nexport A='1'\n\nB = 2", Look::Dotenv),
            (&utf16("A=1\r\n"), Look::Dotenv),
            (b"{\"ring_token\": \"x\"}", Look::OtherToolsState),
            (b"{\"refreshToken\": \"x\"}", Look::OtherToolsState),
            (b"{\"name\": \"ring_token\"}", Look::JsonObject),
            (b"{}", Look::JsonObject),
            (b"[1, 2]", Look::Json),
            (b"\"x\"", Look::Json),
            (b"{", Look::BrokenJson),
            (b"{\"a\": 1,}", Look::BrokenJson),
            (b"Buy milk.\nFeed the cat.", Look::Text),
            (b"BMW", Look::Text),
            (&utf16("Buy milk."), Look::Utf16),
            (b"caf\xe9", Look::OtherText),
            (b" \r\n", Look::Blank),
            (b"", Look::Blank),
            (b"\xef\xbb\xbf", Look::Blank),
            (b"\0\0\0", Look::Zeros),
            (b"a\0b", Look::Binary),
            (b"\x80\x01\x02", Look::Binary),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Look::Picture),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Look::Picture),
            (b"\x1f\x8b\x08\0", Look::Archive),
            (b"SQLite format 3\0\x10\0", Look::Database),
            (b"-----BEGIN CERTIFICATE-----\n", Look::Pem),
        ];
        for (bytes, look) in cases {
            assert_eq!(Look::of(bytes), look, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn deep_and_odd_json_ends_nothing() {
        let deep = format!("{{\"platforms\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Look::of(deep.as_bytes()), Look::HomebridgeConfig);
        assert_eq!(Look::of("[".repeat(100_000).as_bytes()), Look::Text);
    }
}
