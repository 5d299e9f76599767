//! What verdicts mean for an upgrade, and a host that gives none.

use crate::checks;
use crate::event::{Failure, Judgement, Level, Outcome};
use crate::plan::Plan;
use crate::remote::RemoteError;

/// Why a plan must not be carried out. Never true of one that the planner made; a stored one may have been edited.
pub(super) fn out_of_order(plan: &Plan) -> Option<Failure> {
    let step = plan.changes_before_proof()?;
    let message = format!("the plan would change the cluster in {} before its backup is proven", step.id);
    Some(Failure::new("plan-out-of-order", message))
}

/// Why the pre-flight forbids the upgrade: a block, or a warning that nobody acknowledged.
#[must_use]
pub fn held_back(verdicts: &[Judgement]) -> Option<Failure> {
    blocked(verdicts).or_else(|| {
        let open: Vec<&str> = verdicts
            .iter()
            .filter(|verdict| verdict.level == Level::Warn && !verdict.acknowledged)
            .map(|verdict| verdict.check.as_str())
            .collect();
        let first = verdicts.iter().find(|verdict| Some(&verdict.check.as_str()) == open.first())?;
        let acks: Vec<String> = open.iter().map(|id| format!("--ack {id}")).collect();
        let message = format!(
            "warnings that nobody acknowledged: {} ({}). If that is as it should be, add {}",
            open.join(", "),
            first.said,
            acks.join(" ")
        );
        Some(Failure::new("warnings", message).read(format!("docs/checks.md#{}", first.check)))
    })
}

/// Why a cluster at the target is not as an upgrade must leave it. What only an upgrade needs (room, tools, the hour) does not count.
#[must_use]
pub fn unwell(verdicts: &[Judgement]) -> Option<Failure> {
    let of_state = |id: &str| checks::find(id).is_some_and(|check| check.when == checks::When::Always);
    let state: Vec<Judgement> = verdicts.iter().filter(|verdict| of_state(&verdict.check)).cloned().collect();
    blocked(&state)
}

/// The outcome when a cluster could not even be asked: nothing was changed.
#[must_use]
pub fn unasked(error: &RemoteError) -> Outcome {
    let failure = Failure::new(error.kind(), error.to_string());
    match error {
        RemoteError::HostKey(_) => {
            Outcome::Refused { failure: failure.read("docs/ssh.md#is-it-the-right-host") }
        }
        _ => Outcome::Unreachable { failure: failure.read("docs/ssh.md#errors-and-what-to-do") },
    }
}

/// The checks that block, as one failure.
pub(super) fn blocked(verdicts: &[Judgement]) -> Option<Failure> {
    let blocks: Vec<&Judgement> = verdicts.iter().filter(|verdict| verdict.level == Level::Block).collect();
    let first = blocks.first()?;
    let others: Vec<&str> = blocks.iter().skip(1).map(|verdict| verdict.check.as_str()).collect();
    let also = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
    let message = format!("check {} blocks: {}{also}", first.check, first.said);
    Some(
        Failure::new(format!("check-{}", first.check), message)
            .read(format!("docs/checks.md#{}", first.check)),
    )
}
