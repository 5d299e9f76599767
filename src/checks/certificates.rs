//! Certificates near their end.

use super::{Check, Findings, Verdict, When, counted, judged};
use crate::event::Level;
use crate::facts::Facts;

const DAY: i64 = 24 * 60 * 60;
/// cert-manager renews 30 days ahead: with less than this, renewal has been failing for a while.
const WARN_DAYS: i64 = 14;

pub(super) const CHECK: Check = Check {
    id: "certificates",
    title: "Certificates near their end",
    when: When::Before,
    judge,
    remedy: "k3s renews its own certificates when it is restarted. For those of the web pages look at `k3s kubectl describe \
             certificates.cert-manager.io -A`: the domain must point here and port 80 must be open.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let certificates = now.certificates.get()?;
        let mut findings = Findings::default();
        if certificates.is_empty() {
            findings.add(Level::Block, "no certificate was found, not even k3s' own".to_owned());
        }
        for one in certificates {
            let left = one.not_after.as_second() - now.gathered_at.as_second();
            let days = left.div_euclid(DAY);
            let what = &one.what;
            if left <= 0 {
                findings.add(Level::Block, format!("{what} has expired on {}", one.not_after));
            } else if days < WARN_DAYS {
                findings.add(Level::Warn, format!("{what} expires in {}", counted(days, "day")));
            }
        }
        let number = counted(certificates.len(), "certificate");
        Ok(findings.verdict(format!("{number}, none ends within {WARN_DAYS} days")))
    })
}
