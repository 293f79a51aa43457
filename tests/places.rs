//! Tests of one journal with several paths: mounted as a single file into two containers, under a second name, through
//! a link whose target changes, and used by processes of one user with different environments.
//!
//! The containers are real mount namespaces and the other user is a real one, so these tests need root. Without it each
//! prints that it was left out.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

mod support;

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ring_auth::files::{Disk, Moment, Probe};
use ring_auth::manager::{Event, Listener, Manager, activity};
use support::{Ring, copy_folder, retarget};

const ROUNDS: usize = 25;
const NOBODY: u32 = 65534;
/// A user that no user namespace of these tests maps.
const UNMAPPED: u32 = 100_000;
const ENOLCK: i32 = 37;

struct Quiet;

impl Listener for Quiet {
    fn on_event(&self, _event: Event) {}
}

/// Simulated file system without locks. Only in a private folder of the user do locks work.
struct NoLocks(PathBuf);

impl Probe for NoLocks {
    fn at(&self, call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        let is_lock = call == "lock" && moment == Moment::Before && path.starts_with(&self.0);
        if is_lock { Err(io::Error::from_raw_os_error(ENOLCK)) } else { Ok(()) }
    }
}

/// The task of a child.
#[derive(Clone, Copy)]
struct Job<'a> {
    ring: &'a Ring,
    journal: &'a Path,
    token: &'a str,
    rounds: usize,
    without_locks: bool,
}

/// The process that refreshes: the test binary, started again. It waits for a line on its standard input before it begins.
#[test]
fn child() {
    let Ok(job) = std::env::var("RING_AUTH_CHILD") else { return };
    let mut words = job.split('\n');
    let mut word = || words.next().unwrap().to_owned();
    let (url, journal, token) = (word(), PathBuf::from(word()), word());
    let (rounds, without_locks) = (word().parse().unwrap(), word() == "true");
    runtime().block_on(async {
        let disk = if without_locks {
            Disk::with_probe(Arc::new(NoLocks(journal.parent().unwrap().to_owned())))
        } else {
            Disk::default()
        };
        println!("READY");
        let _ = io::stdin().read(&mut [0]);
        let token = Some(token).filter(|token| !token.is_empty());
        let manager = support::manager(&journal, token, disk, support::wire(&url), Arc::new(Quiet));
        let mut failures = Vec::new();
        for _ in 0..rounds {
            if let Err(error) = manager.refresh(false).await {
                failures.push(format!("{}: {}", error.code().as_str(), error.message()));
            }
        }
        // Waits until the manager has written its state, if it can.
        for _ in 0..1000 {
            if manager.status().persisted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        manager.close().await;
        println!("DONE {}", summary(&failures));
    });
}

/// Lists each message once with its count, so that the output of a failed test stays readable.
fn summary(failures: &[String]) -> String {
    let different: BTreeSet<_> = failures.iter().collect();
    let count = |sentence: &String| failures.iter().filter(|other| *other == sentence).count();
    different.iter().map(|sentence| format!("{} x {sentence}", count(sentence))).collect::<Vec<_>>().join(" | ")
}

struct Started {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Started {
    /// Starts a child by a command that finally runs its arguments.
    fn new(mut by: Command, job: &Job<'_>) -> Self {
        let Job { ring, journal, token, rounds, without_locks } = job;
        let job = format!("{}\n{}\n{token}\n{rounds}\n{without_locks}", ring.url, journal.display());
        let mut child = by
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env("RING_AUTH_CHILD", job)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut started = Self { child, output };
        started.line("READY");
        started
    }

    fn go(&mut self) {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until the child ends, and returns its failures.
    fn failures(mut self) -> String {
        let failures = self.line("DONE ");
        assert!(self.child.wait().unwrap().success());
        failures
    }

    fn line(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the child ended before {beginning}");
            // The test harness prints the name of the test in front of the first line.
            if let Some((_, rest)) = line.split_once(beginning) {
                return rest.trim().to_owned();
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn plain(program: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(program);
    command
}

/// A command in a mount namespace of its own, in which one file is mounted over another.
fn in_container(shared: &Path, mounted: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", "mount --bind \"$0\" \"$1\" && shift && exec \"$@\""]);
    command.args([shared, mounted]);
    command
}

fn as_nobody(variables: &[(&str, &Path)]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "-u", "XDG_RUNTIME_DIR"]);
    for (name, value) in variables {
        command.arg(format!("{name}={}", value.display()));
    }
    command
}

/// Whether the calling test can create mount namespaces and other users; prints a message if it cannot.
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("LEFT OUT: {test} needs root");
    }
    is_root
}

/// A folder that every user can enter.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn busy(ring: &Ring) {
    ring.account().latency = Duration::from_millis(5);
}

fn assert_never_two(ring: &Ring) {
    let account = ring.account();
    assert_eq!((account.stale, account.most_at_once, account.revoked), (0, 1, false), "stale, at once, revoked");
}

fn open(ring: &Ring, journal: &Path, token: Option<String>) -> Manager {
    support::manager(journal, token, Disk::default(), support::wire(&ring.url), Arc::new(Quiet))
}

#[test]
fn a_journal_mounted_alone_into_two_containers_is_refreshed_by_one_at_a_time() {
    if !is_root("a_journal_mounted_alone_into_two_containers_is_refreshed_by_one_at_a_time") {
        return;
    }
    let ring = Ring::start();
    busy(&ring);
    let folder = folder();
    let shared = folder.path().join("shared.json");
    let token = ring.first_token();
    let job = Job { ring: &ring, journal: &shared, token: &token, rounds: ROUNDS, without_locks: false };
    let mut first = Started::new(plain("nice"), &Job { rounds: 1, ..job });
    first.go();
    assert_eq!(first.failures(), "");
    let mut containers: Vec<_> = ["one", "two", "three"]
        .map(|name| {
            let own = folder.path().join(name);
            std::fs::create_dir(&own).unwrap();
            let journal = own.join("j.json");
            support::write_private(&journal, "");
            Started::new(in_container(&shared, &journal), &Job { journal: &journal, ..job })
        })
        .into_iter()
        .collect();
    containers.iter_mut().for_each(Started::go);
    let failures: Vec<_> = containers.into_iter().map(Started::failures).collect();
    assert_never_two(&ring);
    assert_eq!(failures, ["", "", ""]);
    for name in ["one", "two", "three"] {
        let left = support::names(&folder.path().join(name));
        assert_eq!(left, ["j.json", "j.json.lock"], "no journal was taken for damaged");
    }
}

#[test]
fn a_container_whose_journal_was_replaced_outside_of_it_sends_nothing() {
    if !is_root("a_container_whose_journal_was_replaced_outside_of_it_sends_nothing") {
        return;
    }
    let ring = Ring::start();
    busy(&ring);
    let folder = folder();
    let shared = folder.path().join("shared.json");
    let token = ring.first_token();
    let job = Job { ring: &ring, journal: &shared, token: &token, rounds: ROUNDS, without_locks: false };
    let mut first = Started::new(plain("nice"), &Job { rounds: 1, ..job });
    first.go();
    assert_eq!(first.failures(), "");
    let [mut at_once, mut afterwards] = ["one", "two"].map(|name| {
        let own = folder.path().join(name);
        std::fs::create_dir(&own).unwrap();
        let journal = own.join("j.json");
        support::write_private(&journal, "");
        Started::new(in_container(&shared, &journal), &Job { journal: &journal, ..job })
    });
    let mut host = Started::new(plain("nice"), &job);
    at_once.go();
    host.go();
    let (of_host, of_container) = (host.failures(), at_once.failures());
    afterwards.go();
    let refused = afterwards.failures();
    assert_never_two(&ring);
    assert_eq!(of_host, "", "a process that sees the folder continues");
    assert!(of_container.is_empty() || of_container.contains("x STORE: "), "{of_container}");
    let says_so = refused.starts_with(&format!("{ROUNDS} x STORE: ")) && refused.contains("was replaced outside");
    assert!(says_so, "{refused:?}");
}

#[test]
fn root_in_a_read_only_container_shares_the_journal_of_another_user_by_its_own_lock() {
    if !is_root("root_in_a_read_only_container_shares_the_journal_of_another_user_by_its_own_lock") {
        return;
    }
    let ring = Ring::start();
    busy(&ring);
    let folder = folder();
    let own = folder.path().join("service");
    std::fs::create_dir(&own).unwrap();
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let shared = own.join("j.json");
    let token = ring.first_token();
    let job = Job { ring: &ring, journal: &shared, token: &token, rounds: 1, without_locks: false };
    let mut owner = Started::new(as_nobody(&[]), &job);
    owner.go();
    assert_eq!(owner.failures(), "");
    let journals = ["one", "two"].map(|name| {
        let journal = folder.path().join(name).join("j.json");
        std::fs::create_dir(journal.parent().unwrap()).unwrap();
        support::write_private(&journal, "");
        journal
    });
    // The folder of the mounted journal is read-only, so root can create no lock and no copy in it. In its own folders
    // root creates none for the files of another user.
    let mount = "mount --bind \"$2\" \"$2\" && mount -o remount,bind,ro \"$2\" && mount --bind \"$0\" \"$1\"";
    let mut containers = journals.each_ref().map(|journal| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &format!("{mount} && shift 2 && exec \"$@\"")]);
        command.args([&shared, journal, journal.parent().unwrap()]);
        Started::new(command, &Job { journal, rounds: ROUNDS, ..job })
    });
    containers.iter_mut().for_each(Started::go);
    let failures = containers.map(Started::failures);
    assert_never_two(&ring);
    assert_eq!(failures, ["", ""]);
    let mut owner = Started::new(as_nobody(&[]), &job);
    owner.go();
    assert_eq!(owner.failures(), "");
    assert_never_two(&ring);
}

#[test]
fn a_container_waits_for_the_one_that_was_stopped_in_the_middle_of_a_write() {
    if !is_root("a_container_waits_for_the_one_that_was_stopped_in_the_middle_of_a_write") {
        return;
    }
    // The first tear leaves no readable record, the second one leaves the whole record of the spent token.
    let tears: [fn(&str, &str) -> String; 2] = [
        |_, after| after[..after.len() / 4].to_owned(),
        |before, after| {
            let (start, end) = (after.find("\n  \"current\"").unwrap(), before.find("\n  \"current\"").unwrap());
            format!("{}{}", &after[..start], &before[end..])
        },
    ];
    for tear in tears {
        let ring = Ring::start();
        let folder = folder();
        let shared = folder.path().join("j.json");
        let token = ring.first_token();
        let job = Job { ring: &ring, journal: &shared, token: &token, rounds: 2, without_locks: false };
        // The mark of the second request stays until Ring answers.
        ring.account().holds_from = Some(2);
        let mut first = Started::new(plain("nice"), &job);
        first.go();
        while ring.account().refreshes < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let marked = std::fs::read_to_string(&shared).unwrap();
        assert!(marked.contains("\"mark\": {"), "{marked}");
        ring.account().holds_from = None;
        assert_eq!(first.failures(), "");
        let whole = std::fs::read_to_string(&shared).unwrap();
        let journals = ["one", "two"].map(|name| {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            let journal = folder.path().join(name).join("j.json");
            support::write_private(&journal, "");
            journal
        });
        // This is the state after the first container lost its power: its copy is whole, and the journal is not.
        support::write_private(&journals[0].with_file_name("j.json.tmp"), &whole);
        std::fs::write(&shared, tear(&marked, &whole)).unwrap();
        let start = |index: usize, rounds: usize| {
            let journal = journals[index].as_path();
            let mut container = Started::new(in_container(&shared, journal), &Job { journal, rounds, ..job });
            container.go();
            container.failures()
        };
        let refused = start(1, 2);
        assert!(refused.contains("2 x STORE: ") && refused.contains("start that one again"), "{refused:?}");
        // A start of the first container repairs the journal without a refresh.
        assert_eq!((start(0, 0), start(1, 2)), (String::new(), String::new()));
        assert_never_two(&ring);
    }
}

#[test]
fn a_second_hard_link_is_refreshed_by_one_at_a_time_and_keeps_up() {
    let ring = Ring::start();
    busy(&ring);
    let folder = folder();
    let names = ["a.json", "b.json"].map(|name| folder.path().join(name));
    let token = ring.first_token();
    let job = Job { ring: &ring, journal: &names[0], token: &token, rounds: ROUNDS, without_locks: false };
    let mut first = Started::new(plain("nice"), &Job { rounds: 1, ..job });
    first.go();
    assert_eq!(first.failures(), "");
    std::fs::hard_link(&names[0], &names[1]).unwrap();
    let mut both = names.each_ref().map(|name| Started::new(plain("nice"), &Job { journal: name, ..job }));
    both.iter_mut().for_each(Started::go);
    let failures = both.map(Started::failures);
    assert_never_two(&ring);
    assert_eq!(failures, ["", ""]);
    assert_eq!(std::fs::read(&names[0]).unwrap(), std::fs::read(&names[1]).unwrap());
    assert_eq!(support::names(folder.path()), ["a.json", "a.json.lock", "b.json", "b.json.lock"]);
}

#[test]
fn a_link_that_is_retargeted_to_a_copy_while_a_manager_runs_costs_no_token() {
    for new_one_first in [true, false] {
        let ring = Ring::start();
        let folder = folder();
        let [link, former, copy] = ["link.json", "former.json", "copy.json"].map(|name| folder.path().join(name));
        retarget(&link, "former.json");
        runtime().block_on(async {
            let running = open(&ring, &link, Some(ring.first_token()));
            running.refresh(false).await.unwrap();
            std::fs::copy(&former, &copy).unwrap();
            retarget(&link, "copy.json");
            let started = open(&ring, &link, None);
            let mut order = [&running, &started];
            if new_one_first {
                order.reverse();
            }
            for _ in 0..3 {
                for manager in order {
                    let done = manager.refresh(false).await;
                    assert!(done.is_ok(), "{:?}, stale: {}", done.err(), ring.account().stale);
                }
            }
            running.close().await;
            started.close().await;
        });
        assert_never_two(&ring);
    }
}

/// Opens a manager of a `config.json`.
fn open_config(ring: &Ring, config: &Path) -> Manager {
    support::manager_of_config(config, Disk::default(), support::wire(&ring.url), Arc::new(Quiet))
}

#[test]
fn a_config_behind_a_link_that_is_retargeted_takes_its_journal_along() {
    // The flags are whether the new manager refreshes first, and whether the journal is copied too.
    for (new_one_first, with_journal) in [(true, true), (true, false), (false, true), (false, false)] {
        let ring = Ring::start();
        let folder = folder();
        let [link, former, copy] = ["config.json", "former", "copy"].map(|name| folder.path().join(name));
        std::fs::create_dir(&former).unwrap();
        let text =
            format!("{{\"platforms\": [{{\"platform\": \"Ring\", \"refreshToken\": \"{}\"}}]}}", ring.first_token());
        support::write_private(&former.join("config.json"), &text);
        retarget(&link, "former/config.json");
        runtime().block_on(async {
            let running = open_config(&ring, &link);
            running.refresh(false).await.unwrap();
            activity::until_idle().await;
            copy_folder(&former, &copy);
            if !with_journal {
                std::fs::remove_dir_all(copy.join(".ring-auth")).unwrap();
            }
            retarget(&link, "copy/config.json");
            let started = open_config(&ring, &link);
            let mut order = [&running, &started];
            if new_one_first {
                order.reverse();
            }
            for _ in 0..3 {
                for manager in order {
                    let done = manager.refresh(false).await;
                    assert!(done.is_ok(), "{new_one_first} {with_journal} {:?}, {:?}", done.err(), ring.account());
                }
            }
            busy(&ring);
            for _ in 0..5 {
                let both = tokio::join!(running.refresh(false), started.refresh(false));
                assert!(
                    both.0.is_ok() && both.1.is_ok(),
                    "{new_one_first} {with_journal} {both:?}, {:?}",
                    ring.account()
                );
            }
            running.close().await;
            started.close().await;
            let shown = std::fs::read_to_string(copy.join("config.json")).unwrap();
            assert!(shown.contains(started.refresh_token().unwrap().expose()));
        });
        assert_never_two(&ring);
    }
}

/// Retargets the link during a request, to a copy that has the mark of that request.
#[test]
fn a_link_that_is_retargeted_in_mid_request_costs_no_token() {
    for is_config in [false, true] {
        let ring = Ring::start();
        let folder = folder();
        let name = if is_config { "config.json" } else { "j.json" };
        let [link, former, copy] = [name, "former", "copy"].map(|name| folder.path().join(name));
        std::fs::create_dir(&former).unwrap();
        retarget(&link, &format!("former/{name}"));
        let token = ring.first_token();
        if is_config {
            let text = format!("{{\"platforms\": [{{\"platform\": \"Ring\", \"refreshToken\": \"{token}\"}}]}}");
            support::write_private(&former.join(name), &text);
        }
        let open = |token: Option<String>| {
            if is_config { open_config(&ring, &link) } else { open(&ring, &link, token) }
        };
        runtime().block_on(async {
            let running = open(Some(token));
            running.refresh(false).await.unwrap();
            activity::until_idle().await;
            let requests = ring.account().requests;
            ring.account().holds_from = Some(requests + 1);
            let refresh = tokio::spawn({
                let running = running.clone();
                async move { running.refresh(false).await.map(drop) }
            });
            while ring.account().requests == requests {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            copy_folder(&former, &copy);
            retarget(&link, &format!("copy/{name}"));
            let started = open(None);
            // Ring answers while the new manager waits.
            let answers = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                ring.account().holds_from = None;
            };
            let (result, ()) = tokio::join!(started.refresh(false), answers);
            assert!(result.is_ok(), "config: {is_config} {:?}, {:?}", result.err(), ring.account());
            refresh.await.unwrap().unwrap();
            for manager in [&running, &started, &running] {
                manager.refresh(false).await.unwrap();
            }
            running.close().await;
            started.close().await;
        });
        assert_never_two(&ring);
    }
}

#[test]
fn processes_of_one_user_meet_in_one_lock_whatever_their_environment() {
    if !is_root("processes_of_one_user_meet_in_one_lock_whatever_their_environment") {
        return;
    }
    let ring = Ring::start();
    busy(&ring);
    let folder = folder();
    let own = folder.path().join("service");
    let runtime_folder = folder.path().join("run");
    for path in [&own, &runtime_folder] {
        std::fs::create_dir(path).unwrap();
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let journal = own.join("j.json");
    let token = ring.first_token();
    let job = Job { ring: &ring, journal: &journal, token: &token, rounds: ROUNDS, without_locks: true };
    let environments: [&[(&str, &Path)]; 3] =
        [&[], &[("XDG_RUNTIME_DIR", &runtime_folder)], &[("HOME", &own), ("TMPDIR", &own)]];
    let mut processes = environments.map(|variables| Started::new(as_nobody(variables), &job));
    processes.iter_mut().for_each(Started::go);
    let failures = processes.map(Started::failures);
    assert_never_two(&ring);
    assert_eq!(failures, ["", "", ""]);
}

#[test]
fn without_locks_root_meets_the_owner_of_a_journal_in_one_lock() {
    if !is_root("without_locks_root_meets_the_owner_of_a_journal_in_one_lock") {
        return;
    }
    let ring = Ring::start();
    busy(&ring);
    let folder = folder();
    let own = folder.path().join("service");
    std::fs::create_dir(&own).unwrap();
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let journal = own.join("j.json");
    let token = ring.first_token();
    let job = Job { ring: &ring, journal: &journal, token: &token, rounds: 1, without_locks: true };
    let mut first = Started::new(as_nobody(&[]), &job);
    first.go();
    assert_eq!(first.failures(), "");
    let job = Job { rounds: ROUNDS, ..job };
    let mut both = [plain("nice"), as_nobody(&[])].map(|command| Started::new(command, &job));
    both.iter_mut().for_each(Started::go);
    assert_eq!(both.map(Started::failures), ["", ""]);
    assert_never_two(&ring);
    assert_eq!(support::names(&own), ["j.json", "j.json.lock"]);
    for path in [&journal, &own.join("j.json.lock")] {
        assert_eq!(std::fs::metadata(path).unwrap().uid(), NOBODY, "{}", path.display());
    }
}

/// Runs a command as the root of a user namespace with 65536 users.
const IN_A_NAMESPACE_OF_MANY_USERS: &str = "exec 3<&0
unshare -U sh -c 'until grep -q . /proc/self/uid_map && grep -q . /proc/self/gid_map; do sleep 0.01; done
exec setpriv --reuid 0 --regid 0 --clear-groups \"$@\"' sh \"$@\" <&3 &
until echo '0 0 65536' >/proc/$!/uid_map && echo '0 0 65536' >/proc/$!/gid_map; do sleep 0.01; done 2>/dev/null
wait $!";

#[test]
fn the_root_of_a_user_namespace_continues_as_itself_at_a_file_of_an_unmapped_owner() {
    let test = "the_root_of_a_user_namespace_continues_as_itself_at_a_file_of_an_unmapped_owner";
    // The number that stands for all unmapped owners belongs to no user in the first namespace, and to a user in the
    // second.
    for script in ["exec unshare -Ur \"$@\"", IN_A_NAMESPACE_OF_MANY_USERS] {
        let namespace = || {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]);
            command
        };
        if !is_root(test) || !namespace().arg("true").output().is_ok_and(|done| done.status.success()) {
            println!("LEFT OUT: {test} needs user namespaces: {script}");
            continue;
        }
        let ring = Ring::start();
        busy(&ring);
        let folder = folder();
        let own = folder.path().join("service");
        std::fs::create_dir(&own).unwrap();
        let journal = own.join("j.json");
        let token = ring.first_token();
        let job = Job { ring: &ring, journal: &journal, token: &token, rounds: 5, without_locks: false };
        let mut outside = Started::new(plain("nice"), &job);
        outside.go();
        assert_eq!(outside.failures(), "", "{script}");
        std::fs::remove_file(own.join("j.json.lock")).unwrap();
        for path in [&own, &journal] {
            chown(path, Some(UNMAPPED), Some(UNMAPPED)).unwrap();
        }
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::set_permissions(&journal, std::fs::Permissions::from_mode(0o666)).unwrap();
        let mut inside = Started::new(namespace(), &job);
        inside.go();
        assert_eq!(inside.failures(), "", "{script}");
        assert_never_two(&ring);
        let owner = |name: &str| std::fs::metadata(own.join(name)).unwrap().uid();
        assert_eq!(support::names(&own), ["j.json", "j.json.lock"]);
        assert_eq!((owner("j.json"), owner("j.json.lock")), (UNMAPPED, 0), "{script}: nothing was given away");
    }
}
