//! Claims to volumes: one that lost its volume has lost its data.

use super::{Check, Findings, Verdict, When, counted, judged};
use crate::event::Level;
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "claims",
    title: "Claims to volumes",
    when: When::Before,
    judge,
    remedy: "Look at `k3s kubectl describe pvc -n NAMESPACE NAME`. A claim that no pod uses stays Pending and may be deleted; a \
             Lost one needs its volume back, from a backup.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let claims = now.claims.get()?;
        let mut findings = Findings::default();
        for claim in claims.iter().filter(|claim| claim.phase != "Bound") {
            // Stackspin's storage class binds at the first use: an unused claim is Pending for ever.
            let level = if claim.phase == "Pending" { Level::Warn } else { Level::Block };
            findings.add(level, format!("{}/{} is {}", claim.namespace, claim.name, claim.phase));
        }
        Ok(findings.verdict(match claims.len() {
            0 => "there is no claim".to_owned(),
            number => format!("{}, all bound", counted(number, "claim")),
        }))
    })
}
