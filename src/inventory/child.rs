//! Asking a program of this machine: with a deadline, a bound on what it may say, and an end for all that it started.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::remote::printable;

/// How much of what it says on standard error is kept, in bytes; a message shows its first line.
const COMPLAINT: u64 = 4096;

/// For how long the complaint of a program that has ended is waited for: a child that it left behind may keep the pipe open.
const COMPLAINT_PATIENCE: Duration = Duration::from_secs(1);

/// Runs a program to its end and gives what it printed, at most `limit` bytes. It gets no input and a process group of its own.
///
/// Blocking, for at most `deadline`. The error says in one line what went wrong, without the program's name.
pub(crate) fn ask(command: &mut Command, deadline: Duration, limit: u64) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (tell, told) = mpsc::channel();
    let (complain, complaint) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::spawn(move || {
        let Some(mut stderr) = stderr else { return };
        let mut text = Vec::new();
        // Whatever was said before the pipe broke is good enough for a message; nobody may listen any more.
        let _ = (&mut stderr).take(COMPLAINT).read_to_end(&mut text);
        let _ = complain.send(text);
        let _ = io::copy(&mut stderr, &mut io::sink());
    });
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = match stdout {
            // Closed when it is read, so that a program that says too much ends by it.
            Some(stdout) => stdout.take(limit + 1).read_to_end(&mut text).map(|_| text),
            None => Ok(text),
        };
        let status = child.wait();
        // Nobody listens any more once the deadline is over.
        let _ = tell.send((read, status));
    });
    let Ok((read, status)) = told.recv_timeout(deadline) else {
        if let Some(group) = group {
            // It may have ended just now; then there is nothing to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
        return Err(format!("did not end within {} s and was ended", deadline.as_secs()));
    };
    let text = read.map_err(|error| format!("said what cannot be read: {error}"))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > limit) {
        return Err(format!("said more than {limit} bytes"));
    }
    let status = status.map_err(|error| format!("was lost: {error}"))?;
    if !status.success() {
        let said = complaint.recv_timeout(COMPLAINT_PATIENCE).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let first = said.lines().map(str::trim).find(|line| !line.is_empty());
        let why = first.map(|line| format!(": {}", printable(line))).unwrap_or_default();
        return Err(format!("failed ({status}){why}"));
    }
    String::from_utf8(text).map_err(|_| "said what is no UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str, deadline: Duration) -> Result<String, String> {
        ask(Command::new("sh").args(["-c", line]), deadline, 100)
    }

    #[test]
    fn a_program_tells_its_words_or_what_went_wrong() {
        let long = Duration::from_secs(30);
        assert_eq!(shell("printf yes", long).as_deref(), Ok("yes"));
        let failed = shell("echo; echo 'no such thing' >&2; exit 3", long).unwrap_err();
        assert!(failed.contains("exit status: 3") && failed.ends_with(": no such thing"), "{failed}");
        assert_eq!(shell("yes", long), Err("said more than 100 bytes".to_owned()));
        assert!(shell("printf '\\377'", long).unwrap_err().contains("UTF-8"));
        assert!(ask(&mut Command::new("/nowhere/x"), long, 1).unwrap_err().contains("cannot be started"));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let told = shell("sleep 60 & wait", Duration::from_millis(200)).unwrap_err();
        assert!(told.contains("did not end"), "{told}");
    }

    #[test]
    fn a_program_that_complains_without_end_is_still_heard() {
        let line = "head -c 1000000 /dev/zero | tr '\\0' 'x' >&2; printf yes";
        assert_eq!(shell(line, Duration::from_secs(30)).as_deref(), Ok("yes"));
    }
}
