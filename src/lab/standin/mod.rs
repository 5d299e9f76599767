//! What stands in for the programs that cannot run here: `k3s`, `systemctl`, `k3s-killall.sh`, `curl`.
//!
//! A stand-in is this very binary, started by a script in the host's `bin/` ten thousand times in a large rehearsal. It
//! therefore uses neither the argument parser nor an async runtime: [`called`] is asked first in `main`.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use super::host::Host;

mod curl;
mod kubectl;
mod php;
mod request;
mod systemctl;
mod typed;

pub use php::Nextcloud;

/// What a program printed and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// Exit status.
    pub code: u8,
}

impl Done {
    /// It printed this and ended well.
    pub fn said(out: impl Into<String>) -> Self {
        Self { out: out.into(), ..Self::default() }
    }

    /// It prints more.
    pub(super) fn print(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// It complained.
    pub fn failed(code: u8, err: impl Into<String>) -> Self {
        Self { code, err: err.into(), ..Self::default() }
    }
}

/// In the stand-in's own process: does what `fleet lab stand-in --host DIR PROGRAM ARGS…` asks. `None` for any other line.
#[must_use]
pub fn called(mut words: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut expect = |word: &str| words.next().filter(|next| next == word).map(|_| ());
    expect("lab")?;
    expect("stand-in")?;
    expect("--host")?;
    let folder = words.next()?;
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    let program = words.next()?;
    let words: Vec<String> = words.collect();
    let folder = Path::new(&folder);
    let done = match (program.as_str(), words.first().map(String::as_str)) {
        ("k3s", Some("kubectl")) => kubectl::run(folder, &words[1..]),
        ("curl", _) => curl::run(folder, &words),
        ("php", Some("occ")) => php::run(folder, &words[1..]),
        _ => request::ask_lab(folder, &program, &words),
    };
    // A reader that went away (`| head`) is no trouble of ours.
    let _ = io::stdout().write_all(done.out.as_bytes()).and_then(|()| io::stdout().flush());
    let _ = io::stderr().write_all(done.err.as_bytes());
    Some(ExitCode::from(done.code))
}

/// In the lab: what a program on a host does.
pub async fn answer(host: &Host, program: &str, words: &[String]) -> Done {
    match program {
        "systemctl" => systemctl::run(host, words).await,
        "k3s-killall.sh" => match host.kill_containers().await {
            Ok(()) => Done::default(),
            Err(error) => Done::failed(1, format!("{error}\n")),
        },
        "k3s" => match words.first().map(String::as_str) {
            Some("--version" | "-v") => Done::said(format!(
                "k3s version {} ({})\ngo version go1.16.8\n",
                host.k3s_version(),
                &super::encoding::sha1(host.k3s_version())[..8]
            )),
            Some("check-config") => Done::said("STATUS: pass\n"),
            other => Done::failed(1, format!("No help topic for '{}'\n", other.unwrap_or(""))),
        },
        "web" => match words.first().map(|name| host.web(name)) {
            Some(Ok(status)) => Done::said(status.to_string()),
            Some(Err((code, why))) => Done::failed(code, why),
            None => Done::failed(2, "no host name"),
        },
        other => Done::failed(127, format!("{other}: the lab has no such program\n")),
    }
}
