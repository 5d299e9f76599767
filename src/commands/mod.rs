//! One file a subcommand: what is typed becomes calls, what comes back becomes output and an exit code.

use std::process::ExitCode;

use crate::cli::{Cli, Sub};
use crate::window::Kind;

mod apply;
mod backup;
mod check;
mod cleanup;
mod conduct;
mod confirm;
mod control;
mod doctor;
mod exec;
mod exit;
mod facts;
mod handover;
mod inventory;
mod lab;
mod lock;
mod nextcloud;
mod output;
mod plan;
mod rehearse;
mod report;
mod restore;
mod resume;
mod runs;
mod select;
mod status;
mod stop;
mod trust;
mod tunnel;
mod upgrade;
mod vars;
mod visit;
mod watch;
mod window;

pub use exit::{Exit, Trouble};

/// Does what was typed.
pub async fn run(cli: Cli) -> ExitCode {
    let result = match &cli.command {
        Sub::Inventory(sub) => inventory::run(&cli, sub),
        Sub::Trust(args) => trust::run(&cli, args).await,
        Sub::Facts(args) => facts::run(&cli, args).await,
        Sub::Check(args) => check::run(&cli, args).await,
        Sub::Plan(args) => plan::run(&cli, args).await,
        Sub::Upgrade(args) => upgrade::run(&cli, args).await,
        Sub::Resume(args) => resume::run(&cli, args).await,
        Sub::Confirm(args) => confirm::run(&cli, args),
        Sub::Apply(args) => apply::run(&cli, args).await,
        Sub::Exec(args) => exec::run(&cli, args).await,
        Sub::Restore(args) => restore::run(&cli, args).await,
        Sub::Backup(sub) => backup::run(&cli, sub),
        Sub::Doctor(args) => doctor::run(&cli, args).await,
        Sub::Lock(sub) => lock::run(&cli, sub).await,
        Sub::Window(sub) => window::run(&cli, Kind::Flux, sub).await,
        Sub::K3sWindow(sub) => window::run(&cli, Kind::K3s, sub).await,
        Sub::Vars(sub) => vars::run(&cli, sub).await,
        Sub::Cleanup(args) => cleanup::run(&cli, args).await,
        Sub::Nextcloud(sub) => nextcloud::run(&cli, sub).await,
        Sub::Report(args) => report::run(&cli, args),
        Sub::Status(args) => status::run(&cli, args),
        Sub::Watch(args) => watch::run(&cli, args).await,
        Sub::Pause(args) => control::pause(&cli, args),
        Sub::Abort(args) => control::abort(&cli, args),
        Sub::Runs(args) => runs::run(&cli, args),
        Sub::Lab(sub) => lab::run(&cli, sub).await,
        Sub::Tunnel(args) => match tunnel::run(&cli, args).await {
            // The program's own code, whatever it means there.
            Ok(code) => return code,
            Err(trouble) => Err(trouble),
        },
        Sub::Rehearse(args) => rehearse::run(&cli, args).await,
    };
    exit::close(result)
}

/// What was typed, for the record; a word that is no text (a path may be so) as far as it is.
fn typed() -> Vec<String> {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect()
}
