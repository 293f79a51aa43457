//! The formats of mirrors: where the token is in a text, and how to change only the token.

use std::fmt;

use super::Places;
use crate::Secret;

/// A kind of text that contains a token. It converts bytes to bytes, and knows no files, locks or times.
///
/// No function panics, whatever the bytes are. Each result was read again: it shows the requested token, and everything else in
/// it means the same as before.
pub trait Format: Send + Sync + 'static {
    /// The token that the text shows; `None` if the place for it is empty.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if the text must not be changed.
    fn read(&self, bytes: &[u8]) -> Result<Option<Secret>, FormatError>;

    /// The text with this token in it, every other byte as it was. If it has no token yet, one is added. If it shows this token
    /// already, it is returned unchanged.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if the text must not be changed.
    fn write(&self, bytes: &[u8], token: &Secret) -> Result<Vec<u8>, FormatError>;

    /// The text that a login writes, into a file that may not exist: as [`Format::write`], but it also creates the place for
    /// the token, and removes what a token replaces. With any token it shows before a login whether the token can be stored.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if the text must not be changed.
    fn introduce(&self, bytes: Option<&[u8]>, token: &Secret) -> Result<(Vec<u8>, Introduced), FormatError>;

    /// The text without its token, for a logout.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if the text must not be changed.
    fn clear(&self, bytes: &[u8]) -> Result<Vec<u8>, FormatError>;

    /// The places for tokens in the text: that of this mirror, and those of others.
    fn places(&self, bytes: &[u8]) -> Places;
}

/// Changes of a login besides the token, for a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Introduced {
    /// Whether the place for the token is new: a block, or a line.
    pub added: bool,
    /// The keys that were removed because a token replaces them.
    pub removed: Vec<&'static str>,
}

/// Why a text cannot be read or changed. `Display` is a sentence or two for people. Of the text itself it shows only `platform`
/// and `name` values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatError {
    /// Not valid for its readers. Counted from 1, the column in bytes.
    NotValid {
        /// The line of the error.
        line: usize,
        /// The column in that line.
        column: usize,
    },
    /// The text is missing, and this package does not create such a file.
    Nothing,
    /// The block for the token is missing.
    NoBlock {
        /// The requested platform.
        platform: String,
        /// The requested name, if one was given.
        name: Option<String>,
    },
    /// More than one block for the token.
    Several {
        /// The requested platform.
        platform: String,
        /// The names of the blocks, as Homebridge calls them.
        names: Vec<String>,
    },
    /// Anything else, described by the sentences.
    Odd(String),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotValid { line, column } => {
                write!(
                    f,
                    "It is not valid JSON: look at line {line}, column {column}. ring-auth does not change it until you have fixed that."
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
                f.write_str(". Say which by its name; if two have the same name, rename one of them.")
            }
            Self::Odd(sentences) => f.write_str(sentences),
        }
    }
}

impl std::error::Error for FormatError {}

const MOST_NAMES: usize = 8;

/// A text from the file in quotes, shortened, in one line.
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
