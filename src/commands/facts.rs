//! `fleet facts`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::Table;
use serde::Serialize;

use super::{Exit, Trouble, output, select};
use crate::cli::{Cli, Format, LookArgs};
use crate::event::Failure;
use crate::facts::Facts;
use crate::report::screen::Look;
use crate::rollout;
use crate::ssh::{Limits, Network};

mod words;

/// Asks the selected clusters everything and shows it.
pub(super) async fn run(cli: &Cli, args: &LookArgs) -> Result<Exit, Trouble> {
    let (clusters, caps) = select::clusters_and_caps(cli, &args.select, args.parallel)?;
    let survey = rollout::survey(clusters, caps, cli.backups.clone(), &Network::new(Limits::default())).await;
    let answers: BTreeMap<String, Answer> =
        survey.into_iter().map(|(name, result)| (name, Answer::from(result))).collect();
    match args.format.format {
        Format::Json => output::print_json(&answers)?,
        Format::Table => output::print(&render(&answers, Look::of_stdout()))?,
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
    Error(Failure),
}

impl From<Result<Facts, Failure>> for Answer {
    fn from(result: Result<Facts, Failure>) -> Self {
        match result {
            Ok(facts) => Self::Facts(Box::new(facts)),
            Err(failure) => Self::Error(failure),
        }
    }
}

/// The answers for people: a table a cluster.
fn render(answers: &BTreeMap<String, Answer>, look: Look) -> String {
    let mut text = String::new();
    for (name, answer) in answers {
        let gap = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = match answer {
            Answer::Error(failure) => {
                writeln!(text, "{gap}{name}: cannot be asked: {}\n  see {}", failure.message, failure.read)
            }
            Answer::Facts(facts) => writeln!(text, "{gap}{name}\n{}", table(facts, look)),
        };
    }
    look.finish(&text)
}

fn table(facts: &Facts, look: Look) -> Table {
    let rows = words::rows(facts).into_iter().map(|(fact, value)| [fact.to_owned(), value]);
    look.table(["fact", "value"], rows, &[0])
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
            (
                "birch".to_owned(),
                Answer::from(Err(Failure::new("unreachable", "cannot reach 203.0.113.9:22: \u{7}refused"))),
            ),
        ]);
        insta::assert_snapshot!(render(&answers, Look { width: 90, terminal: true }));
    }

    #[test]
    fn every_fact_has_a_row() {
        let shown: Vec<&str> = words::rows(&Facts::default()).into_iter().map(|(name, _)| name).collect();
        let facts = serde_json::to_value(Facts::default()).unwrap();
        for name in facts.as_object().unwrap().keys() {
            let beside_the_table = ["schema", "cluster", "gathered_at"].contains(&name.as_str());
            assert!(beside_the_table || shown.contains(&name.as_str()), "{name} is not in the table");
        }
    }

    #[test]
    fn json_tells_facts_and_errors_apart() {
        let error = serde_json::to_value(Answer::from(Err(Failure::new("unreachable", "away")))).unwrap();
        assert_eq!(error["error"]["message"], "away");
        let facts = serde_json::to_value(Answer::from(Ok(known()))).unwrap();
        assert_eq!(facts["facts"]["os"]["id"], "debian");
        assert_eq!(facts["facts"]["clock"]["unknown"], "not asked");
    }
}
