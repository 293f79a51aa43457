//! `token`: prints a valid access token.

use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;

use super::Done;
use super::args::Options;
use super::context::{Context, Saved};
use super::given_token::given_token;
use super::output::Output;
use super::prompter::with_progress;
use crate::mirror::Purpose;

pub(super) async fn token(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options, &output).await?;
    let context = Context::open(&options, Purpose::Follow)?;
    context.look_first(given.is_some(), &output)?;
    let manager = context.open_manager(&options, &output, &runtime, given)?;
    let auth = with_progress(&output, manager.auth()).await;
    if let Ok(auth) = &auth
        && !output.is_json()
    {
        // The reader does not have to wait for a refresh in the background.
        output.result(auth.access_token.expose());
    }
    // In the last tenth of the lifetime there may be such a refresh: `close` waits for it.
    manager.close().await;
    let auth = auth.map_err(|error| context.chosen.in_our_words(error))?;
    let status = manager.status();
    let newest = manager.refresh_token().unwrap_or(auth.refresh_token);
    let saved = context.saved(&status, &newest).await;
    let is_only_copy = saved == Saved::Nowhere;
    let unstored = is_only_copy.then_some(&newest);
    if output.is_json() {
        let mut result = json!({ "accessToken": auth.access_token.expose(), "expiresAt": auth.expires_at });
        if let Some(token) = unstored {
            result["refreshToken"] = token.expose().into();
        }
        output.token(&result.to_string(), is_only_copy);
    } else if let Some(token) = unstored {
        output.token(&format!("\"refreshToken\": \"{}\"", token.expose()), is_only_copy);
    }
    // If the journal is written, the access token is valid, and a problem with the file is in the log.
    Ok(if is_only_copy || saved == Saved::SpoolOnly {
        context.not_stored(saved, &status, "Rotated", &output)
    } else {
        0
    })
}
