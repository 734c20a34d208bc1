//! `mizzen explain`: where a call would go and why, from files alone.
//!
//! The control plane's own generation, the codec and the proxy's own engine decide; this module
//! only walks with the call and writes down what each of them says. It must not decide anything
//! by itself that a proxy decides.

mod arrive;
mod call;
mod describe;
mod destination;
mod fault;
mod hop;
mod http;
mod journey;
mod miss;
mod name;
mod origin;
mod policy;
mod render;
mod travel;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use config::{Spec, label};
use local::offline::Beside;

use self::call::{Call, Parts, Transport};
use self::travel::Start;
use crate::offline::{Mesh, Party};

/// Say where a call would go and why, from files alone
///
/// Exits with 0 whatever becomes of the call; with 1 when the files or the call are not valid.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory (or file) with the mesh's YAML; may be given several times
    #[arg(short, long = "file", value_name = "DIR", required = true)]
    files: Vec<PathBuf>,
    /// Who calls: a Deployment or Pod, perhaps after its namespace (bookinfo/productpage-v1)
    #[arg(long, value_name = "WORKLOAD")]
    from: Option<String>,
    /// The call enters at this gateway: a workload, or a Gateway object
    #[arg(long, value_name = "NAME")]
    to_gateway: Option<String>,
    /// A proxy that this file describes (type, addresses, namespace, labels, serviceAccount,
    /// metadata), in place of a workload of the directory
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    proxy: Option<PathBuf>,
    /// The call: [METHOD] URL, such as GET http://reviews:9080/reviews/0; also tcp://host:port
    #[arg(value_names = ["METHOD", "URL"], num_args = 1..=2, required = true)]
    call: Vec<String>,
    /// A header of the request; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The server name of the client's own TLS [default: the URL's host]
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The ALPN names of the client's own TLS
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    alpn: Vec<String>,
    /// The call arrives over mutual TLS, whatever the client's proxy would do
    #[arg(long, conflicts_with = "plaintext")]
    mtls: bool,
    /// The call arrives in plain text, as from a workload without a sidecar
    #[arg(long)]
    plaintext: bool,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One line a decision, for people
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Explains a call.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let transport = match (args.mtls, args.plaintext) {
        (true, _) => Some(Transport::Mtls),
        (_, true) => Some(Transport::Plaintext),
        _ => None,
    };
    let call = Call::new(Parts {
        words: &args.call,
        headers: &args.headers,
        sni: args.sni.as_deref(),
        alpn: &args.alpn,
        transport,
    })?;
    let mesh = Mesh::read(&args.files)?;
    let journey = travel::explain(&mesh, &start(args, &mesh)?, &call)?;
    let mut out = anstream::stdout().lock();
    match args.output {
        Output::Text => write!(out, "{}", render::text(&journey))?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&journey)?)?,
        Output::Yaml => write!(out, "{}", serde_saphyr::to_string(&journey)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start(args: &Args, mesh: &Mesh) -> anyhow::Result<Start> {
    if let Some(name) = &args.to_gateway {
        let from = match (&args.from, &args.proxy) {
            (None, None) => None,
            (from, proxy) => Some(Box::new(mesh.party(from.as_deref(), proxy.as_deref())?)),
        };
        return Ok(Start::Gateway(Box::new(gateway(mesh, name)?), from));
    }
    let party = Box::new(mesh.party(args.from.as_deref(), args.proxy.as_deref())?);
    Ok(match party.beside {
        Beside::Gateway => Start::Gateway(party, None),
        Beside::Sidecar | Beside::Nothing => Start::Workload(party),
    })
}

/// The gateway that a name means: its workload, or one that a Gateway object selects.
fn gateway(mesh: &Mesh, name: &str) -> anyhow::Result<Party> {
    let gateways = || mesh.workloads.iter().filter(|one| one.beside == Beside::Gateway);
    if let Ok(workload) = mesh.workload(name)
        && workload.beside == Beside::Gateway
    {
        return Ok(Party::from_workload(workload));
    }
    let (namespace, short) = match name.split_once('/') {
        Some((namespace, short)) => (Some(namespace), short),
        None => (None, name),
    };
    let selector = mesh.objects.iter().find_map(|object| match &object.spec {
        Spec::Gateway(spec)
            if object.meta.name == short
                && namespace.is_none_or(|namespace| object.meta.namespace == namespace) =>
        {
            Some(&spec.selector)
        }
        _ => None,
    });
    let found =
        selector.and_then(|selector| gateways().find(|one| label::selects(selector, &one.labels)));
    match found {
        Some(workload) => Ok(Party::from_workload(workload)),
        None => {
            let known: Vec<String> = gateways().map(crate::offline::full_name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            bail!("{name:?} is no gateway; the gateways are: {known}")
        }
    }
}

#[cfg(test)]
mod tests;
