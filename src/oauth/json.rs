//! A tolerant reader of the one JSON object that matters in an answer.
//!
//! `serde_json` rejects a whole text if a member that is not needed contains half a surrogate pair or is nested 200 levels deep. An
//! answer can contain the only copy of a token, so this reader first finds the members without parsing them, and then parses only
//! those that are needed, strictly.

use std::borrow::Cow;

use serde_json::Value;

/// The byte order mark of UTF-8, which some gateways add at the beginning.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The most bytes that a search for objects reads, as a multiple of the text's length. It bounds the cost of a hostile text.
const PASSES: usize = 16;

/// The minimum cost of reading one object, in bytes.
const LEAST: usize = 8;

/// A JSON object whose values are not parsed yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a [u8])>,
    /// Whether the object has its closing brace. Without it, `members` has only the complete members.
    is_whole: bool,
    /// The text that follows the object.
    rest: &'a [u8],
}

impl<'a> Object<'a> {
    /// Reads a text that is one complete object. White space may surround it, and byte order marks may precede it.
    pub(super) fn whole(text: &'a [u8]) -> Option<Self> {
        Self::leading(text).filter(|object| object.is_whole && object.rest.trim_ascii().is_empty())
    }

    /// Reads the object at the start of a text, after white space and byte order marks. The object may be cut off.
    pub(super) fn leading(text: &'a [u8]) -> Option<Self> {
        let text = without_mark(text);
        Self::read(&mut Reader { left: text, looked_at: 0 })
    }

    /// All objects anywhere in a text. An outer object comes before those within it.
    pub(super) fn all(text: &'a [u8]) -> impl Iterator<Item = Self> {
        let mut left = text.len().saturating_mul(PASSES);
        let braces = text.iter().enumerate().filter(|(_, byte)| **byte == b'{').map(|(at, _)| at);
        braces
            .map_while(move |at| {
                let mut reader = Reader { left: &text[at..], looked_at: LEAST };
                let object = Self::read(&mut reader);
                left = left.checked_sub(reader.looked_at)?;
                Some(object)
            })
            .flatten()
    }

    /// Reads the object at the start of a text. `None` if there is no object.
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let mut members = Vec::new();
        reader.take(b'{')?;
        let is_whole = loop {
            match reader.peek() {
                None => break false,
                Some(b'}') => {
                    reader.take(b'}')?;
                    break true;
                }
                // An additional comma does no harm.
                Some(b',') => reader.take(b',')?,
                Some(b'"') => {
                    let Some(name) = reader.value() else { break false };
                    if reader.peek().is_none() {
                        break false;
                    }
                    reader.take(b':')?;
                    let Some(value) = reader.value() else { break false };
                    if value.is_empty() {
                        return None;
                    }
                    // No needed member has a name that cannot be parsed, so such a member gets an empty name.
                    members.push((serde_json::from_slice::<String>(name).map_or(Cow::Borrowed(""), Cow::Owned), value));
                    if !matches!(reader.peek(), None | Some(b',' | b'}')) {
                        return None;
                    }
                }
                Some(_) => return None,
            }
        };
        Some(Self { members, is_whole, rest: reader.left })
    }

    /// The unparsed value of a member. If several members have that name, the last one counts, as in other parsers.
    fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// Whether the object has its closing brace.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether the object has a member of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value of a member, if it is a string.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_slice(self.value(name)?).ok()
    }

    /// The value of a member, if it is a number.
    pub(super) fn number(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(self.value(name)?).ok().filter(Value::is_number)
    }
}

/// Removes white space and byte order marks from the start of a text.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii_start();
    while let Some(rest) = text.strip_prefix(MARK) {
        text = rest.trim_ascii_start();
    }
    text
}

/// A position in a JSON text: the rest of the text, and the number of bytes that were read.
struct Reader<'a> {
    left: &'a [u8],
    looked_at: usize,
}

impl<'a> Reader<'a> {
    /// Skips white space, and returns the next byte without consuming it.
    fn peek(&mut self) -> Option<u8> {
        let left = self.left.trim_ascii_start();
        self.looked_at += self.left.len() - left.len();
        self.left = left;
        left.first().copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        if self.peek()? == byte {
            self.left = &self.left[1..];
            return Some(());
        }
        None
    }

    /// The bytes of the next value, which may have any type. `None` if it is cut off.
    fn value(&mut self) -> Option<&'a [u8]> {
        let length = match self.peek()? {
            b'"' => string(self.left),
            b'{' | b'[' => nested(self.left),
            // A number at the end of the text may continue in the part that did not arrive.
            _ => self.left.iter().position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace()),
        };
        self.looked_at += length.unwrap_or(self.left.len());
        let (value, rest) = self.left.split_at(length?);
        self.left = rest;
        Some(value)
    }
}

/// The length of the JSON string at the start of a text. `None` if it is cut off.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The length of the array or object at the start of a text. It counts brackets without recursion, so any depth is safe.
fn nested(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => at += string(&text[at..])?,
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' => {
                (at, depth) = (at + 1, depth - 1);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;

    fn text_of(text: &str, name: &str) -> Option<String> {
        Object::whole(text.as_bytes()).and_then(|object| object.text(name))
    }

    #[test]
    fn odd_members_do_not_matter() {
        for odd in [
            r#""x":"\ud800""#.to_owned(),
            format!(r#""x":{}{}"#, "[".repeat(100_000), "]".repeat(100_000)),
            r#""x":{"a":"}","b":[{"r":"no"}]}"#.to_owned(),
            r#""x":"\"}\\""#.to_owned(),
            r#""\ud800":1"#.to_owned(),
            r#""x":NaN,"#.to_owned(),
            r#""x":1e999999"#.to_owned(),
        ] {
            for text in [format!(r#"{{{odd},"r":"yes"}}"#), format!(r#" {{ "r" : "yes" , {odd} }} "#)] {
                assert_eq!(text_of(&text, "r").as_deref(), Some("yes"), "{text:.60}");
            }
        }
        let bytes = b"\xef\xbb\xbf{\"x\":\"\xff\xfe\",\"r\":\"yes\"}\r\n";
        assert_eq!(Object::whole(bytes).unwrap().text("r").as_deref(), Some("yes"));
    }

    #[test]
    fn what_is_asked_for_is_read_strictly() {
        let object = Object::whole(br#"{"s":"a\u0062","half":"\ud800","n":1.5,"o":{},"r":"1","r":"2"}"#).unwrap();
        assert_eq!(object.text("s").as_deref(), Some("ab"));
        assert_eq!(object.text("r").as_deref(), Some("2"));
        for name in ["half", "n", "o", "none"] {
            assert_eq!(object.text(name), None, "{name}");
        }
        assert!(object.has("half") && !object.has("none"));
        assert_eq!(object.number("n").map(|number| number.to_string()).as_deref(), Some("1.5"));
        assert_eq!(object.number("s"), None);
    }

    #[test]
    fn other_texts_are_no_object() {
        for text in [
            "",
            "null",
            "[]",
            "[{}]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{a:1}",
            "{}{}",
            "{} x",
            "{\"a\":}",
        ] {
            assert_eq!(Object::whole(text.as_bytes()), None, "{text}");
        }
        assert!(Object::whole(b"{}").is_some());
    }

    #[test]
    fn one_that_is_cut_off_has_the_members_that_are_whole() {
        let text = br#"{"a":"1","b":{"c":2},"d":"3"#;
        for cut in 0..=text.len() {
            let Some(object) = Object::leading(&text[..cut]) else { continue };
            assert!(!object.is_whole);
            assert_eq!((object.has("a"), object.has("b"), object.has("d")), (cut >= 8, cut >= 20, false), "{cut}");
        }
    }

    #[test]
    fn objects_are_found_wherever_they_stand() {
        let names = |text: &str| -> Vec<String> {
            Object::all(text.as_bytes()).filter_map(|object| object.text("n")).collect()
        };
        assert_eq!(names(r#")]}',{"n":"1","o":{"n":"2"}} <b>{x}</b> [{"n":"3"}"#), ["1", "2", "3"]);
        assert_eq!(names(r#"{ {"n":"1"}"#), ["1"]);
    }

    #[test]
    fn no_text_takes_long() {
        for text in [r#"{"a":"#.repeat(200_000), "{".repeat(1_000_000), r#"{"a":{},"#.repeat(120_000)] {
            assert_eq!(Object::all(text.as_bytes()).filter(|object| object.is_whole && object.has("n")).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Object::whole(&bytes);
            let _ = Object::all(&bytes).count();
        }

        #[test]
        fn what_serde_reads_is_read_alike(pairs in prop::collection::vec((".{0,4}", "\\PC{0,8}"), 0..5), cut in 0usize..100) {
            let map: Map<String, Value> = pairs.into_iter().map(|(name, text)| (name, text.into())).collect();
            let text = Value::Object(map.clone()).to_string();
            let object = Object::whole(text.as_bytes()).unwrap();
            for (name, value) in &map {
                let read = object.text(name);
                prop_assert_eq!(read.as_deref(), value.as_str());
            }
            let cut = cut.min(text.len());
            prop_assert_eq!(Object::whole(&text.as_bytes()[..cut]).is_some(), cut == text.len());
        }
    }
}
