//! Configuration: warming, updates without loss, refusals, a control plane that goes away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use xds::{Discovery, Resource, ResourceType};

use crate::{
    fixture::{call, call_at, eventually, free_address, get, until},
    http::simple,
    resources::{action, cds, cluster, endpoints, lds, listener, rds, routes, to},
    upstream::Upstream,
};

fn eds(name: &str) -> xds::Cluster {
    let mut cluster = cluster(name, &[]);
    cluster.discovery = Discovery::Eds { service_name: String::new() };
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_wait_for_the_hosts_of_their_clusters() {
    let (old, new) = (Upstream::http("old").await, Upstream::http("new").await);
    let (fixture, address) = simple(&[old.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    fixture.xds.put(cds(eds("next")));
    fixture.xds.put(rds(routes("9080", to(action("next")))));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(call_at(address, get("/", &[])).await.header("x-app"), "old");
    fixture.xds.put(Resource::LoadAssignment(endpoints("next", &[new.address])));
    eventually("the new route", || async {
        let answer = call_at(address, get("/", &[])).await;
        assert_eq!(answer.status, 200);
        if answer.header("x-app") == "new" { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_edit_loses_a_request() {
    let (one, two) = (Upstream::http("one").await, Upstream::http("two").await);
    let (fixture, address) = simple(&[one.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut calls = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = call_at(address, get("/", &[])).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    for round in 0..20_u32 {
        let name = format!("round-{round}");
        let app = if round.is_multiple_of(2) { two.address } else { one.address };
        fixture.xds.put(cds(eds(&name)));
        fixture.xds.put(Resource::LoadAssignment(endpoints(&name, &[app])));
        fixture.xds.put(rds(routes("9080", to(action(&name)))));
        tokio::time::sleep(Duration::from_millis(30)).await;
        if round > 0 {
            fixture.xds.remove(ResourceType::Cluster, &format!("round-{}", round - 1));
        }
    }
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        assert!(caller.await.unwrap() > 0);
    }
    assert!(fixture.xds.nacks().is_empty(), "{:?}", fixture.xds.nacks());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_resource_is_refused_by_name_and_others_go_on() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let mut bad = listener(free_address().await, Vec::new());
    bad.filter_chains = vec![crate::resources::http_chain("none", {
        let mut manager =
            crate::resources::manager(xds::RouteSpecifier::Rds("9080".into()), &fixture.log);
        manager.http_filters.clear();
        manager
    })];
    fixture.xds.put(lds(bad));
    fixture.xds.put_raw(
        ResourceType::Cluster,
        "garbage",
        pb::Any { type_url: ResourceType::Cluster.type_url().into(), value: vec![0xff; 9] },
    );
    eventually("two refusals", || async {
        let nacks = fixture.xds.nacks();
        if nacks.len() >= 2 { Ok(()) } else { Err(nacks) }
    })
    .await;
    let nacks = fixture.xds.nacks().join("\n");
    assert!(nacks.contains("http_filters"), "{nacks}");
    assert_eq!(call_at(address, get("/", &[])).await.status, 200);
    let dump = fixture.admin("/config_dump").await;
    assert!(dump.contains("error_state"), "{dump}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_and_go() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let name = address.to_string();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    fixture.xds.remove(ResourceType::Listener, &name);
    eventually("the port to close", || async {
        match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Err("still open"),
            Err(_) => Ok(()),
        }
    })
    .await;
    // A connection that is there is asked to go, but its request is served.
    let answer = call(stream, get("/", &[])).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_requests_finish() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let slow = tokio::spawn(call_at(address, get("/delay/800", &[])));
    tokio::time::sleep(Duration::from_millis(100)).await;
    fixture.admin_call("POST", "/drain_listeners?graceful").await;
    let answer = call_at(address, get("/", &[])).await;
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, "close"));
    assert_eq!(slow.await.unwrap().status, 200);
    assert_eq!(fixture.admin_call("GET", "/ready").await.0, 503);
    eventually("the port to close", || async {
        match tokio::net::TcpStream::connect(address).await {
            Ok(_) => Err("still open"),
            Err(_) => Ok(()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_goes_away_costs_nothing() {
    let (one, two) = (Upstream::http("one").await, Upstream::http("two").await);
    let (fixture, address) = simple(&[one.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    fixture.xds.stop();
    for _ in 0..20 {
        assert_eq!(call_at(address, get("/", &[])).await.status, 200);
    }
    fixture.xds.put(cds(cluster("other", &[two.address])));
    fixture.xds.put(rds(routes("9080", to(action("other")))));
    fixture.xds.remove(ResourceType::Cluster, "reviews");
    fixture.xds.take_pushed();
    fixture.xds.restart(&fixture.xds_socket);
    eventually("the new route", || async {
        let answer = call_at(address, get("/", &[])).await;
        assert_eq!(answer.status, 200);
        if answer.header("x-app") == "two" { Ok(()) } else { Err(answer) }
    })
    .await;
    // What has not changed is not sent again.
    let pushed = fixture.xds.take_pushed();
    assert!(!pushed.contains(&address.to_string()), "{pushed:?}");
    assert_eq!(fixture.stat("control_plane.connected_state").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_listener_keeps_requests_that_are_open() {
    let app = Upstream::http("v1").await;
    let (fixture, address) = simple(&[app.address], to(action("reviews"))).await;
    until(address, "/", 200).await;
    let slow = tokio::spawn(call_at(address, get("/delay/600", &[])));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut manager =
        crate::resources::manager(xds::RouteSpecifier::Rds("9080".into()), &fixture.log);
    manager.server_name = "changed".into();
    fixture.xds.put(lds(listener(address, vec![crate::resources::http_chain("http", manager)])));
    eventually("the change", || async {
        let answer = call_at(address, get("/", &[])).await;
        assert_eq!(answer.status, 200);
        if answer.header("server") == "changed" { Ok(()) } else { Err(answer) }
    })
    .await;
    let answer = slow.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("server")), (200, "istio-envoy"));
    assert_eq!(answer.header("connection"), "close");
}
