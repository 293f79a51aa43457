//! Questions to the user at the terminal, or to the program at the other end of standard input.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::output::Output;
use super::terminal::{Answer, Echo, Question, Terminal};
use super::{StandardInput, Stop, input};
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Secret, task};

/// How long a script may take to find the code in a mailbox.
const WAIT_FOR_LINE: Duration = Duration::from_secs(600);
/// How long to wait for further lines if the first one is not a token.
const WAIT_FOR_REST: Duration = Duration::from_secs(3);
const EMPTY_TRIES: u32 = 3;

/// Reads a line from standard input.
///
/// # Errors
///
/// `NO_REFRESH_TOKEN` if there is none, `INVALID_ARGUMENT` for an empty password.
pub(super) async fn line_of_stdin(option: &str, what: &str) -> Result<Secret, Stop> {
    let line = from_stdin().await?.ok_or_else(|| {
        Error::new(ErrorCode::NoRefreshToken, format!("{option}: standard input ended before the {what} came."))
    })?;
    if line.is_empty() && option == "--password-stdin" {
        return Err(Error::invalid(format!("{option}: the first line of standard input is empty.")).into());
    }
    Ok(line)
}

/// Reads a token from standard input: one line, or all lines if the first one is not a token. A tool may have split a token into
/// lines, or have written an empty line before it.
pub(super) async fn token_of_stdin(option: &str) -> Result<Secret, Stop> {
    let first = line_of_stdin(option, "refresh token").await?;
    if RefreshToken::parse(first.expose()).is_ok() {
        return Ok(first);
    }
    let mut text = first.expose().to_owned();
    let rest = async {
        while text.len() <= input::LONGEST
            && let Some(line) = from_stdin().await?
        {
            text.push('\n');
            text.push_str(line.expose());
        }
        Ok(())
    };
    // A program that keeps standard input open after a wrong line still gets the error.
    tokio::time::timeout(WAIT_FOR_REST, rest).await.unwrap_or(Ok::<(), Stop>(()))?;
    Ok(Secret::new(text))
}

pub(super) async fn from_stdin() -> Result<Option<Secret>, Stop> {
    // A thread of its own, not one of the runtime: a writer may never write, and the program must still be able to end.
    let (told, line) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = told.send(input::read_line(&mut io::stdin()));
    });
    let line = async { line.await.unwrap_or(Ok(None)) };
    Ok(tokio::time::timeout(WAIT_FOR_LINE, line).await.unwrap_or(Ok(None))?)
}

pub(super) fn no_code() -> Error {
    Error::new(
        ErrorCode::TwoFactorRequired,
        "Ring asks for a code, and none was given. Run this in a terminal, or give it with --code, RING_2FA_CODE or as the second line after --password-stdin; the secret of an authenticator app (--totp-secret-file, RING_TOTP_SECRET) makes the code itself.",
    )
}

/// Waits for work, and shows after a while that it takes its time.
pub(super) async fn with_progress<T>(output: &Output, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let (mut waited, mut step) = (Duration::ZERO, Duration::from_secs(1));
    loop {
        if let Ok(done) = tokio::time::timeout(step, &mut work).await {
            return done;
        }
        waited += step;
        step = Duration::from_secs(5);
        output.wait(&format!("Waiting for Ring … {} s", waited.as_secs()));
    }
}

/// Asks the user at the terminal, or a program that answers in the user's place, if there is one.
pub(super) struct Prompter {
    output: Arc<Output>,
    terminal: Option<Arc<Terminal>>,
    /// What standard input is good for without a terminal.
    input: StandardInput,
}

impl Prompter {
    pub(super) fn new(output: &Arc<Output>, input: StandardInput) -> Self {
        // In mintty nothing hides what is typed, and the console that could is not the one that the person sees.
        let terminal = if input == StandardInput::Mintty { None } else { Terminal::open() };
        Self { output: Arc::clone(output), terminal: terminal.map(Arc::new), input }
    }

    pub(super) fn has_person(&self) -> bool {
        self.terminal.is_some() || self.input == StandardInput::Answers
    }

    /// Asks for a value that must not be empty.
    pub(super) async fn ask(&self, question: Question, what: &str, instead: &str) -> Result<Secret, Stop> {
        for _ in 0..EMPTY_TRIES {
            match self.read(question).await {
                Some(Answer::Line(line)) => {
                    // Spaces alone count as empty, except in a password.
                    let nothing = line.expose().trim().is_empty() && (question.echo == Echo::Shown || line.is_empty());
                    if !nothing {
                        return Ok(line);
                    }
                }
                Some(Answer::NotText) => return Err(not_text(what)),
                Some(Answer::Interrupted) => return Err(Stop::Interrupted),
                Some(Answer::End) => return Err(ended(what).into()),
                None => return Err(no_terminal(what, instead, self.input).into()),
            }
        }
        Err(Error::invalid(format!("The {what} is empty.")).into())
    }

    pub(super) async fn code(&self) -> Result<Secret, Stop> {
        match self.read(Question::shown("2fa Code: ")).await {
            Some(Answer::Line(line)) => Ok(line),
            Some(Answer::NotText) => Err(not_text("code")),
            Some(Answer::Interrupted) => Err(Stop::Interrupted),
            Some(Answer::End) | None => Err(no_code().into()),
        }
    }

    /// Asks a question. Returns `None` if there is neither a terminal nor a program that answers.
    async fn read(&self, question: Question) -> Option<Answer> {
        let output = Arc::clone(&self.output);
        let Some(terminal) = self.terminal.clone() else {
            return if self.input == StandardInput::Answers { Some(self.read_from_pipe(question).await) } else { None };
        };
        task::spawn_blocking(move || terminal.read_line(&output, question)).await.ok()
    }

    async fn read_from_pipe(&self, question: Question) -> Answer {
        self.output.ask(question.prompt);
        match from_stdin().await {
            Ok(Some(line)) => Answer::Line(line),
            Ok(None) | Err(Stop::Interrupted) => Answer::End,
            Err(Stop::Failed(_)) => Answer::NotText,
        }
    }

    /// Waits for work, and ends the wait at Ctrl-C.
    pub(super) async fn interruptible<T>(&self, work: impl Future<Output = crate::Result<T>>) -> Result<T, Stop> {
        let waiting = with_progress(&self.output, work);
        let Some(terminal) = &self.terminal else { return Ok(waiting.await?) };
        tokio::pin!(waiting);
        loop {
            let watched = Arc::clone(terminal);
            let watch = task::spawn_blocking(move || watched.interrupted_within(Duration::from_millis(100)));
            tokio::pin!(watch);
            tokio::select! {
                done = &mut waiting => {
                    // Keys that were pressed until now belong to the next question. Ctrl-C counts only if the work has failed.
                    if watch.await.unwrap_or(false) && done.is_err() {
                        return Err(Stop::Interrupted);
                    }
                    return Ok(done?);
                }
                interrupted = &mut watch => {
                    if interrupted.unwrap_or(false) {
                        self.output.talk("");
                        return Err(Stop::Interrupted);
                    }
                }
            }
        }
    }
}

fn no_terminal(what: &str, instead: &str, input: StandardInput) -> Error {
    let sentence = if input == StandardInput::Mintty {
        format!(
            "The {what} cannot be asked for in this window: Git Bash (mintty) gives programs a pipe instead of a terminal. Put winpty before the command, use Windows Terminal or PowerShell, log in with --web, or give it with {instead}."
        )
    } else {
        format!("There is no terminal to ask for the {what}. Run this in one, or give it with {instead}.")
    };
    Error::new(ErrorCode::NoRefreshToken, sentence)
}

fn ended(what: &str) -> Error {
    Error::new(ErrorCode::NoRefreshToken, format!("The input ended before the {what} was typed."))
}

fn not_text(what: &str) -> Stop {
    Error::invalid(format!("The {what} is not valid UTF-8. Set the terminal to UTF-8.")).into()
}
