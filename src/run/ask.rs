//! What only a person can do: where a run stops for it, and how it goes on once the person has said so.
//!
//! Nothing is asked of the host for it. A rung that is rebuilt ends with such steps, and its old cluster may be gone by then.

use std::io;
use std::path::Path;

use super::saved::find;
use crate::backup::Folder;
use crate::event::{Failure, Left, Outcome, What};
use crate::files::read_json;
use crate::journal::Journal;
use crate::migrations;
use crate::plan::{Action, Ask, Plan, Step};
use crate::remote::printable;
use crate::run::Position;
use crate::state::ClusterFolder;

/// What the failure is called.
pub const ASKED: &str = "asked";

/// The outcome of a cluster that waits for a person.
#[must_use]
pub fn asked(step: &Step, what: &Ask, state: Left) -> Outcome {
    let said = format!("{}. {}", step.title, what.lines.join(" "));
    let failure = Failure::new(ASKED, said).read("docs/rebuild.md#what-is-asked-of-you");
    Outcome::Asked { step: step.id.clone(), state, failure }
}

/// The step that a cluster waits for, as its journal ends: the first that is not done, where it is a person's.
#[must_use]
pub fn open<'a>(plan: &'a Plan, from: &Position) -> Option<(&'a Step, &'a Ask)> {
    let rung = from.rung.as_ref()?;
    let step = plan.steps.iter().find(|step| !rung.is_done(&step.id))?;
    match &step.action {
        Action::Ask(what) => Some((step, what)),
        _ => None,
    }
}

/// How a cluster stands of which nothing is left but what a person does: it still waits, or it is done. None where there is more to do, which
/// the host must be asked for; so it is where the person has done nothing yet and what is to be put back lies on a machine that is lost.
pub fn standing(
    cluster: &str,
    folder: &ClusterFolder,
    backups: &Path,
    from: &Position,
) -> io::Result<Option<Outcome>> {
    let Some(rung) = from.rung.as_ref().filter(|rung| migrations::is_rebuilt(&rung.migration)) else {
        return Ok(None);
    };
    let plan: Plan = match read_json(&folder.path().join(&rung.migration).join("plan.json")) {
        Ok(plan) => plan,
        // Whoever is asked next tells what is wrong with it.
        Err(_) => return Ok(None),
    };
    let own = |step: &&Step| matches!(step.action, Action::Ask(_));
    if plan.steps.iter().any(|step| !own(&step) && !rung.is_done(&step.id)) {
        return Ok(None);
    }
    let begun = plan.steps.iter().any(|step| own(&step) && rung.is_done(&step.id));
    let backup = find(backups, cluster, rung.backup.as_ref());
    if !begun && backup.is_none_or(|backup| backup.manifest().is_err()) {
        return Ok(None);
    }
    let next = open(&plan, from).map(|(step, what)| asked(step, what, from.left()));
    Ok(Some(next.unwrap_or(Outcome::Done)))
}

/// The outcome of a cluster that comes to such a step. Which claim lay in which folder of the host is written down for the report: what the guide
/// has an operator note before the old cluster goes.
pub(super) fn stop(
    plan: &Plan,
    step: &Step,
    what: &Ask,
    state: Left,
    folder: &Folder,
    journal: &mut Journal,
) -> io::Result<Outcome> {
    let mut told = vec![format!("the backup is {}/{}", folder.cluster(), folder.id())];
    for volume in plan.steps.iter().flat_map(|step| match &step.action {
        Action::Backup(copy) => copy.volumes.as_slice(),
        _ => &[],
    }) {
        let claim = if volume.claim.is_empty() {
            "no claim"
        } else {
            &format!("{}/{}", volume.namespace, volume.claim)
        };
        told.push(format!("{claim}: volume {}, folder {}", volume.volume, volume.folder));
    }
    for text in told {
        journal.record(What::Noted { step: step.id.clone(), text: printable(&text) })?;
    }
    Ok(asked(step, what, state))
}
