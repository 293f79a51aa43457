//! `refresh`: rotates the token now.

use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;

use super::Done;
use super::args::Options;
use super::context::{Keeping, Outcome};
use super::given_token::given_token;
use super::output::Output;
use super::prompter::patiently;
use crate::manager::Auth;
use crate::mirror::Purpose;

pub(super) async fn refresh(options: Options, output: Arc<Output>, runtime: Handle) -> Done {
    let given = given_token(&options, &output).await?;
    let kept = Keeping::begin(&options, Purpose::Follow)?;
    kept.look_first(given.is_some(), &output)?;
    let manager = kept.open(&options, &output, &runtime, given)?;
    kept.try_output()?;
    let result = patiently(&output, manager.refresh(options.force)).await;
    manager.close().await;
    let Auth { refresh_token, hardware_id, expires_at, .. } =
        result.map_err(|error| kept.chosen.in_our_words(error))?;
    let status = manager.status();
    let outcome = kept.outcome(&status, &refresh_token).await;
    let is_only_copy = outcome == Outcome::Unwritten;
    if output.is_json() {
        let result = json!({
            "refreshToken": refresh_token.expose(), "hardwareId": hardware_id, "expiresAt": expires_at,
            "persisted": status.persisted,
        });
        output.token(&result.to_string(), is_only_copy);
    } else if !status.persisted {
        output.token(refresh_token.expose(), is_only_copy);
    }
    if kept.codec.is_changing() && outcome != Outcome::Unwritten {
        kept.check_seal().await?;
    }
    Ok(match kept.chosen.path() {
        None => 0,
        Some(path) if outcome == Outcome::Kept => {
            output.say(&format!("Rotated. The new refresh token is stored in {}.", kept.stored_in(path).await));
            0
        }
        Some(_) => kept.not_stored(outcome, &status, "Rotated", &output),
    })
}
