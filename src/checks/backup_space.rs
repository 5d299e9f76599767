//! Room for this cluster's backup on the provisioning machine.

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;
use crate::form::bytes;

pub(super) const CHECK: Check = Check {
    id: "backup-space",
    title: "Room for the backup here",
    when: When::Before,
    judge,
    remedy: "Make room under the backup root or point it at a larger disk. All clusters of a run share it: add their needs.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let here = now.here.get()?;
        let volumes: u64 = now.volumes.get()?.iter().map(|volume| volume.used).sum();
        let data = volumes.saturating_add(now.k3s.get()?.size);
        // Archives of data that does not compress are a little larger than the data.
        let need = data.saturating_add(data.div_ceil(10));
        let seen =
            format!("the backup needs up to {}, {} has {} free", bytes(need), here.backups, bytes(here.free));
        Ok(if here.free < need {
            Verdict::block(seen)
        } else if here.free < need.saturating_mul(2) {
            Verdict::warn(format!("{seen}: too little for a second one"))
        } else {
            Verdict::pass(seen)
        })
    })
}
