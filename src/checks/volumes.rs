//! Volumes: each in use, and in a folder of the host that can be copied. The policy `Delete` is Stackspin's normal one.

use super::{Check, Findings, Verdict, When, counted, judged};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::volumes::Volume;
use crate::form::bytes;

pub(super) const CHECK: Check = Check {
    id: "volumes",
    title: "Volumes and their folders",
    when: When::Before,
    judge,
    remedy: "Find out whose data a volume without a claim holds, before anything else: save it, then delete the volume or bind \
             it again. What is not a folder on the host must be backed up by other means and moved first.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let volumes = now.volumes.get()?;
        let mut findings = Findings::default();
        if volumes.is_empty() {
            findings.add(Level::Warn, "there is no volume: no user's data would be in the backup".to_owned());
        }
        for volume in volumes {
            if let Some((level, found)) = fault(volume) {
                findings.add(level, found);
            }
        }
        let used = bytes(volumes.iter().map(|volume| volume.used).sum());
        let deleted = volumes.iter().filter(|volume| volume.policy == "Delete").count();
        let policy = match deleted {
            0 => "none is deleted with its claim".to_owned(),
            1 => "1 would be deleted with its claim".to_owned(),
            many => format!("{many} would be deleted with their claims"),
        };
        Ok(findings.verdict(format!("{} with {used}, all bound; {policy}", counted(volumes.len(), "volume"))))
    })
}

fn fault(volume: &Volume) -> Option<(Level, String)> {
    let Volume { name, phase, folder, policy, .. } = volume;
    if folder.is_empty() {
        return Some((Level::Block, format!("{name} is not a folder on the host: it cannot be copied")));
    }
    if !volume.exists {
        return Some((Level::Block, format!("the folder of {name} is not there: {folder}")));
    }
    match phase.as_str() {
        "Bound" => None,
        "Available" => Some((Level::Warn, format!("{name} is not used by any claim"))),
        "Released" => {
            let (namespace, claim) = (&volume.claim_namespace, &volume.claim);
            // Kept, its folder is copied like any other; to be deleted, it may go at any moment of the upgrade.
            let level = if policy == "Retain" { Level::Warn } else { Level::Block };
            Some((level, format!("{name} has lost its claim {namespace}/{claim} (policy {policy})")))
        }
        _ => Some((Level::Block, format!("{name} is {phase:?}"))),
    }
}
