//! The commands of `--exec` and `--key-command`: in a process group of their own, for a limited time, and without the secrets
//! of this process.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::manager::Status;

/// How long a command may take.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a command may still take after the end of the watch.
const GRACE: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// How long a command whose output is read may take, and the largest output.
const LONGEST_FOR_OUTPUT: Duration = Duration::from_secs(10);
const MOST_OUTPUT: u64 = 64 * 1024;

/// The information that a command gets, in its environment.
#[derive(Debug)]
pub(super) struct Told {
    variables: [(&'static str, String); 4],
}

impl Told {
    pub(super) fn new(status: &Status, hardware_id: Option<String>) -> Self {
        let problem = status.problem.as_ref();
        Self {
            variables: [
                ("RING_AUTH_STATE", status.phase.as_str().to_owned()),
                ("RING_AUTH_CODE", problem.map_or_else(String::new, |error| error.code().as_str().to_owned())),
                ("RING_AUTH_MESSAGE", problem.map_or_else(String::new, |error| error.message().to_owned())),
                ("RING_AUTH_HARDWARE_ID", hardware_id.unwrap_or_default()),
            ],
        }
    }
}

/// Whether the watch has ended.
#[derive(Debug, Default)]
pub(super) struct Ended(AtomicBool);

impl Ended {
    pub(super) fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Runs a command until all of its processes have ended, and ends them if that takes too long. `secret_variable` is one more
/// variable that the command does not get.
///
/// # Errors
///
/// A sentence that says what went wrong. It does not show the command, which may contain a secret.
pub(super) async fn run(
    line: &str,
    secret_variable: Option<&str>,
    told: &Told,
    quiet: bool,
    ended: &Ended,
) -> Result<(), String> {
    let mut command = shell(line);
    hide_secrets(&mut command, secret_variable);
    command.envs(told.variables.iter().map(|(name, value)| (name, value)));
    // Standard output is only for the states.
    let (output, errors) = if quiet { (Stdio::null(), Stdio::null()) } else { (standard_error(), Stdio::inherit()) };
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child = command.spawn().map_err(|error| format!("The command of --exec could not be started: {error}."))?;
    let mut status = None;
    let began = Instant::now();
    let mut asked_to_end = None;
    loop {
        if status.is_none() {
            status = child.try_wait().map_err(|error| format!("The command of --exec cannot be watched: {error}."))?;
        }
        if status.is_some() && !group_lives(&child) {
            break;
        }
        if ended.is_over() {
            asked_to_end.get_or_insert_with(Instant::now);
        }
        let is_late = asked_to_end.is_some_and(|at| at.elapsed() >= GRACE);
        if is_late || began.elapsed() >= LONGEST {
            end_group(&mut child);
            // A process that waits for a dead mount does not end even then.
            let ended_at = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && ended_at.elapsed() < GRACE {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            return Err(if is_late {
                "The command of --exec was still running when the watch ended, and was ended with it.".to_owned()
            } else {
                format!("The command of --exec was still running after {} s, and was ended.", LONGEST.as_secs())
            });
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    status.map_or(Ok(()), |status| succeeded(status, "--exec"))
}

/// Runs a command and returns its output. Uses no shell if the line needs none, and ends a command that takes too long. Blocks.
///
/// # Errors
///
/// A sentence that says what went wrong. It shows neither the command nor its output.
pub(super) fn output(line: &str, option: &str, secret_variable: Option<&str>) -> Result<Vec<u8>, String> {
    let start = |mut command: Command| {
        hide_secrets(&mut command, secret_variable);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    };
    // A command that cannot be started directly may be a builtin, or a script whose first line does not name its shell.
    let child = match direct(line).map(start) {
        Some(Ok(child)) => Ok(child),
        Some(Err(_)) | None => start(shell(line)),
    };
    let mut child = child.map_err(|error| format!("The command of {option} could not be started: {error}."))?;
    let (printed, output) = mpsc::channel();
    let mut from = child.stdout.take();
    // The output ends with the command, or with the last process that the command left behind.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = from.as_mut().map_or(Ok(0), |from| from.take(MOST_OUTPUT + 1).read_to_end(&mut bytes));
        // The receiver may be gone. Then the pipe is closed, which ends a command that still prints.
        let _ = printed.send(read.map(|_| bytes));
    });
    let started = Instant::now();
    let mut bytes = None;
    let status = loop {
        let ended = child.try_wait().map_err(|error| format!("The command of {option} cannot be watched: {error}."))?;
        bytes = bytes.or_else(|| output.try_recv().ok());
        let is_too_much = matches!(&bytes, Some(Ok(bytes)) if bytes.len() as u64 > MOST_OUTPUT);
        match ended {
            Some(status) if !is_too_much && (bytes.is_some() || !status.success()) => break status,
            _ if is_too_much || started.elapsed() >= LONGEST_FOR_OUTPUT => {
                end_group(&mut child);
                let _ = child.wait();
                return Err(if is_too_much {
                    format!("The command of {option} printed more than {} KiB, and was ended.", MOST_OUTPUT / 1024)
                } else {
                    let seconds = LONGEST_FOR_OUTPUT.as_secs();
                    format!("The command of {option} was still running after {seconds} s, and was ended.")
                });
            }
            _ => thread::sleep(BETWEEN_LOOKS),
        }
    };
    succeeded(status, option)?;
    let bytes = bytes.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
    bytes.map_err(|error| format!("The output of the command of {option} cannot be read: {error}."))
}

/// The command of a line that means the same without a shell, because a shell would change none of its words.
fn direct(line: &str) -> Option<Command> {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@= \t".contains(c) || (cfg!(windows) && c == '\\');
    let mut words = line.split_whitespace();
    let program = words.next().filter(|program| !program.contains('='))?;
    line.chars().all(is_plain).then(|| {
        let mut command = in_its_group(Command::new(program));
        command.args(words);
        command
    })
}

fn succeeded(status: ExitStatus, option: &str) -> Result<(), String> {
    match status.code() {
        Some(0) => Ok(()),
        Some(127) => Err(format!("The command of {option} was not found (exit code 127).")),
        Some(code) => Err(format!("The command of {option} failed with exit code {code}.")),
        None => Err(format!("The command of {option} was ended by a signal.")),
    }
}

fn hide_secrets(command: &mut Command, secret_variable: Option<&str>) {
    for (name, _) in std::env::vars_os() {
        if may_be_secret(&name, secret_variable) {
            command.env_remove(name);
        }
    }
}

/// Whether a variable of this process may contain a secret or the path of one. The addresses of other servers do not.
fn may_be_secret(name: &OsStr, secret_variable: Option<&str>) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    let is_address = matches!(&*name, "RING_AUTH_OAUTH_URL" | "RING_AUTH_API_URL");
    (name.starts_with("RING_") && !is_address)
        || secret_variable.is_some_and(|secret| secret.eq_ignore_ascii_case(&name))
}

#[cfg(unix)]
fn shell(line: &str) -> Command {
    let mut command = in_its_group(Command::new("/bin/sh"));
    command.arg("-c").arg(line);
    command
}

#[cfg(unix)]
fn in_its_group(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    command
}

#[cfg(unix)]
fn standard_error() -> Stdio {
    use std::os::fd::AsFd;
    io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)
}

/// Whether a process of the command's group is left. As long as one is, the number cannot belong to another group.
#[cfg(unix)]
fn group_lives(child: &Child) -> bool {
    group(child).is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
}

#[cfg(unix)]
fn end_group(child: &mut Child) {
    if let Some(group) = group(child) {
        // The group may have ended by itself in the meantime.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(unix)]
fn group(child: &Child) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)
}

#[cfg(windows)]
fn in_its_group(command: Command) -> Command {
    command
}

#[cfg(windows)]
fn shell(line: &str) -> Command {
    use std::os::windows::process::CommandExt;
    let mut command = Command::new("cmd");
    // The shell parses the line itself, with its own rules.
    command.arg("/D").arg("/S").arg("/C").raw_arg(format!("\"{line}\""));
    command
}

#[cfg(windows)]
fn standard_error() -> Stdio {
    use std::os::windows::io::AsHandle;
    io::stderr().as_handle().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)
}

/// Windows has no process groups: the processes that a command started are found as long as the command itself runs.
#[cfg(windows)]
fn group_lives(_: &Child) -> bool {
    false
}

#[cfg(windows)]
fn end_group(child: &mut Child) {
    let tree = Command::new("taskkill").args(["/T", "/F", "/PID", &child.id().to_string()]).output();
    if !tree.is_ok_and(|output| output.status.success()) {
        let _ = child.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_used_only_if_the_line_needs_one() {
        for line in [
            "pass ring-auth",
            "/usr/bin/secret-tool lookup app ring-auth",
            "security find-generic-password -s ring-auth -w",
        ] {
            let command = direct(line).unwrap();
            assert_eq!(command.get_program(), line.split(' ').next().unwrap());
            assert_eq!(command.get_args().count(), line.split(' ').count() - 1);
        }
        for line in ["a | b", "a $HOME", "a 'b c'", "A=1 b", "a > b", "~/a", "a *", "a;b", "", "a `b`", "a \n b"] {
            assert!(direct(line).is_none(), "{line}");
        }
    }

    #[test]
    fn no_variable_of_ours_reaches_a_command_but_the_addresses() {
        for (name, is_secret) in [
            ("RING_PASSWORD", true),
            ("RING_EMAIL_FILE", true),
            ("RING_TOTP_SECRET", true),
            ("RING_REFRESH_TOKEN", true),
            ("RING_AUTH_KEY_FILE", true),
            ("ring_password", true),
            ("MY_TOKEN", true),
            ("MY_TOKEN_2", false),
            ("PATH", false),
            ("STRING_X", false),
            ("RING_AUTH_OAUTH_URL", false),
            ("RING_AUTH_API_URL", false),
        ] {
            assert_eq!(may_be_secret(OsStr::new(name), Some("MY_TOKEN")), is_secret, "{name}");
        }
        assert!(!may_be_secret(OsStr::new("MY_TOKEN"), None));
    }
}
