//! Tests of a journal that was copied with its folder and is used in both places. Real processes refresh at a simulated
//! Ring that accepts each token once.
//!
//! In all tests no process sends a spent token, one of the two journals continues, and the error at the other one names
//! the journal that continues.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

mod support;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ring_auth::ErrorCode;
use ring_auth::files::{Disk, Moment, Probe};
use ring_auth::manager::{Event, Level, Listener, Manager, Phase, activity};
use support::{Ring, retarget};

const ROUNDS: usize = 25;
const SIGKILL: i32 = 9;
/// The least number of steps of a hand-over; a run that finds fewer has lost its probes.
const FEWEST_STEPS: usize = 80;

/// Listener that keeps the warnings.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Listener for Heard {
    fn on_event(&self, event: Event) {
        if let Event::Log(Level::Warn, sentence) = event {
            self.0.lock().unwrap().push(sentence);
        }
    }
}

/// Numbers the storage calls, and ends the process at one of them.
struct Steps {
    seen: Mutex<usize>,
    kill_at: Option<usize>,
}

impl Probe for Steps {
    fn at(&self, _call: &'static str, _path: &Path, _moment: Moment) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        if self.kill_at == Some(*seen) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            // The signal may take a moment to arrive. Until then the process must do nothing.
            loop {
                std::thread::park();
            }
        }
        *seen += 1;
        Ok(())
    }
}

/// Simulated mount of a server that is gone: no storage call on it returns.
struct Dead(PathBuf);

impl Probe for Dead {
    fn at(&self, _call: &'static str, path: &Path, moment: Moment) -> io::Result<()> {
        while moment == Moment::Before && path.starts_with(&self.0) {
            std::thread::park();
        }
        Ok(())
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn open(url: &str, journal: &Path, token: Option<String>, disk: Disk, heard: Arc<Heard>) -> Manager {
    let manager = support::manager(journal, token, disk, support::wire(url), heard);
    activity::until_idle().await;
    manager
}

/// Refreshes once in this process. Returns the warnings, or the error as text.
fn refresh(ring: &Ring, journal: &Path) -> Result<Vec<String>, String> {
    refresh_on(ring, journal, Disk::default())
}

fn refresh_on(ring: &Ring, journal: &Path, disk: Disk) -> Result<Vec<String>, String> {
    let heard = Arc::new(Heard::default());
    runtime().block_on(async {
        let manager = open(&ring.url, journal, None, disk, Arc::clone(&heard)).await;
        let result = manager.refresh(false).await;
        if result.as_ref().is_err_and(|error| error.code() == ErrorCode::NoRefreshToken) {
            assert_eq!(manager.status().phase, Phase::NeedsLogin);
        }
        manager.close().await;
        result.map_err(|error| format!("{}: {}", error.code().as_str(), error.message()))
    })?;
    Ok(heard.0.lock().unwrap().clone())
}

/// Refreshes once in this process, and tries again while another process has the lock.
fn refresh_patiently(ring: &Ring, journal: &Path) -> Result<Vec<String>, String> {
    loop {
        match refresh(ring, journal) {
            Err(error) if error.starts_with("STORE_LOCKED") => std::thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}

/// The process that refreshes: the test binary, started again. It waits for a line on its standard input before it begins.
#[test]
fn child() {
    let Ok(job) = std::env::var("RING_AUTH_CHILD") else { return };
    let mut words = job.split('\n');
    let mut word = || words.next().unwrap().to_owned();
    let (url, journal, rounds, kill_at) = (word(), PathBuf::from(word()), word(), word());
    let steps = Arc::new(Steps { seen: Mutex::default(), kill_at: kill_at.parse().ok() });
    runtime().block_on(async {
        println!("READY");
        let _ = io::stdin().read(&mut [0]);
        let disk = Disk::with_probe(Arc::clone(&steps) as Arc<dyn Probe>);
        let manager = open(&url, &journal, None, disk, Arc::new(Heard::default())).await;
        let mut result = String::new();
        for _ in 0..rounds.parse::<usize>().unwrap() {
            result = match manager.refresh(false).await {
                Ok(_) => "rotated".to_owned(),
                Err(error) => format!("{} {}", error.code().as_str(), error.message()),
            };
        }
        manager.close().await;
        println!("DONE {} {result}", steps.seen.lock().unwrap());
    });
}

struct Started {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Started {
    fn new(ring: &Ring, journal: &Path) -> Self {
        Self::by(Command::new(std::env::current_exe().unwrap()), ring, journal, 1, None)
    }

    /// Starts a child by a command that ends with running the test binary.
    fn by(mut by: Command, ring: &Ring, journal: &Path, rounds: usize, kill_at: Option<usize>) -> Self {
        let kill_at = kill_at.map_or_else(String::new, |step| step.to_string());
        let mut child = by
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env("RING_AUTH_CHILD", format!("{}\n{}\n{rounds}\n{kill_at}", ring.url, journal.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut started = Self { child, output };
        started.line("READY").unwrap();
        started
    }

    fn go(&mut self) {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until the child ends. Returns how many steps it took and the result of its last refresh, or `None` if it
    /// was killed.
    fn end(mut self) -> Option<(usize, String)> {
        let line = self.line("DONE ");
        let status = self.child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(SIGKILL), "{status}");
        let line = line.filter(|_| status.success())?;
        let (steps, result) = line.split_once(' ').unwrap();
        Some((steps.parse().unwrap(), result.to_owned()))
    }

    fn line(&mut self, beginning: &str) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The test harness prints the name of the test in front of the first line.
            if let Some((_, rest)) = line.split_once(beginning) {
                return Some(rest.trim().to_owned());
            }
        }
    }
}

/// Folder of the project `one`, which has a journal with a token. The tests copy or move the project in it.
struct Project {
    folder: tempfile::TempDir,
    ring: Ring,
}

impl Project {
    fn new() -> Self {
        let project = Self { folder: tempfile::tempdir().unwrap(), ring: Ring::start() };
        project.begin_anew();
        project
    }

    /// Deletes all projects, and creates the project `one` with a new token family.
    fn begin_anew(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
        let token = self.ring.first_token();
        runtime().block_on(async {
            let heard = Arc::new(Heard::default());
            let manager = open(&self.ring.url, &self.journal("one"), Some(token), Disk::default(), heard).await;
            manager.refresh(false).await.unwrap();
            manager.close().await;
        });
        let mut account = self.ring.account();
        (account.stale, account.revoked) = (0, false);
    }

    #[expect(clippy::disallowed_methods, reason = "a test has only what is public")]
    fn at(&self, name: &str) -> PathBuf {
        std::fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.at(name).join("journal.json")
    }

    fn copy(&self, from: &str, to: &str) {
        self.run("cp", &["-r", "--preserve=mode"], from, to);
    }

    fn run(&self, command: &str, options: &[&str], from: &str, to: &str) {
        let status = Command::new(command).args(options).arg(self.at(from)).arg(self.at(to)).status().unwrap();
        assert!(status.success(), "{command}");
    }

    /// Checks that exactly one of the projects can authenticate, and that the errors of the others name its journal.
    /// Returns that journal.
    fn assert_one_keeper(&self, names: &[&str], what: &str) -> PathBuf {
        let results: Vec<_> = names.iter().map(|name| refresh_patiently(&self.ring, &self.journal(name))).collect();
        let keepers: Vec<_> = names.iter().zip(&results).filter(|(_, result)| result.is_ok()).collect();
        assert_eq!(keepers.len(), 1, "{what}: {results:?}");
        let keeper = self.journal(keepers[0].0);
        for result in &results {
            let names_it =
                |error: &String| error.starts_with("NO_REFRESH_TOKEN") && error.contains(&*keeper.to_string_lossy());
            assert!(result.as_ref().err().is_none_or(names_it), "{what}: {results:?}");
        }
        self.assert_nothing_stale(what);
        keeper
    }

    fn assert_nothing_stale(&self, what: &str) {
        let account = self.ring.account();
        assert_eq!((account.stale, account.revoked), (0, false), "{what}");
    }
}

#[test]
fn the_first_of_a_project_and_its_copy_to_refresh_keeps_the_token() {
    let project = Project::new();
    for first in ["one", "two"] {
        project.begin_anew();
        project.copy("one", "two");
        assert_eq!(refresh(&project.ring, &project.journal(first)), Ok(Vec::new()));
        assert_eq!(project.assert_one_keeper(&["one", "two"], first), project.journal(first));
        // The keeper stays the same if the projects refresh in the other order.
        assert_eq!(project.assert_one_keeper(&["two", "one"], first), project.journal(first));
    }
}

#[test]
fn a_project_that_is_copied_while_it_runs_stays_the_keeper_if_it_rotates_first() {
    let project = Project::new();
    for round in 0..ROUNDS {
        project.begin_anew();
        let this = std::env::current_exe().unwrap();
        let mut running = Started::by(Command::new(this), &project.ring, &project.journal("one"), 6, None);
        running.go();
        // `cp` would fail if a file was deleted after it had read the folder.
        support::copy_folder_in_use(&project.at("one"), &project.at("two"));
        let copied = refresh_patiently(&project.ring, &project.journal("two"));
        let (_, ended) = running.end().unwrap();
        project.assert_nothing_stale(&format!("{round}: {copied:?} {ended}"));
        assert_ne!(copied.is_ok(), ended == "rotated", "{round}: {copied:?} {ended}");
        project.assert_one_keeper(&["two", "one"], &format!("{round}: {copied:?} {ended}"));
    }
}

#[test]
fn of_two_that_start_at_once_one_keeps_the_token() {
    let project = Project::new();
    let mut kept = [0; 2];
    for round in 0..ROUNDS * 2 {
        project.begin_anew();
        project.copy("one", "two");
        let mut both = ["one", "two"].map(|name| Started::new(&project.ring, &project.journal(name)));
        if round % 2 == 1 {
            both.reverse();
        }
        both.iter_mut().for_each(Started::go);
        let ended = both.map(|started| started.end().unwrap().1);
        project.assert_nothing_stale(&format!("{round}: {ended:?}"));
        assert!(ended.iter().filter(|result| *result == "rotated").count() <= 1, "{round}: {ended:?}");
        let keeper = project.assert_one_keeper(&["one", "two"], &format!("{round}: {ended:?}"));
        kept[usize::from(keeper == project.journal("two"))] += 1;
    }
    eprintln!("the original kept the token {} times, the copy {} times", kept[0], kept[1]);
}

#[test]
fn of_three_copies_that_start_at_once_one_keeps_the_token() {
    let project = Project::new();
    for round in 0..ROUNDS {
        project.begin_anew();
        let names = ["two", "three", "four"];
        for name in names {
            project.copy("one", name);
        }
        let mut all = names.map(|name| Started::new(&project.ring, &project.journal(name)));
        all.iter_mut().for_each(Started::go);
        let ended = all.map(|started| started.end().unwrap().1);
        project.assert_nothing_stale(&format!("{round}: {ended:?}"));
        project.assert_one_keeper(&["one", "two", "three", "four"], &format!("{round}: {ended:?}"));
    }
}

/// Kills the copy at each storage call of its first refresh, so that only a part of the hand-over is done.
#[test]
fn a_copy_that_is_killed_at_any_step_of_the_hand_over_leaves_one_keeper() {
    let project = Project::new();
    let kill = |step: Option<usize>| {
        project.begin_anew();
        project.copy("one", "two");
        let this = Command::new(std::env::current_exe().unwrap());
        let mut started = Started::by(this, &project.ring, &project.journal("two"), 1, step);
        started.go();
        started.end()
    };
    let (steps, result) = kill(None).unwrap();
    assert_eq!(result, "rotated");
    assert!(steps >= FEWEST_STEPS, "{steps}");
    for step in 0..steps {
        // On a busy machine the process may take one step less, and then ends normally.
        let killed = kill(Some(step)).is_none();
        // If the answer was lost with the process, the next start sends the same token again, and Ring has to accept
        // it.
        let lost = killed && project.ring.account().rotations > 0;
        project.ring.account().grace = if lost { Duration::from_secs(60) } else { Duration::ZERO };
        let names = if step % 2 == 0 { ["one", "two"] } else { ["two", "one"] };
        project.assert_one_keeper(&names, &format!("killed at step {step} of {steps}"));
    }
    project.ring.account().grace = Duration::ZERO;
}

#[test]
fn a_project_that_was_moved_continues_whatever_is_left_behind() {
    let project = Project::new();
    let warned = |name: &str| refresh(&project.ring, &project.journal(name));
    project.run("mv", &[], "one", "two");
    assert_eq!(warned("two"), Ok(Vec::new()));
    // A user copies an SD card to an SSD and keeps the card. The copy keeps times, owners and links.
    if Command::new("rsync").arg("--version").stdout(Stdio::null()).status().is_ok() {
        project.run("rsync", &["-a"], "two/", "three");
    } else {
        eprintln!("rsync is not installed: cp -a in its place");
        project.run("cp", &["-a"], "two", "three");
    }
    assert_eq!((warned("three"), warned("three")), (Ok(Vec::new()), Ok(Vec::new())));
    // In a blue-green deployment the old copy continues to run, and its next refresh names the new one.
    assert!(warned("two").unwrap_err().contains("/three/journal.json uses its refresh token now"));
    // A deployment exchanges two folders atomically.
    project.copy("three", "next");
    let (three, next) = (project.at("three"), project.at("next"));
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, &three, here, &next, rustix::fs::RenameFlags::EXCHANGE).unwrap();
    assert_eq!((warned("three"), warned("three")), (Ok(Vec::new()), Ok(Vec::new())));
    // Each release is a copy of the last one, which becomes read-only.
    let mut last = "three".to_owned();
    for release in 1..5 {
        let next = format!("release-{release}");
        project.copy(&last, &next);
        std::fs::set_permissions(project.at(&last), std::fs::Permissions::from_mode(0o500)).unwrap();
        std::fs::set_permissions(project.journal(&last), std::fs::Permissions::from_mode(0o400)).unwrap();
        std::fs::set_permissions(project.at(&next), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::set_permissions(project.journal(&next), std::fs::Permissions::from_mode(0o600)).unwrap();
        retarget(&project.at("current"), &next);
        let through = project.at("current").join("journal.json");
        assert!(refresh(&project.ring, &through).is_ok());
        assert_eq!(refresh(&project.ring, &through), Ok(Vec::new()));
        last = next;
    }
    project.assert_nothing_stale("moved again and again");
}

/// A command that runs the test binary in a mount namespace of its own, after a shell command with two paths in it.
fn in_namespace(shell: &str, one: &Path, two: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{shell} && shift && exec \"$@\"")]).args([one, two]);
    command.arg(std::env::current_exe().unwrap());
    command
}

fn is_left_out(why: &str) -> bool {
    let may = rustix::process::geteuid().is_root()
        && Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if !may {
        eprintln!("left out: {why}, which only root can make");
    }
    !may
}

#[test]
fn one_file_under_two_paths_is_one_journal_and_no_copy() {
    if is_left_out("bind mounts") {
        return;
    }
    let project = Project::new();
    std::fs::create_dir(project.at("two")).unwrap();
    std::fs::create_dir(project.at("file")).unwrap();
    std::fs::write(project.journal("file"), "").unwrap();
    let folder = "mount --bind \"$0\" \"$1\"";
    for round in 0..ROUNDS {
        // One container sees the folder at another path, one sees only the file, and one process runs outside of both.
        let [one, two] = ["one", "two"].map(|name| project.at(name));
        let by = in_namespace(folder, &one, &two);
        let mut container = Started::by(by, &project.ring, &project.journal("two"), 2, None);
        let by = in_namespace(folder, &project.journal("one"), &project.journal("file"));
        let mut alone = Started::by(by, &project.ring, &project.journal("file"), 1, None);
        alone.go();
        assert_eq!(alone.end().unwrap().1, "rotated");
        let mut outside = Started::by(
            Command::new(std::env::current_exe().unwrap()),
            &project.ring,
            &project.journal("one"),
            2,
            None,
        );
        container.go();
        outside.go();
        assert_eq!(
            (container.end().unwrap().1, outside.end().unwrap().1),
            ("rotated".to_owned(), "rotated".to_owned())
        );
        project.assert_nothing_stale(&format!("{round}"));
    }
    assert_eq!(refresh(&project.ring, &project.journal("one")), Ok(Vec::new()));
    // One namespace has both paths, so that a process at one of them can read the other.
    let by = in_namespace(folder, &project.at("one"), &project.at("two"));
    let mut inside = Started::by(by, &project.ring, &project.journal("two"), 3, None);
    inside.go();
    assert_eq!(inside.end().unwrap().1, "rotated");
    assert_eq!(refresh(&project.ring, &project.journal("one")), Ok(Vec::new()));
    project.assert_nothing_stale("one file");
}

#[test]
fn a_journal_in_the_layers_of_an_overlay_is_a_copy_as_soon_as_it_is_written() {
    if is_left_out("overlays") {
        return;
    }
    let project = Project::new();
    for name in ["upper", "work", "merged"] {
        std::fs::create_dir(project.at(name)).unwrap();
    }
    // The upper layer of an overlay cannot be on another overlay.
    let scratch = "mount -t tmpfs none \"$1\" && mkdir \"$1/upper\" \"$1/work\" \"$1/merged\" && mount -t overlay overlay -o lowerdir=\"$0\",upperdir=\"$1/upper\",workdir=\"$1/work\" \"$1/merged\"";
    let probe = in_namespace(scratch, &project.at("one"), &project.at("work"));
    if !{ probe }.arg("--list").stdout(Stdio::null()).status().unwrap().success() {
        eprintln!("left out: overlays, which cannot be mounted here");
        return;
    }
    let merged = project.at("work").join("merged").join("journal.json");
    let by = in_namespace(scratch, &project.at("one"), &project.at("work"));
    let mut inside = Started::by(by, &project.ring, &merged, 3, None);
    inside.go();
    assert_eq!(inside.end().unwrap().1, "rotated");
    project.assert_nothing_stale("an overlay");
}

#[test]
fn an_original_on_a_dead_mount_delays_the_copy_once_and_stops_nothing() {
    let project = Project::new();
    project.copy("one", "two");
    let dead = || Disk::with_probe(Arc::new(Dead(project.at("one"))));
    let began = Instant::now();
    let notices = refresh_on(&project.ring, &project.journal("two"), dead()).unwrap();
    assert!(notices.len() == 1 && notices[0].contains("that place cannot be reached now"), "{notices:?}");
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(refresh_on(&project.ring, &project.journal("two"), dead()), Ok(Vec::new()), "once");
    // ring-auth does not use a journal that says that its token moved to the unreachable place: a process there may
    // have sent the token.
    project.begin_anew();
    project.copy("one", "two");
    assert_eq!(refresh(&project.ring, &project.journal("two")), Ok(Vec::new()));
    let beyond = Disk::with_probe(Arc::new(Dead(project.at("two"))));
    assert!(refresh_on(&project.ring, &project.journal("one"), beyond).unwrap_err().starts_with("NO_REFRESH_TOKEN"));
    project.assert_nothing_stale("a dead mount");
}

/// Refreshes as another user with a copy of a journal whose original that user cannot read, or cannot change.
#[test]
fn an_original_of_another_user_is_looked_at_as_far_as_that_goes() {
    if is_left_out("another user") {
        return;
    }
    let project = Project::new();
    std::fs::set_permissions(project.folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let as_nobody = |rounds| {
        let mut by = Command::new("setpriv");
        by.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(std::env::current_exe().unwrap());
        let mut started = Started::by(by, &project.ring, &project.journal("two"), rounds, None);
        started.go();
        started.end().unwrap().1
    };
    for (folder, file, has_moved_on, expected) in [
        (0o700, 0o600, false, "rotated"),
        (0o755, 0o600, false, "rotated"),
        (0o755, 0o644, false, "rotated"),
        (0o755, 0o644, true, "NO_REFRESH_TOKEN"),
    ] {
        project.begin_anew();
        project.copy("one", "two");
        let status = Command::new("chown").args(["-R", "65534:65534"]).arg(project.at("two")).status().unwrap();
        assert!(status.success());
        if has_moved_on {
            assert_eq!(refresh(&project.ring, &project.journal("one")), Ok(Vec::new()));
        }
        std::fs::set_permissions(project.at("one"), std::fs::Permissions::from_mode(folder)).unwrap();
        std::fs::set_permissions(project.journal("one"), std::fs::Permissions::from_mode(file)).unwrap();
        let before = std::fs::read(project.journal("one")).unwrap();
        let ended = as_nobody(2);
        assert!(ended.starts_with(expected), "{folder:o} {file:o}: {ended}");
        assert_eq!(std::fs::read(project.journal("one")).unwrap(), before);
        project.assert_nothing_stale(&format!("{folder:o} {file:o}"));
    }
}
