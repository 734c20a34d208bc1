//! A call through the mesh: out of the client's proxy, into the server's.

use std::{net::SocketAddr, sync::Arc};

use engine::{
    Balancer, ConnectionInfo, FilterChain, HttpFilter, Listener, NetworkFilter, Pick, RbacInput,
    RequestInfo, Route, Routes, Snapshot,
    path::{Normalized, normalize},
};

use super::{Mesh, Pod, source};

/// A call to make. With `https://` the application itself speaks TLS.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: http::HeaderMap,
    /// Decides among weights and endpoints.
    pub(crate) random: u64,
    /// The `Host`, where it is not the URL's.
    pub(crate) host: Option<String>,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The status of the mesh's own answer; 200 when the workload got the request; 0 when the
    /// connection was closed, since no filter chain takes it.
    pub(crate) status: u16,
    /// The cluster that the client's proxy chose; empty: none.
    pub(crate) cluster: String,
    /// The pod that got it.
    pub(crate) pod: Option<String>,
    /// Whether it went over mutual TLS.
    pub(crate) mtls: bool,
    /// The policy that decided, when one did.
    pub(crate) policy: Option<String>,
    /// The path and host that the workload saw.
    pub(crate) path: String,
    pub(crate) host: String,
    /// The name of the route that was taken.
    pub(crate) route: String,
}

/// The client's side of a call: who, with which configuration, to where.
#[derive(Clone, Copy)]
struct Leg<'a> {
    pod: &'a Pod,
    snapshot: &'a Snapshot,
    destination: SocketAddr,
}

/// How bytes reach the server.
#[derive(Clone, Copy)]
enum Wire<'a> {
    /// As the application wrote them.
    Plain,
    /// Inside of mesh TLS, from an HTTP connection manager or not.
    Mesh(&'a xds::UpstreamTls, bool),
}

impl Call {
    pub(crate) fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    pub(crate) fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: http::HeaderMap::new(),
            random: 0,
            host: None,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name = http::HeaderName::from_bytes(name.as_bytes()).expect("header name");
        self.headers.append(name, value.parse().expect("header value"));
        self
    }

    pub(crate) fn random(mut self, random: u64) -> Self {
        self.random = random;
        self
    }

    fn is_tls(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// Host, port and path.
    fn parts(&self) -> (&str, u16, &str) {
        let (scheme, rest) = self.url.split_once("://").expect("a URL");
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let default = if scheme == "https" { "443" } else { "80" };
        let (host, port) = authority.split_once(':').unwrap_or((authority, default));
        (host, port.parse().expect("port"), path)
    }

    fn authority(&self) -> String {
        let (host, port, _) = self.parts();
        self.host.clone().unwrap_or_else(|| format!("{host}:{port}"))
    }

    /// What listener filters find out about the connection.
    fn findings(&self) -> (&'static str, Vec<String>) {
        if self.is_tls() {
            ("tls", vec!["h2".to_owned(), "http/1.1".to_owned()])
        } else {
            ("raw_buffer", vec!["http/1.1".to_owned()])
        }
    }
}

impl Outcome {
    fn answer(status: u16) -> Self {
        Self {
            status,
            cluster: String::new(),
            pod: None,
            mtls: false,
            policy: None,
            path: String::new(),
            host: String::new(),
            route: String::new(),
        }
    }

    fn at(call: &Call, pod: &str) -> Self {
        let path = call.parts().2.to_owned();
        Self { pod: Some(pod.to_owned()), path, host: call.authority(), ..Self::answer(200) }
    }
}

impl Mesh {
    /// A call from a pod's application.
    pub(crate) fn call(&self, from: &str, call: &Call) -> Outcome {
        let pod = &self.pods[from];
        let (host, port, _) = call.parts();
        let destination = SocketAddr::new(self.resolve(&self.proxy(from), host), port);
        if !pod.in_mesh {
            return self.arrive(pod, call, destination, Wire::Plain);
        }
        let snapshot = self.snapshot(from);
        let listener = snapshot
            .listener_for(destination)
            .or_else(|| snapshot.listeners().get("virtualOutbound"))
            .expect("a listener");
        self.send(Leg { pod, snapshot: &snapshot, destination }, listener, call)
    }

    /// A call from outside to a port of a gateway's pod.
    pub(crate) fn ingress(&self, gateway: &str, port: u16, call: &Call) -> Outcome {
        let pod = &self.pods[gateway];
        let snapshot = self.snapshot(gateway);
        let Some(listener) = snapshot.listeners().get(&format!("0.0.0.0_{port}")) else {
            return Outcome::answer(0);
        };
        let destination = SocketAddr::new(pod.ip, port);
        self.send(Leg { pod, snapshot: &snapshot, destination }, listener, call)
    }

    fn send(&self, leg: Leg<'_>, listener: &Listener, call: &Call) -> Outcome {
        let (transport_protocol, alpn) = call.findings();
        let info = ConnectionInfo {
            destination: leg.destination,
            source: source(leg.pod),
            direct_source: source(leg.pod),
            transport_protocol,
            server_name: call.is_tls().then(|| call.parts().0),
            application_protocols: &alpn,
        };
        let Some(chain) = listener.select_filter_chain(&info) else { return Outcome::answer(0) };
        let manager = match terminal(chain) {
            NetworkFilter::TcpProxy(tcp) => {
                let cluster = tcp.cluster(call.random).expect("a cluster").to_owned();
                return self.forward(leg, (&cluster, false), call);
            }
            NetworkFilter::HttpConnectionManager(manager) => manager,
            other => panic!("{other:?} is not terminal"),
        };
        assert_eq!(chain.transport_socket.is_some(), call.is_tls(), "{} does not fit", chain.name);
        let path = match normalize(call.parts().2, manager.normalization) {
            Ok(Normalized::Path(path)) => path.into_owned(),
            Ok(Normalized::Redirect(_)) => return Outcome::answer(307),
            Err(_) => return Outcome::answer(400),
        };
        let authority = call.authority();
        let request = RequestInfo {
            authority: &authority,
            path: &path,
            method: &call.method,
            scheme: if call.is_tls() { "https" } else { "http" },
            headers: &call.headers,
        };
        if let Some(policy) = refusal(chain, &rbac_input(leg.pod, leg.destination, &[]), request) {
            return Outcome { policy, ..Outcome::answer(403) };
        }
        let table = match &manager.routes {
            Routes::Rds(name) => Arc::clone(
                leg.snapshot.routes.get(name).unwrap_or_else(|| panic!("no routes {name}")),
            ),
            Routes::Inline(table) => Arc::clone(table),
        };
        let Some(found) = table.route(&request, call.random) else { return Outcome::answer(404) };
        if found.virtual_host.require_tls && !call.is_tls() {
            return Outcome::answer(301);
        }
        let Some(route) = found.route else { return Outcome::answer(404) };
        let outcome = self.take(leg, route, &request, call);
        Outcome { route: route.config.name.clone(), ..outcome }
    }

    /// What a route does with a request.
    fn take(&self, leg: Leg<'_>, route: &Route, request: &RequestInfo<'_>, call: &Call) -> Outcome {
        match &route.config.action {
            xds::Action::DirectResponse(response) => return Outcome::answer(response.status),
            xds::Action::Redirect(redirect) => return Outcome::answer(redirect.response_code),
            _ => {}
        }
        if let Some(engine::PerFilterConfig::Fault(fault)) =
            route.per_filter.get("envoy.filters.http.fault")
            && let Some(xds::FaultStatus::Http(status)) =
                fault.decide(request, [call.random, call.random]).abort
        {
            return Outcome::answer(status);
        }
        let (cluster, weighted) = route.cluster(call.random).expect("a cluster");
        let (host, port, _) = call.parts();
        let path = route.rewrite_path(request.path).unwrap_or_else(|| request.path.to_owned());
        let scheme = request.scheme;
        let mut forwarded = Call { url: format!("{scheme}://{host}:{port}{path}"), ..call.clone() };
        let rewrites = [
            weighted.map(|one| &one.host_rewrite),
            route.action().map(|action| &action.host_rewrite),
        ];
        let literal = rewrites.into_iter().flatten().find_map(|rewrite| match rewrite {
            xds::HostRewrite::Literal(host) => Some(host.clone()),
            _ => None,
        });
        forwarded.host = literal.or(forwarded.host);
        self.forward(leg, (cluster, true), &forwarded)
    }

    /// From the client's proxy to the server's.
    fn forward(&self, leg: Leg<'_>, (name, http): (&str, bool), call: &Call) -> Outcome {
        let refused = Outcome { cluster: name.to_owned(), ..Outcome::answer(503) };
        let Some(cluster) = leg.snapshot.clusters.get(name) else { return refused };
        let mut numbers = call.random;
        let mut random = || {
            numbers = numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            numbers >> 7
        };
        let host = if cluster.config.discovery == xds::Discovery::OriginalDst {
            None
        } else {
            let mut balancer = Balancer::new(&cluster.config);
            let mut pick = Pick { random: &mut random, hash: None, avoid: &|_| false, attempts: 0 };
            match balancer.pick(&cluster.hosts, &mut pick) {
                Some(host) => Some(host),
                None => return refused,
            }
        };
        let address = match host.as_ref().map(|host| &host.endpoint.address) {
            Some(xds::Address::Socket { ip, port }) => SocketAddr::new(*ip, *port),
            Some(other) => panic!("{other} is not an IP address"),
            None => leg.destination,
        };
        let tls = cluster.transport(host.as_deref()).tls;
        let wire = tls.map_or(Wire::Plain, |tls| Wire::Mesh(tls, http));
        let outcome = self.arrive(leg.pod, call, address, wire);
        Outcome { cluster: name.to_owned(), ..outcome }
    }

    /// At the server's proxy.
    fn arrive(&self, client: &Pod, call: &Call, address: SocketAddr, wire: Wire<'_>) -> Outcome {
        let Some(pod) = self.pods.values().find(|pod| pod.ip == address.ip()) else {
            return Outcome::at(call, "outside");
        };
        let mtls = matches!(wire, Wire::Mesh(..));
        if !pod.in_mesh {
            assert!(!mtls, "TLS to a pod that takes none");
            return Outcome::at(call, &pod.name);
        }
        let snapshot = self.snapshot(&pod.name);
        let listener = snapshot.listeners().get("virtualInbound").expect("a listener");
        let (transport_protocol, alpn) = match wire {
            // Istio's ALPN filter is in our own proxy.
            Wire::Mesh(_, true) => ("tls", vec!["istio-http/1.1".to_owned(), "istio".to_owned()]),
            Wire::Mesh(tls, false) => ("tls", tls.common.alpn.clone()),
            Wire::Plain => call.findings(),
        };
        let server_name = match wire {
            Wire::Mesh(tls, _) => Some(tls.sni.as_str()),
            Wire::Plain => call.is_tls().then(|| call.parts().0),
        };
        let info = ConnectionInfo {
            destination: address,
            source: source(client),
            direct_source: source(client),
            transport_protocol,
            server_name,
            application_protocols: &alpn,
        };
        let Some(chain) = listener.select_filter_chain(&info) else {
            return Outcome::answer(503);
        };
        assert_eq!(
            chain.transport_socket.is_some(),
            mtls,
            "the chain {} does not fit the connection",
            chain.name
        );
        if let Wire::Mesh(tls, _) = wire {
            check_server_name(pod, tls);
        }
        let identity =
            format!("spiffe://cluster.local/ns/{}/sa/{}", client.namespace, client.service_account);
        let principals: Vec<String> = mtls.then_some(identity).into_iter().collect();
        let authority = call.authority();
        let request = RequestInfo {
            authority: &authority,
            path: call.parts().2,
            method: &call.method,
            scheme: "http",
            headers: &call.headers,
        };
        match refusal(chain, &rbac_input(client, address, &principals), request) {
            Some(policy) => Outcome { status: 403, mtls, policy, ..Outcome::at(call, &pod.name) },
            None => Outcome { mtls, ..Outcome::at(call, &pod.name) },
        }
    }
}

/// Secure naming: the server's identity must be among the names that the client expects.
fn check_server_name(pod: &Pod, tls: &xds::UpstreamTls) {
    let identity =
        format!("spiffe://cluster.local/ns/{}/sa/{}", pod.namespace, pod.service_account);
    let expected = &tls.common.validation.as_ref().expect("validation").match_subject_alt_names;
    assert!(
        expected.iter().any(|name| name.matcher == xds::StringMatcher::exact(&identity)),
        "{identity} is not among {expected:?}"
    );
}

fn rbac_input<'a>(
    client: &Pod,
    destination: SocketAddr,
    principals: &'a [String],
) -> RbacInput<'a> {
    RbacInput {
        request: None,
        direct_remote: source(client),
        remote: source(client),
        destination,
        server_name: None,
        authenticated: !principals.is_empty(),
        principals,
    }
}

/// Whether a policy refuses the call, and which.
fn refusal(
    chain: &FilterChain,
    connection: &RbacInput<'_>,
    request: RequestInfo<'_>,
) -> Option<Option<String>> {
    let refused = |rbac: &engine::RbacFilter, input: &RbacInput<'_>| {
        let verdict = rbac.evaluate(input);
        (!verdict.allowed).then(|| verdict.policy.map(str::to_owned))
    };
    let on_connection = chain.filters.iter().find_map(|filter| match filter {
        NetworkFilter::Rbac(rbac) => refused(rbac, connection),
        _ => None,
    });
    let NetworkFilter::HttpConnectionManager(manager) = terminal(chain) else {
        return on_connection;
    };
    let input = RbacInput { request: Some(request), ..*connection };
    on_connection.or_else(|| {
        manager.filters.iter().find_map(|filter| match filter {
            HttpFilter::Rbac { rbac, .. } => refused(rbac, &input),
            _ => None,
        })
    })
}

fn terminal(chain: &FilterChain) -> &NetworkFilter {
    chain.filters.last().expect("a filter")
}
