//! Helm releases: Ready, of the present generation, and at the chart version that is wanted.

use super::{Check, Findings, Verdict, When, counted, is_stackspin, judged, not_ready};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::flux::{Flux, Release};

pub(super) const CHECK: Check = Check {
    id: "releases",
    title: "Helm releases at the wanted version",
    when: When::Always,
    judge,
    remedy: "Look at `k3s kubectl describe helmreleases.helm.toolkit.fluxcd.io -n NAMESPACE NAME`. One whose retries are \
             exhausted starts anew when it is suspended and resumed.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let flux = now.flux.get()?;
        if now.is_before_flux_2()? {
            return Ok(Verdict::pass("the releases of 0.5 and older are not looked at"));
        }
        let mut findings = Findings::default();
        if flux.releases.is_empty() {
            findings
                .add(Level::Block, "there is no Helm release: Stackspin's applications are gone".to_owned());
        }
        for release in &flux.releases {
            let name = format!("{}/{}", release.namespace, release.name);
            if release.suspended {
                findings.add(Level::Warn, format!("{name} is suspended"));
            } else if let Some(fault) = fault(release) {
                let level = if is_foreign(flux, release) { Level::Warn } else { Level::Block };
                findings.add(level, format!("{name} {fault}"));
            }
        }
        Ok(findings.verdict(format!(
            "{}, each Ready at the wanted version",
            counted(flux.releases.len(), "release")
        )))
    })
}

/// Whether a release comes from another source than Stackspin's. One without an owner counts as Stackspin's.
fn is_foreign(flux: &Flux, release: &Release) -> bool {
    flux.kustomizations.iter().any(|owner| owner.name == release.owner && !is_stackspin(&owner.source))
}

/// What is wrong with a release that is not suspended.
fn fault(release: &Release) -> Option<String> {
    let Release { wanted, applied, attempted, ready, .. } = release;
    if let Some(lacks) = not_ready(ready) {
        Some(lacks)
    } else if applied.is_empty() {
        Some("is Ready, but no chart version is installed".to_owned())
    } else if !attempted.is_empty() && bare(applied) != bare(attempted) {
        Some(format!("is Ready at chart {applied}, but {attempted} was tried last"))
    } else if is_exact(wanted) && bare(applied) != bare(wanted) {
        Some(format!("is Ready at chart {applied}, but {wanted} is wanted"))
    } else {
        None
    }
}

/// A chart version without the `v` and the build part (`+sha`) that Flux adds to charts from Git and OCI.
fn bare(version: &str) -> &str {
    let version = version.strip_prefix('v').unwrap_or(version);
    version.split_once('+').map_or(version, |(version, _)| version)
}

/// Whether a wanted version is one version (`1.2.3`, `1.2.3-rc.1`), not a range (`>=1.2`, `1.x`, `1.2`, ` *`).
fn is_exact(wanted: &str) -> bool {
    let core = bare(wanted).split('-').next().unwrap_or_default();
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_not_one_version() {
        for exact in ["1.2.3", "v1.2.3", "1.2.3-rc.1", "2.5.2+sha.1"] {
            assert!(is_exact(exact), "{exact}");
        }
        for range in
            ["", "*", "1", "1.2", "1.2.x", ">=1.2.3", "^1.2.3", "~1.2.3", "1.2.3 - 2.0.0", "1.2.3 || 2"]
        {
            assert!(!is_exact(range), "{range}");
        }
    }

    #[test]
    fn what_flux_adds_to_a_version_does_not_make_it_another() {
        assert_eq!(bare("v1.2.3+6d5f1e9"), bare("1.2.3"));
        assert_ne!(bare("1.2.3-rc.1"), bare("1.2.3"));
    }
}
