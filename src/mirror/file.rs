//! A mirror that is a file: changed whole, under a lock, and never over what somebody else has just written.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::format::{Format, Unfit};
use super::target::{digest, is_digest};
use super::which_journal::{Sightings, of_lock};
use super::{Decide, Decision, Introduced, Mirror, Patience, Purpose, Settled};
use crate::files::lock::Lock;
use crate::files::names::{sibling, siblings};
use crate::files::platform;
use crate::files::whereabouts::{Found, Whereabouts};
use crate::files::{Disk, Folder, kind, make_folder_of, replace, resolve, unusable};
use crate::journal::Notice;
use crate::{Error, ErrorCode, Result, Secret};

/// How often somebody looks whether the lock is free, or whether a file that does not parse does now.
const LOOK: Duration = Duration::from_millis(20);
/// How many looks a lock is waited for: its holder writes a small file.
const LOCK_LOOKS: u32 = 250;
/// How many looks a file that does not parse is given: an editor may be in the middle of writing it.
const PARSE_LOOKS: u32 = 15;
/// How often a change is begun anew because somebody else was faster.
const ROUNDS: u32 = 25;
/// How often two files change places until the newest of an editor lies where it belongs.
const EXCHANGES: u32 = 25;

/// A file in which a token stands among other things.
pub struct FileMirror {
    given: PathBuf,
    format: Box<dyn Format>,
    /// The folder that was named for the journal. Without one the lock and the backups lie beside the file.
    state_path: Option<PathBuf>,
    disk: Disk,
    purpose: Purpose,
    /// For whoever looks for the journal.
    sightings: Sightings,
    /// Where the file was last seen.
    home: Whereabouts,
}

/// How an attempt to change a file ended.
enum Put {
    Replaced,
    InPlace,
    /// Somebody else changed it meanwhile: nothing of theirs was overwritten.
    Changed,
}

impl FileMirror {
    /// A file at a path. Its lock and its backups lie in the given folder, or else in one of their own beside the file. What it
    /// shows is noted each time that it is read.
    pub(super) fn new(
        given: PathBuf,
        format: Box<dyn Format>,
        state_path: Option<PathBuf>,
        disk: Disk,
        purpose: Purpose,
        sightings: Sightings,
    ) -> Self {
        Self { given, format, state_path, disk, purpose, sightings, home: Whereabouts::default() }
    }

    /// Whether a token could be shown, as far as can be seen without showing one: for a login, before Ring sends a code.
    /// Says what would be changed beyond the token.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::settle`].
    pub fn dry_run(&self) -> Result<Introduced> {
        let real = self.real()?;
        let _lock = self.lock(&real)?;
        let (text, _) = self.read_whole(&real, PARSE_LOOKS)?;
        let (new, introduced) =
            self.format.introduce(text.as_deref(), &Secret::new("dry-run")).map_err(|unfit| self.unfit(&unfit))?;
        self.dry_run_putting(&real, text.as_deref(), &new).map_err(|error| self.failed("written", &error))?;
        Ok(introduced)
    }

    /// Goes the way of a change, up to a name beside that of the file.
    fn dry_run_putting(&self, real: &Path, old: Option<&[u8]>, new: &[u8]) -> io::Result<()> {
        let disk = &self.disk;
        let there = disk.metadata(real)?;
        let [ours, beside] = self.workshops(real).map(|workshop| unfinished(&workshop));
        let exchange = |workshop: &Path| {
            let whole = unfinished(workshop);
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

    fn real(&self) -> Result<PathBuf> {
        resolve(&self.given).map_err(|error| self.failed("found", &error))
    }

    fn failed(&self, verb: &str, error: &io::Error) -> Error {
        unusable(self.given.display(), verb, error)
    }

    fn unfit(&self, unfit: &Unfit) -> Error {
        let code = match unfit {
            Unfit::Several { .. } => ErrorCode::InvalidArgument,
            _ => ErrorCode::Store,
        };
        Error::new(code, format!("{}: {unfit}", self.given.display()))
    }

    fn read(&self, real: &Path) -> Result<Option<Vec<u8>>> {
        let bytes = self.disk.read(real).map_err(|error| self.failed("read", &error))?;
        if bytes.is_some() {
            self.home.note(real);
        }
        Ok(bytes)
    }

    /// The bytes and the token in them, once they parse, with so many looks more.
    fn read_whole(&self, real: &Path, mut looks: u32) -> Result<(Option<Vec<u8>>, Option<Secret>)> {
        loop {
            let bytes = self.read(real)?;
            let shown = self.format.read(bytes.as_deref().unwrap_or_default());
            self.note(real, bytes.as_deref().unwrap_or_default(), &shown);
            match shown {
                // An editor that writes in place has cut it, and will go on: what is written meanwhile would be all there is.
                Ok(None) if looks > 0 && bytes.as_ref().is_some_and(Vec::is_empty) => {
                    looks -= 1;
                    sleep(LOOK);
                }
                Ok(token) => return Ok((bytes, token)),
                Err(Unfit::Nothing | Unfit::NoBlock { .. })
                    if self.purpose == Purpose::Introduce && bytes.is_some() =>
                {
                    return Ok((bytes, None));
                }
                // The same.
                Err(Unfit::NotValid { .. } | Unfit::Nothing) if looks > 0 && bytes.is_some() => {
                    looks -= 1;
                    sleep(LOOK);
                }
                Err(_) if bytes.is_none() => {
                    return Err(self.failed("read", &io::Error::from(io::ErrorKind::NotFound)));
                }
                Err(unfit) => return Err(self.unfit(&unfit)),
            }
        }
    }

    /// Notes what a text says, so that the journal is found by it. A text that cannot be read says nothing.
    fn note(&self, real: &Path, text: &[u8], shown: &Result<Option<Secret>, Unfit>) {
        match shown {
            Ok(shown) => self.sightings.note(real, shown.as_ref(), self.format.places(text)),
            Err(Unfit::NoBlock { .. }) => self.sightings.note(real, None, self.format.places(text)),
            Err(_) => {}
        }
    }

    /// The folder in which the lock and the backups lie.
    fn folder(&self, real: &Path) -> (PathBuf, Folder) {
        match &self.state_path {
            Some(folder) => (folder.clone(), Folder::Given),
            None => (of_lock(&self.given, real), Folder::Own),
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

    fn lock(&self, real: &Path) -> Result<Lock> {
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

    fn with_token(&self, text: Option<&[u8]>, token: &Secret) -> Result<(Vec<u8>, Introduced), Unfit> {
        match self.purpose {
            Purpose::Introduce => self.format.introduce(text, token),
            Purpose::Follow => {
                self.format.write(text.unwrap_or_default(), token).map(|new| (new, Introduced::default()))
            }
        }
    }

    /// Changes the file from what was read to something else, unless it is something else already.
    fn put(&self, real: &Path, old: Option<&[u8]>, new: &[u8]) -> io::Result<Put> {
        let there = self.disk.metadata(real)?;
        if there.is_some() != old.is_some() {
            return Ok(Put::Changed);
        }
        let exchange = |workshop: &Path| self.exchange(workshop, real, old.zip(there.as_ref()), new);
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
        let [ours, beside] = self.workshops(real);
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
    fn workshops(&self, real: &Path) -> [PathBuf; 2] {
        [self.beside(real), hidden_sibling(real, "")]
    }

    /// Lets a whole new file take the place of the old one, and looks at what comes out.
    fn exchange(&self, workshop: &Path, real: &Path, old: Option<(&[u8], &Metadata)>, new: &[u8]) -> io::Result<Put> {
        let disk = &self.disk;
        let unfinished = unfinished(workshop);
        let former = old.map_or(&[][..], |(bytes, _)| bytes);
        let whole = sibling(workshop, &format!("-{}-{}", digest([former]), digest([new])));
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
        for backup in self.backups(real) {
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
    fn backups(&self, real: &Path) -> [PathBuf; 2] {
        [sibling(&self.beside(real), ".backup"), hidden_sibling(real, ".backup")]
    }

    /// Mends what a process left behind that was stopped in the middle of a change.
    fn recover(&self, real: &Path, decide: &mut Decide<'_>, notices: &mut Vec<Notice>) -> Result<()> {
        for workshop in self.workshops(real) {
            for (path, old, new) in left_behind(&workshop) {
                self.recover_exchange(real, &path, (&old, &new), notices)
                    .map_err(|error| self.failed("mended", &error))?;
            }
            let _ = self.disk.remove(&unfinished(&workshop));
        }
        for backup in self.backups(real) {
            if let Ok(Some(old)) = self.disk.read(&backup) {
                self.recover_in_place(real, &backup, &old, decide, notices)?;
            }
        }
        Ok(())
    }

    /// What lies under such a name is the old file, the new one, or one of an editor that was faster than the exchange.
    fn recover_exchange(
        &self,
        real: &Path,
        path: &Path,
        (old, new): (&str, &str),
        notices: &mut Vec<Notice>,
    ) -> io::Result<()> {
        let disk = &self.disk;
        let Some(bytes) = disk.read(path)? else { return Ok(()) };
        let found = digest([bytes.as_slice()]);
        if found == old || found == new {
            return disk.remove(path);
        }
        // Written into after it was replaced, and maybe not to its end yet.
        let mut looks = PARSE_LOOKS;
        while looks > 0 && disk.read(path)?.is_some_and(|bytes| self.format.read(&bytes).is_err()) {
            looks -= 1;
            sleep(LOOK);
        }
        let there = disk.read(real)?;
        if there.is_some_and(|there| digest([there.as_slice()]) == new) && looks > 0 {
            // Nobody has written since: theirs goes back.
            return disk.rename(path, real);
        }
        let kept = sibling(real, &format!(".ring-auth-kept-{found}"));
        disk.rename(path, &kept)?;
        notices.push(Notice(format!(
            "{} was changed twice in one moment, by ring-auth and by somebody else. What they wrote is kept as {}.",
            self.given.display(),
            kept.display()
        )));
        Ok(())
    }

    /// A backup says that a write in place was begun. Torn, the file does not parse, or its token is made of two.
    fn recover_in_place(
        &self,
        real: &Path,
        backup: &Path,
        old: &[u8],
        decide: &mut Decide<'_>,
        notices: &mut Vec<Notice>,
    ) -> Result<()> {
        let failed = |error: io::Error| self.failed("mended", &error);
        let there = self.read(real)?.unwrap_or_default();
        let shown = self.format.read(&there);
        // A backup that was stopped itself is no whole file, and nothing was written yet.
        if let Ok(former) = self.format.read(old) {
            let intended = match decide(former.as_ref())? {
                Decision::Show(token) => self.format.write(old, &token).ok(),
                Decision::Clear => self.format.clear(old).ok(),
                Decision::Leave => None,
            };
            let torn = match &intended {
                Some(new) => is_torn(&there, old, new),
                None => false,
            };
            if torn || matches!(shown, Err(Unfit::NotValid { .. })) {
                if let Err(error) = replace::write_over(&self.disk, real, intended.as_deref().unwrap_or(old)) {
                    // As when it was written: better the old one than half of the new one.
                    let _ = replace::write_over(&self.disk, real, old);
                    return Err(failed(error));
                }
                notices.push(Notice(format!(
                    "{} was left half written when ring-auth was stopped. It was mended from its backup.",
                    self.given.display()
                )));
            }
        }
        self.disk.remove(backup).map_err(failed)
    }
}

impl Mirror for FileMirror {
    fn check_place(&self) -> Result<()> {
        match self.purpose {
            Purpose::Introduce => self.dry_run().map(drop),
            Purpose::Follow => Ok(()),
        }
    }

    fn look(&self, patience: Patience) -> Result<Option<Secret>> {
        let looks = if patience == Patience::None { 0 } else { PARSE_LOOKS };
        let real = self.real()?;
        // While it is written in place, or after that was stopped, it may show a token made of two.
        for backup in self.backups(&real) {
            if let Ok(Some(old)) = self.disk.read(&backup)
                && let Ok(token) = self.format.read(&old)
            {
                self.sightings.note(&real, token.as_ref(), self.format.places(&old));
                return Ok(token);
            }
        }
        Ok(self.read_whole(&real, looks)?.1)
    }

    fn settle(&self, decide: &mut Decide<'_>) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut locked: Option<(PathBuf, Lock)> = None;
        for _ in 0..ROUNDS {
            // A link may lead elsewhere by now.
            let real = self.real()?;
            if locked.as_ref().is_none_or(|(path, _)| *path != real) {
                drop(locked.take());
                locked = Some((real.clone(), self.lock(&real)?));
                self.recover(&real, decide, &mut settled.notices)?;
            }
            let (old, shown) = self.read_whole(&real, PARSE_LOOKS)?;
            let text = old.as_deref().unwrap_or_default();
            let new = match decide(shown.as_ref())? {
                Decision::Leave => return Ok(settled),
                Decision::Show(token) => self.with_token(old.as_deref(), &token),
                Decision::Clear => match self.format.clear(text) {
                    // Where there is no place for a token, there is none to take away, and no file to begin.
                    Err(Unfit::Nothing | Unfit::NoBlock { .. }) => return Ok(settled),
                    Ok(_) if old.is_none() => return Ok(settled),
                    cleared => cleared.map(|new| (new, Introduced::default())),
                },
            };
            let (new, introduced) = new.map_err(|unfit| self.unfit(&unfit))?;
            if old.as_ref() == Some(&new) {
                return Ok(settled);
            }
            match self.put(&real, old.as_deref(), &new).map_err(|error| self.failed("written", &error))? {
                Put::Changed => continue,
                Put::Replaced => {}
                Put::InPlace => settled.notices.push(Notice(format!(
                    "{} cannot be replaced in one go here, so it is written in place, with a backup beside it meanwhile.",
                    self.given.display()
                ))),
            }
            self.note(&real, &new, &self.format.read(&new));
            settled.written = true;
            settled.introduced = introduced;
            return Ok(settled);
        }
        Err(Error::new(
            ErrorCode::Store,
            format!(
                "{} is being written by somebody else all the time. It is tried again later.",
                self.given.display()
            ),
        ))
    }

    fn name(&self) -> String {
        self.given.display().to_string()
    }
}

/// Whether bytes are what a write of one text over another leaves when it is stopped: it never cuts first.
fn is_torn(there: &[u8], old: &[u8], new: &[u8]) -> bool {
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

/// What a file is called in a workshop until it is whole.
fn unfinished(workshop: &Path) -> PathBuf {
    sibling(workshop, ".tmp")
}

/// A path beside a file that people do not see.
pub(super) fn hidden_sibling(real: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(real.file_name().unwrap_or_default());
    name.push(".ring-auth");
    name.push(ending);
    real.with_file_name(name)
}

/// The files of exchanges that were stopped, and what each was to replace by what.
fn left_behind(workshop: &Path) -> Vec<(PathBuf, String, String)> {
    siblings(workshop, "-")
        .into_iter()
        .filter_map(|(path, digests)| {
            let (old, new) = digests.split_once('-')?;
            (is_digest(old) && is_digest(new)).then(|| (path, old.to_owned(), new.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::{Dotenv, Homebridge};
    use super::*;
    use crate::files::fault;
    use crate::files::{Moment, Probe};

    const CONFIG: &str = "{\r\n\t\"bridge\": {\"name\": \"H\"},\r\n\t\"platforms\": [{\"platform\": \"Ring\", \"refreshToken\": \"TOKEN\", \"x\": 1.10}]\r\n}";
    const OLD: &str = "old-token-0123456789";

    fn config(token: &str) -> String {
        CONFIG.replace("TOKEN", token)
    }

    fn mirror(folder: &Path, disk: Disk) -> FileMirror {
        let format = Box::new(Homebridge::default());
        FileMirror::new(folder.join("config.json"), format, None, disk, Purpose::Follow, Sightings::default())
    }

    fn begin() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config(OLD)).unwrap();
        (folder, path)
    }

    fn show(mirror: &FileMirror, token: &str) -> Result<Settled> {
        mirror.settle(&mut |_| Ok(Decision::Show(Secret::new(token))))
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
    struct At<F>(&'static str, Moment, Mutex<Option<F>>);

    impl<F: FnOnce() + Send> Probe for At<F> {
        fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
            if (call, moment) == (self.0, self.1)
                && let Some(work) = self.2.lock().unwrap().take()
            {
                work();
            }
            Ok(())
        }
    }

    fn at(call: &'static str, moment: Moment, work: impl FnOnce() + Send + 'static) -> Disk {
        struct Shared<F>(At<F>);
        impl<F: FnOnce() + Send> Probe for Shared<F> {
            fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
                self.0.at(call, path, moment)
            }
        }
        // What is done in a probe is no storage call of the mirror's.
        let work: Box<dyn FnOnce() + Send> = Box::new(work);
        Disk::with_probe(Arc::new(Shared(At(call, moment, Mutex::new(Some(work))))))
    }

    /// Replaces a file in one go, as careful editors do.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn save(path: &Path, text: &str) {
        let next = path.with_extension("editor");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, path).unwrap();
    }

    #[test]
    fn only_the_token_changes_and_what_came_out_is_gone_after_the_next_look() {
        let (folder, path) = begin();
        let mirror = mirror(folder.path(), Disk::default());
        for token in ["a", "a-much-longer-token-than-the-one-before-it", "b"] {
            assert!(show(&mirror, token).unwrap().written);
            assert_eq!(text(&path), config(token));
        }
        assert!(!show(&mirror, "b").unwrap().written);
        assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
        assert_eq!(names(&folder.path().join(".ring-auth")), [".gitignore", "config.json.lock"]);
    }

    #[cfg(unix)]
    #[cfg(unix)]
    #[test]
    fn nothing_is_made_beside_what_is_no_file_by_now() {
        let (folder, path) = begin();
        let elsewhere = tempfile::tempdir().unwrap();
        let socket = elsewhere.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let mirror = mirror(folder.path(), Disk::default());
        show(&mirror, "first-token-0123456789").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&socket, &path).unwrap();
        let error = show(&mirror, "second-token-0123456789").unwrap_err();
        assert_eq!(error.code(), ErrorCode::Store);
        let says =
            format!("{} is a socket by now, and no file that can show a token. Put the file back.", path.display());
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
            let real = elsewhere.join("c.json");
            std::fs::rename(&path, &real).unwrap();
            std::os::unix::fs::symlink("real/c.json", &path).unwrap();
            std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode)).unwrap();
            show(&mirror(folder.path(), Disk::default()), "new").unwrap();
            assert!(path.is_symlink());
            assert_eq!(text(&real), config("new"));
            assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o7777, mode);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_may_read_it_may_change_at_any_moment_and_is_kept() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        for (call, moment) in [("read", Moment::After), ("chown", Moment::After), ("rename", Moment::Before)] {
            let (folder, path) = begin();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let changed = path.clone();
            let disk = at(call, moment, move || {
                std::fs::set_permissions(&changed, std::fs::Permissions::from_mode(0o600)).unwrap();
                let _ = rustix::fs::setxattr(&changed, "user.later", b"yes", rustix::fs::XattrFlags::empty());
            });
            show(&mirror(folder.path(), disk), "new").unwrap();
            assert_eq!(text(&path), config("new"));
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
        let settled = show(&mirror(folder.path(), Disk::default()), "new").unwrap();
        assert_eq!(text(&other), config("new"));
        assert!(settled.notices[0].0.contains("in place"));
        assert_eq!(names(folder.path()), [".ring-auth", "config.json", "other-name"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_nobody_may_write_is_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, path) = begin();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
        let mirror = mirror(folder.path(), Disk::default());
        let error = show(&mirror, "new").unwrap_err();
        assert_eq!(error.code(), ErrorCode::Store);
        assert_eq!(text(&path), config(OLD));
        assert!(mirror.dry_run().is_err(), "known before a login");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        mirror.dry_run().unwrap();
        assert_eq!(text(&path), config(OLD), "a dry run writes nothing");
        show(&mirror, "new").unwrap();
        assert_eq!(text(&path), config("new"));
    }

    #[test]
    fn what_does_not_parse_is_left_alone() {
        let (folder, path) = begin();
        for bad in ["", "{", "// hello\n{}", "[]", "{\"platforms\": []}"] {
            std::fs::write(&path, bad).unwrap();
            let error = show(&mirror(folder.path(), Disk::default()), "new").unwrap_err();
            assert_eq!(error.code(), ErrorCode::Store);
            assert_eq!(text(&path), bad);
        }
    }

    #[test]
    fn an_editor_in_the_middle_of_writing_is_waited_for() {
        let (folder, path) = begin();
        let whole = config(OLD);
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let ends = path.clone();
        let editor = std::thread::spawn(move || {
            sleep(LOOK * 2);
            std::fs::write(ends, whole).unwrap();
        });
        show(&mirror(folder.path(), Disk::default()), "new").unwrap();
        editor.join().unwrap();
        assert_eq!(text(&path), config("new"));
    }

    /// Only where files can be exchanged: elsewhere the last look comes before the rename.
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    #[test]
    fn an_editor_that_is_faster_at_any_moment_loses_nothing() {
        let theirs = config(OLD).replace("1.10", "2.20");
        let moments = [
            ("read", Moment::After),
            ("create", Moment::Before),
            ("rename", Moment::Before),
            ("exchange", Moment::Before),
            ("exchange", Moment::After),
        ];
        for (call, moment) in moments {
            let (folder, path) = begin();
            let (edited, saved) = (path.clone(), theirs.clone());
            let disk = at(call, moment, move || save(&edited, &saved));
            let mirror = mirror(folder.path(), disk);
            show(&mirror, "new").unwrap();
            // After the exchange it replaces ours: the second look sees that.
            show(&mirror, "new").unwrap();
            show(&mirror, "new").unwrap();
            assert_eq!(text(&path), theirs.replace(OLD, "new"), "{call} {moment:?}");
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"], "{call} {moment:?}");
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
        let [first, second] = ["2.20", "3.30"].map(|number| config(OLD).replace("1.10", number));
        let moves = Mutex::new(vec![("exchange", Moment::After, second.clone()), ("exchange", Moment::Before, first)]);
        let mirror = mirror(folder.path(), Disk::with_probe(Arc::new(Editor(moves, path.clone()))));
        show(&mirror, "new").unwrap();
        show(&mirror, "new").unwrap();
        assert_eq!(text(&path), second.replace(OLD, "new"));
        assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
    }

    #[test]
    fn an_editor_that_had_the_file_open_loses_nothing() {
        use std::io::{Seek, Write};
        let (folder, path) = begin();
        let mut open = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let mirror = mirror(folder.path(), Disk::default());
        show(&mirror, "new").unwrap();
        let theirs = config(OLD).replace("1.10", "2.20");
        open.rewind().unwrap();
        open.write_all(theirs.as_bytes()).unwrap();
        show(&mirror, "new").unwrap();
        assert_eq!(text(&path), theirs.replace(OLD, "new"));
        assert_eq!(mirror.settle(&mut |_| Ok(Decision::Leave)).unwrap(), Settled::default());
        assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
    }

    #[test]
    fn a_new_env_file_is_private_and_whoever_was_faster_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let open = |disk| {
            let format = Box::new(Dotenv::default());
            let state_path = Some(folder.path().to_owned());
            FileMirror::new(path.clone(), format, state_path, disk, Purpose::Follow, Sightings::default())
        };
        let theirs = path.clone();
        let mirror = open(at("link", Moment::Before, move || std::fs::write(theirs, "A=1\n").unwrap()));
        show(&mirror, "t").unwrap();
        assert_eq!(text(&path), "A=1\nRING_REFRESH_TOKEN=t\n");
        std::fs::remove_file(&path).unwrap();
        show(&open(Disk::default()), "t").unwrap();
        assert_eq!(text(&path), "RING_REFRESH_TOKEN=t\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_that_was_not_there_has_one_name_and_its_editors_are_not_taken_for_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let (format, sightings) = (Box::new(Dotenv::default()), Sightings::default());
        let mirror = FileMirror::new(path.clone(), format, None, Disk::default(), Purpose::Follow, sightings);
        show(&mirror, "t").unwrap();
        // As `echo A=1 >> .env` does it.
        let mut open = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut open, b"A=1\n").unwrap();
        assert_eq!(show(&mirror, "u").unwrap().notices, []);
        assert_eq!(mirror.settle(&mut |_| Ok(Decision::Leave)).unwrap(), Settled::default());
        assert_eq!(text(&path), "RING_REFRESH_TOKEN=u\nA=1\n");
        assert_eq!(names(folder.path()), [".env", ".ring-auth"]);
    }

    #[test]
    fn what_came_out_waits_in_the_folder_that_nobody_commits() {
        let (folder, path) = begin();
        let mirror = mirror(folder.path(), Disk::default());
        show(&mirror, "new").unwrap();
        assert_eq!(text(&path), config("new"));
        assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_write_in_place_that_finds_no_space_is_taken_back() {
        /// Lets half of each write of a longer text through, as a disk that fills up does.
        #[derive(Default)]
        struct Full(Mutex<bool>);
        impl Probe for Full {
            fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
                if !path.ends_with("config.json") {
                    return Ok(());
                }
                match (call, moment) {
                    ("exchange", Moment::Before) => Err(io::Error::from_raw_os_error(16)),
                    // Every other one brings the old text back.
                    ("write", Moment::Middle) if !std::mem::replace(&mut *self.0.lock().unwrap(), true) => {
                        Err(io::Error::from_raw_os_error(28))
                    }
                    ("write", Moment::After) => {
                        *self.0.lock().unwrap() = false;
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
        let (folder, path) = begin();
        let long = "x".repeat(1000);
        let full = mirror(folder.path(), Disk::with_probe(Arc::new(Full::default())));
        for _ in 0..2 {
            assert!(show(&full, &long).unwrap_err().message().contains("Free some space"));
            assert_eq!(text(&path), config(OLD));
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
        }
        show(&mirror(folder.path(), Disk::default()), &long).unwrap();
        assert_eq!(text(&path), config(&long));
    }

    #[test]
    fn two_processes_take_turns() {
        let (folder, path) = begin();
        let turns: Vec<_> = (0..4)
            .map(|who| {
                let folder = folder.path().to_owned();
                std::thread::spawn(move || {
                    let mirror = mirror(&folder, Disk::default());
                    for turn in 0..25 {
                        show(&mirror, &format!("token-{who}-{turn}")).unwrap();
                    }
                })
            })
            .collect();
        for turn in turns {
            turn.join().unwrap();
        }
        show(&mirror(folder.path(), Disk::default()), "last").unwrap();
        assert_eq!(text(&path), config("last"));
    }

    /// The process is gone from a moment on: nothing more is done. Refuses some calls before that, with an errno.
    struct Gone {
        left: Mutex<usize>,
        refused: Vec<(&'static str, i32)>,
    }

    impl Probe for Gone {
        fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
            let mut left = self.left.lock().unwrap();
            if *left == 0 {
                return Err(fault(5));
            }
            *left -= 1;
            let of_config = path.file_name().is_some_and(|name| name == "config.json");
            match self.refused.iter().find(|(refused, _)| *refused == call) {
                Some((_, errno)) if moment == Moment::Before && of_config => Err(fault(*errno)),
                _ => Ok(()),
            }
        }
    }

    /// Stops at every moment of every call, then starts anew. Says how many there were.
    fn stop_everywhere(refused: &[(&'static str, i32)], new: &str, whole_throughout: bool) -> usize {
        let mut stops = 0;
        loop {
            let (folder, path) = begin();
            let gone = Arc::new(Gone { left: Mutex::new(stops), refused: refused.to_vec() });
            let done = show(&mirror(folder.path(), Disk::with_probe(Arc::clone(&gone) as Arc<_>)), new).is_ok();
            if whole_throughout {
                let left = text(&path);
                assert!(left == config(OLD) || left == config(new), "after {stops}: {left}");
            }
            let after = mirror(folder.path(), Disk::default());
            let mut decide = |shown: Option<&Secret>| {
                let shown = shown.map(|token| token.expose().to_owned());
                assert!(shown.as_deref() == Some(OLD) || shown.as_deref() == Some(new), "after {stops}: {shown:?}");
                Ok(if shown.as_deref() == Some(new) { Decision::Leave } else { Decision::Show(Secret::new(new)) })
            };
            after.settle(&mut decide).unwrap();
            after.settle(&mut decide).unwrap();
            assert_eq!(text(&path), config(new), "after {stops}");
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"], "after {stops}");
            let mut ours = names(&folder.path().join(".ring-auth"));
            // Stopped before it was made, it is missing for good.
            ours.retain(|name| name != ".gitignore");
            assert_eq!(ours, ["config.json.lock"], "after {stops}");
            if done {
                return stops;
            }
            stops += 1;
        }
    }

    const TOKENS: [&str; 4] =
        ["new-token-9876543210", "new", "a-token-that-is-longer-than-the-old-one", "old-token-0123456780"];

    #[test]
    fn stopped_anywhere_the_file_is_whole_and_the_next_start_puts_it_right() {
        for new in TOKENS {
            assert!(stop_everywhere(&[], new, true) > 30);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn stopped_anywhere_where_two_files_cannot_change_places() {
        for new in TOKENS {
            // EINVAL is how a file system says that it has no such thing; the probe cannot, so the rename is refused as well.
            assert!(stop_everywhere(&[("exchange", 16), ("rename", 16)], new, false) > 30);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_replaced_is_written_in_place_and_said() {
        // EBUSY, EXDEV, EPERM, EACCES
        for errno in [16, 18, 1, 13] {
            let (folder, path) = begin();
            let probe = Gone { left: Mutex::new(usize::MAX), refused: vec![("exchange", errno)] };
            let mirror = mirror(folder.path(), Disk::with_probe(Arc::new(probe)));
            for new in TOKENS {
                let settled = show(&mirror, new).unwrap();
                assert!(settled.notices[0].0.contains("in place"), "{errno}");
                assert_eq!(text(&path), config(new));
            }
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"]);
        }
    }

    /// Refuses some calls, with an errno.
    #[cfg(target_os = "linux")]
    struct Refuses(Vec<(&'static str, i32)>);

    #[cfg(target_os = "linux")]
    impl Probe for Refuses {
        fn at(&self, call: &'static str, _: &Path, moment: Moment) -> io::Result<()> {
            match self.0.iter().find(|(refused, _)| *refused == call && moment == Moment::Before) {
                Some((_, errno)) => Err(io::Error::from_raw_os_error(*errno)),
                None => Ok(()),
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_dry_run_knows_what_a_change_will_meet() {
        let (eperm, eacces, enospc) = (1, 13, 28);
        let cases = [
            (vec![], true),
            (vec![("create", enospc)], false),
            (vec![("write", enospc)], false),
            (vec![("sync", enospc)], false),
            (vec![("rename", enospc)], false),
            // Whoever may not give a file its owner writes into the one that has it, if that may be done.
            (vec![("chown", eperm)], true),
            (vec![("chown", eperm), ("open", eacces)], false),
            (vec![("rename", eacces), ("open", eacces)], false),
            (vec![("create", eacces)], false),
        ];
        for (refused, can_be_written) in cases {
            let (folder, path) = begin();
            let mirror = mirror(folder.path(), Disk::with_probe(Arc::new(Refuses(refused.clone()))));
            assert_eq!(mirror.dry_run().is_ok(), can_be_written, "{refused:?}");
            assert_eq!(text(&path), config(OLD), "{refused:?}");
            assert_eq!(names(folder.path()), [".ring-auth", "config.json"], "{refused:?}");
            let ours = names(&folder.path().join(".ring-auth"));
            assert!(ours.iter().all(|name| [".gitignore", "config.json.lock"].contains(&name.as_str())), "{ours:?}");
            assert_eq!(show(&mirror, "new").is_ok(), can_be_written, "{refused:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_dry_run_leaves_alone_what_a_stopped_write_left_behind() {
        let (folder, path) = begin();
        std::fs::hard_link(&path, folder.path().join("other-name")).unwrap();
        let mirror = mirror(folder.path(), Disk::default());
        show(&mirror, OLD).unwrap();
        let [backup, _] = mirror.backups(&path);
        std::fs::write(&backup, config("the-only-whole-one")).unwrap();
        mirror.dry_run().unwrap();
        assert_eq!(text(&backup), config("the-only-whole-one"));
        assert_eq!(text(&path), config(OLD));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_failing_call_leaves_the_file_whole_and_is_said() {
        // ENOSPC, EIO, EDQUOT
        for errno in [28, 5, 122] {
            for call in ["create", "write", "chown", "sync", "rename", "exchange", "sync-dir"] {
                let (folder, path) = begin();
                let disk = Disk::with_probe(Arc::new(Refuses(vec![(call, errno)])));
                let error = show(&mirror(folder.path(), disk), "new").unwrap_err();
                assert_eq!(error.code(), ErrorCode::Store, "{call} {errno}");
                let left = text(&path);
                assert!(left == config(OLD) || left == config("new"), "{call} {errno}");
                show(&mirror(folder.path(), Disk::default()), "new").unwrap();
                show(&mirror(folder.path(), Disk::default()), "new").unwrap();
                assert_eq!(text(&path), config("new"));
                assert_eq!(names(folder.path()), [".ring-auth", "config.json"], "{call} {errno}");
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
}
