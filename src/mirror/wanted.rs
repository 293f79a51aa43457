//! Which files a mirror takes: this module decides, by what is in a file, before anything is sent or made.
//!
//! The check is made when a store is opened. Later an editor may leave a mirror torn for a moment: the formats then leave the
//! text unchanged and read it again, and the manager continues.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::Target;
use crate::files::{Disk, kind};
use crate::journal::carries_signature;
use crate::looks::{Look, text_in};
use crate::{Error, Result};

/// How often a refused file is read again, and the wait between: an editor may be writing it.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(20);

/// Checks that a file is one that shows a token, or can be made to. If a file does not exist or cannot be read, its reader
/// reports that.
///
/// # Errors
///
/// `INVALID_ARGUMENT` with a description of the file.
pub(super) fn check(target: &Target, given: &Path, real: &Path, disk: &Disk) -> Result<()> {
    let wanted = Wanted::of(target);
    if let Some(kind) = kind::at(real) {
        return Err(Error::invalid(format!(
            "{} is not {wanted}; it is {kind}. Give the path of the file that shows the token. Nothing was changed.",
            given.display()
        )));
    }
    let mut looks = LOOKS;
    loop {
        let Ok(Some(bytes)) = disk.read(real) else { return Ok(()) };
        match wanted.check(&bytes) {
            Ok(()) => return Ok(()),
            Err(_) if looks > 0 => looks -= 1,
            Err(found) => {
                return Err(Error::invalid(format!(
                    "{} is not {wanted}; it looks like {found} Nothing was changed.",
                    given.display()
                )));
            }
        }
        sleep(LOOK);
    }
}

/// A kind of mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    HomebridgeConfig,
    Dotenv,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::HomebridgeConfig => "Homebridge's config.json",
            Self::Dotenv => "a .env file",
        })
    }
}

impl Wanted {
    fn of(target: &Target) -> Self {
        match target {
            Target::Homebridge { .. } => Self::HomebridgeConfig,
            Target::Dotenv { .. } => Self::Dotenv,
        }
    }

    /// # Errors
    ///
    /// A description of the file, and the store that was probably meant.
    fn check(self, bytes: &[u8]) -> Result<(), String> {
        if carries_signature(bytes) {
            return Err("a journal of ring-auth: did you mean the store type 'file'?".into());
        }
        let look = Look::of(bytes);
        let is_taken = match self {
            Self::HomebridgeConfig => is_config(bytes, look),
            Self::Dotenv => is_dotenv(bytes, look),
        };
        if is_taken {
            return Ok(());
        }
        Err(match look {
            Look::HomebridgeConfig => format!("{look}: did you mean the store type 'homebridge'?"),
            Look::Dotenv if self != Self::Dotenv => format!("{look}: did you mean the store type 'dotenv'?"),
            Look::Dotenv => "a .env file in UTF-16. Save it as UTF-8.".into(),
            Look::Utf16 | Look::OtherText => format!("{look}. Save it as UTF-8."),
            _ => format!("{look}. Give another path."),
        })
    }
}

/// Whether a text is Homebridge's configuration. That includes one with an error in it or one that is partly written, whose
/// error is reported with its line, and a file without any text, which an editor has just truncated or is about to write.
fn is_config(bytes: &[u8], look: Look) -> bool {
    match look {
        Look::HomebridgeConfig | Look::BrokenJson | Look::Blank | Look::Zeros => true,
        Look::JsonObject => {
            text_in(bytes).is_some_and(|text| text.chars().filter(|c| !c.is_whitespace()).eq("{}".chars()))
        }
        _ => false,
    }
}

/// Whether a content is a text in UTF-8 that is not JSON.
fn is_dotenv(bytes: &[u8], look: Look) -> bool {
    let is_json = matches!(
        look,
        Look::HomebridgeConfig | Look::OtherToolsState | Look::JsonObject | Look::Json | Look::BrokenJson
    );
    !is_json && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wanted: Wanted, bytes: &[u8]) -> String {
        wanted.check(bytes).unwrap_err()
    }

    #[test]
    fn a_configuration_is_an_object_with_a_key_of_homebridge() {
        let taken: [&[u8]; 10] = [
            b"{}",
            b" {\r\n} ",
            b"{\"bridge\": {}}",
            b"{\"accessories\": []}",
            b"\xef\xbb\xbf{\"platforms\": []}",
            // Partly written, or with an error in it.
            b"{\"bridge\": {\"na",
            b"{\"x\": 1,}",
            b"{",
            b"",
            b"\n",
        ];
        for bytes in taken {
            assert_eq!(Wanted::HomebridgeConfig.check(bytes), Ok(()), "{}", String::from_utf8_lossy(bytes));
        }
        let others: [(&[u8], &str); 8] = [
            (b"{\"name\": \"my-app\"}", "a JSON file. Give another path."),
            (b"{\"ring_token\": \"x\"}", "the file in which another tool keeps its Ring token. Give another path."),
            (b"[]", "a JSON file. Give another path."),
            (b"RING_REFRESH_TOKEN=x", "a .env file: did you mean the store type 'dotenv'?"),
            (b"Buy milk.", "a text. Give another path."),
            (b"\x89PNG\r\n\x1a\n\0", "a picture. Give another path."),
            (b"\x80\x01", "a binary file. Give another path."),
            (b"{\n  \"ring-auth-journal\": \"j\"", "a journal of ring-auth: did you mean the store type 'file'?"),
        ];
        for (bytes, sentence) in others {
            assert_eq!(refused(Wanted::HomebridgeConfig, bytes), sentence);
        }
    }

    #[test]
    fn a_dotenv_file_is_a_text_in_utf_8_that_is_no_json() {
        for text in ["", "\n", "A=1", "Buy milk.", "# caf\u{e9}\n", "[section]\nA=1", "\u{feff}A=1", "A='{\"a\": 1}'"] {
            assert_eq!(Wanted::Dotenv.check(text.as_bytes()), Ok(()), "{text}");
        }
        let others: [(&[u8], &str); 9] = [
            (b"{\"bridge\": {}}", "Homebridge's config.json: did you mean the store type 'homebridge'?"),
            (b"{\"a\": 1", "a JSON file with an error in it. Give another path."),
            (b"{}", "a JSON file. Give another path."),
            (b"[1]", "a JSON file. Give another path."),
            (b"A=caf\xe9", "a text that is not UTF-8. Save it as UTF-8."),
            (b"\xff\xfeA\0=\x001\0", "a .env file in UTF-16. Save it as UTF-8."),
            (b"A=1\0", "a binary file. Give another path."),
            (b"\x89PNG\r\n\x1a\n\0", "a picture. Give another path."),
            (b"{\"ring-auth-journal\": 1}", "a journal of ring-auth: did you mean the store type 'file'?"),
        ];
        for (bytes, sentence) in others {
            assert_eq!(refused(Wanted::Dotenv, bytes), sentence);
        }
    }

    #[test]
    fn a_file_that_is_half_written_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        // An editor has written the first byte of two.
        std::fs::write(&path, b"A=caf\xc3").unwrap();
        let target = Target::Dotenv { path: path.clone(), key: None };
        let check = || check(&target, &path, &path, &Disk::default());
        assert!(check().is_err());
        std::thread::scope(|scope| {
            scope.spawn(|| std::fs::write(&path, "A=caf\u{e9}\n").unwrap());
            while check().is_err() {}
        });
    }
}
