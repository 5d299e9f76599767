//! Folds of the journal: what people and programs are shown of a run, while it goes on and afterwards.
//!
//! [`ClusterReport`] is folded from one cluster's events, [`FleetReport`] from `run.json` and the reports of all clusters.
//! Screen, Markdown and JSON are written from these two values and from nothing else, so that `fleet report` makes them anew
//! from the journals alone. Text of a host is cleaned once, in the fold; every face may rely on it. `docs/reports.md` tells
//! how to read them.

mod answers;
mod board;
mod cluster;
mod ending;
mod files;
mod fleet;
mod fold;
mod hosts;
pub mod json;
mod lines;
pub mod live;
mod markdown;
mod next;
mod plan;
pub mod screen;
pub mod status;
mod underway;
mod way_back;

pub use answers::Answered;
pub use cluster::{
    BackupReport, ChecksReport, ClusterReport, CommandReport, Ending, NoteReport, RemedyReport, Rung, State,
    StepEnding, StepReport,
};
pub use files::{read, write};
pub use fleet::{FleetReport, Group, Said};
pub use next::{Next, next, next_all, with_places};
pub use plan::plan_text;
pub use underway::Underway;
pub use way_back::WayBack;
