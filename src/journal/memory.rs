//! The store without a journal: the state lives as long as its manager.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::state::State;
use super::{Begun, Found, Guard, Notice, Stamp, Store};
use crate::Result;

/// A store in memory only. It protects neither from a crash nor from other processes.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    issuer: String,
    state: Mutex<Option<Box<State>>>,
    locked: AtomicBool,
}

impl MemoryStore {
    /// An empty store for tokens of that issuer.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            shared: Arc::new(Shared { issuer: issuer.into(), state: Mutex::new(None), locked: AtomicBool::new(false) }),
        }
    }
}

impl Shared {
    fn get(&self) -> Option<State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).as_deref().cloned()
    }
}

impl Store for MemoryStore {
    fn peek(&self) -> Result<Option<State>> {
        Ok(self.shared.get())
    }

    fn try_lock(&self) -> Result<Option<Box<dyn Guard>>> {
        let entered = self.shared.locked.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        Ok(entered.then(|| Box::new(MemoryGuard { shared: Arc::clone(&self.shared) }) as Box<dyn Guard>))
    }

    fn is_durable(&self) -> bool {
        false
    }

    fn stamp(&self) -> Option<Stamp> {
        None
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

struct MemoryGuard {
    shared: Arc<Shared>,
}

impl Guard for MemoryGuard {
    fn read(&mut self) -> Result<Found> {
        let state = self.shared.get().unwrap_or_else(|| State::new(self.shared.issuer.clone()));
        Ok(Found { state, notices: Vec::new() })
    }

    fn begin(&mut self, state: &mut State) -> Result<Begun> {
        self.commit(state).map(Begun::Ready)
    }

    fn commit(&mut self, state: &mut State) -> Result<Vec<Notice>> {
        state.sequence += 1;
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(state.clone()));
        Ok(Vec::new())
    }

    fn forget(&mut self) -> Result<Vec<Notice>> {
        let former = self.shared.get().unwrap_or_else(|| State::new(self.shared.issuer.clone()));
        let nothing = State { sequence: former.sequence + 1, ..former.after_logout(0) };
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(nothing));
        Ok(Vec::new())
    }
}

impl Drop for MemoryGuard {
    fn drop(&mut self) {
        self.shared.locked.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let store = MemoryStore::new("https://oauth.ring.com");
        let guard = store.try_lock().unwrap();
        assert!(guard.is_some());
        assert!(store.try_lock().unwrap().is_none());
        drop(guard);
        assert!(store.try_lock().unwrap().is_some());
    }
}
