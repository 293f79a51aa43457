//! The manual page `ring-auth(1)`, from the tables of commands and options, in the macros of `man(7)`.

use std::fmt::Write as _;

use super::flags::{COMMANDS, ENVIRONMENT, EXIT_CODES, SECTIONS};

/// The page in roff.
pub(super) fn page() -> String {
    let mut page = format!(
        ".TH RING-AUTH 1 \"\" \"ring-auth {}\" \"User Commands\"\n\
         .SH NAME\nring-auth \\- get a Ring refresh token and keep it alive\n\
         .SH SYNOPSIS\n.B ring-auth\n[\\fIcommand\\fR] [\\fIoptions\\fR]\n.SH COMMANDS\n",
        env!("CARGO_PKG_VERSION")
    );
    for command in COMMANDS {
        let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(&command.usage()), line(command.help));
    }
    page.push_str(".SH OPTIONS\n");
    for section in SECTIONS {
        let _ = writeln!(page, ".SS {}", escaped(section.title.trim_end_matches(':')));
        for flag in section.flags {
            let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(&flag.usage()), line(flag.help));
        }
    }
    page.push_str(".SH ENVIRONMENT\n");
    for text in ENVIRONMENT.lines() {
        page.push_str(&line(text));
        page.push('\n');
    }
    page.push_str(".SH EXIT STATUS\n");
    for (code, meaning) in EXIT_CODES {
        let _ = writeln!(page, ".TP\n.B {code}\n{meaning}");
    }
    page
}

/// Escapes a text, so that no dash becomes a hyphen, which could not be copied.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

/// Escapes a text for a line of its own: a dot or an apostrophe at its beginning would make it a request.
fn line(text: &str) -> String {
    let text = escaped(text);
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::flags;
    use super::*;

    #[test]
    fn it_names_every_command_option_and_exit_code() {
        let page = page();
        for flag in flags::all() {
            assert!(page.contains(&format!(".TP\n\\fB{}", escaped(flag.long))), "{}", flag.long);
        }
        for command in COMMANDS {
            assert!(page.contains(&format!(".TP\n\\fB{}", command.name)), "{}", command.name);
        }
        for (code, _) in EXIT_CODES {
            assert!(page.contains(&format!("\n.B {code}\n")), "{code}");
        }
        assert_eq!(line(".env"), "\\&.env");
    }
}
