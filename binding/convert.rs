//! Conversions from the core's types to those that cross the boundary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::types::{
    BindingAuth, BindingError, BindingEvent, BindingFailures, BindingRefresh, BindingResult, BindingStats,
    BindingStatus, BindingStep, BindingStore, BindingTwoFactor, BindingWebLogin, BindingWebStart,
};
use ring_auth::cli::{WebLogin, WebStart};
use ring_auth::location::Location;
use ring_auth::manager::{Auth, Ended, Event, Level, Stats, Status, Step};
use ring_auth::mirror::Target;
use ring_auth::oauth::{TwoFactor, TwoFactorMethod};
use ring_auth::{Error, Result};

impl From<Error> for BindingError {
    fn from(error: Error) -> Self {
        Self {
            code: error.code().as_str().to_owned(),
            message: error.message().to_owned(),
            transient: error.is_transient(),
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
            expires_at: number(auth.expires_at),
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
            retry_at: status.retry_at.map(number),
            persisted: status.persisted,
        }
    }
}

impl From<Stats> for BindingStats {
    fn from(stats: Stats) -> Self {
        let failures = stats.failures.into_iter();
        Self {
            rotations: number(stats.rotations),
            adopted: number(stats.adopted),
            takeovers: number(stats.takeovers),
            failures: failures
                .map(|(code, count)| BindingFailures { code: code.as_str().to_owned(), count: number(count) })
                .collect(),
            last_success_at: stats.last_success_at.map(number),
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

impl From<WebStart> for BindingWebStart {
    fn from(start: WebStart) -> Self {
        match start {
            WebStart::Ended(code) => Self::Ended { exit_code: code.into() },
            WebStart::Login(login) => Self::Login { login: (*login).into() },
        }
    }
}

impl From<WebLogin> for BindingWebLogin {
    fn from(login: WebLogin) -> Self {
        let (tls_cert, tls_key) = login.tls.map(|(certificate, key)| (text(&certificate), text(&key))).unzip();
        Self {
            store: to_store(login.location),
            seal_key: login.key.map(|key| key.expose().to_owned()),
            path: login.path,
            changes: login.changes,
            login_flow: login.login_flow.to_owned(),
            user_agent: login.user_agent,
            system_id: login.system_id,
            device_name: login.device_name,
            oauth_url: login.oauth_url,
            api_url: login.api_url,
            host: login.host,
            port: login.port.into(),
            allowed_hosts: login.allowed_hosts,
            tls_cert,
            tls_key,
            json: login.json,
            quiet: login.quiet,
            verbose: login.verbose,
        }
    }
}

/// The store of the page's manager; `None` if the token is only printed.
fn to_store(location: Location) -> Option<BindingStore> {
    let state_path = |folder: Option<PathBuf>| folder.as_deref().map(text);
    Some(match location {
        Location::Memory | Location::Shared { .. } | Location::Custom { .. } => return None,
        Location::Journal(path) => BindingStore::File { path: text(&path) },
        Location::Mirror { target: Target::Homebridge { path, platform, name }, state_path: folder } => {
            let (path, state_path) = (text(&path), state_path(folder));
            BindingStore::Homebridge { path, platform, name, state_path, add_block: true }
        }
        Location::Mirror { target: Target::Dotenv { path, key }, state_path: folder } => {
            BindingStore::Dotenv { path: text(&path), key, state_path: state_path(folder) }
        }
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// An event of the manager with that number.
pub(super) fn event(manager: f64, event: Event) -> BindingEvent {
    match event {
        Event::Token { old, new } => BindingEvent::Token {
            manager,
            old_refresh_token: old.map(|token| token.expose().to_owned()),
            new_refresh_token: new.expose().to_owned(),
        },
        Event::Status(status) => BindingEvent::Status { manager, status: status.into() },
        Event::Log(level, message) => {
            let level = match level {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                Level::Debug => "debug",
            };
            BindingEvent::Log { manager, level: level.to_owned(), message }
        }
        Event::Begun(reason) => BindingEvent::Begun { manager, reason: reason.to_owned() },
        Event::Ended(Ended { reason, requests, adopted, duration, error }) => {
            let refresh = BindingRefresh {
                reason: reason.to_owned(),
                requests,
                adopted,
                duration_ms: milliseconds(duration),
                error: error.map(Into::into),
            };
            BindingEvent::Ended { manager, refresh }
        }
    }
}

pub(super) fn auth_result(result: Result<Auth>) -> BindingResult {
    to_result(result.map(|auth| BindingResult::Auth { auth: auth.into() }))
}

pub(super) fn step_result(result: Result<Step>) -> BindingResult {
    to_result(result.map(|step| BindingResult::Step { step: step.into() }))
}

pub(super) fn empty_result(result: Result<()>) -> BindingResult {
    to_result(result.map(|()| BindingResult::Done {}))
}

fn to_result(result: Result<BindingResult>) -> BindingResult {
    result.unwrap_or_else(|error| BindingResult::Failed { error: error.into() })
}

#[allow(clippy::cast_precision_loss, reason = "JavaScript's numbers hold milliseconds exactly until the year 287396")]
fn number(milliseconds: u64) -> f64 {
    milliseconds as f64
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).ceil()
}
