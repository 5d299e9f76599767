//! The applications' pages: what does not answer before the upgrade, and what no longer does after it.

use super::{Check, Findings, Verdict, When, counted, judged, short};
use crate::event::Level;
use crate::facts::Facts;
use crate::facts::web::Page;

pub(super) const CHECK: Check = Check {
    id: "web",
    title: "Web pages of the applications",
    when: When::Always,
    judge,
    remedy: "Open the page, and look at its application's pods and certificate. After an upgrade give a slow application some \
             minutes and check again.",
};

fn judge(before: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let pages = now.web.get()?;
        let earlier: &[Page] = match before {
            Some(before) => before.web.get()?,
            None => &[],
        };
        let mut findings = Findings::default();
        if pages.is_empty() && earlier.is_empty() {
            findings.add(Level::Warn, "no application has a web page".to_owned());
        }
        for gone in earlier.iter().filter(|was| !pages.iter().any(|page| page.host == was.host)) {
            let level = if expected(before, now, gone, earlier) { Level::Warn } else { Level::Block };
            findings.add(level, format!("{} is gone", gone.host));
        }
        for page in pages {
            let was = earlier.iter().find(|was| was.host == page.host);
            match was {
                Some(was) if is_fine(was) && (!is_fine(page) || page.status == 404 && was.status != 404) => {
                    findings.add(Level::Block, format!("{} {}, since the upgrade", page.host, seen(page)));
                }
                _ if !is_fine(page) => findings.add(Level::Warn, format!("{} {}", page.host, seen(page))),
                _ => {}
            }
        }
        Ok(findings.verdict(format!("{} with a valid certificate", answers(pages.len()))))
    })
}

/// Whether it is the page of Rocket.Chat, in whose place 0.8 has Zulip (facts section 1). Where it has not its usual name, any page may be it.
fn expected(before: Option<&Facts>, now: &Facts, gone: &Page, earlier: &[Page]) -> bool {
    let has = |facts: &Facts, app: &str| facts.apps().iter().any(|one| one == app);
    let usual = |page: &Page| page.host.starts_with("rocketchat.");
    let replaced = before.is_some_and(|before| has(before, "rocketchat")) && !has(now, "rocketchat");
    replaced && (usual(gone) || !earlier.iter().any(usual))
}

fn answers(pages: usize) -> String {
    format!("{} {}", counted(pages, "page"), if pages == 1 { "answers" } else { "answer" })
}

/// Whether a page answers as it should. What asks for a login, or has nothing at its root (single sign-on), is fine:
/// the application answered.
fn is_fine(page: &Page) -> bool {
    page.trouble.is_empty() && page.certificate && (100..500).contains(&page.status)
}

fn seen(page: &Page) -> String {
    if !page.trouble.is_empty() {
        format!("does not answer: {}", short(&page.trouble))
    } else if page.certificate {
        format!("answers {}", page.status)
    } else {
        "has no valid certificate".to_owned()
    }
}
