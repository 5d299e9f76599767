//! Operating system and processor: is this a machine that Stackspin is installed on?

use super::{Check, Verdict, When, judged};
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "os",
    title: "Operating system and processor",
    when: When::Before,
    judge,
    remedy: "Upgrade the system to Debian 11 or 12 first. On another Debian or Linux, rehearse one such host before you \
             acknowledge the warning.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let os = now.os.get()?;
        let name = if os.name.is_empty() { "a system without a name" } else { &os.name };
        let seen = format!("{name}, {}, kernel {}", os.arch, os.kernel);
        Ok(match (os.id.as_str(), os.version.as_str(), os.arch.as_str()) {
            ("" | "freebsd" | "openbsd" | "netbsd" | "dragonfly" | "darwin", ..) => {
                Verdict::block(format!("this is no Linux that can run k3s: {seen}"))
            }
            (.., arch) if !matches!(arch, "x86_64" | "aarch64") => {
                Verdict::block(format!("Stackspin's images do not run on this processor: {seen}"))
            }
            ("debian", "11" | "12", _) => Verdict::pass(seen),
            _ => Verdict::warn(format!("not Debian 11 or 12, which are known to work: {seen}")),
        })
    })
}
