//! Patches on small resources, read back through the codec.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;

fn any(kind: &str, value: &Json) -> pb::Any {
    let descriptor = encode::descriptor(kind).unwrap();
    encode::any(&DynamicMessage::deserialize(descriptor, value).unwrap())
}

const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

fn listener() -> (String, pb::Any) {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"name": "inbound|8080||", "virtual_hosts": [{"name": "inbound|http|80",
            "domains": ["*"], "routes": [{"name": "default", "match": {"prefix": "/"},
            "route": {"cluster": "inbound|8080||"}}]}]},
        "http_filters": [
            {"name": "envoy.filters.http.fault", "typed_config":
                {"@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"}},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]
    });
    let chain = json!({"name": "0.0.0.0_8080", "filter_chain_match": {"destination_port": 8080},
        "filters": [{"name": "envoy.filters.network.http_connection_manager",
                     "typed_config": manager}]});
    let value = json!({
        "name": "virtualInbound", "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
        "filter_chains": [chain]
    });
    ("virtualInbound".to_owned(), any("envoy.config.listener.v3.Listener", &value))
}

fn cluster(name: &str) -> (String, pb::Any) {
    let value = json!({"name": name, "type": "STATIC", "connect_timeout": "10s",
        "circuit_breakers": {"thresholds": [{"max_connections": 5}]}});
    (name.to_owned(), any("envoy.config.cluster.v3.Cluster", &value))
}

fn patch(apply_to: ApplyTo, operation: Operation, value: Json) -> Patch {
    Patch::new(apply_to, operation, Some(&value)).unwrap()
}

fn patches(list: Vec<Patch>) -> Patches {
    let inbound = BTreeMap::from([(8080, vec![("a.shop.svc.cluster.local".to_owned(), 80)])]);
    Patches {
        patches: list.into_iter().map(Arc::new).collect(),
        gateway: false,
        inbound,
        must_decode: false,
    }
}

fn http_match(sub_filter: &str) -> Match {
    let filter_chain = FilterChainSelector {
        filter: "envoy.filters.network.http_connection_manager".to_owned(),
        sub_filter: sub_filter.to_owned(),
        ..FilterChainSelector::default()
    };
    let listener = ListenerMatch { filter_chain: Some(filter_chain), ..ListenerMatch::default() };
    Match { listener: Some(listener), ..Match::default() }
}

fn run(
    kind: ResourceType,
    resources: Vec<(String, pb::Any)>,
    list: Vec<Patch>,
) -> (Vec<Json>, Vec<Outcome>) {
    let patched = apply(kind, resources, &patches(list));
    let shown = patched.resources.iter().map(|(_, any)| crate::to_json(any).unwrap());
    (shown.collect(), patched.outcomes)
}

fn http_filters(listener: &Json) -> Vec<&str> {
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array().unwrap();
    filters.iter().map(|filter| filter["name"].as_str().unwrap()).collect()
}

fn lua() -> Json {
    json!({"name": "envoy.filters.http.lua", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": "function envoy_on_request(h) end"}}})
}

#[test]
fn without_patches_the_bytes_stay() {
    let before = vec![listener()];
    for list in [vec![], vec![patch(ApplyTo::Cluster, Operation::Merge, json!({"name": "x"}))]] {
        let after = apply(ResourceType::Listener, before.clone(), &patches(list));
        assert_eq!(after.resources, before);
    }
    let mut elsewhere = patch(ApplyTo::HttpFilter, Operation::InsertFirst, lua());
    elsewhere.context = PatchContext::Gateway;
    let after = apply(ResourceType::Listener, before.clone(), &patches(vec![elsewhere]));
    assert_eq!(after.resources, before);
}

#[test]
fn http_filters_go_where_the_operation_says() {
    const FAULT: &str = "envoy.filters.http.fault";
    const END: &str = "envoy.filters.http.router";
    const LUA: &str = "envoy.filters.http.lua";
    let cases = [
        (Operation::InsertFirst, "", vec![LUA, FAULT, END]),
        (Operation::InsertBefore, END, vec![FAULT, LUA, END]),
        (Operation::InsertBefore, "envoy.router", vec![FAULT, LUA, END]),
        (Operation::InsertBefore, "", vec![LUA, FAULT, END]),
        (Operation::InsertAfter, FAULT, vec![FAULT, LUA, END]),
        (Operation::InsertAfter, "nobody", vec![FAULT, END]),
        (Operation::Add, "", vec![FAULT, LUA, END]),
        (Operation::Replace, FAULT, vec![LUA, END]),
    ];
    for (operation, sub_filter, expected) in cases {
        let mut patch = patch(ApplyTo::HttpFilter, operation, lua());
        patch.matches = http_match(sub_filter);
        let (shown, outcomes) = run(ResourceType::Listener, vec![listener()], vec![patch]);
        assert_eq!(http_filters(&shown[0]), expected, "{operation:?} {sub_filter}");
        assert_eq!(outcomes[0].errors, [""; 0]);
    }
    let mut remove = Patch::new(ApplyTo::HttpFilter, Operation::Remove, None).unwrap();
    remove.matches = http_match(FAULT);
    let (shown, _) = run(ResourceType::Listener, vec![listener()], vec![remove]);
    assert_eq!(http_filters(&shown[0]), [END]);
}

#[test]
fn a_port_means_the_service_behind_a_chain() {
    for (port, applies) in [(80, true), (8080, false), (81, false)] {
        let mut patch = patch(ApplyTo::HttpFilter, Operation::InsertFirst, lua());
        patch.context = PatchContext::SidecarInbound;
        patch.matches = http_match("");
        patch.matches.listener.as_mut().unwrap().port = port;
        let (shown, outcomes) = run(ResourceType::Listener, vec![listener()], vec![patch]);
        assert_eq!(http_filters(&shown[0]).len() == 3, applies, "{port}");
        assert_eq!(outcomes[0].applied > 0, applies);
    }
}

#[test]
fn filters_merge_inside_of_their_configuration() {
    let value = json!({"typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "server_name": "me", "stream_idle_timeout": "0.5s",
        "http_filters": [lua()]}});
    for (operation, count) in [(Operation::Merge, 3), (Operation::MergeAndReplaceList, 1)] {
        let mut patch = patch(ApplyTo::NetworkFilter, operation, value.clone());
        patch.matches = http_match("");
        let (shown, _) = run(ResourceType::Listener, vec![listener()], vec![patch]);
        let manager = &shown[0]["filter_chains"][0]["filters"][0]["typed_config"];
        assert_eq!(
            (&manager["server_name"], &manager["stat_prefix"]),
            (&json!("me"), &json!("in"))
        );
        assert_eq!(http_filters(&shown[0]).len(), count);
    }
    let wrong = json!({"typed_config": {"@type": ROUTER, "suppress_envoy_headers": true}});
    let mut wrong = patch(ApplyTo::HttpFilter, Operation::Merge, wrong);
    wrong.matches = http_match("envoy.filters.http.fault");
    let before = vec![listener()];
    let after = apply(ResourceType::Listener, before.clone(), &patches(vec![wrong]));
    assert_eq!(after.resources, before);
    assert!(after.outcomes[0].errors[0].contains("cannot be merged"), "{:?}", after.outcomes);
}

#[test]
fn inline_routes_are_patched_like_discovered_ones() {
    let mut header = patch(
        ApplyTo::HttpRoute,
        Operation::Merge,
        json!({"response_headers_to_add": [{"header": {"key": "x", "value": "1"}}]}),
    );
    header.context = PatchContext::SidecarInbound;
    let route = RouteSelector { name: "default".to_owned(), action: "route" };
    let host = VirtualHostMatch {
        name: "inbound|http|80".to_owned(),
        route: Some(route),
        ..VirtualHostMatch::default()
    };
    header.matches.route_configuration =
        Some(RouteConfigurationMatch { virtual_host: Some(host), ..Default::default() });
    let (shown, _) = run(ResourceType::Listener, vec![listener()], vec![header.clone()]);
    let manager = &shown[0]["filter_chains"][0]["filters"][0]["typed_config"];
    let route = &manager["route_config"]["virtual_hosts"][0]["routes"][0];
    assert_eq!(route["response_headers_to_add"][0]["header"]["key"], "x");
    header.matches.route_configuration.as_mut().unwrap().port = 81;
    let before = vec![listener()];
    let after = apply(ResourceType::Listener, before.clone(), &patches(vec![header]));
    assert_eq!(after.resources, before);
}

#[test]
fn clusters_are_found_by_the_parts_of_their_names() {
    let names = [
        "outbound|80|v1|a.shop.svc.cluster.local",
        "outbound|81||b.shop.svc.cluster.local",
        "inbound|8080||",
    ];
    let of = |port, service: &str, subset: &str| ClusterMatch {
        port,
        service: service.to_owned(),
        subset: subset.to_owned(),
        ..ClusterMatch::default()
    };
    let cases = [
        (of(80, "", ""), vec![0]),
        (of(0, "a.shop.svc.cluster.local", ""), vec![0, 2]),
        (of(0, "", "v1"), vec![0]),
        (of(8080, "", ""), vec![2]),
        (of(0, "", ""), vec![0, 1, 2]),
        (ClusterMatch { name: names[1].to_owned(), ..of(0, "", "") }, vec![1]),
    ];
    for (wanted, expected) in cases {
        let mut patch = patch(ApplyTo::Cluster, Operation::Merge, json!({"connect_timeout": "1s"}));
        patch.matches.cluster = Some(wanted.clone());
        let clusters = names.iter().map(|name| cluster(name)).collect();
        let (shown, _) = run(ResourceType::Cluster, clusters, vec![patch]);
        let changed: Vec<usize> =
            (0..3).filter(|index| shown[*index]["connect_timeout"] == "1s").collect();
        assert_eq!(changed, expected, "{wanted:?}");
    }
}

#[test]
fn whole_resources_come_and_go() {
    let added = patch(
        ApplyTo::Cluster,
        Operation::Add,
        json!({"name": "mine", "type": "STATIC", "connect_timeout": "1s"}),
    );
    let twice = added.clone();
    let mut gone = Patch::new(ApplyTo::Cluster, Operation::Remove, None).unwrap();
    gone.matches.cluster = Some(ClusterMatch { name: "old".to_owned(), ..Default::default() });
    let (shown, outcomes) =
        run(ResourceType::Cluster, vec![cluster("old"), cluster("new")], vec![added, twice, gone]);
    let names: Vec<&Json> = shown.iter().map(|cluster| &cluster["name"]).collect();
    assert_eq!(names, ["new", "mine"]);
    let refused: Vec<_> = outcomes.iter().filter(|o| !o.errors.is_empty()).collect();
    assert!(refused.len() == 1 && refused[0].errors[0].contains("already there"), "{outcomes:?}");
}

#[test]
fn what_the_proxy_would_refuse_is_left_out_and_the_rest_goes_on() {
    let mut unknown = patch(ApplyTo::HttpFilter, Operation::InsertFirst, lua());
    unknown.matches = http_match("");
    let known = json!({"name": "envoy.filters.http.cors", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}});
    let mut known = patch(ApplyTo::HttpFilter, Operation::InsertFirst, known);
    known.matches = http_match("");
    let mut list = patches(vec![unknown, known]);
    list.must_decode = true;
    let patched = apply(ResourceType::Listener, vec![listener()], &list);
    let shown = crate::to_json(&patched.resources[0].1).unwrap();
    assert!(crate::decode(&patched.resources[0].1).is_ok());
    assert_eq!(http_filters(&shown)[0], "envoy.filters.http.cors");
    assert_eq!(http_filters(&shown).len(), 3);
    assert!(patched.outcomes[0].errors[0].contains("would refuse"), "{:?}", patched.outcomes);
    assert_eq!(patched.outcomes[1].applied, 1);
}

#[test]
fn what_is_no_message_is_refused() {
    let bad = [
        (json!({"nme": "x"}), "nme"),
        (json!({"typed_config": {"@type": "type.googleapis.com/nobody.Knows"}}), "nobody.Knows"),
        (json!({"name": 5}), "5"),
    ];
    for (value, said) in bad {
        let error = Patch::new(ApplyTo::HttpFilter, Operation::Add, Some(&value)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    assert!(Patch::new(ApplyTo::Cluster, Operation::Replace, Some(&json!({}))).is_err());
    assert!(Patch::new(ApplyTo::Cluster, Operation::Merge, None).is_err());
}

#[test]
fn merging_values_again_changes_nothing() {
    let value = json!({"connect_timeout": "0.25s", "lb_policy": "RANDOM",
        "circuit_breakers": {"thresholds": [{"max_connections": 7}]},
        "dns_failure_refresh_rate": {"base_interval": "1s"},
        "metadata": {"filter_metadata": {"a": {"x": 1, "y": {"z": [true]}}, "b": {}}},
        "track_cluster_stats": {"timeout_budgets": true}});
    let once = patch(ApplyTo::Cluster, Operation::MergeAndReplaceList, value);
    let apply_all =
        |list| apply(ResourceType::Cluster, vec![cluster("c")], &patches(list)).resources;
    let first = apply_all(vec![once.clone()]);
    assert_eq!(first, apply_all(vec![once.clone(), once.clone()]));
    // Maps have no order of their own: the bytes must have one.
    for _ in 0..10 {
        assert_eq!(first, apply_all(vec![once.clone()]));
    }
    assert_eq!(crate::to_json(&first[0].1).unwrap()["connect_timeout"], "0.250s");
}
