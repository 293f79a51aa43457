//! Tests, on every system, of the storage calls of one rotation, and of what another process reads from the journal
//! during rotations.

#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ring_auth::files::{Disk, Moment, Probe};
use ring_auth::journal::{Begun, Guard, JournalStore, Notice, Store};
use ring_auth::token::RefreshToken;

const ISSUER: &str = "https://oauth.ring.com";
/// The least number of times that the other process opens the journal. It is rotated `ROTATIONS` times or more
/// meanwhile.
const LOOKS: u64 = 400;
const ROTATIONS: u32 = 60;
/// The limit after which a run that hangs fails.
const FAR_TOO_LONG: Duration = Duration::from_secs(600);

/// Environment variable with the path of the journal for the other process.
const JOURNAL: &str = "RING_AUTH_ROTATION_JOURNAL";

/// Records each storage call when it is done, with the file name only.
#[derive(Default)]
struct Trace(Mutex<Vec<(&'static str, String)>>);

impl Trace {
    fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Probe for Trace {
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        if moment == Moment::After {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.0.lock().unwrap().push((call, name));
        }
        Ok(())
    }
}

fn begin(guard: &mut dyn Guard) -> (ring_auth::journal::state::State, Vec<Notice>) {
    let mut state = guard.read().unwrap().state;
    match guard.begin(&mut state).unwrap() {
        Begun::Ready(notices) => (state, notices),
        Begun::Overtaken(_) => panic!("no other process writes"),
    }
}

/// Rotates once, as the manager does. Returns the messages for the user.
fn rotate(store: &JournalStore, number: u32) -> Vec<Notice> {
    let mut guard = store.try_lock().unwrap().unwrap();
    let (mut state, mut notices) = begin(guard.as_mut());
    state.take_over(RefreshToken::from_raw(&format!("a token with the number {number}")), u64::from(number));
    notices.extend(guard.commit(&mut state).unwrap());
    notices
}

fn journal() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.json");
    rotate(&JournalStore::open(&path, ISSUER, Disk::default()).unwrap(), 0);
    (folder, path)
}

#[test]
fn of_one_rotation_the_journal_is_touched_by_two_renames_alone_each_of_a_file_that_was_synced() {
    let (_folder, path) = journal();
    let trace = Arc::new(Trace::default());
    let store = JournalStore::open(&path, ISSUER, Disk::with_probe(Arc::clone(&trace) as Arc<dyn Probe>)).unwrap();
    let mut guard = store.try_lock().unwrap().unwrap();
    let mut calls = trace.take();
    calls.push(("--", "locked".into()));
    let (mut state, _) = begin(guard.as_mut());
    calls.extend(trace.take());
    calls.push(("--", "the request".into()));
    state.take_over(RefreshToken::from_raw("the token of the answer"), 1);
    guard.commit(&mut state).unwrap();
    calls.extend(trace.take());
    drop(guard);
    println!("one rotation on {}:", std::env::consts::OS);
    for (call, name) in &calls {
        println!("  {call:<12} {name}");
    }
    let changes = ["create", "write", "truncate", "remove", "rename", "chown"];
    let of_journal: Vec<_> =
        calls.iter().filter(|(call, name)| name == "j.json" && changes.contains(call)).map(|(call, _)| *call).collect();
    assert_eq!(of_journal, ["rename", "rename"]);
    for (at, _) in calls.iter().enumerate().filter(|(_, (call, _))| *call == "rename") {
        let last = calls[..at].iter().rev().find(|(call, _)| ["write", "truncate", "sync"].contains(call)).unwrap();
        assert_eq!(last.0, "sync", "what takes the name is on the disk: {calls:?}");
        let next = calls[at..].iter().skip(1).find(|(call, _)| ["sync-dir", "write", "--"].contains(call)).unwrap();
        assert_eq!(next.0, "sync-dir", "and so is the name, before anything follows: {calls:?}");
    }
    let request = calls.iter().position(|(_, name)| name == "the request").unwrap();
    let creations = calls[request..].iter().filter(|(call, _)| *call == "create").count();
    assert_eq!(creations, 0, "the answer needs no new file");
}

/// The other process: the test binary, started again. It opens the journal again and again until its standard input ends.
#[test]
fn reader() {
    let Ok(path) = std::env::var(JOURNAL) else { return };
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = done.send(());
    });
    let (mut looks, mut missing, mut refused, mut torn) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut last = String::new();
    while end.try_recv().is_err() {
        looks += 1;
        match std::fs::read(&path) {
            Ok(text) if is_whole(&text) => {}
            Ok(_) => torn += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing += 1,
            Err(error) => {
                refused += 1;
                last = error.to_string();
            }
        }
        // This line reports the progress to the process that waits for it.
        if looks % 20 == 0 {
            println!("LOOKED {looks}");
        }
    }
    println!("END {looks} {missing} {refused} {torn} {last}");
}

fn is_whole(text: &[u8]) -> bool {
    text.starts_with(b"{") && text.trim_ascii_end().ends_with(b"}")
}

struct Seen {
    looks: u64,
    missing: u64,
    refused: u64,
    torn: u64,
    last: String,
}

/// Rotates while another process looks at the journal.
fn rotate_while_another_looks(path: &Path) -> (Seen, Vec<Notice>) {
    let output = path.with_file_name("output");
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reader", "--nocapture", "--test-threads=1"])
        .env(JOURNAL, path)
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(&output).unwrap())
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(&output).unwrap_or_default();
    let looked =
        || said().lines().filter_map(|line| line.split("LOOKED ").nth(1)?.parse().ok()).next_back().unwrap_or(0);
    let began = Instant::now();
    let wait = |what: &str| {
        assert!(began.elapsed() < FAR_TOO_LONG, "{what} never came: {}", said());
        std::thread::sleep(Duration::from_millis(10));
    };
    while looked() == 0 {
        wait("the first look");
    }
    let store = JournalStore::open(path, ISSUER, Disk::default()).unwrap();
    let (mut rotations, mut notices, first) = (0, Vec::new(), looked());
    while rotations < ROTATIONS || looked() < first + LOOKS {
        rotations += 1;
        notices.extend(rotate(&store, rotations));
        assert!(began.elapsed() < FAR_TOO_LONG, "{rotations} rotations, {} looks", looked());
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let text = said();
    let end = text.lines().find_map(|line| line.split("END ").nth(1)).unwrap();
    let mut words = end.splitn(5, ' ');
    let mut number = || words.next().unwrap().parse::<u64>().unwrap();
    let (looks, missing, refused, torn) = (number(), number(), number(), number());
    let last = words.next().unwrap_or_default().to_owned();
    println!("{rotations} rotations, {looks} looks: {missing} missing, {refused} refused ({last}), {torn} not whole");
    (Seen { looks, missing, refused, torn, last }, notices)
}

#[test]
fn while_another_process_looks_the_journal_is_never_missing_and_always_whole() {
    let (_folder, path) = journal();
    let (seen, notices) = rotate_while_another_looks(&path);
    assert!(seen.looks >= LOOKS);
    assert_eq!(seen.missing, 0, "its name is always there");
    assert_eq!(seen.refused, 0, "and can be opened: {}", seen.last);
    assert_eq!(seen.torn, 0, "and what is there is whole");
    assert!(notices.is_empty(), "it is replaced, not written in place: {:?}, {} times", notices[0], notices.len());
}

#[test]
fn while_another_process_looks_the_name_of_the_journal_is_never_missing() {
    let (_folder, path) = journal();
    let (seen, _) = rotate_while_another_looks(&path);
    assert!(seen.looks >= LOOKS);
    assert_eq!(seen.missing, 0);
}
