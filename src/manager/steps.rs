//! What is asked of a login, and how far it came.

use tokio::sync::watch;

use crate::oauth::{Login, TwoFactor};
use crate::totp::Totp;
use crate::{Result, Secret};

/// What a person logs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub email: Secret,
    /// Its password, exactly as typed.
    pub password: Secret,
    /// What the authenticator app was set up with, if the caller has it.
    pub totp: Option<Totp>,
    /// Which device to be for Ring.
    pub device: Device,
}

/// Which device to be for Ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The one that the store, the token or the machine says.
    Kept,
    /// A new one, because the old one is blocked.
    New,
}

/// What a login has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is a token, and it is stored.
    Authenticated,
    /// A code is needed.
    TwoFactor(TwoFactor),
}

/// A login that waits for its code.
pub(super) struct Waiting {
    pub(super) login: Login,
    pub(super) hardware_id: String,
}

/// What somebody asks of a login.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Start { credentials: Credentials, code: Option<Secret> },
    Submit(Secret),
    Resend,
}

/// The latest step that somebody asked for, until it is answered.
pub(super) struct UnderWay {
    pub(super) asked: Asked,
    pub(super) answer: watch::Receiver<Option<Result<Step>>>,
}
