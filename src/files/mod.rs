//! Files that are never torn: every storage call in one place, locks that die with their holder, and ways to make a file
//! hold other bytes. The journal and its mirrors are built on it.

#[cfg(any(not(unix), test))]
mod access;
#[cfg(unix)]
mod attributes;
mod disk;
pub(crate) mod foreign;
mod held;
#[cfg(unix)]
mod home;
pub(crate) mod kind;
pub(crate) mod lock;
pub(crate) mod names;
pub(crate) mod platform;
pub(crate) mod replace;
pub(crate) mod trial;
pub(crate) mod volume;
pub(crate) mod whereabouts;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

pub use disk::{Disk, Moment, Probe};

use crate::{Error, ErrorCode};

/// The error for a file that cannot be used (`verb`: *read*, *written* …), with what a person can do about it.
pub(crate) fn unusable(name: impl Display, verb: &str, error: &io::Error) -> Error {
    let is_missing = error.kind() == io::ErrorKind::NotFound && matches!(verb, "found" | "read");
    let sentence = if is_missing {
        format!("{name} does not exist. Check the path.")
    } else {
        format!("{name} cannot be {verb}. {}", remedy(error))
    };
    let unusable = Error::new(ErrorCode::Store, sentence);
    // An error that no system call gave says nothing that the sentence does not.
    if is_missing && error.raw_os_error().is_none() { unusable } else { unusable.with_cause(error) }
}

/// What a person can do about an error of the disk.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Free some space on that disk.",
        io::ErrorKind::PermissionDenied => "Give this user the right to read and write it and its folder.",
        io::ErrorKind::ReadOnlyFilesystem => "Mount that file system so that it can be written.",
        io::ErrorKind::NotFound => "Its folder does not exist. Check the path.",
        io::ErrorKind::NotADirectory => "A part of its path is a file, not a folder. Check the path.",
        _ => "Check the disk, and who owns the file.",
    }
}

/// The error of this system that corresponds to an error number of Linux.
#[cfg(test)]
pub(crate) fn fault(errno: i32) -> io::Error {
    if cfg!(unix) {
        return io::Error::from_raw_os_error(errno);
    }
    io::Error::from_raw_os_error(match errno {
        // EIO, EBUSY, EXDEV, ENOSPC, EROFS; EPERM and EACCES are one there.
        5 => 1117,
        16 => 32,
        18 => 17,
        28 => 112,
        30 => 19,
        1 | 13 => 5,
        other => panic!("{other} has no number on this system yet"),
    })
}

/// A file system that removes no file that this process has open: on Windows, FAT, exFAT and older shares keep its name
/// until the last handle is closed, and nothing can be made under that name meanwhile.
#[cfg(test)]
pub(crate) struct RemovesNothingOpen;

#[cfg(test)]
impl Probe for RemovesNothingOpen {
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        let is_refused = call == "remove" && moment == Moment::Before && is_open(path);
        if is_refused { Err(io::ErrorKind::ResourceBusy.into()) } else { Ok(()) }
    }
}

/// Whether this process has a file open.
#[cfg(all(test, target_os = "linux"))]
fn is_open(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).any(|opened| opened == path)
}

/// Whether any process has a file open: then this process cannot open it exclusively.
#[cfg(all(test, windows))]
fn is_open(path: &Path) -> bool {
    use std::os::windows::fs::OpenOptionsExt;
    const SHARING_VIOLATION: i32 = 32;
    let alone = std::fs::OpenOptions::new().read(true).share_mode(0).open(path);
    alone.is_err_and(|error| error.raw_os_error() == Some(SHARING_VIOLATION))
}

/// There is no way to see that here: the test is for the other systems.
#[cfg(all(test, not(any(windows, target_os = "linux"))))]
fn is_open(_path: &Path) -> bool {
    false
}

/// The `.gitignore` of a folder of our own.
const GITIGNORE: &[u8] = b"*\n";

/// The kind of folder in which a file of ours lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder {
    /// A folder that the user named: what else is in it does not concern us.
    Given,
    /// A folder that only this package uses. Its `.gitignore` keeps it out of commits.
    Own,
}

/// Creates the folder of a file if it does not exist.
pub(crate) fn make_folder_of(disk: &Disk, file: &Path, whose: Folder) -> io::Result<()> {
    let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) else { return Ok(()) };
    make_folder(disk, folder)?;
    if whose == Folder::Own {
        // Everything works without this file. It keeps a token out of commits of everything.
        let path = folder.join(".gitignore");
        let _ = disk.create(&path, None).and_then(|file| disk.write(&file, &path, 0, GITIGNORE));
    }
    Ok(())
}

/// Creates a folder that only its owner can read, and the missing folders above it.
fn make_folder(disk: &Disk, folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
    for made in missing.into_iter().rev() {
        // Removes what a process left behind that was stopped before it could give the folder away.
        for (left, number) in names::siblings(made, platform::PROVISIONAL) {
            if platform::is_provisional(&number) {
                let _ = std::fs::remove_dir(left);
            }
        }
        disk.create_dir(made)?;
        // A power cut must not remove the folder. If its parent may be written but not read, there is no way to sync it.
        if let Some(parent) = made.parent() {
            let _ = disk.sync_dir(parent);
        }
    }
    Ok(())
}

/// Refuses a path that differs from the one that was meant. Node.js passes a name as text, with U+FFFD for each byte that is
/// not UTF-8.
pub(crate) fn check_text(path: &Path) -> Result<(), Error> {
    if !path.to_str().is_some_and(|text| text.contains('\u{fffd}')) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "The path {} has U+FFFD in it, which stands for a name that is not UTF-8: another file would be used. Rename the file, or give the path of a symbolic link to it. Nothing was touched.",
        path.display()
    )))
}

/// Whether a path is that of a folder, or is written like one that does not exist: with a separator at its end, which on Windows
/// is a backslash as well.
pub(crate) fn is_folder(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    path.is_dir() || last.is_some_and(|last| std::path::is_separator(char::from(*last)))
}

/// Refuses a folder of our own that is a symbolic link of another user, because that user decides where it leads.
pub(crate) fn refuse_foreign_link(folder: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_symlink() && platform::is_foreign_link(&metadata) => Err(foreign_link()),
        _ => Ok(()),
    }
}

fn foreign_link() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "it is a symbolic link that belongs to another user")
}

/// The file itself, behind the links that lead to it.
pub(crate) fn resolve(given: &Path) -> io::Result<PathBuf> {
    resolve_links(given, MAX_LINKS)
}

/// The number of links that Linux follows.
const MAX_LINKS: u32 = 40;

fn resolve_links(given: &Path, links_left: u32) -> io::Result<PathBuf> {
    match std::fs::symlink_metadata(given) {
        Ok(metadata) if metadata.is_symlink() => {
            // Each link is checked, because a trusted link can lead to one that is not.
            if platform::is_foreign_link(&metadata) {
                return Err(foreign_link());
            }
            let Some(links_left) = links_left.checked_sub(1) else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "its symbolic links lead in a circle"));
            };
            let target = std::fs::read_link(given)?;
            resolve_links(&given.parent().unwrap_or(Path::new("/")).join(target), links_left)
        }
        Ok(_) => platform::canonicalize(given),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(folder), Some(name)) = (given.parent(), given.file_name()) else { return Err(error) };
            match platform::canonicalize(folder) {
                Ok(folder) => Ok(folder.join(name)),
                // A file that does not exist yet, in a folder that does not exist yet: the path that it will have, because the
                // stand-in lock is named after it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Ok(resolve_links(folder, links_left)?.join(name))
                }
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_separator_at_its_end_is_that_of_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let none = folder.path().join("none").into_os_string().into_string().unwrap();
        assert!(is_folder(folder.path()) && !is_folder(Path::new(&none)) && !is_folder(Path::new("")));
        assert!(is_folder(Path::new(&format!("{none}/"))));
        assert_eq!(is_folder(Path::new(&format!("{none}\\"))), cfg!(windows));
    }

    #[test]
    fn a_folder_that_was_never_given_away_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(".ring-auth");
        let [empty, full] = ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"]
            .map(|number| format!(".ring-auth.new-{number}"));
        for left in [empty.as_str(), &full, ".ring-auth.new-2026"] {
            std::fs::create_dir(folder.path().join(left)).unwrap();
        }
        std::fs::write(folder.path().join(&full).join("theirs"), "").unwrap();
        make_folder_of(&Disk::default(), &own.join("j.json"), Folder::Own).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".ring-auth", ".ring-auth.new-2026", &full], "neither another name nor a full one is ours");
    }
}
