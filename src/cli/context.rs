//! What a command works with: the opened store, the key of its journal, Ring's servers.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::args::Options;
use super::keys;
use super::output::Output;
use super::prompter::with_progress;
use super::secrets::Environment;
use super::stdout;
use super::store::{ChosenStore, named};
use crate::http::{HttpClient, HttpConfig};
use crate::journal::{Codec, Notice};
use crate::location::Opened;
use crate::manager::{
    DEFAULT_DEVICE_NAME, Listener, Manager, Parts, Settings, SharedParts, Shown, Status, SystemClock,
};
use crate::mirror::{Attempts, Introduced, Purpose};
use crate::oauth::{Endpoints, Origin, RingOauth};
use crate::{Error, ErrorCode, Secret, task};

/// What a command needs a manager for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// One call.
    Call,
    /// A token that is kept fresh.
    Watch,
    /// A logout, before which nothing is sent: also no refresh in which an earlier process was stopped.
    Logout,
}

/// The opened store of one command, with everything that the command needs for it.
pub(super) struct Context {
    pub(super) chosen: ChosenStore,
    pub(super) opened: Opened,
    pub(super) endpoints: Endpoints,
    pub(super) codec: Codec,
}

/// The places in which a token was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    /// In the journal, and in the file that shows it.
    Everywhere,
    /// In the journal, but not in the file that shows it.
    JournalOnly,
    /// In the spool of this host, but not in the shared store.
    SpoolOnly,
    /// Not in the journal, so not durably.
    Nowhere,
}

impl Context {
    pub(super) fn open(options: &Options, purpose: Purpose) -> crate::Result<Self> {
        let endpoints = endpoints()?;
        let chosen = ChosenStore::find(options)?;
        let codec = keys::codec(options, endpoints.issuer())?;
        let opened = chosen.open(&codec, purpose)?;
        // A manager would wait until the store works again, but a command needs it now. And the journal of another issuer, or of a
        // later version, must not be changed.
        match opened.store.peek() {
            Err(error) if error.code() == ErrorCode::Store && options.keys.forgets_sealed => {}
            peeked => drop(peeked?),
        }
        Ok(Self { chosen, opened, endpoints, codec })
    }

    /// Checks that standard output can take a token that is kept nowhere else.
    pub(super) fn try_output(&self) -> crate::Result<()> {
        if self.chosen.keeps() { Ok(()) } else { stdout::try_out() }
    }

    /// Checks that a login can be stored. Returns what the login will change beyond the token.
    pub(super) async fn dry_run(&self, output: &Output) -> crate::Result<Introduced> {
        let opened = self.opened.clone();
        let (introduced, notices) = with_progress(output, blocking(move || opened.dry_run())).await?;
        show_notices(notices, output);
        Ok(introduced)
    }

    /// The key of the journal, as text.
    pub(super) fn key_text(&self) -> crate::Result<Option<Secret>> {
        self.codec.key_text()
    }

    /// Checks that the journal is sealed as the options say: another process may have refreshed the token in between.
    pub(super) async fn check_seal(&self) -> crate::Result<()> {
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

    /// Shows which planned changes were made. A login that fails can change the file too, if it brings an older token back.
    pub(super) async fn show_changes(&self, planned: Introduced, output: &Output) {
        if planned == Introduced::default() {
            return;
        }
        let Some(mirror) = self.opened.file_mirror().cloned() else { return };
        let Ok(left) = blocking(move || mirror.dry_run()).await else { return };
        let removed = planned.removed.into_iter().filter(|key| !left.removed.contains(key)).collect();
        let made = Introduced { added: planned.added && !left.added, removed };
        for sentence in self.chosen.changes(&made) {
            output.say(&sentence);
        }
    }

    /// Checks, before a token is used, that there is one, and warns if another program may rotate it.
    ///
    /// # Errors
    ///
    /// `NO_REFRESH_TOKEN` if there is no token.
    pub(super) fn look_first(&self, is_given: bool, output: &Output) -> crate::Result<()> {
        let Some(path) = self.chosen.path().filter(|_| self.opened.mirror.is_some()) else { return Ok(()) };
        if self.opened.held()?.is_some() {
            return Ok(());
        }
        // With this purpose a file without a block counts as a file without a token. With the other one it cannot be opened.
        let opened = self.chosen.open(&self.codec, Purpose::Introduce)?;
        let Some(mirror) = opened.file_mirror() else { return Ok(()) };
        match mirror.look(Attempts::Several) {
            Ok(Some(text)) => {
                match Shown::beside(None, Some(&text)) {
                    Shown::Nonsense(flaw) | Shown::Reference(flaw) if !is_given => {
                        return Err(self.chosen.nothing_but(flaw));
                    }
                    Shown::Nothing if !is_given => return Err(self.chosen.nothing_yet()),
                    Shown::Nonsense(_) | Shown::Reference(_) | Shown::Nothing => return Ok(()),
                    Shown::Newest | Shown::Old | Shown::New => {}
                }
                output.say(&format!(
                    "ring-auth keeps the token in {} from now on, and one token has one keeper: another program that rotates the same one, as homebridge-ring does, will lose it. For a token of its own: ring-auth login",
                    path.display()
                ));
                Ok(())
            }
            Ok(None) if !is_given => Err(self.chosen.nothing_yet()),
            // Without the file, the newest token could not be shown.
            Err(error) if !is_given || !path.exists() => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn open_manager(
        &self,
        options: &Options,
        output: &Arc<Output>,
        runtime: &Handle,
        given: Option<Secret>,
    ) -> crate::Result<Manager> {
        self.open_manager_with(options, output, Arc::clone(output) as _, runtime, given, Needs::Call)
    }

    /// Opens a manager with another listener than the output, or for more than a call.
    pub(super) fn open_manager_with(
        &self,
        options: &Options,
        output: &Output,
        listener: Arc<dyn Listener>,
        runtime: &Handle,
        given: Option<Secret>,
        needs: Needs,
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
            mirror: self.opened.mirror.clone(),
            oauth,
            clock: Arc::new(SystemClock::new()),
            listener,
            shared: self.opened.shared.clone().map(|engine| SharedParts::new(engine, self.codec.clone())),
            runtime: runtime.clone(),
        };
        let settings = Settings {
            refresh_token: given,
            refuses_at_calls: false,
            system_id: options.system_id.clone(),
            device_name: options.device_name.clone().unwrap_or_else(|| DEFAULT_DEVICE_NAME.to_owned()),
            login_flow: options.login_flow,
            request_timeout,
            auto_refresh: needs == Needs::Watch,
        };
        if needs == Needs::Logout { Manager::open_to_forget(parts, settings) } else { Manager::open(parts, settings) }
    }

    pub(super) async fn saved(&self, status: &Status, newest: &Secret) -> Saved {
        let (opened, newest) = (self.opened.clone(), newest.clone());
        if !status.persisted {
            let is_spooled = blocking(move || Ok(opened.spools(&newest))).await.unwrap_or(false);
            return if is_spooled { Saved::SpoolOnly } else { Saved::Nowhere };
        }
        // If there was no problem and the file shows another token, another process has rotated since.
        if store_problem(status).is_none() || blocking(move || Ok(opened.shows(&newest))).await.unwrap_or(false) {
            return Saved::Everywhere;
        }
        Saved::JournalOnly
    }

    /// The place where people find the token: the file, or only its journal if the file has a reference in place of the token.
    pub(super) async fn stored_in(&self) -> String {
        let (opened, place) = (self.opened.clone(), self.chosen.place());
        match blocking(move || Ok(opened.reference())).await {
            Ok(Some(flaw)) => format!(
                "the journal {}; the value in {place} is left alone, because it {}",
                self.opened.store.name(),
                flaw.reason()
            ),
            _ => place,
        }
    }

    /// Says where the token is stored and where it is not. Returns the exit code.
    pub(super) fn not_stored(&self, saved: Saved, status: &Status, what: &str, output: &Output) -> u8 {
        let (place, journal) = (self.chosen.place(), self.opened.store.name());
        let shown_in = self.chosen.target().map_or_else(|| place.clone(), |target| target.path().display().to_string());
        if saved == Saved::SpoolOnly {
            output.complain(&format!(
                "ring-auth: {what}, but {place} has not taken the new refresh token. It is in the spool {journal} of this host, and the next start or refresh here brings it to the store."
            ));
            return 0;
        }
        output.complain(&match saved {
            Saved::JournalOnly => format!(
                "ring-auth: {what}, and the new refresh token is in the journal {journal}, but could not be written into {shown_in}. The next start or refresh writes it there, once that works."
            ),
            Saved::Everywhere | Saved::SpoolOnly | Saved::Nowhere => {
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

/// Runs work that waits for a disk, or for a lock of another process.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> crate::Result<T> + Send + 'static,
) -> crate::Result<T> {
    let done = task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Error::new(ErrorCode::Store, "The work on the store ended before its result.")))
}

pub(super) fn show_notices(notices: Vec<Notice>, output: &Output) {
    for Notice(sentence) in notices {
        output.say(&format!("ring-auth: {sentence}"));
    }
}
