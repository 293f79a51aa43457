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
/// How often two files change places until the newest of an editor lies where it belongs.
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
                format!(
                    "{} is {kind} by now, and no file that can show a token. Put the file back.",
                    self.given.display()
                ),
            ));
        }
        if let Found::Unreachable(what) = self.home.find(real, Folder::Given) {
            // A token in the place of a volume that is not mounted would pass for a new one as soon as that is looked at.
            return Err(Error::new(
                ErrorCode::Store,
                format!("{} is gone: {what}. Nothing is written there until the folder is back.", self.given.display()),
            ));
        }
        // Whoever comes first makes it: there may be no journal yet.
        make_folder_of(&self.disk, &locked, whose).map_err(|error| self.failed("locked", &error))?;
        for _ in 0..LOCK_LOOKS {
            if let Some(lock) = Lock::try_take(&self.disk, &locked)? {
                return Ok(lock);
            }
            sleep(LOOK);
        }
        Err(Error::new(
            ErrorCode::StoreLocked,
            format!("Another process has been holding {} for long. It is tried again later.", self.given.display()),
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
            // Not by the name of a backup: one that was left behind may be the only whole file there is.
            let back_up = |copy: &Path| {
                replace::copy(disk, copy, old.unwrap_or_default())?;
                disk.remove(copy)
            };
            back_up(&ours).or_else(|_| back_up(&beside))
        };
        self.by_some_way(real, there.as_ref(), exchange, in_place)
    }
    /// Changes the file from what was read to something else, unless it is something else already.
    pub(crate) fn put(&self, real: &Path, old: Option<&[u8]>, new: &[u8]) -> io::Result<Put> {
        let there = self.disk.metadata(real)?;
        if there.is_some() != old.is_some() {
            return Ok(Put::Changed);
        }
        let exchange = |staging: &Path| self.exchange(staging, real, old.zip(there.as_ref()), new);
        self.by_some_way(real, there.as_ref(), exchange, || self.put_in_place(real, old.unwrap_or_default(), new))
    }

    /// The first way that can be gone here: another file takes the place of this one, or this one is written over.
    fn by_some_way<T>(
        &self,
        real: &Path,
        there: Option<&Metadata>,
        exchange: impl Fn(&Path) -> io::Result<T>,
        in_place: impl Fn() -> io::Result<T>,
    ) -> io::Result<T> {
        if there.is_some_and(platform::is_read_only) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "nobody may write it"));
        }
        if there.is_some_and(platform::has_other_names) {
            return in_place();
        }
        let cannot = |done: &io::Result<T>| done.as_ref().is_err_and(platform::means_irreplaceable);
        let [ours, beside] = self.stagings(real);
        let mut done = exchange(&ours);
        // The journal may lie on another file system.
        if cannot(&done) {
            done = exchange(&beside);
        }
        if cannot(&done) && there.is_some() {
            done = in_place();
        }
        done
    }

    /// Where a file is made whole, and where what comes out waits: first in the journal's folder, which nobody else looks
    /// into and nobody commits. A process may end before it has looked again.
    fn stagings(&self, real: &Path) -> [PathBuf; 2] {
        [self.beside(real), hidden_sibling(real, "")]
    }

    /// Lets a whole new file take the place of the old one, and looks at what comes out.
    fn exchange(&self, staging: &Path, real: &Path, old: Option<(&[u8], &Metadata)>, new: &[u8]) -> io::Result<Put> {
        let disk = &self.disk;
        let unfinished = unfinished(staging);
        let former = old.map_or(&[][..], |(bytes, _)| bytes);
        let whole = sibling(staging, &format!("-{}-{}", digest([former]), digest([new])));
        replace::make(disk, &unfinished, old.map(|(_, there)| (real, there)), new)?;
        // Whoever finds a file by this name knows that it is whole, and what it was to replace.
        replace::or_nothing(disk, &unfinished, disk.rename(&unfinished, &whole))?;
        let put = self.exchange_whole(real, &whole, old);
        match &put {
            // What came out stays for a moment: an editor that had it open may write into it yet.
            Ok(Put::Replaced) => replace::sync_folder(disk, real)?,
            // Where it is ours nobody needs it. Anything else is looked at when this is tried again.
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
            // Whoever makes it in this moment is not overwritten either.
            return match disk.link(whole, real) {
                // Nothing came out: what is left is a second name of the same file.
                Ok(()) => disk.remove(whole).map(|()| Put::Replaced),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Changed),
                Err(_) => disk.rename(whole, real).map(|()| Put::Replaced),
            };
        };
        if disk.read(real)?.as_deref() != Some(old) {
            return Ok(Put::Changed);
        }
        // What is compared last is compared fast: the shorter this takes, the less can come between.
        if !disk.metadata(real)?.is_some_and(|now| platform::is_untouched(there, &now)) {
            return Ok(Put::Changed);
        }
        if !disk.exchange(whole, real)? {
            // There is no way here to see what comes out.
            return disk.rename(whole, real).map(|()| Put::Replaced);
        }
        if disk.metadata(whole)?.is_some_and(|out| platform::is_unchanged(there, &out))
            && disk.read(whole)?.as_deref() == Some(old)
        {
            return Ok(Put::Replaced);
        }
        // Somebody replaced it between the look and the exchange. Theirs goes back at once. What comes out then is what
        // was put there last, or theirs again and newer still.
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

    /// Writes over a file that no other can replace, with a whole copy of the old one beside it meanwhile.
    fn put_in_place(&self, real: &Path, old: &[u8], new: &[u8]) -> io::Result<Put> {
        let disk = &self.disk;
        let mut refused = io::Error::from(io::ErrorKind::PermissionDenied);
        // What may not be written at all needs no backup.
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
                // It may be cut, or made of two; its own bytes need no more space than it has. Where even they cannot be
                // written the backup stays: it may be the only whole one.
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

    /// Where a backup can lie: where the journal is, which outlives a container if anything does, and beside the file.
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

    /// What lies under such a name is the old file, the new one, or one of an editor that was faster than the exchange.
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
        // Written into after it was replaced, and maybe not to its end yet.
        let mut looks = WHOLE_LOOKS;
        while looks > 0 && disk.read(path)?.is_some_and(|bytes| !is_whole(&bytes)) {
            looks -= 1;
            sleep(LOOK);
        }
        let there = disk.read(real)?;
        if there.is_some_and(|there| digest([there.as_slice()]) == new) && looks > 0 {
            // Nobody has written since: theirs goes back.
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
            // As when it was written: better the old one than half of the new one.
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

    /// The path that the lock is named after. In a given folder files of one name share it, whatever their paths: a link may
    /// lead to another path by now, and a container may see the same file by another one.
    fn locked(&self, real: &Path) -> (PathBuf, Folder) {
        let (folder, whose) = self.folder(real);
        let name = if whose == Folder::Own { real } else { &self.given }.file_name().unwrap_or_default();
        (folder.join(name), whose)
    }

    /// The path that the backups of a file are named after. They belong to one file alone.
    fn beside(&self, real: &Path) -> PathBuf {
        let (folder, whose) = self.folder(real);
        let mut name = real.file_name().unwrap_or_default().to_owned();
        if whose == Folder::Given {
            name.push(format!("-{}", digest([real.as_os_str().as_encoded_bytes()])));
        }
        folder.join(name)
    }
}

/// Whether bytes are what a write of one text over another leaves when it is stopped: it never cuts first.
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

/// What a file is called in a staging until it is whole.
fn unfinished(staging: &Path) -> PathBuf {
    sibling(staging, ".tmp")
}
/// The files of exchanges that were stopped, and what each was to replace by what.
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
