//! `mizzen explain` over small meshes: each rule's say, and each way to be refused.

use tempfile::TempDir;

use crate::{directory, end, explained, mizzen, reason};

/// Two workloads of one namespace, and a Service with a port for HTTP and one for bytes.
const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  selector: {app: cart}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-db, port: 6000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {serviceAccountName: cart, containers: [{name: cart, image: none}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {serviceAccountName: web, containers: [{name: web, image: none}]}
";

fn shop(more: &str) -> TempDir {
    directory(&format!("{SHOP}---\n{more}"))
}

/// A VirtualService for cart with these HTTP rules.
fn rules(rules: &str) -> TempDir {
    shop(&format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: cart, \
         namespace: shop}}\nspec:\n  hosts: [cart]\n  http:\n{rules}"
    ))
}

const WEB: [&str; 2] = ["--from", "web"];

#[test]
fn each_replica_is_an_endpoint() {
    let journey = explained(&shop(""), &["--from", "shop/web", "http://cart/"]);
    let endpoints = journey["destinations"][0]["endpoints"].as_array().expect("endpoints");
    let names: Vec<_> = endpoints.iter().map(|one| one["workload"].clone()).collect();
    assert_eq!(names, ["shop/cart-0", "shop/cart-1"]);
    assert!(reason(&journey).ends_with("at port 8080"), "{}", reason(&journey));
}

#[test]
fn the_first_route_that_matches_wins_and_the_others_say_why_not() {
    let mesh = rules(
        "    - match: [{headers: {x-user: {exact: ann}}}]\n      route: [{destination: {host: \
         cart, subset: none}}]\n    - match: [{uri: {prefix: /old}}]\n      rewrite: {uri: /new}\n\
         \x20     route: [{destination: {host: cart}}]\n    - redirect: {uri: /home, redirectCode: 302}\n",
    );
    let ann = explained(&mesh, &[WEB[0], WEB[1], "-H", "X-User: ann", "http://cart/"]);
    assert_eq!(end(&ann), (Some(503), "NC"));
    assert!(reason(&ann).contains("no DestinationRule"), "{}", reason(&ann));
    let old = explained(&mesh, &[WEB[0], WEB[1], "http://cart/old/x"]);
    assert_eq!(end(&old), (Some(200), "-"));
    let steps = serde_json::to_string(&old["steps"]).expect("text");
    assert!(steps.contains("/old/x becomes /new/x"), "{steps}");
    assert!(steps.contains("the header x-user is missing and is not \\\"ann\\\""), "{steps}");
    let other = explained(&mesh, &[WEB[0], WEB[1], "http://cart/"]);
    assert_eq!(end(&other), (Some(302), "-"));
    assert!(reason(&other).contains("http://cart/home"), "{}", reason(&other));
}

#[test]
fn faults_and_direct_responses_end_a_call() {
    let mesh = rules(
        "    - match: [{uri: {prefix: /fault}}]\n      fault: {abort: {httpStatus: 418, \
         percentage: {value: 100}}}\n      route: [{destination: {host: cart}}]\n    - match: \
         [{uri: {prefix: /some}}]\n      fault: {abort: {httpStatus: 418, percentage: {value: \
         10}}}\n      route: [{destination: {host: cart}}]\n    - directResponse: {status: 451}\n",
    );
    let fault = explained(&mesh, &[WEB[0], WEB[1], "http://cart/fault"]);
    assert_eq!(end(&fault), (Some(418), "FI"));
    let some = explained(&mesh, &[WEB[0], WEB[1], "http://cart/some"]);
    assert_eq!(end(&some), (Some(200), "-"));
    let steps = some["steps"].to_string();
    assert!(steps.contains("10 % of requests get 418 (FI)"), "{steps}");
    let direct = explained(&mesh, &[WEB[0], WEB[1], "http://cart/"]);
    assert_eq!(end(&direct), (Some(451), "-"));
}

#[test]
fn a_subset_without_pods_has_no_healthy_upstream() {
    let mesh = shop(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: cart, \
         namespace: shop}\nspec:\n  host: cart\n  subsets: [{name: v9, labels: {version: v9}}]\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cart, \
         namespace: shop}\nspec:\n  hosts: [cart]\n  http: [{route: [{destination: {host: cart, \
         subset: v9}}]}]\n",
    );
    let journey = explained(&mesh, &[WEB[0], WEB[1], "http://cart/"]);
    assert_eq!(end(&journey), (Some(503), "UH"));
    assert_eq!(journey["subset"], "v9");
    assert!(reason(&journey).contains("labels of the subset v9"), "{}", reason(&journey));
}

#[test]
fn registry_only_knows_no_others() {
    let mesh = shop(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n\
         \x20 mesh: |\n    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n",
    );
    let journey = explained(&mesh, &[WEB[0], WEB[1], "http://example.com/"]);
    assert_eq!(end(&journey), (Some(502), "-"));
    assert_eq!(journey["virtual_host"], "block_all");
    let bytes = explained(&mesh, &[WEB[0], WEB[1], "tcp://example.com:6001"]);
    assert_eq!(end(&bytes), (None, "UH"));
    assert_eq!(bytes["cluster"], "BlackHoleCluster");
}

#[test]
fn bytes_go_by_address_alone() {
    let journey = explained(&shop(""), &[WEB[0], WEB[1], "tcp://cart:6000"]);
    assert_eq!(journey["cluster"], "outbound|6000||cart.shop.svc.cluster.local");
    assert_eq!(journey["route_config"], serde_json::Value::Null);
    assert_eq!(journey["served"], true);
    assert_eq!(end(&journey), (None, "-"));
}

#[test]
fn a_workload_without_a_proxy_is_refused_where_mutual_tls_is_asked_for() {
    let plain = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: legacy, namespace: default}
spec:
  selector: {matchLabels: {app: legacy}}
  template:
    metadata: {labels: {app: legacy}}
    spec: {containers: [{name: legacy, image: none}]}
";
    let strict = "
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";
    let call = ["--from", "legacy", "http://cart.shop/"];
    let permissive = explained(&shop(plain), &call);
    assert_eq!(end(&permissive), (Some(200), "-"));
    assert_eq!(permissive["cluster"], serde_json::Value::Null);
    let strict = explained(&shop(&format!("{plain}{strict}")), &call);
    assert_eq!(strict["served"], false);
    assert!(reason(&strict).contains("PeerAuthentication shop/default"), "{}", reason(&strict));
}

#[test]
fn a_proxy_may_be_described_in_a_file() {
    let mesh = shop("");
    let file = mesh.path().join("proxy.txt");
    let text = "type: sidecar\naddresses: [10.1.2.3]\nnamespace: shop\nserviceAccount: guest\n";
    std::fs::write(&file, text).expect("written");
    let journey = explained(&mesh, &["--proxy", &file.display().to_string(), "http://cart/"]);
    assert_eq!(end(&journey), (Some(200), "-"));
    assert_eq!(journey["from"], "shop/proxy");
    std::fs::write(&file, "type: mixer\naddresses: [10.1.2.3]\n").expect("written");
    let (path, file) = (mesh.path().display().to_string(), file.display().to_string());
    let output = mizzen(&["explain", "-f", &path, "--proxy", &file, "http://cart/"]);
    let output = { output }.assert().code(1).get_output().stderr.clone();
    assert!(String::from_utf8_lossy(&output).contains("it is sidecar or router"));
}
