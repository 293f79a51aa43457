//! Errors, by what the user or the program can do about them.

use std::fmt;
use std::time::Duration;

/// The result of every function here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The causes that a caller can act on. Their names are the `code` of a `RingAuthError` in JavaScript and of the
/// command line's JSON, and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// An option or argument is unknown or invalid, or a text cannot be a token.
    InvalidArgument,
    /// A login waits for its code.
    TwoFactorRequired,
    /// There is no token: the user has to log in.
    NoRefreshToken,
    /// The code was wrong, or too old.
    TwoFactorInvalid,
    /// The e-mail address or the password is wrong.
    InvalidCredentials,
    /// Too many codes were requested.
    TwoFactorRateLimited,
    /// Ring answered `invalid_grant`, the only answer that means that it no longer accepts a refresh token.
    RefreshTokenRejected,
    /// Ring rejects the client id, not the user.
    ClientRejected,
    /// Ring's edge rejects this machine, this hardware id or this `User-Agent`.
    Blocked,
    /// There were too many requests.
    RateLimited,
    /// Ring's servers failed.
    ServerError,
    /// There was no answer: the name was not resolved, or the connection failed.
    Network,
    /// There was no answer in time.
    Timeout,
    /// The answer is not one of Ring's.
    Protocol,
    /// The store cannot be read or written.
    Store,
    /// Another process holds the journal's lock, or the journal cannot be locked.
    StoreLocked,
    /// The manager was closed.
    Closed,
    /// The caller aborted the call.
    Aborted,
}

/// The properties of a code.
struct Row {
    code: ErrorCode,
    name: &'static str,
    is_transient: bool,
    exit_code: u8,
}

const fn row(code: ErrorCode, name: &'static str, is_transient: bool, exit_code: u8) -> Row {
    Row { code, name, is_transient, exit_code }
}

/// All codes, in the order of their declaration. `docs/errors.md` has the same table, and a test compares them.
static TABLE: [Row; 18] = [
    row(ErrorCode::InvalidArgument, "INVALID_ARGUMENT", false, 2),
    row(ErrorCode::TwoFactorRequired, "TWO_FACTOR_REQUIRED", false, 3),
    row(ErrorCode::NoRefreshToken, "NO_REFRESH_TOKEN", false, 3),
    row(ErrorCode::TwoFactorInvalid, "TWO_FACTOR_INVALID", false, 4),
    row(ErrorCode::InvalidCredentials, "INVALID_CREDENTIALS", false, 4),
    row(ErrorCode::TwoFactorRateLimited, "TWO_FACTOR_RATE_LIMITED", true, 4),
    row(ErrorCode::RefreshTokenRejected, "REFRESH_TOKEN_REJECTED", false, 4),
    row(ErrorCode::ClientRejected, "CLIENT_REJECTED", false, 4),
    row(ErrorCode::Blocked, "BLOCKED", true, 4),
    row(ErrorCode::RateLimited, "RATE_LIMITED", true, 5),
    row(ErrorCode::ServerError, "SERVER_ERROR", true, 5),
    row(ErrorCode::Network, "NETWORK", true, 5),
    row(ErrorCode::Timeout, "TIMEOUT", true, 5),
    row(ErrorCode::Protocol, "PROTOCOL", true, 5),
    row(ErrorCode::Store, "STORE", false, 6),
    row(ErrorCode::StoreLocked, "STORE_LOCKED", true, 6),
    row(ErrorCode::Closed, "CLOSED", false, 1),
    row(ErrorCode::Aborted, "ABORTED", false, 1),
];

impl ErrorCode {
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// The name that JavaScript and the command line show.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The code with that name, as a journal holds it.
    pub fn parse(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.code)
    }

    /// Whether the same call can succeed later although the user does nothing.
    pub fn is_transient(self) -> bool {
        self.row().is_transient
    }

    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        self.row().exit_code
    }
}

/// An error: its code, a plain sentence that also says what to do next, and details of the answer.
///
/// It never contains a secret. Code that makes one from foreign text (an answer's body, a path) has to remove secrets first.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Details>);

/// The content of an error. It is boxed, because nearly every result and every manager has space for an error, and few contain one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    code: ErrorCode,
    message: String,
    http_status: Option<u16>,
    retry_after: Option<Duration>,
    cause: Option<String>,
    passes: bool,
}

impl Error {
    /// An error with its code and its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Details { code, message, http_status: None, retry_after: None, cause: None, passes: false }))
    }

    /// An `INVALID_ARGUMENT` with that sentence, which names the offending argument.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// Adds the HTTP status of the answer that caused it.
    #[must_use]
    pub fn with_http_status(mut self, status: u16) -> Self {
        self.0.http_status = Some(status);
        self
    }

    /// Adds the wait before the next try.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// The same failure, of something that can work again without a person doing anything.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.0.passes = true;
        self
    }

    /// Whether the same call can succeed later without a person doing anything.
    pub fn is_transient(&self) -> bool {
        self.0.passes || self.0.code.is_transient()
    }

    /// Adds what lies behind it, in the words of the system or library that said it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// This error with another sentence.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds a sentence at the end.
    #[must_use]
    pub fn with_sentence(mut self, sentence: &str) -> Self {
        self.0.message.push(' ');
        self.0.message.push_str(sentence);
        self
    }

    /// The code of the error.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The sentence of the error.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The HTTP status of the answer that caused it.
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// The wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The cause, in the words of the system or library.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.code().as_str())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        assert_eq!(ErrorCode::parse("STORE_LOCKED"), Some(ErrorCode::StoreLocked));
        assert_eq!(ErrorCode::parse("nonsense"), None);
        for row in &TABLE {
            assert_eq!(row.code.row().code, row.code, "the table is in the order of the declaration");
            assert_eq!(ErrorCode::parse(row.name), Some(row.code));
        }
    }
}
