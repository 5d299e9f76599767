//! Faults that can be injected into a simulated host, from the start or while it runs.

use std::fmt;
use std::str::FromStr;

/// A fault. Its text is kebab-case, with `:what` after those that need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The SSH port is closed.
    Unreachable,
    /// No key is taken.
    AuthRefused,
    /// `systemctl start k3s` fails.
    K3sWontStart,
    /// k3s runs, but its API refuses connections.
    ApiAway,
    /// `tar` fails on the host.
    TarFails,
    /// `df` says that every filesystem is full.
    DiskFull,
    /// The Git server cannot be reached by Flux.
    SourceWontFetch,
    /// The Helm release `oas-secrets` cannot be uninstalled.
    OasSecretsStays,
    /// Somebody else creates `oas-nextcloud-variables` again, with other data, as soon as it is gone.
    SecretsConflict,
    /// The release of this application fails at every upgrade.
    AppNeverReady(String),
    /// Loki's first upgrade uses up its retries.
    LokiRetries,
    /// Release single-sign-on is made with empty OAuth secrets until kustomization core is reconciled again.
    SsoEmptyOauth,
    /// The connection is cut, once, instead of running a command that holds this text.
    ConnectionDropsAt(String),
    /// The connection is cut, once, after a command that holds this text has run and before its exit status is sent.
    ConnectionDropsAfter(String),
    /// A command that holds this text never ends.
    CommandHangs(String),
    /// A command that holds this text is not run and ends with exit status 1.
    CommandFails(String),
    /// The host is started anew, once, instead of running a command that holds this text.
    RebootsAt(String),
    /// The host is started anew, once, after a command that holds this text has run and before its exit status is sent.
    RebootsAfter(String),
    /// No command can write a byte into a file any more.
    NoRoom,
    /// The host's clock is a day ahead.
    ClockAhead,
    /// The host's clock is a day behind.
    ClockBehind,
    /// Control characters on standard error of every command and in Flux's messages.
    HostileOutput,
    /// The login shell prints a banner on standard output before every command.
    NoisyShell,
    /// Sources and namespaces of two versions are there.
    MixedVersion,
    /// The source follows a branch that is no release.
    DevelopmentBranch,
    /// Containers write to their volumes until `k3s-killall.sh` ends them.
    ContainersKeepWriting,
    /// There is no wekan, hence no wekan secret.
    MissingWekan,
    /// A pod of an application crashes again and again.
    FailingPod,
    /// A Helm release is left in `pending-upgrade`.
    PendingRelease,
    /// Git and registry cannot be reached from the host.
    NoInternet,
    /// A webhook does not answer when kustomization kube-system-config changes, until it is asked for again.
    WebhookAway,
    /// Nextcloud's setup-apps job fails at an upgrade until its ONLYOFFICE app is updated or removed.
    OldOnlyoffice,
}

/// Every fault's text and what it does; `:TEXT` and `:APP` stand for what has to be named.
pub const HELP: &[(&str, &str)] = &[
    ("unreachable", "the SSH port is closed"),
    ("auth-refused", "no key is taken"),
    ("k3s-wont-start", "`systemctl start k3s` fails"),
    ("api-away", "k3s runs, but its API refuses connections"),
    ("tar-fails", "tar fails on the host"),
    ("disk-full", "df says that every filesystem is full"),
    ("source-wont-fetch", "Flux cannot reach the Git server"),
    ("oas-secrets-stays", "the Helm release oas-secrets cannot be uninstalled"),
    ("secrets-conflict", "somebody else creates a removed secret again with other data"),
    ("app-never-ready:APP", "the release of this application fails at every upgrade"),
    ("loki-retries", "Loki's first upgrade uses up its retries"),
    ("sso-empty-oauth", "single-sign-on gets empty OAuth secrets until kustomization core is reconciled"),
    ("connection-drops-at:TEXT", "the connection is cut, once, before a command that holds TEXT runs"),
    ("connection-drops-after:TEXT", "the connection is cut, once, when a command that holds TEXT has run"),
    ("command-hangs:TEXT", "a command that holds TEXT never ends"),
    ("command-fails:TEXT", "a command that holds TEXT is not run and fails"),
    ("reboots-at:TEXT", "the host is started anew, once, before a command that holds TEXT runs"),
    ("reboots-after:TEXT", "the host is started anew, once, when a command that holds TEXT has run"),
    ("no-room", "no command can write a byte into a file, as on a full disk"),
    ("clock-ahead", "the host's clock is a day ahead"),
    ("clock-behind", "the host's clock is a day behind"),
    ("hostile-output", "control characters on standard error and in Flux's messages"),
    ("noisy-shell", "a banner on standard output before every command's own output"),
    ("mixed-version", "sources and namespaces of two versions are there"),
    ("development-branch", "the source follows a branch that is no release"),
    ("containers-keep-writing", "containers write to their volumes until k3s-killall.sh ends them"),
    ("missing-wekan", "there is no wekan, hence no wekan secret"),
    ("failing-pod", "a pod of an application crashes again and again"),
    ("pending-release", "a Helm release is left in pending-upgrade"),
    ("no-internet", "git and registry cannot be reached from the host"),
    ("webhook-away", "a webhook fails kustomization kube-system-config until it is asked for again"),
    ("old-onlyoffice", "Nextcloud's setup-apps job fails until its ONLYOFFICE app is updated or removed"),
];

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault {0:?}; `fleet lab up --fault help` lists them")]
pub struct UnknownFault(pub String);

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, what) = text.split_once(':').unwrap_or((text, ""));
        let fault = match (name, what) {
            ("unreachable", "") => Self::Unreachable,
            ("auth-refused", "") => Self::AuthRefused,
            ("k3s-wont-start", "") => Self::K3sWontStart,
            ("api-away", "") => Self::ApiAway,
            ("tar-fails", "") => Self::TarFails,
            ("disk-full", "") => Self::DiskFull,
            ("source-wont-fetch", "") => Self::SourceWontFetch,
            ("oas-secrets-stays", "") => Self::OasSecretsStays,
            ("secrets-conflict", "") => Self::SecretsConflict,
            ("app-never-ready", app) if !app.is_empty() => Self::AppNeverReady(app.to_owned()),
            ("loki-retries", "") => Self::LokiRetries,
            ("sso-empty-oauth", "") => Self::SsoEmptyOauth,
            ("connection-drops-at", at) if !at.is_empty() => Self::ConnectionDropsAt(at.to_owned()),
            ("connection-drops-after", at) if !at.is_empty() => Self::ConnectionDropsAfter(at.to_owned()),
            ("command-hangs", at) if !at.is_empty() => Self::CommandHangs(at.to_owned()),
            ("command-fails", at) if !at.is_empty() => Self::CommandFails(at.to_owned()),
            ("reboots-at", at) if !at.is_empty() => Self::RebootsAt(at.to_owned()),
            ("reboots-after", at) if !at.is_empty() => Self::RebootsAfter(at.to_owned()),
            ("no-room", "") => Self::NoRoom,
            ("clock-ahead", "") => Self::ClockAhead,
            ("clock-behind", "") => Self::ClockBehind,
            ("hostile-output", "") => Self::HostileOutput,
            ("noisy-shell", "") => Self::NoisyShell,
            ("mixed-version", "") => Self::MixedVersion,
            ("development-branch", "") => Self::DevelopmentBranch,
            ("containers-keep-writing", "") => Self::ContainersKeepWriting,
            ("missing-wekan", "") => Self::MissingWekan,
            ("failing-pod", "") => Self::FailingPod,
            ("pending-release", "") => Self::PendingRelease,
            ("no-internet", "") => Self::NoInternet,
            ("webhook-away", "") => Self::WebhookAway,
            ("old-onlyoffice", "") => Self::OldOnlyoffice,
            _ => return Err(UnknownFault(text.to_owned())),
        };
        Ok(fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, what) = match self {
            Self::Unreachable => ("unreachable", ""),
            Self::AuthRefused => ("auth-refused", ""),
            Self::K3sWontStart => ("k3s-wont-start", ""),
            Self::ApiAway => ("api-away", ""),
            Self::TarFails => ("tar-fails", ""),
            Self::DiskFull => ("disk-full", ""),
            Self::SourceWontFetch => ("source-wont-fetch", ""),
            Self::OasSecretsStays => ("oas-secrets-stays", ""),
            Self::SecretsConflict => ("secrets-conflict", ""),
            Self::AppNeverReady(app) => ("app-never-ready", app.as_str()),
            Self::LokiRetries => ("loki-retries", ""),
            Self::SsoEmptyOauth => ("sso-empty-oauth", ""),
            Self::ConnectionDropsAt(at) => ("connection-drops-at", at.as_str()),
            Self::ConnectionDropsAfter(at) => ("connection-drops-after", at.as_str()),
            Self::CommandHangs(at) => ("command-hangs", at.as_str()),
            Self::CommandFails(at) => ("command-fails", at.as_str()),
            Self::RebootsAt(at) => ("reboots-at", at.as_str()),
            Self::RebootsAfter(at) => ("reboots-after", at.as_str()),
            Self::NoRoom => ("no-room", ""),
            Self::ClockAhead => ("clock-ahead", ""),
            Self::ClockBehind => ("clock-behind", ""),
            Self::HostileOutput => ("hostile-output", ""),
            Self::NoisyShell => ("noisy-shell", ""),
            Self::MixedVersion => ("mixed-version", ""),
            Self::DevelopmentBranch => ("development-branch", ""),
            Self::ContainersKeepWriting => ("containers-keep-writing", ""),
            Self::MissingWekan => ("missing-wekan", ""),
            Self::FailingPod => ("failing-pod", ""),
            Self::PendingRelease => ("pending-release", ""),
            Self::NoInternet => ("no-internet", ""),
            Self::WebhookAway => ("webhook-away", ""),
            Self::OldOnlyoffice => ("old-onlyoffice", ""),
        };
        f.write_str(name)?;
        if what.is_empty() { Ok(()) } else { write!(f, ":{what}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_fault_is_read_and_written_alike() {
        for (text, _) in HELP {
            let text = text.replace("TEXT", "tar").replace("APP", "wekan");
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
        }
        assert!("app-never-ready".parse::<Fault>().is_err(), "it must name an application");
        assert!("unreachable:x".parse::<Fault>().is_err());
    }
}
