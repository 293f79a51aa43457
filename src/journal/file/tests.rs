use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::super::state::{Access, Known, Mark, Sent};
use super::super::{Begun, Notice, format};
use super::damaged::moved_aside;
use super::guard::SPACE_FOR_ANSWER;
use super::*;
#[cfg(unix)]
use crate::files::names::stand_in;
use crate::files::platform::{self, Ownership};
#[cfg(unix)]
use crate::files::replace;
use crate::files::{Moment, Probe, RemovesNothingOpen};
use crate::token::RefreshToken;

const ISSUER: &str = "https://oauth.ring.com";

fn store(path: &Path) -> JournalFile {
    JournalFile::open(path, ISSUER, Disk::default()).unwrap()
}

fn lock(store: &JournalFile) -> Box<dyn Guard> {
    store.try_lock().unwrap().unwrap()
}

fn enter(store: &JournalFile) -> (Box<dyn Guard>, State) {
    let mut guard = lock(store);
    let state = guard.read().unwrap().state;
    (guard, state)
}

fn ready(begun: Result<Begun>) -> Vec<Notice> {
    match begun.unwrap() {
        Begun::Ready(notices) => notices,
        Begun::Overtaken(theirs) => panic!("overtaken by {theirs:?}"),
    }
}

fn write(store: &JournalFile, raw: &str) {
    let (mut guard, mut state) = enter(store);
    state.take_over(RefreshToken::from_raw(raw), 1);
    guard.begin(&mut state).unwrap();
    guard.commit(&mut state).unwrap();
}

/// A folder with a journal that holds one token.
fn journal_of(raw: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    write(&store(&path), raw);
    (folder, path)
}

fn access(token: &str) -> Access {
    Access {
        token: token.into(),
        token_type: "Bearer".into(),
        scope: "client".into(),
        obtained_at: 1,
        lifetime: Duration::from_secs(1),
    }
}

fn current(store: &JournalFile) -> Option<String> {
    store.peek().unwrap().and_then(|state| state.family).map(|family| family.current.token.raw())
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

#[test]
fn its_id_is_made_with_it_and_stays() {
    let (_folder, path) = journal_of("a");
    let id = |path: &Path| store(path).peek().unwrap().unwrap().id;
    let first = id(&path);
    assert!(first.is_some());
    write(&store(&path), "b");
    assert_eq!(id(&path), first);
    lock(&store(&path)).forget().unwrap();
    assert_eq!(id(&path), first, "an empty journal is the same one");
    let (_other, other) = journal_of("a");
    assert_ne!(id(&other), first);
    // A torn journal keeps its id, and a journal without an id gets one.
    write(&store(&path), "c");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"proven\": false", "\"proven\": maybe")).unwrap();
    assert_eq!(enter(&store(&path)).1.id, first);
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

/// A folder whose new files every user may read.
#[cfg(windows)]
fn everybody_s() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("everybody's");
    ring_auth_access::create_dir(&path, "D:P(A;OICI;FA;;;WD)").unwrap();
    assert!(may_everybody_read(&path));
    (folder, path)
}

#[cfg(windows)]
fn may_everybody_read(path: &Path) -> bool {
    ring_auth_access::list_of(path).unwrap().contains(";WD)")
}

/// Rotates once, and looks at the access list of each file meanwhile.
#[cfg(windows)]
fn rotate_unseen(path: &Path) {
    let (mut guard, mut state) = enter(&store(path));
    state.take_over(RefreshToken::from_raw("a"), 1);
    assert_eq!(ready(guard.begin(&mut state)), []);
    assert!(!may_everybody_read(path), "the journal with its mark");
    assert!(!may_everybody_read(&sibling(path, ".next")), "the space for the answer");
    assert_eq!(guard.commit(&mut state).unwrap(), []);
    assert!(!may_everybody_read(path), "the journal");
    assert!(!may_everybody_read(&sibling(path, ".lock")), "the lock");
}

#[cfg(windows)]
#[test]
fn nobody_else_can_read_it_in_a_folder_of_everybody() {
    let (_folder, everybody_s) = everybody_s();
    rotate_unseen(&everybody_s.join("j.json"));
}

#[cfg(windows)]
#[test]
fn a_folder_of_its_own_in_one_of_everybody_gives_its_list_to_what_is_made_in_it() {
    let (_folder, everybody_s) = everybody_s();
    let own = everybody_s.join(".ring-auth");
    rotate_unseen(&own.join("j.json"));
    assert!(!may_everybody_read(&own));
}

/// On Unix a container has no such text, because it has no name of its own.
#[cfg(windows)]
#[test]
fn a_spool_is_in_the_same_place_after_a_restart_and_a_copy_of_it_in_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let [own, copy] = ["own", "copy"].map(|name| folder.path().join(name));
    let place = |folder: &Path| lock(&store(&folder.join("j.json"))).place();
    let first = place(&own);
    std::fs::rename(&own, &copy).unwrap();
    assert!(first.is_some());
    assert_ne!(place(&copy), first, "another path");
    assert_ne!(place(&own), first, "another lock");
    std::fs::remove_dir_all(&own).unwrap();
    std::fs::rename(&copy, &own).unwrap();
    assert_eq!(place(&own), first);
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

#[cfg(unix)]
#[test]
fn a_second_hard_link_shows_what_the_first_one_shows() {
    let (folder, path) = journal_of("a");
    let other = folder.path().join("other.json");
    std::fs::hard_link(&path, &other).unwrap();
    let held = lock(&store(&path));
    assert!(store(&other).try_lock().unwrap().is_none(), "both names have one lock");
    drop(held);
    write(&store(&path), "b");
    write(&store(&other), "c");
    assert_eq!(current(&store(&path)).as_deref(), Some("c"));
    assert_eq!(names(folder.path()), ["j.json", "j.json.lock", "other.json", "other.json.lock"]);
    lock(&store(&path)).forget().unwrap();
    assert_eq!(current(&store(&other)), None, "what is forgotten has no second name");
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_name_that_is_made_during_a_request_has_the_same_lock() {
    let (folder, path) = journal_of("a");
    let other = folder.path().join("other.json");
    let (mut guard, mut state) = enter(&store(&path));
    guard.begin(&mut state).unwrap();
    // The mark is in a new file, which replaced the one that was locked.
    std::fs::hard_link(&path, &other).unwrap();
    assert!(store(&other).try_lock().unwrap().is_none());
    state.take_over(RefreshToken::from_raw("b"), 2);
    guard.commit(&mut state).unwrap();
    drop(guard);
    assert_eq!(current(&store(&other)).as_deref(), Some("b"));
    assert!(store(&other).try_lock().unwrap().is_some());
}

#[cfg(unix)]
#[test]
fn torn_under_its_second_name_a_journal_is_refused_by_name() {
    let (folder, path) = journal_of("a");
    let other = folder.path().join("other.json");
    std::fs::hard_link(&path, &other).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(sibling(&path, ".tmp"), &bytes).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = lock(&store(&other)).read().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Store);
    assert!(error.message().contains("hard link"), "{error}");
    assert_eq!(current(&store(&path)).as_deref(), Some("a"));
    assert_eq!(lock(&store(&path)).read().unwrap().state.current().unwrap().token.raw(), "a");
}

#[cfg(unix)]
#[test]
fn a_link_that_is_retargeted_is_followed_at_the_next_entering() {
    let (folder, path) = journal_of("a");
    let [link, copy] = ["link.json", "copy.json"].map(|name| folder.path().join(name));
    let retarget = |to: &str| {
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(to, &link).unwrap();
    };
    retarget("j.json");
    let running = store(&link);
    let mut guard = lock(&running);
    let mut state = guard.read().unwrap().state;
    std::fs::copy(&path, &copy).unwrap();
    retarget("copy.json");
    // A rotation ends in the file in which it began.
    state.take_over(RefreshToken::from_raw("b"), 2);
    guard.begin(&mut state).unwrap();
    guard.commit(&mut state).unwrap();
    drop(guard);
    assert_eq!(current(&store(&path)).as_deref(), Some("b"));
    assert_eq!(current(&running).as_deref(), Some("a"));
    write(&running, "c");
    assert_eq!(current(&store(&copy)).as_deref(), Some("c"));
    assert!(lock(&running).read().is_ok() && !link.with_file_name("link.json.lock").exists());
}

#[test]
fn a_folder_is_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let error = JournalFile::open(folder.path(), ISSUER, Disk::default()).err().unwrap();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
}

#[test]
fn a_path_below_a_file_is_no_missing_journal() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "theirs").unwrap();
    for path in [file.join("j.json"), file.join("sub").join("j.json")] {
        let store = store(&path);
        assert_eq!(store.peek().unwrap_err().code(), ErrorCode::Store);
        assert_eq!(store.try_lock().err().unwrap().code(), ErrorCode::Store);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn what_people_see_of_a_path_is_how_they_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    std::fs::write(&path, "{\n  \"ring-auth-journal").unwrap();
    let notices = lock(&store(&path)).read().unwrap().notices;
    assert!(notices[0].0.contains(ours::DAMAGED) && !notices[0].0.contains(r"\\?\"), "{notices:?}");
    let resolved = resolve(&path).unwrap();
    assert!(!resolved.to_string_lossy().starts_with(r"\\?\"), "{}", resolved.display());
}

#[test]
fn a_damaged_journal_is_kept_aside_and_said() {
    let signed = "{\n  \"ring-auth-journal\": ";
    let of_ours =
        [String::new(), signed.to_owned(), format!("{signed}\"j.json\",\n  \"version\": 1, \"current\": 5}}")];
    let of_any = ["{\"version\":1", "\0\0\0", "{\"version\":1,\"current\":5}", "[]", "{\"bridge\": {}}", "text"];
    let cases = of_ours.iter().map(|bytes| (bytes.as_str(), false)).chain(of_any.map(|bytes| (bytes, true)));
    for (bytes, is_derived) in cases {
        let bytes = bytes.as_bytes();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        std::fs::write(&path, bytes).unwrap();
        let store = if is_derived {
            JournalFile::open_in_state_folder(&path, ISSUER, Disk::default()).unwrap()
        } else {
            store(&path)
        };
        let found = lock(&store).read().unwrap();
        assert!(found.state.family.is_none());
        assert!(found.notices[0].0.contains("damaged"), "{:?}", found.notices);
        let aside = names(folder.path()).into_iter().find(|name| name.contains(ours::DAMAGED)).unwrap();
        assert_eq!(std::fs::read(folder.path().join(aside)).unwrap(), bytes);
    }
}

#[test]
fn a_later_version_and_another_issuer_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    let later = b"{\"ring-auth-journal\": \"j.json\", \"version\": 7}";
    std::fs::write(&path, later).unwrap();
    assert_eq!(lock(&store(&path)).read().unwrap_err().code(), ErrorCode::Store);
    assert_eq!(std::fs::read(&path).unwrap(), later);
    std::fs::remove_file(&path).unwrap();
    write(&store(&path), "a");
    let other = JournalFile::open(&path, "http://127.0.0.1:1", Disk::default()).unwrap();
    assert_eq!(other.peek().unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(lock(&other).read().unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(current(&store(&path)).as_deref(), Some("a"));
}

#[test]
fn forgetting_leaves_the_lock_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    std::fs::write(&path, format::SIGNATURE).unwrap();
    let store = store(&path);
    lock(&store).read().unwrap();
    write(&store, "a");
    lock(&store).forget().unwrap();
    assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
    let left = store.peek().unwrap().unwrap();
    assert!(left.logged_out_at.is_some());
    let nothing = State::logged_out(ISSUER, left.logged_out_at.unwrap());
    assert_eq!(State { sequence: 0, id: None, ..left }, nothing);
}

/// A probe that counts all storage calls and fails chosen ones.
#[derive(Default)]
struct Faults {
    seen: Mutex<Vec<String>>,
    fails: Mutex<Vec<(&'static str, &'static str, i32)>>,
    /// The write in place that ends short: its file, the position in it, and the error number.
    tears: Mutex<Option<(&'static str, u64, i32)>>,
}

impl Faults {
    fn fail(&self, calls: impl IntoIterator<Item = (&'static str, &'static str, i32)>) {
        self.fails.lock().unwrap().extend(calls);
    }

    fn tear_at(&self, ending: &'static str, at: usize, errno: i32) {
        *self.tears.lock().unwrap() = Some((ending, at as u64, errno));
    }

    fn end(&self) {
        *self.tears.lock().unwrap() = None;
        self.fails.lock().unwrap().clear();
    }
}

impl Probe for Faults {
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if moment == Moment::Middle
            && let Some((ending, _, errno)) = *self.tears.lock().unwrap()
            && name.ends_with(ending)
        {
            return Err(crate::files::fault(errno));
        }
        if moment != Moment::Before {
            return Ok(());
        }
        self.seen.lock().unwrap().push(format!("{call} {name}"));
        let fails = self.fails.lock().unwrap();
        match fails.iter().find(|(failing, ending, _)| *failing == call && name.ends_with(ending)) {
            Some((_, _, errno)) => Err(crate::files::fault(*errno)),
            None => Ok(()),
        }
    }

    fn tear(&self, _path: &Path, offset: u64, length: usize) -> Option<usize> {
        let (_, at, _) = (*self.tears.lock().unwrap())?;
        Some(usize::try_from(at.saturating_sub(offset)).unwrap().min(length))
    }
}

fn faulty(path: &Path) -> (JournalFile, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = Disk::with_probe(Arc::clone(&faults) as Arc<dyn Probe>);
    (JournalFile::open(path, ISSUER, disk).unwrap(), faults)
}

#[test]
fn where_nothing_can_be_replaced_it_is_written_in_place_and_said() {
    // EPERM, EACCES, EBUSY, EXDEV, EROFS
    for errno in [1, 13, 16, 18, 30] {
        let (folder, path) = journal_of("a");
        let (store, faults) = faulty(&path);
        faults.fail([("rename", "", errno)]);
        let (mut guard, mut state) = enter(&store);
        state.take_over(RefreshToken::from_raw("b"), 2);
        let notices = ready(guard.begin(&mut state));
        assert!(notices[0].0.contains("in place"), "{notices:?}");
        guard.commit(&mut state).unwrap();
        drop(guard);
        assert_eq!(current(&store).as_deref(), Some("b"));
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock"], "errno {errno}");
    }
}

#[test]
fn a_second_request_under_one_guard_has_room_of_its_own() {
    let (folder, path) = journal_of("a");
    let disk = Disk::with_probe(Arc::new(RemovesNothingOpen));
    let store = JournalFile::open(&path, ISSUER, disk).unwrap();
    let (mut guard, mut state) = enter(&store);
    let space = || std::fs::metadata(sibling(&path, ".next")).unwrap().len();
    for _ in 0..3 {
        ready(guard.begin(&mut state));
        assert!(space() > SPACE_FOR_ANSWER as u64, "{}", space());
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock", "j.json.next"]);
    }
    state.take_over(RefreshToken::from_raw("b"), 2);
    guard.commit(&mut state).unwrap();
    assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
    // A request that is never answered leaves no file behind either.
    ready(guard.begin(&mut state));
    drop(guard);
    assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
    assert_eq!(current(&store).as_deref(), Some("b"));
}

#[test]
fn a_mode_that_cannot_be_given_means_in_place_as_well() {
    let (folder, path) = journal_of("a");
    let (store, faults) = faulty(&path);
    faults.fail([("chown", "", 1)]);
    let (mut guard, mut state) = enter(&store);
    state.take_over(RefreshToken::from_raw("b"), 2);
    let notices = ready(guard.begin(&mut state));
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
        let (folder, path) = journal_of("a");
        let before = std::fs::read(&path).unwrap();
        let (store, faults) = faulty(&path);
        faults.fail([(call, "", 28)]);
        let (mut guard, mut state) = enter(&store);
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
    let (_folder, path) = journal_of("a");
    let (store, faults) = faulty(&path);
    let (mut guard, mut state) = enter(&store);
    guard.begin(&mut state).unwrap();
    faults.fail([("create", "", 28), ("allocate", "", 28)]);
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
        std::fs::rename(&path, sibling(&path, slot)).unwrap();
        std::fs::write(&path, older).unwrap();
        assert_eq!(current(&store(&path)).as_deref(), Some("b"), "{slot}");
        write(&store(&path), "c");
        assert_eq!(current(&store(&path)).as_deref(), Some("c"));
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock"], "{slot}");
    }
}

#[test]
fn a_journal_torn_in_place_is_mended_from_its_copy() {
    let (_folder, path) = journal_of("a");
    std::fs::copy(&path, sibling(&path, ".tmp")).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let found = lock(&store(&path)).read().unwrap();
    assert_eq!(found.state.current().unwrap().token.raw(), "a");
    assert!(found.notices[0].0.contains("copy"), "{:?}", found.notices);
}

#[test]
fn a_journal_torn_in_place_is_mended_where_it_cannot_be_moved() {
    let (_folder, path) = journal_of("a");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(sibling(&path, ".tmp"), &bytes).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (store, faults) = faulty(&path);
    faults.fail([("rename", "", 16)]);
    for _ in 0..3 {
        assert_eq!(lock(&store).read().unwrap().state.current().unwrap().token.raw(), "a");
    }
    write(&store, "b");
    assert_eq!(current(&store).as_deref(), Some("b"));
    let kept = moved_aside(&Disk::default(), &path);
    assert_eq!(kept.len(), 1, "once, however often it was read");
    assert_eq!(std::fs::read(&kept[0]).unwrap(), bytes[..bytes.len() / 2]);
}

#[test]
fn an_empty_file_that_was_mounted_becomes_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    std::fs::write(&path, b"").unwrap();
    let (store, faults) = faulty(&path);
    faults.fail([("rename", "", 16)]);
    write(&store, "a");
    assert_eq!(current(&store).as_deref(), Some("a"));
}

#[test]
fn an_empty_file_beside_which_nothing_can_be_made_becomes_the_journal() {
    // EROFS, EACCES
    for errno in [30, 13] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        std::fs::write(&path, b"").unwrap();
        let (store, faults) = faulty(&path);
        faults.fail([("rename", "", errno), ("create", "", errno)]);
        let (mut guard, mut state) = enter(&store);
        faults.end();
        faults.fail(
            [(".next", "create"), (".tmp", "create"), ("", "rename")].map(|(ending, call)| (call, ending, errno)),
        );
        state.take_over(RefreshToken::from_raw("a"), 1);
        guard.begin(&mut state).unwrap();
        drop(guard);
        assert_eq!(current(&store).as_deref(), Some("a"));
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
    }
}

/// Contents of other programs' files, and the words for each in the message.
const FOREIGN: [(&[u8], &str); 12] = [
    (b"{\n  \"bridge\": {}\n}", "Homebridge's config.json: did you mean the store type 'homebridge'?"),
    (b"RING_REFRESH_TOKEN=x\n", "a .env file: did you mean the store type 'dotenv'?"),
    (b"{\"ring_token\":\"x\"}", "the file in which another tool keeps its Ring token. "),
    (b"{\"version\": 7}", "a JSON file. "),
    (b"[]", "a JSON file. "),
    (b"{", "a JSON file with an error in it. "),
    (b"Buy milk.", "a text. "),
    (b"\n", "a text of nothing but white space. "),
    (b"caf\xe9", "a text that is not UTF-8. "),
    (b"\0\0\0", "a file of nothing but zero bytes, as a power cut can leave one. "),
    (b"\x89PNG\r\n\x1a\n\0", "a picture. "),
    (b"\x01\x02\x03", "a binary file. "),
];

#[test]
fn the_file_of_another_program_is_refused_by_name_and_nothing_is_made_beside_it() {
    for (bytes, look) in FOREIGN {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        std::fs::write(&path, bytes).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        let store = store(&path);
        for error in [store.peek().unwrap_err(), store.try_lock().err().unwrap()] {
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            let beginning = format!("{} is not a file of ring-auth; it looks like {look}", path.display());
            assert!(error.message().starts_with(&beginning), "{error}");
            assert!(error.message().ends_with("Nothing was changed."), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let after = std::fs::metadata(&path).unwrap();
        assert!(platform::is_untouched(&before, &after), "{look}");
        assert_eq!(names(folder.path()), ["j.json"], "{look}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_file_without_the_signature_is_ever_changed(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..300),
            "\\PC{1,80}".prop_map(String::into_bytes),
            "[{\\[\"a-z:, ]{1,60}".prop_map(String::into_bytes),
        ],
        slot in 0usize..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        let place = sibling(&path, ["", ".tmp", ".next", ".damaged-1"][slot]);
        prop_assume!(!ours::holds_nothing(&bytes));
        std::fs::write(&place, &bytes).unwrap();
        let before = std::fs::metadata(&place).unwrap();
        let journal = store(&path);
        if slot == 0 {
            prop_assert_eq!(journal.peek().unwrap_err().code(), ErrorCode::InvalidArgument);
            prop_assert_eq!(journal.try_lock().err().unwrap().code(), ErrorCode::InvalidArgument);
            prop_assert_eq!(names(folder.path()), ["j.json"]);
        } else {
            write(&journal, "a");
            lock(&journal).forget().unwrap();
        }
        prop_assert_eq!(std::fs::read(&place).unwrap(), bytes);
        let after = std::fs::metadata(&place).unwrap();
        prop_assert!(platform::is_same_file(&before, &after) && platform::is_unchanged(&before, &after));
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_another_program_puts_there_later_is_left_alone_as_well() {
    for (bytes, look) in FOREIGN {
        let (folder, path) = journal_of("a");
        let store = store(&path);
        let (mut guard, mut state) = enter(&store);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(guard.begin(&mut state).unwrap_err().code(), ErrorCode::InvalidArgument, "{look}");
        assert_eq!(guard.forget().unwrap_err().code(), ErrorCode::InvalidArgument, "{look}");
        let answered = guard.commit(&mut state).unwrap_err();
        assert_eq!(answered.code(), ErrorCode::Store, "{look}");
        assert!(answered.message().contains("is not a file of ring-auth"), "{answered}");
        let kept = guard.stand_in().unwrap();
        assert!(ours::carries_signature(&std::fs::read(&kept).unwrap()), "{look}");
        drop(guard);
        std::fs::remove_file(kept).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock"], "{look}");
    }
}

#[test]
fn a_slot_of_another_program_is_left_alone_and_other_names_are_taken() {
    let (folder, path) = journal_of("a");
    let theirs: Vec<PathBuf> = SLOTS.iter().map(|slot| sibling(&path, slot)).collect();
    for ((bytes, look), slot) in FOREIGN.iter().flat_map(|case| theirs.iter().map(move |slot| (case, slot))) {
        if ours::holds_nothing(bytes) {
            continue;
        }
        for other in &theirs {
            let _ = std::fs::remove_file(other);
        }
        std::fs::write(slot, bytes).unwrap();
        write(&store(&path), "b");
        // The other file can also appear after the journal was read.
        let (mut guard, mut state) = enter(&store(&path));
        for other in &theirs {
            std::fs::write(other, bytes).unwrap();
        }
        guard.begin(&mut state).unwrap();
        state.take_over(RefreshToken::from_raw("c"), 2);
        guard.commit(&mut state).unwrap();
        drop(guard);
        assert_eq!(current(&store(&path)).as_deref(), Some("c"));
        lock(&store(&path)).forget().unwrap();
        for other in &theirs {
            assert_eq!(std::fs::read(other).unwrap(), *bytes, "{look}");
        }
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock", "j.json.next", "j.json.spare", "j.json.tmp"]);
    }
}

#[test]
fn with_every_slot_taken_by_another_program_nothing_is_sent() {
    let (folder, path) = journal_of("a");
    let others = OTHER_NAMES.flat_map(|number| SLOTS.iter().map(move |slot| format!("{slot}-{number}")));
    let all: Vec<PathBuf> =
        SLOTS.iter().map(|slot| (*slot).to_owned()).chain(others).map(|slot| sibling(&path, &slot)).collect();
    for slot in &all {
        std::fs::write(slot, "theirs").unwrap();
    }
    let (mut guard, mut state) = enter(&store(&path));
    let error = guard.begin(&mut state).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Store);
    assert!(error.message().contains("other files have the names that its copies need"), "{error}");
    drop(guard);
    assert_eq!(current(&store(&path)).as_deref(), Some("a"));
    assert!(all.iter().all(|slot| std::fs::read(slot).unwrap() == b"theirs"));
    assert_eq!(names(folder.path()).len(), all.len() + 2);
}

#[test]
fn a_damaged_one_that_is_somebody_else_s_stays_at_a_logout() {
    let (folder, path) = journal_of("a");
    let torn = &std::fs::read(&path).unwrap()[..60];
    std::fs::write(&path, torn).unwrap();
    let theirs = ["j.json.damaged-1", "j.json.damaged-0123456789abcdef0123456789abcdef"];
    for name in theirs {
        std::fs::write(folder.path().join(name), torn).unwrap();
    }
    let of_torn = sibling(&path, &ours::damaged_ending(torn));
    std::fs::write(&of_torn, "the first name is taken").unwrap();
    lock(&store(&path)).read().unwrap();
    let kept = moved_aside(&Disk::default(), &path);
    assert_eq!(kept, [sibling(&of_torn, "-2")]);
    lock(&store(&path)).forget().unwrap();
    for name in theirs {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), torn);
    }
    assert_eq!(std::fs::read(&of_torn).unwrap(), b"the first name is taken");
    assert_eq!(names(folder.path()).len(), 5, "{:?}", names(folder.path()));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_never_opened() {
    for ending in ["", ".tmp", ".lock"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        let pipe = sibling(&path, ending);
        let opened = store(&path);
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let waiting = pipe.clone();
        // This thread would go on as soon as a reader opened the other end of the pipe.
        let writer = std::thread::spawn(move || std::fs::OpenOptions::new().write(true).open(waiting).map(drop));
        if ending.is_empty() {
            assert_eq!(opened.peek().unwrap_err().code(), ErrorCode::InvalidArgument);
            let refused = opened.try_lock().err().unwrap();
            let sentence = "is not a file of ring-auth; it is a pipe (FIFO). Give the path of a regular file.";
            assert!(refused.message().contains(sentence), "{refused}");
            assert_eq!(names(folder.path()), ["j.json"]);
        } else {
            write(&opened, "a");
            assert_eq!(current(&opened).as_deref(), Some("a"));
            lock(&opened).forget().unwrap();
        }
        assert!(!writer.is_finished(), "{ending}");
        drop(std::fs::OpenOptions::new().read(true).open(&pipe).unwrap());
        writer.join().unwrap().unwrap();
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_and_stays() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    let opened = store(&path);
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert_eq!(JournalFile::open(&path, ISSUER, Disk::default()).err().unwrap().code(), ErrorCode::InvalidArgument);
    assert_eq!(opened.peek().unwrap_err().code(), ErrorCode::InvalidArgument, "it came later");
    assert!(std::fs::metadata(&path).unwrap().file_type().is_char_device());
    assert_eq!(names(folder.path()), ["j.json"]);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert_eq!(opened.try_lock().err().unwrap().code(), ErrorCode::InvalidArgument);
    assert!(path.is_dir());
    assert_eq!(names(folder.path()), ["j.json"]);
}

#[cfg(unix)]
#[test]
fn a_socket_in_the_place_of_a_copy_is_left_alone() {
    let (_folder, path) = journal_of("a");
    for slot in SLOTS {
        let _socket = std::os::unix::net::UnixListener::bind(sibling(&path, slot)).unwrap();
        write(&store(&path), slot);
        assert_eq!(current(&store(&path)).as_deref(), Some(slot));
        assert!(std::fs::symlink_metadata(sibling(&path, slot)).is_ok());
    }
}

#[test]
fn a_copy_that_cannot_be_read_is_not_passed_over() {
    let (_folder, path) = journal_of("a");
    let older = std::fs::read(&path).unwrap();
    write(&store(&path), "b");
    std::fs::rename(&path, sibling(&path, ".tmp")).unwrap();
    std::fs::write(&path, older).unwrap();
    let (store, faults) = faulty(&path);
    for errno in [5, 13] {
        faults.end();
        faults.fail([("read", ".tmp", errno)]);
        assert_eq!(lock(&store).read().unwrap_err().code(), ErrorCode::Store);
    }
    faults.end();
    assert_eq!(current(&store).as_deref(), Some("b"));
}

#[test]
fn an_empty_slot_that_cannot_be_read_is_passed_over() {
    let (folder, path) = journal_of("a");
    // A process of another user was stopped after it made this copy and before it wrote into it.
    std::fs::write(sibling(&path, ".tmp"), b"").unwrap();
    let (store, faults) = faulty(&path);
    faults.fail([("read", ".tmp", 13)]);
    assert_eq!(current(&store).as_deref(), Some("a"));
    write(&store, "b");
    faults.end();
    assert_eq!(current(&store).as_deref(), Some("b"));
    assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
}

#[test]
fn a_copy_beside_does_not_open_the_journal_of_another_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    for raw in ["a", "b", "c"] {
        write(&store(&path), raw);
    }
    std::fs::rename(&path, sibling(&path, ".spare")).unwrap();
    let other = JournalFile::open(&path, "http://127.0.0.1:1", Disk::default()).unwrap();
    write(&other, "theirs");
    assert_eq!(store(&path).peek().unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(lock(&store(&path)).read().unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[cfg(unix)]
#[test]
fn a_copy_in_the_runtime_folder_is_found_although_there_is_a_lock() {
    let (_folder, path) = journal_of("a");
    let (store, faults) = faulty(&path);
    let (mut guard, mut state) = enter(&store);
    faults.fail([("create", ".next", 13), ("create", ".tmp", 13), ("open", "j.json", 28)]);
    faults.fail([("chown", "", 1)]);
    state.take_over(RefreshToken::from_raw("b"), 2);
    assert_eq!(guard.commit(&mut state).unwrap_err().code(), ErrorCode::Store);
    drop(guard);
    assert_eq!(current(&store).as_deref(), Some("b"));
    faults.end();
    lock(&store).forget().unwrap();
    assert_eq!(current(&store), None);
}

#[test]
fn a_long_answer_has_room_as_well() {
    let (_folder, path) = journal_of(&"a".repeat(40_000));
    let (store, faults) = faulty(&path);
    let (mut guard, mut state) = enter(&store);
    guard.begin(&mut state).unwrap();
    let room = std::fs::metadata(sibling(&path, ".next")).unwrap().len();
    faults.fail([("create", "", 28), ("allocate", "", 28)]);
    state.rotated(Sent::Current, &"b".repeat(40_000), "h", access(&"x".repeat(40_000)));
    assert!(room >= encoded(&state).len() as u64, "{room}");
    guard.commit(&mut state).unwrap();
}

#[test]
fn without_the_right_to_its_owner_the_answer_has_room_too() {
    let (_folder, path) = journal_of("a");
    let before = std::fs::metadata(&path).unwrap();
    let (store, faults) = faulty(&path);
    faults.fail([("chown", "", 1)]);
    let (mut guard, mut state) = enter(&store);
    guard.begin(&mut state).unwrap();
    // The disk is full now: nothing can be made, and the journal cannot grow.
    faults.fail([("create", "", 28), ("write", "j.json", 28), ("rename", "", 28)]);
    state.take_over(RefreshToken::from_raw("b"), 2);
    guard.commit(&mut state).unwrap();
    drop(guard);
    assert_eq!(current(&store).as_deref(), Some("b"));
    let of = |metadata| Ownership::of(metadata, &path);
    assert_eq!(of(&std::fs::metadata(&path).unwrap()), of(&before));
}

#[test]
fn what_is_not_spent_is_never_written_over_without_a_copy() {
    let (_folder, path) = journal_of("aaaaaaaa");
    let before = std::fs::read(&path).unwrap();
    let (store, faults) = faulty(&path);
    let (mut guard, mut state) = enter(&store);
    faults.fail([("create", "", 28)]);
    state.unknown.clear();
    state.hardware_id = None;
    assert_eq!(guard.commit(&mut state).unwrap_err().code(), ErrorCode::Store);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(!faults.seen.lock().unwrap().iter().any(|call| call == "open j.json"));
}

#[test]
fn a_folder_that_cannot_be_synced_is_not_called_durable() {
    let (_folder, path) = journal_of("a");
    let (store, faults) = faulty(&path);
    let (mut guard, mut state) = enter(&store);
    guard.begin(&mut state).unwrap();
    faults.fail([("sync-dir", "", 5)]);
    state.rotated(Sent::Current, "b", "h", access("x"));
    assert_eq!(guard.commit(&mut state).unwrap_err().code(), ErrorCode::Store);
    faults.end();
    guard.commit(&mut state).unwrap();
}

#[test]
fn the_folders_made_for_it_are_synced_into_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().file_name().unwrap().to_string_lossy().into_owned();
    let (store, faults) = faulty(&folder.path().join("one/two/j.json"));
    write(&store, "a");
    let seen = faults.seen.lock().unwrap();
    for name in [root.as_str(), "one", "two"] {
        assert!(seen.contains(&format!("sync-dir {name}")), "{name}: {seen:?}");
    }
}

#[cfg(unix)]
#[test]
fn before_its_folder_is_made_it_has_the_name_that_it_has_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let real = platform::canonicalize(folder.path()).unwrap().join("real");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
    let given = folder.path().join("link/later/still/j.json");
    assert_eq!(resolve(&given).unwrap(), real.join("later/still/j.json"));
    std::os::unix::fs::symlink("b", folder.path().join("a")).unwrap();
    std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
    assert!(resolve(&folder.path().join("a")).is_err());
}

#[test]
fn what_cannot_be_removed_is_forgotten_in_place() {
    let (_folder, path) = journal_of("canary");
    let (store, faults) = faulty(&path);
    faults.fail([("remove", "j.json", 16)]);
    lock(&store).forget().unwrap();
    assert_eq!(current(&store), None);
    let token = RefreshToken::from_raw("canary").wrapped();
    assert!(!std::fs::read_to_string(&path).unwrap().contains(token.expose()));
    write(&store, "b");
    assert_eq!(current(&store).as_deref(), Some("b"));
}

#[test]
fn what_could_only_be_kept_beside_is_not_lost_by_the_next_write() {
    let (folder, path) = journal_of("a");
    let (store, faults) = faulty(&path);
    let (mut guard, mut state) = enter(&store);
    guard.begin(&mut state).unwrap();
    faults.fail([("rename", "", 16), ("open", "", 13)]);
    state.take_over(RefreshToken::from_raw("b"), 2);
    assert!(guard.commit(&mut state).unwrap()[0].0.contains("beside"));
    drop(guard);
    assert_eq!(current(&store).as_deref(), Some("b"));
    // No request is sent meanwhile, and no file says that one was.
    for starts in [0, 1] {
        let (mut guard, mut state) = enter(&store);
        let fingerprint = state.fingerprint().unwrap();
        state.mark = Some(Mark { fingerprint, started_at: 1, deadline: 2, starts, lease: None });
        assert_eq!(guard.begin(&mut state).unwrap_err().code(), ErrorCode::Store);
        drop(guard);
        let mark = store.peek().unwrap().unwrap().mark;
        assert_eq!(mark.map(|mark| mark.starts), starts.checked_sub(1), "a mark that was there before stays");
    }
    assert_eq!(current(&store).as_deref(), Some("b"));
    faults.end();
    let (mut guard, mut state) = enter(&store);
    guard.begin(&mut state).unwrap();
    guard.commit(&mut state).unwrap();
    drop(guard);
    assert_eq!(current(&store).as_deref(), Some("b"));
    assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
}

fn encoded(state: &State) -> Vec<u8> {
    format::encode(state, "j.json")
}

/// A state whose tokens have that many bytes, and its successor after a rotation.
fn rotation_of(bytes: usize) -> (State, State) {
    let token = |name: &str| name.repeat(bytes);
    let mut before = State::new(ISSUER);
    before.take_over(RefreshToken::from_raw(&token("a")), 1);
    before.rotated(Sent::Current, &token("b"), "h", access(&token("p")));
    before.sequence = 6;
    let mut after = before.clone();
    after.rotated(Sent::Current, &token("c"), "h", access(&token("q")));
    after.sequence = 7;
    (before, after)
}

/// The bytes that a torn write in place leaves: only those before `at` are written, or only those behind it.
fn torn(before: &[u8], after: &[u8], at: usize, first: bool) -> Vec<u8> {
    let (one, other) = if first { (after, before) } else { (before, after) };
    let mut bytes = one[..at.min(one.len())].to_vec();
    bytes.extend(other.get(at..).unwrap_or_default());
    bytes
}

#[test]
fn a_journal_torn_in_place_never_beats_its_whole_copy() {
    for bytes in [300, 1500, 6000] {
        let (before, after) = rotation_of(bytes);
        let (old, new) = (encoded(&before), encoded(&after));
        for at in (0..old.len().max(new.len()) + 512).step_by(512) {
            for first in [true, false] {
                let (_folder, path) = journal_of("a");
                std::fs::write(&path, torn(&old, &new, at, first)).unwrap();
                std::fs::write(sibling(&path, ".tmp"), &new).unwrap();
                let found = current(&store(&path)).unwrap_or_default();
                assert_eq!(found, "c".repeat(bytes), "tokens of {bytes} bytes, torn at {at}, first {first}");
                write(&store(&path), "d");
                assert_eq!(current(&store(&path)).as_deref(), Some("d"));
                let state = store(&path).peek().unwrap().unwrap();
                assert!(state.fallback.is_some_and(|fallback| fallback.current.token.raw() == found));
            }
        }
    }
}

#[test]
fn a_tear_without_a_copy_never_makes_one_token_of_two() {
    for bytes in [300, 1500, 6000] {
        let (before, after) = rotation_of(bytes);
        let (old, new) = (encoded(&before), encoded(&after));
        let raw = |state: &State| state.current().unwrap().token.raw();
        for at in (0..old.len().max(new.len()) + 512).step_by(512) {
            for first in [true, false] {
                let (_folder, path) = journal_of("a");
                std::fs::write(&path, torn(&old, &new, at, first)).unwrap();
                let (guard, state) = enter(&store(&path));
                drop(guard);
                let found = state.current().map(|stored| stored.token.raw());
                let whole = found.as_ref().is_none_or(|found| *found == raw(&before) || *found == raw(&after));
                assert!(whole, "tokens of {bytes} bytes, torn at {at}, first {first}");
                let previous = state.previous().map(|stored| stored.token.raw());
                if found == Some(raw(&after)) {
                    assert!(previous.is_none_or(|previous| previous == raw(&before)), "nothing older is ever sent");
                }
            }
        }
    }
}

#[test]
fn who_peeks_at_a_write_in_place_sees_one_version_or_another() {
    /// A probe that completes a write in place after a reader has read the torn journal. There is no copy then.
    struct Torn(AtomicBool);
    impl Probe for Torn {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            let is_read = call == "read" && moment == Moment::After && path.ends_with("j.json");
            if is_read && self.0.swap(false, Ordering::SeqCst) {
                std::fs::copy(path.with_file_name("whole"), path).unwrap();
            }
            Ok(())
        }
    }
    for bytes in [300, 1500, 6000] {
        let (before, after) = rotation_of(bytes);
        let (old, new) = (encoded(&before), encoded(&after));
        for at in (512..new.len()).step_by(512) {
            let (folder, path) = journal_of("a");
            std::fs::write(&path, torn(&old, &new, at, true)).unwrap();
            std::fs::write(folder.path().join("whole"), &new).unwrap();
            let probe = Arc::new(Torn(AtomicBool::new(true)));
            let reader = JournalFile::open(&path, ISSUER, Disk::with_probe(probe)).unwrap();
            assert_eq!(current(&reader), Some("c".repeat(bytes)), "{bytes} bytes, torn at {at}");
        }
    }
}

#[test]
fn whichever_sectors_reach_the_disk_no_token_is_made_of_two() {
    for bytes in [300, 1500, 6000] {
        let (before, after) = rotation_of(bytes);
        let (old, new) = (encoded(&before), encoded(&after));
        let (old_token, new_token) = ("b".repeat(bytes), "c".repeat(bytes));
        // Xorshift, a generator that gives the same numbers in every run.
        let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..60 {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let length = if round % 2 == 0 { new.len() } else { new.len().max(old.len()) };
            let text: Vec<u8> = (0..length)
                .map(|at| if chance >> (at / 512 % 64) & 1 == 1 { &new } else { &old }.get(at).copied().unwrap_or(0))
                .collect();
            let (_folder, path) = journal_of("a");
            std::fs::write(&path, &text).unwrap();
            let found = current(&store(&path));
            assert!(found.is_none_or(|found| found == old_token || found == new_token), "{bytes} bytes, {chance:x}");
            std::fs::write(sibling(&path, ".tmp"), &new).unwrap();
            assert_eq!(current(&store(&path)).as_ref(), Some(&new_token), "{bytes} bytes, {chance:x}");
        }
    }
}

#[test]
fn an_answer_torn_on_its_way_is_used_if_its_token_is_whole() {
    for bytes in [300, 1500, 6000] {
        let (mut before, after) = rotation_of(bytes);
        before.mark = Some(Mark {
            fingerprint: before.current().unwrap().token.fingerprint(),
            started_at: 1,
            deadline: 2,
            starts: 0,
            lease: None,
        });
        let (old, new) = (encoded(&before), encoded(&after));
        let text = String::from_utf8(new.clone()).unwrap();
        let end = text.find("\n  \"current\"").unwrap();
        let end = end + 1 + text[end + 1..].find('\n').unwrap();
        let mut whole = 0;
        // The first sector may be the one that is missing.
        let (_folder, path) = journal_of("a");
        std::fs::write(&path, &old).unwrap();
        std::fs::write(sibling(&path, ".next"), [&[0; 64][..], &new[64..]].concat()).unwrap();
        assert_eq!(current(&store(&path)), Some("c".repeat(bytes)));
        for at in (0..new.len()).step_by(512) {
            let (_folder, path) = journal_of("a");
            std::fs::write(&path, &old).unwrap();
            let mut copy = new[..at].to_vec();
            copy.resize(new.len() + 9000, 0);
            std::fs::write(sibling(&path, ".next"), copy).unwrap();
            let state = store(&path).peek().unwrap().unwrap();
            let expected = if at >= end { "c" } else { "b" };
            whole += usize::from(at >= end);
            assert_eq!(state.current().unwrap().token.raw(), expected.repeat(bytes), "{bytes} bytes, torn at {at}");
            assert_eq!(state.mark.is_some(), at < end, "a mark belongs to the token that it names");
            if at >= end {
                assert_eq!(state.previous().unwrap().token, before.current().unwrap().token);
                let ancestor = before.previous().unwrap().token.fingerprint();
                assert_eq!(state.recognise(ancestor), Known::Former);
                assert_eq!(state.hardware_id.as_deref(), Some("h"));
            }
        }
        assert!(whole > 1, "some of them are");
    }
}

#[test]
fn a_short_write_that_fails_in_place_costs_nothing() {
    for bytes in [300, 1500, 6000] {
        let (before, after) = rotation_of(bytes);
        let lengths = encoded(&after).len();
        for at in (0..lengths).step_by(512) {
            let (_folder, path) = journal_of("a");
            std::fs::write(&path, encoded(&before)).unwrap();
            let (store, faults) = faulty(&path);
            faults.fail([("rename", "", 16)]);
            let (mut guard, mut state) = enter(&store);
            guard.begin(&mut state).unwrap();
            // EIO
            faults.tear_at("j.json", at, 5);
            let token = after.current().unwrap().token.raw();
            state.rotated(Sent::Current, &token, "h", access("x"));
            guard.commit(&mut state).unwrap();
            drop(guard);
            assert_eq!(current(&store), Some(token.clone()), "tokens of {bytes} bytes, torn at {at}");
            faults.end();
            write(&store, "d");
            let state = store.peek().unwrap().unwrap();
            assert_eq!(state.fallback.unwrap().current.token.raw(), token);
        }
    }
}

#[cfg(unix)]
#[test]
fn what_lies_in_the_runtime_folder_alone_is_not_called_durable() {
    let (folder, path) = journal_of("a");
    let (store, faults) = faulty(&path);
    let (mut guard, mut state) = enter(&store);
    guard.begin(&mut state).unwrap();
    // EROFS: the card turns read-only between the mark and the answer.
    let read_only = |ending| ["create", "open", "write", "rename", "remove"].map(|call| (call, ending, 30));
    for ending in [".json", ".next", ".tmp", ".spare"] {
        faults.fail(read_only(ending));
    }
    state.rotated(Sent::Current, "b", "h", access("x"));
    for _ in 0..3 {
        assert_eq!(guard.commit(&mut state).unwrap_err().code(), ErrorCode::Store, "it is tried again");
        let found = JournalFile::open(&path, ISSUER, Disk::default()).unwrap().peek().unwrap().unwrap();
        assert_eq!((found.current().unwrap().token.raw().as_str(), found.volatile), ("b", true));
    }
    let place = guard.stand_in().unwrap();
    assert!(Path::new(&place).exists() && !Path::new(&place).starts_with(folder.path()), "{place}");
    faults.end();
    guard.commit(&mut state).unwrap();
    assert_eq!(guard.stand_in(), None);
    assert!(!Path::new(&place).exists());
    drop(guard);
    assert_eq!(current(&store).as_deref(), Some("b"));
    assert!(!store.peek().unwrap().unwrap().volatile);
    write(&store, "c");
    assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
}

#[cfg(unix)]
#[test]
fn a_copy_of_another_account_does_not_replace_the_journal_that_is_here_now() {
    let (_folder, path) = journal_of("theirs");
    for _ in 0..9 {
        write(&store(&path), "theirs2");
    }
    let theirs = std::fs::read(&path).unwrap();
    let places = [stand_in(&Disk::default(), &path, STAND_INS[0]).unwrap(), sibling(&path, ".next")];
    for place in &places {
        std::fs::remove_file(&path).unwrap();
        write(&store(&path), "ours");
        replace::copy(&Disk::default(), place, &theirs).unwrap();
        assert_eq!(current(&store(&path)).as_deref(), Some("ours"), "{}", place.display());
        write(&store(&path), "ours2");
        assert_eq!(current(&store(&path)).as_deref(), Some("ours2"));
        assert_eq!(std::fs::read(place).unwrap(), theirs, "it may be the only place of their token");
        std::fs::remove_file(place).unwrap();
    }
}

#[test]
fn the_journal_of_another_account_is_no_copy_whatever_its_name() {
    for slot in SLOTS.into_iter().chain([".next-2", ".damaged-1"]) {
        let folder = tempfile::tempdir().unwrap();
        let (path, theirs) = (folder.path().join("a.json"), folder.path().join(format!("a.json{slot}")));
        for _ in 0..5 {
            write(&store(&theirs), "theirs");
        }
        let before = std::fs::read(&theirs).unwrap();
        assert_eq!(current(&store(&path)), None, "{slot}");
        write(&store(&path), "ours");
        let (mut guard, mut state) = enter(&store(&path));
        guard.begin(&mut state).unwrap();
        state.rotated(Sent::Current, "ours2", "h", access("x"));
        guard.commit(&mut state).unwrap();
        drop(guard);
        assert_eq!(current(&store(&path)).as_deref(), Some("ours2"), "{slot}");
        lock(&store(&path)).forget().unwrap();
        assert_eq!(std::fs::read(&theirs).unwrap(), before, "{slot}");
        assert_eq!(current(&store(&theirs)).as_deref(), Some("theirs"));
    }
}
