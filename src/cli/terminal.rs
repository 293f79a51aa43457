//! A person at a terminal: lines read with or without showing them, and Ctrl-C at any time.
//!
//! While a dialogue lasts the terminal gives every key as it is pressed, Ctrl-C included, so that it can be put back in
//! order before the program ends. Node does the same for whoever kills the program from outside.

use super::output::Output;
use crate::Secret;

/// What a person answered.
#[derive(Debug)]
pub(super) enum Answer {
    Line(Secret),
    /// Ctrl-D, or the terminal is gone.
    End,
    /// Ctrl-C.
    Interrupted,
}

/// Whether what is typed is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    Shown,
    Hidden,
}

#[cfg(unix)]
mod unix {
    use std::collections::VecDeque;
    use std::io::{self, IsTerminal};
    use std::sync::Mutex;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

    use super::{Answer, Echo, Output, Secret};

    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_U: u8 = 21;
    const ESCAPE: u8 = 27;

    /// A terminal in our hands until it is dropped.
    pub(in crate::cli) struct Terminal {
        before: Termios,
        /// Keys that were pressed while nobody asked.
        keys: Mutex<VecDeque<u8>>,
    }

    impl Terminal {
        /// Standard input, if a person sits there.
        pub(in crate::cli) fn open() -> Option<Self> {
            let stdin = io::stdin();
            if !stdin.is_terminal() {
                return None;
            }
            let before = tcgetattr(&stdin).ok()?;
            let mut ours = before.clone();
            ours.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON;
            // Ctrl-C becomes a key; Ctrl-Z still stops the program.
            ours.special_codes[SpecialCodeIndex::VINTR] = 0;
            ours.special_codes[SpecialCodeIndex::VMIN] = 1;
            ours.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&stdin, OptionalActions::Now, &ours).ok()?;
            Some(Self { before, keys: Mutex::new(VecDeque::new()) })
        }

        /// Reads a line. Blocks.
        pub(in crate::cli) fn read_line(&self, output: &Output, prompt: &str, echo: Echo) -> Answer {
            output.ask(prompt);
            let mut line: Vec<u8> = Vec::new();
            loop {
                let Some(key) = self.key(None) else { return Answer::End };
                match key {
                    b'\r' | b'\n' => break,
                    CTRL_C => {
                        output.ask("\n");
                        return Answer::Interrupted;
                    }
                    CTRL_D if line.is_empty() => {
                        output.ask("\n");
                        return Answer::End;
                    }
                    8 | 127 => {
                        // One character, however many bytes it has.
                        while line.pop().is_some_and(|byte| byte & 0xC0 == 0x80) {}
                        redraw(output, prompt, &line, echo);
                    }
                    CTRL_U => {
                        line.clear();
                        redraw(output, prompt, &line, echo);
                    }
                    ESCAPE => self.skip_sequence(),
                    0..=31 => {}
                    _ => {
                        line.push(key);
                        if echo == Echo::Shown && std::str::from_utf8(&line).is_ok() {
                            redraw(output, prompt, &line, echo);
                        }
                    }
                }
            }
            output.ask("\n");
            // What is not UTF-8 cannot be sent to Ring as it was meant.
            Answer::Line(Secret::new(String::from_utf8_lossy(&line)))
        }

        /// Whether Ctrl-C was pressed. Blocks for that long.
        pub(in crate::cli) fn interrupted_within(&self, time: Duration) -> bool {
            if !self.ready(Some(time)) {
                return false;
            }
            let mut byte = [0];
            match rustix::io::read(io::stdin(), &mut byte) {
                Ok(1) if byte[0] == CTRL_C => true,
                Ok(1) => {
                    self.keys().push_back(byte[0]);
                    false
                }
                // The terminal is gone, and the person with it.
                _ => true,
            }
        }

        fn key(&self, within: Option<Duration>) -> Option<u8> {
            if let Some(key) = self.keys().pop_front() {
                return Some(key);
            }
            if !self.ready(within) {
                return None;
            }
            let mut byte = [0];
            (rustix::io::read(io::stdin(), &mut byte) == Ok(1)).then_some(byte[0])
        }

        fn keys(&self) -> std::sync::MutexGuard<'_, VecDeque<u8>> {
            self.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        #[allow(clippy::unused_self, reason = "only whoever holds the terminal may read from it")]
        fn ready(&self, within: Option<Duration>) -> bool {
            let stdin = io::stdin();
            let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
            let within = within.and_then(|time| Timespec::try_from(time).ok());
            loop {
                match poll(&mut fds, within.as_ref()) {
                    Err(rustix::io::Errno::INTR) => {}
                    Ok(ready) => return ready > 0,
                    Err(_) => return true,
                }
            }
        }

        /// An arrow key or the like: nothing of it is text.
        fn skip_sequence(&self) {
            let soon = Some(Duration::from_millis(20));
            if let Some(b'[' | b'O') = self.key(soon) {
                while let Some(key) = self.key(soon) {
                    if key.is_ascii_alphabetic() || key == b'~' {
                        return;
                    }
                }
            }
        }
    }

    impl Drop for Terminal {
        fn drop(&mut self) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        }
    }

    fn redraw(output: &Output, prompt: &str, line: &[u8], echo: Echo) {
        if echo == Echo::Shown {
            output.ask(&format!("\r\x1b[K{prompt}{}", String::from_utf8_lossy(line)));
        }
    }
}

#[cfg(unix)]
pub(super) use unix::Terminal;

#[cfg(not(unix))]
mod other {
    use std::io::{self, IsTerminal};
    use std::time::Duration;

    use super::{Answer, Echo, Output, Secret};

    /// A console. Ctrl-C ends the program there, and Node puts the console back in order.
    pub(in crate::cli) struct Terminal(());

    impl Terminal {
        /// Standard input, if a person sits there.
        pub(in crate::cli) fn open() -> Option<Self> {
            io::stdin().is_terminal().then_some(Self(()))
        }

        /// Reads a line. Blocks.
        pub(in crate::cli) fn read_line(&self, output: &Output, prompt: &str, echo: Echo) -> Answer {
            output.ask(prompt);
            let line = match echo {
                Echo::Hidden => rpassword::read_password(),
                Echo::Shown => {
                    let mut line = String::new();
                    io::stdin()
                        .read_line(&mut line)
                        .and_then(|read| if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(line) })
                }
            };
            match line {
                Ok(line) => Answer::Line(Secret::new(line.trim_end_matches(['\r', '\n']))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Answer::Interrupted,
                Err(_) => Answer::End,
            }
        }

        /// Never by a key.
        pub(in crate::cli) fn interrupted_within(&self, time: Duration) -> bool {
            std::thread::sleep(time);
            false
        }
    }
}

#[cfg(not(unix))]
pub(super) use other::Terminal;
