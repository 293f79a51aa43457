//! The file of a mirror, and the place of the token in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::which_journal::{Sightings, WhichJournal, not_found};
use super::{Attempts, Dotenv, FileMirror, Format, Homebridge, Mirror, wanted};
use crate::files::names::hidden_sibling;
use crate::files::{Disk, check_text, is_folder, resolve};
use crate::journal::{Codec, JournalStore, KEY_BYTES, Key};
use crate::{Error, ErrorCode, Result};

/// The file of a mirror, and the place of the token in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A block of Homebridge's configuration.
    Homebridge {
        /// `config.json`.
        path: PathBuf,
        /// The platform of the block. The default is `Ring`.
        platform: Option<String>,
        /// The name of the block, if several blocks have that platform.
        name: Option<String>,
    },
    /// A `.env` file.
    Dotenv {
        /// The file.
        path: PathBuf,
        /// The name of the variable. The default is [`Dotenv::KEY`].
        key: Option<String>,
    },
}

impl Target {
    /// The file.
    pub fn path(&self) -> &Path {
        let (Self::Homebridge { path, .. } | Self::Dotenv { path, .. }) = self;
        path
    }

    /// The format of the file.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the key cannot be the name of a variable.
    pub fn format(&self) -> Result<Box<dyn Format>> {
        Ok(match self {
            Self::Homebridge { platform, name, .. } => {
                Box::new(Homebridge::new(platform.as_deref().unwrap_or(Homebridge::PLATFORM), name.clone()))
            }
            Self::Dotenv { key, .. } => Box::new(Dotenv::new(key.as_deref().unwrap_or(Dotenv::KEY))?),
        })
    }

    /// Opens the file and finds its journal: in the given folder, or beside the file. Writes nothing yet. Blocks.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the path cannot be the path of such a file, and if several blocks match; `STORE` if the path
    /// cannot be followed.
    pub(crate) fn open(
        &self,
        state_path: Option<&Path>,
        codec: &Codec,
        disk: Disk,
        purpose: Purpose,
    ) -> Result<(JournalStore, FileMirror)> {
        let File { given, state_path, disk, sightings, mirror } = self.open_file(state_path, disk, purpose)?;
        // The link to the file leads to another journal only if the journal lies beside the file.
        let link = match &state_path {
            None => (given.clone(), hidden_sibling(&given, "")),
            Some(_) => (PathBuf::new(), PathBuf::new()),
        };
        let finder = WhichJournal::new(given, state_path, self.named(), codec.clone(), disk.clone(), sightings);
        Ok((JournalStore::found_by(Arc::new(finder), link, codec, disk)?, mirror))
    }

    /// Opens the file beside a store that needs no journal for it; as [`Target::open`] otherwise.
    pub(crate) fn open_alone(&self, state_path: Option<&Path>, disk: Disk, purpose: Purpose) -> Result<FileMirror> {
        self.open_file(state_path, disk, purpose).map(|file| file.mirror)
    }

    fn open_file(&self, state_path: Option<&Path>, disk: Disk, purpose: Purpose) -> Result<File> {
        let path = self.path();
        let given = absolute(path)?;
        check_file(path)?;
        let real = resolve(&given).map_err(|error| not_found(&given, &error))?;
        wanted::check(self, &given, &real, &disk)?;
        let disk = if real.exists() {
            disk.for_owner_of(&real)
        } else {
            disk.for_owner_of(real.parent().unwrap_or(Path::new("/")))
        };
        let state_path = state_path.map(state_folder).transpose()?;
        let format = self.format()?;
        let sightings = Sightings::default();
        let mirror =
            FileMirror::new(given.clone(), format, state_path.clone(), disk.clone(), purpose, sightings.clone());
        match mirror.look(Attempts::One) {
            Err(error) if error.code() == ErrorCode::InvalidArgument => return Err(error),
            // The file cannot be read now. If there is a journal, it could be read once.
            _ => {}
        }
        Ok(File { given, state_path, disk, sightings, mirror })
    }

    /// The kind of the file and the place in it, as words.
    fn named(&self) -> Vec<String> {
        let words = match self {
            Self::Homebridge { platform, name, .. } => {
                [Homebridge::KIND, platform.as_deref().unwrap_or(Homebridge::PLATFORM)]
                    .into_iter()
                    .chain(name.as_deref())
            }
            Self::Dotenv { key, .. } => [Dotenv::KIND, key.as_deref().unwrap_or(Dotenv::KEY)].into_iter().chain(None),
        };
        words.map(str::to_owned).collect()
    }

    /// A `.env` file, from a text that is the name of its variable or the key of its journal. A text that can be both, such as 43
    /// letters, is a name, unless it contains small letters, capitals and digits.
    pub fn dotenv(path: PathBuf, text: Option<String>) -> (Self, Option<Key>) {
        let has = |is_one: fn(&u8) -> bool| text.as_ref().is_some_and(|text| text.bytes().any(|byte| is_one(&byte)));
        let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
        let is_hex = text.as_ref().is_some_and(|text| text.len() == 2 * KEY_BYTES);
        let is_name = text.as_ref().is_some_and(|text| Dotenv::new(text).is_ok());
        match text.as_deref().and_then(Key::parse) {
            Some(key) if is_mixed || is_hex || !is_name => (Self::Dotenv { path, key: None }, Some(key)),
            _ => (Self::Dotenv { path, key: text }, None),
        }
    }
}

/// An opened file, and what its journal is found by.
struct File {
    given: PathBuf,
    state_path: Option<PathBuf>,
    disk: Disk,
    sightings: Sightings,
    mirror: FileMirror,
}

/// The purpose for which a mirror is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Show a token in the place that exists for it.
    Follow,
    /// Make that place, and remove what a token replaces, for a login.
    Introduce,
}

fn absolute(path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(Error::invalid("A path of the store is empty or has a NUL in it. Give the path of a file."));
    }
    check_text(path)?;
    std::path::absolute(path).map_err(|error| {
        Error::invalid(format!("The path {} cannot be made absolute.", path.display())).with_cause(error)
    })
}

fn check_file(path: &Path) -> Result<()> {
    if is_folder(path) {
        return Err(Error::invalid(format!(
            "{} is a folder. Give the path of the file in it that shows the token.",
            path.display()
        )));
    }
    Ok(())
}

/// The absolute path of a journal's folder.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is a file, or cannot be a path.
pub(crate) fn state_folder(path: &Path) -> Result<PathBuf> {
    if path.exists() && !path.is_dir() {
        return Err(Error::invalid(format!(
            "{} is a file. The state path is the folder in which the journal is kept.",
            path.display()
        )));
    }
    absolute(path)
}

#[cfg(test)]
mod tests {
    use super::super::Decision;
    use super::*;
    use crate::journal::{Accepted, Guard, Offer, Origin, Store};
    use crate::token::RefreshToken;

    const FOLDER: &str = ".ring-auth";
    const ISSUER: &str = "https://oauth.ring.com";

    /// A mirror and its journal.
    struct Place {
        journal: JournalStore,
        mirror: FileMirror,
    }

    fn opened(target: &Target, state_path: Option<&Path>, codec: &Codec, purpose: Purpose) -> Result<Place> {
        let (journal, mirror) = target.open(state_path, codec, Disk::default(), purpose)?;
        Ok(Place { journal, mirror })
    }

    fn open(folder: &Path, state_path: Option<&Path>) -> Place {
        let path = folder.join("config.json");
        std::fs::write(&path, r#"{"platforms":[{"platform":"Ring","refreshToken":"t"}]}"#).unwrap();
        let target = Target::Homebridge { path, platform: None, name: None };
        opened(&target, state_path, &ISSUER.into(), Purpose::Follow).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn two_files_whose_names_are_no_text_have_two_journals() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        use crate::Secret;

        let folder = tempfile::tempdir().unwrap();
        let journals = [&b"a\xfe.env"[..], b"a\xff.env"].map(|name| {
            let link = folder.path().join(format!("link-{}", name[1]));
            std::fs::write(folder.path().join(OsStr::from_bytes(name)), "RING_REFRESH_TOKEN=t\n").unwrap();
            std::os::unix::fs::symlink(OsStr::from_bytes(name), &link).unwrap();
            let target = Target::Dotenv { path: link, key: None };
            let place = opened(&target, None, &ISSUER.into(), Purpose::Follow).unwrap();
            drop(place.journal.try_lock().unwrap().unwrap());
            place.mirror.reconcile(&mut |_| Ok(Decision::Show(Secret::new("u")))).unwrap();
            assert_eq!(std::fs::read(folder.path().join(OsStr::from_bytes(name))).unwrap(), b"RING_REFRESH_TOKEN=u\n");
            place.journal.name()
        });
        assert_eq!(journals[0].matches('\u{fffd}').count(), 1, "it is shown with a mark, and kept without");
        let own = std::fs::read_dir(folder.path().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
        let locks: Vec<_> = own.filter(|path| path.extension() == Some(OsStr::new("lock"))).collect();
        assert_eq!(locks.len(), 4, "for each the lock of its mirror and that of its journal: {locks:?}");
    }

    #[test]
    fn a_second_manager_with_a_token_of_the_options_finds_the_journal_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "ONE=\nTWO=\n").unwrap();
        let token = RefreshToken::from_raw("token-of-the-options");
        let [one, two] = ["ONE", "TWO"].map(|key| {
            let target = Target::Dotenv { path: path.clone(), key: Some(key.to_owned()) };
            let place = opened(&target, None, &ISSUER.into(), Purpose::Follow).unwrap();
            place.journal.prefer(token.fingerprint());
            place.journal
        });
        let offer = Offer { token: &token, origin: Origin::Given, now: 1 };
        let accept = |guard: &mut dyn Guard| {
            let mut state = guard.read().unwrap().state;
            guard.accept(&mut state, offer).unwrap()
        };
        // Each has its own lock before one of them has written.
        let (mut first, mut second) = (one.try_lock().unwrap().unwrap(), two.try_lock().unwrap().unwrap());
        assert!(matches!(accept(&mut *first), Accepted::Here { written: true, .. }));
        assert!(matches!(accept(&mut *second), Accepted::Elsewhere));
        drop((first, second));
        let state = two.try_lock().unwrap().unwrap().read().unwrap().state;
        assert_eq!(state.fingerprint(), Some(token.fingerprint()));
    }

    #[test]
    fn without_its_key_a_sealed_journal_stops_its_mirror_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "ONE=one-token-of-this-test\nTWO=two-token-of-this-test\n").unwrap();
        let key = Key::new([7; KEY_BYTES]);
        let sealed = Codec::from(ISSUER).with_key(key.clone().into());
        let open = |key: &str, codec: &Codec| {
            let target = Target::Dotenv { path: path.clone(), key: Some(key.to_owned()) };
            opened(&target, None, codec, Purpose::Follow)
        };
        let write = |place: Place, token: &str| {
            let mut guard = place.journal.try_lock().unwrap().unwrap();
            let mut state = guard.read().unwrap().state;
            state.take_over(RefreshToken::from_raw(token), 1);
            guard.commit(&mut state).unwrap();
            place.journal.name()
        };
        // No new journal is made beside one that may know the token as spent.
        let one = write(open("ONE", &sealed).unwrap(), "one-token-of-this-test");
        for codec in [Codec::from(ISSUER), Codec::from(ISSUER).with_key(Key::new([8; KEY_BYTES]).into())] {
            for name in ["ONE", "TWO"] {
                let error = open(name, &codec).err().unwrap();
                assert_eq!(error.code(), ErrorCode::Store);
                assert!(error.message().contains(&one) && error.message().contains(key.fingerprint()), "{error}");
            }
        }
        // With the key the family decides as usual, and a mirror with its own journal does not need the key of another one.
        assert_eq!(open("ONE", &sealed).unwrap().journal.peek().unwrap().unwrap().sequence, 1);
        let two = write(open("TWO", &sealed).unwrap(), "two-token-of-this-test");
        assert_ne!(one, two);
        let unsealing = sealed.clone().unsealing();
        let place = open("TWO", &unsealing).unwrap();
        write(place, "two-token-of-this-test-2");
        std::fs::write(&path, "ONE=one-token-of-this-test\nTWO=two-token-of-this-test-2\n").unwrap();
        assert_eq!(open("TWO", &ISSUER.into()).unwrap().journal.name(), two);
        // A logout whose key is lost finds the journal of its mirror.
        let forgetting = Codec::from(ISSUER).forgetting_sealed();
        let place = open("ONE", &forgetting).unwrap();
        assert_eq!(place.journal.name(), one);
        place.journal.try_lock().unwrap().unwrap().forget().unwrap();
        assert!(place.journal.peek().unwrap().unwrap().logged_out_at.is_some());
        assert!(open("TWO", &ISSUER.into()).unwrap().journal.peek().unwrap().unwrap().family.is_some());
    }

    #[test]
    fn a_key_is_told_from_the_name_of_a_variable() {
        let told = |text: &str| match Target::dotenv(PathBuf::new(), Some(text.to_owned())) {
            (Target::Dotenv { key: None, .. }, Some(_)) => "key",
            (Target::Dotenv { key: Some(key), .. }, None) if key == text => "name",
            other => panic!("{other:?}"),
        };
        let of_url = "q0Xq7w3Yy2m9S_u1Zb4Hc5Jd6Ke7Lf8Mg9Nh0Pi1Qj0";
        for key in [&"ab".repeat(32), "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=", of_url] {
            assert_eq!(told(key), "key", "{key}");
        }
        for name in
            ["RING_REFRESH_TOKEN", "A", &"A".repeat(43), "HOMEBRIDGE_RING_TOKEN_FOR_THE_GARAGE_DOOR_0", &"a".repeat(44)]
        {
            assert_eq!(told(name), "name", "{name}");
        }
        assert_eq!(Target::dotenv(PathBuf::new(), None), (Target::Dotenv { path: PathBuf::new(), key: None }, None));
    }

    #[test]
    fn a_path_that_lost_its_bytes_on_the_way_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let lost = folder.path().join("a\u{fffd}/config.json");
        let target = Target::Homebridge { path: lost.clone(), platform: None, name: None };
        let introduced = opened(&target, None, &ISSUER.into(), Purpose::Introduce);
        let other = open(folder.path(), None);
        drop(other);
        let target = Target::Homebridge { path: folder.path().join("config.json"), platform: None, name: None };
        let elsewhere = opened(&target, Some(&lost), &ISSUER.into(), Purpose::Follow);
        let journal = JournalStore::open(&lost, ISSUER, Disk::default());
        for error in [introduced.err(), elsewhere.err(), journal.err()] {
            let error = error.unwrap();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains("not UTF-8"), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_our_own_is_kept_out_of_git_by_its_first_process() {
        let journal_first = |place: Place| drop(place.journal.try_lock().unwrap().unwrap());
        let mirror_first = |place: Place| drop(place.mirror.reconcile(&mut |_| Ok(Decision::Leave)).unwrap());
        let rehearsal_first = |place: Place| drop(place.mirror.dry_run().unwrap());
        for enter in [&journal_first as &dyn Fn(Place), &mirror_first, &rehearsal_first] {
            let beside = tempfile::tempdir().unwrap();
            enter(open(beside.path(), None));
            assert_eq!(std::fs::read(beside.path().join(FOLDER).join(".gitignore")).unwrap(), b"*\n");

            let given = beside.path().join("given");
            enter(open(beside.path(), Some(&given)));
            assert!(given.is_dir() && !given.join(".gitignore").exists());
        }
    }
}
