//! The journals of one folder, and the choice of the journal that a mirror follows.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::codec::{Codec, Shut};
use super::file::{JournalFile, SLOTS};
use super::format::{self, Unreadable};
use super::ours;
use super::state::State;
use super::{Notice, Store};
use crate::files::names::sibling;
use crate::files::{Disk, Folder};
use crate::token::Fingerprint;
use crate::{Error, Result};

/// Decides which journal a mirror follows. The journal can be another one at each call: users rename and swap blocks, and retarget
/// links, while a manager runs.
pub(crate) trait Finder: Send + Sync + 'static {
    /// The journal that the mirror follows now. It need not exist yet.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if two journals fit the mirror, `STORE` if their folder cannot be found.
    fn find(&self) -> Result<Sought>;

    /// Notes that a journal is used for this mirror.
    fn entered(&self, journal: &Path);

    /// Notes the token from the caller's options.
    fn prefer(&self, token: Fingerprint);

    /// Records the mirror in the state of its journal. Returns notices for the user if the mirror is new in that
    /// journal.
    fn record(&self, journal: &Path, state: &mut State) -> Vec<Notice>;

    /// Records that the mirror belongs to a new journal from now on, although it may still show a token of its former one.
    fn take_mirror(&self, journal: &Path, state: &mut State, former: &State);

    /// Whether another journal in the folder of this one knows a token.
    ///
    /// # Errors
    ///
    /// `STORE` if the folder cannot be read.
    fn is_known_beside(&self, journal: &Path, token: Fingerprint) -> Result<bool>;

    /// The name of another mirror that shows the family of that state.
    fn other_mirror(&self, journal: &Path, state: &State) -> Option<String>;

    /// A path for a new journal of this mirror in the folder of another journal.
    fn new_path(&self, beside: &Path) -> PathBuf;
}

/// A journal that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sought {
    /// The path of the journal.
    pub path: PathBuf,
    /// The kind of its folder: our own, or one that the user gave.
    pub folder: Folder,
    /// The token that the mirror shows, if another journal of the folder has spent it.
    pub spent: Option<Fingerprint>,
}

/// Whether a journal can be read.
pub(crate) enum Readable {
    /// The journal can be read. This is its newest state.
    Yes(Box<State>),
    /// The journal is sealed with a key that is not available.
    Locked(Error),
}

/// The journals of a folder.
pub(crate) struct Journals<'a> {
    folder: &'a Path,
    codec: &'a Codec,
    disk: &'a Disk,
}

impl<'a> Journals<'a> {
    /// The journals of that folder. Reads nothing yet.
    pub(crate) fn of(folder: &'a Path, codec: &'a Codec, disk: &'a Disk) -> Self {
        Self { folder, codec, disk }
    }

    /// The paths at which a journal may be. If a journal is gone, a copy that lies beside its path stands for it.
    pub(crate) fn paths(&self) -> BTreeSet<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.folder) else { return BTreeSet::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_encoded_bytes().into());
        let mut paths = BTreeSet::new();
        paths.extend(names.filter_map(|name: Vec<u8>| Some(self.folder.join(text_of(journal_of(&name)?)))));
        paths
    }

    /// The path and the newest state of each journal. Files that cannot be read or do not carry a signature are left
    /// out.
    pub(crate) fn read(&self) -> Vec<(PathBuf, Readable)> {
        self.paths().into_iter().filter_map(|path| self.read_one(&path).map(|found| (path, found))).collect()
    }

    /// The newest state of a journal, even if it has another issuer: then its use must fail, and must not look as if
    /// there were no journal.
    fn read_one(&self, path: &Path) -> Option<Readable> {
        let begun = |path: &Path| self.disk.read_if_it_begins(path, ours::BEGINNING.as_bytes()).ok().flatten();
        let begun = |path: &Path| begun(path).filter(|bytes| ours::begins_with_signature(bytes));
        if let Some(bytes) = begun(path) {
            match self.codec.open_any(&bytes).map(|opened| format::decode(&opened.text)) {
                Ok(Ok(state)) => return Some(Readable::Yes(Box::new(state))),
                Ok(Err(Unreadable::Newer(_))) | Err(Shut::Newer(_) | Shut::OtherIssuer(_)) => return None,
                // A newer copy of it may be readable.
                Ok(Err(Unreadable::Damaged)) | Err(Shut::Locked(_)) => {}
            }
        } else if !SLOTS.iter().any(|slot| begun(&sibling(path, slot)).is_some()) {
            return None;
        }
        let journal = JournalFile::open(path, self.codec, self.disk.clone()).ok()?;
        match journal.peek() {
            Ok(state) => state.map(|state| Readable::Yes(Box::new(state))),
            Err(error) => self.is_locked(path).then_some(Readable::Locked(error)),
        }
    }

    /// Whether a journal, or a copy that stands for it, cannot be read without another key.
    fn is_locked(&self, path: &Path) -> bool {
        let places = [path.to_owned()].into_iter().chain(SLOTS.iter().map(|slot| sibling(path, slot)));
        let mut contents = places.filter_map(|place| self.disk.read_most(&place).ok().flatten());
        contents.any(|bytes| matches!(self.codec.open(&bytes), Err(Shut::Locked(_))))
    }
}

/// The name of the journal to which a file name belongs: the name itself, or that of the journal whose copy the file
/// is. `None` for a name that no journal has.
fn journal_of(name: &[u8]) -> Option<&[u8]> {
    let ends = |ending: &str| name.ends_with(ending.as_bytes());
    let has = |part: &str| name.windows(part.len()).any(|window| window == part.as_bytes());
    if name == b".gitignore" || ends(".lock") || ends(".backup") || has(".damaged-") || has(".new-") {
        return None;
    }
    let of_slot = SLOTS.iter().find_map(|slot| {
        let is_number = |rest: &[u8]| rest.is_empty() || matches!(rest, [b'-', b'2'..=b'9']);
        let at = name.windows(slot.len()).rposition(|window| window == slot.as_bytes())?;
        is_number(&name[at + slot.len()..]).then(|| &name[..at])
    });
    Some(of_slot.unwrap_or(name))
}

#[cfg(unix)]
fn text_of(name: &[u8]) -> &OsStr {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(name)
}

/// The file name as text. On these systems the name of a journal is text; any other name becomes an empty one.
#[cfg(not(unix))]
fn text_of(name: &[u8]) -> &OsStr {
    OsStr::new(std::str::from_utf8(name).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stands_for_its_journal_and_locks_stand_for_none() {
        for (name, journal) in [
            ("config.json-Ring-0123456789abcdef.json", Some("config.json-Ring-0123456789abcdef.json")),
            ("j.json.tmp", Some("j.json")),
            ("j.json.next-2", Some("j.json")),
            ("j.json.next-x", Some("j.json.next-x")),
            ("any name", Some("any name")),
            (".env-KEY-0123456789abcdef.json", Some(".env-KEY-0123456789abcdef.json")),
            ("j.json.lock", None),
            ("j.json.damaged-12", None),
            ("config.json.backup", None),
            (".gitignore", None),
        ] {
            assert_eq!(journal_of(name.as_bytes()), journal.map(str::as_bytes), "{name}");
        }
    }
}
