//! The `mizzen` binary: every role and every tool is a subcommand, one module each.
//!
//! This file only reads the command line and hands over. It must stay single-threaded until then:
//! `internal boot` enters a user namespace, which the kernel refuses to a process with threads, so
//! a subcommand that needs tokio starts it itself.

mod agent;
mod analyze;
mod bookinfo;
mod control;
mod exit;
mod explain;
mod internal;
mod logs;
mod offline;
mod proxy_config;
mod status;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A service mesh compatible with Istio, in one binary.
#[derive(Debug, Parser)]
#[command(name = "mizzen", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole mesh on this machine from a directory of Kubernetes and Istio YAML
    Up(up::Args),
    /// Show the workloads of the running mesh
    Status(status::Args),
    /// Print the logs of a workload's application and sidecar
    Logs(logs::Args),
    /// Show what a workload's proxy has: listeners, routes, clusters, endpoints, secrets
    #[command(visible_alias = "pc")]
    ProxyConfig(proxy_config::Args),
    /// Say where a call would go and why, from files alone: each proxy's decisions, step by step
    Explain(Box<explain::Args>),
    /// Find what is wrong or doubtful in a directory of configuration
    Analyze(analyze::Args),
    /// The control plane: configuration for proxies, certificates for workloads
    Control(control::Args),
    /// The proxy's companion: certificates, configuration, DNS, traffic capture; runs the proxy
    Agent(Box<agent::Args>),
    /// The parts of the Bookinfo example
    #[command(hide = true)]
    Bookinfo(bookinfo::Args),
    /// The processes behind `mizzen up`; not for use by hand
    #[command(hide = true, subcommand)]
    Internal(internal::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Up(args) => up::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Logs(args) => logs::run(&args),
        Command::ProxyConfig(args) => proxy_config::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Control(args) => control::run(args),
        Command::Agent(args) => agent::run(*args),
        Command::Bookinfo(args) => bookinfo::run(args),
        Command::Internal(command) => internal::run(&command),
    };
    exit::code(result)
}
