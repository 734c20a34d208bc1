//! Addresses, address ranges and socket options.

use std::net::IpAddr;

use ipnet::IpNet;
use pb::envoy::config::core::v3::{
    self as core, CidrRange, Pipe, SocketAddress, address, socket_address, socket_option,
};

use super::context::{Context, Result, fields};
use crate::{Address, BindConfig, SocketOption, TcpKeepalive};

pub(super) fn encode(value: &Address) -> core::Address {
    let socket = |address: String, port: &u16| {
        address::Address::SocketAddress(socket_address(address, *port))
    };
    let address = match value {
        Address::Socket { ip, port } => socket(ip.to_string(), port),
        Address::Hostname { host, port } => socket(host.clone(), port),
        Address::Pipe(path) => {
            address::Address::Pipe(Pipe { path: path.clone(), ..Default::default() })
        }
    };
    core::Address { address: Some(address) }
}

fn socket_address(address: String, port: u16) -> SocketAddress {
    SocketAddress {
        address,
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    }
}

pub(super) fn decode(message: core::Address, cx: &mut Context) -> Result<Address> {
    let core::Address { address } = message;
    match address {
        Some(address::Address::SocketAddress(socket)) => {
            cx.at("socket_address", |cx| decode_socket(socket, cx))
        }
        Some(address::Address::Pipe(pipe)) => cx.at("pipe", |cx| {
            fields! { cx, pipe => Pipe { path } ignored { mode } }
            Ok(Address::Pipe(path))
        }),
        Some(address::Address::EnvoyInternalAddress(_)) => {
            cx.fail_at("envoy_internal_address", "is not supported")
        }
        None => cx.fail("must be set"),
    }
}

fn decode_socket(message: SocketAddress, cx: &mut Context) -> Result<Address> {
    fields! {
        cx, message => SocketAddress { address, port_specifier }
        ignored { ipv4_compat }
        rejected { protocol, resolver_name, network_namespace_filepath }
    }
    let port = match port_specifier {
        Some(socket_address::PortSpecifier::PortValue(port)) => cx.short("port_value", port)?,
        Some(socket_address::PortSpecifier::NamedPort(_)) => {
            return cx.fail_at("named_port", "is not supported");
        }
        None => 0,
    };
    Ok(match address.parse() {
        Ok(ip) => Address::Socket { ip, port },
        Err(_) => Address::Hostname { host: address, port },
    })
}

pub(super) fn encode_range(range: &IpNet) -> CidrRange {
    CidrRange {
        address_prefix: range.addr().to_string(),
        prefix_len: Some(range.prefix_len().into()),
    }
}

pub(super) fn decode_range(message: CidrRange, cx: &mut Context) -> Result<IpNet> {
    fields! { cx, message => CidrRange { address_prefix, prefix_len } }
    let Ok(ip) = address_prefix.parse::<IpAddr>() else {
        return cx.fail_at("address_prefix", format!("{address_prefix:?} is not an IP address"));
    };
    let length = prefix_len.unwrap_or(0);
    let range = u8::try_from(length).ok().and_then(|length| IpNet::new(ip, length).ok());
    range.map_or_else(|| cx.fail_at("prefix_len", format!("{length} is too long for {ip}")), Ok)
}

pub(super) fn encode_keepalive(value: &TcpKeepalive) -> core::TcpKeepalive {
    core::TcpKeepalive {
        keepalive_probes: value.probes,
        keepalive_time: value.time,
        keepalive_interval: value.interval,
    }
}

pub(super) fn decode_keepalive(message: core::TcpKeepalive) -> TcpKeepalive {
    let core::TcpKeepalive { keepalive_probes, keepalive_time, keepalive_interval } = message;
    TcpKeepalive { probes: keepalive_probes, time: keepalive_time, interval: keepalive_interval }
}

pub(super) fn encode_bind(value: &BindConfig) -> core::BindConfig {
    core::BindConfig {
        source_address: value.source_address.map(|ip| socket_address(ip.to_string(), 0)),
        socket_options: value.socket_options.iter().map(encode_option).collect(),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
pub(super) fn decode_bind(message: core::BindConfig, cx: &mut Context) -> Result<BindConfig> {
    fields! {
        cx, message => core::BindConfig { source_address, socket_options }
        ignored {
            freebind, extra_source_addresses, additional_source_addresses,
            validate_network_namespaces,
        }
        rejected { local_address_selector }
    }
    let source_address = cx.optional("source_address", source_address, |address, cx| {
        match decode_socket(address, cx)? {
            Address::Socket { ip, port: 0 } => Ok(ip),
            _ => cx.fail("must be an IP address with port 0"),
        }
    })?;
    let socket_options = cx.each("socket_options", socket_options, decode_option)?;
    Ok(BindConfig { source_address, socket_options })
}

fn encode_option(value: &SocketOption) -> core::SocketOption {
    core::SocketOption {
        description: value.description.clone(),
        level: value.level,
        name: value.name,
        value: Some(socket_option::Value::IntValue(value.value)),
        ..Default::default()
    }
}

fn decode_option(message: core::SocketOption, cx: &mut Context) -> Result<SocketOption> {
    fields! {
        cx, message => core::SocketOption { description, level, name, value }
        rejected { state, r#type, ip_version }
    }
    match value {
        Some(socket_option::Value::IntValue(value)) => {
            Ok(SocketOption { description, level, name, value })
        }
        Some(socket_option::Value::BufValue(_)) => cx.fail_at("buf_value", "is not supported"),
        None => cx.fail("must have an int_value"),
    }
}
