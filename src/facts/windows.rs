//! What is known of a cluster's maintenance windows (facts section 3.6), in one round trip.

use std::io;

use jiff::Timestamp;
use serde::Serialize;

use super::clock::{self, Clock};
use super::flux::{self, Source};
use super::frames::Frames;
use super::k3s_plans::{self, K3sPlan};
use super::kubernetes::List;
use super::nightly::{self, Nightly};
use super::nodes::{self, Node};
use super::schedule::Schedule;
use super::upgrades::{self, Upgrades};
use super::{Known, is_stackspin};
use crate::remote::{Command, Remote, RemoteError};

/// The windows of one cluster, and what else decides whether one may be opened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Windows {
    /// The host's clock.
    pub clock: Known<Clock>,
    /// Stackspin's own Flux sources. One, where all is well.
    pub sources: Known<Vec<Source>>,
    /// Nightly jobs.
    pub nightly: Known<Vec<Nightly>>,
    /// The system-upgrade-controller.
    pub upgrades: Known<Upgrades>,
    /// Its Plans.
    pub plans: Known<Vec<K3sPlan>>,
    /// Nodes, with the k3s that they run.
    pub nodes: Known<Vec<Node>>,
}

/// Asks for them. Changes nothing.
pub async fn look<R: Remote>(remote: &R) -> Result<Windows, RemoteError> {
    let sources = Command::new("k3s kubectl get gitrepositories.source.toolkit.fluxcd.io -A -o json");
    let objects = Command::new("k3s kubectl get nodes,cronjobs,deployments -A -o json");
    let frames = Frames::new()
        .ask("clock", &clock::ask())
        .ask("sources", &sources.limit(16 << 20))
        .ask("objects", &objects.limit(64 << 20))
        .ask("plans", &k3s_plans::ask().limit(4 << 20))
        .ask("clock-again", &clock::ask_again());
    let sent = Timestamp::now();
    let output = remote.ask(&frames.command(), &mut io::sink()).await?;
    let received = Timestamp::now();
    let answers = frames.answers(&output);
    let objects = answers.get("objects").and_then(List::read);
    let objects = || objects.as_ref().map_err(Clone::clone);
    let ours = |list: List| -> Result<Vec<Source>, String> {
        Ok(flux::of_list(&list)?.sources.into_iter().filter(is_stackspin).collect())
    };
    Ok(Windows {
        clock: answers
            .get("clock")
            .and_then(|first| clock::read(first, answers.get("clock-again")?, sent, received))
            .into(),
        sources: answers.get("sources").and_then(List::read).and_then(ours).into(),
        nightly: objects().and_then(nightly::read).into(),
        upgrades: objects().and_then(|objects| upgrades::read(objects, &List::default())).into(),
        plans: answers.get("plans").and_then(List::read).and_then(|plans| k3s_plans::read(&plans)).into(),
        nodes: objects().and_then(nodes::read).into(),
    })
}

impl Windows {
    /// The host's time as it is now, in Unix seconds; this machine's where the host's is not known.
    #[must_use]
    pub fn now(&self) -> i64 {
        let ahead = self.clock.get().map_or(0, |clock| clock.ahead_seconds);
        Timestamp::now().as_second().saturating_add(ahead)
    }

    /// When the job next fires after this time; none for one that is suspended, or whose schedule or zone cannot be told.
    #[must_use]
    pub fn next(&self, job: &Nightly, after: i64) -> Option<i64> {
        let clock = self.clock.get().ok()?;
        let schedule = Schedule::parse(&job.schedule).filter(|_| !job.suspended)?;
        schedule.next(after, job.offset_seconds(clock)?)
    }
}
