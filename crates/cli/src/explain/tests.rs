//! What is explained of a call is what the simulation of the control plane's own tests expects of
//! it: their case files, walked through here.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, Parts};
use super::journey::{Answer, Journey};
use super::travel::{Start, explain};
use crate::offline::{Mesh, Party};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pilot/tests/simulation/cases");

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    config: Vec<Rule>,
    #[serde(default)]
    calls: Vec<Expected>,
}

#[derive(Deserialize)]
struct Rule {
    kind: String,
    name: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    annotations: Value,
    #[serde(default)]
    labels: Value,
    #[serde(default)]
    spec: Value,
    mesh: Option<Value>,
}

#[derive(Deserialize)]
struct Expected {
    call: String,
    from: Option<String>,
    ingress: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    host: Option<String>,
    is: u16,
    cluster: Option<String>,
}

impl Rule {
    fn document(&self, place: usize) -> String {
        let group = match self.kind.as_str() {
            "VirtualService" | "DestinationRule" | "Gateway" | "ServiceEntry" | "WorkloadEntry"
            | "Sidecar" => "networking.istio.io/v1",
            "PeerAuthentication" | "AuthorizationPolicy" => "security.istio.io/v1",
            "Telemetry" => "telemetry.istio.io/v1",
            "Deployment" => "apps/v1",
            "EndpointSlice" => "discovery.k8s.io/v1",
            _ => "v1",
        };
        let own = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
        let mut object = json!({
            "apiVersion": group,
            "kind": self.kind,
            "metadata": {
                "name": self.name.clone().unwrap_or_else(|| format!("r{place}")),
                "namespace": self.namespace.as_deref().unwrap_or("shop"),
                "creationTimestamp": format!("2026-01-01T00:00:{place:02}Z"),
                "annotations": own(&self.annotations),
                "labels": own(&self.labels),
            },
        });
        match &self.mesh {
            Some(mesh) => {
                object["metadata"]["name"] = json!("istio");
                object["metadata"]["namespace"] = json!("istio-system");
                object["data"] = json!({ "mesh": mesh.to_string() });
            }
            None => object["spec"] = self.spec.clone(),
        }
        format!("---\n{object}\n")
    }
}

/// A mesh in which namespaces do not matter for who has a sidecar, as in the simulation.
fn mesh(world: &str, case: &Case) -> Option<Mesh> {
    // A cluster's own EndpointSlices would take the place of the simulation's.
    if case.config.iter().any(|rule| rule.kind == "EndpointSlice" || rule.kind == "Deployment") {
        return None;
    }
    let mut text = world.to_owned();
    for (place, rule) in case.config.iter().enumerate() {
        text += &rule.document(place);
    }
    let parsed = config::parse_file("case.yaml", &text);
    if parsed.has_errors() {
        return None;
    }
    let namespaces: BTreeSet<&str> =
        parsed.objects.iter().map(|object| object.meta.namespace.as_str()).collect();
    let labels: String = namespaces
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| {
            format!(
                "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: \
                 {{istio-injection: enabled}}}}\n"
            )
        })
        .collect();
    let mut objects = parsed.objects.clone();
    objects.retain(|object| !matches!(object.spec, config::Spec::Namespace(_)));
    objects.extend(config::parse_file("namespaces.yaml", &labels).objects);
    Some(Mesh::of(&objects))
}

fn journey(mesh: &Mesh, expected: &Expected) -> anyhow::Result<Journey> {
    let mut text = expected.call.clone();
    for workload in &mesh.workloads {
        text = text.replace(&format!("{{{}}}", workload.pod), &workload.address.to_string());
    }
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let mut headers: Vec<String> =
        expected.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    headers.extend(expected.host.iter().map(|host| format!("host: {host}")));
    let parts = Parts { words: &words, headers: &headers, sni: None, alpn: &[], transport: None };
    let mut call = Call::new(parts)?;
    let start = match expected.ingress {
        Some(port) => {
            call.port = port;
            Start::Gateway(Box::new(super::gateway(mesh, "istio-ingressgateway")?), None)
        }
        None => {
            let from = mesh.workload(expected.from.as_deref().unwrap_or("web"))?;
            Start::Workload(Box::new(Party::from_workload(from)))
        }
    };
    explain(mesh, &start, &call)
}

/// What is wrong with a journey.
fn problem(journey: &Journey, expected: &Expected) -> Option<String> {
    let status = |answer: &Answer| match (answer.status, &*answer.response_flags) {
        (Some(status), _) => status,
        (None, _) if answer.served => 200,
        // The simulation's numbers for connections that are closed: by a policy, by a gateway.
        (None, "UAEX") => 403,
        (None, "NR") if expected.ingress.is_some() => 0,
        (None, _) => 503,
    };
    let mut possible = vec![status(&journey.answer)];
    possible.extend(journey.destinations.iter().map(|one| status(&one.answer)));
    let is = expected.is.to_string();
    let fault = journey.steps.iter().any(|step| step.stage == "fault" && step.name.contains(&is));
    if !possible.contains(&expected.is) && !fault {
        return Some(format!("{possible:?}, not {is}: {}", journey.answer.reason));
    }
    let short = expected.cluster.as_ref()?;
    let matches =
        |name: &str| name == short || name.trim_start_matches("outbound|").starts_with(short);
    let found = journey.destinations.iter().any(|one| matches(&one.cluster));
    (!short.is_empty() && !found).then(|| format!("no cluster {short}: {:?}", journey.cluster))
}

#[test]
fn explained_calls_end_as_simulated_ones() {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let world = read(&Path::new(CASES).join("world.yaml"));
    let mut problems = Vec::new();
    let mut asked = 0;
    let mut files: Vec<_> = std::fs::read_dir(CASES).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| !file.ends_with("world.yaml")) {
        let cases: Vec<Case> = serde_saphyr::from_str(&read(file)).unwrap();
        for case in &cases {
            let Some(mesh) = mesh(&world, case) else { continue };
            for expected in &case.calls {
                asked += 1;
                let found = match journey(&mesh, expected) {
                    Ok(journey) => problem(&journey, expected),
                    // Where no Gateway asks for it there is no ingress gateway.
                    Err(error) if error.to_string().contains("is no gateway") => None,
                    Err(error) => Some(error.to_string()),
                };
                let place = format!("{}: {}: {}", file.display(), case.name, expected.call);
                problems.extend(found.map(|found| format!("{place}: {found}")));
            }
        }
    }
    assert!(asked > 200, "only {asked} calls");
    assert!(problems.is_empty(), "{} of {asked}:\n{}", problems.len(), problems.join("\n"));
}
