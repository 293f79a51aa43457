//! Reading a journal and its copies, and finding the newest state in them.

use std::io;
use std::path::{Path, PathBuf};

use super::super::codec::{Form, Locked, Opened, Shut};
use super::super::format::{self, Unreadable};
use super::super::ours;
use super::super::seal::Header;
use super::super::state::{Known, Remains, State};
use super::{Shared, name_of};
use crate::Result;
use crate::files::platform;

impl Shared {
    /// Finds the newest state, and the file that contains it.
    pub(super) fn newest(&self) -> Result<Newest> {
        let real = self.real()?;
        let mut newest = Newest::default();
        let mut torn = Vec::new();
        match self.disk.read(real) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                self.judge(real, &bytes)?;
                self.read_journal(real, &bytes, &mut newest, &mut torn)?;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.check_content(real)?;
                newest.damage = Some(Damage::Useless);
            }
            Err(error) => return Err(self.failed("read", &error)),
        }
        let whole = newest.state.clone();
        for slot in self.slots(real)? {
            let bytes = match self.disk.read(&slot) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                // A folder or a link there is no copy of ours.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::InvalidData) || platform::is_link_refused(&error) =>
                {
                    newest.foreign.push(slot);
                    continue;
                }
                // A process of another user made this file and was stopped before it wrote into it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && self.is_empty(&slot) => continue,
                // It may be the only file with the newest token, so no older token is sent, and the file is not written
                // over.
                Err(error) => return Err(self.failed("read", &error)),
            };
            self.read_copy((real, slot), &bytes, whole.as_ref(), &mut newest, &mut torn)?;
        }
        // A torn text counts only if it is newer than every whole one.
        let sequence = newest.state.as_ref().map(|state| state.sequence);
        torn.retain(|(remains, _)| sequence.is_none_or(|sequence| remains.sequence > sequence));
        if let Some((remains, source)) = torn.into_iter().max_by_key(|(remains, _)| remains.sequence) {
            let base = newest.state.take().unwrap_or_else(|| State::new(self.codec.issuer()));
            let sent = remains.sent;
            newest.state = Some(base.recover(remains));
            newest.damage = newest.damage.map(|_| match source {
                Source::Journal => Damage::Salvaged { sent },
                Source::Copy => Damage::Copied,
            });
        }
        for (slot, locked) in std::mem::take(&mut newest.locked) {
            let Header { id, sequence, .. } = &locked.header;
            let is_of = |journal: &State| journal.id.map(|id| id.to_string()) == *id;
            let is_older = |state: &State| sequence.is_some_and(|sequence| sequence < state.sequence);
            match slot {
                Some(slot) if whole.as_ref().is_some_and(|journal| !is_of(journal)) => newest.foreign.push(slot),
                // The copy was torn before it contained anything.
                Some(_) if sequence.is_none() => {}
                slot if newest.state.as_ref().is_some_and(is_older) => newest.copies.extend(slot),
                _ => return Err(locked.error(&format!("journal {}", self.given.display()))),
            }
        }
        Ok(newest)
    }

    /// Reads the content at the path of the journal.
    fn read_journal(
        &self,
        real: &Path,
        bytes: &[u8],
        newest: &mut Newest,
        torn: &mut Vec<(Remains, Source)>,
    ) -> Result<()> {
        let issuer = self.codec.issuer();
        newest.journal = Some(format::digest_of(bytes));
        let Opened { text, form } = match self.codec.open(bytes) {
            Ok(opened) => opened,
            Err(Shut::Newer(version)) => return Err(self.too_new(version)),
            Err(Shut::OtherIssuer(other)) => return Err(self.other_issuer(&other)),
            Err(Shut::Locked(locked)) => {
                newest.locked.push((None, locked));
                return Ok(());
            }
        };
        newest.form = Some(form);
        match format::decode(&text) {
            // The journal itself decides which issuer it belongs to, and not the files beside it.
            Ok(state) if state.issuer != issuer => return Err(self.other_issuer(&state.issuer)),
            Ok(state) => {
                self.home.note(real);
                newest.state = Some(state);
            }
            Err(Unreadable::Newer(version)) => return Err(self.too_new(version)),
            Err(Unreadable::Damaged) => {
                if let Some(other) = format::issuer_of(&text).filter(|other| other != issuer) {
                    return Err(self.other_issuer(&other));
                }
                newest.damage = Some(Damage::Useless);
                let remains = format::salvage(&text, issuer, &name_of(real));
                torn.extend(remains.map(|remains| (remains, Source::Journal)));
            }
        }
        Ok(())
    }

    /// Reads the content in a place for a copy, beside a journal that is whole or not.
    fn read_copy(
        &self,
        (real, slot): (&Path, PathBuf),
        bytes: &[u8],
        whole: Option<&State>,
        newest: &mut Newest,
        torn: &mut Vec<(Remains, Source)>,
    ) -> Result<()> {
        let (issuer, name) = (self.codec.issuer(), name_of(real));
        if !ours::is_copy(bytes, (issuer, &name)) {
            newest.foreign.push(slot);
            return Ok(());
        }
        let Opened { text, form } = match self.codec.open(bytes) {
            Ok(opened) => opened,
            Err(Shut::Newer(version)) => return Err(self.too_new(version)),
            Err(Shut::OtherIssuer(_)) => {
                newest.foreign.push(slot);
                return Ok(());
            }
            Err(Shut::Locked(copy)) => {
                newest.locked.push((Some(slot), copy));
                return Ok(());
            }
        };
        match format::decode(&text) {
            Ok(state) if state.issuer != issuer => newest.foreign.push(slot),
            // This copy belongs to another account, whose journal was at this path before. It is neither used nor
            // written over.
            Ok(state) if whole.is_some_and(|journal| !are_related(&state, journal)) => newest.foreign.push(slot),
            Ok(state) => {
                if newest.state.as_ref().is_none_or(|best| is_newer(&state, best)) {
                    // A copy in a container is lost with the container, and other containers cannot see it.
                    let volatile = slot.parent() != real.parent() || platform::is_mounted_alone(real);
                    newest.state = Some(State { volatile, ..state });
                    newest.damage = newest.damage.map(|_| Damage::Copied);
                    newest.form = Some(form);
                }
                newest.copies.push(slot);
            }
            Err(Unreadable::Newer(version)) => return Err(self.too_new(version)),
            Err(Unreadable::Damaged) => {
                if let Some(remains) = format::salvage(&text, issuer, &name) {
                    torn.push((remains, Source::Copy));
                    newest.copies.push(slot);
                } else if self.codec.has_key() && !ours::holds_nothing(bytes) {
                    // The copy can contain a part of a token. The next write removes it.
                    newest.copies.push(slot);
                }
            }
        }
        Ok(())
    }

    /// Reads what can be known about a journal whose key is lost.
    pub(super) fn whatever_is_there(&self, real: &Path) -> Result<Newest> {
        let mut newest = Newest::default();
        let mut sequence = None;
        for path in [real.to_owned()].into_iter().chain(self.slots(real)?) {
            let bytes = match self.disk.read(&path) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) if path == real => return Err(self.failed("read", &error)),
                Err(_) => {
                    newest.foreign.push(path);
                    continue;
                }
            };
            match self.codec.open(&bytes) {
                Ok(opened) => {
                    sequence = sequence.max(format::decode(&opened.text).ok().map(|state| state.sequence));
                }
                Err(Shut::Locked(locked)) => sequence = sequence.max(locked.header.sequence),
                Err(Shut::Newer(version)) => return Err(self.too_new(version)),
                Err(Shut::OtherIssuer(_)) if path != real => newest.foreign.push(path),
                Err(Shut::OtherIssuer(issuer)) => return Err(self.other_issuer(&issuer)),
            }
        }
        newest.state = sequence.map(|sequence| State { sequence, ..State::new(self.codec.issuer()) });
        Ok(newest)
    }
}

#[derive(Default)]
pub(super) struct Newest {
    pub(super) state: Option<State>,
    /// The copies of the journal that contain something. None of them is written over before a newer state is durable.
    pub(super) copies: Vec<PathBuf>,
    /// Other files that lie in the places of copies.
    pub(super) foreign: Vec<PathBuf>,
    /// A digest of the content at the journal's own path.
    pub(super) journal: Option<String>,
    /// The damage of the journal, if there is any, and what is used instead.
    pub(super) damage: Option<Damage>,
    /// The form in which the state was written.
    pub(super) form: Option<Form>,
    /// The contents that cannot be read without another key: the journal itself (`None`) or a copy. If a process was
    /// stopped while the key changed, such a content can be older than a copy that is sealed with the key that was
    /// given.
    pub(super) locked: Vec<(Option<PathBuf>, Box<Locked>)>,
}

/// The part that is used if the journal is damaged.
#[derive(Clone, Copy)]
pub(super) enum Damage {
    /// Nothing is usable, and there is no copy.
    Useless,
    /// A copy is used.
    Copied,
    /// The journal's own token is used: its record is whole. `sent` tells whether a request with it had begun.
    Salvaged { sent: bool },
}

/// The place of a torn text.
#[derive(Clone, Copy)]
enum Source {
    Journal,
    Copy,
}

/// Whether a copy is newer than the best state so far. The journal is read first, so it wins if both are equal.
fn is_newer(state: &State, best: &State) -> bool {
    state.sequence > best.sequence || (state.sequence == best.sequence && state.came_after(best))
}

/// Whether one of two states can have come from the other: one of them knows the token of the other.
fn are_related(one: &State, other: &State) -> bool {
    let knows =
        |state: &State, other: &State| other.fingerprint().is_none_or(|token| state.recognise(token) != Known::Unknown);
    knows(one, other) || knows(other, one)
}
