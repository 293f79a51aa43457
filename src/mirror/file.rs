//! A mirror that is a file: changed whole, under a lock, and never over what somebody else has just written.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::format::{Format, Unfit};
use super::{Decide, Decision, Introduced, Mirror, Patience, Purpose, Settled};
use crate::files::lock::{Lock, sibling};
use crate::files::platform::{self, Ownership};
use crate::files::{Disk, make_folder, replace, resolve};
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
    /// The path that lock and backup are named after, in the journal's folder.
    beside: PathBuf,
    disk: Disk,
    purpose: Purpose,
}

/// How an attempt to change a file ended.
enum Put {
    Replaced,
    InPlace,
    /// Somebody else changed it meanwhile: nothing of theirs was overwritten.
    Changed,
}

impl FileMirror {
    /// A file at a path, with its lock and its backup named after another one.
    pub(super) fn new(given: PathBuf, format: Box<dyn Format>, beside: PathBuf, disk: Disk, purpose: Purpose) -> Self {
        Self { given, format, beside, disk, purpose }
    }

    /// Whether a token could be shown, as far as can be seen without showing one: for a login, before Ring sends a code.
    /// Says what would be changed beyond the token.
    ///
    /// # Errors
    ///
    /// As for [`Mirror::settle`].
    pub fn rehearse(&self) -> Result<Introduced> {
        let _lock = self.lock()?;
        let real = self.real()?;
        let (text, _) = self.read_whole(&real, PARSE_LOOKS)?;
        let (_, introduced) =
            self.format.introduce(text.as_deref(), &Secret::new("rehearsal")).map_err(|unfit| self.unfit(&unfit))?;
        self.try_writing(&real, text.is_some()).map_err(|error| self.failed("written", &error))?;
        Ok(introduced)
    }

    fn try_writing(&self, real: &Path, exists: bool) -> io::Result<()> {
        let disk = &self.disk;
        if let Some(there) = disk.metadata(real)?
            && platform::is_read_only(&there)
        {
            return Err(read_only());
        }
        let unfinished = hidden_sibling(real, ".tmp");
        let made = disk.remove(&unfinished).and_then(|()| disk.create(&unfinished)).map(drop);
        let _ = disk.remove(&unfinished);
        match made {
            Err(error) if exists && platform::means_irreplaceable(&error) => disk.open_for_writing(real).map(drop),
            made => made,
        }
    }

    fn real(&self) -> Result<PathBuf> {
        resolve(&self.given).map_err(|error| self.failed("found", &error))
    }

    fn failed(&self, verb: &str, error: &io::Error) -> Error {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "Free some space on that disk.",
            io::ErrorKind::PermissionDenied => "Give this user the right to read and write it.",
            io::ErrorKind::ReadOnlyFilesystem => "Mount it so that it can be written.",
            _ => "Look at the disk, and at who owns the file.",
        };
        Error::new(ErrorCode::Store, format!("{} cannot be {verb}. {hint}", self.given.display())).with_cause(error)
    }

    fn unfit(&self, unfit: &Unfit) -> Error {
        let code = match unfit {
            Unfit::Several { .. } => ErrorCode::InvalidArgument,
            _ => ErrorCode::Store,
        };
        Error::new(code, format!("{}: {unfit}", self.given.display()))
    }

    fn read(&self, real: &Path) -> Result<Option<Vec<u8>>> {
        self.disk.read(real).map_err(|error| self.failed("read", &error))
    }

    /// The bytes and the token in them, once they parse, with so many looks more.
    fn read_whole(&self, real: &Path, mut looks: u32) -> Result<(Option<Vec<u8>>, Option<Secret>)> {
        loop {
            let bytes = self.read(real)?;
            match self.format.read(bytes.as_deref().unwrap_or_default()) {
                Ok(token) => return Ok((bytes, token)),
                Err(Unfit::Nothing | Unfit::NoBlock { .. })
                    if self.purpose == Purpose::Introduce && bytes.is_some() =>
                {
                    return Ok((bytes, None));
                }
                // An editor that writes in place has cut it, and will go on.
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

    fn lock(&self) -> Result<Lock> {
        if let Some(folder) = self.beside.parent()
            && !folder.is_dir()
        {
            make_folder(&self.disk, folder).map_err(|error| self.failed("locked", &error))?;
        }
        for _ in 0..LOCK_LOOKS {
            if let Some(lock) = Lock::try_take(&self.disk, &self.beside)? {
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
        let Some((old, there)) = old.zip(there.as_ref()) else { return self.exchange(real, None, new) };
        if platform::is_read_only(there) {
            return Err(read_only());
        }
        if platform::has_other_names(there) {
            return self.put_in_place(real, old, new);
        }
        match self.exchange(real, Some((old, there)), new) {
            Err(error) if platform::means_irreplaceable(&error) => self.put_in_place(real, old, new),
            other => other,
        }
    }

    /// Lets a whole new file take the place of the old one, and looks at what comes out.
    fn exchange(&self, real: &Path, old: Option<(&[u8], &Metadata)>, new: &[u8]) -> io::Result<Put> {
        let disk = &self.disk;
        let unfinished = hidden_sibling(real, ".tmp");
        let former = old.map_or(&[][..], |(bytes, _)| bytes);
        let whole = hidden_sibling(real, &format!("-{}-{}", digest(former), digest(new)));
        let made = (|| {
            disk.remove(&unfinished)?;
            let file = disk.create(&unfinished)?;
            disk.write(&file, &unfinished, 0, new)?;
            if let Some((_, there)) = old {
                disk.set_ownership(&file, &unfinished, Ownership::exactly(there))?;
            }
            disk.sync(&file, &unfinished)?;
            // Whoever finds a file by this name knows that it is whole, and what it was to replace.
            disk.rename(&unfinished, &whole)
        })();
        if let Err(error) = made {
            let _ = disk.remove(&unfinished);
            return Err(error);
        }
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
                Ok(()) => Ok(Put::Replaced),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Changed),
                Err(_) => disk.rename(whole, real).map(|()| Put::Replaced),
            };
        };
        if disk.read(real)?.as_deref() != Some(old) {
            return Ok(Put::Changed);
        }
        // What is compared last is compared fast: the shorter this takes, the less can come between.
        if !disk.metadata(real)?.is_some_and(|now| platform::is_unchanged(there, &now)) {
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
            let kept = (|| {
                disk.remove(&backup)?;
                let file = disk.create(&backup)?;
                disk.write(&file, &backup, 0, old)?;
                disk.sync(&file, &backup)?;
                replace::sync_folder(disk, &backup)
            })();
            if let Err(error) = kept {
                let _ = disk.remove(&backup);
                refused = error;
                continue;
            }
            if disk.read(real)?.as_deref() != Some(old) {
                disk.remove(&backup)?;
                return Ok(Put::Changed);
            }
            // Where this fails the backup stays: it may be the only whole one.
            replace::write_over(disk, real, new)?;
            disk.remove(&backup)?;
            return Ok(Put::InPlace);
        }
        Err(refused)
    }

    /// Where a backup can lie: beside the file, and where the journal is.
    fn backups(&self, real: &Path) -> [PathBuf; 2] {
        [hidden_sibling(real, ".backup"), sibling(&self.beside, ".backup")]
    }

    /// Mends what a process left behind that was stopped in the middle of a change.
    fn recover(&self, real: &Path, decide: &mut Decide<'_>, notices: &mut Vec<Notice>) -> Result<()> {
        for (path, old, new) in left_behind(real) {
            self.recover_exchange(real, &path, (&old, &new), notices).map_err(|error| self.failed("mended", &error))?;
        }
        let _ = self.disk.remove(&hidden_sibling(real, ".tmp"));
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
        let found = digest(&bytes);
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
        if there.as_deref().map(digest).as_deref() == Some(new) && looks > 0 {
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
                replace::write_over(&self.disk, real, intended.as_deref().unwrap_or(old)).map_err(failed)?;
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
    fn is_at_hand(&self) -> bool {
        true
    }

    fn look(&self, patience: Patience) -> Result<Option<Secret>> {
        let looks = if patience == Patience::None { 0 } else { PARSE_LOOKS };
        Ok(self.read_whole(&self.real()?, looks)?.1)
    }

    fn settle(&self, decide: &mut Decide<'_>) -> Result<Settled> {
        let _lock = self.lock()?;
        let mut settled = Settled::default();
        let real = self.real()?;
        self.recover(&real, decide, &mut settled.notices)?;
        for _ in 0..ROUNDS {
            // A link may lead elsewhere by now.
            let real = self.real()?;
            let (old, shown) = self.read_whole(&real, PARSE_LOOKS)?;
            let text = old.as_deref().unwrap_or_default();
            let new = match decide(shown.as_ref())? {
                Decision::Leave => return Ok(settled),
                Decision::Show(token) => self.with_token(old.as_deref(), &token),
                Decision::Clear => self.format.clear(text).map(|new| (new, Introduced::default())),
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

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "nobody may write it")
}

/// A path beside a file that people do not see.
fn hidden_sibling(real: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(real.file_name().unwrap_or_default());
    name.push(".ring-auth");
    name.push(ending);
    real.with_file_name(name)
}

/// Enough of a digest to tell two versions of a file apart.
fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut part = [0; 8];
    part.copy_from_slice(&digest[..8]);
    format!("{:016x}", u64::from_be_bytes(part))
}

/// The files of exchanges that were stopped, and what each was to replace by what.
fn left_behind(real: &Path) -> Vec<(PathBuf, String, String)> {
    let prefix = hidden_sibling(real, "-");
    let Some(folder) = real.parent() else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let prefix = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.strip_prefix(&prefix)?.to_owned();
            let (old, new) = name.split_once('-')?;
            let is_digest = |part: &str| part.len() == 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            (is_digest(old) && is_digest(new)).then(|| (path.clone(), old.to_owned(), new.to_owned()))
        })
        .collect()
}
