//! `.env` files: the token is the value of a key.

use super::assignments::{Assignment, assignments, has_line_end, meaning, quote};
use super::{Format, FormatError, Introduced, Places};
use crate::looks::is_json_object;
use crate::{Error, Result, Secret};

/// A key in a `.env` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dotenv {
    key: String,
}

impl Dotenv {
    /// The name of this kind of mirror in a journal.
    pub const KIND: &'static str = "dotenv";
    /// The key if none is named.
    pub const KEY: &'static str = "RING_REFRESH_TOKEN";

    /// A mirror of that key.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if it cannot be the name of a variable.
    pub fn new(key: impl Into<String>) -> Result<Self> {
        let key = key.into();
        let named = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if named {
            Ok(Self { key })
        } else {
            // A long text may be a cryptographic key or a token, so it is not shown.
            let shown = if key.len() <= 24 { format!(" {key:?}") } else { String::new() };
            Err(Error::invalid(format!(
                "The key{shown} cannot be the name of a variable. Use letters, digits, and _, as in {}.",
                Self::KEY
            )))
        }
    }
}

impl Default for Dotenv {
    fn default() -> Self {
        Self { key: Self::KEY.to_owned() }
    }
}

impl Format for Dotenv {
    /// The last assignment counts, as in `dotenv` and in shells.
    fn read(&self, bytes: &[u8]) -> Result<Option<Secret>, FormatError> {
        let Some(last) = self.all(bytes)?.pop() else { return Ok(None) };
        Ok(Some(Secret::new(meaning(&bytes[last.value]))).filter(|token| !token.is_empty()))
    }

    /// Changes only the last assignment. No reader of this file uses the others, which stay until a logout.
    fn write(&self, bytes: &[u8], token: &Secret) -> Result<Vec<u8>, FormatError> {
        let last = self.all(bytes)?.pop();
        if self.read(bytes)?.as_ref() == Some(token) {
            return Ok(bytes.to_vec());
        }
        let style = last.as_ref().and_then(|last| quote(&bytes[last.value.clone()]));
        let mut quotes = vec![style, None, Some(b'\''), Some(b'"'), Some(b'`')];
        quotes.retain(|quote| fits(token.expose(), *quote));
        quotes
            .into_iter()
            .find_map(|quote| {
                let value = in_quotes(token.expose(), quote);
                let after = match &last {
                    Some(last) => replaced(bytes, last, &value),
                    None => self.appended(bytes, &value),
                };
                self.is_same_but(bytes, &after, Some(token)).then_some(after)
            })
            .ok_or_else(|| self.odd("cannot be changed without changing what is around it"))
    }

    fn introduce(&self, bytes: Option<&[u8]>, token: &Secret) -> Result<(Vec<u8>, Introduced), FormatError> {
        let bytes = bytes.unwrap_or_default();
        let added = self.all(bytes)?.is_empty();
        Ok((self.write(bytes, token)?, Introduced { added, removed: Vec::new() }))
    }

    /// Leaves the key with an empty value, in its quotes: Compose and other programs report a variable that is missing, and the
    /// next login finds the place. All assignments are emptied, so that a logout leaves no token.
    fn clear(&self, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mut after = bytes.to_vec();
        for one in self.all(bytes)?.into_iter().rev() {
            let inner = if quote(&bytes[one.value.clone()]).is_some() {
                one.value.start + 1..one.value.end - 1
            } else {
                one.value
            };
            after.splice(inner, []);
        }
        if self.is_same_but(bytes, &after, None) {
            Ok(after)
        } else {
            Err(self.odd("cannot be changed without changing what is around it"))
        }
    }

    fn places(&self, bytes: &[u8]) -> Places {
        let place = |key: &str| vec![Self::KIND.to_owned(), key.to_owned()];
        let others = assignments(bytes).into_iter().filter_map(|one| {
            let key = std::str::from_utf8(&bytes[one.key]).ok().filter(|key| *key != self.key)?;
            Some((place(key), Some(Secret::new(meaning(&bytes[one.value]))).filter(|text| !text.is_empty())))
        });
        Places { own: Some(place(&self.key)), others: others.collect() }
    }
}

impl Dotenv {
    /// The assignments of the key. If a value is not in the line of its key, that is an accident (a quote that is not closed, a
    /// sign with nothing behind it), and to change it would remove other lines.
    fn all(&self, bytes: &[u8]) -> Result<Vec<Assignment>, FormatError> {
        if bytes.contains(&0) {
            return Err(FormatError::Odd(
                "It has zero bytes in it, as text in UTF-16 has, and no program can read such a .env file. Save it as UTF-8."
                    .into(),
            ));
        }
        if is_json_object(bytes) {
            return Err(FormatError::Odd("It is JSON, not a .env file. Check the path.".into()));
        }
        let mut all = assignments(bytes);
        all.retain(|one| bytes[one.key.clone()] == *self.key.as_bytes());
        if all.iter().any(|one| !one.value.is_empty() && has_line_end(&bytes[one.key.end..one.value.end])) {
            return Err(self.odd("goes over several lines. Look for a quote that is not closed"));
        }
        Ok(all)
    }

    fn odd(&self, what: &str) -> FormatError {
        FormatError::Odd(format!("The value of {} {what}. Write {}= in a line of its own.", self.key, self.key))
    }

    fn appended(&self, bytes: &[u8], value: &str) -> Vec<u8> {
        let newline = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) if bytes[..at].ends_with(b"\r") => "\r\n",
            _ => "\n",
        };
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let is_line_open = !text.is_empty() && !text.ends_with(b"\n") && !text.ends_with(b"\r");
        let before = if is_line_open { newline } else { "" };
        // The line ends with a line break: the `read` of a shell skips a last line without one.
        [bytes, before.as_bytes(), self.key.as_bytes(), b"=", value.as_bytes(), newline.as_bytes()].concat()
    }

    /// Checks the result with a reader: it shows the token, and every other assignment is as before.
    fn is_same_but(&self, before: &[u8], after: &[u8], token: Option<&Secret>) -> bool {
        let others = |bytes: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
            assignments(bytes)
                .into_iter()
                .map(|one| (bytes[one.key].to_vec(), bytes[one.value].to_vec()))
                .filter(|(key, _)| *key != self.key.as_bytes())
                .collect()
        };
        others(before) == others(after) && self.read(after).is_ok_and(|shown| shown.as_ref() == token)
    }
}

fn replaced(bytes: &[u8], one: &Assignment, value: &str) -> Vec<u8> {
    let range = if one.value.is_empty() { one.start..one.start } else { one.value.clone() };
    let behind = &bytes[range.end..];
    // Shells read `#` as a comment only behind a space.
    let space = if range.is_empty() && behind.starts_with(b"#") { " " } else { "" };
    [&bytes[..range.start], value.as_bytes(), space.as_bytes(), behind].concat()
}

/// Whether every reader reads these characters literally in these quotes: `dotenv`, similar packages that expand `$`, and
/// shells.
fn fits(token: &str, quote: Option<u8>) -> bool {
    token.bytes().all(|byte| match quote {
        None => byte.is_ascii_alphanumeric() || b"+/=-_.~:@%,".contains(&byte),
        Some(b'"') => !matches!(byte, b'"' | b'\\' | b'$' | b'`' | b'!') && !byte.is_ascii_control(),
        Some(quote) => byte != quote && byte != b'\\' && !byte.is_ascii_control(),
    })
}

fn in_quotes(token: &str, quote: Option<u8>) -> String {
    let quote = quote.map(|quote| char::from(quote).to_string()).unwrap_or_default();
    format!("{quote}{token}{quote}")
}
