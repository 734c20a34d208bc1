//! A replica's containers, each as a process: finding the command, its environment, its probes.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::k8s::Container;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Replica, World, environment, health};
use crate::backoff::Policy;
use crate::envoy::{in_path, is_executable};
use crate::supervise::{Ending, Start, State, Supervisor};

/// The longest grace that a Pod may ask for: nobody at a terminal waits longer.
const GRACE_MAX: u32 = 30;
/// A Pod's grace when it says nothing. Kubernetes' 30 seconds are long at a terminal.
const GRACE: u32 = 5;

/// Runs all containers until told to stop.
pub(super) async fn run(world: &World, replica: &Replica, log: &File, stop: &CancellationToken) {
    let containers = &replica.wanted.template.spec.containers;
    join_all(containers.iter().map(|container| run_one(world, replica, container, log, stop)))
        .await;
}

async fn run_one(
    world: &World,
    replica: &Replica,
    container: &Container,
    log: &File,
    stop: &CancellationToken,
) {
    let grace = replica.wanted.template.spec.termination_grace_period_seconds;
    let grace = Duration::from_secs(grace.unwrap_or(GRACE).min(GRACE_MAX).into());
    let supervisor = Supervisor { policy: Policy::Application, ending: Ending::Group(grace), log };
    let (started, running) = watch::channel(false);
    let report = |state: State| {
        started.send_replace(matches!(state, State::Running { .. }));
        replica.update(|live| {
            live.note(&container.name, &state);
            live.containers_ready.insert(container.name.clone(), false);
            live.containers.insert(container.name.clone(), state);
        });
    };
    let set_ready = |ready: bool| {
        let changed = replica.lock().containers_ready.get(&container.name) != Some(&ready);
        if changed {
            replica.update(|live| {
                let running =
                    matches!(live.containers.get(&container.name), Some(State::Running { .. }));
                live.containers_ready.insert(container.name.clone(), ready && running);
            });
        }
    };
    let restart = |why: &str| {
        let state = replica.lock().containers.get(&container.name).cloned();
        if let Some(State::Running { pid }) = state {
            tracing::warn!("{}: {}: {why}; starting it again", replica.name, container.name);
            // COMPAT: at once, without the grace period.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    };
    tokio::select! {
        () = supervisor.run(|| command(world, replica, container), report, stop) => {}
        () = health::follow(replica, container, running, set_ready, restart) => {}
    }
}

fn command(world: &World, replica: &Replica, container: &Container) -> Result<Start, String> {
    let environment = environment::of(replica, container);
    let expand = |text: &String| environment::expand(text, &environment);
    let mut words = container.command.iter().chain(&container.args).map(expand);
    let Some(program) = words.next() else {
        return Err("the container has no command, and mizzen pulls no images; \
                    give it a `command`"
            .to_owned());
    };
    let directory = match container.working_dir.as_str() {
        "" => world.options.directory.clone(),
        given => world.options.directory.join(given),
    };
    if !directory.is_dir() {
        return Err(format!("workingDir {} is not a directory", directory.display()));
    }
    let path = search_path();
    let found = resolve(&program, &directory, &path)?;
    let mut command = Command::new(found);
    command.arg0(&program).args(words).current_dir(directory).env_clear().env("PATH", &path);
    for name in ["LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("HOME", std::env::var_os("HOME").unwrap_or_else(|| "/".into()));
    command.env("HOSTNAME", &replica.pod).envs(environment);
    Ok(command.into())
}

/// The directory of this program, where `mizzen` is, then the user's `PATH`.
fn search_path() -> OsString {
    let own = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = own.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap_or(path)
}

/// The file of a program, found as `execvp` would find it.
fn resolve(program: &str, directory: &Path, path: &OsString) -> Result<PathBuf, String> {
    if !program.contains('/') {
        // `mizzen` is this program, also where its file has another name.
        let own = || std::env::current_exe().ok().filter(|_| program == "mizzen");
        return in_path(program, path)
            .or_else(own)
            .ok_or_else(|| format!("command {program:?} not found in PATH"));
    }
    let file = directory.join(program);
    if is_executable(&file) {
        Ok(file)
    } else if file.exists() {
        Err(format!("command {program:?}: {} is not an executable file", file.display()))
    } else {
        Err(format!("command {program:?}: {} does not exist", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_is_named() {
        let path = OsString::from("/bin:/usr/bin");
        let root = Path::new("/");
        assert!(resolve("sh", root, &path).is_ok());
        let error = resolve("no-such-program", root, &path).unwrap_err();
        assert_eq!(error, "command \"no-such-program\" not found in PATH");
        assert!(resolve("./x/y", root, &path).unwrap_err().contains("does not exist"));
        assert!(resolve("/etc/passwd", root, &path).unwrap_err().contains("not an executable"));
    }
}
