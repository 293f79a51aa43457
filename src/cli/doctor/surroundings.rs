//! The checks of the binary, the runtime, the C library and other copies of the package.

use serde_json::Value;

use super::{Check, Code, State};

const BINARY: &str = "binary";
const COPIES: &str = "copies";

/// The oldest version of Node.js that is supported.
const OLDEST_NODE: u32 = 20;

/// Makes the checks of this group. `surroundings` is what JavaScript knows, as JSON.
pub(super) fn look(surroundings: Option<&str>) -> Vec<Check> {
    let known: Value = surroundings.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    vec![binary(&known), copies(&known)]
}

fn text<'a>(known: &'a Value, name: &str) -> &'a str {
    known[name].as_str().unwrap_or_default()
}

fn binary(known: &Value) -> Check {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let failed =
        |code, message: String| Check { code: Some(Code::Binary(code)), ..Check::new(BINARY, State::Failed, message) };
    let [version, runtime, platform, libc, node, folder] =
        ["version", "runtime", "platform", "libc", "node", "folder"].map(|name| text(known, name));
    if !version.is_empty() && version != VERSION {
        return failed(
            "BINARY_MISMATCH",
            format!(
                "The package in {folder} is ring-auth {version}, and its binary is {VERSION}. Install the package again."
            ),
        );
    }
    let own = if cfg!(target_env = "musl") { "musl" } else { "glibc" };
    if !libc.is_empty() && !libc.starts_with(own) {
        return failed(
            "BINARY_FAILED",
            format!("The binary is for {own}, and this system has {libc}. Install the package again on this system."),
        );
    }
    let parts = [platform, runtime, libc].into_iter().filter(|part| !part.is_empty());
    let sentence = format!("ring-auth {VERSION}, {}.", parts.collect::<Vec<_>>().join(", "));
    match node.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major < OLDEST_NODE => {
            Check::warning(BINARY, sentence).and(&format!("Node.js {OLDEST_NODE} or later is supported: install one."))
        }
        _ => Check::ok(BINARY, sentence),
    }
}

fn copies(known: &Value) -> Check {
    let Some(copies) = known["copies"].as_array() else {
        return Check::skipped(COPIES, "The folders of the package were not searched.");
    };
    if copies.is_empty() {
        return Check::ok(COPIES, "There is no second copy of the package here.");
    }
    let list: Vec<_> =
        copies.iter().map(|copy| format!("{} ({})", text(copy, "path"), text(copy, "version"))).collect();
    Check::warning(
        COPIES,
        format!(
            "Beside {} ({}) there is also {}. Programs can use different versions: run npm dedupe, or update what brings the other one (npm ls ring-auth).",
            text(known, "folder"),
            text(known, "version"),
            list.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_binary_is_compared_with_its_package_and_its_system() {
        let mut known = json!({
            "version": env!("CARGO_PKG_VERSION"), "runtime": "Node.js 22.1.0", "node": "22.1.0",
            "platform": "linux-x64-gnu", "libc": "glibc 2.36", "folder": "/app/node_modules/ring-auth",
        });
        if cfg!(not(target_env = "musl")) {
            let version = env!("CARGO_PKG_VERSION");
            let line =
                format!("ok       binary          ring-auth {version}, linux-x64-gnu, Node.js 22.1.0, glibc 2.36.");
            assert_eq!(binary(&known).line(), line);
            known["libc"] = "musl".into();
            assert_eq!(
                binary(&known).line(),
                "failed   binary          The binary is for glibc, and this system has musl. Install the package again on this system. (BINARY_FAILED)"
            );
        }
        known["node"] = "18.20.1".into();
        known["libc"] = "".into();
        let check = binary(&known);
        assert_eq!(check.state, State::Warning);
        assert!(check.message.ends_with("Node.js 20 or later is supported: install one."), "{check:?}");
        known["version"] = "0.0.1".into();
        let line = binary(&known).line();
        assert!(line.starts_with("failed   binary          The package in /app/node_modules/ring-auth is ring-auth 0.0.1, and its binary is"), "{line}");
        assert!(line.ends_with("(BINARY_MISMATCH)"), "{line}");
    }

    #[test]
    fn a_second_copy_is_named_with_its_version() {
        let mut known = json!({ "version": "1.0.0", "folder": "/app/node_modules/ring-auth", "copies": [] });
        assert_eq!(copies(&known).state, State::Ok);
        let path = "/app/node_modules/homebridge-x/node_modules/ring-auth";
        known["copies"] = json!([{ "path": path, "version": "0.9.0" }]);
        let check = copies(&known);
        assert_eq!(check.state, State::Warning);
        assert!(check.message.contains(&format!("also {path} (0.9.0). Programs can use")), "{check:?}");
        assert_eq!(copies(&Value::Null).state, State::Skipped);
    }
}
