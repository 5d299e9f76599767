//! The binary: reads what was typed, starts the runtime, gives the exit code.

use std::process::ExitCode;

use clap::Parser;
use fleet::cli::Cli;
use fleet::commands::{self, Exit};

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
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("FLEET_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,russh=error")),
        )
        .with_writer(std::io::stderr)
        .init();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(error) => {
            tracing::error!("cannot start the runtime: {error}");
            Exit::Internal.into()
        }
    }
}
