//! Values from the environment of a command: from a variable, from the file that a variable names, or from a credential of systemd.
//! Each is read only if the command needs it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::input::without_line_end;
use crate::{Error, Result, Secret};

/// The largest file that is read: the longest token.
const LARGEST: u64 = 64 * 1024;
/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The environment of a process.
pub(super) struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
}

#[cfg(test)]
impl<'a> Environment<'a> {
    /// The environment of a test.
    pub(super) fn of(variable: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { variable }
    }
}

/// A value, and its name in a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) value: Secret,
    pub(super) name: String,
}

impl Environment<'static> {
    pub(super) fn of_this_process() -> Self {
        Self { variable: &|name| std::env::var_os(name) }
    }
}

impl Environment<'_> {
    /// The value of a variable, without a byte order mark and line ends. An empty value counts as none.
    pub(super) fn variable(&self, name: &str) -> Result<Option<Secret>> {
        let Some(value) = (self.variable)(name) else { return Ok(None) };
        let value = value.into_string().map_err(|_| Error::invalid(format!("{name} is not valid UTF-8.")))?;
        Ok(Some(Secret::new(without_line_end(&value))).filter(|value| !value.is_empty()))
    }

    /// The value of a variable; or of the file that `NAME_FILE` names; or of the credential of that name. Blocks.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the variable and its `_FILE` are both set, and if the file cannot be read.
    pub(super) fn find(&self, name: &str, credential: Option<&str>) -> Result<Option<Named>> {
        let file = self.path(&file_of(name));
        if let Some(value) = self.variable(name)? {
            if file.is_some() {
                return Err(Error::invalid(format!(
                    "{name} and {} are both set. Take one of them away.",
                    file_of(name)
                )));
            }
            return Ok(Some(Named { value, name: name.to_owned() }));
        }
        if file.is_some() {
            return self.file(name);
        }
        let Some(path) = credential.zip(self.path(CREDENTIALS)).map(|(name, folder)| folder.join(name)) else {
            return Ok(None);
        };
        match path.symlink_metadata() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            _ => read(&path, CREDENTIALS).map(Some),
        }
    }

    /// The content of the file that `NAME_FILE` names. Blocks.
    pub(super) fn file(&self, name: &str) -> Result<Option<Named>> {
        let name = file_of(name);
        self.path(&name).map(|path| read(&path, &name)).transpose()
    }

    /// The file that `NAME_FILE` names, or else the credential of that name if it is there; and what names it.
    pub(super) fn file_or_credential(&self, name: &str, credential: &str) -> Option<(PathBuf, String)> {
        let file = self.path(&file_of(name)).map(|path| (path, file_of(name)));
        let of_systemd = || self.path(CREDENTIALS).map(|folder| (folder.join(credential), CREDENTIALS.to_owned()));
        file.or_else(|| of_systemd().filter(|(path, _)| path.symlink_metadata().is_ok()))
    }

    /// Whether `NAME_FILE` names a file.
    pub(super) fn names_file(&self, name: &str) -> bool {
        self.path(&file_of(name)).is_some()
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}

fn file_of(name: &str) -> String {
    format!("{name}_FILE")
}

/// The content of a file, without a byte order mark and line ends. `option` is the option that names the file. Blocks.
///
/// # Errors
///
/// `INVALID_ARGUMENT`, for anything but a regular file with a text of at most 64 KiB.
pub(super) fn read(path: &Path, option: &str) -> Result<Named> {
    let (bytes, name) = read_bytes(path, option)?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(Error::invalid(format!("{name} is not valid UTF-8. Save it as UTF-8.")));
    };
    Ok(Named { value: Secret::new(without_line_end(&text)), name: option.to_owned() })
}

/// The bytes of a file, and the beginning of a sentence about it. Blocks.
///
/// # Errors
///
/// `INVALID_ARGUMENT`, for anything but a regular file with at most 64 KiB.
pub(super) fn read_bytes(path: &Path, option: &str) -> Result<(Vec<u8>, String)> {
    let name = if looks_like_path(path) {
        format!("{option} names {}, which", path.display())
    } else {
        // The user may have given the secret in place of its file.
        format!("{option} names a file, not shown here because its name could be the secret itself, which")
    };
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Error::invalid(format!("{name} does not exist. Check the path, and whether the secret is mounted."))
        }
        _ => Error::invalid(format!("{name} cannot be read. Check its owner and mode.")).with_cause(error),
    };
    // The check comes before the file is opened: a FIFO would wait for its writer, and a device may do anything.
    let kind = path.metadata().map_err(unreadable)?.file_type();
    if !kind.is_file() {
        let kind = if kind.is_dir() { "a folder" } else { "a device, a FIFO or a socket" };
        return Err(Error::invalid(format!("{name} is {kind}. A secret is read from a regular file.")));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::invalid(format!("{name} is larger than 64 KiB, so it is not a secret.")));
    }
    Ok((bytes, name))
}

impl Named {
    /// The value. An error if the file is empty.
    pub(super) fn non_empty(self) -> Result<Self> {
        if self.value.expose().trim().is_empty() {
            return Err(Error::invalid(format!("{} names a file in which there is nothing.", self.name)));
        }
        Ok(self)
    }
}

fn looks_like_path(path: &Path) -> bool {
    path.starts_with(".") || path.starts_with("..") || (path.is_absolute() && path.components().count() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    fn found(variables: &[(&str, &str)], credential: Option<&str>) -> Result<Option<(String, String)>> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        let found = Environment { variable: &variable }.find("RING_PASSWORD", credential)?;
        Ok(found.map(|Named { value, name }| (value.expose().to_owned(), name)))
    }

    fn refused(variables: &[(&str, &str)], credential: Option<&str>) -> String {
        let error = found(variables, credential).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        error.message().to_owned()
    }

    #[test]
    fn a_variable_comes_before_its_file_and_both_before_a_credential() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("file"), "from the file").unwrap();
        std::fs::write(path("ring-password"), "from the credential").unwrap();
        let (file, credentials) =
            (("RING_PASSWORD_FILE", &*path("file")), (CREDENTIALS, folder.path().to_str().unwrap()));
        let value = |variables: &[_]| found(variables, Some("ring-password")).unwrap().map(|(value, _)| value);
        let variable = ("RING_PASSWORD", "from the variable");
        assert_eq!(value(&[variable, credentials]).as_deref(), Some("from the variable"));
        assert_eq!(value(&[file, credentials]).as_deref(), Some("from the file"));
        assert_eq!(value(&[("RING_PASSWORD", ""), file]).as_deref(), Some("from the file"));
        assert_eq!(value(&[variable, ("RING_PASSWORD_FILE", "")]).as_deref(), Some("from the variable"));
        assert_eq!(value(&[credentials]).as_deref(), Some("from the credential"));
        assert_eq!(found(&[credentials], None), Ok(None), "not every value may be a credential");
        assert_eq!(found(&[credentials], Some("ring-email")), Ok(None));
        assert_eq!(found(&[(CREDENTIALS, &path("file"))], Some("ring-email")), Ok(None));
        assert_eq!(found(&[], Some("ring-password")), Ok(None));
        let message = refused(&[variable, file], None);
        assert_eq!(message, "RING_PASSWORD and RING_PASSWORD_FILE are both set. Take one of them away.");
    }

    #[test]
    fn a_byte_order_mark_and_the_line_end_are_not_part_of_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for (content, value) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("\u{feff}secret\r\n", "secret"),
            ("secret\r", "secret"),
            (" two words \n\n", " two words "),
            ("a\nb\n", "a\nb"),
        ] {
            std::fs::write(&path, content).unwrap();
            let named = read(&path, "RING_PASSWORD_FILE").unwrap();
            assert_eq!((named.value.expose(), &*named.name), (value, "RING_PASSWORD_FILE"), "{content:?}");
            let of_variable = found(&[("RING_PASSWORD", content)], None).unwrap().unwrap();
            assert_eq!(of_variable, (value.to_owned(), "RING_PASSWORD".to_owned()), "{content:?}");
        }
        assert_eq!(found(&[("RING_PASSWORD", "\r\n")], None), Ok(None));
        for content in ["", "\n", "\u{feff}", " \r\n"] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path, "RING_EMAIL_FILE").unwrap().non_empty().unwrap_err();
            assert_eq!(error.message(), "RING_EMAIL_FILE names a file in which there is nothing.");
        }
    }

    #[test]
    fn only_a_regular_file_with_a_short_text_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let says = |path: &Path| read(path, "RING_PASSWORD_FILE").unwrap_err().message().to_owned();
        assert!(says(&path).contains(&format!("RING_PASSWORD_FILE names {}, which does not exist", path.display())));
        assert!(says(folder.path()).contains("is a folder"));
        std::fs::write(&path, vec![b'x'; 65_536]).unwrap();
        assert_eq!(read(&path, "s").unwrap().value.expose().len(), 65_536);
        std::fs::write(&path, vec![b'x'; 65_537]).unwrap();
        assert!(says(&path).contains("larger than 64 KiB"));
        assert!(says(&path.join("below")).contains("does not exist"));
        std::fs::write(&path, [0xff, 0xfe, b's', 0]).unwrap();
        assert!(says(&path).contains("not valid UTF-8"));
        #[cfg(unix)]
        {
            for device in ["/dev/null", "/dev/stdin"] {
                let said = read(Path::new(device), "s").map(|_| ());
                // The standard input of the test may be a regular file.
                assert!(
                    said.as_ref().is_err_and(|error| error.message().contains("a device")) || device == "/dev/stdin"
                );
            }
            let link = folder.path().join("link");
            std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
            std::os::unix::fs::symlink(&path, &link).unwrap();
            std::fs::write(&path, "secret").unwrap();
            assert_eq!(read(&link, "s").unwrap().value.expose(), "secret", "as Kubernetes mounts them");
            assert!(says(&folder.path().join("loop")).contains("cannot be read"));
        }
    }

    #[test]
    fn a_secret_in_place_of_its_file_is_not_shown() {
        for secret in ["canary", "canary/with/slashes", "/canary", "eyJcanary"] {
            let message = refused(&[("RING_PASSWORD_FILE", secret)], None);
            assert!(message.contains("RING_PASSWORD_FILE") && !message.contains("canary"), "{message}");
        }
        assert!(refused(&[("RING_PASSWORD_FILE", "./missing")], None).contains("./missing"));
    }
}
