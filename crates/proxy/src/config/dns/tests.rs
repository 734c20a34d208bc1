use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

fn names(addresses: &[xds::Address]) -> xds::LoadAssignment {
    let endpoints = addresses
        .iter()
        .map(|address| xds::Endpoint {
            address: address.clone(),
            health_status: xds::HealthStatus::Healthy,
            load_balancing_weight: Some(3),
            metadata: xds::Metadata::default(),
        })
        .collect();
    xds::LoadAssignment {
        cluster_name: "c".to_owned(),
        localities: vec![xds::LocalityEndpoints { endpoints, ..Default::default() }],
        overprovisioning_factor: None,
    }
}

fn name(host: &str) -> xds::Address {
    xds::Address::Hostname { host: host.to_owned(), port: 80 }
}

fn addresses(assignment: &xds::LoadAssignment) -> Vec<String> {
    let endpoints = assignment.localities.iter().flat_map(|locality| &locality.endpoints);
    endpoints.map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn ipv4_is_preferred() {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::from(Ipv6Addr::LOCALHOST));
    assert_eq!(preferred(vec![v6, v4, v4]), [v4]);
    assert_eq!(preferred(vec![v6]), [v6]);
}

#[test]
fn names_become_addresses() {
    let fixed = xds::Address::socket([192, 0, 2, 9], 81);
    let names = names(&[name("a.example"), fixed, name("unknown.example")]);
    let ips = vec![IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])];
    let known = Known::from([("a.example".to_owned(), ips)]);
    let all = assemble(&names, &known, false);
    assert_eq!(addresses(&all), ["192.0.2.1:80", "192.0.2.2:80", "192.0.2.9:81"]);
    assert_eq!(all.localities[0].endpoints[0].load_balancing_weight, Some(3));
    let single = assemble(&names, &known, true);
    assert_eq!(addresses(&single), ["192.0.2.1:80", "192.0.2.9:81"]);
}

#[tokio::test]
async fn what_is_known_stays_when_a_name_fails() {
    // An empty label is no name, so that no resolver is asked.
    let names = names(&[name("127.0.0.1"), name("a..example")]);
    let mut known = Known::from([("a..example".to_owned(), vec![IpAddr::from([192, 0, 2, 7])])]);
    refresh("c", &names, &mut known).await;
    assert_eq!(addresses(&assemble(&names, &known, false)), ["127.0.0.1:80", "192.0.2.7:80"]);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_told_too() {
    let (mut resolvers, mut inbox) = Resolvers::new();
    let discovery = xds::Discovery::StrictDns(names(&[name("a..example")]));
    resolvers.watch(&cluster(discovery));
    let (cluster, hosts) = inbox.recv().await.unwrap();
    assert_eq!((cluster.as_str(), addresses(&hosts)), ("c", Vec::new()));
}

fn cluster(discovery: xds::Discovery) -> xds::Cluster {
    xds::Cluster {
        name: "c".to_owned(),
        alt_stat_name: String::new(),
        discovery,
        connect_timeout: Duration::from_secs(1),
        lb_policy: xds::LbPolicy::RoundRobin,
        locality_weighted: false,
        healthy_panic_threshold: None,
        circuit_breakers: xds::CircuitBreakers::default(),
        outlier_detection: None,
        transport_socket: None,
        transport_socket_matches: Vec::new(),
        http: xds::UpstreamHttp::default(),
        bind: None,
        tcp_keepalive: None,
        filters: Vec::new(),
        metadata: xds::Metadata::default(),
    }
}
