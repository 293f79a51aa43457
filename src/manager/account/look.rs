//! Reading the mirror, and reporting what is wrong with it.

use tokio::sync::oneshot;

use super::inner::{Inner, broken};
use super::mirror_sync::Problem;
use super::snapshot::read;
use crate::manager::events::Level;
use crate::mirror::{Allowance, Attempts, Follower};
use crate::pasted::Flaw;
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Result, task};

impl Inner {
    /// Reads the token in the mirror. The caller enters the store afterwards.
    pub(in crate::manager) async fn look_into_mirror(&self, allowance: &Allowance) -> Option<RefreshToken> {
        let looked = match self.parts.mirror.clone()? {
            Follower::Place(mirror) => {
                let name = mirror.name();
                self.at_place(&name, allowance, move || mirror.look(Attempts::Several)).await.and_then(|looked| looked)
            }
            Follower::Program(program) => program.load(allowance).await,
        };
        match looked {
            Ok(shown) => {
                self.update(|snapshot, _| {
                    if snapshot.mirror.was_read()
                        && snapshot.nothing_announced()
                        && let Some(shown) = &shown
                    {
                        snapshot.announce(shown.clone());
                    }
                });
                let known = self.snapshot().account().known.clone();
                let read = read(shown.as_ref(), known.as_deref());
                self.note_flaw(read.flaw());
                read.token()
            }
            Err(error) => {
                self.report(error);
                self.snapshot().mirror.could_not_be_read();
                None
            }
        }
    }

    /// Reports why the text in the mirror is no token, once for each reason.
    pub(in crate::manager) fn note_flaw(&self, flaw: Option<Flaw>) {
        if self.snapshot().mirror.flaw_shown == flaw {
            return;
        }
        self.update(|snapshot, _| snapshot.mirror.flaw_shown = flaw);
        if let Some(flaw) = flaw {
            self.log_flaw(flaw);
        }
    }

    pub(in crate::manager) fn log_flaw(&self, flaw: Flaw) {
        let name = self.mirror_name();
        if flaw.is_reference() {
            let rest = if self.parts.store.needs_the_program() {
                "It is used as soon as it is a token."
            } else {
                "It is left alone: the journal keeps the newest token."
            };
            self.log(Level::Info, format!("The refresh token in {name} {}. {rest}", flaw.reason()));
        } else {
            let message = format!(
                "{name} shows something that cannot be a refresh token: it {}. The newest token replaces it as soon as there is one. {}",
                flaw.reason(),
                flaw.advice()
            );
            self.log(Level::Warn, message);
        }
    }

    /// Does a disk call for the mirror. A dead mount never answers, so a caller waits for it only as long as for a program's own code,
    /// and no other call begins until the one that hangs has ended.
    pub(in crate::manager) async fn at_place<T: Send + 'static>(
        &self,
        name: &str,
        allowance: &Allowance,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let silent = || {
            Error::new(
                ErrorCode::Store,
                format!("{name} does not answer. Look whether the drive or network folder that it lies on is there."),
            )
        };
        let turn = self.at_place.take("look", allowance).await.map_err(|_| silent())?;
        let (told, done) = oneshot::channel();
        task::spawn(&self.parts.runtime, async move {
            let result = task::spawn_blocking(work).await;
            drop(turn);
            // The caller may no longer wait for it.
            let _ = told.send(result);
        });
        match allowance.wait(done).await {
            Some(Ok(result)) => result.map_err(|_| broken()),
            Some(Err(_)) => Err(broken()),
            None => Err(silent()),
        }
    }

    /// Reports a problem with the mirror, once.
    pub(in crate::manager) fn report(&self, error: Error) {
        let news = self.snapshot().mirror.error().map(Error::message) != Some(error.message());
        if news {
            let level = if error.code() == ErrorCode::StoreLocked { Level::Warn } else { Level::Error };
            let journal = self.snapshot().status(self.parts.clock.as_ref()).persisted;
            let safe = if journal { " The token itself is safe in the journal." } else { "" };
            self.log(level, format!("{error}{safe} It is tried again."));
            self.update(|snapshot, _| {
                let is_unreadable = snapshot.mirror.problem.take().is_some_and(|problem| problem.is_unreadable);
                snapshot.mirror.problem = Some(Problem { error, is_unreadable });
            });
        }
    }

    pub(in crate::manager) fn mirror_name(&self) -> String {
        self.parts.mirror.as_ref().map(Follower::name).unwrap_or_default()
    }
}
