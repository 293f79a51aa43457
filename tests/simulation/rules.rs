//! The facts about each request, by which a break of a rule is excused or not. A break is excused only if the protocol could not know better.

use std::collections::BTreeSet;

use ring_auth::Secret;
use ring_auth::journal::state::{Mark, State};
use ring_auth::journal::{Codec, record};
use ring_auth::token::Fingerprint;

use crate::host::{ISSUER, raw};

/// The facts about one request on its host, at Ring and in the engine.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact that one rule needs")]
pub struct Request {
    pub host: usize,
    pub process: u64,
    pub token: usize,
    /// The number of the write that brought its mark into the record.
    mark: u64,
    /// The token that Ring gave for it.
    pub child: Option<usize>,
    pub is_refused: bool,
    /// Whether its process has stopped waiting for it.
    pub is_over: bool,
    /// Whether its answer is on the disk of its host.
    is_spooled: bool,
    /// The write that brought its answer into the record, if the engine did not forget that write.
    kept: Option<u64>,
    /// The write with its answer that the engine forgot.
    forgotten: Option<u64>,
    /// Whether its host stopped or died, or could not use the engine, before the record had its answer; or the answer was lost.
    has_trouble: bool,
    /// Whether its answer is gone forever.
    is_lost: bool,
}

impl Request {
    fn is_open(&self) -> bool {
        !self.is_over || (self.child.is_some() && self.kept.is_none())
    }
}

/// Where a process died, by what had become of its last request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It had no request under way: the mark was not written yet, or nothing was sent with it, or the record had the answer.
    NoRequest,
    /// Ring had not received the request.
    OnItsWay,
    /// Ring had answered, and the answer was on no disk.
    BeforeTheDisk,
    /// The disk had the answer, and the record did not.
    BeforeTheStore,
}

impl Moment {
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRequest => "no request under way",
            Self::OnItsWay => "request on its way to Ring",
            Self::BeforeTheDisk => "answered, not on the disk",
            Self::BeforeTheStore => "on the disk, not in the store",
        }
    }
}

/// All requests of an execution, and what each host has seen of the record.
#[derive(Default)]
pub struct Requests {
    pub all: Vec<Request>,
    /// For each write of the record: the write that it replaced.
    writes: Vec<u64>,
    /// The writes that the engine forgot.
    forgotten: BTreeSet<u64>,
    /// The writes that the process of each host has seen, with all that they replaced.
    seen: Vec<BTreeSet<u64>>,
    /// The tokens whose marks a spool has, although the record did not take them.
    marked_in_vain: Vec<Fingerprint>,
    /// The last record that the process of each host has written.
    written: Vec<(u64, String)>,
}

fn state(value: &str) -> Option<State> {
    record::decode(&Secret::from(value), &Codec::from(ISSUER), "the engine").ok()
}

fn fingerprint(token: usize) -> Fingerprint {
    Fingerprint::of(&raw(token))
}

/// Whether a value of the engine has a token, or knows that it was spent.
fn has(value: &str, token: usize) -> bool {
    match state(value) {
        Some(state) => state.known.contains(&fingerprint(token)),
        // The models write only the token.
        None => value.split_once(':').is_some_and(|(refresh, _)| refresh == token.to_string()),
    }
}

/// Whether a state has a token that may still be sent.
fn can_send(state: &State, token: usize) -> bool {
    let family = |family: &ring_auth::journal::state::Family| family.current.token.fingerprint() == fingerprint(token);
    let is_held = state.family.as_ref().is_some_and(family)
        || state.fallback.as_ref().is_some_and(family)
        || state.siblings.iter().any(|sibling| sibling.held.token.fingerprint() == fingerprint(token));
    is_held && !state.is_rejected(fingerprint(token))
}

impl Requests {
    pub fn new(hosts: usize) -> Self {
        Self { seen: vec![BTreeSet::new(); hosts], written: vec![(0, String::new()); hosts], ..Self::default() }
    }

    fn is_of(&self, at: usize, host: usize, process: u64) -> bool {
        (self.all[at].host, self.all[at].process) == (host, process)
    }

    fn of(&mut self, host: usize, process: u64) -> impl Iterator<Item = &mut Request> {
        self.all.iter_mut().filter(move |request| (request.host, request.process) == (host, process))
    }

    pub fn has_open(&self, host: usize, process: u64) -> bool {
        (0..self.all.len()).any(|at| self.is_of(at, host, process) && self.all[at].is_open())
    }

    /// Notes that a process has read or written the record of this write.
    pub fn saw(&mut self, host: usize, mut write: u64) {
        while write > 0 && self.seen[host].insert(write) {
            write = self.writes[usize::try_from(write).unwrap() - 1];
        }
    }

    /// Notes that a process knows that its write was stored.
    pub fn wrote(&mut self, host: usize, write: u64, value: String) {
        self.saw(host, write);
        self.written[host] = (write, value);
    }

    /// Notes that the engine stores a value, which replaces that of another write.
    pub fn keep(&mut self, write: u64, over: u64, value: &str) {
        self.writes.push(over);
        assert_eq!(self.writes.len(), usize::try_from(write).unwrap());
        for request in self.all.iter_mut().filter(|request| request.kept.is_none()) {
            let rejects = |token| state(value).is_some_and(|state| state.is_rejected(fingerprint(token)));
            let is_in = request.child.map_or(request.is_refused && rejects(request.token), |child| has(value, child));
            if is_in {
                request.kept = Some(write);
            }
        }
    }

    pub fn forget(&mut self, write: u64) {
        self.forgotten.insert(write);
        for request in self.all.iter_mut().filter(|request| request.kept == Some(write)) {
            request.forgotten = request.kept.take();
        }
    }

    /// Notes that the answers to the requests of a process are on the disk of its host.
    pub fn spooled(&mut self, host: usize, process: u64) {
        self.of(host, process).filter(|request| request.is_over).for_each(|request| request.is_spooled = true);
    }

    /// Notes that a host stops, or cannot use the engine.
    pub fn has_trouble(&mut self, host: usize, process: u64) {
        self.of(host, process).filter(|request| request.is_open()).for_each(|request| request.has_trouble = true);
    }

    /// Returns how far the last request was of a process that dies now.
    pub fn moment(&self, host: usize, process: u64) -> Moment {
        match self.all.iter().rfind(|request| (request.host, request.process) == (host, process)) {
            Some(request) if !request.is_open() => Moment::NoRequest,
            Some(request) if request.child.is_none() && !request.is_refused => Moment::OnItsWay,
            Some(request) if !request.is_spooled => Moment::BeforeTheDisk,
            Some(_) => Moment::BeforeTheStore,
            None => Moment::NoRequest,
        }
    }

    pub fn dies(&mut self, host: usize, process: u64) {
        self.has_trouble(host, process);
        // A rejection does not count once another host has written, so it is lost unless the record has it.
        let is_nowhere = |request: &Request| !request.is_spooled || (request.is_refused && request.kept.is_none());
        self.of(host, process).filter(|request| is_nowhere(request)).for_each(|request| request.is_lost = true);
        self.seen[host].clear();
    }

    pub fn loses(&mut self, at: usize) {
        self.all[at].has_trouble = true;
        self.all[at].is_lost = true;
    }

    /// A write of the record failed. The spool has the mark that was in it: to the next process the token may have been sent.
    pub fn marks_in_vain(&mut self, value: &str) {
        let mark = state(value).and_then(|state| state.mark).filter(Mark::is_of_a_request);
        self.marked_in_vain.extend(mark.map(|mark| mark.fingerprint));
    }

    pub fn begin(&mut self, host: usize, process: u64, token: usize) -> usize {
        let mark = self.written[host].0;
        self.all.push(Request {
            host,
            process,
            token,
            mark,
            child: None,
            is_refused: false,
            is_over: false,
            is_spooled: false,
            kept: None,
            forgotten: None,
            has_trouble: false,
            is_lost: false,
        });
        self.all.len() - 1
    }

    fn is_unseen(&self, write: u64, host: usize) -> bool {
        self.forgotten.contains(&write) && !self.seen[host].contains(&write)
    }

    /// Whether the engine forgot the mark of a request, and a host never saw it.
    pub fn has_no_mark_for(&self, at: usize, host: usize) -> bool {
        self.is_unseen(self.all[at].mark, host)
    }

    /// Whether the engine forgot the mark with which a host is about to send: another host may have a mark too.
    pub fn has_forgotten_mark_of(&self, host: usize) -> bool {
        self.forgotten.contains(&self.written[host].0)
    }

    /// Returns the rule that a host breaks if it sends a token, considering what the host could know. `disk` is the state in its spool.
    pub fn against(&self, host: usize, token: usize, disk: Option<&State>) -> Option<String> {
        let record = state(&self.written[host].1);
        let is_known = |child: usize| {
            let knows = |state: &&State| state.known.contains(&fingerprint(child));
            disk.iter().copied().chain(&record).filter(knows).map(|state| state.is_rejected(fingerprint(child))).min()
        };
        let spent = |token: usize| {
            let uses = self.all.iter().enumerate().filter(move |(_, request)| request.token == token);
            uses.filter_map(move |(at, request)| request.child.filter(|child| *child != token).map(|child| (at, child)))
        };
        for (at, child) in spent(token) {
            let is_rejected = is_known(child);
            if is_rejected == Some(false) {
                return Some(format!(
                    "(ii) t{token} is sent although its successor t{child} is known and was not rejected"
                ));
            }
            let request = &self.all[at];
            let is_forgotten = request.forgotten.is_some_and(|write| self.is_unseen(write, host));
            // The host may not know the successor at all, or may have lost the mark that would have made it wait.
            let is_unknown = is_forgotten || self.has_no_mark_for(at, host) || self.has_forgotten_mark_of(host);
            if is_rejected.is_none() && !request.has_trouble && !is_unknown {
                return Some(format!("(ii) t{token} is sent although nothing happened to the answer t{child}"));
            }
            for (later, grandchild) in spent(child) {
                // Two accidents together excuse this: the engine forgot the mark, and the record does not have the answer, because its host had
                // trouble or the engine forgot the answer as well.
                let answered = &self.all[later];
                let is_forgotten = answered.forgotten.is_some_and(|write| self.is_unseen(write, host));
                // One write brought the mark and the token that was sent with it, because that token's host had trouble before.
                let is_one_write = request.has_trouble && request.forgotten == Some(answered.mark);
                let is_excused = answered.has_trouble || is_forgotten || is_one_write;
                if !(self.has_no_mark_for(later, host) && is_excused) {
                    return Some(format!("(i) t{token} is two behind t{grandchild}"));
                }
            }
        }
        None
    }

    /// Returns the answers that reached a disk, and that a record does not know. Returns none if the engine forgot a write, because that may
    /// have had a spent token.
    pub fn dropped<'a>(&'a self, value: &'a str) -> impl Iterator<Item = usize> + 'a {
        // The newest answer may be on its way to the record.
        let kept = self.all.iter().rev().skip(1).filter(|request| request.is_spooled && !request.is_lost);
        let kept = kept.filter(|_| self.forgotten.is_empty());
        kept.filter_map(|request| request.child).filter(|child| !has(value, *child))
    }

    /// Whether a rejection is gone forever, so that the next rejection of that token is in doubt.
    pub fn lost_a_rejection(&self) -> bool {
        self.all.iter().any(|request| request.is_refused && request.is_lost)
    }

    /// Whether Ring refused a token after which the protocol does not send the one before it: the rejection is in doubt, or the hosts have
    /// another answer to that one.
    pub fn has_no_way_back(&self) -> bool {
        let refused: BTreeSet<_> =
            self.all.iter().filter(|request| request.is_refused).map(|request| request.token).collect();
        refused.into_iter().any(|token| {
            let mut uses = self.all.iter().filter(|request| request.token == token);
            let is_in_doubt = uses.any(|request| {
                let is_forgotten = request.forgotten.is_some() || self.forgotten.contains(&request.mark);
                request.has_trouble || request.is_lost || is_forgotten
            }) || self.marked_in_vain.contains(&fingerprint(token));
            let source = self.all.iter().find(|request| request.child == Some(token)).map(|request| request.token);
            let has_answer = |request: &&Request| Some(request.token) == source && !request.is_lost;
            let answers = self.all.iter().filter(has_answer).filter_map(|request| request.child);
            is_in_doubt || answers.collect::<BTreeSet<_>>().len() > 1
        })
    }

    /// Whether the answer that brought a token is gone forever, and no host and no record has the token. `Err` if they have lost the token
    /// without such a reason.
    pub fn is_gone(&self, token: usize, disks: &[Option<State>], value: Option<&str>) -> Result<bool, String> {
        let record = value.and_then(state);
        if disks.iter().flatten().chain(&record).any(|state| can_send(state, token)) {
            return Ok(false);
        }
        let mut bringers = self.all.iter().filter(|request| request.child == Some(token));
        if bringers.any(|request| request.is_lost) {
            return Ok(true);
        }
        Err(format!("(iv) t{token} is held nowhere, and its answer was not lost"))
    }
}
