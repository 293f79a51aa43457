//! Whether a journal is a copy of another one, and which of the two may send their token.
//!
//! The text of a journal contains the path at which it was used last. Before the first rotation of a copy (`cp -r` of a project) at
//! another path, the copy is compared with the journal at that path. The rules, and the reasons for them, are in `docs/journal.md`.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::codec::{Codec, Step};
use super::file::{FileGuard, JournalFile};
use super::id::JournalId;
use super::state::{Known, Millis, State};
use super::{Guard, Notice};
use crate::files::names::sibling;
use crate::files::volume::{Kind, Volume};
use crate::files::{Disk, platform};
use crate::token::Fingerprint;
use crate::{Error, ErrorCode, Result, hardware_id};

/// The time limit for all work at the other path, which may be on a file system that never answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time limit for a read without a request after it.
const GLANCE: Duration = Duration::from_millis(250);
/// The part of `PATIENCE` that is reserved for reading and writing after the lock was taken.
const TO_WRITE: Duration = Duration::from_millis(500);
/// The wait between two tries of a lock.
const LOOK: Duration = Duration::from_millis(20);
/// The number of journals in a row that are followed if each of them was moved.
const MOST_MOVES: usize = 8;
/// The number of unfinished tasks at other paths. A task that hangs on a dead mount counts until it ends.
const MOST_VISITS: usize = 16;

/// Whether the token of a journal may be sent from its path.
#[derive(Debug)]
pub enum Claim {
    /// The token may be sent from here. The notices are for the user.
    Here(Vec<Notice>),
    /// The token may not be sent: the copy of the journal at that path uses it.
    Elsewhere(PathBuf),
}

/// The beginning of the error for a journal whose copy uses its token.
pub const ELSEWHERE: &str = "This journal was copied, and ";

/// The answer while a copy of the journal uses its token.
pub fn elsewhere(path: &Path) -> Error {
    Error::new(
        ErrorCode::NoRefreshToken,
        format!(
            "{ELSEWHERE}{} uses its refresh token now, so nothing is sent from here. Go on with that one, or log in here as well with `npx ring-auth`: each copy needs a login of its own.",
            path.display()
        ),
    )
}

/// Decides, under the lock of a journal, whether its token may be sent from its present path, and notes that path in
/// the state. The caller writes the state before it sends the token.
///
/// # Errors
///
/// `STORE_LOCKED` while the journal from which this one was copied is sending the same token.
pub(super) fn claim(own: &mut FileGuard, state: &mut State) -> Result<Claim> {
    let real = own.real()?;
    let until = Instant::now() + PATIENCE;
    let mut notices = Vec::new();
    if let Some(moved) = state.moved.clone() {
        if let Some(holder) = holder(&Wanted::of(own, &real, state), &moved, until) {
            state.moved = Some(holder.clone());
            return Ok(Claim::Elsewhere(holder));
        }
        state.moved = None;
        if moved != real {
            notices.push(Notice(format!(
                "The journal {} was moved to {}, where it is no longer, so it is used here again.",
                real.display(),
                moved.display()
            )));
        }
    }
    if let Some(place) = state.place.clone().filter(|place| *place != real) {
        let finding = visit(own, &real, state, &place, until)?;
        match finding {
            Finding::Ours => {}
            Finding::InDoubt(why) => notices.push(in_doubt(&real, &place, why)),
            Finding::OwnToken => state.part_from_the_copy(),
            Finding::UsedAt(path) => {
                state.moved = Some(path.clone());
                // This write saves later claims and other processes a look at the other path. If it fails, they look
                // there.
                let _ = own.write_unsent(state, None, Step::Kept);
                return Ok(Claim::Elsewhere(path));
            }
            Finding::InUse => return Err(in_use(&real, &place)),
        }
    }
    state.place = Some(real.clone());
    notices.extend(machine().and_then(|machine| came_from_another_machine(&real, state, machine)));
    Ok(Claim::Here(notices))
}

/// Where a journal is, in a text that differs for each copy of it. `None` on a machine without a name of its own, and on a file system
/// whose locks another machine may not see.
pub(super) fn place(real: &Path, (device, number): (u64, u64)) -> Option<String> {
    let volume = Volume::of(real.parent()?).ok()?;
    let machine = machine()?;
    (volume.kind != Kind::Network).then(|| format!("{} {device} {number} {machine:?}", real.display()))
}

/// Notes the machine, and returns a notice if the journal was used only on other machines until now.
fn came_from_another_machine(real: &Path, state: &mut State, machine: Fingerprint) -> Option<Notice> {
    state.note_machine(machine).then(|| {
        Notice(format!(
            "The journal {} was used on another computer before. If it is still used there, log in here as well: of two computers with one token, one loses it.",
            real.display()
        ))
    })
}

/// Separates a journal with a token from the user from the journal of which it is a copy, if it is a copy. Returns
/// whether that changed the state.
pub(super) fn part(own: &mut FileGuard, state: &mut State) -> Result<bool> {
    let real = own.real()?;
    let Some(place) = state.place.clone().filter(|place| *place != real) else { return Ok(false) };
    let is_copy = matches!(visit(own, &real, state, &place, Instant::now() + PATIENCE)?, Finding::OwnToken);
    if is_copy {
        state.part_from_the_copy();
    }
    Ok(is_copy)
}

/// The state with the path of the copy that uses its token now, or without a path if there is no such copy. Writes
/// nothing.
pub(super) fn as_it_counts(real: &Path, disk: &Disk, codec: &Codec, mut state: State) -> State {
    if let Some(moved) = state.moved.clone() {
        let wanted = Wanted::new(real, disk, codec, &state);
        state.moved = holder(&wanted, &moved, Instant::now() + GLANCE);
    }
    state
}

/// The reason why it is unknown whether another process uses the same token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Unreachable,
    Unreadable,
    Locked,
    Unwritable,
    AnotherJournal,
    AnotherState,
}

fn in_doubt(real: &Path, place: &Path, why: Doubt) -> Notice {
    let what = match why {
        Doubt::Unreachable => "that place cannot be reached now",
        Doubt::Unreadable => "what lies there cannot be read",
        Doubt::Locked => "another process holds the lock there",
        Doubt::Unwritable => "the journal there cannot be changed",
        Doubt::AnotherJournal => "something else lies there now",
        Doubt::AnotherState => "the journal there has another token now",
    };
    Notice(format!(
        "The journal {} was used as {} before, and {what}. It is used here from now on. If a program still uses it there, log in here as well: of two programs with one token, one loses it.",
        real.display(),
        place.display()
    ))
}

fn in_use(real: &Path, place: &Path) -> Error {
    Error::new(
        ErrorCode::StoreLocked,
        format!(
            "The journal {} is a copy of {}, and another process is refreshing its token there at this moment. Nothing was sent from here; this is tried again at the next call.",
            real.display(),
            place.display()
        ),
    )
}

/// The result of a look at the path where a journal was used before.
#[derive(Debug)]
enum Finding {
    /// No other journal uses the token: this one was moved, is one file under two paths, or was handed over.
    Ours,
    /// It is unknown whether the token is used there.
    InDoubt(Doubt),
    /// The original of the journal is there and does not have the copy's token: the user gave that token to the copy.
    OwnToken,
    /// The journal at this path uses the token, or has used it up.
    UsedAt(PathBuf),
    /// A request with the token is under way.
    InUse,
}

/// The journal that is looked for at other paths, in a form that can be handed to another thread.
#[derive(Clone)]
struct Wanted {
    real: PathBuf,
    disk: Disk,
    codec: Codec,
    state: State,
}

impl Wanted {
    fn new(real: &Path, disk: &Disk, codec: &Codec, state: &State) -> Self {
        Self { real: real.to_owned(), disk: disk.clone(), codec: codec.clone(), state: state.clone() }
    }

    fn of(own: &FileGuard, real: &Path, state: &State) -> Self {
        Self::new(real, own.disk(), own.codec(), state)
    }

    /// The journal at another path. Files that are made beside it belong to its own owner.
    fn at(&self, path: &Path) -> Result<JournalFile> {
        JournalFile::open(path, &self.codec, self.disk.clone().for_owner_of(path))
    }

    /// Whether a path leads to the journal itself, judged by the names and the numbers of the files.
    fn is_at(&self, path: &Path) -> bool {
        // On other systems two different files can have the same times.
        path == self.real || (cfg!(unix) && (is_one_file(path, &self.real) || has_one_lock(path, &self.real)))
    }

    fn look(&self, path: &Path) -> Look {
        match self.disk.metadata_behind_links(path) {
            Ok(None) => return Look::Nothing,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Look::Nothing,
            Err(_) => return Look::Unknown(Doubt::Unreachable),
            Ok(Some(there)) if !there.is_file() => return Look::Unknown(Doubt::AnotherJournal),
            Ok(Some(_)) if self.is_at(path) => return Look::Itself,
            Ok(Some(there)) if there.len() == 0 => return Look::Nothing,
            Ok(Some(_)) => {}
        }
        match self.at(path).and_then(|store| store.peek_as_written()) {
            Ok(Some(state)) if state.id == self.state.id => Look::Copy(Box::new(state)),
            Ok(Some(_)) => Look::Unknown(Doubt::AnotherJournal),
            Err(error) if error.code() == ErrorCode::InvalidArgument => Look::Unknown(Doubt::AnotherJournal),
            Ok(None) | Err(_) => Look::Unknown(Doubt::Unreadable),
        }
    }
}

/// The content of another path.
enum Look {
    /// No file, or an empty one.
    Nothing,
    /// The journal itself.
    Itself,
    /// A journal with the same id.
    Copy(Box<State>),
    /// Another file, or one that cannot be identified.
    Unknown(Doubt),
}

fn is_one_file(one: &Path, other: &Path) -> bool {
    let metadata = |path: &Path| -> Option<Metadata> { std::fs::metadata(path).ok() };
    metadata(one).zip(metadata(other)).is_some_and(|(one, other)| platform::is_same_file(&one, &other))
}

/// Whether two paths share one lock file because their folders are the same. A lock file with several names proves
/// nothing: a backup can share unchanged files with the original by hard links.
fn has_one_lock(one: &Path, other: &Path) -> bool {
    let (one, other) = (sibling(one, ".lock"), sibling(other, ".lock"));
    is_one_file(&one, &other) && std::fs::metadata(one).is_ok_and(|lock| !platform::has_other_names(&lock))
}

/// The path of the journal that uses the token of a journal that was moved to `moved`; `None` if there is none any
/// more.
fn holder(wanted: &Wanted, moved: &Path, until: Instant) -> Option<PathBuf> {
    let (wanted, start) = (wanted.clone(), moved.to_owned());
    within(until, move || follow_moves(&wanted, &start)).unwrap_or_else(|| Some(moved.to_owned()))
}

fn follow_moves(wanted: &Wanted, start: &Path) -> Option<PathBuf> {
    let mut last = None;
    let mut next = start.to_owned();
    for _ in 0..MOST_MOVES {
        match wanted.look(&next) {
            Look::Itself => return None,
            // The journal before it in the row, if there is one, is used again.
            Look::Nothing | Look::Unknown(Doubt::AnotherJournal) => return last,
            // A copy was there and sent the token, and it is unknown whether it is gone.
            Look::Unknown(_) => return Some(next),
            Look::Copy(theirs) => match theirs.moved.clone() {
                Some(further) if wanted.is_at(&further) => {
                    return is_theirs(wanted, &next, &theirs).then_some(next);
                }
                Some(further) if further != next => last = Some(std::mem::replace(&mut next, further)),
                _ => return Some(next),
            },
        }
    }
    Some(next)
}

/// Whether the token belongs to the other one of two journals that each say that they moved to the other. The newer
/// journal is used; if both have the same token, the one whose path comes first is used.
fn is_theirs(wanted: &Wanted, path: &Path, theirs: &State) -> bool {
    let Some(ours) = wanted.state.fingerprint() else { return false };
    match theirs.recognise(ours) {
        Known::Former | Known::Rejected => true,
        Known::Current => path < wanted.real.as_path(),
        Known::Fallback | Known::Unknown => false,
    }
}

/// Compares a journal, whose lock is held, with the journal at the path at which it was used before.
fn visit(own: &mut FileGuard, real: &Path, state: &mut State, place: &Path, until: Instant) -> Result<Finding> {
    let wanted = Wanted::of(own, real, state);
    let (looker, path) = (wanted.clone(), place.to_owned());
    let first = within(until, move || match looker.look(&path) {
        Look::Nothing | Look::Itself => Err(Finding::Ours),
        Look::Unknown(doubt) => Err(Finding::InDoubt(doubt)),
        Look::Copy(theirs) => {
            let store = looker.at(&path).map_err(|_| Finding::InDoubt(Doubt::Unreadable))?;
            let lock = Locked::by(store.try_enter());
            Ok((store, lock, theirs))
        }
    });
    let (store, lock, theirs) = match first {
        None => return Ok(Finding::InDoubt(Doubt::Unreachable)),
        Some(Err(finding)) => return Ok(finding),
        Some(Ok(entered)) => entered,
    };
    if matches!(lock, Locked::Busy) && theirs.place.as_deref() == Some(real) && place < real {
        // Each process holds its own lock and waits for the other's, so one of them has to give up.
        return Ok(Finding::InUse);
    }
    // Files with different numbers can still be one file, on a network or in a container. Then the probe that is
    // written here appears there.
    let probe = JournalId::random().to_string();
    if !own.write_unsent(state, Some(&probe), Step::Kept)? {
        // Another process has written. The write before the request finds that as well, and then the claim is decided
        // again.
        return Ok(Finding::Ours);
    }
    let visitor = Visitor { wanted, place: place.to_owned(), store, probe, until };
    Ok(within(until, move || visitor.compare(lock)).unwrap_or(Finding::InDoubt(Doubt::Unreachable)))
}

/// The result of a try to lock the other journal.
enum Locked {
    Taken(Box<FileGuard>),
    Busy,
    /// This user cannot lock it.
    Refused,
}

impl Locked {
    fn by(tried: Result<Option<FileGuard>>) -> Self {
        match tried {
            Ok(Some(guard)) => Self::Taken(Box::new(guard)),
            Ok(None) => Self::Busy,
            Err(_) => Self::Refused,
        }
    }
}

/// Whether the process that wrote the mark in another journal may still be waiting for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Alive,
    Gone,
}

impl Locked {
    fn writer(&self, theirs: &State, now: Millis) -> Writer {
        let is_alive = match self {
            // The writer's lock ended with the writer.
            Self::Taken(_) => false,
            Self::Busy => true,
            Self::Refused => theirs.mark.as_ref().is_some_and(|mark| mark.deadline > now),
        };
        if is_alive { Writer::Alive } else { Writer::Gone }
    }
}

/// The second half of a visit, which may hang on a dead mount.
struct Visitor {
    wanted: Wanted,
    place: PathBuf,
    store: JournalFile,
    probe: String,
    until: Instant,
}

impl Visitor {
    fn compare(self, mut lock: Locked) -> Finding {
        loop {
            // If the two paths share one lock, this process waits for itself. The probe shows that before it has waited
            // long.
            match self.wanted.disk.read(&self.place) {
                Ok(Some(bytes)) if self.shows_the_probe(&bytes) => return Finding::Ours,
                Ok(None) => return Finding::Ours,
                Ok(Some(_)) => {}
                Err(_) => return Finding::InDoubt(Doubt::Unreadable),
            }
            if !matches!(lock, Locked::Busy) || Instant::now() + TO_WRITE >= self.until {
                break;
            }
            thread::sleep(LOOK);
            lock = Locked::by(self.store.try_enter());
        }
        let theirs = match &mut lock {
            Locked::Taken(guard) => guard.read().map(|found| Some(found.state)),
            Locked::Busy | Locked::Refused => self.store.peek_as_written(),
        };
        let theirs = match theirs {
            Ok(Some(theirs)) if theirs.id == self.wanted.state.id => theirs,
            Ok(Some(_)) => return Finding::InDoubt(Doubt::AnotherJournal),
            Ok(None) | Err(_) => return Finding::InDoubt(Doubt::Unreadable),
        };
        let ours = &self.wanted.state;
        match compare(ours, &theirs, lock.writer(&theirs, super::file::now())) {
            Comparison::Spent => {
                let further = theirs.moved.as_deref().filter(|moved| !self.wanted.is_at(moved));
                let holder = further.and_then(|moved| follow_moves(&self.wanted, moved));
                Finding::UsedAt(holder.unwrap_or(self.place))
            }
            Comparison::InUse => Finding::InUse,
            Comparison::OwnToken => Finding::OwnToken,
            Comparison::Unrelated => Finding::InDoubt(Doubt::AnotherState),
            Comparison::Same => self.take_over(lock, theirs),
        }
    }

    fn shows_the_probe(&self, bytes: &[u8]) -> bool {
        self.wanted.codec.open(bytes).is_ok_and(|opened| contains(&opened.text, self.probe.as_bytes()))
    }

    /// Writes into the other journal that its token is used here from now on.
    fn take_over(self, lock: Locked, mut theirs: State) -> Finding {
        if let Some(moved) = &theirs.moved {
            if self.wanted.is_at(moved) {
                // The other journal says so already: a process was stopped after it wrote that.
                return Finding::Ours;
            }
            if let Some(holder) = follow_moves(&self.wanted, moved) {
                return Finding::UsedAt(holder);
            }
        }
        let mut guard = match lock {
            Locked::Taken(guard) => guard,
            Locked::Busy => return Finding::InDoubt(Doubt::Locked),
            Locked::Refused => return Finding::InDoubt(Doubt::Unwritable),
        };
        let token = self.wanted.state.fingerprint();
        if theirs.fingerprint() == token {
            theirs.moved = Some(self.wanted.real);
        } else {
            // The other journal keeps the token only as its fallback, for the case that its own token never works.
            theirs.fallback = None;
        }
        // The caller may have given up meanwhile.
        if Instant::now() >= self.until {
            return Finding::InDoubt(Doubt::Unreachable);
        }
        match guard.write_visited(&mut theirs) {
            Ok(true) => Finding::Ours,
            Ok(false) | Err(_) => Finding::InDoubt(Doubt::Unwritable),
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The relation of another journal with the same id to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// The other journal can use the token of this one too, and has not sent it.
    Same,
    /// The other journal may be sending the token.
    InUse,
    /// The other journal has sent the token.
    Spent,
    /// This journal has a token that the user gave, and that the other one does not have.
    OwnToken,
    /// The other journal has another token, from the user or a backup, or none.
    Unrelated,
}

fn compare(ours: &State, theirs: &State, writer: Writer) -> Comparison {
    let Some(token) = ours.fingerprint() else { return Comparison::Unrelated };
    let is_current = theirs.fingerprint() == Some(token);
    match theirs.recognise(token) {
        _ if is_current && (ours.is_rejected(token) || !theirs.is_rejected(token)) => {
            let is_sent = theirs.mark.as_ref().is_some_and(|mark| mark.fingerprint == token);
            if is_sent && writer == Writer::Alive { Comparison::InUse } else { Comparison::Same }
        }
        Known::Former | Known::Rejected => Comparison::Spent,
        Known::Current | Known::Fallback => Comparison::Same,
        Known::Unknown => {
            let has = |fingerprint: Fingerprint| theirs.recognise(fingerprint) != Known::Unknown;
            let shares_fallback =
                ours.fallback.as_ref().is_some_and(|fallback| has(fallback.current.token.fingerprint()));
            if ours.given.contains(&token) || shares_fallback { Comparison::OwnToken } else { Comparison::Unrelated }
        }
    }
}

/// Does work that may never end, on a thread of its own; `None` if it has not ended at `until`.
fn within<T: Send + 'static>(until: Instant, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static VISITS: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            VISITS.fetch_sub(1, Ordering::AcqRel);
        }
    }
    let others = VISITS.fetch_add(1, Ordering::AcqRel);
    let counted = Counted;
    if others >= MOST_VISITS {
        return None;
    }
    let done = Arc::new((Mutex::new(None), Condvar::new()));
    let told = Arc::clone(&done);
    let visit = move || {
        let _counted = counted;
        let result = work();
        *told.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        told.1.notify_one();
    };
    thread::Builder::new().name("ring-auth-file".to_owned()).spawn(visit).ok()?;
    let patience = until.saturating_duration_since(Instant::now());
    let waiting = done.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut result, _) =
        done.1.wait_timeout_while(waiting, patience, |result| result.is_none()).unwrap_or_else(PoisonError::into_inner);
    result.take()
}

/// The fingerprint of this machine, if it has an id of its own. It is read once per process.
fn machine() -> Option<Fingerprint> {
    static MACHINE: OnceLock<Option<Fingerprint>> = OnceLock::new();
    *MACHINE.get_or_init(|| within(Instant::now() + PATIENCE, hardware_id::machine).flatten())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use std::sync::mpsc;

    use super::super::state::{Access, Mark, Sent};
    use super::super::{Begun, JournalStore as Journal, Store};
    use super::*;
    use crate::files::{Moment, Probe};
    use crate::token::RefreshToken;

    const ISSUER: &str = "https://oauth.ring.com";

    fn store(path: &Path) -> Journal {
        Journal::open(path, ISSUER, Disk::default()).unwrap()
    }

    fn peek(path: &Path) -> State {
        store(path).peek().unwrap().unwrap()
    }

    fn raw(state: &State) -> String {
        state.current().unwrap().token.raw()
    }

    fn edit(path: &Path, change: impl FnOnce(&mut State)) {
        let store = store(path);
        let mut guard = store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        change(&mut state);
        guard.commit(&mut state).unwrap();
    }

    fn log_in(path: &Path, token: &str) {
        edit(path, |state| {
            state.take_over(RefreshToken::from_raw(token), 1);
            state.family.as_mut().unwrap().proven = true;
        });
    }

    fn answer(state: &mut State, token: &str) {
        let access = Access {
            token: "access".into(),
            token_type: "Bearer".into(),
            scope: "client".into(),
            obtained_at: 1,
            lifetime: Duration::from_secs(1),
        };
        state.rotated(Sent::Current, token, "hid", access);
    }

    /// Does what a refresh does with a journal. Returns the warnings, or the reason why nothing is sent.
    fn rotate(path: &Path, token: &str) -> Result<Vec<String>, String> {
        rotate_in(&store(path), token)
    }

    fn rotate_in(store: &Journal, token: &str) -> Result<Vec<String>, String> {
        let Some(mut guard) = store.try_lock().unwrap() else { return Err("locked".into()) };
        let mut state = guard.read().unwrap().state;
        let notices = match guard.claim(&mut state) {
            Ok(Claim::Here(notices)) => notices,
            Ok(Claim::Elsewhere(path)) => return Err(path.display().to_string()),
            Err(error) => return Err(error.code().as_str().into()),
        };
        assert!(matches!(guard.begin(&mut state), Ok(Begun::Ready(_))));
        answer(&mut state, token);
        guard.commit(&mut state).unwrap();
        Ok(notices.into_iter().map(|notice| notice.0).collect())
    }

    /// A journal in a folder `one`, and a copy of that folder.
    fn copied() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        // The path is canonical, because a temporary folder is behind a link on some systems.
        let at = platform::canonicalize(folder.path()).unwrap();
        let [one, two] = ["one", "two"].map(|name| at.join(name).join("j.json"));
        log_in(&one, "a");
        copy(&one, &two);
        (folder, one, two)
    }

    fn copy(from: &Path, to: &Path) {
        let (from, to) = (from.parent().unwrap(), to.parent().unwrap());
        let status = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
        assert!(status.success());
    }

    /// The result of a refresh without warnings.
    const QUIET: Result<Vec<String>, String> = Ok(Vec::new());

    fn said(path: &Path) -> Result<Vec<String>, String> {
        Err(path.display().to_string())
    }

    #[test]
    fn a_journal_says_where_it_is_from_its_first_token_on_and_a_look_changes_nothing() {
        let (_folder, one, two) = copied();
        assert_eq!(peek(&one).place.as_deref(), Some(&*one));
        assert_eq!((peek(&two).place.as_deref(), peek(&two).id), (Some(&*one), peek(&one).id));
        let before = std::fs::read(&two).unwrap();
        peek(&two);
        assert_eq!(std::fs::read(&two).unwrap(), before);
        assert_eq!(rotate(&two, "b"), QUIET);
        assert_eq!(peek(&two).place.as_deref(), Some(&*two));
    }

    #[test]
    fn the_first_to_rotate_wins_and_the_other_says_where_the_token_is() {
        let (_folder, one, two) = copied();
        assert_eq!(rotate(&two, "b"), QUIET);
        let left = peek(&one);
        assert_eq!((raw(&left).as_str(), left.moved.as_deref()), ("a", Some(&*two)));
        let before = std::fs::read(&one).unwrap();
        assert_eq!(rotate(&one, "spent"), said(&two));
        assert_eq!(std::fs::read(&one).unwrap(), before, "it says so already");
        assert_eq!((rotate(&two, "c"), raw(&peek(&two))), (QUIET, "c".into()));
    }

    #[test]
    fn a_copy_of_what_has_moved_on_sends_nothing_and_says_so_from_then_on() {
        let (_folder, one, two) = copied();
        assert_eq!(rotate(&one, "b"), QUIET);
        assert_eq!(rotate(&two, "spent"), said(&one));
        let state = peek(&two);
        assert_eq!((raw(&state).as_str(), state.moved.as_deref()), ("a", Some(&*one)));
        assert_eq!(rotate(&two, "spent"), said(&one));
        assert_eq!(rotate(&one, "c"), QUIET);
        let sentence = elsewhere(&one).message().to_owned();
        assert!(sentence.contains(&*one.to_string_lossy()) && sentence.contains("each copy needs a login of its own"));
        assert_eq!(elsewhere(&one).code(), ErrorCode::NoRefreshToken);
    }

    #[test]
    fn of_several_copies_one_gets_the_token_and_each_other_one_names_it() {
        let (_folder, one, two) = copied();
        let three = one.parent().unwrap().with_file_name("three").join("j.json");
        copy(&one, &three);
        assert_eq!(rotate(&two, "b"), QUIET);
        assert_eq!(rotate(&three, "spent"), said(&two));
        assert_eq!(rotate(&one, "spent"), said(&two));
        // A copy of the copy takes the token over in turn.
        let four = one.parent().unwrap().with_file_name("four").join("j.json");
        copy(&two, &four);
        assert_eq!(rotate(&four, "c"), QUIET);
        for left in [&one, &two, &three] {
            assert_eq!(peek(left).moved.as_deref(), Some(&*four), "who only looks is told the same");
            assert_eq!(rotate(left, "spent"), said(&four), "{}", left.display());
        }
    }

    #[test]
    fn a_journal_that_moved_is_used_again_if_nothing_of_it_is_there() {
        let (_folder, one, two) = copied();
        assert_eq!(rotate(&two, "b"), QUIET);
        // Another journal at the new path does not use the token.
        log_in(&one.with_file_name("other.json"), "x");
        std::fs::rename(one.with_file_name("other.json"), &two).unwrap();
        assert_eq!(peek(&one).moved, None, "who only looks sees it as well");
        let notices = rotate(&one, "c").unwrap();
        assert!(notices[0].contains("where it is no longer, so it is used here again"), "{notices:?}");
        assert_eq!((peek(&one).moved, rotate(&one, "d")), (None, QUIET));
        // A missing file or a missing folder does not use it either.
        for whole_folder in [false, true] {
            let (_folder, one, two) = copied();
            assert_eq!(rotate(&two, "b"), QUIET);
            std::fs::remove_file(&two).unwrap();
            if whole_folder {
                std::fs::remove_dir_all(two.parent().unwrap()).unwrap();
            }
            assert_eq!(rotate(&one, "c").map(|notices| notices.len()), Ok(1));
        }
    }

    #[test]
    fn a_journal_that_was_moved_is_used_where_it_is() {
        let (_folder, one, two) = copied();
        std::fs::remove_dir_all(two.parent().unwrap()).unwrap();
        std::fs::rename(one.parent().unwrap(), two.parent().unwrap()).unwrap();
        assert_eq!(rotate(&two, "b"), QUIET);
        // A link at the old path leads to the new one, so the old path keeps working.
        symlink(two.parent().unwrap(), one.parent().unwrap()).unwrap();
        assert_eq!((rotate(&one, "c"), raw(&peek(&two))), (QUIET, "c".into()));
        assert_eq!(peek(&two).place.as_deref(), Some(&*two));
        // Two folders change places. The text of both journals still names the former path.
        std::fs::remove_file(one.parent().unwrap()).unwrap();
        copy(&two, &one);
        let aside = two.parent().unwrap().with_file_name("aside");
        std::fs::rename(one.parent().unwrap(), &aside).unwrap();
        std::fs::rename(two.parent().unwrap(), one.parent().unwrap()).unwrap();
        std::fs::rename(&aside, two.parent().unwrap()).unwrap();
        assert_eq!((rotate(&one, "d"), rotate(&two, "spent")), (QUIET, said(&one)));
    }

    #[test]
    fn a_backup_that_was_put_back_in_its_place_is_used() {
        let (_folder, one, two) = copied();
        std::fs::remove_dir_all(one.parent().unwrap()).unwrap();
        copy(&two, &one);
        assert_eq!(rotate(&one, "b"), QUIET);
        copy(&two, &one.with_file_name("again"));
        std::fs::copy(&two, &one).unwrap();
        assert_eq!(rotate(&one, "c"), QUIET, "as before: nothing on the machine knows better");
    }

    #[test]
    fn two_names_of_one_file_are_one_journal() {
        let (_folder, one, two) = copied();
        let other = one.with_file_name("other.json");
        std::fs::hard_link(&one, &other).unwrap();
        for (path, token) in [(&other, "b"), (&one, "c"), (&other, "d")] {
            assert_eq!(rotate(path, token), QUIET);
            assert_eq!((peek(&one).place.as_deref(), peek(&one).moved), (Some(&**path), None));
        }
        // A copy that was made before the second name is still a copy.
        assert_eq!(rotate(&two, "spent"), said(&one));
    }

    #[test]
    fn a_backup_that_shares_its_unchanged_files_is_a_copy_all_the_same() {
        let share_lock = |one: &Path, two: &Path| {
            let [of_one, of_two] = [one, two].map(|path| sibling(path, ".lock"));
            std::fs::remove_file(&of_two).unwrap();
            std::fs::hard_link(of_one, of_two).unwrap();
        };
        let (_folder, one, two) = copied();
        share_lock(&one, &two);
        assert_eq!(rotate(&one, "b"), QUIET);
        assert_eq!(rotate(&two, "spent"), said(&one));
        // No process can hold both locks then, because they are one, so the refresh goes on with a warning.
        let (_folder, one, two) = copied();
        share_lock(&one, &two);
        assert_eq!(rotate(&two, "b").map(|notices| notices.len()), Ok(1));
    }

    #[test]
    fn what_is_in_doubt_goes_on_with_one_warning() {
        type Break = fn(&Path, &Path);
        let cases: [(&str, Break); 6] = [
            ("something else lies there now", |one, _| {
                std::fs::remove_file(one).unwrap();
                log_in(one, "x");
            }),
            ("something else lies there now", |one, _| {
                std::fs::remove_file(one).unwrap();
                std::fs::create_dir(one).unwrap();
            }),
            ("something else lies there now", |one, _| std::fs::write(one, "{\"ring_token\": 1}").unwrap()),
            ("what lies there cannot be read", |one, _| std::fs::write(one, "{\n  \"ring-auth-journal").unwrap()),
            ("the journal there has another token now", |one, _| {
                lock(one).forget().unwrap();
                log_in(one, "x");
            }),
            ("the journal there has another token now", |one, _| drop(lock(one).forget().unwrap())),
        ];
        for (sentence, break_it) in cases {
            let (_folder, one, two) = copied();
            // The token comes from a rotation, and not from the user.
            assert_eq!(rotate(&one, "b"), QUIET);
            std::fs::remove_dir_all(two.parent().unwrap()).unwrap();
            copy(&one, &two);
            break_it(&one, &two);
            let there = std::fs::read(&one).ok();
            let notices = rotate(&two, "c").unwrap();
            assert!(notices.len() == 1 && notices[0].contains(sentence), "{sentence}: {notices:?}");
            assert_eq!(rotate(&two, "d"), QUIET, "once");
            assert_eq!(std::fs::read(&one).ok(), there, "what is there stays as it is");
        }
    }

    fn lock(path: &Path) -> Box<dyn Guard> {
        store(path).try_lock().unwrap().unwrap()
    }

    #[test]
    fn another_process_in_the_original_is_waited_for_and_not_for_long() {
        let (_folder, one, two) = copied();
        let held = lock(&one);
        let began = Instant::now();
        let notices = rotate(&two, "b").unwrap();
        assert!(notices.len() == 1 && notices[0].contains("holds the lock there"), "{notices:?}");
        assert!(began.elapsed() < PATIENCE * 60, "only a hang takes so long");
        drop(held);
        // A process that releases the lock in time is no reason for doubt.
        let (_folder, one, two) = copied();
        let held = lock(&one);
        let (tell, told) = mpsc::channel::<()>();
        let holder = thread::spawn(move || {
            let _ = told.recv_timeout(Duration::from_millis(100));
            drop(held);
        });
        let rotated = rotate(&two, "b");
        drop(tell);
        holder.join().unwrap();
        // On a very busy machine even that can take too long, so a warning is allowed.
        assert!(rotated.is_ok());
    }

    #[test]
    fn a_request_under_way_in_the_original_is_not_repeated() {
        let (_folder, one, two) = copied();
        let mark =
            |deadline| Mark { fingerprint: Fingerprint::of("a"), started_at: 1, deadline, starts: 0, lease: None };
        for deadline in [2, u64::MAX] {
            edit(&one, |state| state.mark = Some(mark(deadline)));
            // A process that holds the lock is alive, whatever the deadline says.
            let held = lock(&one);
            assert_eq!(rotate(&two, "spent"), Err("STORE_LOCKED".into()));
            assert_eq!((peek(&one).moved, peek(&two).moved), (None, None));
            drop(held);
            // If this process cannot take the lock, the deadline decides.
            let alive = if deadline == 2 { Writer::Gone } else { Writer::Alive };
            assert_eq!(Locked::Refused.writer(&peek(&one), 10), alive);
        }
        // The mark is that of a process that was stopped, so its token is sent again at once.
        assert_eq!(rotate(&two, "b"), QUIET);
        assert_eq!(rotate(&one, "spent"), said(&two));
    }

    #[test]
    fn two_that_point_at_each_other_do_not_wait_for_each_other() {
        let (_folder, one, two) = copied();
        edit(&one, |state| state.place = Some(two.clone()));
        let held = lock(&one);
        assert_eq!(rotate(&two, "spent"), Err("STORE_LOCKED".into()), "the one whose path comes later leaves");
        drop(held);
        let held = lock(&two);
        assert_eq!(rotate(&one, "b").map(|notices| notices.len()), Ok(1));
        drop(held);
        // Each journal says that the other one has the token.
        let (_folder, one, two) = copied();
        for (path, other) in [(&one, &two), (&two, &one)] {
            edit(path, |state| state.moved = Some(other.clone()));
        }
        assert_eq!(rotate(&two, "spent"), said(&one));
        assert_eq!(rotate(&one, "b").map(|notices| notices.len()), Ok(1));
        assert_eq!(rotate(&two, "spent"), said(&one));
    }

    #[test]
    fn a_token_from_a_person_makes_a_copy_a_journal_of_its_own() {
        // The user's token comes before the copy was used, or after it was told that its token is used elsewhere.
        for told in [false, true] {
            let (_folder, one, two) = copied();
            assert_eq!(rotate(&one, "b"), QUIET);
            if told {
                assert_eq!(rotate(&two, "spent"), said(&one));
            }
            log_in(&two, "x");
            let state = peek(&two);
            assert_ne!(state.id, peek(&one).id);
            assert!(state.id.is_some());
            assert_eq!((state.place.as_deref(), &state.moved, &state.fallback), (Some(&*two), &None, &None));
            assert_eq!(state.recognise(Fingerprint::of("a")), Known::Former, "only its fingerprint stays");
            assert_eq!((rotate(&two, "y"), rotate(&one, "c")), (QUIET, QUIET));
            // A token is pasted and sent at once.
            let (_folder, one, two) = copied();
            let before = std::fs::read(&one).unwrap();
            let store = store(&two);
            let mut guard = store.try_lock().unwrap().unwrap();
            let mut state = guard.read().unwrap().state;
            state.take_over(RefreshToken::from_raw("x"), 1);
            assert!(matches!(guard.claim(&mut state), Ok(Claim::Here(notices)) if notices.is_empty()));
            assert!(matches!(guard.begin(&mut state), Ok(Begun::Ready(_))));
            assert_eq!((state.fallback, state.id == peek(&one).id), (None, false));
            assert_eq!(std::fs::read(&one).unwrap(), before);
        }
    }

    #[test]
    fn the_token_of_the_copy_is_not_sent_beside_it_because_a_mirror_of_both_shows_it() {
        let (_folder, one, two) = copied();
        assert_eq!(rotate(&two, "b"), QUIET);
        assert_eq!(rotate(&one, "spent"), said(&two));
        let id = peek(&one).id;
        let shown = |token: &str, next: &str| {
            let store = store(&one);
            let mut guard = store.try_lock().unwrap().unwrap();
            let mut state = guard.read().unwrap().state;
            state.take_over(RefreshToken::from_raw(token), 1);
            guard.commit(&mut state).unwrap();
            drop(guard);
            rotate(&one, next)
        };
        // The copy is sending the token.
        let mark =
            Mark { fingerprint: Fingerprint::of("b"), started_at: 1, deadline: u64::MAX, starts: 0, lease: None };
        edit(&two, |state| state.mark = Some(mark));
        let held = lock(&two);
        assert_eq!(shown("b", "spent"), Err("STORE_LOCKED".into()));
        drop(held);
        assert_eq!(rotate(&two, "c"), QUIET);
        // The copy has sent the token.
        assert_eq!(shown("b", "spent"), said(&two));
        // The copy hands over its newest token, as any copy does.
        assert_eq!(shown("c", "d"), QUIET);
        assert_eq!((rotate(&two, "spent"), peek(&two).moved.as_deref()), (said(&one), Some(&*one)));
        assert_eq!((peek(&one).id, peek(&two).id), (id, id));
    }

    #[test]
    fn a_token_from_a_person_is_no_reason_to_forget_the_other_one_where_it_is_one_file() {
        let (_folder, one, _two) = copied();
        let other = one.with_file_name("other.json");
        std::fs::hard_link(&one, &other).unwrap();
        let id = peek(&one).id;
        log_in(&other, "x");
        assert_eq!((peek(&one).id, peek(&one).fallback.is_some()), (id, true));
    }

    #[test]
    fn a_logout_in_a_copy_leaves_the_original_alone() {
        let (_folder, one, two) = copied();
        let before = std::fs::read(&one).unwrap();
        lock(&two).forget().unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), before);
        assert_ne!(peek(&two).id, peek(&one).id);
        log_in(&two, "x");
        assert_eq!((rotate(&two, "y"), rotate(&one, "b")), (QUIET, QUIET));
    }

    #[test]
    fn what_is_only_set_aside_in_the_original_is_taken_out_of_it() {
        let (_folder, one, two) = copied();
        log_in(&one, "x");
        assert!(peek(&one).fallback.is_some());
        assert_eq!(rotate(&two, "b"), QUIET);
        let original = peek(&one);
        assert_eq!((raw(&original).as_str(), original.fallback, original.moved), ("x", None, None));
        assert_eq!(original.known.len(), 2);
    }

    #[test]
    fn a_token_that_is_known_to_be_rejected_is_not_sent_from_a_copy() {
        let (_folder, one, two) = copied();
        edit(&one, |state| {
            state.reject(Sent::Current, 1, false);
        });
        assert_eq!(rotate(&two, "spent"), said(&one));
    }

    #[test]
    fn where_the_original_cannot_be_changed_it_goes_on() {
        if platform::is_root() {
            eprintln!("left out: root can change everything. tests/copies.rs does this as another user");
            return;
        }
        let (_folder, one, two) = copied();
        let chmod = |mode| std::fs::set_permissions(one.parent().unwrap(), std::fs::Permissions::from_mode(mode));
        chmod(0o500).unwrap();
        std::fs::set_permissions(&one, std::fs::Permissions::from_mode(0o400)).unwrap();
        let notices = rotate(&two, "b").unwrap();
        chmod(0o700).unwrap();
        assert!(notices.len() == 1 && notices[0].contains("cannot be changed"), "{notices:?}");
    }

    #[test]
    fn a_copy_made_in_the_middle_of_a_write_is_compared_as_well() {
        let (_folder, one, two) = copied();
        std::fs::copy(&two, two.with_file_name("j.json.tmp")).unwrap();
        assert_eq!(rotate(&one, "b"), QUIET);
        assert_eq!(rotate(&two, "spent"), said(&one));
        let (_folder, one, two) = copied();
        std::fs::copy(&two, two.with_file_name("j.json.tmp")).unwrap();
        assert_eq!(rotate(&two, "b"), QUIET);
        assert_eq!(rotate(&one, "spent"), said(&two));
    }

    #[test]
    fn a_link_that_leads_back_to_a_former_folder_brings_the_token_back() {
        let (_folder, one, two) = copied();
        let link = one.parent().unwrap().with_file_name("current");
        let lead = |to: &Path| {
            let _ = std::fs::remove_file(&link);
            symlink(to.parent().unwrap(), &link).unwrap();
        };
        lead(&one);
        let running = store(&link.join("j.json"));
        assert_eq!(rotate_in(&running, "b"), QUIET);
        std::fs::copy(&one, &two).unwrap();
        lead(&two);
        // A request fails: the token moves to the other folder, and is not rotated.
        let mut guard = running.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        assert!(matches!(guard.claim(&mut state), Ok(Claim::Here(_))));
        assert!(matches!(guard.begin(&mut state), Ok(Begun::Ready(_))));
        state.mark = None;
        guard.commit(&mut state).unwrap();
        drop(guard);
        assert_eq!(peek(&one).moved.as_deref(), Some(&*two));
        lead(&one);
        assert_eq!(rotate_in(&running, "c"), QUIET);
        assert_eq!((peek(&one).moved, peek(&two).moved.as_deref()), (None, Some(&*one)));
        // The token was handed back to the other folder, so it is not sent from this one.
        lead(&two);
        assert_eq!(rotate(&two, "spent"), said(&one));
    }

    /// A probe that counts the storage calls, and those in another folder.
    #[derive(Default)]
    struct Counts {
        elsewhere: PathBuf,
        calls: Mutex<Vec<&'static str>>,
        visits: AtomicUsize,
    }

    impl Probe for Counts {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            if moment == Moment::Before {
                self.calls.lock().unwrap().push(call);
                self.visits.fetch_add(usize::from(path.starts_with(&self.elsewhere)), Ordering::SeqCst);
            }
            Ok(())
        }
    }

    #[test]
    fn a_rotation_in_the_recorded_place_costs_no_storage_call_more() {
        let (_folder, one, two) = copied();
        let calls = |path: &Path, elsewhere: &Path, claims: bool| {
            let counts = Arc::new(Counts { elsewhere: elsewhere.parent().unwrap().to_owned(), ..Counts::default() });
            let disk = Disk::with_probe(Arc::clone(&counts) as Arc<dyn Probe>);
            let store = Journal::open(path, ISSUER, disk).unwrap();
            let mut guard = store.try_lock().unwrap().unwrap();
            let mut state = guard.read().unwrap().state;
            if claims {
                assert!(matches!(guard.claim(&mut state), Ok(Claim::Here(_))));
            }
            assert!(matches!(guard.begin(&mut state), Ok(Begun::Ready(_))));
            let next = format!("next of {}", raw(&state));
            answer(&mut state, &next);
            guard.commit(&mut state).unwrap();
            drop(guard);
            let calls = counts.calls.lock().unwrap().clone();
            (calls, counts.visits.load(Ordering::SeqCst))
        };
        let without = calls(&one, &two, false);
        assert!(without.0.contains(&"sync") && without.1 == 0);
        assert_eq!(calls(&one, &two, true), without);
        // The first refresh at a new path costs a look at the old path, the next one none.
        let unrelated = two.with_file_name("other.json");
        log_in(&unrelated, "x");
        edit(&unrelated, |state| state.place = Some(one.clone()));
        assert!(calls(&unrelated, &one, true).1 > 0);
        assert_eq!(calls(&unrelated, &one, true), without);
    }

    #[test]
    fn another_computer_is_noticed_once_and_sixteen_are_remembered() {
        let machine = |number: u32| Fingerprint::of(&format!("machine {number}"));
        let mut state = State::new(ISSUER);
        let mut said = |number| came_from_another_machine(Path::new("/j.json"), &mut state, machine(number));
        assert_eq!(said(0), None, "there was none before");
        let sentence = said(1).unwrap().0;
        assert!(sentence.starts_with("The journal /j.json was used on another computer before"), "{sentence}");
        assert_eq!((said(0), said(1)), (None, None), "once for each");
        let mut state = State::new(ISSUER);
        assert!(!state.note_machine(machine(0)));
        assert!(state.note_machine(machine(1)));
        assert!(!state.note_machine(machine(0)), "back again");
        for number in 2..20 {
            assert!(state.note_machine(machine(number)));
        }
        assert_eq!(state.machines.len(), 16);
        assert!(!state.note_machine(machine(19)) && state.note_machine(machine(0)));
        let (one, other) = (state.clone(), State { machines: vec![machine(40), machine(19)], ..state.clone() });
        state.merge(other);
        assert_eq!(state.machines.len(), 16);
        assert!(one.machines.iter().all(|machine| state.machines.contains(machine)), "the latest stay");
    }
}
