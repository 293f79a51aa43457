//! `login`: asks for the credentials, gets a token and stores it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;

use super::args::Options;
use super::context::{Context, Saved, blocking};
use super::output::Output;
use super::prompter::{Prompter, from_stdin, line_of_stdin, no_code};
use super::secrets::{self, Environment, Named};
use super::terminal::Question;
use super::{Done, Stop};
use crate::journal::state::Millis;
use crate::manager::{Credentials, Device, Manager, Step};
use crate::mirror::Purpose;
use crate::oauth::{TwoFactor, TwoFactorMethod};
use crate::totp::Totp;
use crate::{Error, ErrorCode, Secret};

/// The time after which a wait for the end of a rotation is explained.
const SOON: Duration = Duration::from_millis(300);
const CODE_TRIES: u32 = 3;

pub(super) async fn login(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    // The user is asked only after the checks of everything else.
    let (options, given) = blocking(move || {
        let given = Given::new(&options)?;
        Ok((options, given))
    })
    .await?;
    let context = Context::open(&options, Purpose::Introduce)?;
    let planned = context.dry_run(&output).await?;
    let manager = context.open_manager(&options, &output, &runtime, None)?;
    // With --password-stdin the lines of a pipe are the password and the code, and answer no question.
    let input = if options.password_stdin { options.input.for_options() } else { options.input };
    let prompter = Prompter::new(&output, input);
    if prompter.has_person() {
        context.try_output()?;
        output.say(
            "This gets a refresh token for ring-client-api, homebridge-ring and the like. Ring may send you a code.",
        );
        if context.chosen.keeps() {
            output.say(&format!("It will be kept in {}.", context.stored_in().await));
        }
    }
    let done = log_in(&context, &manager, &options, given, &output, &prompter).await;
    // From here on Ctrl-C ends the program at once.
    drop(prompter);
    let expires_at = manager.cached_auth().map(|auth| auth.expires_at);
    // A rotation that was under way at an interruption is finished first. Only then the newest token is known.
    let closing = manager.close();
    tokio::pin!(closing);
    if tokio::time::timeout(SOON, &mut closing).await.is_err() {
        if matches!(done, Err(Stop::Interrupted)) {
            output.say("Interrupted. The refresh under way is finished first; Ctrl-C again ends it at once.");
        }
        closing.await;
    }
    let code = match done {
        Ok(()) => show_login(&context, &manager, expires_at, &output).await,
        Err(stop) => Err(stop),
    };
    context.show_changes(planned, &output).await;
    let code = code?;
    if code == 0 && context.chosen.is_homebridge() {
        output.say("Restart Homebridge now: it reads its configuration only when it starts.");
    }
    Ok(code)
}

/// The values for which a login does not have to ask.
struct Given {
    email: Option<Secret>,
    password: Option<Secret>,
    code: Option<Secret>,
    totp: Option<Totp>,
}

impl Given {
    /// Reads the values that no option gives from variables, files and credentials. Blocks.
    fn new(options: &Options) -> crate::Result<Self> {
        let environment = Environment::of_this_process();
        let find = |name: &str, credential| environment.find(name, credential)?.map(Named::non_empty).transpose();
        let email = match &options.email {
            Some(email) => Some(Named { value: email.as_str().into(), name: "--email".to_owned() }),
            None => find("RING_EMAIL", Some("ring-email"))?,
        };
        if let Some(Named { value, name }) = &email
            && value.expose().trim().is_empty()
        {
            return Err(Error::invalid(format!("{name} is empty. Give the e-mail address of the Ring account.")));
        }
        let password = if options.password_stdin { None } else { find("RING_PASSWORD", Some("ring-password"))? };
        let code = match &options.code {
            Some(code) => Some(code.clone()),
            None => match find("RING_2FA_CODE", None)? {
                Some(Named { value, name }) => Some(super::args::code(value.expose(), &name)?),
                None => None,
            },
        };
        // A given code is for this login, so the secret of the authenticator is not read.
        let secret = match &options.totp_secret_file {
            _ if code.is_some() => None,
            Some(path) => Some(secrets::read(path, "--totp-secret-file")?.non_empty()?),
            None => find("RING_TOTP_SECRET", Some("ring-totp-secret"))?,
        };
        let totp = secret.map(|Named { value, name }| Totp::parse(value.expose(), &name)).transpose()?;
        Ok(Self {
            email: email.map(|email| email.value.expose().trim().into()),
            password: password.map(|password| password.value),
            code,
            totp,
        })
    }
}

async fn log_in(
    context: &Context,
    manager: &Manager,
    options: &Options,
    given: Given,
    output: &Arc<Output>,
    prompter: &Prompter,
) -> Result<(), Stop> {
    let email = if let Some(email) = given.email {
        email
    } else {
        let typed = prompter.ask(Question::email("Email: "), "e-mail address", "--email or RING_EMAIL").await?;
        Secret::new(typed.expose().trim())
    };
    let lines = options.password_stdin && !prompter.has_person();
    let password = match given.password {
        Some(password) => password,
        None if lines => line_of_stdin("--password-stdin", "password").await?,
        None => prompter.ask(Question::hidden("Password: "), "password", "--password-stdin or RING_PASSWORD").await?,
    };
    let device = if options.new_device { Device::New } else { Device::Kept };
    // The user may have typed for minutes, and the reader of standard output may be gone.
    context.try_output()?;
    let mut step =
        prompter.interruptible(manager.login(Credentials { email, password, totp: given.totp, device })).await?;
    let mut given = given.code;
    let (mut announced, mut tries) = (false, 0);
    while let Step::TwoFactor(two_factor) = step {
        let typed = given.is_none();
        let code = if let Some(code) = given.take() {
            code
        } else {
            if !std::mem::replace(&mut announced, true) {
                announce(&two_factor, output, prompter);
            }
            if lines { from_stdin().await?.ok_or_else(no_code)? } else { prompter.code().await? }
        };
        let another = typed && wants_another(&code);
        context.try_output()?;
        let answered = if another {
            prompter.interruptible(manager.resend_two_factor_code()).await
        } else {
            prompter.interruptible(manager.submit_two_factor_code(code)).await
        };
        step = match answered {
            Ok(Step::Authenticated) => return Ok(()),
            Ok(Step::TwoFactor(two_factor)) => {
                if another {
                    output.talk("Another code is on its way.");
                }
                announced = false;
                Step::TwoFactor(two_factor)
            }
            Err(Stop::Failed(error))
                if prompter.has_person() && manager.awaits_code() && may_ask_again(&error, another) =>
            {
                // A code that was not sent, and a request for another code, do not count as tries.
                if !another && error.code() != ErrorCode::InvalidArgument {
                    tries += 1;
                    if tries >= CODE_TRIES {
                        return Err(error.into());
                    }
                }
                output.talk(match error.code() {
                    ErrorCode::TwoFactorInvalid => "Incorrect 2fa code. Please try again.",
                    _ => error.message(),
                });
                Step::TwoFactor(two_factor)
            }
            Err(other) => return Err(other),
        };
    }
    Ok(())
}

/// Tells the user where the code is, and how to get another one.
fn announce(two_factor: &TwoFactor, output: &Output, prompter: &Prompter) {
    if !prompter.has_person() {
        output.say(&two_factor.prompt);
        return;
    }
    output.talk(&two_factor.prompt);
    if two_factor.method != TwoFactorMethod::Totp {
        let when = two_factor.resend_in.filter(|wait| !wait.is_zero());
        let when = when.map(|wait| format!(" (after {} seconds)", wait.as_secs())).unwrap_or_default();
        output.talk(&format!("Type \"resend\" for another one{when}."));
    }
}

fn wants_another(code: &Secret) -> bool {
    code.expose().trim().eq_ignore_ascii_case("resend")
}

/// Whether the login still waits after an error: a wrong code, a bad connection, or another code that Ring does not send.
fn may_ask_again(error: &Error, another: bool) -> bool {
    match error.code() {
        ErrorCode::TwoFactorInvalid | ErrorCode::InvalidArgument => true,
        ErrorCode::TwoFactorRateLimited => another,
        code => code.exit_code() == ErrorCode::Network.exit_code(),
    }
}

async fn show_login(context: &Context, manager: &Manager, expires_at: Option<Millis>, output: &Output) -> Done {
    let Some(token) = manager.refresh_token() else {
        return Err(Error::new(ErrorCode::NoRefreshToken, "The login ended without a token.").into());
    };
    let status = manager.status();
    let saved = context.saved(&status, &token).await;
    let line = format!("\"refreshToken\": \"{}\"", token.expose());
    let is_only_copy = saved == Saved::Nowhere;
    if output.is_json() {
        let result = json!({
            "refreshToken": token.expose(), "hardwareId": manager.hardware_id(),
            "expiresAt": expires_at, "persisted": status.persisted,
        });
        output.token(&result.to_string(), is_only_copy);
    }
    if !context.chosen.keeps() {
        if output.ends_with_token() {
            output.say(WORTH);
        }
        if !output.is_json() {
            let text = if output.is_quiet() {
                line
            } else {
                format!("\nSuccessfully logged in to Ring. Please add the following to your config:\n\n{line}")
            };
            output.token(&text, is_only_copy);
        }
        if !output.ends_with_token() {
            // An empty line separates the two on a terminal. It is not part of standard output.
            output.say(&format!("\n{WORTH}"));
        }
        return Ok(0);
    }
    if saved == Saved::Everywhere {
        let place = context.stored_in().await;
        output.say(&format!("Successfully logged in to Ring. The refresh token is stored in {place}."));
        return Ok(0);
    }
    if !output.is_json() && saved != Saved::SpoolOnly {
        output.token(&line, is_only_copy);
    }
    Ok(context.not_stored(saved, &status, "The login worked", output))
}

const WORTH: &str = "It is worth as much as your password: anyone who has it can open your doors. Give it to one \
                     program only, which replaces it at every use. For a second program, log in again.";
