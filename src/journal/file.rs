//! The journal as a file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use super::disk::Disk;
use super::format::{self, Unreadable};
use super::lock::{self, Lock};
use super::platform::{self, Ownership};
use super::replace::{self, Room, Way};
use super::state::State;
use super::{Found, Guard, Notice, Store};
use crate::{Error, ErrorCode, Result};

/// How much longer than the state before it an answer's state may be and still fit into the room kept for it. Ring's
/// tokens have some 1500 bytes; push credentials do not come with an answer.
const ROOM_FOR_ANSWER: usize = 16 * 1024;

/// Where whole copies lie while the journal is being written. Three, so that one can hold what could not be moved on
/// while the other two do their work.
const SLOTS: [&str; 3] = [".next", ".tmp", ".spare"];

/// Keeps the state in one small file, readable by its owner alone, and never without a whole copy of it on the disk.
#[derive(Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

struct Shared {
    given: PathBuf,
    real: OnceLock<PathBuf>,
    issuer: String,
    disk: Disk,
}

impl FileStore {
    /// The journal at a path, for tokens of that issuer. Nothing is read or made yet.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a path that is no file's.
    pub fn open(path: impl Into<PathBuf>, issuer: impl Into<String>, disk: Disk) -> Result<Self> {
        let path = path.into();
        if path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::invalid("The store's path is empty or has a NUL in it. Give the path of a file."));
        }
        if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Error::invalid(format!(
                "The store's path {} is a folder. Give the path of a file in it, for example {}.",
                path.display(),
                path.join("ring-auth.json").display()
            )));
        }
        let given = std::path::absolute(&path).map_err(|error| {
            Error::invalid(format!("The store's path {} cannot be made absolute.", path.display())).with_cause(error)
        })?;
        Ok(Self { shared: Arc::new(Shared { given, real: OnceLock::new(), issuer: issuer.into(), disk }) })
    }
}

impl Shared {
    /// The file itself, behind the links that lead to it, so that everyone locks and replaces the same one.
    fn real(&self) -> Result<&Path> {
        if let Some(path) = self.real.get() {
            return Ok(path);
        }
        let resolved = resolve(&self.given).map_err(|error| self.failed("found", &error))?;
        Ok(self.real.get_or_init(|| resolved))
    }

    fn failed(&self, verb: &str, error: &io::Error) -> Error {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Free some space on that disk.",
            io::ErrorKind::PermissionDenied => "Give this user the right to read and write it and its folder.",
            io::ErrorKind::ReadOnlyFilesystem => "Mount that file system so that it can be written.",
            _ => "Look at the disk, and at who owns the file.",
        };
        Error::new(ErrorCode::Store, format!("The journal {} cannot be {verb}. {hint}", self.given.display()))
            .with_cause(error)
    }

    /// The newest whole state there is, and where it lies.
    fn newest(&self, extra: Option<&Path>) -> Result<Newest> {
        let real = self.real()?;
        let mut newest = Newest::default();
        match self.disk.read(real) {
            Ok(None) => {}
            Ok(Some(bytes)) => match format::decode(&bytes) {
                Ok(state) => newest.state = Some(state),
                Err(Unreadable::Damaged) => newest.damaged = true,
                Err(Unreadable::Newer(version)) => return Err(self.too_new(version)),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => newest.damaged = true,
            Err(error) => return Err(self.failed("read", &error)),
        }
        let slots = SLOTS.iter().map(|slot| lock::sibling(real, slot)).chain(extra.map(Path::to_owned));
        for slot in slots {
            // What cannot be read here is no copy: most often there is nothing.
            let Ok(Some(bytes)) = self.disk.read(&slot) else { continue };
            let Ok(state) = format::decode(&bytes) else { continue };
            let newer = newest.state.as_ref().is_none_or(|best| state.sequence > best.sequence);
            if newer && state.issuer == self.issuer {
                newest.state = Some(state);
                newest.beside = Some(slot);
            }
        }
        match &newest.state {
            Some(state) if state.issuer != self.issuer => Err(self.other_issuer(&state.issuer)),
            _ => Ok(newest),
        }
    }

    fn too_new(&self, version: u64) -> Error {
        Error::new(
            ErrorCode::Store,
            format!(
                "The journal {} was written by a later version of ring-auth (format {version}). Install that version again; the file was left as it is.",
                self.given.display()
            ),
        )
    }

    fn other_issuer(&self, issuer: &str) -> Error {
        Error::invalid(format!(
            "The journal {} holds tokens of {issuer}, but oauthUrl is {}. Use another store for that server, or take oauthUrl (RING_AUTH_OAUTH_URL) away. Nothing was sent.",
            self.given.display(),
            self.issuer
        ))
    }
}

#[derive(Default)]
struct Newest {
    state: Option<State>,
    beside: Option<PathBuf>,
    damaged: bool,
}

impl Store for FileStore {
    fn peek(&self) -> Result<Option<State>> {
        Ok(self.shared.newest(None)?.state)
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let shared = &self.shared;
        if let Some(folder) = shared.given.parent()
            && !folder.is_dir()
        {
            shared.disk.create_dir(folder).map_err(|error| shared.failed("made: its folder is missing", &error))?;
        }
        let real = shared.real()?;
        let lock = Lock::try_take(&shared.disk, real)?;
        Ok(lock.map(|lock| {
            Box::new(FileGuard { shared: Arc::clone(shared), _lock: lock, room: None, beside: None }) as Box<dyn Guard>
        }))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn name(&self) -> String {
        self.shared.given.display().to_string()
    }
}

struct FileGuard {
    shared: Arc<Shared>,
    _lock: Lock,
    room: Option<Room>,
    /// Where the newest state lies, when that is not the journal itself.
    beside: Option<PathBuf>,
}

impl FileGuard {
    /// A place for a copy that is not the place of the only one there is.
    fn slot(&self, real: &Path, index: usize) -> PathBuf {
        let mut free =
            SLOTS.iter().map(|slot| lock::sibling(real, slot)).filter(|slot| Some(slot) != self.beside.as_ref());
        // Three slots, one of them taken at most, and the index is 0 or 1.
        free.nth(index).unwrap_or_else(|| lock::sibling(real, SLOTS[index]))
    }

    fn stand_in_copy(&self, real: &Path) -> Option<PathBuf> {
        // Only where nothing can be made beside the journal: then its lock is not there either.
        let lock = lock::sibling(real, ".lock");
        match self.shared.disk.metadata(&lock) {
            Ok(None) => lock::stand_in(real, ".copy").ok(),
            _ => None,
        }
    }

    fn ownership(&self, real: &Path) -> io::Result<Option<Ownership>> {
        Ok(self.shared.disk.metadata(real)?.as_ref().map(Ownership::of))
    }

    /// Makes bytes durable by the first way that works.
    fn put(&mut self, bytes: &[u8], room: Option<Room>) -> Result<Way> {
        let shared = Arc::clone(&self.shared);
        let (disk, real) = (&shared.disk, shared.real()?);
        let ownership = self.ownership(real).map_err(|error| shared.failed("written", &error))?;
        if let Some(room) = room
            && let Ok(way) = replace::replace(disk, room, real, bytes)
        {
            return Ok(self.settled(way, &self.slot(real, 0)));
        }
        let slot = self.slot(real, 1);
        let fresh = match Room::empty(disk, &slot, ownership) {
            // Whoever may not give a file its owner can still write into the one that has it.
            Err(error) if ownership.is_some() && platform::means_irreplaceable(&error) => {
                return self.put_in_place(bytes, &slot, &error);
            }
            made => made.and_then(|room| replace::replace(disk, room, real, bytes)),
        };
        match fresh {
            Ok(way) => Ok(self.settled(way, &slot)),
            Err(error) => Err(shared.failed("written", &error)),
        }
    }

    /// Writes over the journal, with a whole copy in the first place that takes one.
    fn put_in_place(&mut self, bytes: &[u8], slot: &Path, refused: &io::Error) -> Result<Way> {
        let shared = Arc::clone(&self.shared);
        let (disk, real) = (&shared.disk, shared.real()?);
        let places = [Some(slot.to_owned()), lock::stand_in(real, ".copy").ok()];
        for place in places.into_iter().flatten() {
            let Ok(copy) = Room::empty(disk, &place, None) else { continue };
            let copied = disk_copy(disk, &place, bytes);
            if copied.is_err() {
                copy.release(disk);
                continue;
            }
            if let Err(error) = replace::write_over(disk, real, bytes) {
                // The copy is whole, so the journal is mended from it by whoever reads it next.
                return match self.stand_in_copy(real) {
                    Some(stand_in) if stand_in != place => Err(shared.failed("written", &error)),
                    _ => Ok(self.settled(Way::Beside, &place)),
                };
            }
            copy.release(disk);
            return Ok(self.settled(Way::InPlace, &place));
        }
        Err(shared.failed("written", refused))
    }

    /// After a write that lasts: the copy that was needed until now is not needed any more.
    fn settled(&mut self, way: Way, copy: &Path) -> Way {
        let former = self.beside.take();
        if way == Way::Beside {
            self.beside = Some(copy.to_owned());
        }
        if let Some(former) = former
            && Some(&former) != self.beside.as_ref()
        {
            let _ = self.shared.disk.remove(&former);
        }
        way
    }

    fn notices(&self, way: Way) -> Vec<Notice> {
        let path = self.shared.given.display();
        match way {
            Way::Replaced => Vec::new(),
            Way::InPlace => vec![Notice(format!(
                "The journal {path} cannot be replaced in one go here, so it is written in place, with a copy beside it meanwhile."
            ))],
            Way::Beside => vec![Notice(format!(
                "The journal {path} could not be changed, so its newest version lies in a file beside it. Give this user the right to write it."
            ))],
        }
    }
}

impl Guard for FileGuard {
    fn read(&mut self) -> Result<Found> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        let extra = self.stand_in_copy(real);
        let newest = shared.newest(extra.as_deref())?;
        let mut notices = Vec::new();
        if newest.damaged {
            let aside = move_aside(&shared.disk, real).map_err(|error| shared.failed("moved aside", &error))?;
            let instead = if newest.state.is_some() { "its whole copy is used" } else { "the token given is used" };
            notices.push(Notice(format!(
                "The journal {} was damaged. It was kept as {}, and {instead}.",
                shared.given.display(),
                aside.display()
            )));
        }
        self.beside = newest.beside;
        let state = newest.state.unwrap_or_else(|| State::new(shared.issuer.clone()));
        Ok(Found { state, notices })
    }

    fn begin(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        state.sequence += 1;
        let bytes = format::encode(state);
        let ownership = self.ownership(real).map_err(|error| shared.failed("written", &error))?;
        let reserved = self.slot(real, 0);
        let room = match Room::keep(&shared.disk, &reserved, bytes.len() + ROOM_FOR_ANSWER, ownership) {
            Ok(room) => Some(room),
            // Nothing can be made beside it; writing in place needs no more room than there is.
            Err(error) if platform::means_irreplaceable(&error) => None,
            Err(error) => return Err(shared.failed("written", &error)),
        };
        match self.put(&bytes, None) {
            Ok(Way::Beside) => {
                if let Some(room) = room {
                    room.release(&shared.disk);
                }
                Err(shared.failed("written", &io::Error::from(io::ErrorKind::PermissionDenied)))
            }
            Ok(way) => {
                self.room = room;
                Ok(self.notices(way))
            }
            Err(error) => {
                if let Some(room) = room {
                    room.release(&shared.disk);
                }
                Err(error)
            }
        }
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        state.sequence += 1;
        let bytes = format::encode(state);
        let room = self.room.take();
        let way = match self.put(&bytes, room) {
            Ok(way) => way,
            Err(error) => {
                // What is there now is spent, so writing over it can only win; it is never made longer for that.
                let real = self.shared.real()?;
                let fits = matches!(self.shared.disk.metadata(real), Ok(Some(old)) if old.len() >= bytes.len() as u64);
                if !fits || replace::write_over(&self.shared.disk, real, &bytes).is_err() {
                    return Err(error);
                }
                Way::InPlace
            }
        };
        Ok(self.notices(way))
    }

    fn forget(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        let mut paths = vec![real.to_owned()];
        paths.extend(SLOTS.iter().map(|slot| lock::sibling(real, slot)));
        paths.extend(self.stand_in_copy(real));
        paths.extend(moved_aside(real));
        for path in paths {
            shared.disk.remove(&path).map_err(|error| shared.failed("removed", &error))?;
        }
        if let Some(folder) = real.parent() {
            shared.disk.sync_dir(folder).map_err(|error| shared.failed("removed", &error))?;
        }
        self.beside = None;
        Ok(())
    }
}

impl Drop for FileGuard {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            room.release(&self.shared.disk);
        }
    }
}

const DAMAGED: &str = ".damaged-";

fn disk_copy(disk: &Disk, place: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open_for_writing(place)?;
    disk.write(&file, place, 0, bytes)?;
    disk.sync(&file, place)?;
    place.parent().map_or(Ok(()), |folder| disk.sync_dir(folder))
}

/// Gives a file another name beside its own, one that nothing has.
fn move_aside(disk: &Disk, real: &Path) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut aside = lock::sibling(real, &format!("{DAMAGED}{now}"));
    let mut number = 0;
    while disk.metadata(&aside)?.is_some() {
        number += 1;
        aside = lock::sibling(real, &format!("{DAMAGED}{now}-{number}"));
    }
    disk.rename(real, &aside)?;
    Ok(aside)
}

fn moved_aside(real: &Path) -> Vec<PathBuf> {
    let prefix = lock::sibling(real, DAMAGED);
    let Some(folder) = real.parent() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes()))
        .collect()
}

fn resolve(given: &Path) -> io::Result<PathBuf> {
    match std::fs::symlink_metadata(given) {
        Ok(metadata) if metadata.is_symlink() => {
            if platform::is_foreign_link(&metadata) {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "it is a symbolic link that belongs to another user",
                ));
            }
            match std::fs::canonicalize(given) {
                // A link to a file that is yet to be made.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let target = std::fs::read_link(given)?;
                    resolve(&given.parent().unwrap_or(Path::new("/")).join(target))
                }
                other => other,
            }
        }
        Ok(_) => std::fs::canonicalize(given),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(folder), Some(name)) = (given.parent(), given.file_name()) else { return Err(error) };
            match std::fs::canonicalize(folder) {
                Ok(folder) => Ok(folder.join(name)),
                // Reading a journal that is not there yet, in a folder that is not there yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(given.to_owned()),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::disk::{Moment, Probe};
    use super::*;
    use crate::token::RefreshToken;

    const ISSUER: &str = "https://oauth.ring.com";

    fn store(path: &Path) -> FileStore {
        FileStore::open(path, ISSUER, Disk::default()).unwrap()
    }

    fn lock(store: &FileStore) -> Box<dyn Guard> {
        store.try_lock().unwrap().unwrap()
    }

    fn write(store: &FileStore, raw: &str) {
        let mut guard = lock(store);
        let mut state = guard.read().unwrap().state;
        state.take_over(RefreshToken::from_raw(raw), 1);
        guard.begin(&mut state).unwrap();
        guard.commit(&mut state).unwrap();
    }

    fn current(store: &FileStore) -> Option<String> {
        store.peek().unwrap().and_then(|state| state.current).map(|held| held.token.raw().to_owned())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_is_read_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("sub/j.json"));
        assert!(store.peek().unwrap().is_none());
        write(&store, "a");
        assert_eq!(current(&store).as_deref(), Some("a"));
        assert_eq!(names(&folder.path().join("sub")), ["j.json", "j.json.lock"]);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it_and_its_group_still_can() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        let store = store(&path);
        write(&store, "a");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("j.json.lock")), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        write(&store, "b");
        assert_eq!(mode(&path), 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (link, path) = (folder.path().join("link.json"), folder.path().join("real.json"));
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        write(&store(&link), "a");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(current(&store(&path)).as_deref(), Some("a"));
        let held = lock(&store(&link));
        assert!(store(&path).try_lock().unwrap().is_none(), "both names have one lock");
        drop(held);
    }

    #[test]
    fn a_folder_is_no_journal() {
        let folder = tempfile::tempdir().unwrap();
        let error = FileStore::open(folder.path(), ISSUER, Disk::default()).err().unwrap();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_damaged_journal_is_kept_aside_and_said() {
        for bytes in [&b""[..], b"{\"version\":1", b"\0\0\0", b"{\"version\":1,\"current\":5}", b"[]"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j.json");
            std::fs::write(&path, bytes).unwrap();
            let store = store(&path);
            let found = lock(&store).read().unwrap();
            assert!(found.state.current.is_none());
            assert!(found.notices[0].0.contains("damaged"), "{:?}", found.notices);
            let aside = names(folder.path()).into_iter().find(|name| name.contains(DAMAGED)).unwrap();
            assert_eq!(std::fs::read(folder.path().join(aside)).unwrap(), bytes);
        }
    }

    #[test]
    fn a_later_version_and_another_issuer_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        std::fs::write(&path, b"{\"version\": 7}").unwrap();
        assert_eq!(lock(&store(&path)).read().unwrap_err().code(), ErrorCode::Store);
        assert_eq!(std::fs::read(&path).unwrap(), b"{\"version\": 7}");
        std::fs::remove_file(&path).unwrap();
        write(&store(&path), "a");
        let other = FileStore::open(&path, "http://127.0.0.1:1", Disk::default()).unwrap();
        assert_eq!(other.peek().unwrap_err().code(), ErrorCode::InvalidArgument);
        assert_eq!(lock(&other).read().unwrap_err().code(), ErrorCode::InvalidArgument);
        assert_eq!(current(&store(&path)).as_deref(), Some("a"));
    }

    #[test]
    fn forgetting_leaves_the_lock_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        std::fs::write(&path, b"damaged").unwrap();
        let store = store(&path);
        lock(&store).read().unwrap();
        write(&store, "a");
        lock(&store).forget().unwrap();
        assert_eq!(names(folder.path()), ["j.json.lock"]);
    }

    /// Fails chosen calls; counts all.
    #[derive(Default)]
    struct Faults {
        seen: Mutex<Vec<String>>,
        fails: Mutex<Vec<(&'static str, &'static str, i32)>>,
    }

    impl Probe for Faults {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            if moment != Moment::Before {
                return Ok(());
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.seen.lock().unwrap().push(format!("{call} {name}"));
            let fails = self.fails.lock().unwrap();
            match fails.iter().find(|(failing, ending, _)| *failing == call && name.ends_with(ending)) {
                Some((_, _, errno)) => Err(io::Error::from_raw_os_error(*errno)),
                None => Ok(()),
            }
        }
    }

    fn faulty(path: &Path) -> (FileStore, Arc<Faults>) {
        let faults = Arc::new(Faults::default());
        let disk = Disk::with_probe(Arc::clone(&faults) as Arc<dyn Probe>);
        (FileStore::open(path, ISSUER, disk).unwrap(), faults)
    }

    #[test]
    fn where_nothing_can_be_replaced_it_is_written_in_place_and_said() {
        // EPERM, EACCES, EBUSY, EXDEV, EROFS
        for errno in [1, 13, 16, 18, 30] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j.json");
            write(&store(&path), "a");
            let (store, faults) = faulty(&path);
            faults.fails.lock().unwrap().push(("rename", "", errno));
            let mut guard = lock(&store);
            let mut state = guard.read().unwrap().state;
            state.take_over(RefreshToken::from_raw("b"), 2);
            let notices = guard.begin(&mut state).unwrap();
            assert!(notices[0].0.contains("in place"), "{notices:?}");
            guard.commit(&mut state).unwrap();
            drop(guard);
            assert_eq!(current(&store).as_deref(), Some("b"));
            assert_eq!(names(folder.path()), ["j.json", "j.json.lock"], "errno {errno}");
        }
    }

    #[test]
    fn a_mode_that_cannot_be_given_means_in_place_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        write(&store(&path), "a");
        let (store, faults) = faulty(&path);
        faults.fails.lock().unwrap().push(("chown", "", 1));
        let mut guard = lock(&store);
        let mut state = guard.read().unwrap().state;
        state.take_over(RefreshToken::from_raw("b"), 2);
        let notices = guard.begin(&mut state).unwrap();
        assert!(faults.seen.lock().unwrap().iter().any(|call| call.starts_with("chown")), "it was tried, and refused");
        assert!(notices[0].0.contains("in place"), "{notices:?}");
        guard.commit(&mut state).unwrap();
        drop(guard);
        assert_eq!(current(&store).as_deref(), Some("b"));
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
    }

    #[test]
    fn a_full_disk_before_the_request_changes_nothing() {
        for call in ["create", "allocate", "write", "sync"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("j.json");
            write(&store(&path), "a");
            let before = std::fs::read(&path).unwrap();
            let (store, faults) = faulty(&path);
            faults.fails.lock().unwrap().push((call, "", 28));
            let mut guard = lock(&store);
            let mut state = guard.read().unwrap().state;
            state.take_over(RefreshToken::from_raw("b"), 2);
            let error = guard.begin(&mut state).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Store);
            assert!(error.message().contains("space"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before, "{call}");
            drop(guard);
            assert_eq!(names(folder.path()), ["j.json", "j.json.lock"], "{call}");
        }
    }

    #[test]
    fn a_disk_that_fills_up_after_the_mark_cannot_stop_the_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        write(&store(&path), "a");
        let (store, faults) = faulty(&path);
        let mut guard = lock(&store);
        let mut state = guard.read().unwrap().state;
        guard.begin(&mut state).unwrap();
        faults.fails.lock().unwrap().extend([("create", "", 28), ("allocate", "", 28)]);
        state.take_over(RefreshToken::from_raw("b"), 2);
        guard.commit(&mut state).unwrap();
        assert_eq!(current(&store).as_deref(), Some("b"));
    }

    #[test]
    fn a_copy_left_by_a_crash_is_newer_than_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        for slot in SLOTS {
            write(&store(&path), "a");
            let older = std::fs::read(&path).unwrap();
            write(&store(&path), "b");
            // The crash came between the copy's fsync and its renaming.
            std::fs::rename(&path, lock::sibling(&path, slot)).unwrap();
            std::fs::write(&path, older).unwrap();
            assert_eq!(current(&store(&path)).as_deref(), Some("b"), "{slot}");
            write(&store(&path), "c");
            assert_eq!(current(&store(&path)).as_deref(), Some("c"));
            assert_eq!(names(folder.path()), ["j.json", "j.json.lock"], "{slot}");
        }
    }

    #[test]
    fn a_journal_torn_in_place_is_mended_from_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        write(&store(&path), "a");
        std::fs::copy(&path, lock::sibling(&path, ".tmp")).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let found = lock(&store(&path)).read().unwrap();
        assert_eq!(found.state.current.unwrap().token.raw(), "a");
        assert!(found.notices[0].0.contains("copy"), "{:?}", found.notices);
    }

    #[test]
    fn what_could_only_be_kept_beside_is_not_lost_by_the_next_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        write(&store(&path), "a");
        let (store, faults) = faulty(&path);
        let mut guard = lock(&store);
        let mut state = guard.read().unwrap().state;
        guard.begin(&mut state).unwrap();
        faults.fails.lock().unwrap().extend([("rename", "", 16), ("open", "", 13)]);
        state.take_over(RefreshToken::from_raw("b"), 2);
        assert!(guard.commit(&mut state).unwrap()[0].0.contains("beside"));
        drop(guard);
        assert_eq!(current(&store).as_deref(), Some("b"));
        // Nothing is sent while it is so.
        let mut guard = lock(&store);
        let mut state = guard.read().unwrap().state;
        assert_eq!(guard.begin(&mut state).unwrap_err().code(), ErrorCode::Store);
        drop(guard);
        assert_eq!(current(&store).as_deref(), Some("b"));
        faults.fails.lock().unwrap().clear();
        let mut guard = lock(&store);
        let mut state = guard.read().unwrap().state;
        guard.begin(&mut state).unwrap();
        guard.commit(&mut state).unwrap();
        drop(guard);
        assert_eq!(current(&store).as_deref(), Some("b"));
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
    }
}
