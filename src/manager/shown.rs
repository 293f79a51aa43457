//! What a mirror shows, and what becomes of it: by the lineage in the journal.

use crate::Secret;
use crate::journal::state::{Known, State};
use crate::mirror::Decision;
use crate::pasted::{self, Flaw, Pasted};

/// What a mirror shows, beside what is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The newest token, as the journal has it.
    Newest,
    /// No token.
    Nothing,
    /// Something that cannot be a token.
    Nonsense(Flaw),
    /// The name of a value that another program puts there. It is left alone.
    Reference(Flaw),
    /// An old copy, which is put right.
    Old,
    /// A token that the journal does not know: it has just been pasted, and is taken over.
    New,
}

impl Shown {
    /// Looks up what a mirror shows.
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
        let Some(state) = state.filter(|_| stored.is_some()) else { return Self::New };
        let is_new = match state.recognise(token.fingerprint()) {
            Known::Unknown => true,
            // The same token with other push credentials, which somebody else wrote.
            Known::Current => !state.had_wrapper(&token) && state.clone().rewrap(&token),
            Known::Fallback | Known::Former | Known::Rejected => false,
        };
        if is_new { Self::New } else { Self::Old }
    }

    /// What a logout does with it.
    pub fn cleared(self) -> Decision {
        if matches!(self, Self::Reference(_)) { Decision::Leave } else { Decision::Clear }
    }

    /// Why it is no token, if it is none.
    pub fn flaw(self) -> Option<Flaw> {
        match self {
            Self::Nonsense(flaw) | Self::Reference(flaw) => Some(flaw),
            Self::Newest | Self::Nothing | Self::Old | Self::New => None,
        }
    }
}

/// What is kept; what is known here if the journal is gone although nobody logged out.
pub(super) fn or_known(kept: Option<State>, known: Option<&State>) -> Option<State> {
    match known {
        Some(known) if known.family.is_some() && kept.as_ref().is_none_or(State::lacks_its_token) => {
            Some(known.clone())
        }
        _ => kept,
    }
}

/// What becomes of what a mirror shows, and what that is.
pub(super) fn decide(state: Option<&State>, shown: Option<&Secret>) -> (Decision, Shown) {
    let newest = state.and_then(|state| state.current()).map(|stored| stored.token.wrapped());
    let shown = Shown::beside(state, shown);
    let decision = match (shown, newest) {
        (Shown::Nothing | Shown::Nonsense(_) | Shown::Old, Some(newest)) => Decision::Show(newest),
        // It is newer than what is known, or belongs to another program, or nothing else is known.
        _ => Decision::Leave,
    };
    (decision, shown)
}
