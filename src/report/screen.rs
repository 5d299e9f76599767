//! The last screen of a run: what is done first, what is not well last, grouped by its cause, each with what to type next.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::cluster::ClusterReport;
use super::fleet::{FleetReport, Group};
use super::next::{next_all, with_places};
pub use crate::form::moment;
use crate::form::{count, span};
use crate::remote::printable;

/// How wide the screen is, and whether it can be trusted to show more than ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: u16,
    /// Whether standard output is a terminal. Otherwise every byte is ASCII: it may go to a mail, a log or a pager of any age.
    pub terminal: bool,
}

impl Look {
    /// The width where there is no terminal.
    pub const PLAIN: Self = Self { width: 110, terminal: false };

    /// Of standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let width = Table::new().width().unwrap_or(Self::PLAIN.width).max(60);
        Self { width, terminal: true }
    }

    /// A table in this look. The columns `whole` hold ids that are copied by hand: they stay in one piece.
    pub fn table<const N: usize>(
        self,
        head: [&str; N],
        rows: impl Iterator<Item = [String; N]>,
        whole: &[usize],
    ) -> Table {
        let mut table = Table::new();
        table
            .load_style(if self.terminal {
                presets::UTF8_BORDERS_ONLY
            } else {
                presets::ASCII_BORDERS_ONLY_CONDENSED
            })
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(self.width)
            .force_no_tty()
            .set_header(head);
        // Lines of a cell are ours: what a host said was made one line where it was read.
        let clean = |cell: String| cell.lines().map(printable).collect::<Vec<_>>().join("\n");
        table.add_rows(rows.map(|row| row.map(clean)));
        for index in whole {
            if let Some(column) = table.column_mut(*index) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }

    /// Text as this look can show it: no blanks at the ends of lines, no control characters, ASCII alone where there is no
    /// terminal.
    #[must_use]
    pub fn finish(self, text: &str) -> String {
        let clean: String = text.lines().map(|line| printable(line.trim_end()) + "\n").collect();
        if self.terminal { clean } else { ascii(&clean) }
    }
}

/// The screen for a run whose folder is `folder`.
#[must_use]
pub fn render(fleet: &FleetReport, folder: &Path, look: Look) -> String {
    let mut text = String::new();
    let run = &fleet.run;
    let took = fleet
        .took_ms()
        .map_or_else(|| "not every cluster has an end".to_owned(), |ms| format!("took {}", span(ms)));
    let _ = writeln!(
        text,
        "Run {}: {}, by {}, started {}, {took}\n",
        run.id,
        run.aim(),
        run.by,
        moment(run.started)
    );
    if let Some(plan) = &run.plan {
        let _ = writeln!(text, "Plan: {}, {}\n", plan.file, plan.checksum);
    }
    let good: Vec<&ClusterReport> = fleet.clusters.iter().filter(|report| report.outcome.is_good()).collect();
    if !good.is_empty() {
        let _ = writeln!(text, "{}\n", table(&good, look));
        if good.iter().any(|report| report.backup().is_some()) {
            let _ = writeln!(
                text,
                "To prove a backup anew: {} backup verify CLUSTER BACKUP\n",
                with_places(&run.typed)
            );
        }
    }
    for group in &fleet.groups {
        tell(&mut text, fleet, group, folder, look);
    }
    let _ = writeln!(text, "{}: {}", count(fleet.clusters.len(), "cluster"), fleet.counts_said());
    let _ = writeln!(text, "Reports: {}", folder.join("report.md").display());
    look.finish(&text)
}

fn table(reports: &[&ClusterReport], look: Look) -> Table {
    let head = ["cluster", "outcome", "version", "took", "k3s down", "backup"];
    let none = || "-".to_owned();
    let rows = reports.iter().map(|report| {
        [
            report.cluster.clone(),
            report.outcome.as_str().to_owned(),
            report.versions(),
            span(report.took_ms),
            report.downtime_ms.map_or_else(none, span),
            report.backup().map_or_else(none, |backup| backup.backup.clone()),
        ]
    });
    look.table(head, rows, &[0, 5])
}

fn tell(text: &mut String, fleet: &FleetReport, group: &Group, folder: &Path, look: Look) {
    let _ = writeln!(text, "{} ({})", group.title(), count(group.clusters.len(), "cluster"));
    for said in &group.messages {
        wrap(text, "  ", &said.message, look.width);
        wrap(text, "    ", &format!("on {}", said.clusters.join(", ")), look.width);
    }
    let reports = fleet.of(group);
    for report in reports.iter().filter(|report| report.wants_eyes()) {
        let _ = writeln!(text, "  {}: {}", report.cluster, report.state_said());
        if let Some(backup) = report.backup() {
            let _ = writeln!(text, "      backup {} in {}", backup.backup, backup.folder);
        }
        if let Some(log) = report.log() {
            let _ = writeln!(text, "      log    {}", folder.join(log).display());
        }
    }
    let _ = writeln!(text, "  read: {}", group.read);
    let mut why = String::new();
    for next in next_all(&reports, &fleet.run) {
        if next.why != why {
            let _ = writeln!(text, "  next, {}:", next.why);
            why = next.why;
        }
        let _ = writeln!(text, "      {}", next.command);
    }
    text.push('\n');
}

/// Writes words into lines of this width. A word that is longer stays whole: it may be a path to copy.
pub(crate) fn wrap(text: &mut String, indent: &str, words: &str, width: u16) {
    let mut column = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > usize::from(width) {
            text.push('\n');
            column = 0;
        }
        if column == 0 {
            text.push_str(indent);
            column = indent.len();
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

fn ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '·' => plain.push('.'),
            '…' => plain.push_str("..."),
            c if c.is_ascii() => plain.push(c),
            _ => plain.push('?'),
        }
    }
    plain
}
