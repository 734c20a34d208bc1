//! May this user make the namespaces that a mesh on one machine lives in?

use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Whether a process of this user can have user, network, mount and PID namespaces of its own.
///
/// Tried once a process, with util-linux' `unshare`.
#[must_use]
pub fn can_unshare() -> bool {
    static ANSWER: LazyLock<bool> = LazyLock::new(|| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    *ANSWER
}
