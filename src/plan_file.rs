//! A file of plans: made by `fleet plan --out`, read by people, carried out by `fleet apply`. Written once and never changed.
//!
//! It is JSON. `checksum` is over all the rest, so that a file that was damaged on its way, or edited, is not carried out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::{Failure, Judgement};
use crate::files::write_new;
use crate::form::{between, hex, moment, span};
use crate::plan::Plan;
use crate::version::Version;

/// The version of the stored form of [`PlanFile`].
pub const SCHEMA: u32 = 2;

/// What is said of each cluster.
pub type Plans = BTreeMap<String, Said>;

/// The plans of one go over many clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFile {
    /// [`SCHEMA`] at the time of writing.
    pub schema: u32,
    /// When the first question was sent, by the clock of the machine that made it.
    pub made_at: Timestamp,
    /// When it is good no more.
    pub expires_at: Timestamp,
    /// Who made it: user and machine.
    pub by: String,
    /// The `fleet` that made it.
    pub fleet: String,
    /// The command line.
    pub typed: Vec<String>,
    /// The version aimed at.
    pub target: Version,
    /// Warnings the operator acknowledged, by check id.
    pub acknowledged: Vec<String>,
    /// What is said of each cluster.
    pub clusters: Plans,
}

/// What is said of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// This is what to do.
    Plan {
        /// The plan.
        plan: Box<Plan>,
        /// Every check's verdict.
        verdicts: Vec<Judgement>,
        /// Why the pre-flight would not let it begin.
        held: Option<Failure>,
    },
    /// It is at the target.
    NothingToDo(Version),
    /// It is at the target, but not as an upgrade must leave it.
    Unwell {
        /// The version that it runs.
        version: Version,
        /// What is wrong.
        failure: Failure,
    },
    /// It cannot be taken there.
    Refused(Failure),
    /// It could not be asked.
    Unreachable(Failure),
}

/// Why a plan file is not carried out. Nothing was sent to anybody.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error("cannot read the plan file {0}: {1}")]
    Unread(PathBuf, io::Error),
    /// It is no plan file, or not a whole one.
    #[error("{0} is no plan file, or a damaged one: {1}")]
    Damaged(PathBuf, String),
    /// It is not as it was written.
    #[error(
        "{0} is not as `fleet plan` wrote it: its checksum is that of another content. It was damaged on its way, or edited; a plan is \
         not changed by hand"
    )]
    Altered(PathBuf),
    /// Its form is another one's.
    #[error("{0} has the form {1} of plan files, and this fleet reads form {SCHEMA}")]
    Form(PathBuf, u64),
    /// Another version of `fleet` may plan otherwise.
    #[error("{0} was made by fleet {1}, and this is fleet {2}, which may plan otherwise")]
    OtherFleet(PathBuf, String, &'static str),
    /// It is too old.
    #[error("the plan expired at {0}, {1} ago")]
    Expired(String, String),
    /// A clock is wrong.
    #[error(
        "the plan was made at {0}, which is {1} from now by this machine's clock: one of the two clocks is wrong, so nobody can say \
         whether the plan is still good"
    )]
    NotYetMade(String, String),
}

impl PlanFile {
    /// Whether it is good at this moment, by the wall clock of this machine.
    pub fn is_good_at(&self, now: Timestamp) -> Result<(), Unfit> {
        if now < self.made_at {
            Err(Unfit::NotYetMade(moment(self.made_at), span(between(now, self.made_at))))
        } else if now >= self.expires_at {
            Err(Unfit::Expired(moment(self.expires_at), span(between(self.expires_at, now))))
        } else {
            Ok(())
        }
    }

    /// The file with its checksum, as it is written and shown.
    pub fn sealed(&self) -> io::Result<Sealed<'_>> {
        Ok(Sealed { checksum: checksum(&serde_json::to_value(self)?), file: self })
    }

    /// Writes it, whole or not at all. A file that is there is left alone (`AlreadyExists`).
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.sealed()?)?;
        text.push('\n');
        write_new(path, text.as_bytes())
    }
}

/// A plan file and its checksum.
#[derive(Debug, Serialize)]
pub struct Sealed<'a> {
    checksum: String,
    #[serde(flatten)]
    file: &'a PlanFile,
}

/// Reads a plan file that is whole and as it was written, with its checksum. Whether it is still good is another question.
pub fn load(path: &Path) -> Result<(PlanFile, String), Unfit> {
    let text = std::fs::read(path).map_err(|error| Unfit::Unread(path.to_owned(), error))?;
    let damaged = |error: serde_json::Error| Unfit::Damaged(path.to_owned(), error.to_string());
    let mut value: Value = serde_json::from_slice(&text).map_err(damaged)?;
    match value.get("schema").and_then(Value::as_u64) {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => return Err(Unfit::Form(path.to_owned(), schema)),
        None => return Err(Unfit::Damaged(path.to_owned(), "it does not say its schema".to_owned())),
    }
    let sealed = value.as_object_mut().and_then(|file| file.remove("checksum"));
    let sum = checksum(&value);
    if sealed.as_ref().and_then(Value::as_str) != Some(&sum) {
        return Err(Unfit::Altered(path.to_owned()));
    }
    let file: PlanFile = serde_json::from_value(value).map_err(damaged)?;
    let this = env!("CARGO_PKG_VERSION");
    if file.fleet != this {
        return Err(Unfit::OtherFleet(path.to_owned(), crate::remote::printable(&file.fleet), this));
    }
    Ok((file, sum))
}

/// Over the content alone: blanks, line ends and the order of keys may differ.
fn checksum(content: &Value) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content.to_string().as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn file() -> PlanFile {
        PlanFile {
            schema: SCHEMA,
            made_at: at("2026-11-22T10:00:00Z"),
            expires_at: at("2026-11-23T10:00:00Z"),
            by: "ops@desk".into(),
            fleet: env!("CARGO_PKG_VERSION").into(),
            typed: vec!["fleet".into(), "plan".into()],
            target: Version::V0_7,
            acknowledged: vec!["pods".into()],
            clusters: Plans::from([
                ("acme".into(), Said::NothingToDo(Version::V0_7)),
                ("bikes".into(), Said::Refused(Failure::new("downgrade", "it runs 0.8"))),
            ]),
        }
    }

    /// Writes the file, lets `change` rewrite its text, and reads it again.
    fn read_after(change: impl Fn(String) -> String) -> Result<(PlanFile, String), Unfit> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        file().store(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(text)).unwrap();
        load(&path)
    }

    #[test]
    fn what_is_read_is_what_was_written_and_blanks_do_not_count() {
        assert_eq!(read_after(|text| text).unwrap().0, file());
        let squeezed = read_after(|text| text.lines().map(str::trim).collect()).unwrap();
        assert_eq!(squeezed.0, file());
        assert!(squeezed.1.starts_with("sha256:") && squeezed.1.len() == 71);
    }

    #[test]
    fn no_character_of_the_content_can_be_changed_unseen() {
        let seen = |change: &dyn Fn(String) -> String| read_after(change).unwrap_err();
        assert!(matches!(seen(&|text| text.replace("10:00:00Z", "10:00:01Z")), Unfit::Altered(_)));
        assert!(matches!(seen(&|text| text.replace("\"pods\"", "")), Unfit::Altered(_)));
        assert!(matches!(seen(&|text| text.replace("bikes", "bakes")), Unfit::Altered(_)));
        assert!(matches!(seen(&|text| text.replacen('{', "{\"more\":1,", 1)), Unfit::Altered(_)));
        assert!(matches!(seen(&|text| text.replace("\"checksum\"", "\"sum\"")), Unfit::Altered(_)));
        assert!(matches!(seen(&|text| text.chars().take(200).collect()), Unfit::Damaged(..)));
        assert!(matches!(seen(&|_| String::new()), Unfit::Damaged(..)));
        assert!(matches!(seen(&|_| "{}".to_owned()), Unfit::Damaged(..)));
        assert!(matches!(seen(&|text| text.replace("\"schema\": 2", "\"schema\": 3")), Unfit::Form(_, 3)));
    }

    #[test]
    fn a_plan_of_another_fleet_is_refused_though_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        PlanFile { fleet: "0.0.1".into(), ..file() }.store(&path).unwrap();
        let why = load(&path).unwrap_err();
        assert!(matches!(why, Unfit::OtherFleet(..)), "{why}");
    }

    #[test]
    fn a_plan_is_good_from_its_making_to_its_end_and_at_no_other_time() {
        for (now, good) in [
            ("2026-11-22T09:59:59Z", false),
            ("2026-11-22T10:00:00Z", true),
            ("2026-11-23T09:59:59Z", true),
            ("2026-11-23T10:00:00Z", false),
        ] {
            assert_eq!(file().is_good_at(at(now)).is_ok(), good, "{now}");
        }
        let late = file().is_good_at(at("2026-11-23T12:00:00Z")).unwrap_err().to_string();
        assert_eq!(late, "the plan expired at 2026-11-23 10:00:00Z, 2 h 00 m 00 s ago");
    }

    #[test]
    fn a_file_that_is_there_is_never_written_over_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.json");
        file().store(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = PlanFile { by: "else@desk".into(), ..file() }.store(&path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(load(&path).unwrap().0, file());
    }
}
