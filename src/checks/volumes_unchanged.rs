//! Volumes before and after: the same claims hold the same volumes, in the same folders, with their data.

use super::{Check, Findings, Verdict, When, counted, earlier, judged};
use crate::event::Level;
use crate::facts::claims::Claim;
use crate::facts::volumes::Volume;
use crate::facts::{Facts, renamed};
use crate::form::bytes;

pub(super) const CHECK: Check = Check {
    id: "volumes-unchanged",
    title: "Volumes and their data as before",
    when: When::After,
    judge,
    remedy: "Stop the application (scale it to 0) before it writes into an empty volume, and compare with the backup's map of \
             claims, volumes and folders. Nothing is lost while the backup is there.",
};

fn judge(before: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let before = earlier(before)?;
        let (old_volumes, old_claims) = (before.volumes.get()?, before.claims.get()?);
        let (volumes, claims) = (now.volumes.get()?, now.claims.get()?);
        let mut findings = Findings::default();
        let bound: Vec<&Claim> = old_claims.iter().filter(|claim| claim.phase == "Bound").collect();
        for was in &bound {
            let old = old_volumes.iter().find(|volume| volume.name == was.volume);
            let new = volumes.iter().find(|volume| volume.name == was.volume);
            let holder = claims.iter().find(|claim| claim.volume == was.volume && claim.phase == "Bound");
            if let Some((level, fault)) = fault(was, holder, old, new) {
                findings.add(level, format!("{}/{}: {fault}", was.namespace, was.name));
            }
        }
        Ok(findings
            .verdict(format!("{}, each with the volume and folder of before", counted(bound.len(), "claim"))))
    })
}

fn fault(
    was: &Claim,
    holder: Option<&Claim>,
    old: Option<&Volume>,
    new: Option<&Volume>,
) -> Option<(Level, String)> {
    let volume = &was.volume;
    let Some(old) = old else {
        return Some((Level::Block, format!("its volume {volume} is missing in the facts from before")));
    };
    let Some(new) = new else { return Some((Level::Block, format!("its volume {volume} is gone"))) };
    let Some(holder) = holder else {
        return Some((Level::Block, format!("no claim holds {volume} any more")));
    };
    if holder.name != was.name
        || holder.namespace != renamed::namespace(&was.namespace) && holder.namespace != was.namespace
    {
        let (namespace, name) = (&holder.namespace, &holder.name);
        Some((Level::Block, format!("its volume {volume} is now held by {namespace}/{name}")))
    } else if new.folder != old.folder {
        Some((Level::Block, format!("its folder was {}, and is {} now", old.folder, new.folder)))
    } else if !new.exists {
        Some((Level::Block, format!("its folder is gone: {}", new.folder)))
    } else if new.used < old.used >> 1 {
        let (old, new) = (bytes(old.used), bytes(new.used));
        Some((Level::Warn, format!("it held {old} before, and {new} now")))
    } else {
        None
    }
}
