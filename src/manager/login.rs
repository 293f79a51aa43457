//! A login: one hardware id, one code, and a token that is stored before it is shown.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

use super::account::inner::{Inner, broken};
use super::account::snapshot::closed;
use super::account::transaction::Start;
use super::authenticator::{Codes, TRIES};
use super::events::Level;
use super::policy;
use super::refresh::{Reason, access_of};
use super::steps::{Asked, Credentials, Device, Step, UnderWay, WaitingLogin};
use crate::journal::Origin;
use crate::journal::merge::{LoggedIn, Outcome};
use crate::mirror::{Allowance, Follower};
use crate::oauth::{Grant, Login, LoginRequest, LoginStep, TwoFactorMethod};
use crate::task::BoxFuture;
use crate::token::RefreshToken;
use crate::totp::Totp;
use crate::{Error, ErrorCode, Result, Secret, hardware_id, task};

/// Does a step of a login, or joins the same step if it was just asked for and is not answered yet: a double click must not make Ring
/// send two codes, or reject the first one.
pub(super) fn ask(inner: &Arc<Inner>, asked: Asked) -> BoxFuture<'static, Result<Step>> {
    let step = begin_step(inner, asked);
    Box::pin(async move {
        match step?.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Err(broken())),
            Err(_) => Err(broken()),
        }
    })
}

fn begin_step(inner: &Arc<Inner>, asked: Asked) -> Result<watch::Receiver<Option<Result<Step>>>> {
    if let Asked::Start { credentials, .. } = &asked
        && (credentials.email.is_empty() || credentials.password.is_empty())
    {
        return Err(Error::invalid("A login needs an e-mail address and a password, and one of them is empty."));
    }
    inner.check_open()?;
    let mut latest = inner.logins.asked.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(under_way) = &*latest
        && under_way.asked == asked
        && under_way.answer.borrow().is_none()
        // If its channel is closed without an answer, its task has panicked.
        && under_way.answer.has_changed().is_ok()
    {
        return Ok(under_way.answer.clone());
    }
    // The step that is asked for last is also done last, and [`Inner::close`] waits for it.
    let turn = inner.queue_if_open(&inner.logins.waiting)?;
    let (told, answer) = watch::channel(None);
    *latest = Some(Box::new(UnderWay { asked: asked.clone(), answer: answer.clone() }));
    drop(latest);
    let worker = Arc::clone(inner);
    let ours = answer.clone();
    task::spawn(&inner.parts.runtime, async move {
        let mut slot = turn.await;
        let answer = match asked {
            Asked::Start { credentials, code } => worker.start(&mut slot, credentials, code).await,
            Asked::Submit(code) => worker.submit(&mut slot, &code).await,
            Asked::Resend => worker.resend(&mut slot).await,
        };
        drop(slot);
        // From here on the same step is a new one, and no password is kept for comparing.
        let mut latest = worker.logins.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.as_ref().is_some_and(|latest| latest.answer.same_channel(&ours)) {
            *latest = None;
        }
        drop(latest);
        told.send_replace(Some(answer));
    });
    Ok(answer)
}

fn nobody_waits() -> Error {
    Error::invalid("No login is waiting for a code. Call login first.")
}

impl Inner {
    async fn start(
        self: &Arc<Self>,
        slot: &mut Option<Box<WaitingLogin>>,
        credentials: Credentials,
        code: Option<Secret>,
    ) -> Result<Step> {
        *slot = None;
        self.update(|snapshot, _| snapshot.login.waits = false);
        let allowance = Allowance::new();
        let hardware_id = self.prepare(credentials.device, &allowance).await?;
        let request = LoginRequest {
            email: credentials.email.expose().to_owned(),
            password: credentials.password,
            flow: self.settings.login_flow,
            hardware_id: hardware_id.clone(),
            device_name: self.settings.device_name.clone(),
        };
        let login = Arc::clone(&self.parts.oauth).login(request);
        let mut waiting = Box::new(WaitingLogin { login, hardware_id });
        let step = if let Some(code) = code {
            waiting.login.start_with_code(&code).await
        } else {
            let step = waiting.login.start().await;
            self.answer_with(credentials.totp, &mut waiting.login, step).await
        };
        self.go_on(slot, waiting, step, allowance).await
    }

    /// Answers with the authenticator's own codes if Ring asks for one: with that of this time step, and after a wrong one
    /// with that of the next.
    async fn answer_with(
        self: &Arc<Self>,
        totp: Option<Totp>,
        login: &mut Login,
        mut step: Result<LoginStep>,
    ) -> Result<LoginStep> {
        let (Some(totp), Ok(LoginStep::TwoFactor(asked))) = (totp, &step) else { return step };
        if asked.method != TwoFactorMethod::Totp {
            self.log(
                Level::Warn,
                "Ring asks for a code that is not an authenticator's, so the authenticator's secret is not used.",
            );
            return step;
        }
        let mut codes = Codes::new(totp);
        for _ in 0..TRIES {
            let next = loop {
                let sent = self.snapshot().login.last_code.clone();
                let next = codes.next(self.parts.clock.wall(), sent.as_ref());
                if next.wait.is_zero() {
                    break next;
                }
                self.log(
                    Level::Info,
                    format!("The login waits {} s for the authenticator's next code.", next.wait.as_secs() + 1),
                );
                if !self.pause(next.wait).await {
                    return Err(closed());
                }
            };
            codes.count(&next);
            self.snapshot().login.last_code = Some(next.code.clone());
            step = login.submit(&next.code).await;
            match &step {
                Ok(LoginStep::TwoFactor(_)) => {}
                Err(error) if error.code() == ErrorCode::TwoFactorInvalid => {}
                _ => return step,
            }
        }
        step.map_err(|error| {
            error.with_sentence(
                "Two codes that were made from the authenticator's secret were refused: check the secret, and the clock of this machine.",
            )
        })
    }

    async fn submit(self: &Arc<Self>, slot: &mut Option<Box<WaitingLogin>>, code: &Secret) -> Result<Step> {
        let mut waiting = slot.take().ok_or_else(nobody_waits)?;
        let step = waiting.login.submit(code).await;
        self.go_on(slot, waiting, step, Allowance::new()).await
    }

    async fn resend(self: &Arc<Self>, slot: &mut Option<Box<WaitingLogin>>) -> Result<Step> {
        let mut waiting = slot.take().ok_or_else(nobody_waits)?;
        let step = waiting.login.resend(Instant::now()).await;
        self.go_on(slot, waiting, step, Allowance::new()).await
    }

    /// Decides the hardware id and stores it. That also proves that the token can be stored, before Ring sends a code.
    async fn prepare(self: &Arc<Self>, device: Device, allowance: &Arc<Allowance>) -> Result<String> {
        if let Some(Follower::Place(mirror)) = self.parts.mirror.clone() {
            task::spawn_blocking(move || mirror.check_place()).await.unwrap_or_else(|_| Err(broken()))?;
        }
        let mut transaction = self.enter(allowance).await?;
        let hardware_id = loop {
            let decided = match device {
                Device::Kept => self.decide_hardware_id(transaction.state()).await,
                Device::New => Ok(hardware_id::random()),
            };
            let hardware_id = match decided {
                Ok(hardware_id) => hardware_id,
                Err(error) => {
                    transaction.leave().await;
                    return Err(error);
                }
            };
            match transaction.prepare_login(&hardware_id).await {
                Ok(Start::Ready) => break hardware_id,
                Ok(Start::Overtaken | Start::Elsewhere(_)) => {}
                Err(error) => {
                    transaction.abandon().await;
                    return Err(error);
                }
            }
        };
        transaction.adopt_read();
        transaction.leave().await;
        Ok(hardware_id)
    }

    async fn go_on(
        self: &Arc<Self>,
        slot: &mut Option<Box<WaitingLogin>>,
        waiting: Box<WaitingLogin>,
        step: Result<LoginStep>,
        allowance: Arc<Allowance>,
    ) -> Result<Step> {
        let result = match step {
            Ok(LoginStep::Authenticated { grant, refresh_due }) => {
                self.store_login(&waiting.hardware_id, &grant, &allowance).await;
                if refresh_due {
                    // Ring's APIs may refuse the access token that comes with an authorization code. The token is
                    // stored already, so a failure here is only a later refresh.
                    let landing = self.join(Reason::Asked, allowance).await;
                    if let Err(error) = landing.result {
                        self.log(Level::Warn, format!("Logged in, but the first refresh failed: {error}"));
                    }
                }
                Ok(Step::Authenticated)
            }
            Ok(LoginStep::TwoFactor(two_factor)) => {
                *slot = Some(waiting);
                Ok(Step::TwoFactor(two_factor))
            }
            Err(error) => {
                // A code that was wrong, or asked for too soon, or lost on the way, can be given again.
                if waiting.login.two_factor().is_some() && error.code() != ErrorCode::InvalidCredentials {
                    *slot = Some(waiting);
                }
                Err(error)
            }
        };
        let waits = slot.is_some();
        self.update(|snapshot, _| snapshot.login.waits = waits);
        result
    }

    pub(super) async fn store_login(self: &Arc<Self>, hardware_id: &str, grant: &Grant, allowance: &Arc<Allowance>) {
        // From here on the end of the process waits for the write.
        let _write = self.begin_write();
        let raw = grant.refresh_token.expose();
        let login = Box::new(LoggedIn {
            token: RefreshToken::from_raw(raw).rotated(raw, hardware_id),
            hardware_id: hardware_id.to_owned(),
            access: access_of(grant, self.obtained_at(grant, self.parts.clock.wall())),
        });
        let transaction = match self.enter_although_closing(allowance).await {
            Ok(mut transaction) => transaction.accept(&login.token, Origin::Login).await.map(|_| transaction),
            Err(error) => Err(error),
        };
        match transaction {
            Ok(transaction) => {
                transaction.commit(&Outcome::LoggedIn(login)).await;
                self.sync_mirror(allowance).await;
            }
            Err(error) if self.spool_login(&login, &error).await => {
                self.log(Level::Error, format!("Logged in, but the token is only in the spool of this host: {error}"));
                self.sync_mirror(allowance).await;
            }
            Err(error) => {
                // The login is kept in memory. The next call that enters the store writes it.
                self.log(Level::Error, format!("Logged in, but the token is in memory only: {error}"));
                self.update(|snapshot, clock| snapshot.show_unstored(login, error, clock));
                self.keep_storing();
            }
        }
    }

    /// Stores the token of a login if the store could not be entered at that time.
    pub(super) async fn store_unstored(self: &Arc<Self>, allowance: &Arc<Allowance>) {
        if self.snapshot().has_unstored_login()
            && let Ok(transaction) = self.enter_although_closing(allowance).await
        {
            transaction.leave().await;
            self.sync_mirror(allowance).await;
        }
    }

    pub(super) fn keep_storing(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            loop {
                inner.parts.clock.sleep(policy::BETWEEN_WRITES).await;
                inner.store_unstored(&Allowance::new()).await;
                let snapshot = inner.snapshot();
                if snapshot.is_closed() || !snapshot.has_unstored_login() {
                    return;
                }
            }
        });
    }
}
