//! Standard output, and what is done when nobody reads it.

use std::io::{self, Write};

use rustix::io::Errno;

use super::Trouble;

/// Prints text as it stands. A closed pipe (`fleet facts | head`) and a closed terminal are no trouble: nobody is there to read.
pub(super) fn print(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if nobody_reads(&error) => Ok(()),
        other => other.map_err(|error| Trouble::internal(format!("cannot print: {error}"))),
    }
}

/// A terminal that is gone answers with EIO.
fn nobody_reads(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// Tells why a command did not do what was typed. Where that cannot be told, the exit code still says it.
pub(super) fn complain(why: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {why}");
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Trouble> {
    let mut text = serde_json::to_string_pretty(value).map_err(Trouble::internal)?;
    text.push('\n');
    print(&text)
}
