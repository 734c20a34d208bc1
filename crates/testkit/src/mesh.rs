//! A whole mesh for a test: `mizzen up` on a copy of a directory, and what tests ask of it.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// How long a mesh may take to be ready.
const START: Duration = Duration::from_secs(120);
/// How long it may take to be gone.
const STOP: Duration = Duration::from_secs(40);

/// A running mesh; dropping it ends it.
#[derive(Debug)]
pub struct Mesh {
    /// The directory that it watches: a copy, free to be edited.
    pub dir: PathBuf,
    /// Where the ingress gateway listens.
    pub gateway: SocketAddr,
    binary: PathBuf,
    child: Child,
    work: TempDir,
}

impl Mesh {
    /// Starts `binary up` on a copy of `source` and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready in two minutes; the error holds what it printed.
    pub fn up(binary: &Path, source: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let work = tempfile::Builder::new().prefix("mz").tempdir_in("/tmp")?;
        let dir = work.path().join("config");
        copy_yaml(source, &dir)?;
        Self::up_in(binary, work, dir, arguments)
    }

    /// The same, on files given as names and texts.
    ///
    /// # Errors
    /// As [`Mesh::up`].
    pub fn up_with(
        binary: &Path,
        files: &[(&str, &str)],
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let work = tempfile::Builder::new().prefix("mz").tempdir_in("/tmp")?;
        let dir = work.path().join("config");
        fs::create_dir_all(&dir)?;
        for (name, text) in files {
            fs::write(dir.join(name), text)?;
        }
        Self::up_in(binary, work, dir, arguments)
    }

    fn up_in(
        binary: &Path,
        work: TempDir,
        dir: PathBuf,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let gateway = free_address()?;
        let printed = fs::File::create(work.path().join("up.log"))?;
        let child = Command::new(binary)
            .arg("up")
            .arg(&dir)
            .arg("--state-dir")
            .arg(work.path().join("s"))
            .arg("--gateway-address")
            .arg(gateway.to_string())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(printed.try_clone()?)
            .stderr(printed)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut mesh = Self { dir, gateway, binary: binary.to_owned(), child, work };
        mesh.wait_ready()?;
        Ok(mesh)
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("mizzen up ended with {status}:\n{}", self.printed());
            }
            let settled = self.printed().contains("press Ctrl-C to stop");
            if settled && self.status().is_ok_and(|status| all_ready(&status)) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not ready in time:\n{}", self.printed());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.work.path().join("s")
    }

    /// What `mizzen up` printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        fs::read_to_string(self.work.path().join("up.log")).unwrap_or_default()
    }

    /// The process of `mizzen up`.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a subcommand against this mesh.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("MIZZEN_STATE_DIR", self.state()).stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// What a subcommand prints, if it succeeds.
    ///
    /// # Errors
    /// When it fails; the error holds what it said.
    pub fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "mizzen {}: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `mizzen status -o json`.
    ///
    /// # Errors
    /// When no mesh answers.
    pub fn status(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.ask(&["status", "-o", "json"])?)?)
    }

    /// Replaces `from` by `to` in one of the mesh's files, atomically.
    ///
    /// # Errors
    /// When the file does not hold `from`.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let path = self.dir.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{file} does not hold {from:?}");
        self.write(file, &text.replace(from, to))
    }

    /// Writes one of the mesh's files, atomically.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let fresh = self.work.path().join("fresh.tmp");
        fs::write(&fresh, text)?;
        Ok(fs::rename(fresh, self.dir.join(file))?)
    }

    /// Ends the mesh as Ctrl-C does, and returns how it exited.
    ///
    /// # Errors
    /// When it is not gone in time.
    pub fn stop(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        kill(pid(&self.child), Signal::SIGINT)?;
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "mizzen up does not end:\n{}", self.printed());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        if self.stop().is_err() {
            let _already_gone = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn all_ready(status: &Value) -> bool {
    let workloads = status["workloads"].as_array();
    workloads.is_some_and(|list| {
        !list.is_empty() && list.iter().all(|one| one["ready"] == Value::Bool(true))
    })
}

/// A loopback address that nobody listens on.
///
/// # Errors
/// When the system has none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn copy_yaml(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.extension().is_some_and(|extension| extension == "yaml") {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Every process whose command line holds `part`, by the kernel's list.
#[must_use]
pub fn processes_with(part: &str) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let mut raw = Vec::new();
            fs::File::open(entry.path().join("cmdline")).ok()?.read_to_end(&mut raw).ok()?;
            let line = String::from_utf8_lossy(&raw).replace('\0', " ").trim().to_owned();
            line.contains(part).then_some((pid, line))
        })
        .collect()
}
