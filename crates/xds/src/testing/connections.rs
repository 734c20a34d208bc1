//! Listeners, network filters and access logs.

use super::{Arbitrary, Entropy, arbitrary_enum, arbitrary_struct};
use crate::{
    AccessLog, AccessLogFilter, AccessLogFormat, FilterChain, FilterChainMatch, Listener,
    ListenerFilter, ListenerFilterKind, NetworkFilter, NetworkFilterConfig, TcpClusterWeight,
    TcpProxy, TrafficDirection,
};

arbitrary_struct! { Listener {
    name, address, bind_to_port, use_original_dst, traffic_direction, listener_filters,
    listener_filters_timeout, continue_on_listener_filters_timeout, filter_chains,
    default_filter_chain, access_log,
} }
arbitrary_enum! { TrafficDirection:
    |_| TrafficDirection::Unspecified,
    |_| TrafficDirection::Inbound,
    |_| TrafficDirection::Outbound,
}
arbitrary_struct! { ListenerFilter {
    kind,
    disabled_ports = |e| {
        let ranges: Vec<(u16, u16)> = (0..e.index(4)).map(|_| (e.any(), e.any())).collect();
        ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect()
    },
} }
arbitrary_enum! { ListenerFilterKind:
    |_| ListenerFilterKind::OriginalDst,
    |_| ListenerFilterKind::TlsInspector,
    |_| ListenerFilterKind::HttpInspector,
    |_| ListenerFilterKind::ProxyProtocol,
}
arbitrary_struct! { FilterChain {
    name, filter_chain_match, transport_socket, transport_socket_connect_timeout, filters,
} }
arbitrary_struct! { FilterChainMatch {
    destination_port, prefix_ranges, server_names,
    transport_protocol = |e| e.any::<bool>().then(|| e.text()),
    application_protocols, direct_source_prefix_ranges, source_prefix_ranges, source_ports,
} }

arbitrary_struct! { NetworkFilter { name, config } }
arbitrary_enum! { NetworkFilterConfig:
    |e| NetworkFilterConfig::TcpProxy(e.any()),
    |e| NetworkFilterConfig::HttpConnectionManager(e.any()),
    |e| NetworkFilterConfig::Rbac(e.any()),
    |e| NetworkFilterConfig::Stats(e.any()),
    |e| NetworkFilterConfig::MetadataExchange { protocol: e.any() },
    |e| NetworkFilterConfig::Opaque(e.any()),
}
arbitrary_struct! { TcpProxy {
    stat_prefix,
    clusters = |e| e.some(),
    idle_timeout, max_downstream_connection_duration, access_log,
} }
arbitrary_struct! { TcpClusterWeight { name, weight } }

arbitrary_struct! { AccessLog { path, format, filter } }
arbitrary_enum! { AccessLogFormat:
    |_| AccessLogFormat::Default,
    |e| AccessLogFormat::Text(e.any()),
    |e| AccessLogFormat::Json(e.any()),
}
impl Arbitrary for AccessLogFilter {
    fn arbitrary(entropy: &mut Entropy<'_>) -> Self {
        entropy.recurse(
            2,
            &[
                |e| AccessLogFilter::ResponseFlags(e.any()),
                |e| AccessLogFilter::StatusCodeAtLeast(e.any()),
                |e| AccessLogFilter::StatusCodeAtMost(e.any()),
                |e| AccessLogFilter::And(e.any()),
                |e| AccessLogFilter::Or(e.any()),
            ],
        )
    }
}
