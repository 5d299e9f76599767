//! `systemctl`, as far as it is about k3s and the timers that start package upgrades.

use super::Done;
use crate::lab::host::{Host, Power};

/// Does what `systemctl` with these words does.
pub(super) async fn run(host: &Host, words: &[String]) -> Done {
    let (options, names) = split(words);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let quiet = options.iter().any(|option| matches!(*option, "-q" | "--quiet"));
    let Some((verb, units)) = names.split_first() else { return Done::default() };
    let unit = units.first().map_or("", |unit| unit.trim_end_matches(".service"));
    let ours = unit == "k3s";
    if let Some(done) = timer(host, verb, unit, quiet) {
        return done;
    }
    match *verb {
        "daemon-reload" | "reset-failed" => Done::default(),
        "start" | "restart" if ours => {
            if *verb == "restart"
                && let Err(error) = host.stop_k3s().await
            {
                return Done::failed(1, format!("{error}\n"));
            }
            match host.start_k3s().await {
                Ok(()) => Done::default(),
                Err(_) => Done::failed(
                    1,
                    "Job for k3s.service failed because the control process exited with error code.\nSee \"systemctl status k3s.service\" and \"journalctl -xe\" for details.\n",
                ),
            }
        }
        "stop" if ours => match host.stop_k3s().await {
            Ok(()) => Done::default(),
            Err(error) => Done::failed(1, format!("{error}\n")),
        },
        "is-active" => {
            let power = if ours { host.state().power } else { Power::Stopped };
            let out = if quiet { String::new() } else { format!("{}\n", power.as_str()) };
            Done { out, code: if power == Power::Running { 0 } else { 3 }, ..Done::default() }
        }
        "is-failed" => {
            let power = if ours { host.state().power } else { Power::Stopped };
            let out = if quiet { String::new() } else { format!("{}\n", power.as_str()) };
            Done { out, code: u8::from(power != Power::Failed), ..Done::default() }
        }
        "is-enabled" if ours => Done::said(if quiet { "" } else { "enabled\n" }),
        "status" if ours => {
            let power = host.state().power;
            let out = format!(
                "● k3s.service - Lightweight Kubernetes\n   Loaded: loaded (/etc/systemd/system/k3s.service; enabled)\n   Active: {}\n",
                power.as_str()
            );
            Done { out, code: if power == Power::Running { 0 } else { 3 }, ..Done::default() }
        }
        "show" => Done::said(show(host, ours, &options)),
        "is-enabled" => Done::failed(
            1,
            format!("Failed to get unit file state for {unit}.service: No such file or directory\n"),
        ),
        "status" => Done::failed(4, format!("Unit {unit}.service could not be found.\n")),
        "start" | "restart" | "stop" => {
            Done::failed(5, format!("Failed to {verb} {unit}.service: Unit {unit}.service not loaded.\n"))
        }
        other => Done::failed(1, format!("Unknown command verb {other}.\n")),
    }
}

/// What is done with a timer; `None` for what is none.
fn timer(host: &Host, verb: &str, unit: &str, quiet: bool) -> Option<Done> {
    let there = unit.rsplit_once('.').is_some_and(|(_, kind)| kind == "timer");
    match verb {
        "start" | "stop" if there => host.set_timer(unit, verb == "start").then(Done::default),
        "is-active" if there => {
            let active = host.timers().contains(unit);
            let word = if active { "active\n" } else { "inactive\n" };
            let out = if quiet { String::new() } else { word.to_owned() };
            Some(Done { out, code: if active { 0 } else { 3 }, ..Done::default() })
        }
        _ => None,
    }
}

fn show(host: &Host, ours: bool, options: &[&str]) -> String {
    let power = host.state().power;
    let running = ours && power == Power::Running;
    let all = [
        ("LoadState", if ours { "loaded" } else { "not-found" }),
        ("ActiveState", if ours { power.as_str() } else { "inactive" }),
        ("SubState", if running { "running" } else { "dead" }),
        ("UnitFileState", if ours { "enabled" } else { "" }),
        ("MainPID", if running { "4711" } else { "0" }),
    ];
    let wanted: Vec<&str> = options
        .iter()
        .filter_map(|option| option.strip_prefix("--property=").or_else(|| option.strip_prefix("-p")))
        .flat_map(|names| names.split(','))
        .collect();
    let bare = options.contains(&"--value");
    all.iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
        .map(|(name, value)| if bare { format!("{value}\n") } else { format!("{name}={value}\n") })
        .collect()
}

/// Options and other words; `-p NAME` and `--property NAME` become `--property=NAME`.
fn split(words: &[String]) -> (Vec<String>, Vec<&str>) {
    let (mut options, mut names) = (Vec::new(), Vec::new());
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "-p" | "--property" => options.extend(words.next().map(|name| format!("--property={name}"))),
            word if word.starts_with('-') => options.push(word.to_owned()),
            word => names.push(word),
        }
    }
    (options, names)
}
