//! The journal as a file.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::codec::{Codec, Form, Locked, Opened, Shut, Step};
use super::format::{self, Unreadable};
use super::id::JournalId;
use super::ours::{self, Named};
use super::seal::Header;
use super::state::{Known, Mark, Remains, State};
use super::{Begun, Claim, Found, Guard, Notice, Stamp, Store, origin};
use crate::files::lock::Lock;
use crate::files::names::{sibling, siblings, stand_in, stand_ins_if_there};
use crate::files::platform::{self, Ownership};
use crate::files::replace::{self, Room, Way};
use crate::files::whereabouts::{self, Whereabouts};
use crate::files::{Disk, Folder, check_text, kind, make_folder_of, resolve, unusable};
use crate::looks::Look;
use crate::token::Fingerprint;
use crate::{Error, ErrorCode, Result};

/// How much longer than the state before it an answer's state may be and still fit into the room kept for it, beside
/// what is as long as the token sent: Ring's have some 1500 bytes.
const ROOM_FOR_ANSWER: usize = 16 * 1024;

/// Where whole copies lie while the journal is being written. Three, so that one can hold what could not be moved on
/// while the other two do their work.
pub(super) const SLOTS: [&str; 3] = [".next", ".tmp", ".spare"];
/// What each of those is called if a file of another program has its name: the second to the ninth.
const OTHER_NAMES: std::ops::RangeInclusive<u32> = 2..=9;
/// Copies in the user's private folder, for a journal beside which nothing can be made. Two, so that the only copy is not
/// removed to make the next one.
const STAND_INS: [&str; 2] = [".copy", ".copy-2"];
/// How often a journal that is not whole is looked at again without its lock, and the wait between.
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
    /// Where a journal was last seen here.
    home: Whereabouts,
}

impl JournalFile {
    /// The journal at a path, for tokens of that issuer. Nothing is read or made yet.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a path that is no file's.
    pub(super) fn open(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Self::at(&path.into(), codec.into(), disk, (Folder::Given, Named::ByPerson))
    }

    /// The journal at a path whose name we derived, in a folder that was given for journals: it is ours whatever is in it.
    ///
    /// # Errors
    ///
    /// As for [`JournalFile::open`].
    pub(super) fn open_in_state_folder(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Self::at(&path.into(), codec.into(), disk, (Folder::Given, Named::ByUs))
    }

    /// The same, in a folder that holds nothing but journals: it is made with a file that keeps it out of git.
    ///
    /// # Errors
    ///
    /// As for [`JournalFile::open`].
    pub(super) fn open_in_own_folder(path: impl Into<PathBuf>, codec: impl Into<Codec>, disk: Disk) -> Result<Self> {
        Self::at(&path.into(), codec.into(), disk, (Folder::Own, Named::ByUs))
    }

    /// The same kind of journal at another path.
    ///
    /// # Errors
    ///
    /// As for [`JournalFile::open`].
    pub(super) fn open_elsewhere(&self, path: &Path) -> Result<Self> {
        let Shared { codec, disk, folder, named, .. } = &*self.shared;
        Self::at(path, codec.clone(), disk.clone(), (*folder, *named))
    }

    /// Makes sure that nothing of anybody else lies at the path, before anything is made beside it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if something does; `STORE` if that cannot be seen.
    pub(super) fn check(&self) -> Result<()> {
        let shared = self.shared.entering();
        shared.check_content(shared.real()?)
    }

    /// A key that did not come is asked for again from now on.
    pub(super) fn ask_again(&self) {
        self.shared.codec.retry();
    }

    /// Its absolute path, before links are followed.
    pub(super) fn path(&self) -> &Path {
        &self.shared.given
    }

    fn at(path: &Path, codec: Codec, disk: Disk, (folder, named): (Folder, Named)) -> Result<Self> {
        if path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::invalid("The store's path is empty or has a NUL in it. Give the path of a file."));
        }
        check_text(path)?;
        if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
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
    /// The same for one entering: a link that leads to the journal may lead elsewhere by the next.
    fn entering(&self) -> Arc<Self> {
        let real = resolve(&self.given).ok();
        Arc::new(Self {
            given: self.given.clone(),
            codec: self.codec.clone(),
            disk: real.iter().fold(self.disk.clone(), |disk, real| disk.or_for_owner_of(real)),
            // What could not be resolved is tried again, and reported.
            real: real.map_or_else(OnceLock::new, OnceLock::from),
            folder: self.folder,
            named: self.named,
            home: self.home.clone(),
        })
    }

    /// The file itself, behind the links that lead to it, so that everyone locks and replaces the same one.
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

    /// The newest state there is, and where it lies.
    fn newest(&self) -> Result<Newest> {
        let real = self.real()?;
        let mut newest = Newest::default();
        let mut torn = Vec::new();
        match self.disk.read(real) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                self.judge(real, &bytes)?;
                self.read_journal(real, &bytes, &mut newest, &mut torn)?;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.check_content(real)?;
                newest.damage = Some(Damage::Useless);
            }
            Err(error) => return Err(self.failed("read", &error)),
        }
        let whole = newest.state.clone();
        for slot in self.slots(real)? {
            let bytes = match self.disk.read(&slot) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                // A folder or a link there is no copy of ours.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::InvalidData) || platform::is_link_refused(&error) =>
                {
                    newest.foreign.push(slot);
                    continue;
                }
                // Another user's, who was stopped before anything was in it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.is_empty(&slot) => continue,
                // It may be the only place of the newest token: nothing older is sent, and it is not written over.
                Err(error) => return Err(self.failed("read", &error)),
            };
            self.read_copy((real, slot), &bytes, whole.as_ref(), &mut newest, &mut torn)?;
        }
        // Of two of one write the whole one counts.
        let sequence = newest.state.as_ref().map(|state| state.sequence);
        torn.retain(|(remains, _)| sequence.is_none_or(|sequence| remains.sequence > sequence));
        if let Some((remains, source)) = torn.into_iter().max_by_key(|(remains, _)| remains.sequence) {
            let base = newest.state.take().unwrap_or_else(|| State::new(self.codec.issuer()));
            let sent = remains.sent;
            newest.state = Some(base.recover(remains));
            newest.damage = newest.damage.map(|_| match source {
                Source::Journal => Damage::Salvaged { sent },
                Source::Copy => Damage::Copied,
            });
        }
        for (slot, locked) in std::mem::take(&mut newest.locked) {
            let Header { id, sequence, .. } = &locked.header;
            let is_of = |journal: &State| journal.id.map(|id| id.to_string()) == *id;
            let is_older = |state: &State| sequence.is_some_and(|sequence| sequence < state.sequence);
            match slot {
                Some(slot) if whole.as_ref().is_some_and(|journal| !is_of(journal)) => newest.foreign.push(slot),
                // It was torn before anything was in it.
                Some(_) if sequence.is_none() => {}
                slot if newest.state.as_ref().is_some_and(is_older) => newest.copies.extend(slot),
                _ => return Err(locked.error(&self.given)),
            }
        }
        Ok(newest)
    }

    /// Looks at what lies at the path of the journal.
    fn read_journal(
        &self,
        real: &Path,
        bytes: &[u8],
        newest: &mut Newest,
        torn: &mut Vec<(Remains, Source)>,
    ) -> Result<()> {
        let issuer = self.codec.issuer();
        newest.journal = Some(format::digest_of(bytes));
        let Opened { text, form } = match self.codec.open(bytes) {
            Ok(opened) => opened,
            Err(Shut::Newer(version)) => return Err(self.too_new(version)),
            Err(Shut::OtherIssuer(other)) => return Err(self.other_issuer(&other)),
            Err(Shut::Locked(locked)) => {
                newest.locked.push((None, locked));
                return Ok(());
            }
        };
        newest.form = Some(form);
        match format::decode(&text) {
            // Whatever lies beside it: the journal itself says whose it is.
            Ok(state) if state.issuer != issuer => return Err(self.other_issuer(&state.issuer)),
            Ok(state) => {
                self.home.note(real);
                newest.state = Some(state);
            }
            Err(Unreadable::Newer(version)) => return Err(self.too_new(version)),
            Err(Unreadable::Damaged) => {
                if let Some(other) = format::issuer_of(&text).filter(|other| other != issuer) {
                    return Err(self.other_issuer(&other));
                }
                newest.damage = Some(Damage::Useless);
                let remains = format::salvage(&text, issuer, &name_of(real));
                torn.extend(remains.map(|remains| (remains, Source::Journal)));
            }
        }
        Ok(())
    }

    /// Looks at what lies in a place for a copy, beside a journal that is whole or not.
    fn read_copy(
        &self,
        (real, slot): (&Path, PathBuf),
        bytes: &[u8],
        whole: Option<&State>,
        newest: &mut Newest,
        torn: &mut Vec<(Remains, Source)>,
    ) -> Result<()> {
        let (issuer, name) = (self.codec.issuer(), name_of(real));
        if !ours::is_copy(bytes, (issuer, &name)) {
            newest.foreign.push(slot);
            return Ok(());
        }
        let Opened { text, form } = match self.codec.open(bytes) {
            Ok(opened) => opened,
            Err(Shut::Newer(version)) => return Err(self.too_new(version)),
            Err(Shut::OtherIssuer(_)) => {
                newest.foreign.push(slot);
                return Ok(());
            }
            Err(Shut::Locked(copy)) => {
                newest.locked.push((Some(slot), copy));
                return Ok(());
            }
        };
        match format::decode(&text) {
            Ok(state) if state.issuer != issuer => newest.foreign.push(slot),
            // Of another account, whose journal was at this path before: it is neither used nor written over.
            Ok(state) if whole.is_some_and(|journal| !are_related(&state, journal)) => newest.foreign.push(slot),
            Ok(state) => {
                if newest.state.as_ref().is_none_or(|best| is_newer(&state, best)) {
                    // In a container it goes with the container, and other containers cannot see it.
                    let volatile = slot.parent() != real.parent() || platform::is_mounted_alone(real);
                    newest.state = Some(State { volatile, ..state });
                    newest.damage = newest.damage.map(|_| Damage::Copied);
                    newest.form = Some(form);
                }
                newest.copies.push(slot);
            }
            Err(Unreadable::Newer(version)) => return Err(self.too_new(version)),
            Err(Unreadable::Damaged) => {
                if let Some(remains) = format::salvage(&text, issuer, &name) {
                    torn.push((remains, Source::Copy));
                    newest.copies.push(slot);
                } else if self.codec.has_key() && !ours::holds_nothing(bytes) {
                    // It can have a part of a token in it, and goes with the next write.
                    newest.copies.push(slot);
                }
            }
        }
        Ok(())
    }

    /// Makes sure that what lies at the path of the journal is ours.
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

    /// Whether what lies in the place of a copy, if anything does, may be removed: right before that, because somebody may
    /// have put a file there since the last look.
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

    fn damaged_under_two_names(&self) -> Error {
        Error::new(
            ErrorCode::Store,
            format!(
                "The journal {} is damaged, and has a second name (a hard link), beside which a whole copy may lie. Use the name under which it was last written, then remove the other one. Nothing was sent.",
                self.given.display()
            ),
        )
    }

    fn damaged_in_a_container(&self) -> Error {
        Error::new(
            ErrorCode::Store,
            format!(
                "The journal {} is damaged. It is mounted alone, so a whole copy may lie in the container that was stopped while it wrote: start that one again. If there is none, empty the file and log in again. Nothing was sent.",
                self.given.display()
            ),
        )
    }

    /// What can be known of a journal whose key is lost.
    fn whatever_is_there(&self, real: &Path) -> Result<Newest> {
        let mut newest = Newest::default();
        let mut sequence = None;
        for path in [real.to_owned()].into_iter().chain(self.slots(real)?) {
            let bytes = match self.disk.read(&path) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) if path == real => return Err(self.failed("read", &error)),
                Err(_) => {
                    newest.foreign.push(path);
                    continue;
                }
            };
            match self.codec.open(&bytes) {
                Ok(opened) => {
                    sequence = sequence.max(format::decode(&opened.text).ok().map(|state| state.sequence));
                }
                Err(Shut::Locked(locked)) => sequence = sequence.max(locked.header.sequence),
                Err(Shut::Newer(version)) => return Err(self.too_new(version)),
                Err(Shut::OtherIssuer(_)) if path != real => newest.foreign.push(path),
                Err(Shut::OtherIssuer(issuer)) => return Err(self.other_issuer(&issuer)),
            }
        }
        newest.state = sequence.map(|sequence| State { sequence, ..State::new(self.codec.issuer()) });
        Ok(newest)
    }

    /// Where copies may lie.
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

    /// Whether a journal that is gone may be made again: in the folder in which it was, and not in the place where a volume
    /// is not mounted any more. Says whether there was one that is gone.
    ///
    /// # Errors
    ///
    /// `STORE` if it may not.
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
            "The journal {} holds tokens of {issuer}, but oauthUrl is {}. Use another store for that server, or take oauthUrl (RING_AUTH_OAUTH_URL) away. Nothing was sent.",
            self.given.display(),
            self.codec.issuer()
        ))
    }
}

#[derive(Default)]
struct Newest {
    state: Option<State>,
    /// The copies of the journal with something in them. None of them is written over before a newer state is durable.
    copies: Vec<PathBuf>,
    /// What lies in the place of a copy and is another file.
    foreign: Vec<PathBuf>,
    /// A digest of what lies at the journal's own path.
    journal: Option<String>,
    /// Whether what lies there is damaged, and what is used instead.
    damage: Option<Damage>,
    /// How the state was written.
    form: Option<Form>,
    /// What cannot be read because its key is not there: the journal itself, or a copy. If a process was stopped while the key
    /// changed, it can be older than a copy that is sealed with the key that was given.
    locked: Vec<(Option<PathBuf>, Box<Locked>)>,
}

/// What is used of a damaged journal.
#[derive(Clone, Copy)]
enum Damage {
    /// Nothing, and there is no copy.
    Useless,
    /// A copy.
    Copied,
    /// Its own token, whose record is whole, and whether a request with it had begun.
    Salvaged { sent: bool },
}

/// Where a torn text was found.
#[derive(Clone, Copy)]
enum Source {
    Journal,
    Copy,
}

/// Whether a copy is newer than the best so far. The journal is looked at first, and wins if both are the same.
fn is_newer(state: &State, best: &State) -> bool {
    state.sequence > best.sequence || (state.sequence == best.sequence && state.came_after(best))
}

/// Whether one of two states can have come from the other: one of them knows the token of the other.
fn are_related(one: &State, other: &State) -> bool {
    let knows =
        |state: &State, other: &State| other.fingerprint().is_none_or(|token| state.recognise(token) != Known::Unknown);
    knows(one, other) || knows(other, one)
}

/// The name that a journal carries in itself.
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
        Look::Zeros | Look::Blank => ". If it is nobody's, delete it and try again.",
        _ => ". Give another path.",
    };
    Error::invalid(format!(
        "{} is not a file of ring-auth; it looks like {look}{meant} Nothing was changed.",
        path.display()
    ))
}

impl JournalFile {
    /// What is kept, without the lock, as it says.
    pub(super) fn peek_as_written(&self) -> Result<Option<State>> {
        let shared = self.shared.entering();
        let mut newest = shared.newest()?;
        for _ in 0..LOOKS {
            if !matches!(newest.damage, Some(Damage::Useless | Damage::Salvaged { .. })) {
                break;
            }
            // Without the lock it may be another process that is writing the journal in place.
            sleep(LOOK);
            newest = shared.newest()?;
        }
        Ok(newest.state)
    }

    /// Takes the lock of a journal that is there: nothing but the lock itself is made.
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
        // Behind the links that lead to it, as the journal is read.
        Some(Stamp::of(self.shared.disk.metadata_behind_links(&self.shared.given).ok().flatten().as_ref()))
    }

    fn is_shut(&self) -> bool {
        self.shared.codec.is_shut()
    }

    fn name(&self) -> String {
        self.shared.given.display().to_string()
    }
}

pub(super) struct FileGuard {
    shared: Arc<Shared>,
    lock: Lock,
    room: Option<Room>,
    /// The copies that are needed until a newer state is durable.
    copies: Vec<PathBuf>,
    /// What lies in the place of a copy and is another file.
    foreign: Vec<PathBuf>,
    /// A digest of what lay at the journal's path when this process last read or wrote it.
    seen: Option<String>,
    /// The copy in the user's private folder that has what could not be written anywhere else.
    stand_in: Option<PathBuf>,
    /// The token and the mark that were found.
    found: (Option<Fingerprint>, Option<Mark>),
    /// How the journal was written that was found.
    form: Option<Form>,
}

impl FileGuard {
    fn new(shared: Arc<Shared>, lock: Lock) -> Self {
        let (copies, foreign) = (Vec::new(), Vec::new());
        Self { shared, lock, room: None, copies, foreign, seen: None, stand_in: None, found: (None, None), form: None }
    }

    /// Whether the journal can be written over with no copy beside it: it need not grow for that, and holds no token
    /// but the one that Ring has just replaced, so that even torn it is worth no less than now.
    fn only_spent_is_there(&self, state: &State, length: usize) -> bool {
        let Ok(Ok(Some(bytes))) = self.shared.real().map(|real| self.shared.disk.read(real)) else { return false };
        let spent = state.previous.as_ref().filter(|held| held.succeeded).map(|held| held.token.fingerprint());
        let there = self.shared.codec.open(&bytes).ok().and_then(|opened| format::decode(&opened.text).ok());
        let there = there.and_then(|old| old.fingerprint());
        bytes.len() >= length && spent.is_some() && there == spent
    }

    /// A place for a copy: the first or the second in which none is that is needed, and no other file.
    fn slot(&self, real: &Path, index: usize) -> Result<PathBuf> {
        let names = SLOTS.iter().map(|slot| (*slot).to_owned());
        let others = OTHER_NAMES.flat_map(|number| SLOTS.iter().map(move |slot| format!("{slot}-{number}")));
        let is_free = |slot: &PathBuf| {
            !self.copies.contains(slot) && !self.foreign.contains(slot) && self.shared.may_remove(real, slot)
        };
        let mut free = names.chain(others).map(|slot| sibling(real, &slot)).filter(is_free);
        free.nth(index).ok_or_else(|| {
            self.shared.failed(
                "written: other files have the names that its copies need",
                &io::ErrorKind::AlreadyExists.into(),
            )
        })
    }

    /// Gives a damaged journal another name beside its own; where it cannot have another, its bytes get it.
    fn move_aside(&self, real: &Path) -> io::Result<PathBuf> {
        let disk = &self.shared.disk;
        let bytes = disk.read_most(real)?.unwrap_or_default();
        if self.hidden(real, &bytes)? != bytes {
            let aside = self.keep_damaged(real)?;
            disk.remove(real)?;
            replace::sync_folder(disk, real)?;
            return Ok(aside);
        }
        let (aside, _) = damaged_name(disk, real, &bytes)?;
        match disk.rename(real, &aside) {
            Err(error) if platform::means_irreplaceable(&error) => self.keep_damaged(real),
            moved => moved.map(|()| aside),
        }
    }

    /// Gives the bytes of a damaged journal another name beside its own, once: it stays where it is until the next write,
    /// and whoever reads it until then need not keep it once more. By way of a place for copies that no write uses at the
    /// same time, so that no part of it ever has that name.
    fn keep_damaged(&self, real: &Path) -> io::Result<PathBuf> {
        let disk = &self.shared.disk;
        let bytes = disk.read_most(real)?.unwrap_or_default();
        self.keep(real, &self.hidden(real, &bytes)?)
    }

    /// What is kept of a damaged content: sealed, if there is a key.
    fn hidden<'a>(&self, real: &Path, bytes: &'a [u8]) -> io::Result<Cow<'a, [u8]>> {
        let codec = &self.shared.codec;
        let form = codec.form(self.form.as_ref(), Step::Kept).map_err(io::Error::other)?;
        Ok(form.keep(bytes, (codec.issuer(), &name_of(real))))
    }

    /// Keeps a damaged content beside the journal, once.
    fn keep(&self, real: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let disk = &self.shared.disk;
        let (aside, is_kept) = damaged_name(disk, real, bytes)?;
        if !is_kept {
            let spare = self.slot(real, SLOTS.len() - 1).map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
            replace::copy(disk, &spare, bytes)?;
            if replace::or_nothing(disk, &spare, disk.rename(&spare, &aside)).is_err() {
                // Nothing can be renamed here.
                replace::copy(disk, &aside, bytes)?;
            }
            replace::sync_folder(disk, &aside)?;
        }
        Ok(aside)
    }

    fn ownership<'a>(&self, real: &'a Path) -> io::Result<Option<Ownership<'a>>> {
        Ok(self.shared.disk.metadata(real)?.map(|there| Ownership::of(&there, real)))
    }

    /// Whether the journal has a second name, a hard link.
    fn has_other_names(&self) -> bool {
        let there = self.shared.real().map(|real| self.shared.disk.metadata(real));
        matches!(there, Ok(Ok(Some(there))) if platform::has_other_names(&there))
    }

    /// Makes sure that the journal has a place to be written to: it may have been removed since this process entered.
    fn check_home(&mut self, real: &Path) -> Result<()> {
        let shared = &self.shared;
        if !shared.check_home(real)? {
            return Ok(());
        }
        make_folder_of(&shared.disk, real, shared.folder)
            .map_err(|error| shared.failed("made: its folder is missing", &error))?;
        // The lock may have been removed with the journal, and then another process could take a new one.
        if let Some(lock) = Lock::try_take_with_file(&shared.disk, real)? {
            self.lock = lock;
        }
        Ok(())
    }

    /// Whether another process wrote the journal since this one read or wrote it, although this one has the lock: not every
    /// file system and every container keeps to that.
    fn is_overtaken(&self, real: &Path) -> io::Result<bool> {
        Ok(self.shared.disk.read(real)?.as_deref().map(format::digest_of) != self.seen)
    }

    /// What that process wrote, which has to be taken in before anything is written.
    fn theirs(&mut self, real: &Path) -> Result<Option<State>> {
        let shared = Arc::clone(&self.shared);
        let mut newest = shared.newest()?;
        self.copies = std::mem::take(&mut newest.copies);
        self.foreign = std::mem::take(&mut newest.foreign);
        if newest.damage.is_some() {
            let _ = self.keep_damaged(real);
        }
        self.seen = newest.journal.take();
        Ok(newest.state)
    }

    /// Makes bytes durable by the first way that works.
    fn put(&mut self, bytes: &[u8], room: Option<Room>) -> Result<Way> {
        let shared = Arc::clone(&self.shared);
        let (disk, real) = (&shared.disk, shared.real()?);
        let there = disk.metadata(real).map_err(|error| shared.failed("written", &error))?;
        let ownership = there.as_ref().map(|there| Ownership::of(there, real));
        // A file that took its place would leave a second name behind.
        let has_other_names = there.as_ref().is_some_and(platform::has_other_names);
        let in_its_place = |room: Room| if has_other_names { room.only_as_copy() } else { room };
        let mut used = None;
        if let Some(room) = room.map(in_its_place) {
            let slot = room.path().to_owned();
            if let Ok(way) = replace::replace(disk, room, real, bytes) {
                return Ok(self.settled(way, &slot, bytes));
            }
            used = Some(slot);
        }
        // What is in the room may be whole: it stays until the next copy is.
        let slot = match self.slot(real, 1)? {
            slot if Some(&slot) == used.as_ref() => self.slot(real, 0)?,
            slot => slot,
        };
        let fresh = match Room::empty(disk, &slot, ownership) {
            // Whoever may not give a file its owner can still write into the one that has it.
            Err(error) if ownership.is_some() && platform::means_irreplaceable(&error) => {
                return self.put_in_place(bytes, &slot, &error);
            }
            made => made.and_then(|room| replace::replace(disk, in_its_place(room), real, bytes)),
        };
        match fresh {
            Ok(way) => Ok(self.settled(way, &slot, bytes)),
            Err(error) => Err(shared.failed("written", &error)),
        }
    }

    /// Writes over the journal, with a whole copy in the first place that takes one.
    fn put_in_place(&mut self, bytes: &[u8], slot: &Path, refused: &io::Error) -> Result<Way> {
        let shared = Arc::clone(&self.shared);
        let (disk, real) = (&shared.disk, shared.real()?);
        let places = [Some(slot.to_owned()), self.free_stand_in(real)];
        for place in places.into_iter().flatten() {
            if replace::copy(disk, &place, bytes).is_err() {
                continue;
            }
            if replace::write_over(disk, real, bytes).is_err() {
                // The copy is whole, so the journal is mended from it by whoever reads it next.
                return Ok(self.settled(Way::Beside, &place, bytes));
            }
            let _ = disk.remove(&place);
            return Ok(self.settled(Way::InPlace, &place, bytes));
        }
        Err(shared.failed("written", refused))
    }

    /// A place in the user's private folder in which there is no copy that is needed.
    fn free_stand_in(&self, real: &Path) -> Option<PathBuf> {
        STAND_INS
            .iter()
            .filter_map(|ending| stand_in(&self.shared.disk, real, ending).ok())
            .find(|place| !self.copies.contains(place) && !self.foreign.contains(place))
    }

    /// Keeps bytes that could not be written anywhere else where at least the next process of this user finds them.
    fn put_aside(&mut self, bytes: &[u8]) {
        let shared = Arc::clone(&self.shared);
        let Ok(real) = shared.real() else { return };
        let Some(place) = self.free_stand_in(real) else { return };
        if replace::copy(&shared.disk, &place, bytes).is_ok() {
            self.keep_aside(place);
        }
    }

    /// Notes that the newest state lies there alone. What lay in that folder before is older.
    fn keep_aside(&mut self, place: PathBuf) {
        if let Some(former) = self.stand_in.replace(place.clone()) {
            let _ = self.shared.disk.remove(&former);
            self.copies.retain(|copy| *copy != former);
        }
        self.copies.push(place);
    }

    /// Notes how bytes were written. If they are in the journal, the copies that were needed until now are not needed any
    /// more.
    fn settled(&mut self, way: Way, copy: &Path, bytes: &[u8]) -> Way {
        let shared = Arc::clone(&self.shared);
        if way == Way::Beside {
            // The journal is as it was, or torn by this very write.
            self.seen = shared
                .real()
                .ok()
                .and_then(|real| shared.disk.read(real).ok())
                .flatten()
                .as_deref()
                .map(format::digest_of);
            if shared.real().is_ok_and(|real| copy.parent() == real.parent()) {
                self.stand_in = None;
                for former in std::mem::replace(&mut self.copies, vec![copy.to_owned()]) {
                    let _ = shared.disk.remove(&former);
                }
            } else {
                self.keep_aside(copy.to_owned());
            }
            return way;
        }
        self.seen = Some(format::digest_of(bytes));
        self.stand_in = None;
        for former in std::mem::take(&mut self.copies) {
            let _ = shared.disk.remove(&former);
        }
        if let Ok(real) = shared.real() {
            shared.home.note(real);
        }
        way
    }

    fn notices(&self, way: Way) -> Vec<Notice> {
        let path = self.shared.given.display();
        let mut notices = match way {
            Way::Replaced => Vec::new(),
            Way::InPlace => vec![Notice(format!(
                "The journal {path} cannot be replaced in one go here, so it is written in place, with a copy beside it meanwhile."
            ))],
            Way::Beside => vec![Notice(format!(
                "The journal {path} could not be changed, so its newest version lies in a file beside it. Give this user the right to write it."
            ))],
        };
        if self.shared.real().is_ok_and(platform::take_exposed) {
            notices.push(Notice(format!(
                "The access list of the journal {path} could not be changed, so other users of this computer may be able to read the token. Keep it in a folder that is yours alone, on a drive with access lists (NTFS)."
            )));
        }
        notices
    }

    /// Writes a state in every way there is.
    fn put_somehow(&mut self, state: &State, bytes: &[u8]) -> Result<Way> {
        let room = self.room.take();
        let error = match self.put(bytes, room) {
            Ok(Way::Beside) if self.stand_in.is_some() => {
                self.shared.failed("written", &io::Error::from(io::ErrorKind::PermissionDenied))
            }
            Ok(way) => return Ok(way),
            Err(error) => error,
        };
        if self.only_spent_is_there(state, bytes.len()) {
            let shared = Arc::clone(&self.shared);
            let (disk, real) = (&shared.disk, shared.real()?);
            // Its place in the folder may be what could not be made durable.
            if replace::write_over(disk, real, bytes).and_then(|()| replace::sync_folder(disk, real)).is_ok() {
                return Ok(self.settled(Way::InPlace, real, bytes));
            }
        }
        if self.stand_in.is_none() {
            self.put_aside(bytes);
        }
        Err(error)
    }
}

impl Guard for FileGuard {
    fn read(&mut self) -> Result<Found> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        let mut newest = shared.newest()?;
        self.copies = std::mem::take(&mut newest.copies);
        self.foreign = std::mem::take(&mut newest.foreign);
        self.form = newest.form.take();
        let path = shared.given.display();
        let mut notices = Vec::new();
        if shared.codec.has_key() {
            self.seal_what_was_kept(real).map_err(|error| shared.failed("sealed", &error))?;
        }
        if matches!(newest.damage, Some(Damage::Useless | Damage::Salvaged { .. })) && self.has_other_names() {
            return Err(shared.damaged_under_two_names());
        }
        // A token that was not being sent is still the newest, whatever the text said that was torn.
        let may_be_spent = matches!(newest.damage, Some(Damage::Useless | Damage::Salvaged { sent: true }));
        if may_be_spent && platform::is_mounted_alone(real) && !shared.is_empty(real) {
            return Err(shared.damaged_in_a_container());
        }
        match newest.damage {
            None => {}
            Some(Damage::Salvaged { .. }) => {
                // It stays where it is, because nothing else has the token, until a whole version takes its place.
                let kept = match self.keep_damaged(real) {
                    Ok(aside) => format!(" The damaged text was kept as {}.", aside.display()),
                    Err(_) => String::new(),
                };
                notices.push(Notice(format!(
                    "The journal {path} was damaged, but its newest token is whole and is used.{kept}"
                )));
            }
            Some(damage) => {
                let (instead, whole) = match damage {
                    Damage::Useless => {
                        ("a token that was given is used instead; without one, a login is needed", false)
                    }
                    Damage::Copied | Damage::Salvaged { .. } => ("its whole copy is used", true),
                };
                notices.push(Notice(match self.move_aside(real) {
                    Ok(aside) => {
                        format!("The journal {path} was damaged. It was kept as {}, and {instead}.", aside.display())
                    }
                    // A write in place that was stopped: the whole of what it wrote lies beside it. Or a new file that was
                    // made to be mounted: nothing is lost with it.
                    Err(_) if whole || shared.is_empty(real) => {
                        format!("The journal {path} was damaged, and {instead}.")
                    }
                    Err(error) => return Err(shared.failed("moved aside", &error)),
                }));
            }
        }
        self.seen = match newest.damage {
            Some(Damage::Useless | Damage::Copied) => {
                let there = shared.disk.read(real).map_err(|error| shared.failed("read", &error))?;
                there.as_deref().map(format::digest_of)
            }
            _ => newest.journal,
        };
        let mut state = newest.state.unwrap_or_else(|| State::new(shared.codec.issuer()));
        state.id.get_or_insert_with(JournalId::random);
        self.found = (state.fingerprint(), state.mark.clone());
        Ok(Found { state, notices })
    }

    fn claim(&mut self, state: &mut State) -> Result<Claim> {
        origin::claim(self, state)
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        identify(state, real);
        self.check_home(real)?;
        if self.is_overtaken(real).map_err(|error| shared.failed("read", &error))?
            && let Some(theirs) = self.theirs(real)?
        {
            return Ok(Begun::Overtaken(Box::new(theirs)));
        }
        let form = shared.codec.form(self.form.as_ref(), Step::Kept)?;
        state.sequence += 1;
        let bytes = form.encode(state, &name_of(real))?;
        let ownership = self.ownership(real).map_err(|error| shared.failed("written", &error))?;
        let reserved = self.slot(real, 0)?;
        // The room of a request before this one, under the same guard, has that very name.
        if let Some(former) = self.room.take() {
            former.release(&shared.disk);
        }
        // What was current is kept, push credentials and all; its successor and the access token are about as long.
        let token = state.current.as_ref().map_or(0, |held| held.token.wrapped().expose().len());
        let size = bytes.len() + form.length_of(ROOM_FOR_ANSWER + 2 * token);
        let signature = form.signature().as_bytes();
        let kept = match Room::keep(&shared.disk, &reserved, size, signature, ownership) {
            // It cannot have the journal's owner, so it cannot take its place; but the answer can lie in it.
            Err(error) if ownership.is_some() && platform::means_irreplaceable(&error) => {
                Room::keep(&shared.disk, &reserved, size, signature, None).map(Room::only_as_copy)
            }
            kept => kept,
        };
        let room = match kept {
            Ok(room) => Some(room),
            // Nothing can be made beside it.
            Err(error) if platform::means_irreplaceable(&error) => None,
            Err(error) => return Err(shared.failed("written", &error)),
        };
        match self.put(&bytes, None) {
            Ok(Way::Beside) => {
                if let Some(room) = room {
                    room.release(&shared.disk);
                }
                // Nothing is sent, and the copy must not say that something was: only the mark that was there before stays.
                let former = state.mark.as_ref().and_then(|mark| Some((mark, mark.starts.checked_sub(1)?)));
                let mark = former.map(|(mark, starts)| Mark { starts, ..mark.clone() });
                let unsent = State { mark, sequence: state.sequence + 1, ..state.clone() };
                if form.encode(&unsent, &name_of(real)).and_then(|bytes| self.put(&bytes, None)).is_ok() {
                    state.sequence = unsent.sequence;
                }
                Err(shared.failed("written", &io::Error::from(io::ErrorKind::PermissionDenied)))
            }
            Ok(way) => {
                if way == Way::Replaced {
                    self.lock.follow(&shared.disk, real);
                }
                self.room = room;
                self.form = Some(form);
                Ok(Begun::Ready(self.notices(way)))
            }
            Err(error) => {
                if let Some(room) = room {
                    room.release(&shared.disk);
                }
                Err(error)
            }
        }
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        if let Err(error) = self.check_home(real) {
            self.put_state_aside(state, real);
            return Err(error);
        }
        let mut notices = Vec::new();
        // A journal that cannot be read now can still be replaced.
        let theirs = if self.is_overtaken(real).unwrap_or(false) { self.theirs(real) } else { Ok(None) };
        let theirs = theirs.map_err(|error| {
            if error.code() != ErrorCode::InvalidArgument {
                return error;
            }
            // Another program has put a file of its own there: it stays, and this state must not be lost.
            self.put_state_aside(state, real);
            Error::new(ErrorCode::Store, error.message())
        })?;
        if let Some(theirs) = theirs {
            state.merge(theirs);
            notices.push(Notice(format!(
                "Another process changed the journal {} although this one had its lock. Both states were merged. Keep the journal on a file system whose locks work, and let one machine alone use it.",
                shared.given.display()
            )));
        }
        identify(state, real);
        state.sequence += 1;
        let form = shared.codec.form(self.form.as_ref(), self.step(state))?;
        let bytes = form.encode(state, &name_of(real))?;
        let way = self.put_somehow(state, &bytes)?;
        self.form = Some(form);
        state.volatile = false;
        notices.extend(self.notices(way));
        // It is on the disk: now there is time to find out whose the tokens are that were there before.
        let token = state.fingerprint();
        let is_given = token != self.found.0 && token.is_some_and(|token| state.given.contains(&token));
        if is_given && way != Way::Beside && origin::part(self, state).unwrap_or(false) {
            identify(state, real);
            self.write_unsent(state, None, Step::Kept)?;
        }
        Ok(notices)
    }

    fn stand_in(&self) -> Option<String> {
        self.stand_in.as_ref().map(|place| place.display().to_string())
    }

    fn forget(&mut self) -> Result<Vec<Notice>> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        let newest = match shared.newest() {
            Err(_) if shared.codec.forgets_sealed() => shared.whatever_is_there(real)?,
            newest => newest?,
        };
        self.copies = newest.copies;
        self.foreign = newest.foreign;
        self.form = newest.form;
        let mut nothing = State::logged_out(shared.codec.issuer(), now());
        nothing.sequence = newest.state.as_ref().map_or(0, |state| state.sequence) + 1;
        nothing.mirrors = newest.state.as_ref().map(|state| state.mirrors.clone()).unwrap_or_default();
        // A copy that was never used here must not pass for what it was copied from.
        let is_at_home = |state: &State| state.is_at_home() && state.place.as_deref().is_none_or(|place| place == real);
        nothing.id = newest.state.filter(is_at_home).and_then(|state| state.id).or_else(|| Some(JournalId::random()));
        let form = shared.codec.form(self.form.as_ref(), Step::Kept)?;
        let bytes = form.encode(&nothing, &name_of(real))?;
        // It says that the account was logged out: without it, a journal that is gone would be no decision of anybody's.
        if !matches!(self.put(&bytes, None), Ok(Way::Replaced | Way::InPlace)) {
            // Where there is no room for a copy of it, what is there can be shortened.
            replace::write_over(&shared.disk, real, &bytes).map_err(|error| shared.failed("removed", &error))?;
            self.settled(Way::InPlace, real, &bytes);
        }
        let is_ours = |slot: &PathBuf| !self.foreign.contains(slot) && shared.may_remove(real, slot);
        let mut paths: Vec<PathBuf> = shared.slots(real)?.into_iter().filter(is_ours).collect();
        paths.extend(moved_aside(&shared.disk, real));
        for path in paths {
            shared.disk.remove(&path).map_err(|error| shared.failed("removed", &error))?;
        }
        replace::sync_folder(&shared.disk, real).map_err(|error| shared.failed("removed", &error))?;
        Ok(Vec::new())
    }
}

impl FileGuard {
    /// Where the journal is, behind the links that lead to it.
    pub(super) fn real(&self) -> Result<PathBuf> {
        self.shared.real().map(Path::to_owned)
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.shared.disk
    }

    pub(super) fn codec(&self) -> &Codec {
        &self.shared.codec
    }

    /// What the next write of a state is for.
    fn step(&self, state: &State) -> Step {
        if state.fingerprint() == self.found.0 { Step::Kept } else { Step::Rotated }
    }

    /// Keeps a state that could not be written anywhere else where the next process of this user finds it.
    fn put_state_aside(&mut self, state: &mut State, real: &Path) {
        if self.stand_in.is_some() {
            return;
        }
        state.sequence += 1;
        let form = self.shared.codec.form(self.form.as_ref(), self.step(state));
        if let Ok(bytes) = form.and_then(|form| form.encode(state, &name_of(real))) {
            self.put_aside(&bytes);
        }
    }

    /// Seals the damaged versions that were kept before there was a key.
    fn seal_what_was_kept(&self, real: &Path) -> io::Result<()> {
        let disk = &self.shared.disk;
        for path in moved_aside(disk, real) {
            let bytes = disk.read_most(&path)?.unwrap_or_default();
            let hidden = self.hidden(real, &bytes)?;
            if *hidden != *bytes {
                self.keep(real, &hidden)?;
                disk.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Makes a state durable in the journal itself, without any request to come. A probe is text that shows wherever this
    /// journal shows. Says whether that was done: not if another process wrote meanwhile.
    pub(super) fn write_unsent(&mut self, state: &mut State, probe: Option<&str>, step: Step) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let real = shared.real()?;
        if self.is_overtaken(real).map_err(|error| shared.failed("read", &error))? {
            return Ok(false);
        }
        let mut written = State { sequence: state.sequence + 1, ..state.clone() };
        if written.fingerprint() == self.found.0 {
            written.mark.clone_from(&self.found.1);
        }
        written.unknown.extend(probe.map(|probe| (format::PROBE.to_owned(), probe.into())));
        let form = shared.codec.form(self.form.as_ref(), step)?;
        match self.put(&form.encode(&written, &name_of(real))?, None)? {
            Way::Replaced => self.lock.follow(&shared.disk, real),
            Way::InPlace => {}
            Way::Beside => return Err(shared.failed("written", &io::ErrorKind::PermissionDenied.into())),
        }
        state.sequence = written.sequence;
        self.form = Some(form);
        Ok(true)
    }

    /// The same for another journal than the one of this manager: if it cannot be changed it stays as it is, and nothing is
    /// laid beside it.
    pub(super) fn write_visited(&mut self, state: &mut State) -> Result<bool> {
        if !self.copies.is_empty() {
            return Ok(false);
        }
        let written = self.write_unsent(state, None, Step::Visited);
        if written.is_err() {
            for copy in std::mem::take(&mut self.copies) {
                let _ = self.shared.disk.remove(&copy);
            }
        }
        written
    }
}

/// Gives a journal that has none its id, and its place as soon as it holds a token.
fn identify(state: &mut State, real: &Path) {
    state.id.get_or_insert_with(JournalId::random);
    if state.current.is_some() {
        state.place.get_or_insert_with(|| real.to_owned());
    }
}

impl Drop for FileGuard {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            room.release(&self.shared.disk);
        }
    }
}

/// The copies in private folders of the user: one may have been left there when nothing could be made beside the
/// journal.
fn stand_in_copies(disk: &Disk, real: &Path) -> Vec<PathBuf> {
    STAND_INS.iter().flat_map(|ending| stand_ins_if_there(disk, real, ending)).collect()
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    super::state::millis(now)
}

/// The name beside a journal under which a damaged content is kept, and whether it is kept there already. A file of
/// anybody else that has the first name is left alone.
fn damaged_name(disk: &Disk, real: &Path, bytes: &[u8]) -> io::Result<(PathBuf, bool)> {
    let ending = ours::damaged_ending(bytes);
    let others = OTHER_NAMES.map(|number| format!("{ending}-{number}"));
    for name in [ending.clone()].into_iter().chain(others) {
        let path = sibling(real, &name);
        if disk.metadata(&path)?.is_none() {
            return Ok((path, false));
        }
        if is_damaged_one(disk, &path, &name) {
            return Ok((path, true));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The damaged versions of a journal that were kept.
fn moved_aside(disk: &Disk, real: &Path) -> Vec<PathBuf> {
    let kept = siblings(real, ours::DAMAGED).into_iter();
    kept.filter(|(path, rest)| is_damaged_one(disk, path, &format!("{}{rest}", ours::DAMAGED)))
        .map(|(path, _)| path)
        .collect()
}

/// Whether a file is a damaged journal that was kept under that name.
fn is_damaged_one(disk: &Disk, path: &Path, name: &str) -> bool {
    matches!(disk.read_most(path), Ok(Some(bytes)) if ours::is_damaged_one(&bytes, name))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use proptest::prelude::*;

    use super::super::state::{Access, Sent};
    use super::*;
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
        store.peek().unwrap().and_then(|state| state.current).map(|held| held.token.raw())
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
        // A journal that was torn has it still, and one without it gets one.
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

    /// A folder in which everybody may read what is made.
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
        assert!(!may_everybody_read(&sibling(path, ".next")), "the room for the answer");
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
        // The mark is in a file that took the place of the one that was entered.
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
        assert_eq!(lock(&store(&path)).read().unwrap().state.current.unwrap().token.raw(), "a");
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
        // What was begun ends where it was begun.
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
            assert!(found.state.current.is_none());
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

    /// Fails chosen calls; counts all.
    #[derive(Default)]
    struct Faults {
        seen: Mutex<Vec<String>>,
        fails: Mutex<Vec<(&'static str, &'static str, i32)>>,
        /// Which write in place ends short, where in the file, and with what.
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
        let room = || std::fs::metadata(sibling(&path, ".next")).unwrap().len();
        for _ in 0..3 {
            ready(guard.begin(&mut state));
            assert!(room() > ROOM_FOR_ANSWER as u64, "{}", room());
            assert_eq!(names(folder.path()), ["j.json", "j.json.lock", "j.json.next"]);
        }
        state.take_over(RefreshToken::from_raw("b"), 2);
        guard.commit(&mut state).unwrap();
        assert_eq!(names(folder.path()), ["j.json", "j.json.lock"]);
        // What is never answered leaves nothing behind either.
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
        assert_eq!(found.state.current.unwrap().token.raw(), "a");
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
            assert_eq!(lock(&store).read().unwrap().state.current.unwrap().token.raw(), "a");
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

    /// Contents of other programs, and how each is called.
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
            // And where it came after the journal was read.
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
            // It would go on as soon as anybody opened the other end.
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
        // As another user leaves it that is stopped between making it and filling it.
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
        // Nothing is sent while it is so, and nothing says that it was.
        for starts in [0, 1] {
            let (mut guard, mut state) = enter(&store);
            let fingerprint = state.fingerprint().unwrap();
            state.mark = Some(Mark { fingerprint, started_at: 1, deadline: 2, starts });
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

    /// A state whose tokens have that many bytes, and the one that a rotation makes of it.
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

    /// What a write in place leaves that is torn after so many bytes, or before them.
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
                    assert!(state.aside.is_some_and(|aside| aside.current.token.raw() == found));
                }
            }
        }
    }

    #[test]
    fn a_tear_without_a_copy_never_makes_one_token_of_two() {
        for bytes in [300, 1500, 6000] {
            let (before, after) = rotation_of(bytes);
            let (old, new) = (encoded(&before), encoded(&after));
            let raw = |state: &State| state.current.as_ref().unwrap().token.raw();
            for at in (0..old.len().max(new.len()) + 512).step_by(512) {
                for first in [true, false] {
                    let (_folder, path) = journal_of("a");
                    std::fs::write(&path, torn(&old, &new, at, first)).unwrap();
                    let (guard, state) = enter(&store(&path));
                    drop(guard);
                    let found = state.current.as_ref().map(|held| held.token.raw());
                    let whole = found.as_ref().is_none_or(|found| *found == raw(&before) || *found == raw(&after));
                    assert!(whole, "tokens of {bytes} bytes, torn at {at}, first {first}");
                    let previous = state.previous.map(|held| held.token.raw());
                    if found == Some(raw(&after)) {
                        assert!(previous.is_none_or(|previous| previous == raw(&before)), "nothing older is ever sent");
                    }
                }
            }
        }
    }

    #[test]
    fn who_peeks_at_a_write_in_place_sees_one_version_or_another() {
        /// Ends a write in place, and has no copy any more, after a reader has looked at the torn journal.
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
            // A generator that makes the same ones in every run: xorshift.
            let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
            for round in 0..60 {
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                let length = if round % 2 == 0 { new.len() } else { new.len().max(old.len()) };
                let text: Vec<u8> = (0..length)
                    .map(|at| {
                        if chance >> (at / 512 % 64) & 1 == 1 { &new } else { &old }.get(at).copied().unwrap_or(0)
                    })
                    .collect();
                let (_folder, path) = journal_of("a");
                std::fs::write(&path, &text).unwrap();
                let found = current(&store(&path));
                assert!(
                    found.is_none_or(|found| found == old_token || found == new_token),
                    "{bytes} bytes, {chance:x}"
                );
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
                fingerprint: before.current.as_ref().unwrap().token.fingerprint(),
                started_at: 1,
                deadline: 2,
                starts: 0,
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
                assert_eq!(
                    state.current.as_ref().unwrap().token.raw(),
                    expected.repeat(bytes),
                    "{bytes} bytes, torn at {at}"
                );
                assert_eq!(state.mark.is_some(), at < end, "a mark belongs to the token that it names");
                if at >= end {
                    assert_eq!(state.previous.as_ref().unwrap().token, before.current.as_ref().unwrap().token);
                    let ancestor = before.previous.as_ref().unwrap().token.fingerprint();
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
                let token = after.current.as_ref().unwrap().token.raw();
                state.rotated(Sent::Current, &token, "h", access("x"));
                guard.commit(&mut state).unwrap();
                drop(guard);
                assert_eq!(current(&store), Some(token.clone()), "tokens of {bytes} bytes, torn at {at}");
                faults.end();
                write(&store, "d");
                let state = store.peek().unwrap().unwrap();
                assert_eq!(state.aside.unwrap().current.token.raw(), token);
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
            assert_eq!((found.current.unwrap().token.raw().as_str(), found.volatile), ("b", true));
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
}
