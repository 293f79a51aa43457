//! The journal as a file.

mod damaged;
mod guard;
mod newest;
mod write;

pub(super) use guard::FileGuard;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::newest::Damage;
use super::codec::Codec;
use super::ours::{self, Named};
use super::state::State;
use super::{Guard, Stamp, Store, origin};
use crate::files::lock::Lock;
use crate::files::names::{sibling, stand_ins_if_there};
use crate::files::whereabouts::{self, Whereabouts};
use crate::files::{Disk, Folder, check_text, is_folder, kind, make_folder_of, resolve, unusable};
use crate::looks::Look;
use crate::{Error, ErrorCode, Result};

/// The places of whole copies while the journal is being written. There are three, so that one can keep a copy that could not be moved
/// while the other two are in use.
pub(super) const SLOTS: [&str; 3] = [".next", ".tmp", ".spare"];
/// The numbers that can follow the name of a place if a file of another program has that name.
const OTHER_NAMES: std::ops::RangeInclusive<u32> = 2..=9;
/// The endings of copies in the user's private folder, for a journal beside which no file can be made. There are two,
/// so that the only copy is not removed to make the next one.
const STAND_INS: [&str; 2] = [".copy", ".copy-2"];
/// The number of times that a reader without the lock reads a torn journal again. `LOOK` is the wait between two reads.
const LOOKS: u32 = 3;
const LOOK: Duration = Duration::from_millis(5);

/// One journal file at one path, which only its owner can read. A whole copy of it is on the disk at every moment.
#[derive(Clone)]
pub(super) struct JournalFile {
    shared: Arc<Shared>,
}

struct Shared {
    given: PathBuf,
    real: OnceLock<PathBuf>,
    codec: Codec,
    disk: Disk,
    folder: Folder,
    named: Named,
    /// The last path of the journal.
    home: Whereabouts,
}

impl JournalFile {
    /// Opens the journal at a path for tokens of that issuer. Reads and makes nothing yet.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the path cannot be that of a file.
    pub(super) fn open(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Self::at(&path.into(), codec.into(), disk, (Folder::Given, Named::ByPerson))
    }

    /// Opens the journal at a path whose name this package derived, in a folder that the user gave for journals. The
    /// file is ours, whatever its content.
    ///
    /// # Errors
    ///
    /// As for [`JournalFile::open`].
    pub(super) fn open_in_state_folder(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Self::at(&path.into(), codec.into(), disk, (Folder::Given, Named::ByUs))
    }

    /// Opens the journal at a path whose name this package derived, in a folder that contains only journals. The folder
    /// is made with a file that keeps it out of git.
    ///
    /// # Errors
    ///
    /// As for [`JournalFile::open`].
    pub(super) fn open_in_own_folder(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Self::at(&path.into(), codec.into(), disk, (Folder::Own, Named::ByUs))
    }

    /// Opens a journal of the same kind at another path.
    ///
    /// # Errors
    ///
    /// As for [`JournalFile::open`].
    pub(super) fn open_elsewhere(&self, path: &Path) -> Result<Self> {
        let Shared { codec, disk, folder, named, .. } = &*self.shared;
        Self::at(path, codec.clone(), disk.clone(), (*folder, *named))
    }

    /// Checks that there is no file of another program at the path, before a file is made beside it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if there is one, `STORE` if the file cannot be read.
    pub(super) fn check(&self) -> Result<()> {
        let shared = self.shared.entering();
        shared.check_content(shared.real()?)
    }

    /// Forgets failures of the key sources, so that the keys are asked for again.
    pub(super) fn ask_again(&self) {
        self.shared.codec.retry();
    }

    /// The absolute path of the journal, before links are followed.
    pub(super) fn path(&self) -> &Path {
        &self.shared.given
    }

    fn at(path: &Path, codec: Codec, disk: Disk, (folder, named): (Folder, Named)) -> Result<Self> {
        if path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::invalid("The store's path is empty or has a NUL in it. Give the path of a file."));
        }
        check_text(path)?;
        if is_folder(path) {
            return Err(Error::invalid(format!(
                "The store's path {} is a folder. Give the path of a file in it, for example {}.",
                path.display(),
                path.join("ring-auth.json").display()
            )));
        }
        if let Some(kind) = kind::at(path) {
            return Err(no_file(path, kind));
        }
        let given = std::path::absolute(path).map_err(|error| {
            Error::invalid(format!("The store's path {} cannot be made absolute.", path.display())).with_cause(error)
        })?;
        let shared = Shared { given, real: OnceLock::new(), codec, disk, folder, named, home: Whereabouts::default() };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// The journal for one transaction. Its links are resolved anew each time, because they may be retargeted before
    /// the next one.
    fn entering(&self) -> Arc<Self> {
        let real = resolve(&self.given).ok();
        Arc::new(Self {
            given: self.given.clone(),
            codec: self.codec.clone(),
            disk: real.iter().fold(self.disk.clone(), |disk, real| disk.or_for_owner_of(real)),
            // If the path could not be resolved, `real` tries again and reports the error.
            real: real.map_or_else(OnceLock::new, OnceLock::from),
            folder: self.folder,
            named: self.named,
            home: self.home.clone(),
        })
    }

    /// The path of the file behind all links, so that all processes lock and replace the same file.
    fn real(&self) -> Result<&Path> {
        if let Some(path) = self.real.get() {
            return Ok(path);
        }
        let resolved = resolve(&self.given).map_err(|error| self.failed("found", &error))?;
        Ok(self.real.get_or_init(|| resolved))
    }

    fn failed(&self, verb: &str, error: &io::Error) -> Error {
        unusable(format_args!("The journal {}", self.given.display()), verb, error)
    }

    /// Checks that the file at the path of the journal is ours.
    fn check_content(&self, real: &Path) -> Result<()> {
        let unreadable = |error: io::Error| match kind::at(real) {
            Some(kind) => no_file(&self.given, kind),
            None => self.failed("read", &error),
        };
        let Some(start) = self.disk.read_start(real, ours::LONGEST_SIGNATURE).map_err(unreadable)? else {
            return Ok(());
        };
        if ours::begins_with_signature(&start) {
            return Ok(());
        }
        match self.disk.read_most(real).map_err(unreadable)? {
            Some(bytes) => self.judge(real, &bytes),
            None => Ok(()),
        }
    }

    fn judge(&self, real: &Path, bytes: &[u8]) -> Result<()> {
        ours::judge_journal(bytes, self.named, (self.codec.issuer(), &name_of(real)), || self.is_beside_ours(real))
            .map_err(|look| not_ours(&self.given, look))
    }

    /// Whether a copy of the journal lies beside it.
    fn is_beside_ours(&self, real: &Path) -> bool {
        let is_copy = |bytes: &[u8]| {
            ours::carries_signature(bytes) && ours::is_copy(bytes, (self.codec.issuer(), &name_of(real)))
        };
        let slots = self.slots(real).unwrap_or_default();
        slots.iter().any(|slot| matches!(self.disk.read_most(slot), Ok(Some(bytes)) if is_copy(&bytes)))
    }

    /// Whether a file in the place of a copy may be removed. The caller checks it right before that, because another program may have put
    /// a file there meanwhile.
    fn may_remove(&self, real: &Path, slot: &Path) -> bool {
        match self.disk.read(slot) {
            Ok(Some(bytes)) => ours::is_copy(&bytes, (self.codec.issuer(), &name_of(real))),
            Ok(None) => true,
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied && self.is_empty(slot),
        }
    }

    fn is_empty(&self, slot: &Path) -> bool {
        matches!(self.disk.metadata(slot), Ok(Some(there)) if there.len() == 0)
    }

    /// The paths at which a copy of the journal may be.
    fn slots(&self, real: &Path) -> Result<Vec<PathBuf>> {
        let others: Vec<PathBuf> = OTHER_NAMES
            .flat_map(|number| SLOTS.iter().map(move |slot| sibling(real, &format!("{slot}-{number}"))))
            .collect();
        let others = self.disk.which_exist(real, others).map_err(|error| self.failed("read", &error))?;
        Ok(SLOTS
            .iter()
            .map(|slot| sibling(real, slot))
            .chain(others)
            .chain(stand_in_copies(&self.disk, real))
            .collect())
    }

    /// Checks whether the journal may be made at its path. A journal that is gone may be made again in its former
    /// folder, but not in the place of a volume that is not mounted any more. Returns whether there was a journal that
    /// is gone.
    ///
    /// # Errors
    ///
    /// `STORE` if the journal may not be made.
    fn check_home(&self, real: &Path) -> Result<bool> {
        match self.home.find(real, self.folder) {
            whereabouts::Found::There => Ok(false),
            whereabouts::Found::Gone => Ok(true),
            whereabouts::Found::Unreachable(what) => Err(Error::new(
                ErrorCode::Store,
                format!(
                    "The journal {} is gone: {what}. The token is in memory and nothing is sent until the folder is back. Mount the volume, or give the folder its former name.",
                    self.given.display()
                ),
            )),
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
            "The journal {} holds tokens of {issuer}, but oauthUrl is {}. Use another store for this server, or give the other one as oauthUrl (RING_AUTH_OAUTH_URL). Nothing was sent.",
            self.given.display(),
            self.codec.issuer()
        ))
    }
}

/// The name of the journal's file, which its text contains.
fn name_of(real: &Path) -> String {
    real.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn no_file(path: &Path, kind: &str) -> Error {
    Error::invalid(format!(
        "{} is not a file of ring-auth; it is {kind}. Give the path of a regular file. Nothing was changed.",
        path.display()
    ))
}

fn not_ours(path: &Path, look: Look) -> Error {
    let meant = match look {
        Look::HomebridgeConfig => ": did you mean the store type 'homebridge'?",
        Look::Dotenv => ": did you mean the store type 'dotenv'?",
        Look::OtherToolsState => ". Give another path, and the token in that file as refreshToken.",
        Look::Zeros | Look::Blank => ". If no program needs it, delete it and try again.",
        _ => ". Give another path.",
    };
    Error::invalid(format!(
        "{} is not a file of ring-auth; it looks like {look}{meant} Nothing was changed.",
        path.display()
    ))
}

impl JournalFile {
    /// Reads the state as it was written, without the lock.
    pub(super) fn peek_as_written(&self) -> Result<Option<State>> {
        let shared = self.shared.entering();
        let mut newest = shared.newest()?;
        for _ in 0..LOOKS {
            if !matches!(newest.damage, Some(Damage::Useless | Damage::Salvaged { .. })) {
                break;
            }
            // Another process may be writing the journal in place, because this one does not hold the lock.
            sleep(LOOK);
            newest = shared.newest()?;
        }
        Ok(newest.state)
    }

    /// Takes the lock of a journal that exists. Makes no file but the lock.
    pub(super) fn try_enter(&self) -> Result<Option<FileGuard>> {
        Self::lock_at(self.shared.entering())
    }

    fn lock_at(shared: Arc<Shared>) -> Result<Option<FileGuard>> {
        let lock = Lock::try_take_with_file(&shared.disk, shared.real()?)?;
        Ok(lock.map(|lock| FileGuard::new(shared, lock)))
    }
}

impl Store for JournalFile {
    fn peek(&self) -> Result<Option<State>> {
        let found = self.peek_as_written()?;
        if found.as_ref().is_none_or(State::is_at_home) {
            return Ok(found);
        }
        let shared = self.shared.entering();
        let real = shared.real()?;
        Ok(found.map(|state| origin::as_it_counts(real, &shared.disk, &shared.codec, state)))
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let shared = self.shared.entering();
        shared.check_content(shared.real()?)?;
        shared.check_home(shared.real()?)?;
        make_folder_of(&shared.disk, &shared.given, shared.folder)
            .map_err(|error| shared.failed("made: its folder is missing", &error))?;
        Ok(Self::lock_at(shared)?.map(|guard| Box::new(guard) as Box<dyn Guard>))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        // The stamp is that of the file behind the links, because the journal is read there.
        Some(Stamp::of(self.shared.disk.metadata_behind_links(&self.shared.given).ok().flatten().as_ref()))
    }

    fn is_shut(&self) -> bool {
        self.shared.codec.is_shut()
    }

    fn name(&self) -> String {
        self.shared.given.display().to_string()
    }
}

/// The copies in private folders of the user. A process may have left one there if it could make no file beside the
/// journal.
fn stand_in_copies(disk: &Disk, real: &Path) -> Vec<PathBuf> {
    STAND_INS.iter().flat_map(|ending| stand_ins_if_there(disk, real, ending)).collect()
}

/// The time by the wall clock, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    super::state::millis(now)
}

#[cfg(test)]
mod tests;
