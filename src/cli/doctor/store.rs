//! The journal's file and its lock.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::super::args::Options;
use super::super::given_token;
use super::super::keys;
use super::super::secrets::Environment;
use super::super::status::{self, Seen, Told};
use super::super::store::{ChosenStore, word};
use super::folder::{self, FILE_SYSTEM, FOLDER, SPACE, Trial};
use super::mirror::{self, KEEPER, MIRROR, SAME_TOKEN};
use super::{Check, State, in_our_words};
use crate::files::lock::{self, Look};
use crate::files::names::sibling;
use crate::files::platform::{self, Holder};
use crate::files::{Disk, resolve};
use crate::journal::state::{Known, State as Kept};
use crate::journal::{SealedWith, sealed_with};
use crate::manager::{Clock, Phase, SystemClock};
use crate::mirror::Purpose;
use crate::token::RefreshToken;
use crate::{Error, ErrorCode};

pub(super) const STORE: &str = "store";
const LOCK: &str = "lock";

/// The checks of this group after the first one, in their order.
pub(super) const AFTER_STORE: [&str; 7] = [LOCK, FOLDER, SPACE, FILE_SYSTEM, MIRROR, SAME_TOKEN, KEEPER];

/// How long to try a lock that another process holds, and the wait between two tries: a refresh holds it for a moment.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// The store to be checked.
pub(super) struct Wanted {
    options: Options,
    issuer: String,
    runtime: Handle,
}

impl Wanted {
    pub(super) fn new(options: &Options, issuer: &str) -> Self {
        let (store, keys, module) = (options.store.clone(), options.keys.clone(), options.module.clone());
        let options = Options { store, module, keys, ..Options::default() };
        Self { options, issuer: issuer.to_owned(), runtime: Handle::current() }
    }
}

/// The result of the checks of a store.
pub(super) struct Looked {
    pub(super) checks: Vec<Check>,
    /// The stored state.
    pub(super) kept: Option<Seen>,
    /// The reason why the state is not known, if it is not.
    pub(super) why_not: String,
    /// The seal of the journal, which can be read without the key.
    pub(super) sealed: Option<SealedWith>,
}

/// Checks the store. Blocks.
pub(super) fn look(wanted: &Wanted) -> Looked {
    let Wanted { options, issuer, runtime } = wanted;
    if !options.store.is_given() {
        let sentence = "No store was named. Name it as for the other commands: --homebridge [PATH], --dotenv PATH, --state-file PATH or --store-module PATH.";
        return all_but(Check::skipped(STORE, sentence), "No store was named.");
    }
    let opened = ChosenStore::find(options).and_then(|chosen| {
        let codec = keys::codec(options, issuer.clone())?;
        // With this purpose a file without a block counts as one that needs a login. With the other one it cannot be opened.
        let opened = chosen.open(&codec, Purpose::Introduce)?;
        Ok((chosen, opened, codec))
    });
    let (chosen, opened, codec) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let failed = Check::of(STORE, &in_our_words(&error));
            return all_but(failed, "The store cannot be opened.");
        }
    };
    let told = runtime.block_on(Told::by(&opened, &codec));
    let asked = match &told {
        Ok(told) => told.sentence(&chosen.place()),
        Err(error) => Some(Err(error.clone())),
    };
    if opened.store.is_in_memory() {
        let first = asked.map_or_else(|| Check::skipped(STORE, NO_FILE), |asked| answer(&asked));
        let kept = told.ok().and_then(|told| status::look(&chosen, &opened, told).ok()).map(with_token_file);
        let why_not = if kept.is_none() { "The store cannot be read." } else { NO_FILE };
        let sealed = codec.has_key().then(|| SealedWith { fingerprint: None, issuer: issuer.clone() });
        return Looked { kept, sealed, ..all_but(first, why_not) };
    }
    let peeked = opened.store.peek();
    // The path of the journal may have been found by the token in the mirror.
    let journal = PathBuf::from(opened.store.name());
    let real = resolve(&journal).unwrap_or_else(|_| journal.clone());
    let there = std::fs::metadata(&real).ok();
    let state = peeked.as_ref().ok().and_then(Option::as_ref);
    let trial = Trial::of(&real, there.as_ref());
    let first = match (&peeked, &asked) {
        (Err(error), _) => unusable(error, there.as_ref()),
        (Ok(_), Some(asked)) if there.is_none() || asked.is_err() => answer(asked),
        (Ok(state), _) => file(&journal, there.as_ref(), state.is_some()),
    };
    let mut checks = vec![match asked {
        Some(Ok(sentence)) if first.state == State::Ok && there.is_some() => first.and(&sentence),
        _ => first,
    }];
    checks.push(lock(&real, &trial, state, &SystemClock::new()));
    checks.push(folder::folder(&real, &trial, chosen.target()));
    checks.push(folder::space(&trial));
    checks.push(folder::file_system(&trial));
    let shared = told.as_ref().ok().and_then(Told::shared);
    checks.extend(mirror::look(&chosen, &opened, shared.or(state)));
    let (kept, why_not) = match told.and_then(|told| status::look(&chosen, &opened, told)) {
        Ok(seen) => (Some(with_token_file(seen)), String::new()),
        Err(_) if peeked.is_err() => (None, "The journal cannot be read.".to_owned()),
        Err(_) if opened.shared.is_some() => (None, "The shared store cannot be read.".to_owned()),
        Err(_) => (None, "The journal holds no token, and the file cannot be read.".to_owned()),
    };
    let sealed = Disk::default().read_most(&real).ok().flatten().and_then(|bytes| sealed_with(&bytes));
    Looked { checks, kept, why_not, sealed }
}

const NO_FILE: &str = "This store has no file on this host.";

/// The check of a store that was asked.
fn answer(asked: &crate::Result<String>) -> Check {
    match asked {
        Ok(sentence) => Check::ok(STORE, sentence.as_str()),
        Err(error) => Check::of(STORE, &in_our_words(error)),
    }
}

/// The first check, and the others of the group as skipped.
fn all_but(first: Check, why_not: &str) -> Looked {
    let rest = AFTER_STORE.map(|id| Check::skipped(id, why_not));
    Looked { checks: [first].into_iter().chain(rest).collect(), kept: None, why_not: why_not.to_owned(), sealed: None }
}

/// Adds the token of the file that a variable names: a program with this variable begins with that token.
fn with_token_file(mut seen: Seen) -> Seen {
    if seen.status.phase != Phase::NeedsLogin {
        return seen;
    }
    let given = Environment::of_this_process().file(given_token::TOKEN).ok().flatten();
    let token = given.and_then(|given| RefreshToken::parse(given.value.expose()).ok());
    let is_unknown = |token: &RefreshToken| {
        seen.state.as_ref().is_none_or(|state| state.recognise(token.fingerprint()) == Known::Unknown)
    };
    if let Some(token) = token.filter(is_unknown) {
        (seen.status.phase, seen.status.problem) = (Phase::Idle, None);
        seen.pasted = Some(token);
    }
    seen
}

/// The check of a journal file that was read or does not exist.
fn file(journal: &Path, there: Option<&Metadata>, is_read: bool) -> Check {
    let name = journal.display();
    let Some(there) = there else {
        return Check::warning(
            STORE,
            format!("There is no journal at {name} yet. A login makes it. If there should be one, check the path."),
        );
    };
    if !is_read && there.len() > 0 {
        return Check::warning(
            STORE,
            format!(
                "The journal {name} is damaged, and there is no whole copy of it. The next start moves it aside and makes a new journal."
            ),
        );
    }
    let Some(holder) = platform::holder(there) else {
        return Check::ok(STORE, format!("The journal {name} is one of ring-auth, and can be read."));
    };
    owned(&name.to_string(), holder)
}

/// The check of the owner and the mode of a journal that can be read.
fn owned(name: &str, holder: Holder) -> Check {
    let Holder { owner, user, mode } = holder;
    let whose = if owner == user { "this user".to_owned() } else { format!("user {owner}") };
    if owner != user && user != 0 {
        return Check::warning(
            STORE,
            format!(
                "The journal {name} belongs to {whose}, and this process runs as user {user}. Run ring-auth as the user of the program that uses the token, or give the file to that user (chown)."
            ),
        );
    }
    if mode & 0o007 != 0 {
        return Check::warning(
            STORE,
            format!(
                "The journal {name} can be used by every user of this machine (mode {mode:04o}). The next write corrects the mode; until then: chmod 600 {}",
                word(OsStr::new(name))
            ),
        );
    }
    let root = if user == 0 && owner != 0 {
        " You are root, who may do more than the program that uses the token: run doctor as its user to see what that one can do."
    } else {
        ""
    };
    Check::ok(
        STORE,
        format!("The journal {name} is one of ring-auth, belongs to {whose}, and has the mode {mode:04o}.{root}"),
    )
}

/// The check of a file that cannot be read, or is not a journal.
fn unusable(error: &Error, there: Option<&Metadata>) -> Check {
    let check = Check::of(STORE, &in_our_words(error));
    let holder = there.and_then(platform::holder).filter(|holder| error.code() == ErrorCode::Store && holder.user != 0);
    match holder.filter(|holder| holder.owner != holder.user) {
        Some(Holder { owner, user, .. }) => {
            check.and(&format!("It belongs to user {owner}, and this process runs as user {user}."))
        }
        None => check,
    }
}

fn lock(real: &Path, trial: &Trial, state: Option<&Kept>, clock: &SystemClock) -> Check {
    if real.to_string_lossy().contains('\u{fffd}') {
        return Check::skipped(LOCK, "The name of the journal is not UTF-8.");
    }
    if trial.is_full().is_some() {
        return Check::skipped(LOCK, "There is no space left: see space.");
    }
    if trial.done.is_none() {
        return Check::skipped(LOCK, format!("The folder {} is not there yet.", trial.folder.display()));
    }
    let is_made_beside = matches!(&trial.done, Some(Ok(abilities)) if abilities.locks);
    let disk = Disk::default().or_for_owner_of(real);
    let limit = Instant::now() + LOCK_TIMEOUT;
    loop {
        return match lock::look(&disk, real, is_made_beside) {
            Ok(Look::Free) => Check::ok(LOCK, "No other process holds it."),
            Ok(Look::StandIn(folder)) => Check::warning(
                LOCK,
                format!(
                    "No lock can be made beside the journal: one in {} stands in, which containers and other users do not share. Keep the journal in a folder that can be written, on a file system with locks.",
                    folder.display()
                ),
            ),
            Ok(Look::Held) if Instant::now() < limit => {
                sleep(LOOK);
                continue;
            }
            Ok(Look::Held) => held(real, state, clock.wall()),
            Err(error) => Check::of(LOCK, &error),
        };
    }
}

/// The check of a lock that another process has held during all tries.
fn held(real: &Path, state: Option<&Kept>, now: u64) -> Check {
    let deadline = state.and_then(|state| state.mark.as_ref()).map(|mark| mark.deadline).filter(|end| *end > now);
    match deadline {
        Some(deadline) => Check::warning(
            LOCK,
            format!(
                "Another process holds it for a refresh, for another {} at most.",
                status::duration(deadline.saturating_sub(now).div_ceil(1000))
            ),
        ),
        None => Check::failed(
            LOCK,
            ErrorCode::StoreLocked,
            format!(
                "Another process has held it for {} s and longer. Look for a process that hangs (fuser -v {}) and end it.",
                LOCK_TIMEOUT.as_secs(),
                word(sibling(real, ".lock").as_os_str())
            ),
        ),
    }
}
