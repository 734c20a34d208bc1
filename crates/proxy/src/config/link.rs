//! One gRPC stream that is opened again whenever it breaks, with a growing, jittered wait.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use pb::envoy::service::{
    discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
    secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient,
};
use rand::Rng as _;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::either::Either;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint, Uri},
};

use crate::ServiceAddress;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest message that is taken, in bytes.
const LARGEST_MESSAGE: usize = 256 * 1024 * 1024;

/// Which service the stream is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Ads,
    Sds,
}

/// What happens to the stream.
#[derive(Debug)]
pub(super) enum Event {
    /// A new stream: requests are for it.
    Opened(mpsc::UnboundedSender<DeltaDiscoveryRequest>),
    /// A message.
    Response(Box<DeltaDiscoveryResponse>),
    /// It broke, or did not come up.
    Closed,
}

/// Keeps a stream open for as long as somebody listens to its events.
pub(super) fn start(service: Service, address: ServiceAddress) -> mpsc::Receiver<Event> {
    let (events, inbox) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut wait = FIRST_WAIT;
        loop {
            let answered = match once(service, &address, &events).await {
                Ok(answered) => answered,
                Err(error) => {
                    tracing::warn!(
                        ?service, ?address, error = %chain(&*error),
                        "a configuration stream ended; what is configured stays in use"
                    );
                    false
                }
            };
            if events.send(Event::Closed).await.is_err() {
                return;
            }
            wait = if answered { FIRST_WAIT } else { (wait * 2).min(LONGEST_WAIT) };
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(wait.mul_f64(jitter)).await;
        }
    });
    inbox
}

/// An error with its causes: the outermost one alone says little.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One stream to its end; whether anything was answered on it.
async fn once(
    service: Service,
    address: &ServiceAddress,
    events: &mpsc::Sender<Event>,
) -> Result<bool, BoxError> {
    let channel = connect(address).await?;
    let (requests, stream) = mpsc::unbounded_channel();
    if events.send(Event::Opened(requests)).await.is_err() {
        return Ok(false);
    }
    let mut responses = open(service, channel, stream).await?;
    let mut answered = false;
    while let Some(response) = responses.message().await? {
        answered = true;
        if events.send(Event::Response(Box::new(response))).await.is_err() {
            return Ok(answered);
        }
    }
    tracing::info!(?service, "a configuration stream was closed by its server");
    Ok(answered)
}

async fn open(
    service: Service,
    channel: Channel,
    requests: mpsc::UnboundedReceiver<DeltaDiscoveryRequest>,
) -> Result<Streaming<DeltaDiscoveryResponse>, tonic::Status> {
    let requests = UnboundedReceiverStream::new(requests);
    let answer = match service {
        Service::Ads => {
            AggregatedDiscoveryServiceClient::new(channel)
                .max_decoding_message_size(LARGEST_MESSAGE)
                .delta_aggregated_resources(requests)
                .await
        }
        Service::Sds => {
            SecretDiscoveryServiceClient::new(channel)
                .max_decoding_message_size(LARGEST_MESSAGE)
                .delta_secrets(requests)
                .await
        }
    };
    answer.map(tonic::Response::into_inner)
}

async fn connect(address: &ServiceAddress) -> Result<Channel, BoxError> {
    // The URI only fills the requests' authority; the connector goes by the address.
    let endpoint = Endpoint::from_static("http://localhost")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_while_idle(true);
    let address = address.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let address = address.clone();
        async move {
            let stream = match address {
                ServiceAddress::Unix(path) => Either::Left(UnixStream::connect(path).await?),
                ServiceAddress::Tcp(address) => Either::Right(TcpStream::connect(address).await?),
            };
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}
