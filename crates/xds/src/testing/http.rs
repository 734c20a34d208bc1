//! The HTTP connection manager and HTTP filters.

use super::{Arbitrary, Entropy, arbitrary_enum, arbitrary_struct};
use crate::{
    AlpnOverride, ClientCertDetails, CodecType, EscapedSlashes, FaultAbort, FaultDelay,
    FaultStatus, ForwardClientCert, HttpConnectionManager, HttpFault, HttpFilter, HttpFilterConfig,
    PeerMetadata, RbacFilter, RouteSpecifier, Router, ServerHeader, StatsConfig, UpstreamProtocol,
};

arbitrary_struct! { HttpConnectionManager {
    stat_prefix, codec_type, route_specifier, http_filters, access_log, use_remote_address,
    xff_num_trusted_hops, forward_client_cert, client_cert_details, server_name, server_header,
    normalize_path, merge_slashes, escaped_slashes, generate_request_id,
    preserve_external_request_id, stream_idle_timeout, request_timeout, request_headers_timeout,
    idle_timeout, max_connection_duration, max_requests_per_connection, max_request_headers_kb,
    max_concurrent_streams, upgrade_types, proxy_100_continue, accept_http_10,
    strip_any_host_port,
} }
arbitrary_enum! { CodecType:
    |_| CodecType::Auto, |_| CodecType::Http1, |_| CodecType::Http2,
}
arbitrary_enum! { RouteSpecifier:
    |e| RouteSpecifier::Rds(e.any()),
    |e| RouteSpecifier::Inline(e.any()),
}
arbitrary_enum! { ForwardClientCert:
    |_| ForwardClientCert::Sanitize,
    |_| ForwardClientCert::ForwardOnly,
    |_| ForwardClientCert::AppendForward,
    |_| ForwardClientCert::SanitizeSet,
    |_| ForwardClientCert::AlwaysForwardOnly,
}
arbitrary_struct! { ClientCertDetails { subject, cert, chain, dns, uri } }
arbitrary_enum! { ServerHeader:
    |_| ServerHeader::Overwrite,
    |_| ServerHeader::AppendIfAbsent,
    |_| ServerHeader::PassThrough,
}
arbitrary_enum! { EscapedSlashes:
    |_| EscapedSlashes::Keep,
    |_| EscapedSlashes::Reject,
    |_| EscapedSlashes::UnescapeAndRedirect,
    |_| EscapedSlashes::UnescapeAndForward,
}

arbitrary_struct! { HttpFilter { name, config } }
arbitrary_enum! { HttpFilterConfig:
    |e| HttpFilterConfig::Router(e.any()),
    |e| HttpFilterConfig::Fault(e.any()),
    |_| HttpFilterConfig::Cors,
    |e| HttpFilterConfig::Rbac(RbacFilter { stat_prefix: String::new(), ..e.any() }),
    |e| HttpFilterConfig::GrpcStats { emit_filter_state: e.any() },
    |e| HttpFilterConfig::Alpn(e.any()),
    |e| HttpFilterConfig::Stats(e.any()),
    |e| HttpFilterConfig::PeerMetadata(e.any()),
    |e| HttpFilterConfig::Opaque(e.any()),
}
arbitrary_struct! { Router { suppress_envoy_headers } }
arbitrary_struct! { HttpFault { delay, abort, headers } }
arbitrary_struct! { FaultDelay { fixed_delay, percentage } }
arbitrary_struct! { FaultAbort { status, percentage } }
arbitrary_enum! { FaultStatus: |e| FaultStatus::Http(e.any()), |e| FaultStatus::Grpc(e.any()) }
arbitrary_struct! { AlpnOverride { upstream_protocol, alpn } }
arbitrary_enum! { UpstreamProtocol:
    |_| UpstreamProtocol::Http10, |_| UpstreamProtocol::Http11, |_| UpstreamProtocol::Http2,
}
arbitrary_struct! { StatsConfig { disable_host_header_fallback, tcp_reporting_duration } }

impl Arbitrary for PeerMetadata {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        let upstream_propagation = entropy.any();
        Self {
            downstream_discovery: entropy.any(),
            upstream_discovery: entropy.any(),
            downstream_propagation: entropy.any(),
            upstream_propagation,
            skip_external_clusters: upstream_propagation && entropy.any(),
        }
    }
}
