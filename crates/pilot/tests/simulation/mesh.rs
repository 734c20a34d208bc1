//! A mesh without processes: YAML in, `pilot` makes each proxy's resources, `engine` decides by
//! them what becomes of a call. Plays kubelet and controllers: each Deployment has its Pods, each
//! Service its EndpointSlice.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use config::{Object, Spec};
use engine::{
    Balancer, Cluster, ConnectionInfo, FilterChain, HttpConnectionManager, HttpFilter, Listener,
    NetworkFilter, Pick, RbacInput, RequestInfo, RouteTable, Routes, Snapshot,
};
use pilot::{Proxy, PushContext, World};

/// What our own proxy announces.
pub(crate) const EXTENSIONS: [&str; 4] =
    ["istio.stats", "istio.alpn", "envoy.filters.http.peer_metadata", "istio.metadata_exchange"];

/// A pod that plays a part.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) service_account: String,
    pub(crate) ip: IpAddr,
    /// Whether it has a sidecar (or is a gateway).
    pub(crate) in_mesh: bool,
}

/// All of a mesh.
pub(crate) struct Mesh {
    pub(crate) objects: Vec<Arc<Object>>,
    pub(crate) push: PushContext,
    pub(crate) pods: BTreeMap<String, Pod>,
}

/// The client's side of a call: who, with which configuration, to where.
#[derive(Clone, Copy)]
struct Leg<'a> {
    pod: &'a Pod,
    snapshot: &'a Snapshot,
    destination: SocketAddr,
}

/// A call to make.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: http::HeaderMap,
    /// Decides among weights and endpoints.
    pub(crate) random: u64,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The status of the mesh's own answer; 200 when the workload got the request.
    pub(crate) status: u16,
    /// The cluster that the client's proxy chose; empty: none.
    pub(crate) cluster: String,
    /// The pod that got it.
    pub(crate) pod: Option<String>,
    /// Whether it went over mutual TLS.
    pub(crate) mtls: bool,
    /// The policy that decided, when one did.
    pub(crate) policy: Option<String>,
}

impl Call {
    pub(crate) fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    pub(crate) fn new(method: &'static str, url: &str) -> Self {
        Self { method, url: url.to_owned(), headers: http::HeaderMap::new(), random: 0 }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().expect("header value"));
        self
    }

    pub(crate) fn random(mut self, random: u64) -> Self {
        self.random = random;
        self
    }

    /// Host, port and path.
    fn parts(&self) -> (&str, u16, &str) {
        let rest = self.url.strip_prefix("http://").expect("an http URL");
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
        (host, port.parse().expect("port"), path)
    }
}

/// The objects of some YAML; panics on errors.
pub(crate) fn parse(text: &str) -> Vec<Arc<Object>> {
    let parsed = config::parse_file("test.yaml", text);
    let errors: Vec<_> = parsed.diagnostics.iter().filter(|d| d.is_error()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    parsed.objects
}

impl Mesh {
    pub(crate) fn new(text: &str) -> Self {
        Self::of(parse(text))
    }

    /// The files of a directory, and a gateway.
    pub(crate) fn dir(path: &str) -> Self {
        Self::of(Self::objects(path))
    }

    pub(crate) fn objects(path: &str) -> Vec<Arc<Object>> {
        let mut objects = Vec::new();
        let mut files: Vec<_> =
            std::fs::read_dir(path).expect(path).map(|entry| entry.expect(path).path()).collect();
        files.sort();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "yaml")) {
            objects.extend(parse(&std::fs::read_to_string(file).expect("file")));
        }
        objects.extend(parse(INGRESS));
        objects
    }

    pub(crate) fn of(mut objects: Vec<Arc<Object>>) -> Self {
        let pods = pods(&objects);
        objects.extend(parse(&registry(&objects, &pods)));
        let push = PushContext::new(Arc::new(World::new(objects.clone())));
        Self { objects, push, pods: pods.into_iter().map(|pod| (pod.name.clone(), pod)).collect() }
    }

    /// The proxy beside a pod.
    pub(crate) fn proxy(&self, pod: &str) -> Proxy {
        let pod = &self.pods[pod];
        let kind = if pod.labels.contains_key("istio") { "router" } else { "sidecar" };
        proxy(pod, kind, &EXTENSIONS)
    }

    /// A call from a pod's application.
    pub(crate) fn call(&self, from: &str, call: &Call) -> Outcome {
        let pod = &self.pods[from];
        let (host, port, _) = call.parts();
        let client = self.proxy(from);
        let ip = self.resolve(&client, host);
        let destination = SocketAddr::new(ip, port);
        if !pod.in_mesh {
            return self.arrive_plain(pod, call, destination);
        }
        let snapshot = self.snapshot(&client);
        let listener = snapshot
            .listener_for(destination)
            .or_else(|| snapshot.listeners().get("virtualOutbound"))
            .expect("a listener");
        self.send(Leg { pod, snapshot: &snapshot, destination }, listener, call)
    }

    /// A call from outside to a port of a gateway's pod.
    pub(crate) fn ingress(&self, gateway: &str, port: u16, call: &Call) -> Outcome {
        let pod = &self.pods[gateway];
        let snapshot = self.snapshot(&self.proxy(gateway));
        let listener = snapshot.listeners().get(&format!("0.0.0.0_{port}")).expect("a listener");
        let destination = SocketAddr::new(pod.ip, port);
        self.send(Leg { pod, snapshot: &snapshot, destination }, listener, call)
    }

    /// What `/etc/resolv.conf` and the name table make of a host.
    fn resolve(&self, client: &Proxy, host: &str) -> IpAddr {
        if let Ok(ip) = host.parse() {
            return ip;
        }
        let table = self.push.name_table(client).table;
        let own = &client.namespace;
        [
            host.to_owned(),
            format!("{host}.{own}.svc.cluster.local"),
            format!("{host}.svc.cluster.local"),
            format!("{host}.cluster.local"),
        ]
        .iter()
        .find_map(|name| table.get(name))
        .and_then(|info| info.ips.first().copied())
        // Somewhere on the internet.
        .unwrap_or_else(|| "203.0.113.7".parse().expect("address"))
    }

    fn snapshot(&self, proxy: &Proxy) -> Snapshot {
        snapshot(&self.push, proxy)
    }

    fn send(
        &self,
        Leg { pod, snapshot, destination }: Leg<'_>,
        listener: &Listener,
        call: &Call,
    ) -> Outcome {
        let (host, port, path) = call.parts();
        let alpn = ["http/1.1".to_owned()];
        let source = SocketAddr::new(pod.ip, 40000);
        let info = ConnectionInfo {
            destination,
            source,
            direct_source: source,
            transport_protocol: "raw_buffer",
            server_name: None,
            application_protocols: &alpn,
        };
        let chain = listener.select_filter_chain(&info).expect("a chain");
        let manager = match terminal(chain) {
            NetworkFilter::TcpProxy(tcp) => {
                let cluster = tcp.cluster(call.random).expect("a cluster").to_owned();
                return self.forward(Leg { pod, snapshot, destination }, &cluster, call);
            }
            NetworkFilter::HttpConnectionManager(manager) => manager,
            other => panic!("{other:?} is not terminal"),
        };
        let authority = format!("{host}:{port}");
        let request = RequestInfo {
            authority: &authority,
            path,
            method: call.method,
            scheme: "http",
            headers: &call.headers,
        };
        let table = match &manager.routes {
            Routes::Rds(name) => {
                Arc::clone(snapshot.routes.get(name).unwrap_or_else(|| panic!("no routes {name}")))
            }
            Routes::Inline(table) => Arc::clone(table),
        };
        let Some(route) = table.route(&request, call.random).and_then(|found| found.route) else {
            return Outcome::answer(404);
        };
        match &route.config.action {
            xds::Action::DirectResponse(response) => return Outcome::answer(response.status),
            xds::Action::Redirect(redirect) => return Outcome::answer(redirect.response_code),
            _ => {}
        }
        if let Some(engine::PerFilterConfig::Fault(fault)) =
            route.per_filter.get("envoy.filters.http.fault")
            && let Some(xds::FaultStatus::Http(status)) =
                fault.decide(&request, [call.random, call.random]).abort
        {
            return Outcome::answer(status);
        }
        let (cluster, _) = route.cluster(call.random).expect("a cluster");
        self.forward(Leg { pod, snapshot, destination }, cluster, call)
    }

    /// From the client's proxy to the server's.
    fn forward(
        &self,
        Leg { pod, snapshot, destination }: Leg<'_>,
        name: &str,
        call: &Call,
    ) -> Outcome {
        let refused = Outcome { cluster: name.to_owned(), ..Outcome::answer(503) };
        let Some(cluster) = snapshot.clusters.get(name) else { return refused };
        let mut numbers = call.random;
        let mut random = || {
            numbers = numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            numbers >> 7
        };
        let host = match cluster.config.discovery {
            xds::Discovery::OriginalDst => None,
            _ => {
                let mut balancer = Balancer::new(&cluster.config);
                let mut pick =
                    Pick { random: &mut random, hash: None, avoid: &|_| false, attempts: 0 };
                match balancer.pick(&cluster.hosts, &mut pick) {
                    Some(host) => Some(host),
                    None => return refused,
                }
            }
        };
        let address = match host.as_ref().map(|host| &host.endpoint.address) {
            Some(xds::Address::Socket { ip, port }) => SocketAddr::new(*ip, *port),
            Some(other) => panic!("{other} is not an IP address"),
            None => destination,
        };
        let tls = cluster.transport(host.as_deref()).tls;
        let http = matches!(name.split('|').next(), Some("outbound"));
        let outcome = self.arrive(pod, call, address, tls.map(|tls| (tls, http)));
        Outcome { cluster: name.to_owned(), ..outcome }
    }

    fn arrive_plain(&self, pod: &Pod, call: &Call, destination: SocketAddr) -> Outcome {
        // Without a sidecar a virtual address leads to some endpoint.
        let ip = self
            .pods
            .values()
            .find(|candidate| candidate.ip == destination.ip())
            .map_or(destination.ip(), |candidate| candidate.ip);
        self.arrive(pod, call, SocketAddr::new(ip, destination.port()), None)
    }

    /// At the server's proxy.
    fn arrive(
        &self,
        client: &Pod,
        call: &Call,
        address: SocketAddr,
        tls: Option<(&xds::UpstreamTls, bool)>,
    ) -> Outcome {
        let Some(pod) = self.pods.values().find(|pod| pod.ip == address.ip()) else {
            return Outcome { pod: Some("outside".to_owned()), ..Outcome::answer(200) };
        };
        if !pod.in_mesh {
            assert!(tls.is_none(), "TLS to a pod that takes none");
            return Outcome { pod: Some(pod.name.clone()), ..Outcome::answer(200) };
        }
        let snapshot = self.snapshot(&self.proxy(&pod.name));
        let listener = snapshot.listeners().get("virtualInbound").expect("a listener");
        let source = SocketAddr::new(client.ip, 40000);
        let alpn: Vec<String> = match tls {
            // Istio's ALPN filter is in our own proxy.
            Some((_, true)) => vec!["istio-http/1.1".to_owned(), "istio".to_owned()],
            Some((tls, false)) => tls.common.alpn.clone(),
            None => vec!["http/1.1".to_owned()],
        };
        let info = ConnectionInfo {
            destination: address,
            source,
            direct_source: source,
            transport_protocol: if tls.is_some() { "tls" } else { "raw_buffer" },
            server_name: tls.map(|(tls, _)| tls.sni.as_str()),
            application_protocols: &alpn,
        };
        let Some(chain) = listener.select_filter_chain(&info) else {
            return Outcome::answer(503);
        };
        assert_eq!(
            chain.transport_socket.is_some(),
            tls.is_some(),
            "the chain {} does not fit the connection",
            chain.name
        );
        if let Some((tls, _)) = tls {
            check_server_name(pod, tls);
        }
        let mtls = tls.is_some();
        let identity =
            format!("spiffe://cluster.local/ns/{}/sa/{}", client.namespace, client.service_account);
        let principals: Vec<String> = tls.map(|_| identity).into_iter().collect();
        let refusal = refusal(chain, client, call, address, &principals);
        Outcome {
            status: if refusal.is_some() { 403 } else { 200 },
            cluster: String::new(),
            pod: Some(pod.name.clone()),
            mtls,
            policy: refusal.flatten(),
        }
    }
}

impl Outcome {
    fn answer(status: u16) -> Self {
        Self { status, cluster: String::new(), pod: None, mtls: false, policy: None }
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

/// Whether a policy refuses the call, and which.
fn refusal(
    chain: &FilterChain,
    client: &Pod,
    call: &Call,
    destination: SocketAddr,
    principals: &[String],
) -> Option<Option<String>> {
    let (host, port, path) = call.parts();
    let authority = format!("{host}:{port}");
    let source = SocketAddr::new(client.ip, 40000);
    let mut input = RbacInput {
        request: None,
        direct_remote: source,
        remote: source,
        destination,
        server_name: None,
        authenticated: !principals.is_empty(),
        principals,
    };
    for filter in &chain.filters {
        if let NetworkFilter::Rbac(rbac) = filter {
            let verdict = rbac.evaluate(&input);
            if !verdict.allowed {
                return Some(verdict.policy.map(str::to_owned));
            }
        }
    }
    let NetworkFilter::HttpConnectionManager(manager) = terminal(chain) else { return None };
    input.request = Some(RequestInfo {
        authority: &authority,
        path,
        method: call.method,
        scheme: "http",
        headers: &call.headers,
    });
    http_refusal(manager, &input)
}

fn http_refusal(manager: &HttpConnectionManager, input: &RbacInput<'_>) -> Option<Option<String>> {
    for filter in &manager.filters {
        if let HttpFilter::Rbac { rbac, .. } = filter {
            let verdict = rbac.evaluate(input);
            if !verdict.allowed {
                return Some(verdict.policy.map(str::to_owned));
            }
        }
    }
    None
}

fn terminal(chain: &FilterChain) -> &NetworkFilter {
    chain.filters.last().expect("a filter")
}

/// Compiles all of a proxy's resources, as a proxy does.
pub(crate) fn snapshot(push: &PushContext, proxy: &Proxy) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for cluster in push.clusters(proxy) {
        let name = cluster.name.clone();
        let cluster = Cluster::new(cluster).unwrap_or_else(|error| panic!("{name}: {error}"));
        let cluster = match cluster.eds_name() {
            Some(eds) => {
                let assignment = push.load_assignment(proxy, eds);
                cluster.with_hosts(&assignment.unwrap_or_else(|| panic!("no endpoints of {eds}")))
            }
            None => cluster,
        };
        let twin = snapshot.clusters.insert(name.clone(), Arc::new(cluster));
        assert!(twin.is_none(), "two clusters {name}");
    }
    let mut listeners = HashMap::new();
    for listener in push.listeners(proxy) {
        let name = listener.name.clone();
        let listener = Listener::new(listener).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(listeners.insert(name.clone(), Arc::new(listener)).is_none(), "two {name}");
    }
    snapshot.set_listeners(listeners);
    for name in push.route_names(proxy) {
        let routes = push.route_configuration(proxy, &name);
        let routes = routes.unwrap_or_else(|| panic!("no route configuration {name}"));
        let table = RouteTable::new(&routes).unwrap_or_else(|error| panic!("{name}: {error}"));
        snapshot.routes.insert(name, Arc::new(table));
    }
    snapshot
}

/// A proxy from a node as an agent would send it.
pub(crate) fn proxy(pod: &Pod, kind: &str, extensions: &[&str]) -> Proxy {
    let text = |value: &str| xds::Value::from(value);
    let labels = pod.labels.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let metadata = xds::Struct::from([
        ("NAMESPACE".to_owned(), text(&pod.namespace)),
        ("SERVICE_ACCOUNT".to_owned(), text(&pod.service_account)),
        ("INSTANCE_IPS".to_owned(), text(&pod.ip.to_string())),
        ("LABELS".to_owned(), xds::Value::Struct(labels)),
    ]);
    let node = xds::Node {
        id: format!(
            "{kind}~{}~{}.{ns}~{ns}.svc.cluster.local",
            pod.ip,
            pod.name,
            ns = pod.namespace
        ),
        metadata,
        extensions: extensions.iter().map(|name| (*name).to_owned()).collect(),
        ..xds::Node::default()
    };
    Proxy::from_node(&node).expect("node")
}

/// The pods that Deployments ask for.
fn pods(objects: &[Arc<Object>]) -> Vec<Pod> {
    let mut pods = Vec::new();
    for object in objects {
        let Spec::Deployment(deployment) = &object.spec else { continue };
        let template = &deployment.template;
        let mut labels = template.metadata.labels.clone();
        let inject = template.metadata.labels.get("sidecar.istio.io/inject");
        let in_mesh = inject.is_none_or(|value| value != "false");
        let gateway = labels.contains_key("istio");
        if in_mesh && !gateway {
            labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
        }
        let number = u8::try_from(pods.len()).expect("few pods") + 2;
        pods.push(Pod {
            name: object.meta.name.clone(),
            namespace: object.meta.namespace.clone(),
            labels,
            service_account: template.spec.service_account().to_owned(),
            ip: IpAddr::from([10, 244, 1, number]),
            in_mesh,
        });
    }
    pods
}

/// Pods and EndpointSlices, as the runtime or a cluster writes them.
fn registry(objects: &[Arc<Object>], pods: &[Pod]) -> String {
    let mut text = String::new();
    for pod in pods {
        let labels = serde_json::to_string(&pod.labels).expect("labels");
        let Pod { name, namespace, service_account, ip, .. } = pod;
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, \
             labels: {labels}}}\nspec:\n  serviceAccountName: {service_account}\n  containers: \
             [{{name: app, image: none}}]\nstatus: {{podIP: {ip}}}\n"
        );
    }
    for object in objects {
        let Spec::Service(service) = &object.spec else { continue };
        let selects = |pod: &&Pod| {
            !service.selector.is_empty()
                && pod.namespace == object.meta.namespace
                && config::label::selects(&service.selector, &pod.labels)
        };
        let endpoints: Vec<String> = pods
            .iter()
            .filter(selects)
            .map(|pod| {
                format!(
                    "{{addresses: [{}], conditions: {{ready: true}}, targetRef: {{kind: Pod, \
                     name: {}, namespace: {}}}}}",
                    pod.ip, pod.name, pod.namespace
                )
            })
            .collect();
        let ports: Vec<String> = service
            .ports
            .iter()
            .map(|port| {
                let target =
                    port.target_port.as_ref().map_or(port.port.to_string(), ToString::to_string);
                format!("{{name: \"{}\", port: {target}}}", port.name)
            })
            .collect();
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, \
             namespace: {ns}, labels: {{kubernetes.io/service-name: {name}}}}}\naddressType: \
             IPv4\nendpoints: [{}]\nports: [{}]\n",
            endpoints.join(", "),
            ports.join(", "),
            name = object.meta.name,
            ns = object.meta.namespace,
        );
    }
    text
}

/// A gateway's Deployment and Service.
pub(crate) const INGRESS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports:
    - {name: http2, port: 80, targetPort: 8080}
    - {name: https, port: 443, targetPort: 8443}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata: {labels: {istio: ingressgateway}}
    spec:
      serviceAccountName: istio-ingressgateway-service-account
      containers: [{name: istio-proxy, image: auto}]
";
