//! A program's own code as the place where the token is kept: behind a journal, or alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Decide, Decision, Mirror, Patience, Settled};
use crate::journal::state::State;
use crate::journal::{Begun, Found, Guard, MemoryStore, Notice, Store};
use crate::{Result, Secret};

/// How often a change is begun anew because there is something else to show by then.
const ROUNDS: u32 = 3;

/// The two functions of a program that keeps its token itself. They are waited for, but not for ever.
pub trait Caller: Send + Sync + 'static {
    /// The token that it keeps; `None` where it has none.
    ///
    /// # Errors
    ///
    /// `STORE` where the function failed, took too long or gave something else.
    fn load(&self) -> Result<Option<Secret>>;

    /// Gives it the newest token, and the one that it had.
    ///
    /// # Errors
    ///
    /// `STORE` where the function failed or took too long.
    fn save(&self, new: &Secret, old: Option<&Secret>) -> Result<()>;
}

/// The functions, and what they are known to keep.
struct Custom {
    caller: Box<dyn Caller>,
    kept: Mutex<Option<Secret>>,
    /// Held while one of them runs: they are called one at a time.
    turn: Mutex<()>,
}

impl Custom {
    fn kept(&self) -> MutexGuard<'_, Option<Secret>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> Result<Option<Secret>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self.caller.load()?.filter(|text| !text.expose().trim().is_empty());
        self.kept().clone_from(&loaded);
        Ok(loaded)
    }

    fn save(&self, new: &Secret) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.kept().clone();
        if old.as_ref() != Some(new) {
            self.caller.save(new, old.as_ref())?;
            *self.kept() = Some(new.clone());
        }
        Ok(())
    }
}

const NAME: &str = "The store's own code";

/// Shows the newest token to a program's own code.
pub struct CustomMirror {
    custom: Arc<Custom>,
}

/// Keeps the state in memory, and the token with a program's own code: what that saves is all that outlives the
/// process, and nothing protects from another one.
pub struct CallerStore {
    custom: Arc<Custom>,
    memory: MemoryStore,
}

/// A program's own code in front of a journal.
pub fn before_a_journal(caller: Box<dyn Caller>) -> CustomMirror {
    CustomMirror { custom: Arc::new(Custom { caller, kept: Mutex::new(None), turn: Mutex::new(()) }) }
}

/// A program's own code in the place of a journal, for tokens of that issuer. The mirror is how it is looked at.
pub fn without_a_journal(caller: Box<dyn Caller>, issuer: &str) -> (CallerStore, CustomMirror) {
    let mirror = before_a_journal(caller);
    (CallerStore { custom: Arc::clone(&mirror.custom), memory: MemoryStore::new(issuer) }, mirror)
}

impl Mirror for CustomMirror {
    fn is_at_hand(&self) -> bool {
        false
    }

    fn look(&self, _patience: Patience) -> Result<Option<Secret>> {
        self.custom.load()
    }

    fn settle(&self, decide: &mut Decide<'_>) -> Result<Settled> {
        let mut settled = Settled::default();
        let mut shown = self.custom.load()?;
        for _ in 0..ROUNDS {
            // There is no way to tell a program to forget, so it keeps what it was last given.
            let Decision::Show(token) = decide(shown.as_ref())? else { break };
            if shown.as_ref() == Some(&token) {
                break;
            }
            self.custom.save(&token)?;
            settled.written = true;
            shown = Some(token);
        }
        Ok(settled)
    }

    fn name(&self) -> String {
        NAME.to_owned()
    }
}

impl Store for CallerStore {
    fn peek(&self) -> Result<Option<State>> {
        self.memory.peek()
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let guard = self.memory.try_lock()?;
        Ok(guard.map(|memory| Box::new(CallerGuard { custom: Arc::clone(&self.custom), memory }) as Box<dyn Guard>))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn needs_the_program(&self) -> bool {
        true
    }

    fn name(&self) -> String {
        NAME.to_owned()
    }
}

struct CallerGuard {
    custom: Arc<Custom>,
    memory: Box<dyn Guard>,
}

impl Guard for CallerGuard {
    fn read(&mut self) -> Result<Found> {
        self.memory.read()
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        self.memory.begin(state)
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        let notices = self.memory.commit(state)?;
        if let Some(held) = &state.current {
            self.custom.save(&held.token.wrapped())?;
        }
        Ok(notices)
    }

    fn forget(&mut self) -> Result<()> {
        self.memory.forget()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::RefreshToken;
    use crate::{Error, ErrorCode};

    type Saves = Vec<(Secret, Option<Secret>)>;

    /// Remembers every call, and fails when told to.
    #[derive(Clone, Default)]
    struct Program {
        has: Arc<Mutex<Option<Secret>>>,
        saves: Arc<Mutex<Saves>>,
        fails: Arc<Mutex<bool>>,
    }

    impl Caller for Program {
        fn load(&self) -> Result<Option<Secret>> {
            Ok(self.has.lock().unwrap().clone())
        }

        fn save(&self, new: &Secret, old: Option<&Secret>) -> Result<()> {
            if *self.fails.lock().unwrap() {
                return Err(Error::new(ErrorCode::Store, "no"));
            }
            self.saves.lock().unwrap().push((new.clone(), old.cloned()));
            *self.has.lock().unwrap() = Some(new.clone());
            Ok(())
        }
    }

    #[test]
    fn a_program_is_given_the_newest_token_and_what_it_had() {
        let program = Program::default();
        let mirror = before_a_journal(Box::new(program.clone()));
        let (one, two) = (Secret::new("one"), Secret::new("two"));
        for token in [&one, &one, &two] {
            mirror.settle(&mut |_| Ok(Decision::Show(token.clone()))).unwrap();
        }
        assert_eq!(*program.saves.lock().unwrap(), [(one.clone(), None), (two, Some(one))]);
        assert_eq!(mirror.settle(&mut |_| Ok(Decision::Leave)).unwrap(), Settled::default());
    }

    #[test]
    fn a_newer_token_while_the_program_writes_is_given_too() {
        let program = Program::default();
        let mirror = before_a_journal(Box::new(program.clone()));
        let mut wanted = ["one", "two", "two"].map(Secret::new).into_iter();
        mirror.settle(&mut |_| Ok(wanted.next().map_or(Decision::Leave, Decision::Show))).unwrap();
        assert_eq!(program.has.lock().unwrap().clone(), Some(Secret::new("two")));
    }

    #[test]
    fn without_a_journal_a_commit_is_a_save_and_fails_with_it() {
        let program = Program::default();
        let (store, _) = without_a_journal(Box::new(program.clone()), "https://oauth.ring.com");
        let mut guard = store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        state.take_over(RefreshToken::from_raw("a"), 1);
        guard.begin(&mut state).unwrap();
        assert!(program.saves.lock().unwrap().is_empty(), "the mark of a refresh is not the program's business");
        *program.fails.lock().unwrap() = true;
        assert!(guard.commit(&mut state).is_err());
        *program.fails.lock().unwrap() = false;
        guard.commit(&mut state).unwrap();
        guard.commit(&mut state).unwrap();
        assert_eq!(program.saves.lock().unwrap().len(), 1);
        drop(guard);
        assert!(store.peek().unwrap().is_some());
    }

    #[test]
    fn what_a_program_has_is_not_saved_again() {
        let program = Program::default();
        let token = RefreshToken::from_raw("a");
        *program.has.lock().unwrap() = Some(token.wrapped());
        let (store, mirror) = without_a_journal(Box::new(program.clone()), "https://oauth.ring.com");
        assert_eq!(mirror.look(Patience::Some).unwrap(), Some(token.wrapped()));
        let mut guard = store.try_lock().unwrap().unwrap();
        let mut state = guard.read().unwrap().state;
        state.take_over(token, 1);
        guard.commit(&mut state).unwrap();
        assert!(program.saves.lock().unwrap().is_empty());
    }
}
