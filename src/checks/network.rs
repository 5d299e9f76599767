//! What the host can reach: without Stackspin's repository Flux fetches nothing, without a registry no image comes.

use super::{Check, Findings, Verdict, When, judged, short};
use crate::event::Level;
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "network",
    title: "Repository and registries reachable",
    when: When::Before,
    judge,
    remedy: "Try the URL on the host with `curl -v`; look at its name server, firewall and proxy.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let reach = now.reach.get()?;
        // Nothing of Stackspin is fetched by a cluster that has no source.
        if !reach.iter().any(|one| one.what == "git") && !now.is_before_flux_2()? {
            return Err(Verdict::block("cannot be judged: it is not known where Stackspin's repository is"));
        }
        let mut findings = Findings::default();
        for one in reach.iter().filter(|one| !one.trouble.is_empty()) {
            let level = if one.what == "git" { Level::Block } else { Level::Warn };
            let (url, trouble) = (&one.url, short(&one.trouble));
            findings.add(level, format!("{} {url} cannot be reached: {trouble}", one.what));
        }
        Ok(findings.verdict(format!("all {} destinations answer", reach.len())))
    })
}
