//! The text of `--help`.

use super::flags::{COMMANDS, ENVIRONMENT, EXIT_CODES, FlagId, SECTIONS};

/// The column at which the explanations begin.
const COLUMN: usize = 27;
/// The width of the text.
const WIDTH: usize = 118;

/// The whole text, with the line end of its last line.
pub(super) fn text() -> String {
    let mut text = String::from("ring-auth gets a Ring refresh token, keeps it alive, and never loses it.\n\n");
    for (at, command) in COMMANDS.iter().enumerate() {
        let head = if at == 0 { "Usage: " } else { "       " };
        let usage = if at == 0 { format!("[{}]", command.usage()) } else { command.usage() };
        entry(&mut text, &format!("{head}ring-auth {usage}"), COLUMN, command.help);
    }
    for section in SECTIONS {
        text.push('\n');
        text.push_str(section.title);
        text.push('\n');
        // In that section the options of a store stand below the store.
        let lists_stores = section.flags.iter().any(|flag| flag.id == FlagId::StateFile);
        for flag in section.flags {
            let indent = if lists_stores && flag.goes_with.is_some() { "      " } else { "  " };
            entry(&mut text, &format!("{indent}{}", flag.usage()), COLUMN, flag.help);
        }
    }
    text.push('\n');
    text.push_str(ENVIRONMENT);
    text.push('\n');
    let codes: Vec<_> = EXIT_CODES.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
    wrapped(&mut text, &format!("Exit codes: {}.", codes.join("; ")), 0, 0);
    text
}

/// One line of two columns, and as many more as the explanation needs.
fn entry(text: &mut String, left: &str, column: usize, right: &str) {
    text.push_str(left);
    let used = left.len();
    if used + 1 < column {
        text.extend(std::iter::repeat_n(' ', column - used));
    } else {
        text.push_str("  ");
    }
    wrapped(text, right, used.max(column - 2) + 2, column);
}

/// Adds words. The first line begins at one column, the others at another one.
fn wrapped(text: &mut String, words: &str, first: usize, others: usize) {
    let mut at = first;
    for (index, word) in words.split(' ').enumerate() {
        let width = word.chars().count();
        if index > 0 && at + 1 + width > WIDTH {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', others));
            at = others;
        } else if index > 0 {
            text.push(' ');
            at += 1;
        }
        text.push_str(word);
        at += width;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::flags;
    use super::*;

    #[test]
    fn every_command_and_option_is_in_it_and_no_line_is_too_long() {
        let text = text();
        for command in COMMANDS {
            assert!(
                text.contains(&format!("ring-auth {}", command.name)) || command.name == "login",
                "{}",
                command.name
            );
        }
        for flag in flags::all() {
            assert!(text.lines().any(|line| line.trim_start().starts_with(&flag.usage())), "{}", flag.long);
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 120 && line.trim_end() == line, "{line}");
        }
    }
}
