//! The `prooftally` command.

use std::process::ExitCode;

use clap::Parser;
use prooftally::cli::{self, Command};

fn main() -> ExitCode {
    let command = Command::parse();
    match cli::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            cli::exit_code(&error)
        }
    }
}
