//! The paths of files that belong to another file: beside it, or in a private folder if nothing can be created there.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk::Disk;
use super::platform;

/// A path beside a file that differs by its ending.
pub(crate) fn sibling(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    file.with_file_name(name)
}

/// A hidden path beside a file.
pub(crate) fn hidden_sibling(real: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(real.file_name().unwrap_or_default());
    name.push(".ring-auth");
    name.push(ending);
    real.with_file_name(name)
}
/// The files beside a file whose names begin with its name and an ending: each path, and the rest of its name. Empty if the
/// folder cannot be read.
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

/// The paths that can stand in for one beside a file, the best first: each in a private folder of this user, or for root of the
/// owner of the file, and named after the file. They are the same for every process of a user, whatever its environment is.
pub(crate) fn stand_ins(disk: &Disk, file: &Path, ending: &str) -> impl Iterator<Item = PathBuf> + use<> {
    let name = stand_in_name(file, ending);
    platform::private_folders(disk.owner_of_stand_ins(file)).into_iter().map(move |folder| folder.join(&name))
}

/// The first path that can stand in for one beside a file, and whose folder exists or can be created.
pub(crate) fn stand_in(disk: &Disk, file: &Path, ending: &str) -> io::Result<PathBuf> {
    let mut refused = io::Error::from(io::ErrorKind::NotFound);
    for path in stand_ins(disk, file, ending) {
        match make_private_folder_of(disk, &path, file) {
            Ok(()) => return Ok(path),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The paths that can stand in for one beside a file, if their folders exist.
pub(crate) fn stand_ins_if_there(disk: &Disk, file: &Path, ending: &str) -> Vec<PathBuf> {
    let owner = disk.owner_of_stand_ins(file);
    let is_there =
        |path: &PathBuf| path.parent().is_some_and(|folder| platform::check_private_folder(folder, owner).is_ok());
    stand_ins(disk, file, ending).filter(is_there).collect()
}

/// Creates the private folder of a path that stands in for one beside a file, if it does not exist.
pub(crate) fn make_private_folder_of(disk: &Disk, path: &Path, file: &Path) -> io::Result<()> {
    let owner = disk.owner_of_stand_ins(file);
    path.parent().map_or(Ok(()), |folder| platform::make_private_folder(folder, owner))
}

/// Whether a path leads through something that is not a folder.
#[cfg(any(not(unix), test))]
pub(super) fn leads_through_a_file(path: &Path) -> bool {
    let there = path.ancestors().skip(1).find_map(|folder| std::fs::metadata(folder).ok());
    there.is_some_and(|there| !there.is_dir())
}

/// A Windows path as people write it: a path that `canonicalize` returns there begins with `\\?\`.
#[cfg(any(not(unix), test))]
pub(super) fn plain(path: PathBuf) -> PathBuf {
    path.to_str().and_then(plainly).map_or(path, PathBuf::from)
}

#[cfg(any(not(unix), test))]
fn plainly(path: &str) -> Option<String> {
    let rest = path.strip_prefix(r"\\?\")?;
    let plain = match rest.strip_prefix(r"UNC\") {
        Some(share) => format!(r"\\{share}"),
        None if rest.get(1..3) == Some(r":\") => rest.to_owned(),
        None => return None,
    };
    (!plain.split('\\').any(leads_elsewhere)).then_some(plain)
}

/// Whether a plainly written name leads elsewhere, or nowhere: the system removes dots and spaces at its end, and reads some
/// names as devices.
#[cfg(any(not(unix), test))]
fn leads_elsewhere(name: &str) -> bool {
    const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    let stem = name.split(['.', ':']).next().unwrap_or_default().trim_end().to_ascii_uppercase();
    // COM1 to COM9 and LPT1 to LPT9, the digit also as a superscript.
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let is_port = port.is_some_and(|rest| {
        let mut digits = rest.chars();
        digits.next().is_some_and(|digit| matches!(digit, '0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    });
    name.ends_with(['.', ' ']) || DEVICES.contains(&stem.as_str()) || is_port
}

fn stand_in_name(file: &Path, ending: &str) -> String {
    let digest = Sha256::digest(file.as_os_str().as_encoded_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    format!("{:032x}{ending}", u128::from_be_bytes(half))
}

/// A short digest, which distinguishes two files, or two versions of one, in a name.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
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

/// Whether a part of a name is a short digest.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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
    fn a_path_below_a_file_leads_through_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for below in [file.join("j.json"), file.join("a").join("b").join("j.json")] {
            assert!(leads_through_a_file(&below), "{}", below.display());
        }
        for other in [file, folder.path().join("j.json"), folder.path().join("a").join("b").join("j.json")] {
            assert!(!leads_through_a_file(&other), "{}", other.display());
        }
    }

    #[test]
    fn paths_are_written_as_people_write_them() {
        let plain = |path: &str| plain(path.into()).into_os_string().into_string().unwrap();
        assert_eq!(plain(r"\\?\C:\Users\José B\j.json"), r"C:\Users\José B\j.json");
        assert_eq!(plain(r"\\?\UNC\nas\share\j.json"), r"\\nas\share\j.json");
        let long = format!(r"C:\{}\com10\nul-1\lpt", "x".repeat(260));
        assert_eq!(plain(&format!(r"\\?\{long}")), long);
        for odd in ["dot.", "blank ", "nul", "Con.txt", "aux .json", "COM1", "lpt³.x", "conout$"] {
            let odd = format!(r"\\?\C:\{odd}\j");
            assert_eq!(plain(&odd), odd);
        }
        for other in [r"C:\j.json", r"\\?\Volume{1}\j", r"\\?\GLOBALROOT\x"] {
            assert_eq!(plain(other), other);
        }
    }

    #[test]
    fn stand_ins_of_two_files_differ() {
        let one = stand_in(&Disk::default(), Path::new("/a/j"), ".lock").unwrap();
        assert_ne!(one, stand_in(&Disk::default(), Path::new("/b/j"), ".lock").unwrap());
    }
}
