//! `status`: shows what is stored, for people and health checks. Sends and writes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Done;
use super::args::Options;
use super::context::endpoints;
use super::given_token::given_token;
use super::keys;
use super::output::Output;
use super::store::ChosenStore;
use crate::files::resolve;
use crate::journal::Codec;
use crate::journal::state::{Access, Known, Millis, State, millis};
use crate::location::Opened;
use crate::manager::{Clock, Phase, Shown, Status, SystemClock, inspect, look_at_shared};
use crate::mirror::{Allowance, Attempts, Follower, Purpose};
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Secret};

/// The information that `status` shows.
struct Report<'a> {
    status: Status,
    hardware_id: Option<&'a str>,
    age_seconds: Option<u64>,
    expires_at: Option<Millis>,
    last_success_at: Option<Millis>,
    files: Option<Files>,
    /// The shared store, and the spool of this host.
    store: Option<String>,
    spool: Option<String>,
}

/// The file that shows the token, and its journal.
struct Files {
    path: String,
    journal: String,
    shown: Result<Shown, Error>,
}

pub(super) async fn status(options: &Options, output: &Arc<Output>) -> Done {
    if (!options.store.is_given() || options.refresh_token_stdin)
        && let Some(token) = given_token(options, output).await?
    {
        let token = RefreshToken::parse(token.expose())?;
        let status = Status { phase: Phase::Idle, problem: None, retry_at: None, persisted: false };
        let hardware_id = token.hardware_id();
        let (age_seconds, expires_at, last_success_at) = (None, None, None);
        let (files, store, spool) = (None, None, None);
        show(output, &Report { status, hardware_id, age_seconds, expires_at, last_success_at, files, store, spool });
        return Ok(0);
    }
    let chosen = ChosenStore::find(options)?;
    let codec = keys::codec(options, endpoints()?.issuer())?;
    // With this purpose a file without a block counts as one that needs a login. With the other one it cannot be opened.
    let opened = chosen.open(&codec, Purpose::Introduce)?;
    let told = Told::by(&opened, &codec).await?;
    let clock = told.clock();
    let Seen { state, mut status, shown, mut pasted } = look(&chosen, &opened, told)?;
    let files = opened.file_mirror().zip(shown);
    let files = files.map(|(mirror, shown)| Files { path: mirror.name(), journal: opened.store.name(), shown });
    // A program that gets this token file begins with its token, unless the journal knows the token.
    if status.phase == Phase::NeedsLogin
        && let Some(token) = given_token(options, output).await?
        && let Ok(token) = RefreshToken::parse(token.expose())
        && state.as_ref().is_none_or(|state| state.recognise(token.fingerprint()) == Known::Unknown)
    {
        status = Status { phase: Phase::Idle, problem: None, retry_at: None, persisted: false };
        pasted = Some(token);
    }
    let current = state.as_ref().and_then(|state| state.current());
    let age_seconds = current.map(|stored| clock.wall().saturating_sub(stored.obtained_at) / 1000);
    let on_host = |at| clock.on_host(at);
    let expires_at = state.as_ref().and_then(|state| state.access.as_ref()).map(Access::expires_at).map(on_host);
    let needs_login = status.phase == Phase::NeedsLogin;
    let hardware_id = hardware_id(state.as_ref(), pasted.as_ref());
    let last_success_at = state.as_ref().and_then(|state| state.last_success_at).map(on_host);
    let store = opened.shared.as_ref().map(|engine| engine.name());
    let spool = (store.is_some() && opened.store.is_durable()).then(|| opened.store.name());
    show(output, &Report { status, hardware_id, age_seconds, expires_at, last_success_at, files, store, spool });
    if needs_login {
        return Ok(ErrorCode::NoRefreshToken.exit_code());
    }
    if let Some(max_age) = options.max_age
        && is_too_old(last_success_at, SystemClock::new().wall(), max_age)
    {
        let last = last_success_at.map_or("There was no success yet".to_owned(), |at| {
            format!("The last success was {} ago", duration(SystemClock::new().wall().saturating_sub(at) / 1000))
        });
        output.complain(&format!("ring-auth: {last}, and --max-age allows {}.", duration(max_age.as_secs())));
        return Ok(ErrorCode::Network.exit_code());
    }
    Ok(0)
}

/// The stored state of a token, its status, and the mirror.
pub(super) struct Seen {
    pub(super) state: Option<State>,
    pub(super) status: Status,
    /// What the mirror shows, if there is one.
    pub(super) shown: Option<Result<Shown, Error>>,
    /// The token that was pasted into the mirror.
    pub(super) pasted: Option<RefreshToken>,
}

/// The answers of a module's store, without which it cannot be read.
#[derive(Default)]
pub(super) struct Told {
    /// The state of a shared store and its spool, and the clock by which its times count.
    shared: Option<(State, Arc<dyn Clock>)>,
    /// The text that the program's own `load` gave.
    program: Option<Result<Option<Secret>, Error>>,
}

impl Told {
    /// Asks a shared store, or a program's own `load`.
    ///
    /// # Errors
    ///
    /// `STORE` if the record or the spool cannot be read.
    pub(super) async fn by(opened: &Opened, codec: &Codec) -> Result<Self, Error> {
        let shared = match &opened.shared {
            Some(engine) => Some(look_at_shared(Arc::clone(engine), codec.clone(), opened.store.peek()?).await?),
            None => None,
        };
        let program = match &opened.mirror {
            Some(Follower::Program(program)) => Some(program.load(&Allowance::new()).await),
            _ => None,
        };
        Ok(Self { shared, program })
    }

    /// The state of a shared store and its spool.
    pub(super) fn shared(&self) -> Option<&State> {
        self.shared.as_ref().map(|(state, _)| state)
    }

    /// What the store said, if one was asked: a sentence, or the reason why it did not answer.
    pub(super) fn sentence(&self, place: &str) -> Option<Result<String, Error>> {
        let holds = |is_there| if is_there { "holds a token" } else { "holds no token" };
        match (&self.shared, &self.program) {
            (Some((state, _)), _) => Some(Ok(format!("It answers: {place} {}.", holds(state.family.is_some())))),
            (None, Some(loaded)) => Some(match loaded {
                Ok(text) => Ok(format!("Its own load answers: {place} {}.", holds(text.is_some()))),
                Err(error) => Err(error.clone()),
            }),
            (None, None) => None,
        }
    }

    /// The clock by which the times in the state count.
    fn clock(&self) -> Arc<dyn Clock> {
        self.shared.as_ref().map_or_else(|| SystemClock::shared() as Arc<dyn Clock>, |(_, clock)| Arc::clone(clock))
    }
}

/// Reads the store and the mirror, without a lock. Blocks.
///
/// # Errors
///
/// As for [`Store::peek`](crate::journal::Store::peek); and as for [`Mirror::look`](crate::mirror::Mirror::look) if the journal holds no token.
pub(super) fn look(chosen: &ChosenStore, opened: &Opened, told: Told) -> Result<Seen, Error> {
    let clock = told.clock();
    // Nothing is locked, and the file follows the journal. In this order a rotation in between makes the token in the file an old copy,
    // and never a pasted one.
    let looked = told.program.or_else(|| opened.file_mirror().map(|mirror| mirror.look(Attempts::Several)));
    let state = match told.shared {
        Some((state, _)) => Some(state),
        None => opened.store.peek()?,
    };
    let mut status = inspect(state.as_ref(), clock.as_ref());
    status.problem = status.problem.map(|error| chosen.in_our_words(error));
    let journal = PathBuf::from(opened.store.name());
    if state.is_none() && is_not_empty(&journal) {
        status.problem = Some(chosen.damaged(&journal));
    }
    let Some(looked) = looked else { return Ok(Seen { state, status, shown: None, pasted: None }) };
    let is_empty = state.as_ref().is_none_or(|state| state.family.is_none());
    if let Err(error) = &looked
        && is_empty
    {
        // The file may show a token, so the command cannot report that there is none.
        return Err(error.clone());
    }
    let mut pasted = None;
    let shown = looked.map(|text| {
        let shown = Shown::beside(state.as_ref(), text.as_ref());
        pasted = text.filter(|_| shown == Shown::New).and_then(|text| RefreshToken::parse(text.expose()).ok());
        shown
    });
    if let Some(flaw) = shown.as_ref().ok().and_then(|shown| shown.flaw())
        && is_empty
    {
        status.problem = Some(chosen.nothing_but(flaw));
    }
    if pasted.is_some() && status.phase == Phase::NeedsLogin {
        // The next start uses the pasted token.
        status = Status { phase: Phase::Idle, problem: None, retry_at: None, persisted: false };
    }
    Ok(Seen { state, status, shown: Some(shown), pasted })
}

/// Whether there is something in a journal that holds no state.
fn is_not_empty(journal: &Path) -> bool {
    resolve(journal).and_then(std::fs::metadata).is_ok_and(|there| there.len() > 0)
}

/// Whether the last success is older than the maximal age. No success counts as too old, and one in the future as now.
fn is_too_old(last_success_at: Option<Millis>, now: Millis, max_age: Duration) -> bool {
    last_success_at.is_none_or(|at| now.saturating_sub(at) > millis(max_age))
}

/// The hardware id that requests have: that of the token, if it has one.
pub(super) fn hardware_id<'a>(state: Option<&'a State>, pasted: Option<&'a RefreshToken>) -> Option<&'a str> {
    let current = state.and_then(|state| state.current()).map(|stored| &stored.token);
    current
        .or(pasted)
        .and_then(RefreshToken::hardware_id)
        .or_else(|| state.and_then(|state| state.hardware_id.as_deref()))
}

/// What a file shows, as a word for programs and as a sentence for people.
pub(super) fn shows(shown: &Result<Shown, Error>) -> (&'static str, String) {
    match shown {
        Ok(Shown::Newest) => ("newest", "the newest token".into()),
        Ok(Shown::Nothing) => ("nothing", "no token".into()),
        Ok(Shown::Nonsense(flaw)) => ("nonsense", format!("something that cannot be a token: it {}", flaw.reason())),
        Ok(Shown::Reference(flaw)) => ("reference", format!("a value that is left alone: it {}", flaw.reason())),
        Ok(Shown::Old) => ("old", "an old copy; the next start or refresh replaces it".into()),
        Ok(Shown::New) => ("new", "a token that was pasted; it is used from the next start or refresh on".into()),
        Err(error) => ("unreadable", error.message().to_owned()),
    }
}

impl Files {
    fn json(&self) -> Value {
        let message = self.shown.as_ref().err().map(Error::message);
        json!({ "path": self.path, "journal": self.journal, "shows": shows(&self.shown).0, "message": message })
    }
}

fn show(output: &Output, report: &Report<'_>) {
    let Report { status, hardware_id, age_seconds, expires_at, last_success_at, files, store, spool } = report;
    let problem = status.problem.as_ref();
    if output.is_json() {
        let mut result = json!({
            "state": status.phase.as_str(), "code": problem.map(|error| error.code().as_str()),
            "message": problem.map(Error::message), "retryAt": status.retry_at, "persisted": status.persisted,
            "hardwareId": hardware_id, "ageSeconds": age_seconds, "expiresAt": expires_at,
            "lastSuccessAt": last_success_at,
        });
        if let Some(files) = files {
            result["mirror"] = files.json();
        }
        output.json(&result);
        return;
    }
    let mut lines = vec![format!("State:        {}", status.phase.as_str())];
    lines.push(format!("Hardware id:  {}", hardware_id.unwrap_or("not decided yet")));
    if let Some(age) = age_seconds {
        lines.push(format!("Token age:    {}", duration(*age)));
    }
    if let Some(expires_at) = *expires_at {
        let now = SystemClock::new().wall();
        lines.push(if expires_at > now {
            format!("Access token: valid for another {}", duration((expires_at - now) / 1000))
        } else {
            format!("Access token: expired {} ago", duration((now - expires_at) / 1000))
        });
    }
    if let Some(at) = *last_success_at {
        let since = SystemClock::new().wall().saturating_sub(at) / 1000;
        lines.push(format!("Last success: {} ago", duration(since)));
    }
    if let Some(store) = store {
        lines.push(format!("Store:        {store}"));
    }
    if let Some(spool) = spool {
        lines.push(format!("Spool:        {spool}"));
    }
    if let Some(problem) = problem {
        lines.push(format!("Last problem: {problem}"));
    }
    if let Some(retry_at) = status.retry_at {
        let left = retry_at.saturating_sub(SystemClock::new().wall()) / 1000;
        lines.push(format!("Next try:     in {} at the earliest", duration(left)));
    }
    if let Some(files) = files {
        lines.push(format!("File:         {}", files.path));
        lines.push(format!("  shows:      {}", shows(&files.shown).1));
        lines.push(format!("Journal:      {}", files.journal));
    }
    output.result(&lines.join("\n"));
}

pub(super) fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_too_old_only_beyond_the_age_and_never_if_it_lies_in_the_future() {
        let hour = Duration::from_secs(3600);
        for (last, too_old) in [
            (None, true),
            (Some(0), true),
            (Some(10_000_000 - 3_600_001), true),
            (Some(10_000_000 - 3_600_000), false),
            (Some(10_000_000), false),
            (Some(Millis::MAX), false),
        ] {
            assert_eq!(is_too_old(last, 10_000_000, hour), too_old, "{last:?}");
        }
        assert!(!is_too_old(Some(1), Millis::MAX, Duration::MAX));
    }
}
