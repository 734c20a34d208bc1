//! The routes of an inbound chain: everything to the workload.

use xds::{Action, RetryPolicy, RouteConfiguration, VirtualHost};

use super::{configuration, default};

/// The routes to an inbound cluster. `service` is the owner's host name and port, none for ports
/// that no service is behind. Only a request that the workload has not begun to read is tried
/// again, and never gRPC.
pub(crate) fn inbound(
    cluster: &str,
    service: Option<(&str, u16)>,
    grpc: bool,
) -> RouteConfiguration {
    let (host, port) = service.unwrap_or_default();
    let mut route = default::to_cluster("default", cluster.to_owned(), format!("{host}:{port}/*"));
    if let Action::Route(action) = &mut route.action
        && !grpc
    {
        action.retry_policy = Some(RetryPolicy {
            retry_on: "reset-before-request".to_owned(),
            num_retries: Some(2),
            ..RetryPolicy::default()
        });
    }
    let virtual_host = VirtualHost {
        name: format!("inbound|http|{port}"),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..VirtualHost::default()
    };
    let mut routes = configuration(cluster, vec![virtual_host]);
    routes.ignore_port_in_host_matching = false;
    routes
}
