//! Edits, broken edits and a control plane that goes away, all under load: no request is lost.

use std::time::Duration;

use testkit::load::{Load, Tally};

use super::{
    application::Application,
    client::{by_status, from, get, try_get, until_from, until_status},
    fixture::Mesh,
    gateway::Gateway,
    objects,
};

fn assert_all_served(tally: &Tally) {
    assert!(tally.sent > 20, "{tally:?}");
    assert_eq!(tally.count("200"), tally.sent, "{tally:?}");
}

async fn ingress(one: &Application) -> (Mesh, Gateway) {
    let port = objects::free_port();
    let mesh = Mesh::start(&[
        ("one.yaml", &objects::service("one", &[one.address])),
        ("gateway.yaml", &objects::gateway("ingress", port)),
        ("routes.yaml", &objects::all_to("ingress", "one")),
    ])
    .await;
    let gateway = Gateway::start(&mesh, "ingress", port).await;
    until_status(gateway.address, "/", 200).await;
    (mesh, gateway)
}

/// A new service and the route to it in one edit, policies that make new clusters, endpoints that
/// come and go: make before break, each time.
#[tokio::test(flavor = "multi_thread")]
async fn edits_lose_no_request() {
    let (one, two) = (Application::start("one").await, Application::start("two").await);
    let (mesh, gateway) = ingress(&one).await;
    let load = Load::start(gateway.address, "/", 200, 8, by_status);
    for round in 0..5 {
        mesh.write("two.yaml", &objects::service("two", &[two.address]));
        mesh.write("routes.yaml", &objects::all_to("ingress", "two"));
        until_from(gateway.address, "/", "two").await;
        let policy = format!("{{connectionPool: {{http: {{maxRetries: {}}}}}}}", round + 1);
        mesh.write("rule.yaml", &objects::policy("two", &policy));
        tokio::time::sleep(Duration::from_millis(60)).await;
        mesh.write("two.yaml", &objects::service("two", &[two.address, one.address]));
        tokio::time::sleep(Duration::from_millis(60)).await;
        mesh.write("routes.yaml", &objects::all_to("ingress", "one"));
        until_from(gateway.address, "/", "one").await;
        mesh.remove("rule.yaml");
        mesh.remove("two.yaml");
    }
    assert_all_served(&load.stop().await);
    mesh.synced(1).await;
    mesh.assert_nothing_refused().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_changes_nothing() {
    let (one, two) = (Application::start("one").await, Application::start("two").await);
    let (mesh, gateway) = ingress(&one).await;
    mesh.write("two.yaml", &objects::service("two", &[two.address]));
    let load = Load::start(gateway.address, "/", 200, 8, by_status);
    let good = objects::all_to("ingress", "two");
    for broken in [
        good.replace("destination", "destinaton"),
        "kind: VirtualService\nmetadata: [".to_owned(),
        good.replace("apiVersion", "apiversion"),
        good.replace("route:", "redirect: {uri: /x}\n    route:"),
    ] {
        mesh.write("routes.yaml", &broken);
        super::client::eventually("the file is named", || async {
            let page = mesh.debug("diagnostics").await.to_string();
            if page.contains("routes.yaml") { Ok(()) } else { Err(page) }
        })
        .await;
        assert_eq!(from(&get(gateway.address, "/", &[]).await), "one", "{broken}");
    }
    mesh.write("routes.yaml", &good);
    until_from(gateway.address, "/", "two").await;
    assert_all_served(&load.stop().await);
    mesh.assert_nothing_refused().await;
}

/// While it is away nothing changes; what was edited meanwhile holds once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_restarts_costs_no_request() {
    let (one, two) = (Application::start("one").await, Application::start("two").await);
    let (mut mesh, gateway) = ingress(&one).await;
    mesh.write("two.yaml", &objects::service("two", &[two.address]));
    let load = Load::start(gateway.address, "/", 200, 8, by_status);
    mesh.stop_control().await;
    mesh.write("routes.yaml", &objects::all_to("ingress", "two"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(from(&get(gateway.address, "/", &[]).await), "one");
    mesh.start_control().await;
    until_from(gateway.address, "/", "two").await;
    mesh.synced(1).await;
    // And once more without any change.
    mesh.stop_control().await;
    mesh.start_control().await;
    mesh.synced(1).await;
    assert_all_served(&load.stop().await);
    mesh.assert_nothing_refused().await;
}

/// A Gateway's port that goes away is closed, and opened again when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_gone_is_closed() {
    let one = Application::start("one").await;
    let (mesh, gateway) = ingress(&one).await;
    mesh.remove("gateway.yaml");
    super::client::eventually("nobody listens", || async {
        match try_get(gateway.address, "/", &[]).await {
            Err(error) if error.contains("refused") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    mesh.write("gateway.yaml", &objects::gateway("ingress", gateway.address.port()));
    super::client::eventually("listens again", || async {
        let answer = try_get(gateway.address, "/", &[]).await?;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    mesh.assert_nothing_refused().await;
}

/// On termination calls that are under way finish.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_ended_drains() {
    let one = Application::start("one").await;
    let (_mesh, gateway) = ingress(&one).await;
    let address = gateway.address;
    let slow = tokio::spawn(async move { get(address, "/delay/800", &[]).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    gateway.stop().await.expect("no error");
    assert_eq!(slow.await.expect("no panic").status, 200);
    assert!(try_get(address, "/", &[]).await.is_err(), "it is gone");
}
