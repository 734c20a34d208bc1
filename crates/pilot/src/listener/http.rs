//! The HTTP connection manager with Istio's options.

use std::time::Duration;

use config::{MeshConfig, PathNormalizationType};
use xds::{
    ClientCertDetails, CodecType, EscapedSlashes, ForwardClientCert, HttpConnectionManager,
    HttpFilter, NetworkFilter, NetworkFilterConfig, RouteSpecifier, ServerHeader,
};

use super::filter::Place;
use crate::access_log;

/// The connection manager as the last network filter of a chain.
pub(super) fn connection_manager(
    mesh: &MeshConfig,
    place: Place,
    stat_prefix: String,
    route_specifier: RouteSpecifier,
    http_filters: Vec<HttpFilter>,
) -> NetworkFilter {
    let (forward_client_cert, client_cert_details) = client_cert(place);
    let paths = paths(mesh);
    let manager = HttpConnectionManager {
        stat_prefix,
        codec_type: CodecType::Auto,
        route_specifier,
        http_filters,
        access_log: access_log::access_logs(mesh),
        use_remote_address: place == Place::Gateway,
        xff_num_trusted_hops: 0,
        forward_client_cert,
        client_cert_details,
        server_name: match place {
            Place::SidecarOutbound => String::new(),
            Place::SidecarInbound | Place::Gateway => "istio-envoy".to_owned(),
        },
        server_header: ServerHeader::Overwrite,
        normalize_path: paths.normalize,
        merge_slashes: paths.merge_slashes,
        escaped_slashes: paths.escaped_slashes,
        generate_request_id: true,
        preserve_external_request_id: false,
        stream_idle_timeout: Some(Duration::ZERO),
        request_timeout: None,
        request_headers_timeout: None,
        idle_timeout: None,
        max_connection_duration: None,
        max_requests_per_connection: None,
        max_request_headers_kb: None,
        max_concurrent_streams: None,
        upgrade_types: vec!["websocket".to_owned()],
        proxy_100_continue: true,
        accept_http_10: false,
        strip_any_host_port: false,
    };
    NetworkFilter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config: NetworkFilterConfig::HttpConnectionManager(Box::new(manager)),
    }
}

/// What happens to `x-forwarded-client-cert`: the server's sidecar appends what the certificate
/// says, a gateway replaces what clients claim, the client's sidecar removes it.
fn client_cert(place: Place) -> (ForwardClientCert, ClientCertDetails) {
    let details = ClientCertDetails { subject: true, dns: true, uri: true, ..Default::default() };
    match place {
        Place::SidecarInbound => (ForwardClientCert::AppendForward, details),
        Place::SidecarOutbound => (ForwardClientCert::Sanitize, ClientCertDetails::default()),
        Place::Gateway => {
            (ForwardClientCert::SanitizeSet, ClientCertDetails { cert: true, ..details })
        }
    }
}

struct Paths {
    normalize: bool,
    merge_slashes: bool,
    escaped_slashes: EscapedSlashes,
}

fn paths(mesh: &MeshConfig) -> Paths {
    let (normalize, merge_slashes, escaped_slashes) = match mesh.path_normalization.normalization {
        PathNormalizationType::None => (false, false, EscapedSlashes::Keep),
        PathNormalizationType::Default | PathNormalizationType::Base => {
            (true, false, EscapedSlashes::Keep)
        }
        PathNormalizationType::MergeSlashes => (true, true, EscapedSlashes::Keep),
        PathNormalizationType::DecodeAndMergeSlashes => {
            (true, true, EscapedSlashes::UnescapeAndForward)
        }
    };
    Paths { normalize, merge_slashes, escaped_slashes }
}
