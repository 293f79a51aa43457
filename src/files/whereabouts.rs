//! Where a file was last seen. This distinguishes a file that was removed from one on a volume that is not mounted.

use std::fs::Metadata;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::Folder;
use super::platform::{self, Device};

/// The file system on which a file was last seen; empty before that. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whereabouts(Arc<Mutex<Option<Device>>>);

/// State of a file that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It exists, or was never seen.
    There,
    /// It was removed, and may be created again: its folder is where it was.
    Gone,
    /// Its folder is gone, or another one is in its place. Nothing may be created there.
    Unreachable(&'static str),
}

impl Whereabouts {
    /// Notes where a file was seen.
    pub(crate) fn note(&self, file: &Path) {
        if let Some(folder) = folder_of(file) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(platform::device(&folder));
        }
    }

    /// Looks whether a file is where it was.
    pub(crate) fn find(&self, file: &Path, whose: Folder) -> Found {
        let Some(device) = *self.0.lock().unwrap_or_else(PoisonError::into_inner) else { return Found::There };
        if std::fs::symlink_metadata(file).is_ok() {
            return Found::There;
        }
        let folder = folder_of(file).or_else(|| {
            // A folder of our own is removed together with its files, and is created again at the same path.
            file.parent().filter(|_| whose == Folder::Own).and_then(folder_of)
        });
        match folder {
            None => Found::Unreachable("its folder is gone"),
            Some(folder) if platform::device(&folder) != device => {
                Found::Unreachable("its folder is on another file system than before")
            }
            Some(_) => Found::Gone,
        }
    }
}

fn folder_of(file: &Path) -> Option<Metadata> {
    file.parent().and_then(|folder| std::fs::metadata(folder).ok()).filter(Metadata::is_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_made_again_only_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("given").join("own").join("file");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let seen = Whereabouts::default();
        let find = || [Folder::Given, Folder::Own].map(|whose| seen.find(&file, whose));
        assert_eq!(find(), [Found::There; 2], "it was never there");
        std::fs::write(&file, "").unwrap();
        seen.note(&file);
        assert_eq!(find(), [Found::There; 2]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(find(), [Found::Gone; 2]);
        std::fs::remove_dir(file.parent().unwrap()).unwrap();
        assert_eq!(find(), [Found::Unreachable("its folder is gone"), Found::Gone]);
        std::fs::remove_dir(folder.path().join("given")).unwrap();
        assert_eq!(find(), [Found::Unreachable("its folder is gone"); 2]);
    }
}
