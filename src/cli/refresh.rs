//! `refresh`: rotates the token now.

use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;

use super::Done;
use super::args::Options;
use super::context::{Context, Saved};
use super::given_token::given_token;
use super::output::Output;
use super::prompter::with_progress;
use crate::manager::Auth;
use crate::mirror::Purpose;

pub(super) async fn refresh(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options, &output).await?;
    let context = Context::open(&options, Purpose::Follow)?;
    context.look_first(given.is_some(), &output)?;
    let manager = context.open_manager(&options, &output, &runtime, given)?;
    context.try_output()?;
    let result = with_progress(&output, manager.refresh(options.force)).await;
    manager.close().await;
    let Auth { refresh_token, hardware_id, expires_at, .. } =
        result.map_err(|error| context.chosen.in_our_words(error))?;
    let status = manager.status();
    let saved = context.saved(&status, &refresh_token).await;
    let is_only_copy = saved == Saved::Nowhere;
    if output.is_json() {
        let result = json!({
            "refreshToken": refresh_token.expose(), "hardwareId": hardware_id, "expiresAt": expires_at,
            "persisted": status.persisted,
        });
        output.token(&result.to_string(), is_only_copy);
    } else if is_only_copy {
        output.token(refresh_token.expose(), is_only_copy);
    }
    if context.codec.is_changing() && !is_only_copy {
        context.check_seal().await?;
    }
    if !context.chosen.keeps() {
        return Ok(0);
    }
    if saved == Saved::Everywhere {
        output.say(&format!("Rotated. The new refresh token is stored in {}.", context.stored_in().await));
        return Ok(0);
    }
    Ok(context.not_stored(saved, &status, "Rotated", &output))
}
