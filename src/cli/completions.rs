//! The completions of the shells, from the tables of commands and options.

use std::fmt::Write as _;

use super::flags::{self, COMMANDS, Command, Flag, Kind, Value};

/// The script for one of [`flags::SHELLS`].
pub(super) fn script(shell: &str) -> String {
    match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        _ => powershell(),
    }
}

/// The options that a command takes.
fn flags_of(command: &Command) -> impl Iterator<Item = &'static Flag> {
    flags::all().filter(move |flag| flag.is_taken_by(command.action))
}

fn names() -> String {
    joined(COMMANDS.iter().map(|command| command.name), " ")
}

fn joined<'a>(words: impl Iterator<Item = &'a str>, between: &str) -> String {
    words.collect::<Vec<_>>().join(between)
}

fn kind(flag: &Flag) -> Option<Kind> {
    match flag.value {
        Value::None => None,
        Value::Needed(_, kind) | Value::Optional(_, kind) => Some(kind),
    }
}

/// The script for bash 3.2, which macOS has, and later. If it offers nothing, readline completes file names.
fn bash() -> String {
    let mut script = String::from(
        "# Completions of ring-auth for bash. In ~/.bashrc: eval \"$(ring-auth completions bash)\"\n\
         _ring_auth() {\n  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= words= i\n  \
         COMPREPLY=()\n  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in\n",
    );
    let _ = writeln!(script, "      {}) command=${{COMP_WORDS[i]}}; break ;;", names().replace(' ', "|"));
    script.push_str("    esac\n  done\n  case $before in\n");
    for flag in flags::all() {
        let Some(Kind::Words(words)) = kind(flag) else { continue };
        let words = words.join(" ");
        let _ = writeln!(script, "    {}) COMPREPLY=($(compgen -W '{words}' -- \"$word\")); return ;;", flag.long);
    }
    let takes = flags::all().filter(|flag| matches!(flag.value, Value::Needed(..))).map(|flag| flag.long);
    let _ = writeln!(script, "    {}) return ;;", joined(takes, "|"));
    script.push_str("  esac\n  case $command in\n");
    for command in COMMANDS {
        let pattern = if command.name == "login" { "login|''" } else { command.name };
        let longs = joined(flags_of(command).map(|flag| flag.long), " ");
        let _ = writeln!(script, "    {pattern}) words='{longs}' ;;");
    }
    script.push_str("  esac\n  case $word in -*) ;; *)\n    case $command in\n");
    let _ = writeln!(script, "      '') words='{}' ;;", names());
    for command in COMMANDS.iter().filter(|command| !command.shells.is_empty()) {
        let _ = writeln!(script, "      {}) words='{}' ;;", command.name, command.shells.join(" "));
    }
    script.push_str(
        "      *) words= ;;\n    esac ;;\n  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n\
         complete -o bashdefault -o default -F _ring_auth ring-auth ring-auth-cli\n",
    );
    script
}

fn zsh() -> String {
    let mut script = String::from(
        "#compdef ring-auth ring-auth-cli\n# Completions of ring-auth for zsh. In ~/.zshrc, behind compinit: \
         eval \"$(ring-auth completions zsh)\"\n_ring_auth() {\n  local -a commands options\n  local command\n  commands=(\n",
    );
    for command in COMMANDS {
        let _ = writeln!(script, "    '{}:{}'", command.name, zsh_text(command.help));
    }
    let _ = writeln!(script, "  )\n  command=${{words[(r)({})]}}", names().replace(' ', "|"));
    script.push_str("  case ${command:-login} in\n");
    for command in COMMANDS {
        let _ = writeln!(script, "    {}) options=(", command.name);
        for flag in flags_of(command) {
            let action = match kind(flag) {
                None => String::new(),
                Some(Kind::Text) => ":value: ".to_owned(),
                Some(Kind::File) => ":file:_files".to_owned(),
                Some(Kind::Folder) => ":folder:_files -/".to_owned(),
                Some(Kind::Words(words)) => format!(":value:({})", words.join(" ")),
            };
            // Two colons mark a value that may be left out.
            let maybe = if matches!(flag.value, Value::Optional(..)) { ":" } else { "" };
            let _ = writeln!(script, "      '{}[{}]{maybe}{action}'", flag.long, zsh_text(flag.help));
        }
        if !command.shells.is_empty() {
            let _ = writeln!(script, "      '2:word:({})'", command.shells.join(" "));
        }
        script.push_str("    ) ;;\n");
    }
    script.push_str(
        "  esac\n  _arguments '1: :{_describe command commands}' $options\n}\n\
         if [ \"$funcstack[1]\" = _ring_auth ]; then _ring_auth \"$@\"; else compdef _ring_auth ring-auth ring-auth-cli; fi\n",
    );
    script
}

/// A text in single quotes, in a description of `_arguments`.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''").replace(':', "\\:").replace('[', "\\[").replace(']', "\\]")
}

fn fish() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let mut script = String::from(
        "# Completions of ring-auth for fish: ring-auth completions fish > ~/.config/fish/completions/ring-auth.fish\n",
    );
    let none = format!("not __fish_seen_subcommand_from {}", names());
    for command in COMMANDS {
        let (name, help) = (command.name, quoted(command.help));
        let _ = writeln!(script, "complete -c ring-auth -f -n '{none}' -a {name} -d {help}");
        if !command.shells.is_empty() {
            let words = command.shells.join(" ");
            let _ = writeln!(script, "complete -c ring-auth -f -n '__fish_seen_subcommand_from {name}' -a '{words}'");
        }
    }
    for flag in flags::all() {
        let takers = COMMANDS.iter().filter(|command| flag.is_taken_by(command.action));
        let names: Vec<_> = takers.map(|command| command.name).collect();
        let when = if names.len() == COMMANDS.len() {
            String::new()
        } else {
            let seen = format!("__fish_seen_subcommand_from {}", names.join(" "));
            let condition = if names.contains(&"login") { format!("{seen}; or {none}") } else { seen };
            format!(" -n '{condition}'")
        };
        let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
        let value = match kind(flag) {
            None => String::new(),
            Some(Kind::Text) => " -x".to_owned(),
            Some(Kind::File) if matches!(flag.value, Value::Optional(..)) => " -F".to_owned(),
            Some(Kind::File) => " -r -F".to_owned(),
            Some(Kind::Folder) => " -x -a '(__fish_complete_directories)'".to_owned(),
            Some(Kind::Words(words)) => format!(" -x -a '{}'", words.join(" ")),
        };
        let (long, help) = (flag.long.trim_start_matches('-'), quoted(flag.help));
        let _ = writeln!(script, "complete -c ring-auth{when} -l {long}{short}{value} -d {help}");
    }
    script
}

fn powershell() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut script = String::from(
        "# Completions of ring-auth for PowerShell. In $PROFILE: ring-auth completions powershell | Out-String | Invoke-Expression\n\
         Register-ArgumentCompleter -Native -CommandName ring-auth, ring-auth-cli -ScriptBlock {\n  \
         param($word, $ast, $cursor)\n  $commands = [ordered]@{\n",
    );
    for command in COMMANDS {
        let _ = writeln!(script, "    {} = {}", command.name, quoted(command.help));
    }
    script.push_str("  }\n  $options = [ordered]@{\n");
    for flag in flags::all() {
        let _ = writeln!(script, "    {} = {}", quoted(flag.long), quoted(flag.help));
    }
    script.push_str("  }\n  $of = @{\n");
    for command in COMMANDS {
        let longs = joined(flags_of(command).map(|flag| flag.long), " ");
        let _ = writeln!(script, "    {} = {} -split ' '", command.name, quoted(&longs));
    }
    script.push_str("  }\n  $values = @{\n");
    for flag in flags::all() {
        let Some(Kind::Words(words)) = kind(flag) else { continue };
        let _ = writeln!(script, "    {} = {} -split ' '", quoted(flag.long), quoted(&words.join(" ")));
    }
    for command in COMMANDS.iter().filter(|command| !command.shells.is_empty()) {
        let _ = writeln!(script, "    {} = {} -split ' '", command.name, quoted(&command.shells.join(" ")));
    }
    script.push_str(
        "  }\n  \
         $typed = @($ast.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $cursor } | ForEach-Object { \"$_\" })\n  \
         $command = $typed | Where-Object { $commands.Contains($_) } | Select-Object -First 1\n  \
         $last = $typed | Select-Object -Last 1\n  \
         $found = if ($last -and $values.ContainsKey($last)) { $values[$last] }\n    \
         elseif ($word.StartsWith('-')) { $of[$(if ($command) { $command } else { 'login' })] }\n    \
         elseif (-not $command) { $commands.Keys }\n  \
         $found | Where-Object { $_ -like \"$word*\" } | ForEach-Object {\n    \
         $help = if ($options.Contains($_)) { $options[$_] } elseif ($commands.Contains($_)) { $commands[$_] } else { $_ }\n    \
         [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $help)\n  }\n}\n",
    );
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_script_names_every_command_and_option() {
        for shell in flags::SHELLS {
            let script = script(shell);
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
            }
            for flag in flags::all() {
                let name = if *shell == "fish" { format!("-l {}", &flag.long[2..]) } else { flag.long.to_owned() };
                assert!(script.contains(&name), "{shell}: {}", flag.long);
            }
            assert!(script.ends_with('\n') && !script.contains("\n\n"), "{shell}");
        }
    }
}
