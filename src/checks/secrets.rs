//! Stackspin's own secrets: those that an upgrade must carry over are there and filled.

use super::{Check, Findings, Verdict, When, judged, listed};
use crate::event::Level;
use crate::facts::Facts;

/// A secret that OpenAppStack 0.6 and 0.7 live by (facts section 3.4).
pub(super) struct Kept {
    namespace: &'static str,
    name: &'static str,
    /// The Helm release that cannot do without it; `None` where the cluster cannot.
    release: Option<&'static str>,
}

/// The ten secrets that the guide saves on the way to 0.7.
pub(super) const KEPT: [Kept; 10] = [
    kept("flux-system", "oas-cluster-variables", None),
    kept("flux-system", "oas-oauth-variables", None),
    kept("flux-system", "oas-single-sign-on-variables", Some("single-sign-on")),
    kept("flux-system", "oas-kube-prometheus-stack-variables", Some("kube-prometheus-stack")),
    kept("flux-system", "oas-nextcloud-variables", Some("nextcloud")),
    kept("flux-system", "oas-rocketchat-variables", Some("rocketchat")),
    kept("flux-system", "oas-wekan-variables", Some("wekan")),
    kept("flux-system", "oas-wordpress-variables", Some("wordpress")),
    kept("oas", "oas-prometheus-basic-auth", Some("kube-prometheus-stack")),
    kept("oas", "oas-alertmanager-basic-auth", Some("kube-prometheus-stack")),
];

const fn kept(namespace: &'static str, name: &'static str, release: Option<&'static str>) -> Kept {
    Kept { namespace, name, release }
}

/// Whether it is one of the ten.
pub(super) fn is_kept(namespace: &str, name: &str) -> bool {
    KEPT.iter().any(|kept| kept.namespace == namespace && kept.name == name)
}

pub(super) const CHECK: Check = Check {
    id: "secrets",
    title: "Stackspin's secrets",
    when: When::Always,
    judge,
    remedy: "Bring a missing secret back from a backup; never let it be made anew while its application's database has the old \
             password. An empty value is found by `k3s kubectl describe secret`, which shows lengths only.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let secrets = now.secrets.get()?;
        let flux = now.flux.get()?;
        let has = |namespace: &str, name: &str| {
            secrets.iter().any(|secret| secret.namespace == namespace && secret.name == name)
        };
        let mut findings = Findings::default();
        if flux.sources.iter().any(|source| source.name == "stackspin") {
            if !has("flux-system", "stackspin-cluster-variables") {
                findings.add(Level::Block, "flux-system/stackspin-cluster-variables is missing".to_owned());
            }
        } else if !now.is_before_flux_2()? {
            for Kept { namespace, name, release } in
                KEPT.iter().filter(|kept| !has(kept.namespace, kept.name))
            {
                let missing = format!("{namespace}/{name} is missing");
                match release {
                    None => findings.add(Level::Block, missing),
                    Some(release) if flux.releases.iter().any(|installed| installed.name == *release) => {
                        findings.add(Level::Warn, format!("{missing}, but {release} is installed"));
                    }
                    Some(_) => {}
                }
            }
        }
        // An empty cluster variable is an operator's choice (no mail server, say); an empty password is a fault that
        // breaks single sign-on in the middle of an upgrade (facts section 9).
        for secret in secrets.iter().filter(|secret| {
            secret.namespace == "flux-system"
                && secret.name.ends_with("-variables")
                && !secret.name.ends_with("-cluster-variables")
                && !secret.empty.is_empty()
        }) {
            let keys = listed(&secret.empty, ", ");
            findings.add(Level::Warn, format!("{}/{} is empty in {keys}", secret.namespace, secret.name));
        }
        Ok(findings.verdict("every secret that the installed applications need is there and filled"))
    })
}
