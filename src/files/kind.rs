//! What lies at a path if it is not a regular file.

use std::fs::Metadata;
use std::path::Path;

/// The kind of entry, as a noun with its article; `None` for a regular file.
pub(crate) fn of(there: &Metadata) -> Option<&'static str> {
    if there.is_file() {
        return None;
    }
    if there.is_dir() {
        return Some("a folder");
    }
    Some(special(there))
}

/// The kind of entry to which a path leads, as a noun with its article; `None` for a regular file, or if nothing is there.
pub(crate) fn at(path: &Path) -> Option<&'static str> {
    std::fs::metadata(path).ok().and_then(|there| of(&there))
}

#[cfg(unix)]
fn special(there: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = there.file_type();
    if kind.is_fifo() {
        "a pipe (FIFO)"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "not a regular file"
    }
}

#[cfg(not(unix))]
fn special(_there: &Metadata) -> &'static str {
    "not a regular file"
}
