//! `zms-agent`: see the library for how it works.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::sync::watch;
use zms_agent::fetch::Source;
use zms_agent::instance::Timing;
use zms_agent::layout::Layout;
use zms_agent::lock::InstanceLock;
use zms_agent::supervisor::server;
use zms_agent::{exec, host, status};
use zms_core::host::DesiredState;
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

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Follows this desired-state file instead of a portal.
    #[arg(long, env = "ZMS_DESIRED")]
    desired: PathBuf,
    /// Takes archives from this folder instead of a portal.
    #[arg(long, env = "ZMS_PACKAGES")]
    packages: PathBuf,
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
    match with_runtime(&layout, arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("zms-agent: {error:#}");
    ExitCode::FAILURE
}

fn with_runtime(layout: &Layout, command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match command {
        Command::Run(arguments) => runtime.block_on(run(layout.clone(), arguments)),
        Command::Status => {
            print!("{}", status::show(layout, SystemTime::now())?);
            Ok(())
        }
        Command::Logs { instance, lines, follow } => {
            let log = layout.log_file(&instance);
            runtime.block_on(status::print_log(&log, lines, follow)).with_context(|| format!("reading {}", log.display()))
        }
        Command::Exec { .. } => unreachable!("handled before the runtime was made"),
    }
}

async fn run(layout: Layout, arguments: RunArguments) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    std::fs::create_dir_all(layout.prefix().join("run/locks")).context("making the lock folder")?;
    let waiting = layout.agent_lock();
    let _lock = tokio::task::spawn_blocking(move || InstanceLock::wait(&waiting)).await?.context("taking the agent's lock")?;
    tracing::info!(prefix = %layout.prefix().display(), version = env!("CARGO_PKG_VERSION"), "acting for this host");
    let own = ["run".into(), "--desired".into(), text(&arguments.desired)?, "--packages".into(), text(&arguments.packages)?];
    server::write_agent(&layout, &own, BTreeMap::new()).context("making the agent a program of supervisord")?;
    let empty = DesiredState { generation: 0, supervisor: None, instances: Vec::new() };
    let remembered = host::remembered(&layout).unwrap_or_else(|error| {
        tracing::warn!(error = format!("{error:#}"), "cannot read the remembered desired state; waiting for a new one");
        None
    });
    let (current, desired) = watch::channel(remembered.unwrap_or(empty));
    tokio::spawn(host::follow_file(layout.clone(), arguments.desired, current));
    host::run(layout, Source::Folder(arguments.packages), desired, Timing::default()).await
}

/// A path as an absolute text: the agent that supervisord starts runs in another folder.
fn text(path: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path)?;
    absolute.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{}: is not UTF-8", path.display()))
}
