//! `zms-agent`: see the library for how it works.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::{Parser, Subcommand};
use zms_agent::layout::Layout;
use zms_agent::portal::Waits;
use zms_agent::portal::join::{JoinError, Joined, join};
use zms_agent::run::{self, Mode};
use zms_agent::{exec, status};
use zms_core::names::InstanceId;

/// Makes a host equal to its desired state.
#[derive(Debug, Parser)]
#[command(name = "zms-agent", version)]
struct Arguments {
    /// The folder of ZMS on this host.
    #[arg(long, env = "ZMS_PREFIX", default_value = "/opt/zms", global = true)]
    prefix: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes this host one of a portal's. The token comes on standard input. Exit status 3: the portal refused.
    Join {
        /// The portal: https://portal.example:8443
        #[arg(long)]
        url: String,
        /// File with the certificate (PEM) that the portal's own must come from.
        #[arg(long)]
        ca: PathBuf,
    },
    /// Works on the desired state until it is ended; a second one waits for the first to end.
    Run(RunArguments),
    /// Starts one instance under its lock and becomes its process. Called by supervisord.
    Exec {
        /// Which one.
        instance: InstanceId,
    },
    /// What this host should run and what was found, also with the portal dead.
    Status,
    /// The last lines of an instance's log.
    Logs {
        /// Which one.
        instance: InstanceId,
        /// How many lines.
        #[arg(short = 'n', long, default_value_t = 50)]
        lines: usize,
        /// Goes on with what is written from now on.
        #[arg(short, long)]
        follow: bool,
    },
}

/// Without options: for the portal that this host joined.
#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Follows this desired-state file instead of a portal.
    #[arg(long, requires = "packages")]
    desired: Option<PathBuf>,
    /// Takes archives from this folder instead of a portal.
    #[arg(long, requires = "desired")]
    packages: Option<PathBuf>,
}

impl RunArguments {
    fn mode(self) -> Mode {
        match (self.desired, self.packages) {
            (Some(desired), Some(packages)) => Mode::Alone { desired, packages },
            _ => Mode::Portal,
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let layout = match Layout::new(arguments.prefix) {
        Ok(layout) => layout,
        Err(error) => return fail(&error.into()),
    };
    // No runtime and no thread before `exec`: it becomes another program.
    if let Command::Exec { instance } = &arguments.command {
        return exec::main(&layout, instance);
    }
    with_runtime(&layout, arguments.command).unwrap_or_else(|error| fail(&error))
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("zms-agent: {error:#}");
    ExitCode::FAILURE
}

fn with_runtime(layout: &Layout, command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match command {
        Command::Join { url, ca } => {
            log_to_standard_error();
            let joined = runtime.block_on(join(layout, &url, &ca, std::io::stdin().lock(), Waits::default()));
            return Ok(tell(joined));
        }
        Command::Run(arguments) => {
            log_to_standard_error();
            runtime.block_on(run::run(layout.clone(), arguments.mode()))?;
        }
        Command::Status => print!("{}", status::show(layout, SystemTime::now())?),
        Command::Logs { instance, lines, follow } => {
            let log = layout.log_file(&instance);
            runtime.block_on(status::print_log(&log, lines, follow)).with_context(|| format!("reading {}", log.display()))?;
        }
        Command::Exec { .. } => unreachable!("handled before the runtime was made"),
    }
    Ok(ExitCode::SUCCESS)
}

fn log_to_standard_error() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
}

/// How a join ended, for people and for the script that ran it.
fn tell(joined: Result<Joined, JoinError>) -> ExitCode {
    match joined {
        Ok(Joined::Now(host)) => println!("joined: this host is {host}"),
        Ok(Joined::Before(host, until)) => {
            println!("already joined: this host is {host}, its certificate is valid until {until}")
        }
        Err(JoinError::Refused(why)) => {
            eprintln!("zms-agent: {why}");
            return ExitCode::from(3);
        }
        Err(JoinError::Failed(error)) => return fail(&error),
    }
    ExitCode::SUCCESS
}
