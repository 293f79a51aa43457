//! A journal that symbolic links lead to. Somebody may retarget such a link while a manager runs, to a copy of the journal
//! or to a place where there is none.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use super::file::FileStore as JournalFile;
use super::state::{Known, State};
use super::{Begun, Claim, Found, Guard, Notice, Stamp, Store};
use crate::Result;
use crate::files::lock::Lock;
use crate::files::{Disk, resolve};

/// How often the lock of the place to which a link leads now is tried, and the wait between.
const TRIES: u32 = 50;
const LOOK: Duration = Duration::from_millis(20);

/// Somebody else has the lock of the link.
struct Busy;

/// Finds the journal's path anew.
type Locate = dyn Fn() -> Result<PathBuf> + Send + Sync;

/// Keeps the state in one small file, readable by its owner alone, and never without a whole copy of it on the disk.
#[derive(Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

struct Shared {
    /// The journal at its first path.
    first: JournalFile,
    path: PathBuf,
    disk: Disk,
    /// The path whose last part may be a link that somebody retargets, and what its lock is named after.
    link: PathBuf,
    lock: PathBuf,
    /// For a journal that lies beside what the link leads to.
    locate: Option<Box<Locate>>,
    /// The file that was entered last.
    last: Mutex<Option<PathBuf>>,
}

impl FileStore {
    /// The journal at a path, for tokens of that issuer. Nothing is read or made yet.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a path that is no file's.
    pub fn open(path: impl Into<PathBuf>, issuer: impl Into<String>, disk: Disk) -> Result<Self> {
        Ok(Self::of(JournalFile::open(path, issuer, disk.clone())?, disk))
    }

    /// The journal at a path whose name we derived, in a folder that was given for journals: it is ours whatever is in it.
    ///
    /// # Errors
    ///
    /// As for [`FileStore::open`].
    pub(crate) fn open_in_state_folder(
        path: impl Into<PathBuf>,
        issuer: impl Into<String>,
        disk: Disk,
    ) -> Result<Self> {
        Ok(Self::of(JournalFile::open_in_state_folder(path, issuer, disk.clone())?, disk))
    }

    fn of(first: JournalFile, disk: Disk) -> Self {
        let path = first.path().to_owned();
        let (link, lock, last) = (path.clone(), path.clone(), Mutex::default());
        Self { shared: Arc::new(Shared { first, path, disk, link, lock, locate: None, last }) }
    }

    /// The journal beside a file that a link may lead to, in a folder that holds nothing but journals. Its path is found
    /// anew at each entering.
    ///
    /// # Errors
    ///
    /// As for [`FileStore::open`], and as `locate` says.
    pub(crate) fn beside(
        (link, lock): (PathBuf, PathBuf),
        issuer: &str,
        disk: Disk,
        locate: impl Fn() -> Result<PathBuf> + Send + Sync + 'static,
    ) -> Result<Self> {
        let path = locate()?;
        let first = JournalFile::open_in_own_folder(&path, issuer, disk.clone())?;
        let (last, locate) = (Mutex::default(), Some(Box::new(locate) as Box<Locate>));
        Ok(Self { shared: Arc::new(Shared { first, path, disk, link, lock, locate, last }) })
    }
}

impl Shared {
    /// The journal where it is now.
    fn now(&self) -> Result<JournalFile> {
        match self.locate.as_ref().map(|locate| locate()).transpose()? {
            Some(path) if path != self.path => self.at(&path),
            _ => Ok(self.first.clone()),
        }
    }

    fn at(&self, path: &Path) -> Result<JournalFile> {
        self.first.open_elsewhere(path)
    }

    fn is_link(&self) -> bool {
        std::fs::symlink_metadata(&self.link).is_ok_and(|metadata| metadata.is_symlink())
    }

    /// The lock of the link itself, as long as it is one: whoever comes by way of it after it was retargeted waits for
    /// what was begun before.
    fn lock_link(&self) -> Result<Option<Lock>, Busy> {
        if !self.is_link() {
            return Ok(None);
        }
        // Without the right to make one here, the journal's own lock has to do.
        Lock::try_take(&self.disk, &self.lock).map_or(Ok(None), |lock| lock.map(Some).ok_or(Busy))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<PathBuf>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for FileStore {
    fn peek(&self) -> Result<Option<State>> {
        self.shared.now()?.peek()
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let shared = &self.shared;
        if shared.is_link() {
            // Before a lock is made beside the link.
            shared.now()?.check()?;
        }
        let Ok(link) = shared.lock_link() else { return Ok(None) };
        let journal = shared.now()?;
        let real = resolve(journal.path()).ok();
        let Some(guard) = journal.try_lock()? else { return Ok(None) };
        let former =
            shared.last().clone().filter(|last| real.as_ref().is_some_and(|real| real != last && !real.exists()));
        let former = match former {
            Some(path) if path.exists() => match shared.at(&path)?.try_lock()? {
                None => return Ok(None),
                former => former,
            },
            _ => None,
        };
        let before = std::mem::replace(&mut *shared.last(), real.clone());
        let shared = Arc::clone(shared);
        Ok(Some(Box::new(LinkGuard { shared, guard, former, real, before, _link: link })))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        // Only a link can lead to another journal by now, and finding that one takes more than a look.
        if self.shared.is_link() { self.shared.now().ok()?.stamp() } else { self.shared.first.stamp() }
    }

    fn name(&self) -> String {
        self.shared.first.name()
    }
}

struct LinkGuard {
    shared: Arc<Shared>,
    guard: Box<dyn Guard>,
    /// The journal to which the link led before, if there is none where it leads now.
    former: Option<Box<dyn Guard>>,
    real: Option<PathBuf>,
    /// The file that this manager entered before.
    before: Option<PathBuf>,
    _link: Option<Lock>,
}

impl LinkGuard {
    /// Brings what was written to the place to which the link leads by now, if it was retargeted meanwhile: to a copy of
    /// the journal, which is older, or to a place without one. Anything else there is somebody's own.
    fn follow(&self, state: &State) -> Result<Option<Notice>> {
        let journal = self.shared.now()?;
        let now = resolve(journal.path()).ok();
        if now.is_none() || now == self.real {
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
        let is_copy = match &theirs.current {
            Some(held) => state.recognise(held.token.fingerprint()) != Known::Unknown,
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
            if theirs.state.current.is_some() {
                found.state = theirs.state;
                found.notices.extend(self.guard.commit(&mut found.state)?);
                found.notices.push(self.moved(self.real.as_deref().unwrap_or(&self.shared.path)));
            }
        }
        Ok(found)
    }

    fn claim(&mut self, state: &mut State) -> Result<Claim> {
        if state.moved.is_some() && state.moved == self.before && self.before != self.real {
            // The link leads back to where it led before, and this manager was the one that took the token along. It
            // brings it back in the same way, if no other has used it.
            state.place = state.moved.take();
        }
        self.guard.claim(state)
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        self.guard.begin(state)
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        let mut notices = self.guard.commit(state)?;
        // What was written is durable where it was begun: that is what counts.
        if let Ok(Some(notice)) = self.follow(state) {
            notices.push(notice);
        }
        Ok(notices)
    }

    fn stand_in(&self) -> Option<String> {
        self.guard.stand_in()
    }

    fn forget(&mut self) -> Result<()> {
        self.guard.forget()
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::RefreshToken;

    const ISSUER: &str = "https://oauth.ring.com";

    fn store(path: &Path) -> FileStore {
        FileStore::open(path, ISSUER, Disk::default()).unwrap()
    }

    fn write(store: &FileStore, raw: &str) {
        let mut guard = store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        state.take_over(RefreshToken::from_raw(raw), 1);
        guard.commit(&mut state).unwrap();
    }

    fn current(path: &Path) -> Option<String> {
        store(path).peek().unwrap().and_then(|state| state.current).map(|held| held.token.raw())
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
        assert_eq!(found.state.current.unwrap().token.raw(), "a");
        assert!(found.notices[0].0.contains("leads elsewhere"), "{:?}", found.notices);
        assert_eq!(current(&folder.path().join("next.json")).as_deref(), Some("a"));
        // What was forgotten is not brought back.
        running.try_lock().unwrap().unwrap().forget().unwrap();
        assert!(running.try_lock().unwrap().unwrap().read().unwrap().state.current.is_none());
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
