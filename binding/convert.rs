//! From the core's types to the shapes that cross the boundary.

use std::time::Duration;

use super::types::{
    BindingAuth, BindingError, BindingEvent, BindingOutcome, BindingStatus, BindingStep, BindingTwoFactor,
};
use ring_auth::manager::{Auth, Event, Level, Status, Step};
use ring_auth::oauth::{TwoFactor, TwoFactorMethod};
use ring_auth::{Error, Result};

impl From<Error> for BindingError {
    fn from(error: Error) -> Self {
        Self {
            code: error.code().as_str().to_owned(),
            message: error.message().to_owned(),
            transient: error.code().is_transient(),
            http_status: error.http_status().map(u32::from),
            retry_after_ms: error.retry_after().map(milliseconds),
            cause: error.cause().map(str::to_owned),
        }
    }
}

impl From<Auth> for BindingAuth {
    fn from(auth: Auth) -> Self {
        Self {
            access_token: auth.access_token.expose().to_owned(),
            token_type: auth.token_type,
            scope: auth.scope,
            expires_at: time(auth.expires_at),
            refresh_token: auth.refresh_token.expose().to_owned(),
            hardware_id: auth.hardware_id,
        }
    }
}

impl From<Status> for BindingStatus {
    fn from(status: Status) -> Self {
        let problem = status.problem;
        Self {
            state: status.phase.as_str().to_owned(),
            code: problem.as_ref().map(|error| error.code().as_str().to_owned()),
            message: problem.as_ref().map(|error| error.message().to_owned()),
            retry_at: status.retry_at.map(time),
            persisted: status.persisted,
        }
    }
}

impl From<Step> for BindingStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Authenticated => Self { authenticated: true, two_factor: None },
            Step::TwoFactor(two_factor) => Self { authenticated: false, two_factor: Some(two_factor.into()) },
        }
    }
}

impl From<TwoFactor> for BindingTwoFactor {
    fn from(two_factor: TwoFactor) -> Self {
        let method = match two_factor.method {
            TwoFactorMethod::Sms => "sms",
            TwoFactorMethod::Email => "email",
            TwoFactorMethod::Totp => "totp",
            TwoFactorMethod::Unknown => "unknown",
        };
        Self {
            method: method.to_owned(),
            destination: two_factor.destination,
            resend_in_seconds: two_factor.resend_in.map(|wait| wait.as_secs_f64()),
            prompt: two_factor.prompt,
        }
    }
}

/// What happened to the manager of that number.
pub(super) fn event(manager: f64, event: Event) -> BindingEvent {
    match event {
        Event::Token { old, new } => BindingEvent {
            old_refresh_token: old.map(|token| token.expose().to_owned()),
            new_refresh_token: Some(new.expose().to_owned()),
            ..of_kind(manager, "token")
        },
        Event::Status(status) => BindingEvent { status: Some(status.into()), ..of_kind(manager, "status") },
        Event::Log(level, message) => {
            let level = match level {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
            };
            BindingEvent { level: Some(level.to_owned()), message: Some(message), ..of_kind(manager, "log") }
        }
    }
}

/// Nothing more will happen to the manager of that number.
pub(super) fn end(manager: f64) -> BindingEvent {
    of_kind(manager, "end")
}

fn of_kind(manager: f64, kind: &str) -> BindingEvent {
    BindingEvent {
        manager,
        kind: kind.to_owned(),
        old_refresh_token: None,
        new_refresh_token: None,
        status: None,
        level: None,
        message: None,
    }
}

pub(super) fn auth_outcome(result: Result<Auth>) -> BindingOutcome {
    outcome(result, |auth| BindingOutcome { auth: Some(auth.into()), ..BindingOutcome::default() })
}

pub(super) fn step_outcome(result: Result<Step>) -> BindingOutcome {
    outcome(result, |step| BindingOutcome { step: Some(step.into()), ..BindingOutcome::default() })
}

pub(super) fn empty_outcome(result: Result<()>) -> BindingOutcome {
    outcome(result, |()| BindingOutcome::default())
}

fn outcome<T>(result: Result<T>, convert: impl FnOnce(T) -> BindingOutcome) -> BindingOutcome {
    match result {
        Ok(value) => convert(value),
        Err(error) => BindingOutcome { error: Some(error.into()), ..BindingOutcome::default() },
    }
}

#[allow(clippy::cast_precision_loss, reason = "JavaScript's numbers hold milliseconds exactly until the year 287396")]
fn time(milliseconds: u64) -> f64 {
    milliseconds as f64
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).ceil()
}
