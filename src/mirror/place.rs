//! Where a mirror that is a file lies, and where its journal does.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::file::hidden_sibling;
use super::{CustomStore, Dotenv, FileMirror, Follower, Format, Homebridge, Program, Unfit, wanted};
use crate::files::names::siblings;
use crate::files::{Disk, Folder, check_text, refuse_foreign_link, resolve};
use crate::journal::state::Known;
use crate::journal::{FileStore, MemoryStore, Store};
use crate::pasted;
use crate::{Error, ErrorCode, Result, Secret};

/// The folder of journals beside a mirror.
const FOLDER: &str = ".ring-auth";
/// The journal of a program's own code, in the folder that it names.
const CUSTOM_JOURNAL: &str = "ring-auth.json";

/// What a mirror is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A block of Homebridge's configuration.
    Homebridge {
        /// `config.json`.
        path: PathBuf,
        /// `Ring` where none is given.
        platform: Option<String>,
        /// Which block, where there are several.
        name: Option<String>,
    },
    /// A `.env` file.
    Dotenv {
        /// The file.
        path: PathBuf,
        /// [`Dotenv::KEY`] where none is given.
        key: Option<String>,
    },
}

/// What a mirror that is opened may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Show a token where there is a place for one.
    Follow,
    /// Make that place, and take away what a token replaces: what a login wants.
    Introduce,
}

/// Where somebody wants a token to be kept.
pub enum Place {
    /// Nowhere but in memory.
    Memory,
    /// In a journal.
    File(PathBuf),
    /// In a file among other things, behind a journal.
    Shown {
        /// Where it is shown.
        target: Target,
        /// The journal's folder; beside the file where none is given.
        state_path: Option<PathBuf>,
    },
    /// By a program's own code.
    Custom {
        /// Its functions.
        functions: Box<dyn CustomStore>,
        /// The journal's folder; without one there is no journal.
        state_path: Option<PathBuf>,
    },
}

/// The same, opened.
pub struct Kept {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// What follows it.
    pub mirror: Option<Follower>,
}

impl Place {
    /// Opens it for tokens of that issuer. Nothing is written yet.
    ///
    /// # Errors
    ///
    /// As for [`ShownPlace::open`].
    pub fn open(self, issuer: &str, purpose: Purpose) -> Result<Kept> {
        Ok(match self {
            Self::Memory => Kept { store: Arc::new(MemoryStore::new(issuer)), mirror: None },
            Self::File(path) => Kept { store: Arc::new(FileStore::open(path, issuer, Disk::default())?), mirror: None },
            Self::Shown { target, state_path } => {
                let place = ShownPlace::open(&target, state_path.as_deref(), issuer, Disk::default(), purpose)?;
                Kept { store: Arc::new(place.journal), mirror: Some(Follower::Place(place.mirror)) }
            }
            Self::Custom { functions, state_path: None } => {
                let (store, program) = Program::without_a_journal(functions, issuer);
                Kept { store: Arc::new(store), mirror: Some(Follower::Program(program)) }
            }
            Self::Custom { functions, state_path: Some(folder) } => {
                check_folder(&folder)?;
                let path = absolute(&folder)?.join(CUSTOM_JOURNAL);
                let journal = FileStore::open_in_state_folder(path, issuer, Disk::default())?;
                Kept { store: Arc::new(journal), mirror: Some(Follower::Program(Program::before_a_journal(functions))) }
            }
        })
    }
}

/// A mirror that is a file, and its journal.
pub struct ShownPlace {
    /// The truth.
    pub journal: FileStore,
    /// What follows it.
    pub mirror: Arc<FileMirror>,
}

impl ShownPlace {
    /// Finds the journal of a mirror: beside it, or in the folder given. Nothing is written.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no file's path, and where it is not clear which block is meant; `STORE` for a
    /// path that cannot be followed.
    pub fn open(
        target: &Target,
        state_path: Option<&Path>,
        issuer: &str,
        disk: Disk,
        purpose: Purpose,
    ) -> Result<Self> {
        let (Target::Homebridge { path, .. } | Target::Dotenv { path, .. }) = target;
        let given = absolute(path)?;
        check_file(path)?;
        let real = resolve(&given).map_err(|error| not_found(&given, &error))?;
        wanted::check(target, &given, &real, &disk)?;
        let disk = if real.exists() {
            disk.for_owner_of(&real)
        } else {
            disk.for_owner_of(real.parent().unwrap_or(Path::new("/")))
        };
        let (folder, whose) = if let Some(folder) = state_path {
            check_folder(folder)?;
            (absolute(folder)?, Folder::Given)
        } else {
            (own_folder(&real)?, Folder::Own)
        };
        let name = Naming::of(&real, state_path.is_some());
        let (format, journal): (Box<dyn Format>, OsString) = match target {
            Target::Homebridge { platform, name: block, .. } => {
                let platform = platform.as_deref().unwrap_or(Homebridge::PLATFORM);
                let format = Homebridge::new(platform, block.clone());
                let text = disk.read(&real).ok().flatten().unwrap_or_default();
                let journal_of = |called: &str| name.journal(platform, &["homebridge", platform, called]);
                let journal = match format.called(&text) {
                    Ok(called) if folder.join(journal_of(&called)).exists() => journal_of(&called),
                    Ok(called) => {
                        let taken: Vec<_> = format.names(&text).iter().map(|name| journal_of(name)).collect();
                        let shown = format.read(&text).ok().flatten();
                        let knows = |journal: &OsString| {
                            shown.as_ref().is_some_and(|shown| knows(&folder.join(journal), issuer, &disk, shown))
                        };
                        // A block that got another name: whoever gave it that may have put an old copy of the token
                        // back with it.
                        let former = name.journals(&folder, platform);
                        former
                            .into_iter()
                            .find(|journal| !taken.contains(journal) && knows(journal))
                            .unwrap_or_else(|| journal_of(&called))
                    }
                    Err(unfit @ Unfit::Several { .. }) => {
                        return Err(Error::invalid(format!("{}: {unfit}", given.display())));
                    }
                    // It cannot be looked up now. It was once, if there is a journal.
                    Err(_) => match block {
                        Some(block) => journal_of(block),
                        None => name.only_journal(&folder, platform).unwrap_or_else(|| journal_of(platform)),
                    },
                };
                (Box::new(format), journal)
            }
            Target::Dotenv { key, .. } => {
                let key = key.as_deref().unwrap_or(Dotenv::KEY);
                (Box::new(Dotenv::new(key)?), name.journal(key, &["dotenv", key]))
            }
        };
        let journal = match whose {
            Folder::Given => FileStore::open_in_state_folder(folder.join(journal), issuer, disk.clone())?,
            Folder::Own => {
                let (link, ending) = (given.clone(), name.ending_of(&journal));
                let locate = move || {
                    let real = resolve(&link).map_err(|error| not_found(&link, &error))?;
                    let name = Naming::of(&real, false).prefix();
                    Ok(own_folder(&real)?.join(with(&name, &ending)))
                };
                FileStore::beside((given.clone(), hidden_sibling(&given, "")), issuer, disk.clone(), locate)?
            }
        };
        let beside = (folder.join(name.prefix()), whose);
        let mirror = Arc::new(FileMirror::new(given, format, beside, disk, purpose));
        Ok(Self { journal, mirror })
    }
}

/// The folder of journals beside a file.
fn own_folder(real: &Path) -> Result<PathBuf> {
    let folder = real.with_file_name(FOLDER);
    match refuse_foreign_link(&folder) {
        Ok(()) => Ok(folder),
        Err(error) => Err(Error::new(
            ErrorCode::Store,
            format!(
                "{} is a link that another user placed, so no journal is kept behind it. Remove it, or name a folder for the journal.",
                folder.display()
            ),
        )
        .with_cause(error)),
    }
}

fn not_found(given: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorCode::Store,
        format!("{} cannot be found. Look at the links that lead to it, and at who owns them.", given.display()),
    )
    .with_cause(error)
}

/// How the files that belong to a mirror are called.
struct Naming {
    file: OsString,
    /// In a folder that is not the mirror's own, what tells it from others of the same name. Beside it nothing is needed,
    /// and the journal can be moved, or mounted elsewhere, with its mirror.
    path: Option<Vec<u8>>,
}

impl Naming {
    fn of(real: &Path, elsewhere: bool) -> Self {
        Self {
            file: real.file_name().unwrap_or_default().to_owned(),
            path: elsewhere.then(|| real.as_os_str().as_encoded_bytes().to_vec()),
        }
    }

    /// What lock and backup of the mirror are named after: however many journals follow one file, only one is in it.
    fn prefix(&self) -> OsString {
        match &self.path {
            Some(path) => with(&self.file, &format!("-{}", digest([path.as_slice()]))),
            None => self.file.clone(),
        }
    }

    /// The journal of one token in that file.
    fn journal(&self, label: &str, parts: &[&str]) -> OsString {
        let parts = self.path.iter().map(Vec::as_slice).chain(parts.iter().map(|part| part.as_bytes()));
        with(&self.beginning(label), &format!("{}.json", digest(parts)))
    }

    fn beginning(&self, label: &str) -> OsString {
        let label: String =
            label.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        with(&self.prefix(), &format!("-{label}-"))
    }

    /// What follows the prefix in the name of a journal.
    fn ending_of(&self, journal: &OsStr) -> String {
        let ending = &journal.as_encoded_bytes()[self.prefix().len()..];
        // Made above of letters, digits and a few signs.
        String::from_utf8_lossy(ending).into_owned()
    }

    /// The journals of that platform.
    fn journals(&self, folder: &Path, label: &str) -> Vec<OsString> {
        siblings(&folder.join(self.beginning(label)), "")
            .into_iter()
            .filter(|(_, rest)| rest.strip_suffix(".json").is_some_and(is_digest))
            .filter_map(|(path, _)| path.file_name().map(OsStr::to_owned))
            .collect()
    }

    /// The same, if there is just one.
    fn only_journal(&self, folder: &Path, label: &str) -> Option<OsString> {
        let mut journals = self.journals(folder, label);
        journals.pop().filter(|_| journals.is_empty())
    }
}

/// A name with an ending. A name need not be text.
fn with(name: &OsStr, ending: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(ending);
    name
}

/// Whether a journal holds that token, or did once.
fn knows(journal: &Path, issuer: &str, disk: &Disk, token: &Secret) -> bool {
    let state = FileStore::open_in_state_folder(journal, issuer, disk.clone()).and_then(|journal| journal.peek());
    state.ok().flatten().is_some_and(|state| {
        let token = pasted::read(token.expose(), Some(&state)).token();
        token.is_some_and(|token| state.recognise(token.fingerprint()) != Known::Unknown)
    })
}

/// Enough of a digest to tell two files, or two versions of one, apart in a name.
pub(super) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let mut half = [0; 8];
    half.copy_from_slice(&digest[..8]);
    format!("{:016x}", u64::from_be_bytes(half))
}

/// Whether a part of a name is one.
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(Error::invalid(format!(
            "{} is a folder. Give the path of the file in it that shows the token.",
            path.display()
        )));
    }
    Ok(())
}

fn check_folder(path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Error::invalid(format!(
            "{} is a file. The state path is the folder in which the journal is kept.",
            path.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Decision, Mirror};
    use super::*;

    const ISSUER: &str = "https://oauth.ring.com";

    fn open(folder: &Path, state_path: Option<&Path>) -> ShownPlace {
        let path = folder.join("config.json");
        std::fs::write(&path, r#"{"platforms":[{"platform":"Ring","refreshToken":"t"}]}"#).unwrap();
        let target = Target::Homebridge { path, platform: None, name: None };
        ShownPlace::open(&target, state_path, ISSUER, Disk::default(), Purpose::Follow).unwrap()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn two_files_whose_names_are_no_text_have_two_journals() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let journals = [&b"a\xfe.env"[..], b"a\xff.env"].map(|name| {
            let link = folder.path().join(format!("link-{}", name[1]));
            std::fs::write(folder.path().join(OsStr::from_bytes(name)), "RING_REFRESH_TOKEN=t\n").unwrap();
            std::os::unix::fs::symlink(OsStr::from_bytes(name), &link).unwrap();
            let target = Target::Dotenv { path: link, key: None };
            let place = ShownPlace::open(&target, None, ISSUER, Disk::default(), Purpose::Follow).unwrap();
            drop(place.journal.try_lock().unwrap().unwrap());
            place.mirror.settle(&mut |_| Ok(Decision::Show(Secret::new("u")))).unwrap();
            assert_eq!(std::fs::read(folder.path().join(OsStr::from_bytes(name))).unwrap(), b"RING_REFRESH_TOKEN=u\n");
            place.journal.name()
        });
        assert_eq!(journals[0].matches('\u{fffd}').count(), 1, "it is shown with a mark, and kept without");
        let own = std::fs::read_dir(folder.path().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
        let locks: Vec<_> = own.filter(|path| path.extension() == Some(OsStr::new("lock"))).collect();
        assert_eq!(locks.len(), 4, "for each the lock of its mirror and that of its journal: {locks:?}");
    }

    #[test]
    fn a_path_that_lost_its_bytes_on_the_way_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let lost = folder.path().join("a\u{fffd}/config.json");
        let target = Target::Homebridge { path: lost.clone(), platform: None, name: None };
        let opened = ShownPlace::open(&target, None, ISSUER, Disk::default(), Purpose::Introduce);
        let other = open(folder.path(), None);
        drop(other);
        let target = Target::Homebridge { path: folder.path().join("config.json"), platform: None, name: None };
        let elsewhere = ShownPlace::open(&target, Some(&lost), ISSUER, Disk::default(), Purpose::Follow);
        let journal = FileStore::open(&lost, ISSUER, Disk::default());
        for error in [opened.err(), elsewhere.err(), journal.err()] {
            let error = error.unwrap();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains("not UTF-8"), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_our_own_is_kept_out_of_git_whoever_comes_first() {
        let journal_first = |place: ShownPlace| drop(place.journal.try_lock().unwrap().unwrap());
        let mirror_first = |place: ShownPlace| drop(place.mirror.settle(&mut |_| Ok(Decision::Leave)).unwrap());
        let rehearsal_first = |place: ShownPlace| drop(place.mirror.rehearse().unwrap());
        for enter in [&journal_first as &dyn Fn(ShownPlace), &mirror_first, &rehearsal_first] {
            let beside = tempfile::tempdir().unwrap();
            enter(open(beside.path(), None));
            assert_eq!(std::fs::read(beside.path().join(FOLDER).join(".gitignore")).unwrap(), b"*\n");

            let given = beside.path().join("given");
            enter(open(beside.path(), Some(&given)));
            assert!(given.is_dir() && !given.join(".gitignore").exists());
        }
    }
}
