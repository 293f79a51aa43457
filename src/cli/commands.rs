//! What each command does.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Handle;

use super::args::Options;
use super::keys;
use super::output::Output;
use super::prompter::{Person, from_stdin, line_of_stdin, no_code, patiently, token_of_stdin};
use super::secrets::{self, Environment, Named};
use super::store::{Forgotten, Opened, Place, named};
use super::terminal::Question;
use super::{Done, Stop, stdout};
use crate::http::{HttpClient, HttpConfig};
use crate::journal::state::Millis;
use crate::journal::{Codec, Notice};
use crate::manager::{
    Auth, Credentials, DEFAULT_DEVICE_NAME, Device, Listener, Manager, Parts, Settings, Shown, Status, Step,
    SystemClock,
};
use crate::mirror::{Follower, Introduced, Mirror, Patience, Purpose};
use crate::oauth::{Endpoints, Origin, RingOauth, TwoFactor, TwoFactorMethod};
use crate::token::RefreshToken;
use crate::totp::Totp;
use crate::{Error, ErrorCode, Secret, task};

/// Longer than any refresh.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(60);
/// What ends within that time needs no explanation.
const SOON: Duration = Duration::from_millis(300);
const CODE_TRIES: u32 = 3;

pub(super) async fn login(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    // Nothing is asked of a person before it is clear that the rest can work.
    let (options, given) = blocking(move || {
        let given = Given::new(&options)?;
        Ok((options, given))
    })
    .await?;
    let kept = Keeping::begin(&options, Purpose::Introduce)?;
    let planned = kept.rehearse(&output).await?;
    let manager = kept.open(&options, &output, &runtime, None)?;
    // With that option the lines of a pipe are the password and the code, and answer no question.
    let input = if options.password_stdin { options.input.for_options() } else { options.input };
    let person = Person::new(&output, input);
    if person.is_there() {
        kept.try_output()?;
        output.say(
            "This gets a refresh token for ring-client-api, homebridge-ring and the like. Ring may send you a code.",
        );
        if let Some(path) = kept.place.path() {
            output.say(&format!("It will be kept in {}.", kept.stored_in(path).await));
        }
    }
    let done = log_in(&kept, &manager, &options, given, &output, &person).await;
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
    let code = match done {
        Ok(()) => show_login(&kept, &manager, expires_at, &output).await,
        Err(stop) => Err(stop),
    };
    kept.tell_changes(planned, &output).await;
    let code = code?;
    if code == 0 && kept.place.is_homebridge() {
        output.say("Restart Homebridge now: it reads its configuration only when it starts.");
    }
    Ok(code)
}

/// What a login need not ask for.
struct Given {
    email: Option<Secret>,
    password: Option<Secret>,
    code: Option<Secret>,
    totp: Option<Totp>,
}

impl Given {
    /// Reads what no option gives, and what is needed. Blocks.
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
        // A code that is given is for this very login.
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
    kept: &Keeping,
    manager: &Manager,
    options: &Options,
    given: Given,
    output: &Arc<Output>,
    person: &Person,
) -> Result<(), Stop> {
    let email = if let Some(email) = given.email {
        email
    } else {
        let typed = person.ask(Question::email("Email: "), "e-mail address", "--email or RING_EMAIL").await?;
        Secret::new(typed.expose().trim())
    };
    let lines = options.password_stdin && !person.is_there();
    let password = match given.password {
        Some(password) => password,
        None if lines => line_of_stdin("--password-stdin", "password").await?,
        None => person.ask(Question::hidden("Password: "), "password", "--password-stdin or RING_PASSWORD").await?,
    };
    let device = if options.new_device { Device::New } else { Device::Kept };
    // A person may have taken minutes to type, and who reads standard output may be gone.
    kept.try_output()?;
    let mut step = person.patiently(manager.login(Credentials { email, password, totp: given.totp, device })).await?;
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
        kept.try_output()?;
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
            Err(Stop::Failed(error))
                if person.is_there() && manager.awaits_code() && may_ask_again(&error, another) =>
            {
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

async fn show_login(kept: &Keeping, manager: &Manager, expires_at: Option<Millis>, output: &Output) -> Done {
    let Some(token) = manager.refresh_token() else {
        return Err(Error::new(ErrorCode::NoRefreshToken, "The login ended without a token.").into());
    };
    let status = manager.status();
    let outcome = kept.outcome(&status, &token).await;
    let line = format!("\"refreshToken\": \"{}\"", token.expose());
    let is_only_copy = outcome == Outcome::Unwritten;
    if output.is_json() {
        let result = json!({
            "refreshToken": token.expose(), "hardwareId": manager.hardware_id(),
            "expiresAt": expires_at, "persisted": status.persisted,
        });
        output.token(&result.to_string(), is_only_copy);
    }
    let Some(path) = kept.place.path() else {
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
            // A blank line keeps the two apart at a terminal, and is no part of standard output.
            output.say(&format!("\n{WORTH}"));
        }
        return Ok(0);
    };
    if outcome == Outcome::Kept {
        let place = kept.stored_in(path).await;
        output.say(&format!("Successfully logged in to Ring. The refresh token is stored in {place}."));
        return Ok(0);
    }
    if !output.is_json() {
        output.token(&line, is_only_copy);
    }
    Ok(kept.not_stored(outcome, &status, "The login worked", output))
}

const WORTH: &str = "It is worth as much as your password: whoever has it can open your doors. Give it to one program \
                     only, which replaces it at every use; for a second program log in once more.";

pub(super) async fn token(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options, &output).await?;
    let kept = Keeping::begin(&options, Purpose::Follow)?;
    kept.look_first(given.is_some(), &output)?;
    let manager = kept.open(&options, &output, &runtime, given)?;
    let auth = patiently(&output, manager.auth()).await;
    if let Ok(auth) = &auth
        && !output.is_json()
    {
        // Whoever reads it need not wait for a refresh beside it.
        output.result(auth.access_token.expose());
    }
    // That one, in the last tenth of a lifetime, ends first.
    manager.close().await;
    let auth = auth.map_err(|error| kept.place.in_our_words(error))?;
    let status = manager.status();
    let newest = manager.refresh_token().unwrap_or(auth.refresh_token);
    let outcome = kept.outcome(&status, &newest).await;
    let unstored = (!status.persisted).then_some(&newest);
    let is_only_copy = outcome == Outcome::Unwritten;
    if output.is_json() {
        let mut result = json!({ "accessToken": auth.access_token.expose(), "expiresAt": auth.expires_at });
        if let Some(token) = unstored {
            result["refreshToken"] = token.expose().into();
        }
        output.token(&result.to_string(), is_only_copy);
    } else if let Some(token) = unstored {
        output.token(&format!("\"refreshToken\": \"{}\"", token.expose()), is_only_copy);
    }
    // With the journal written the access token is as good as any, and the log has said what is wrong with the file.
    Ok(if unstored.is_some() { kept.not_stored(outcome, &status, "Rotated", &output) } else { 0 })
}

pub(super) async fn refresh(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options, &output).await?;
    let kept = Keeping::begin(&options, Purpose::Follow)?;
    kept.look_first(given.is_some(), &output)?;
    let manager = kept.open(&options, &output, &runtime, given)?;
    kept.try_output()?;
    let result = patiently(&output, manager.refresh(options.force)).await;
    manager.close().await;
    let Auth { refresh_token, hardware_id, expires_at, .. } = result.map_err(|error| kept.place.in_our_words(error))?;
    let status = manager.status();
    let outcome = kept.outcome(&status, &refresh_token).await;
    let is_only_copy = outcome == Outcome::Unwritten;
    if output.is_json() {
        let result = json!({
            "refreshToken": refresh_token.expose(), "hardwareId": hardware_id, "expiresAt": expires_at,
            "persisted": status.persisted,
        });
        output.token(&result.to_string(), is_only_copy);
    } else if !status.persisted {
        output.token(refresh_token.expose(), is_only_copy);
    }
    if kept.codec.is_changing() && outcome != Outcome::Unwritten {
        kept.check_seal().await?;
    }
    Ok(match kept.place.path() {
        None => 0,
        Some(path) if outcome == Outcome::Kept => {
            output.say(&format!("Rotated. The new refresh token is stored in {}.", kept.stored_in(path).await));
            0
        }
        Some(_) => kept.not_stored(outcome, &status, "Rotated", &output),
    })
}

pub(super) async fn logout(options: &Options, output: &Arc<Output>) -> Done {
    let kept = Keeping::begin(options, Purpose::Introduce)?;
    // Without a manager: one would first end the refresh that a killed process left behind.
    let Forgotten { cleared } = patiently(output, forget(&kept)).await?;
    match cleared {
        Ok(notices) => tell(notices, output),
        Err(error) => {
            output.complain("The journal is forgotten, but the file still shows the token.");
            return Err(error.into());
        }
    }
    if output.is_json() {
        output.json(&json!({}));
    }
    if kept.opened.mirror.is_some() {
        output.say("A program that is running keeps its token in memory: restart it.");
    }
    output.say(
        "Forgotten here. Ring still knows the device: to revoke its token open the Ring app, Control Center, Authorized \
         Client Devices, and remove it there; or change the password, which ends every device's.",
    );
    Ok(0)
}

/// Waits for the process that holds the journal's lock, then forgets the token.
async fn forget(kept: &Keeping) -> crate::Result<Forgotten> {
    // A holder refreshes, and releases the lock within that time.
    let limit = Instant::now() + WAIT_FOR_LOCK;
    loop {
        let (opened, path) = (kept.opened.clone(), kept.place.path().map(ToOwned::to_owned));
        if let Some(forgotten) = blocking(move || opened.forget(path.as_deref())).await? {
            return Ok(forgotten);
        }
        if Instant::now() >= limit {
            return Err(Error::new(
                ErrorCode::StoreLocked,
                format!(
                    "Another process has been holding {} for longer than a refresh takes. Look for one that hangs.",
                    kept.opened.store.name()
                ),
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Where the token is kept, opened for one command.
pub(super) struct Keeping {
    pub(super) place: Place,
    opened: Opened,
    endpoints: Endpoints,
    codec: Codec,
}

/// What became of a token that is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is wherever it should be.
    Kept,
    /// It is in the journal, and not where people look for it.
    JournalOnly,
    /// It is not in the journal, and so nowhere that can be relied upon.
    Unwritten,
}

impl Keeping {
    pub(super) fn begin(options: &Options, purpose: Purpose) -> crate::Result<Self> {
        let endpoints = endpoints()?;
        let place = Place::find(options)?;
        let codec = keys::codec(options, endpoints.issuer())?;
        let opened = place.open(&codec, purpose)?;
        // A manager would hope that the disk is well again by the time it is needed; here that is now. And the journal
        // of another issuer, or of a later version, is not ours to change.
        match opened.store.peek() {
            Err(error) if error.code() == ErrorCode::Store && options.keys.forgets_sealed => {}
            peeked => drop(peeked?),
        }
        Ok(Self { place, opened, endpoints, codec })
    }

    /// Makes sure that standard output can take a token that is kept nowhere else.
    pub(super) fn try_output(&self) -> crate::Result<()> {
        if self.place.path().is_some() { Ok(()) } else { stdout::try_out() }
    }

    /// Makes sure that a login can be stored, and says what it will change beyond the token.
    pub(super) async fn rehearse(&self, output: &Output) -> crate::Result<Introduced> {
        let opened = self.opened.clone();
        let (introduced, notices) = patiently(output, blocking(move || opened.rehearse())).await?;
        tell(notices, output);
        Ok(introduced)
    }

    /// The key of the journal, as text.
    pub(super) fn key_text(&self) -> crate::Result<Option<Secret>> {
        self.codec.key_text()
    }

    /// Whether the journal is sealed as it was asked for: another process can have refreshed the token in between.
    async fn check_seal(&self) -> crate::Result<()> {
        let (codec, path) = (self.codec.clone(), self.opened.store.name());
        let is_done = blocking(move || Ok(std::fs::read(path).is_ok_and(|bytes| codec.has_changed(&bytes)))).await?;
        if is_done {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::Store,
            "The token was rotated, but another process has written the journal with the key that it knows. End that process, and do this again.",
        ))
    }

    /// Ring's authentication server and its API server, as origins.
    pub(super) fn origins(&self) -> (String, String) {
        (self.endpoints.oauth.ascii(), self.endpoints.api.ascii())
    }

    /// Says what was changed of what was planned: also a login that fails can have brought an older token back to where
    /// it is shown.
    async fn tell_changes(&self, planned: Introduced, output: &Output) {
        if planned == Introduced::default() {
            return;
        }
        let Some(mirror) = self.opened.mirror.clone() else { return };
        let Ok(left) = blocking(move || mirror.rehearse()).await else { return };
        let removed = planned.removed.into_iter().filter(|key| !left.removed.contains(key)).collect();
        let made = Introduced { added: planned.added && !left.added, removed };
        for sentence in self.place.changes(&made) {
            output.say(&sentence);
        }
    }

    /// Before a token is used: whether there is one, and whose it may be.
    pub(super) fn look_first(&self, is_given: bool, output: &Output) -> crate::Result<()> {
        let Some(path) = self.place.path().filter(|_| self.opened.mirror.is_some()) else { return Ok(()) };
        if self.opened.held()?.is_some() {
            return Ok(());
        }
        // With that purpose a file without a block is one without a token, and not one that cannot be used.
        let opened = self.place.open(&self.codec, Purpose::Introduce)?;
        let Some(mirror) = opened.mirror else { return Ok(()) };
        match mirror.look(Patience::Some) {
            Ok(Some(text)) => {
                match Shown::beside(None, Some(&text)) {
                    Shown::Nonsense(flaw) | Shown::Reference(flaw) if !is_given => {
                        return Err(self.place.nothing_but(flaw));
                    }
                    Shown::Nothing if !is_given => return Err(self.place.nothing_yet()),
                    Shown::Nonsense(_) | Shown::Reference(_) | Shown::Nothing => return Ok(()),
                    Shown::Newest | Shown::Old | Shown::New => {}
                }
                output.say(&format!(
                    "ring-auth keeps the token in {} from now on, and one token has one keeper: another program that rotates the same one, as homebridge-ring does, will lose it. For a token of its own: ring-auth login",
                    path.display()
                ));
                Ok(())
            }
            Ok(None) if !is_given => Err(self.place.nothing_yet()),
            // Where there is no file, the newest token would have no place to be shown.
            Err(error) if !is_given || !path.exists() => Err(error),
            _ => Ok(()),
        }
    }

    fn open(
        &self,
        options: &Options,
        output: &Arc<Output>,
        runtime: &Handle,
        given: Option<Secret>,
    ) -> crate::Result<Manager> {
        self.open_with(options, output, Arc::clone(output) as _, runtime, given, false)
    }

    /// As [`Keeping::open`], for another listener, and perhaps to refresh without being asked.
    pub(super) fn open_with(
        &self,
        options: &Options,
        output: &Output,
        listener: Arc<dyn Listener>,
        runtime: &Handle,
        given: Option<Secret>,
        auto_refresh: bool,
    ) -> crate::Result<Manager> {
        let http = HttpConfig::default();
        let request_timeout = http.timeout;
        if let Some(problem) = http.environment.system_ca_problem() {
            output.say(&format!("ring-auth: {problem}"));
        }
        let http = Arc::new(HttpClient::new(http));
        let oauth = RingOauth::new(http, self.endpoints.clone(), options.user_agent.as_deref());
        let oauth = Arc::new(oauth.map_err(|error| named(&error, &[("userAgent", "--user-agent")]))?);
        let parts = Parts {
            store: Arc::clone(&self.opened.store),
            mirror: self.opened.mirror.clone().map(|mirror| Follower::Place(mirror)),
            refresh: Arc::clone(&oauth) as Arc<_>,
            oauth,
            clock: Arc::new(SystemClock::new()),
            listener,
            runtime: runtime.clone(),
        };
        let settings = Settings {
            refresh_token: given,
            refuses_at_calls: false,
            system_id: options.system_id.clone(),
            device_name: options.device_name.clone().unwrap_or_else(|| DEFAULT_DEVICE_NAME.to_owned()),
            login_flow: options.login_flow,
            request_timeout,
            auto_refresh,
        };
        Manager::open(parts, settings)
    }

    async fn outcome(&self, status: &Status, newest: &Secret) -> Outcome {
        let (opened, newest) = (self.opened.clone(), newest.clone());
        if !status.persisted {
            return Outcome::Unwritten;
        }
        // Where nothing went wrong and it shows another one, somebody else has rotated since.
        if store_problem(status).is_none() || blocking(move || Ok(opened.shows(&newest))).await.unwrap_or(false) {
            return Outcome::Kept;
        }
        Outcome::JournalOnly
    }

    /// Where people find the token: in the file, or in its journal alone if the file has a reference in its place.
    async fn stored_in(&self, path: &Path) -> String {
        let opened = self.opened.clone();
        match blocking(move || Ok(opened.reference())).await {
            Ok(Some(flaw)) => format!(
                "the journal {}; the value in {} is left alone, because it {}",
                self.opened.store.name(),
                path.display(),
                flaw.reason()
            ),
            _ => path.display().to_string(),
        }
    }

    /// Says where the token is, and where it is not.
    fn not_stored(&self, outcome: Outcome, status: &Status, what: &str, output: &Output) -> u8 {
        let file = self.place.path().map(|path| path.display().to_string()).unwrap_or_default();
        let journal = self.opened.store.name();
        output.complain(&match outcome {
            Outcome::JournalOnly => format!(
                "ring-auth: {what}, and the new refresh token is in the journal {journal}, but could not be written into {file}. The next start or refresh writes it there, once that works."
            ),
            Outcome::Kept | Outcome::Unwritten => {
                let where_else = match self.opened.mirror {
                    Some(_) => "its journal does not have it",
                    None => "nothing else has it",
                };
                let stream = if output.has_rescued() { "error" } else { "output" };
                format!(
                    "ring-auth: {what}, but the new refresh token could not be stored. It is on standard {stream} instead: keep it, {where_else}."
                )
            }
        });
        let error = store_problem(status);
        let error = error.unwrap_or_else(|| Error::new(ErrorCode::Store, "The token could not be stored."));
        output.explain(&error);
        error.code().exit_code()
    }
}

fn store_problem(status: &Status) -> Option<Error> {
    status.problem.clone().filter(|error| error.code().exit_code() == ErrorCode::Store.exit_code())
}

pub(super) fn endpoints() -> crate::Result<Endpoints> {
    let environment = Environment::of_this_process();
    let origin = |name: &str, default: &str| match environment.variable(name)? {
        Some(url) => Origin::parse(url.expose(), name),
        None => Origin::parse(default, name),
    };
    Ok(Endpoints {
        oauth: origin("RING_AUTH_OAUTH_URL", Endpoints::OAUTH_URL)?,
        api: origin("RING_AUTH_API_URL", Endpoints::API_URL)?,
    })
}

/// Does what waits for a disk, or for somebody else's lock.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> crate::Result<T> + Send + 'static) -> crate::Result<T> {
    let done = task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Error::new(ErrorCode::Store, "The store was left half-way.")))
}

fn tell(notices: Vec<Notice>, output: &Output) {
    for Notice(sentence) in notices {
        output.say(&format!("ring-auth: {sentence}"));
    }
}

/// The variable of a token, which with `_FILE` names a file with one.
pub(super) const TOKEN: &str = "RING_REFRESH_TOKEN";

/// The token to begin with, from standard input or from the file that a variable names.
pub(super) async fn given_token(options: &Options, output: &Arc<Output>) -> Result<Option<Secret>, Stop> {
    const NAME: &str = "--refresh-token-stdin";
    let (token, name) = if options.refresh_token_stdin {
        if Environment::of_this_process().names_file(TOKEN) {
            return Err(Error::invalid(format!("{NAME} and {TOKEN}_FILE exclude each other: give one token.")).into());
        }
        let person = Person::new(output, options.input.for_options());
        let token = if person.is_there() {
            person.ask(Question::hidden("Refresh token: "), "refresh token", NAME).await?
        } else {
            token_of_stdin(NAME).await?
        };
        (token, NAME.to_owned())
    } else {
        match blocking(|| Environment::of_this_process().file(TOKEN)).await? {
            // A stale variable must not stop a healthy journal: the manager looks at the text beside what the journal holds.
            Some(Named { value, .. }) if options.store.is_some() => return Ok(Some(value)),
            Some(Named { value, name }) => (value, name),
            None => return Ok(None),
        }
    };
    // With a store an empty text is an old copy like any other, and what is wrong with a text in a variable's file matters only if the
    // store has no token: the manager decides that.
    let is_typed = options.refresh_token_stdin && !token.expose().trim().is_empty();
    if options.store.is_none() || is_typed {
        RefreshToken::parse(token.expose())
            .map_err(|error| Error::invalid(format!("{name} got no token. {}", error.message())))?;
    }
    Ok(Some(token))
}
