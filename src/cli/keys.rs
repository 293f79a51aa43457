//! The key of a sealed journal: from the options, a variable or a credential of systemd.

use std::path::Path;

use super::args::{KeyOptions, Options};
use super::exec;
use super::secrets::{self, Environment};
use crate::journal::{Codec, Key, KeySource};
use crate::{Error, ErrorCode, Result};

/// The variable that with `_FILE` names a file with the key. No variable contains the key itself.
const NAME: &str = "RING_AUTH_KEY";
const CREDENTIAL: &str = "ring-auth-key";

/// The codec of the journal of a command. A key file is read at once, a key command is run when the key is needed. Blocks.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if the file does not contain a key.
pub(super) fn codec(options: &Options, issuer: String) -> Result<Codec> {
    let codec = Codec::from(issuer);
    if !options.store.is_given() {
        return Ok(codec);
    }
    let forgetting = |codec: Codec| if options.keys.forgets_sealed { codec.forgetting_sealed() } else { codec };
    if let Some(module) = &options.module {
        // The program that uses the module knows no other key.
        return Ok(forgetting(match module.key.clone() {
            Some(key) => codec.with_key(key),
            None => codec,
        }));
    }
    let key = of_options(&options.keys, options.store.env_key.as_deref(), &Environment::of_this_process())?;
    if options.keys.unseal && key.is_none() {
        return Err(Error::invalid(
            "--unseal needs the key of the journal: --key-file, --key-command or RING_AUTH_KEY_FILE.",
        ));
    }
    let codec = match key {
        Some(key) => codec.with_key(key),
        None => codec,
    };
    let codec = match &options.keys.new_file {
        Some(path) => codec.with_new_key(of_file(path, "--new-key-file")?.into()),
        None if options.keys.unseal => codec.unsealing(),
        None => codec,
    };
    Ok(forgetting(codec))
}

fn of_options(
    options: &KeyOptions,
    secret_variable: Option<&str>,
    environment: &Environment<'_>,
) -> Result<Option<KeySource>> {
    if let Some(path) = &options.file {
        return of_file(path, "--key-file").map(|key| Some(key.into()));
    }
    if let Some(line) = options.command.clone() {
        let secret_variable = secret_variable.map(str::to_owned);
        return Ok(Some(KeySource::asking(move || of_command(&line, secret_variable.as_deref()))));
    }
    let found = environment.file_or_credential(NAME, CREDENTIAL);
    found.map(|(path, option)| of_file(&path, &option).map(KeySource::from)).transpose()
}

fn of_file(path: &Path, option: &str) -> Result<Key> {
    let (content, name) = secrets::read_bytes(path, option)?;
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::invalid(format!("{name} has nothing in it.")));
    }
    Key::from_content(&content).ok_or_else(|| Key::refused(&format!("What {option} names")))
}

fn of_command(line: &str, secret_variable: Option<&str>) -> Result<Key> {
    const OPTION: &str = "--key-command";
    let output = exec::output(line, OPTION, secret_variable).map_err(|problem| {
        Error::new(ErrorCode::Store, format!("{problem} Run it by hand to see why; what it printed is not shown here."))
    })?;
    Key::from_content(&output).ok_or_else(|| Key::refused(&format!("What the command of {OPTION} printed")))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::*;

    fn options(file: Option<PathBuf>, command: Option<&str>) -> KeyOptions {
        KeyOptions { file, command: command.map(str::to_owned), ..KeyOptions::default() }
    }

    fn found(options: &KeyOptions, variables: &[(&str, PathBuf)]) -> Result<Option<Key>> {
        let variable = |name: &str| -> Option<OsString> {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        of_options(options, None, &Environment::of(&variable))?.map(|source| source.key()).transpose()
    }

    #[test]
    fn an_option_comes_first_then_the_command_the_variable_and_the_credential() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, byte: u8| {
            let path = folder.path().join(name);
            std::fs::write(&path, Key::new([byte; 32]).to_text().expose()).unwrap();
            path
        };
        let (option, variable) = (file("option", 1), file("variable", 2));
        file("ring-auth-key", 3);
        let command = format!("echo {}", Key::new([4; 32]).to_text().expose());
        let of = |key_file: Option<&PathBuf>, command: Option<&str>, variables: &[(&str, PathBuf)]| {
            found(&options(key_file.cloned(), command), variables).unwrap()
        };
        let variable = ("RING_AUTH_KEY_FILE", variable);
        let credentials = ("CREDENTIALS_DIRECTORY", folder.path().to_owned());
        let all = [variable, credentials.clone()];
        let key = |byte| Some(Key::new([byte; 32]));
        assert_eq!(of(Some(&option), Some("false"), &all), key(1));
        assert_eq!(of(None, Some(&command), &all), key(4));
        assert_eq!(of(None, None, &all), key(2));
        assert_eq!(of(None, None, &[credentials]), key(3));
        assert_eq!(of(None, None, &[]), None);
        assert_eq!(of(None, None, &[("RING_AUTH_KEY", "x".into())]), None, "a key is no variable");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_by_name_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for content in ["canary", &"ab".repeat(31), &"canary".repeat(20_000), "", "\n"] {
            std::fs::write(&path, content).unwrap();
            let error = found(&options(Some(path.clone()), None), &[]).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains("--key-file") && !error.message().contains("canary"), "{error}");
        }
        let raw = [0xfe; 32];
        std::fs::write(&path, raw).unwrap();
        assert_eq!(found(&options(Some(path.clone()), None), &[]), Ok(Some(Key::new(raw))));
        let of_folder = found(&options(None, None), &[("RING_AUTH_KEY_FILE", folder.path().to_owned())]).unwrap_err();
        assert!(of_folder.message().contains("RING_AUTH_KEY_FILE") && of_folder.message().contains("is a folder"));
        let missing = found(&options(Some(folder.path().join("none")), None), &[]).unwrap_err();
        assert!(missing.message().contains("does not exist"), "{missing}");
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_fails_is_said_with_its_exit_code_and_without_its_output() {
        for (line, code, says) in [
            ("echo canary; exit 3", ErrorCode::Store, "failed with exit code 3"),
            ("no-such-command-of-anybody canary", ErrorCode::Store, "was not found (exit code 127)"),
            ("kill -9 $$", ErrorCode::Store, "was ended by a signal"),
            ("yes canary", ErrorCode::Store, "printed more than 64 KiB, and was ended"),
            ("echo canary", ErrorCode::InvalidArgument, "is not a key"),
            ("true", ErrorCode::InvalidArgument, "is not a key"),
        ] {
            let error = found(&options(None, Some(line)), &[]).unwrap_err();
            assert_eq!(error.code(), code, "{line}: {error}");
            assert!(error.message().contains("--key-command") && error.message().contains(says), "{line}: {error}");
            assert!(!error.message().contains("canary"), "{line}: {error}");
        }
    }
}
