//! The state of a journal, and the rules of token families: which token is used, and which is never sent again.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::id::JournalId;
use crate::token::{Fingerprint, RefreshToken};
use crate::{Error, ErrorCode, Secret};

/// Milliseconds since 1970, by the wall clock.
pub type Millis = u64;

/// The number of fingerprints of earlier tokens that are kept. At one rotation in four hours, they cover nine years.
pub const MAX_FINGERPRINTS: usize = 20_000;
const MAX_TOMBSTONES: usize = 1_000;
/// How many other answers to one token are kept.
pub const MAX_SIBLINGS: usize = 4;
/// How many mirrors are recorded.
pub const MAX_MIRRORS: usize = 32;
/// The number of former wrappers that are kept. Push credentials change a few times in the four hours of a token.
const MAX_FORMER_WRAPPERS: usize = 100;

/// The number of machines that a journal remembers.
const MAX_MACHINES: usize = 16;

/// The state of one account, as it is in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The id of the journal; `None` until it is first written as a file.
    pub id: Option<JournalId>,
    /// The absolute path of the journal, behind all links, when it was first written or when a token of it was last sent.
    pub place: Option<PathBuf>,
    /// The path of the copy of this journal that uses its token from now on. Nothing is sent from here.
    pub moved: Option<PathBuf>,
    /// Fingerprints of the machine ids of the machines on which the journal was used, the last one at the end.
    pub machines: Vec<Fingerprint>,
    /// The origin of `oauthUrl`. A journal is never used with another one.
    pub issuer: String,
    /// The number of writes, which shows whether a journal or its backup is newer.
    pub sequence: u64,
    /// The hardware id, which is decided before the first login and kept.
    pub hardware_id: Option<String>,
    /// The token family in use.
    pub family: Option<Family>,
    /// The token family that a pasted token or a login displaced. It may come back until a token of `family` was accepted.
    pub fallback: Option<Family>,
    /// The access token that came with the current token.
    pub access: Option<Access>,
    /// The mark of a refresh that was begun and has not ended.
    pub mark: Option<Mark>,
    /// The time without requests after a failure.
    pub cool_down: Option<CoolDown>,
    /// Fingerprints of all tokens that were used here, the oldest first; at most [`MAX_FINGERPRINTS`].
    pub known: Vec<Fingerprint>,
    /// Fingerprints of all tokens that were given from outside. None is ever removed.
    pub given: Vec<Fingerprint>,
    /// The tokens that Ring rejected with `invalid_grant`.
    pub rejected: Vec<Tombstone>,
    /// The time at which a caller last forced a rejected token to be sent again.
    pub forced_at: Option<Millis>,
    /// Fingerprints of the wrappers that the current token had before, the newest last. A token in one of these
    /// wrappers is an old copy.
    pub former_wrappers: Vec<Fingerprint>,
    /// The time at which the account was logged out here, if no token has come since. A journal that has neither a
    /// token nor this time was not emptied by a logout.
    pub logged_out_at: Option<Millis>,
    /// The time at which Ring last accepted a token or a login of this account.
    pub last_success_at: Option<Millis>,
    /// The mirrors that follow this journal, the one that was recorded last at the end; at most [`MAX_MIRRORS`].
    pub mirrors: Vec<MirrorRecord>,
    /// Other answers to the token that the current one came from, the last one at the end; bounded by [`MAX_SIBLINGS`].
    pub siblings: Vec<Sibling>,
    /// The current token, or that of the fallback, if a request with it was sent and the answer is not known. Ring may have accepted it
    /// already: a rejection of it then says nothing about the token before it.
    pub doubted: Option<Fingerprint>,
    /// In the record of a shared store: 128 random bits, new for each write. By these bits, a manager recognises its write if the answer to
    /// it was lost.
    pub write: Option<u128>,
    /// In a spool: its place when its mark was written, as [`super::Guard::place`] returns it. A copy of the spool has another place.
    pub spool_place: Option<String>,
    /// In a spool: the time by which Ring's clock is ahead of this host's, in milliseconds.
    pub clock_offset: i64,
    /// Keys of later versions of this package.
    pub unknown: Map<String, Value>,
    /// Tokens that this journal does not know, and that another journal of the same folder has spent. They are not written, because
    /// they are in that other journal.
    pub spent_elsewhere: Vec<Fingerprint>,
    /// Whether this state was read from a place that a restart of the computer may empty. The path of the journal shows
    /// that, and its text does not.
    pub volatile: bool,
}

/// A record of a mirror that follows a journal: a file, and the place in it that shows the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRecord {
    /// The path of the file, relative to the journal's folder. It is for users, and for reading that file.
    pub file: String,
    /// Digests of the paths of the file, relative to the journal's folder: the path that was given, and the path to
    /// which it leads. Two records with an equal digest are of the same file.
    pub paths: Vec<String>,
    /// The place in the file: its kind, then what distinguishes it from others of that kind.
    pub place: Vec<String>,
    /// The time at which it was recorded last.
    pub at: Millis,
    /// The tokens that the mirror may have shown when this journal took it over from another one. A mirror that shows one of them
    /// belongs to this journal.
    pub over: Vec<Fingerprint>,
}

impl MirrorRecord {
    /// Whether two records are of the same file.
    pub fn is_same_file(&self, other: &Self) -> bool {
        self.paths.iter().any(|path| other.paths.contains(path))
    }

    /// Whether two records are of the same mirror.
    pub fn is_same(&self, other: &Self) -> bool {
        self.place == other.place && self.is_same_file(other)
    }
}

/// The closeness of a token to a journal. The last variant is the closest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kinship {
    /// The journal does not know it.
    None,
    /// The token is of a family that another one displaced.
    Former,
    /// The token is an ancestor of the current token.
    Family,
    /// The token is the current token.
    Current,
}

/// A refresh token, as a journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The token, wrapped.
    pub token: RefreshToken,
    /// The time at which it came into the journal.
    pub obtained_at: Millis,
    /// Whether Ring ever accepted it.
    pub succeeded: bool,
}

/// The tokens of one family that may still be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The newest token, which is sent next.
    pub current: StoredToken,
    /// The token that `current` came from.
    pub previous: Option<StoredToken>,
    /// Whether Ring ever accepted a token of the family.
    pub proven: bool,
}

impl Family {
    /// A family of one token that Ring has not accepted yet.
    pub(super) fn of(current: StoredToken) -> Self {
        Self { current, previous: None, proven: false }
    }
}

/// An access token, as Ring gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The token for the `Authorization` header.
    pub token: Secret,
    /// The type of the token: `Bearer`.
    pub token_type: String,
    /// The scope of the token: `client`.
    pub scope: String,
    /// The time at which it was obtained.
    pub obtained_at: Millis,
    /// The lifetime, from `obtained_at` on.
    pub lifetime: Duration,
}

impl Access {
    /// The time at which the access token expires.
    pub fn expires_at(&self) -> Millis {
        self.obtained_at.saturating_add(millis(self.lifetime))
    }
}

/// The mark of a refresh that was begun: written before its request is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The token that is being sent.
    pub fingerprint: Fingerprint,
    /// The time at which the refresh began.
    pub started_at: Millis,
    /// The time by which the process that wrote the mark has given up.
    pub deadline: Millis,
    /// The number of starts that have found the mark and have sent the token again.
    pub starts: u32,
    /// In the record of a shared store: the manager that wrote the mark, and the time for which the other hosts wait.
    pub lease: Option<Lease>,
}

/// The right of one manager to send a token, while other hosts wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// 128 random bits that stand for the manager.
    pub holder: u128,
    /// The time for which another host waits, from its first look at the mark.
    pub length: Duration,
}

impl Lease {
    /// The holder of a mark without a request: nobody sends the token before the lease is over.
    pub const NOBODY: u128 = 0;
}

impl Mark {
    /// The holder of the lease. `None` without a shared store, where a mark has no lease.
    #[must_use]
    pub fn holder(&self) -> Option<u128> {
        self.lease.map(|lease| lease.holder)
    }

    /// Whether the mark stands for a request: one that is under way, or was when its process ended.
    #[must_use]
    pub fn is_of_a_request(&self) -> bool {
        self.holder() != Some(Lease::NOBODY)
    }

    /// Returns a mark without a request for another token. That token rests until the request of this mark has ended.
    #[must_use]
    pub fn resting(self, fingerprint: Fingerprint) -> Self {
        let lease = self.lease.map(|lease| Lease { holder: Lease::NOBODY, ..lease });
        Self { fingerprint, starts: 0, deadline: self.started_at, lease, ..self }
    }
}

/// Another answer to the token that the current one came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The token of that answer, with Ring's time.
    pub held: StoredToken,
    /// The token that was sent to get it.
    pub source: Fingerprint,
}

/// A time without requests, after a refresh that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoolDown {
    /// The time at which the cool-down began. A cool-down that begins in the future is over, because a clock was wrong.
    pub started_at: Millis,
    /// The length of the cool-down.
    pub length: Duration,
    /// The number of refreshes that have failed in a row.
    pub failures: u32,
    /// The code of the error that calls get.
    pub code: ErrorCode,
    /// The sentence of that error.
    pub message: String,
    /// The HTTP status of the last answer.
    pub http_status: Option<u16>,
    /// When this host first saw it, if another host began it: their clocks may differ.
    pub seen_at: Option<Millis>,
}

impl CoolDown {
    /// The end of the cool-down, or `None` if it is over. A cool-down of another host is over as soon as its length has passed since either time.
    pub fn until(&self, now: Millis) -> Option<Millis> {
        let start = self.seen_at.map_or(self.started_at, |seen_at| seen_at.min(self.started_at));
        let end = start.saturating_add(millis(self.length));
        (start <= now && now < end).then_some(end)
    }

    /// The error of a call during the cool-down.
    pub fn error(&self, now: Millis) -> Error {
        let error = Error::new(self.code, self.message.clone());
        let error = match self.http_status {
            Some(status) => error.with_http_status(status),
            None => error,
        };
        match self.until(now) {
            Some(end) => error.with_retry_after(Duration::from_millis(end - now)),
            None => error,
        }
    }
}

/// A token that Ring rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The rejected token.
    pub fingerprint: Fingerprint,
    /// The time of the rejection.
    pub at: Millis,
}

/// The rest of a journal whose text was torn: a whole record of its current token, and everything else that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Remains {
    /// The id of the journal.
    pub id: Option<JournalId>,
    /// The number of the write to which the token's record belongs.
    pub sequence: u64,
    /// The token, from its record.
    pub current: StoredToken,
    /// Whether a request with the token had begun when its record was written. If so, the torn text can be the one with
    /// the answer.
    pub sent: bool,
    /// The token before the current one, if its record is whole and belongs to the same write.
    pub previous: Option<StoredToken>,
    /// The hardware id.
    pub hardware_id: Option<String>,
    /// Whether Ring ever accepted a token of the family.
    pub proven: Option<bool>,
    /// The fallback.
    pub fallback: Option<Family>,
    /// The mark, which may be that of another write.
    pub mark: Option<Mark>,
    /// Fingerprints of tokens that were used.
    pub known: Vec<Fingerprint>,
    /// Fingerprints of tokens that were given.
    pub given: Vec<Fingerprint>,
    /// Tokens that Ring rejected.
    pub rejected: Vec<Tombstone>,
}

/// The relation of a token from outside to a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The token is the current one.
    Current,
    /// The token is the newest one of the fallback.
    Fallback,
    /// The token was used or given before: an old copy, which is never sent again.
    Former,
    /// Ring rejected the token.
    Rejected,
    /// The journal has never seen the token: the user has just pasted it.
    Unknown,
}

/// The token that a refresh sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The current token.
    Current,
    /// The token before it, because Ring rejected the current token and had never accepted it.
    Previous,
}

impl State {
    /// The state of a journal with nothing in it.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self {
            id: None,
            place: None,
            moved: None,
            machines: Vec::new(),
            issuer: issuer.into(),
            sequence: 0,
            hardware_id: None,
            family: None,
            fallback: None,
            access: None,
            mark: None,
            cool_down: None,
            known: Vec::new(),
            given: Vec::new(),
            rejected: Vec::new(),
            forced_at: None,
            former_wrappers: Vec::new(),
            logged_out_at: None,
            last_success_at: None,
            mirrors: Vec::new(),
            siblings: Vec::new(),
            doubted: None,
            write: None,
            spool_place: None,
            clock_offset: 0,
            unknown: Map::new(),
            spent_elsewhere: Vec::new(),
            volatile: false,
        }
    }

    /// The state after a logout: without tokens, and with the time of the logout.
    #[must_use]
    pub fn logged_out(issuer: impl Into<String>, now: Millis) -> Self {
        Self { logged_out_at: Some(now), ..Self::new(issuer) }
    }

    /// The state that a logout leaves: no token, but the fingerprints of those that were spent or rejected, so that an
    /// old copy of one is never sent. The tokens that Ring would still accept are not among them, because the user may
    /// give them again.
    #[must_use]
    pub fn after_logout(self, now: Millis) -> Self {
        let unspent = self.unspent();
        let spent = |mut list: Vec<Fingerprint>| {
            list.retain(|fingerprint| !unspent.contains(fingerprint));
            list
        };
        let (known, given) = (spent(self.known), spent(self.given));
        Self { known, given, rejected: self.rejected, ..Self::logged_out(self.issuer, now) }
    }

    /// The fingerprints of the tokens that Ring may still accept.
    pub(super) fn unspent(&self) -> Vec<Fingerprint> {
        let families = [&self.family, &self.fallback].into_iter().flatten();
        let siblings = self.siblings.iter().map(|sibling| &sibling.held);
        families.map(|family| &family.current).chain(siblings).map(|stored| stored.token.fingerprint()).collect()
    }

    /// Whether the token may be sent from here, because no copy of the journal uses it.
    pub fn is_at_home(&self) -> bool {
        self.moved.is_none()
    }

    /// The token that is sent next.
    pub fn current(&self) -> Option<&StoredToken> {
        self.family.as_ref().map(|family| &family.current)
    }

    /// The token that the current one came from.
    pub fn previous(&self) -> Option<&StoredToken> {
        self.family.as_ref()?.previous.as_ref()
    }

    /// Whether Ring ever accepted a token of the family in use.
    pub fn is_proven(&self) -> bool {
        self.family.as_ref().is_some_and(|family| family.proven)
    }

    /// Whether there is no token, and there was no logout: the journal was removed, emptied or never written.
    pub fn lacks_its_token(&self) -> bool {
        self.family.is_none() && self.logged_out_at.is_none()
    }

    /// The relation of a token to this journal.
    pub fn recognise(&self, fingerprint: Fingerprint) -> Known {
        let is = |stored: &StoredToken| stored.token.fingerprint() == fingerprint;
        if self.is_rejected(fingerprint) {
            Known::Rejected
        } else if self.current().is_some_and(is) {
            Known::Current
        } else if self.fallback.as_ref().is_some_and(|fallback| is(&fallback.current)) {
            Known::Fallback
        } else if [&self.known, &self.given, &self.spent_elsewhere].iter().any(|list| list.contains(&fingerprint)) {
            Known::Former
        } else {
            Known::Unknown
        }
    }

    /// The closeness of a token to this journal. No token belongs to a journal without a token.
    pub fn kinship(&self, fingerprint: Fingerprint) -> Kinship {
        if self.family.is_none() {
            return Kinship::None;
        }
        match self.recognise(fingerprint) {
            Known::Unknown => Kinship::None,
            Known::Current => Kinship::Current,
            Known::Fallback | Known::Former | Known::Rejected if self.is_ancestor(fingerprint) => Kinship::Family,
            Known::Fallback | Known::Former | Known::Rejected => Kinship::Former,
        }
    }

    /// Whether a token is of the current family. A family begins with a token that was given from outside.
    pub(super) fn is_ancestor(&self, fingerprint: Fingerprint) -> bool {
        if self.previous().is_some_and(|stored| stored.token.fingerprint() == fingerprint) {
            return true;
        }
        let current = self.fingerprint();
        let Some(at) = self.known.iter().rposition(|known| Some(*known) == current) else { return false };
        let is_first = |known: &Fingerprint| self.given.contains(known);
        let start = self.known[..=at].iter().rposition(is_first).unwrap_or(0);
        let end = self.known[at + 1..].iter().position(is_first).map_or(self.known.len(), |next| at + 1 + next);
        self.known[start..end].contains(&fingerprint)
    }

    /// Merges the records of mirrors of another state of the same journal.
    fn merge_mirrors(&mut self, theirs: Vec<MirrorRecord>) {
        for record in theirs {
            match self.mirrors.iter().position(|ours| ours.is_same(&record)) {
                Some(at) if self.mirrors[at].at >= record.at => continue,
                Some(at) => drop(self.mirrors.remove(at)),
                None => {}
            }
            let place = self.mirrors.partition_point(|ours| ours.at <= record.at);
            self.mirrors.insert(place, record);
        }
        let excess = self.mirrors.len().saturating_sub(MAX_MIRRORS);
        self.mirrors.drain(..excess);
    }

    /// Whether Ring rejected a token.
    pub fn is_rejected(&self, fingerprint: Fingerprint) -> bool {
        self.rejected.iter().any(|tombstone| tombstone.fingerprint == fingerprint)
    }

    /// Whether there is a token, and Ring rejected it and the one that may be sent in its place.
    pub fn is_dead(&self) -> bool {
        self.family.is_some() && self.sendable().is_none()
    }

    /// The token that a refresh sends; `None` if Ring rejected all that may be sent. A rejection is written to the
    /// journal before the next token is tried, so the result is right even after a crash or an outage in between.
    pub fn sendable(&self) -> Option<Sent> {
        self.sendable_of(self.family.as_ref()?)
    }

    fn sendable_of(&self, family: &Family) -> Option<Sent> {
        let alive = |stored: &StoredToken| !self.is_rejected(stored.token.fingerprint());
        if alive(&family.current) {
            Some(Sent::Current)
        } else {
            // After Ring has accepted a token, the one before it is never used again.
            (!family.current.succeeded && family.previous.as_ref().is_some_and(alive)).then_some(Sent::Previous)
        }
    }

    /// Whether the family has a token that may be sent.
    pub(super) fn is_usable(&self, family: &Family) -> bool {
        self.sendable_of(family).is_some()
    }

    /// Whether this is an earlier state of a known journal: a backup that was restored. A new journal is not an earlier
    /// state, because a logout or a login began it.
    pub fn is_behind(&self, known: &Self) -> bool {
        let (Some(found), Some(newest)) = (self.fingerprint(), known.fingerprint()) else { return false };
        let is_other = self.id.is_some() && known.id.is_some() && self.id != known.id;
        !is_other
            && self.sequence < known.sequence
            && found != newest
            && known.known.contains(&found)
            && self.recognise(newest) == Known::Unknown
    }

    /// Whether this state was made from another one with the same sequence.
    pub fn came_after(&self, other: &Self) -> bool {
        let (Some(ours), Some(theirs)) = (self.fingerprint(), other.fingerprint()) else { return false };
        ours != theirs && self.known.contains(&theirs) && !other.known.contains(&ours)
    }

    /// The fingerprint of the current token.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.current().map(|stored| stored.token.fingerprint())
    }

    /// Adds the rest of a later write that was torn. Its token reached this machine, so it is the newest one. Everything that cannot be
    /// read of that write stays as it was before.
    #[must_use]
    pub fn recover(mut self, remains: Remains) -> Self {
        let fingerprint = remains.current.token.fingerprint();
        self.sequence = self.sequence.max(remains.sequence);
        self.id = self.id.or(remains.id);
        // The token is the current one or an earlier one, so that write had nothing new.
        if self.fingerprint() == Some(fingerprint) || self.known.contains(&fingerprint) {
            return self;
        }
        let former = self.family.take();
        self.hardware_id =
            remains.current.token.hardware_id().map(str::to_owned).or(remains.hardware_id).or(self.hardware_id);
        let proven = remains.proven.unwrap_or(former.as_ref().is_some_and(|family| family.proven));
        let previous = remains.previous.or(former.map(|family| family.current));
        self.fallback = remains.fallback.or(self.fallback);
        self.mark = remains.mark.filter(|mark| mark.fingerprint == fingerprint);
        self.access = None;
        self.cool_down = None;
        self.forced_at = None;
        self.logged_out_at = None;
        self.former_wrappers.clear();
        self.known = union(self.known, remains.known);
        let before = previous.as_ref().map(|stored| stored.token.fingerprint());
        self.known = union(self.known, before.into_iter().chain([fingerprint]).collect());
        self.given = union(self.given, remains.given);
        self.rejected.extend(remains.rejected);
        self.rejected.retain(|tombstone| tombstone.fingerprint != fingerprint);
        self.family = Some(Family { current: remains.current, previous, proven });
        self
    }

    /// Merges the state that another process wrote since this one was read, so that no token is lost. That happens only if both used the
    /// journal at once, because a lock did not keep them apart.
    pub fn merge(&mut self, mut theirs: Self) {
        let sequence = self.sequence.max(theirs.sequence);
        let knows =
            |state: &Self, other: &Self| other.fingerprint().is_none_or(|current| state.known.contains(&current));
        let stems_from = |fallback: &Option<Family>, state: &Self| {
            fallback.as_ref().is_some_and(|fallback| state.known.contains(&fallback.current.token.fingerprint()))
        };
        let obtained = |state: &Self| state.current().map(|stored| stored.obtained_at);
        let mirrors = std::mem::take(&mut theirs.mirrors);
        self.merge_mirrors(mirrors);
        if theirs.family.is_none() && theirs.logged_out_at > obtained(self) {
            // The user logged out after this token was requested.
            theirs.mirrors = std::mem::take(&mut self.mirrors);
            *self = theirs;
            self.sequence = sequence;
            return;
        }
        let mirrors = std::mem::take(&mut self.mirrors);
        if knows(self, &theirs) {
            if self.fingerprint() == theirs.fingerprint() {
                // The other process may be sending that token now.
                self.mark = theirs.mark.take().or_else(|| self.mark.take());
                self.access = self.access.take().or_else(|| theirs.access.take());
                // The other process may have found the copy that uses the token.
                self.moved = theirs.moved.take().or_else(|| self.moved.take());
            }
        } else if knows(&theirs, self) {
            std::mem::swap(self, &mut theirs);
        } else if stems_from(&theirs.fallback, self) {
            // The other process took over another token, and ours is the successor of its fallback.
            std::mem::swap(self, &mut theirs);
            self.fallback = theirs.family.take();
        } else if stems_from(&self.fallback, &theirs) {
            self.fallback = theirs.family.take();
        } else {
            // Two successors of one token: the later answer is used, and the other is tried if that is rejected.
            if obtained(&theirs) > obtained(self) {
                std::mem::swap(self, &mut theirs);
            }
            self.fallback = theirs.family.take();
            self.family = self.family.take().map(|family| Family::of(family.current));
        }
        self.sequence = sequence;
        self.id = self.id.or(theirs.id);
        theirs.machines.retain(|machine| !self.machines.contains(machine));
        self.machines.splice(0..0, theirs.machines);
        self.forget_old_machines();
        self.mirrors = mirrors;
        self.hardware_id = self.hardware_id.take().or(theirs.hardware_id);
        self.last_success_at = self.last_success_at.max(theirs.last_success_at);
        self.known = union(theirs.known, std::mem::take(&mut self.known));
        self.given = union(theirs.given, std::mem::take(&mut self.given));
        theirs.rejected.retain(|tombstone| !self.is_rejected(tombstone.fingerprint));
        self.rejected.extend(theirs.rejected);
        for (key, value) in theirs.unknown {
            self.unknown.entry(key).or_insert(value);
        }
    }

    /// Takes over a token from outside: a pasted one, or that of a login. The family that it displaces becomes the fallback.
    pub fn take_over(&mut self, token: RefreshToken, now: Millis) {
        let fingerprint = token.fingerprint();
        if let Some(hardware_id) = token.hardware_id() {
            self.hardware_id = Some(hardware_id.to_owned());
        }
        let displaced = self.family.replace(Family::of(StoredToken { token, obtained_at: now, succeeded: false }));
        // Only one fallback is kept: of two families, the one that is known to have worked.
        let keep_former = match (&displaced, &self.fallback) {
            (Some(new), Some(old)) => {
                let dead = |family: &Family| !self.is_usable(family);
                !dead(old) && (dead(new) || (old.proven && !new.proven))
            }
            (None, _) => true,
            (Some(_), None) => false,
        };
        if !keep_former {
            self.fallback = displaced;
        }
        if self.fallback.as_ref().is_some_and(|fallback| fallback.current.token.fingerprint() == fingerprint) {
            self.fallback = None;
        }
        self.come_back();
        self.access = None;
        // The displaced token may come back, and a request with it may be under way, or have no known answer.
        let marked = self.mark.take().filter(Mark::is_of_a_request);
        self.doubted = marked.map(|mark| mark.fingerprint).or(self.doubted);
        self.siblings.clear();
        self.cool_down = None;
        self.forced_at = None;
        self.logged_out_at = None;
        self.former_wrappers.clear();
        // Ring has just given it, or the journal has never seen it, so it counts as rejected no longer.
        self.rejected.retain(|tombstone| tombstone.fingerprint != fingerprint);
        self.remember(fingerprint);
        if !self.given.contains(&fingerprint) {
            self.given.push(fingerprint);
        }
    }

    /// Uses the fallback again, and makes the family in use the fallback.
    pub fn swap_with_fallback(&mut self) {
        let Some(fallback) = self.fallback.take() else { return };
        self.fallback = self.family.replace(fallback);
        self.former_wrappers.clear();
        if let Some(hardware_id) = self.current().and_then(|stored| stored.token.hardware_id()) {
            self.hardware_id = Some(hardware_id.to_owned());
        }
        self.access = None;
        self.mark = None;
        self.siblings.clear();
        self.cool_down = None;
        self.come_back();
    }

    /// Notes that this journal has another token than its copy. A mirror of both may have shown that token, so it may
    /// be the copy's token, too. So the path of the copy counts as the last path of the token, and is checked before
    /// the token is sent. The fallback belongs to the copy.
    fn come_back(&mut self) {
        if let Some(moved) = self.moved.take() {
            self.place = Some(moved);
            self.fallback = None;
        }
    }

    /// Becomes a journal of its own, with a token that its copy does not have. It gets another id, and a place with the next write. The
    /// tokens that both had are the copy's, so only their fingerprints stay.
    pub fn part_from_the_copy(&mut self) {
        self.id = None;
        self.place = None;
        self.moved = None;
        self.fallback = None;
    }

    /// Notes that the journal is used on a machine. Returns whether it was used only on other machines until now.
    pub fn note_machine(&mut self, machine: Fingerprint) -> bool {
        let is_new = !self.machines.contains(&machine);
        let was_elsewhere = is_new && !self.machines.is_empty();
        if is_new {
            self.machines.push(machine);
            self.forget_old_machines();
        }
        was_elsewhere
    }

    fn forget_old_machines(&mut self) {
        let excess = self.machines.len().saturating_sub(MAX_MACHINES);
        self.machines.drain(..excess);
    }

    /// Takes over the wrapper of a copy of the current token. Returns whether that changed anything.
    pub fn rewrap(&mut self, token: &RefreshToken) -> bool {
        match self.current() {
            Some(stored) if stored.token.fingerprint() == token.fingerprint() && stored.token != *token => {
                let mut token = token.clone();
                if token.hardware_id().is_none()
                    && let Some(hardware_id) = stored.token.hardware_id()
                {
                    // A raw copy of the token has no wrapper to take over.
                    if token == RefreshToken::from_raw(&token.raw()) {
                        return false;
                    }
                    token = token.rotated(&token.raw(), hardware_id);
                }
                if token == stored.token {
                    return false;
                }
                if let Some(hardware_id) = token.hardware_id() {
                    self.hardware_id = Some(hardware_id.to_owned());
                }
                self.wrap(token);
                true
            }
            _ => false,
        }
    }

    /// Gives the current token another wrapper.
    pub fn wrap(&mut self, token: RefreshToken) {
        let Some(Family { current: stored, .. }) = &mut self.family else { return };
        let former = wrapper_of(&std::mem::replace(&mut stored.token, token));
        let now = wrapper_of(&stored.token);
        self.former_wrappers.retain(|known| *known != former && *known != now);
        self.former_wrappers.push(former);
        let excess = self.former_wrappers.len().saturating_sub(MAX_FORMER_WRAPPERS);
        self.former_wrappers.drain(..excess);
    }

    /// Whether the token is the current one in a wrapper that it had before.
    pub fn had_wrapper(&self, token: &RefreshToken) -> bool {
        self.former_wrappers.contains(&wrapper_of(token))
    }

    /// Records a token that was given and is not used, so that it counts as an old copy.
    pub fn pass_over(&mut self, token: &RefreshToken) {
        let fingerprint = token.fingerprint();
        if !self.given.contains(&fingerprint) {
            self.given.push(fingerprint);
        }
    }

    /// The token that a refresh sends, if there is one.
    pub fn to_send(&self, sent: Sent) -> Option<&StoredToken> {
        match sent {
            Sent::Current => self.current(),
            Sent::Previous => self.previous(),
        }
    }

    /// Applies Ring's answer to a refresh: it accepted the token that was sent, and gave the next one.
    pub fn rotated(&mut self, sent: Sent, raw: &str, hardware_id: &str, access: Access) {
        let Some(mut source) = self.to_send(sent).cloned() else { return };
        source.succeeded = true;
        let source_fingerprint = source.token.fingerprint();
        // A forced refresh can succeed with a rejected token, which then counts as rejected no longer.
        self.rejected.retain(|tombstone| tombstone.fingerprint != source_fingerprint);
        let token = source.token.rotated(raw, hardware_id);
        let fingerprint = token.fingerprint();
        // A token that Ring gives again, in the answer to a repeated request, counts as rejected no longer, too.
        self.rejected.retain(|tombstone| tombstone.fingerprint != fingerprint);
        let (current, previous) = if fingerprint == source_fingerprint {
            // Ring kept the token: it is its own successor.
            source.token = token;
            (source, self.family.take().filter(|_| sent == Sent::Current).and_then(|family| family.previous))
        } else {
            self.former_wrappers.clear();
            self.remember(fingerprint);
            (StoredToken { token, obtained_at: access.obtained_at, succeeded: false }, Some(source))
        };
        self.family = Some(Family { current, previous, proven: true });
        self.hardware_id = Some(hardware_id.to_owned());
        self.last_success_at = Some(access.obtained_at);
        self.access = Some(access);
        self.mark = None;
        self.siblings.clear();
        self.doubted = None;
        self.cool_down = None;
        self.forced_at = None;
    }

    /// Ring rejected what was sent with `invalid_grant`. Says what may be tried instead: neither the token before it nor another
    /// answer, if Ring may have accepted the rejected one before.
    pub fn reject(&mut self, sent: Sent, now: Millis, in_doubt: bool) -> AfterRejection {
        if let Some(fingerprint) = self.to_send(sent).map(|held| held.token.fingerprint()) {
            self.bury(fingerprint, now);
            self.doubted = self.doubted.filter(|doubted| *doubted != fingerprint);
        }
        self.mark = None;
        if let Some(family) = self.family.as_mut().filter(|_| in_doubt && sent == Sent::Current) {
            family.current.succeeded = true;
        }
        if sent == Sent::Current && !in_doubt {
            if self.sendable() == Some(Sent::Previous) {
                return AfterRejection::Previous;
            }
            let is_alive = |sibling: &Sibling| !self.is_rejected(sibling.held.token.fingerprint());
            if let Some(at) = self.siblings.iter().rposition(is_alive) {
                // An answer with this very token may come late: Ring accepts it then after all.
                let former = self.use_sibling(at);
                self.siblings.splice(0..0, former);
                return AfterRejection::Sibling;
            }
        }
        if !self.is_proven() && self.fallback.as_ref().is_some_and(|fallback| self.is_usable(fallback)) {
            self.swap_with_fallback();
            return AfterRejection::Fallback;
        }
        AfterRejection::Dead
    }

    /// Makes another answer to the same token the current one. Gives the former current one.
    pub(super) fn use_sibling(&mut self, at: usize) -> Option<Sibling> {
        let Sibling { held, source } = self.siblings.remove(at);
        if let Some(hardware_id) = held.token.hardware_id() {
            self.hardware_id = Some(hardware_id.to_owned());
        }
        let proven = self.is_proven();
        let former = self.family.replace(Family { current: held, previous: None, proven });
        self.former_wrappers.clear();
        self.access = None;
        self.mark = None;
        self.cool_down = None;
        self.doubted = None;
        former.map(|family| Sibling { held: family.current, source })
    }

    /// Counts a token among those that Ring rejected.
    pub(super) fn bury(&mut self, fingerprint: Fingerprint, at: Millis) {
        if self.is_rejected(fingerprint) {
            return;
        }
        self.rejected.push(Tombstone { fingerprint, at });
        let excess = self.rejected.len().saturating_sub(MAX_TOMBSTONES);
        self.rejected.drain(..excess);
    }

    pub(super) fn remember(&mut self, fingerprint: Fingerprint) {
        // The newest fingerprints are at the end, and a known one is nearly always among them.
        if self.known.iter().rev().any(|known| *known == fingerprint) {
            return;
        }
        self.known.push(fingerprint);
        let excess = self.known.len().saturating_sub(MAX_FINGERPRINTS);
        self.known.drain(..excess);
    }
}

/// Joins two lists of fingerprints. Each fingerprint occurs once, and the second list is behind the first.
fn union(mut first: Vec<Fingerprint>, second: Vec<Fingerprint>) -> Vec<Fingerprint> {
    let there: HashSet<Fingerprint> = second.iter().copied().collect();
    first.retain(|fingerprint| !there.contains(fingerprint));
    first.extend(second);
    let excess = first.len().saturating_sub(MAX_FINGERPRINTS);
    first.drain(..excess);
    first
}

fn wrapper_of(token: &RefreshToken) -> Fingerprint {
    Fingerprint::of(token.wrapped().expose())
}

/// The token that may be tried after a rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRejection {
    /// The token before the rejected one: Ring may never have activated the token that replaced it.
    Previous,
    /// Another answer to the token that it came from, which is the current one now.
    Sibling,
    /// The lineage that it displaced, which is the one in use again.
    Fallback,
    /// No token: the user has to log in.
    Dead,
}

/// The whole milliseconds of a duration, at most `u64::MAX` (584 million years).
pub fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(at: Millis) -> Access {
        Access {
            token: Secret::new("access"),
            token_type: "Bearer".into(),
            scope: "client".into(),
            obtained_at: at,
            lifetime: Duration::from_secs(3600),
        }
    }

    fn token(raw: &str) -> RefreshToken {
        RefreshToken::from_raw(raw)
    }

    #[test]
    fn the_last_success_is_that_of_the_account_and_outlives_whatever_fails_after_it() {
        let mut state = State::new("https://oauth.ring.com");
        state.take_over(token("a"), 1);
        assert_eq!(state.last_success_at, None);
        state.rotated(Sent::Current, "b", "h", access(5));
        assert_eq!(state.last_success_at, Some(5));
        state.reject(Sent::Current, 6, false);
        state.take_over(token("x"), 7);
        state.swap_with_fallback();
        assert_eq!(state.last_success_at, Some(5));
        let mut theirs = state.clone();
        theirs.last_success_at = Some(9);
        state.merge(theirs);
        assert_eq!(state.last_success_at, Some(9));
        assert_eq!(State::logged_out("https://oauth.ring.com", 10).last_success_at, None);
    }

    fn with(raw: &str) -> State {
        let mut state = State::new("https://oauth.ring.com");
        state.take_over(token(raw), 1);
        state
    }

    fn current(state: &State) -> String {
        state.current().map_or_else(String::new, |stored| stored.token.raw())
    }

    fn known(state: &State, raw: &str) -> Known {
        state.recognise(Fingerprint::of(raw))
    }

    #[test]
    fn every_former_token_is_known_again() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        state.rotated(Sent::Current, "c", "h", access(3));
        assert_eq!(known(&state, "a"), Known::Former);
        assert_eq!(known(&state, "b"), Known::Former);
        assert_eq!(known(&state, "c"), Known::Current);
        assert_eq!(known(&state, "x"), Known::Unknown);
        assert_eq!(state.previous().unwrap().token.raw(), "b");
    }

    #[test]
    fn a_pasted_token_sets_the_lineage_aside_and_its_ancestors_stay_known() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        state.take_over(token("x"), 3);
        assert_eq!(current(&state), "x");
        assert_eq!(known(&state, "b"), Known::Fallback);
        assert_eq!(known(&state, "a"), Known::Former);
        assert!(state.access.is_none(), "the access token of the other lineage is not handed out");
        assert!(state.previous().is_none(), "nothing of the other lineage is ever sent for this one");
    }

    #[test]
    fn a_pasted_token_that_never_worked_gives_way_to_the_lineage_set_aside() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        state.take_over(token("x"), 3);
        assert_eq!(state.reject(Sent::Current, 4, false), AfterRejection::Fallback);
        assert_eq!(current(&state), "b");
        assert_eq!(state.previous().unwrap().token.raw(), "a");
        assert_eq!(known(&state, "x"), Known::Rejected);
    }

    #[test]
    fn a_pasted_token_that_worked_once_never_does() {
        let mut state = with("a");
        state.take_over(token("x"), 3);
        state.rotated(Sent::Current, "y", "h", access(4));
        assert_eq!(state.reject(Sent::Current, 5, false), AfterRejection::Previous);
        assert_eq!(state.reject(Sent::Previous, 6, false), AfterRejection::Dead);
        assert_eq!(current(&state), "y", "a dead token stays, marked");
    }

    #[test]
    fn the_previous_token_is_tried_only_for_one_that_was_never_accepted() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        // Ring kept the token: it was accepted.
        state.rotated(Sent::Current, "b", "h", access(3));
        assert_eq!(state.reject(Sent::Current, 4, false), AfterRejection::Dead);
    }

    #[test]
    fn the_previous_token_that_works_is_alive_again() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        assert_eq!(state.reject(Sent::Current, 3, false), AfterRejection::Previous);
        state.rotated(Sent::Previous, "c", "h", access(4));
        assert_eq!(current(&state), "c");
        assert_eq!(state.previous().unwrap().token.raw(), "a");
        assert_eq!(known(&state, "b"), Known::Rejected);
    }

    #[test]
    fn what_ring_gives_again_is_not_dead() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        assert_eq!(state.reject(Sent::Current, 3, false), AfterRejection::Previous);
        state.rotated(Sent::Previous, "b", "h", access(4));
        assert_eq!((current(&state).as_str(), state.sendable()), ("b", Some(Sent::Current)));
    }

    #[test]
    fn the_previous_token_may_be_sent_as_long_as_it_was_not_rejected_itself() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        state.reject(Sent::Current, 3, false);
        assert_eq!(state.sendable(), Some(Sent::Previous));
        assert!(!state.is_dead());
        // The previous token can still be sent after the user pasted a token that never works.
        state.take_over(token("x"), 4);
        assert_eq!(state.reject(Sent::Current, 5, false), AfterRejection::Fallback);
        assert_eq!(state.sendable(), Some(Sent::Previous));
        assert_eq!(state.reject(Sent::Previous, 6, false), AfterRejection::Dead);
        assert!(state.is_dead());
    }

    #[test]
    fn of_two_lineages_set_aside_the_proven_one_is_kept() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        state.take_over(token("x"), 3);
        state.take_over(token("y"), 4);
        assert_eq!(state.fallback.as_ref().unwrap().current.token.raw(), "b");
        assert_eq!(known(&state, "x"), Known::Former, "and the other one is still an old copy");
        state.rotated(Sent::Current, "z", "h", access(5));
        state.take_over(token("q"), 6);
        assert_eq!(state.fallback.as_ref().unwrap().current.token.raw(), "z");
    }

    #[test]
    fn a_token_belongs_most_to_the_journal_whose_current_family_has_it() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        state.take_over(token("x"), 3);
        state.rotated(Sent::Current, "y", "h", access(4));
        state.rotated(Sent::Current, "z", "h", access(5));
        let kinship = |raw: &str| state.kinship(Fingerprint::of(raw));
        let kin = ["a", "b", "x", "y", "z", "?"].map(kinship);
        let (former, family) = (Kinship::Former, Kinship::Family);
        assert_eq!(kin, [former, former, family, family, Kinship::Current, Kinship::None]);
        state.swap_with_fallback();
        let kin = ["a", "b", "x", "z"].map(|raw| state.kinship(Fingerprint::of(raw)));
        assert_eq!(kin, [family, Kinship::Current, former, former]);
    }

    #[test]
    fn a_logout_keeps_no_token_and_knows_which_ones_are_spent() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        state.take_over(token("x"), 3);
        state.reject(Sent::Current, 4, false);
        state.take_over(token("y"), 5);
        state.rotated(Sent::Current, "z", "h", access(6));
        assert_eq!([known(&state, "b"), known(&state, "x")], [Known::Fallback, Known::Rejected]);
        let left = state.after_logout(9);
        assert_eq!(["a", "y"].map(|raw| known(&left, raw)), [Known::Former; 2], "never sent again");
        assert_eq!(known(&left, "x"), Known::Rejected);
        assert_eq!(["b", "z"].map(|raw| known(&left, raw)), [Known::Unknown; 2], "a person may paste them again");
        assert_eq!(["a", "y", "z"].map(|raw| left.kinship(Fingerprint::of(raw))), [Kinship::None; 3]);
        let (known, given, rejected) = (left.known.clone(), left.given.clone(), left.rejected.clone());
        assert_eq!(left, State { known, given, rejected, ..State::logged_out("https://oauth.ring.com", 9) });
    }

    #[test]
    fn a_merge_keeps_the_mirrors_of_both() {
        let record = |name: &str, at| MirrorRecord {
            file: "../config.json".into(),
            paths: vec!["p".into()],
            place: vec!["homebridge".into(), "Ring".into(), name.into()],
            at,
            over: Vec::new(),
        };
        for theirs_is_later in [false, true] {
            let (mut ours, mut theirs) = (with("a"), with("a"));
            theirs.mirrors = vec![record("one", 5), record("two", 2)];
            ours.mirrors = vec![record("one", 1), record("three", 3)];
            if theirs_is_later {
                theirs.rotated(Sent::Current, "b", "h", access(2));
            }
            ours.merge(theirs);
            assert_eq!(ours.mirrors, [record("two", 2), record("three", 3), record("one", 5)]);
        }
    }

    #[test]
    fn a_copy_with_other_wrapping_is_the_same_token() {
        let mut state = with("a");
        state.rotated(Sent::Current, "b", "h", access(2));
        assert!(!state.rewrap(&token("b")), "a raw copy takes nothing away");
        let with_push = state.current().unwrap().token.with_push_credentials(Some(Value::from(1)));
        assert!(state.rewrap(&with_push));
        assert!(!state.rewrap(&with_push));
        assert!(!state.rewrap(&token("c")), "another token is not a copy");
        assert_eq!(state.current().unwrap().token, with_push);
    }

    #[test]
    fn fingerprints_are_bounded_but_what_was_given_stays() {
        let mut state = with("given");
        for number in 0..MAX_FINGERPRINTS + 5 {
            state.rotated(Sent::Current, &format!("t{number}"), "h", access(2));
        }
        assert_eq!(state.known.len(), MAX_FINGERPRINTS);
        assert_eq!(known(&state, "given"), Known::Former);
    }

    #[test]
    fn a_cool_down_from_the_future_is_over() {
        let cool_down = CoolDown {
            started_at: 1_000_000,
            length: Duration::from_secs(900),
            failures: 3,
            code: ErrorCode::ServerError,
            message: "m".into(),
            http_status: Some(503),
            seen_at: None,
        };
        assert_eq!(cool_down.until(999_999), None);
        assert_eq!(cool_down.until(1_000_000), Some(1_900_000));
        assert_eq!(cool_down.until(1_900_000), None);
        assert_eq!(cool_down.error(1_899_000).retry_after(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn two_states_that_went_apart_lose_no_token_of_either() {
        let mark =
            |raw: &str| Mark { fingerprint: Fingerprint::of(raw), started_at: 1, deadline: 2, starts: 0, lease: None };
        let mut base = with("a");
        base.rotated(Sent::Current, "b", "h", access(2));
        let changed = |change: &dyn Fn(&mut State)| {
            let mut state = base.clone();
            change(&mut state);
            state.sequence += 1;
            state
        };
        let rotated = |raw: &'static str, at| {
            changed(&move |state: &mut State| state.rotated(Sent::Current, raw, "h", access(at)))
        };
        let fallback = |state: &State| state.fallback.as_ref().map(|fallback| fallback.current.token.raw());
        let merged = |ours: &State, theirs: State| {
            let mut merged = ours.clone();
            merged.merge(theirs.clone());
            assert!(merged.sequence >= ours.sequence.max(theirs.sequence));
            let known: Vec<_> = ours.known.iter().chain(&theirs.known).collect();
            assert!(known.iter().all(|fingerprint| merged.known.contains(fingerprint)), "every ancestor stays known");
            merged
        };

        // One state has the successor of the other's token, in both directions.
        let ours = rotated("c", 3);
        let mut later = ours.clone();
        later.rotated(Sent::Current, "d", "h", access(4));
        for merged in [merged(&ours, later.clone()), merged(&later, ours.clone())] {
            assert_eq!((current(&merged).as_str(), merged.previous()), ("d", later.previous()));
        }
        // Two successors of one token: the later one is used, and the other one if that is rejected; never the spent
        // token.
        for (one, other) in [(rotated("c", 3), rotated("d", 4)), (rotated("d", 4), rotated("c", 3))] {
            let mut merged = merged(&one, other);
            assert_eq!((current(&merged).as_str(), fallback(&merged).as_deref()), ("d", Some("c")));
            assert_eq!(merged.reject(Sent::Current, 5, false), AfterRejection::Fallback);
            assert_eq!(current(&merged), "c");
        }
        // A token was pasted, and the other state has the successor of the token that it displaced.
        let pasted = changed(&|state| state.take_over(token("x"), 3));
        for merged in [merged(&pasted, rotated("c", 4)), merged(&rotated("c", 4), pasted.clone())] {
            assert_eq!((current(&merged).as_str(), fallback(&merged).as_deref()), ("x", Some("c")));
        }
        // Both states have the same token: the mark of the other one stays, and so do the rejected tokens.
        let marked = changed(&|state| state.mark = Some(mark("b")));
        let rejected = changed(&|state| state.rejected.push(Tombstone { fingerprint: Fingerprint::of("r"), at: 1 }));
        let both = merged(&rejected, marked);
        assert!(both.is_rejected(Fingerprint::of("r")));
        assert_eq!(both.mark, Some(mark("b")));
        // A logout came after the token was requested, or before.
        let logged_out = |at| State { sequence: 9, ..State::logged_out("https://oauth.ring.com", at) };
        let mut ours = rotated("c", 5);
        ours.merge(logged_out(6));
        assert!(ours.family.is_none() && ours.known.is_empty());
        let mut ours = rotated("c", 5);
        ours.merge(logged_out(4));
        assert_eq!(current(&ours), "c");
    }
}
