//! What each command does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;

use super::Stop;
use super::args::Options;
use super::input;
use super::output::{Loudness, Output};
use super::terminal::{Answer, Echo, Terminal};
use crate::journal::state::Millis;
use crate::journal::{Disk, FileStore, MemoryStore, Store};
use crate::manager::{
    Auth, Clock, Credentials, Device, Manager, Parts, Phase, Settings, Status, Step, SystemClock, inspect,
};
use crate::oauth::{Endpoints, HttpConfig, ReqwestHttp, RingOauth, TwoFactor, TwoFactorMethod};
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Secret};

type Done = Result<u8, Stop>;

/// How long a script may take to find the code in somebody's mailbox.
const WAIT_FOR_CODE: Duration = Duration::from_secs(600);
const CODE_TRIES: u32 = 3;

pub(super) async fn login(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    // Nothing is asked of a person before it is clear that the rest can work.
    let manager = open(&options, &output, &runtime, None)?;
    let person = Person::new(&options, &output);
    let done = log_in(&manager, &options, &output, &person).await;
    // A rotation that an interruption came across is finished first.
    manager.close().await;
    done
}

async fn log_in(manager: &Manager, options: &Options, output: &Arc<Output>, person: &Person) -> Done {
    let email = match options.email.clone().or_else(|| variable("RING_EMAIL")) {
        Some(email) => Secret::new(email),
        None => person.ask("Email: ", Echo::Shown, "e-mail address", "--email or RING_EMAIL").await?,
    };
    let email = Secret::new(email.expose().trim());
    let password = if options.password_stdin {
        let line = from_stdin(None).await?;
        line.ok_or_else(|| nobody("password", "a first line on standard input"))?
    } else if let Some(password) = variable("RING_PASSWORD") {
        Secret::new(password)
    } else {
        person.ask("Password: ", Echo::Hidden, "password", "--password-stdin or RING_PASSWORD").await?
    };
    let device = if options.new_device { Device::New } else { Device::Kept };
    let credentials = Credentials { email, password, device };
    let mut step = person.patiently(manager.login(credentials)).await?;
    let mut given = options.code.clone().or_else(|| variable("RING_2FA_CODE").map(Secret::new));
    let mut tries = 0;
    while let Step::TwoFactor(two_factor) = step {
        if tries == 0 && given.is_none() {
            announce(&two_factor, options, output, person);
        }
        let asked = given.is_none();
        let code = match given.take() {
            Some(code) => code,
            None if options.password_stdin => from_stdin(Some(WAIT_FOR_CODE)).await?.ok_or_else(no_code)?,
            None => person.code().await?,
        };
        let answered = if wants_another(&code) {
            person.patiently(manager.resend_two_factor_code()).await
        } else {
            person.patiently(manager.submit_two_factor_code(code.clone())).await
        };
        step = match answered {
            Ok(step @ Step::TwoFactor(_)) => {
                output.talk("Another code is on its way.");
                step
            }
            Ok(Step::Authenticated) => Step::Authenticated,
            Err(Stop::Failed(error)) if asked && person.is_there() && may_ask_again(&error, &code) => {
                if error.code() == ErrorCode::TwoFactorInvalid {
                    tries += 1;
                    if tries >= CODE_TRIES {
                        return Err(error.into());
                    }
                    output.talk("Incorrect 2fa code. Please try again.");
                } else {
                    output.talk(error.message());
                }
                Step::TwoFactor(two_factor)
            }
            Err(other) => return Err(other),
        };
    }
    show_login(manager, options, output)
}

/// Says where the code is, and how to get another one.
fn announce(two_factor: &TwoFactor, options: &Options, output: &Output, person: &Person) {
    if options.password_stdin || !person.is_there() {
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
    matches!(code.expose().trim(), "resend" | "r")
}

/// A slip of the finger, or a second code asked for too early: the login still waits.
fn may_ask_again(error: &Error, code: &Secret) -> bool {
    match error.code() {
        ErrorCode::TwoFactorInvalid | ErrorCode::InvalidArgument => true,
        ErrorCode::TwoFactorRateLimited => wants_another(code) && error.http_status().is_none(),
        _ => false,
    }
}

fn show_login(manager: &Manager, options: &Options, output: &Output) -> Done {
    let Some(token) = manager.refresh_token() else { return Err(nobody("token", "a login").into()) };
    let status = manager.status();
    let stored = options.state_file.as_deref();
    if output.is_json() {
        output.json(&json!({
            "refreshToken": token.expose(), "hardwareId": manager.hardware_id(),
            "expiresAt": manager.cached_auth().map(|auth| auth.expires_at), "persisted": status.persisted,
        }));
    }
    match stored {
        Some(path) if status.persisted => {
            output.say(&format!("Successfully logged in to Ring. The refresh token is stored in {}.", path.display()));
            return Ok(0);
        }
        _ if output.is_json() => {}
        Some(_) => output.result(&format!("\"refreshToken\": \"{}\"", token.expose())),
        None => {
            output.result("\nSuccessfully logged in to Ring. Please add the following to your config:\n");
            output.result(&format!("\"refreshToken\": \"{}\"\n", token.expose()));
            output.say(
                "It is worth as much as your password: whoever has it can open your doors. Give it to one program only, \
                 which replaces it at every use; for a second program log in once more.",
            );
        }
    }
    if stored.is_some() {
        let error = status.problem.filter(|error| error.code().exit_code() == 6);
        let error = error.unwrap_or_else(|| Error::new(ErrorCode::Store, "The token could not be stored."));
        output.say("The login worked, but the token could not be stored. It is above: keep it, nothing else has it.");
        let code = error.code().exit_code();
        output.say(&format!("ring-auth: {error}"));
        return Ok(code);
    }
    Ok(0)
}

pub(super) async fn token(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options).await?;
    let manager = open(&options, &output, &runtime, given)?;
    let auth = patiently(&output, manager.auth()).await;
    if let Ok(auth) = &auth {
        if output.is_json() {
            output.json(&json!({ "accessToken": auth.access_token.expose(), "expiresAt": auth.expires_at }));
        } else {
            output.result(auth.access_token.expose());
        }
    }
    // A refresh beside it, in the last tenth of a lifetime, ends first.
    manager.close().await;
    auth?;
    Ok(0)
}

pub(super) async fn refresh(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options).await?;
    let manager = open(&options, &output, &runtime, given)?;
    let result = patiently(&output, manager.refresh(options.force)).await;
    manager.close().await;
    let Auth { refresh_token, hardware_id, expires_at, .. } = result?;
    let status = manager.status();
    if output.is_json() {
        output.json(&json!({
            "refreshToken": refresh_token.expose(), "hardwareId": hardware_id, "expiresAt": expires_at,
            "persisted": status.persisted,
        }));
    }
    match &options.state_file {
        Some(path) if status.persisted => {
            output.say(&format!("Rotated. The new refresh token is stored in {}.", path.display()));
            Ok(0)
        }
        stored => {
            if !output.is_json() {
                output.result(refresh_token.expose());
            }
            if stored.is_none() {
                return Ok(0);
            }
            output.say("Rotated, but the new token could not be stored. It is above: the old one no longer works.");
            Ok(ErrorCode::Store.exit_code())
        }
    }
}

pub(super) async fn status(options: Options, output: &Output) -> Done {
    if options.refresh_token_stdin {
        let token = from_stdin(None).await?.ok_or_else(|| nobody("token", "a line on standard input"))?;
        let token = RefreshToken::parse(token.expose())?;
        let status = Status { phase: Phase::Idle, problem: None, retry_at: None, persisted: false };
        show_status(output, &status, token.hardware_id(), None, None);
        return Ok(0);
    }
    let clock = SystemClock::new();
    let store = store(&options, &endpoints()?)?;
    let state = store.peek()?;
    let status = inspect(state.as_ref(), &clock);
    let obtained = state.as_ref().and_then(|state| state.current.as_ref()).map(|held| held.obtained_at);
    let age = obtained.map(|at| clock.wall().saturating_sub(at) / 1000);
    let expires_at =
        state.as_ref().and_then(|state| state.access.as_ref()).map(crate::journal::state::Access::expires_at);
    let hardware_id = state.as_ref().and_then(|state| state.hardware_id.as_deref());
    show_status(output, &status, hardware_id, age, expires_at);
    Ok(if status.phase == Phase::NeedsLogin { 3 } else { 0 })
}

fn show_status(
    output: &Output,
    status: &Status,
    hardware_id: Option<&str>,
    age_seconds: Option<u64>,
    expires_at: Option<Millis>,
) {
    let problem = status.problem.as_ref();
    if output.is_json() {
        output.json(&json!({
            "state": status.phase.as_str(), "code": problem.map(|error| error.code().as_str()),
            "message": problem.map(Error::message), "retryAt": status.retry_at, "persisted": status.persisted,
            "hardwareId": hardware_id, "ageSeconds": age_seconds, "expiresAt": expires_at,
        }));
        return;
    }
    let mut lines = vec![format!("State:        {}", status.phase.as_str())];
    lines.push(format!("Device id:    {}", hardware_id.unwrap_or("not decided yet")));
    if let Some(age) = age_seconds {
        lines.push(format!("Token age:    {}", duration(age)));
    }
    if let Some(expires_at) = expires_at {
        let now = SystemClock::new().wall();
        lines.push(if expires_at > now {
            format!("Access token: valid for another {}", duration((expires_at - now) / 1000))
        } else {
            format!("Access token: expired {} ago", duration((now - expires_at) / 1000))
        });
    }
    if let Some(problem) = problem {
        lines.push(format!("Last problem: {problem}"));
    }
    if let Some(retry_at) = status.retry_at {
        let left = retry_at.saturating_sub(SystemClock::new().wall()) / 1000;
        lines.push(format!("Next try:     in {} at the earliest", duration(left)));
    }
    output.result(&lines.join("\n"));
}

fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

pub(super) async fn logout(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let manager = open(&options, &output, &runtime, None)?;
    let forgotten = manager.forget().await;
    manager.close().await;
    forgotten?;
    if output.is_json() {
        output.json(&json!({}));
    }
    output.say(
        "Forgotten here. Ring still knows the device: to revoke its token open the Ring app, Control Center, Authorized \
         Client Devices, and remove it there; or change the password, which ends every device's.",
    );
    Ok(0)
}

fn endpoints() -> crate::Result<Endpoints> {
    let server = |name| variable(name);
    let (oauth, api) = (server("RING_AUTH_OAUTH_URL"), server("RING_AUTH_API_URL"));
    Endpoints::parse(oauth.as_deref(), api.as_deref())
}

fn store(options: &Options, endpoints: &Endpoints) -> crate::Result<Arc<dyn Store>> {
    Ok(match &options.state_file {
        Some(path) => Arc::new(FileStore::open(path, endpoints.issuer(), Disk::default())?),
        None => Arc::new(MemoryStore::new(endpoints.issuer())),
    })
}

fn open(options: &Options, output: &Arc<Output>, runtime: &Handle, given: Option<Secret>) -> crate::Result<Manager> {
    let endpoints = endpoints()?;
    let store = store(options, &endpoints)?;
    let http = HttpConfig::default();
    let request_timeout = http.timeout;
    let oauth = Arc::new(RingOauth::new(Arc::new(ReqwestHttp::new(http)), endpoints, options.user_agent.as_deref())?);
    let parts = Parts {
        store,
        refresh: Arc::clone(&oauth) as Arc<_>,
        oauth,
        clock: Arc::new(SystemClock::new()),
        listener: Arc::clone(output) as Arc<_>,
        runtime: runtime.clone(),
    };
    let settings = Settings {
        refresh_token: given,
        system_id: options.system_id.clone(),
        device_name: options.device_name.clone().unwrap_or_else(|| crate::manager::DEFAULT_DEVICE_NAME.to_owned()),
        login_flow: options.login_flow,
        request_timeout,
        auto_refresh: false,
    };
    Manager::open(parts, settings)
}

async fn given_token(options: &Options) -> Result<Option<Secret>, Stop> {
    if !options.refresh_token_stdin {
        return Ok(None);
    }
    let line = from_stdin(None).await?;
    Ok(Some(line.ok_or_else(|| nobody("refresh token", "a line on standard input"))?))
}

/// A variable of the environment; an empty one counts as none.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn from_stdin(within: Option<Duration>) -> Result<Option<Secret>, Stop> {
    // A thread of its own, not the runtime's: nobody can be made to write, and the program must still be able to end.
    let (told, line) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = told.send(input::read_line(&mut io::stdin()));
    });
    let line = async { line.await.unwrap_or(Ok(None)) };
    Ok(match within {
        None => line.await?,
        Some(within) => tokio::time::timeout(within, line).await.unwrap_or(Ok(None))?,
    })
}

fn nobody(what: &str, instead: &str) -> Error {
    Error::new(
        ErrorCode::NoRefreshToken,
        format!("There is no terminal to ask for the {what}. Run this in one, or give it with {instead}."),
    )
}

fn no_code() -> Error {
    Error::new(
        ErrorCode::TwoFactorRequired,
        "Ring sent a code, and there is nobody to ask for it. Run this in a terminal, or give it with --code, RING_2FA_CODE or as the second line after --password-stdin.",
    )
}

/// Shows now and then that Ring is being waited for.
async fn patiently<T>(output: &Output, work: impl Future<Output = T>) -> T {
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

/// Whoever sits at the terminal, or nobody.
struct Person {
    output: Arc<Output>,
    terminal: Option<Arc<Terminal>>,
}

impl Person {
    fn new(options: &Options, output: &Arc<Output>) -> Self {
        let terminal = if options.password_stdin { None } else { Terminal::open() };
        if terminal.is_some() && options.loudness > Loudness::Quiet {
            output.talk(
                "This will get a refresh token, for use with ring-client-api, homebridge-ring and the like. Ring may send you a code.",
            );
        }
        Self { output: Arc::clone(output), terminal: terminal.map(Arc::new) }
    }

    fn is_there(&self) -> bool {
        self.terminal.is_some()
    }

    async fn ask(&self, prompt: &'static str, echo: Echo, what: &str, instead: &str) -> Result<Secret, Stop> {
        match self.read(prompt, echo).await {
            Some(Answer::Line(line)) => Ok(line),
            Some(Answer::Interrupted) => Err(Stop::Interrupted),
            Some(Answer::End) | None => Err(nobody(what, instead).into()),
        }
    }

    async fn code(&self) -> Result<Secret, Stop> {
        match self.read("2fa Code: ", Echo::Shown).await {
            Some(Answer::Line(line)) => Ok(line),
            Some(Answer::Interrupted) => Err(Stop::Interrupted),
            Some(Answer::End) | None => Err(no_code().into()),
        }
    }

    /// `None` where nobody is there.
    async fn read(&self, prompt: &'static str, echo: Echo) -> Option<Answer> {
        let (terminal, output) = (Arc::clone(self.terminal.as_ref()?), Arc::clone(&self.output));
        tokio::task::spawn_blocking(move || terminal.read_line(&output, prompt, echo)).await.ok()
    }

    /// Waits for Ring, and for Ctrl-C.
    async fn patiently<T>(&self, work: impl Future<Output = crate::Result<T>>) -> Result<T, Stop> {
        let waiting = patiently(&self.output, work);
        let Some(terminal) = &self.terminal else { return Ok(waiting.await?) };
        tokio::pin!(waiting);
        loop {
            let watched = Arc::clone(terminal);
            let watch = tokio::task::spawn_blocking(move || watched.interrupted_within(Duration::from_millis(100)));
            tokio::pin!(watch);
            tokio::select! {
                done = &mut waiting => {
                    // The keys pressed until then belong to the next question.
                    let _ = watch.await;
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
