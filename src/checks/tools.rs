//! Programs that the steps need on the host.

use super::{Check, Verdict, When, judged, listed};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "tools",
    title: "Programs on the host",
    when: When::Before,
    judge,
    remedy: "Install what is missing with the host's package manager: coreutils, findutils, tar and curl are all that is \
             needed besides k3s.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let tools = now.tools.get()?;
        Ok(if !tools.missing.is_empty() {
            Verdict::block(format!("the host's PATH does not have: {}", listed(&tools.missing, ", ")))
        } else if tools.tar.contains("GNU tar") {
            Verdict::pass(format!("every needed program is there; {}", tools.tar))
        } else {
            let tar = &tools.tar;
            Verdict::warn(format!(
                "tar is not GNU tar ({tar:?}): sparse files and attributes may not be kept"
            ))
        })
    })
}
