//! The binary: reads what was typed, starts the runtime, gives the exit code.

use std::process::ExitCode;

use clap::Parser;
use fleet::cli::Cli;
use fleet::commands::{self, Exit};
use fleet::ssh::QUIET;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // A simulated host starts this program for each command that it stands in for: quickly, and with nothing set up.
    if let Some(code) = fleet::lab::standin::called(std::env::args_os().skip(1)) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap's own code for usage, 2, means something else here.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit.into();
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter(&std::env::var("FLEET_LOG").unwrap_or_default()))
        .with_writer(std::io::stderr)
        // It would be told by a macro that panics where standard error is a terminal that is gone.
        .log_internal_errors(false)
        .init();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(error) => {
            tracing::error!("cannot start the runtime: {error}");
            Exit::Internal.into()
        }
    }
}

/// What `FLEET_LOG` asks for, warnings where it says nothing; never the SSH library's own debugging, which prints secrets.
fn filter(asked: &str) -> EnvFilter {
    let ours =
        asked.split(',').filter(|directive| !directive.trim().is_empty() && !directive.contains("russh"));
    let directives: Vec<&str> = std::iter::once("warn").chain(ours).chain([QUIET]).collect();
    EnvFilter::new(directives.join(","))
}
