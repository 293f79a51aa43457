//! `doctor`: finds out why ring-auth does not work here. It sends no credentials and no token, and changes nothing.

mod folder;
mod journal;
mod mirror;
mod network;
mod store;
mod surroundings;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Done;
use super::args::Options;
use super::context::endpoints;
use super::output::Output;
use crate::files::trial;
use crate::{Error, ErrorCode};

/// How long to wait for the store: on a mount whose server is gone, storage calls never end. The check of the lock takes up to five
/// seconds, and a command that prints a key up to ten.
const STORE_TIMEOUT: Duration = Duration::from_secs(20);

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    id: &'static str,
    state: State,
    /// One or two sentences: the finding, and what to do.
    message: String,
    /// The code of the failure.
    code: Option<Code>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// Something that can become a problem, or is a problem only for some users.
    Warning,
    /// Something that prevents a rotation.
    Failed,
    /// The check was not made.
    Skipped,
}

impl State {
    /// The weight of the state: the higher one of two matters more.
    fn weight(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Skipped => 1,
            Self::Warning => 2,
            Self::Failed => 3,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// The code of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    Core(ErrorCode),
    /// A code with which `require` fails.
    Binary(&'static str),
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::Core(code) => code.as_str(),
            Self::Binary(name) => name,
        }
    }

    fn exit_code(self) -> u8 {
        match self {
            Self::Core(code) => code.exit_code(),
            Self::Binary(_) => 1,
        }
    }
}

impl Check {
    fn new(id: &'static str, state: State, message: impl Into<String>) -> Self {
        Self { id, state, message: message.into(), code: None }
    }

    fn ok(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, State::Ok, message)
    }

    fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, State::Warning, message)
    }

    fn skipped(id: &'static str, message: impl Into<String>) -> Self {
        Self::new(id, State::Skipped, message)
    }

    fn failed(id: &'static str, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: Some(Code::Core(code)), ..Self::new(id, State::Failed, message) }
    }

    /// A failed check with the message and the cause of an error.
    fn of(id: &'static str, error: &Error) -> Self {
        let cause = error.cause().map(|cause| format!(" ({cause})")).unwrap_or_default();
        Self::failed(id, error.code(), format!("{}{cause}", error.message()))
    }

    /// Adds a sentence.
    fn and(mut self, sentence: &str) -> Self {
        if !sentence.is_empty() {
            self.message.push(' ');
            self.message.push_str(sentence);
        }
        self
    }

    /// The check that matters more; `self` if both matter the same.
    fn or_worse(self, other: Self) -> Self {
        if other.state.weight() > self.state.weight() { other } else { self }
    }

    fn json(&self) -> Value {
        let mut json = json!({ "id": self.id, "state": self.state.as_str(), "message": self.message });
        if let Some(code) = self.code {
            json["code"] = code.as_str().into();
        }
        json
    }

    fn line(&self) -> String {
        let code = self.code.map(|code| format!(" ({})", code.as_str())).unwrap_or_default();
        format!("{:<8} {:<15} {}{code}", self.state.as_str(), self.id, self.message)
    }
}

/// An error in which the stores have the names of the command line's options.
fn in_our_words(error: &Error) -> Error {
    super::store::with_our_options(error)
}

/// Removes the files of a trial, before a signal ends the process.
pub fn end_doctor() {
    trial::end();
}

pub(super) async fn doctor(options: &Options, surroundings: Option<&str>, output: &Arc<Output>) -> Done {
    let endpoints = endpoints()?;
    let mut report = Report { output, checks: Vec::new() };
    report.add(surroundings::look(surroundings));
    let (checks, hardware_id) = look_at_store(options, &endpoints.issuer()).await;
    report.add(checks);
    report.add(network::look(options, &endpoints, hardware_id.as_deref()).await?);
    Ok(report.end())
}

/// Makes the checks of the store and of the journal, and returns the stored hardware id too. Waits at most [`STORE_TIMEOUT`].
async fn look_at_store(options: &Options, issuer: &str) -> (Vec<Check>, Option<String>) {
    let wanted = store::Wanted::new(options, issuer);
    let (done, looked) = oneshot::channel();
    let work = move || {
        let looked = store::look(&wanted);
        let mut checks = looked.checks;
        let hardware_id = looked.kept.as_ref().and_then(journal::hardware_id_of).map(str::to_owned);
        checks.extend(journal::look(looked.kept, &looked.why_not, looked.sealed.as_ref()));
        drop(done.send((checks, hardware_id)));
    };
    // Not a thread of the runtime, which the end of the process would wait for.
    let is_begun = std::thread::Builder::new().name("ring-auth-doctor".to_owned()).spawn(work).is_ok();
    let looked = tokio::time::timeout(STORE_TIMEOUT, looked).await;
    if let (true, Ok(Ok(looked))) = (is_begun, looked) {
        return looked;
    }
    let sentence =
        "The file system of the store does not answer. Check whether its server or drive is gone (mount, dmesg).";
    let rest = "The store does not answer.";
    let mut checks = vec![Check::failed(store::STORE, ErrorCode::Store, sentence)];
    checks.extend(store::AFTER_STORE.into_iter().chain(journal::IDS).map(|id| Check::skipped(id, rest)));
    (checks, None)
}

/// The checks so far. Without `--json` each line is printed as soon as it is known.
struct Report<'a> {
    output: &'a Output,
    checks: Vec<Check>,
}

impl Report<'_> {
    fn add(&mut self, checks: Vec<Check>) {
        if !self.output.is_json() {
            for check in &checks {
                self.output.result(&check.line());
            }
        }
        self.checks.extend(checks);
    }

    /// Prints the end of the report. Returns the exit code: that of the first failure.
    fn end(self) -> u8 {
        let Self { output, checks } = self;
        if output.is_json() {
            output.json(&json!({ "checks": checks.iter().map(Check::json).collect::<Vec<_>>() }));
        }
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        output.say(&match (count(State::Failed), count(State::Warning)) {
            (0, 0) => "Nothing is wrong here.".to_owned(),
            (0, warnings) => format!("Nothing has failed. Warnings: {warnings}."),
            (failed, warnings) => {
                format!("Failed: {failed}. Warnings: {warnings}. Begin with the first one that failed.")
            }
        });
        exit_code(&checks)
    }
}

fn exit_code(checks: &[Check]) -> u8 {
    checks.iter().filter(|check| check.state == State::Failed).find_map(|check| check.code).map_or(0, Code::exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_gives_the_exit_code_and_a_warning_none() {
        let warning = Check::warning("a", "w");
        let [store, blocked] = [ErrorCode::Store, ErrorCode::Blocked].map(|code| Check::failed("b", code, "f"));
        assert_eq!(exit_code(&[warning.clone(), Check::skipped("c", "s"), Check::ok("d", "o")]), 0);
        assert_eq!(exit_code(&[warning.clone(), store.clone(), blocked.clone()]), 6);
        assert_eq!(exit_code(&[blocked, store]), 4);
        let binary = Check { code: Some(Code::Binary("BINARY_MISMATCH")), state: State::Failed, ..warning };
        assert_eq!(exit_code(&[binary]), 1);
    }

    #[test]
    fn a_check_is_one_line_and_one_object() {
        let failed = Check::of("tls", &Error::new(ErrorCode::Network, "It broke.").with_cause("reset"));
        assert_eq!(failed.line(), "failed   tls             It broke. (reset) (NETWORK)");
        assert_eq!(
            failed.json().to_string(),
            r#"{"id":"tls","state":"failed","message":"It broke. (reset)","code":"NETWORK"}"#
        );
        assert_eq!(Check::ok("a", "b").json().to_string(), r#"{"id":"a","state":"ok","message":"b"}"#);
        assert_eq!(Check::ok("a", "b").and("").and("c").message, "b c");
    }
}
