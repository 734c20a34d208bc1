//! User namespaces: which users are mapped into one, and what to tell a user whose system refuses
//! them.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use nix::errno::Errno;

use crate::event::Stage;

/// The user and group of a sidecar where users are mapped, as Istio's images have it.
pub(crate) const PROXY_USER: u32 = 1337;

/// Gives the user namespace of `pid`, which has just been created, its users and groups: as root
/// all that this process has, else only the one of this process, as root in there.
///
/// # Errors
/// When the kernel refuses; the namespace is then of no use.
pub(crate) fn map(pid: u32) -> io::Result<()> {
    let directory = format!("/proc/{pid}");
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if user.is_root() && map_all(&directory).is_ok() {
        return Ok(());
    }
    fs::write(format!("{directory}/setgroups"), "deny")?;
    fs::write(format!("{directory}/uid_map"), format!("0 {user} 1\n"))?;
    fs::write(format!("{directory}/gid_map"), format!("0 {group} 1\n"))
}

fn map_all(directory: &str) -> io::Result<()> {
    let users = identity(&fs::read_to_string("/proc/self/uid_map")?);
    let groups = identity(&fs::read_to_string("/proc/self/gid_map")?);
    fs::write(format!("{directory}/uid_map"), users)?;
    fs::write(format!("{directory}/gid_map"), groups)
}

/// A map that gives a child namespace every identity that this one has, under the same number.
fn identity(own: &str) -> String {
    let mut map = String::new();
    for (first, count) in ranges(own) {
        let _ = writeln!(map, "{first} {first} {count}");
    }
    map
}

/// The ranges of identities in a `uid_map`: the first one inside, and how many.
fn ranges(map: &str) -> impl Iterator<Item = (u32, u32)> {
    map.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let first = fields.next()?.parse().ok()?;
        Some((first, fields.nth(1)?.parse().ok()?))
    })
}

/// Whether this process's user namespace has the proxy's user, so that its traffic can be told from
/// an application's by its owner.
pub(crate) fn has_proxy_user() -> bool {
    ["/proc/self/uid_map", "/proc/self/gid_map"].iter().all(|file| {
        fs::read_to_string(file).is_ok_and(|map| {
            ranges(&map)
                .any(|(first, count)| (first..first.saturating_add(count)).contains(&PROXY_USER))
        })
    })
}

/// What this machine allows, as far as files in `/proc` say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Limits {
    max_user_namespaces: Option<u64>,
    max_net_namespaces: Option<u64>,
    debian_clone: Option<u64>,
    apparmor: Option<u64>,
    container: bool,
    root: bool,
}

impl Limits {
    fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        Self {
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            max_net_namespaces: number("/proc/sys/user/max_net_namespaces"),
            debian_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|file| Path::new(file).exists()),
            root: nix::unistd::geteuid().is_root(),
        }
    }

    fn advice(&self, stage: Stage, errno: Option<Errno>) -> String {
        if self.max_user_namespaces == Some(0) {
            return "user namespaces are turned off (sysctl user.max_user_namespaces is 0); \
                    turn them on with: sudo sysctl -w user.max_user_namespaces=15000"
                .to_owned();
        }
        if self.max_net_namespaces == Some(0) {
            return "network namespaces are turned off (sysctl user.max_net_namespaces is 0); \
                    turn them on with: sudo sysctl -w user.max_net_namespaces=15000"
                .to_owned();
        }
        if self.debian_clone == Some(0) && !self.root {
            return "this system lets only root make user namespaces (sysctl \
                    kernel.unprivileged_userns_clone is 0); allow it with: \
                    sudo sysctl -w kernel.unprivileged_userns_clone=1"
                .to_owned();
        }
        if self.apparmor == Some(1) && !self.root {
            return "AppArmor keeps programs without a profile from using user namespaces (sysctl \
                    kernel.apparmor_restrict_unprivileged_userns is 1); allow it with: \
                    sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or start mizzen \
                    as root"
                .to_owned();
        }
        match errno {
            Some(Errno::ENOSPC) => "too many namespaces exist already; raise the limits in \
                                    /proc/sys/user/max_*_namespaces or end some"
                .to_owned(),
            _ if self.container => "this container may not make namespaces; start it with \
                                    --privileged (or --security-opt seccomp=unconfined \
                                    --security-opt apparmor=unconfined), or run mizzen outside of it"
                .to_owned(),
            Some(Errno::EINVAL) => "this kernel was built without user namespaces (CONFIG_USER_NS)".to_owned(),
            _ if stage == Stage::Mounts => "a security module allowed the user namespace but not \
                                            its use; look for denials in the kernel log"
                .to_owned(),
            _ => "a security policy (seccomp, SELinux, AppArmor) refuses it; try as root, or outside \
                  of this sandbox"
                .to_owned(),
        }
    }
}

/// Why namespaces cannot be had here, and what to change.
#[must_use]
pub fn explain(stage: Stage, message: &str, errno: Option<i32>) -> String {
    let advice = Limits::read().advice(stage, errno.map(Errno::from_raw));
    format!("mizzen needs a user and network namespace of its own, and {message}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_becomes_the_identity() {
        assert_eq!(identity("         0          0 4294967295\n"), "0 0 4294967295\n");
        assert_eq!(identity("0 1000 1\n1 100000 65536\n"), "0 0 1\n1 1 65536\n");
    }

    #[test]
    fn advice_names_the_knob() {
        let advice = |limits: Limits, errno| limits.advice(Stage::Namespaces, Some(errno));
        let off = Limits { max_user_namespaces: Some(0), ..Limits::default() };
        assert!(advice(off, Errno::ENOSPC).contains("user.max_user_namespaces=15000"));
        let debian = Limits { debian_clone: Some(0), ..Limits::default() };
        assert!(advice(debian, Errno::EPERM).contains("kernel.unprivileged_userns_clone=1"));
        let ubuntu = Limits { apparmor: Some(1), ..Limits::default() };
        assert!(advice(ubuntu, Errno::EACCES).contains("apparmor_restrict_unprivileged_userns=0"));
        let docker = Limits { container: true, ..Limits::default() };
        assert!(advice(docker, Errno::EPERM).contains("seccomp=unconfined"));
        let root = Limits { apparmor: Some(1), root: true, ..Limits::default() };
        assert!(!advice(root, Errno::EPERM).contains("apparmor_restrict"));
    }
}
