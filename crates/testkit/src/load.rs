//! A client that asks at a steady rate and counts what became of every request.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

/// How long one request may take before it counts as lost.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// What became of a load's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests sent.
    pub sent: usize,
    /// What came back: `200`, or `200 v2` as the classifier says, or `lost: <why>`.
    pub outcomes: BTreeMap<String, usize>,
}

impl Tally {
    /// How many requests ended with an outcome that starts with `prefix`.
    #[must_use]
    pub fn count(&self, prefix: &str) -> usize {
        let hits = self.outcomes.iter().filter(|(outcome, _)| outcome.starts_with(prefix));
        hits.map(|(_, count)| count).sum()
    }

    fn add(&mut self, outcome: String) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }
}

/// One `GET` on a connection of its own.
///
/// # Errors
/// When no answer comes.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let mut connection = None;
    exchange(&mut connection, address, path).await
}

async fn exchange(
    connection: &mut Option<SendRequest<Empty<Bytes>>>,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<Answer> {
    let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => connect(address).await?,
    };
    let request = Request::get(path).header("host", address.to_string()).body(Empty::new())?;
    let answer = tokio::time::timeout(TIMEOUT, async {
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    })
    .await??;
    if answer.headers.get("connection").map(String::as_str) != Some("close") {
        *connection = Some(sender);
    }
    Ok(answer)
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(sender)
}

/// A load that runs until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    workers: JoinSet<Tally>,
}

impl Load {
    /// Starts asking `http://address path`, `rate` times a second, over `connections` connections
    /// that are kept alive. `classify` names the outcome of an answer.
    #[must_use]
    pub fn start(
        address: SocketAddr,
        path: &'static str,
        rate: u32,
        connections: u32,
        classify: fn(&Answer) -> String,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        let period = Duration::from_secs(1) * connections / rate.max(1);
        for index in 0..connections {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            let first = Instant::now() + period * index / connections.max(1);
            workers.spawn(async move {
                let mut ticks = tokio::time::interval_at(first, period);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                let (mut tally, mut connection) = (Tally::default(), None);
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    tally.sent += 1;
                    sent.fetch_add(1, Ordering::Relaxed);
                    tally.add(match exchange(&mut connection, address, path).await {
                        Ok(answer) => classify(&answer),
                        Err(error) => format!("lost: {error:#}"),
                    });
                }
                tally
            });
        }
        Self { stop, sent, workers }
    }

    /// How many requests were sent so far.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, waits for the requests that are under way, and sums up.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        while let Some(tally) = self.workers.join_next().await {
            let tally = tally.unwrap_or_default();
            sum.sent += tally.sent;
            for (outcome, count) in tally.outcomes {
                *sum.outcomes.entry(outcome).or_default() += count;
            }
        }
        sum
    }
}
