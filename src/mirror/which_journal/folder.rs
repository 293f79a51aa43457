//! The folder of the journals of a mirror if the user named none: beside the file, or beside a link that leads to it.

use std::path::{Path, PathBuf};

use crate::files::{platform, refuse_foreign_link, resolve};
use crate::{Error, ErrorCode, Result};

/// The folder of journals beside a mirror.
pub(crate) const JOURNALS_FOLDER: &str = ".ring-auth";

/// The two folders that can have the journals of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folders {
    /// The file itself, behind its links.
    pub(super) real: PathBuf,
    /// The folder beside that file.
    pub(super) beside_target: PathBuf,
    /// The folder beside the link through which the file was named, if there is one.
    pub(super) beside_link: Option<PathBuf>,
    /// Whether the path itself is that link, and not one of its folders.
    pub(super) is_file_link: bool,
}

impl Folders {
    /// The folders of a file, by its absolute path.
    pub(super) fn of(given: &Path) -> Result<Self> {
        let real = resolve(given).map_err(|error| not_found(given, &error))?;
        let beside_target = real.with_file_name(JOURNALS_FOLDER);
        refuse_foreign_link(&beside_target).map_err(|error| foreign(&beside_target, &error))?;
        let is_link = |path: &&Path| std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        let link = given.ancestors().find(is_link);
        let beside_link = link.map(|link| link.with_file_name(JOURNALS_FOLDER));
        let beside_link = beside_link.filter(|folder| !is_same_parent(folder, &beside_target));
        let beside_link = beside_link.filter(|folder| refuse_foreign_link(folder).is_ok());
        Ok(Self { is_file_link: link == Some(given), real, beside_target, beside_link })
    }

    /// The folder that is created if neither exists: beside the link only if the file lies on a file system that is mounted
    /// read-only, for every user.
    pub(super) fn to_make(&self) -> &Path {
        match &self.beside_link {
            Some(folder) if platform::is_mounted_read_only(self.real.parent().unwrap_or(Path::new("/"))) => folder,
            _ => &self.beside_target,
        }
    }
}

/// The folder in which the lock of a mirror lies, for its real path.
pub(in crate::mirror) fn of_lock(given: &Path, real: &Path) -> PathBuf {
    Folders::of(given).map_or_else(|_| real.with_file_name(JOURNALS_FOLDER), |folders| folders.to_make().to_owned())
}

fn is_same_parent(one: &Path, other: &Path) -> bool {
    let parent = |path: &Path| path.parent().and_then(|folder| platform::canonicalize(folder).ok());
    parent(one) == parent(other)
}

fn foreign(folder: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorCode::Store,
        format!(
            "{} is a link that another user placed, so no journal is kept behind it. Remove it, or name a folder for the journal.",
            folder.display()
        ),
    )
    .with_cause(error)
}

pub(in crate::mirror) fn not_found(given: &Path, error: &std::io::Error) -> Error {
    Error::new(
        ErrorCode::Store,
        format!("{} cannot be found. Check the links that lead to it, and who owns them.", given.display()),
    )
    .with_cause(error)
}
