//! What each command does.

use std::env::VarError;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Handle;

use super::Stop;
use super::args::Options;
use super::input;
use super::output::Output;
use super::terminal::{Answer, Echo, Terminal};
use crate::files::Disk;
use crate::journal::state::{Access, Millis};
use crate::journal::{FileStore, MemoryStore, Store};
use crate::manager::{
    Auth, Clock, Credentials, DEFAULT_DEVICE_NAME, Device, Manager, Parts, Phase, Settings, Status, Step, SystemClock,
    inspect,
};
use crate::oauth::{Endpoints, HttpConfig, Origin, ReqwestHttp, RingOauth, TwoFactor, TwoFactorMethod};
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Secret};

type Done = Result<u8, Stop>;

/// How long a script may take to find the code in somebody's mailbox.
const WAIT_FOR_LINE: Duration = Duration::from_secs(600);
/// Longer than any refresh.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(60);
/// What ends within that time needs no explanation.
const SOON: Duration = Duration::from_millis(300);
const CODE_TRIES: u32 = 3;
const EMPTY_TRIES: u32 = 3;

pub(super) async fn login(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    // Nothing is asked of a person before it is clear that the rest can work.
    let given = Given::new(&options)?;
    let manager = open(&options, &output, &runtime, None)?;
    let person = Person::new(&output, Terminal::open());
    if person.is_there() {
        output.say(
            "This gets a refresh token for ring-client-api, homebridge-ring and the like. Ring may send you a code.",
        );
    }
    let done = log_in(&manager, &options, given, &output, &person).await;
    // From here on Ctrl-C ends the program by itself.
    drop(person);
    let expires_at = manager.cached_auth().map(|auth| auth.expires_at);
    // A rotation that an interruption came across is finished first, and the newest token is known only then.
    let closing = manager.close();
    tokio::pin!(closing);
    if tokio::time::timeout(SOON, &mut closing).await.is_err() {
        if matches!(done, Err(Stop::Interrupted)) {
            output.say("Interrupted. The refresh under way is finished first; Ctrl-C again ends it at once.");
        }
        closing.await;
    }
    done?;
    show_login(&manager, expires_at, &options, &output)
}

/// What a login need not ask for.
struct Given {
    email: Option<Secret>,
    password: Option<Secret>,
    code: Option<Secret>,
}

impl Given {
    fn new(options: &Options) -> crate::Result<Self> {
        let (email, name) = match &options.email {
            Some(email) => (Some(email.clone()), "--email"),
            None => (variable("RING_EMAIL")?, "RING_EMAIL"),
        };
        let email = email.map(|email| Secret::new(email.trim()));
        if email.as_ref().is_some_and(Secret::is_empty) {
            return Err(Error::invalid(format!("{name} is empty. Give the e-mail address of the Ring account.")));
        }
        let password = if options.password_stdin { None } else { variable("RING_PASSWORD")?.map(Secret::new) };
        let code = match (&options.code, variable("RING_2FA_CODE")?) {
            (Some(code), _) => Some(code.clone()),
            (None, Some(code)) => Some(super::args::code(&code, "RING_2FA_CODE")?),
            (None, None) => None,
        };
        Ok(Self { email, password, code })
    }
}

async fn log_in(
    manager: &Manager,
    options: &Options,
    given: Given,
    output: &Arc<Output>,
    person: &Person,
) -> Result<(), Stop> {
    let email = if let Some(email) = given.email {
        email
    } else {
        let typed = person.ask("Email: ", Echo::Shown, "e-mail address", "--email or RING_EMAIL").await?;
        Secret::new(typed.expose().trim())
    };
    let lines = options.password_stdin && !person.is_there();
    let password = match given.password {
        Some(password) => password,
        None if lines => line_of_stdin("--password-stdin", "password").await?,
        None => person.ask("Password: ", Echo::Hidden, "password", "--password-stdin or RING_PASSWORD").await?,
    };
    let device = if options.new_device { Device::New } else { Device::Kept };
    let mut step = person.patiently(manager.login(Credentials { email, password, device })).await?;
    let mut given = given.code;
    let (mut announced, mut tries) = (false, 0);
    while let Step::TwoFactor(two_factor) = step {
        let typed = given.is_none();
        let code = if let Some(code) = given.take() {
            code
        } else {
            if !std::mem::replace(&mut announced, true) {
                announce(&two_factor, output, person);
            }
            if lines { from_stdin().await?.ok_or_else(no_code)? } else { person.code().await? }
        };
        let another = typed && wants_another(&code);
        let answered = if another {
            person.patiently(manager.resend_two_factor_code()).await
        } else {
            person.patiently(manager.submit_two_factor_code(code)).await
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
            Err(Stop::Failed(error)) if person.is_there() && may_ask_again(&error, another) => {
                // What was not sent, or is for another code only, is no try.
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

/// Says where the code is, and how to get another one.
fn announce(two_factor: &TwoFactor, output: &Output, person: &Person) {
    if !person.is_there() {
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

/// A slip of the finger, a bad connection, or a second code that Ring does not send: the login still waits.
fn may_ask_again(error: &Error, another: bool) -> bool {
    match error.code() {
        ErrorCode::TwoFactorInvalid | ErrorCode::InvalidArgument => true,
        ErrorCode::TwoFactorRateLimited => another,
        code => code.exit_code() == ErrorCode::Network.exit_code(),
    }
}

fn show_login(manager: &Manager, expires_at: Option<Millis>, options: &Options, output: &Output) -> Done {
    let Some(token) = manager.refresh_token() else {
        return Err(Error::new(ErrorCode::NoRefreshToken, "The login ended without a token.").into());
    };
    let status = manager.status();
    let line = format!("\"refreshToken\": \"{}\"", token.expose());
    if !status.persisted {
        output.is_only_copy();
    }
    if output.is_json() {
        output.json(&json!({
            "refreshToken": token.expose(), "hardwareId": manager.hardware_id(),
            "expiresAt": expires_at, "persisted": status.persisted,
        }));
    }
    let Some(path) = &options.state_file else {
        if !output.is_json() {
            if output.is_quiet() {
                output.result(&line);
            } else {
                output.result(&format!(
                    "\nSuccessfully logged in to Ring. Please add the following to your config:\n\n{line}\n"
                ));
            }
        }
        output.say(WORTH);
        return Ok(0);
    };
    if status.persisted {
        output.say(&format!("Successfully logged in to Ring. The refresh token is stored in {}.", path.display()));
        return Ok(0);
    }
    if !output.is_json() {
        output.result(&line);
    }
    Ok(not_stored(&status, "The login worked", output))
}

const WORTH: &str = "It is worth as much as your password: whoever has it can open your doors. Give it to one program \
                     only, which replaces it at every use; for a second program log in once more.";

/// A token that is nowhere but on standard output, which has to be said.
fn not_stored(status: &Status, what: &str, output: &Output) -> u8 {
    let error = status.problem.clone().filter(|error| error.code().exit_code() == ErrorCode::Store.exit_code());
    let error = error.unwrap_or_else(|| Error::new(ErrorCode::Store, "The token could not be stored."));
    output.complain(&format!(
        "ring-auth: {what}, but the new refresh token could not be stored. It is on standard output instead: keep it, \
         nothing else has it."
    ));
    output.explain(&error);
    error.code().exit_code()
}

pub(super) async fn token(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options, &output).await?;
    let manager = open(&options, &output, &runtime, given)?;
    let auth = patiently(&output, manager.auth()).await;
    if let Ok(auth) = &auth
        && !output.is_json()
    {
        // Whoever reads it need not wait for a refresh beside it.
        output.result(auth.access_token.expose());
    }
    // That one, in the last tenth of a lifetime, ends first.
    manager.close().await;
    let auth = auth.map_err(|error| in_our_words(error, &options))?;
    let status = manager.status();
    let unstored = manager.refresh_token().filter(|_| !status.persisted);
    if unstored.is_some() {
        output.is_only_copy();
    }
    if output.is_json() {
        let mut result = json!({ "accessToken": auth.access_token.expose(), "expiresAt": auth.expires_at });
        if let Some(token) = &unstored {
            result["refreshToken"] = token.expose().into();
        }
        output.json(&result);
    } else if let Some(token) = &unstored {
        output.result(&format!("\"refreshToken\": \"{}\"", token.expose()));
    }
    Ok(if unstored.is_some() { not_stored(&status, "Rotated", &output) } else { 0 })
}

pub(super) async fn refresh(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options, &output).await?;
    let manager = open(&options, &output, &runtime, given)?;
    let result = patiently(&output, manager.refresh(options.force)).await;
    manager.close().await;
    let Auth { refresh_token, hardware_id, expires_at, .. } = result.map_err(|error| in_our_words(error, &options))?;
    let status = manager.status();
    if !status.persisted {
        output.is_only_copy();
    }
    if output.is_json() {
        output.json(&json!({
            "refreshToken": refresh_token.expose(), "hardwareId": hardware_id, "expiresAt": expires_at,
            "persisted": status.persisted,
        }));
    } else if !status.persisted {
        output.result(refresh_token.expose());
    }
    Ok(match &options.state_file {
        None => 0,
        Some(path) if status.persisted => {
            output.say(&format!("Rotated. The new refresh token is stored in {}.", path.display()));
            0
        }
        Some(_) => not_stored(&status, "Rotated", &output),
    })
}

/// Where a script's way out is another call, a person's is another command.
fn in_our_words(error: Error, options: &Options) -> Error {
    match &options.state_file {
        Some(path) if error.code() == ErrorCode::NoRefreshToken => nothing_in(path),
        _ => error,
    }
}

fn nothing_in(path: &Path) -> Error {
    let path = path.display();
    Error::new(
        ErrorCode::NoRefreshToken,
        format!("There is no refresh token in {path} yet. Get one with: ring-auth login --state-file {path}"),
    )
}

pub(super) async fn status(options: Options, output: Arc<Output>) -> Done {
    if let Some(token) = given_token(&options, &output).await? {
        let token = RefreshToken::parse(token.expose())?;
        let status = Status { phase: Phase::Idle, problem: None, retry_at: None, persisted: false };
        show_status(&output, &status, token.hardware_id(), None, None);
        return Ok(0);
    }
    let clock = SystemClock::new();
    let state = store(&options, &endpoints()?)?.peek()?;
    let mut status = inspect(state.as_ref(), &clock);
    status.problem = status.problem.map(|error| in_our_words(error, &options));
    let current = state.as_ref().and_then(|state| state.current.as_ref());
    let age = current.map(|held| clock.wall().saturating_sub(held.obtained_at) / 1000);
    let expires_at = state.as_ref().and_then(|state| state.access.as_ref()).map(Access::expires_at);
    // As for requests: a token's own id wins.
    let of_token = current.and_then(|held| held.token.hardware_id());
    let hardware_id = of_token.or_else(|| state.as_ref().and_then(|state| state.hardware_id.as_deref()));
    show_status(&output, &status, hardware_id, age, expires_at);
    Ok(if status.phase == Phase::NeedsLogin { ErrorCode::NoRefreshToken.exit_code() } else { 0 })
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

pub(super) async fn logout(options: &Options, output: &Arc<Output>) -> Done {
    let store = store(options, &endpoints()?)?;
    // The journal of another issuer, or of a later version, is not ours to remove.
    store.peek()?;
    // Without a manager: one would first end the refresh that a killed process left behind.
    patiently(output, forget(store)).await?;
    if output.is_json() {
        output.json(&json!({}));
    }
    output.say(
        "Forgotten here. Ring still knows the device: to revoke its token open the Ring app, Control Center, Authorized \
         Client Devices, and remove it there; or change the password, which ends every device's.",
    );
    Ok(0)
}

async fn forget(store: Arc<dyn Store>) -> crate::Result<()> {
    // Whoever is in there refreshes, and leaves within that time.
    let limit = Instant::now() + WAIT_FOR_LOCK;
    loop {
        let store = Arc::clone(&store);
        let name = store.name();
        let tried = tokio::task::spawn_blocking(move || match store.try_lock()? {
            Some(mut guard) => guard.forget().map(|()| true),
            None => Ok(false),
        });
        let done = tried.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::Store, "The journal was left half-way.")));
        if done? {
            return Ok(());
        }
        if Instant::now() >= limit {
            return Err(Error::new(
                ErrorCode::StoreLocked,
                format!(
                    "Another process has been holding {name} for longer than a refresh takes. Look for one that hangs."
                ),
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn endpoints() -> crate::Result<Endpoints> {
    let origin = |name: &str, default: &str| match variable(name)? {
        Some(url) => Origin::parse(&url, name),
        None => Origin::parse(default, name),
    };
    Ok(Endpoints {
        oauth: origin("RING_AUTH_OAUTH_URL", Endpoints::OAUTH_URL)?,
        api: origin("RING_AUTH_API_URL", Endpoints::API_URL)?,
    })
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
    // A manager would hope that the disk is well again by the time it is needed; here that is now.
    store.peek()?;
    let http = HttpConfig::default();
    let request_timeout = http.timeout;
    let oauth = RingOauth::new(Arc::new(ReqwestHttp::new(http)), endpoints, options.user_agent.as_deref());
    let oauth = Arc::new(oauth.map_err(|error| named(&error, "userAgent", "--user-agent"))?);
    let parts = Parts {
        store,
        mirror: None,
        refresh: Arc::clone(&oauth) as Arc<_>,
        oauth,
        clock: Arc::new(SystemClock::new()),
        listener: Arc::clone(output) as Arc<_>,
        runtime: runtime.clone(),
    };
    let settings = Settings {
        refresh_token: given,
        system_id: options.system_id.clone(),
        device_name: options.device_name.clone().unwrap_or_else(|| DEFAULT_DEVICE_NAME.to_owned()),
        login_flow: options.login_flow,
        request_timeout,
        auto_refresh: false,
    };
    Manager::open(parts, settings)
}

/// The same failure, of an option as it is called here.
fn named(error: &Error, theirs: &str, ours: &str) -> Error {
    Error::new(error.code(), error.message().replace(theirs, ours))
}

async fn given_token(options: &Options, output: &Arc<Output>) -> Result<Option<Secret>, Stop> {
    const NAME: &str = "--refresh-token-stdin";
    if !options.refresh_token_stdin {
        return Ok(None);
    }
    let person = Person::new(output, Terminal::open());
    let token = if person.is_there() {
        person.ask("Refresh token: ", Echo::Hidden, "refresh token", NAME).await?
    } else {
        line_of_stdin(NAME, "refresh token").await?
    };
    // With a journal an empty one is an old copy like any other.
    if options.state_file.is_none() || !token.expose().trim().is_empty() {
        RefreshToken::parse(token.expose())
            .map_err(|error| Error::invalid(format!("{NAME} got no token. {}", error.message())))?;
    }
    Ok(Some(token))
}

/// A variable of the environment; an empty one counts as none.
fn variable(name: &str) -> crate::Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::invalid(format!("{name} is not valid UTF-8."))),
    }
}

/// A line that has to be there.
async fn line_of_stdin(option: &str, what: &str) -> Result<Secret, Stop> {
    let line = from_stdin().await?.ok_or_else(|| {
        Error::new(ErrorCode::NoRefreshToken, format!("{option}: standard input ended before the {what} came."))
    })?;
    if line.is_empty() && option == "--password-stdin" {
        return Err(Error::invalid(format!("{option}: the first line of standard input is empty.")).into());
    }
    Ok(line)
}

async fn from_stdin() -> Result<Option<Secret>, Stop> {
    // A thread of its own, not the runtime's: nobody can be made to write, and the program must still be able to end.
    let (told, line) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = told.send(input::read_line(&mut io::stdin()));
    });
    let line = async { line.await.unwrap_or(Ok(None)) };
    Ok(tokio::time::timeout(WAIT_FOR_LINE, line).await.unwrap_or(Ok(None))?)
}

fn no_code() -> Error {
    Error::new(
        ErrorCode::TwoFactorRequired,
        "Ring sent a code, and it was not given. Run this in a terminal, or give it with --code, RING_2FA_CODE or as the second line after --password-stdin.",
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
    fn new(output: &Arc<Output>, terminal: Option<Terminal>) -> Self {
        Self { output: Arc::clone(output), terminal: terminal.map(Arc::new) }
    }

    fn is_there(&self) -> bool {
        self.terminal.is_some()
    }

    /// Asks for something that cannot be empty.
    async fn ask(&self, prompt: &'static str, echo: Echo, what: &str, instead: &str) -> Result<Secret, Stop> {
        for _ in 0..EMPTY_TRIES {
            match self.read(prompt, echo).await {
                Some(Answer::Line(line)) => {
                    // Spaces are nothing, except in a password.
                    let nothing = line.expose().trim().is_empty() && (echo == Echo::Shown || line.is_empty());
                    if !nothing {
                        return Ok(line);
                    }
                }
                Some(Answer::NotText) => return Err(not_text(what)),
                Some(Answer::Interrupted) => return Err(Stop::Interrupted),
                Some(Answer::End) => return Err(ended(what).into()),
                None => return Err(nobody(what, instead).into()),
            }
        }
        Err(Error::invalid(format!("The {what} is empty.")).into())
    }

    async fn code(&self) -> Result<Secret, Stop> {
        match self.read("2fa Code: ", Echo::Shown).await {
            Some(Answer::Line(line)) => Ok(line),
            Some(Answer::NotText) => Err(not_text("code")),
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
                    // The keys pressed until then belong to the next question; Ctrl-C counts unless all is done.
                    if watch.await.unwrap_or(false) && done.is_err() {
                        return Err(Stop::Interrupted);
                    }
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

fn nobody(what: &str, instead: &str) -> Error {
    Error::new(
        ErrorCode::NoRefreshToken,
        format!("There is no terminal to ask for the {what}. Run this in one, or give it with {instead}."),
    )
}

fn ended(what: &str) -> Error {
    Error::new(ErrorCode::NoRefreshToken, format!("The terminal's input ended before the {what} was typed."))
}

fn not_text(what: &str) -> Stop {
    Error::invalid(format!("The {what} is not valid UTF-8. Set the terminal to UTF-8.")).into()
}
