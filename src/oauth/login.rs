//! One login, from e-mail and password to tokens, with one hardware id, one flow and one code.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::pkce::{StartFailure, WebLogin, WebStep};
use super::{Grant, RingOauth, TokenAnswer, TwoFactor, TwoFactorMethod};
use crate::{Error, ErrorCode, Result, Secret};

/// The choice between Ring's two logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginFlow {
    /// The web login, or the password grant if there is no web login or if Ring's edge blocks its first page.
    #[default]
    Auto,
    /// The web login only.
    Pkce,
    /// The password grant only.
    Password,
}

/// The account and the installation of a login. `Debug` shows neither e-mail nor password.
#[derive(Clone)]
pub struct LoginRequest {
    /// The account's e-mail, as the user typed it.
    pub email: String,
    /// The account's password, as the user typed it. Spaces at its ends belong to it.
    pub password: Secret,
    /// The login to use.
    pub flow: LoginFlow,
    /// The hardware id of this installation, to which the tokens belong.
    pub hardware_id: String,
    /// The name of the device in Ring's Control Center.
    pub device_name: String,
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("flow", &self.flow)
            .field("hardware_id", &self.hardware_id)
            .field("device_name", &self.device_name)
            .finish_non_exhaustive()
    }
}

/// The state of a login after a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginStep {
    /// Ring has issued tokens.
    Authenticated {
        /// The tokens.
        grant: Grant,
        /// Whether Ring's APIs may reject this access token until the token is refreshed once, as after every web login.
        /// If so, the caller must store this grant and then refresh.
        refresh_due: bool,
    },
    /// Ring waits for a code, which [`Login::submit`] sends.
    TwoFactor(TwoFactor),
}

/// One login. It does not repeat a request by itself, because each start makes Ring send another code.
pub struct Login {
    oauth: Arc<RingOauth>,
    request: LoginRequest,
    waiting: Option<Waiting>,
}

impl Login {
    /// Creates a login, and sends nothing yet.
    pub fn new(oauth: Arc<RingOauth>, request: LoginRequest) -> Self {
        Self { oauth, request, waiting: None }
    }

    /// Sends e-mail and password. While the login waits for a code, it sends nothing and returns the same step again.
    ///
    /// Fails with `INVALID_ARGUMENT` for an empty e-mail or password, `INVALID_CREDENTIALS` for wrong ones,
    /// `TWO_FACTOR_RATE_LIMITED` after too many codes, and with the errors of any request.
    pub async fn start(&mut self) -> Result<LoginStep> {
        if let Some(waiting) = &self.waiting {
            return Ok(LoginStep::TwoFactor(waiting.two_factor.clone()));
        }
        if self.request.email.is_empty() {
            return Err(Error::invalid("The e-mail is empty. Give the one of the Ring account."));
        }
        if self.request.password.is_empty() {
            return Err(Error::invalid("The password is empty. Give the one of the Ring account."));
        }
        match self.request.flow {
            LoginFlow::Password => self.start_password().await,
            LoginFlow::Pkce => self.start_web().await.map_err(|failure| failure.error),
            LoginFlow::Auto => match self.start_web().await {
                Err(failure) if failure.other_flow_may_work => self.start_password().await,
                outcome => outcome.map_err(|failure| failure.error),
            },
        }
    }

    /// Sends the code that Ring waits for, without the spaces and dashes in it.
    ///
    /// Fails with `TWO_FACTOR_INVALID` for a wrong code, and with `INVALID_ARGUMENT` for an empty code or if no login waits for one.
    /// After a failure the login still waits, except after `INVALID_CREDENTIALS` or if Ring's page has answered for another login.
    pub async fn submit(&mut self, code: &Secret) -> Result<LoginStep> {
        let Some(waiting) = &mut self.waiting else {
            return Err(Error::invalid("No code is awaited. Start a login first."));
        };
        let code = normalized(code)?;
        let outcome = match &mut waiting.flow {
            Flow::Password => {
                let LoginRequest { email, password, hardware_id, .. } = &self.request;
                match self.oauth.password_grant(email, password, hardware_id, Some(&code)).await {
                    Ok(TokenAnswer::Granted(grant)) => Ok(LoginStep::Authenticated { grant, refresh_due: false }),
                    Ok(TokenAnswer::CodeNeeded(two_factor)) => Ok(LoginStep::TwoFactor(two_factor)),
                    Err(failed) => Err(failed.error),
                }
            }
            Flow::Web(web) => match web.submit(&self.oauth, &code).await {
                Ok(WebStep::Granted(grant)) => Ok(LoginStep::Authenticated { grant, refresh_due: true }),
                Ok(WebStep::CodeNeeded(two_factor)) => Ok(LoginStep::TwoFactor(two_factor)),
                Err(error) => Err(error),
            },
        };
        match &outcome {
            Ok(LoginStep::Authenticated { .. }) => self.waiting = None,
            Ok(LoginStep::TwoFactor(two_factor)) => {
                waiting.two_factor = two_factor.clone();
                waiting.since = Instant::now();
            }
            Err(error) if error.code() == ErrorCode::InvalidCredentials => self.waiting = None,
            Err(_) if matches!(&waiting.flow, Flow::Web(web) if web.is_over()) => self.waiting = None,
            Err(_) => {}
        }
        outcome
    }

    /// Sends e-mail and password together with the code of an earlier login, which another program has begun, or this
    /// program before a restart. Only the password grant can do that. It does not make Ring send another code.
    pub async fn start_with_code(&mut self, code: &Secret) -> Result<LoginStep> {
        let code = normalized(code)?;
        let LoginRequest { email, password, hardware_id, .. } = &self.request;
        match self.oauth.password_grant(email, password, hardware_id, Some(&code)).await {
            Ok(TokenAnswer::Granted(grant)) => Ok(LoginStep::Authenticated { grant, refresh_due: false }),
            Ok(TokenAnswer::CodeNeeded(two_factor)) => Ok(self.wait(two_factor, Flow::Password)),
            Err(failed) => Err(failed.error),
        }
    }

    /// Asks for another code, in the same flow. `now` is the monotonic time.
    ///
    /// Sends nothing and fails with `TWO_FACTOR_RATE_LIMITED` and the remaining time before Ring's waiting time is over,
    /// and with `INVALID_ARGUMENT` for an authenticator app or if the login waits for no code. After a failure, the
    /// previous code can still be submitted.
    pub async fn resend(&mut self, now: Instant) -> Result<LoginStep> {
        let Some(waiting) = &self.waiting else {
            return Err(Error::invalid("No code is awaited. Start a login first."));
        };
        if waiting.two_factor.method == TwoFactorMethod::Totp {
            return Err(Error::invalid("An authenticator app makes its own codes. Enter the one that it shows now."));
        }
        let wait = waiting.two_factor.resend_in.unwrap_or_default();
        let left = wait.saturating_sub(now.saturating_duration_since(waiting.since));
        if !left.is_zero() {
            return Err(Error::new(
                ErrorCode::TwoFactorRateLimited,
                format!(
                    "Ring sends no other code yet. Enter the one that was sent, or wait another {} seconds.",
                    left.as_secs() + u64::from(left.subsec_nanos() > 0)
                ),
            )
            .with_retry_after(left));
        }
        match waiting.flow {
            Flow::Password => self.start_password().await,
            Flow::Web(_) => self.start_web().await.map_err(|failure| failure.error),
        }
    }

    /// The code for which the login waits, if it waits for one.
    pub fn two_factor(&self) -> Option<&TwoFactor> {
        self.waiting.as_ref().map(|waiting| &waiting.two_factor)
    }

    async fn start_password(&mut self) -> Result<LoginStep> {
        let LoginRequest { email, password, hardware_id, .. } = &self.request;
        match self.oauth.password_grant(email, password, hardware_id, None).await {
            Ok(TokenAnswer::Granted(grant)) => {
                self.waiting = None;
                Ok(LoginStep::Authenticated { grant, refresh_due: false })
            }
            Ok(TokenAnswer::CodeNeeded(two_factor)) => Ok(self.wait(two_factor, Flow::Password)),
            Err(failed) => Err(failed.error),
        }
    }

    async fn start_web(&mut self) -> Result<LoginStep, StartFailure> {
        let LoginRequest { email, password, hardware_id, device_name, .. } = &self.request;
        match WebLogin::start(&self.oauth, email, password, hardware_id, device_name).await? {
            (_, WebStep::Granted(grant)) => {
                self.waiting = None;
                Ok(LoginStep::Authenticated { grant, refresh_due: true })
            }
            (web, WebStep::CodeNeeded(two_factor)) => Ok(self.wait(two_factor, Flow::Web(Box::new(web)))),
        }
    }

    fn wait(&mut self, two_factor: TwoFactor, flow: Flow) -> LoginStep {
        self.waiting = Some(Waiting { two_factor: two_factor.clone(), since: Instant::now(), flow });
        LoginStep::TwoFactor(two_factor)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("request", &self.request).finish_non_exhaustive()
    }
}

struct Waiting {
    two_factor: TwoFactor,
    /// The time at which Ring asked for the code.
    since: Instant,
    flow: Flow,
}

enum Flow {
    Password,
    Web(Box<WebLogin>),
}

/// Converts a code from the form in which users type it (`123 456`, `123-456`) to the form that Ring expects. The result is
/// valid in a header.
fn normalized(code: &Secret) -> Result<Secret> {
    let dash = |c: char| c == '-' || matches!(c, '\u{2010}'..='\u{2015}');
    let blank = |c: char| c == ' ' || c == '\u{a0}' || dash(c);
    let text: String = code.expose().trim().chars().filter(|c| !blank(*c)).collect();
    if text.is_empty() {
        return Err(Error::invalid("The code is empty. Enter the one that Ring sent."));
    }
    if text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::new(
            ErrorCode::TwoFactorInvalid,
            "This cannot be one of Ring's codes, so it was not sent. Enter the code again.",
        ));
    }
    Ok(Secret::new(text))
}
