//! Asking the machine's resolvers for names outside the mesh. The query goes on as it came, with
//! an id of ours; resolvers are asked one after the other, as Istio's agent does.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use rand::Rng as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UdpSocket,
    sync::Semaphore,
    time::timeout,
};

use super::answer::{Transport, same_question};
use crate::{discovery::connect_marked, metrics::Metrics};

/// How long one resolver may take.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many queries may be on their way at once; each has a socket.
const CONCURRENCY: usize = 256;
const LARGEST: usize = 65_535;

/// Forwards queries.
pub(crate) struct Forwarder {
    resolvers: Vec<SocketAddr>,
    mark: Option<u32>,
    slots: Semaphore,
    metrics: Metrics,
}

/// The `nameserver` lines of a file in the form of resolv.conf, with port 53.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn nameservers(path: &Path) -> io::Result<Vec<SocketAddr>> {
    let text = std::fs::read_to_string(path)?;
    Ok(text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.split_whitespace().next())
        // A scoped address (fe80::1%eth0) has no meaning in the workload's namespace.
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect())
}

impl Forwarder {
    pub(crate) fn new(resolvers: Vec<SocketAddr>, mark: Option<u32>, metrics: Metrics) -> Self {
        Self { resolvers, mark, slots: Semaphore::new(CONCURRENCY), metrics }
    }

    /// Whether there is anybody to ask.
    pub(crate) fn has_resolvers(&self) -> bool {
        !self.resolvers.is_empty()
    }

    /// The first resolver's answer; none when nobody answered, or too much is on its way.
    pub(crate) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        self.metrics.dns_forwarded.inc();
        let timer = self.metrics.dns_forward_seconds.start_timer();
        let slot = self.slots.try_acquire();
        if slot.is_ok() {
            for resolver in &self.resolvers {
                match timeout(RESOLVER_TIMEOUT, self.ask_one(*resolver, query, transport)).await {
                    Ok(Ok(answer)) => {
                        timer.observe_duration();
                        return Some(answer);
                    }
                    Ok(Err(error)) => tracing::debug!(%resolver, %error, "resolver failed"),
                    Err(_) => tracing::debug!(%resolver, "resolver did not answer"),
                }
            }
        }
        timer.stop_and_discard();
        self.metrics.dns_forward_failures.inc();
        None
    }

    async fn ask_one(
        &self,
        resolver: SocketAddr,
        query: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let short = || io::Error::new(io::ErrorKind::InvalidData, "too short for DNS");
        let original: [u8; 2] = query.first_chunk().copied().ok_or_else(short)?;
        let id = rand::rng().random::<[u8; 2]>();
        let mut sent = query.to_vec();
        set_id(&mut sent, id);
        let mut answer = match transport {
            Transport::Udp => self.over_udp(resolver, &sent).await?,
            Transport::Tcp => self.over_tcp(resolver, &sent).await?,
        };
        set_id(&mut answer, original);
        Ok(answer)
    }

    async fn over_udp(&self, resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let any: IpAddr = if resolver.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        if let Some(mark) = self.mark {
            socket2::SockRef::from(&socket).set_mark(mark)?;
        }
        socket.connect(resolver).await?;
        socket.send(query).await?;
        let mut buffer = vec![0; LARGEST];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let answer = buffer.get(..length).unwrap_or_default();
            if answers(query, answer) {
                return Ok(answer.to_vec());
            }
        }
    }

    async fn over_tcp(&self, resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = connect_marked(resolver, self.mark).await?;
        stream.write_all(&framed(query)).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        if answers(query, &answer) {
            Ok(answer)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "answer to another question"))
        }
    }
}

/// A message with its length before it, as TCP carries it.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(message.get(..usize::from(length)).unwrap_or_default());
    bytes
}

/// Whether this is an answer to that query: a forged one would have to guess id, port and case.
fn answers(query: &[u8], answer: &[u8]) -> bool {
    query.get(..2) == answer.get(..2) && same_question(query, answer)
}

fn set_id(message: &mut [u8], id: [u8; 2]) {
    if let Some(start) = message.get_mut(..2) {
        start.copy_from_slice(&id);
    }
}
