//! `fleet tunnel`: a program of this machine with the cluster's API before it.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::stop::Told;
use super::{Exit, Trouble, output};
use crate::cli::{Cli, TunnelArgs};
use crate::form::meant;
use crate::inventory;
use crate::kubeconfig::{self, KubeconfigError};
use crate::remote::{RemoteError, quote};
use crate::ssh::{self, Tunnel};

/// How long a program that is asked to end may take.
const GRACE: Duration = Duration::from_secs(10);

/// Opens the tunnel, and runs the program, or waits for Ctrl-C.
pub(super) async fn run(cli: &Cli, args: &TunnelArgs) -> Result<ExitCode, Trouble> {
    let inventory = inventory::load(&cli.inventory).map_err(Trouble::usage)?;
    let Some(cluster) = inventory.clusters.get(&args.cluster) else {
        let hint = match meant(&args.cluster, inventory.clusters.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => "`fleet inventory show` lists what there is.".to_owned(),
        };
        return Err(Trouble::usage(format!(
            "there is no cluster {:?}; {hint} A tunnel leads to one",
            args.cluster
        )));
    };
    let failed = |error: &dyn std::fmt::Display| Trouble::cluster(Exit::Failed, &cluster.name, error);
    let session = ssh::connect(&cluster.host).await.map_err(|error| failed(&error))?;
    let kubeconfig = kubeconfig::read(&session, cluster).await.map_err(|error| match error {
        KubeconfigError::Remote(error) => failed(&error),
        other => failed(&format!("{other}; see docs/ssh.md#a-tunnel-to-the-api")),
    })?;
    let tunnel = session.tunnel(kubeconfig.port()).await.map_err(|error| failed(&error))?;
    let file = kubeconfig.file(tunnel.local_port())?;
    let done = match args.program.split_first() {
        None => hold(&tunnel, &file.path()).await?.map(|()| ExitCode::SUCCESS),
        Some((name, words)) => serve(&tunnel, &file.path(), name, words).await?.map(exit_code),
    };
    drop(tunnel);
    session.close().await;
    done.map_err(|lost| lost_to(&cluster.name, &lost, args))
}

fn lost_to(cluster: &str, lost: &RemoteError, args: &TunnelArgs) -> Trouble {
    let Some(program) = args.program.first() else {
        return Trouble::cluster(Exit::Failed, cluster, lost);
    };
    Trouble::cluster(
        Exit::InDoubt,
        cluster,
        format!(
            "{} was ended, because the tunnel is gone: {lost}. What it had asked of the cluster may have been done or not; look \
             at the cluster before you start it again",
            program.to_string_lossy()
        ),
    )
}

/// Serves whoever uses the file, until the operator ends it.
async fn hold(tunnel: &Tunnel, file: &Path) -> Result<Result<(), RemoteError>, Trouble> {
    let mut told = Told::listen()?;
    output::print(&format!(
        "# For another terminal, until Ctrl-C here:\nexport KUBECONFIG={}\n",
        quote(&file.to_string_lossy())
    ))?;
    tokio::select! {
        lost = tunnel.serve() => Ok(Err(lost)),
        _ = told.next() => Ok(Ok(())),
    }
}

/// Serves the program until it ends.
async fn serve(
    tunnel: &Tunnel,
    file: &Path,
    name: &OsStr,
    words: &[OsString],
) -> Result<Result<ExitStatus, RemoteError>, Trouble> {
    let mut told = Told::listen()?;
    let mut running = Running::start(name, words, file)?;
    let serving = tunnel.serve();
    tokio::pin!(serving);
    loop {
        tokio::select! {
            status = running.child.wait() => return Ok(Ok(status?)),
            signal = told.next() => running.pass_on(signal),
            lost = &mut serving => {
                running.end().await;
                return Ok(Err(lost));
            }
        }
    }
}

/// The program's own exit code; as a shell says it where a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// The program.
struct Running {
    child: Child,
    pid: Option<Pid>,
    /// At a terminal the program shares this one's group: it may read, and Ctrl-C reaches it without help.
    shares_terminal: bool,
}

impl Running {
    fn start(name: &OsStr, words: &[OsString], file: &Path) -> Result<Self, Trouble> {
        let shares_terminal = std::io::stdin().is_terminal();
        let mut command = Command::new(name);
        command.args(words).env("KUBECONFIG", file).kill_on_drop(true);
        if !shares_terminal {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| {
            Trouble::usage(format!("{} cannot be started: {error}", name.to_string_lossy()))
        })?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, pid, shares_terminal })
    }

    /// Hands on what this process was told.
    fn pass_on(&self, signal: Signal) {
        // The terminal has told everybody in front of it.
        if !(self.shares_terminal && signal == Signal::INT) {
            self.tell(signal);
        }
    }

    fn tell(&self, signal: Signal) {
        // It may have ended just now.
        let _ = match self.pid {
            None => Ok(()),
            Some(pid) if self.shares_terminal => kill_process(pid, signal),
            Some(pid) => kill_process_group(pid, signal),
        };
    }

    /// Ends it: asked first, then not.
    async fn end(&mut self) {
        self.tell(Signal::TERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.tell(Signal::KILL);
            let _ = self.child.wait().await;
        }
    }
}
