//! What is left to do of a rung that another process began. Pure: from the plan and what the journal tells of it.

use super::position::{Rung, Standing};
use crate::plan::{Action, Plan, Probe, Redo, Step};

/// What is left of a plan. What is only for the time of the run is done around whatever is left; the backup is proven again before
/// anything is changed. `anew`: the steps of a new backup, in place of the plan's own.
pub(super) fn remaining(plan: &Plan, from: &Rung, anew: Option<&[Step]>) -> Vec<Step> {
    let open = |step: &Step| !from.is_done(&step.id);
    let any = plan.steps.iter().any(|step| open(step) && !is_around(step));
    let changes = plan.steps.iter().any(|step| open(step) && step.needs_proof());
    let left = |step: &&Step| match &step.action {
        Action::Hold(_) => any,
        Action::GiveBack(_) => any || open(step),
        _ if step.id.starts_with("backup/") && anew.is_some() => false,
        Action::Prove(_) => changes || open(step),
        _ => open(step),
    };
    let mut steps: Vec<Step> = plan.steps.iter().filter(left).cloned().collect();
    if let Some(anew) = anew.filter(|_| changes) {
        let at = steps.iter().position(|step| !matches!(step.action, Action::Hold(_))).unwrap_or(0);
        steps.splice(at..at, anew.iter().cloned());
    }
    steps
}

/// The rung with those of its done steps open again that giving back the truce takes back while something is left to do: a source that the
/// rung has resumed is suspended again, by the process that failed or by the host's own timer. Their probes tell whether it is so.
pub(super) fn not_taken_back(plan: &Plan, from: &Rung) -> Rung {
    let mut rung = from.clone();
    if plan.steps.iter().any(|step| !from.is_done(&step.id) && !is_around(step)) {
        for step in plan.steps.iter().filter(|step| from.is_done(&step.id)) {
            if matches!(step.redo, Redo::Unless(Probe::SourceSuspended { .. })) {
                rung.steps.insert(step.id.clone(), Standing::Begun { ran: None });
            }
        }
    }
    rung
}

/// Whether a step is only for the time of the run, and so is done around whatever is left.
const fn is_around(step: &Step) -> bool {
    matches!(step.action, Action::Hold(_) | Action::GiveBack(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Class, Fingerprint, Prove, SCHEMA, Truce};
    use crate::remote::Command;
    use crate::version::Version;

    fn plan() -> Plan {
        let run = |id: &str, class| Step::new(id, id, class, Action::Run(Command::new("true")));
        let truce = Truce::default;
        Plan {
            schema: SCHEMA,
            cluster: "oak".into(),
            migration: "to-0.7".into(),
            from: Version::V0_6,
            to: Version::V0_7,
            apps: Vec::new(),
            steps: vec![
                Step::new("truce/hold", "", Class::Undoable, Action::Hold(truce())),
                run("backup/copy", Class::ReadOnly),
                Step::new("backup/prove", "", Class::ReadOnly, Action::Prove(Prove { volumes: vec![] })),
                run("to-0.7/switch", Class::Undoable),
                run("to-0.7/wait", Class::ReadOnly),
                Step::new("truce/give-back", "", Class::Undoable, Action::GiveBack(truce())),
            ],
            notes: Vec::new(),
            rest: Vec::new(),
            fingerprint: Fingerprint::new(),
        }
    }

    fn left(done: &[&str], anew: bool) -> Vec<String> {
        let steps = done.iter().map(|step| ((*step).to_owned(), Standing::Done)).collect();
        let rung = Rung { migration: "to-0.7".into(), steps, ..Rung::default() };
        let anew = anew.then(|| {
            ["backup/copy", "backup/prove"]
                .map(|id| Step::new(id, "anew", Class::ReadOnly, Action::Run(Command::new("true"))))
                .to_vec()
        });
        let name = |step: Step| if step.title == "anew" { format!("{} anew", step.id) } else { step.id };
        remaining(&plan(), &rung, anew.as_deref()).into_iter().map(name).collect()
    }

    #[test]
    fn a_source_that_was_suspended_again_meanwhile_is_looked_at_before_the_rung_goes_on() {
        let resumes = Redo::Unless(Probe::SourceSuspended { source: "s".into(), suspended: false });
        let mut plan = plan();
        let switch = plan.steps.iter().position(|step| step.id == "to-0.7/switch").unwrap();
        plan.steps[switch].redo = resumes;
        let done = |ids: &[&str]| Rung {
            migration: "to-0.7".into(),
            steps: ids.iter().map(|id| ((*id).to_owned(), Standing::Done)).collect(),
            ..Rung::default()
        };
        let half = not_taken_back(&plan, &done(&["truce/hold", "to-0.7/switch"]));
        assert!(!half.is_done("to-0.7/switch") && half.is_done("truce/hold"));
        let all: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert!(not_taken_back(&plan, &done(&all)).is_done("to-0.7/switch"), "nothing is left to do");
    }

    #[test]
    fn what_is_left_is_held_proven_and_given_back_around_and_nothing_else_is_done_twice() {
        let (hold, prove, back) = ("truce/hold", "backup/prove", "truce/give-back");
        let saved = [hold, "backup/copy", prove];
        assert_eq!(
            left(&saved[..1], false),
            [hold, "backup/copy", prove, "to-0.7/switch", "to-0.7/wait", back]
        );
        assert_eq!(left(&saved, false), [hold, prove, "to-0.7/switch", "to-0.7/wait", back]);
        let switched = [&saved[..], &["to-0.7/switch", back]].concat();
        assert_eq!(left(&switched, false), [hold, "to-0.7/wait", back], "what is left changes nothing");
        let waited = [&saved[..], &["to-0.7/switch", "to-0.7/wait"]].concat();
        assert_eq!(left(&waited, false), [back]);
        assert_eq!(left(&[&waited[..], &[back]].concat(), false), [""; 0]);
        assert_eq!(
            left(&saved, true),
            [hold, "backup/copy anew", "backup/prove anew", "to-0.7/switch", "to-0.7/wait", back]
        );
    }
}
