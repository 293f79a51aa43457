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
mod tests;
