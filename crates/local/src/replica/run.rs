//! The thread of a replica, from its namespaces to its end.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Replica, World, application, sidecar};
use crate::mounts;
use crate::netns;
use crate::plan::{ProxyKind, Role};
use crate::state::write_atomically;
use crate::token::{self, Subject};
use crate::userns::PROXY_USER;

/// From the moment when a replica's endpoints are gone from the registry to the moment when it
/// stops to accept: the time in which all proxies hear of it.
const ENDPOINTS_GONE: Duration = Duration::from_secs(1);
/// Before a replica that could not be set up is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The files of a replica that are opened before its state directory is hidden from it.
#[derive(Debug)]
pub(super) struct Logs {
    pub(super) application: File,
    pub(super) proxy: File,
}

/// Prepares a replica's directory and starts its thread.
///
/// # Errors
/// When the directory cannot be made or no thread is to be had.
pub(crate) fn start(world: &Arc<World>, replica: &Arc<Replica>) -> io::Result<()> {
    prepare_directory(world, replica)?;
    let (world, replica) = (Arc::clone(world), Arc::clone(replica));
    std::thread::Builder::new().name(format!("r{}", replica.number)).spawn(move || {
        if let Err(message) = live(&world, &replica) {
            tracing::error!("{}: {message}", replica.name);
            replica.update(|live| {
                live.message = Some(message.clone());
                live.blocked = Some(message);
            });
            // The replica stays, with its message, until it is told to go.
            while !replica.stop.is_cancelled() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        replica.done.cancel();
        replica.update(|live| live.stopping = true);
    })?;
    Ok(())
}

/// Makes `r/<number>` with what the sidecar reads, owned by the sidecar's user.
fn prepare_directory(world: &World, replica: &Replica) -> io::Result<()> {
    let directory = world.options.state.replica(replica.number);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let text = mounts::resolv_conf(&replica.wanted.namespace);
    fs::write(directory.join("resolv.conf"), text)?;
    fs::write(directory.join("hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    if replica.wanted.role == Role::Plain {
        return Ok(());
    }
    fs::copy(world.options.state.ca().join("root-cert.pem"), directory.join("root-cert.pem"))?;
    if replica.proxy == ProxyKind::Envoy {
        File::create(directory.join("envoy"))?;
    }
    if world.users_mapped {
        let owner = Some(nix::unistd::Uid::from_raw(PROXY_USER));
        let group = Some(nix::unistd::Gid::from_raw(PROXY_USER));
        nix::unistd::chown(&directory, owner, group)?;
        nix::unistd::chown(&directory.join("root-cert.pem"), owner, group)?;
    }
    Ok(())
}

/// Everything that happens on the replica's thread.
fn live(world: &World, replica: &Replica) -> Result<(), String> {
    netns::enter(&replica.pod).map_err(|error| error.to_string())?;
    let logs = set_up_files(world, replica).map_err(|error| format!("its files: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("its thread: {error}"))?;
    runtime.block_on(async {
        netns::configure(&world.bridge, replica.number).await.map_err(|error| error.to_string())?;
        run(world, replica, &logs).await;
        Ok(())
    })
}

/// Opens the logs, goes to the replica's directory, puts name resolution in place and hides the
/// state directory. From here on the replica's own files are in the present directory.
fn set_up_files(world: &World, replica: &Replica) -> io::Result<Logs> {
    let state = &world.options.state;
    let open = |path| OpenOptions::new().create(true).append(true).open(path);
    let logs = Logs {
        application: open(state.application_log(&replica.name))?,
        proxy: open(state.proxy_log(&replica.name))?,
    };
    let directory = state.replica(replica.number);
    env::set_current_dir(&directory)?;
    let what = match replica.wanted.role {
        Role::Plain => "hosts",
        Role::Injected | Role::Gateway => "resolv.conf",
    };
    mounts::replace_in_etc(what, &directory.join(what), &directory)?;
    if let (ProxyKind::Envoy, Some(envoy)) = (replica.proxy, &world.envoy) {
        mounts::bind(envoy, &directory.join("envoy"))?;
    }
    mounts::hide_all_but_here(state.path(), &directory)?;
    Ok(logs)
}

async fn run(world: &World, replica: &Replica, logs: &Logs) {
    // The order of the end: no new calls arrive, the sidecar drains, the application ends.
    let (stop_sidecar, stop_application) = (CancellationToken::new(), CancellationToken::new());
    let sidecar_gone = CancellationToken::new();
    let ending = async {
        replica.stop.cancelled().await;
        replica.update(|live| live.stopping = true);
        if !world.shutdown.is_cancelled() {
            let () = tokio::select! {
                () = tokio::time::sleep(ENDPOINTS_GONE) => {}
                () = world.shutdown.cancelled() => {}
            };
        }
        stop_sidecar.cancel();
        if !world.shutdown.is_cancelled() {
            tokio::select! {
                () = sidecar_gone.cancelled() => {}
                () = world.shutdown.cancelled() => {}
            };
        }
        stop_application.cancel();
    };
    let proxy = async {
        if replica.wanted.role != Role::Plain && prepare(world, replica, logs).await {
            sidecar::run(world, replica, &logs.proxy, &stop_sidecar).await;
        }
        sidecar_gone.cancel();
    };
    let application = async {
        if replica.wanted.role != Role::Gateway && started(replica).await {
            application::run(world, replica, &logs.application, &stop_application).await;
        }
    };
    tokio::join!(ending, proxy, application);
}

/// Writes the first token and programs capture, again and again until both succeed. False when the
/// replica was stopped meanwhile.
async fn prepare(world: &World, replica: &Replica, logs: &Logs) -> bool {
    loop {
        let ready = match write_token(world, replica) {
            Ok(()) if replica.wanted.role == Role::Injected => {
                sidecar::capture(world, replica, &logs.proxy).await
            }
            other => other,
        };
        let message = match ready {
            Ok(()) => {
                replica.update(|live| live.blocked = None);
                return true;
            }
            Err(message) => message,
        };
        tracing::error!("{}: {message}", replica.name);
        replica.update(|live| {
            live.message = Some(message.clone());
            live.blocked = Some(message);
        });
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = replica.stop.cancelled() => return false,
        }
    }
}

/// Waits for the sidecar, as Istio's `holdApplicationUntilProxyStarts` does: an application whose
/// first call fails for want of a proxy would crash for no fault of its own. False when the replica
/// was stopped meanwhile.
async fn started(replica: &Replica) -> bool {
    while replica.wanted.role == Role::Injected && !replica.lock().sidecar_ready {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
            () = replica.stop.cancelled() => return false,
        }
    }
    !replica.stop.is_cancelled()
}

/// Signs a new token and puts it where the sidecar reads it.
pub(super) fn write_token(world: &World, replica: &Replica) -> Result<(), String> {
    let subject = Subject {
        namespace: &replica.wanted.namespace,
        service_account: replica.wanted.template.spec.service_account(),
        pod: &replica.pod,
    };
    let token = world
        .issuer
        .sign(subject, std::time::SystemTime::now())
        .map_err(|error| error.to_string())?;
    let path = std::path::Path::new("token.new");
    let failed = |error: io::Error| format!("its token: {error}");
    write_atomically(path, token.as_bytes(), 0o600).map_err(failed)?;
    if world.users_mapped {
        let owner = Some(nix::unistd::Uid::from_raw(PROXY_USER));
        let group = Some(nix::unistd::Gid::from_raw(PROXY_USER));
        nix::unistd::chown(path, owner, group).map_err(|errno| failed(errno.into()))?;
    }
    fs::rename(path, "token").map_err(failed)
}

/// Replaces the token well before it ends. Never returns.
pub(super) async fn refresh_token(world: &World, replica: &Replica) {
    loop {
        tokio::time::sleep(token::LIFETIME / 2).await;
        if let Err(message) = write_token(world, replica) {
            tracing::error!("{}: {message}", replica.name);
        }
    }
}
