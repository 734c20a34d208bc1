//! Cases as data: each file of `cases/` but the world is a list of them. A case is configuration
//! on top of `cases/world.yaml`, calls with what must become of them, and fields of resources.
//!
//! To add one, append to a file; a run tells all that fail. Defaults: rules are in the namespace
//! `shop`, named after their place and as old as it, so that of two rules the first is the older;
//! calls come from `web`. Clusters may be written short: `80|v1|cart.shop`.

use std::{collections::BTreeMap, fmt::Write as _, panic};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::mesh::{Call, INGRESS, Mesh};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/cases");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    config: Vec<Rule>,
    #[serde(default)]
    calls: Vec<Expected>,
    #[serde(default)]
    resources: Vec<Fields>,
}

/// An object, with what can be told left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    kind: String,
    name: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    spec: Value,
    /// For a ConfigMap: MeshConfig.
    mesh: Option<Value>,
}

/// A call and what becomes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Method and URL.
    call: String,
    from: Option<String>,
    /// Comes from outside, to this port of the gateway's pod.
    ingress: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The `Host`, where it is not the URL's.
    host: Option<String>,
    #[serde(default)]
    random: u64,
    is: u16,
    cluster: Option<String>,
    pod: Option<String>,
    mtls: Option<bool>,
    policy: Option<String>,
    path: Option<String>,
    seen_host: Option<String>,
    route: Option<String>,
}

/// Fields of one resource, by JSON pointer; `null` where nothing must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    of: String,
    cluster: Option<String>,
    endpoints: Option<String>,
    listener: Option<String>,
    routes: Option<String>,
    /// With `routes`: the virtual host, by the start of its name.
    host: Option<String>,
    has: BTreeMap<String, Value>,
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "VirtualService" | "DestinationRule" | "Gateway" => "networking.istio.io/v1",
        "PeerAuthentication" | "AuthorizationPolicy" => "security.istio.io/v1",
        "Deployment" => "apps/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        _ => "v1",
    }
}

impl Rule {
    /// The object as YAML (which JSON is).
    fn document(&self, place: usize) -> String {
        let mut object = json!({
            "apiVersion": api_version(&self.kind),
            "kind": self.kind,
            "metadata": {
                "name": self.name.clone().unwrap_or_else(|| format!("r{place}")),
                "namespace": self.namespace.as_deref().unwrap_or("shop"),
                "creationTimestamp": format!("2026-01-01T00:00:{place:02}Z"),
                "annotations": self.annotations,
                "labels": self.labels,
            },
        });
        match &self.mesh {
            Some(mesh) => {
                object["metadata"]["name"] = json!("istio");
                object["metadata"]["namespace"] = json!("istio-system");
                object["data"] = json!({"mesh": mesh.to_string()});
            }
            None => object["spec"] = self.spec.clone(),
        }
        if self.kind == "EndpointSlice"
            && let (Some(object), Value::Object(spec)) = (object.as_object_mut(), &self.spec)
        {
            object.remove("spec");
            object.extend(spec.clone());
        }
        format!("---\n{object}\n")
    }
}

/// `80|v1|cart.shop` as the cluster's full name; others stay.
fn full_name(short: &str) -> String {
    match short.split('|').collect::<Vec<_>>()[..] {
        [port, subset, host] if !host.is_empty() => {
            let service = if host.split('.').count() == 2 { ".svc.cluster.local" } else { "" };
            format!("outbound|{port}|{subset}|{host}{service}")
        }
        _ => short.to_owned(),
    }
}

impl Expected {
    /// What is not as expected.
    fn check(&self, mesh: &Mesh, problems: &mut Vec<String>) {
        let (method, url) = self.call.split_once(' ').unwrap_or(("GET", &self.call));
        // A pod's own address.
        let url = mesh.pods.values().fold(url.to_owned(), |url, pod| {
            url.replace(&format!("{{{}}}", pod.name), &pod.ip.to_string())
        });
        let mut call = Call::new(method, &url).random(self.random);
        call.host.clone_from(&self.host);
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        let got = match self.ingress {
            Some(port) => mesh.ingress("istio-ingressgateway", port, &call),
            None => mesh.call(self.from.as_deref().unwrap_or("web"), &call),
        };
        let mut compare = |field: &str, got: String, wanted: Option<String>| {
            if let Some(wanted) = wanted.filter(|wanted| *wanted != got) {
                problems.push(format!("{}: {field} is {got:?}, not {wanted:?}", self.call));
            }
        };
        compare("status", got.status.to_string(), Some(self.is.to_string()));
        compare("cluster", got.cluster, self.cluster.as_deref().map(full_name));
        compare("pod", got.pod.unwrap_or_default(), self.pod.clone());
        compare("mtls", got.mtls.to_string(), self.mtls.map(|mtls| mtls.to_string()));
        compare("policy", got.policy.unwrap_or_default(), self.policy.clone());
        compare("path", got.path, self.path.clone());
        compare("seen host", got.host, self.seen_host.clone());
        compare("route", got.route, self.route.clone());
    }
}

impl Fields {
    fn resource(&self, mesh: &Mesh) -> Value {
        let proxy = mesh.proxy(&self.of);
        let json = |resource| xds::to_json(&xds::encode(&resource)).expect("JSON");
        if let Some(name) = &self.cluster {
            let name = full_name(name);
            let found = mesh.push.clusters(&proxy).into_iter().find(|one| one.name == name);
            return found.map_or(Value::Null, |c| json(xds::Resource::Cluster(Box::new(c))));
        }
        if let Some(name) = &self.endpoints {
            let found = mesh.push.load_assignment(&proxy, &full_name(name));
            return found.map_or(Value::Null, |one| json(xds::Resource::LoadAssignment(one)));
        }
        if let Some(name) = &self.listener {
            let found = mesh.push.listeners(&proxy).into_iter().find(|one| one.name == *name);
            return found.map_or(Value::Null, |one| json(xds::Resource::Listener(Box::new(one))));
        }
        let name = self.routes.as_deref().unwrap_or_default();
        let Some(found) = mesh.push.route_configuration(&proxy, name) else { return Value::Null };
        let all = json(xds::Resource::RouteConfiguration(found));
        let Some(host) = &self.host else { return all };
        let hosts = all["virtual_hosts"].as_array().cloned().unwrap_or_default();
        let named = |one: &Value| one["name"].as_str().is_some_and(|name| name.starts_with(host));
        hosts.into_iter().find(named).unwrap_or_default()
    }

    fn check(&self, mesh: &Mesh, problems: &mut Vec<String>) {
        let resource = self.resource(mesh);
        for (pointer, wanted) in &self.has {
            let got = resource.pointer(pointer).unwrap_or(&Value::Null);
            if got != wanted {
                problems.push(format!("{pointer} of {} is {got}, not {wanted}", self.of));
            }
        }
    }
}

fn run(world: &str, case: &Case) -> Vec<String> {
    let rules = case.config.iter().enumerate();
    let documents: String = rules.map(|(place, rule)| rule.document(place)).collect();
    let mesh = Mesh::new(&format!("{world}\n{documents}---{INGRESS}"));
    let mut problems = Vec::new();
    for call in &case.calls {
        call.check(&mesh, &mut problems);
    }
    for fields in &case.resources {
        fields.check(&mesh, &mut problems);
    }
    problems
}

fn text(error: &(dyn std::any::Any + Send)) -> String {
    let text = error.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| error.downcast_ref::<&str>().copied()).unwrap_or("panics").to_owned()
}

#[test]
fn all_cases() {
    let read = |name: &str| std::fs::read_to_string(format!("{DIRECTORY}/{name}")).expect("file");
    let world = read("world.yaml");
    let mut files: Vec<String> = std::fs::read_dir(DIRECTORY)
        .expect(DIRECTORY)
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".yaml") && name != "world.yaml")
        .collect();
    files.sort();
    let (mut count, mut failed, mut report) = (0, 0, String::new());
    for file in files {
        let cases: Vec<Case> =
            serde_saphyr::from_str(&read(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for case in cases {
            count += 1;
            let problems = panic::catch_unwind(|| run(&world, &case))
                .unwrap_or_else(|error| vec![text(&*error)]);
            if !problems.is_empty() {
                failed += 1;
                let _written =
                    writeln!(report, "{file}: {}\n    {}", case.name, problems.join("\n    "));
            }
        }
    }
    assert!(report.is_empty(), "{failed} of {count} cases fail\n{report}");
    assert!(count >= 120, "only {count} cases were found");
}
