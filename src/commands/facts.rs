//! `fleet facts`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{IsTerminal, stdout};
use std::sync::Arc;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;

use super::{Exit, Trouble, output};
use crate::cli::{Cli, FactsArgs, Format};
use crate::facts::{self, Facts};
use crate::inventory::{self, Selection};
use crate::remote::printable;
use crate::{rollout, ssh};

mod words;

/// Does it.
pub(super) async fn run(cli: &Cli, args: &FactsArgs) -> Result<Exit, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let clusters = Selection::from(&args.select).of(&inventory).map_err(Trouble::usage)?;
    let backups: Arc<std::path::Path> = cli.backups.clone().into();
    let gathered = rollout::each(clusters, args.parallel, |cluster| {
        let backups = Arc::clone(&backups);
        async move {
            let session = ssh::connect(&cluster).await.map_err(|error| error.to_string())?;
            let facts = facts::gather(&session, &cluster, &backups).await;
            session.close().await;
            facts.map_err(|error| error.to_string())
        }
    })
    .await;
    let answers: BTreeMap<String, Answer> =
        gathered.into_iter().map(|(name, result)| (name, result.and_then(|facts| facts).into())).collect();
    match args.format.format {
        Format::Json => output::print_json(&answers)?,
        // Not a terminal: one width, so that files compare.
        Format::Table => output::print(&render(&answers, (!stdout().is_terminal()).then_some(110)))?,
    }
    let failed = answers.values().any(|answer| matches!(answer, Answer::Error(_)));
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What came of asking one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// Everything that could be learnt.
    Facts(Box<Facts>),
    /// Why it could not be asked.
    Error(String),
}

impl From<Result<Facts, String>> for Answer {
    fn from(result: Result<Facts, String>) -> Self {
        match result {
            Ok(facts) => Self::Facts(Box::new(facts)),
            Err(why) => Self::Error(printable(&why)),
        }
    }
}

/// The answers for people: a table a cluster, of this width or the terminal's.
fn render(answers: &BTreeMap<String, Answer>, width: Option<u16>) -> String {
    let mut text = String::new();
    for (name, answer) in answers {
        let gap = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = match answer {
            Answer::Error(why) => writeln!(text, "{gap}{name}: cannot be asked: {why}"),
            Answer::Facts(facts) => writeln!(text, "{gap}{name}\n{}", table(facts, width).trim_fmt()),
        };
    }
    text
}

fn table(facts: &Facts, width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.force_no_tty().set_width(width);
    }
    table.set_header(["fact", "value"]);
    table.add_rows(words::rows(facts).into_iter().map(|(fact, value)| [fact.to_owned(), value]));
    table.set_constraints([ColumnConstraint::LowerBoundary(Width::Fixed(14))]);
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Known;
    use crate::facts::disks::Filesystem;
    use crate::facts::flux::{Flux, Ready, Source};
    use crate::facts::identity::Identity;
    use crate::facts::os::Os;
    use crate::facts::pods::{Pod, Pods};

    fn known() -> Facts {
        let ready = Ready { status: "True".into(), current: true, ..Ready::default() };
        Facts {
            os: Known::Is(Os {
                id: "debian".into(),
                version: "12".into(),
                name: "Debian \u{1b}[31mGNU/Linux 12".into(),
                arch: "x86_64".into(),
                kernel: "6.1.0-18-amd64".into(),
            }),
            disks: Known::Is(vec![Filesystem {
                mount: "/".into(),
                kind: "ext4".into(),
                size: 52_521_566_208,
                free: 31_204_864_000,
                inodes: 3_276_800,
                inodes_free: 2_904_116,
                holds: vec!["root".into(), "k3s-data".into()],
            }]),
            identity: Known::Is(Identity {
                machine_id: "6f3d".into(),
                cluster_uid: "c3a1".into(),
                namespaces: vec!["oas".into()],
            }),
            flux: Known::Is(Flux {
                version: "v0.31.3".into(),
                sources: vec![Source {
                    namespace: "flux-system".into(),
                    name: "openappstack".into(),
                    branch: "v0.7".into(),
                    revision: "v0.6/6d5f1e9c8b7a60514233241506978897a6b5c4d3".into(),
                    suspended: true,
                    ready,
                    ..Source::default()
                }],
                ..Flux::default()
            }),
            pods: Known::Is(Pods {
                total: 7,
                failing: vec![Pod {
                    namespace: "oas".into(),
                    name: "loki-0".into(),
                    phase: "Running".into(),
                    reason: "CrashLoopBackOff".into(),
                    restarts: 12,
                    owner: "StatefulSet loki".into(),
                }],
            }),
            ..Facts::default()
        }
    }

    #[test]
    fn a_table_shows_what_is_known_and_why_the_rest_is_not() {
        let answers = BTreeMap::from([
            ("acme".to_owned(), Answer::from(Ok(known()))),
            ("birch".to_owned(), Answer::from(Err("cannot reach 203.0.113.9:22: \u{7}refused".to_owned()))),
        ]);
        insta::assert_snapshot!(render(&answers, Some(90)));
    }

    #[test]
    fn json_tells_facts_and_errors_apart() {
        let error = serde_json::to_string(&Answer::from(Err("away".to_owned()))).unwrap();
        assert_eq!(error, r#"{"error":"away"}"#);
        let facts = serde_json::to_value(Answer::from(Ok(known()))).unwrap();
        assert_eq!(facts["facts"]["os"]["id"], "debian");
        assert_eq!(facts["facts"]["clock"]["unknown"], "not asked");
    }
}
