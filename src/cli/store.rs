//! The store that the options choose: finding it, and what the commands do with it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::args::{Options, StoreOptions};
use super::flags::{Flag, FlagId};
use crate::files::{Disk, platform, unusable};
use crate::journal::state::State;
use crate::journal::{Begun, Codec, ELSEWHERE, Notice};
use crate::location::{Location, Opened};
use crate::manager::Shown;
use crate::mirror::{Attempts, Dotenv, Homebridge, Introduced, Purpose, Target};
use crate::pasted::Flaw;
use crate::{Error, ErrorCode, Result, Secret};

/// The name of Homebridge's configuration file.
const CONFIG: &str = "config.json";

/// The store that the options choose.
pub(super) struct ChosenStore {
    location: Location,
    /// The options that choose it, as the user can type them again.
    typed: String,
    /// The path of the module that exports it, as it was typed.
    module: Option<String>,
}

/// The result of a logout whose journal is forgotten.
#[derive(Debug)]
pub(super) struct Forgotten {
    /// The notices about the mirror for the user, or the reason why the mirror still shows the token.
    pub(super) cleared: Result<Vec<Notice>>,
}

impl ChosenStore {
    /// Finds the store. Opens nothing yet.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if `--homebridge` has no path and not exactly one of the usual places has a configuration, for a
    /// key that cannot be the name of a variable, and for a module that JavaScript has not loaded.
    pub(super) fn find(options: &Options) -> Result<Self> {
        let path = match &options.store.chosen {
            Some((Flag { id: FlagId::StoreModule, .. }, path)) => path.as_deref(),
            _ => None,
        };
        let location = match (path, &options.module) {
            (Some(_), Some(module)) => module.location.clone(),
            (Some(_), None) => {
                return Err(Error::invalid(
                    "The module of --store-module is loaded by the package's own command, npx ring-auth.",
                ));
            }
            (None, _) => location(&options.store)?,
        };
        let module = path.map(|path| path.display().to_string());
        Ok(Self { location, typed: typed(&options.store), module })
    }

    /// Opens the store. Writes nothing yet.
    pub(super) fn open(&self, codec: &Codec, purpose: Purpose) -> Result<Opened> {
        self.location.open(codec, Disk::default(), purpose).map_err(|error| match error.code() {
            ErrorCode::InvalidArgument => {
                named(&error, &[("Say which by its name", "Say which with --name"), ("The state path", "--state-dir")])
            }
            _ => error,
        })
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// The file in which people look for the token; `None` if the token is only printed.
    pub(super) fn path(&self) -> Option<&Path> {
        self.location.path()
    }

    /// Whether the token is kept; otherwise it is only printed.
    pub(super) fn keeps(&self) -> bool {
        !matches!(self.location, Location::Memory)
    }

    /// The place of the token, for messages.
    pub(super) fn place(&self) -> String {
        match (self.path(), &self.module) {
            (Some(path), _) => path.display().to_string(),
            (None, Some(module)) => format!("the store of {module}"),
            (None, None) => String::new(),
        }
    }

    /// The file of the mirror, and the place of the token in it.
    pub(super) fn target(&self) -> Option<&Target> {
        self.location.target()
    }

    /// The options that choose the store, as the user can type them again.
    pub(super) fn typed(&self) -> &str {
        &self.typed
    }

    pub(super) fn is_homebridge(&self) -> bool {
        matches!(self.target(), Some(Target::Homebridge { .. }))
    }

    /// Sentences about the changes beyond the token.
    pub(super) fn changes(&self, made: &Introduced) -> Vec<String> {
        let mut sentences = Vec::new();
        if let Some(target) = self.target().filter(|_| made.added) {
            sentences.push(match target {
                Target::Homebridge { platform, .. } => {
                    let platform = platform.as_deref().unwrap_or(Homebridge::PLATFORM);
                    format!("There was no block with the platform {platform:?} in it: one was added.")
                }
                Target::Dotenv { key, .. } => {
                    format!("There was no {} in it: it was added.", key.as_deref().unwrap_or(Dotenv::KEY))
                }
            });
        }
        if !made.removed.is_empty() {
            sentences
                .push(format!("Removed from it, because the token replaces them: {}.", made.removed.join(" and ")));
        }
        sentences
    }

    /// Adds to an error the command that fixes it, with the options of this store.
    pub(super) fn in_our_words(&self, error: Error) -> Error {
        match error.code() {
            _ if !self.keeps() => error,
            ErrorCode::NoRefreshToken if error.message().starts_with(ELSEWHERE) => {
                let login = format!("with `ring-auth login {}`", self.typed);
                error.clone().with_message(error.message().replace("with `npx ring-auth`", &login))
            }
            ErrorCode::NoRefreshToken => self.nothing_yet(),
            ErrorCode::RefreshTokenRejected => {
                let what = error.message().split("Log in again").next().unwrap_or_default().trim_end().to_owned();
                error.clone().with_message(format!("{what} Log in again with: ring-auth login {}", self.typed))
            }
            _ => error,
        }
    }

    /// The error if the file has a text in place of the token that cannot be one.
    pub(super) fn nothing_but(&self, flaw: Flaw) -> Error {
        let error = flaw.nothing_in(&self.place());
        let message = format!("{} Or get one with: ring-auth login {}", error.message(), self.typed);
        error.with_message(message)
    }

    /// The error if neither the journal nor a copy of it can be used.
    pub(super) fn damaged(&self, journal: &Path) -> Error {
        Error::new(
            ErrorCode::NoRefreshToken,
            format!(
                "The journal {} is damaged, and there is no whole copy of it, so it holds no refresh token. Get one with: ring-auth login {}",
                journal.display(),
                self.typed
            ),
        )
    }

    /// The error if there is no token yet.
    pub(super) fn nothing_yet(&self) -> Error {
        let place = self.place();
        Error::new(
            ErrorCode::NoRefreshToken,
            format!("There is no refresh token in {place} yet. Get one with: ring-auth login {}", self.typed),
        )
    }
}

/// What the commands do with an opened store.
impl Opened {
    /// Checks, before the user is asked for anything, that a token can be stored. Returns what a login would change beyond the token, and
    /// notices for the user. Blocks.
    pub(super) fn dry_run(&self) -> Result<(Introduced, Vec<Notice>)> {
        let Some(mirror) = self.file_mirror() else { return Ok((Introduced::default(), Vec::new())) };
        // A file that cannot be read is reported before anything is created beside it.
        mirror.look(Attempts::Several)?;
        let mut notices = Vec::new();
        let guard = self.store.try_lock()?;
        let introduced = mirror.dry_run()?;
        // If another process holds the lock, it writes the journal, so the journal can be written.
        if let Some(mut guard) = guard {
            let mut found = guard.read()?;
            notices.extend(found.notices);
            // If another process has written in the meantime, the journal can be written.
            if let Begun::Ready(more) = guard.begin(&mut found.state)? {
                notices.extend(more);
            }
        }
        Ok((introduced, notices))
    }

    /// Forgets the token in the journal and removes it from the mirror, in one critical section: this process holds the lock of the
    /// journal until the mirror shows no token. Another process that takes the lock sees both changes or none. If only the journal were
    /// forgotten, it would take the token in the mirror for a pasted one.
    ///
    /// Returns `None`, and changes nothing, if another process holds the journal's lock. Blocks.
    ///
    /// # Errors
    ///
    /// `STORE` if neither the file nor a place for its journal exists. As for [`Store::try_lock`](crate::journal::Store::try_lock),
    /// [`Mirror::look`](crate::mirror::Mirror::look) and [`Mirror::reconcile`](crate::mirror::Mirror::reconcile); the token is still in the journal then.
    pub(super) fn forget(&self, path: Option<&Path>) -> Result<Option<Forgotten>> {
        if let Some(path) = path
            && matches!(path.try_exists(), Ok(false))
            && !self.has_folder_of_journal()
        {
            return Err(unusable(path.display(), "found", &io::ErrorKind::NotFound.into()));
        }
        let mirror = self.file_mirror().filter(|_| path.is_some_and(Path::exists));
        if let Some(mirror) = mirror {
            // A file that cannot be read is reported before anything is created beside it.
            mirror.look(Attempts::Several)?;
        }
        let Some(mut guard) = self.store.try_lock()? else { return Ok(None) };
        let Some(mirror) = mirror else {
            let notices = guard.forget()?;
            return Ok(Some(Forgotten { cleared: Ok(notices) }));
        };
        // A file that cannot be read cannot be cleared, and then the journal must not be forgotten.
        mirror.look(Attempts::Several)?;
        // The mirror's lock comes second, as everywhere. Another process writes into the mirror what the journal holds at that moment. So
        // the journal is forgotten first: from then on no process writes the token back.
        let mut forgotten = None;
        let mut forget_then_clear = |shown: Option<&Secret>| {
            let shown = Shown::beside(None, shown);
            if forgotten.is_none() {
                forgotten = Some(guard.forget()?);
            }
            Ok(shown.cleared())
        };
        let cleared = mirror.reconcile(&mut forget_then_clear).and_then(|reconciled| {
            // The former version of the file, which contains the token, stays beside it until the next look.
            mirror.reconcile(&mut forget_then_clear)?;
            Ok(reconciled.notices)
        });
        match (cleared, forgotten) {
            (Err(error), None) => Err(error),
            (cleared, forgotten) => {
                let cleared = cleared.map(|notices| forgotten.into_iter().flatten().chain(notices).collect());
                Ok(Some(Forgotten { cleared }))
            }
        }
    }

    /// Whether there may be a journal, or may have been one: a manager that still runs has to notice the logout.
    fn has_folder_of_journal(&self) -> bool {
        let name = self.store.name();
        !matches!(Path::new(&name).parent().map(Path::try_exists), Some(Ok(false)))
    }

    /// Whether the mirror shows this token or a newer one of the journal. True if there is no mirror. Whether a program has saved it is
    /// not known.
    pub(super) fn shows(&self, newest: &Secret) -> bool {
        let Some(mirror) = self.file_mirror() else { return self.mirror.is_none() };
        let Ok(shown) = mirror.look(Attempts::Several) else { return false };
        let state = self.store.peek().ok().flatten();
        shown.as_ref() == Some(newest) || Shown::beside(state.as_ref(), shown.as_ref()) == Shown::Newest
    }

    /// The reference that the mirror has in place of a token, if it has one. Then only the journal keeps the token.
    pub(super) fn reference(&self) -> Option<Flaw> {
        let shown = self.file_mirror()?.look(Attempts::Several).ok()?;
        match Shown::beside(None, shown.as_ref()) {
            Shown::Reference(flaw) => Some(flaw),
            _ => None,
        }
    }

    /// Whether the spool of this host has this token, which the shared store has not taken yet.
    pub(super) fn spools(&self, newest: &Secret) -> bool {
        self.shared.is_some()
            && self.store.is_durable()
            && self.held().is_ok_and(|state| {
                let current = state.as_ref().and_then(|state| state.current());
                current.is_some_and(|current| current.token.wrapped() == *newest)
            })
    }

    /// The stored state; `None` if it has no token.
    pub(super) fn held(&self) -> Result<Option<State>> {
        Ok(self.store.peek()?.filter(|state| state.family.is_some()))
    }
}

/// An error in which the stores have the names of the command line's options.
pub(super) fn with_our_options(error: &Error) -> Error {
    named(
        error,
        &[
            ("the store type 'homebridge'", "--homebridge"),
            ("the store type 'dotenv'", "--dotenv"),
            ("the store type 'file'", "--state-file"),
            ("the right one as the store's key", "the right one with --key-file or --key-command"),
            ("it as the store's key", "it with --key-file or --key-command"),
            ("the token in that file as refreshToken", "the token in that file with --refresh-token-stdin"),
        ],
    )
}

/// An error in which some words are replaced, such as names of options.
pub(super) fn named(error: &Error, words: &[(&str, &str)]) -> Error {
    let message =
        words.iter().fold(error.message().to_owned(), |message, (theirs, ours)| message.replace(theirs, ours));
    error.clone().with_message(message)
}

/// The place that the options name.
fn location(options: &StoreOptions) -> Result<Location> {
    let StoreOptions { chosen, platform, name, env_key, state_dir } = options.clone();
    let Some((flag, path)) = chosen else { return Ok(Location::Memory) };
    let target = match flag.id {
        FlagId::StateFile => return Ok(Location::Journal(path.unwrap_or_default())),
        FlagId::Homebridge => {
            let path = path.map_or_else(|| Surroundings::of_this_process().look(), Ok)?;
            Target::Homebridge { path, platform, name }
        }
        _ => {
            if env_key.as_ref().is_some_and(|key| Dotenv::new(key).is_err()) {
                // It may be a token that was put in the wrong place, so it is not shown.
                return Err(Error::invalid(format!(
                    "--env-key is no name of a variable. Use letters, digits and _, as in {}.",
                    Dotenv::KEY
                )));
            }
            Target::Dotenv { path: path.unwrap_or_default(), key: env_key }
        }
    };
    Ok(Location::Mirror { target, state_path: state_dir })
}

/// The options as the user can type them again.
fn typed(options: &StoreOptions) -> String {
    let StoreOptions { chosen, platform, name, env_key, state_dir } = options;
    let Some((flag, path)) = chosen else { return String::new() };
    let mut words = vec![flag.long.to_owned()];
    words.extend(path.as_deref().map(|path| word(path.as_os_str())));
    let texts = [("--platform", platform), ("--name", name), ("--env-key", env_key)];
    let texts = texts.map(|(option, value)| (option, value.as_deref().map(OsStr::new)));
    for (option, value) in texts.into_iter().chain([("--state-dir", state_dir.as_deref().map(Path::as_os_str))]) {
        if let Some(value) = value {
            words.extend([option.to_owned(), word(value)]);
        }
    }
    words.join(" ")
}

/// A word, quoted for a shell if it needs quotes.
pub(super) fn word(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%~\\".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The environment in which Homebridge's configuration is searched if no path is given.
#[derive(Debug, Default)]
struct Surroundings {
    /// The path that Homebridge's own tools (`hb-service`, and the terminal of its UI) give to the programs that they start.
    config: Option<PathBuf>,
    storage: Option<PathBuf>,
    homes: Vec<PathBuf>,
    /// The folders that Homebridge's packages and images use.
    storages: Vec<PathBuf>,
}

impl Surroundings {
    fn of_this_process() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let storages: &[&str] = if cfg!(unix) { &["/var/lib/homebridge", "/homebridge"] } else { &[] };
        let mut homes = Vec::from_iter(std::env::home_dir().filter(|home| home.is_absolute()));
        // Under sudo the home of the calling user is searched too. sudo names that user only to root, and a file that is found is written
        // for its owner.
        if platform::is_root() {
            let passwd = || std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let of_passwd = || home_in(&passwd(), &std::env::var("SUDO_UID").ok()?);
            homes.extend(variable("SUDO_HOME").or_else(of_passwd));
        }
        Self {
            config: variable("UIX_CONFIG_PATH"),
            storage: variable("UIX_STORAGE_PATH"),
            homes,
            storages: storages.iter().map(PathBuf::from).collect(),
        }
    }

    fn look(self) -> Result<PathBuf> {
        let told = self.config.map(|path| ("UIX_CONFIG_PATH", path));
        let told = told.or_else(|| Some(("UIX_STORAGE_PATH", self.storage?.join(CONFIG))));
        if let Some((name, path)) = told {
            if is_there(&path) {
                return Ok(path);
            }
            return Err(Error::invalid(format!(
                "There is no {}, where {name} says that Homebridge's configuration is. Say where it is: --homebridge PATH.",
                path.display()
            )));
        }
        let homes = self.homes.iter().map(|home| home.join(".homebridge"));
        let mut places: Vec<PathBuf> = homes.chain(self.storages).map(|folder| folder.join(CONFIG)).collect();
        let mut seen = Vec::new();
        places.retain(|path| {
            // In Homebridge's image two of these paths lead to one file.
            let real = platform::canonicalize(path).unwrap_or_else(|_| path.clone());
            let is_new = !seen.contains(&real);
            seen.push(real);
            is_new
        });
        let found: Vec<&PathBuf> = places.iter().filter(|path| is_there(path)).collect();
        match found.as_slice() {
            [path] => Ok((*path).clone()),
            [] => Err(Error::invalid(format!(
                "Homebridge's config.json is in none of the usual places: {}. Say where it is: --homebridge PATH.",
                list(&places)
            ))),
            _ => Err(Error::invalid(format!(
                "There are several configurations of Homebridge: {}. Say which one: --homebridge PATH.",
                list(found)
            ))),
        }
    }
}

/// Whether there is a file. A file that this user may not read counts too: it may be the right one.
fn is_there(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

fn list<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> String {
    paths.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The home of a user in the system's list of them.
fn home_in(passwd: &str, uid: &str) -> Option<PathBuf> {
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = users.find(|user| user.get(2) == Some(&uid))?;
    user.get(5).filter(|home| home.starts_with('/')).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::flags;
    use super::*;
    use crate::files::lock::Lock;
    use crate::mirror::Decision;
    use crate::token::RefreshToken;

    fn with_config(folder: &Path) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(CONFIG), "{}").unwrap();
        folder.join(CONFIG)
    }

    /// A `.env` file that shows a token, and a journal that holds it.
    fn kept_in(folder: &Path) -> Opened {
        let path = folder.join(".env");
        std::fs::write(&path, "A=1\nRING_REFRESH_TOKEN=the-token-of-this-test\n").unwrap();
        let location = Location::Mirror { target: Target::Dotenv { path, key: None }, state_path: None };
        let opened = location.open(&"https://oauth.ring.com".into(), Disk::default(), Purpose::Introduce).unwrap();
        let mut guard = opened.store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        state.take_over(RefreshToken::from_raw("the-token-of-this-test"), 1);
        guard.commit(&mut state).unwrap();
        drop(guard);
        opened
    }

    #[test]
    fn who_enters_a_forgotten_journal_finds_a_cleared_mirror() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let opened = kept_in(folder.path());
        let mirror = Arc::clone(opened.file_mirror().unwrap());
        let (announces, entered) = std::sync::mpsc::channel();
        let (lets_go, permission) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // Another process holds the mirror's lock, so the logout cannot clear the mirror yet.
            let other = opened.clone();
            scope.spawn(move || {
                other.file_mirror().unwrap().reconcile(&mut |_| {
                    announces.send(()).unwrap();
                    permission.recv().unwrap();
                    Ok(Decision::Leave)
                })
            });
            entered.recv().unwrap();
            let logout = scope.spawn(|| {
                loop {
                    if let Some(forgotten) = opened.forget(Some(&path)).unwrap() {
                        return forgotten;
                    }
                }
            });
            // A third process tries the journal's lock all the time, as a manager that waits for it does.
            let mut lets_go = Some(lets_go);
            while !logout.is_finished() {
                let Some(mut guard) = opened.store.try_lock().unwrap() else {
                    // The logout holds the journal's lock: now it may take the mirror's.
                    if let Some(lets_go) = lets_go.take() {
                        lets_go.send(()).unwrap();
                    }
                    continue;
                };
                let is_forgotten = guard.read().unwrap().state.family.is_none();
                let shown = mirror.look(Attempts::Several).unwrap().filter(|shown| !shown.is_empty());
                drop(guard);
                let would_come_back = is_forgotten && shown.is_some();
                if would_come_back {
                    drop(lets_go.take());
                }
                assert!(!would_come_back, "the token in the mirror passes for a paste");
                // This gives the logout a turn.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            assert_eq!(logout.join().unwrap().cleared.unwrap(), []);
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "A=1\nRING_REFRESH_TOKEN=\n");
        assert!(opened.held().unwrap().is_none());
    }

    #[test]
    fn a_mirror_that_cannot_be_entered_leaves_the_journal_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        let opened = kept_in(folder.path());
        // Another process holds the mirror's lock for longer than the logout waits.
        let lock = Lock::try_take(&Disk::default(), &folder.path().join(".ring-auth").join(".env")).unwrap().unwrap();
        assert_eq!(opened.forget(Some(&path)).unwrap_err().code(), ErrorCode::StoreLocked);
        assert!(opened.held().unwrap().is_some());
        assert!(std::fs::read_to_string(&path).unwrap().contains("the-token-of-this-test"));
        drop(lock);
        opened.forget(Some(&path)).unwrap().unwrap().cleared.unwrap();
        assert!(opened.held().unwrap().is_none());
    }

    #[test]
    fn the_only_configuration_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (home, storage) = (folder.path().join("home"), folder.path().join("storage"));
        let around =
            || Surroundings { homes: vec![home.clone()], storages: vec![storage.clone()], ..Default::default() };
        let none = around().look().unwrap_err();
        assert_eq!(none.code(), ErrorCode::InvalidArgument);
        for place in [home.join(".homebridge").join("config.json"), storage.join("config.json")] {
            assert!(none.message().contains(&*place.to_string_lossy()), "{none}");
        }
        let packaged = with_config(&storage);
        assert_eq!(around().look().unwrap(), packaged);
        let own = with_config(&home.join(".homebridge"));
        let several = around().look().unwrap_err();
        assert!(several.message().contains(&*own.to_string_lossy()), "{several}");
        assert!(several.message().contains(&*packaged.to_string_lossy()), "{several}");
        std::fs::remove_file(&packaged).unwrap();
        assert_eq!(around().look().unwrap(), own);
        // sudo may keep the variable `HOME`, so that both homes are the same.
        let twice = Surroundings { homes: vec![home.clone(), home.clone()], ..Default::default() };
        assert_eq!(twice.look().unwrap(), own);
    }

    #[cfg(unix)]
    #[test]
    fn two_ways_to_one_file_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        let config = with_config(&one);
        std::os::unix::fs::symlink(&one, &other).unwrap();
        let around = Surroundings { storages: vec![one, other], ..Default::default() };
        assert_eq!(around.look().unwrap(), config);
    }

    #[test]
    fn what_homebridge_says_itself_goes_before_the_usual_places() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        with_config(&home.join(".homebridge"));
        let said = with_config(&folder.path().join("said"));
        let storage = folder.path().join("said");
        let around = || Surroundings { homes: vec![home.clone()], ..Default::default() };
        assert_eq!(Surroundings { config: Some(said.clone()), ..around() }.look().unwrap(), said);
        assert_eq!(Surroundings { storage: Some(storage), ..around() }.look().unwrap(), said);
        // No other place is searched.
        let gone = folder.path().join("gone");
        let error = Surroundings { config: Some(gone.clone()), ..around() }.look().unwrap_err();
        assert!(error.message().contains("UIX_CONFIG_PATH") && error.message().contains("gone"), "{error}");
        let error = Surroundings { storage: Some(gone), ..around() }.look().unwrap_err();
        assert!(error.message().contains("UIX_STORAGE_PATH"), "{error}");
    }

    #[test]
    fn homes_are_read_from_the_list_of_users() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nodd\npi:x:1000:1000:,,,:/home/pi:/bin/bash\nno:x:7:7::home:\n";
        assert_eq!(home_in(passwd, "1000"), Some("/home/pi".into()));
        assert_eq!(home_in(passwd, "0"), Some("/root".into()));
        for uid in ["1", "", "x", "7"] {
            assert_eq!(home_in(passwd, uid), None, "{uid}");
        }
    }

    #[test]
    fn options_are_repeated_as_they_can_be_typed() {
        let store = |long: &str, path: Option<&str>| StoreOptions {
            chosen: Some((flags::by_long(long).unwrap(), path.map(PathBuf::from))),
            ..StoreOptions::default()
        };
        let block = StoreOptions { name: Some("It's".into()), ..store("homebridge", None) };
        assert_eq!(typed(&block), r"--homebridge --name 'It'\''s'");
        let (env_key, state_dir) = (Some("K".into()), Some("/s".into()));
        let dotenv = StoreOptions { env_key, state_dir, ..store("dotenv", Some("a b/.env")) };
        assert_eq!(typed(&dotenv), "--dotenv 'a b/.env' --env-key K --state-dir /s");
        assert_eq!(typed(&store("state-file", Some("/j.json"))), "--state-file /j.json");
        assert_eq!(typed(&StoreOptions::default()), "");
    }
}
