//! A secret from the operator's keyboard, not shown while it is typed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use crate::remote::printable;

/// Longest line that is taken.
const LIMIT: usize = 4096;

/// Asks on the terminal, whatever standard input and output are.
pub(super) fn ask(what: &str) -> Result<SecretString, String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        "there is no terminal to ask on: give it by file, environment variable or command".to_owned()
    })?;
    let trouble = |error: io::Error| format!("the terminal fails: {error}");
    write!(terminal, "{}: ", printable(what)).map_err(trouble)?;
    let typed = {
        let silence = Silence::of(&terminal).map_err(trouble)?;
        line(&mut &silence.terminal)
    };
    // The operator's own line end was not shown.
    writeln!(terminal).map_err(trouble)?;
    typed
}

/// A terminal that shows nothing and makes no signals, until this is dropped: Ctrl-C is read as a character, so that
/// nothing can end the program while the terminal is silent.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn of(terminal: &File) -> io::Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// One typed line; backspace and Ctrl-U as on any terminal, Ctrl-C and Ctrl-D give up.
fn line(keys: &mut impl Read) -> Result<SecretString, String> {
    let mut typed = Zeroizing::new(Vec::with_capacity(LIMIT));
    let mut key = [0];
    loop {
        match keys.read(&mut key) {
            Ok(0) => return Err("the terminal was closed".to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("the terminal fails: {error}")),
        }
        match key[0] {
            b'\r' | b'\n' => break,
            0x03 | 0x04 => return Err("given up at the keyboard".to_owned()),
            0x15 => typed.clear(),
            0x08 | 0x7f => {
                // A character of UTF-8 is one leading byte and those that continue it.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if typed.len() < LIMIT => typed.push(byte),
            _ => return Err("the line is too long".to_owned()),
        }
    }
    match std::str::from_utf8(&typed) {
        Ok("") => Err("nothing was typed".to_owned()),
        Ok(text) => Ok(SecretString::from(text)),
        Err(_) => Err("what was typed is no UTF-8 text".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn typed(keys: &str) -> Result<String, String> {
        line(&mut keys.as_bytes()).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn a_typed_line_ends_with_enter_and_can_be_corrected() {
        assert_eq!(typed("hunter2\rmore").as_deref(), Ok("hunter2"));
        assert_eq!(typed("hunü\u{7f}ter\u{8}r2\n").as_deref(), Ok("hunter2"));
        assert_eq!(typed("wrong\u{15}hunter2\n").as_deref(), Ok("hunter2"));
        assert_eq!(typed("\u{7f}a\n").as_deref(), Ok("a"));
    }

    #[test]
    fn giving_up_typing_nothing_and_a_closed_terminal_are_errors_without_the_text() {
        for keys in ["hunter2\u{3}", "hunter2\u{4}", "\n", "hunter2", &"hunter2".repeat(1000)] {
            assert!(!typed(keys).unwrap_err().contains("hunter2"));
        }
    }
}
