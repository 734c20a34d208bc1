//! `mizzen agent capture`: options named as Istio's annotations are.

use std::process::ExitCode;

use agent::capture::{self, CaptureOptions, Exempt, Ipv6Capture, Ports, Ranges};
use anyhow::bail;
use clap::ValueEnum;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// The proxy runs as user 1337
    Uid,
    /// The proxy's sockets carry mark 1337
    Mark,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnOff {
    Auto,
    On,
    Off,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How the proxy's own traffic is told apart
    #[arg(long, value_enum, default_value = "uid")]
    exempt: By,
    /// The user and group, or the mark, that tells the proxy apart
    #[arg(long, value_name = "NUMBER", default_value_t = 1337)]
    exempt_id: u32,
    /// Istio's interception mode; only REDIRECT is there
    #[arg(long, default_value = "REDIRECT")]
    mode: String,
    /// Destinations to capture: CIDRs, or `*`
    #[arg(long, visible_alias = "include-outbound", value_name = "CIDRS", default_value = "*")]
    include_outbound_ip_ranges: Ranges,
    /// Destinations to leave alone
    #[arg(long, visible_alias = "exclude-outbound", value_name = "CIDRS", default_value = "")]
    exclude_outbound_ip_ranges: Ranges,
    /// Ports to capture whatever the destination
    #[arg(long, value_name = "PORTS", default_value = "")]
    include_outbound_ports: Ports,
    /// Ports to leave alone
    #[arg(long, value_name = "PORTS", default_value = "")]
    exclude_outbound_ports: Ports,
    /// Incoming ports to capture: a list, or `*`
    #[arg(long, value_name = "PORTS", default_value = "*")]
    include_inbound_ports: Ports,
    /// Incoming ports to leave alone
    #[arg(long, value_name = "PORTS", default_value = "")]
    exclude_inbound_ports: Ports,
    /// Interfaces to leave alone
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    exclude_interfaces: Vec<String>,
    /// Leave DNS alone
    #[arg(long)]
    no_dns: bool,
    /// Whether to capture IPv6; auto: if this namespace has an IPv6 address
    #[arg(long, value_enum, default_value = "auto")]
    ipv6: OnOff,
    /// Only print the rules
    #[arg(long, conflicts_with = "clean")]
    print: bool,
    /// Remove the rules
    #[arg(long)]
    clean: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.clean {
        capture::clean()?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = options(args)?;
    if args.print {
        anstream::print!("{}", capture::print(&options));
        return Ok(ExitCode::SUCCESS);
    }
    let applied = capture::apply(&options)?;
    for note in applied.notes {
        anstream::eprintln!("note: {note}");
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: &Args) -> anyhow::Result<CaptureOptions> {
    if args.mode != "REDIRECT" {
        bail!("--mode {}: only REDIRECT is supported; use it for this workload", args.mode);
    }
    let exempt = match args.exempt {
        By::Uid => Exempt::Uid(args.exempt_id),
        By::Mark => Exempt::Mark(args.exempt_id),
    };
    let listed = |ports: &Ports, option: &str| match ports {
        Ports::List(ports) => Ok(ports.clone()),
        Ports::All => bail!("{option}: give a list of ports; `*` is not possible here"),
    };
    let Ranges::List(exclude_outbound_ranges) = args.exclude_outbound_ip_ranges.clone() else {
        bail!("--exclude-outbound-ip-ranges: give CIDRs; `*` would capture nothing");
    };
    let mut options = CaptureOptions::new(exempt);
    if args.no_dns {
        options.dns_port = None;
    }
    Ok(CaptureOptions {
        include_inbound_ports: args.include_inbound_ports.clone(),
        exclude_inbound_ports: listed(&args.exclude_inbound_ports, "--exclude-inbound-ports")?,
        include_outbound_ranges: args.include_outbound_ip_ranges.clone(),
        exclude_outbound_ranges,
        include_outbound_ports: listed(&args.include_outbound_ports, "--include-outbound-ports")?,
        exclude_outbound_ports: listed(&args.exclude_outbound_ports, "--exclude-outbound-ports")?,
        exclude_interfaces: args.exclude_interfaces.clone(),
        ipv6: match args.ipv6 {
            OnOff::Auto => Ipv6Capture::Auto,
            OnOff::On => Ipv6Capture::On,
            OnOff::Off => Ipv6Capture::Off,
        },
        ..options
    })
}
