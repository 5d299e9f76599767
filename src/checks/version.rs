//! The installed version: only a cluster whose evidence agrees may be upgraded.

use super::{Check, Verdict, When, judged, listed};
use crate::facts::{Facts, Installed};
use crate::version::Version;

pub(super) const CHECK: Check = Check {
    id: "version",
    title: "Installed version",
    when: When::Before,
    judge,
    remedy: "Finish or undo the upgrade that the evidence shows half done, or put a development cluster on a release branch. \
             What is older than 0.6 is rebuilt, not upgraded: see docs/migrations.md.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        // The version is read out of these two; without them the sentence should name the fact that is missing.
        now.flux.get()?;
        now.identity.get()?;
        Ok(judge_installed(&now.installed()))
    })
}

fn judge_installed(installed: &Installed) -> Verdict {
    match installed {
        Installed::Version(version) if *version < Version::V0_6 => {
            Verdict::warn(format!("{version} is installed, which cannot be upgraded in place"))
        }
        Installed::Version(version) => Verdict::pass(format!("{version} is installed")),
        Installed::Mixed(reasons) => {
            Verdict::block(format!("the cluster is between versions: {}", listed(reasons, "; ")))
        }
        Installed::Development(branch) => {
            Verdict::block(format!("the source follows {branch:?}, which is no release"))
        }
        Installed::Unknown(why) => Verdict::block(format!("the version cannot be told: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;

    #[test]
    fn only_a_plain_version_from_0_6_on_passes() {
        let level = |installed: Installed| judge_installed(&installed).level;
        assert_eq!(level(Installed::Version(Version::V0_6)), Level::Pass);
        assert_eq!(level(Installed::Version(Version::V2)), Level::Pass);
        assert_eq!(level(Installed::Version(Version::V0_5)), Level::Warn);
        assert_eq!(level(Installed::Mixed(vec!["both sources are there".into()])), Level::Block);
        assert_eq!(level(Installed::Development("main".into())), Level::Block);
        assert_eq!(level(Installed::Unknown("no source".into())), Level::Block);
    }
}
