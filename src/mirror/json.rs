//! The positions of the parts of a JSON text, as `JSON.parse` reads it.
//!
//! `serde_json` finds them: it is as strict as `JSON.parse` (no comments, no trailing commas, no other white space), skips
//! uninteresting parts without recursion, and accepts the lone surrogates and huge numbers that `JSON.parse` accepts. This
//! module asks for the raw text of each member, so that nothing has to be formatted again.

use std::fmt;
use std::ops::Range;

use serde_core::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::FormatError;

/// A whole text, checked. This type and the ones below have no `Debug`, because they may hold a token.
#[derive(Clone, Copy)]
pub struct Json<'a> {
    text: &'a str,
}

/// A value in a text: an object, an array, or anything else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Node<'a> {
    raw: &'a str,
    start: usize,
}

/// A member of an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its key, in its quotes.
    pub key: Node<'a>,
    /// Its value.
    pub value: Node<'a>,
}

impl<'a> Json<'a> {
    /// Parses a text that is JSON to its end.
    pub fn parse(text: &'a str) -> Result<(Self, Node<'a>), FormatError> {
        let json = Self { text };
        let root: &RawValue = serde_json::from_str(text)
            .map_err(|error| FormatError::NotValid { line: error.line(), column: error.column() })?;
        Ok((json, json.node(root)))
    }

    /// The members of an object in their order, duplicate keys included; `None` if it is not an object.
    pub fn members(self, node: Node<'a>) -> Option<Vec<Member<'a>>> {
        let members: Members<'a> = serde_json::from_str(node.raw).ok()?;
        Some(
            members.0.into_iter().map(|(key, value)| Member { key: self.node(key), value: self.node(value) }).collect(),
        )
    }

    /// The elements of an array; `None` if it is not an array.
    pub fn elements(self, node: Node<'a>) -> Option<Vec<Node<'a>>> {
        let elements: Vec<&'a RawValue> = serde_json::from_str(node.raw).ok()?;
        Some(elements.into_iter().map(|element| self.node(element)).collect())
    }

    /// The text between two positions.
    pub fn between(self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn node(self, raw: &'a RawValue) -> Node<'a> {
        // The value borrows from the text, so its address shows its position.
        let raw = raw.get();
        Node { raw, start: raw.as_ptr().addr().saturating_sub(self.text.as_ptr().addr()) }
    }
}

impl<'a> Node<'a> {
    /// The text of the value.
    pub fn raw(self) -> &'a str {
        self.raw
    }

    /// The position of its first byte.
    pub fn start(self) -> usize {
        self.start
    }

    /// The position after its last byte.
    pub fn end(self) -> usize {
        self.start + self.raw.len()
    }

    /// The range of its bytes.
    pub fn range(self) -> Range<usize> {
        self.start..self.end()
    }

    /// Whether the value is null.
    pub fn is_null(self) -> bool {
        self.raw == "null"
    }

    /// Whether the value is falsy in JavaScript: null, false, zero or an empty string.
    pub fn is_falsy(self) -> bool {
        match self.raw.as_bytes().first() {
            Some(b'n' | b'f') => true,
            Some(b'"') => self.raw == "\"\"",
            Some(b'-' | b'0'..=b'9') => self.raw.parse::<f64>().is_ok_and(|number| number == 0.0),
            _ => false,
        }
    }

    /// The content of a string, as bytes, because a lone surrogate is not a character; `None` if it is not a string.
    pub fn string(self) -> Option<Vec<u8>> {
        serde_json::from_str::<Bytes>(self.raw).ok().map(|bytes| bytes.0)
    }

    /// Whether the value is a string with this content.
    pub fn says(self, text: &str) -> bool {
        self.string().is_some_and(|bytes| bytes == text.as_bytes())
    }
}

/// The last member with this key, which is the one that counts.
pub fn last<'m, 'a>(members: &'m [Member<'a>], key: &str) -> Option<&'m Member<'a>> {
    members.iter().rev().find(|member| member.key.says(key))
}

/// A text as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }
}
