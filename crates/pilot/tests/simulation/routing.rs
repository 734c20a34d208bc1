//! VirtualServices and DestinationRules: where calls go.

use crate::mesh::{Call, INGRESS, Mesh};

fn deployment(name: &str, namespace: &str, app: &str, version: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec:\n  selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    \
         metadata: {{labels: {{app: {app}, version: {version}}}}}\n    spec: \
         {{serviceAccountName: {app}, containers: [{{name: app, image: none}}]}}\n"
    )
}

fn service(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nspec: {spec}\n"
    )
}

fn rule(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec: {spec}\n"
    )
}

const SUBSETS: &str =
    "{host: cart, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}";

fn mesh(rules: &[String]) -> Mesh {
    let mut text = deployment("web", "shop", "web", "v1")
        + &deployment("cart-v1", "shop", "cart", "v1")
        + &deployment("cart-v2", "shop", "cart", "v2")
        + &deployment("stock", "back", "stock", "v1")
        + &service(
            "cart",
            "shop",
            "{selector: {app: cart}, ports: [{name: http, port: 80, targetPort: 8080}]}",
        )
        + &service("stock", "back", "{selector: {app: stock}, ports: [{name: grpc, port: 80}]}")
        + &service("db", "back", "{selector: {app: stock}, ports: [{name: mysql, port: 3306}]}")
        + &service("any", "back", "{selector: {app: stock}, ports: [{name: x, port: 5000}]}")
        + &service(
            "pods",
            "back",
            "{clusterIP: None, selector: {app: stock}, ports: [{name: tcp-x, port: 6000}]}",
        )
        + &rule("DestinationRule", "cart", SUBSETS);
    text += &rules.concat();
    Mesh::new(&text)
}

fn routed(http: &str) -> Mesh {
    mesh(&[rule("VirtualService", "cart", &format!("{{hosts: [cart], http: {http}}}"))])
}

fn cluster(mesh: &Mesh, call: &Call) -> String {
    mesh.call("web", call).cluster
}

#[test]
fn services_are_reached_by_all_their_names() {
    let mesh = mesh(&[]);
    for (url, cluster) in [
        ("http://cart/", "outbound|80||cart.shop.svc.cluster.local"),
        ("http://cart.shop/", "outbound|80||cart.shop.svc.cluster.local"),
        ("http://stock.back/", "outbound|80||stock.back.svc.cluster.local"),
        ("http://stock.back.svc:80/", "outbound|80||stock.back.svc.cluster.local"),
        ("http://db.back:3306/", "outbound|3306||db.back.svc.cluster.local"),
        ("http://any.back:5000/", "outbound|5000||any.back.svc.cluster.local"),
        ("http://pods.back:6000/", "outbound|6000||pods.back.svc.cluster.local"),
    ] {
        let outcome = mesh.call("web", &Call::get(url));
        assert_eq!((outcome.status, outcome.cluster.as_str()), (200, cluster), "{url}");
        assert!(outcome.mtls, "{url}");
    }
    // A short name is the caller's namespace's.
    assert_eq!(cluster_of_unknown(&mesh), "PassthroughCluster");
}

fn cluster_of_unknown(mesh: &Mesh) -> String {
    cluster(mesh, &Call::get("http://stock/"))
}

#[test]
fn the_first_match_wins_and_what_none_matches_is_not_found() {
    let mesh = routed(
        "[{match: [{uri: {prefix: /v2}, method: {exact: GET}}, {headers: {x-user: {exact: me}}}], \
          route: [{destination: {host: cart, subset: v2}}]}, \
         {match: [{uri: {regex: '/[0-9]+'}, withoutHeaders: {x-no: {}}}, \
          {queryParams: {v: {exact: '1'}}}], \
          route: [{destination: {host: cart, subset: v1}}]}]",
    );
    let v1 = "outbound|80|v1|cart.shop.svc.cluster.local";
    let v2 = "outbound|80|v2|cart.shop.svc.cluster.local";
    assert_eq!(cluster(&mesh, &Call::get("http://cart/v2/x")), v2);
    assert_eq!(cluster(&mesh, &Call::get("http://cart/").header("x-user", "me")), v2);
    assert_eq!(cluster(&mesh, &Call::get("http://cart/123")), v1);
    assert_eq!(cluster(&mesh, &Call::get("http://cart/x?v=1")), v1);
    assert_eq!(mesh.call("web", &Call::get("http://cart/123").header("x-no", "1")).status, 404);
    assert_eq!(mesh.call("web", &Call::new("POST", "http://cart/v2")).status, 404);
    let pod = mesh.call("web", &Call::get("http://cart/v2")).pod;
    assert_eq!(pod.as_deref(), Some("cart-v2"));
}

#[test]
fn routes_for_others_are_not_sent() {
    let mesh = routed(
        "[{match: [{sourceLabels: {app: other}}, {sourceNamespace: back}, {port: 81}, \
          {gateways: [gw]}], route: [{destination: {host: cart, subset: v1}}]}, \
         {match: [{sourceLabels: {app: web}, sourceNamespace: shop, port: 80}], \
          route: [{destination: {host: cart, subset: v2}}]}]",
    );
    let proxy = mesh.proxy("web");
    let routes = mesh.push.route_configuration(&proxy, "80").expect("routes");
    let host = routes.virtual_hosts.iter().find(|host| host.name.starts_with("cart"));
    assert_eq!(host.expect("cart").routes.len(), 1);
    let v2 = "outbound|80|v2|cart.shop.svc.cluster.local";
    assert_eq!(cluster(&mesh, &Call::get("http://cart/")), v2);
}

#[test]
fn redirects_answers_and_faults_are_the_proxys_own() {
    let mesh = routed(
        "[{match: [{uri: {exact: /r}}], redirect: {uri: /x, redirectCode: 308}}, \
         {match: [{uri: {exact: /d}}], directResponse: {status: 418, body: {string: no}}}, \
         {fault: {abort: {httpStatus: 555, percentage: {value: 100}}}, \
          route: [{destination: {host: cart}}]}]",
    );
    assert_eq!(mesh.call("web", &Call::get("http://cart/r")).status, 308);
    assert_eq!(mesh.call("web", &Call::get("http://cart/d")).status, 418);
    assert_eq!(mesh.call("web", &Call::get("http://cart/")).status, 555);
}

#[test]
fn an_unknown_destination_is_refused_by_the_proxy() {
    let mesh = routed("[{route: [{destination: {host: nobody}}]}]");
    let outcome = mesh.call("web", &Call::get("http://cart/"));
    assert_eq!(outcome.status, 503);
    assert_eq!(outcome.cluster, "outbound|80||nobody.shop.svc.cluster.local");
    let subset = routed("[{route: [{destination: {host: cart, subset: v9}}]}]");
    assert_eq!(subset.call("web", &Call::get("http://cart/")).status, 503);
}

#[test]
fn retries_have_istios_defaults() {
    let mesh = routed(
        "[{match: [{uri: {prefix: /none}}], retries: {attempts: 0}, route: [{destination: {host: cart}}]}, \
         {match: [{uri: {prefix: /own}}], retries: {attempts: 5, retryOn: 'gateway-error,503', \
          perTryTimeout: 2s}, timeout: 9s, route: [{destination: {host: cart}}]}, \
         {route: [{destination: {host: cart}}]}]",
    );
    let routes = mesh.push.route_configuration(&mesh.proxy("web"), "80").expect("routes");
    let host = routes.virtual_hosts.iter().find(|host| host.name.starts_with("cart"));
    let policies: Vec<_> = host
        .expect("cart")
        .routes
        .iter()
        .map(|route| match &route.action {
            xds::Action::Route(action) => action.retry_policy.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(policies[0], None);
    let own = policies[1].clone().expect("retries");
    assert_eq!(own.retry_on, "gateway-error,retriable-status-codes");
    assert_eq!((own.num_retries, own.retriable_status_codes), (Some(5), vec![503]));
    let default = policies[2].clone().expect("retries");
    assert_eq!(default.num_retries, Some(2));
    assert!(default.avoid_previous_hosts);
}

#[test]
fn registry_only_refuses_what_nobody_declared() {
    let text = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: \
                istio-system}\ndata: {mesh: \"outboundTrafficPolicy: {mode: REGISTRY_ONLY}\"}\n";
    let mesh = mesh(&[text.to_owned()]);
    assert_eq!(mesh.call("web", &Call::get("http://example.com/")).status, 502);
    let bytes = mesh.call("web", &Call::get("http://203.0.113.9:4444/"));
    assert_eq!((bytes.status, bytes.cluster.as_str()), (503, "BlackHoleCluster"));
}

#[test]
fn gateways_join_the_rules_of_one_host() {
    let gateway = rule(
        "Gateway",
        "gw",
        "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: \
          HTTP}, hosts: ['*.example.com']}]}",
    );
    let first = "{hosts: [a.example.com], gateways: [gw], http: [{route: [{destination: {host: \
                 cart, subset: v1}}]}]}";
    let second = "{hosts: [a.example.com, other.org], gateways: [gw], http: [{match: [{uri: \
                  {prefix: /x}}], route: [{destination: {host: stock.back.svc.cluster.local}}]}]}";
    let mesh = mesh(&[
        gateway,
        rule("VirtualService", "a-first", first),
        rule("VirtualService", "b-second", second),
        format!("---{INGRESS}"),
    ]);
    let ask = |url: &str| mesh.ingress("istio-ingressgateway", 8080, &Call::get(url));
    // The rule that takes everything comes last, though it is the older one.
    assert_eq!(ask("http://a.example.com/x").cluster, "outbound|80||stock.back.svc.cluster.local");
    assert_eq!(ask("http://a.example.com/y").cluster, "outbound|80|v1|cart.shop.svc.cluster.local");
    assert_eq!(ask("http://other.org/x").status, 404);
    let routes = mesh.push.route_configuration(&mesh.proxy("istio-ingressgateway"), "http.8080");
    assert_eq!(routes.expect("routes").virtual_hosts[0].name, "a.example.com:80");
}

#[test]
fn a_gateway_without_rules_knows_nothing() {
    let gateway = rule(
        "Gateway",
        "gw",
        "{selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: \
          HTTP}, hosts: ['*']}]}",
    );
    let mesh = mesh(&[gateway, format!("---{INGRESS}")]);
    let call = Call::get("http://x/");
    assert_eq!(mesh.ingress("istio-ingressgateway", 8080, &call).status, 404);
    let routes = mesh.push.route_configuration(&mesh.proxy("istio-ingressgateway"), "http.8080");
    assert_eq!(routes.expect("routes").virtual_hosts[0].name, "blackhole:80");
}

#[test]
fn the_clients_namespace_has_the_first_word_on_destinations() {
    let elsewhere = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: \
                     {name: z, namespace: back}\nspec: {host: stock, trafficPolicy: {loadBalancer: \
                     {simple: RANDOM}}}\n"
        .to_owned();
    let own = rule(
        "DestinationRule",
        "stock",
        "{host: stock.back.svc.cluster.local, trafficPolicy: {loadBalancer: {simple: \
         ROUND_ROBIN}, portLevelSettings: [{port: {number: 81}, loadBalancer: {simple: RANDOM}}]}}",
    );
    let policy = |mesh: &Mesh| {
        let clusters = mesh.push.clusters(&mesh.proxy("web"));
        let name = "outbound|80||stock.back.svc.cluster.local";
        clusters.into_iter().find(|c| c.name == name).expect(name).lb_policy
    };
    assert_eq!(policy(&mesh(std::slice::from_ref(&elsewhere))), xds::LbPolicy::Random);
    assert_eq!(policy(&mesh(&[elsewhere, own])), xds::LbPolicy::RoundRobin);
}
