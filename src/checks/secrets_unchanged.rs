//! Secrets before and after: applications and their databases share them, so one made anew locks an application out.

use super::secrets::is_kept;
use super::{Check, Findings, Verdict, When, counted, earlier, judged};
use crate::event::Level;
use crate::facts::secrets::Secret;
use crate::facts::{Facts, Unknown, renamed};
use crate::plan::Object;

/// The one secret that an upgrade may add keys to: the guide adds `wekan_oauth_client_secret` where it is missing.
const MAY_GROW: &str = "oas-oauth-variables";

pub(super) const CHECK: Check = Check {
    id: "secrets-unchanged",
    title: "Secrets as before",
    when: When::After,
    judge,
    remedy: "Bring the named secret back from this upgrade's backup, then let Flux reconcile the application. Do not change the \
             database's password instead.",
};

fn judge(before: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let before = earlier(before)?.secrets.get()?;
        let (facts, now) = (now, now.secrets.get()?);
        let mut findings = Findings::default();
        let kept: Vec<&Secret> = before.iter().filter(|secret| must_stay(secret)).collect();
        for was in &kept {
            let name = format!("{}/{}", was.namespace, was.name);
            let found = |object: &Object| {
                now.iter().find(|is| is.namespace == object.namespace && is.name == object.name)
            };
            let own = Object::secret(&was.namespace, &was.name);
            let found_own = found(&own);
            match (found_own, found_own.is_none() && went(was, facts)?) {
                (None, true) if renamed::is_carried(was) => {
                    let new = renamed::object(&own);
                    match found(&new) {
                        None => findings.add(Level::Block, format!("{name} is gone, and {new} is not there")),
                        Some(is) if is.hash == was.hash => {}
                        Some(_) => findings.add(Level::Block, format!("{new} differs from {name} of before")),
                    }
                }
                (None, true) => {
                    let said = format!("{name} went with its namespace; the backup has it");
                    findings.add(Level::Warn, said);
                }
                (None, false) => findings.add(Level::Block, format!("{name} is gone")),
                (Some(is), _) if is.hash == was.hash => {}
                (Some(is), _) if was.name == MAY_GROW && has_grown(was, is) => {
                    findings.add(Level::Warn, format!("{name} has got more keys"));
                }
                (Some(_), _) => findings.add(Level::Block, format!("{name} differs from before")),
            }
        }
        Ok(findings.verdict(format!("{}, each as before", counted(kept.len(), "secret"))))
    })
}

/// Whether an upgrade must leave a secret alone. Until 0.6 a Helm chart owns Stackspin's secrets, so the ten count
/// although a controller manages them.
fn must_stay(secret: &Secret) -> bool {
    is_kept(&secret.namespace, &secret.name) || !secret.managed && !secret.namespace.starts_with("kube-")
}

/// Whether its namespace is one that 0.8 does not have, and is gone.
fn went<'a>(was: &Secret, now: &'a Facts) -> Result<bool, &'a Unknown> {
    if !renamed::goes(&was.namespace) {
        return Ok(false);
    }
    Ok(!now.identity.get()?.namespaces.contains(&was.namespace))
}

/// Whether the secret has every key of before, and others.
fn has_grown(was: &Secret, is: &Secret) -> bool {
    is.keys.len() > was.keys.len() && was.keys.iter().all(|key| is.keys.contains(key))
}
