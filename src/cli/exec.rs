//! The command of `--exec`: in a process group of its own, for a limited time, and without the secrets of this process.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::manager::Status;

/// How long a command may take.
const LONGEST: Duration = Duration::from_secs(30);
/// How long it may still take once the watch has ended.
const GRACE: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What a command is told, in its environment.
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
/// A sentence on what went wrong, which does not show the command: there may be a secret in it.
pub(super) async fn run(
    line: &str,
    secret_variable: Option<&str>,
    told: &Told,
    quiet: bool,
    ended: &Ended,
) -> Result<(), String> {
    let mut command = shell(line);
    for (name, _) in std::env::vars_os() {
        if may_be_secret(&name, secret_variable) {
            command.env_remove(name);
        }
    }
    command.envs(told.variables.iter().map(|(name, value)| (name, value)));
    // Standard output is for the states alone.
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
            // A process that waits for a dead mount does not end even so.
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
    match status {
        Some(status) if !status.success() => Err(match status.code() {
            Some(127) => "The command of --exec was not found (exit code 127).".to_owned(),
            Some(code) => format!("The command of --exec failed with exit code {code}."),
            None => "The command of --exec was ended by a signal.".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Whether a variable of this process may hold a secret, or lead to one. The addresses of other servers do not.
fn may_be_secret(name: &OsStr, secret_variable: Option<&str>) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    let is_address = matches!(&*name, "RING_AUTH_OAUTH_URL" | "RING_AUTH_API_URL");
    (name.starts_with("RING_") && !is_address)
        || secret_variable.is_some_and(|secret| secret.eq_ignore_ascii_case(&name))
}

#[cfg(unix)]
fn shell(line: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line).process_group(0);
    command
}

#[cfg(unix)]
fn standard_error() -> Stdio {
    use std::os::fd::AsFd;
    std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)
}

/// Whether a process of the command's group is left. Its number cannot be given to another group meanwhile.
#[cfg(unix)]
fn group_lives(child: &Child) -> bool {
    group(child).is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok())
}

#[cfg(unix)]
fn end_group(child: &mut Child) {
    if let Some(group) = group(child) {
        // A group that has just ended needs no end.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(unix)]
fn group(child: &Child) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)
}

#[cfg(windows)]
fn shell(line: &str) -> Command {
    use std::os::windows::process::CommandExt;
    let mut command = Command::new("cmd");
    // The shell reads its line itself, with rules of its own.
    command.arg("/D").arg("/S").arg("/C").raw_arg(format!("\"{line}\""));
    command
}

#[cfg(windows)]
fn standard_error() -> Stdio {
    use std::os::windows::io::AsHandle;
    std::io::stderr().as_handle().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)
}

/// There are no groups: what the command began is found as long as the command itself is there.
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
