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

    #[test]
    fn stand_ins_of_two_files_differ() {
        let one = stand_in(Path::new("/a/j"), ".lock").unwrap();
        assert_ne!(one, stand_in(Path::new("/b/j"), ".lock").unwrap());
    }
}
