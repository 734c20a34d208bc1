//! The bridge in the mesh's root network namespace, and the links from it to the replicas.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::address;

/// The index that the kernel gives to `lo` in every network namespace.
pub(crate) const LOOPBACK: u32 = 1;
/// The name of a replica's interface inside its namespace.
pub(crate) const REPLICA_INTERFACE: &str = "eth0";

/// What failed in the network, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub(crate) struct NetworkError {
    pub(crate) what: String,
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
}

impl NetworkError {
    /// For `map_err`: says what was tried.
    pub(crate) fn at<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        move |error| Self { what: what.into(), source: error.into() }
    }
}

/// The bridge; cheap to clone, and usable from any thread: requests travel to the connection that
/// was opened in the root namespace.
#[derive(Debug, Clone)]
pub(crate) struct Bridge {
    handle: Handle,
    index: u32,
}

impl Bridge {
    /// Makes the bridge in this thread's network namespace, with the control plane's address. Needs
    /// a tokio runtime, whose tasks carry the netlink connection.
    pub(crate) async fn create() -> Result<Self, NetworkError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(NetworkError::at("cannot open netlink"))?;
        tokio::spawn(connection);
        up(&handle, LOOPBACK).await?;
        let bridge = LinkBridge::new(address::BRIDGE).up().build();
        handle.link().add(bridge).execute().await.map_err(NetworkError::at(
            "cannot make the bridge mizzen0 (is the kernel module bridge there?)",
        ))?;
        let index = index_of(address::BRIDGE)?;
        handle
            .address()
            .add(index, address::CONTROL_PLANE.into(), address::PREFIX)
            .execute()
            .await
            .map_err(NetworkError::at("cannot give the bridge its address"))?;
        Ok(Self { handle, index })
    }

    /// Links a replica's network namespace to the bridge by a veth pair, whose far end is `eth0`
    /// there. The pair goes when the namespace does.
    pub(crate) async fn attach(&self, number: u16, namespace: &File) -> Result<(), NetworkError> {
        let far = LinkMessageBuilder::<LinkUnspec>::new()
            .name(REPLICA_INTERFACE.to_owned())
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        let near = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(address::host_interface(number))
            .controller(self.index)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .up()
            .build();
        self.handle
            .link()
            .add(near)
            .execute()
            .await
            .map_err(NetworkError::at("cannot link the replica to the bridge"))
    }
}

/// Sets a link up.
pub(crate) async fn up(handle: &Handle, index: u32) -> Result<(), NetworkError> {
    handle
        .link()
        .set(LinkUnspec::new_with_index(index).up().build())
        .execute()
        .await
        .map_err(NetworkError::at("cannot set a link up"))
}

/// The index of a link in this thread's network namespace.
pub(crate) fn index_of(name: &str) -> Result<u32, NetworkError> {
    nix::net::if_::if_nametoindex(name)
        .map_err(NetworkError::at(format!("cannot find the link {name}")))
}
