//! Network filters that only let pass or refuse.

use crate::connection::Connection;

/// Whether the filters before the terminal one let a connection pass.
pub(crate) fn pass_network_filters(connection: &Connection) -> bool {
    let filters = &connection.chain.engine.filters;
    filters.iter().all(|filter| match filter {
        engine::NetworkFilter::Rbac(rbac) => allows(rbac, connection),
        _ => true,
    })
}

fn allows(rbac: &engine::RbacFilter, connection: &Connection) -> bool {
    let input = engine::RbacInput {
        request: None,
        direct_remote: connection.remote,
        remote: connection.remote,
        destination: connection.destination,
        server_name: connection.server_name.as_deref(),
        authenticated: connection.is_authenticated(),
        principals: connection.principals(),
    };
    let verdict = rbac.evaluate(&input);
    let stats = &connection.listener.stats;
    if verdict.allowed {
        stats.network_rbac_allowed.inc();
    } else {
        stats.network_rbac_denied.inc();
        tracing::debug!(
            listener = connection.listener.name(), remote = %connection.remote,
            policy = verdict.policy.unwrap_or("none"), "RBAC: connection denied"
        );
    }
    verdict.allowed
}
