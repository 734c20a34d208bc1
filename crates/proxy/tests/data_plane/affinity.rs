//! Consistent hashing end to end: the same header, cookie, query parameter or address reaches the
//! same host; a cookie is made for a client that brings none.

use std::{collections::BTreeSet, net::SocketAddr};

use xds::{HashPolicy, LbPolicy, RouteSpecifier};

use crate::{
    fixture::{Fixture, call_at, free_address, get, until},
    resources::{action, cds, cluster, http_chain, lds, listener, manager, rds, routes, to},
    upstream::Upstream,
};

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

struct Shop {
    _fixture: Fixture,
    _upstreams: Vec<Upstream>,
    address: SocketAddr,
}

async fn shop(lb_policy: LbPolicy, hash: HashPolicy) -> Shop {
    let fixture = Fixture::start();
    let address = free_address().await;
    let mut upstreams = Vec::new();
    for name in NAMES {
        upstreams.push(Upstream::http(name).await);
    }
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let mut reviews = cluster("reviews", &addresses);
    reviews.lb_policy = lb_policy;
    fixture.xds.put(cds(reviews));
    let manager = manager(RouteSpecifier::Rds("9080".into()), &fixture.log);
    fixture.xds.put(lds(listener(address, vec![http_chain("http", manager)])));
    let mut action = action("reviews");
    action.hash_policy = vec![hash];
    fixture.xds.put(rds(routes("9080", to(action))));
    until(address, "/", 200).await;
    Shop { _fixture: fixture, _upstreams: upstreams, address }
}

impl Shop {
    async fn host(&self, path: &str, headers: &[(&str, &str)]) -> String {
        call_at(self.address, get(path, headers)).await.header("x-app").to_owned()
    }

    /// The hosts that many values reach; each value must reach the same host every time.
    async fn hosts(&self, request: impl Fn(u32) -> (String, Option<(String, String)>)) -> usize {
        let mut seen = BTreeSet::new();
        for value in 0..40 {
            let (path, header) = request(value);
            let headers: Vec<(&str, &str)> =
                header.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let host = self.host(&path, &headers).await;
            assert_eq!(self.host(&path, &headers).await, host, "{path} {headers:?}");
            seen.insert(host);
        }
        seen.len()
    }
}

const RING: LbPolicy = LbPolicy::RingHash { minimum_ring_size: None };
const MAGLEV: LbPolicy = LbPolicy::Maglev { table_size: Some(1021) };

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_parameters_choose_the_host() {
    for policy in [RING, MAGLEV] {
        let by_header = shop(policy.clone(), HashPolicy::Header("x-user".into())).await;
        let header = |n: u32| ("/".to_owned(), Some(("x-user".to_owned(), n.to_string())));
        assert_eq!(by_header.hosts(header).await, NAMES.len());
        let by_query = shop(policy, HashPolicy::QueryParameter("user".into())).await;
        let query = |n: u32| (format!("/?a=b&user={n}"), None);
        assert_eq!(by_query.hosts(query).await, NAMES.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_at_its_host_by_address() {
    let shop = shop(RING, HashPolicy::SourceIp).await;
    assert_eq!(shop.hosts(|n| (format!("/{n}"), None)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_made_and_leads_back() {
    let policy = |ttl| HashPolicy::Cookie {
        name: "user".into(),
        path: "/".into(),
        ttl,
        attributes: vec![("SameSite".into(), "Lax".into())],
    };
    let made = shop(MAGLEV, policy(Some(std::time::Duration::ZERO))).await;
    let mut hosts = BTreeSet::new();
    for _ in 0..40 {
        let first = call_at(made.address, get("/", &[])).await;
        let cookie = first.header("set-cookie").to_owned();
        assert!(cookie.starts_with("user="), "{cookie}");
        assert!(cookie.ends_with("; Path=/; SameSite=Lax; HttpOnly"), "{cookie}");
        let pair = cookie.split(';').next().unwrap_or_default();
        let again = call_at(made.address, get("/", &[("cookie", pair)])).await;
        assert_eq!(again.header("x-app"), first.header("x-app"));
        assert_eq!(again.header("set-cookie"), "", "it has one");
        hosts.insert(again.header("x-app").to_owned());
    }
    assert_eq!(hosts.len(), NAMES.len());
    let not_made = shop(MAGLEV, policy(None)).await;
    assert_eq!(call_at(not_made.address, get("/", &[])).await.header("set-cookie"), "");
}
