//! `fleet exec`: one command or script on the selected clusters' hosts.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::conduct::{Shown, conduct};
use super::upgrade::{begin_run, untroubled};
use super::{Exit, Trouble, output, report, select};
use crate::cli::{Cli, ExecArgs, Format};
use crate::form::hex;
use crate::remote::{Command, printable, quote};
use crate::report::Answered;
use crate::rollout::{Answers, Budget, Exec};
use crate::ssh::Limits;

/// A script may have so many bytes.
const SCRIPT: u64 = 16 << 20;

/// Runs it, and shows what the hosts answered.
pub(super) async fn run(cli: &Cli, args: &ExecArgs) -> Result<Exit, Trouble> {
    let (command, title) = command(args)?;
    let (clusters, caps) = select::clusters_and_caps(cli, &args.select, args.parallel)?;
    let names: Vec<String> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let (folder, _lock) = begin_run(&cli.runs, super::typed(), None, names.clone(), Vec::new(), None)?;
    let (answers, count) = (Answers::default(), clusters.len());
    let filled = Arc::clone(&answers);
    let (limits, budget) = (Limits::default(), Budget::from(&args.budget));
    let work = |tour| Exec { command, title, tour, answers: filled }.run(clusters, caps);
    let results = conduct(&folder, limits, budget, count, Shown::OnTerminal, work).await?;

    let answers = taken(&answers);
    let answered = Answered::new(&names, &answers);
    let id = folder.id();
    match args.format.format {
        Format::Json => output::print(&answered.json(&id).map_err(Trouble::internal)?)?,
        Format::Table => {
            let text = if args.each { answered.each() } else { answered.folded() };
            output::print(&format!("{text}{}", last_words(&answered, folder.path())))?;
        }
    }
    let Some(results) = results else { return Ok(Exit::Interrupted) };
    untroubled(results)?;
    Ok(report::worst(answered.endings()))
}

/// What is sent to each host, and what it is for people.
fn command(args: &ExecArgs) -> Result<(Command, String), Trouble> {
    let (command, title) = match &args.script {
        None => {
            let line = args.words.join(" ");
            if line.trim().is_empty() {
                return Err(Trouble::usage("there is no command after `--`"));
            }
            // Every command is read by a POSIX shell of its own (docs/ssh.md#what-is-sent): no other is needed.
            (Command::new("eval").arg(&line), format!("Run `{}`", printable(&line)))
        }
        Some(file) => {
            let script = script(file)?;
            let sum = hex(&Sha256::digest(&script));
            let name = printable(&file.display().to_string());
            let words: Vec<String> =
                std::iter::once(name).chain(args.words.iter().map(|word| printable(&quote(word)))).collect();
            let title = format!("Run the script {} (SHA-256 {sum})", words.join(" "));
            (Command::new("sh -s --").args(&args.words).stdin(script), title)
        }
    };
    let command = command.deadline(Duration::from_secs(args.deadline)).limit(args.limit);
    Ok((if args.sensitive { command.sensitive() } else { command }, title))
}

fn script(file: &Path) -> Result<Vec<u8>, Trouble> {
    let wrong = |why: &dyn std::fmt::Display| Trouble::usage(format!("--script {}: {why}", file.display()));
    let mut script = Vec::new();
    let opened = std::fs::File::open(file).map_err(|error| wrong(&error))?;
    opened.take(SCRIPT + 1).read_to_end(&mut script).map_err(|error| wrong(&error))?;
    if u64::try_from(script.len()).is_ok_and(|length| length <= SCRIPT) {
        Ok(script)
    } else {
        Err(wrong(&"it is larger than 16 MiB; a script should fetch what it needs"))
    }
}

/// The answers so far. Whoever still works on one is let go of.
fn taken(
    answers: &Mutex<BTreeMap<String, crate::rollout::Answer>>,
) -> BTreeMap<String, crate::rollout::Answer> {
    std::mem::take(&mut *answers.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Where it is written down, and to whom it was not sent.
fn last_words(answered: &Answered<'_>, folder: &Path) -> String {
    let folder = printable(&folder.display().to_string());
    let mut text = format!("Written down in {folder}\n");
    if let Some(names) = answered.not_sent() {
        text = format!("{text}Not sent to these; to send it to them, the same command with --on {names}\n");
    }
    text
}
