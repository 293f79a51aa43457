//! The token with which a command begins.

use std::sync::Arc;

use super::Stop;
use super::args::Options;
use super::context::blocking;
use super::output::Output;
use super::prompter::{Prompter, token_of_stdin};
use super::secrets::{Environment, Named};
use super::terminal::Question;
use crate::token::RefreshToken;
use crate::{Error, Secret};

/// The variable of a token. With `_FILE` it names a file with a token.
pub(super) const TOKEN: &str = "RING_REFRESH_TOKEN";

/// The token with which a command begins, from standard input or from the file that a variable names.
pub(super) async fn given_token(options: &Options, output: &Arc<Output>) -> Result<Option<Secret>, Stop> {
    const NAME: &str = "--refresh-token-stdin";
    let (token, name) = if options.refresh_token_stdin {
        if Environment::of_this_process().names_file(TOKEN) {
            return Err(Error::invalid(format!("{NAME} and {TOKEN}_FILE exclude each other: give one token.")).into());
        }
        let prompter = Prompter::new(output, options.input.for_options());
        let token = if prompter.has_person() {
            prompter.ask(Question::hidden("Refresh token: "), "refresh token", NAME).await?
        } else {
            token_of_stdin(NAME).await?
        };
        (token, NAME.to_owned())
    } else {
        match blocking(|| Environment::of_this_process().file(TOKEN)).await? {
            // An outdated variable must not stop a working journal: the manager compares the text with the journal.
            Some(Named { value, .. }) if options.store.is_given() => return Ok(Some(value)),
            Some(Named { value, name }) => (value, name),
            None => return Ok(None),
        }
    };
    // With a store, an empty text counts as an old copy, and an invalid text in the file of a variable matters only if the store has no
    // token. The manager decides that.
    let is_typed = options.refresh_token_stdin && !token.expose().trim().is_empty();
    if !options.store.is_given() || is_typed {
        RefreshToken::parse(token.expose())
            .map_err(|error| Error::invalid(format!("{name} got no token. {}", error.message())))?;
    }
    Ok(Some(token))
}
