//! A whole restore of one cluster, from its plan, or from where its journal ends.

use super::changed::changed;
use super::remaining::remaining;
use super::resume::Start;
use super::{Wish, carry_out, gather, unasked};
use crate::backup::Folder;
use crate::event::{Failure, Outcome, What, When};
use crate::facts::Installed;
use crate::files::write_json;
use crate::journal::Journal;
use crate::plan::{Action, Plan};
use crate::remote::Remote;
use crate::run::Position;

/// Puts a backup back, as the plan says. The cluster need not answer before: it may be what is broken. `Err` is this machine's own trouble.
pub async fn put_back<R: Remote>(
    remote: &R,
    wish: Wish<'_>,
    plan: &Plan,
    from: &Position,
    journal: &mut Journal,
) -> std::io::Result<Outcome> {
    let what = plan.steps.iter().find_map(|step| match &step.action {
        Action::Restore(what) => Some(what),
        _ => None,
    });
    let Some(what) = what else {
        let said = "the stored plan puts nothing back; nothing was done";
        return Ok(Outcome::Refused {
            failure: Failure::new("stored-plan", said).read("docs/restore.md#refusals"),
        });
    };
    let (backup, of) = (&what.backup, what.onto.as_ref().map_or(&wish.cluster.name, |onto| &onto.of));
    let folder = match Folder::open(wish.backups, of, backup) {
        Ok(folder) => folder,
        Err(error) => {
            let path = wish.backups.join(of).join(backup);
            let said = format!("the backup {} cannot be read: {error}; nothing was done", path.display());
            return Ok(Outcome::Refused {
                failure: Failure::new("backup-gone", said).read("docs/restore.md#refusals"),
            });
        }
    };
    match changed(remote, &wish.cluster.paths.spool).await {
        Err(error) => return Ok(from.truth(unasked(&error))),
        Ok(last) if from.rung.is_some() => {
            if let Some(failure) = last.and_then(|last| last.by_another(wish, from.lock)) {
                let name = &wish.cluster.name;
                let said = format!(
                    "another run has changed {name} since, so what this one has left to do may be wrong by now. Begin anew: fleet restore \
                     {of}/{backup} --to {name}"
                );
                let failure = Failure::new(failure.cause, said).read("docs/restore.md#when-it-is-broken-off");
                return Ok(Outcome::Refused { failure });
            }
        }
        Ok(_) => {}
    }
    if from.rung.is_none() {
        journal.record(What::planned(plan))?;
    }
    let rung = from.rung.clone().unwrap_or_default();
    let start = Start { folder, steps: remaining(plan, &rung, None), from: rung };
    if let Err(outcome) = carry_out(remote, plan, wish, start, journal).await? {
        return Ok(outcome);
    }
    let after = match gather(remote, wish, When::After, journal).await? {
        Ok(facts) => facts,
        Err(error) => return Ok(unwell(plan, error.kind(), &format!("it could not be looked at: {error}"))),
    };
    write_json(&wish.folder.rung(&plan.migration)?.join("after.json"), &after)?;
    Ok(match after.installed() {
        Installed::Version(version) if version == plan.to => Outcome::Done,
        other if what.onto.is_some() => {
            unwell(plan, "not-as-before", &format!("it is {other:?} now, and was {} before", plan.to))
        }
        other => unwell(
            plan,
            "not-as-backed-up",
            &format!("it is {other:?} now, and the backup is one of {}", plan.to),
        ),
    })
}

fn unwell(plan: &Plan, cause: &str, why: &str) -> Outcome {
    let at = plan.steps.last().map_or_else(String::new, |step| step.id.clone());
    let said = format!("the backup is put back, but {why}");
    let failure = Failure::new(cause, said).read("docs/restore.md#when-a-restore-fails");
    Outcome::Failed { step: None, state: crate::event::Left::Dirty { at }, failure }
}
