//! Route configurations.

use std::num::NonZeroU16;

use super::{arbitrary_enum, arbitrary_struct};
use crate::{
    Action, ClusterSpecifier, ClusterWeight, CorsPolicy, DirectResponse, HashPolicy,
    HeaderMutations, HeaderValueOption, HostRewrite, MirrorPolicy, PathMatch, PerFilterConfig,
    RbacFilter, Redirect, RedirectPath, RetryBackOff, RetryPolicy, Route, RouteAction,
    RouteConfiguration, RouteMatch, VirtualHost,
};

arbitrary_struct! { RouteConfiguration {
    name, virtual_hosts, validate_clusters, ignore_port_in_host_matching,
    max_direct_response_body_size_bytes,
} }
arbitrary_struct! { VirtualHost {
    name, domains, routes, require_tls, include_request_attempt_count, typed_per_filter_config,
} }
arbitrary_struct! { Route {
    name, route_match, action, metadata, operation, headers, typed_per_filter_config,
} }
arbitrary_struct! { RouteMatch {
    path, case_sensitive, headers, query_parameters, runtime_fraction,
} }
arbitrary_enum! { PathMatch:
    |e| PathMatch::Prefix(e.any()),
    |e| PathMatch::PathSeparatedPrefix(e.any()),
    |e| PathMatch::Path(e.any()),
    |e| PathMatch::Regex(e.text()),
}
arbitrary_enum! { Action:
    |e| Action::Route(e.any()),
    |e| Action::Redirect(e.any()),
    |e| Action::DirectResponse(e.any()),
    |_| Action::NonForwarding,
}
arbitrary_struct! { RouteAction {
    cluster,
    cluster_not_found_response_code = |e| e.pick(&[None, Some(404), Some(500)]),
    timeout, idle_timeout, grpc_timeout_header_max, retry_policy,
    prefix_rewrite = |e| e.any::<bool>().then(|| e.text()),
    regex_rewrite, host_rewrite, hash_policy, request_mirror_policies,
} }
arbitrary_enum! { ClusterSpecifier:
    |e| ClusterSpecifier::Cluster(e.any()),
    |e| ClusterSpecifier::Weighted(e.some()),
}
arbitrary_struct! { ClusterWeight {
    name, weight, headers,
    host_rewrite = |e| match e.any() {
        HostRewrite::Auto => HostRewrite::None,
        rewrite => rewrite,
    },
} }
arbitrary_enum! { HostRewrite:
    |_| HostRewrite::None,
    |e| HostRewrite::Literal(e.any()),
    |_| HostRewrite::Auto,
}
arbitrary_struct! { RetryPolicy {
    retry_on, num_retries, per_try_timeout, retriable_status_codes, avoid_previous_hosts,
    host_selection_retry_max_attempts, back_off,
} }
arbitrary_struct! { RetryBackOff { base_interval, max_interval } }
arbitrary_enum! { HashPolicy:
    |e| HashPolicy::Header(e.any()),
    |e| HashPolicy::Cookie {
        name: e.any(),
        path: e.any(),
        ttl: e.any(),
        attributes: vec![(e.any(), e.any())],
    },
    |_| HashPolicy::SourceIp,
    |e| HashPolicy::QueryParameter(e.any()),
}
arbitrary_struct! { MirrorPolicy { cluster, runtime_fraction, disable_shadow_host_suffix } }
arbitrary_struct! { Redirect {
    scheme, host,
    port = |e| NonZeroU16::new(e.any()).map(NonZeroU16::get),
    path,
    response_code = |e| e.pick(&[301, 302, 303, 307, 308]),
    strip_query,
} }
arbitrary_enum! { RedirectPath:
    |_| RedirectPath::Keep,
    |e| RedirectPath::Full(e.any()),
    |e| RedirectPath::Prefix(e.any()),
}
arbitrary_struct! { DirectResponse { status = |e| e.pick(&[200, 404, 503, 599]), body } }
arbitrary_struct! { HeaderMutations { request_add, request_remove, response_add, response_remove } }
arbitrary_struct! { HeaderValueOption { name, value, overwrite } }
arbitrary_enum! { PerFilterConfig:
    |e| PerFilterConfig::Fault(e.any()),
    |e| PerFilterConfig::Rbac(
        e.any::<Option<RbacFilter>>()
            .map(|filter| RbacFilter { stat_prefix: String::new(), ..filter }),
    ),
    |e| PerFilterConfig::Cors(e.any()),
    |e| PerFilterConfig::Opaque(e.any()),
}
arbitrary_struct! { CorsPolicy {
    allow_origin, allow_methods, allow_headers, expose_headers, max_age, allow_credentials,
    forward_not_matching_preflights,
} }
