//! Many questions in one round trip: each answer framed by a mark that the host could not have printed before.
//!
//! The marks stand in standard output and standard error alike, so each answer keeps its own complaint and exit code,
//! and whatever a login shell prints around them is nobody's answer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::remote::{Command, Exit, Output, printable};

/// The shell's part. A host without `timeout` is still asked: the fact `tools` then tells of it. Standard input is closed to
/// each question, since the first that read it would swallow nothing good.
const SHELL: &str = r#"export LC_ALL=C
mark() { printf '\n%s %s\n' "$nonce" "$1"; printf '\n%s %s\n' "$nonce" "$1" >&2; }
limit() { if command -v timeout >/dev/null 2>&1; then timeout -k 5 "$@"; else shift; "$@"; fi; }
frame() { mark "begin $1"; limit "$2" sh -c "$3" </dev/null; mark "end $1 $?"; }
nonce="#;

/// Questions that travel together.
#[derive(Debug)]
pub(super) struct Frames {
    nonce: String,
    script: Command,
    time: Duration,
    limit: usize,
    sensitive: bool,
}

impl Frames {
    /// No questions yet.
    pub(super) fn new() -> Self {
        Self::marked(format!("fleet-{:032x}", rand::random::<u128>()))
    }

    fn marked(nonce: String) -> Self {
        let script = Command::new(SHELL).joined(&nonce);
        // What the connection and the shell themselves may take.
        Self { nonce, script, time: Duration::from_secs(30), limit: 0, sensitive: false }
    }

    /// Adds a question under a name. Its deadline is held on the host.
    pub(super) fn ask(mut self, name: &'static str, question: &Command) -> Self {
        let seconds = question.time_allowed().as_secs().max(1);
        self.script = self.script.fixed("\nframe").fixed(name).arg(seconds.to_string()).arg(question.line());
        self.time += question.time_allowed();
        self.limit += question.memory_allowed();
        self.sensitive |= question.is_sensitive();
        self
    }

    /// The one command that asks them all.
    pub(super) fn command(&self) -> Command {
        let command = Command::new("sh -c").arg(self.script.line()).deadline(self.time).limit(self.limit);
        if self.sensitive { command.sensitive() } else { command }
    }

    /// Takes the answers apart.
    pub(super) fn answers<'a>(&self, output: &'a Output) -> Answers<'a> {
        let empty = if output.dropped > 0 {
            format!("the answer was too long: {} bytes of it did not fit", output.dropped)
        } else if output.success() {
            "the host's shell did not answer the question".to_owned()
        } else {
            // Never the output itself: it may hold secrets.
            format!("the host's shell did not answer the question ({})", printable(&output.exit.to_string()))
        };
        let said = self.split(&output.stderr);
        let frames = self
            .split(&output.stdout)
            .into_iter()
            .map(|(name, (answer, exit))| {
                let complaint = said.get(&name).map_or(&b""[..], |(text, _)| text);
                (name, Frame { answer, complaint, exit })
            })
            .collect();
        Answers { frames, empty }
    }

    /// The whole frames of a stream by name: what stands in them, and the exit code. A frame without an end is left out.
    fn split<'a>(&self, stream: &'a [u8]) -> BTreeMap<String, (&'a [u8], u32)> {
        let mut frames = BTreeMap::new();
        let mut open: Option<(String, usize)> = None;
        let mut at = 0;
        for line in stream.split_inclusive(|byte| *byte == b'\n') {
            let began = at;
            at += line.len();
            let Some(mark) = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix(&self.nonce))
            else {
                continue;
            };
            let words: Vec<&str> = mark.split_whitespace().collect();
            match words[..] {
                ["begin", name] => open = Some((name.to_owned(), at)),
                ["end", name, code] => {
                    let Some((opened, start)) = open.take() else { continue };
                    let Ok(code) = code.parse() else { continue };
                    if opened == name {
                        // The mark puts a line end of its own before itself.
                        let text = stream.get(start..began.saturating_sub(1)).unwrap_or_default();
                        frames.insert(opened, (text, code));
                    }
                }
                _ => {}
            }
        }
        frames
    }
}

/// The answers of one round trip.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    frames: BTreeMap<String, Frame<'a>>,
    empty: String,
}

struct Frame<'a> {
    answer: &'a [u8],
    complaint: &'a [u8],
    exit: u32,
}

impl std::fmt::Debug for Frame<'_> {
    /// The exit code alone: an answer may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("exit", &self.exit).finish_non_exhaustive()
    }
}

impl<'a> Answers<'a> {
    /// The answer to a question that ended well, or why there is none.
    pub(super) fn get(&self, name: &str) -> Result<&'a str, String> {
        let frame = self.frames.get(name).ok_or_else(|| self.empty.clone())?;
        match frame.exit {
            0 => std::str::from_utf8(frame.answer).map_err(|_| "the answer is not UTF-8".to_owned()),
            124 | 137 => Err("the host did not answer in time".to_owned()),
            code => {
                let output = Output {
                    exit: Exit::Code(code),
                    stdout: Vec::new(),
                    stderr: frame.complaint.to_vec(),
                    dropped: 0,
                };
                Err(match output.complaint() {
                    said if said.is_empty() => format!("the question ended with exit status {code}"),
                    said => said,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stdout: &str, stderr: &str, dropped: u64) -> Output {
        Output { exit: Exit::Code(0), stdout: stdout.into(), stderr: stderr.into(), dropped }
    }

    #[test]
    fn answers_are_found_between_noise() {
        let frames = Frames::marked("n1".into());
        let out = output(
            "Welcome!\nbegin os\n\nn1 begin os\na\nb\n\nn1 end os 0\nnoise\n\nn1 begin x\nno line end\nn1 end x 0\n",
            "",
            0,
        );
        let answers = frames.answers(&out);
        assert_eq!(answers.get("os"), Ok("a\nb\n"));
        assert_eq!(answers.get("x"), Ok("no line end"));
        assert_eq!(answers.get("y"), Err("the host's shell did not answer the question".to_owned()));
    }

    #[test]
    fn each_answer_keeps_its_own_complaint() {
        let frames = Frames::marked("n1".into());
        let out = output(
            "\nn1 begin a\n\nn1 end a 1\n\nn1 begin b\n\nn1 end b 124\n",
            "motd\n\nn1 begin a\nError: \u{1b}[31mgone\n\nn1 end a 1\n",
            0,
        );
        let answers = frames.answers(&out);
        assert_eq!(answers.get("a"), Err("Error: ·[31mgone".to_owned()));
        assert_eq!(answers.get("b"), Err("the host did not answer in time".to_owned()));
    }

    #[test]
    fn a_cut_answer_is_no_answer() {
        let frames = Frames::marked("n1".into());
        let out = output("\nn1 begin a\n1\n\nn1 end a 0\n\nn1 begin b\n{\"items\":[", "", 77);
        let answers = frames.answers(&out);
        assert_eq!(answers.get("a"), Ok("1\n"));
        assert!(answers.get("b").unwrap_err().contains("77 bytes"));
    }

    #[test]
    fn a_question_cannot_leave_its_frame() {
        let question = Command::new("echo").arg("'; reboot; '");
        let line = Frames::marked("n1".into()).ask("x", &question).command().line().to_owned();
        let ran = std::process::Command::new("sh").arg("-c").arg(&line).output().unwrap();
        let out = Output { exit: Exit::Code(0), stdout: ran.stdout, stderr: ran.stderr, dropped: 0 };
        assert_eq!(Frames::marked("n1".into()).answers(&out).get("x"), Ok("'; reboot; '\n"));
    }
}
