//! The terminal of the user: reads lines, shown or hidden, and Ctrl-C at any time.
//!
//! During a dialogue the terminal passes on each key at once, Ctrl-C and Ctrl-Z included, so that this module can restore the
//! terminal before the program ends or stops. Before a signal ends the program, it calls [`restore`]; for SIGINT and SIGTERM Node
//! restores the terminal itself.

use super::output::Output;
use crate::Secret;

/// The user's answer to a question.
#[derive(Debug)]
pub(super) enum Answer {
    Line(Secret),
    /// A line that is not UTF-8, which cannot be sent to Ring.
    NotText,
    /// Ctrl-D, or the end of the terminal.
    End,
    /// Ctrl-C, or Ctrl-\.
    Interrupted,
}

/// Whether the typed text is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    Shown,
    Hidden,
}

/// A question to the user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) prompt: &'static str,
    pub(super) echo: Echo,
    /// Whether a TAB after an e-mail address ends the answer: password managers type the address, TAB and the password. The text after
    /// it answers the next question, which does not show it.
    pub(super) ends_at_tab: bool,
}

impl Question {
    pub(super) const fn shown(prompt: &'static str) -> Self {
        Self { prompt, echo: Echo::Shown, ends_at_tab: false }
    }

    pub(super) const fn hidden(prompt: &'static str) -> Self {
        Self { prompt, echo: Echo::Hidden, ends_at_tab: false }
    }

    /// A question for an e-mail address.
    pub(super) const fn email(prompt: &'static str) -> Self {
        Self { prompt, echo: Echo::Shown, ends_at_tab: true }
    }

    /// Whether a TAB after that text ends the answer.
    fn ends_behind(&self, typed: &[u8]) -> bool {
        self.ends_at_tab && typed.contains(&b'@')
    }
}

#[cfg(unix)]
mod unix {
    use std::collections::VecDeque;
    use std::io::{self, IsTerminal};
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::process::{Signal, kill_current_process_group};
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

    use super::{Answer, Echo, Output, Question, Secret};

    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_H: u8 = 8;
    const TAB: u8 = 9;
    const CTRL_U: u8 = 21;
    const CTRL_Z: u8 = 26;
    const ESCAPE: u8 = 27;
    const CTRL_BACKSLASH: u8 = 28;
    const DELETE: u8 = 127;

    /// The modes of the terminal before the dialogue, during a dialogue. Before a signal ends the program, another thread restores them.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    fn before() -> MutexGuard<'static, Option<Termios>> {
        BEFORE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restores the modes of the terminal before the dialogue. The dialogue does not change them again.
    pub(in crate::cli) fn restore() {
        if let Some(before) = before().take() {
            // A partly typed password must not reach the shell.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
        }
    }

    /// The terminal in the mode of a dialogue, until it is dropped.
    pub(in crate::cli) struct Terminal {
        ours: Termios,
        /// Keys that were pressed between two questions.
        keys: Mutex<VecDeque<u8>>,
    }

    impl Terminal {
        /// Standard input, if it is a terminal.
        pub(in crate::cli) fn open() -> Option<Self> {
            let stdin = io::stdin();
            if !stdin.is_terminal() {
                return None;
            }
            let mut before = before();
            let found = tcgetattr(&stdin).ok()?;
            let mut ours = found.clone();
            // Without ISIG no key ends or stops the program before the terminal is restored.
            ours.local_modes -=
                LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
            ours.special_codes[SpecialCodeIndex::VMIN] = 1;
            ours.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&stdin, OptionalActions::Now, &ours).ok()?;
            *before = Some(found);
            Some(Self { ours, keys: Mutex::new(VecDeque::new()) })
        }

        /// Reads a line. Blocks.
        pub(in crate::cli) fn read_line(&self, output: &Output, question: Question) -> Answer {
            let Question { prompt, echo, .. } = question;
            output.ask(prompt);
            let mut line: Vec<u8> = Vec::new();
            // The number of shown bytes: a character is shown when its last byte is there.
            let mut seen = 0;
            loop {
                let Some(key) = self.key(None) else {
                    output.ask("\n");
                    return Answer::End;
                };
                match key {
                    b'\r' | b'\n' => break,
                    TAB if question.ends_behind(&line) => break,
                    CTRL_C | CTRL_BACKSLASH => {
                        output.ask("\n");
                        return Answer::Interrupted;
                    }
                    CTRL_D if line.is_empty() => {
                        output.ask("\n");
                        return Answer::End;
                    }
                    CTRL_H | DELETE => {
                        // One character, which may have several bytes.
                        while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
                        seen = redraw(output, prompt, &line, echo);
                    }
                    CTRL_U => {
                        line.clear();
                        seen = redraw(output, prompt, &line, echo);
                    }
                    CTRL_Z => {
                        self.suspend();
                        output.ask(prompt);
                        seen = redraw(output, prompt, &line, echo);
                    }
                    ESCAPE => self.skip_sequence(),
                    0..=31 => {}
                    _ => {
                        line.push(key);
                        if echo == Echo::Shown
                            && let Ok(text) = std::str::from_utf8(&line[seen..])
                        {
                            output.ask(text);
                            seen = line.len();
                        }
                    }
                }
            }
            output.ask("\n");
            String::from_utf8(line).map_or(Answer::NotText, |line| Answer::Line(Secret::new(line)))
        }

        /// Whether Ctrl-C is pressed within that time. Blocks.
        pub(in crate::cli) fn interrupted_within(&self, time: Duration) -> bool {
            if !ready(Some(time)) {
                return false;
            }
            match read() {
                // If the terminal has ended, the user is gone too.
                Some(CTRL_C | CTRL_BACKSLASH) | None => true,
                Some(CTRL_Z) => {
                    self.suspend();
                    false
                }
                Some(key) => {
                    self.keys().push_back(key);
                    false
                }
            }
        }

        fn key(&self, within: Option<Duration>) -> Option<u8> {
            let kept = self.keys().pop_front();
            kept.or_else(|| if ready(within) { read() } else { None })
        }

        fn keys(&self) -> MutexGuard<'_, VecDeque<u8>> {
            self.keys.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// Stops the program as Ctrl-Z usually does. Continues the dialogue when the program is continued.
        fn suspend(&self) {
            if let Some(before) = &*before() {
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
            }
            let _ = kill_current_process_group(Signal::TSTP);
            // The stop may reach this thread a moment later. The mode of the dialogue must be set after that.
            std::thread::sleep(Duration::from_millis(100));
            let before = before();
            if before.is_some() {
                let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.ours);
            }
        }

        /// Skips the rest of an escape sequence, such as an arrow key, which contains no text.
        fn skip_sequence(&self) {
            let soon = Some(Duration::from_millis(20));
            match self.key(soon) {
                Some(b'[' | b'O') => {}
                // A separate key after Escape, such as Enter.
                Some(control @ 0..=31) => return self.keys().push_front(control),
                _ => return,
            }
            while let Some(key) = self.key(soon) {
                if key.is_ascii_alphabetic() || key == b'~' {
                    return;
                }
            }
        }
    }

    impl Drop for Terminal {
        fn drop(&mut self) {
            restore();
        }
    }

    /// Whether there is a key to read within a time. `None` waits forever.
    fn ready(within: Option<Duration>) -> bool {
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        let within = within.and_then(|time| Timespec::try_from(time).ok());
        loop {
            match poll(&mut fds, within.as_ref()) {
                Err(Errno::INTR) => {}
                Ok(ready) => return ready > 0,
                Err(_) => return true,
            }
        }
    }

    fn read() -> Option<u8> {
        let mut byte = [0];
        loop {
            match rustix::io::read(io::stdin(), &mut byte) {
                Err(Errno::INTR) => {}
                // Another process that shares the terminal has made it non-blocking, and has taken the key.
                Err(Errno::AGAIN) => _ = ready(None),
                read => return (read == Ok(1)).then_some(byte[0]),
            }
        }
    }

    /// Shows the line again. Returns the number of shown bytes.
    fn redraw(output: &Output, prompt: &str, line: &[u8], echo: Echo) -> usize {
        if echo == Echo::Shown {
            output.ask(&format!("{}{prompt}{}", output.start_of_line(), String::from_utf8_lossy(line)));
        }
        line.len()
    }
}

#[cfg(unix)]
pub(super) use unix::{Terminal, restore};

#[cfg(not(unix))]
#[allow(clippy::unused_self, reason = "the interface is that of the systems whose terminals have a state")]
mod other {
    use std::io::{self, IsTerminal};
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use super::{Answer, Echo, Output, Question, Secret};

    /// Does nothing: Node restores a console.
    pub(in crate::cli) fn restore() {}

    /// A console. Ctrl-C ends the program there, and Node restores the console.
    pub(in crate::cli) struct Terminal {
        /// The text after the TAB that ended an answer.
        rest: Mutex<Option<Secret>>,
    }

    impl Terminal {
        /// Standard input, if it is a terminal.
        pub(in crate::cli) fn open() -> Option<Self> {
            io::stdin().is_terminal().then(|| Self { rest: Mutex::new(None) })
        }

        /// Reads a line. Blocks.
        pub(in crate::cli) fn read_line(&self, output: &Output, question: Question) -> Answer {
            output.ask(question.prompt);
            let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(rest) = rest.take() {
                output.ask("\n");
                return Answer::Line(rest);
            }
            let line = match question.echo {
                Echo::Hidden => rpassword::read_password(),
                Echo::Shown => {
                    let mut line = String::new();
                    io::stdin()
                        .read_line(&mut line)
                        .and_then(|read| if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) })
                }
            };
            match line {
                Ok(line) => {
                    let line = line.trim_end_matches(['\r', '\n']);
                    match line.split_once('\t') {
                        Some((typed, behind)) if question.ends_behind(typed.as_bytes()) => {
                            *rest = Some(behind).filter(|behind| !behind.is_empty()).map(Secret::new);
                            Answer::Line(Secret::new(typed))
                        }
                        _ => Answer::Line(Secret::new(line)),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Answer::Interrupted,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Answer::NotText,
                Err(_) => Answer::End,
            }
        }

        /// Waits. No key interrupts a console.
        pub(in crate::cli) fn interrupted_within(&self, time: Duration) -> bool {
            std::thread::sleep(time);
            false
        }
    }
}

#[cfg(not(unix))]
pub(super) use other::{Terminal, restore};
