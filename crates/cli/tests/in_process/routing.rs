//! What a VirtualService says is what a call gets: from our proxy, and from a stock Envoy.

use std::{collections::BTreeMap, path::Path};

use agent::ProxyChoice;

use super::{
    application::Application,
    client::{eventually, from, get, try_get, until_from, until_status},
    fixture::Mesh,
    gateway::Gateway,
    objects,
};

const ROUTES: &str = r#"  - name: chosen
    match: [{uri: {prefix: /pick}, headers: {x-user: {exact: ann}}}]
    route: [{destination: {host: two}}]
  - name: query
    match: [{uri: {prefix: /pick}, queryParams: {version: {exact: "2"}}}]
    route: [{destination: {host: two}}]
  - name: unless
    match: [{uri: {prefix: /pick}, withoutHeaders: {x-old: {}}, method: {exact: PUT}}]
    route: [{destination: {host: two}}]
  - name: pick
    match: [{uri: {prefix: /pick}}]
    route: [{destination: {host: one}}]
  - name: regex
    match: [{uri: {regex: "/item/[0-9]+"}}]
    route: [{destination: {host: two}}]
  - name: old
    match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/, authority: inner.example}
    route: [{destination: {host: one}}]
  - name: moved
    match: [{uri: {prefix: /moved}}]
    redirect: {uri: /here, authority: other.example, redirectCode: 302}
  - name: teapot
    match: [{uri: {exact: /teapot}}]
    directResponse: {status: 418, body: {string: short and stout}}
  - name: aborted
    match: [{uri: {prefix: /aborted}}]
    fault: {abort: {httpStatus: 451, percentage: {value: 100}}}
    route: [{destination: {host: one}}]
  - name: delayed
    match: [{uri: {prefix: /delayed}}]
    fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}
    route: [{destination: {host: one}}]
  - name: slow
    match: [{uri: {prefix: /slow}}]
    timeout: 200ms
    route: [{destination: {host: one}}]
  - name: headers
    match: [{uri: {prefix: /headers}}]
    headers:
      request: {set: {x-set: new}, add: {x-added: more}, remove: [x-secret]}
      response: {set: {x-answer: "42"}, remove: [x-private]}
    route: [{destination: {host: one}}]
  - name: split
    match: [{uri: {prefix: /split}}]
    route:
    - {destination: {host: one}, weight: 75}
    - {destination: {host: two}, weight: 25}
  - name: nobody
    match: [{uri: {prefix: /nobody}}]
    route: [{destination: {host: nobody}}]
  - name: empty
    match: [{uri: {prefix: /empty}}]
    route: [{destination: {host: empty}}]
  - name: dead
    match: [{uri: {prefix: /dead}}]
    retries: {attempts: 0}
    route: [{destination: {host: dead}}]
  - name: ready
    match: [{uri: {prefix: /ready}}]
    route: [{destination: {host: one}}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_service_is_obeyed() {
    obeyed(ProxyChoice::Mizzen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_envoy_obeys_it_the_same() {
    let Some(path) = testkit::peers::envoy() else {
        return testkit::skip("no stock Envoy");
    };
    obeyed(ProxyChoice::Envoy { path }).await;
}

async fn obeyed(proxy: ProxyChoice) {
    let ours = matches!(proxy, ProxyChoice::Mizzen);
    let (one, two) = (Application::start("one").await, Application::start("two").await);
    let port = objects::free_port();
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("two.yaml", &objects::service("two", &[two.address])),
        ("empty.yaml", &objects::service("empty", &[])),
        ("dead.yaml", &objects::service("dead", &[([127, 0, 0, 1], objects::free_port()).into()])),
        ("gateway.yaml", &objects::gateway("ingress", port)),
        ("routes.yaml", &objects::routes("ingress", ROUTES)),
    ])
    .await;
    let log = mesh.path("access.log");
    mesh.write("mesh.yaml", &mesh_config(&log));
    let gateway = Gateway::start_on(&mesh, "ingress", port, proxy).await;
    until_status(gateway.address, "/ready", 200).await;
    matches(&gateway).await;
    changes(&gateway).await;
    answers_without_a_destination(&gateway).await;
    weights(&gateway).await;
    failures(&gateway).await;
    logged(&log, ours).await;
    mesh.synced(1).await;
    mesh.assert_nothing_refused().await;
}

fn mesh_config(log: &Path) -> String {
    format!(
        "
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    accessLogFile: {}
",
        log.display()
    )
}

async fn matches(gateway: &Gateway) {
    type Headers = [(&'static str, &'static str)];
    let cases: [(&str, &Headers, &str); 6] = [
        ("/pick/a", &[], "one"),
        ("/pick/a", &[("x-user", "ann")], "two"),
        ("/pick/a", &[("x-user", "bob")], "one"),
        ("/pick/a?version=2", &[], "two"),
        ("/pick?version=22", &[], "one"),
        ("/item/77", &[], "two"),
    ];
    for (path, headers, application) in cases {
        let answer = get(gateway.address, path, headers).await;
        assert_eq!(from(&answer), application, "{path} {headers:?}: {answer:?}");
    }
    assert_eq!(get(gateway.address, "/item/77x", &[]).await.status, 404, "a regex matches all");
}

async fn changes(gateway: &Gateway) {
    let answer = get(gateway.address, "/old/book?x=1", &[]).await;
    assert!(answer.body.contains("GET /new/book?x=1"), "{answer:?}");
    assert!(answer.body.contains("host: inner.example"), "{answer:?}");
    let answer = get(gateway.address, "/headers", &[("x-set", "old"), ("x-secret", "s")]).await;
    for line in ["x-set: new", "x-added: more", "x-request-id: ", "x-forwarded-for: "] {
        assert!(answer.body.contains(line), "no {line:?} in {answer:?}");
    }
    assert!(!answer.body.contains("x-secret") && !answer.body.contains("x-set: old"), "{answer:?}");
    let header = |name: &str| answer.headers.get(name).map_or("", String::as_str);
    assert_eq!((header("x-answer"), header("x-private")), ("42", ""), "{answer:?}");
    assert_eq!(header("server"), "istio-envoy", "{answer:?}");
    assert!(header("x-envoy-upstream-service-time").parse::<u64>().is_ok(), "{answer:?}");
}

async fn answers_without_a_destination(gateway: &Gateway) {
    let answer = get(gateway.address, "/moved/x", &[]).await;
    let location = answer.headers.get("location").map_or("", String::as_str);
    assert_eq!((answer.status, location), (302, "http://other.example/here"));
    let answer = get(gateway.address, "/teapot", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (418, "short and stout"));
    let answer = get(gateway.address, "/aborted", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (451, "fault filter abort"));
    let started = std::time::Instant::now();
    assert_eq!(from(&get(gateway.address, "/delayed", &[]).await), "one");
    // Envoy's timers may fire a few milliseconds early.
    assert!(started.elapsed().as_millis() >= 290, "{:?}", started.elapsed());
}

/// 400 calls: the share of a quarter has a standard deviation of 8.7.
async fn weights(gateway: &Gateway) {
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..400 {
        let answer = get(gateway.address, "/split", &[]).await;
        *tally.entry(from(&answer).to_owned()).or_default() += 1;
    }
    let two = tally.get("two").copied().unwrap_or(0);
    assert!((100 - 35..=100 + 35).contains(&two) && tally.len() == 2, "{tally:?}");
}

async fn failures(gateway: &Gateway) {
    let cases = [
        ("/nowhere", 404, ""),
        ("/slow/delay/5000", 504, "upstream request timeout"),
        ("/empty", 503, "no healthy upstream"),
        ("/nobody", 503, ""),
    ];
    for (path, status, body) in cases {
        let answer = get(gateway.address, path, &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{path}");
    }
    let answer = get(gateway.address, "/dead", &[]).await;
    assert_eq!(answer.status, 503);
    let reset = "upstream connect error or disconnect/reset before headers. reset reason: remote \
                 connection failure";
    assert!(answer.body.starts_with(reset), "{answer:?}");
}

/// Envoy's default line: its response flags say why, for each path.
async fn logged(log: &Path, ours: bool) {
    let expected = [
        ("/pick/a", "200 - via_upstream"),
        ("/teapot", "418 - direct_response"),
        ("/aborted", "451 FI fault_filter_abort"),
        ("/delayed", "200 DI via_upstream"),
        ("/nowhere", "404 NR route_not_found"),
        ("/slow/delay/5000", "504 UT response_timeout"),
        ("/empty", "503 UH no_healthy_upstream"),
        ("/nobody", "503 NC cluster_not_found"),
        ("/dead", "503 UF upstream_reset_before_response_started{remote_connection_failure"),
    ];
    for (path, outcome) in expected {
        let part = format!("\"GET {path} HTTP/1.1\" {outcome}");
        // A stock Envoy writes its log every ten seconds at the latest, or when there is enough.
        eventually(&format!("{part} in the log"), || async {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            if text.contains(&part) {
                return Ok(());
            }
            let of_path = format!("\"GET {path} ");
            Err(text
                .lines()
                .filter(|line| line.contains(&of_path))
                .map(str::to_owned)
                .collect::<Vec<_>>())
        })
        .await;
    }
    let text = std::fs::read_to_string(log).expect("a log");
    let line = text.lines().find(|line| line.contains("/old/book")).expect("a line");
    for part in ["[20", "\"inner.example\"", "outbound|80||one.shop.svc.cluster.local", " old"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    // For a client on loopback Envoy tells the machine's own address.
    assert!(!ours || line.contains("\"127.0.0.1\""), "no client in {line}");
    assert!(!line.contains(" \"-\" \"-\" \""), "no x-forwarded-for in {line}");
}

/// Two gateways by two Gateways on one control plane serve their own routes only.
#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_serves_its_own() {
    let (one, two) = (Application::start("one").await, Application::start("two").await);
    let (left_port, right_port) = (objects::free_port(), objects::free_port());
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("two.yaml", &objects::service("two", &[two.address])),
        ("left.yaml", &objects::gateway("left", left_port)),
        ("right.yaml", &objects::gateway("right", right_port)),
        ("left-routes.yaml", &objects::all_to("left", "one")),
        ("right-routes.yaml", &objects::all_to("right", "two")),
    ])
    .await;
    let left = Gateway::start(&mesh, "left", left_port).await;
    let right = Gateway::start(&mesh, "right", right_port).await;
    until_from(left.address, "/", "one").await;
    until_from(right.address, "/", "two").await;
    mesh.synced(2).await;
    // A rule for a host is not a rule for others.
    mesh.write(
        "left-routes.yaml",
        &objects::all_to("left", "one").replace("[\"*\"]", "[\"shop.example\"]"),
    );
    eventually("only shop.example", || async {
        let other = try_get(left.address, "/", &[("host", "else.example")]).await?;
        if other.status == 404 { Ok(()) } else { Err(other.status.to_string()) }
    })
    .await;
    assert_eq!(get(left.address, "/", &[("host", "SHOP.example")]).await.status, 200);
    mesh.assert_nothing_refused().await;
}
