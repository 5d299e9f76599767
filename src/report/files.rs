//! The report files of a run, made from its journals alone.

use std::io;
use std::path::{Component, Path};

use super::cluster::ClusterReport;
use super::fleet::FleetReport;
use super::{json, markdown};
use crate::files::{write_json, write_whole};
use crate::journal::{self, JournalError};
use crate::remote::printable;
use crate::state::RunFolder;

/// Reads a run: `run.json` and every cluster's journal. Writes nothing.
///
/// A journal that cannot be read is that cluster's trouble and told in its report; an unreadable `run.json` is an error.
pub fn read(folder: &RunFolder) -> io::Result<FleetReport> {
    let run = folder.run()?;
    let clusters = run.clusters.iter().map(|name| cluster(folder, name)).collect::<io::Result<_>>()?;
    Ok(FleetReport::new(run, clusters))
}

/// Makes all report files of a run anew: `report.md` and `report.json` of the fleet and of each cluster. Every file is written
/// whole or not at all; the journals are not touched.
pub fn write(folder: &RunFolder) -> io::Result<FleetReport> {
    let fleet = read(folder)?;
    for report in &fleet.clusters {
        let place = folder.cluster(&report.cluster)?;
        write_whole(&place.path().join("report.md"), markdown::cluster(report, &fleet.run).as_bytes())?;
        write_json(&place.path().join("report.json"), &json::cluster(report, &fleet.run))?;
    }
    write_whole(&folder.path().join("report.md"), markdown::fleet(&fleet).as_bytes())?;
    write_json(&folder.path().join("report.json"), &json::fleet(&fleet))?;
    Ok(fleet)
}

fn cluster(folder: &RunFolder, name: &str) -> io::Result<ClusterReport> {
    // `run.json` may have been edited by hand: a name must not lead out of the run's folder.
    let mut parts = Path::new(name).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name);
    if !one || printable(name) != name {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{}: {name:?} is no name of a cluster; correct it by hand",
                folder.path().join("run.json").display()
            ),
        ));
    }
    if !folder.path().join(name).is_dir() {
        return Ok(ClusterReport::not_begun(name));
    }
    Ok(match journal::read(&folder.cluster(name)?.journal()) {
        Ok(events) => ClusterReport::fold(name, &events),
        Err(JournalError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            ClusterReport::not_begun(name)
        }
        Err(error) => ClusterReport::unreadable(name, &error),
    })
}
