//! `mizzen proxy-config`: what a workload's proxy has, asked from its admin interface.
//!
//! Works alike on Mizzen's proxy and on a stock Envoy: both speak Envoy's admin interface. Tables
//! have the columns that users of `istioctl proxy-config` know.

mod clusters;
mod dump;
mod endpoints;
mod listeners;
mod routes;
mod secrets;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use local::state::StateDir;
use serde_json::Value;

/// How long the proxy may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// Listeners, with what they match and where it goes
    #[command(visible_aliases = ["listener", "lds"])]
    Listeners(Target),
    /// Routes, by virtual host
    #[command(visible_aliases = ["route", "rds"])]
    Routes(Target),
    /// Clusters
    #[command(visible_aliases = ["cluster", "cds"])]
    Clusters(Target),
    /// Endpoints with their health
    #[command(visible_aliases = ["endpoint", "eds"])]
    Endpoints(Target),
    /// Certificates and trust bundles
    #[command(visible_aliases = ["secrets", "sds"])]
    Secret(Target),
    /// Everything, as the proxy's configuration dump
    All(Target),
}

#[derive(Debug, clap::Args)]
struct Target {
    /// The workload, such as reviews-v1 or bookinfo/reviews-v1
    workload: String,
    /// How to print it: a table, or the resources themselves
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The directory of the running mesh
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

/// What a subcommand shows: rows for people, resources for programs.
struct View {
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    resources: Value,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (target, path, view): (_, _, fn(&Value) -> View) = match &args.kind {
        Kind::Listeners(target) => (target, "/config_dump", listeners::view),
        Kind::Routes(target) => (target, "/config_dump", routes::view),
        Kind::Clusters(target) => (target, "/config_dump", clusters::view),
        Kind::Endpoints(target) => (target, "/clusters?format=json", endpoints::view),
        Kind::Secret(target) => (target, "/config_dump", secrets::view),
        Kind::All(target) => (target, "/config_dump?include_eds", dump::everything),
    };
    let answer = ask(target, path)?;
    print(
        &view(&answer),
        if matches!(args.kind, Kind::All(_)) { json(target.output) } else { target.output },
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A configuration dump has no table.
fn json(output: Output) -> Output {
    if output == Output::Table { Output::Json } else { output }
}

fn ask(target: &Target, path: &str) -> anyhow::Result<Value> {
    let state = StateDir::choose(target.state_dir.as_deref());
    let socket = state.workload(&target.workload).join("admin.sock");
    if !state.socket().exists() {
        anyhow::bail!(
            "no mesh is running (state directory {}); start one with: mizzen up DIR",
            state.path().display()
        );
    }
    if !socket.exists() {
        anyhow::bail!(
            "workload {:?} has no proxy, or is not running; `mizzen status` lists the workloads",
            target.workload
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime
        .block_on(daemon::http_client::get(&socket, path, TIMEOUT))
        .with_context(|| format!("the proxy of {:?} does not answer", target.workload))?;
    if status != 200 {
        anyhow::bail!("the proxy of {:?} answered {status} to {path}", target.workload);
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("the proxy of {:?} sent no JSON for {path}", target.workload))
}

fn print(view: &View, output: Output) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = anstream::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&view.resources)?)?,
        Output::Yaml => write!(out, "{}", serde_saphyr::to_string(&view.resources)?)?,
        Output::Table => writeln!(out, "{}", table(view))?,
    }
    Ok(())
}

fn table(view: &View) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(view.columns.iter().copied());
    for row in &view.rows {
        table.add_row(row.iter());
    }
    let text = table.to_string();
    text.lines()
        .map(|line| line.trim_end().strip_prefix(' ').unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}
