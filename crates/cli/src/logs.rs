//! `mizzen logs WORKLOAD`: what the application and the sidecar wrote, from files of the state
//! directory, also after the mesh has ended.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use local::state::StateDir;

/// Print the logs of a workload's application and sidecar
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The workload, as in `mizzen status`; or `control` or `runtime`
    #[arg(value_name = "WORKLOAD")]
    workload: String,
    /// Whose log
    #[arg(short, long, value_enum, default_value_t = Container::App)]
    container: Container,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// The mesh's state directory
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Container {
    /// The sidecar or gateway, with its access log
    Proxy,
    /// The application
    App,
    /// Both
    All,
}

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Prints logs.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let state = StateDir::choose(args.state_dir.as_deref());
    let files = choose(&state, args)?;
    let prefixed = files.len() > 1;
    let mut followed = Vec::new();
    for (prefix, path) in files {
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let prefix = if prefixed { format!("[{prefix}] ") } else { String::new() };
        followed.push(Followed { prefix, file, partial: Vec::new() });
    }
    for followed in &mut followed {
        followed.print_present(args.tail)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        std::thread::sleep(POLL);
        for followed in &mut followed {
            followed.print_new()?;
        }
    }
}

/// The files that the user means, each with a name for the lines' prefix.
fn choose(state: &StateDir, args: &Args) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let name = &args.workload;
    if matches!(name.as_str(), "control" | "runtime") {
        let path = state.own_log(name);
        anyhow::ensure!(path.exists(), "there is no log {}", path.display());
        return Ok(vec![("process", path)]);
    }
    let name = resolve(state, name)?;
    let application = ("app", state.application_log(&name));
    let proxy = ("proxy", state.proxy_log(&name));
    let has_content = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    Ok(match args.container {
        Container::Proxy => vec![proxy],
        Container::All => vec![application, proxy],
        // A gateway has no application.
        Container::App
            if !has_content(&application.1)
                && has_content(&proxy.1)
                && is_gateway(state, &name) =>
        {
            vec![proxy]
        }
        Container::App => vec![application],
    })
}

fn is_gateway(state: &StateDir, name: &str) -> bool {
    crate::status::fetch(state)
        .is_ok_and(|status| status.find(name).is_some_and(|workload| workload.gateway))
}

/// A workload's name as it is in file names. `<namespace>/<workload>` also finds one whose name is
/// not ambiguous.
fn resolve(state: &StateDir, given: &str) -> anyhow::Result<String> {
    if state.application_log(given).exists() {
        return Ok(given.to_owned());
    }
    let running = crate::status::fetch(state);
    if let Some(workload) = running.as_ref().ok().and_then(|status| status.find(given)) {
        return Ok(workload.name.clone());
    }
    let known: BTreeSet<String> = match running {
        Ok(status) => status.workloads.into_iter().map(|workload| workload.name).collect(),
        Err(error) => {
            let logged = logged(state);
            if logged.is_empty() {
                return Err(error);
            }
            logged
        }
    };
    let known: Vec<String> = known.into_iter().collect();
    anyhow::bail!("workload {given:?} not found; running: {}", known.join(", "))
}

/// The workloads that have logs.
fn logged(state: &StateDir) -> BTreeSet<String> {
    let entries = fs::read_dir(state.path().join("logs")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_suffix(".proxy.log")?.to_owned())
        })
        .collect()
}

/// A log that is being printed.
struct Followed {
    prefix: String,
    file: File,
    partial: Vec<u8>,
}

impl Followed {
    fn print_present(&mut self, tail: Option<usize>) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        let skip = tail.map_or(0, |lines| start_of_tail(&bytes, lines));
        self.print(&bytes[skip..])
    }

    fn print_new(&mut self) -> io::Result<()> {
        // A new mesh starts its logs anew.
        let position = self.file.stream_position()?;
        if self.file.metadata()?.len() < position {
            self.file.seek(SeekFrom::Start(0))?;
        }
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        self.print(&bytes)
    }

    fn print(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut output = anstream::stdout().lock();
        if self.prefix.is_empty() {
            output.write_all(bytes)?;
            return output.flush();
        }
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            output.write_all(self.prefix.as_bytes())?;
            output.write_all(&self.partial[..=end])?;
            self.partial.drain(..=end);
        }
        output.flush()
    }
}

/// Where the last `lines` lines begin.
fn start_of_tail(bytes: &[u8], lines: usize) -> usize {
    if lines == 0 {
        return bytes.len();
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        let text = b"a\nbb\nc\n";
        assert_eq!(&text[start_of_tail(text, 2)..], b"bb\nc\n");
        assert_eq!(&text[start_of_tail(text, 9)..], text);
        assert_eq!(&text[start_of_tail(text, 0)..], b"");
        assert_eq!(&b"a\nb"[start_of_tail(b"a\nb", 1)..], b"b");
    }
}
