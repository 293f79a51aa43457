//! Which journal a mirror follows. This module alone answers that, for the library, the addon, the command line and the
//! login page.
//!
//! The family of the shown token decides, not the path, because people rename and swap blocks, retarget links, and move
//! folders. The order is: the journal of the folder that has the shown token in its family; the one that recorded this mirror;
//! a new one. This module never reads the mirror itself, because it may lie on a drive that does not answer: the reader of the
//! mirror notes what it shows ([`Sightings`]).

mod choose;
mod folder;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Dotenv, Format, Homebridge};
use crate::files::names::digest;
use crate::files::{Disk, Folder, platform, resolve};
use crate::journal::state::{Known, MAX_MIRRORS, Millis, MirrorRecord, State, millis};
use crate::journal::{Codec, Finder, Journals, Notice, Readable, Sought};
use crate::pasted;
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, Result, Secret};
use choose::{Candidate, Choice, Wanted, Why, choose};
use folder::Folders;
pub(crate) use folder::JOURNALS_FOLDER;
pub(super) use folder::{not_found, of_lock};

/// The places of tokens in the text of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The mirror's own place: its kind, then what distinguishes it from others of that kind. `None` if the text does not show
    /// it.
    pub own: Option<Vec<String>>,
    /// The other places, and their values.
    pub others: Vec<(Vec<String>, Option<Secret>)>,
}

/// The content of a mirror when it was last read. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sightings(Arc<Mutex<Sighting>>);

#[derive(Debug, Clone, Default)]
struct Sighting {
    shown: Option<Fingerprint>,
    /// The file itself, behind its links.
    real: Option<PathBuf>,
    /// The mirror's own place.
    own: Option<Vec<String>>,
    /// The other places of the file, and the tokens in them.
    others: Vec<(Vec<String>, Option<Fingerprint>)>,
}

impl Sightings {
    /// Notes what the text of a mirror shows.
    pub(super) fn note(&self, real: &Path, shown: Option<&Secret>, places: Places) {
        let fingerprint = |text: &Secret| fingerprint_of(text);
        let mut sighting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sighting.shown = shown.and_then(fingerprint);
        sighting.real = Some(real.to_owned());
        if let Some(own) = places.own {
            sighting.own = Some(own);
            let other = |(place, text): (_, Option<Secret>)| (place, text.as_ref().and_then(fingerprint));
            sighting.others = places.others.into_iter().map(other).collect();
        }
    }

    fn last(&self) -> Sighting {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The identity of the token in a text. A text that this package wrote is looked up too, whatever it looks like.
fn fingerprint_of(text: &Secret) -> Option<Fingerprint> {
    let kept = || RefreshToken::parse_kept(text.expose().trim()).ok();
    pasted::read(text.expose(), None).token().or_else(kept).map(|token| token.fingerprint())
}

/// Finds the journal of one mirror.
pub(super) struct WhichJournal {
    /// The mirror's absolute path.
    given: PathBuf,
    /// The folder that was named for its journal.
    state_path: Option<PathBuf>,
    /// Its place, as far as the caller named it.
    named: Vec<String>,
    codec: Codec,
    disk: Disk,
    sightings: Sightings,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The journal that was used last.
    last: Option<PathBuf>,
    /// The token that the caller was given.
    preferred: Option<Fingerprint>,
    /// The last result, and the input that led to it.
    found: Option<(Question, Sought)>,
}

/// The input of a search for a journal, without the content of the journals.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    shown: Option<Fingerprint>,
    own: Option<Vec<String>>,
    folders: Vec<(PathBuf, BTreeSet<PathBuf>)>,
}

impl WhichJournal {
    pub(super) fn new(
        given: PathBuf,
        state_path: Option<PathBuf>,
        named: Vec<String>,
        codec: Codec,
        disk: Disk,
        sightings: Sightings,
    ) -> Self {
        Self { given, state_path, named, codec, disk, sightings, memory: Mutex::default() }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn journals<'a>(&'a self, folder: &'a Path) -> Journals<'a> {
        Journals::of(folder, &self.codec, &self.disk)
    }

    /// The journals of a folder, and those that cannot be read without their key.
    fn read(&self, folder: &Path) -> (Vec<Candidate>, Vec<(PathBuf, Error)>) {
        let (mut candidates, mut locked) = (Vec::new(), Vec::new());
        // The program cannot be asked for the key yet.
        if !self.codec.is_shut() {
            for (path, found) in self.journals(folder).read() {
                match found {
                    Readable::Yes(state) => candidates.push(Candidate { path, state: *state }),
                    Readable::Locked(error) => locked.push((path, error)),
                }
            }
        }
        (candidates, locked)
    }

    /// The folders in which the journal may be. It is created in the first one.
    fn folders(&self) -> Result<Where> {
        if let Some(folder) = &self.state_path {
            return Ok(Where { whose: Folder::Given, all: vec![folder.clone()], may_begin_in_second: false });
        }
        let folders = Folders::of(&self.given)?;
        let first = folders.to_make().to_owned();
        let is_other = |folder: &PathBuf| *folder != first;
        let second = [Some(folders.beside_target), folders.beside_link].into_iter().flatten().find(is_other);
        let all = std::iter::once(first).chain(second).collect();
        Ok(Where { whose: Folder::Own, all, may_begin_in_second: folders.is_file_link })
    }

    /// The record of the mirror as it would be written now, and whether its place is known exactly.
    fn record_in(&self, folder: &Path, sighting: &Sighting) -> (MirrorRecord, bool) {
        let own = sighting.own.clone();
        let is_exact = own.is_some() || self.named.len() == Self::parts(&self.named);
        let given = seen_from(folder, &self.given);
        let mut paths = vec![digest_of(&given)];
        if let Some(real) = &sighting.real {
            let folder =
                platform::canonicalize(folder).or_else(|_| resolve(folder)).unwrap_or_else(|_| folder.to_owned());
            let real = digest_of(&seen_from(&folder, real));
            if !paths.contains(&real) {
                paths.push(real);
            }
        }
        let file = given.to_string_lossy().into_owned();
        let place = own.unwrap_or_else(|| self.named.clone());
        (MirrorRecord { file, paths, place, at: now(), over: Vec::new() }, is_exact)
    }

    /// How many parts name a place of that kind exactly.
    fn parts(place: &[String]) -> usize {
        if place.first().is_some_and(|kind| kind == Homebridge::KIND) { 3 } else { 2 }
    }

    fn choose(&self, folder: &Path, sighting: &Sighting, candidates: &[Candidate]) -> Option<Choice> {
        let (record, is_exact) = self.record_in(folder, sighting);
        let memory = self.memory();
        let last = memory.last.as_deref().filter(|last| last.parent() == Some(folder));
        let wanted = Wanted { record: &record, is_exact, shown: sighting.shown, last, preferred: memory.preferred };
        choose(&wanted, candidates)
    }

    /// The path of a new journal: the first derived name that no journal of another mirror has.
    fn derived(&self, folder: &Path, sighting: &Sighting, may_use: impl Fn(&Path) -> bool) -> PathBuf {
        let (record, _) = self.record_in(folder, sighting);
        let file = match (&self.state_path, &sighting.real) {
            (None, Some(real)) => real.file_name(),
            _ => self.given.file_name(),
        };
        // Beside the file its path does not matter, so the name stays the same if both are moved.
        let path = if self.state_path.is_some() { record.paths.first() } else { record.paths.last() };
        let mut place = record.place.clone();
        if place.len() < Self::parts(&place) {
            // A block without a name is identified by its platform.
            place.extend(place.last().cloned());
        }
        let parts = place.iter().map(String::as_bytes).chain(path.map(String::as_bytes));
        let label = place.get(1).map_or("", String::as_str);
        let label: String =
            label.chars().take(40).map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
        let begun = with(file.unwrap_or_default(), &format!("-{label}-{}", digest(parts)));
        let mut names = (1_u64..).map(|number| match number {
            1 => folder.join(with(&begun, ".json")),
            _ => folder.join(with(&begun, &format!("-{number}.json"))),
        });
        names.find(|path| may_use(path)).unwrap_or_else(|| folder.join(with(&begun, ".json")))
    }

    fn search(&self, place: &Where, sighting: &Sighting) -> Result<(Sought, bool)> {
        let mut locked = Vec::new();
        let mut read = |folder: &PathBuf| {
            let (candidates, others) = self.read(folder);
            locked.extend(others);
            candidates
        };
        let all: Vec<(&PathBuf, Vec<Candidate>)> = place.all.iter().map(|folder| (folder, read(folder))).collect();
        let mut chosen: Vec<(Choice, &Candidate)> = Vec::new();
        let mut absent = None;
        for (folder, candidates) in &all {
            let Some(choice) = self.choose(folder, sighting, candidates) else { continue };
            match candidates.iter().find(|candidate| candidate.path == choice.path) {
                Some(candidate) => chosen.push((choice, candidate)),
                // The journal was used before, and is gone.
                None => absent = absent.or(Some(choice)),
            }
        }
        if let [(one, first), (other, second)] = chosen.as_slice()
            && (first.state.id.is_none() || first.state.id != second.state.id)
        {
            return Err(self.two_journals(&one.path, &other.path));
        }
        let order = |(_, candidate): &(Choice, &Candidate)| (candidate.state.is_at_home(), candidate.state.sequence);
        let newest = chosen.into_iter().max_by_key(order).map(|(choice, _)| choice);
        if let Some(Choice { path, why, spent }) = newest.or(absent) {
            let is_settled = match why {
                Why::Family => true,
                Why::Recorded | Why::Preferred => sighting.shown.is_none(),
            };
            return Ok((Sought { path, folder: place.whose, spent }, is_settled));
        }
        let (folder, candidates) = place.begun_in(&all);
        let may_use = |path: &Path| match candidates.iter().find(|candidate| candidate.path == path) {
            Some(candidate) => candidate.state.mirrors.is_empty(),
            None => true,
        };
        let path = self.derived(folder, sighting, may_use);
        let path = if locked.is_empty() { path } else { self.among_locked(path, locked)? };
        Ok((Sought { path, folder: place.whose, spent: None }, false))
    }

    /// No journal that can be read is this mirror's, and there are others: one of them may be, and know the shown token as spent. So
    /// no new one is made. A logout that may forget what is sealed takes the one that has the name for this mirror, or the only one.
    fn among_locked(&self, derived: PathBuf, locked: Vec<(PathBuf, Error)>) -> Result<PathBuf> {
        let is_derived = locked.iter().any(|(path, _)| *path == derived);
        match <[_; 1]>::try_from(locked) {
            Ok([(path, _)]) if self.codec.forgets_sealed() => Ok(path),
            Err(_) if self.codec.forgets_sealed() && is_derived => Ok(derived),
            Ok([(_, error)]) => Err(error),
            Err(mut several) => {
                several.sort_by_key(|(path, _)| *path != derived);
                Err(several.swap_remove(0).1)
            }
        }
    }

    fn two_journals(&self, one: &Path, other: &Path) -> Error {
        Error::invalid(format!(
            "{} has two journals that are not copies of each other, {} and {}. Move away the one that is not in use: the one that was changed last is most likely the right one. Nothing was sent.",
            self.given.display(),
            one.display(),
            other.display()
        ))
    }

    /// Another place of the same file that shows the family of that state.
    fn other_place(&self, sighting: &Sighting, state: &State) -> Option<String> {
        let knows =
            |token: Fingerprint| !state.spent_elsewhere.contains(&token) && state.recognise(token) != Known::Unknown;
        let shows = |(_, token): &&(Vec<String>, Option<Fingerprint>)| token.is_some_and(knows);
        let (place, _) = sighting.others.iter().find(shows)?;
        Some(format!("{} in {}", called(place), self.given.display()))
    }

    /// Another file that shows the current token of that state, or the one before.
    fn other_file(&self, folder: &Path, sighting: &Sighting, state: &State) -> Option<String> {
        let (own, _) = self.record_in(folder, sighting);
        let newest: Vec<_> = [state.current(), state.previous()]
            .into_iter()
            .flatten()
            .map(|stored| stored.token.fingerprint())
            .collect();
        state.mirrors.iter().filter(|record| !record.is_same_file(&own)).find_map(|record| {
            let path = resolve(&folder.join(&record.file)).ok().filter(|path| Some(path) != sighting.real.as_ref())?;
            let format: Box<dyn Format> = match record.place.as_slice() {
                [kind, platform, name] if kind == Homebridge::KIND => {
                    Box::new(Homebridge::new(platform, Some(name.clone())))
                }
                [kind, key] if kind == Dotenv::KIND => Box::new(Dotenv::new(key).ok()?),
                _ => return None,
            };
            let text = self.disk.read(&path).ok().flatten()?;
            let shown = format.read(&text).ok().flatten().as_ref().and_then(fingerprint_of)?;
            newest.contains(&shown).then(|| format!("{} in {}", called(&record.place), path.display()))
        })
    }
}

/// The folders in which the journal of a mirror may be.
struct Where {
    whose: Folder,
    all: Vec<PathBuf>,
    /// Whether a new journal is created in the second folder if only that one has journals.
    may_begin_in_second: bool,
}

impl Where {
    /// The folder in which a new journal is created, and its content.
    fn begun_in<'a>(&self, all: &'a [(&'a PathBuf, Vec<Candidate>)]) -> (&'a Path, &'a [Candidate]) {
        match all {
            [(_, first), (second, candidates)]
                if self.may_begin_in_second && first.is_empty() && !candidates.is_empty() =>
            {
                (second, candidates)
            }
            [(first, candidates), ..] => (first, candidates),
            [] => (Path::new(""), &[]),
        }
    }
}

impl Finder for WhichJournal {
    fn find(&self) -> Result<Sought> {
        let sighting = self.sightings.last();
        let place = self.folders()?;
        let folders = place.all.iter().map(|folder| (folder.clone(), self.journals(folder).paths())).collect();
        let question = Question { shown: sighting.shown, own: sighting.own.clone(), folders };
        if let Some((former, sought)) = &self.memory().found
            && *former == question
        {
            return Ok(sought.clone());
        }
        let (sought, is_settled) = self.search(&place, &sighting)?;
        // A token that no journal knows may be in one at the next search.
        self.memory().found = is_settled.then(|| (question, sought.clone()));
        Ok(sought)
    }

    fn entered(&self, journal: &Path) {
        self.memory().last = Some(journal.to_owned());
    }

    fn prefer(&self, token: Fingerprint) {
        self.memory().preferred = Some(token);
    }

    fn record(&self, journal: &Path, state: &mut State) -> Vec<Notice> {
        let sighting = self.sightings.last();
        let Some(own) = &sighting.own else { return Vec::new() };
        let folder = journal.parent().unwrap_or(journal);
        let (mut record, _) = self.record_in(folder, &sighting);
        // A place that is no longer in the file was renamed or removed.
        let is_there =
            |place: &Vec<String>| place == own || sighting.others.iter().any(|(other, _)| is_same_place(other, place));
        state.mirrors.retain(|former| !former.is_same_file(&record) || is_there(&former.place));
        let former = state.mirrors.iter().position(|former| former.is_same(&record)).map(|at| state.mirrors.remove(at));
        let is_new = former.is_none();
        if let Some(former) = former {
            record.at = record.at.max(former.at);
            record.over = former.over;
        }
        state.mirrors.push(record);
        let excess = state.mirrors.len().saturating_sub(MAX_MIRRORS);
        state.mirrors.drain(..excess);
        let other = self.other_place(&sighting, state).filter(|_| is_new && state.family.is_some());
        let notice = other.map(|other| {
            Notice(format!(
                "{} shows the same refresh token as {other}, so both use one journal and one token. A login for each would be better: each then has a token of its own.",
                called(own)
            ))
        });
        notice.into_iter().collect()
    }

    fn take_mirror(&self, journal: &Path, state: &mut State, former: &State) {
        drop(self.record(journal, state));
        // A process that has read the former journal may still write its token into the mirror.
        let stored =
            [former.current(), former.previous()].into_iter().flatten().map(|stored| stored.token.fingerprint());
        let over = self.sightings.last().shown.into_iter().chain(stored).collect();
        if let Some(record) = state.mirrors.last_mut() {
            record.over = over;
        }
    }

    fn is_known_beside(&self, journal: &Path, token: Fingerprint) -> Result<bool> {
        let folder = journal.parent().unwrap_or(journal);
        let others = self.read(folder).0.into_iter().filter(|candidate| candidate.path != journal);
        Ok(others.into_iter().any(|candidate| candidate.state.recognise(token) != Known::Unknown))
    }

    fn other_mirror(&self, journal: &Path, state: &State) -> Option<String> {
        let sighting = self.sightings.last();
        let folder = journal.parent().unwrap_or(journal);
        self.other_place(&sighting, state).or_else(|| self.other_file(folder, &sighting, state))
    }

    fn new_path(&self, beside: &Path) -> PathBuf {
        let folder = beside.parent().unwrap_or(beside);
        let taken = self.journals(folder).paths();
        self.derived(folder, &self.sightings.last(), |path| !taken.contains(path))
    }
}

/// Whether two places are the same. A block may name the plugin in front of its platform.
fn is_same_place(one: &[String], other: &[String]) -> bool {
    let bare = |part: &str| part.rsplit('.').next().map(str::to_owned);
    match (one, other) {
        ([kind, platform, name], [other_kind, other_platform, other_name]) => {
            kind == other_kind && name == other_name && bare(platform) == bare(other_platform)
        }
        _ => one == other,
    }
}

/// The name of a place in messages.
fn called(place: &[String]) -> String {
    match place {
        [_, platform, name] if platform == name => format!("the block {name:?}"),
        [_, platform, name] => format!("the block {name:?} of {platform}"),
        [_, key] => key.clone(),
        _ => "another place".to_owned(),
    }
}

/// A path as it is seen from a folder. Both are absolute.
fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    let (folder, path) = (parts_of(folder), parts_of(path));
    let common = folder.iter().zip(&path).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n(OsStr::new(".."), folder.len() - common);
    up.chain(path[common..].iter().map(OsString::as_os_str)).collect()
}

/// The parts of a path, without `.` and `..`.
fn parts_of(path: &Path) -> Vec<OsString> {
    let mut parts: Vec<OsString> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()),
            other => parts.push(other.as_os_str().to_owned()),
        }
    }
    parts
}

fn digest_of(path: &Path) -> String {
    digest(path.iter().map(OsStr::as_encoded_bytes))
}

/// A name with an ending. A name may not be valid text.
fn with(name: &OsStr, ending: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(ending);
    name
}

fn now() -> Millis {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
