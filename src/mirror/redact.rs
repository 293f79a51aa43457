//! Removes the tokens, and the passwords of addresses, from a text that a program's own code wrote. Pure functions.
//!
//! Known tokens are found in each form in which a message may show them. A program can also quote a token that only it knows,
//! so each text that looks like one is removed as well: a long word that no person would have written.

use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD, Engine};
use url::form_urlencoded::byte_serialize;

use crate::Secret;
use crate::token::RefreshToken;

/// The replacement of a token.
const GONE: char = '…';
/// The longest result, in characters.
const LONGEST: usize = 300;
/// A word from this length on may be a token.
const SHORTEST_TOKEN: usize = 16;
/// A known token, or a form of one, that is shorter than this is not removed, because it would be found in ordinary words.
const SHORTEST_FORM: usize = 6;
/// This many numbers in a row that could be bytes are taken for a text that was printed byte by byte.
const BYTES_IN_A_ROW: usize = 8;

/// The text in one line, shortened, without the known tokens, without what looks like one, and without the passwords of addresses.
pub(crate) fn without_tokens<'a>(text: &str, known: impl IntoIterator<Item = &'a Secret>) -> String {
    let mut hidden = vec![false; text.len()];
    for form in known.into_iter().flat_map(forms) {
        for (start, _) in text.match_indices(&form) {
            hide(&mut hidden, start, start + form.len());
        }
    }
    for (start, word) in words(text, is_of_a_token) {
        let shown = start..start + word.len();
        // A part of the word is a known token, so the rest is removed as well.
        if hidden[shown.clone()].contains(&true) || word.split('.').any(looks_like_a_token) {
            hide(&mut hidden, shown.start, shown.end);
        }
    }
    hide_bytes(text, &mut hidden);
    hide_passwords(text, &mut hidden);
    let mut kept = String::new();
    for (at, char) in text.char_indices() {
        match char {
            _ if hidden[at] && kept.ends_with(GONE) => {}
            _ if hidden[at] => kept.push(GONE),
            _ if char.is_control() || char.is_whitespace() => kept.push(' '),
            _ => kept.push(char),
        }
    }
    let kept = kept.trim();
    match kept.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}{GONE}", &kept[..end]),
        None => kept.to_owned(),
    }
}

fn hide(hidden: &mut [bool], start: usize, end: usize) {
    hidden[start..end].fill(true);
}

/// The forms of a token: as it is, wrapped and unwrapped, and as it looks in JSON, in a URL, in base64 at each offset and in
/// hexadecimal.
fn forms(token: &Secret) -> Vec<String> {
    let text = token.expose();
    let raw = RefreshToken::parse(text).or_else(|_| RefreshToken::parse_kept(text)).map(|token| token.raw()).ok();
    let mut forms = Vec::new();
    for text in [Some(token.expose()), raw.as_deref()].into_iter().flatten() {
        forms.push(text.to_owned());
        forms.push(hexadecimal(text));
        forms.push(byte_serialize(text.as_bytes()).collect());
        forms.push(serde_json::Value::from(text).to_string().trim_matches('"').to_owned());
        for offset in 0..3 {
            let shifted = [&[0; 2][..offset.min(2)], text.as_bytes()].concat();
            // Without the characters that depend on the bytes before and after.
            let own = (offset * 4).div_ceil(3);
            for encoded in [BASE64_STANDARD_NO_PAD.encode(&shifted), BASE64_URL_SAFE_NO_PAD.encode(&shifted)] {
                forms.extend(encoded.get(own..encoded.len().saturating_sub(1)).map(str::to_owned));
            }
        }
    }
    forms.retain(|form| form.len() >= SHORTEST_FORM);
    forms
}

fn hexadecimal(text: &str) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The longest runs of such characters, each with its place.
fn words(text: &str, belongs: fn(char) -> bool) -> impl Iterator<Item = (usize, &str)> {
    text.split(move |char| !belongs(char))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word))
}

/// Whether a character can be in a token, in a form of one, or between the parts of one.
fn is_of_a_token(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_-+=%~\\.".contains(char)
}

/// Whether a word of this length was hardly written by a person.
fn looks_like_a_token(word: &str) -> bool {
    word.len() >= SHORTEST_TOKEN && !word.split(|char: char| !char.is_ascii_alphanumeric()).all(is_plain)
}

/// Whether a word is one that people and programs write: `token`, `ECONNREFUSED`, `readFileSync`, `ipv6`, `5432`.
fn is_plain(word: &str) -> bool {
    let letters = word.trim_end_matches(|char: char| char.is_ascii_digit());
    let digits = word.len() - letters.len();
    if letters.contains(|char: char| char.is_ascii_digit()) {
        return word.len() <= 3;
    }
    if letters.is_empty() {
        return digits < SHORTEST_TOKEN;
    }
    let capitals = letters.bytes().filter(u8::is_ascii_uppercase).count();
    let is_camel_case = capitals * 4 <= letters.len() + 3;
    digits <= 3 && letters.len() <= 40 && (is_camel_case || capitals == letters.len())
}

/// Hides a text that is printed byte by byte, in decimal or hexadecimal.
fn hide_bytes(text: &str, hidden: &mut [bool]) {
    let mut row: Vec<(usize, usize)> = Vec::new();
    let mut end_row = |row: &mut Vec<(usize, usize)>| {
        if let (true, Some(first), Some(last)) = (row.len() >= BYTES_IN_A_ROW, row.first(), row.last()) {
            hide(hidden, first.0, last.1);
        }
        row.clear();
    };
    for (start, word) in words(text, |char| char.is_ascii_alphanumeric()) {
        if is_byte(word) {
            row.push((start, start + word.len()));
        } else {
            end_row(&mut row);
        }
    }
    end_row(&mut row);
}

/// Hides the password in `postgres://user:password@host/database`, also if it has characters that should have been escaped.
fn hide_passwords(text: &str, hidden: &mut [bool]) {
    for (at, scheme_end) in text.match_indices("://") {
        let start = at + scheme_end.len();
        let rest = &text[start..];
        let address =
            &rest[..rest.find(|char: char| char.is_whitespace() || "\"'`<>".contains(char)).unwrap_or(rest.len())];
        let (Some(colon), Some(end)) = (address.find(':'), address.rfind('@')) else { continue };
        if colon >= end {
            continue;
        }
        // `https://host:8080/@scope`
        let port = address[colon + 1..end].split_once('/').map(|(port, _)| port);
        if port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) || address[..colon].contains('/') {
            continue;
        }
        hide(hidden, start + colon + 1, start + end);
    }
}

fn is_byte(word: &str) -> bool {
    let hexadecimal = word.strip_prefix("0x").unwrap_or(word);
    word.parse::<u8>().is_ok() || (hexadecimal.len() == 2 && u8::from_str_radix(hexadecimal, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: &str =
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJcanary-7f3a-mintedc70c060d8f6f88f0d739.NzCPlB3jWGJtq8iGp65o";

    fn shown(text: &str) -> String {
        without_tokens(text, [])
    }

    #[test]
    fn the_cause_of_a_failure_stays_readable() {
        for text in [
            "connect ECONNREFUSED 127.0.0.1:5432",
            "ENOENT: no such file or directory, open '/var/lib/homebridge/ring-token.json'",
            "relation \"ring_refresh_tokens\" does not exist",
            "PrismaClientInitializationError: Can't reach database server at db-prod-3.internal.example.com",
            "getaddrinfo EAI_AGAIN mydb.c9akciq32rgx.us-east-1.rds.amazonaws.com",
            "UnhandledPromiseRejectionWarning in getRefreshTokenFromDatabase (utf8, sha256)",
            "2026-11-25T21:08:48.123Z write EPIPE",
            "load gave a number, not a string or null",
            "401, 403 and 500 in 3 tries",
        ] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("two\nlines\tand \u{7} a bell"), "two lines and   a bell");
        assert_eq!(shown(&"word ".repeat(1000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn the_password_of_an_address_is_removed() {
        for (text, expected) in [
            ("cannot use postgres://me:hunter2@db:5432/ring now", "cannot use postgres://me:…@db:5432/ring now"),
            ("'redis://:a/b@c@host' is no address", "'redis://:…@host' is no address"),
            ("https://host:8080/@scope/name", "https://host:8080/@scope/name"),
            ("https://host/a:b/@scope", "https://host/a:b/@scope"),
            ("postgres://me@db/ring: refused, ask a@b.example", "postgres://me@db/ring: refused, ask a@b.example"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    /// In each form in which `secrets.test.mjs` looks for a secret.
    fn every_form(secret: &str) -> Vec<String> {
        let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        let hexadecimal: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let wrapped = format!("{{\"rt\":\"{secret}\",\"hid\":\"x\"}}");
        let mut forms = vec![
            secret.to_owned(),
            format!("Bearer {secret}"),
            format!("https://db.example.com/tokens/{secret}?x=1"),
            format!("{{\"rt\":\"{secret}\"}}"),
            format!("\\\"{secret}\\\""),
            byte_serialize(wrapped.as_bytes()).collect(),
            hexadecimal.iter().map(|byte| ["\\u00", byte].concat()).collect(),
            bytes.join(", "),
            format!("<Buffer {}>", hexadecimal.join(" ")),
            hexadecimal.concat(),
        ];
        for offset in 0..3 {
            let shifted = format!("{}{wrapped}", "x".repeat(offset));
            forms.extend([BASE64_STANDARD_NO_PAD.encode(&shifted), BASE64_URL_SAFE_NO_PAD.encode(&shifted)]);
        }
        forms
    }

    #[test]
    fn an_unknown_token_is_removed_in_every_form() {
        for form in every_form(UNKNOWN) {
            let text = shown(&format!("cannot use {form} now"));
            assert!(text.starts_with("cannot use") && text.ends_with("now"), "{text}");
            for part in ["canary", "7f3a", "eyJ", "NzCPlB", "99, 97, 110", "63 61 6e", "63616e"] {
                assert!(!text.contains(part), "{part} in {text}, which was {form}");
            }
            assert!(text.len() < 60, "{text}");
        }
    }

    #[test]
    fn a_known_token_is_taken_out_however_it_looks() {
        let known = RefreshToken::from_raw("sesame-open").wrapped();
        let raw = Secret::from("sesame-open");
        for token in [&known, &raw] {
            for form in every_form("sesame-open").iter().chain([&known.expose().to_owned()]) {
                let text = without_tokens(&format!("cannot use {form} now"), [token]);
                for part in ["sesame", "c2VzYW1l", "73657361", "115, 101"] {
                    assert!(!text.contains(part), "{part} in {text}");
                }
            }
        }
        // A text that is in every word is not a secret.
        assert_eq!(without_tokens("a b c", [&Secret::from("b")]), "a b c");
    }
}
