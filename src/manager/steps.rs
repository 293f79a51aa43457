//! The steps of a login.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::oauth::{Login, TwoFactor};
use crate::totp::Totp;
use crate::{Result, Secret};

/// The credentials of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account's e-mail address.
    pub email: Secret,
    /// The password, exactly as typed.
    pub password: Secret,
    /// The secret of the authenticator app, if the caller has it.
    pub totp: Option<Totp>,
    /// The device that Ring sees.
    pub device: Device,
}

/// The device that Ring sees: the hardware id of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The hardware id of the store, the token or the machine.
    Kept,
    /// A new hardware id, because the former one is blocked.
    New,
}

/// The state of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The login succeeded, and its token is stored.
    Authenticated,
    /// The login needs a code.
    TwoFactor(TwoFactor),
}

/// The logins of a manager, of which one at a time waits for its code.
#[derive(Default)]
pub(super) struct Logins {
    /// Locked during a step of a login.
    pub(super) waiting: Arc<tokio::sync::Mutex<Option<Box<WaitingLogin>>>>,
    /// The step that was asked for last, so that a call that asks for the same can join it.
    pub(super) asked: Mutex<Option<Box<UnderWay>>>,
}

/// A login that waits for its code.
pub(super) struct WaitingLogin {
    pub(super) login: Login,
    pub(super) hardware_id: String,
}

/// A step of a login that a caller asks for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Start { credentials: Credentials, code: Option<Secret> },
    Submit(Secret),
    Resend,
}

/// The latest step that a caller asked for, until it is answered.
pub(super) struct UnderWay {
    pub(super) asked: Asked,
    pub(super) answer: watch::Receiver<Option<Result<Step>>>,
}
