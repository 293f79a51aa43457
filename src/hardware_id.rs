//! The stable hardware id, derived exactly as ring-client-api does.
//!
//! Ring shows one "authorized client device" for each id, and stops notifications when it changes. So a user who comes from
//! ring-client-api must keep that id, and every user must keep the first one.

use std::time::Duration;

use uuid::Uuid;

use crate::task::Apart;
use crate::token::Fingerprint;
use crate::{Error, ErrorCode, Result};

/// ring-client-api's own namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0xe53f_fdc0_e91d_4ce1_bec2_df93_9d94_739d);

/// The hardware id for a `systemId`: its `UUIDv5`.
pub fn from_system_id(system_id: &str) -> String {
    Uuid::new_v5(&NAMESPACE, system_id.as_bytes()).to_string()
}

/// The hardware id of this machine, from the machine id of its operating system; random if it has none. Reads files of the system and
/// runs its tools.
///
/// # Errors
///
/// `TIMEOUT` if they do not answer. A random id would permanently be another device, only because a disk was slow.
pub async fn of_machine() -> Result<String> {
    static ASKED: Apart<(), Option<String>> = Apart::new();
    let named = ASKED.wait(&(), PATIENCE, machine_id).await.ok_or_else(|| {
        Error::new(
            ErrorCode::Timeout,
            "This system did not say in time which machine it is, and the hardware id follows from that. Try again, or give \
             systemId.",
        )
    })?;
    Ok(named.map_or_else(random, |id| from_system_id(&id)))
}

/// A fingerprint of this machine's id; `None` in a container, and on a system without such an id. Reads files of the system and runs
/// its tools.
pub(crate) fn machine() -> Option<Fingerprint> {
    if is_in_a_container() {
        return None;
    }
    machine_id().map(|id| Fingerprint::of(&format!("ring-auth machine {id}")))
}

/// A container has no machine id of its own: it has that of its image or of its host, or a new one at each start.
#[cfg(target_os = "linux")]
fn is_in_a_container() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_said = ["container", "KUBERNETES_SERVICE_HOST"].iter().any(|name| std::env::var_os(name).is_some());
    is_said
        || has_overlay_root(&mounts)
        || ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"]
            .iter()
            .any(|path| std::path::Path::new(path).exists())
}

#[cfg(not(target_os = "linux"))]
fn is_in_a_container() -> bool {
    false
}

/// Whether the root folder is made of the layers of an image.
#[cfg(target_os = "linux")]
fn has_overlay_root(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let (mount, file_system) = line.split_once(" - ").unwrap_or((line, ""));
        mount.split(' ').nth(4) == Some("/") && file_system.starts_with("overlay ")
    })
}

/// The time limit for files and tools of the system.
const PATIENCE: Duration = Duration::from_secs(5);

/// A random hardware id, for a machine without an id or a device that Ring has blocked.
pub fn random() -> String {
    Uuid::new_v4().to_string()
}

#[cfg(not(any(target_os = "macos", windows)))]
fn machine_id() -> Option<String> {
    // The order is that of systeminformation, which ring-client-api uses.
    ["/var/lib/dbus/machine-id", "/etc/machine-id"]
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .find_map(|text| named(&text))
}

#[cfg(target_os = "macos")]
fn machine_id() -> Option<String> {
    let output =
        std::process::Command::new("/usr/sbin/ioreg").args(["-rd1", "-c", "IOPlatformExpertDevice"]).output().ok()?;
    value_after(&String::from_utf8_lossy(&output.stdout), "\"IOPlatformUUID\" = \"", '"')
}

#[cfg(windows)]
fn machine_id() -> Option<String> {
    let output = std::process::Command::new("reg")
        .args(["query", r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Cryptography", "/v", "MachineGuid", "/reg:64"])
        .output()
        .ok()?;
    value_after(&String::from_utf8_lossy(&output.stdout), "REG_SZ", '\n')
}

/// The value between a marker and its end, in the output of a system's own tool.
#[cfg(any(target_os = "macos", windows, test))]
fn value_after(output: &str, marker: &str, end: char) -> Option<String> {
    let (_, rest) = output.split_once(marker)?;
    named(rest.split(end).next().unwrap_or(rest))
}

/// A machine id in the form that is hashed: trimmed and in lower case.
fn named(text: &str) -> Option<String> {
    let name = text.trim().to_lowercase();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_id_always_gives_the_same_id() {
        // Computed with the `uuid` package from npm, as ring-client-api does.
        assert_eq!(from_system_id("my-system"), "1fd67c26-1c8d-580d-adb2-768b61351a1d");
    }

    #[test]
    fn the_tools_of_other_systems_are_understood() {
        let ioreg = "  | \"IOPlatformUUID\" = \"ABCDEF01-2345\"\n  | \"other\" = \"x\"";
        assert_eq!(value_after(ioreg, "\"IOPlatformUUID\" = \"", '"').as_deref(), Some("abcdef01-2345"));
        let reg = "\r\nHKEY\r\n    MachineGuid    REG_SZ    0A1B-2C\r\n\r\n";
        assert_eq!(value_after(reg, "REG_SZ", '\n').as_deref(), Some("0a1b-2c"));
        assert_eq!(value_after("nothing", "REG_SZ", '\n'), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_container_is_told_by_its_root() {
        let line = |point: &str, kind: &str| format!("25 1 0:22 / {point} rw,relatime shared:1 - {kind} {kind} rw\n");
        assert!(has_overlay_root(&(line("/proc", "proc") + &line("/", "overlay"))));
        assert!(!has_overlay_root(&(line("/", "ext4") + &line("/var/lib/docker/overlay2/x/merged", "overlay"))));
        assert!(!has_overlay_root(""));
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(random(), random());
    }
}
