//! Decides whether a text from a person can be a refresh token: a text from the options, a mirror, standard input or a program's
//! own `load`.
//!
//! No other module decides that. A token from an answer of Ring or from a journal is used byte for byte, without this
//! module.
//!
//! A person copies more than the token: quotation marks, a whole line of a settings file, a form that is safe in a URL. What surrounds
//! the token is removed if it is noise, or if a wrapper or a JSON web token comes out. Everything else is refused with a sentence
//! that says what the text looks like. No sentence contains a part of the text, which may be a token with a flaw, or a password.

use std::borrow::Cow;

use base64::Engine;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::journal::state::{Known, State};
use crate::token::{MAX_TOKEN_BYTES, RefreshToken, STANDARD};
use crate::{Error, ErrorCode, Result};

/// The longest text that is looked at, in bytes, unless it is the wrapper of a token.
const MAX_TEXT_BYTES: usize = 128 * 1024;
/// The shortest inner token, in characters.
const SHORTEST: usize = 16;
/// How many layers are removed, one inside the other.
const MOST_LAYERS: u32 = 4;
/// How many pairs of quotation marks or brackets, and signs behind the text, are removed on each layer.
const MOST_NOISE: u32 = 4;
/// The most bytes that are looked at while layers are removed, for texts that were made to have many layers.
const MOST_WORK: usize = 4 * 1024 * 1024;

/// The least number of readable bytes in a base64 text that is a part of a wrapper, and not a token that looks like one
/// by chance.
const SHORTEST_READABLE: usize = 24;

/// The first folders of the absolute paths at which people keep secrets and settings.
const ROOTS: [&str; 17] = [
    "Users",
    "Volumes",
    "config",
    "data",
    "dev",
    "etc",
    "home",
    "homebridge",
    "media",
    "mnt",
    "opt",
    "root",
    "run",
    "secrets",
    "srv",
    "tmp",
    "var",
];

/// The names of the members of a JSON object that hold a token.
const NAMES: [&str; 5] = ["refreshToken", "refresh_token", "ring_token", "rt", "token"];

/// Quotation marks and brackets that may stand around a token.
const PAIRS: [(&str, &str); 17] = [
    ("\"", "\""),
    ("'", "'"),
    ("`", "`"),
    ("\\\"", "\\\""),
    ("“", "”"),
    ("„", "“"),
    ("„", "”"),
    ("”", "”"),
    ("‘", "’"),
    ("‚", "‘"),
    ("‚", "’"),
    ("’", "’"),
    ("«", "»"),
    ("»", "«"),
    ("<", ">"),
    ("{", "}"),
    ("(", ")"),
];

/// What a text from a person is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pasted {
    /// No text, or nothing but white space and quotation marks.
    Nothing,
    /// A refresh token, without what surrounded it.
    Token(RefreshToken),
    /// A reference that another program replaces by a value. In a file it belongs to that program.
    Reference(Flaw),
    /// Something that cannot be a refresh token.
    Refused(Flaw),
}

impl Pasted {
    /// The token, if the text is one.
    pub fn token(self) -> Option<RefreshToken> {
        match self {
            Self::Token(token) => Some(token),
            Self::Nothing | Self::Reference(_) | Self::Refused(_) => None,
        }
    }

    /// The reason why the text is no token, if it is none.
    pub fn flaw(&self) -> Option<Flaw> {
        match self {
            Self::Reference(flaw) | Self::Refused(flaw) => Some(*flaw),
            Self::Nothing | Self::Token(_) => None,
        }
    }
}

/// Why a text cannot be a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// A reference to a variable, `${…}` or `$NAME`.
    Variable,
    /// A placeholder of a template, `{{…}}`.
    Template,
    /// A reference to an entry of a secret manager, `op://…` or `vault:…`.
    SecretManager,
    /// A tag of a YAML file, `!secret …`.
    Tag,
    /// An encrypted value, `encrypted:…`.
    Encrypted,
    /// The path of a file.
    Path,
    /// A wrapper or a JSON web token of which a part is missing.
    CutOff,
    /// A wrapper without a refresh token.
    NoToken,
    /// A two-factor code.
    Code,
    /// An e-mail address.
    Email,
    /// What JavaScript writes for a value that is not there.
    Unset,
    /// A word that stands for a token in an example.
    Placeholder,
    /// A line of a settings file, or a JSON object, whose value is no token.
    Setting,
    /// Characters that no token has.
    Characters,
    /// An inner token that is too short.
    Short,
    /// A text that is too long.
    Long,
}

impl Flaw {
    /// The flaw, as the rest of a sentence whose subject is the text.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Variable => {
                "is a reference to a variable (${…}, $NAME or process.env.NAME) that no program has replaced by its value"
            }
            Self::Template => "is a placeholder of a template ({{…}}) that no program has filled in",
            Self::SecretManager => {
                "is a reference to an entry of a secret manager (op://… or vault:…) that no program has replaced by its value"
            }
            Self::Tag => "is a tag of a YAML file (!secret …) that no program has replaced by its value",
            Self::Encrypted => "is an encrypted value that no program has decrypted",
            Self::Path => "is the path of a file, not what is in the file",
            Self::CutOff => "is cut off: a part of it was not copied",
            Self::NoToken => "is a wrapper without a refresh token in it",
            Self::Code => "looks like a code for the two-factor prompt",
            Self::Email => "looks like an e-mail address",
            Self::Unset => "is what JavaScript writes for a value that is missing or for an object",
            Self::Placeholder => "is a placeholder of an example",
            Self::Setting => "looks like a line of a settings file or a JSON object, and no refresh token is in it",
            Self::Characters => "has characters in it that no token has",
            Self::Short => "is shorter than 16 characters inside, and no refresh token of Ring is",
            Self::Long => "is longer than 64 KiB, so it cannot be one",
        }
    }

    /// A sentence that says what the user can do about the flaw.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Variable => {
                "Set the variable, and let a program that replaces references read the file; or put the token itself there."
            }
            Self::Template => "Run the program that fills in the template, or put the token itself there.",
            Self::SecretManager => {
                "Start the program through the command of the secret manager (as in `op run`), or put the token itself there."
            }
            Self::Tag => "Only the program that the file is written for knows such tags: put the token itself there.",
            Self::Encrypted => {
                "Start the program through the tool that decrypts the value, or put the token itself there."
            }
            Self::Path => "Put what is in the file there, or name the file in RING_REFRESH_TOKEN_FILE.",
            Self::CutOff => "Copy the whole value again: it is longer than the line that shows it.",
            Self::NoToken => "Get a new one with `npx ring-auth`.",
            Self::Code => "Enter the code where the login asks for it.",
            Self::Email => "Log in with it: `npx ring-auth` asks for it and prints a refresh token.",
            Self::Unset => "Look where the value comes from: a variable may not be set, or have another name.",
            Self::Placeholder => {
                "Get a refresh token with `npx ring-auth`, and put it in the place of the placeholder."
            }
            Self::Setting | Self::Long => "Paste the value of \"refreshToken\" alone.",
            Self::Characters => "Paste the value of \"refreshToken\" alone, in one line.",
            Self::Short => "A test needs a made-up token of 16 or more characters.",
        }
    }

    /// The error for a text that a person gives as the refresh token.
    pub fn error(self) -> Error {
        Error::invalid(format!("The refresh token {}. {}", self.reason(), self.advice()))
    }

    /// The error if the only text in a store is this one.
    pub fn nothing_in(self, place: &str) -> Error {
        let message =
            format!("There is no refresh token in {place}: the text there {}. {}", self.reason(), self.advice());
        Error::new(ErrorCode::NoRefreshToken, message)
    }

    /// Whether another program manages the value.
    pub fn is_reference(self) -> bool {
        matches!(self, Self::Variable | Self::Template | Self::SecretManager | Self::Tag | Self::Encrypted | Self::Path)
    }

    fn pasted(self) -> Pasted {
        if self.is_reference() { Pasted::Reference(self) } else { Pasted::Refused(self) }
    }
}

/// Reads a text from a person. A token that the state knows is recognised first, whatever it looks like.
pub fn read(text: &str, state: Option<&State>) -> Pasted {
    let text = trimmed(text);
    if text.is_empty() {
        return Pasted::Nothing;
    }
    if let Some(state) = state
        && let Ok(token) = RefreshToken::parse_kept(text)
        && state.recognise(token.fingerprint()) != Known::Unknown
    {
        return Pasted::Token(token);
    }
    if text.len() > MAX_TEXT_BYTES && RefreshToken::from_wrapper(text).is_none() {
        return Pasted::Refused(Flaw::Long);
    }
    let mut work = MOST_WORK;
    if let Some(found) = undress(text, MOST_LAYERS, &mut work) {
        return match found {
            Ok(token) if token.raw().chars().count() < SHORTEST => Pasted::Refused(Flaw::Short),
            Ok(token) => Pasted::Token(token),
            Err(flaw) => Pasted::Refused(flaw),
        };
    }
    classify(text, MOST_LAYERS)
}

impl RefreshToken {
    /// Reads a token from a person, without a journal.
    ///
    /// # Errors
    ///
    /// As for [`token`].
    pub fn parse(text: &str) -> Result<Self> {
        token(text, None)
    }
}

/// Reads a token from a person. A token that the state knows is recognised first.
///
/// # Errors
///
/// `INVALID_ARGUMENT`, with the flaw, if the text is no token.
pub fn token(text: &str, state: Option<&State>) -> Result<RefreshToken> {
    match read(text, state) {
        Pasted::Token(token) => Ok(token),
        Pasted::Nothing => Err(Error::invalid("The refresh token is empty. Get one with `npx ring-auth`.")),
        Pasted::Reference(flaw) | Pasted::Refused(flaw) => Err(flaw.error()),
    }
}

/// Removes noise and layers until a wrapper or a JSON web token is there. `None` if none comes out.
fn undress(text: &str, layers: u32, work: &mut usize) -> Option<Result<RefreshToken, Flaw>> {
    let mut text = trimmed(text);
    for _ in 0..=MOST_NOISE {
        *work = work.checked_sub(text.len())?;
        if let Some(found) = recognised(text) {
            return Some(found);
        }
        if layers > 0
            && let Some(found) = layers_of(text).find_map(|inner| undress(&inner, layers - 1, work))
        {
            return Some(found);
        }
        text = with_less_noise(text)?;
    }
    None
}

/// The token, if the unchanged text is a wrapper or a JSON web token.
fn recognised(text: &str) -> Option<Result<RefreshToken, Flaw>> {
    if is_web_token(text) {
        return Some(if text.len() > MAX_TOKEN_BYTES { Err(Flaw::Long) } else { Ok(RefreshToken::from_raw(text)) });
    }
    let token = RefreshToken::from_wrapper(text)?;
    // The wrapper of a token from Ring may be longer than other texts from a person.
    let is_allowed = text.len() <= MAX_TOKEN_BYTES || token.survives_wrapping();
    Some(if is_allowed { Ok(token) } else { Err(Flaw::Long) })
}

/// Whether a text is three parts of base64 with dots between them, the first one of a JSON object.
fn is_web_token(text: &str) -> bool {
    let mut parts = text.split('.');
    let three = [parts.next(), parts.next(), parts.next()];
    text.starts_with("eyJ")
        && parts.next().is_none()
        && three.iter().all(|part| part.is_some_and(|part| !part.is_empty() && part.bytes().all(is_url_safe)))
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The texts that may lie under a layer of this one.
fn layers_of(text: &str) -> impl Iterator<Item = String> {
    let layers: [fn(&str) -> Option<String>; 6] = [setting, decoded, standard, percent_decoded, in_one_line, member];
    layers.into_iter().filter_map(move |layer| layer(text))
}

/// Converts base64 that is safe in a URL to standard base64.
fn standard(text: &str) -> Option<String> {
    let is_url_form = text.contains(['-', '_']) && text.trim_end_matches('=').bytes().all(is_url_safe);
    is_url_form.then(|| text.replace('-', "+").replace('_', "/"))
}

/// Decodes a base64 text.
fn decoded(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text).ok()?;
    let is_text = |byte: u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    String::from_utf8(bytes).ok().filter(|text| text.bytes().all(is_text))
}

/// Decodes a percent-encoded text. `None` if it has no escape, or if a `%` begins no escape.
fn percent_decoded(text: &str) -> Option<String> {
    let (_, escapes) = text.split_once('%')?;
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !escapes.split('%').all(is_escape) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// The text without the line breaks and white space in it.
fn in_one_line(text: &str) -> Option<String> {
    text.contains(is_blank).then(|| text.chars().filter(|char| !is_blank(*char)).collect())
}

/// The one token among the members of a JSON object. If the object comes from a wrapper, it is wrapped again with all
/// its members.
fn member(text: &str) -> Option<String> {
    let fields = object(text)?;
    let mut named = NAMES.iter().filter(|name| fields.contains_key(**name));
    let (name, None) = (*named.next()?, named.next()) else { return None };
    let value = fields.get(name)?.as_str()?;
    Some(if name == "rt" { STANDARD.encode(text) } else { value.to_owned() })
}

fn object(text: &str) -> Option<Map<String, Value>> {
    if !text.starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The value of a line `"refreshToken": "…"`, `refreshToken: …` or `RING_REFRESH_TOKEN=…`.
fn setting(text: &str) -> Option<String> {
    let line = text.strip_prefix("export ").map_or(text, str::trim_start);
    let (name, value) = line.split_once([':', '='])?;
    let name = name.trim().trim_matches(['"', '\'']);
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.');
    let short: String = name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let is_ours = name.chars().all(is_name) && (short == "rt" || short.ends_with("token")) && !short.contains("access");
    // A token that ends with padding looks like a setting without a value.
    (is_ours && !value.trim_matches('=').trim().is_empty()).then(|| value.trim().to_owned())
}

fn is_invisible(char: char) -> bool {
    matches!(char, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{ad}' | '\u{180e}')
}

fn is_blank(char: char) -> bool {
    char.is_whitespace() || is_invisible(char)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// The text without the comma or semicolon behind it, or else without one pair of quotation marks or brackets around it.
fn with_less_noise(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_suffix([',', ';']) {
        return Some(trimmed(rest));
    }
    PAIRS.iter().find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close)).map(trimmed)
}

/// Classifies a text in which no wrapper and no JSON web token was found.
fn classify(text: &str, layers: u32) -> Pasted {
    let mut text = trimmed(text);
    let mut is_bracketed = false;
    for _ in 0..=MOST_NOISE {
        if let Some(flaw) = reference(text).or_else(|| word(text)) {
            return flaw.pasted();
        }
        if object(text).is_some() {
            return value_of_a_setting(member(text), layers);
        }
        if let Some(value) = setting(text) {
            return value_of_a_setting(Some(value), layers);
        }
        let Some(less) = with_less_noise(text) else { break };
        is_bracketed |= text.starts_with(['<', '{', '(']);
        text = less;
    }
    if text.is_empty() {
        return Pasted::Nothing;
    }
    if is_bracketed && text.chars().all(|char| char.is_alphabetic() || is_separator(char)) {
        return Pasted::Refused(Flaw::Placeholder);
    }
    if let Some(flaw) = damaged(text) {
        return Pasted::Refused(flaw);
    }
    if text.len() > MAX_TOKEN_BYTES {
        return Pasted::Refused(Flaw::Long);
    }
    if !is_opaque_token(text) {
        return Pasted::Refused(Flaw::Characters);
    }
    if text.len() < SHORTEST { Pasted::Refused(Flaw::Short) } else { Pasted::Token(RefreshToken::from_raw(text)) }
}

/// Classifies the value of a setting. Most flaws of the value say more than `Flaw::Setting`.
fn value_of_a_setting(value: Option<String>, layers: u32) -> Pasted {
    match value.filter(|_| layers > 0).map(|value| classify(&value, layers - 1)) {
        None | Some(Pasted::Token(_) | Pasted::Nothing | Pasted::Refused(Flaw::Characters)) => {
            Pasted::Refused(Flaw::Setting)
        }
        Some(flawed) => flawed,
    }
}

/// The characters of a bearer token (RFC 6750): a text that is neither a wrapper nor a JSON web token can be sent if it has
/// only these.
fn is_opaque_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|byte| is_url_safe(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/'))
}

fn is_separator(char: char) -> bool {
    char.is_whitespace() || matches!(char, '_' | '-' | '.')
}

/// The kind of reference that a text is.
fn reference(text: &str) -> Option<Flaw> {
    let is_name = |name: &str| {
        name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let within = |open: &str, close: &str| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let of_program = ["process.env", "import.meta.env", "os.environ", "env:"];
    let is_variable = within("${", "}").is_some()
        || within("$(", ")").is_some()
        || of_program.into_iter().filter_map(|prefix| text.strip_prefix(prefix)).any(|rest| {
            let quote = |char: char| matches!(char, '.' | '[' | ']' | '(' | ')' | '"' | '\'');
            is_name(rest.trim_start_matches("?.").trim_start_matches(".get").trim_matches(quote))
        })
        || text.strip_prefix('$').is_some_and(|name| is_name(name.strip_prefix("env:").unwrap_or(name)))
        || within("%", "%").is_some_and(is_name);
    if is_variable {
        return Some(Flaw::Variable);
    }
    if within("{{", "}}").is_some() || within("<%", "%>").is_some() {
        return Some(Flaw::Template);
    }
    if is_path(text) {
        return Some(Flaw::Path);
    }
    let starts_with = |prefix: &str| text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if ["encrypted:", "ENC[", "$ANSIBLE_VAULT"].into_iter().any(starts_with) {
        return Some(Flaw::Encrypted);
    }
    let is_address = text.split_once("://").is_some_and(|(scheme, rest)| {
        let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        !is_web
            && !rest.is_empty()
            && scheme.starts_with(|char: char| char.is_ascii_alphabetic())
            && scheme.bytes().all(is_scheme)
    });
    if is_address || starts_with("vault:") {
        return Some(Flaw::SecretManager);
    }
    // A password may begin with the same sign; a tag stands before the name of the value.
    let (tag, _) = text.strip_prefix('!')?.split_once(char::is_whitespace)?;
    tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-:./!".contains(&byte)).then_some(Flaw::Tag)
}

/// Whether a text is the path of a file. Base64 has slashes too, so an absolute path is known by its first folder.
fn is_path(text: &str) -> bool {
    let is_relative = ["./", "../", "~/"].into_iter().any(|prefix| text.starts_with(prefix));
    let mut parts = text.split('/');
    let is_absolute = parts.next() == Some("")
        && parts.next().is_some_and(|first| ROOTS.contains(&first))
        && parts.next().is_some_and(|second| !second.is_empty());
    (is_relative || is_absolute) && !text.contains(['=', '+'])
}

/// The kind of a text that people write instead of a token.
fn word(text: &str) -> Option<Flaw> {
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "undefined" | "null" | "none" | "nil" | "nan" | "true" | "false")
        || lower.strip_prefix("[object ").is_some_and(|rest| rest.ends_with(']'))
    {
        return Some(Flaw::Unset);
    }
    let words: Vec<&str> = lower.split(is_separator).filter(|word| !word.is_empty()).collect();
    let joined = words.concat();
    let is_prose = lower.len() < 100 && lower.chars().all(|char| char.is_alphabetic() || is_separator(char));
    let is_order = matches!(words.first(), Some(&("insert" | "replace" | "paste" | "enter" | "put" | "add" | "copy")));
    let is_example = matches!(joined.as_str(), "changeme" | "replaceme" | "ringrefreshtoken" | "todo" | "placeholder")
        || (words.is_empty() && !text.is_empty())
        || (is_prose && words.contains(&"your"))
        || (is_prose
            && joined.contains("token")
            && (is_order || joined.starts_with("your") || joined.ends_with("here")))
        || ((lower.starts_with("your_") || lower.starts_with("your-")) && lower.len() < 100)
        || ((3..100).contains(&joined.len()) && joined.chars().all(|char| matches!(char, 'x' | '*')));
    if is_example || matches!(text, "..." | "…") {
        return Some(Flaw::Placeholder);
    }
    let mailbox = text.split_once('@').filter(|(name, host)| {
        let is_part =
            |part: &str| !part.is_empty() && !part.contains(|char: char| char.is_whitespace() || "@/:".contains(char));
        is_part(name) && is_part(host) && host.contains('.')
    });
    if mailbox.is_some() {
        return Some(Flaw::Email);
    }
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_code =
        (4..=8).contains(&digits) && text.chars().all(|char| char.is_ascii_digit() || matches!(char, ' ' | '-'));
    is_code.then_some(Flaw::Code)
}

/// The flaw of a text that is a part of a wrapper or of a JSON web token.
fn damaged(text: &str) -> Option<Flaw> {
    let text = percent_decoded(text).unwrap_or_else(|| text.to_owned());
    let text = in_one_line(&text).unwrap_or(text);
    let text = text.trim_end_matches(['.', '…']).replace('-', "+").replace('_', "/");
    let is_base64 =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    let parts: Vec<&str> = text.split('.').collect();
    if !parts.iter().all(|part| is_base64(part)) {
        return None;
    }
    let begins = |part: &str| part.starts_with("eyJ");
    match parts[..] {
        [only] if begins(only) => {
            let fields =
                STANDARD.decode(only).ok().and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
            // The first part of a JSON web token is an object, too.
            let is_whole = fields.is_some_and(|fields| !fields.contains_key("alg"));
            Some(if is_whole { Flaw::NoToken } else { Flaw::CutOff })
        }
        [first, _] if begins(first) => Some(Flaw::CutOff),
        [first, second, _] if begins(second) && !begins(first) => Some(Flaw::CutOff),
        [only] if is_inside_of_a_wrapper(only) => Some(Flaw::CutOff),
        _ => None,
    }
}

/// Whether a text is base64 of readable text, and so a part of a wrapper without its beginning. The part may begin at
/// any of four offsets of base64, so all four are tried.
fn is_inside_of_a_wrapper(base64: &str) -> bool {
    let padded = base64.trim_end_matches('=');
    (0..4).filter_map(|from| padded.get(from..)).any(|rest| {
        let whole = &rest[..rest.len() - rest.len() % 4];
        let Ok(bytes) = STANDARD.decode(if rest.len() % 4 == 1 { whole } else { rest }) else { return false };
        // The cut may be in the middle of a character.
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(char::REPLACEMENT_CHARACTER);
        let is_readable = !text.contains(|char: char| char.is_control() || char == char::REPLACEMENT_CHARACTER);
        let is_an_end = text.ends_with("\"}") || text.ends_with("}}");
        is_readable && (text.len() >= SHORTEST_READABLE || is_an_end && text.len() >= SHORTEST / 2)
    })
}

#[cfg(test)]
mod tests;
