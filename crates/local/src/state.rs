//! The state directory: where things are in it, who holds it, and what is left when a mesh ends.
//!
//! ARCHITECTURE.md lists its files. A replica's own directory is `r/<number>`; `w/<workload>` is a
//! link to it, so that a replica can be replaced under the same name while the old one drains.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::{env, io};

use serde::{Deserialize, Serialize};

/// What can be wrong with a state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another mesh runs with it.
    #[error(
        "a mesh is already running with state directory {dir} (process {pid}); \
         stop it with Ctrl-C or `kill {pid}`, or choose another directory with --state-dir"
    )]
    Locked {
        /// The state directory.
        dir: String,
        /// The other mesh's `mizzen up`.
        pid: String,
    },
    /// Somebody else owns it, and could put files under ours.
    #[error(
        "state directory {0} belongs to another user; choose one of yours with --state-dir or $MIZZEN_STATE_DIR"
    )]
    Foreign(String),
    /// Unix socket paths have at most 107 bytes.
    #[error(
        "state directory {0} has too long a path for Unix sockets; choose a shorter one with --state-dir"
    )]
    TooLong(String),
    /// The file system refused something.
    #[error("state directory {dir}: {source}")]
    Io {
        /// The file or directory.
        dir: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The longest part that is added to a state directory's path for a socket.
const LONGEST_SOCKET: &str = "/control/debug.sock.tmp";
const SOCKET_PATH_MAX: usize = 107;

/// A state directory, by its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The directory that the user chose, or the default: `$MIZZEN_STATE_DIR`, else
    /// `$XDG_RUNTIME_DIR/mizzen`, else `/tmp/mizzen-<uid>`.
    #[must_use]
    pub fn choose(given: Option<&Path>) -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = given
            .map(Path::to_path_buf)
            .or_else(|| set("MIZZEN_STATE_DIR"))
            .or_else(|| {
                set("XDG_RUNTIME_DIR").filter(|dir| dir.is_dir()).map(|dir| dir.join("mizzen"))
            })
            .unwrap_or_else(|| format!("/tmp/mizzen-{}", nix::unistd::getuid()).into());
        Self(std::path::absolute(&path).unwrap_or(path))
    }

    /// Its path, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The runtime's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.0.join("mizzen.sock")
    }

    /// The log of a workload's application.
    #[must_use]
    pub fn application_log(&self, workload: &str) -> PathBuf {
        self.0.join("logs").join(format!("{}.log", file_name(workload)))
    }

    /// The log of a workload's sidecar or gateway.
    #[must_use]
    pub fn proxy_log(&self, workload: &str) -> PathBuf {
        self.0.join("logs").join(format!("{}.proxy.log", file_name(workload)))
    }

    /// The log of a process of the mesh itself: `control` or `runtime`.
    #[must_use]
    pub fn own_log(&self, process: &str) -> PathBuf {
        self.0.join("logs").join(format!("{process}.log"))
    }

    /// The link to the directory of the replica that has a workload's name now. The proxy's admin
    /// socket is `admin.sock` in it.
    #[must_use]
    pub fn workload(&self, workload: &str) -> PathBuf {
        self.0.join("w").join(file_name(workload))
    }

    /// The real directory of a replica.
    pub(crate) fn replica(&self, number: u16) -> PathBuf {
        self.0.join("r").join(number.to_string())
    }

    /// Where the control plane finds Pods and EndpointSlices.
    pub(crate) fn registry(&self) -> PathBuf {
        self.0.join("registry")
    }

    /// The certificate authority's files; they outlive the mesh, so that its root stays the same.
    pub(crate) fn ca(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// The public key of the workloads' tokens.
    pub(crate) fn token_key(&self) -> PathBuf {
        self.0.join("tokens/issuer.pub.pem")
    }

    /// The control plane's debug socket.
    #[must_use]
    pub fn debug_socket(&self) -> PathBuf {
        self.0.join("control/debug.sock")
    }

    /// Makes the directory, if need be, for its owner alone.
    ///
    /// # Errors
    /// When it belongs to somebody else, cannot be made, or its path is too long for sockets.
    pub fn create(&self) -> Result<(), StateError> {
        let shown = || self.0.display().to_string();
        if self.0.as_os_str().len() + LONGEST_SOCKET.len() > SOCKET_PATH_MAX {
            return Err(StateError::TooLong(shown()));
        }
        let failed = |source| StateError::Io { dir: shown(), source };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        let metadata = fs::symlink_metadata(&self.0).map_err(failed)?;
        if !metadata.is_dir() || metadata.uid() != nix::unistd::getuid().as_raw() {
            return Err(StateError::Foreign(shown()));
        }
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(failed)
    }

    /// Takes the directory for this process and for those that inherit the lock.
    ///
    /// # Errors
    /// [`StateError::Locked`] when another mesh has it.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let path = self.0.join("lock");
        let failed = |source| StateError::Io { dir: path.display().to_string(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let dir = self.0.display().to_string();
                return Err(StateError::Locked { dir, pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Lock(file))
    }

    /// Removes what an ended mesh does not need any more, and makes the directories of a new one.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn prepare(&self) -> Result<(), StateError> {
        self.clean();
        for directory in ["logs", "registry", "ca", "tokens", "control", "w", "r"] {
            let path = self.0.join(directory);
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| StateError::Io { dir: path.display().to_string(), source })?;
        }
        if let Ok(logs) = fs::read_dir(self.0.join("logs")) {
            for log in logs.flatten() {
                let _ = fs::remove_file(log.path());
            }
        }
        Ok(())
    }

    /// Removes everything of an ended mesh except its logs and its certificate authority.
    pub fn clean(&self) {
        for directory in ["registry", "tokens", "control", "w", "r"] {
            let _ = fs::remove_dir_all(self.0.join(directory));
        }
        let _ = fs::remove_file(self.socket());
    }

    /// Removes the lock's file; the lock itself ends when its last holder does.
    pub fn remove_lock(&self) {
        let _ = fs::remove_file(self.0.join("lock"));
    }
}

/// Holds a state directory until it and its inherited duplicates are gone.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// The descriptor, to hand down.
    ///
    /// # Errors
    /// When no more descriptors are to be had.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }
}

/// A workload's name as a file name: `<namespace>/<workload>` has a dot for its slash. Kubernetes
/// names have neither slash nor leading dot, so the result stays inside its directory.
fn file_name(workload: &str) -> String {
    workload.replace('/', ".").trim_start_matches('.').to_owned()
}

/// Writes a file so that a reader sees the old text or the new one, and nothing in between.
pub(crate) fn write_atomically(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(text)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_first_ones_process() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir(directory.path().join("s"));
        state.create().unwrap();
        let _lock = state.lock().unwrap();
        let error = state.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[test]
    fn logs_and_authority_survive_cleaning() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir(directory.path().join("s"));
        state.create().unwrap();
        state.prepare().unwrap();
        fs::write(state.application_log("a"), "x").unwrap();
        fs::write(state.ca().join("root-cert.pem"), "x").unwrap();
        state.clean();
        assert!(state.application_log("a").exists());
        assert!(state.ca().join("root-cert.pem").exists());
        assert!(!state.registry().exists());
    }

    #[test]
    fn a_long_path_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir(directory.path().join("x".repeat(100)));
        assert!(matches!(state.create(), Err(StateError::TooLong(_))));
    }

    #[test]
    fn names_stay_inside_the_directory() {
        assert_eq!(file_name("bookinfo/reviews-v1"), "bookinfo.reviews-v1");
        assert_eq!(
            file_name("../../etc"),
            "etc".to_owned().replace("etc", "..etc").trim_start_matches('.')
        );
        assert!(!file_name("../x").contains('/'));
    }
}
