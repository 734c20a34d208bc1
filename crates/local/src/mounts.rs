//! What a replica sees of the file system: the host's, except for name resolution, and except for
//! the state directory, whose tokens and keys are no business of an application.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use crate::address;

const NONE: Option<&str> = None;

/// The text of a replica's `/etc/resolv.conf`, the kubelet's for this namespace.
pub(crate) fn resolv_conf(namespace: &str) -> String {
    format!(
        "nameserver {}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
        address::NAME_SERVER
    )
}

/// Puts `source` in the place of a file of `/etc`, in this thread's mount namespace only. The file
/// may be missing, or be a symbolic link to something missing: `/etc` is then rebuilt from links
/// to its own entries, since nothing may be added to the host's.
pub(crate) fn replace_in_etc(name: &str, source: &Path, scratch: &Path) -> io::Result<()> {
    let target = Path::new("/etc").join(name);
    if !target.exists() {
        rebuild_etc(name, scratch)?;
    }
    bind(source, &target)
}

/// Binds a file or directory over another.
pub(crate) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?)
}

/// Covers the state directory with an empty one, in which only the replica's own directory, where
/// this thread is, appears again. Then goes there by a way that the proxy's user may walk too: a
/// stock Envoy insists on the full paths of its files.
pub(crate) fn hide_all_but_here(state: &Path, here: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), state, Some("tmpfs"), flags, Some("mode=755,size=64k"))?;
    let place = match open_to_all(state) {
        true => None,
        false => EMPTY.iter().map(Path::new).find(|place| is_empty(place) && open_to_all(place)),
    };
    let place = match place {
        Some(place) => place,
        None => {
            fs::create_dir_all(here)?;
            here
        }
    };
    // "." is still the real one, under the cover.
    bind(Path::new("."), place)?;
    std::env::set_current_dir(place)
}

/// Directories of a Linux system that are often empty, where something may be bound unnoticed.
const EMPTY: [&str; 7] =
    ["/media", "/srv", "/mnt", "/opt", "/var/opt", "/var/local", "/usr/local/games"];

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether every user may enter a directory.
fn open_to_all(directory: &Path) -> bool {
    directory.ancestors().all(|directory| {
        fs::metadata(directory).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    })
}

/// Mounts a copy of `/etc` over it that is made of binds and links, plus an empty file `extra`.
fn rebuild_etc(extra: &str, scratch: &Path) -> io::Result<()> {
    let copy: PathBuf = scratch.join("etc");
    fs::create_dir_all(&copy)?;
    mount(Some("tmpfs"), &copy, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755"))?;
    for entry in fs::read_dir("/etc")? {
        let entry = entry?;
        let (from, to) = (entry.path(), copy.join(entry.file_name()));
        if entry.file_name() == extra {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_dir() {
            fs::create_dir(&to)?;
            bind(&from, &to)?;
        } else {
            File::create(&to)?;
            bind(&from, &to)?;
        }
    }
    File::create(copy.join(extra))?;
    bind(&copy, Path::new("/etc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_in_the_pods_namespace_first() {
        let text = resolv_conf("bookinfo");
        assert!(
            text.contains("search bookinfo.svc.cluster.local svc.cluster.local cluster.local\n")
        );
        assert!(text.starts_with("nameserver 10.96.0.10\n") && text.contains("ndots:5"));
    }
}
