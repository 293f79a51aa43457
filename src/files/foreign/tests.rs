use std::sync::{Arc, Mutex};

use super::super::{Moment, Probe, fault};
use super::*;

const OLD: &str = "first old value";
/// Values of other lengths, a longer and a shorter one, and one that differs from the old one in two bytes.
const NEW: [&str; 3] = ["a value that is longer than the old one", "new", "other old value"];

/// A text with a value of ours between lines of another program.
fn with(value: &str) -> String {
    format!("theirs=1.10\nours={value}\nend\n")
}

/// The text with another value of ours, every other byte as it was.
fn edited(text: &str, value: &str) -> String {
    let (before, rest) = text.split_once("ours=").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    format!("{before}ours={value}\n{after}")
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\nend\n")
}

fn file(folder: &Path, disk: Disk) -> ForeignFile {
    ForeignFile::new(folder.join("config"), None, |_, real| real.with_file_name(".own"), disk)
}

fn begin() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, with(OLD)).unwrap();
    (folder, path)
}

/// Repairs what was left behind, then changes the value as often as another program is faster. Says whether the file was written
/// in place; `None` if it has the value already.
fn change(file: &ForeignFile, value: &str) -> Result<Option<bool>> {
    let real = file.real()?;
    let _lock = file.lock(&real)?;
    let failed = |error: io::Error| file.failed("changed", &error);
    assert_eq!(file.repair_exchanges(&real, &is_whole).map_err(failed)?, [] as [PathBuf; 0]);
    for backup in file.backups(&real) {
        let there = file.read(&real)?.unwrap_or_default();
        let new = is_whole(&backup.old).then(|| edited(std::str::from_utf8(&backup.old).unwrap(), value));
        if let Some(new) = new.filter(|new| is_torn(&there, &backup.old, new.as_bytes())) {
            file.restore(&real, &backup, new.as_bytes()).map_err(failed)?;
        }
        file.discard(&backup).map_err(failed)?;
    }
    loop {
        let old = file.read(&real)?.unwrap();
        let new = edited(std::str::from_utf8(&old).unwrap(), value);
        if old == new.as_bytes() {
            return Ok(None);
        }
        match file.put(&real, Some(&old), new.as_bytes()).map_err(failed)? {
            Put::Changed => {}
            Put::Replaced => return Ok(Some(false)),
            Put::InPlace => return Ok(Some(true)),
        }
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Does something at a moment of a storage call, the first time that it comes.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn at(call: &'static str, moment: Moment, work: impl FnOnce() + Send + 'static) -> Disk {
    type Work = Mutex<Option<Box<dyn FnOnce() + Send>>>;
    struct At(&'static str, Moment, Work);
    impl Probe for At {
        fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
            if (call, moment) == (self.0, self.1)
                && let Some(work) = self.2.lock().unwrap().take()
            {
                work();
            }
            Ok(())
        }
    }
    Disk::with_probe(Arc::new(At(call, moment, Mutex::new(Some(Box::new(work))))))
}

/// Replaces a file atomically, as careful editors do.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn save(path: &Path, text: &str) {
    let next = path.with_extension("editor");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(&next, path).unwrap();
}

#[cfg(unix)]
#[test]
fn nothing_is_made_beside_a_file_that_is_now_something_else() {
    let (folder, path) = begin();
    let elsewhere = tempfile::tempdir().unwrap();
    let socket = elsewhere.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let file = file(folder.path(), Disk::default());
    change(&file, "first").unwrap();
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&socket, &path).unwrap();
    let error = change(&file, "second").unwrap_err();
    assert_eq!(error.code(), ErrorCode::Store);
    let says = format!("{} is now a socket, not a regular file. Put the file back.", path.display());
    assert_eq!(error.message(), says);
    assert_eq!(names(elsewhere.path()), ["socket"]);
}

#[cfg(unix)]
#[test]
fn mode_and_links_stay_as_they_were() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    for mode in [0o644, 0o640, 0o600, 0o664] {
        let (folder, path) = begin();
        let elsewhere = folder.path().join("real");
        std::fs::create_dir(&elsewhere).unwrap();
        let real = elsewhere.join("c");
        std::fs::rename(&path, &real).unwrap();
        std::os::unix::fs::symlink("real/c", &path).unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode)).unwrap();
        change(&file(folder.path(), Disk::default()), "new").unwrap();
        assert!(path.is_symlink());
        assert_eq!(text(&real), with("new"));
        assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o7777, mode);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_change_of_mode_or_attributes_at_any_moment_is_kept() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    for (call, moment) in [("read", Moment::After), ("chown", Moment::After), ("rename", Moment::Before)] {
        let (folder, path) = begin();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let changed = path.clone();
        let disk = at(call, moment, move || {
            std::fs::set_permissions(&changed, std::fs::Permissions::from_mode(0o600)).unwrap();
            let _ = rustix::fs::setxattr(&changed, "user.later", b"yes", rustix::fs::XattrFlags::empty());
        });
        change(&file(folder.path(), disk), "new").unwrap();
        assert_eq!(text(&path), with("new"));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{call} {moment:?}");
        let later = rustix::fs::getxattr(&path, "user.later", &mut [0; 8][..]);
        assert!(matches!(later, Ok(3) | Err(rustix::io::Errno::OPNOTSUPP)), "{call} {moment:?}: {later:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_with_other_names_keeps_them() {
    let (folder, path) = begin();
    let other = folder.path().join("other-name");
    std::fs::hard_link(&path, &other).unwrap();
    assert_eq!(change(&file(folder.path(), Disk::default()), "new").unwrap(), Some(true));
    assert_eq!(text(&other), with("new"));
    assert_eq!(names(folder.path()), [".own", "config", "other-name"]);
}

/// Only where files can be exchanged: elsewhere the last look comes before the rename.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
#[test]
fn an_editor_that_is_faster_at_any_moment_loses_nothing() {
    let theirs = with(OLD).replace("1.10", "2.20");
    let moments = [
        ("read", Moment::After),
        ("create", Moment::Before),
        ("rename", Moment::Before),
        ("exchange", Moment::Before),
        ("exchange", Moment::After),
    ];
    for (call, moment) in moments {
        let (folder, path) = begin();
        let (changed, saved) = (path.clone(), theirs.clone());
        let file = file(folder.path(), at(call, moment, move || save(&changed, &saved)));
        change(&file, "new").unwrap();
        // An editor that replaces the new version right after the exchange is seen by the second look.
        change(&file, "new").unwrap();
        change(&file, "new").unwrap();
        assert_eq!(text(&path), theirs.replace(OLD, "new"), "{call} {moment:?}");
        assert_eq!(names(folder.path()), [".own", "config"], "{call} {moment:?}");
    }
}

/// Saves a text at each moment of its list, the last one first.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
struct Editor(Mutex<Vec<(&'static str, Moment, String)>>, PathBuf);

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
impl Probe for Editor {
    fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
        let mut moves = self.0.lock().unwrap();
        if moves.last().is_some_and(|next| (next.0, next.1) == (call, moment)) {
            save(&self.1, &moves.pop().unwrap().2);
        }
        Ok(())
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
#[test]
fn an_editor_that_is_faster_twice_has_its_last_word() {
    let (folder, path) = begin();
    let [first, second] = ["2.20", "3.30"].map(|number| with(OLD).replace("1.10", number));
    let moves = Mutex::new(vec![("exchange", Moment::After, second.clone()), ("exchange", Moment::Before, first)]);
    let file = file(folder.path(), Disk::with_probe(Arc::new(Editor(moves, path.clone()))));
    change(&file, "new").unwrap();
    change(&file, "new").unwrap();
    assert_eq!(text(&path), second.replace(OLD, "new"));
    assert_eq!(names(folder.path()), [".own", "config"]);
}

/// Lets so many moments of storage calls pass, then fails each, as if the process were gone. Refuses some calls on the file
/// itself before that, with an errno.
struct Gone {
    left: Mutex<usize>,
    refused: &'static [(&'static str, i32)],
}

impl Probe for Gone {
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            return Err(fault(5));
        }
        *left -= 1;
        let is_config = path.file_name().is_some_and(|name| name == "config");
        match self.refused.iter().find(|(refused, _)| *refused == call) {
            Some((_, errno)) if moment == Moment::Before && is_config => Err(fault(*errno)),
            _ => Ok(()),
        }
    }
}

/// Stops a change at every moment of every call, then makes it anew. Says how many moments there were.
fn stop_everywhere(refused: &'static [(&'static str, i32)], new: &str, is_whole_throughout: bool) -> usize {
    for stops in 0.. {
        let (folder, path) = begin();
        let gone = Gone { left: Mutex::new(stops), refused };
        let is_done = change(&file(folder.path(), Disk::with_probe(Arc::new(gone))), new).is_ok();
        let left = text(&path);
        assert!(!is_whole_throughout || left == with(OLD) || left == with(new), "after {stops}: {left}");
        let after = file(folder.path(), Disk::default());
        change(&after, new).unwrap();
        change(&after, new).unwrap();
        assert_eq!(text(&path), with(new), "after {stops}");
        assert_eq!(names(folder.path()), [".own", "config"], "after {stops}");
        let mut own = names(&folder.path().join(".own"));
        own.retain(|name| name != ".gitignore");
        assert_eq!(own, ["config.lock"], "after {stops}");
        if is_done {
            return stops;
        }
    }
    unreachable!("a change has an end");
}

#[test]
fn a_file_is_whole_wherever_its_exchange_is_stopped_and_the_next_change_clears_up() {
    for new in NEW {
        assert!(stop_everywhere(&[], new, true) > 30);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_is_repaired_wherever_its_write_in_place_is_stopped() {
    for new in NEW {
        // EBUSY, as of a file that is mounted alone.
        assert!(stop_everywhere(&[("exchange", 16), ("rename", 16)], new, false) > 30);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_dry_run_knows_what_a_change_will_meet_and_changes_nothing() {
    const ALL: [(&[(&str, i32)], bool); 4] =
        [(&[], true), (&[("rename", 16)], true), (&[("open", 13)], true), (&[("rename", 16), ("open", 13)], false)];
    for (refused, can_be_changed) in ALL {
        let (folder, path) = begin();
        std::fs::create_dir(folder.path().join(".own")).unwrap();
        let disk = || Disk::with_probe(Arc::new(Refuses(refused)));
        let done = file(folder.path(), disk()).dry_run(&path, Some(with(OLD).as_bytes()), with("new").as_bytes());
        assert_eq!(done.is_ok(), can_be_changed, "{refused:?}");
        assert_eq!(text(&path), with(OLD), "{refused:?}");
        assert_eq!(names(folder.path()), [".own", "config"], "{refused:?}");
        assert_eq!(names(&folder.path().join(".own")), [""; 0], "{refused:?}");
        assert_eq!(change(&file(folder.path(), disk()), "new").is_ok(), can_be_changed, "{refused:?}");
    }
}

/// Refuses some calls, with an errno.
#[cfg(target_os = "linux")]
struct Refuses(&'static [(&'static str, i32)]);

#[cfg(target_os = "linux")]
impl Probe for Refuses {
    fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
        match self.0.iter().find(|(refused, _)| *refused == call && moment == Moment::Before) {
            Some((_, errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Ok(()),
        }
    }
}

#[test]
fn half_a_write_is_told_from_another_text() {
    let (old, new) = (b"aaaaaaaa".as_slice(), b"abbbbbba".as_slice());
    for torn in ["abaaaaaa", "abbbbaaa"] {
        assert!(is_torn(torn.as_bytes(), old, new), "{torn}");
    }
    for whole in ["aaaaaaaa", "abbbbbba", "acaaaaaa", "abbbbbb", "abbcaaaa"] {
        assert!(!is_torn(whole.as_bytes(), old, new), "{whole}");
    }
    assert!(is_torn(b"bbbbbb", b"aaaa", b"bbbbbbbb"));
    assert!(is_torn(b"bbaaaa", b"aaaaaa", b"bb"));
    assert!(!is_torn(b"cccccc", b"aaaa", b"bbbbbbbb"));
}
