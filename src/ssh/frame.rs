//! How a command line travels: framed, so that what a login shell prints around it is nobody's output.
//!
//! A line goes to the host as `exec /bin/sh -c '<marks>; <line>'`. The marks are one line that is random for each command, on standard
//! output and on standard error; what comes before it on either stream is noise and dropped, what comes after it is the command's, byte for
//! byte. `exec` puts a POSIX shell in the login shell's place, whichever that is. Told in `docs/ssh.md#what-is-sent`.

use std::fmt::Write as _;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::remote::{Exit, printable};

/// How much noise is kept for an error message. A host may print it without end.
const NOISE: usize = 2 << 10;
/// How many characters of noise a message shows.
const SHOWN: usize = 300;

/// Under whose rights the line runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rights<'a> {
    /// Those of the user who logs in.
    Own,
    /// Root's, through a sudo that asks for no password.
    Sudo,
    /// Root's, through a sudo that may ask for this password.
    SudoWith(&'a SecretString),
}

/// One command line as it is sent.
pub(super) struct Frame {
    line: String,
    mark: String,
    /// What goes to standard input ahead of the command's own.
    first: Zeroizing<Vec<u8>>,
    sudo: bool,
}

impl Frame {
    /// Frames a line, with a mark of its own.
    pub(super) fn new(rights: Rights<'_>, line: &str) -> Self {
        // In two halves, which the shell joins: a shell that prints the lines it is given (`set -x`) prints no mark.
        let halves: [u64; 2] = rand::random();
        let [one, two] = halves.map(|half| format!("{half:016x}"));
        let mark = format!("{one}{two}");
        let marks = format!(r"printf %s%s\\n {one} {two}; printf %s%s\\n {one} {two} >&2");
        let mut first = Zeroizing::default();
        let line = match rights {
            Rights::Own => format!("exec /bin/sh -c {}", quote(&format!("{marks}; {line}"))),
            Rights::Sudo => format!("exec sudo -n -- /bin/sh -c {}", quote(&format!("{marks}; {line}"))),
            Rights::SudoWith(password) => {
                // A sudo that did not ask leaves the password where the command's input begins. So the shell reads lines up to the
                // mark, whether the password is among them or not. `read` takes one byte at a time and never more than the line.
                let input = format!(
                    r#"until [ "$fleet" = {mark} ]; do IFS= read -r fleet || exit; done; unset fleet"#
                );
                first = Zeroizing::new(format!("{}\n{mark}\n", password.expose_secret()).into_bytes());
                let inner = quote(&format!("{input}; {marks}; {line}"));
                // -k: what this password opens is open for this one command and no other program.
                format!("exec sudo -k -S -p '' -- /bin/sh -c {inner}")
            }
        };
        Self { line, mark, first, sudo: !matches!(rights, Rights::Own) }
    }

    /// What the host's login shell gets.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// What standard input begins with.
    pub(super) fn first_input(&self) -> &[u8] {
        &self.first
    }

    /// One output stream of the command, not begun yet.
    pub(super) fn stream(&self) -> Stream {
        Stream { mark: format!("{}\n", self.mark).into_bytes(), begun: false, noise: Vec::new() }
    }

    /// Why a command whose marks never came did not run, from what came instead. The host's words are made harmless.
    pub(super) fn not_begun(&self, exit: &Exit, out: &Stream, err: &Stream) -> String {
        let said = [err.noise(), out.noise()].into_iter().filter(|said| !said.is_empty());
        let said = said.collect::<Vec<_>>().join(" / ");
        let who = if self.sudo { "its login shell or sudo" } else { "its login shell" };
        let mut text = format!("the command was not begun: {who} ended first ({exit})");
        if said.is_empty() {
            text.push_str(" and said nothing");
        } else {
            let _ = write!(text, ", saying: {said}");
        }
        text
    }
}

/// Quotes for whatever shell a user has: `\` and `!` mean something inside single quotes to fish and to csh, so they stand outside, with
/// a backslash, as `'` does. All shells read that alike.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 16);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' | '!' => {
                quoted.push_str("'\\");
                quoted.push(c);
                quoted.push('\'');
            }
            '\0' => {}
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// What of a framed line a host reads that must understand it: the simulated ones and those of the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The line as [`crate::remote::Command::line`] has it.
    pub(crate) line: String,
    /// What the command's outputs begin with.
    pub(crate) mark: String,
}

/// Takes a framed line apart; none where it is not framed.
pub(crate) fn read_back(framed: &str) -> Option<Sent> {
    let (_, quoted) = framed.split_once("/bin/sh -c ")?;
    let mut inner = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    let mut inside = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' => inside = !inside,
            '\\' if !inside => inner.push(chars.next()?),
            c => inner.push(c),
        }
    }
    let (head, line) = inner.split_once(" >&2; ")?;
    let mut halves = head.split(' ').rev().take(2).collect::<Vec<_>>();
    halves.reverse();
    Some(Sent { line: line.to_owned(), mark: format!("{}\n", halves.concat()) })
}

/// One output stream: noise up to the mark, and then the command's.
pub(super) struct Stream {
    mark: Vec<u8>,
    begun: bool,
    noise: Vec<u8>,
}

impl Stream {
    /// Whether the mark has come.
    pub(super) const fn begun(&self) -> bool {
        self.begun
    }

    /// What of the bytes that have come next is the command's. After the mark, nothing is looked at or copied.
    pub(super) fn own<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        if self.begun {
            return data;
        }
        let before = self.noise.len();
        let from = before.saturating_sub(self.mark.len());
        self.noise.extend_from_slice(data);
        let found = self.noise[from..].windows(self.mark.len()).position(|bytes| bytes == self.mark);
        if let Some(at) = found {
            self.begun = true;
            let begins = (from + at + self.mark.len()).saturating_sub(before);
            self.noise = Vec::new();
            return data.get(begins..).unwrap_or_default();
        }
        let over = self.noise.len().saturating_sub(NOISE);
        self.noise.drain(..over);
        &[]
    }

    /// The last of the noise as one line for messages.
    fn noise(&self) -> String {
        let text = String::from_utf8_lossy(&self.noise);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let text = printable(&lines.join(" / "));
        let skipped = text.chars().count().saturating_sub(SHOWN);
        let shown: String = text.chars().skip(skipped).collect();
        if skipped > 0 { format!("…{shown}") } else { shown }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream() -> Stream {
        Stream { mark: b"0123456789abcdef\n".to_vec(), begun: false, noise: Vec::new() }
    }

    #[test]
    fn a_framed_line_can_be_read_back() {
        let password = SecretString::from("pass word");
        for line in ["true", "", "echo 'it'\\''s' \\\\n; x >&2; y !\nz", "a; /bin/sh -c 'b >&2; c'"] {
            for rights in [Rights::Own, Rights::Sudo, Rights::SudoWith(&password)] {
                let frame = Frame::new(rights, line);
                let sent = read_back(frame.line()).unwrap();
                assert_eq!((sent.line.as_str(), sent.mark), (line, format!("{}\n", frame.mark)));
            }
        }
        assert_eq!(read_back("echo hello"), None);
    }

    #[test]
    fn a_line_does_not_hold_its_own_mark_and_never_the_password() {
        let password = SecretString::from("hunter2");
        let frame = Frame::new(Rights::SudoWith(&password), "true");
        assert!(!frame.line().contains(&format!("{}\n", frame.mark)) && !frame.line().contains("hunter2"));
        assert!(!Frame::new(Rights::Own, "true").line().contains(&frame.mark));
        assert_eq!(frame.first_input(), format!("hunter2\n{}\n", frame.mark).as_bytes());
    }

    proptest! {
        #[test]
        fn however_the_bytes_arrive_what_follows_the_mark_is_the_commands(
            noise in prop::collection::vec(any::<u8>(), 0..6000),
            own in prop::collection::vec(any::<u8>(), 0..300),
            pieces in prop::collection::vec(1_usize..700, 1..40),
        ) {
            let mut stream = stream();
            let all = [noise.as_slice(), &stream.mark, &own].concat();
            let mut left = all.as_slice();
            let mut got = Vec::new();
            for size in pieces.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (piece, rest) = left.split_at((*size).min(left.len()));
                got.extend_from_slice(stream.own(piece));
                prop_assert!(stream.noise.len() <= NOISE);
                left = rest;
            }
            prop_assert!(stream.begun());
            prop_assert_eq!(got, own);
        }
    }

    /// The shells that a user may have here, as they are told a line.
    fn shells() -> Vec<Vec<&'static str>> {
        let mut shells = vec![vec!["/bin/sh", "-c"]];
        for (shell, option) in [("bash", "-c"), ("zsh", "-c"), ("ksh", "-c"), ("fish", "-c"), ("tcsh", "-fc")]
        {
            let path = format!("/usr/bin/{shell}");
            if std::path::Path::new(&path).exists() {
                shells.push(vec![shell, option]);
            }
        }
        shells
    }

    /// What a shell makes of a framed line: what follows the mark.
    fn through(shell: &[&str], frame: &Frame, path: &std::path::Path, input: &[u8]) -> Vec<u8> {
        let mut process = std::process::Command::new(shell[0]);
        let old = std::env::var("PATH").unwrap();
        process.args(&shell[1..]).arg(frame.line()).env("PATH", format!("{}:{old}", path.display()));
        let (stdout, stderr) = (std::process::Stdio::piped(), std::process::Stdio::piped());
        let mut child =
            process.stdin(std::process::Stdio::piped()).stdout(stdout).stderr(stderr).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        let output = child.wait_with_output().unwrap();
        let mut stream = frame.stream();
        let own = stream.own(&output.stdout).to_vec();
        assert!(stream.begun(), "{shell:?}: {}", String::from_utf8_lossy(&output.stderr));
        own
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_login_shell_and_sudo_hand_on_every_word(
            words in prop::collection::vec("[-~=!'\"\\\\`$(){}\\[\\]*?<>|&;#%^ \t\n\u{0}a1/.:,@+é]{0,12}", 1..8)
        ) {
            // A sudo that asks for nothing.
            let path = tempfile::tempdir().unwrap();
            let sudo = path.path().join("sudo");
            let script = "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n";
            std::fs::write(&sudo, script).unwrap();
            std::fs::set_permissions(&sudo, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            let password = SecretString::from("correct horse ' \\ 42");
            for shell in shells() {
                // csh has no way to be told a line feed.
                let words = words.iter().map(|word| {
                    if shell[0] == "tcsh" { word.replace('\n', "") } else { word.clone() }.replace('\0', "")
                });
                let words: Vec<String> = words.collect();
                let line = crate::remote::Command::new(r"cat; printf '%s\0'").args(&words);
                let expected = [b"input", words.join("\0").as_bytes(), b"\0"].concat();
                for rights in [Rights::Own, Rights::Sudo, Rights::SudoWith(&password)] {
                    let frame = Frame::new(rights, line.line());
                    let input = [frame.first_input(), b"input"].concat();
                    let own = through(&shell, &frame, path.path(), &input);
                    prop_assert_eq!(String::from_utf8_lossy(&own), String::from_utf8_lossy(&expected), "{:?}", shell);
                }
            }
        }
    }

    #[test]
    fn of_endless_noise_the_last_is_kept() {
        let mut stream = stream();
        let noise = vec![b'x'; 32 << 10];
        for _ in 0..1000 {
            assert!(stream.own(&noise).is_empty());
        }
        assert!(stream.own(b"\nThis account is \x1b[31mnot available.\n").is_empty());
        assert!(stream.noise.capacity() < 128 << 10, "{}", stream.noise.capacity());
        let said = stream.noise();
        assert!(said.starts_with('…') && said.ends_with("This account is ·[31mnot available."), "{said}");
    }
}
