//! A file of another program, which is changed without losing what that program writes at the same time.
//!
//! The new version is made whole elsewhere, then both files are exchanged, and what comes out is compared with what was read.
//! If the file cannot be replaced it is written in place, with a backup of the old version. What a stopped process leaves behind
//! is repaired at the next change. What the bytes mean is not known here.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::lock::Lock;
use super::names::{digest, hidden_sibling, is_digest, sibling, siblings};
use super::whereabouts::{Found, Whereabouts};
use super::{Disk, Folder, kind, make_folder_of, platform, replace, resolve, unusable};
use crate::{Error, ErrorCode, Result};

/// The wait between two looks at a lock that another process has, or at a file that is not whole.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// How many looks a lock is waited for: its holder writes a small file.
const LOCK_LOOKS: u32 = 250;
/// How many looks a file that is not whole is given: an editor may be in the middle of writing it.
pub(crate) const WHOLE_LOOKS: u32 = 15;
/// How often two files are exchanged until the newest version of an editor lies at its path.
const EXCHANGES: u32 = 25;

/// A file of another program at a path.
pub(crate) struct ForeignFile {
    given: PathBuf,
    /// The folder for the lock and the backups, if one was named.
    folder: Option<PathBuf>,
    /// The folder of our own for them if none was named, by the path that was given and by the file behind its links.
    own_folder: fn(&Path, &Path) -> PathBuf,
    disk: Disk,
    /// Where the file was last seen.
    home: Whereabouts,
}

/// How an attempt to change a file ended.
pub(crate) enum Put {
    Replaced,
    InPlace,
    /// Another program changed it meanwhile: nothing of that was overwritten.
    Changed,
}

/// The old version of a file whose write in place was begun and not ended.
pub(crate) struct Backup {
    path: PathBuf,
    /// What was in the file before.
    pub(crate) old: Vec<u8>,
}

impl ForeignFile {
    /// The file at a path. Its lock and its backups lie in the given folder, or else in one of our own, which the function names.
    pub(crate) fn new(
        given: PathBuf,
        folder: Option<PathBuf>,
        own_folder: fn(&Path, &Path) -> PathBuf,
        disk: Disk,
    ) -> Self {
        Self { given, folder, own_folder, disk, home: Whereabouts::default() }
    }

    /// The path that was given.
    pub(crate) fn given(&self) -> &Path {
        &self.given
    }

    /// The file itself, behind its links. They may lead elsewhere at the next look.
    pub(crate) fn real(&self) -> Result<PathBuf> {
        resolve(&self.given).map_err(|error| self.failed("found", &error))
    }

    /// The error of a step that failed, such as *written*.
    pub(crate) fn failed(&self, verb: &str, error: &io::Error) -> Error {
        unusable(self.given.display(), verb, error)
    }

    /// The bytes of the file; `None` if it is not there.
    pub(crate) fn read(&self, real: &Path) -> Result<Option<Vec<u8>>> {
        let bytes = self.disk.read(real).map_err(|error| self.failed("read", &error))?;
        if bytes.is_some() {
            self.home.note(real);
        }
        Ok(bytes)
    }

    /// Takes the lock under which the file is changed, and waits for it.
    ///
    /// # Errors
    ///
    /// `STORE_LOCKED` if another process has it for long, `STORE` if the file is not where it was.
    pub(crate) fn lock(&self, real: &Path) -> Result<Lock> {
        let (locked, whose) = self.locked(real);
        if let Some(kind) = kind::at(real) {
            // Nothing is made beside it: a link may lead to /dev/null by now.
            return Err(Error::new(
                ErrorCode::Store,
                format!("{} is now {kind}, not a regular file. Put the file back.", self.given.display()),
            ));
        }
        if let Found::Unreachable(what) = self.home.find(real, Folder::Given) {
            // A token that is written to the place of a volume that is not mounted would be taken for a pasted one later.
            return Err(Error::new(
                ErrorCode::Store,
                format!("{} is gone: {what}. Nothing is written there until the folder is back.", self.given.display()),
            ));
        }
        // The first process creates the folder: there may be no journal yet.
        make_folder_of(&self.disk, &locked, whose).map_err(|error| self.failed("locked", &error))?;
        for _ in 0..LOCK_LOOKS {
            if let Some(lock) = Lock::try_take(&self.disk, &locked)? {
                return Ok(lock);
            }
            sleep(LOOK);
        }
        Err(Error::new(
            ErrorCode::StoreLocked,
            format!(
                "Another process has had the lock of {} for several seconds. The manager tries again later.",
                self.given.display()
            ),
        ))
    }
    /// Takes each step of a change except for the last one, which puts the new version in the place of the file.
    pub(crate) fn dry_run(&self, real: &Path, old: Option<&[u8]>, new: &[u8]) -> io::Result<()> {
        let disk = &self.disk;
        let there = disk.metadata(real)?;
        let [ours, beside] = self.stagings(real).map(|staging| unfinished(&staging));
        let exchange = |staging: &Path| {
            let whole = unfinished(staging);
            replace::make(disk, &whole, there.as_ref().map(|there| (real, there)), new)?;
            replace::or_nothing(disk, &whole, disk.rename(&whole, &beside))?;
            disk.remove(&beside)
        };
        let in_place = || {
            drop(disk.open_for_writing(real)?);
            // A backup of a stopped write may be the only whole file, so the name of a backup is not used.
            let back_up = |copy: &Path| {
                replace::copy(disk, copy, old.unwrap_or_default())?;
                disk.remove(copy)
            };
            back_up(&ours).or_else(|_| back_up(&beside))
        };
        self.by_some_way(real, there.as_ref(), exchange, in_place)
    }
    /// Replaces the version that was read by a new one, unless another program has changed the file since.
    pub(crate) fn put(&self, real: &Path, old: Option<&[u8]>, new: &[u8]) -> io::Result<Put> {
        let there = self.disk.metadata(real)?;
        if there.is_some() != old.is_some() {
            return Ok(Put::Changed);
        }
        let exchange = |staging: &Path| self.exchange(staging, real, old.zip(there.as_ref()), new);
        self.by_some_way(real, there.as_ref(), exchange, || self.put_in_place(real, old.unwrap_or_default(), new))
    }

    /// Takes the first way that works here: another file replaces this one, or this one is written in place.
    fn by_some_way<T>(
        &self,
        real: &Path,
        there: Option<&Metadata>,
        exchange: impl Fn(&Path) -> io::Result<T>,
        in_place: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        if there.is_some_and(platform::is_read_only) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
        }
        if there.is_some_and(platform::has_other_names) {
            return in_place();
        }
        let cannot = |done: &io::Result<T>| done.as_ref().is_err_and(platform::means_irreplaceable);
        let [ours, beside] = self.stagings(real);
        let mut done = exchange(&ours);
        // The folder of the first staging may be on another file system.
        if cannot(&done) {
            done = exchange(&beside);
        }
        if cannot(&done) && there.is_some() {
            done = in_place();
        }
        done
    }

    /// The paths at which a new version is made whole, and at which the old one waits after the exchange. The first is in the
    /// folder of the journal, which no other program reads and which is not committed. A process may end before it has looked
    /// at the old version again.
    fn stagings(&self, real: &Path) -> [PathBuf; 2] {
        [self.beside(real), hidden_sibling(real, "")]
    }

    /// Exchanges a whole new file with the old one, and compares what comes out.
    fn exchange(&self, staging: &Path, real: &Path, old: Option<(&[u8], &Metadata)>, new: &[u8]) -> io::Result<Put> {
        let disk = &self.disk;
        let unfinished = unfinished(staging);
        let former = old.map_or(&[][..], |(bytes, _)| bytes);
        let whole = sibling(staging, &format!("-{}-{}", digest([former]), digest([new])));
        replace::make(disk, &unfinished, old.map(|(_, there)| (real, there)), new)?;
        // The name tells a later start that the file is whole, and which version it was to replace.
        replace::or_nothing(disk, &unfinished, disk.rename(&unfinished, &whole))?;
        let put = self.exchange_whole(real, &whole, old);
        match &put {
            // The old version stays for a moment: an editor that has it open may still write into it.
            Ok(Put::Replaced) => replace::sync_folder(disk, real)?,
            // Our own new version is not needed. Anything else is repaired at the next attempt.
            _ => {
                if let Ok(Some(bytes)) = disk.read(&whole)
                    && bytes == new
                {
                    let _ = disk.remove(&whole);
                }
            }
        }
        put
    }

    fn exchange_whole(&self, real: &Path, whole: &Path, old: Option<(&[u8], &Metadata)>) -> io::Result<Put> {
        let disk = &self.disk;
        let ours = disk.metadata(whole)?;
        let Some((old, there)) = old else {
            // A file that another program creates at this moment is not overwritten either.
            return match disk.link(whole, real) {
                // Nothing came out: the staging is a second name of the new file.
                Ok(()) => disk.remove(whole).map(|()| Put::Replaced),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Changed),
                Err(_) => disk.rename(whole, real).map(|()| Put::Replaced),
            };
        };
        if disk.read(real)?.as_deref() != Some(old) {
            return Ok(Put::Changed);
        }
        // The last comparison is a fast one: the shorter it takes, the less can happen before the exchange.
        if !disk.metadata(real)?.is_some_and(|now| platform::is_untouched(there, &now)) {
            return Ok(Put::Changed);
        }
        if !disk.exchange(whole, real)? {
            // On this system nothing shows what comes out.
            return disk.rename(whole, real).map(|()| Put::Replaced);
        }
        if disk.metadata(whole)?.is_some_and(|out| platform::is_unchanged(there, &out))
            && disk.read(whole)?.as_deref() == Some(old)
        {
            return Ok(Put::Replaced);
        }
        // Another program replaced the file between the comparison and the exchange. Its version is restored at once. What
        // comes out then is the version that was written last, or a newer one of the other program.
        let mut expected = ours;
        for _ in 0..EXCHANGES {
            let put = disk.metadata(whole)?;
            disk.exchange(whole, real)?;
            let out = disk.metadata(whole)?;
            if let (Some(expected), Some(out)) = (&expected, &out)
                && platform::is_same_file(expected, out)
            {
                disk.remove(whole)?;
                break;
            }
            expected = put;
        }
        Ok(Put::Changed)
    }

    /// Writes a file in place that cannot be replaced, with a whole copy of the old version beside it during the write.
    fn put_in_place(&self, real: &Path, old: &[u8], new: &[u8]) -> io::Result<Put> {
        let disk = &self.disk;
        let mut refused = io::Error::from(io::ErrorKind::PermissionDenied);
        // A file that may not be written needs no backup.
        drop(disk.open_for_writing(real)?);
        for backup in self.backup_paths(real) {
            if let Err(error) = replace::copy(disk, &backup, old) {
                refused = error;
                continue;
            }
            if disk.read(real)?.as_deref() != Some(old) {
                disk.remove(&backup)?;
                return Ok(Put::Changed);
            }
            if let Err(error) = replace::write_over(disk, real, new) {
                // The file may be cut, or made of two versions. The old bytes need no more space than it has. If even they
                // cannot be written the backup stays, because it may be the only whole version.
                if replace::write_over(disk, real, old).is_ok() {
                    disk.remove(&backup)?;
                }
                return Err(error);
            }
            disk.remove(&backup)?;
            return Ok(Put::InPlace);
        }
        Err(refused)
    }

    /// The paths at which a backup can lie: in the folder of the journal, which is the most likely one to outlive a container,
    /// and beside the file.
    pub(crate) fn backup_paths(&self, real: &Path) -> [PathBuf; 2] {
        [sibling(&self.beside(real), ".backup"), hidden_sibling(real, ".backup")]
    }
    /// Finishes or takes back the exchanges that a stopped process has left behind. Returns the paths of what other programs have
    /// written meanwhile and what could not be put back. The predicate says whether bytes are a whole file.
    pub(crate) fn repair_exchanges(&self, real: &Path, is_whole: &dyn Fn(&[u8]) -> bool) -> io::Result<Vec<PathBuf>> {
        let mut kept = Vec::new();
        for staging in self.stagings(real) {
            for (path, old, new) in left_behind(&staging) {
                kept.extend(self.repair_exchange(real, &path, (&old, &new), is_whole)?);
            }
            let _ = self.disk.remove(&unfinished(&staging));
        }
        Ok(kept)
    }

    /// Repairs one exchange. The file that is left is the old version, the new one, or one of an editor that was faster than
    /// the exchange.
    fn repair_exchange(
        &self,
        real: &Path,
        path: &Path,
        (old, new): (&str, &str),
        is_whole: &dyn Fn(&[u8]) -> bool,
    ) -> io::Result<Option<PathBuf>> {
        let disk = &self.disk;
        let Some(bytes) = disk.read(path)? else { return Ok(None) };
        let found = digest([bytes.as_slice()]);
        if found == old || found == new {
            return disk.remove(path).map(|()| None);
        }
        // An editor has written into it after the exchange, and may not be done yet.
        let mut looks = WHOLE_LOOKS;
        while looks > 0 && disk.read(path)?.is_some_and(|bytes| !is_whole(&bytes)) {
            looks -= 1;
            sleep(LOOK);
        }
        let there = disk.read(real)?;
        if there.is_some_and(|there| digest([there.as_slice()]) == new) && looks > 0 {
            // No program has written the file since: the version of the editor is restored.
            return disk.rename(path, real).map(|()| None);
        }
        let kept = sibling(real, &format!(".ring-auth-kept-{found}"));
        disk.rename(path, &kept)?;
        Ok(Some(kept))
    }

    /// The backups of writes in place that were begun and not ended. Each is read when it is reached.
    pub(crate) fn backups(&self, real: &Path) -> impl Iterator<Item = Backup> {
        self.backup_paths(real).into_iter().filter_map(|path| {
            let old = self.disk.read(&path).ok()??;
            Some(Backup { path, old })
        })
    }

    /// Writes a file whose write in place was not ended: with the bytes that it was to have, or with its old ones if those cannot
    /// be written.
    pub(crate) fn restore(&self, real: &Path, backup: &Backup, new: &[u8]) -> io::Result<()> {
        replace::write_over(&self.disk, real, new).inspect_err(|_| {
            // As in the write itself: the whole old version is better than half of the new one.
            let _ = replace::write_over(&self.disk, real, &backup.old);
        })
    }

    /// Removes a backup whose file is whole.
    pub(crate) fn discard(&self, backup: &Backup) -> io::Result<()> {
        self.disk.remove(&backup.path)
    }

    /// The folder in which the lock and the backups lie.
    fn folder(&self, real: &Path) -> (PathBuf, Folder) {
        match &self.folder {
            Some(folder) => (folder.clone(), Folder::Given),
            None => ((self.own_folder)(&self.given, real), Folder::Own),
        }
    }

    /// The path after which the lock is named. In a given folder, files with one name share it, whatever their paths are: a
    /// link may now lead to another path, and a container may see the same file at another one.
    fn locked(&self, real: &Path) -> (PathBuf, Folder) {
        let (folder, whose) = self.folder(real);
        let name = if whose == Folder::Own { real } else { &self.given }.file_name().unwrap_or_default();
        (folder.join(name), whose)
    }

    /// The path after which the backups of a file are named. Each file has its own.
    fn beside(&self, real: &Path) -> PathBuf {
        let (folder, whose) = self.folder(real);
        let mut name = real.file_name().unwrap_or_default().to_owned();
        if whose == Folder::Given {
            name.push(format!("-{}", digest([real.as_os_str().as_encoded_bytes()])));
        }
        folder.join(name)
    }
}

/// Whether bytes are the result of a write of one text over another that was stopped. Such a write never truncates first.
pub(crate) fn is_torn(there: &[u8], old: &[u8], new: &[u8]) -> bool {
    if there == old || there == new {
        return false;
    }
    let same = |(a, b): &(&u8, &u8)| a == b;
    let begun = there.iter().zip(new).take_while(same).count();
    if there.len() > old.len() {
        return begun == there.len();
    }
    let left = there.iter().rev().zip(old.iter().rev()).take_while(same).count();
    there.len() == old.len() && begun + left >= there.len()
}

/// The name of a new version in a staging until it is whole.
fn unfinished(staging: &Path) -> PathBuf {
    sibling(staging, ".tmp")
}
/// The files of exchanges that were stopped, with the digests of the old and the new version of each.
fn left_behind(staging: &Path) -> Vec<(PathBuf, String, String)> {
    siblings(staging, "-")
        .into_iter()
        .filter_map(|(path, digests)| {
            let (old, new) = digests.split_once('-')?;
            (is_digest(old) && is_digest(new)).then(|| (path, old.to_owned(), new.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
