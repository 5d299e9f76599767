//! Stackspin's Flux source: there, healthy, and at the branch it is told to follow.

use super::{Check, Verdict, When, is_stackspin, judged, listed, not_ready, short, shown_revision};
use crate::facts::Facts;
use crate::facts::flux::Source;
use crate::version::Revision;

pub(super) const CHECK: Check = Check {
    id: "flux-source",
    title: "Stackspin's Flux source",
    when: When::Always,
    judge,
    remedy: "Look at `k3s kubectl describe gitrepositories.source.toolkit.fluxcd.io -n flux-system`. A source that was given \
             another branch while suspended fetches it once it is resumed.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let flux = now.flux.get()?;
        let ours: Vec<&Source> = flux
            .sources
            .iter()
            .filter(|source| source.namespace == "flux-system" && is_stackspin(&source.name))
            .collect();
        match ours.as_slice() {
            [] if now.is_before_flux_2()? => Ok(Verdict::pass("0.5 and older have no source")),
            [] => Ok(Verdict::block("flux-system has no source openappstack or stackspin")),
            [source] => Ok(judge_source(source)),
            several => {
                let names = listed(several.iter().map(|source| source.name.as_str()), " and ");
                Ok(Verdict::block(format!("flux-system has both {names}: a renaming was left half done")))
            }
        }
    })
}

fn judge_source(source: &Source) -> Verdict {
    let Source { name, branch, revision, ready, .. } = source;
    let Some(fetched) = Revision::parse(revision) else {
        return Verdict::block(format!("{name} has fetched nothing that can be read: {revision:?}"));
    };
    let shown = shown_revision(revision);
    // A tag or commit is written `tag:v0.7`, and its revision may name no branch.
    if !branch.contains(':') && fetched.branch != *branch {
        return Verdict::block(format!("{name} should follow {branch:?}, but has fetched {shown}"));
    }
    if source.suspended && ready.status == "False" {
        // It is resumed during the upgrade, and would then fail again.
        let why = short(&ready.message);
        Verdict::warn(format!("{name} is suspended with {shown}, and its last fetch failed: {why}"))
    } else if source.suspended {
        Verdict::pass(format!(
            "{name} has fetched {shown}; suspended, as is normal outside its nightly window"
        ))
    } else if let Some(lacks) = not_ready(ready) {
        Verdict::block(format!("{name} {lacks}"))
    } else {
        Verdict::pass(format!("{name} has fetched {shown}"))
    }
}
