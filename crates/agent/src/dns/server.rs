//! The DNS proxy's sockets: UDP and TCP on loopback, where capture redirects port 53 to.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use hickory_proto::op::ResponseCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

use super::{
    answer::{Outcome, Transport, answer, with_code},
    forward::{Forwarder, framed},
    table::Table,
};
use crate::metrics::Metrics;

/// How long a TCP client may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// How many TCP clients there may be.
const CLIENTS: usize = 128;
/// Pause after a failing accept or receive, so that a lasting error does not spin.
const PAUSE: Duration = Duration::from_millis(50);
/// The largest query that is read from UDP.
const LARGEST: usize = 4096;

/// The mesh's names and the way to all others.
#[derive(Clone)]
pub(crate) struct DnsServer {
    table: Arc<ArcSwapOption<Table>>,
    forwarder: Arc<Forwarder>,
    metrics: Metrics,
}

/// Bound sockets of one address.
pub(crate) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds both protocols to one address. The mark goes on the UDP socket, so that the conntrack
    /// zones of its answers can be told.
    ///
    /// # Errors
    /// When the address is taken or may not be bound.
    pub(crate) async fn bind(address: SocketAddr, mark: Option<u32>) -> io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let udp = UdpSocket::bind(tcp.local_addr()?).await?;
        if let Some(mark) = mark {
            socket2::SockRef::from(&udp).set_mark(mark)?;
        }
        Ok(Self { udp, tcp })
    }

    /// Where they are.
    #[cfg(test)]
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl DnsServer {
    pub(crate) fn new(
        table: Arc<ArcSwapOption<Table>>,
        forwarder: Forwarder,
        metrics: Metrics,
    ) -> Self {
        Self { table, forwarder: Arc::new(forwarder), metrics }
    }

    /// Serves until dropped.
    pub(crate) async fn serve(self, sockets: Sockets) {
        let Sockets { udp, tcp } = sockets;
        tokio::join!(self.serve_udp(Arc::new(udp)), self.serve_tcp(tcp));
    }

    async fn serve_udp(&self, socket: Arc<UdpSocket>) {
        let mut buffer = vec![0; LARGEST];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "DNS: receiving failed");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let query = buffer.get(..length).unwrap_or_default();
            self.metrics.dns_requests.inc();
            match answer(query, self.table.load().as_deref(), Transport::Udp) {
                Outcome::Ignore => {}
                Outcome::Reply(bytes) => send(&socket, &bytes, client).await,
                Outcome::Forward { name, failure } => {
                    let (server, socket, query) =
                        (self.clone(), Arc::clone(&socket), query.to_vec());
                    tokio::spawn(async move {
                        let answer = server.forward(&query, &name, failure, Transport::Udp).await;
                        send(&socket, &answer, client).await;
                    });
                }
            }
        }
    }

    async fn serve_tcp(&self, listener: TcpListener) {
        let clients = Arc::new(Semaphore::new(CLIENTS));
        loop {
            let Ok(slot) = Arc::clone(&clients).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = server.serve_client(stream).await {
                            tracing::debug!(%error, "DNS: TCP client");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "DNS: accepting failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve_client(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = match timeout(IDLE, stream.read_u16()).await {
                Ok(Ok(length)) => usize::from(length),
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(()),
            };
            let mut query = vec![0; length];
            timeout(IDLE, stream.read_exact(&mut query)).await??;
            self.metrics.dns_requests.inc();
            let bytes = match answer(&query, self.table.load().as_deref(), Transport::Tcp) {
                Outcome::Ignore => return Ok(()),
                Outcome::Reply(bytes) => bytes,
                Outcome::Forward { name, failure } => {
                    self.forward(&query, &name, failure, Transport::Tcp).await
                }
            };
            timeout(IDLE, stream.write_all(&framed(&bytes))).await??;
        }
    }

    async fn forward(
        &self,
        query: &[u8],
        name: &str,
        failure: Vec<u8>,
        transport: Transport,
    ) -> Vec<u8> {
        // With nobody to ask, the mesh is all there is.
        if !self.forwarder.has_resolvers() {
            return with_code(&failure, ResponseCode::NXDomain);
        }
        match self.forwarder.ask(query, transport).await {
            Some(answer) => answer,
            None => {
                tracing::debug!(name, "no resolver answered");
                failure
            }
        }
    }
}

async fn send(socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(bytes, client).await {
        tracing::debug!(%client, %error, "DNS: sending failed");
    }
}

#[cfg(test)]
mod tests;
