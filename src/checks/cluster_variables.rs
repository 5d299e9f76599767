//! Cluster variables that upstream's installer refuses, or Flux puts in wrongly.

use super::{Check, Verdict, When, judged, listed};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "cluster-variables",
    title: "Cluster variables",
    when: When::Before,
    judge,
    remedy: "Change the value in the cluster's `.flux.env` to one without `\"` and `$` (at its origin too, e.g. the mail \
             password), and apply it.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let variables = now.variables.get()?;
        let secret = &variables.secret;
        if secret.is_empty() {
            return Ok(if now.is_before_flux_2()? {
                Verdict::pass("0.5 and older have their settings on the installer's machine")
            } else {
                Verdict::block("the secret with the cluster's variables is missing")
            });
        }
        let forbidden =
            listed(variables.forbidden.iter().map(|one| format!("{} has {}", one.key, one.character)), ", ");
        Ok(if !forbidden.is_empty() {
            Verdict::block(format!("{secret} has characters that Stackspin refuses: {forbidden}"))
        } else if variables.domain.is_empty() {
            Verdict::warn(format!("{secret} names no domain"))
        } else {
            Verdict::pass(format!("{secret} of {} has no character that Stackspin refuses", variables.domain))
        })
    })
}
