//! `logout`: forgets the token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Handle;

use super::Done;
use super::args::Options;
use super::context::{Context, Needs, blocking, show_notices};
use super::output::Output;
use super::prompter::with_progress;
use super::store::Forgotten;
use crate::journal::Notice;
use crate::location::Location;
use crate::mirror::{Follower, Purpose};
use crate::{Error, ErrorCode};

/// How long to wait for the lock of the journal: longer than any refresh.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(60);

pub(super) async fn logout(options: &Options, output: &Arc<Output>, runtime: &Handle) -> Done {
    let context = Context::open(options, Purpose::Introduce)?;
    if let Location::Custom { state_path: None, .. } = context.chosen.location() {
        return Err(Error::invalid(format!(
            "Only the code of {} can remove its token: it has load and save, and no statePath. Remove the token there.",
            context.chosen.place()
        ))
        .into());
    }
    let cleared = if context.opened.shared.is_some() {
        forget_everywhere(&context, options, output, runtime).await?
    } else {
        // No manager is opened, because it would first repeat the refresh of a process that was killed.
        with_progress(output, forget(&context)).await?.cleared
    };
    match cleared {
        Ok(notices) => show_notices(notices, output),
        Err(error) => {
            output.complain("The journal is forgotten, but the file still shows the token.");
            return Err(error.into());
        }
    }
    if output.is_json() {
        output.json(&json!({}));
    }
    if context.opened.shared.is_some() {
        output.say("Every other host of the account forgets it as well, when it next looks into the store.");
    } else if matches!(context.opened.mirror, Some(Follower::Program(_))) {
        output.say("The store's own code keeps its last token: remove it there.");
    }
    if context.opened.mirror.is_some() {
        output.say("A program that is running keeps its token in memory: restart it.");
    }
    output.say(
        "Forgotten here. Ring still knows the device: to revoke its token open the Ring app, Control Center, Authorized \
         Client Devices, and remove it there; or change the password, which ends every device's.",
    );
    Ok(0)
}

/// Writes a record without tokens into the shared store, and empties the spool.
async fn forget_everywhere(
    context: &Context,
    options: &Options,
    output: &Arc<Output>,
    runtime: &Handle,
) -> crate::Result<crate::Result<Vec<Notice>>> {
    let manager = context.open_manager_with(options, output, Arc::clone(output) as _, runtime, None, Needs::Logout)?;
    let cleared = with_progress(output, manager.forget()).await;
    manager.close().await;
    cleared.map(|()| Ok(Vec::new()))
}

/// Waits for the process that holds the journal's lock, then forgets the token.
async fn forget(context: &Context) -> crate::Result<Forgotten> {
    // A process that refreshes releases the lock within that time.
    let limit = Instant::now() + WAIT_FOR_LOCK;
    loop {
        let (opened, path) = (context.opened.clone(), context.chosen.path().map(ToOwned::to_owned));
        if let Some(forgotten) = blocking(move || opened.forget(path.as_deref())).await? {
            return Ok(forgotten);
        }
        if Instant::now() >= limit {
            return Err(Error::new(
                ErrorCode::StoreLocked,
                format!(
                    "Another process has been holding {} for longer than a refresh takes. Look for a process that hangs.",
                    context.opened.store.name()
                ),
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
