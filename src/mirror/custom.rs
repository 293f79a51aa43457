//! A program's own `load` and `save`, which keep the token: with a journal, or alone.
//!
//! No thread waits for them. They never run at the same time: a call begins when the previous one has settled, however late
//! that is. [`Allowance`] limits how long a caller waits, but not how long a call runs.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::redact::without_tokens;
use super::turns::{Allowance, Turn, Turns};
use crate::journal::state::State;
use crate::journal::{Guard, Key, KeySource, MemoryStore, Stamp, Store};
use crate::{Error, ErrorCode, Result, Secret, task};

const NAME: &str = "The store's own code";
const LOAD: &str = "load";
const SAVE: &str = "save";

/// The result of a function of the program, which may never come. The error is the text of the program, which may contain a
/// token.
pub type ProgramFuture<T> = Pin<Box<dyn Future<Output = Result<T, Secret>> + Send>>;

/// How long a program's function for the key may take.
const LONGEST_FOR_KEY: Duration = Duration::from_secs(10);

/// A key that a program's own function returns. The function runs on this thread, so this thread never waits for it.
pub fn key_of_program(
    ask: impl Fn() -> ProgramFuture<Option<Secret>> + Send + Sync + 'static,
    runtime: Handle,
) -> KeySource {
    KeySource::asking_this_thread(move || {
        let (answer, answered) = std::sync::mpsc::channel();
        let asking = ask();
        drop(task::spawn(&runtime, async move {
            // The caller may have stopped waiting.
            let _ = answer.send(asking.await);
        }));
        match answered.recv_timeout(LONGEST_FOR_KEY) {
            Ok(Ok(text)) => Key::expect(text.as_ref().map_or("", Secret::expose), "What the store's own key gave"),
            Ok(Err(why)) => Err(no_key(&format!("failed ({})", why.expose()))),
            Err(_) => Err(no_key(&format!("did not answer within {} s", LONGEST_FOR_KEY.as_secs()))),
        }
    })
}

fn no_key(what: &str) -> Error {
    Error::new(ErrorCode::Store, format!("The store's own key {what}. It is asked again at the next call."))
}

/// The two functions of a program that keeps its token itself. [`Program`] calls them one at a time.
pub trait CustomStore: Send + Sync + 'static {
    /// Returns the token that the program keeps; `None` if it has none.
    fn load(&self) -> ProgramFuture<Option<Secret>>;

    /// Passes the newest token and the previous one to the program.
    fn save(&self, new: &Secret, old: Option<&Secret>) -> ProgramFuture<()>;
}

/// The tokens of a program, as far as this process knows them.
#[derive(Default)]
struct Known {
    /// The token that it has.
    kept: Option<Secret>,
    /// The newest token that it should have.
    wanted: Option<Secret>,
}

/// A program's functions, called one at a time.
pub struct Program {
    functions: Arc<dyn CustomStore>,
    known: Mutex<Known>,
    turns: Turns,
    replaces_journal: bool,
}

impl Program {
    /// A program's functions in front of a journal.
    pub fn before_a_journal(functions: Arc<dyn CustomStore>) -> Arc<Self> {
        Arc::new(Self { functions, known: Mutex::default(), turns: Turns::default(), replaces_journal: false })
    }

    /// A program's functions instead of a journal, for tokens of that issuer. The state is in memory.
    pub fn without_a_journal(functions: Arc<dyn CustomStore>, issuer: &str) -> (ProgramStore, Arc<Self>) {
        let program = Self { functions, known: Mutex::default(), turns: Turns::default(), replaces_journal: true };
        (ProgramStore { memory: MemoryStore::new(issuer) }, Arc::new(program))
    }

    /// Whether `save` is the durable write, because there is no journal.
    pub fn replaces_journal(&self) -> bool {
        self.replaces_journal
    }

    /// The name of the program in messages.
    pub fn name(&self) -> String {
        NAME.to_owned()
    }

    /// Returns the token that the program keeps; `None` if it has none.
    ///
    /// # Errors
    ///
    /// `STORE` if the function failed, or has not settled within the allowance.
    pub async fn load(self: &Arc<Self>, allowance: &Allowance) -> Result<Option<Secret>> {
        if allowance.is_over() {
            return Err(late(LOAD));
        }
        let turn = self.turn(LOAD, allowance).await?;
        let (answer, answered) = oneshot::channel();
        let program = Arc::clone(self);
        task::spawn(&Handle::current(), async move {
            let had = program.known().kept.clone();
            let loaded = program.run_load().await;
            let is_unchanged = loaded.as_ref().is_ok_and(|loaded| loaded.is_none() || *loaded == had);
            if answer.send(loaded).is_err() && is_unchanged {
                program.save_what_waited(&turn).await;
            }
            drop(turn);
        });
        answer_of(LOAD, allowance, answered).await
    }

    /// Passes this token to the program, unless the program has it already.
    ///
    /// # Errors
    ///
    /// `STORE` if the function failed, or has not settled within the allowance. As soon as a call that took longer has
    /// settled, the newest token is saved again.
    pub async fn save(self: &Arc<Self>, token: &Secret, allowance: &Allowance) -> Result<()> {
        self.want(token);
        let turn = self.turn(SAVE, allowance).await?;
        if self.known().kept.as_ref() == Some(token) {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let (program, token) = (Arc::clone(self), token.clone());
        task::spawn(&Handle::current(), async move {
            let saved = program.run_save(&token).await;
            if answer.send(saved).is_err() {
                program.save_again(&turn).await;
            }
            drop(turn);
        });
        answer_of(SAVE, allowance, answered).await
    }

    /// Saves this token when the running call has settled, if its caller has stopped waiting by then.
    pub fn want(&self, token: &Secret) {
        self.known().wanted = Some(token.clone());
    }

    /// Whether a call has not settled yet.
    pub fn is_running(&self) -> bool {
        self.turns.is_taken()
    }

    /// Waits until the running call has settled, if there is one.
    pub async fn settled(&self) {
        self.turns.free().await;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn turn(&self, name: &'static str, allowance: &Allowance) -> Result<Turn> {
        self.turns.take(name, allowance).await.map_err(|running| busy(running, name))
    }

    async fn run_load(&self) -> Result<Option<Secret>> {
        let loaded = self.functions.load().await.map_err(|words| self.failed(LOAD, &words, None))?;
        let loaded = loaded.filter(|text| !text.expose().trim().is_empty());
        self.known().kept.clone_from(&loaded);
        Ok(loaded)
    }

    async fn run_save(&self, token: &Secret) -> Result<()> {
        let old = self.known().kept.clone();
        let saved = self.functions.save(token, old.as_ref()).await;
        saved.map_err(|words| self.failed(SAVE, &words, Some(token)))?;
        self.known().kept = Some(token.clone());
        Ok(())
    }

    /// Saves the newest token again after a `save` whose caller has stopped waiting, and then only if there is a newer one. A
    /// failure is left to the next call.
    async fn save_again(&self, turn: &Turn) {
        let mut last = None;
        loop {
            let newest = self.known().wanted.clone();
            if newest == last {
                return;
            }
            if let Some(newest) = &newest {
                turn.begins(SAVE);
                // No caller waits for a failure: the next call tries again.
                let _ = self.run_save(newest).await;
            }
            last = newest;
        }
    }

    /// Saves what could not be saved during a `load` whose caller has stopped waiting, if it returned the known token. The
    /// manager does that as well, unless it was closed.
    async fn save_what_waited(&self, turn: &Turn) {
        let waits = {
            let known = self.known();
            known.wanted.is_some() && known.wanted != known.kept
        };
        if waits {
            self.save_again(turn).await;
        }
    }

    /// The error of a failed function, with the text of the program without the tokens in it.
    fn failed(&self, name: &str, words: &Secret, token: Option<&Secret>) -> Error {
        let known = self.known();
        let why =
            without_tokens(words.expose(), [token, known.kept.as_ref(), known.wanted.as_ref()].into_iter().flatten());
        drop(known);
        let why = why.trim_end_matches(['.', ' ']);
        Error::new(ErrorCode::Store, format!("The store's own {name} failed: {why}. Fix it; it is called again later."))
            .with_cause(why)
    }
}

async fn answer_of<T>(name: &str, allowance: &Allowance, answered: oneshot::Receiver<Result<T>>) -> Result<T> {
    match allowance.wait(answered).await {
        Some(Ok(answer)) => answer,
        // The task ended without an answer, which happens only at the end of the runtime or after a panic.
        Some(Err(_)) => Err(Error::new(ErrorCode::Store, format!("The store's own {name} was interrupted."))),
        None => Err(late(name)),
    }
}

fn late(name: &str) -> Error {
    Error::new(
        ErrorCode::Store,
        format!(
            "The store's own {name} did not end in time: a call waits for the store's own code for 10 seconds in all. Look for what {name} waits for; it is not called again before it has ended."
        ),
    )
}

fn busy(running: &str, name: &str) -> Error {
    Error::new(
        ErrorCode::Store,
        format!(
            "The store's own {running} has not ended yet, so {name} was not called. It is called as soon as {running} has ended. Look for what {running} waits for."
        ),
    )
}

/// The store of a manager whose token only a program keeps: the state is in memory, and `save` is called for each new token.
/// Only what the program saves outlives the process, and nothing protects from other processes.
pub struct ProgramStore {
    memory: MemoryStore,
}

impl Store for ProgramStore {
    fn peek(&self) -> Result<Option<State>> {
        self.memory.peek()
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        self.memory.try_lock()
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn needs_the_program(&self) -> bool {
        true
    }

    fn name(&self) -> String {
        NAME.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;

    type Saves = Vec<(Secret, Option<Secret>)>;

    /// Records every call, and hangs or fails if told to.
    #[derive(Clone, Default)]
    struct Functions(Arc<Inside>);

    #[derive(Default)]
    struct Inside {
        has: Mutex<Option<Secret>>,
        loads: Mutex<usize>,
        saves: Mutex<Saves>,
        fails: Mutex<Option<String>>,
        /// What the next calls wait for.
        hangs: Mutex<Option<Arc<Notify>>>,
        running: Mutex<(usize, usize)>,
    }

    impl Functions {
        fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inside) -> T + Send + 'static) -> ProgramFuture<T> {
            let inside = Arc::clone(&self.0);
            let hangs = inside.hangs.lock().unwrap().clone();
            Box::pin(async move {
                {
                    let mut running = inside.running.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.1.max(running.0);
                }
                if let Some(hangs) = hangs {
                    hangs.notified().await;
                }
                inside.running.lock().unwrap().0 -= 1;
                match inside.fails.lock().unwrap().clone() {
                    Some(words) => Err(words.into()),
                    None => Ok(work(&inside)),
                }
            })
        }

        fn hang(&self) -> Arc<Notify> {
            let hangs = Arc::new(Notify::new());
            *self.0.hangs.lock().unwrap() = Some(Arc::clone(&hangs));
            hangs
        }

        fn hang_no_more(&self) {
            *self.0.hangs.lock().unwrap() = None;
        }

        fn saved(&self) -> Vec<String> {
            self.0.saves.lock().unwrap().iter().map(|(new, _)| new.expose().to_owned()).collect()
        }

        fn begun(&self) -> usize {
            self.0.running.lock().unwrap().0
        }

        fn at_once(&self) -> usize {
            self.0.running.lock().unwrap().1
        }
    }

    impl CustomStore for Functions {
        fn load(&self) -> ProgramFuture<Option<Secret>> {
            *self.0.loads.lock().unwrap() += 1;
            self.run(|inside| inside.has.lock().unwrap().clone())
        }

        fn save(&self, new: &Secret, old: Option<&Secret>) -> ProgramFuture<()> {
            let (new, old) = (new.clone(), old.cloned());
            self.run(move |inside| {
                inside.saves.lock().unwrap().push((new.clone(), old));
                *inside.has.lock().unwrap() = Some(new);
            })
        }
    }

    fn program() -> (Functions, Arc<Program>) {
        let functions = Functions::default();
        let program = Program::before_a_journal(Arc::new(functions.clone()));
        (functions, program)
    }

    async fn save(program: &Arc<Program>, token: &str) -> Result<()> {
        program.save(&Secret::from(token), &Allowance::new()).await
    }

    /// Lets all tasks run that do not wait for time to pass.
    async fn run_until_idle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_is_given_each_token_once_and_what_it_had() {
        let (functions, program) = program();
        for token in ["one", "one", "two"] {
            save(&program, token).await.unwrap();
        }
        let (one, two) = (Secret::from("one"), Secret::from("two"));
        assert_eq!(*functions.0.saves.lock().unwrap(), [(one.clone(), None), (two.clone(), Some(one))]);
        assert_eq!(program.load(&Allowance::new()).await.unwrap(), Some(two));
        // A token that it has is not saved again.
        *functions.0.has.lock().unwrap() = Some("three".into());
        program.load(&Allowance::new()).await.unwrap();
        save(&program, "three").await.unwrap();
        assert_eq!(functions.saved(), ["one", "two"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_held_for_ten_seconds_in_all() {
        let (functions, program) = program();
        let hangs = functions.hang();
        let (began, allowance) = (Instant::now(), Allowance::new());
        tokio::spawn({
            let hangs = Arc::clone(&hangs);
            async move {
                tokio::time::sleep(Duration::from_secs(7)).await;
                hangs.notify_one();
            }
        });
        program.load(&allowance).await.unwrap();
        assert!(program.save(&"new".into(), &allowance).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 10);
        // A third save is not made.
        assert!(program.load(&allowance).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 10);
        assert_eq!((*functions.0.loads.lock().unwrap(), functions.begun()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_started_once_and_waited_for_once() {
        let (functions, program) = program();
        functions.hang();
        let began = Instant::now();
        for token in ["one", "two", "three"] {
            let error = save(&program, token).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Store);
        }
        assert!(program.load(&Allowance::new()).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 10);
        assert_eq!((functions.begun(), functions.at_once()), (1, 1));
        assert!(program.is_running());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_late_save_the_newest_token_is_saved_again() {
        let (functions, program) = program();
        let hangs = functions.hang();
        for token in ["one", "two", "three"] {
            assert!(save(&program, token).await.is_err());
        }
        functions.hang_no_more();
        hangs.notify_one();
        program.settled().await;
        assert_eq!(functions.saved(), ["one", "three"]);
        assert_eq!(functions.0.saves.lock().unwrap()[1].1, Some("one".into()), "what it had");
        assert_eq!(functions.at_once(), 1);
        save(&program, "three").await.unwrap();
        assert_eq!(functions.saved(), ["one", "three"], "it is known to have it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_save_that_fails_is_repeated_and_one_that_is_always_late_ends() {
        let (functions, program) = program();
        let hangs = functions.hang();
        assert!(save(&program, "one").await.is_err());
        *functions.0.fails.lock().unwrap() = Some("too slow".into());
        hangs.notify_one();
        run_until_idle().await;
        // The second try has begun, and hangs as well.
        assert_eq!(functions.begun(), 1);
        *functions.0.fails.lock().unwrap() = None;
        hangs.notify_one();
        program.settled().await;
        assert_eq!(functions.saved(), ["one"]);
        assert!(save(&program, "two").await.is_err());
        for _ in 0..5 {
            hangs.notify_one();
            run_until_idle().await;
        }
        assert_eq!(functions.saved(), ["one", "two", "two"]);
        assert!(!program.is_running());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_late_load_what_waited_is_saved_but_not_over_a_token_that_was_pasted() {
        for (has, saved) in
            [(Some("one"), vec!["one", "two"]), (None, vec!["one", "two"]), (Some("pasted"), vec!["one"])]
        {
            let (functions, program) = program();
            save(&program, "one").await.unwrap();
            let hangs = functions.hang();
            assert!(program.load(&Allowance::new()).await.is_err());
            assert!(save(&program, "two").await.is_err());
            *functions.0.has.lock().unwrap() = has.map(Secret::from);
            functions.hang_no_more();
            hangs.notify_one();
            program.settled().await;
            assert_eq!(functions.saved(), saved, "{has:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_reported_without_the_token() {
        let (functions, program) = program();
        save(&program, "the-first-token").await.unwrap();
        let quoted = "duplicate key: the-first-token, the-second-token. ";
        *functions.0.fails.lock().unwrap() = Some(quoted.to_owned());
        let error = save(&program, "the-second-token").await.unwrap_err();
        assert_eq!(
            error.message(),
            "The store's own save failed: duplicate key: …, …. Fix it; it is called again later."
        );
        assert_eq!(error.cause(), Some("duplicate key: …, …"));
        let error = program.load(&Allowance::new()).await.unwrap_err();
        assert!(error.message().starts_with("The store's own load failed: duplicate key: …, …."), "{error}");
    }

    #[tokio::test]
    async fn without_a_journal_nothing_blocks_and_the_program_makes_it_durable() {
        let (store, program) = Program::without_a_journal(Arc::new(Functions::default()), "https://oauth.ring.com");
        assert!(store.is_durable() && store.is_in_memory() && program.replaces_journal());
    }
}
