//! Tests which journal a mirror uses, with real processes, links and mounts, and a simulated Ring without a grace
//! period: one token in two places, renamed places, links of a `ConfigMap`, and release folders.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a suite that cannot set itself up fails where it should")]

mod support;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ring_auth::files::{Disk, Moment, Probe};
use ring_auth::location::{Location, Opened};
use ring_auth::manager::{Event, Level, Listener, Manager, Parts, SystemClock};
use ring_auth::mirror::{Purpose, Target};
use support::{Chance, Ring, retarget};
use tokio::runtime::Handle;

/// How often the test starts two processes at once.
const STARTS: usize = 12;
const GRACE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;

/// Listener that records the messages for the user.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Listener for Heard {
    fn on_event(&self, event: Event) {
        if let Event::Log(Level::Warn | Level::Error, message) = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

/// A place in a file: a block of a `config.json` with that name, or a key of a `.env`.
fn target(file: &Path, place: &str) -> Target {
    if file.file_name().is_some_and(|name| name == ".env") {
        return Target::Dotenv { path: file.to_owned(), key: Some(place.to_owned()) };
    }
    Target::Homebridge { path: file.to_owned(), platform: None, name: Some(place.to_owned()) }
}

fn try_open(
    url: &str,
    file: &Path,
    place: &str,
    state_path: Option<&Path>,
    disk: Disk,
) -> ring_auth::Result<(Manager, Arc<Heard>, PathBuf)> {
    let oauth = support::wire(url);
    let location = Location::Mirror { target: target(file, place), state_path: state_path.map(Path::to_owned) };
    let Opened { store, mirror, .. } = location.open(&oauth.endpoints().issuer().into(), disk, Purpose::Follow)?;
    let journal = PathBuf::from(store.name());
    let heard = Arc::new(Heard::default());
    let parts = Parts {
        store,
        mirror,
        oauth,
        clock: Arc::new(SystemClock::new()),
        listener: heard.clone(),
        shared: None,
        runtime: Handle::current(),
    };
    Ok((support::with_parts(parts, None), heard, journal))
}

/// Opens a place, refreshes several times, and closes. Returns the messages for the user, and the journal.
fn use_place(
    ring: &Ring,
    file: &Path,
    place: &str,
    state_path: Option<&Path>,
    refreshes: usize,
) -> (Vec<String>, PathBuf) {
    runtime().block_on(async {
        let (manager, heard, journal) = try_open(&ring.url, file, place, state_path, Disk::default()).unwrap();
        manager.auth().await.unwrap();
        for _ in 0..refreshes {
            manager.refresh(false).await.unwrap();
        }
        manager.close().await;
        let heard = std::mem::take(&mut *heard.0.lock().unwrap());
        (heard, journal)
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn blocks(blocks: &[(&str, &str)]) -> String {
    let block = |(name, token): &(&str, &str)| {
        format!("{{\"platform\": \"Ring\", \"name\": \"{name}\", \"refreshToken\": \"{token}\"}}")
    };
    let blocks: Vec<_> = blocks.iter().map(block).collect();
    format!("{{\n  \"bridge\": {{\"name\": \"Homebridge\"}},\n  \"platforms\": [{}]\n}}\n", blocks.join(", "))
}

fn keys(keys: &[(&str, &str)]) -> String {
    let lines: Vec<_> = keys.iter().map(|(key, token)| format!("{key}={token}\n")).collect();
    lines.concat()
}

type MakeText = fn(&[(&str, &str)]) -> String;

/// The two kinds of files, each with the function that makes its text.
const KINDS: [(&str, MakeText); 2] = [("config.json", blocks), (".env", keys)];

/// The journals in a folder.
fn journals(folder: &Path) -> Vec<String> {
    let is_journal = |name: &String| {
        std::fs::read_to_string(folder.join(name)).is_ok_and(|text| text.contains("\"ring-auth-journal\""))
    };
    support::names(folder).into_iter().filter(is_journal).collect()
}

/// The tokens that a file shows, in their order.
fn shown(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.split(['"', '=', '\n']).filter(|part| part.len() > 40).map(str::to_owned).collect()
}

fn assert_one_keeper(ring: &Ring) {
    let account = ring.account();
    assert_eq!((account.stale, account.most_at_once, account.revoked), (0, 1, false), "stale, at once, revoked");
}

/// Probe that counts the steps, and kills the process at one of them.
#[derive(Default)]
struct Steps {
    seen: Mutex<usize>,
    kill_at: Option<usize>,
}

impl Probe for Steps {
    fn at(&self, _: &'static str, _: &Path, _: Moment) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        if self.kill_at == Some(*seen) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            loop {
                std::thread::park();
            }
        }
        *seen += 1;
        Ok(())
    }
}

/// A process with a manager of one place: the test binary, started again. It waits for a line on its standard input.
#[test]
fn child() {
    let Ok(job) = std::env::var("RING_AUTH_CHILD") else { return };
    let words: Vec<_> = job.split('\n').collect();
    let [url, file, place, state_path, refreshes, delay, kill_at] = words.as_slice() else { panic!("{words:?}") };
    let state_path = Some(PathBuf::from(state_path)).filter(|path| !path.as_os_str().is_empty());
    let steps = Arc::new(Steps { kill_at: kill_at.parse().ok(), ..Steps::default() });
    println!("READY");
    let _ = io::stdin().read(&mut [0]);
    std::thread::sleep(Duration::from_micros(delay.parse().unwrap()));
    runtime().block_on(async {
        let disk = Disk::with_probe(Arc::clone(&steps) as Arc<dyn Probe>);
        let (manager, _, _) = try_open(url, Path::new(file), place, state_path.as_deref(), disk).unwrap();
        manager.auth().await.unwrap();
        for _ in 0..refreshes.parse().unwrap() {
            manager.refresh(false).await.unwrap();
        }
        manager.close().await;
    });
    println!("DONE {}", steps.seen.lock().unwrap());
}

struct Job<'a> {
    ring: &'a Ring,
    file: &'a Path,
    place: &'a str,
    state_path: Option<&'a Path>,
    refreshes: usize,
    delay: usize,
    kill_at: Option<usize>,
}

struct Started {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Started {
    fn new(mut by: Command, job: &Job<'_>) -> Self {
        let Job { ring, file, place, state_path, refreshes, delay, kill_at } = job;
        let state_path = state_path.map(|path| path.display().to_string()).unwrap_or_default();
        let kill_at = kill_at.map(|step| step.to_string()).unwrap_or_default();
        let job = [
            ring.url.clone(),
            file.display().to_string(),
            (*place).to_owned(),
            state_path,
            refreshes.to_string(),
            delay.to_string(),
            kill_at,
        ];
        let mut child = by
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env("RING_AUTH_CHILD", job.join("\n"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut started = Self { child, output };
        assert!(started.line("READY").is_some());
        started
    }

    fn go(&mut self) {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits until the process ends. Returns how many steps it took, or `None` if it was killed.
    fn ended(mut self) -> Option<usize> {
        let done = self.line("DONE ");
        let mut complaint = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success() || status.signal() == Some(SIGKILL), "{complaint}");
        done.map(|done| done.parse().unwrap())
    }

    fn line(&mut self, beginning: &str) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, rest)) = line.split_once(beginning) {
                return Some(rest.trim().to_owned());
            }
        }
    }
}

fn plain() -> Command {
    Command::new("env")
}

/// Whether the calling test can mount; prints a message if it cannot.
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("LEFT OUT: {test} needs root");
    }
    is_root
}

#[test]
fn two_processes_that_start_at_once_with_one_token_in_two_places_are_one_keeper() {
    let mut chance = Chance(0x5eed_1234);
    for (name, text) in KINDS {
        for round in 0..STARTS {
            let ring = Ring::start();
            ring.account().latency = Duration::from_millis(3);
            let folder = tempfile::tempdir().unwrap();
            let state = folder.path().join("state");
            let state_path = (round % 2 == 0).then_some(state.as_path());
            let file = folder.path().join(name);
            let token = ring.first_token();
            support::write_private(&file, &text(&[("ONE", &token), ("TWO", &token)]));
            let mut both = ["ONE", "TWO"].map(|place| {
                let job = Job {
                    ring: &ring,
                    file: &file,
                    place,
                    state_path,
                    refreshes: 2,
                    delay: chance.below(8000),
                    kill_at: None,
                };
                Started::new(plain(), &job)
            });
            both.iter_mut().for_each(Started::go);
            assert!(both.map(Started::ended).iter().all(Option::is_some));
            assert_one_keeper(&ring);
            let own = state_path.unwrap_or(&folder.path().join(".ring-auth")).to_owned();
            assert_eq!(journals(&own).len(), 1, "{:?}", support::names(&own));
            // Each place shows the newest token after its manager has looked at it again.
            for place in ["ONE", "TWO"] {
                use_place(&ring, &file, place, state_path, 0);
            }
            let [one, two] = <[String; 2]>::try_from(shown(&file)).unwrap();
            assert!(one == two && one != token, "{}", std::fs::read_to_string(&file).unwrap());
            assert_one_keeper(&ring);
        }
    }
}

#[test]
fn the_second_place_with_the_token_is_reported_once_and_both_show_the_newest() {
    for (name, text) in KINDS {
        let ring = Ring::start();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        let token = ring.first_token();
        support::write_private(&file, &text(&[("ONE", &token), ("TWO", &token)]));
        let warnings = |heard: Vec<String>| heard.iter().filter(|said| said.contains("A login for each")).count();
        let (first, journal) = use_place(&ring, &file, "ONE", None, 1);
        assert_eq!(warnings(first), 0);
        // The place `TWO` shows a spent token now.
        let (second, same) = use_place(&ring, &file, "TWO", None, 1);
        assert_eq!((warnings(second), same), (1, journal));
        for place in ["ONE", "TWO", "ONE", "TWO"] {
            let (heard, _) = use_place(&ring, &file, place, None, 1);
            assert_eq!(warnings(heard), 0, "it was said already");
        }
        use_place(&ring, &file, "ONE", None, 0);
        let [one, two] = <[String; 2]>::try_from(shown(&file)).unwrap();
        assert_eq!(one, two);
        assert_one_keeper(&ring);
    }
}

#[test]
fn a_place_that_is_renamed_or_removed_continues_with_its_family() {
    for (name, text) in KINDS {
        let ring = Ring::start();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        let own = folder.path().join(".ring-auth");
        support::write_private(&file, &text(&[("ONE", &ring.first_token())]));
        use_place(&ring, &file, "ONE", None, 2);
        // The user renames the place, and restores an old copy of the token in it.
        let newest = shown(&file).remove(0);
        use_place(&ring, &file, "ONE", None, 1);
        support::write_private(&file, &text(&[("RENAMED", &newest)]));
        use_place(&ring, &file, "RENAMED", None, 1);
        // The user adds a second place with the same token, and removes it again.
        let newest = shown(&file).remove(0);
        support::write_private(&file, &text(&[("RENAMED", &newest), ("SECOND", &newest)]));
        use_place(&ring, &file, "SECOND", None, 2);
        support::write_private(&file, &text(&[("RENAMED", &newest)]));
        use_place(&ring, &file, "RENAMED", None, 2);
        assert_eq!(journals(&own).len(), 1, "{:?}", support::names(&own));
        assert_one_keeper(&ring);
        // A new place under the former name does not belong to that account.
        support::write_private(&file, &text(&[("RENAMED", &shown(&file)[0]), ("ONE", "")]));
        let error = runtime().block_on(async {
            let (manager, _, _) = try_open(&ring.url, &file, "ONE", None, Disk::default()).unwrap();
            let error = manager.auth().await.unwrap_err();
            manager.close().await;
            error
        });
        assert_eq!(error.code(), ring_auth::ErrorCode::NoRefreshToken);
    }
}

#[test]
fn a_link_of_a_config_map_that_is_retargeted_again_and_again_leads_to_the_same_journal() {
    let ring = Ring::start();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let file = folder.path().join("config.json");
    let token = ring.first_token();
    let deploy = |number: usize| {
        let version = folder.path().join(format!("..2026_{number}"));
        std::fs::create_dir(&version).unwrap();
        // Each deployment contains the first token again.
        support::write_private(&version.join("config.json"), &blocks(&[("ONE", &token)]));
        retarget(&folder.path().join("..data"), &format!("..2026_{number}"));
    };
    deploy(0);
    retarget(&file, "..data/config.json");
    let (_, journal) = use_place(&ring, &file, "ONE", Some(&state), 2);
    runtime().block_on(async {
        let (manager, _, _) = try_open(&ring.url, &file, "ONE", Some(&state), Disk::default()).unwrap();
        for number in 1..4 {
            deploy(number);
            if number == 2 {
                std::fs::remove_dir_all(folder.path().join("..2026_0")).unwrap();
            }
            manager.refresh(false).await.unwrap();
        }
        manager.close().await;
    });
    for number in 4..7 {
        deploy(number);
        let (_, same) = use_place(&ring, &file, "ONE", Some(&state), 1);
        assert_eq!(same, journal);
    }
    assert_eq!(journals(&state).len(), 1, "{:?}", support::names(&state));
    assert_one_keeper(&ring);
}

#[test]
fn release_folders_share_their_journal_and_an_old_one_that_is_read_only_knows_its_token_as_spent() {
    let test = "release_folders_share_their_journal_and_an_old_one_that_is_read_only_knows_its_token_as_spent";
    let ring = Ring::start();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("shared");
    let token = ring.first_token();
    let release = |number: usize| folder.path().join("releases").join(number.to_string());
    for number in 1..=3 {
        std::fs::create_dir_all(release(number)).unwrap();
        support::write_private(&release(number).join(".env"), &keys(&[("ONE", &token)]));
    }
    let current = folder.path().join("current");
    let mut found = Vec::new();
    for number in [1, 2, 3, 1] {
        retarget(&current, &format!("releases/{number}"));
        // A program whose working folder is a release sees the path of that release, and not the link.
        found.push(use_place(&ring, &current.join(".env"), "ONE", Some(&state), 1).1);
        found.push(use_place(&ring, &release(number).join(".env"), "ONE", Some(&state), 1).1);
    }
    found.dedup();
    assert_eq!((found.len(), journals(&state).len()), (1, 1), "{found:?}");
    assert_one_keeper(&ring);
    if !is_root(test) {
        return;
    }
    // The file of the second release shows the first token again, and is read-only in the next process.
    let file = release(2).join(".env");
    support::write_private(&file, &keys(&[("ONE", &token)]));
    let mut by = Command::new("unshare");
    by.args(["-m", "sh", "-c", "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\""])
        .arg(release(2));
    let job =
        Job { ring: &ring, file: &file, place: "ONE", state_path: Some(&state), refreshes: 2, delay: 0, kill_at: None };
    let mut child = Started::new(by, &job);
    child.go();
    assert!(child.ended().is_some());
    assert_eq!(journals(&state).len(), 1);
    assert_one_keeper(&ring);
}

#[test]
fn host_and_container_that_see_the_folders_at_other_paths_use_one_journal() {
    if !is_root("host_and_container_that_see_the_folders_at_other_paths_use_one_journal") {
        return;
    }
    let ring = Ring::start();
    let folder = tempfile::tempdir().unwrap();
    let [config, state, inside, state_inside] = ["config", "state", "in/config", "other/state"].map(|name| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    });
    let file = config.join("config.json");
    support::write_private(&file, &blocks(&[("ONE", &ring.first_token())]));
    let mount = "mount --bind \"$0\" \"$1\" && mount --bind \"$2\" \"$3\" && shift 3 && exec \"$@\"";
    let container = |refreshes| {
        let mut by = Command::new("unshare");
        by.args(["-m", "sh", "-c", mount]).args([&config, &inside, &state, &state_inside]);
        let mounted = inside.join("config.json");
        let job = Job {
            ring: &ring,
            file: &mounted,
            place: "ONE",
            state_path: Some(&state_inside),
            refreshes,
            delay: 0,
            kill_at: None,
        };
        let mut child = Started::new(by, &job);
        child.go();
        child
    };
    for _ in 0..3 {
        let child = container(3);
        use_place(&ring, &file, "ONE", Some(&state), 3);
        assert!(child.ended().is_some());
    }
    assert_eq!(journals(&state).len(), 1, "{:?}", support::names(&state));
    assert_one_keeper(&ring);
}

#[test]
fn without_a_state_path_the_folder_is_beside_the_link_only_if_the_target_is_mounted_read_only() {
    if !is_root("without_a_state_path_the_folder_is_beside_the_link_only_if_the_target_is_mounted_read_only") {
        return;
    }
    for is_read_only in [false, true] {
        let ring = Ring::start();
        let folder = tempfile::tempdir().unwrap();
        let [store, home] = ["store", "home"].map(|name| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        });
        support::write_private(&store.join("config.json"), &blocks(&[("ONE", &ring.first_token())]));
        let file = home.join("config.json");
        retarget(&file, "../store/config.json");
        let mode = if is_read_only { "ro" } else { "rw" };
        let mount = format!("mount --bind \"$0\" \"$0\" && mount -o remount,bind,{mode} \"$0\" && exec \"$@\"");
        for _ in 0..2 {
            let mut by = Command::new("unshare");
            by.args(["-m", "sh", "-c", &mount]).arg(&store);
            let job =
                Job { ring: &ring, file: &file, place: "ONE", state_path: None, refreshes: 1, delay: 0, kill_at: None };
            let mut child = Started::new(by, &job);
            child.go();
            assert!(child.ended().is_some());
        }
        let (used, other) = if is_read_only { (&home, &store) } else { (&store, &home) };
        assert_eq!(journals(&used.join(".ring-auth")).len(), 1);
        assert!(!other.join(".ring-auth").exists());
        assert_one_keeper(&ring);
        // ring-auth uses an existing journal even if it can write beside the target.
        let (_, journal) = use_place(&ring, &file, "ONE", None, 1);
        assert!(journal.starts_with(used), "{}", journal.display());
        assert_one_keeper(&ring);
    }
}

#[test]
fn of_two_folders_with_one_journal_the_newer_one_is_used_and_two_journals_are_refused() {
    let ring = Ring::start();
    let folder = tempfile::tempdir().unwrap();
    let [store, home] = ["store", "home"].map(|name| {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    });
    support::write_private(&store.join("config.json"), &blocks(&[("ONE", &ring.first_token())]));
    let file = home.join("config.json");
    retarget(&file, "../store/config.json");
    use_place(&ring, &file, "ONE", None, 1);
    support::copy_folder(&store.join(".ring-auth"), &home.join(".ring-auth"));
    // Only the journal beside the target gets a newer token.
    use_place(&ring, &store.join("config.json"), "ONE", None, 1);
    let (_, journal) = use_place(&ring, &file, "ONE", None, 1);
    assert!(journal.starts_with(&store), "{}", journal.display());
    assert_one_keeper(&ring);
    // A second journal is made for this file.
    std::fs::rename(store.join(".ring-auth"), folder.path().join("kept")).unwrap();
    std::fs::remove_dir_all(home.join(".ring-auth")).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let requests = ring.account().requests;
    runtime().block_on(async {
        let (manager, _, _) = try_open(&ring.url, &file, "ONE", None, Disk::default()).unwrap();
        manager.close().await;
    });
    std::fs::rename(store.join(".ring-auth"), home.join(".ring-auth")).unwrap();
    std::fs::rename(folder.path().join("kept"), store.join(".ring-auth")).unwrap();
    let error = runtime().block_on(async { try_open(&ring.url, &file, "ONE", None, Disk::default()).err().unwrap() });
    assert_eq!(error.code(), ring_auth::ErrorCode::InvalidArgument);
    for folder in [&home, &store] {
        assert!(error.message().contains(&folder.join(".ring-auth").display().to_string()), "{error}");
    }
    assert_eq!((std::fs::read_to_string(&file).unwrap(), ring.account().requests), (text, requests));
}

#[test]
fn killed_at_every_step_of_a_start_the_other_place_and_the_next_start_continue() {
    let ring = Ring::start();
    let folder = tempfile::tempdir().unwrap();
    let place = |number: usize| {
        let own = folder.path().join(number.to_string());
        std::fs::create_dir(&own).unwrap();
        let file = own.join("config.json");
        let token = ring.first_token();
        support::write_private(&file, &blocks(&[("ONE", &token), ("TWO", &token)]));
        file
    };
    let run = |file: &Path, name: &str, refreshes, kill_at| {
        let job = Job { ring: &ring, file, place: name, state_path: None, refreshes, delay: 0, kill_at };
        let mut child = Started::new(plain(), &job);
        child.go();
        child.ended()
    };
    let steps = run(&place(0), "ONE", 0, None).unwrap();
    assert!(steps > 50, "only {steps} steps");
    // A kill at every step of a first start would take minutes, so the test takes every fourth step.
    let mut chance = Chance(0x5eed_4321);
    for step in (chance.below(4)..steps).step_by(4) {
        ring.account().grace = Duration::ZERO;
        let file = place(step + 1);
        // A run can take fewer steps than the one that counted them, and then ends normally.
        let all = run(&file, "ONE", 0, Some(step));
        assert!(all.is_none_or(|all| all <= step), "step {step} of {steps} was passed over");
        // The answer may have been lost with the process, so Ring accepts its token again.
        ring.account().grace = GRACE;
        use_place(&ring, &file, "TWO", None, 1);
        ring.account().grace = Duration::ZERO;
        use_place(&ring, &file, "ONE", None, 1);
        use_place(&ring, &file, "TWO", None, 1);
        let account = ring.account();
        assert_eq!((account.stale, account.revoked), (0, false), "killed at step {step}");
        drop(account);
        let own = file.with_file_name(".ring-auth");
        assert_eq!(journals(&own).len(), 1, "killed at step {step}: {:?}", support::names(&own));
    }
}
