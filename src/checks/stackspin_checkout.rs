//! The Stackspin checkout on the provisioning machine, out of which upstream's scripts are run.

use super::{Check, Findings, Verdict, When, judged, of_scripts};
use crate::event::Level;
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "stackspin-checkout",
    title: "Stackspin checkout here",
    when: When::Before,
    judge,
    remedy: "Name the checkout in the inventory (stackspin = \"…\"), fetch the release's branch into it (git fetch origin), and see that the \
             cluster's folder lies in its clusters/.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let scripts = of_scripts(now)?;
        let (checkout, release) = (&scripts.checkout, &scripts.release);
        let mut found = Findings::default();
        let short = |commit: &str| commit.chars().take(12).collect::<String>();
        let well = match (&scripts.commit, &scripts.fetched) {
            (None, _) => {
                found.add(Level::Block, format!("{checkout} has no branch {release}, nor one of origin"));
                String::new()
            }
            (Some(commit), None) => format!("{checkout} has {release} at {}", short(commit)),
            (Some(commit), Some(fetched)) => {
                let said = format!(
                    "{release} in {checkout} is at {}, but origin's was at {} when it was fetched last",
                    short(commit),
                    short(fetched)
                );
                found.add(Level::Warn, said);
                String::new()
            }
        };
        if !scripts.folder_there {
            found.add(Level::Block, format!("{checkout} has no folder clusters/{}", scripts.folder));
        }
        Ok(found.verdict(well))
    })
}
