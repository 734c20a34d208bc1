//! The HTTP filters of a request, in the order of the configuration. Dispatched by enum: there is
//! no indirection on the way of a request.

use std::sync::Arc;

use http::StatusCode;

use super::{cors, exchange::Exchange, headers, local_reply::LocalReply, request::Head};
use crate::flags::Flags;

/// Runs the filters before the router; an answer ends the request.
pub(super) async fn run(
    head: &mut Head,
    decision: Option<&engine::RouteDecision<'_>>,
    exchange: &mut Exchange,
) -> Result<(), Box<LocalReply>> {
    let manager = Arc::clone(&exchange.http.manager);
    for filter in &manager.engine.filters {
        match filter {
            engine::HttpFilter::PeerMetadata(config) => discover_peer(*config, head, exchange),
            engine::HttpFilter::Rbac { name, rbac } => {
                let route = per_filter(decision, name);
                authorize(rbac, route, head, exchange)?;
            }
            engine::HttpFilter::Fault { name, fault } => {
                let route = match per_filter(decision, name) {
                    Some(engine::PerFilterConfig::Fault(fault)) => fault,
                    _ => fault,
                };
                inject(route, head, exchange).await?;
            }
            engine::HttpFilter::Cors { name } => {
                if let Some(engine::PerFilterConfig::Cors(policy)) = per_filter(decision, name)
                    && let Some(reply) = cors::check(policy, head)
                {
                    return Err(Box::new(reply));
                }
            }
            engine::HttpFilter::Alpn(overrides) => head.alpn = Some(Arc::clone(overrides)),
            engine::HttpFilter::GrpcStats
            | engine::HttpFilter::Stats(_)
            | engine::HttpFilter::Router(_) => {}
        }
    }
    Ok(())
}

/// A filter's configuration on the route, else on the virtual host.
fn per_filter<'a>(
    decision: Option<&engine::RouteDecision<'a>>,
    name: &str,
) -> Option<&'a engine::PerFilterConfig> {
    let decision = decision?;
    let route = decision.route.and_then(|route| route.per_filter.get(name));
    route.or_else(|| decision.virtual_host.per_filter.get(name))
}

/// Reads who the client says it is, and keeps that from the application.
fn discover_peer(config: xds::PeerMetadata, head: &mut Head, exchange: &mut Exchange) {
    if !config.downstream_discovery {
        return;
    }
    let metadata = head.headers.remove(headers::PEER_METADATA);
    let id = head.headers.remove(headers::PEER_METADATA_ID);
    head.tell_peer = config.downstream_propagation && id.is_some();
    if let Some(metadata) = metadata {
        let worker = &exchange.http.connection.worker;
        exchange.peer = worker.istio.borrow_mut().peer_by_header(metadata.as_bytes());
    }
}

/// Whether policies let the request pass.
fn authorize(
    filter: &engine::RbacFilter,
    route: Option<&engine::PerFilterConfig>,
    head: &Head,
    exchange: &Exchange,
) -> Result<(), Box<LocalReply>> {
    let filter = match route {
        Some(engine::PerFilterConfig::Rbac(None)) => return Ok(()),
        Some(engine::PerFilterConfig::Rbac(Some(rbac))) => rbac,
        _ => filter,
    };
    let connection = &exchange.http.connection;
    let input = engine::RbacInput {
        request: Some(head.info()),
        direct_remote: connection.remote,
        remote: head.remote,
        destination: connection.destination,
        server_name: connection.server_name.as_deref(),
        authenticated: connection.is_authenticated(),
        principals: connection.principals(),
    };
    let stats = &exchange.http.manager.stats;
    if let Some(shadow) = &filter.shadow_rules {
        if shadow.evaluate(&input).allowed {
            stats.rbac_shadow_allowed.inc();
        } else {
            stats.rbac_shadow_denied.inc();
        }
    }
    if filter.rules.is_none() {
        return Ok(());
    }
    let verdict = filter.evaluate(&input);
    if verdict.allowed {
        stats.rbac_allowed.inc();
        return Ok(());
    }
    stats.rbac_denied.inc();
    Err(Box::new(LocalReply::rbac_denied(verdict.policy)))
}

/// Delays and aborts.
async fn inject(
    fault: &engine::Fault,
    head: &Head,
    exchange: &mut Exchange,
) -> Result<(), Box<LocalReply>> {
    let worker = &exchange.http.connection.worker;
    let decision = fault.decide(&head.info(), [worker.random(), worker.random()]);
    if let Some(delay) = decision.delay {
        exchange.http.manager.stats.fault_delays.inc();
        exchange.facts.flags.insert(Flags::DELAY_INJECTED);
        tokio::time::sleep(delay).await;
    }
    let Some(status) = decision.abort else { return Ok(()) };
    exchange.http.manager.stats.fault_aborts.inc();
    let mut reply = LocalReply::new(StatusCode::OK, "fault filter abort", "fault_filter_abort")
        .flag(Flags::FAULT_INJECTED);
    match status {
        xds::FaultStatus::Http(code) => {
            reply.status = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        }
        xds::FaultStatus::Grpc(code) => {
            reply.grpc_status = Some(code);
        }
    }
    Err(Box::new(reply))
}
