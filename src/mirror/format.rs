//! What a mirror has to know of a text: where the token stands in it, and how to change that and nothing else.

use std::fmt;

use super::Places;
use crate::Secret;

/// A kind of text in which a token is shown. Bytes in, bytes out: files, locks and times are no concern of it.
///
/// Nothing here panics, whatever the bytes. What comes out was read again before: it shows the token that was asked
/// for, and means the same as before in everything else.
pub trait Format: Send + Sync + 'static {
    /// The token that the text shows; `None` where there is a place for one and none in it.
    ///
    /// # Errors
    ///
    /// [`FormatError`], and then the text is to be left alone.
    fn read(&self, bytes: &[u8]) -> Result<Option<Secret>, FormatError>;

    /// The same text with this token in it, every other byte as it was. Where it has no token yet, one is added; where
    /// it shows this very token, these very bytes come back.
    ///
    /// # Errors
    ///
    /// [`FormatError`], and then the text is to be left alone.
    fn write(&self, bytes: &[u8], token: &Secret) -> Result<Vec<u8>, FormatError>;

    /// What a login writes, into a file that may not be there: as [`Format::write`], but it also makes the place for
    /// the token, and takes away what a token replaces. With any token at all it tells before a login whether storing
    /// will work.
    ///
    /// # Errors
    ///
    /// [`FormatError`], and then the text is to be left alone.
    fn introduce(&self, bytes: Option<&[u8]>, token: &Secret) -> Result<(Vec<u8>, Introduced), FormatError>;

    /// The same text without a token, for a logout.
    ///
    /// # Errors
    ///
    /// [`FormatError`], and then the text is to be left alone.
    fn clear(&self, bytes: &[u8]) -> Result<Vec<u8>, FormatError>;

    /// The places in the text in which a token may stand: the mirror's own, and those of other mirrors.
    fn places(&self, bytes: &[u8]) -> Places;
}

/// What a login changed beyond the token, for the person to hear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Introduced {
    /// There was no place for the token: the block, or the line, is new.
    pub added: bool,
    /// The keys that were taken away because a token replaces them.
    pub removed: Vec<&'static str>,
}

/// Why a text cannot be read or changed. `Display` is a sentence or two for people, with nothing of the text in it but
/// its `platform` and `name` values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// Not what its readers could read. Counted from 1, the column in bytes.
    NotValid {
        /// The line where it stops making sense.
        line: usize,
        /// The column in that line.
        column: usize,
    },
    /// There is no text, and it is not ours to begin one.
    Nothing,
    /// No block for the token.
    NoBlock {
        /// The platform that was looked for.
        platform: String,
        /// The name that was looked for, where one was given.
        name: Option<String>,
    },
    /// More than one block for the token.
    Several {
        /// The platform that was looked for.
        platform: String,
        /// The names of the blocks found, as Homebridge calls them.
        names: Vec<String>,
    },
    /// Something else is where the token should be. The sentences say what.
    Odd(String),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotValid { line, column } => {
                write!(
                    f,
                    "It is not valid JSON: look at line {line}, column {column}. Until that is mended, it is left alone."
                )
            }
            Self::Nothing => f.write_str(
                "There is no configuration in it. Check the path, or start Homebridge once so that it makes one.",
            ),
            Self::NoBlock { platform, name } => {
                write!(f, "It has no block with the platform {}", shown(platform))?;
                if let Some(name) = name {
                    write!(f, " and the name {}", shown(name))?;
                }
                f.write_str(" under \"platforms\". Add one, or run `npx ring-auth login --homebridge`, which does.")
            }
            Self::Several { platform, names } => {
                write!(f, "It has {} blocks for the platform {}: ", names.len(), shown(platform))?;
                for (index, name) in names.iter().take(MOST_NAMES).enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    f.write_str(&shown(name))?;
                }
                if names.len() > MOST_NAMES {
                    f.write_str(", …")?;
                }
                f.write_str(". Say which by its name; if two have the same, give one of them another.")
            }
            Self::Odd(sentences) => f.write_str(sentences),
        }
    }
}

impl std::error::Error for FormatError {}

const MOST_NAMES: usize = 8;

/// Somebody's text in quotes: short, and with no line of its own.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_name_blocks_shortly_and_in_one_line() {
        let several = FormatError::Several { platform: "Ring".into(), names: vec!["a\nb".into(), "x".repeat(100)] };
        let text = several.to_string();
        assert!(text.contains(r#""Ring": "a\nb", "xxx"#) && text.contains('…') && !text.contains('\n'), "{text}");
        assert!(text.len() < 250);
        let none = FormatError::NoBlock { platform: "Ring".into(), name: Some("Home".into()) };
        assert!(none.to_string().starts_with("It has no block with the platform \"Ring\" and the name \"Home\""));
    }
}
