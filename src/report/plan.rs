//! A plan as text for people: every step with what exactly it does.

use std::fmt::Write;
use std::time::Duration;

use crate::plan::{Action, Backup, Class, Objects, Plan, Step};
use crate::remote::printable;

/// The whole plan.
#[must_use]
pub fn plan_text(plan: &Plan) -> String {
    let mut text = String::new();
    let here = plan.steps.iter().map(|step| step.disk_here).sum();
    let there = plan.steps.iter().map(|step| step.disk_there).max().unwrap_or(0);
    let Plan { cluster, from, to, migration, .. } = plan;
    line(&mut text, &format!("{cluster}: {from} -> {to} ({migration})"));
    line(
        &mut text,
        &format!(
            "  {} steps, about {}, of which about {} downtime; needs {} here and {} on the host",
            plan.steps.len(),
            span(plan.expected()),
            span(plan.downtime()),
            size(here),
            size(there)
        ),
    );
    line(
        &mut text,
        &format!("  apps: {}", if plan.apps.is_empty() { "none".into() } else { plan.apps.join(", ") }),
    );
    for note in &plan.notes {
        line(&mut text, &format!("  note: {}", printable(note)));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        line(&mut text, "");
        write_step(&mut text, index + 1, step);
    }
    if !plan.rest.is_empty() {
        let rest: Vec<String> = plan.rest.iter().map(ToString::to_string).collect();
        line(&mut text, "");
        line(&mut text, &format!("  then, each planned from new facts: {}", rest.join(", ")));
    }
    text
}

fn write_step(text: &mut String, number: usize, step: &Step) {
    line(text, &format!("  {number:>2}. {}  {}", step.id, printable(&step.title)));
    let mut traits = vec![step.class.as_str().to_owned(), format!("about {}", span(step.expected))];
    traits.push(format!("at most {}", span(step.deadline)));
    if !step.downtime.is_zero() {
        traits.push(format!("downtime about {}", span(step.downtime)));
    }
    if step.disk_here > 0 {
        traits.push(format!("{} here", size(step.disk_here)));
    }
    if step.class != Class::ReadOnly {
        traits.push(format!("if interrupted: {}", step.redo.describe()));
    }
    line(text, &format!("      {}", traits.join(", ")));
    for detail in details(&step.action) {
        line(text, &format!("      {}", printable(&detail)));
    }
}

fn details(action: &Action) -> Vec<String> {
    match action {
        Action::Run(command) => vec![format!("$ {command}")],
        Action::Objects(Objects::Save { objects, .. } | Objects::Restore { objects, .. }) => {
            objects.iter().map(|object| format!("secret {object}")).collect()
        }
        Action::Objects(Objects::AddPassword { object, key, .. }) => {
            vec![format!("secret {object}, key {key}")]
        }
        Action::Backup(backup) => copied(backup),
        Action::Prove(prove) => vec![format!("datastore, objects and {} volumes", prove.volumes.len())],
        Action::WaitUntil { probe, remedies } => {
            let mut lines = vec![format!("until {probe}")];
            if !remedies.is_empty() {
                lines.push(format!("remedies that may be used: {}", remedies.join(", ")));
            }
            lines
        }
    }
}

fn copied(backup: &Backup) -> Vec<String> {
    let Backup { k3s_data, k3s_config, volumes, cluster_dir, .. } = backup;
    let mut lines = vec![
        "all objects of the API, secrets among them".to_owned(),
        "k3s stopped with all its containers, and started again whatever happens".to_owned(),
        format!("{k3s_data}/server (datastore, token, certificates) and {k3s_config}"),
    ];
    for volume in volumes {
        let claim = if volume.claim.is_empty() {
            "unclaimed".to_owned()
        } else {
            format!("{}/{}", volume.namespace, volume.claim)
        };
        lines.push(format!("volume {claim}: {} ({})", volume.folder, size(volume.used)));
    }
    if let Some(folder) = cluster_dir {
        lines.push(format!("on this machine: {}", folder.display()));
    }
    lines
}

fn line(text: &mut String, content: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{content}");
}

/// A time as people say it: `40 s`, `12 min`, `1 h 05 min`.
#[must_use]
#[expect(clippy::integer_division, reason = "whole minutes are what is shown")]
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 90 {
        return format!("{seconds} s");
    }
    let minutes = (seconds + 30) / 60;
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// A size as people say it: `3.2 GiB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_people_say_them() {
        assert_eq!(span(Duration::from_secs(40)), "40 s");
        assert_eq!(span(Duration::from_secs(719)), "12 min");
        assert_eq!(span(Duration::from_secs(3900)), "1 h 05 min");
        assert_eq!(size(900), "900 B");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
