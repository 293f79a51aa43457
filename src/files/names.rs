//! Where the files lie that belong to another one: beside it, or where nothing can be made there.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::platform;

/// A path beside a file, told from it by its ending.
pub(crate) fn sibling(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    file.with_file_name(name)
}

/// The files that lie there: each path, and what follows that ending in its name. None where the folder cannot be read.
pub(crate) fn siblings(file: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let beginning = sibling(file, ending);
    let (Some(folder), Some(beginning)) = (beginning.parent(), beginning.file_name()) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let rest = path.file_name()?.as_encoded_bytes().strip_prefix(beginning.as_encoded_bytes())?;
            let rest = std::str::from_utf8(rest).ok()?.to_owned();
            Some((path, rest))
        })
        .collect()
}

/// A path in the user's private runtime folder that belongs to that file alone.
pub(crate) fn stand_in(file: &Path, ending: &str) -> io::Result<PathBuf> {
    Ok(platform::runtime_dir()?.join(stand_in_name(file, ending)))
}

/// The same, without making that folder.
pub(crate) fn stand_in_if_there(file: &Path, ending: &str) -> io::Result<PathBuf> {
    Ok(platform::runtime_dir_if_there()?.join(stand_in_name(file, ending)))
}

fn stand_in_name(file: &Path, ending: &str) -> String {
    let digest = Sha256::digest(file.as_os_str().as_encoded_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    format!("{:032x}{ending}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn siblings_are_found_by_any_name() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        for name in [&b"j\xff.json"[..], b"j\xff.json-a", b"j\xff.json-", b"j\xff.json-\xff", b"j.json-b"] {
            std::fs::write(path(name), "").unwrap();
        }
        let mut found = siblings(&path(b"j\xff.json"), "-");
        found.sort();
        assert_eq!(found, [(path(b"j\xff.json-"), String::new()), (path(b"j\xff.json-a"), "a".into())]);
        assert_eq!(siblings(&path(b"none/j"), ""), []);
    }

    #[test]
    fn stand_ins_of_two_files_differ() {
        let one = stand_in(Path::new("/a/j"), ".lock").unwrap();
        assert_ne!(one, stand_in(Path::new("/b/j"), ".lock").unwrap());
    }
}
