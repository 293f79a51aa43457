//! The assignments in a `.env` text, as the npm package `dotenv` finds them.
//!
//! Most people use that reader. Its rule is one regular expression, tried from the start of each line (versions 16, 17 and 18
//! have the same): `export` or not, a key, `=` or `: `, then a value in quotes that may span several lines, or else the text up
//! to `#` or the end of the line. A quote counts as one only if nothing but a comment follows the closing one. This module also
//! does what the expression does by accident, because programs get that value.

use std::borrow::Cow;
use std::ops::Range;

/// An assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Its key.
    pub key: Range<usize>,
    /// The index behind the sign that ends the key: the earliest start of the value.
    pub start: usize,
    /// Its value with the quotes, without white space around it; empty if there is none.
    pub value: Range<usize>,
}

/// All assignments of a text, in their order.
pub fn assignments(text: &[u8]) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut line = Some(0);
    while let Some(start) = line {
        let start = skip_space(text, start);
        let end = match assignment(text, start) {
            Some((assignment, end)) => {
                found.push(assignment);
                end
            }
            None => start,
        };
        line = next_line(text, end);
    }
    found
}

/// The value that a program gets.
pub fn meaning(value: &[u8]) -> String {
    let text = lines_alike(&String::from_utf8_lossy(value)).into_owned();
    let bare = match text.chars().next() {
        Some(quote) if is_quote(quote) && text.len() > 1 && text.ends_with(quote) => &text[1..text.len() - 1],
        _ => text.as_str(),
    };
    if text.starts_with('"') { bare.replace("\\n", "\n").replace("\\r", "\r") } else { bare.to_owned() }
}

/// The quotation mark that is removed from both ends of a value.
pub fn quote(value: &[u8]) -> Option<u8> {
    let quote = *value.first()?;
    (is_quote(quote.into()) && value.len() > 1 && value.last() == Some(&quote)).then_some(quote)
}

/// The ends of lines: `\n`, `\r`, and two of Unicode.
pub fn has_line_end(text: &[u8]) -> bool {
    (0..text.len()).any(|at| line_end(text, at) > 0)
}

fn assignment(text: &[u8], start: usize) -> Option<(Assignment, usize)> {
    let exported = text.get(start..).is_some_and(|rest| rest.starts_with(b"export"));
    let behind = if exported { skip_space(text, start + EXPORT) } else { start };
    let named = if behind > start + EXPORT { key_and_value(text, behind) } else { None };
    named.or_else(|| key_and_value(text, start))
}

const EXPORT: usize = "export".len();

fn key_and_value(text: &[u8], start: usize) -> Option<(Assignment, usize)> {
    let length = text.get(start..)?.iter().take_while(|byte| is_key(**byte)).count();
    let key = start..start + length;
    if key.is_empty() {
        return None;
    }
    let sign = skip_space(text, key.end);
    let start = if text.get(sign) == Some(&b'=') {
        sign + 1
    } else if text.get(key.end) == Some(&b':') {
        // One white space belongs to the sign, and an end of a line is one, whichever it is.
        let length = if text.get(key.end + 1..)?.starts_with(b"\r\n") { 2 } else { space(text, key.end + 1) };
        key.end + 1 + Some(length).filter(|length| *length > 0)?
    } else {
        return None;
    };
    let value = quoted(text, start).unwrap_or_else(|| {
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| !matches!(byte, b'#' | b'\r' | b'\n')).count();
        start..start + length
    });
    let end = value.end;
    Some((Assignment { key, start, value: trimmed(text, value) }, end))
}

/// A value in quotes. Of the quotes that could close it the first one without a backslash is tried, then, backwards,
/// those with one: so does a regular expression that turns back.
fn quoted(text: &[u8], start: usize) -> Option<Range<usize>> {
    let open = skip_space(text, start);
    let quote = *text.get(open).filter(|byte| is_quote((**byte).into()))?;
    let mut escaped = Vec::new();
    let mut at = open + 1;
    let bare = loop {
        match text.get(at) {
            None => break None,
            Some(byte) if *byte == quote => break Some(at),
            Some(b'\\') if text.get(at + 1) == Some(&quote) => {
                escaped.push(at + 1);
                at += 2;
            }
            Some(_) => at += 1,
        }
    };
    bare.into_iter().chain(escaped.into_iter().rev()).find(|close| is_end(text, close + 1)).map(|close| open..close + 1)
}

/// Whether a value may end here: nothing but white space follows in this line, or white space and a comment.
fn is_end(text: &[u8], start: usize) -> bool {
    let mut at = start;
    loop {
        let length = space(text, at);
        if line_end(text, at) > 0 {
            return true;
        }
        if length == 0 {
            return at >= text.len() || text.get(at) == Some(&b'#');
        }
        at += length;
    }
}

fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let start = skip_space(text, range.start).min(range.end);
    let mut end = start;
    let mut at = start;
    while at < range.end {
        match space(text, at) {
            0 => {
                at += 1;
                end = at;
            }
            length => at += length,
        }
    }
    start..end
}

fn lines_alike(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

fn next_line(text: &[u8], start: usize) -> Option<usize> {
    (start..text.len()).find_map(|at| match line_end(text, at) {
        0 => None,
        length => Some(at + length),
    })
}

fn skip_space(text: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        match space(text, at) {
            0 => return at,
            length => at += length,
        }
    }
}

/// The length of the white space at this place, in JavaScript's sense; the byte order mark is one.
fn space(text: &[u8], at: usize) -> usize {
    match text.get(at..).unwrap_or_default() {
        [b' ' | 9..=13, ..] => 1,
        [0xc2, 0xa0, ..] => 2,
        [0xe1, 0x9a, 0x80, ..]
        | [0xe2, 0x80, 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf, ..]
        | [0xe2, 0x81, 0x9f, ..]
        | [0xe3, 0x80, 0x80, ..]
        | [0xef, 0xbb, 0xbf, ..] => 3,
        _ => 0,
    }
}

fn line_end(text: &[u8], at: usize) -> usize {
    match text.get(at..).unwrap_or_default() {
        [b'\n' | b'\r', ..] => 1,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

fn is_quote(character: char) -> bool {
    matches!(character, '\'' | '"' | '`')
}
