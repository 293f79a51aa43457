//! Writing the mirror: after the journal, and never over a token that was just pasted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::MutexGuard;

use super::account::inner::{Inner, broken};
use super::account::stored::Stored;
use super::activity::Rotation;
use super::shown::{Shown, decide, or_known};
use crate::journal::state::State;
use crate::mirror::{Allowance, Decision, Follower, Mirror, Program, Reconciled};
use crate::task::BoxFuture;
use crate::token::RefreshToken;
use crate::{Result, task};

/// The wait after a write before the mirror is read again: another program may have written it, too.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// The number of such reads in a row if each one leads to a write: two programs must not overwrite each other forever.
const MOST_LOOKS: u32 = 5;
/// How often the manager takes over a token that was pasted meanwhile before it leaves the mirror for later.
const ROUNDS: u32 = 3;

/// Reads the mirror at the start, and updates it. Before that, writes a state that lies only in a volatile place.
pub(super) fn at_start(inner: &Arc<Inner>) {
    inner.snapshot().mirror.wake();
    let at_most = inner.settings.request_timeout + Duration::from_secs(5);
    let under_way = Rotation::begin(at_most);
    let worker = Arc::clone(inner);
    task::spawn(&inner.parts.runtime, async move {
        // If the store cannot be entered now, the next call reports the reason.
        let allowance = Allowance::new();
        let _ = worker.take_over_shown(&allowance).await;
        worker.sync_mirror(&allowance).await;
        drop(under_way);
    });
}

/// Updates the mirror after a refresh, in a task of its own: the refresh is done even if that fails.
pub(super) async fn after(inner: &Arc<Inner>, allowance: Arc<Allowance>) {
    if inner.parts.mirror.is_some() {
        let worker = Arc::clone(inner);
        let _ = task::spawn(&inner.parts.runtime, async move { worker.sync_mirror(&allowance).await }).await;
    }
}

/// The result of an update of the mirror under its lock.
struct Look {
    reconciled: Result<Reconciled>,
    /// What the mirror showed, if it could be read.
    shown: Option<Shown>,
}

impl Inner {
    /// Updates the mirror if it may be out of date.
    pub(super) async fn sync_mirror(self: &Arc<Self>, allowance: &Arc<Allowance>) {
        // Another task in the mirror may be doing what is due, so it ends first.
        let turn = self.following.lock().await;
        if !self.snapshot().mirror.due {
            return;
        }
        self.snapshot().mirror.looks.left = MOST_LOOKS;
        self.reconcile(turn, allowance).await;
    }

    /// Updates the mirror before the manager is closed, and does the reads at once that would come later.
    pub(super) async fn sync_mirror_at_the_end(self: &Arc<Self>, allowance: &Arc<Allowance>) {
        if self.parts.mirror.is_none() {
            return;
        }
        // Another task in the mirror ends first.
        let mut turn = self.following.lock().await;
        let due = self.snapshot().mirror.ends();
        // A file that a write leaves behind is removed by the next read.
        let mut rounds = if due { ROUNDS } else { 0 };
        while rounds > 0 && self.reconcile(turn, allowance).await {
            turn = self.following.lock().await;
            rounds -= 1;
        }
    }

    /// Writes a token into the mirror.
    pub(super) async fn show(&self, token: &RefreshToken) -> Result<()> {
        let Some(Follower::Place(mirror)) = self.parts.mirror.clone() else { return Err(broken()) };
        let token = token.wrapped();
        let _turn = self.following.lock().await;
        let shown = task::spawn_blocking(move || mirror.reconcile(&mut |_| Ok(Decision::Show(token.clone())))).await;
        self.log_notices(shown.unwrap_or_else(|_| Err(broken()))?.notices);
        Ok(())
    }

    /// Removes the token from the mirror. The caller holds the lock of `following`.
    pub(super) async fn clear_mirror(self: &Arc<Self>) -> Result<()> {
        // A program's own store has no call for that, so it keeps the last token.
        let Some(Follower::Place(mirror)) = self.parts.mirror.clone() else { return Ok(()) };
        self.snapshot().mirror.due = false;
        let cleared =
            task::spawn_blocking(move || mirror.reconcile(&mut |shown| Ok(Shown::beside(None, shown).cleared()))).await;
        let reconciled = cleared.unwrap_or_else(|_| Err(broken()))?;
        self.log_notices(reconciled.notices);
        if reconciled.written {
            self.snapshot().mirror.flaw_shown = None;
            // The replaced file still contains the token, until the next read removes it.
            self.snapshot().mirror.looks.left = MOST_LOOKS;
            self.look_again();
        }
        Ok(())
    }

    /// Updates the mirror. Returns whether that took a write. The future is boxed here, because the addon's crate would otherwise compile
    /// all of it a second time.
    fn reconcile<'a>(
        self: &'a Arc<Self>,
        turn: MutexGuard<'a, ()>,
        allowance: &'a Arc<Allowance>,
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.reconcile_with(turn, allowance))
    }

    async fn reconcile_with(self: &Arc<Self>, _turn: MutexGuard<'_, ()>, allowance: &Arc<Allowance>) -> bool {
        // This needs the lock: a task that comes later and finds that nothing is due must not continue before this ends.
        self.snapshot().mirror.due = false;
        let Some(mirror) = self.parts.mirror.clone() else { return false };
        for _ in 0..ROUNDS {
            let unwritten = self.unwritten().await;
            if unwritten.is_some() && self.parts.store.needs_the_program() {
                // The program's `save` has just failed, and took its time. It is called again in a moment.
                self.snapshot().mirror.wake();
                return false;
            }
            let Look { reconciled, shown } = match &mirror {
                Follower::Place(mirror) => self.reconcile_place(Arc::clone(mirror), unwritten, allowance).await,
                Follower::Program(program) => self.reconcile_program(program, unwritten, allowance).await,
            };
            if let Some(shown) = shown {
                self.note_flaw(shown.flaw());
            }
            let pasted = shown == Some(Shown::New);
            // The token of the options waited for the first answer of the program's `load`, which is here now.
            let is_awaited = reconciled.is_ok() && self.snapshot().awaits_first_answer();
            if (pasted || is_awaited) && self.take_over_shown(allowance).await.is_ok() {
                continue;
            }
            match reconciled {
                Ok(reconciled) => {
                    self.log_once(reconciled.notices);
                    self.update(|snapshot, _| snapshot.mirror.is_right(reconciled.written));
                    if reconciled.written {
                        self.look_again();
                    }
                    return reconciled.written;
                }
                Err(error) => {
                    self.snapshot().mirror.wake();
                    self.report(error);
                    match &mirror {
                        Follower::Program(program) if program.is_running() => {
                            let program = Arc::clone(program);
                            self.sync_mirror_after(async move { program.settled().await });
                        }
                        Follower::Place(_) if self.at_place.is_taken() => {
                            let turns = self.at_place.clone();
                            self.sync_mirror_after(async move { turns.free().await });
                        }
                        _ => self.look_again(),
                    }
                    return false;
                }
            }
        }
        false
    }

    /// Enters the store, which takes over a new token of the mirror, and leaves it.
    async fn take_over_shown(self: &Arc<Self>, allowance: &Arc<Allowance>) -> Result<()> {
        let transaction = self.enter(allowance).await?;
        transaction.adopt_read();
        transaction.leave().await;
        Ok(())
    }

    async fn reconcile_place(&self, mirror: Arc<dyn Mirror>, unwritten: Option<State>, allowance: &Allowance) -> Look {
        let store = Arc::clone(&self.parts.store);
        let known = self.snapshot().account().known.clone();
        let name = mirror.name();
        let work = move || {
            let mut found = None;
            let reconciled = mirror.reconcile(&mut |shown| {
                // This reads the journal now, because another process may have rotated since.
                let kept = if unwritten.is_some() { unwritten.clone() } else { store.peek()? };
                let state = or_known(kept, known.as_deref());
                let (decision, shown) = decide(state.as_ref(), shown);
                found = Some(shown);
                Ok(decision)
            });
            Look { reconciled, shown: found }
        };
        let look = self.at_place(&name, allowance, work).await;
        look.unwrap_or_else(|error| Look { reconciled: Err(error), shown: None })
    }

    async fn reconcile_program(&self, program: &Arc<Program>, unwritten: Option<State>, allowance: &Allowance) -> Look {
        let mut look = Look { reconciled: Ok(Reconciled::default()), shown: None };
        look.reconciled = self.try_reconcile_program(program, unwritten, allowance, &mut look.shown).await;
        look
    }

    async fn try_reconcile_program(
        &self,
        program: &Arc<Program>,
        unwritten: Option<State>,
        allowance: &Allowance,
        found: &mut Option<Shown>,
    ) -> Result<Reconciled> {
        let mut reconciled = Reconciled::default();
        let mut shown = match program.load(allowance).await {
            Ok(shown) => shown,
            Err(error) => {
                if program.is_running()
                    && let Ok(Some(state)) = self.peek().await
                    && let Some(stored) = state.current()
                {
                    // The call under way may end after this manager.
                    program.want(&stored.token.wrapped());
                }
                return Err(error);
            }
        };
        // A `save` may take long, so a newer token is saved after it.
        for _ in 0..ROUNDS {
            let kept = if unwritten.is_some() { unwritten.clone() } else { self.peek().await?.map(Stored::into_state) };
            let state = or_known(kept, self.snapshot().account().known.as_deref());
            let (decision, is) = decide(state.as_ref(), shown.as_ref());
            // The user should hear of the text before the first `save`.
            if found.is_none_or(|found| found.flaw().is_none()) {
                *found = Some(is);
            }
            let Decision::Show(token) = decision else { break };
            program.save(&token, allowance).await?;
            reconciled.written = true;
            shown = Some(token);
        }
        Ok(reconciled)
    }

    /// Updates the mirror after `ended`: a call of the program or of the disk takes longer than a caller waits. So the update does not
    /// depend on another rotation.
    fn sync_mirror_after(self: &Arc<Self>, ended: impl Future<Output = ()> + Send + 'static) {
        if std::mem::replace(&mut self.snapshot().mirror.looks.waits, true) {
            return;
        }
        // That may be never. A manager that its program dropped is not kept alive by this task.
        let inner = Arc::downgrade(self);
        task::spawn(&self.parts.runtime, async move {
            ended.await;
            let Some(inner) = inner.upgrade() else { return };
            let closed = {
                let mut snapshot = inner.snapshot();
                snapshot.mirror.looks.waits = false;
                snapshot.is_closed()
            };
            if !closed {
                inner.sync_mirror(&Allowance::new()).await;
            }
        });
    }

    /// Reads the mirror again a second later: another program may be writing it, too.
    fn look_again(self: &Arc<Self>) {
        {
            let mut snapshot = self.snapshot();
            if snapshot.is_closing() || !snapshot.mirror.takes_look() {
                return;
            }
        }
        let inner = Arc::clone(self);
        task::spawn(&self.parts.runtime, async move {
            inner.parts.clock.sleep(SECOND_LOOK).await;
            let due = {
                let mut snapshot = inner.snapshot();
                std::mem::take(&mut snapshot.mirror.looks.to_come) && !snapshot.is_closed()
            };
            if due {
                inner.look_once_more().await;
            }
        });
    }

    pub(super) async fn look_once_more(self: &Arc<Self>) {
        let turn = self.following.lock().await;
        self.reconcile(turn, &Allowance::new()).await;
    }
}
