//! The journal as a host has it: lines appended by many commands, some of them twice, one perhaps torn.

use std::collections::BTreeMap;

use crate::journal::{JournalError, Lines, number};

/// A journal that was read from a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its lines, as whole and in order as they were written here, without those that came twice.
    pub text: String,
    /// How many pieces were set aside: an append that a power cut tore. Each was sent again, or its act was never begun.
    pub torn: usize,
}

/// Why a host's journal cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// Two different lines have one number: two runs wrote it, or somebody changed it.
    #[error("line {0} of its journal is there twice, and not the same")]
    Twice(u64),
    /// The lines are no journal.
    #[error("its journal is damaged: {0}")]
    Lines(String),
    /// A newer `fleet` wrote it.
    #[error(transparent)]
    Newer(JournalError),
}

/// How each line begins. Nothing that is told in a line can look like it (a quotation mark in a text is escaped), and no event holds an
/// object with this key in front.
const BEGIN: &str = "{\"sum\":\"";

/// Puts a host's journal in order. Lines are known by how they begin, not by the newline before them: an append that was torn left none.
pub fn lines(bytes: &[u8], cluster: &str) -> Result<Kept, Damaged> {
    let text = String::from_utf8_lossy(bytes);
    let mut kept = Kept::default();
    let mut found: BTreeMap<u64, &str> = BTreeMap::new();
    for piece in pieces(&text) {
        // Behind the end of a line there may be the beginning of one that was torn.
        let (line, torn) = piece.split_once('\n').unwrap_or((piece, ""));
        kept.torn += usize::from(!torn.trim_matches('\n').is_empty());
        match number(line) {
            Some(seq) => match found.insert(seq, line) {
                Some(other) if other != line => return Err(Damaged::Twice(seq)),
                _ => {}
            },
            None => kept.torn += 1,
        }
    }
    kept.text = found.into_values().fold(String::new(), |text, line| text + line + "\n");
    let read = Lines::read(kept.text.as_bytes(), cluster.as_ref()).map_err(|error| match error {
        JournalError::Damaged { line, why, .. } => Damaged::Lines(format!("after line {}: {why}", line - 1)),
        newer @ JournalError::Newer { .. } => Damaged::Newer(newer),
        other => Damaged::Lines(other.to_string()),
    })?;
    match read.events.iter().find(|event| event.cluster != cluster) {
        Some(event) => Err(Damaged::Lines(format!(
            "it is that of {}, which is not its name in the inventory",
            crate::remote::printable(&event.cluster)
        ))),
        None => Ok(kept),
    }
}

/// The text from each beginning of a line to the next.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let begins: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    let first = begins.first().copied().unwrap_or(text.len());
    let ends: Vec<usize> = begins.iter().skip(1).copied().chain([text.len()]).collect();
    std::iter::once((0, first))
        .chain(begins.into_iter().zip(ends))
        .filter_map(|(from, to)| text.get(from..to))
        .filter(|piece| !piece.trim_matches('\n').is_empty())
}
