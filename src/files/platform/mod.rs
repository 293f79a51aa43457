//! What differs between operating systems when files are kept.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The mode, the owner, the access list and the attributes that a replaced file has to have again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership<'a> {
    #[cfg(unix)]
    mode: u32,
    #[cfg(unix)]
    uid: u32,
    #[cfg(unix)]
    gid: u32,
    /// The file that has the access list and the attributes.
    #[cfg(unix)]
    like: &'a Path,
    #[cfg(not(unix))]
    like: std::marker::PhantomData<&'a Path>,
}

/// A file system, told from the others that are there at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device(#[cfg(unix)] u64);

/// For whom root makes files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    #[cfg(unix)]
    uid: u32,
    #[cfg(unix)]
    gid: u32,
}

/// Whose a file is, for a person to read.
#[cfg_attr(not(unix), allow(dead_code, reason = "there are no modes there"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The number of its owner.
    pub(crate) owner: u32,
    /// The number of this process's user.
    pub(crate) user: u32,
    /// What it grants to whom.
    pub(crate) mode: u32,
}

/// What follows a file's name while it, or a folder, has no owner yet; then comes what no other process uses.
#[cfg_attr(not(unix), allow(dead_code, reason = "nothing is given to another user there"))]
pub(crate) const PROVISIONAL: &str = ".new-";

/// Whether that is what follows [`PROVISIONAL`] in a name of ours.
pub(crate) fn is_provisional(number: &str) -> bool {
    number.len() == 32 && number.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn not_private(folder: &Path) -> io::Error {
    let sentence = format!("{} is not a private folder of this user", folder.display());
    io::Error::new(io::ErrorKind::PermissionDenied, sentence)
}

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(crate) use unix::*;

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same shape as on the systems where it can fail")]
mod windows;

#[cfg(not(unix))]
pub(crate) use windows::*;
