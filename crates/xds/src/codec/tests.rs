//! Laws and examples of the codec.

use proptest::prelude::*;
use prost::Message;
use prost_reflect::DynamicMessage;

use super::{decode, encode, message_to_json, to_json};
use crate::{Node, Resource, ResourceType, testing};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What was encoded decodes to the same value, and nothing in it is ignored.
    #[test]
    fn decode_is_the_inverse_of_encode(resource in testing::resources()) {
        let decoded = decode(&encode(&resource)).unwrap();
        prop_assert_eq!(decoded.resource, resource);
        prop_assert_eq!(decoded.ignored, Vec::<String>::new());
    }

    /// A node survives its message.
    #[test]
    fn nodes_survive(node in testing::nodes()) {
        prop_assert_eq!(Node::from_proto(node.to_proto()), node);
    }

    /// Whatever the bytes, the answer is a value or an error.
    #[test]
    fn bytes_from_outside_do_no_harm(
        kind in 0..ResourceType::ALL.len(),
        value in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let any = pb::Any { type_url: ResourceType::ALL[kind].type_url().to_owned(), value };
        let _ = decode(&any);
        let _ = to_json(&any);
    }

    /// Damaged messages do no harm either; one that still decodes encodes again.
    #[test]
    fn damaged_resources_do_no_harm(
        resource in testing::resources(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut any = encode(&resource);
        prop_assume!(!any.value.is_empty());
        for (at, byte) in damage {
            let at = at.index(any.value.len());
            any.value[at] = byte;
        }
        let _ = to_json(&any);
        if let Ok(decoded) = decode(&any) {
            let again = decode(&encode(&decoded.resource));
            prop_assert!(again.is_ok(), "{:?}", again);
        }
    }

    /// Every resource can be shown, and what is shown can be read back as the same message.
    #[test]
    fn json_says_all(resource in testing::resources()) {
        let any = encode(&resource);
        let mut json = to_json(&any).unwrap();
        let fields = json.as_object_mut().unwrap();
        prop_assert_eq!(fields.shift_remove("@type"), Some(any.type_url.clone().into()));
        // The library that reads it does not take messages without a definition.
        if !json.to_string().contains("type.googleapis.com/unknown.") {
            let name = any.type_url.rsplit('/').next().unwrap();
            let descriptor = pb::descriptors().get_message_by_name(name).unwrap();
            let message = DynamicMessage::deserialize(descriptor, json).unwrap();
            let value = message.encode_to_vec();
            let read = decode(&pb::Any { type_url: any.type_url, value }).unwrap();
            prop_assert_eq!(read.resource, resource);
        }
    }
}

fn listener(message: &pb::envoy::config::listener::v3::Listener) -> pb::Any {
    let type_url = ResourceType::Listener.type_url().to_owned();
    pb::Any { type_url, value: message.encode_to_vec() }
}

#[test]
fn errors_name_the_resource_and_the_field() {
    use pb::envoy::config::route::v3::{
        Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route,
        route_action::ClusterSpecifier, route_match::PathSpecifier,
    };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::ClusterHeader("x-cluster".to_owned())),
        ..Default::default()
    };
    let prefix = PathSpecifier::Prefix("/".to_owned());
    let route = Route {
        r#match: Some(RouteMatch { path_specifier: Some(prefix), ..Default::default() }),
        action: Some(route::Action::Route(action)),
        ..Default::default()
    };
    let host = VirtualHost { routes: vec![route], ..Default::default() };
    let message = RouteConfiguration {
        name: "80".to_owned(),
        virtual_hosts: vec![VirtualHost::default(), host],
        ..Default::default()
    };
    let type_url = ResourceType::RouteConfiguration.type_url().to_owned();
    let error = decode(&pb::Any { type_url, value: message.encode_to_vec() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "route configuration 80: virtual_hosts[1].routes[0].route.cluster_header: \
         is not supported"
    );
}

#[test]
fn observational_fields_are_ignored_and_reported() {
    use pb::envoy::config::{
        core::v3::{Address, SocketAddress, address},
        listener::v3::Listener,
    };
    let socket = SocketAddress { address: "::1".to_owned(), ..Default::default() };
    let decoded = decode(&listener(&Listener {
        name: "l".to_owned(),
        address: Some(Address { address: Some(address::Address::SocketAddress(socket)) }),
        stat_prefix: "prefix".to_owned(),
        enable_mptcp: true,
        ..Default::default()
    }))
    .unwrap();
    assert_eq!(decoded.ignored, ["stat_prefix", "enable_mptcp"]);
    let Resource::Listener(listener) = decoded.resource else { panic!("not a listener") };
    assert!(listener.bind_to_port, "Envoy binds unless told otherwise");
}

#[test]
fn a_missing_address_is_an_error() {
    let error = decode(&listener(&Default::default())).unwrap_err();
    assert_eq!(error.field, "address");
}

#[test]
fn unknown_types_are_named() {
    let any = pb::Any { type_url: "type.googleapis.com/no.Such".to_owned(), value: Vec::new() };
    let error = decode(&any).unwrap_err();
    assert_eq!(error.to_string(), "resource: type \"type.googleapis.com/no.Such\" is not known");
    assert!(to_json(&any).is_err());
}

#[test]
fn json_opens_nested_messages() {
    use pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter::ConfigType};
    let config = |name: &str, type_name: &str, value| Filter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(pb::Any {
            type_url: format!("type.googleapis.com/{type_name}"),
            value,
        })),
    };
    let proxy = pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy {
        stat_prefix: "s".to_owned(),
        idle_timeout: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
        ..Default::default()
    };
    let message = Listener {
        traffic_direction: 1,
        bind_to_port: Some(false),
        filter_chains: vec![FilterChain {
            filters: vec![
                config(
                    "known",
                    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    proxy.encode_to_vec(),
                ),
                config("unknown", "no.Such", vec![1, 2, 3]),
            ],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(
        message_to_json(&message).unwrap(),
        serde_json::json!({
            "filter_chains": [{ "filters": [
                { "name": "known", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    "stat_prefix": "s",
                    "idle_timeout": "1.500s",
                } },
                { "name": "unknown", "typed_config": {
                    "@type": "type.googleapis.com/no.Such", "value": "AQID",
                } },
            ] }],
            "traffic_direction": "INBOUND",
            "bind_to_port": false,
        })
    );
}
