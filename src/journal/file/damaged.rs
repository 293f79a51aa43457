//! Damaged versions of a journal, which are kept beside it under another name.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use super::super::codec::Step;
use super::super::ours;
use super::guard::FileGuard;
use super::{OTHER_NAMES, SLOTS, Shared, name_of};
use crate::files::names::{sibling, siblings};
use crate::files::{Disk, platform, replace};
use crate::{Error, ErrorCode};

impl Shared {
    pub(super) fn damaged_under_two_names(&self) -> Error {
        Error::new(
            ErrorCode::Store,
            format!(
                "The journal {} is damaged, and has a second name (a hard link), beside which a whole copy may lie. Use the name under which it was last written, then remove the other one. Nothing was sent.",
                self.given.display()
            ),
        )
    }

    pub(super) fn damaged_in_a_container(&self) -> Error {
        Error::new(
            ErrorCode::Store,
            format!(
                "The journal {} is damaged. It is mounted alone, so a whole copy may lie in the container that was stopped while it wrote: start that one again. If there is none, empty the file and log in again. Nothing was sent.",
                self.given.display()
            ),
        )
    }
}

impl FileGuard {
    /// Renames a damaged journal, or copies it to the other name if it cannot be renamed.
    pub(super) fn move_aside(&self, real: &Path) -> io::Result<PathBuf> {
        let disk = &self.shared.disk;
        let bytes = disk.read_most(real)?.unwrap_or_default();
        if self.hidden(real, &bytes)? != bytes {
            let aside = self.keep_damaged(real)?;
            disk.remove(real)?;
            replace::sync_folder(disk, real)?;
            return Ok(aside);
        }
        let (aside, _) = damaged_name(disk, real, &bytes)?;
        match disk.rename(real, &aside) {
            Err(error) if platform::means_irreplaceable(&error) => self.keep_damaged(real),
            moved => moved.map(|()| aside),
        }
    }

    /// Copies a damaged journal to another name, once: it stays at its path until the next write, and a process that reads it until then
    /// does not copy it again. The copy is first written to a place for copies that no write uses at the same time, so that a partial
    /// copy never has that name.
    pub(super) fn keep_damaged(&self, real: &Path) -> io::Result<PathBuf> {
        let disk = &self.shared.disk;
        let bytes = disk.read_most(real)?.unwrap_or_default();
        self.keep(real, &self.hidden(real, &bytes)?)
    }

    /// The bytes that are kept of a damaged content. They are sealed if there is a key.
    fn hidden<'a>(&self, real: &Path, bytes: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        let codec = &self.shared.codec;
        let form = codec.form(self.form.as_ref(), Step::Kept).map_err(io::Error::other)?;
        Ok(form.keep(bytes, (codec.issuer(), &name_of(real))))
    }

    /// Keeps a damaged content beside the journal, once.
    fn keep(&self, real: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let disk = &self.shared.disk;
        let (aside, is_kept) = damaged_name(disk, real, bytes)?;
        if !is_kept {
            let spare = self.slot(real, SLOTS.len() - 1).map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
            replace::copy(disk, &spare, bytes)?;
            if replace::or_nothing(disk, &spare, disk.rename(&spare, &aside)).is_err() {
                // Files cannot be renamed here.
                replace::copy(disk, &aside, bytes)?;
            }
            replace::sync_folder(disk, &aside)?;
        }
        Ok(aside)
    }

    /// Seals the damaged versions that were kept before there was a key.
    pub(super) fn seal_what_was_kept(&self, real: &Path) -> io::Result<()> {
        let disk = &self.shared.disk;
        for path in moved_aside(disk, real) {
            let bytes = disk.read_most(&path)?.unwrap_or_default();
            let hidden = self.hidden(real, &bytes)?;
            if *hidden != *bytes {
                self.keep(real, &hidden)?;
                disk.remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The name beside a journal under which a damaged content is kept, and whether it is kept there already. A file of another program
/// that has the first name is left alone.
fn damaged_name(disk: &Disk, real: &Path, bytes: &[u8]) -> io::Result<(PathBuf, bool)> {
    let ending = ours::damaged_ending(bytes);
    let others = OTHER_NAMES.map(|number| format!("{ending}-{number}"));
    for name in [ending.clone()].into_iter().chain(others) {
        let path = sibling(real, &name);
        if disk.metadata(&path)?.is_none() {
            return Ok((path, false));
        }
        if is_damaged_one(disk, &path, &name) {
            return Ok((path, true));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The damaged versions of a journal that were kept.
pub(super) fn moved_aside(disk: &Disk, real: &Path) -> Vec<PathBuf> {
    let kept = siblings(real, ours::DAMAGED).into_iter();
    kept.filter(|(path, rest)| is_damaged_one(disk, path, &format!("{}{rest}", ours::DAMAGED)))
        .map(|(path, _)| path)
        .collect()
}

/// Whether a file is a damaged journal that was kept under that name.
fn is_damaged_one(disk: &Disk, path: &Path, name: &str) -> bool {
    matches!(disk.read_most(path), Ok(Some(bytes)) if ours::is_damaged_one(&bytes, name))
}
