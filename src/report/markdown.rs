//! Reports for people, to keep, print and send on. Readable as plain text as well.
//!
//! Text of hosts is hostile: outside of code every character that Markdown or HTML could act upon is escaped, and code stands in
//! fences longer than any row of backticks within.

use std::fmt::Write as _;

use super::cluster::{ClusterReport, State, StepReport};
use super::fleet::{FleetReport, Group};
use super::next::{Next, next, next_all};
use crate::event::{Judgement, When};
use crate::form::{bytes, clock, count, moment, seconds, span};
use crate::plan::Class;
use crate::remote::{printable, quote};
use crate::state::Run;

/// A cluster's `report.md`.
pub(super) fn cluster(report: &ClusterReport, run: &Run) -> String {
    let mut text = format!("# {}: {}\n\n", md(&report.cluster), md(&report.ending_said()));
    head(&mut text, report, run);
    if let Some(failure) = &report.failure {
        let _ = writeln!(text, "## Why\n\n{}\n", md(&failure.message));
        let _ = writeln!(text, "Cause: {}. Read on: {}\n", md(&failure.cause), md(&failure.read));
    }
    whats_next(&mut text, "##", &next(report, run));
    backups(&mut text, report);
    steps(&mut text, report);
    checks(&mut text, report, run);
    remedies(&mut text, report);
    notes(&mut text, report);
    commands(&mut text, report);
    if report.unknown_events > 0 {
        let _ = writeln!(
            text,
            "{} of a newer fleet could not be shown; see the journal.\n",
            count(report.unknown_events, "event")
        );
    }
    text.push_str("All times are UTC, by the clock of the machine that ran fleet.\n");
    text
}

/// The fleet's `report.md`.
pub(super) fn fleet(fleet: &FleetReport) -> String {
    let run = &fleet.run;
    let mut text = format!("# Run {}: {}\n\n", md(&run.id), fleet.counts_said());
    let mut rows = vec![
        ("Target", run.target.map_or_else(|| "none".to_owned(), |target| target.to_string())),
        ("By", run.by.clone()),
        ("Started", moment(run.started)),
        ("Ended", fleet.ended().map_or_else(|| "not every cluster has an end".to_owned(), moment)),
        ("Took", fleet.took_ms().map_or_else(|| "not known".to_owned(), span)),
        ("fleet", run.fleet.clone()),
    ];
    if let Some(plan) = &run.plan {
        rows.push(("Plan", format!("{}, {}", printable(&plan.file), printable(&plan.checksum))));
    }
    if !run.acknowledged.is_empty() {
        rows.push(("Warnings accepted", run.acknowledged.join(", ")));
    }
    pairs(&mut text, &rows);
    fence(&mut text, [run.typed.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")]);
    table(
        &mut text,
        &["cluster", "outcome", "state", "version", "took", "backup", "report"],
        fleet.clusters.iter().map(|report| {
            vec![
                md(&report.cluster),
                report.outcome.as_str().to_owned(),
                md(&report.state_said()),
                md(&report.versions()),
                span(report.took_ms),
                report.backup().map_or_else(|| "-".to_owned(), |backup| md(&backup.backup)),
                link(&report.cluster),
            ]
        }),
    );
    if !fleet.groups.is_empty() {
        text.push_str("## What is not well, by cause\n\n");
    }
    for group in &fleet.groups {
        tell(&mut text, fleet, group);
    }
    text.push_str("All times are UTC, by the clock of the machine that ran fleet.\n");
    text
}

fn head(text: &mut String, report: &ClusterReport, run: &Run) {
    let known = |value: &Option<String>| value.clone().unwrap_or_else(|| "not known".to_owned());
    let mut rows = vec![
        ("Run", run.id.clone()),
        ("By", run.by.clone()),
        ("Target", run.target.map_or_else(|| "none".to_owned(), |target| target.to_string())),
        ("State", report.state_said()),
        ("Version before", known(&report.version_before)),
        ("Version after", known(&report.version_after)),
        ("Address", known(&report.address)),
        ("Host key", known(&report.host_key)),
        ("Apps", if report.apps.is_empty() { "not known".to_owned() } else { report.apps.join(", ") }),
        ("Started", report.started.map_or_else(|| "never".to_owned(), moment)),
        ("Ended", report.ended.map_or_else(|| "no end is written".to_owned(), moment)),
        ("Took", span(report.took_ms)),
        ("k3s stopped", report.downtime_ms.map_or_else(|| "never".to_owned(), span)),
    ];
    for rung in &report.rungs {
        let planned = format!(
            "{} to {}, {}, about {}, k3s stopped about {}",
            rung.from,
            rung.to,
            count(rung.steps.len(), "step"),
            seconds(rung.expected_seconds),
            seconds(rung.downtime_seconds)
        );
        rows.push(("Planned", planned));
    }
    pairs(text, &rows);
}

fn whats_next(text: &mut String, level: &str, next: &[Next]) {
    if next.is_empty() {
        return;
    }
    let _ = writeln!(text, "{level} What to type next\n");
    let lines = next.iter().enumerate().flat_map(|(index, next_one)| {
        let new = index == 0 || next[index - 1].why != next_one.why;
        new.then(|| format!("# {}", next_one.why)).into_iter().chain([next_one.command.clone()])
    });
    fence(text, lines);
}

fn backups(text: &mut String, report: &ClusterReport) {
    if report.backups.is_empty() {
        return;
    }
    text.push_str("## Backups, proven\n\n");
    table(
        text,
        &["backup", "proven at", "files compared", "size", "folder"],
        report.backups.iter().map(|backup| {
            vec![
                md(&backup.backup),
                moment(backup.at),
                backup.files.to_string(),
                bytes(backup.bytes),
                md(&backup.folder),
            ]
        }),
    );
    if let Some(way) = &report.way_back {
        let _ = writeln!(
            text,
            "The way back to {} is {}: the cluster as it was at {}. Whatever was written on it since is lost with that.\n",
            way.version,
            md(&way.backup),
            moment(way.made)
        );
    }
    text.push_str("How to put one back: docs/restore.md\n\n");
}

fn steps(text: &mut String, report: &ClusterReport) {
    if report.steps.is_empty() {
        return;
    }
    text.push_str("## Steps\n\n");
    table(
        text,
        &["started", "step", "what", "class", "ended", "took", "expected"],
        report.steps.iter().map(step),
    );
    for step in &report.steps {
        if let Some(failure) = &step.failure {
            let _ = writeln!(
                text,
                "{}: {} ({}). Its log: {}\n",
                md(&step.step),
                md(&failure.message),
                md(&failure.cause),
                md(&step.log.display().to_string())
            );
        }
    }
    let started = |id: &String| report.steps.iter().any(|step| step.step == *id);
    let never: Vec<&String> =
        report.rungs.iter().flat_map(|rung| &rung.steps).filter(|id| !started(id)).collect();
    if !never.is_empty() && report.state != State::Upgraded {
        text.push_str("Planned, but never started:\n\n");
        for id in never {
            let _ = writeln!(text, "- {}", md(id));
        }
        text.push('\n');
    }
}

fn step(step: &StepReport) -> Vec<String> {
    let class = match step.class {
        Class::Irreversible => format!("**{}**", step.class.as_str()),
        class => class.as_str().to_owned(),
    };
    vec![
        clock(step.started),
        md(&step.step),
        md(&step.title),
        class,
        step.outcome.as_str().to_owned(),
        step.took_ms.map_or_else(|| "-".to_owned(), span),
        seconds(step.expected_seconds),
    ]
}

fn checks(text: &mut String, report: &ClusterReport, run: &Run) {
    for checks in &report.checks {
        let when = match checks.when {
            When::Before => "before",
            When::After => "after",
        };
        let _ = writeln!(text, "## Checks {when}, {}\n", clock(checks.at));
        // What needs eyes first; the sort is stable, so equal levels keep the order of the checks' table.
        let mut verdicts: Vec<&Judgement> = checks.verdicts.iter().collect();
        verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.level));
        table(
            text,
            &["verdict", "check", "seen"],
            verdicts.into_iter().map(|verdict| {
                let level = if verdict.acknowledged {
                    format!("{}, accepted by {}", verdict.level.as_str(), md(&run.by))
                } else {
                    verdict.level.as_str().to_owned()
                };
                vec![level, md(&verdict.check), md(&verdict.said)]
            }),
        );
    }
}

fn remedies(text: &mut String, report: &ClusterReport) {
    if report.remedies.is_empty() {
        return;
    }
    text.push_str("## Remedies used\n\n");
    table(
        text,
        &["at", "remedy", "on", "time", "during"],
        report.remedies.iter().map(|used| {
            vec![clock(used.at), md(&used.remedy), md(&used.object), used.time.to_string(), md(&used.step)]
        }),
    );
}

fn notes(text: &mut String, report: &ClusterReport) {
    if report.notes.is_empty() {
        return;
    }
    text.push_str("## Notes\n\n");
    for note in &report.notes {
        let _ = writeln!(text, "- {} {}: {}", clock(note.at), md(&note.step), md(&note.text));
    }
    text.push('\n');
}

fn commands(text: &mut String, report: &ClusterReport) {
    if report.commands.is_empty() {
        return;
    }
    text.push_str(
        "## Every command\n\nWhen it ended, how, how long it took, and the line as the host got it.\n\n",
    );
    let lines = report.commands.iter().enumerate().flat_map(|(index, command)| {
        let new = index == 0 || report.commands[index - 1].step != command.step;
        let head = new.then(|| format!("# {}", command.step));
        let line = format!(
            "{}  {}  {:>10}  {}",
            clock(command.at),
            command.exit,
            span(command.took_ms),
            command.line
        );
        head.into_iter().chain([line])
    });
    fence(text, lines);
}

fn tell(text: &mut String, fleet: &FleetReport, group: &Group) {
    let _ = writeln!(text, "### {} ({})\n", md(&group.title()), count(group.clusters.len(), "cluster"));
    for said in &group.messages {
        let _ = writeln!(text, "- {}: {}", md(&said.clusters.join(", ")), md(&said.message));
    }
    text.push('\n');
    let reports = fleet.of(group);
    let marred: Vec<&&ClusterReport> = reports.iter().filter(|report| report.wants_eyes()).collect();
    if !marred.is_empty() {
        table(
            text,
            &["cluster", "state", "backup in", "log"],
            marred.into_iter().map(|report| {
                vec![
                    md(&report.cluster),
                    md(&report.state_said()),
                    report
                        .backup()
                        .map_or_else(|| "no proven backup".to_owned(), |backup| md(&backup.folder)),
                    report.log().map_or_else(|| "-".to_owned(), |log| md(&log.display().to_string())),
                ]
            }),
        );
    }
    let _ = writeln!(text, "Read on: {}\n", md(&group.read));
    whats_next(text, "####", &next_all(&reports, &fleet.run));
}

/// A table of two columns without a head.
fn pairs(text: &mut String, rows: &[(&str, String)]) {
    table(text, &["", ""], rows.iter().map(|(name, value)| vec![(*name).to_owned(), md(value)]));
}

/// A table; its cells are already escaped.
fn table(text: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(text, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text.push('\n');
}

/// Lines as they are, in a fence that none of them can close.
fn fence(text: &mut String, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<String> = lines.into_iter().map(|line| printable(&line)).collect();
    let longest = lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max().unwrap_or(0);
    let bar = "`".repeat(longest.saturating_add(1).max(3));
    let _ = writeln!(text, "{bar}text\n{}\n{bar}\n", lines.join("\n"));
}

/// A link to a cluster's report, where its name can stand in an address as it is.
fn link(cluster: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if cluster.chars().all(plain) { format!("[report]({cluster}/report.md)") } else { "-".to_owned() }
}

/// Text in Markdown: nothing of it is markup, HTML, a link or the end of a table's cell.
fn md(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut start = true;
    let mut chars = printable(text.trim()).chars().collect::<Vec<_>>().into_iter().peekable();
    while let Some(c) = chars.next() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // Addresses that readers would make into links by themselves.
            ':' if chars.peek() == Some(&'/') => escaped.push_str("\\:"),
            // Between letters an underscore is no markup, and names of this field are full of them.
            '_' if start || chars.peek().is_none_or(|next| !next.is_alphanumeric()) => {
                escaped.push_str("\\_");
            }
            // Only at the beginning of a block.
            '#' | '+' | '-' | '=' if start => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
        start = false;
    }
    escaped.replace("www.", "www\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_host_is_markup() {
        let cases = [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("a | b", "a \\| b"),
            ("a \\| b", "a \\\\\\| b"),
            ("`rm`\n# head", "\\`rm\\`·# head"),
            ("# head", "\\# head"),
            ("![x](https://example.org)", "!\\[x\\](https\\://example.org)"),
            ("www.example.org", "www\\.example.org"),
            ("_x_ and wekan_oauth_secret", "\\_x\\_ and wekan_oauth_secret"),
            ("\u{1b}]0;pwn\u{7}", "·\\]0;pwn·"),
            ("&lt;", "&amp;lt;"),
        ];
        for (text, escaped) in cases {
            assert_eq!(md(text), escaped, "{text:?}");
        }
    }

    #[test]
    fn a_fence_is_longer_than_any_row_of_backticks_within() {
        let mut text = String::new();
        fence(&mut text, ["a ```` b".to_owned(), "`".to_owned()]);
        assert_eq!(text, "`````text\na ```` b\n`\n`````\n\n");
    }
}
