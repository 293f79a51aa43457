//! The session, which Ring needs of a device before it answers some requests, and which it forgets after some time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::sync::watch;

use super::meaning::{Meaning, asked_to_wait, meaning};
use super::policy::{self, Patience};
use super::{Ends, Failure, Inner, closed, failed};
use crate::http::{API_LIMIT, Answer, Body, Method, Request};
use crate::journal::state::Millis;
use crate::manager::Level;
use crate::{Error, ErrorCode, Result, Secret, task};

/// The API version of a session, as in Ring's app of that time.
const API_VERSION: u32 = 11;

/// The longest sleep by the monotonic clock, which stands still in a suspended machine.
const LONGEST_NAP: Duration = Duration::from_secs(60);

/// The state of the session.
#[derive(Default)]
pub(super) struct Session {
    /// The number of sessions that were made.
    made: u64,
    /// The session that is being made. All requests that need one wait for it.
    flight: Option<Flight>,
    /// The time until which Ring wants no more sessions, by the monotonic clock.
    not_before: Option<Duration>,
    /// The number of times that the waits had been cleared when a task began to renew the session.
    renewed_since: Option<u64>,
}

type Flight = watch::Receiver<Option<Result<Answer, Failure>>>;

impl Inner {
    /// Waits for a session that is being made, and returns how many were made by then. The caller does not need its result, unless the
    /// waits were cleared: then this wait ends, too.
    pub(super) async fn session_under_way(
        self: &Arc<Self>,
        patience: &Patience,
        ends: &watch::Receiver<Ends>,
    ) -> Result<u64> {
        let flight = self.session_state().flight.clone();
        if let Some(flight) = flight
            && let Err(failure) = self.in_time(patience, landing(flight)).await?
            && failure.error.code() == ErrorCode::Aborted
            && ends.has_changed().unwrap_or(true)
        {
            return Err(failure.error);
        }
        Ok(self.session_state().made)
    }

    /// Waits for a newer session than the one that Ring has forgotten.
    pub(super) async fn session_in_time(self: &Arc<Self>, gone: u64, patience: &Patience) -> Result<(), Failure> {
        if let Some(flight) = self.flight(Some(gone)) {
            self.in_time(patience, landing(flight)).await??;
        }
        Ok(())
    }

    /// Makes a session, or joins the one that is being made, and gives Ring's answer.
    pub(super) async fn new_session(self: &Arc<Self>) -> Result<Answer, Failure> {
        match self.flight(None) {
            Some(flight) => landing(flight).await,
            None => Err(closed().into()),
        }
    }

    /// The session that is being made, or a new one; `None` if there is a newer one than `gone`.
    fn flight(self: &Arc<Self>, gone: Option<u64>) -> Option<Flight> {
        let mut session = self.session_state();
        if session.flight.is_some() {
            return session.flight.clone();
        }
        if gone.is_some_and(|gone| session.made > gone) {
            return None;
        }
        let (sender, flight) = watch::channel(None);
        session.flight = Some(flight.clone());
        let inner = Arc::clone(self);
        // This task continues if its caller is dropped.
        task::spawn(&self.manager.parts().runtime, async move {
            let over = Over { inner: &inner };
            let outcome = inner.make_session().await;
            drop(over);
            if let Ok(answer) = &outcome {
                inner.listener.on_session(answer);
                inner.keep_renewed();
            }
            let _ = sender.send(Some(outcome));
        });
        Some(flight)
    }

    /// The time that a caller still has.
    async fn in_time<T>(&self, patience: &Patience, work: impl Future<Output = T>) -> Result<T> {
        let Some(left) = patience.left(self.clock().monotonic()) else { return Ok(work.await) };
        tokio::select! {
            biased;
            outcome = work => Ok(outcome),
            () = self.clock().sleep(left) => Err(Error::new(
                ErrorCode::Timeout,
                "Ring wants a session first, and gives none at the moment. Try again later.",
            )),
        }
    }

    async fn make_session(self: &Arc<Self>) -> Result<Answer, Failure> {
        let mut ends = self.ends.subscribe();
        let mut refused: Option<(Secret, Failure)> = None;
        let mut requests = 0;
        loop {
            self.wait_for_leave(&mut ends).await?;
            let auth = self.manager.auth().await.map_err(Failure::without_token)?;
            if let Some((token, failure)) = refused.take()
                && token == auth.access_token
            {
                return Err(failure);
            }
            let mut headers = self.credentials(&auth);
            headers.push(("accept".into(), "application/json".to_owned()));
            let answer = self
                .send(Request {
                    method: Method::Post,
                    url: self.manager.parts().oauth.endpoints().api.url("/clients_api/session"),
                    headers,
                    body: Some(Body::json(&json!({
                        "device": {
                            "hardware_id": auth.hardware_id,
                            "metadata": { "api_version": API_VERSION, "device_model": self.device_name },
                            "os": "android",
                        },
                    }))),
                    limit: API_LIMIT,
                    timeout: None,
                    enough: None,
                })
                .await?;
            requests += 1;
            let status = answer.status;
            if meaning(&answer, &auth.hardware_id) == Meaning::Fine {
                let mut session = self.session_state();
                session.made += 1;
                session.not_before = None;
                return Ok(answer);
            }
            if status == 429 {
                let asked = asked_to_wait(&answer, SystemTime::now()).unwrap_or(policy::SESSION_RATE_LIMIT);
                // This waits a second more, as ring-client-api does.
                let wait = asked + Duration::from_secs(1);
                self.session_state().not_before = Some(self.clock().monotonic() + wait);
                let seconds = asked.as_secs();
                self.manager.log(
                    Level::Warn,
                    format!("Ring limits how often a session can be made. The next try is in {seconds} seconds."),
                );
            }
            let failure = failed(answer, &auth);
            if requests >= policy::SESSION_REQUESTS || !matches!(status, 401 | 429) {
                return Err(failure);
            }
            if status == 401 {
                self.manager.invalidate_access_token(auth.access_token.expose())?;
                refused = Some((auth.access_token, failure));
            }
        }
    }

    /// Waits until Ring accepts requests for sessions again.
    async fn wait_for_leave(&self, ends: &mut watch::Receiver<Ends>) -> Result<()> {
        let not_before = self.session_state().not_before;
        let left = not_before.unwrap_or_default().saturating_sub(self.clock().monotonic());
        if left > policy::LONGEST_SESSION_WAIT {
            return Err(Error::new(
                ErrorCode::RateLimited,
                "Ring limits how often a session can be made. Wait before trying again.",
            )
            .with_http_status(429)
            .with_retry_after(left));
        }
        self.nap(left, ends).await
    }

    /// Renews the session in time, until the waits are cleared.
    fn keep_renewed(self: &Arc<Self>) {
        let mut ends = self.ends.subscribe();
        let Ends { cleared, closed } = *ends.borrow_and_update();
        if closed || self.session_state().renewed_since.replace(cleared) == Some(cleared) {
            return;
        }
        let (weak, clock) = (Arc::downgrade(self), Arc::clone(self.clock()));
        task::spawn(&self.manager.parts().runtime, async move {
            let mut made = 0;
            let mut began: (Duration, Millis) = (clock.monotonic(), clock.wall());
            let mut wait = policy::BETWEEN_SESSIONS;
            loop {
                {
                    // A client that its program dropped is not kept alive by this task.
                    let Some(inner) = weak.upgrade() else { return };
                    let now = inner.session_state().made;
                    if now != made {
                        (made, began, wait) = (now, (clock.monotonic(), clock.wall()), policy::BETWEEN_SESSIONS);
                    }
                    let by_wall = Duration::from_millis(clock.wall().saturating_sub(began.1));
                    if clock.monotonic().saturating_sub(began.0).max(by_wall) >= wait {
                        if let Err(failure) = inner.new_session().await {
                            let error = failure.error;
                            inner.manager.log(Level::Warn, format!("The session could not be renewed: {error}"));
                            (began, wait) = ((clock.monotonic(), clock.wall()), policy::AFTER_FAILED_RENEWAL);
                        }
                        continue;
                    }
                }
                tokio::select! {
                    biased;
                    _ = ends.changed() => return,
                    () = clock.sleep(LONGEST_NAP) => {}
                }
            }
        });
    }
}

/// Ends the flight when its task ends, even by a panic.
struct Over<'a> {
    inner: &'a Inner,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.inner.session_state().flight = None;
    }
}

async fn landing(mut flight: Flight) -> Result<Answer, Failure> {
    match flight.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
        Ok(Some(outcome)) => outcome,
        // Only the end of the runtime ends its task without a result.
        _ => Err(closed().into()),
    }
}
