//! `mizzen status`: the table of workloads, and the same for programs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use comfy_table::Table;
use local::state::StateDir;
use local::status::{Status, WorkloadStatus};

/// Show the workloads of the running mesh
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The running mesh's state directory [default: $MIZZEN_STATE_DIR, $XDG_RUNTIME_DIR/mizzen or
    /// /tmp/mizzen-UID]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Columns, for people
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Prints the status.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let status = fetch(&StateDir::choose(args.state_dir.as_deref()))?;
    match args.output {
        Output::Table => print(&table(&status)),
        Output::Json => print(&serde_json::to_string_pretty(&status)?),
        Output::Yaml => print(serde_saphyr::to_string(&status)?.trim_end()),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The status of the mesh that runs with this state directory.
pub(crate) fn fetch(state: &StateDir) -> anyhow::Result<Status> {
    let status = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")?
        .block_on(local::status::fetch(state))?;
    status.with_context(|| {
        let directory = state.path().display();
        format!("no mesh is running (state directory {directory}); start one with: mizzen up DIR")
    })
}

/// Prints a text and a newline; a reader that went away is an error like another.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(anstream::stdout().lock(), "{text}")
}

/// The status for people.
pub(crate) fn table(status: &Status) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header([
        "WORKLOAD",
        "PROXY",
        "ADDRESS",
        "IDENTITY",
        "CERT EXPIRES",
        "XDS",
        "STATUS",
    ]);
    for workload in &status.workloads {
        table.add_row(row(workload));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    if status.workloads.is_empty() {
        text = vec!["no workloads: the directory has no Deployment".to_owned()];
    }
    text.push(String::new());
    for gateway in &status.gateways {
        let state = if gateway.serving { "" } else { "  (no gateway serves it)" };
        text.push(format!("gateway: {}{state}", gateway.url));
    }
    if !status.control.ready {
        let why = status.control.message.as_deref().unwrap_or("starting");
        text.push(format!("control plane: not ready ({why})"));
    }
    let troubles = status.workloads.iter().filter(|workload| !workload.ready);
    for workload in troubles {
        if let Some(message) = &workload.message {
            text.push(format!("{}: {message}", workload.name));
        }
    }
    for diagnostic in &status.diagnostics {
        text.push(diagnostic.clone());
    }
    text.join("\n").trim_end().to_owned()
}

fn row(workload: &WorkloadStatus) -> [String; 7] {
    let dash = || "-".to_owned();
    let phase = match workload.restarts {
        0 => workload.phase.to_string(),
        1 => format!("{} (1 restart)", workload.phase),
        many => format!("{} ({many} restarts)", workload.phase),
    };
    [
        workload.name.clone(),
        workload.proxy.map_or_else(dash, |proxy| proxy.to_string()),
        workload.address.to_string(),
        workload.spiffe_id.clone().unwrap_or_else(dash),
        workload.certificate_expires.as_deref().map_or_else(dash, seconds),
        workload.xds.map_or_else(dash, |xds| xds.to_string()),
        phase,
    ]
}

/// A time to the second.
fn seconds(time: &str) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => time.to_owned(),
    }
}
