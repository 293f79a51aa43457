//! Where the words go.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::Error;
use crate::manager::{Event, Level, Listener};

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Loudness {
    /// Failures only.
    Quiet,
    /// What a person should know.
    #[default]
    Normal,
    /// How it happened.
    Verbose,
}

/// Standard output and standard error, each with its purpose.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    loudness: Loudness,
    /// Whether standard error shows something that the next line has to make room for.
    waiting: Mutex<bool>,
}

impl Output {
    pub(super) fn new(json: bool, loudness: Loudness) -> Self {
        Self { json, loudness, waiting: Mutex::new(false) }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// A line of the result, on standard output.
    pub(super) fn result(&self, text: &str) {
        self.done_waiting();
        write_line(&mut io::stdout().lock(), text);
    }

    /// The result as one JSON object, on standard output.
    pub(super) fn json(&self, value: &Value) {
        self.result(&value.to_string());
    }

    /// A line for people, on standard error.
    pub(super) fn say(&self, text: &str) {
        if self.loudness >= Loudness::Normal {
            self.done_waiting();
            write_line(&mut io::stderr().lock(), text);
        }
    }

    /// A line for the person in a dialogue: on standard output, as ring-client-api's CLI has it, unless that is not a
    /// terminal or is kept for JSON.
    pub(super) fn talk(&self, text: &str) {
        self.done_waiting();
        if self.talks_on_stdout() {
            write_line(&mut io::stdout().lock(), text);
        } else {
            write_line(&mut io::stderr().lock(), text);
        }
    }

    /// A question, without a line end.
    pub(super) fn ask(&self, prompt: &str) {
        self.done_waiting();
        if self.talks_on_stdout() {
            write_now(&mut io::stdout().lock(), prompt);
        } else {
            write_now(&mut io::stderr().lock(), prompt);
        }
    }

    /// Shows that something takes its time. On a terminal the next line takes its place.
    pub(super) fn wait(&self, text: &str) {
        if self.loudness == Loudness::Quiet {
            return;
        }
        self.done_waiting();
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() {
            write_now(&mut stderr, text);
            *self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        } else {
            write_line(&mut stderr, text);
        }
    }

    /// Says what went wrong, and what to exit with.
    pub(super) fn fail(&self, error: &Error) -> u8 {
        self.done_waiting();
        let code = error.code();
        if self.json {
            let retry_after = error.retry_after().map(crate::journal::state::millis);
            self.json(&json!({ "error": {
                "code": code.as_str(), "message": error.message(), "transient": code.is_transient(),
                "retryAfterMs": retry_after,
            }}));
        }
        let mut stderr = io::stderr().lock();
        write_line(&mut stderr, &format!("ring-auth: {error}"));
        if let Some(cause) = error.cause().filter(|_| self.loudness >= Loudness::Normal) {
            write_line(&mut stderr, &format!("  because: {cause}"));
        }
        code.exit_code()
    }

    fn talks_on_stdout(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    fn done_waiting(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if std::mem::take(&mut *waiting) {
            write_now(&mut io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Listener for Output {
    fn on_event(&self, event: Event) {
        let Event::Log(level, message) = event else { return };
        let wanted = match level {
            // The command itself says what failed.
            Level::Error | Level::Warn => Loudness::Normal,
            Level::Info | Level::Debug => Loudness::Verbose,
        };
        if self.loudness >= wanted {
            self.done_waiting();
            write_line(&mut io::stderr().lock(), &format!("ring-auth: {message}"));
        }
    }
}

/// Whoever reads may be gone: then there is nobody to tell.
fn write_line(to: &mut impl Write, text: &str) {
    write_now(to, &format!("{text}\n"));
}

fn write_now(to: &mut impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}
