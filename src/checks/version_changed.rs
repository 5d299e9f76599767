//! The version before and after: an upgrade that changed nothing was none.

use super::{Check, Verdict, When, earlier, judged, listed};
use crate::facts::{Facts, Installed};
use crate::version::Version;

pub(super) const CHECK: Check = Check {
    id: "version-changed",
    title: "A newer version than before",
    when: When::After,
    judge,
    remedy: "See what the checks flux-source and converged say: the branch, or what Flux made of it, is not where it should be.",
};

fn judge(before: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let before = earlier(before)?;
        for facts in [before, now] {
            facts.flux.get()?;
            facts.identity.get()?;
        }
        Ok(judge_change(&before.installed(), &now.installed()))
    })
}

fn judge_change(before: &Installed, now: &Installed) -> Verdict {
    match (before, now) {
        (Installed::Version(before), Installed::Version(now)) if now > before => {
            let between = Version::ALL.iter().filter(|between| *between > before && *between < now).count();
            if between == 0 {
                Verdict::pass(format!("{before} before, {now} now"))
            } else {
                Verdict::warn(format!("{before} before, {now} now: versions between them were skipped"))
            }
        }
        (Installed::Version(before), Installed::Version(now)) => {
            Verdict::block(format!("{now} is installed, and {before} was before"))
        }
        (_, Installed::Version(now)) => {
            Verdict::block(format!("{now} is installed, but the version before is not known"))
        }
        (_, Installed::Mixed(reasons)) => {
            Verdict::block(format!("the cluster is between versions: {}", listed(reasons, "; ")))
        }
        (_, Installed::Development(branch)) => {
            Verdict::block(format!("the source follows {branch:?}, which is no release"))
        }
        (_, Installed::Unknown(why)) => Verdict::block(format!("the version cannot be told: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;

    #[test]
    fn only_the_next_version_passes() {
        let is = Installed::Version;
        let level = |before: &Installed, now: &Installed| judge_change(before, now).level;
        assert_eq!(level(&is(Version::V0_6), &is(Version::V0_7)), Level::Pass);
        assert_eq!(level(&is(Version::V0_6), &is(Version::V0_8)), Level::Warn);
        assert_eq!(level(&is(Version::V0_6), &is(Version::V0_6)), Level::Block);
        assert_eq!(level(&is(Version::V0_7), &is(Version::V0_6)), Level::Block);
        for unclear in [
            Installed::Mixed(vec!["both sources are there".into()]),
            Installed::Development("main".into()),
            Installed::Unknown("no source".into()),
        ] {
            assert_eq!(level(&is(Version::V0_6), &unclear), Level::Block);
            assert_eq!(level(&unclear, &is(Version::V0_7)), Level::Block);
        }
    }
}
