//! The file system on which a folder lies: its kind, and what is free on it.

use std::io;
use std::path::Path;

/// Information about a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Its name, as `mount` shows it; `None` if its kind makes no difference here.
    pub(crate) name: Option<&'static str>,
    /// What its kind means for a journal.
    pub(crate) kind: Kind,
    /// How many bytes this user can still write; `None` if the system does not say.
    pub(crate) free_bytes: Option<u64>,
    /// How many files this user can still create; `None` if there is no such limit, or the system does not say.
    pub(crate) free_files: Option<u64>,
}

/// The kinds of file systems that differ in their guarantees.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    allow(dead_code, reason = "other systems do not have all of them, or do not tell")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A local file system, or an unknown one.
    Local,
    /// A network file system: locks and `fsync` depend on its server.
    Network,
    /// A file system that may need new space to write to space that was reserved.
    CopyOnWrite,
    /// A file system in memory: it is lost when the computer restarts.
    Memory,
    /// The file system of a container: it is lost with the container.
    Container,
}

impl Volume {
    /// The file system of a folder that exists.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        system::volume(folder)
    }
}

#[cfg(unix)]
mod system {
    use super::super::platform;
    use super::{Kind, Path, Volume, io};

    pub(super) fn volume(folder: &Path) -> io::Result<Volume> {
        let there = rustix::fs::statvfs(folder)?;
        let (name, kind) = kind(folder).map_or((None, Kind::Local), |(name, kind)| (Some(name), kind));
        // The part that is reserved for root counts for root alone.
        let (blocks, files) =
            if platform::is_root() { (there.f_bfree, there.f_ffree) } else { (there.f_bavail, there.f_favail) };
        Ok(Volume {
            name,
            kind,
            free_bytes: Some(blocks.saturating_mul(there.f_frsize)),
            // Some file systems create inodes as they are needed, and report a limit of zero.
            free_files: (there.f_files > 0).then_some(files),
        })
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn kind(folder: &Path) -> Option<(&'static str, Kind)> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the numbers of file systems have 32 bits, in a word whose size and sign differ between machines"
        )]
        let number = rustix::fs::statfs(folder).ok()?.f_type as u32;
        super::kind_of_number(number)
    }

    #[cfg(target_vendor = "apple")]
    fn kind(folder: &Path) -> Option<(&'static str, Kind)> {
        let there = rustix::fs::statfs(folder).ok()?;
        let name: Vec<u8> =
            there.f_fstypename.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
        super::kind_of_name(std::str::from_utf8(&name).ok()?)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn kind(_folder: &Path) -> Option<(&'static str, Kind)> {
        None
    }
}

#[cfg(not(unix))]
mod system {
    use std::path::{Component, Prefix};

    use super::{Kind, Path, Volume, io};

    /// Recognises a share by its path. Free space is not asked for, because that would need another system call.
    #[allow(clippy::unnecessary_wraps, reason = "the same shape as on the systems where it can fail")]
    pub(super) fn volume(folder: &Path) -> io::Result<Volume> {
        let is_share = matches!(
            folder.components().next(),
            Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
        );
        let (name, kind) = if is_share { (Some("smb"), Kind::Network) } else { (None, Kind::Local) };
        Ok(Volume { name, kind, free_bytes: None, free_files: None })
    }
}

/// The name of a file system by its number on Linux.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn kind_of_number(number: u32) -> Option<(&'static str, Kind)> {
    Some(match number {
        0x6969 => ("nfs", Kind::Network),
        0x517b => ("smb", Kind::Network),
        0xff53_4d42 => ("cifs", Kind::Network),
        0xfe53_4d42 => ("smb2", Kind::Network),
        0x0102_1997 => ("9p", Kind::Network),
        0x5346_414f => ("afs", Kind::Network),
        0x00c3_6400 => ("ceph", Kind::Network),
        0x0bd0_0bd0 => ("lustre", Kind::Network),
        0x0116_1970 => ("gfs2", Kind::Network),
        0x7461_636f => ("ocfs2", Kind::Network),
        // The shares of virtual machines, and sshfs. Local disks of Windows and cards with exFAT can have this number as well.
        0x6573_5546 => ("fuse", Kind::Network),
        0x786f_4256 => ("vboxsf", Kind::Network),
        0x9123_683e => ("btrfs", Kind::CopyOnWrite),
        0x2fc1_2fc1 => ("zfs", Kind::CopyOnWrite),
        0xca45_1a4e => ("bcachefs", Kind::CopyOnWrite),
        0xf2f5_2010 => ("f2fs", Kind::CopyOnWrite),
        0x0102_1994 => ("tmpfs", Kind::Memory),
        0x8584_58f6 => ("ramfs", Kind::Memory),
        0x794c_7630 => ("overlay", Kind::Container),
        _ => return None,
    })
}

/// The name of a file system on macOS.
#[cfg(any(target_vendor = "apple", test))]
fn kind_of_name(name: &str) -> Option<(&'static str, Kind)> {
    const NAMES: [(&str, Kind); 7] = [
        ("apfs", Kind::CopyOnWrite),
        ("nfs", Kind::Network),
        ("smbfs", Kind::Network),
        ("afpfs", Kind::Network),
        ("webdav", Kind::Network),
        ("macfuse", Kind::Network),
        ("osxfuse", Kind::Network),
    ];
    NAMES.into_iter().find(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_system_is_known_by_its_number() {
        for (number, name, kind) in [
            (0x6969, "nfs", Kind::Network),
            (0xff53_4d42, "cifs", Kind::Network),
            (0x9123_683e, "btrfs", Kind::CopyOnWrite),
            (0x794c_7630, "overlay", Kind::Container),
        ] {
            assert_eq!(kind_of_number(number), Some((name, kind)));
        }
        // ext4, XFS.
        assert_eq!((kind_of_number(0xef53), kind_of_number(0x5846_5342)), (None, None));
    }

    #[test]
    fn a_file_system_is_known_by_its_name() {
        assert_eq!(kind_of_name("apfs"), Some(("apfs", Kind::CopyOnWrite)));
        assert_eq!(kind_of_name("smbfs"), Some(("smbfs", Kind::Network)));
        assert_eq!(kind_of_name("hfs"), None);
    }

    #[cfg(unix)]
    #[test]
    fn free_space_is_reported_for_a_folder_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::of(folder.path()).unwrap();
        assert!(volume.free_bytes.is_some_and(|bytes| bytes > 0), "{volume:?}");
        assert!(Volume::of(&folder.path().join("not-there")).is_err());
    }
}
