//! A copy's turn among those who send much at once: waited for before the step, with k3s running, and given up where the operator stops.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::event::What;
use crate::journal::Journal;
use crate::plan::{Action, Step};
use crate::remote::{Remote, Turn};

/// How often the stop flag is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until the step may begin; `None` where the operator stopped the run first. Only a copy has to wait.
pub(super) async fn wait<R: Remote>(
    remote: &R,
    step: &Step,
    stopped: &AtomicBool,
    journal: &mut Journal,
) -> std::io::Result<Option<Turn>> {
    if !matches!(step.action, Action::Backup(_)) {
        return Ok(Some(Turn::default()));
    }
    let mut turn = pin!(remote.turn());
    let mut told = false;
    loop {
        match tokio::time::timeout(LOOK, &mut turn).await {
            Ok(turn) => return Ok(Some(turn)),
            Err(_) if stopped.load(Ordering::Relaxed) => return Ok(None),
            Err(_) if told => {}
            Err(_) => {
                told = true;
                let text = "waits for its turn to send the copy (--streams)".to_owned();
                journal.record(What::Noted { step: step.id.clone(), text })?;
            }
        }
    }
}
