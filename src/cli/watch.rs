//! `watch`: keeps a token fresh, prints its state, and runs a command when the user is needed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Done;
use super::args::Options;
use super::context::{Context, Needs};
use super::exec::{self, Told};
use super::given_token::given_token;
use super::output::Output;
use crate::manager::{Event, Listener, Phase, Status};
use crate::mirror::Purpose;
use crate::{Error, ErrorCode};

/// The means to end the watch of this process, if there is one.
static ENDING: Mutex<Option<Arc<Notify>>> = Mutex::new(None);

/// Ends `watch` as soon as a rotation under way is stored. Returns whether there is a watch to end.
pub fn end_watch() -> bool {
    let ending = lock(&ENDING);
    if let Some(ending) = &*ending {
        ending.notify_one();
    }
    ending.is_some()
}

/// The time in which the watch of this process can be ended, from `register` until it is dropped.
struct Ending(Arc<Notify>);

impl Ending {
    fn register() -> Self {
        let ending = Arc::new(Notify::new());
        *lock(&ENDING) = Some(Arc::clone(&ending));
        Self(ending)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        *lock(&ENDING) = None;
    }
}

/// The listener of the watch: prints the log as every command does, and wakes the watch at each change of the status.
struct Watcher {
    output: Arc<Output>,
    changed: Arc<Notify>,
}

impl Listener for Watcher {
    fn on_event(&self, event: Event) {
        if matches!(event, Event::Status(_)) {
            self.changed.notify_one();
        }
        self.output.on_event(event);
    }
}

pub(super) async fn watch(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let ending = Ending::register();
    let given = given_token(&options, &output).await?;
    let context = Context::open(&options, Purpose::Follow)?;
    match context.look_first(given.is_some(), &output) {
        // The watch waits for the login that is missing.
        Err(error) if error.code() == ErrorCode::NoRefreshToken => {}
        looked => looked?,
    }
    let changed = Arc::new(Notify::new());
    let watcher = Watcher { output: Arc::clone(&output), changed: Arc::clone(&changed) };
    let manager = context.open_manager_with(&options, &output, Arc::new(watcher), &runtime, given, Needs::Watch)?;
    let commands = Commands::default();
    let secret_variable = options.store.env_key.as_deref();
    let running = async {
        let Some(line) = &options.exec else { return std::future::pending().await };
        while let Some(told) = commands.next().await {
            if let Err(problem) = exec::run(line, secret_variable, &told, output.is_quiet(), &commands.ended).await {
                output.complain(&format!("ring-auth: {problem}"));
            }
        }
    };
    let watching = async {
        // The first status is known after the first request, if one is needed.
        let _ = manager.auth().await;
        let mut seen = Changes::default();
        loop {
            // During a refresh the state changes and comes back, so only the status after it counts.
            manager.rested().await;
            let mut status = manager.status();
            status.problem = status.problem.map(|error| context.chosen.in_our_words(error));
            let hardware_id = manager.hardware_id();
            if let Some(change) = seen.see(&status) {
                show(&output, &status, hardware_id.as_deref());
                if change == Change::Edge || options.on_change {
                    commands.add(Told::new(&status, hardware_id));
                }
            }
            changed.notified().await;
        }
    };
    tokio::pin!(running);
    tokio::select! {
        () = ending.0.notified() => {}
        () = watching => {}
        () = &mut running => {}
    }
    commands.end();
    if options.exec.is_some() {
        tokio::join!(manager.close(), running);
    } else {
        manager.close().await;
    }
    Ok(0)
}

/// The commands that wait to be run, one after another.
#[derive(Default)]
struct Commands {
    waiting: Mutex<VecDeque<Told>>,
    added: Notify,
    ended: exec::Ended,
}

impl Commands {
    fn add(&self, told: Told) {
        lock(&self.waiting).push_back(told);
        self.added.notify_one();
    }

    /// The next one; `None` once the watch has ended.
    async fn next(&self) -> Option<Told> {
        loop {
            if self.ended.is_over() {
                return None;
            }
            let next = lock(&self.waiting).pop_front();
            if next.is_some() {
                return next;
            }
            self.added.notified().await;
        }
    }

    fn end(&self) {
        self.ended.end();
        self.added.notify_one();
    }
}

/// The kind of a change of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Another state, or another problem.
    State,
    /// The user is needed now, or is no longer needed.
    Edge,
}

/// The last status, to which the next one is compared.
#[derive(Default)]
struct Changes {
    last: Option<(Phase, Option<ErrorCode>)>,
    needs_person: bool,
}

impl Changes {
    /// The kind of change that a status is; `None` if it is no change.
    fn see(&mut self, status: &Status) -> Option<Change> {
        let problem = status.problem.as_ref().map(Error::code);
        let seen = (status.phase, problem);
        if status.phase == Phase::Refreshing || self.last.replace(seen) == Some(seen) {
            return None;
        }
        let needs_person = match status.phase {
            Phase::NeedsLogin => true,
            // A store that cannot be read does not show whether there was a login.
            Phase::Idle if problem.is_some() => self.needs_person,
            _ => false,
        };
        let is_edge = std::mem::replace(&mut self.needs_person, needs_person) != needs_person;
        Some(if is_edge { Change::Edge } else { Change::State })
    }
}

fn show(output: &Output, status: &Status, hardware_id: Option<&str>) {
    let problem = status.problem.as_ref();
    if output.is_json() {
        output.json(&json!({
            "state": status.phase.as_str(), "code": problem.map(|error| error.code().as_str()),
            "message": problem.map(Error::message), "retryAt": status.retry_at, "persisted": status.persisted,
            "hardwareId": hardware_id,
        }));
        return;
    }
    output.result(&match problem {
        Some(problem) => format!("{}: {}", status.phase.as_str(), problem.message()),
        None => status.phase.as_str().to_owned(),
    });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: Phase, code: Option<ErrorCode>) -> Status {
        Status { phase, problem: code.map(|code| Error::new(code, "m")), retry_at: None, persisted: true }
    }

    #[test]
    fn a_person_is_told_once_and_once_more_when_it_is_over() {
        use Change::{Edge, State};
        use ErrorCode::{Network, NoRefreshToken, RefreshTokenRejected, ServerError, Store};
        use Phase::{Idle, NeedsLogin, Ready, Refreshing, Waiting};
        let mut changes = Changes::default();
        for (number, (phase, code, expected)) in [
            (Refreshing, None, None),
            (Ready, None, Some(State)),
            (Refreshing, None, None),
            (Ready, None, None),
            (Waiting, Some(ServerError), Some(State)),
            (Waiting, Some(ServerError), None),
            (Waiting, Some(Network), Some(State)),
            (Ready, Some(Store), Some(State)),
            (NeedsLogin, Some(RefreshTokenRejected), Some(Edge)),
            (NeedsLogin, Some(RefreshTokenRejected), None),
            (NeedsLogin, Some(NoRefreshToken), Some(State)),
            // The disk was unavailable, and is available again without changes.
            (Idle, Some(Store), Some(State)),
            (NeedsLogin, Some(NoRefreshToken), Some(State)),
            (Idle, None, Some(Edge)),
            (Ready, None, Some(State)),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(changes.see(&status(phase, code)), expected, "{number}");
        }
        assert_eq!(Changes::default().see(&status(NeedsLogin, Some(NoRefreshToken))), Some(Edge), "at the start");
        assert_eq!(Changes::default().see(&status(Ready, None)), Some(State));
    }
}
