//! From the core's types to the shapes that cross the boundary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::types::{
    BindingAuth, BindingError, BindingEvent, BindingFailures, BindingOutcome, BindingRefresh, BindingStats,
    BindingStatus, BindingStep, BindingStore, BindingTwoFactor, BindingWebLogin,
};
use ring_auth::cli::Begun;
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

impl From<Begun> for BindingWebLogin {
    fn from(begun: Begun) -> Self {
        let login = match begun {
            Begun::Ended(code) => return Self { exit_code: Some(code.into()), ..Self::default() },
            Begun::Login(login) => *login,
        };
        let (tls_cert, tls_key) = login.tls.map(|(certificate, key)| (text(&certificate), text(&key))).unzip();
        Self {
            exit_code: None,
            store: to_store(login.location)
                .map(|store| BindingStore { seal_key: login.key.map(|key| key.expose().to_owned()), ..store }),
            path: login.path.as_deref().map(text),
            changes: login.changes,
            login_flow: Some(login.login_flow.to_owned()),
            user_agent: login.user_agent,
            system_id: login.system_id,
            device_name: login.device_name,
            oauth_url: Some(login.oauth_url),
            api_url: Some(login.api_url),
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
    let of_kind = |kind: &str, path: &Path| BindingStore {
        kind: kind.to_owned(),
        path: Some(text(path)),
        platform: None,
        name: None,
        key: None,
        seal_key: None,
        state_path: None,
        add_block: None,
    };
    let state_path = |folder: Option<PathBuf>| folder.as_deref().map(text);
    Some(match location {
        Location::Memory | Location::Custom { .. } => return None,
        Location::Journal(path) => of_kind("file", &path),
        Location::Mirror { target: Target::Homebridge { path, platform, name }, state_path: folder } => BindingStore {
            platform,
            name,
            state_path: state_path(folder),
            add_block: Some(true),
            ..of_kind("homebridge", &path)
        },
        Location::Mirror { target: Target::Dotenv { path, key }, state_path: folder } => {
            BindingStore { key, state_path: state_path(folder), ..of_kind("dotenv", &path) }
        }
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
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
        Event::Begun(reason) => {
            let refresh = BindingRefresh { reason: reason.to_owned(), ..BindingRefresh::default() };
            BindingEvent { refresh: Some(refresh), ..of_kind(manager, "begun") }
        }
        Event::Ended(Ended { reason, requests, adopted, duration, error }) => {
            let refresh = BindingRefresh {
                reason: reason.to_owned(),
                requests,
                adopted,
                duration_ms: milliseconds(duration),
                error: error.map(Into::into),
            };
            BindingEvent { refresh: Some(refresh), ..of_kind(manager, "ended") }
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
        refresh: None,
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
fn number(milliseconds: u64) -> f64 {
    milliseconds as f64
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).ceil()
}
