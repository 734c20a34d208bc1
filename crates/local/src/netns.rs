//! A replica's own network and mount namespace, entered by the thread that then starts everything
//! of that replica: a child has the namespaces of the thread that forks it.

use std::fs::{self, File};
use std::net::Ipv4Addr;

use nix::sched::{CloneFlags, unshare};
use rtnetlink::RouteMessageBuilder;

use crate::address;
use crate::bridge::{Bridge, LOOPBACK, NetworkError, REPLICA_INTERFACE, index_of, up};

/// Moves this thread into a network, mount and host name namespace of its own.
pub(crate) fn enter(hostname: &str) -> Result<(), NetworkError> {
    let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    unshare(own).map_err(NetworkError::at(
        "cannot make the replica's namespaces (limits: /proc/sys/user/max_net_namespaces and \
         max_mnt_namespaces)",
    ))?;
    nix::unistd::sethostname(hostname).map_err(NetworkError::at("cannot set the host name"))
}

/// Links this thread's network namespace to the bridge, and gives it its address, its route and
/// its settings. Must run on a tokio runtime that lives on this thread.
pub(crate) async fn configure(bridge: &Bridge, number: u16) -> Result<(), NetworkError> {
    let namespace = File::open("/proc/thread-self/ns/net")
        .map_err(NetworkError::at("cannot open the replica's namespace"))?;
    bridge.attach(number, &namespace).await?;
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(NetworkError::at("cannot open netlink"))?;
    let connection = tokio::spawn(connection);
    up(&handle, LOOPBACK).await?;
    let eth0 = index_of(REPLICA_INTERFACE)?;
    handle
        .address()
        .add(eth0, address::of_replica(number).into(), address::PREFIX)
        .execute()
        .await
        .map_err(NetworkError::at("cannot give the replica its address"))?;
    up(&handle, eth0).await?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(address::CONTROL_PLANE).build();
    handle
        .route()
        .add(default)
        .execute()
        .await
        .map_err(NetworkError::at("cannot set the replica's default route"))?;
    connection.abort();
    allow_low_ports();
    Ok(())
}

/// Lets programs bind ports below 1024 without privileges, as containers may under Docker and
/// containerd. Where `/proc/sys` is read-only they need to be root in the namespace.
fn allow_low_ports() {
    if let Err(error) = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") {
        tracing::debug!("ports below 1024 stay privileged: {error}");
    }
}
