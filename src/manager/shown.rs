//! What a mirror shows, and what becomes of it, by the token family in the journal.

use crate::Secret;
use crate::journal::state::{Known, State};
use crate::mirror::Decision;
use crate::pasted::{self, Flaw, Pasted};

/// What a mirror shows, compared with the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The newest token, as the journal has it.
    Newest,
    /// No token.
    Nothing,
    /// A text that cannot be a token.
    Nonsense(Flaw),
    /// The name of a variable whose value another program inserts. It is left alone.
    Reference(Flaw),
    /// An old copy, which is replaced.
    Old,
    /// A token that the journal does not know: the user has just pasted it, and it is taken over.
    New,
}

impl Shown {
    /// Compares what a mirror shows with a state.
    pub fn beside(state: Option<&State>, shown: Option<&Secret>) -> Self {
        let Some(text) = shown else { return Self::Nothing };
        let stored = state.and_then(|state| state.current());
        if stored.is_some_and(|stored| *text == stored.token.wrapped()) {
            return Self::Newest;
        }
        let token = match pasted::read(text.expose(), state) {
            Pasted::Nothing => return Self::Nothing,
            Pasted::Reference(flaw) => return Self::Reference(flaw),
            Pasted::Refused(flaw) => return Self::Nonsense(flaw),
            Pasted::Token(token) => token,
        };
        let Some(state) = state else { return Self::New };
        let is_new = match state.recognise(token.fingerprint()) {
            Known::Unknown => true,
            // The current token with other push credentials, which another program wrote.
            Known::Current => !state.had_wrapper(&token) && state.clone().rewrap(&token),
            Known::Fallback | Known::Former | Known::Rejected => false,
        };
        if is_new { Self::New } else { Self::Old }
    }

    /// The decision of a logout.
    pub fn cleared(self) -> Decision {
        if matches!(self, Self::Reference(_)) { Decision::Leave } else { Decision::Clear }
    }

    /// The reason why the text is no token, if it is none.
    pub fn flaw(self) -> Option<Flaw> {
        match self {
            Self::Nonsense(flaw) | Self::Reference(flaw) => Some(flaw),
            Self::Newest | Self::Nothing | Self::Old | Self::New => None,
        }
    }
}

/// The state in the store, or the state that the manager knows if the journal is gone without a logout.
pub(super) fn or_known(kept: Option<State>, known: Option<&State>) -> Option<State> {
    match known {
        Some(known) if known.family.is_some() && kept.as_ref().is_none_or(State::lacks_its_token) => {
            Some(known.clone())
        }
        _ => kept,
    }
}

/// What a mirror shows, and the decision about it.
pub(super) fn decide(state: Option<&State>, shown: Option<&Secret>) -> (Decision, Shown) {
    let newest = state.and_then(|state| state.current()).map(|stored| stored.token.wrapped());
    let shown = Shown::beside(state, shown);
    let decision = match (shown, newest) {
        (Shown::Nothing | Shown::Nonsense(_) | Shown::Old, Some(newest)) => Decision::Show(newest),
        // Another host has logged out, or a copy came back after a logout.
        (Shown::Old, None) if state.is_some_and(|state| state.logged_out_at.is_some()) => Decision::Clear,
        // The mirror's token is newer or belongs to another program, or no other token is known.
        _ => Decision::Leave,
    };
    (decision, shown)
}
