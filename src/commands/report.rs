//! `fleet report`.

use super::{Exit, Trouble, output};
use crate::cli::{Cli, Format, ReportArgs};
use crate::report::{self, Ending, FleetReport, screen};
use crate::state::{RunFolder, last, runs};

/// How many runs an unknown id is answered with.
const OFFERED: usize = 5;

/// Makes the report files of a run anew, prints its report and ends as the run ended.
pub(super) fn run(cli: &Cli, args: &ReportArgs) -> Result<Exit, Trouble> {
    let folder = find(cli, &args.run)?;
    let fleet = report::write(&folder)?;
    match args.format.format {
        Format::Table => {
            output::print(&screen::render(&fleet, folder.path(), screen::Look::of_stdout()))?;
        }
        Format::Json => output::print_json(&report::json::fleet(&fleet))?,
    }
    Ok(exit_of(&fleet))
}

/// How the run ended, as an exit code (promise M18). What is worst to overlook comes first: a cluster in doubt, then one that
/// was left on the way, then a run that the budget halted, then failures, then refusals.
pub(super) fn exit_of(fleet: &FleetReport) -> Exit {
    worst(fleet.clusters.iter().map(|report| report.outcome))
}

/// The exit code of a run that ended so.
pub(super) fn worst(endings: impl Iterator<Item = Ending>) -> Exit {
    endings.map(one).min_by_key(|exit| rank(*exit)).unwrap_or(Exit::Done)
}

const fn one(ending: Ending) -> Exit {
    match ending {
        Ending::Done | Ending::NothingToDo => Exit::Done,
        Ending::NotBegun | Ending::Interrupted | Ending::Asked | Ending::NotFinished => Exit::Interrupted,
        Ending::Halted => Exit::Halted,
        Ending::Refused => Exit::Refused,
        Ending::Unreachable | Ending::Failed => Exit::Failed,
        Ending::InDoubt => Exit::InDoubt,
    }
}

const fn rank(exit: Exit) -> u8 {
    match exit {
        Exit::InDoubt => 0,
        Exit::Interrupted => 1,
        Exit::Halted => 2,
        Exit::Failed => 3,
        Exit::Refused => 4,
        _ => 5,
    }
}

/// The folder of the run that was named. A path is never made from what was typed: only runs that are there are found.
pub(super) fn find(cli: &Cli, wanted: &str) -> Result<RunFolder, Trouble> {
    let runs = runs(&cli.runs)?;
    let ids: Vec<String> =
        runs.iter().filter_map(|(folder, _)| Some(folder.path().file_name()?.to_str()?.to_owned())).collect();
    let found = if wanted == "last" {
        last(&cli.runs, &runs)
    } else {
        runs.iter().find(|(folder, _)| folder.path().file_name().is_some_and(|name| name == wanted))
    };
    match found {
        Some((folder, Ok(_))) => Ok(folder.clone()),
        Some((_, Err(error))) => Err(Trouble::internal(format!(
            "the run {wanted} cannot be told: {error}; its clusters' journals may still be whole, see docs/reports.md#a-damaged-journal"
        ))),
        None => Err(Trouble::usage(unknown(wanted, &ids, &cli.runs.display().to_string()))),
    }
}

fn unknown(wanted: &str, ids: &[String], root: &str) -> String {
    if ids.is_empty() {
        return format!(
            "there are no runs in {root}; a run is made by `fleet upgrade`, its place is set by --runs"
        );
    }
    let mut message = format!("there is no run {wanted:?} in {root}");
    // Ids of one month are all alike: they must be nearer than words are for `form::meant`.
    let nearest = ids
        .iter()
        .map(|id| (strsim::jaro_winkler(id, wanted), id))
        .filter(|(likeness, _)| *likeness > 0.9)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    if let Some((_, id)) = nearest {
        message = format!("{message}; did you mean {id}?");
    }
    let last: Vec<&str> = ids.iter().rev().take(OFFERED).map(String::as_str).collect();
    format!(
        "{message}\nThe last runs: {}. `fleet runs` lists all, `fleet report last` shows the last.",
        last.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::report::ClusterReport;
    use crate::state::{self, Run};
    use crate::version::Version;

    fn fleet(endings: &[Ending]) -> FleetReport {
        let run = Run {
            schema: state::SCHEMA,
            id: "20261122-101500-abcd".into(),
            started: Timestamp::UNIX_EPOCH,
            by: "operator@desk".into(),
            fleet: "0.1.0".into(),
            typed: vec![],
            target: Some(Version::V0_7),
            clusters: vec![],
            acknowledged: vec![],
            plan: None,
        };
        let reports = endings.iter().enumerate().map(|(index, ending)| {
            let mut report = ClusterReport::not_begun(&format!("c{index}"));
            report.outcome = *ending;
            report
        });
        FleetReport::new(run, reports.collect())
    }

    #[test]
    fn the_exit_code_of_a_run_is_its_worst_ending() {
        let alone = [
            (Ending::Done, 0),
            (Ending::NothingToDo, 0),
            (Ending::NotBegun, 7),
            (Ending::Halted, 4),
            (Ending::Interrupted, 7),
            (Ending::Asked, 7),
            (Ending::NotFinished, 7),
            (Ending::Refused, 5),
            (Ending::Unreachable, 3),
            (Ending::Failed, 3),
            (Ending::InDoubt, 6),
        ];
        assert_eq!(alone.map(|(ending, _)| ending), Ending::ALL);
        for (ending, code) in alone {
            assert_eq!(exit_of(&fleet(&[ending])) as u8, code, "{ending:?}");
        }
        let order = [
            Ending::Done,
            Ending::Refused,
            Ending::Unreachable,
            Ending::Halted,
            Ending::Interrupted,
            Ending::InDoubt,
        ];
        for (index, worse) in order.iter().enumerate() {
            for milder in &order[..=index] {
                let code = exit_of(&fleet(&[*worse]));
                assert_eq!(exit_of(&fleet(&[*milder, *worse])), code, "{milder:?} beside {worse:?}");
                assert_eq!(exit_of(&fleet(&[*worse, *milder])), code, "{worse:?} beside {milder:?}");
            }
        }
        assert_eq!(exit_of(&fleet(&[])), Exit::Done);
    }

    #[test]
    fn an_unknown_run_is_answered_with_the_nearest_and_the_last() {
        let ids = ["20261120-090000-aaaa".to_owned(), "20261122-101500-abcd".to_owned()];
        let message = unknown("20261122-101500-abce", &ids, "runs");
        assert!(message.contains("did you mean 20261122-101500-abcd?"), "{message}");
        assert!(message.contains("20261122-101500-abcd, 20261120-090000-aaaa"), "{message}");
        assert!(!unknown("zebra", &ids, "runs").contains("did you mean"));
        assert!(unknown("last", &[], "runs").contains("no runs in runs"));
    }
}
