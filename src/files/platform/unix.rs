//! Unix: modes, owners, links that are not followed.

use std::collections::BTreeMap;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::sync::LazyLock;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, FallocateFlags, OFlags};
#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::super::attributes;
use super::super::home::home_of;
use super::super::names::sibling;
use super::{
    Device, File, Holder, Metadata, OpenOptions, Owner, Ownership, PROVISIONAL, Path, PathBuf, io, not_private,
};

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Creates a file that does not exist yet, readable by this user alone from the first moment.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    private().write(true).create_new(true).open(path)
}

/// A file that has no name yet, or a unique one under which no process looks for it.
pub(crate) struct Unnamed {
    file: File,
    provisional: Option<PathBuf>,
}

/// Creates a private file in the folder of a path, which gets its name later.
pub(crate) fn create_unnamed(path: &Path) -> io::Result<Unnamed> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(file) = create_nameless(path) {
        return Ok(Unnamed { file, provisional: None });
    }
    let provisional = provisional(path);
    let file = private().read(true).write(true).create_new(true).open(&provisional)?;
    Ok(Unnamed { file, provisional: Some(provisional) })
}

/// A file without a name, if the file system supports that and the system can name it later.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn create_nameless(path: &Path) -> Option<File> {
    if !Path::new(OPEN_FILES).is_dir() {
        return None;
    }
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(flags).open(path.parent()?).ok()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const OPEN_FILES: &str = "/proc/self/fd";

/// A name beside a path that no other process uses.
fn provisional(path: &Path) -> PathBuf {
    sibling(path, &format!("{PROVISIONAL}{}", uuid::Uuid::new_v4().simple()))
}

impl Unnamed {
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. Fails if something has that name.
    pub(crate) fn name(self, path: &Path) -> io::Result<File> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.provisional.is_none() {
            let open = format!("{OPEN_FILES}/{}", self.file.as_raw_fd());
            rustix::fs::linkat(CWD, open, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
        }
        if let Some(provisional) = &self.provisional {
            std::fs::hard_link(provisional, path)?;
        }
        self.file.try_clone()
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(provisional) = &self.provisional {
            let _ = std::fs::remove_file(provisional);
        }
    }
}

/// Creates a folder for another user. Until it belongs to that user, it has a unique name under which no process looks for it.
pub(crate) fn create_dir_for(
    path: &Path,
    owner: Owner,
    before_it_is_given: impl Fn() -> io::Result<()>,
) -> io::Result<()> {
    let provisional = provisional(path);
    std::fs::DirBuilder::new().mode(0o700).create(&provisional)?;
    let made = before_it_is_given()
        .and_then(|()| owner.give_folder(&provisional))
        .and_then(|()| std::fs::rename(&provisional, path));
    if made.is_err() {
        let _ = std::fs::remove_dir(&provisional);
    }
    // Another process may have created it in the meantime.
    made.or_else(|error| if path.is_dir() { Ok(()) } else { Err(error) })
}

/// Creates a file that takes the place of another one. The caller gives it the mode and the owner of that file.
pub(crate) fn create_like(path: &Path, _like: &Path) -> io::Result<File> {
    create_private(path)
}

/// Always false: a file has its mode from the first moment.
pub(crate) fn take_exposed(_file: &Path) -> bool {
    false
}

/// Opens a file to write it in place. Does not follow a link.
pub(crate) fn open_for_writing(path: &Path) -> io::Result<File> {
    private().write(true).open(path)
}

/// Opens a file to read it. Does not follow a link.
pub(crate) fn open_for_reading(path: &Path) -> io::Result<File> {
    // A pipe at this path must not block.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)
}

/// Opens the file of a lock, and creates it if it does not exist.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    private().read(true).write(true).create(true).truncate(false).open(path)
}

/// Opens the file of a lock that exists.
pub(crate) fn open_lock_if_there(path: &Path) -> io::Result<File> {
    private().read(true).write(true).open(path)
}

/// Returns the error of a metadata call as it is: on Unix it says itself if the path leads through a file.
pub(crate) fn what_is_missing(error: io::Error, _path: &Path) -> io::Error {
    error
}

/// The file that a path leads to.
#[expect(clippy::disallowed_methods, reason = "here it returns a path as people write it")]
pub(crate) fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// Creates a folder that only this user can read.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether a path still leads to the file that was opened.
pub(crate) fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    leads_to((opened.dev(), opened.ino()), opened.nlink() > 0, || match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(Some((there.dev(), there.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    })
}

/// Whether repeated looks at a path find the file with that number. Some file systems (FUSE, the shares of virtual machines)
/// give a file another number at each look: then it counts that the file was not removed.
fn leads_to(
    opened: (u64, u64),
    has_a_name: bool,
    mut look: impl FnMut() -> io::Result<Option<(u64, u64)>>,
) -> io::Result<bool> {
    let Some(first) = look()? else { return Ok(false) };
    if first == opened {
        return Ok(true);
    }
    let (Some(second), Some(third)) = (look()?, look()?) else { return Ok(false) };
    Ok(has_a_name && first != second && second != third && third != first)
}

/// Makes written bytes survive a power cut.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    match file.sync_all() {
        // On macOS this flushes the cache of the drive (`F_FULLFSYNC`), which network file systems refuse.
        Err(error) if cfg!(target_vendor = "apple") && has_no_full_sync(&error) => Ok(rustix::fs::fsync(file)?),
        done => done,
    }
}

/// Whether an error says that a file system cannot flush the cache of the drive.
fn has_no_full_sync(error: &io::Error) -> bool {
    // Two of these have one number on Linux.
    let refusals = [Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOTTY, Errno::INVAL];
    error.raw_os_error().is_some_and(|code| refusals.contains(&Errno::from_raw_os_error(code)))
}

/// Makes renamed and created files in a folder survive a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    match sync_file(&File::open(path)?) {
        // Some network file systems cannot sync folders, and need not.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Makes everything on the file system of a file survive a power cut: for a folder that may be written and not read.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn sync_file_system_of(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(open_for_reading(path)?)?)
}

/// Always fails, because this system has no such call.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn sync_file_system_of(_path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::PermissionDenied.into())
}

/// Reserves that many bytes, so that a full disk cannot refuse them later. `false` if the file system can only do that by
/// writing them.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<bool> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an error says that a file system has no locks, and not that another process has one.
pub(crate) fn means_no_locks(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL)
    )
}

/// Whether an error of a lock says that the file was not opened for writing.
pub(crate) fn means_not_writable(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw_os_error) == Some(Errno::BADF)
}

/// Always false: a file that another program has open can be replaced on Unix.
pub(crate) fn means_held(_error: &io::Error) -> bool {
    false
}

/// Whether an error says that a file cannot be replaced by another one, although it may be written in place: a single file that
/// is mounted into a container, access lists of a NAS, a read-only folder.
pub(crate) fn means_irreplaceable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::BUSY | Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::ROFS | Errno::OPNOTSUPP)
    )
}

/// Whether an error says that the path is a link, which is not followed.
pub(crate) fn is_link_refused(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw_os_error) == Some(Errno::LOOP)
}

/// Exchanges two files atomically; `false` if the system cannot do that.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    match rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Always `false`: this system cannot exchange two files.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
#[allow(clippy::unnecessary_wraps, reason = "the same shape as on the systems where it can fail")]
pub(crate) fn exchange(_one: &Path, _other: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Whether the mode lets no user write a file, so that it is to stay as it is.
pub(crate) fn is_read_only(metadata: &Metadata) -> bool {
    metadata.mode() & 0o222 == 0
}

/// Whether a file has other names, which would keep the old bytes.
pub(crate) fn has_other_names(metadata: &Metadata) -> bool {
    metadata.nlink() > 1
}

/// The file system on which a file or folder lies.
pub(crate) fn device(metadata: &Metadata) -> Device {
    Device(metadata.dev())
}

/// The file system and the number of an open file.
pub(crate) fn identity(file: &File) -> Option<(u64, u64)> {
    let there = file.metadata().ok()?;
    Some((there.dev(), there.ino()))
}

/// Whether two looks at a path found the same file.
pub(crate) fn is_same_file(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether two looks at a path found the same file with the same bytes, mode and owner, as far as its metadata show that.
pub(crate) fn is_unchanged(one: &Metadata, other: &Metadata) -> bool {
    let when = |metadata: &Metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    let whose = |metadata: &Metadata| (metadata.mode(), metadata.uid(), metadata.gid());
    is_same_file(one, other) && when(one) == when(other) && whose(one) == whose(other)
}

/// Whether the file was not changed at all between two looks, including its access list and its attributes.
pub(crate) fn is_untouched(one: &Metadata, other: &Metadata) -> bool {
    let when = |metadata: &Metadata| (metadata.ctime(), metadata.ctime_nsec());
    is_unchanged(one, other) && when(one) == when(other)
}

/// Whether a symbolic link belongs to a user that is neither this one nor root.
pub(crate) fn is_foreign_link(metadata: &Metadata) -> bool {
    let uid = metadata.uid();
    uid != 0 && uid != rustix::process::geteuid().as_raw()
}

/// Whether the file system of a path is mounted read-only. False if the system does not say.
pub(crate) fn is_mounted_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|there| there.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Whether this user may write a file, or create files in a folder.
pub(crate) fn may_write(path: &Path) -> bool {
    let is_folder = path.is_dir();
    let wanted = if is_folder { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
    rustix::fs::access(path, wanted).is_ok()
}

/// Owner and mode of a file.
#[allow(clippy::unnecessary_wraps, reason = "the same shape as on the system without modes")]
pub(crate) fn holder(metadata: &Metadata) -> Option<Holder> {
    let user = rustix::process::geteuid().as_raw();
    Some(Holder { owner: metadata.uid(), user, mode: metadata.mode() & 0o7777 })
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user to whom the private folders belong: this one, or the owner for whom root creates files.
fn user(owner: Option<Owner>) -> u32 {
    owner.map_or_else(|| rustix::process::geteuid().as_raw(), |owner| owner.uid)
}

/// The private folders for files that cannot be created beside another one, the best first. They are the same for all processes
/// of the user, and for root at the files of that user: `HOME`, `TMPDIR` and `XDG_RUNTIME_DIR` do not matter.
pub(crate) fn private_folders(owner: Option<Owner>) -> Vec<PathBuf> {
    static HOMES: Mutex<BTreeMap<u32, Option<PathBuf>>> = Mutex::new(BTreeMap::new());
    let uid = user(owner);
    let mut homes = HOMES.lock().unwrap_or_else(PoisonError::into_inner);
    let home = homes.entry(uid).or_insert_with(|| home_of(uid));
    let at_home = home.as_ref().map(|home| home.join(".ring-auth-stand-in"));
    at_home.into_iter().chain([PathBuf::from(format!("/tmp/ring-auth-{uid}"))]).collect()
}

/// Creates a private folder if it does not exist, and checks it.
pub(crate) fn make_private_folder(folder: &Path, owner: Option<Owner>) -> io::Result<()> {
    let made = match owner {
        _ if std::fs::symlink_metadata(folder).is_ok() => Ok(()),
        Some(owner) => create_dir_for(folder, owner, || Ok(())),
        None => std::fs::DirBuilder::new().mode(0o700).create(folder),
    };
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => check_private_folder(folder, owner),
    }
}

/// Checks that a private folder exists, and belongs to its user alone.
pub(crate) fn check_private_folder(folder: &Path, owner: Option<Owner>) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(folder)?;
    if !metadata.is_dir() || metadata.uid() != user(owner) || metadata.mode() & 0o077 != 0 {
        return Err(not_private(folder));
    }
    Ok(())
}

/// Opens a file to lock the file itself; `None` if it does not exist, or if this user may not even read it.
pub(crate) fn open_itself(path: &Path) -> io::Result<Option<File>> {
    // A network file system locks only files that were opened for writing.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    match opened.or_else(|_| OpenOptions::new().read(true).custom_flags(flags).open(path)) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file itself is locked, beside the lock that is named after it. It has to be if the file may be written
/// in place: then other processes can have the same file under other names, with other locks.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_locked_itself(file: &File, path: &Path, has_stand_in: bool) -> io::Result<bool> {
    /// File systems on which the lock of a file prevents others from reading it: SMB, CIFS, SMB2.
    const MANDATORY: [u32; 3] = [0x517b, 0xff53_4d42, 0xfe53_4d42];
    /// File systems on which replacing an open file leaves a trace: NFS, FUSE, 9P, AFS.
    const REMOTE: [u32; 4] = [0x6969, 0x6573_5546, 0x0102_1997, 0x5346_414f];
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the numbers of file systems have 32 bits, in a word whose size and sign differ between machines"
    )]
    let kind = rustix::fs::fstatfs(file)?.f_type as u32;
    if MANDATORY.contains(&kind) {
        return Ok(false);
    }
    // A file that is replaced here may be mounted elsewhere, and a lock costs no access to the disk.
    let is_local = !REMOTE.contains(&kind);
    Ok(is_local || has_stand_in || has_other_names(&file.metadata()?) || is_mounted_alone(path))
}

/// Whether a file itself is locked. This system does not show whether a file is mounted alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_locked_itself(file: &File, _path: &Path, has_stand_in: bool) -> io::Result<bool> {
    Ok(has_stand_in || has_other_names(&file.metadata()?))
}

/// Whether a single file is mounted at a path, and does not lie in the folder there.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_mounted_alone(path: &Path) -> bool {
    rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Always false: this system does not show that.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_mounted_alone(_path: &Path) -> bool {
    false
}

/// Whether only this mount still leads to a file, because it was replaced in the folder from which it was mounted.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn is_left_over(file: &File, path: &Path) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() == 0 && is_mounted_alone(path))
}

/// Always false: this system has no such mounts.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps, reason = "the same shape as on the systems where it can fail")]
pub(crate) fn is_left_over(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(false)
}

impl Owner {
    /// The owner of an entry, if this process is root and the owner is another user: root creates the files beside it for that
    /// user.
    pub(crate) fn beside(metadata: &Metadata) -> Option<Self> {
        let owner = Self { uid: metadata.uid(), gid: metadata.gid() };
        (is_root() && owner.uid != 0 && is_known_user(owner.uid)).then_some(owner)
    }

    /// Gives the owner a file that root has just created and no other process has seen. The root of a user namespace cannot
    /// give it to an owner that the namespace does not know: then it stays root's.
    pub(crate) fn give(self, file: &File) -> io::Result<()> {
        or_keep(std::os::unix::fs::fchown(file, Some(self.uid), Some(self.gid)))
    }

    /// Gives the owner a folder that root has just created, in the same way as a file.
    fn give_folder(self, path: &Path) -> io::Result<()> {
        or_keep(std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)))
    }
}

/// Whether a number is that of a user of this user namespace. The files of all other users seem to belong to one number, which
/// may be a user as well: nothing is given to that one.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_known_user(uid: u32) -> bool {
    static USERS: LazyLock<Option<(UserMap, u32)>> = LazyLock::new(|| {
        let users = UserMap::parse(&std::fs::read_to_string("/proc/self/uid_map").ok()?);
        let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
        Some((users, overflow.and_then(|uid| uid.trim().parse().ok()).unwrap_or(65534)))
    });
    USERS.as_ref().is_none_or(|(users, overflow)| users.knows(uid, *overflow))
}

/// Always true: this system has no user namespaces.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_known_user(_uid: u32) -> bool {
    true
}

/// The users of a user namespace: the first of each range, and how many there are.
#[cfg(any(target_os = "linux", target_os = "android"))]
struct UserMap(Vec<(u32, u32)>);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl UserMap {
    fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let (first, _, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
            Some((first, count))
        };
        Self(text.lines().filter_map(range).collect())
    }

    fn knows(&self, uid: u32, overflow: u32) -> bool {
        // The namespace of the system itself has every number.
        let is_whole = self.0.is_empty() || self.0.contains(&(0, u32::MAX));
        let is_in = |(first, count): &(u32, u32)| uid.checked_sub(*first).is_some_and(|at| at < *count);
        is_whole || (uid != overflow && self.0.iter().any(is_in))
    }
}

fn or_keep(given: io::Result<()>) -> io::Result<()> {
    match given {
        Err(error) if is_unknown_owner(&error) || error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        given => given,
    }
}

/// Whether an error of a change of owner says that there is no such owner in this user namespace.
fn is_unknown_owner(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw_os_error) == Some(Errno::INVAL)
}

impl<'a> Ownership<'a> {
    /// The ownership of a file of another program, with its whole mode.
    pub(crate) fn exactly(metadata: &Metadata, like: &'a Path) -> Self {
        Self { mode: metadata.mode() & 0o777, uid: metadata.uid(), gid: metadata.gid(), like }
    }

    /// The ownership of a file of ours, without the rights that its mode gives to all users, because a token is private.
    pub(crate) fn of(metadata: &Metadata, like: &'a Path) -> Self {
        Self { mode: metadata.mode() & 0o770, ..Self::exactly(metadata, like) }
    }

    /// Whether this process would have to change the owner of a file that it creates.
    pub(crate) fn is_another_users(self) -> bool {
        self.uid != rustix::process::geteuid().as_raw()
    }

    /// Gives this ownership to a new file that no other process uses yet.
    ///
    /// # Errors
    ///
    /// If the file cannot get all of it: an error that means that it cannot take the place of the other one.
    pub(crate) fn apply(self, file: &File) -> io::Result<()> {
        let metadata = file.metadata()?;
        if metadata.uid() != self.uid && !is_known_user(self.uid) {
            return Err(Errno::PERM.into());
        }
        if (metadata.uid(), metadata.gid()) != (self.uid, self.gid) {
            std::os::unix::fs::fchown(file, Some(self.uid), Some(self.gid))
                .map_err(|error| if is_unknown_owner(&error) { Errno::PERM.into() } else { error })?;
        }
        let set_mode = || {
            let is_set = file.metadata()?.mode() & 0o777 == self.mode;
            if is_set { Ok(()) } else { file.set_permissions(std::fs::Permissions::from_mode(self.mode)) }
        };
        // A mode is part of an access list: some lists match it already, and each list brings its own.
        set_mode()?;
        attributes::copy(self.like, file)?;
        set_mode()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_late_and_takes_no_other_file_s() {
        for is_nameless in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j.json");
            let make = || {
                if is_nameless {
                    return create_unnamed(&path).unwrap();
                }
                // As on a file system without nameless files.
                let provisional = provisional(&path);
                let file = private().write(true).create_new(true).open(&provisional).unwrap();
                Unnamed { file, provisional: Some(provisional) }
            };
            let [first, second, third] = [make(), make(), make()];
            assert!(!path.exists());
            drop(first.name(&path).unwrap());
            assert_eq!(second.name(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            drop(third);
            let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
            assert_eq!(names.len(), 1, "{names:?}");
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_is_still_there_if_its_file_system_numbers_it_anew_at_each_look() {
        let leads = |opened, has_a_name, looks: &[Option<u64>]| {
            let mut looks = looks.iter().map(|look| look.map(|number| (1, number)));
            leads_to((1, opened), has_a_name, || Ok(looks.next().flatten())).unwrap()
        };
        assert!(leads(5, true, &[Some(5)]));
        // The file was removed, or replaced by another one.
        assert!(!leads(5, true, &[None]) && !leads(5, true, &[Some(6), Some(6), Some(6)]));
        assert!(!leads(5, true, &[Some(6), Some(7), Some(7)]) && !leads(5, true, &[Some(6), Some(7), None]));
        assert!(leads(5, true, &[Some(6), Some(7), Some(8)]));
        assert!(!leads(5, false, &[Some(6), Some(7), Some(8)]));
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_user_is_known_if_the_namespace_has_the_number() {
        let knows = |map: &str, uid| UserMap::parse(map).knows(uid, 65534);
        let whole = "         0          0 4294967295\n";
        assert!([1, 1000, 65534].iter().all(|uid| knows(whole, *uid) && knows("", *uid)));
        let own = "         0       1000          1\n";
        assert!(knows(own, 0) && ![1, 1000, 65534].iter().any(|uid| knows(own, *uid)));
        let container = "0 1000 1\n1 100000 65536\n";
        assert!(knows(container, 1) && knows(container, 65536) && !knows(container, 65537));
        assert!(!knows(container, 65534), "it may be a file of any user outside");
    }

    #[test]
    fn an_owner_that_a_user_namespace_does_not_know_means_in_place() {
        let of = |error: Errno| io::Error::from(error);
        assert!(or_keep(Err(of(Errno::INVAL))).is_ok() && or_keep(Err(of(Errno::PERM))).is_ok());
        assert!(or_keep(Err(of(Errno::IO))).is_err());
        assert!(is_unknown_owner(&of(Errno::INVAL)) && !is_unknown_owner(&of(Errno::PERM)));
    }
}
