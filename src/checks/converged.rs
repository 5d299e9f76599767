//! Kustomizations: Ready, of the present generation, and at the revision their source has fetched. Ready alone is the
//! state of before a branch was switched (facts section 5.2).

use super::{Check, Findings, Verdict, When, counted, is_stackspin, judged, not_ready, shown_revision};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::flux::{Flux, Kustomization};
use crate::version::Revision;

pub(super) const CHECK: Check = Check {
    id: "converged",
    title: "Kustomizations at the fetched revision",
    when: When::Always,
    judge,
    remedy: "Look at `k3s kubectl get kustomizations.kustomize.toolkit.fluxcd.io -A`: cure the first that fails, those that \
             depend on it follow by themselves. Resume what is suspended, or acknowledge that it stays as it is.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let flux = now.flux.get()?;
        if now.is_before_flux_2()? {
            return Ok(Verdict::pass("0.5 and older have no kustomizations"));
        }
        let mut findings = Findings::default();
        for one in &flux.kustomizations {
            let ours = is_stackspin(&one.source);
            if one.suspended {
                findings.add(Level::Warn, format!("{} is suspended", one.name));
            } else if let Some(fault) = fault(flux, one) {
                findings.add(if ours { Level::Block } else { Level::Warn }, fault);
            }
        }
        let ours = flux.kustomizations.iter().filter(|one| is_stackspin(&one.source)).count();
        if ours == 0 {
            findings.add(Level::Block, "there is no kustomization of Stackspin".to_owned());
        }
        Ok(findings
            .verdict(format!("{}, each Ready at its source's revision", counted(ours, "kustomization"))))
    })
}

/// What is wrong with a kustomization that is not suspended.
fn fault(flux: &Flux, one: &Kustomization) -> Option<String> {
    let name = &one.name;
    if let Some(lacks) = not_ready(&one.ready) {
        return Some(format!("{name} {lacks}"));
    }
    let Some(source) = flux.sources.iter().find(|source| source.name == one.source) else {
        // Sources of other kinds (buckets, OCI) are not asked for; Stackspin's own is a GitRepository.
        return is_stackspin(&one.source)
            .then(|| format!("the source of {name}, {}, is not there", one.source));
    };
    let at = Revision::parse(&one.applied);
    (at.is_none() || at != Revision::parse(&source.revision)).then(|| {
        let (applied, fetched) = (shown_revision(&one.applied), shown_revision(&source.revision));
        format!("{name} is Ready with {applied}, but its source has fetched {fetched}")
    })
}
