//! EnvoyFilter: which patches are for which proxy, and what our own proxy makes of the result.

use xds::{Resource, ResourceType, patch};

use crate::mesh::{INGRESS, Mesh};

const APP: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec: {containers: [{name: web, image: web, ports: [{containerPort: 8080}]}]}
";

fn mesh(filters: &str) -> Mesh {
    Mesh::new(&format!("{APP}---{INGRESS}---\n{filters}"))
}

/// An EnvoyFilter that sets the clusters' timeout to `seconds`.
fn timeout(name: &str, namespace: &str, seconds: u32, rest: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  {rest}
  configPatches:
  - applyTo: CLUSTER
    match: {{context: ANY}}
    patch: {{operation: MERGE, value: {{connect_timeout: {seconds}s}}}}
---"
    )
}

/// The timeouts of the clusters of a pod's proxy, in seconds.
fn timeouts(mesh: &Mesh, pod: &str) -> Vec<u64> {
    let proxy = mesh.proxy(pod);
    let clusters = mesh.push.clusters(&proxy).into_iter();
    let encoded = clusters
        .map(|cluster| (cluster.name.clone(), xds::encode(&Resource::Cluster(Box::new(cluster)))));
    let patched =
        patch::apply(ResourceType::Cluster, encoded.collect(), &mesh.push.patches(&proxy));
    let mut found: Vec<u64> = patched
        .resources
        .iter()
        .map(|(_, any)| match xds::decode(any).expect("a cluster").resource {
            Resource::Cluster(cluster) => cluster.connect_timeout.as_secs(),
            _ => 0,
        })
        .collect();
    found.dedup();
    found
}

#[test]
fn selectors_and_namespaces_decide_who_is_patched() {
    let web = "istio-ingressgateway";
    let cases = [
        ("shop", "workloadSelector: {labels: {app: web}}", vec![3], vec![10]),
        ("shop", "workloadSelector: {labels: {app: other}}", vec![10], vec![10]),
        ("shop", "", vec![3], vec![10]),
        ("other", "", vec![10], vec![10]),
        ("istio-system", "", vec![3], vec![3]),
        ("istio-system", "workloadSelector: {labels: {istio: ingressgateway}}", vec![10], vec![3]),
        (
            "shop",
            "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: a}]",
            vec![10],
            vec![10],
        ),
    ];
    for (namespace, rest, sidecar, gateway) in cases {
        let mesh = mesh(&timeout("x", namespace, 3, rest));
        assert_eq!(timeouts(&mesh, "web"), sidecar, "{namespace} {rest}");
        assert_eq!(timeouts(&mesh, web), gateway, "{namespace} {rest}");
    }
}

#[test]
fn the_last_in_istios_order_wins() {
    let root = timeout("z", "istio-system", 3, "");
    let own = timeout("a", "shop", 4, "");
    assert_eq!(timeouts(&mesh(&format!("{own}{root}")), "web"), [4]);
    let late = timeout("z", "istio-system", 3, "priority: 1");
    assert_eq!(timeouts(&mesh(&format!("{own}{late}")), "web"), [3]);
    let early = timeout("a", "shop", 4, "priority: -1");
    assert_eq!(timeouts(&mesh(&format!("{early}{root}")), "web"), [3]);
    let second = timeout("b", "shop", 5, "");
    assert_eq!(timeouts(&mesh(&format!("{second}{own}")), "web"), [5]);
}

#[test]
fn what_is_wrong_in_a_patch_is_told_with_its_place_and_the_others_go_on() {
    let mesh = mesh(
        "
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: x, namespace: shop}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch: {operation: MERGE, value: {conect_timeout: 3s}}
  - applyTo: HTTP_FILTER
    patch: {operation: INSERT_FIRST, value: {name: x, typed_config: {'@type': type.googleapis.com/nobody.Knows}}}
  - applyTo: CLUSTER
    patch: {operation: MERGE, value: {connect_timeout: 5s}}
",
    );
    let findings: Vec<String> = mesh
        .push
        .diagnostics()
        .iter()
        .filter(|finding| finding.code == "bad-patch")
        .map(ToString::to_string)
        .collect();
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].contains("EnvoyFilter shop/x: spec.configPatches[0].patch.value"));
    assert!(findings[0].contains("conect_timeout"), "{findings:?}");
    assert!(findings[1].contains("configPatches[1]") && findings[1].contains("nobody.Knows"));
    assert_eq!(timeouts(&mesh, "web"), [5]);
}

#[test]
fn our_proxy_is_spared_filters_that_it_lacks() {
    let mesh = mesh(crate::envoy::ENVOY_FILTERS);
    let mut proxy = mesh.proxy("web");
    "mizzen".clone_into(&mut proxy.user_agent);
    let patches = mesh.push.patches(&proxy);
    let listeners = mesh.push.listeners(&proxy).into_iter();
    let encoded = listeners.map(|listener| {
        (listener.name.clone(), xds::encode(&Resource::Listener(Box::new(listener))))
    });
    let patched = patch::apply(ResourceType::Listener, encoded.collect(), &patches);
    let errors: Vec<&String> =
        patched.outcomes.iter().flat_map(|outcome| &outcome.errors).collect();
    assert!(errors.iter().any(|error| error.contains("envoy.filters.http.lua")), "{errors:?}");
    // Istio's name of the server is there: other patches go on.
    let shown: String = patched
        .resources
        .iter()
        .map(|(_, any)| xds::to_json(any).expect("JSON").to_string())
        .collect();
    assert!(shown.contains("\"server_name\":\"patched\"") && !shown.contains("x-lua"));
}
