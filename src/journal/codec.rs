//! Makes and reads the text of a journal. A codec knows the issuer of the tokens and the key with which the text is
//! sealed. Stores do not know whether a text is sealed.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::format;
use super::seal::{self, Header, Key, Sealed};
use super::state::State;
use crate::{Error, ErrorCode, Result};

/// The source of a key. It is asked when the key is first needed; after a failure, it is asked again when the store is
/// next entered. Clones share the key.
#[derive(Clone)]
pub struct KeySource(Arc<Slot>);

struct Slot {
    ask: Option<Box<dyn Fn() -> Result<Key> + Send + Sync>>,
    /// The thread that gives the answer, and so must not wait for it.
    answers_on: Option<ThreadId>,
    answer: Mutex<Option<Result<Key>>>,
}

impl fmt::Debug for KeySource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeySource(…)")
    }
}

impl From<Key> for KeySource {
    fn from(key: Key) -> Self {
        Self::of(None, Some(Ok(key)), None)
    }
}

impl KeySource {
    /// A source that calls `ask` for the key. `ask` may block.
    pub fn asking(ask: impl Fn() -> Result<Key> + Send + Sync + 'static) -> Self {
        Self::of(Some(Box::new(ask)), None, None)
    }

    /// A source whose key comes from this thread. This thread never waits for the key, and cannot read a sealed text
    /// until another thread has asked for the key.
    pub fn asking_this_thread(ask: impl Fn() -> Result<Key> + Send + Sync + 'static) -> Self {
        Self::of(Some(Box::new(ask)), None, Some(thread::current().id()))
    }

    fn of(
        ask: Option<Box<dyn Fn() -> Result<Key> + Send + Sync>>,
        answer: Option<Result<Key>>,
        answers_on: Option<ThreadId>,
    ) -> Self {
        Self(Arc::new(Slot { ask, answers_on, answer: Mutex::new(answer) }))
    }

    /// Whether the key is missing and this thread must not wait for it.
    pub(super) fn is_shut(&self) -> bool {
        // Another thread that waits for the answer holds the lock.
        let is_there = || self.0.answer.try_lock().is_ok_and(|answer| matches!(&*answer, Some(Ok(_))));
        self.0.answers_on == Some(thread::current().id()) && !is_there()
    }

    /// The key. Blocks until the source answers.
    ///
    /// # Errors
    ///
    /// The error of the source, or `STORE` on the thread that has to give the answer.
    pub fn key(&self) -> Result<Key> {
        let slot = &*self.0;
        if self.is_shut() {
            return Err(later());
        }
        let mut answer = self.answer();
        match (&*answer, &slot.ask) {
            (None, Some(ask)) => {
                let key = ask();
                *answer = Some(key.clone());
                key
            }
            (Some(key), _) => key.clone(),
            (None, None) => Err(later()),
        }
    }

    /// Forgets a failure, so that the key is asked for again.
    fn retry(&self) {
        let mut answer = self.answer();
        if self.0.ask.is_some() && matches!(&*answer, Some(Err(_))) {
            *answer = None;
        }
    }

    fn answer(&self) -> MutexGuard<'_, Option<Result<Key>>> {
        self.0.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error on the thread that must not wait for the key.
pub(super) fn later() -> Error {
    Error::new(ErrorCode::Store, "The store's key is asked for at the first call.")
}

/// The change that the next rotation of a journal makes to its seal.
#[derive(Debug, Clone)]
enum Change {
    Unseal,
    To(KeySource),
}

/// The issuer and the keys with which the text of a journal is made and read.
#[derive(Debug, Clone)]
pub struct Codec {
    issuer: Arc<str>,
    key: Option<KeySource>,
    change: Option<Change>,
    forgets_sealed: bool,
}

impl From<&str> for Codec {
    fn from(issuer: &str) -> Self {
        Self { issuer: issuer.into(), key: None, change: None, forgets_sealed: false }
    }
}

impl From<String> for Codec {
    fn from(issuer: String) -> Self {
        issuer.as_str().into()
    }
}

impl From<&String> for Codec {
    fn from(issuer: &String) -> Self {
        issuer.as_str().into()
    }
}

impl From<&Codec> for Codec {
    fn from(codec: &Self) -> Self {
        codec.clone()
    }
}

/// The form of a text: plain or sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Plain text.
    Plain,
    /// Text that is sealed with this key.
    Sealed(Key),
}

/// The purpose of a write of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The journal gets a new token. The key can change with this write.
    Rotated,
    /// Any other write of a journal that this process uses.
    Kept,
    /// A write into a journal that this process does not use.
    Visited,
}

/// The content of a file, opened.
pub(super) struct Opened<'a> {
    /// The text of the journal, whole or torn.
    pub(super) text: Cow<'a, [u8]>,
    /// The form in which it was written.
    pub(super) form: Form,
}

/// The reason why a content cannot be read.
#[derive(Debug)]
pub(super) enum Shut {
    /// A later version of this package wrote the content.
    Newer(u64),
    /// The content holds tokens of this other issuer.
    OtherIssuer(String),
    /// The key of the content is not available.
    Locked(Box<Locked>),
}

/// A sealed content whose key is not available, with the reason.
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) header: Header,
    /// The fingerprint of the key that it needs, if the content names it.
    needed: Option<String>,
    why: Lacking,
}

#[derive(Debug)]
enum Lacking {
    /// No key was given.
    Nothing,
    /// Other keys were given. These are their fingerprints.
    Others(Vec<String>),
    /// The source of the key failed.
    Failed(Error),
}

impl Locked {
    /// The error for what is sealed, such as `journal /path`.
    pub(super) fn error(&self, what: &str) -> Error {
        let needed = self.needed.as_ref().map_or_else(String::new, |key| format!(" with the key {key}"));
        match &self.why {
            Lacking::Nothing => Error::new(
                ErrorCode::Store,
                format!(
                    "The {what} is sealed{needed}, and no key was given. Give it as the store's key. Nothing was changed, and nothing was sent."
                ),
            ),
            Lacking::Others(given) => Error::new(
                ErrorCode::Store,
                format!(
                    "The {what} is sealed{needed}, and the key that was given is another one, {}. Give the right one as the store's key. Nothing was changed, and nothing was sent.",
                    given.join(" or ")
                ),
            ),
            Lacking::Failed(error) => {
                error.clone().with_message(format!("The {what} is sealed, and its key is missing. {}", error.message()))
            }
        }
    }
}

impl Codec {
    /// Seals journals with that key, and reads journals that are sealed with it.
    #[must_use]
    pub fn with_key(self, key: KeySource) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Writes the journal as plain text from the next rotation of the token on.
    #[must_use]
    pub fn unsealing(self) -> Self {
        Self { change: Some(Change::Unseal), ..self }
    }

    /// Seals the journal with that key from the next rotation of the token on, and reads a journal that is sealed with
    /// it already.
    #[must_use]
    pub fn with_new_key(self, key: KeySource) -> Self {
        Self { change: Some(Change::To(key)), ..self }
    }

    /// Allows a logout to forget a journal whose key is lost.
    #[must_use]
    pub fn forgetting_sealed(self) -> Self {
        Self { forgets_sealed: true, ..self }
    }

    /// The origin of the server that the tokens are for.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Forgets failures of the key sources, so that the keys are asked for again.
    pub(super) fn retry(&self) {
        let new = match &self.change {
            Some(Change::To(key)) => Some(key),
            Some(Change::Unseal) | None => None,
        };
        self.key.iter().chain(new).for_each(KeySource::retry);
    }

    /// Whether this codec seals what it writes, apart from a change of the key.
    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The key as text, if there is one. Asks the source of the key.
    ///
    /// # Errors
    ///
    /// The errors of [`KeySource::key`].
    pub(crate) fn key_text(&self) -> Result<Option<crate::Secret>> {
        self.key.as_ref().map(|key| key.key().map(|key| key.to_text())).transpose()
    }

    /// Whether this codec changes the key of the journal.
    pub(crate) fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Whether a content has the form that the change of keys makes. `true` if there is no change to make.
    pub(crate) fn has_changed(&self, bytes: &[u8]) -> bool {
        let Some(change) = &self.change else { return true };
        let found = self.open(bytes).ok().map(|opened| opened.form);
        match change {
            Change::Unseal => found == Some(Form::Plain),
            Change::To(key) => key.key().is_ok_and(|key| found == Some(Form::Sealed(key))),
        }
    }

    /// Whether a journal whose key is lost may be forgotten.
    pub(crate) fn forgets_sealed(&self) -> bool {
        self.forgets_sealed
    }

    /// Whether the key is missing and this thread must not wait for it.
    pub(crate) fn is_shut(&self) -> bool {
        self.key.as_ref().is_some_and(KeySource::is_shut)
    }

    /// Reads a content of this issuer.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Result<Opened<'a>, Shut> {
        self.unlock(bytes, |issuer| issuer.is_empty() || issuer == &*self.issuer)
    }

    /// Reads a content of any issuer.
    pub(super) fn open_any<'a>(&self, bytes: &'a [u8]) -> Result<Opened<'a>, Shut> {
        self.unlock(bytes, |_| true)
    }

    fn unlock<'a>(&self, bytes: &'a [u8], is_wanted: impl FnOnce(&str) -> bool) -> Result<Opened<'a>, Shut> {
        let sealed = match Sealed::read(bytes) {
            Ok(None) => return Ok(Opened { text: bytes.into(), form: Form::Plain }),
            Ok(Some(sealed)) => sealed,
            Err(version) => return Err(Shut::Newer(version)),
        };
        // This check comes before a source is asked for its key.
        if !is_wanted(&sealed.header.issuer) {
            return Err(Shut::OtherIssuer(sealed.header.issuer));
        }
        let new = match &self.change {
            Some(Change::To(key)) => Some(key),
            Some(Change::Unseal) | None => None,
        };
        let (mut others, mut failed) = (Vec::new(), None);
        for source in self.key.iter().chain(new) {
            match source.key() {
                Ok(key) if sealed.key.as_deref().is_none_or(|needed| needed == key.fingerprint()) => {
                    return Ok(Opened { text: sealed.open(&key).into(), form: Form::Sealed(key) });
                }
                Ok(key) => others.push(key.fingerprint().to_owned()),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let why = match failed {
            Some(error) => Lacking::Failed(error),
            None if others.is_empty() => Lacking::Nothing,
            None => Lacking::Others(others),
        };
        Err(Shut::Locked(Box::new(Locked { header: sealed.header, needed: sealed.key, why })))
    }

    /// The form in which to write a journal that was found in the form `found`.
    ///
    /// # Errors
    ///
    /// The errors of [`KeySource::key`].
    pub(super) fn form(&self, found: Option<&Form>, step: Step) -> Result<Form> {
        if step == Step::Visited {
            return Ok(found.cloned().unwrap_or(Form::Plain));
        }
        let usual = match (&self.key, &self.change) {
            (Some(key), _) => Form::Sealed(key.key()?),
            (None, Some(_)) => found.cloned().unwrap_or(Form::Plain),
            (None, None) => Form::Plain,
        };
        let changed = match &self.change {
            None => return Ok(usual),
            Some(Change::Unseal) => Form::Plain,
            Some(Change::To(key)) => Form::Sealed(key.key()?),
        };
        let is_done = found == Some(&changed);
        Ok(if step == Step::Rotated || is_done { changed } else { usual })
    }
}

impl Form {
    /// The bytes of a state for the file with that name.
    ///
    /// # Errors
    ///
    /// `STORE` if the system gives no random numbers, which sealing needs.
    pub(super) fn encode(&self, state: &State, name: &str) -> Result<Vec<u8>> {
        let text = format::encode(state, name);
        let Self::Sealed(key) = self else { return Ok(text) };
        let header = Header {
            name: name.to_owned(),
            issuer: state.issuer.clone(),
            id: state.id.map(|id| id.to_string()),
            sequence: Some(state.sequence),
        };
        let sealed = seal::fresh_nonce().and_then(|nonce| seal::seal(&text, key, &header, nonce));
        sealed.ok_or_else(|| {
            Error::new(ErrorCode::Store, "The journal cannot be sealed: the system gives no random numbers.")
        })
    }

    /// A damaged content in the form in which it is kept beside the journal of that name. The result has the same bytes
    /// each time.
    pub(super) fn keep<'a>(&self, bytes: &'a [u8], (issuer, name): (&str, &str)) -> Cow<'a, [u8]> {
        let Self::Sealed(key) = self else { return bytes.into() };
        if matches!(Sealed::read(bytes), Ok(Some(sealed)) if sealed.hides_everything()) {
            return bytes.into();
        }
        let header = Header { name: name.to_owned(), issuer: issuer.to_owned(), ..Header::default() };
        seal::seal(bytes, key, &header, seal::nonce_of(bytes, key)).map_or_else(|| bytes.into(), Cow::from)
    }

    /// The first bytes of the space that is reserved for an answer.
    pub(super) fn signature(&self) -> &'static str {
        match self {
            Self::Plain => format::SIGNATURE,
            Self::Sealed(_) => seal::SIGNATURE,
        }
    }

    /// The number of bytes that this form needs for so many more bytes of text.
    pub(super) fn length_of(&self, bytes: usize) -> usize {
        match self {
            Self::Plain => bytes,
            Self::Sealed(_) => bytes.div_ceil(3) * 4,
        }
    }
}

/// The key and the issuer that a sealed content names, read without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedWith {
    /// The key's fingerprint; `None` if the content was torn before it.
    pub fingerprint: Option<String>,
    /// The origin of the server that its tokens are for.
    pub issuer: String,
}

/// The key and the issuer that a sealed journal names; `None` for any other content. Needs no key.
pub fn sealed_with(bytes: &[u8]) -> Option<SealedWith> {
    let sealed = Sealed::read(bytes).ok().flatten()?;
    Some(SealedWith { fingerprint: sealed.key, issuer: sealed.header.issuer })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::state::{Access, Sent};
    use super::super::{Begun, JournalStore, Store};
    use super::*;
    use crate::files::Disk;
    use crate::token::RefreshToken;

    const ISSUER: &str = "https://oauth.ring.com";

    fn key(byte: u8) -> Key {
        Key::new([byte; seal::KEY_BYTES])
    }

    fn sealed(byte: u8) -> Codec {
        Codec::from(ISSUER).with_key(key(byte).into())
    }

    fn store(path: &Path, codec: &Codec) -> JournalStore {
        JournalStore::open(path, codec, Disk::default()).unwrap()
    }

    fn write(path: &Path, codec: &Codec, raw: &str) -> Vec<String> {
        let mut guard = store(path, codec).try_lock().unwrap().unwrap();
        let found = guard.read().unwrap();
        let mut state = found.state;
        state.take_over(RefreshToken::from_raw(raw), 1);
        guard.commit(&mut state).unwrap();
        found.notices.into_iter().map(|notice| notice.0).collect()
    }

    /// Does what a refresh does to the journal. Without `to`, the request fails.
    fn rotate(path: &Path, codec: &Codec, to: Option<&str>) {
        let mut guard = store(path, codec).try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        assert!(matches!(guard.begin(&mut state).unwrap(), Begun::Ready(_)));
        if let Some(to) = to {
            let access = Access {
                token: "canary-access".into(),
                token_type: "Bearer".into(),
                scope: "client".into(),
                obtained_at: 1,
                lifetime: Duration::from_secs(1),
            };
            state.rotated(Sent::Current, to, "hid", access);
        }
        guard.commit(&mut state).unwrap();
    }

    fn current(path: &Path, codec: &Codec) -> Option<String> {
        store(path, codec).peek().unwrap().and_then(|state| state.family).map(|family| family.current.token.raw())
    }

    fn refused(path: &Path, codec: &Codec) -> (ErrorCode, String) {
        let store = store(path, codec);
        let peeked = store.peek().unwrap_err();
        let read = store.try_lock().unwrap().unwrap().read().unwrap_err();
        assert_eq!((peeked.code(), peeked.message()), (read.code(), read.message()));
        (read.code(), read.message().to_owned())
    }

    /// All files of a folder except the locks.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let files =
            entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
        files.filter(|(name, _)| Path::new(name).extension().is_none_or(|ending| ending != "lock")).collect()
    }

    fn shows(folder: &Path, text: &str) -> Vec<String> {
        let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        files(folder).into_iter().filter(|(_, bytes)| has(bytes)).map(|(name, _)| name).collect()
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j.json");
        (folder, path)
    }

    #[test]
    fn a_journal_with_a_key_is_read_with_that_key_alone() {
        let (folder, path) = folder();
        write(&path, &sealed(1), "canary-a");
        rotate(&path, &sealed(1), Some("canary-b"));
        assert_eq!(current(&path, &sealed(1)).as_deref(), Some("canary-b"));
        assert_eq!(shows(folder.path(), "canary"), [""; 0]);
        assert_eq!(shows(folder.path(), &RefreshToken::from_raw("canary-b").wrapped().expose()[..12]), [""; 0]);
        let before = files(folder.path());
        let (code, message) = refused(&path, &ISSUER.into());
        assert_eq!(code, ErrorCode::Store);
        let needed = format!("is sealed with the key {}, and no key was given.", key(1).fingerprint());
        assert!(message.contains(&needed), "{message}");
        // If a text was torn before its fingerprint, the message cannot name the key.
        let torn = folder.path().join("torn.json");
        std::fs::write(&torn, &before["j.json"][..40]).unwrap();
        let (code, message) = refused(&torn, &ISSUER.into());
        assert_eq!(code, ErrorCode::Store);
        assert!(message.contains("torn.json is sealed, and no key was given."), "{message}");
        std::fs::remove_file(&torn).unwrap();
        let (code, message) = refused(&path, &sealed(2));
        assert_eq!(code, ErrorCode::Store);
        assert!(message.contains(key(1).fingerprint()) && message.contains(key(2).fingerprint()), "{message}");
        // The error about another server comes before a key is asked for.
        let unasked = KeySource::asking(|| panic!("nobody may be asked"));
        let other = Codec::from("http://127.0.0.1:1").with_key(unasked);
        let (code, message) = refused(&path, &other);
        assert_eq!(code, ErrorCode::InvalidArgument);
        assert!(message.contains("holds tokens of https://oauth.ring.com"), "{message}");
        assert_eq!(files(folder.path()), before, "nothing was changed");
        let said = sealed_with(&before["j.json"]).unwrap();
        assert_eq!((said.fingerprint.as_deref(), &*said.issuer), (Some(key(1).fingerprint()), ISSUER));
        assert_eq!(sealed_with(b"{}"), None);
    }

    #[test]
    fn a_plain_journal_is_sealed_at_its_next_write_with_all_that_lies_beside_it() {
        let (folder, path) = folder();
        write(&path, &ISSUER.into(), "canary-a");
        let whole = std::fs::read(&path).unwrap();
        let at = whole.windows(9).position(|window| window == b"\"proven\":").unwrap();
        let torn = &whole[..at];
        std::fs::write(format!("{}.damaged-{:x}", path.display(), 1), torn).unwrap();
        std::fs::write(&path, torn).unwrap();
        assert_eq!(current(&path, &sealed(1)), Some("canary-a".into()), "its record is whole");
        // A process without a key keeps the damaged journal, and leaves a part of a copy behind.
        write(&path, &ISSUER.into(), "canary-b");
        std::fs::write(path.with_file_name("j.json.spare"), &whole[..at - 200]).unwrap();
        let other = "j.json.damaged-1".to_owned();
        let kept = shows_name(folder.path(), "damaged-");
        assert!(kept.contains(&other), "its name does not have the digest of its content");
        assert_eq!(kept.len(), 2);
        let wrapped = RefreshToken::from_raw("canary-a").wrapped();
        assert_eq!(shows_name(folder.path(), "").len(), 4, "a key alone changes nothing");
        rotate(&path, &sealed(1), Some("canary-c"));
        assert_eq!(current(&path, &sealed(1)).as_deref(), Some("canary-c"));
        assert_eq!(shows(folder.path(), wrapped.expose()), [&*other], "what is not ours is left as it is");
        assert!(!folder.path().join("j.json.spare").exists());
        let kept = shows_name(folder.path(), "damaged-").into_iter().find(|name| *name != other).unwrap();
        let bytes = std::fs::read(folder.path().join(&kept)).unwrap();
        assert_eq!(*sealed(1).open(&bytes).unwrap().text, *torn, "with the key it can be read");
        let before = files(folder.path());
        assert_eq!(write(&path, &sealed(1), "canary-d"), [""; 0]);
        assert_eq!(files(folder.path()).keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    }

    fn shows_name(folder: &Path, part: &str) -> Vec<String> {
        files(folder).into_keys().filter(|name| name.contains(part)).collect()
    }

    #[test]
    fn with_the_right_key_a_changed_text_is_damage_and_its_whole_token_is_used() {
        let (folder, path) = folder();
        write(&path, &sealed(1), "canary-a");
        let whole = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = whole.lines().filter(|line| line.starts_with("    ")).collect();
        let other = |line: &str| line.replacen(&line[5..9], if &line[5..9] == "AAAA" { "BBBB" } else { "AAAA" }, 1);
        // This line has the digest. Everything else stays whole.
        std::fs::write(&path, whole.replacen(lines[lines.len() - 2], &other(lines[lines.len() - 2]), 1)).unwrap();
        let notices = write(&path, &sealed(1), "canary-b");
        assert!(notices[0].contains("its newest token is whole"), "{notices:?}");
        assert_eq!(shows(folder.path(), "canary"), [""; 0]);
        let all = lines.iter().fold(whole.clone(), |text, line| text.replacen(line, &other(line), 1));
        std::fs::write(&path, &all).unwrap();
        let before = files(folder.path());
        assert_eq!(refused(&path, &ISSUER.into()).0, ErrorCode::Store, "nobody knows without the key");
        assert_eq!(files(folder.path()), before);
        let mut guard = store(&path, &sealed(1)).try_lock().unwrap().unwrap();
        let found = guard.read().unwrap();
        assert!(found.state.family.is_none() && found.notices[0].0.contains("was damaged. It was kept as"));
        assert!(files(folder.path()).values().any(|bytes| *bytes == all.as_bytes()) && !path.exists());
    }

    #[test]
    fn a_plain_text_that_is_moved_aside_is_sealed_first() {
        let (folder, path) = folder();
        let damaged =
            "{\n  \"ring-auth-journal\": \"j.json\",\n  \"version\": 1,\n  \"current\": {\"token\": \"canary\"";
        std::fs::write(&path, damaged).unwrap();
        for _ in 0..2 {
            let mut guard = store(&path, &sealed(1)).try_lock().unwrap().unwrap();
            guard.read().unwrap();
        }
        let files = files(folder.path());
        assert_eq!(files.len(), 1, "{files:?}");
        let (name, bytes) = files.into_iter().next().unwrap();
        assert!(name.contains("damaged-") && shows(folder.path(), "canary").is_empty());
        assert_eq!(*sealed(1).open(&bytes).unwrap().text, *damaged.as_bytes());
        store(&path, &sealed(1)).try_lock().unwrap().unwrap().forget().unwrap();
        assert!(shows_name(folder.path(), "damaged-").is_empty(), "a logout knows it");
    }

    #[test]
    fn a_later_version_is_left_alone_with_and_without_a_key() {
        let (folder, path) = folder();
        write(&path, &sealed(1), "a");
        let later = std::fs::read_to_string(&path).unwrap().replacen("\"version\": 1", "\"version\": 9", 1);
        std::fs::write(&path, later).unwrap();
        let before = files(folder.path());
        for codec in [Codec::from(ISSUER), sealed(1), sealed(2), sealed(1).forgetting_sealed()] {
            let (code, message) = refused(&path, &codec);
            assert!(code == ErrorCode::Store && message.contains("later version"), "{message}");
            assert!(store(&path, &codec).try_lock().unwrap().unwrap().forget().is_err());
        }
        assert_eq!(files(folder.path()), before);
    }

    #[test]
    fn the_key_changes_with_a_new_token_and_not_before() {
        let (folder, path) = folder();
        let (to_new, to_plain) = (sealed(1).with_new_key(key(2).into()), sealed(2).unsealing());
        write(&path, &sealed(1), "canary-a");
        rotate(&path, &to_new, None);
        assert_eq!(current(&path, &sealed(1)).as_deref(), Some("canary-a"), "a refresh that failed");
        rotate(&path, &to_new, Some("canary-b"));
        assert_eq!(current(&path, &sealed(2)).as_deref(), Some("canary-b"));
        assert_eq!(refused(&path, &sealed(1)).0, ErrorCode::Store);
        assert_eq!(shows(folder.path(), "canary"), [""; 0]);
        // A second change to the same key, with a refresh that fails, leaves the journal as it is.
        rotate(&path, &to_new, None);
        assert_eq!(current(&path, &sealed(2)).as_deref(), Some("canary-b"));
        rotate(&path, &to_plain, None);
        assert_eq!(refused(&path, &ISSUER.into()).0, ErrorCode::Store);
        rotate(&path, &to_plain, Some("canary-c"));
        assert_eq!(current(&path, &ISSUER.into()).as_deref(), Some("canary-c"));
        // A plain journal gets its first key in the same way.
        let first = Codec::from(ISSUER).with_new_key(key(3).into());
        rotate(&path, &first, None);
        assert_eq!(current(&path, &ISSUER.into()).as_deref(), Some("canary-c"));
        rotate(&path, &first, Some("canary-d"));
        assert_eq!(current(&path, &sealed(3)).as_deref(), Some("canary-d"));
    }

    #[test]
    fn a_process_that_was_stopped_while_the_key_changed_leaves_the_newest_token_to_whoever_has_the_new_key() {
        let (folder, path) = folder();
        let next = path.with_file_name("j.json.next");
        write(&path, &sealed(1), "canary-a");
        rotate(&path, &sealed(1), Some("canary-b"));
        let before = std::fs::read(&path).unwrap();
        rotate(&path, &sealed(1).with_new_key(key(2).into()), Some("canary-c"));
        let after = std::fs::read(&path).unwrap();
        std::fs::write(&path, &before).unwrap();
        std::fs::write(&next, &after).unwrap();
        let there = files(folder.path());
        let (code, message) = refused(&path, &sealed(1));
        assert!(code == ErrorCode::Store && message.contains(key(2).fingerprint()), "{message}");
        assert_eq!(refused(&path, &ISSUER.into()).0, ErrorCode::Store);
        assert_eq!(files(folder.path()), there, "nothing older is used, and nothing was changed");
        for codec in [sealed(2), sealed(1).with_new_key(key(2).into())] {
            assert_eq!(current(&path, &codec).as_deref(), Some("canary-c"));
        }
        rotate(&path, &sealed(2), Some("canary-d"));
        assert_eq!(current(&path, &sealed(2)).as_deref(), Some("canary-d"));
        assert!(!next.exists());
        // A copy that is older is removed.
        std::fs::write(&next, &before).unwrap();
        rotate(&path, &sealed(2), Some("canary-e"));
        assert!(!next.exists());
        // A copy of another journal, which was at this path before, is left alone.
        let other = path.with_file_name("other").join("j.json");
        write(&other, &sealed(5), "canary-other");
        std::fs::copy(&other, &next).unwrap();
        rotate(&path, &sealed(2), Some("canary-f"));
        assert!(next.exists());
    }

    #[test]
    fn without_the_key_a_journal_is_forgotten_only_by_force() {
        let (folder, path) = folder();
        write(&path, &sealed(1), "a");
        rotate(&path, &sealed(1), Some("b"));
        std::fs::copy(&path, path.with_file_name("j.json.spare")).unwrap();
        let before = files(folder.path());
        let sequence = store(&path, &sealed(1)).peek().unwrap().unwrap().sequence;
        for codec in [Codec::from(ISSUER), sealed(2)] {
            let error = store(&path, &codec).try_lock().unwrap().unwrap().forget().unwrap_err();
            assert_eq!(error.code(), ErrorCode::Store);
            assert_eq!(files(folder.path()), before);
        }
        let forced = Codec::from(ISSUER).forgetting_sealed();
        store(&path, &forced).try_lock().unwrap().unwrap().forget().unwrap();
        let left = store(&path, &ISSUER.into()).peek().unwrap().unwrap();
        assert!(left.family.is_none() && left.logged_out_at.is_some());
        assert!(left.sequence > sequence, "a manager that runs takes it for newer");
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[test]
    fn a_journal_elsewhere_that_is_told_something_stays_as_plain_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = crate::files::platform::canonicalize(folder.path()).unwrap();
        let [one, two] = ["one", "two"].map(|name| at.join(name).join("j.json"));
        for (before, after) in [(Codec::from(ISSUER), sealed(1)), (sealed(1), sealed(1))] {
            for path in [&one, &two] {
                let _ = std::fs::remove_dir_all(path.parent().unwrap());
                std::fs::create_dir(path.parent().unwrap()).unwrap();
            }
            write(&one, &before, "a");
            std::fs::copy(&one, &two).unwrap();
            let mut guard = store(&two, &after).try_lock().unwrap().unwrap();
            let mut state = guard.read().unwrap().state;
            let claim = guard.claim(&mut state).unwrap();
            assert!(matches!(&claim, super::super::Claim::Here(notices) if notices.is_empty()), "{claim:?}");
            guard.begin(&mut state).unwrap();
            drop(guard);
            assert_eq!(store(&one, &before).peek_moved(), Some(two.clone()));
        }
    }

    impl JournalStore {
        fn peek_moved(&self) -> Option<PathBuf> {
            self.peek().unwrap().unwrap().moved
        }
    }

    #[test]
    fn a_key_is_asked_for_once_and_again_only_after_a_failure() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let source = KeySource::asking(move || {
            thread::sleep(Duration::from_millis(50));
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Error::new(ErrorCode::Store, "Not yet.")),
                _ => Ok(key(7)),
            }
        });
        let all = |source: &KeySource| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let source = source.clone();
                    thread::spawn(move || source.key())
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap().is_ok()).collect::<Vec<_>>()
        };
        assert!(source.key().is_err() && source.key().is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 1, "one call may look several times");
        source.retry();
        assert_eq!(all(&source), [true; 8]);
        source.retry();
        assert!(source.key().is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let failing = KeySource::asking(|| Err(Error::new(ErrorCode::Store, "canary")));
        assert_eq!(all(&failing), [false; 8]);
        assert!(!format!("{source:?} {:?}", sealed(1)).contains('7'), "{source:?}");
    }

    #[test]
    fn the_thread_that_has_to_answer_never_waits() {
        let (_folder, path) = folder();
        write(&path, &sealed(1), "a");
        let source = KeySource::asking_this_thread(|| Ok(key(1)));
        let store = store(&path, &Codec::from(ISSUER).with_key(source.clone()));
        assert!(store.is_shut());
        assert_eq!(store.peek().unwrap_err().message(), later().message());
        let elsewhere = store.clone();
        let found = thread::spawn(move || elsewhere.peek().unwrap().unwrap().family.is_some()).join().unwrap();
        assert!(found && !store.is_shut() && store.peek().is_ok(), "from then on it is known");
        assert_eq!(source.key(), Ok(key(1)));
    }

    #[test]
    fn a_key_that_did_not_come_is_said_beside_the_file() {
        let (_folder, path) = folder();
        write(&path, &sealed(1), "a");
        let failing = KeySource::asking(|| Err(Error::new(ErrorCode::Store, "The command failed.")));
        let (code, message) = refused(&path, &Codec::from(ISSUER).with_key(failing));
        assert_eq!(code, ErrorCode::Store);
        assert_eq!(
            message,
            format!("The journal {} is sealed, and its key is missing. The command failed.", path.display())
        );
    }
}
