//! Tests of many processes on one journal. All of them need access tokens that keep expiring, and the tests kill some
//! of them.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

mod support;

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ring_auth::files::Disk;
use ring_auth::journal::{JournalStore, Store};
use ring_auth::manager::{Event, Listener};
use support::Ring;

const PROCESSES: usize = 32;
const CALLERS: usize = 50;
const ROTATIONS: u32 = 100;
const KILLS: usize = 100;
const FEWER_KILLS: usize = 40;
/// The least number of refreshes while the test kills processes.
const FEWEST_REFRESHES: u32 = 20;
const FEWER_PROCESSES: usize = 6;
const FEWER_ROTATIONS: u32 = 40;
const RETARGETS: u32 = 20;
/// The limit after which a run that hangs fails.
const FAR_TOO_LONG: Duration = Duration::from_secs(900);

struct Nobody;

impl Listener for Nobody {
    fn on_event(&self, _event: Event) {}
}

/// One of the processes: the test binary, started again. Its callers call until its standard input ends.
#[test]
fn child() {
    let Ok(job) = std::env::var("RING_AUTH_CHILD") else { return };
    let mut words = job.split('\n');
    let mut word = || words.next().unwrap().to_owned();
    let (url, journal, token) = (word(), PathBuf::from(word()), word());
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        ended.store(true, Ordering::SeqCst);
    });
    let (calls, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let disk = Disk::default();
        let manager = support::manager(&journal, Some(token), disk, support::wire(&url), Arc::new(Nobody));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (manager, stop) = (manager.clone(), Arc::clone(&stop));
                let (calls, failed) = (Arc::clone(&calls), Arc::clone(&failed));
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        if let Err(error) = manager.auth().await {
                            eprintln!("FAILED {error} {:?}", error.cause());
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                        calls.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        manager.close().await;
    });
    println!("CALLS {} FAILED {}", calls.load(Ordering::SeqCst), failed.load(Ordering::SeqCst));
}

fn spawn(ring: &Ring, journal: &Path, token: &str) -> Child {
    spawn_by(Command::new(std::env::current_exe().unwrap()), ring, journal, token)
}

/// Starts the test binary again as another user.
fn spawn_as_nobody(ring: &Ring, journal: &Path, token: &str) -> Child {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(std::env::current_exe().unwrap());
    spawn_by(command, ring, journal, token)
}

fn spawn_by(mut command: Command, ring: &Ring, journal: &Path, token: &str) -> Child {
    command
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("RING_AUTH_CHILD", format!("{}\n{}\n{token}", ring.url, journal.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Ends a process normally. Returns the number of its calls, and of those that failed.
fn end(mut child: Child) -> (u64, u64) {
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.split_once("CALLS ")).map(|(_, rest)| rest.to_owned()).unwrap();
    let (calls, failed) = line.split_once(" FAILED ").unwrap();
    (calls.parse().unwrap(), failed.parse().unwrap())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < FAR_TOO_LONG, "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn short_lived(ring: &Ring, grace: Duration) {
    let mut account = ring.account();
    account.expires_in = 0.2;
    account.latency = Duration::from_millis(10);
    account.grace = grace;
}

#[test]
fn many_processes_rotate_one_account_and_never_two_at_once() {
    let ring = Ring::start();
    short_lived(&ring, Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.json");
    let token = ring.first_token();
    let children: Vec<_> = (0..PROCESSES).map(|_| spawn(&ring, &journal, &token)).collect();
    wait_until("the last rotation", || ring.account().refreshes >= ROTATIONS || ring.account().revoked);
    let (calls, failed) = children.into_iter().map(end).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let account = ring.account();
    println!(
        "processes: {PROCESSES}, callers: {}, calls: {calls}, failed: {failed}, rotations: {}, stale: {}, at once: {}",
        PROCESSES * CALLERS,
        account.refreshes,
        account.stale,
        account.most_at_once
    );
    assert_eq!((account.stale, failed, account.most_at_once), (0, 0, 1));
    assert!(account.refreshes >= ROTATIONS);
    assert!(calls > u64::from(account.refreshes) * 10);
}

#[test]
fn with_processes_killed_all_the_time_no_token_is_sent_after_its_grace() {
    kill_all_the_time(PROCESSES, KILLS, false);
}

#[test]
fn with_processes_killed_all_the_time_a_sealed_journal_stays_sealed_and_no_token_is_sent_after_its_grace() {
    kill_all_the_time(FEWER_PROCESSES, FEWER_KILLS, true);
}

fn kill_all_the_time(processes: usize, kills: usize, sealed: bool) {
    let ring = Ring::start();
    // Ring accepts a spent token again if it was the last one sent, because the answer may be lost, but no older one.
    short_lived(&ring, Duration::from_secs(60));
    ring.account().only_last = true;
    let folder = support::folder(sealed);
    let journal = folder.path().join("journal.json");
    let token = ring.first_token();
    let mut children: Vec<_> = (0..processes).map(|_| spawn(&ring, &journal, &token)).collect();
    wait_until("the first rotation", || ring.account().refreshes > 0);
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(100));
        let index = kill % children.len();
        let mut killed = std::mem::replace(&mut children[index], spawn(&ring, &journal, &token));
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let before = ring.account().refreshes;
    wait_until("a rotation after the last kill", || ring.account().refreshes > before.max(FEWEST_REFRESHES));
    let (calls, failed) = children.into_iter().map(end).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let account = ring.account();
    println!(
        "kills: {kills}, calls of the survivors: {calls}, failed: {failed}, rotations: {}, outside their grace: {}",
        account.refreshes, account.stale
    );
    assert_eq!((account.stale, failed), (0, 0));
    assert!(!account.revoked, "the account is still alive");
    assert!(account.refreshes > FEWEST_REFRESHES);
    assert_eq!(support::showing(folder.path()).is_empty(), sealed);
}

#[test]
fn root_and_the_owner_of_a_journal_never_refresh_at_once() {
    if !rustix::process::geteuid().is_root() {
        println!("LEFT OUT: two users need root");
        return;
    }
    let ring = Ring::start();
    short_lived(&ring, Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
    let journal = folder.path().join("journal.json");
    let token = ring.first_token();
    // A journal belongs to the user that creates it.
    let first = spawn_as_nobody(&ring, &journal, &token);
    wait_until("the first rotation", || ring.account().refreshes > 0);
    let children = (0..FEWER_PROCESSES)
        .flat_map(|_| [spawn(&ring, &journal, &token), spawn_as_nobody(&ring, &journal, &token)])
        .chain([first]);
    let children: Vec<_> = children.collect();
    wait_until("the last rotation", || ring.account().refreshes >= FEWER_ROTATIONS || ring.account().revoked);
    let (calls, failed) = children.into_iter().map(end).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let account = ring.account();
    println!(
        "two users: calls: {calls}, failed: {failed}, rotations: {}, stale: {}, at once: {}",
        account.refreshes, account.stale, account.most_at_once
    );
    assert_eq!((account.stale, failed, account.most_at_once), (0, 0, 1));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), 65534, "{}", entry.path().display());
    }
}

#[test]
fn many_processes_follow_a_link_that_is_retargeted_again_and_again() {
    let ring = Ring::start();
    short_lived(&ring, Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("journal.json");
    let token = ring.first_token();
    support::retarget(&link, "copy-0.json");
    let children: Vec<_> = (0..FEWER_PROCESSES * 2).map(|_| spawn(&ring, &link, &token)).collect();
    wait_until("the first rotation", || ring.account().refreshes > 0);
    let store = JournalStore::open(&link, support::wire(&ring.url).endpoints().issuer(), Disk::default()).unwrap();
    for number in 1..=RETARGETS {
        let rotations = ring.account().refreshes;
        wait_until("a rotation", || ring.account().refreshes > rotations || ring.account().revoked);
        // A careful administrator retargets the link between two requests.
        let mut guard = None;
        wait_until("the lock", || {
            guard = store.try_lock().unwrap();
            guard.is_some()
        });
        let next = format!("copy-{number}.json");
        std::fs::copy(&link, folder.path().join(&next)).unwrap();
        let changed = folder.path().join("changed");
        support::retarget(&changed, &next);
        std::fs::rename(changed, &link).unwrap();
    }
    let rotations = ring.account().refreshes;
    wait_until("two rotations more", || ring.account().refreshes > rotations + 1 || ring.account().revoked);
    let (calls, failed) = children.into_iter().map(end).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let account = ring.account();
    println!(
        "retargeted: {RETARGETS} times, calls: {calls}, failed: {failed}, rotations: {}, stale: {}, at once: {}",
        account.refreshes, account.stale, account.most_at_once
    );
    assert_eq!((account.stale, failed, account.most_at_once), (0, 0, 1));
}
