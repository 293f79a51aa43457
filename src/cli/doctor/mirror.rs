//! The checks of the mirror and of other tokens in its file.

use super::super::status;
use super::super::store::ChosenStore;
use super::{Check, in_our_words};
use crate::Secret;
use crate::files::{Disk, platform, resolve};
use crate::journal::state::{Known, State as Kept};
use crate::location::Opened;
use crate::manager::Shown;
use crate::mirror::{Attempts, Homebridge, Places, Target};
use crate::token::RefreshToken;

pub(super) const MIRROR: &str = "mirror";
pub(super) const SAME_TOKEN: &str = "same-token";
pub(super) const KEEPER: &str = "keeper";

/// Makes the checks of this group. Blocks.
pub(super) fn look(chosen: &ChosenStore, opened: &Opened, state: Option<&Kept>) -> Vec<Check> {
    let (Some(target), Some(mirror)) = (chosen.target(), opened.file_mirror()) else {
        return [MIRROR, SAME_TOKEN, KEEPER].map(|id| Check::skipped(id, "This store is only a journal.")).into();
    };
    let looked = mirror.look(Attempts::Several);
    let others = Others::of(target);
    let shown = shown(chosen, target, &looked, &others, state);
    let Ok(own) = &looked else {
        let skipped = |id| Check::skipped(id, "The file cannot be read: see mirror.");
        return vec![shown, skipped(SAME_TOKEN), skipped(KEEPER)];
    };
    let own = own.as_ref();
    vec![shown, same_token(&others, own, state), keeper(chosen, target, &others, own, state)]
}

fn shown(
    chosen: &ChosenStore,
    target: &Target,
    looked: &crate::Result<Option<Secret>>,
    others: &Others,
    state: Option<&Kept>,
) -> Check {
    let path = target.path();
    let name = path.display();
    let shown = match looked {
        Ok(text) => Ok(Shown::beside(state, text.as_ref())),
        Err(error) => return Check::of(MIRROR, &in_our_words(error)),
    };
    let sentence = format!("{name} shows {}.", status::shows(&shown).1);
    let is_read_only = path.exists() && !platform::may_write(path);
    match shown {
        _ if is_read_only => Check::warning(MIRROR, sentence).and(
            "This user cannot write it, so the newest token will not be shown there. Give this user the right to, or change its mode.",
        ),
        Ok(Shown::Nothing) if !others.has_own => {
            let check = Check::warning(MIRROR, format!("{name} has no place for the token yet."))
                .and(&format!("A login makes it: ring-auth login {}", chosen.typed()));
            match others.meant_by(target) {
                blocks if blocks.is_empty() => check,
                blocks => check.and(&format!("If one of these blocks is meant, correct --name: {blocks}.")),
            }
        }
        Ok(Shown::Nonsense(_)) => {
            Check::warning(MIRROR, sentence).and(&format!("Replace it: ring-auth login {}", chosen.typed()))
        }
        Ok(Shown::Nothing) if state.is_some_and(|state| state.family.is_some()) => {
            Check::warning(MIRROR, sentence).and("The next start or refresh writes it there.")
        }
        Ok(Shown::Old) => Check::warning(MIRROR, sentence),
        _ => Check::ok(MIRROR, sentence),
    }
}

/// The other places in the file that may contain a token.
struct Others {
    others: Vec<(Vec<String>, Option<Secret>)>,
    /// Whether the mirror's own place exists.
    has_own: bool,
}

impl Others {
    fn of(target: &Target) -> Self {
        let bytes =
            resolve(target.path()).ok().and_then(|real| Disk::default().read(&real).ok().flatten()).unwrap_or_default();
        let Places { own, others } = target.format().map(|format| format.places(&bytes)).unwrap_or_default();
        Self { others, has_own: own.is_some() }
    }

    /// The blocks that the user may mean if no block has the `--name`.
    fn meant_by(&self, target: &Target) -> String {
        let Target::Homebridge { platform, name: Some(_), .. } = target else { return String::new() };
        let platform = platform.as_deref().unwrap_or(Homebridge::PLATFORM);
        let blocks = self.others.iter().filter(|(place, _)| place.get(1).is_some_and(|of| of == platform));
        blocks.map(|(place, _)| called(place)).collect::<Vec<_>>().join(", ")
    }
}

/// Whether two texts are the same token, or tokens of the same family as far as the journal knows it.
fn is_same(one: &Secret, own: Option<&Secret>, state: Option<&Kept>) -> bool {
    let Ok(token) = RefreshToken::parse(one.expose()) else { return false };
    let own = own.and_then(|own| RefreshToken::parse(own.expose()).ok());
    own.is_some_and(|own| own.fingerprint() == token.fingerprint())
        || state.is_some_and(|state| state.recognise(token.fingerprint()) != Known::Unknown)
}

/// The name of a place: the words that distinguish it from others of its kind.
fn called(place: &[String]) -> String {
    let words: Vec<_> =
        place.iter().skip(1).map(|word| format!("{:?}", word.chars().take(60).collect::<String>())).collect();
    words.join(" ")
}

fn same_token(others: &Others, own: Option<&Secret>, state: Option<&Kept>) -> Check {
    let same: Vec<_> = others
        .others
        .iter()
        .filter(|(_, shown)| shown.as_ref().is_some_and(|shown| is_same(shown, own, state)))
        .map(|(place, _)| called(place))
        .collect();
    if same.is_empty() {
        return Check::ok(SAME_TOKEN, "No other place in that file has this token.");
    }
    Check::warning(
        SAME_TOKEN,
        format!(
            "The same token, or an older one of its family, is also in {}. One token has one keeper: log in once for each of them.",
            same.join(", ")
        ),
    )
}

fn keeper(chosen: &ChosenStore, target: &Target, others: &Others, own: Option<&Secret>, state: Option<&Kept>) -> Check {
    let Target::Homebridge { platform, .. } = target else {
        return Check::skipped(KEEPER, "This store is no configuration of Homebridge.");
    };
    let platform = platform.as_deref().unwrap_or(Homebridge::PLATFORM);
    if is_homebridge_ring(platform) {
        return Check::warning(
            KEEPER,
            "A block of the platform \"Ring\" is the one of homebridge-ring, which rotates its token by itself. If that plugin is installed, use no ring-auth token, refresh or watch on this block: keep a second token for them (ring-auth login --state-file PATH).",
        );
    }
    let theirs =
        others.others.iter().find(|(place, _)| place.get(1).is_some_and(|platform| is_homebridge_ring(platform)));
    let typed = chosen.typed();
    match theirs {
        None => Check::ok(KEEPER, "There is no block of homebridge-ring."),
        Some((theirs, Some(shown))) if is_same(shown, own, state) => Check::warning(
            KEEPER,
            format!(
                "homebridge-ring keeps the same token in its block {}: one of the two will lose it. Get a token of its own for this block: ring-auth login {typed}",
                called(theirs)
            ),
        ),
        Some((theirs, _)) if own.is_none() => Check::warning(
            KEEPER,
            format!(
                "There is a block of homebridge-ring, {}, and this one has no token. Do not copy the token from there: ring-auth login {typed}",
                called(theirs)
            ),
        ),
        Some((theirs, _)) => {
            Check::ok(KEEPER, format!("homebridge-ring has a block too, {}, with a token of its own.", called(theirs)))
        }
    }
}

/// Whether a block is one of homebridge-ring. Homebridge takes the platform, or the plugin, a dot and the platform.
fn is_homebridge_ring(platform: &str) -> bool {
    platform == Homebridge::PLATFORM || platform == "homebridge-ring.Ring"
}
