//! The mirror follows the journal: written after it, never before, and never over what somebody has just pasted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{MutexGuard, oneshot};

use super::activity::Rotation;
use super::entry::broken;
use super::{Inner, Level};
use crate::journal::Notice;
use crate::journal::state::{Known, State};
use crate::mirror::{Allowance, Decision, Follower, Mirror, Patience, Program, Settled};
use crate::token::RefreshToken;
use crate::{Error, ErrorCode, Result, Secret, task};

/// How long after a write another writer's is looked for.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// How many such looks follow one another where each finds something: two programs must not quarrel for ever.
const MOST_LOOKS: u32 = 5;
/// How often a token that was pasted meanwhile is taken over before the mirror is left for later.
const ROUNDS: u32 = 3;

/// Looks the mirror up at the start, and puts it right; before that, writes what lies in a volatile place alone.
pub(super) fn begin(inner: &Arc<Inner>) {
    inner.view().mirror_due = true;
    let at_most = inner.settings.request_timeout + Duration::from_secs(5);
    let under_way = Rotation::begin(at_most);
    let worker = Arc::clone(inner);
    task::spawn(&inner.parts.runtime, async move {
        // Where the store cannot be entered now, the next call tells why.
        let allowance = Allowance::new();
        let _ = worker.take_over_shown(&allowance).await;
        worker.follow(&allowance).await;
        drop(under_way);
    });
}

/// Lets the mirror follow after a refresh, in a task of its own: whatever becomes of it, the refresh is done.
pub(super) async fn after(inner: &Arc<Inner>, allowance: Arc<Allowance>) {
    if inner.parts.mirror.is_some() {
        let worker = Arc::clone(inner);
        let _ = task::spawn(&inner.parts.runtime, async move { worker.follow(&allowance).await }).await;
    }
}

/// What a look into the mirror, with its lock held, came to.
struct Look {
    settled: Result<Settled>,
    /// Whether something was found that was pasted there.
    pasted: bool,
}

impl Inner {
    /// The token that the mirror shows, for whoever enters the store next.
    pub(super) async fn look_into_mirror(&self, allowance: &Allowance) -> Option<RefreshToken> {
        let looked = match self.parts.mirror.clone()? {
            Follower::Place(mirror) => {
                let name = mirror.name();
                self.at_place(&name, allowance, move || mirror.look(Patience::Some)).await.and_then(|looked| looked)
            }
            Follower::Program(program) => program.load(allowance).await,
        };
        match looked {
            Ok(shown) => {
                let first = self.update(|view, _| {
                    if std::mem::take(&mut view.mirror_unreadable) {
                        view.mirror_problem = None;
                    }
                    let first = std::mem::replace(&mut view.unread, false);
                    if first
                        && view.nothing_announced()
                        && let Some(shown) = &shown
                    {
                        view.announce(shown.clone());
                    }
                    first
                });
                let text = shown?;
                let token = RefreshToken::parse(text.expose());
                if token.is_err() && first {
                    self.log(
                        Level::Warn,
                        format!("{} shows something that cannot be a refresh token.", self.mirror_name()),
                    );
                }
                token.ok()
            }
            Err(error) => {
                {
                    let mut view = self.view();
                    view.mirror_due = true;
                    view.mirror_unreadable = true;
                }
                self.report(error);
                None
            }
        }
    }

    /// Puts the mirror right, if it may be wrong.
    pub(super) async fn follow(self: &Arc<Self>, allowance: &Arc<Allowance>) {
        // Whoever is in the mirror may have taken on what is due here, and has to end first.
        let turn = self.following.lock().await;
        if !self.view().mirror_due {
            return;
        }
        self.view().looks_left = MOST_LOOKS;
        self.put_right(turn, allowance).await;
    }

    /// The last time: what was due, and what would be looked at later.
    pub(super) async fn follow_to_the_end(self: &Arc<Self>, allowance: &Arc<Allowance>) {
        if self.parts.mirror.is_none() {
            return;
        }
        // Whoever is in the mirror now ends first.
        let mut turn = self.following.lock().await;
        let due = {
            let mut view = self.view();
            view.looks_left = 0;
            view.mirror_due | std::mem::take(&mut view.looks_again) | view.mirror_written
        };
        // What a write leaves for the next look is taken away by that one.
        let mut rounds = if due { ROUNDS } else { 0 };
        while rounds > 0 && self.put_right(turn, allowance).await {
            turn = self.following.lock().await;
            rounds -= 1;
        }
    }

    /// Takes the token out of the mirror, for whoever has its turn.
    pub(super) async fn clear_mirror(self: &Arc<Self>) -> Result<()> {
        // There is no way to tell a program to forget, so it keeps what it was last given.
        let Some(Follower::Place(mirror)) = self.parts.mirror.clone() else { return Ok(()) };
        self.view().mirror_due = false;
        let cleared = task::spawn_blocking(move || mirror.settle(&mut |_| Ok(Decision::Clear))).await;
        let settled = cleared.unwrap_or_else(|_| Err(broken()))?;
        self.tell(settled.notices);
        if settled.written {
            // What came out of its place has the token in it.
            self.view().looks_left = MOST_LOOKS;
            self.look_again();
        }
        Ok(())
    }

    /// Says whether that took a write.
    async fn put_right(self: &Arc<Self>, _turn: MutexGuard<'_, ()>, allowance: &Arc<Allowance>) -> bool {
        // Only with the turn: whoever comes later, and finds that nothing is due, must not go on before this ends.
        self.view().mirror_due = false;
        let Some(mirror) = self.parts.mirror.clone() else { return false };
        for _ in 0..ROUNDS {
            let unwritten = self.unwritten().await;
            if unwritten.is_some() && self.parts.store.needs_the_program() {
                // The same code was just asked, and took its time to fail. It is asked again in a moment.
                self.view().mirror_due = true;
                return false;
            }
            let Look { settled, pasted } = match &mirror {
                Follower::Place(mirror) => self.settle(Arc::clone(mirror), unwritten, allowance).await,
                Follower::Program(program) => self.settle_program(program, unwritten, allowance).await,
            };
            // The token of the options waited for the program's first answer, which has come.
            let is_awaited = settled.is_ok() && self.view().awaits_first_answer();
            if (pasted || is_awaited) && self.take_over_shown(allowance).await.is_ok() {
                continue;
            }
            match settled {
                Ok(settled) => {
                    self.tell_once(settled.notices);
                    self.update(|view, _| {
                        view.mirror_problem = None;
                        view.mirror_unreadable = false;
                        view.mirror_written = settled.written;
                    });
                    if settled.written {
                        self.look_again();
                    }
                    return settled.written;
                }
                Err(error) => {
                    self.view().mirror_due = true;
                    self.report(error);
                    match &mirror {
                        Follower::Program(program) if program.is_running() => {
                            let program = Arc::clone(program);
                            self.follow_after(async move { program.settled().await });
                        }
                        Follower::Place(_) if self.at_place.is_taken() => {
                            let turns = self.at_place.clone();
                            self.follow_after(async move { turns.free().await });
                        }
                        _ => self.look_again(),
                    }
                    return false;
                }
            }
        }
        false
    }

    /// Enters the store, which takes over what the mirror shows, and leaves it again.
    async fn take_over_shown(self: &Arc<Self>, allowance: &Arc<Allowance>) -> Result<()> {
        let entered = self.enter(allowance).await?;
        self.adopt(&entered.state);
        self.leave(entered).await;
        Ok(())
    }

    async fn settle(&self, mirror: Arc<dyn Mirror>, unwritten: Option<State>, allowance: &Allowance) -> Look {
        let store = Arc::clone(&self.parts.store);
        let known = self.view().known.clone();
        let name = mirror.name();
        let work = move || {
            let mut pasted = false;
            let settled = mirror.settle(&mut |shown| {
                // With what is kept at this moment: somebody else may have rotated since.
                let kept = if unwritten.is_some() { unwritten.clone() } else { store.peek()? };
                let state = or_known(kept, known.as_deref());
                let (decision, is_new) = decide(state.as_ref(), shown);
                pasted = is_new;
                Ok(decision)
            });
            Look { settled, pasted }
        };
        let look = self.at_place(&name, allowance, work).await;
        look.unwrap_or_else(|error| Look { settled: Err(error), pasted: false })
    }

    /// Does something where the mirror lies. A mount that has gone never answers: a call waits for it as for a program's own
    /// code, and nothing else is begun there until what hangs has ended.
    async fn at_place<T: Send + 'static>(
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
            let outcome = task::spawn_blocking(work).await;
            drop(turn);
            // Whoever waited for it may have gone on without.
            let _ = told.send(outcome);
        });
        match allowance.wait(done).await {
            Some(Ok(outcome)) => outcome.map_err(|_| broken()),
            Some(Err(_)) => Err(broken()),
            None => Err(silent()),
        }
    }

    async fn settle_program(&self, program: &Arc<Program>, unwritten: Option<State>, allowance: &Allowance) -> Look {
        let mut look = Look { settled: Ok(Settled::default()), pasted: false };
        look.settled = self.try_settle_program(program, unwritten, allowance, &mut look.pasted).await;
        look
    }

    async fn try_settle_program(
        &self,
        program: &Arc<Program>,
        unwritten: Option<State>,
        allowance: &Allowance,
        pasted: &mut bool,
    ) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut shown = match program.load(allowance).await {
            Ok(shown) => shown,
            Err(error) => {
                if program.is_running()
                    && let Ok(Some(state)) = self.peek().await
                    && let Some(held) = &state.current
                {
                    // What runs may end after this manager.
                    program.want(&held.token.wrapped());
                }
                return Err(error);
            }
        };
        // Again if there is something newer to show after a save: a program may take its time.
        for _ in 0..ROUNDS {
            let kept = if unwritten.is_some() { unwritten.clone() } else { self.peek().await? };
            let state = or_known(kept, self.view().known.as_deref());
            let (decision, is_new) = decide(state.as_ref(), shown.as_ref());
            *pasted = is_new;
            let Decision::Show(token) = decision else { break };
            program.save(&token, allowance).await?;
            settled.written = true;
            shown = Some(token);
        }
        Ok(settled)
    }

    /// Something takes longer than a call waits for it. What is due is done when that has ended, even if no rotation comes
    /// before the next start.
    fn follow_after(self: &Arc<Self>, ended: impl Future<Output = ()> + Send + 'static) {
        if std::mem::replace(&mut self.view().follows_later, true) {
            return;
        }
        // That may be never, and a manager that nobody has any more is not kept for it.
        let inner = Arc::downgrade(self);
        task::spawn(&self.parts.runtime, async move {
            ended.await;
            let Some(inner) = inner.upgrade() else { return };
            let closed = {
                let mut view = inner.view();
                view.follows_later = false;
                view.closed
            };
            if !closed {
                inner.follow(&Allowance::new()).await;
            }
        });
    }

    /// Says what is wrong with the mirror, once.
    fn report(&self, error: Error) {
        let news = self.view().mirror_problem.as_ref().map(Error::message) != Some(error.message());
        if news {
            let level = if error.code() == ErrorCode::StoreLocked { Level::Warn } else { Level::Error };
            let journal = self.view().status(self.parts.clock.as_ref()).persisted;
            let safe = if journal { " The token itself is safe in the journal." } else { "" };
            self.log(level, format!("{error}{safe} It is tried again."));
            self.update(|view, _| view.mirror_problem = Some(error));
        }
    }

    /// Each sentence once: how a file has to be written does not change from one rotation to the next.
    pub(super) fn tell_once(&self, mut notices: Vec<Notice>) {
        let mut view = self.view();
        notices.retain(|notice| !view.told.contains(notice));
        view.told.extend(notices.iter().cloned());
        drop(view);
        self.tell(notices);
    }

    fn mirror_name(&self) -> String {
        self.parts.mirror.as_ref().map(Follower::name).unwrap_or_default()
    }

    /// Somebody else may be writing the same place: a second later it is looked at once more.
    fn look_again(self: &Arc<Self>) {
        {
            let mut view = self.view();
            if view.closing || view.looks_again || view.looks_left == 0 {
                return;
            }
            view.looks_left -= 1;
            view.looks_again = true;
        }
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            inner.parts.clock.sleep(SECOND_LOOK).await;
            let due = {
                let mut view = inner.view();
                std::mem::take(&mut view.looks_again) && !view.closed
            };
            if due {
                inner.look_once_more().await;
            }
        });
    }

    pub(super) async fn look_once_more(self: &Arc<Self>) {
        let turn = self.following.lock().await;
        self.put_right(turn, &Allowance::new()).await;
    }
}

/// What a mirror shows, beside what is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The newest token, as the journal has it.
    Newest,
    /// No token.
    Nothing,
    /// Something that cannot be a token.
    Nonsense,
    /// An old copy, which is put right.
    Old,
    /// A token that the journal does not know: it has just been pasted, and is taken over.
    New,
}

impl Shown {
    /// Looks up what a mirror shows.
    pub fn beside(state: Option<&State>, shown: Option<&Secret>) -> Self {
        let Some(text) = shown.filter(|text| !text.expose().trim().is_empty()) else { return Self::Nothing };
        let token = RefreshToken::parse(text.expose()).ok();
        let Some((state, held)) = state.and_then(|state| Some((state, state.current.as_ref()?))) else {
            return if token.is_some() { Self::New } else { Self::Nonsense };
        };
        if *text == held.token.wrapped() {
            return Self::Newest;
        }
        let Some(token) = token else { return Self::Nonsense };
        let is_new = match state.recognise(token.fingerprint()) {
            Known::Unknown => true,
            // The same token with other push credentials, which somebody else wrote.
            Known::Current => !state.had_wrapping(&token) && state.clone().rewrap(&token),
            Known::Aside | Known::Former | Known::Rejected => false,
        };
        if is_new { Self::New } else { Self::Old }
    }
}

/// What is kept; what is known here if the journal is gone although nobody logged out.
fn or_known(kept: Option<State>, known: Option<&State>) -> Option<State> {
    match known {
        Some(known) if known.current.is_some() && kept.as_ref().is_none_or(State::lacks_its_token) => {
            Some(known.clone())
        }
        _ => kept,
    }
}

/// What becomes of what a mirror shows, and whether that has just been pasted.
fn decide(state: Option<&State>, shown: Option<&Secret>) -> (Decision, bool) {
    let newest = state.and_then(|state| state.current.as_ref()).map(|held| held.token.wrapped());
    match (Shown::beside(state, shown), newest) {
        (Shown::New, _) => (Decision::Leave, true),
        (Shown::Nothing | Shown::Nonsense | Shown::Old, Some(newest)) => (Decision::Show(newest), false),
        // Nothing is known but what stands there.
        _ => (Decision::Leave, false),
    }
}
