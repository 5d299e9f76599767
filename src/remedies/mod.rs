//! Cures for known faults; one file a fault: what it looks like, what cures it, how often at most (promise E14).
//!
//! A remedy is used only inside a `WaitUntil` that names it, only on an object that looks exactly so, and each use is journalled. Of some
//! faults no more is known than what they are: these are used never, but a failure that looks so points to what is known ([`known`]).

use std::time::Duration;

use crate::probes::Stuck;
use crate::remote::Command;

mod chart_not_ready;
mod dependency;
mod empty_copy;
mod empty_oauth;
mod forbidden_character;
mod missing_secret;
mod node_exporter;
mod onlyoffice;
mod pending_release;
mod remediation_failed;
mod retries_exhausted;
mod sociallogin;
mod source_not_ready;
mod suspended;
mod webhook;

/// How long a cure is given before the object is looked at again with an eye to the next use.
pub const SETTLE: Duration = Duration::from_secs(20);

/// How long what a cure does inside a container may take: Nextcloud fetches its apps from the Internet.
const EXEC: Duration = Duration::from_secs(300);

/// A remedy.
#[derive(Debug, Clone, Copy)]
pub struct Remedy {
    /// Kebab-case, never changed: file name, heading in `docs/remedies.md`, journal and report.
    ///
    /// A step names its remedies in the order in which they are asked: what knows a fault more closely comes before what resets counters.
    pub id: &'static str,
    /// What it cures, in a few words.
    pub title: &'static str,
    /// Whether this object has the fault.
    pub looks_like: fn(&Stuck) -> bool,
    /// The commands of the how-manieth use (from 1) on this object.
    pub cure: fn(&Stuck, time: u32) -> Vec<Command>,
    /// How often at most on one object in one step; 0 where only a person can do something.
    pub most: u32,
}

impl Remedy {
    /// Where to read on.
    #[must_use]
    pub fn page(&self) -> String {
        format!("docs/remedies.md#{}", self.id)
    }
}

/// Every remedy.
pub const ALL: &[Remedy] = &[
    chart_not_ready::REMEDY,
    dependency::REMEDY,
    empty_copy::REMEDY,
    empty_oauth::REMEDY,
    forbidden_character::REMEDY,
    missing_secret::REMEDY,
    node_exporter::REMEDY,
    onlyoffice::REMEDY,
    pending_release::REMEDY,
    remediation_failed::REMEDY,
    retries_exhausted::REMEDY,
    sociallogin::REMEDY,
    source_not_ready::REMEDY,
    suspended::REMEDY,
    webhook::REMEDY,
];

/// The remedy of this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Remedy> {
    ALL.iter().find(|remedy| remedy.id == id)
}

/// What is known of a fault that looks so, whether or not it can be cured from here.
#[must_use]
pub fn known(stuck: &Stuck) -> Option<&'static Remedy> {
    ALL.iter().find(|remedy| (remedy.looks_like)(stuck))
}

/// Whether this object only waits for another one, and is not ill itself.
#[must_use]
pub fn waits(stuck: &Stuck) -> bool {
    (dependency::REMEDY.looks_like)(stuck)
}

/// Whether Helm says of this release that a job which its chart runs after an upgrade, or after its first installation, failed.
fn hook_failed(stuck: &Stuck, release: &str) -> bool {
    stuck.kind == "HelmRelease"
        && stuck.name == release
        && ["post-upgrade hooks failed", "post-install hooks failed", "failed post-install"]
            .iter()
            .any(|said| stuck.message.contains(said))
}

/// What `flux reconcile` does on the wire (facts section 5.2): any new value of the annotation asks for a reconciliation.
fn reconcile(kind: &'static str, namespace: &str, name: &str) -> Command {
    Command::new("k3s kubectl annotate --overwrite")
        .fixed(kind)
        .arg(name)
        .fixed("-n")
        .arg(namespace)
        .fixed(r#"reconcile.fluxcd.io/requestedAt="$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)""#)
}

/// The same for every object of a kind in Flux's own namespace.
fn reconcile_all(kind: &'static str) -> Command {
    Command::new("k3s kubectl annotate --overwrite")
        .fixed(kind)
        .fixed("--all -n flux-system")
        .fixed(r#"reconcile.fluxcd.io/requestedAt="$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)""#)
}

/// What `flux suspend` and `flux resume` do: the generation changes, and helm-controller forgets its failures (facts section 5.3).
fn suspend_and_resume(namespace: &str, name: &str) -> Vec<Command> {
    let patch = |body: &'static str| {
        Command::new("k3s kubectl patch helmreleases.helm.toolkit.fluxcd.io")
            .arg(name)
            .fixed("-n")
            .arg(namespace)
            .fixed("--type merge -p")
            .fixed(body)
    };
    vec![patch(r#"'{"spec":{"suspend":true}}'"#), patch(r#"'{"spec":{"suspend":false}}'"#)]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn stuck(kind: &'static str, namespace: &str, name: &str, message: &str) -> Stuck {
        Stuck {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            message: message.into(),
            terminal: false,
        }
    }

    #[test]
    fn every_remedy_is_bounded_and_always_has_a_cure_within_its_bound() {
        for remedy in ALL {
            assert!((0..=5).contains(&remedy.most), "{}", remedy.id);
            for time in 1..=remedy.most {
                let cure = (remedy.cure)(&stuck("HelmRelease", "oas", "x; reboot", ""), time);
                assert!(!cure.is_empty(), "{} has no cure for use {time}", remedy.id);
                for command in cure {
                    let line = command.line();
                    assert!(
                        !line.contains("x; reboot") || line.contains("'x; reboot'"),
                        "unquoted in {line}"
                    );
                }
            }
        }
    }
}
