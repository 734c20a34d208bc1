//! `mizzen proxy-config`: what a workload's proxy has, asked from its admin interface; or with `-f`
//! what it would have, from files alone.
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

use anyhow::{Context as _, bail};
use comfy_table::{ContentArrangement, Table, presets};
use local::offline::Beside;
use local::state::StateDir;
use serde_json::Value;

use crate::offline::{Mesh, Resources};

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
    workload: Option<String>,
    /// Answer from these files, without a mesh that runs
    #[arg(short, long = "file", value_name = "DIR")]
    files: Vec<PathBuf>,
    /// The workload, another way to say it
    #[arg(long, value_name = "WORKLOAD", conflicts_with = "workload")]
    from: Option<String>,
    /// With -f: a proxy that this file describes, in place of a workload
    #[arg(long, value_name = "FILE", requires = "files", conflicts_with_all = ["workload", "from"])]
    proxy: Option<PathBuf>,
    /// How to print it: a table, or the resources themselves
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// The directory of the running mesh
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Target {
    fn name(&self) -> Option<&str> {
        self.workload.as_deref().or(self.from.as_deref())
    }
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
        Kind::Secret(target) if !target.files.is_empty() => {
            bail!("secrets come from the agent of a mesh that runs; files have none");
        }
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

/// What the proxy would answer to `path`, from files.
fn offline(target: &Target, path: &str) -> anyhow::Result<Value> {
    let mesh = Mesh::read(&target.files)?;
    let party = mesh.party(target.name(), target.proxy.as_deref())?;
    if party.beside == Beside::Nothing {
        bail!("workload {} has no proxy", party.name);
    }
    let resources = Resources::of(&mesh.push, &party.proxy()?);
    Ok(if path.starts_with("/clusters") {
        crate::offline::cluster_statuses(&resources)
    } else {
        crate::offline::config_dump(&party, &resources)
    })
}

fn ask(target: &Target, path: &str) -> anyhow::Result<Value> {
    if !target.files.is_empty() {
        return offline(target, path);
    }
    let Some(workload) = target.name() else {
        bail!("say whose: mizzen proxy-config … WORKLOAD; `mizzen status` lists the workloads");
    };
    let state = StateDir::choose(target.state_dir.as_deref());
    let socket = state.workload(workload).join("admin.sock");
    if !state.socket().exists() {
        bail!(
            "no mesh is running (state directory {}); start one with: mizzen up DIR",
            state.path().display()
        );
    }
    if !socket.exists() {
        bail!(
            "workload {workload:?} has no proxy, or is not running; `mizzen status` lists the \
             workloads"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime
        .block_on(daemon::http_client::get(&socket, path, TIMEOUT))
        .with_context(|| format!("the proxy of {workload:?} does not answer"))?;
    if status != 200 {
        bail!("the proxy of {workload:?} answered {status} to {path}");
    }
    serde_json::from_slice(&body)
        .with_context(|| format!("the proxy of {workload:?} sent no JSON for {path}"))
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
