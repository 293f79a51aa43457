//! What can go wrong, in the terms of the person who has to do something about it.

use std::fmt;
use std::time::Duration;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The causes that a caller can act on. Their names are the `code` of a `RingAuthError` in JavaScript and of the
/// command line's JSON, and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// Options or arguments that cannot be meant, or a token that cannot be one.
    InvalidArgument,
    /// A login waits for its code.
    TwoFactorRequired,
    /// There is no token anywhere: a person has to log in.
    NoRefreshToken,
    /// The code was wrong, or too old.
    TwoFactorInvalid,
    /// Wrong e-mail or password.
    InvalidCredentials,
    /// Too many codes were asked for.
    TwoFactorRateLimited,
    /// Ring answered `invalid_grant`: the only answer that says that a refresh token is dead.
    RefreshTokenRejected,
    /// Ring refuses the client id, not the person.
    ClientRejected,
    /// Ring's edge refuses this machine, this device id or this `User-Agent`.
    Blocked,
    /// Too many requests.
    RateLimited,
    /// Ring itself is in trouble.
    ServerError,
    /// No answer: not resolved, not connected, or cut off.
    Network,
    /// No answer in time.
    Timeout,
    /// An answer that is not Ring's.
    Protocol,
    /// The journal (or the store given) cannot be read or written.
    Store,
    /// Somebody else holds the journal's lock, or it cannot be locked at all.
    StoreLocked,
    /// The manager was closed.
    Closed,
    /// The caller gave up.
    Aborted,
}

impl ErrorCode {
    /// The name that JavaScript and the command line show.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::TwoFactorRequired => "TWO_FACTOR_REQUIRED",
            Self::NoRefreshToken => "NO_REFRESH_TOKEN",
            Self::TwoFactorInvalid => "TWO_FACTOR_INVALID",
            Self::InvalidCredentials => "INVALID_CREDENTIALS",
            Self::TwoFactorRateLimited => "TWO_FACTOR_RATE_LIMITED",
            Self::RefreshTokenRejected => "REFRESH_TOKEN_REJECTED",
            Self::ClientRejected => "CLIENT_REJECTED",
            Self::Blocked => "BLOCKED",
            Self::RateLimited => "RATE_LIMITED",
            Self::ServerError => "SERVER_ERROR",
            Self::Network => "NETWORK",
            Self::Timeout => "TIMEOUT",
            Self::Protocol => "PROTOCOL",
            Self::Store => "STORE",
            Self::StoreLocked => "STORE_LOCKED",
            Self::Closed => "CLOSED",
            Self::Aborted => "ABORTED",
        }
    }

    /// The code of that name, as a journal holds it.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::InvalidArgument,
            Self::TwoFactorRequired,
            Self::NoRefreshToken,
            Self::TwoFactorInvalid,
            Self::InvalidCredentials,
            Self::TwoFactorRateLimited,
            Self::RefreshTokenRejected,
            Self::ClientRejected,
            Self::Blocked,
            Self::RateLimited,
            Self::ServerError,
            Self::Network,
            Self::Timeout,
            Self::Protocol,
            Self::Store,
            Self::StoreLocked,
            Self::Closed,
            Self::Aborted,
        ]
        .into_iter()
        .find(|code| code.as_str() == name)
    }

    /// Whether the same call can succeed later without a person doing anything.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::TwoFactorRateLimited
                | Self::Blocked
                | Self::RateLimited
                | Self::ServerError
                | Self::Network
                | Self::Timeout
                | Self::Protocol
                | Self::StoreLocked
        )
    }

    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::InvalidArgument => 2,
            Self::TwoFactorRequired | Self::NoRefreshToken => 3,
            Self::TwoFactorInvalid
            | Self::InvalidCredentials
            | Self::TwoFactorRateLimited
            | Self::RefreshTokenRejected
            | Self::ClientRejected
            | Self::Blocked => 4,
            Self::RateLimited | Self::ServerError | Self::Network | Self::Timeout | Self::Protocol => 5,
            Self::Store | Self::StoreLocked => 6,
            Self::Closed | Self::Aborted => 1,
        }
    }
}

/// A failure: its code, a plain sentence that also says what to do next, and what is known of the answer.
///
/// No secret is ever in it. Whoever makes one from foreign text (an answer's body, a path) sees to that.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Details>);

/// Apart, because nearly every result and every manager has room for an error, and hardly one has an error in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    code: ErrorCode,
    message: String,
    http_status: Option<u16>,
    retry_after: Option<Duration>,
    cause: Option<String>,
}

impl Error {
    /// A failure with its code and its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Details { code, message, http_status: None, retry_after: None, cause: None }))
    }

    /// An `INVALID_ARGUMENT` with that sentence, which names the offending argument.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// Adds the HTTP status of the answer behind it.
    #[must_use]
    pub fn with_http_status(mut self, status: u16) -> Self {
        self.0.http_status = Some(status);
        self
    }

    /// Adds how long to wait before the next try.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Adds what lies behind it, in the words of the system or library that said it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// The same failure in other words.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds a sentence behind the first one.
    #[must_use]
    pub fn with_sentence(mut self, sentence: &str) -> Self {
        self.0.message.push(' ');
        self.0.message.push_str(sentence);
        self
    }

    /// The cause in terms of what to do.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The HTTP status of the answer behind it.
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// How long to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What the system or a library said.
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
    }
}
