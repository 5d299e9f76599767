//! A package manager at work may restart k3s, or the host, in the middle of an upgrade.

use super::{Check, Verdict, When, judged, listed};
use crate::facts::Facts;

/// These look for news, and never install anything themselves.
const HARMLESS: [&str; 2] = ["apt-check", "apt-file"];

pub(super) const CHECK: Check = Check {
    id: "package-manager",
    title: "Package manager at rest",
    when: When::Before,
    judge,
    remedy: "Wait until it is done, or see what it waits for (`ps -ef | grep -e apt -e dpkg`). Never kill dpkg.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let busy = &now.packages.get()?.busy;
        let seen = format!("at work: {}", listed(busy, ", "));
        Ok(if busy.is_empty() {
            Verdict::pass("no package manager is at work")
        } else if busy.iter().all(|name| HARMLESS.contains(&name.as_str())) {
            Verdict::warn(seen)
        } else {
            Verdict::block(seen)
        })
    })
}
