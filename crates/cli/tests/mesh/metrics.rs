//! Istio's standard metrics of a whole mesh, scraped as Prometheus does, and read as Istio's
//! dashboards and Kiali read them.

mod page;

use std::{collections::BTreeMap, process::Command, time::Duration};

use page::{Page, Sample};
use testkit::mesh::Mesh;

use crate::{get, turn, up, wait_until};

/// A page whose details come over a TCP service, and whose reviews are outside of the mesh: at an
/// address where nobody listens.
const METRICS: &str = r#"
apiVersion: v1
kind: Namespace
metadata:
  name: metrics
  labels:
    istio-injection: enabled
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: page
  namespace: metrics
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: db
  namespace: metrics
---
apiVersion: v1
kind: Service
metadata:
  name: page
  namespace: metrics
spec:
  selector: {app: page}
  ports: [{name: http, port: 9080}]
---
apiVersion: v1
kind: Service
metadata:
  name: db
  namespace: metrics
spec:
  selector: {app: db}
  ports: [{name: tcp, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: page
  namespace: metrics
spec:
  selector: {matchLabels: {app: page}}
  template:
    metadata:
      labels: {app: page, version: v7}
    spec:
      serviceAccountName: page
      containers:
        - name: page
          command: ["mizzen", "bookinfo", "productpage"]
          env:
            - {name: DETAILS_HOST, value: db}
            - {name: REVIEWS_HOST, value: 10.244.0.1}
            - {name: REVIEWS_PORT, value: "9080"}
          ports: [{containerPort: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: db
  namespace: metrics
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata:
      labels: {app: db}
    spec:
      serviceAccountName: db
      containers:
        - name: db
          command: ["mizzen", "bookinfo", "details"]
          ports: [{containerPort: 9080}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: page
  namespace: metrics
spec:
  hosts: ["*"]
  gateways: ["bookinfo/bookinfo-gateway"]
  http:
    - match: [{uri: {prefix: /metrics/}}]
      rewrite: {uri: /}
      route: [{destination: {host: page}}]
"#;

const REGISTRY_ONLY: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: istio
  namespace: istio-system
data:
  mesh: |
    outboundTrafficPolicy:
      mode: REGISTRY_ONLY
"#;

/// Reads pages from inside of the mesh's network, each after a line with its name.
const SCRAPE: &str = r"
import sys, urllib.request
for name, address in (argument.split('=') for argument in sys.argv[1:]):
    text = urllib.request.urlopen(f'http://{address}:15020/stats/prometheus', timeout=10).read()
    print('### ' + name); print(text.decode())
";

/// Labels of a request's metrics, in alphabetical order.
const HTTP_LABELS: [&str; 25] = [
    "connection_security_policy",
    "destination_app",
    "destination_canonical_revision",
    "destination_canonical_service",
    "destination_cluster",
    "destination_principal",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_version",
    "destination_workload",
    "destination_workload_namespace",
    "grpc_response_status",
    "reporter",
    "request_protocol",
    "response_code",
    "response_flags",
    "source_app",
    "source_canonical_revision",
    "source_canonical_service",
    "source_cluster",
    "source_principal",
    "source_version",
    "source_workload",
    "source_workload_namespace",
];
/// Of these, TCP's metrics have all but two.
const ONLY_HTTP: [&str; 2] = ["grpc_response_status", "response_code"];
const HISTOGRAMS: [&str; 3] =
    ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"];
const TCP: [&str; 4] = [
    "istio_tcp_connections_opened_total",
    "istio_tcp_connections_closed_total",
    "istio_tcp_sent_bytes_total",
    "istio_tcp_received_bytes_total",
];
/// Envoy's default bounds.
const BOUNDS: [&str; 20] = [
    "0.5", "1", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "5000", "10000",
    "30000", "60000", "300000", "600000", "1.8e+06", "3.6e+06", "+Inf",
];
const REQUESTS: usize = 20;

#[test]
fn dashboards_made_for_istio_find_their_metrics() {
    let Some(_turn) = turn() else { return };
    let mesh = up(&[]);
    mesh.write("metrics.yaml", METRICS).expect("edit");
    wait_until(Duration::from_secs(30), "the page serves", || {
        get(&mesh, "/metrics/productpage").status == 200
    });
    let before = scrape(&mesh);
    for _ in 0..REQUESTS {
        assert_eq!(get(&mesh, "/productpage").status, 200);
        assert_eq!(get(&mesh, "/metrics/productpage").status, 200);
    }
    // TCP is reported every five seconds, and at the end of a connection.
    let reported = |mesh: &Mesh| {
        let seen = all(&scrape(mesh));
        sum(&seen, TCP[3], &[("reporter", "destination"), ("destination_workload", "db")]) > 0.0
    };
    wait_until(Duration::from_secs(12), "TCP is reported", || reported(&mesh));
    let pages = scrape(&mesh);
    for (workload, page) in &pages {
        labels_are_istios(workload, page);
        histograms_add_up(workload, page);
    }
    let (old, new) = (all(&before), all(&pages));
    both_sides_tell_the_same(&old, &new);
    queries_of_dashboards(&old, &new);
    tcp_is_told_by_workload(&new);
    the_world_outside_has_a_name(&mesh, &new);
}

/// The metrics of every workload that runs our proxy, by its name.
fn scrape(mesh: &Mesh) -> BTreeMap<String, Page> {
    let status = mesh.status().expect("status");
    let workloads = status["workloads"].as_array().expect("workloads");
    let ours = workloads.iter().filter(|one| one["proxy"] == "mizzen");
    let targets = ours.map(|one| {
        let text = |key: &str| one[key].as_str().expect("text");
        format!("{}={}", text("name"), text("address"))
    });
    let state = mesh.state().display().to_string();
    let control = testkit::mesh::processes_with(&state)
        .into_iter()
        .find(|(_, line)| line.contains("mizzen control "))
        .expect("the control plane")
        .0;
    let output = Command::new("nsenter")
        .args(["--target", &control.to_string(), "--user", "--net", "--preserve-credentials"])
        .args(["python3", "-c", SCRAPE])
        .args(targets)
        .output()
        .expect("nsenter");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split("### ")
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, text)| (name.to_owned(), Page::parse(name, text)))
        .collect()
}

fn all(pages: &BTreeMap<String, Page>) -> Vec<Sample> {
    pages.values().flat_map(|page| page.samples.iter().cloned()).collect()
}

/// `sum(name{labels})`
fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    samples.iter().filter(|sample| sample.is(name, labels)).map(|sample| sample.value).sum()
}

fn labels_are_istios(workload: &str, page: &Page) {
    let of_tcp: Vec<_> =
        HTTP_LABELS.into_iter().filter(|label| !ONLY_HTTP.contains(label)).collect();
    for sample in &page.samples {
        let names: Vec<_> =
            sample.labels.keys().map(String::as_str).filter(|name| *name != "le").collect();
        let name = sample.name.as_str();
        if TCP.contains(&name) {
            assert_eq!(names, of_tcp, "{workload}: {name}");
        } else if name == "istio_requests_total" || HISTOGRAMS.iter().any(|h| name.starts_with(h)) {
            assert_eq!(names, HTTP_LABELS, "{workload}: {name}");
        }
        // Only a gRPC status may be empty: queries look for `unknown`.
        let empty = sample
            .labels
            .iter()
            .find(|(name, value)| name.as_str() != "grpc_response_status" && value.is_empty());
        assert!(!name.starts_with("istio_request") || empty.is_none(), "{workload}: {sample:?}");
    }
    let kind = |family: &str| page.types.get(family).map(String::as_str);
    if workload == "db" {
        assert_eq!(TCP.map(kind), [Some("counter"); 4], "{workload}");
    } else {
        assert_eq!(kind("istio_requests_total"), Some("counter"), "{workload}");
        assert_eq!(HISTOGRAMS.map(kind), [Some("histogram"); 3], "{workload}");
    }
    // The agent's own, on the same page.
    assert!(page.types.contains_key("istio_agent_xds_proxy_responses"), "{workload}");
}

/// Buckets have Envoy's bounds, never fall, and end with the count, which is that of the requests.
fn histograms_add_up(workload: &str, page: &Page) {
    let requests: Vec<_> =
        page.samples.iter().filter(|sample| sample.name == "istio_requests_total").collect();
    for (request, name) in requests.iter().flat_map(|r| HISTOGRAMS.map(|name| (r, name))) {
        let labels = &request.labels;
        let buckets: Vec<_> = page
            .samples
            .iter()
            .filter(|sample| {
                sample.name == format!("{name}_bucket") && sample.without("le") == *labels
            })
            .collect();
        let bounds: Vec<_> = buckets.iter().map(|sample| number(&sample.labels["le"])).collect();
        assert_eq!(bounds, BOUNDS.map(number), "{workload}: {name}");
        let counts: Vec<_> = buckets.iter().map(|sample| sample.value).collect();
        assert!(counts.is_sorted(), "{workload}: {name}: {counts:?}");
        let one = |suffix: &str| {
            let mut found = page.samples.iter().filter(|sample| {
                sample.name == format!("{name}{suffix}") && sample.labels == *labels
            });
            found.next().unwrap_or_else(|| panic!("{workload}: no {name}{suffix}")).value
        };
        assert!(same(one("_count"), request.value), "{workload}: {name}: {labels:?}");
        assert!(same(counts[counts.len() - 1], request.value), "{workload}: {name}: {labels:?}");
        assert!(one("_sum") >= 0.0);
    }
}

fn number(text: &str) -> f64 {
    if text == "+Inf" { f64::INFINITY } else { text.parse().expect("a number") }
}

/// Counts are whole numbers.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 0.5
}

/// Of each call the source and the destination tell the same, in the same words.
fn both_sides_tell_the_same(before: &[Sample], now: &[Sample]) {
    let edges = [
        ("istio-ingressgateway", "productpage-v1", "productpage"),
        ("productpage-v1", "details-v1", "details"),
        ("productpage-v1", "reviews-v1", "reviews"),
        ("productpage-v1", "reviews-v2", "reviews"),
        ("productpage-v1", "reviews-v3", "reviews"),
    ];
    for (source, destination, service) in edges {
        let labels = |reporter: &'static str| {
            [
                ("reporter", reporter),
                ("source_workload", source),
                ("destination_workload", destination),
                ("destination_service_name", service),
                ("destination_service_namespace", "bookinfo"),
                ("destination_workload_namespace", "bookinfo"),
                ("source_cluster", "Kubernetes"),
                ("destination_cluster", "Kubernetes"),
                ("response_code", "200"),
                ("response_flags", "-"),
                ("request_protocol", "http"),
            ]
        };
        let count = |labels: &[(&str, &str)]| {
            sum(now, "istio_requests_total", labels) - sum(before, "istio_requests_total", labels)
        };
        let (by_source, by_destination) = (count(&labels("source")), count(&labels("destination")));
        assert!(same(by_source, by_destination), "{source} to {destination}");
        let secure = [("connection_security_policy", "mutual_tls")];
        let secure = count(&[&labels("destination")[..], &secure].concat());
        assert!(same(secure, by_destination), "{source} to {destination} by mutual TLS");
        let unknown = [("connection_security_policy", "unknown")];
        let unknown = count(&[&labels("source")[..], &unknown].concat());
        assert!(same(unknown, by_source), "a source does not know: {source}");
    }
}

/// What Istio's mesh, service and workload dashboards ask for.
#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn queries_of_dashboards(before: &[Sample], now: &[Sample]) {
    let increase =
        |name: &str, labels: &[(&str, &str)]| sum(now, name, labels) - sum(before, name, labels);
    let service = ("destination_service", "productpage.bookinfo.svc.cluster.local");
    let principals = [
        (
            "source_principal",
            "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
        ),
        ("destination_principal", "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"),
    ];
    for reporter in ["source", "destination"] {
        let labels = [
            service,
            ("reporter", reporter),
            ("response_code", "200"),
            principals[0],
            principals[1],
        ];
        let requests = increase("istio_requests_total", &labels);
        assert!(same(requests, REQUESTS as f64), "{reporter}: {requests}");
        for histogram in HISTOGRAMS {
            let infinite = [&labels[..], &[("le", "+Inf")]].concat();
            let count = increase(&format!("{histogram}_bucket"), &infinite);
            assert!(same(count, REQUESTS as f64), "{reporter}: {histogram}: {count}");
        }
        let answered = increase("istio_response_bytes_sum", &labels);
        assert!(answered > 1_000.0 * REQUESTS as f64, "{reporter}: {answered} bytes");
        let took = increase("istio_request_duration_milliseconds_sum", &labels);
        assert!(took > 0.0 && took < 60_000.0, "{reporter}: {took} ms");
    }
    let canonical = [
        ("reporter", "destination"),
        ("destination_canonical_service", "page"),
        ("destination_canonical_revision", "v7"),
        ("destination_app", "page"),
        ("destination_version", "v7"),
        ("source_canonical_service", "istio-ingressgateway"),
        ("source_canonical_revision", "latest"),
        ("source_workload_namespace", "istio-system"),
    ];
    assert!(same(increase("istio_requests_total", &canonical), REQUESTS as f64));
}

fn tcp_is_told_by_workload(now: &[Sample]) {
    let service = [
        ("destination_service", "db.metrics.svc.cluster.local"),
        ("destination_service_name", "db"),
        ("destination_service_namespace", "metrics"),
        ("destination_workload", "db"),
        ("destination_workload_namespace", "metrics"),
        ("request_protocol", "tcp"),
        ("response_flags", "-"),
        ("source_principal", "spiffe://cluster.local/ns/metrics/sa/page"),
        ("destination_principal", "spiffe://cluster.local/ns/metrics/sa/db"),
    ];
    let sides = [("source", "unknown"), ("destination", "mutual_tls")];
    for (reporter, security) in sides {
        let side = [
            ("reporter", reporter),
            ("connection_security_policy", security),
            ("source_workload", "page"),
            ("source_workload_namespace", "metrics"),
        ];
        let labels = [&service[..], &side[..]].concat();
        for name in [TCP[0], TCP[2], TCP[3]] {
            let tcp: Vec<_> = now.iter().filter(|s| TCP.contains(&s.name.as_str())).collect();
            assert!(sum(now, name, &labels) > 0.0, "{reporter}: {name} in {tcp:#?}");
        }
    }
}

/// Calls to where nobody of the mesh is, while they are let through and when they are not.
fn the_world_outside_has_a_name(mesh: &Mesh, now: &[Sample]) {
    let outside = |fate: &'static str, code: &'static str| {
        [
            ("reporter", "source"),
            ("source_workload", "page"),
            ("destination_service", "10.244.0.1:9080"),
            ("destination_service_name", fate),
            ("destination_workload", "unknown"),
            ("response_code", code),
        ]
    };
    let requests: Vec<_> = now
        .iter()
        .filter(|sample| sample.is("istio_requests_total", &[("source_workload", "page")]))
        .collect();
    let passed = sum(now, "istio_requests_total", &outside("PassthroughCluster", "503"));
    assert!(passed > 0.0, "{requests:#?}");
    mesh.write("mesh.yaml", REGISTRY_ONLY).expect("edit");
    wait_until(Duration::from_secs(10), "calls to the outside end in the black hole", || {
        get(mesh, "/metrics/productpage");
        let now = all(&scrape(mesh));
        sum(&now, "istio_requests_total", &outside("BlackHoleCluster", "502")) > 0.0
    });
}
