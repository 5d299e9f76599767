//! What a POSIX shell makes of a command, for tests.

use std::io::Write as _;
use std::process::Stdio;

use super::{Command, Exit, Output};

/// Runs it here, with its input.
pub(crate) fn in_shell(command: &Command) -> Output {
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", command.line()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(command.input().unwrap_or_default());
    let output = child.wait_with_output().unwrap();
    let exit = Exit::Code(output.status.code().unwrap().try_into().unwrap());
    Output { exit, stdout: output.stdout, stderr: output.stderr, dropped: 0 }
}
