//! The differences between operating systems in storage calls. Each system has a module with the same functions.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// The mode, owner, access list and attributes that a file must have that replaces another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ownership<'a> {
    #[cfg(unix)]
    mode: u32,
    #[cfg(unix)]
    uid: u32,
    #[cfg(unix)]
    gid: u32,
    /// The file from which the access list and the attributes are copied.
    #[cfg(unix)]
    like: &'a Path,
    #[cfg(not(unix))]
    like: std::marker::PhantomData<&'a Path>,
}

/// The identity of a mounted file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device(#[cfg(unix)] u64);

/// The user for whom root creates files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    #[cfg(unix)]
    uid: u32,
    #[cfg(unix)]
    gid: u32,
}

/// Owner and mode of a file, for a message.
#[cfg_attr(not(unix), allow(dead_code, reason = "there are no modes there"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The number of its owner.
    pub(crate) owner: u32,
    /// The number of this process's user.
    pub(crate) user: u32,
    /// Its mode bits.
    pub(crate) mode: u32,
}

/// The ending of the name of a file or folder that was not given to its owner yet. A unique number follows.
#[cfg_attr(not(unix), allow(dead_code, reason = "nothing is given to another user there"))]
pub(crate) const PROVISIONAL: &str = ".new-";

/// Whether a text is the number that follows [`PROVISIONAL`] in a name of ours.
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
