//! 0.4 → 0.5: a new cluster (guide, "Upgrading from 0.4.0 to 0.5.0"; facts section 1.1). Nothing is done in place.
//!
//! No cluster tells that it is 0.4 (facts section 4), so as things are the way from it is that of 0.5, [`super::to_0_6`]. This rung is what the guide
//! says of it.

use super::Migration;
use super::to_0_6::{notes, rebuild};
use crate::facts::Facts;
use crate::plan::Step;
use crate::version::Version;

pub(super) const MIGRATION: Migration =
    Migration { id: "to-0.5", from: Version::V0_4, to: Version::V0_5, steps, notes };

#[expect(clippy::unnecessary_wraps, reason = "the table's form")]
fn steps(facts: &Facts) -> Result<Vec<Step>, String> {
    Ok(rebuild("to-0.5", "0.5 or later", SETTINGS, facts))
}

/// The guide adds nothing for 0.5.
const SETTINGS: &str = "Its settings.yml can be used again for 0.5. From 0.6 on the settings are in .flux.env: fleet vars convert --help.";
