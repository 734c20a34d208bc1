//! What differs between the two forms of the aggregated stream.

use pb::{
    Any,
    envoy::service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
    google::rpc::Status as ErrorDetail,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, transport::Channel};

use super::Opening;

/// One form of the protocol.
pub(super) trait Exchange: Send + Sync + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    const NAME: &'static str;

    /// Opens the stream to the control plane.
    fn open(
        channel: Channel,
        requests: Request<ReceiverStream<Self::Request>>,
    ) -> Opening<'static, Self::Response>;
    /// A subscription to all resources of a type.
    fn subscribe(type_url: String) -> Self::Request;
    /// The answer to a response: taken, or rejected for a reason.
    fn answer(response: &Self::Response, rejection: Option<String>) -> Self::Request;
    fn type_url(response: &Self::Response) -> &str;
    fn resources(response: &Self::Response) -> Vec<&Any>;
}

pub(super) struct StateOfTheWorld;

impl Exchange for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const NAME: &'static str = "state of the world";

    fn open(
        channel: Channel,
        requests: Request<ReceiverStream<DiscoveryRequest>>,
    ) -> Opening<'static, DiscoveryResponse> {
        Box::pin(async move {
            client(channel)
                .stream_aggregated_resources(requests)
                .await
                .map(tonic::Response::into_inner)
        })
    }

    fn subscribe(type_url: String) -> DiscoveryRequest {
        DiscoveryRequest { type_url, ..DiscoveryRequest::default() }
    }

    fn answer(response: &DiscoveryResponse, rejection: Option<String>) -> DiscoveryRequest {
        let accepted = rejection.is_none();
        DiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            version_info: if accepted { response.version_info.clone() } else { String::new() },
            error_detail: rejection.map(detail),
            ..DiscoveryRequest::default()
        }
    }

    fn type_url(response: &DiscoveryResponse) -> &str {
        &response.type_url
    }

    fn resources(response: &DiscoveryResponse) -> Vec<&Any> {
        response.resources.iter().collect()
    }
}

pub(super) struct Delta;

impl Exchange for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const NAME: &'static str = "delta";

    fn open(
        channel: Channel,
        requests: Request<ReceiverStream<DeltaDiscoveryRequest>>,
    ) -> Opening<'static, DeltaDiscoveryResponse> {
        Box::pin(async move {
            client(channel)
                .delta_aggregated_resources(requests)
                .await
                .map(tonic::Response::into_inner)
        })
    }

    fn subscribe(type_url: String) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest { type_url, ..DeltaDiscoveryRequest::default() }
    }

    fn answer(
        response: &DeltaDiscoveryResponse,
        rejection: Option<String>,
    ) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: rejection.map(detail),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn type_url(response: &DeltaDiscoveryResponse) -> &str {
        &response.type_url
    }

    fn resources(response: &DeltaDiscoveryResponse) -> Vec<&Any> {
        response.resources.iter().filter_map(|resource| resource.resource.as_ref()).collect()
    }
}

/// Messages may be as large as the mesh makes them: the control plane is trusted with that.
fn client(channel: Channel) -> AggregatedDiscoveryServiceClient<Channel> {
    AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX)
}

fn detail(message: String) -> ErrorDetail {
    ErrorDetail { code: Code::InvalidArgument.into(), message, ..ErrorDetail::default() }
}
