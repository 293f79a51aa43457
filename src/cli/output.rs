//! Standard output and standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::store::with_our_options;
use crate::Error;
use crate::manager::{Event, Level, Listener};

/// How much is written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Verbosity {
    /// Only failures.
    Quiet,
    /// Also what the user should know.
    #[default]
    Normal,
    /// Also the steps on the way.
    Verbose,
}

/// The escape sequence that clears the current line of the terminal.
const CLEARED_LINE: &str = "\r\x1b[K";

/// Standard output for results, and standard error for people.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    verbosity: Verbosity,
    /// Whether the terminal has no escape sequences (`TERM=dumb`).
    is_dumb: bool,
    /// Whether questions go to standard output even if it is a pipe, and the token is the last line.
    like_ring_client_api: bool,
    /// Whether standard error shows a text that the next line has to replace.
    waiting: Mutex<bool>,
    /// The last line of the log, which a failure does not repeat.
    logged: Mutex<String>,
    /// The error with which standard output refused the result.
    unwritten: Mutex<Option<io::Error>>,
    /// Whether standard error has the only copy of a token.
    rescued: AtomicBool,
}

impl Output {
    pub(super) fn new(json: bool, verbosity: Verbosity) -> Self {
        Self {
            json,
            verbosity,
            is_dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
            like_ring_client_api: false,
            waiting: Mutex::new(false),
            logged: Mutex::new(String::new()),
            unwritten: Mutex::new(None),
            rescued: AtomicBool::new(false),
        }
    }

    /// Sets the order of output that programs for ring-client-api's command expect: questions go to standard output even if it is a
    /// pipe (unless it is reserved for JSON), and the token is the last line.
    pub(super) fn with_order_of_ring_client_api(self, like_ring_client_api: bool) -> Self {
        Self { like_ring_client_api, ..self }
    }

    pub(super) fn ends_with_token(&self) -> bool {
        self.like_ring_client_api
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Writes a line of the result to standard output.
    pub(super) fn result(&self, text: &str) {
        self.done_waiting();
        if let Err(error) = write_line(&mut io::stdout().lock(), text) {
            *lock(&self.unwritten) = Some(error);
        }
    }

    /// Writes a line of the result with a refresh token. If the token exists nowhere else and standard output does not take it,
    /// writes it to standard error.
    pub(super) fn token(&self, text: &str, is_only_copy: bool) {
        if !is_only_copy {
            return self.result(text);
        }
        self.done_waiting();
        if let Err(error) = write_line(&mut io::stdout().lock(), text) {
            self.rescued.store(true, Ordering::Relaxed);
            self.complain(&format!(
                "ring-auth: The result could not be written to standard output: {error}. The token in it exists nowhere else, so here it is:\n{text}"
            ));
        }
    }

    /// Whether standard error has the only copy of a token, because standard output did not take it.
    pub(super) fn has_rescued(&self) -> bool {
        self.rescued.load(Ordering::Relaxed)
    }

    /// The exit code of a command that ended with this code: another one if its result could not be written.
    pub(super) fn finish(&self, code: u8) -> u8 {
        if self.has_rescued() {
            return code.max(1);
        }
        let Some(error) = lock(&self.unwritten).take() else { return code };
        // A reader that closes its pipe early does not need the rest.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return code;
        }
        self.complain(&format!("ring-auth: The result could not be written to standard output: {error}."));
        code.max(1)
    }

    /// Writes the result as one JSON object to standard output.
    pub(super) fn json(&self, value: &Value) {
        self.result(&value.to_string());
    }

    /// Writes a line for people to standard error, unless `--quiet` is given.
    pub(super) fn say(&self, text: &str) {
        if self.verbosity >= Verbosity::Normal {
            self.complain(text);
        }
    }

    /// Writes a line to standard error that is never left out.
    pub(super) fn complain(&self, text: &str) {
        self.done_waiting();
        ignore(write_line(&mut io::stderr().lock(), text));
    }

    /// Writes a line of a dialogue. It goes to standard output, as in ring-client-api's CLI, unless that is not a terminal or is
    /// reserved for JSON.
    pub(super) fn talk(&self, text: &str) {
        self.done_waiting();
        ignore(if self.talks_on_stdout() {
            write_line(&mut io::stdout().lock(), text)
        } else {
            write_line(&mut io::stderr().lock(), text)
        });
    }

    /// Writes a question, without a line end.
    pub(super) fn ask(&self, prompt: &str) {
        self.done_waiting();
        ignore(if self.talks_on_stdout() {
            write_now(&mut io::stdout().lock(), prompt)
        } else {
            write_now(&mut io::stderr().lock(), prompt)
        });
    }

    /// The text before a line that replaces the current one on the terminal. A dumb terminal gets a new line.
    #[cfg_attr(not(unix), allow(dead_code, reason = "a console shows what is typed by itself"))]
    pub(super) fn start_of_line(&self) -> &'static str {
        if self.is_dumb { "\n" } else { CLEARED_LINE }
    }

    /// Shows that the command waits. On a terminal the next line replaces this text.
    pub(super) fn wait(&self, text: &str) {
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        self.done_waiting();
        let mut stderr = io::stderr().lock();
        if stderr.is_terminal() && !self.is_dumb {
            ignore(write_now(&mut stderr, text));
            *lock(&self.waiting) = true;
        } else {
            ignore(write_line(&mut stderr, text));
        }
    }

    /// Reports an error. Returns the exit code.
    pub(super) fn fail(&self, error: &Error) -> u8 {
        let error = &with_our_options(error);
        if self.json {
            let code = error.code();
            let retry_after = error.retry_after().map(crate::journal::state::millis);
            self.json(&json!({ "error": {
                "code": code.as_str(), "message": error.message(), "transient": error.is_transient(),
                "retryAfterMs": retry_after,
            }}));
        }
        self.explain(error);
        error.code().exit_code()
    }

    /// Writes an error to standard error, unless it was the last line of the log.
    pub(super) fn explain(&self, error: &Error) {
        let line = format!("ring-auth: {error}");
        if !lock(&self.logged).starts_with(&line) {
            self.complain(&line);
        }
        if let Some(cause) = error.cause().filter(|_| self.verbosity >= Verbosity::Normal) {
            self.complain(&format!("  because: {cause}"));
        }
    }

    fn talks_on_stdout(&self) -> bool {
        !self.json && (self.like_ring_client_api || io::stdout().is_terminal())
    }

    fn done_waiting(&self) {
        if std::mem::take(&mut *lock(&self.waiting)) {
            ignore(write_now(&mut io::stderr().lock(), CLEARED_LINE));
        }
    }
}

impl Listener for Output {
    fn on_event(&self, event: Event) {
        let Event::Log(level, message) = event else { return };
        let wanted = match level {
            Level::Error => Verbosity::Quiet,
            Level::Warn => Verbosity::Normal,
            Level::Info | Level::Debug => Verbosity::Verbose,
        };
        if self.verbosity >= wanted {
            let line = format!("ring-auth: {message}");
            self.complain(&line);
            *lock(&self.logged) = line;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ignores a failure to write to people: the reader is gone.
fn ignore(_: io::Result<()>) {}

fn write_line(to: &mut impl Write, text: &str) -> io::Result<()> {
    write_now(to, &format!("{text}\n"))
}

fn write_now(to: &mut impl Write, text: &str) -> io::Result<()> {
    let mut rest = text.as_bytes();
    loop {
        let written = if rest.is_empty() { to.flush().map(|()| 0) } else { to.write(rest) };
        match written {
            Ok(0) if rest.is_empty() => return Ok(()),
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the pipe has made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writer that takes one byte per call, and no byte in every second call.
    struct Slow(Vec<u8>, bool);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.push(bytes[0]);
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_does_not_wait_is_waited_for() {
        let mut slow = Slow(Vec::new(), false);
        write_line(&mut slow, "token").unwrap();
        assert_eq!(slow.0, b"token\n");
    }
}
