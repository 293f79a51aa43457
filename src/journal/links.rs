//! The store for a journal behind symbolic links. The user may retarget such a link while a manager runs, to a copy of
//! the journal or to a path without one. The store also serves a mirror, whose journal can be another one each time
//! that it is entered.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use super::codec::{Codec, later};
use super::file::{JournalFile, now};
use super::finder::Finder;
use super::state::{Known, State};
use super::{Accepted, Begun, Claim, Found, Guard, Notice, Offer, Origin, Stamp, Store};
use crate::files::lock::Lock;
use crate::files::{Disk, Folder, resolve};
use crate::token::Fingerprint;
use crate::{Error, ErrorCode, Result};

/// The number of tries for the lock at the new target of a link.
const TRIES: u32 = 50;
/// The number of tries for the lock of a folder of journals. Its holder reads some journals and writes one.
const FOLDER_TRIES: u32 = 500;
/// The file name after which the lock of a folder of journals is named.
const FOLDER_LOCK: &str = "journals";
const LOOK: Duration = Duration::from_millis(20);

/// The result if another process has the lock of the link.
struct Busy;

/// A store that keeps the state in a journal. It looks for the journal each time that it is entered, because a symbolic link
/// can lead to another journal by then, and the token of a mirror can belong to another one. Each of them is a `JournalFile`.
#[derive(Clone)]
pub struct JournalStore {
    shared: Arc<Shared>,
}

struct Shared {
    /// The journal at its first path.
    first: JournalFile,
    /// Journals at other paths. Each remembers its last path.
    others: Mutex<Vec<JournalFile>>,
    disk: Disk,
    /// The path whose last part may be a link. `lock` is the path after which the lock of the link is named.
    link: PathBuf,
    lock: PathBuf,
    /// The finder, if this is the journal of a mirror.
    finder: Option<Arc<dyn Finder>>,
    /// The file that was entered last.
    last: Mutex<Option<PathBuf>>,
    /// The path at which the journal was found last.
    found: Mutex<Option<PathBuf>>,
}

impl JournalStore {
    /// Opens the journal at a path for tokens of that issuer. Reads and makes nothing yet.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the path cannot be that of a file.
    pub fn open(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Ok(Self::of(JournalFile::open(path, codec, disk.clone())?, disk))
    }

    /// Opens the journal at a path whose name this package derived, in a folder that the user gave for journals. The
    /// file is ours, whatever its content.
    ///
    /// # Errors
    ///
    /// As for [`JournalStore::open`].
    pub(crate) fn open_in_state_folder(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Ok(Self::of(JournalFile::open_in_state_folder(path, codec, disk.clone())?, disk))
    }

    fn of(first: JournalFile, disk: Disk) -> Self {
        let link = first.path().to_owned();
        let (lock, last, others, found) = (link.clone(), Mutex::default(), Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { first, others, disk, link, lock, finder: None, last, found }) }
    }

    /// Opens the journal of a mirror, which is looked up each time that it is entered. If the mirror is a link and its
    /// journal is beside the target of the link, the lock of the link is taken, too; it is named after `lock`.
    ///
    /// # Errors
    ///
    /// As for [`JournalStore::open`], and the errors of the finder.
    pub(crate) fn found_by(
        finder: Arc<dyn Finder>,
        (link, lock): (PathBuf, PathBuf),
        codec: &Codec,
        disk: Disk,
    ) -> Result<Self> {
        let sought = finder.find()?;
        let first = match sought.folder {
            Folder::Own => JournalFile::open_in_own_folder(&sought.path, codec, disk.clone())?,
            Folder::Given => JournalFile::open_in_state_folder(&sought.path, codec, disk.clone())?,
        };
        let finder = Some(finder);
        let (last, others, found) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { first, others, disk, link, lock, finder, last, found }) })
    }
}

impl Shared {
    /// The journal to use now, and the token of the mirror if another journal has spent it.
    fn now(&self) -> Result<(JournalFile, Option<Fingerprint>)> {
        let Some(finder) = &self.finder else { return Ok((self.first.clone(), None)) };
        let sought = finder.find()?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(sought.path.clone());
        Ok((self.at(&sought.path)?, sought.spent))
    }

    fn at(&self, path: &Path) -> Result<JournalFile> {
        if path == self.first.path() {
            return Ok(self.first.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = others.iter().find(|journal| journal.path() == path) {
            return Ok(journal.clone());
        }
        let journal = self.first.open_elsewhere(path)?;
        others.push(journal.clone());
        Ok(journal)
    }

    fn is_link(&self) -> bool {
        std::fs::symlink_metadata(&self.link).is_ok_and(|metadata| metadata.is_symlink())
    }

    /// The lock of the folder that contains a journal. Only its holder decides which journal a token belongs to. The
    /// holder waits for no other lock.
    fn lock_folder(&self, journal: &Path) -> Result<Lock> {
        let named_after = journal.with_file_name(FOLDER_LOCK);
        for _ in 0..FOLDER_TRIES {
            if let Some(lock) = Lock::try_take(&self.disk, &named_after)? {
                return Ok(lock);
            }
            sleep(LOOK);
        }
        Err(busy(journal.parent().unwrap_or(journal)))
    }

    /// The lock of the link itself, if the path is a link. A process that uses the link after it was retargeted waits
    /// for a transaction that began before.
    fn lock_link(&self) -> Result<Option<Lock>, Busy> {
        if !self.is_link() {
            return Ok(None);
        }
        // If this user may not make the lock here, only the journal's own lock protects the transaction.
        Lock::try_take(&self.disk, &self.lock).map_or(Ok(None), |lock| lock.map(Some).ok_or(Busy))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<PathBuf>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy(path: &Path) -> Error {
    Error::new(
        ErrorCode::StoreLocked,
        format!(
            "Another process has been holding {} for long. Nothing was sent; this is tried again at the next call.",
            path.display()
        ),
    )
}

impl Store for JournalStore {
    fn peek(&self) -> Result<Option<State>> {
        if self.is_shut() {
            return Err(later());
        }
        let (journal, spent) = self.shared.now()?;
        let mut state = journal.peek()?;
        if let Some(state) = &mut state {
            state.spent_elsewhere.extend(spent);
        }
        Ok(state)
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let shared = &self.shared;
        shared.first.ask_again();
        if shared.is_link() {
            // This check comes before a lock is made beside the link.
            shared.now()?.0.check()?;
        }
        let Ok(link) = shared.lock_link() else { return Ok(None) };
        let (journal, spent) = shared.now()?;
        let path = journal.path().to_owned();
        let real = resolve(&path).ok();
        let Some(guard) = journal.try_lock()? else { return Ok(None) };
        if let Some(finder) = &shared.finder {
            // Another process may have put the token of the mirror into another journal meanwhile.
            if finder.find()?.path != path {
                return Ok(None);
            }
            // A path without a journal is not in use yet. Until it is, the finder can find another journal that has the
            // token.
            if real.as_ref().is_some_and(|real| real.exists()) {
                finder.entered(&path);
            }
        }
        let has_moved = |last: &PathBuf| {
            // Within one folder, the token decides which journal is used, and no state moves to the new path.
            let may_move = shared.finder.is_none() || last.parent() != real.as_deref().and_then(Path::parent);
            may_move && real.as_ref().is_some_and(|real| real != last && !real.exists())
        };
        let former = shared.last().clone().filter(has_moved);
        let former = match former {
            Some(former) if former.exists() => match shared.at(&former)?.try_lock()? {
                None => return Ok(None),
                former => former,
            },
            _ => None,
        };
        let before = std::mem::replace(&mut *shared.last(), real.clone());
        let shared = Arc::clone(shared);
        Ok(Some(Box::new(LinkGuard { shared, guard, former, path, real, before, spent, _link: link })))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        self.shared.now().ok()?.0.stamp()
    }

    fn prefer(&self, token: Fingerprint) {
        if let Some(finder) = &self.shared.finder {
            finder.prefer(token);
        }
    }

    fn is_shut(&self) -> bool {
        self.shared.first.is_shut()
    }

    fn name(&self) -> String {
        // A message does not justify an access to the disk.
        let found = self.shared.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref().map_or_else(|| self.shared.first.name(), |path| path.display().to_string())
    }
}

struct LinkGuard {
    shared: Arc<Shared>,
    guard: Box<dyn Guard>,
    /// The journal's path, before links are followed.
    path: PathBuf,
    /// The journal to which the link led before, if there is none at its new target.
    former: Option<Box<dyn Guard>>,
    real: Option<PathBuf>,
    /// The file that this manager entered before.
    before: Option<PathBuf>,
    /// The token that the mirror shows, if another journal has spent it.
    spent: Option<Fingerprint>,
    _link: Option<Lock>,
}

impl LinkGuard {
    /// Writes the state to the new target of the link, if it was retargeted meanwhile to an older copy of the journal or to a path without
    /// one. Any other file there belongs to the user.
    fn follow(&self, state: &State) -> Result<Option<Notice>> {
        let (journal, _) = self.shared.now()?;
        let now = resolve(journal.path()).ok();
        let folder = |path: &Option<PathBuf>| path.as_deref().and_then(Path::parent).map(Path::to_owned);
        let has_moved = now != self.real && (self.shared.finder.is_none() || folder(&now) != folder(&self.real));
        if now.is_none() || !has_moved {
            return Ok(None);
        }
        let mut tries = TRIES;
        let mut guard = loop {
            match journal.try_lock()? {
                Some(guard) => break guard,
                None if tries == 0 => return Ok(None),
                None => tries -= 1,
            }
            sleep(LOOK);
        };
        let theirs = guard.read()?.state;
        let is_copy = match theirs.current() {
            Some(stored) => state.recognise(stored.token.fingerprint()) != Known::Unknown,
            None => theirs.sequence == 0,
        };
        if !is_copy {
            return Ok(None);
        }
        let mut copy = state.clone();
        copy.sequence = copy.sequence.max(theirs.sequence);
        guard.commit(&mut copy)?;
        *self.shared.last() = now;
        Ok(Some(self.moved(journal.path())))
    }

    /// Makes a new journal for this mirror beside the one that it has followed, and takes its lock. The caller holds
    /// the lock of the folder.
    fn split(&self, finder: &dyn Finder) -> Result<(PathBuf, Box<dyn Guard>, State)> {
        let path = finder.new_path(&self.path);
        let mut guard = self.shared.at(&path)?.try_lock()?.ok_or_else(|| busy(&path))?;
        let state = guard.read()?.state;
        Ok((path, guard, state))
    }

    /// Uses another journal from now on, and leaves the former one to the other mirrors that follow it.
    fn go_on_with(&mut self, finder: &dyn Finder, path: PathBuf, guard: Box<dyn Guard>) {
        finder.entered(&path);
        self.real = resolve(&path).ok();
        self.shared.last().clone_from(&self.real);
        self.guard = guard;
        self.path = path;
        self.spent = None;
    }

    fn record(&self, state: &mut State) {
        if let Some(finder) = &self.shared.finder {
            drop(finder.record(&self.path, state));
        }
    }

    fn moved(&self, to: &Path) -> Notice {
        Notice(format!(
            "{} leads elsewhere since it was last used. The newest state of the journal was written to {} too.",
            self.shared.link.display(),
            to.display()
        ))
    }
}

impl Guard for LinkGuard {
    fn read(&mut self) -> Result<Found> {
        let mut found = self.guard.read()?;
        if let Some(mut former) = self.former.take()
            && found.state.sequence == 0
        {
            let theirs = former.read()?;
            if theirs.state.family.is_some() {
                found.state = theirs.state;
                found.notices.extend(self.guard.commit(&mut found.state)?);
                found.notices.push(self.moved(self.real.as_deref().unwrap_or(&self.path)));
            }
        }
        if let Some(finder) = &self.shared.finder {
            found.state.spent_elsewhere.extend(self.spent);
            // The record is written with the next change, because it needs no write of its own.
            found.notices.extend(finder.record(&self.path, &mut found.state));
        }
        Ok(found)
    }

    fn claim(&mut self, state: &mut State) -> Result<Claim> {
        if state.moved.is_some() && state.moved == self.before && self.before != self.real {
            // The link leads to its former target again, and this manager was the one that moved the token to the other one. So it
            // moves the token back, unless another process has used it.
            state.place = state.moved.take();
        }
        self.guard.claim(state)
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        self.record(state);
        self.guard.begin(state)
    }

    fn accept(&mut self, state: &mut State, offer: Offer<'_>) -> Result<Accepted> {
        let Some(finder) = self.shared.finder.clone() else { return self.guard.accept(state, offer) };
        let _folder = self.shared.lock_folder(&self.path)?;
        if offer.origin == Origin::Given && finder.is_known_beside(&self.path, offer.token.fingerprint())? {
            return Ok(Accepted::Elsewhere);
        }
        let Some(other) = finder.other_mirror(&self.path, state) else {
            let mut new = state.clone();
            new.take_over(offer.token.clone(), offer.now);
            if offer.origin == Origin::Login {
                *state = new;
                return Ok(Accepted::Here { written: false, notices: Vec::new() });
            }
            let notices = self.commit(&mut new)?;
            *state = new;
            return Ok(Accepted::Here { written: true, notices });
        };
        let (path, mut guard, mut new) = self.split(finder.as_ref())?;
        new.hardware_id.clone_from(&state.hardware_id);
        new.take_over(offer.token.clone(), offer.now);
        finder.take_mirror(&path, &mut new, state);
        let mut notices = guard.commit(&mut new)?;
        notices.push(Notice(format!(
            "The new refresh token has a journal of its own from now on, {}: {other} keeps the former one.",
            path.display()
        )));
        self.go_on_with(finder.as_ref(), path, guard);
        *state = new;
        Ok(Accepted::Here { written: true, notices })
    }

    fn is_known_elsewhere(&self, token: Fingerprint) -> Result<bool> {
        self.shared.finder.as_ref().map_or(Ok(false), |finder| finder.is_known_beside(&self.path, token))
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        self.record(state);
        let mut notices = self.guard.commit(state)?;
        // The state is durable in the journal that was entered, which is enough.
        if let Ok(Some(notice)) = self.follow(state) {
            notices.push(notice);
        }
        Ok(notices)
    }

    fn place(&self) -> Option<String> {
        self.guard.place()
    }

    fn stand_in(&self) -> Option<String> {
        self.guard.stand_in()
    }

    fn forget(&mut self) -> Result<Vec<Notice>> {
        let Some(finder) = self.shared.finder.clone() else { return self.guard.forget() };
        // A journal that cannot be read is forgotten like any other.
        let Ok(Found { state: former, .. }) = self.guard.read() else { return self.guard.forget() };
        let Some(other) = finder.other_mirror(&self.path, &former) else { return self.guard.forget() };
        let _folder = self.shared.lock_folder(&self.path)?;
        let (path, mut guard, found) = self.split(finder.as_ref())?;
        let mut nothing = State { sequence: found.sequence, ..State::logged_out(former.issuer.clone(), now()) };
        finder.take_mirror(&path, &mut nothing, &former);
        let mut notices = guard.commit(&mut nothing)?;
        notices.push(Notice(format!(
            "{other} shows the same refresh token and keeps using it, so its journal {} stays. Log out there, too, to forget it.",
            self.path.display()
        )));
        self.go_on_with(finder.as_ref(), path, guard);
        Ok(notices)
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::RefreshToken;

    const ISSUER: &str = "https://oauth.ring.com";

    fn store(path: &Path) -> JournalStore {
        JournalStore::open(path, ISSUER, Disk::default()).unwrap()
    }

    fn write(store: &JournalStore, raw: &str) {
        let mut guard = store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        state.take_over(RefreshToken::from_raw(raw), 1);
        guard.commit(&mut state).unwrap();
    }

    fn current(path: &Path) -> Option<String> {
        store(path).peek().unwrap().and_then(|state| state.family).map(|family| family.current.token.raw())
    }

    fn retarget(link: &Path, to: &str) {
        let _ = std::fs::remove_file(link);
        std::os::unix::fs::symlink(to, link).unwrap();
    }

    #[test]
    fn what_was_begun_before_a_link_was_retargeted_reaches_a_copy_and_no_other_account() {
        let folder = tempfile::tempdir().unwrap();
        let [link, former, copy, other] =
            ["link.json", "former.json", "copy.json", "other.json"].map(|name| folder.path().join(name));
        retarget(&link, "former.json");
        let running = store(&link);
        write(&running, "a");
        write(&store(&other), "theirs");
        std::fs::copy(&former, &copy).unwrap();
        for (to, path, expected) in [("copy.json", &copy, "b"), ("other.json", &other, "theirs")] {
            retarget(&link, "former.json");
            let mut guard = running.try_lock().unwrap().unwrap();
            let mut state = guard.read().unwrap().state;
            retarget(&link, to);
            assert!(store(&link).try_lock().unwrap().is_none(), "whoever comes by way of the link waits");
            state.take_over(RefreshToken::from_raw("b"), 2);
            let notices = guard.commit(&mut state).unwrap();
            assert_eq!(notices.iter().any(|notice| notice.0.contains("leads elsewhere")), to == "copy.json");
            drop(guard);
            assert_eq!(current(&former).as_deref(), Some("b"));
            assert_eq!(current(path).as_deref(), Some(expected));
        }
    }

    #[test]
    fn where_a_link_leads_to_no_journal_the_former_one_is_brought_along() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link.json");
        retarget(&link, "former.json");
        let running = store(&link);
        write(&running, "a");
        retarget(&link, "next.json");
        assert!(store(&link).peek().unwrap().is_none());
        let found = running.try_lock().unwrap().unwrap().read().unwrap();
        assert_eq!(found.state.current().unwrap().token.raw(), "a");
        assert!(found.notices[0].0.contains("leads elsewhere"), "{:?}", found.notices);
        assert_eq!(current(&folder.path().join("next.json")).as_deref(), Some("a"));
        // A token that was forgotten does not come back.
        running.try_lock().unwrap().unwrap().forget().unwrap();
        assert!(running.try_lock().unwrap().unwrap().read().unwrap().state.family.is_none());
    }

    #[test]
    fn a_journal_that_no_link_leads_to_has_one_lock() {
        let folder = tempfile::tempdir().unwrap();
        write(&store(&folder.path().join("j.json")), "a");
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["j.json", "j.json.lock"]);
    }
}
