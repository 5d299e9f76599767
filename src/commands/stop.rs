//! Being told to stop, by the operator or by the system (promise M20), or to pause, from another terminal (promise E3).
//!
//! One listener for the whole of a command: a listener that is made anew for each signal misses those between two.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;

use crate::report::live::News;
use crate::rollout::Pause;
use crate::state::{Control, RunFolder, Want};

/// How often a run looks at what another terminal asks of it.
const LOOK: Duration = Duration::from_secs(1);

/// What the operator reads besides after the first Ctrl-C.
const AGAIN: &str = "press Ctrl-C again to let go of them at once";

/// The signals by which a process is told to stop.
pub(super) struct Told {
    interrupt: Signals,
    terminate: Signals,
    hang_up: Signals,
}

impl Told {
    /// Listens from now on; none of them ends the process by itself any more.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// By what a run is held while it goes on.
pub(super) struct Reins<'a> {
    /// The signals.
    pub(super) told: &'a mut Told,
    /// The run, of which other terminals may ask something.
    pub(super) run: &'a RunFolder,
    /// Set once it is to stop.
    pub(super) stop: &'a AtomicBool,
    /// Set while it is to begin nothing new.
    pub(super) pause: &'a Pause,
    /// Whoever shows the run.
    pub(super) news: UnboundedSender<News>,
}

/// Waits for the work. The first signal stops it at the next safe point; a second Ctrl-C or SIGTERM lets go of it: then there is nothing. A
/// terminal that is closed never lets go of the work: it says so more than once, and nobody has asked for it. Once a second it looks at
/// what another terminal asks.
pub(super) async fn until_let_go<T>(work: impl Future<Output = T>, mut reins: Reins<'_>) -> Option<T> {
    let mut work = pin!(work);
    let mut look = tokio::time::interval(LOOK);
    let (mut stopping, mut asked) = (false, None);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            signal = reins.told.next() => {
                if stopping && signal != Signal::HUP {
                    return None;
                }
                if !stopping {
                    let by = name(signal);
                    reins.stop(News { said: format!("{};\n{AGAIN}", News::stopping(by).said), paused: false });
                    // So that other terminals see it as well; if it cannot be written, they do not.
                    let _ = Control::new(Want::Abort, by).write(reins.run);
                }
                stopping = true;
            }
            _ = look.tick(), if !stopping => stopping = reins.look(&mut asked),
        }
    }
}

impl Reins<'_> {
    /// Looks at what another terminal asks; true once that is to stop.
    fn look(&mut self, asked: &mut Option<Control>) -> bool {
        // Whoever cannot be read has asked for nothing.
        let Some(control) = Control::read(self.run).ok().flatten() else { return false };
        if asked.as_ref() == Some(&control) {
            return false;
        }
        match control.want {
            Want::Abort => self.stop(News::stopping(&control.by)),
            Want::Pause if !self.pause.is_set() && !self.stop.load(Ordering::Relaxed) => {
                self.pause.set(true);
                self.tell(News::paused(&control.by, &self.run.id()));
            }
            Want::Go if self.pause.is_set() => {
                self.pause.set(false);
                self.tell(News::goes_on(&control.by));
            }
            Want::Pause | Want::Go => {}
        }
        let stops = control.want == Want::Abort;
        *asked = Some(control);
        stops
    }

    fn stop(&self, news: News) {
        self.stop.store(true, Ordering::Relaxed);
        // Whoever waits for the pause to end is to be told as well.
        self.pause.set(false);
        self.tell(news);
    }

    fn tell(&self, news: News) {
        // A screen that is gone does not stop the work.
        let _ = self.news.send(news);
    }
}

/// What a signal is called for people.
const fn name(signal: Signal) -> &'static str {
    match signal {
        Signal::INT => "Ctrl-C",
        Signal::HUP => "a closed terminal",
        _ => "SIGTERM",
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, kill_process};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;

    /// A run, and what is heard of it.
    struct Held {
        root: tempfile::TempDir,
        stop: AtomicBool,
        pause: Pause,
    }

    impl Held {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir(root.path().join("r")).unwrap();
            Self { root, stop: AtomicBool::new(false), pause: Pause::default() }
        }

        fn run(&self) -> RunFolder {
            RunFolder::open(self.root.path(), "r")
        }

        /// Waits for the work, which gets what is heard.
        async fn wait<T, W: Future<Output = T>>(
            &self,
            told: &mut Told,
            work: impl FnOnce(UnboundedReceiver<News>) -> W,
        ) -> Option<T> {
            let (news, heard) = unbounded_channel();
            let (run, stop, pause) = (self.run(), &self.stop, &self.pause);
            until_let_go(work(heard), Reins { told, run: &run, stop, pause, news }).await
        }
    }

    /// The one test of this process that sends it signals: every listener of a process hears them all.
    #[tokio::test(start_paused = true)]
    async fn a_second_signal_is_heard_however_soon_it_comes_and_a_closed_terminal_never_lets_go() {
        let mut told = Told::listen().unwrap();
        // Before there are signals that come late.
        another_terminal_pauses_lets_go_on_and_aborts(&mut told).await;
        let send = |signal| kill_process(getpid(), signal).unwrap();
        for signal in [Signal::INT, Signal::TERM] {
            // As often as it takes to be sure of it: which of two things is looked at first is left to chance.
            for _ in 0..20 {
                let held = Held::new();
                send(signal);
                let work = |mut heard: UnboundedReceiver<News>| async move {
                    heard.recv().await.unwrap();
                    send(signal);
                    std::future::pending::<()>().await;
                };
                assert_eq!(held.wait(&mut told, work).await, None);
                assert!(held.stop.load(Ordering::Relaxed));
                let asked = Control::read(&held.run()).unwrap().unwrap();
                assert_eq!((asked.want, asked.by.as_str()), (Want::Abort, name(signal)));
            }
        }
        let held = Held::new();
        send(Signal::HUP);
        let work = |mut heard: UnboundedReceiver<News>| async move {
            heard.recv().await.unwrap();
            send(Signal::HUP);
            tokio::task::yield_now().await;
            "done"
        };
        assert_eq!(held.wait(&mut told, work).await, Some("done"));
    }

    async fn another_terminal_pauses_lets_go_on_and_aborts(told: &mut Told) {
        let held = Held::new();
        let ask = |want| Control::new(want, "b@desk").write(&held.run()).unwrap();
        let (pause, stop) = (&held.pause, &held.stop);
        let work = |mut heard: UnboundedReceiver<News>| async move {
            ask(Want::Pause);
            let news = heard.recv().await.unwrap();
            assert!(news.paused && news.said.contains("fleet resume r"), "{news:?}");
            assert!(pause.is_set());
            ask(Want::Go);
            assert_eq!(heard.recv().await.unwrap(), News::goes_on("b@desk"));
            assert!(!pause.is_set());
            ask(Want::Pause);
            heard.recv().await.unwrap();
            ask(Want::Abort);
            assert_eq!(heard.recv().await.unwrap(), News::stopping("b@desk"));
            assert!(stop.load(Ordering::Relaxed) && !pause.is_set(), "whoever waits is told");
        };
        assert_eq!(held.wait(told, work).await, Some(()));
    }
}
