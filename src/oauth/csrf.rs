//! Finds the CSRF token of Ring's sign-in page.
//!
//! Over time the page has had the token in several places (see `docs/protocol.md`), so this module searches all of
//! them. The scanner is not an HTML parser: it knows tags, attributes, comments and raw text, and skips the rest. It
//! reads each byte of any page a bounded number of times.

use serde_json::Value;

use super::cookies::Jar;
use crate::Secret;

/// The CSRF token in the page or, if the page has none, in a cookie.
pub(super) fn find(page: &[u8], jar: &Jar) -> Option<Secret> {
    in_page(&String::from_utf8_lossy(page)).or_else(|| in_cookies(jar))
}

/// The CSRF token in a cookie, URL-decoded. The path of the cookie does not matter: it may differ from the page's.
pub(super) fn in_cookies(jar: &Jar) -> Option<Secret> {
    ["csrf-token", "csrfToken", "csrf_token", "_csrf", "XSRF-TOKEN"]
        .iter()
        .filter_map(|name| jar.value(name))
        .find_map(|value| usable(&url_decoded(value.trim_matches('"'))))
}

/// The CSRF token in a page. If several places have one, the order in `docs/protocol.md` decides.
pub(super) fn in_page(page: &str) -> Option<Secret> {
    let (mut arguments, mut next_data, mut input, mut meta) = (None, None, None, None);
    let mut rest = page;
    while let Some((tag, after)) = next_tag(rest) {
        rest = after;
        match tag.name.as_str() {
            "script" => {
                let (text, after) = raw_text(rest, "script");
                rest = after;
                match tag.attribute("id") {
                    Some("oauth-args") => arguments = arguments.or_else(|| in_json(text, "csrf-token")),
                    Some("__NEXT_DATA__") => next_data = next_data.or_else(|| in_json(text, "csrfToken")),
                    _ => {}
                }
            }
            // The content of these elements is text, even if it looks like tags.
            "style" | "textarea" | "title" => rest = raw_text(rest, &tag.name).1,
            "input" if tag.attribute("name") == Some("csrf-token") => {
                input = input.or_else(|| tag.attribute("value").and_then(usable));
            }
            "meta" if tag.attribute("name") == Some("csrf-token") => {
                meta = meta.or_else(|| tag.attribute("content").and_then(usable));
            }
            _ => {}
        }
    }
    arguments.or(next_data).or(input).or(meta)
}

/// A start tag. Its name and the names of its attributes are in lower case, and entities in the values are decoded.
pub(super) struct Tag {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        // If two attributes have the same name, the first one counts, as in browsers.
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The next start tag, and the text that follows it.
pub(super) fn next_tag(page: &str) -> Option<(Tag, &str)> {
    let mut rest = page;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            // A comment without an end reaches to the end of the page, as in browsers.
            rest = &comment[comment.find("-->")? + 3..];
        } else if rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>'))?;
            let (attributes, after) = attributes(&rest[end..])?;
            return Some((Tag { name: rest[..end].to_ascii_lowercase(), attributes }, after));
        }
    }
}

/// The attributes up to the end of a tag, and the text that follows the tag. `None` if the tag has no end.
fn attributes(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut attributes = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((attributes, after));
        }
        // An equals sign at the first position belongs to the name, so that each pass consumes a character.
        let first = rest.chars().next()?.len_utf8();
        let end = first + rest[first..].find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '='))?;
        let name = rest[..end].to_ascii_lowercase();
        rest = &rest[end..];
        let mut value = "";
        if let Some(after) = rest.trim_ascii_start().strip_prefix('=') {
            rest = after.trim_ascii_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            if let Some(quote) = quote {
                let inner = &rest[1..];
                let end = inner.find(quote)?;
                (value, rest) = (&inner[..end], &inner[end + 1..]);
            } else {
                let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>')?;
                (value, rest) = rest.split_at(end);
            }
        }
        // Keep only the attributes that are needed, so that a page full of attributes costs no memory.
        let is_kept = matches!(name.as_str(), "id" | "name" | "value" | "content" | "type" | "autocomplete" | "action");
        if is_kept && attributes.len() < 16 {
            attributes.push((name, without_entities(value)));
        }
    }
}

/// The text before the end tag of that name, and the rest from that tag on. The rest is empty if there is no such tag.
pub(super) fn raw_text<'a>(text: &'a str, name: &str) -> (&'a str, &'a str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = text[from..].find("</").map(|at| from + at) {
        let candidate = &bytes[at + 2..];
        if candidate.len() >= name.len() && candidate[..name.len()].eq_ignore_ascii_case(name.as_bytes()) {
            return (&text[..at], &text[at..]);
        }
        from = at + 2;
    }
    (text, "")
}

fn in_json(text: &str, key: &str) -> Option<Secret> {
    // serde_json returns an error at a depth of 128, which bounds the recursion below.
    find_key(&serde_json::from_str(text).ok()?, key)
}

fn find_key(value: &Value, key: &str) -> Option<Secret> {
    match value {
        Value::Object(members) => members
            .get(key)
            .and_then(Value::as_str)
            .and_then(usable)
            .or_else(|| members.values().find_map(|member| find_key(member, key))),
        Value::Array(items) => items.iter().find_map(|item| find_key(item, key)),
        _ => None,
    }
}

/// Returns a text as a token if it can be one: 1 to 4096 bytes without control characters.
fn usable(text: &str) -> Option<Secret> {
    (!text.is_empty() && text.len() <= 4096 && !text.chars().any(char::is_control)).then(|| Secret::from(text))
}

/// Decodes the five entities of XML and numeric ones. Any other entity stays unchanged.
fn without_entities(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        // No known entity is longer than 10 bytes, so the search for the semicolon ends there.
        let end = rest.bytes().take(10).position(|byte| byte == b';');
        let entity = end.and_then(|end| Some((entity(&rest[1..end])?, end)));
        if let Some((c, end)) = entity {
            decoded.push(c);
            rest = &rest[end + 1..];
        } else {
            decoded.push('&');
            rest = &rest[1..];
        }
    }
    decoded.push_str(rest);
    decoded
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

/// Decodes percent-encoding such as `%2B`. An invalid code stays unchanged, as does a text that would not be UTF-8.
fn url_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (bytes[at], digit(1), digit(2)) {
            decoded.extend(u8::try_from(high * 16 + low));
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::http::Headers;

    fn page(text: &str) -> Option<String> {
        in_page(text).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn every_place_of_the_protocol_page() {
        for text in [
            r#"<script id="oauth-args" type="application/json">{"a":1,"csrf-token":"T"}</script>"#,
            r#"<SCRIPT type='application/json' ID='oauth-args'>{"csrf-token":"T"}</SCRIPT >"#,
            r#"<script id="__NEXT_DATA__">{"props":{"pageProps":[{"x":{"csrfToken":"T"}}]}}</script>"#,
            r#"<input type="hidden" name="csrf-token" value="T">"#,
            r"<INPUT value=T name=csrf-token type=hidden/>",
            "<form><input\n\tvalue = 'T'\n name = 'csrf-token' disabled></form>",
            r#"<meta name="csrf-token" content="T" />"#,
            r#"<meta content="T" name="csrf-token"><p>"#,
            r#"<p a="<input name=csrf-token value=no>"><input name=csrf-token value=T>"#,
            "<!-- <input name=csrf-token value=no> --><input name=csrf-token value=T>",
            "<textarea><input name=csrf-token value=no></textarea><input name=csrf-token value=T>",
            "<script>if (a </b) '<input name=csrf-token value=no>'</script><input name=csrf-token value=T>",
            r#"a < b <3 <> </ <!doctype html> <? ?> <input = name="csrf-token" value="T">"#,
            r#"<input name="csrf-token" value=""><input name="csrf-token" value="T">"#,
            r#"<script id="oauth-args">{"csrf-token":7}</script><meta name="csrf-token" content="T">"#,
        ] {
            assert_eq!(page(text).as_deref(), Some("T"), "{text}");
        }
    }

    #[test]
    fn order_of_places() {
        let all = r#"<meta name="csrf-token" content="4"><input name="csrf-token" value="3">
            <script id="__NEXT_DATA__">{"csrfToken":"2"}</script><script id="oauth-args">{"csrf-token":"1"}</script>"#;
        assert_eq!(page(all).as_deref(), Some("1"));
        assert_eq!(page(&all.replace("oauth-args", "other")).as_deref(), Some("2"));
    }

    #[test]
    fn entities_are_decoded_once() {
        let text = r#"<input name="csrf-token" value="a&amp;lt;b&#43;&#x2F;&quot;&apos;&unknown;&;&#xD800;&">"#;
        assert_eq!(page(text).as_deref(), Some(r#"a&lt;b+/"'&unknown;&;&#xD800;&"#));
    }

    #[test]
    fn no_token_is_none() {
        let deep =
            format!(r#"<script id="__NEXT_DATA__">{}{{"csrfToken":"T"}}{}</script>"#, "[".repeat(500), "]".repeat(500));
        for text in [
            "",
            "<",
            "<a",
            "<input name=csrf-token",
            "<input name=\"csrf-token value=T>",
            "<!-- <input name=csrf-token value=T>",
            "<input name=csrf-token-2 value=T>",
            "<script id=oauth-args>{\"csrf-token\":\"T\"",
            "<div name=csrf-token value=T>",
            "<input name=csrf-token value='a&#10;b'>",
            &deep,
        ] {
            assert_eq!(page(text), None, "{text}");
        }
    }

    #[test]
    fn cookies_of_any_path_are_decoded() {
        let from = Url::parse("https://oauth.ring.com/oauth/v2/authorize").unwrap();
        for name in ["csrf-token", "csrfToken", "csrf_token", "_csrf", "XSRF-TOKEN"] {
            let mut jar = Jar::new();
            let cookie = format!("{name}=a%2Bb%3D%zz; Path=/oauth/v2/signin/deep");
            jar.store(&Headers::new([("set-cookie", cookie)]), &from);
            assert_eq!(find(b"<html>\xff", &jar).unwrap().expose(), "a+b=%zz");
        }
        let mut jar = Jar::new();
        jar.store(&Headers::new([("set-cookie", "csrf=1"), ("set-cookie", "_csrf=")]), &from);
        assert_eq!(find(b"", &jar), None);
    }

    #[test]
    fn hostile_pages_take_linear_time() {
        let size = 2 * 1024 * 1024;
        let started = Instant::now();
        for unit in [
            "<",
            "<a ",
            "<a b=\"",
            "<!--",
            "</script",
            "<script>",
            "<a =",
            "&",
            "<a b=&",
            "<input name=csrf-token ",
            "{\"a\":[",
        ] {
            page(&unit.repeat(size / unit.len()));
            page(&format!("<script id=oauth-args>{}", unit.repeat(size / unit.len())));
        }
        // Linear time is far below this limit, even for an unoptimised build on a slow machine. Quadratic time is far above.
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[<>/=\"'&;#!a-c \u{e9}-]{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            page(&text);
            page(&format!("<input name=csrf-token value={text}"));
            find(&bytes, &Jar::new());
        }
    }
}
