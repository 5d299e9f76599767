//! Programs of the provisioning machine that upstream's scripts need.

use super::{Check, Findings, Verdict, When, judged, of_scripts};
use crate::event::Level;
use crate::facts::Facts;

pub(super) const CHECK: Check = Check {
    id: "programs-here",
    title: "Programs for scripts here",
    when: When::Before,
    judge,
    remedy: "Install what is missing on the machine that fleet runs on, or name another python in the inventory (python = \"…\"). Debian's \
             python3 makes virtual environments with the package python3-venv alone.",
};

fn judge(_: Option<&Facts>, now: &Facts) -> Verdict {
    judged(|| {
        let scripts = of_scripts(now)?;
        let mut found = Findings::default();
        for (name, path) in &scripts.programs {
            match path {
                None => found.add(Level::Block, format!("{name} is not in the PATH of this machine")),
                Some(path) if !path.starts_with('/') => found.add(
                    Level::Warn,
                    format!("{name} is found as {path}: from another folder it is another, or none"),
                ),
                Some(_) => {}
            }
        }
        if let Some(why) = &scripts.no_venv {
            found.add(Level::Block, format!("python makes no virtual environment: it {why}"));
        }
        let names: Vec<&str> = scripts.programs.keys().map(String::as_str).collect();
        Ok(found.verdict(format!("on this machine: {}", names.join(", "))))
    })
}
