//! Standard output, and what is done when nobody reads it.

use std::io::{self, Write};

use super::Trouble;

/// Prints text as it stands. A closed pipe (`fleet facts | head`) is no trouble.
pub(super) fn print(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Trouble::internal(format!("cannot print: {error}"))),
    }
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Trouble> {
    let mut text = serde_json::to_string_pretty(value).map_err(Trouble::internal)?;
    text.push('\n');
    print(&text)
}
