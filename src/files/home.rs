//! The home folder of a user in the user database. `HOME` belongs to one process, and two processes of one user can have
//! different ones.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

/// The home folder of a user; `None` if the user has none or only the root folder.
pub(super) fn home_of(uid: u32) -> Option<PathBuf> {
    // Nearly every user is in this file, and a call of the C library loads all modules with which the system is configured.
    let listed = std::fs::read("/etc/passwd").ok().and_then(|users| home_in(&users, uid));
    let home = listed.or_else(|| User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.dir))?;
    (home.is_absolute() && home != Path::new("/")).then_some(home)
}

/// The home folder in the text of `/etc/passwd`.
fn home_in(users: &[u8], uid: u32) -> Option<PathBuf> {
    let uid = uid.to_string();
    users.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
        (fields.len() == 7 && fields[2] == uid.as_bytes()).then(|| PathBuf::from(OsStr::from_bytes(fields[5])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_is_the_one_of_the_user_s_number() {
        let users =
            b"root:x:0:0:root:/root:/bin/bash\n# 1:2\nab:x:1000:7:A, B:/home/a b:/bin/sh\nc:x:7:1000::/c:\nd:x:8:8\n";
        let home = |uid| home_in(users, uid);
        assert_eq!(home(0).as_deref(), Some(Path::new("/root")));
        assert_eq!(home(1000).as_deref(), Some(Path::new("/home/a b")));
        assert_eq!(home(7).as_deref(), Some(Path::new("/c")));
        assert_eq!((home(8), home(9)), (None, None));
    }

    #[test]
    fn the_environment_has_no_say() {
        // On some machines Cargo runs tests with a `HOME` of its own; the user database does not depend on it.
        let uid = rustix::process::geteuid().as_raw();
        let database = User::from_uid(Uid::from_raw(uid)).unwrap().map(|user| user.dir);
        assert_eq!(home_of(uid), database.filter(|home| home.is_absolute() && home != Path::new("/")));
    }
}
