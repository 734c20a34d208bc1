//! Service, Pod, Secret and EndpointSlice, by the API server's rules as far as a mesh depends on
//! them.

use std::net::{IpAddr, Ipv4Addr};

use super::{checks, names, workload};
use crate::{
    k8s::{AddressType, EndpointSlice, Pod, Secret, Service, ServiceType},
    report::Report,
    value::IntOrString,
    yaml::{Path, excerpt},
};

pub(crate) fn service(service: &Service, path: &Path<'_>, report: &mut Report<'_>) {
    let list = path.field("ports");
    let external = service.service_type == ServiceType::ExternalName;
    if service.ports.is_empty() && !external && !service.is_headless() {
        report.error(&list, "missing-field", "at least one port is needed");
    }
    ports(service, &list, report);
    names::labels(&service.selector, &path.field("selector"), report);
    cluster_ip(service, path, report);
    if !matches!(service.session_affinity.as_str(), "" | "None") {
        let message = "has no effect: proxies balance by themselves";
        let help = "use consistentHash in a DestinationRule";
        report.warning_help(&path.field("sessionAffinity"), "unsupported-field", message, help);
    }
    let name = path.field("externalName");
    match (external, service.external_name.as_str()) {
        (true, "") => report.error(&name, "missing-field", "type ExternalName needs it"),
        (true, text) if !names::is_fqdn(text) => {
            report.error(&name, "invalid-host", "must be a DNS name");
        }
        (false, text) if !text.is_empty() => {
            report.error(&name, "exclusive-fields", "only type ExternalName has it");
        }
        _ => {}
    }
}

fn ports(service: &Service, list: &Path<'_>, report: &mut Report<'_>) {
    let names = checks::repeated(service.ports.iter().map(|port| &port.name));
    let numbers = checks::repeated(service.ports.iter().map(|port| (port.port, port.protocol)));
    for (index, port) in service.ports.iter().enumerate() {
        let path = list.index(index);
        checks::port(Some(port.port), &path.field("port"), report);
        match &port.target_port {
            Some(IntOrString::Int(number)) if !(1..=65535).contains(number) => {
                let message = format!("{number} is not a port from 1 to 65535");
                report.error(&path.field("targetPort"), "invalid-port", message);
            }
            Some(IntOrString::String(name)) => {
                names::port_name(name, &path.field("targetPort"), report);
            }
            _ => {}
        }
        if port.name.is_empty() {
            if service.ports.len() > 1 {
                let message = "with several ports each needs a name";
                report.error(&path.field("name"), "missing-field", message);
            }
        } else {
            names::dns_label(&port.name, &path.field("name"), report);
        }
        if !port.name.is_empty() && names[index] {
            let message = format!("the port name \"{}\" is there twice", excerpt(&port.name));
            report.error(&path.field("name"), "duplicate-port", message);
        }
        if numbers[index] {
            let message = format!("the port {} is there twice", port.port);
            report.error(&path.field("port"), "duplicate-port", message);
        }
    }
}

fn cluster_ip(service: &Service, path: &Path<'_>, report: &mut Report<'_>) {
    let text = service.cluster_ip.as_str();
    let path = path.field("clusterIP");
    if matches!(text, "" | "None") {
        return;
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if is_usable(address) => {}
        Ok(IpAddr::V6(_)) => {
            report.error(&path, "invalid-address", "IPv6 is not supported yet");
        }
        _ => {
            let message = format!("\"{}\" is not an IPv4 address or None", excerpt(text));
            report.error(&path, "invalid-address", message);
        }
    }
    if service.service_type == ServiceType::ExternalName {
        report.error(&path, "exclusive-fields", "type ExternalName has no address");
    }
}

fn is_usable(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_broadcast())
}

pub(crate) fn pod(pod: &Pod, report: &mut Report<'_>) {
    let path = Path::Root.field("spec");
    workload::pod_spec(&pod.spec, &path, report);
    let status = Path::Root.field("status");
    if !pod.status.pod_ip.is_empty() && pod.status.pod_ip.parse::<IpAddr>().is_err() {
        report.error(&status.field("podIP"), "invalid-address", "is not an address");
    }
}

pub(crate) fn secret(secret: &Secret, report: &mut Report<'_>) {
    let path = Path::Root.field("data");
    for (key, text) in &secret.data {
        if crate::k8s::decode_base64(text).is_none() {
            let help = "use stringData for plain text";
            report.error_help(&path.field(key), "invalid-base64", "is not base64", help);
        }
    }
    if secret.secret_type == "kubernetes.io/tls" {
        for key in ["tls.crt", "tls.key"] {
            if !secret.data.contains_key(key) && !secret.string_data.contains_key(key) {
                let message = "a Secret of type kubernetes.io/tls needs it";
                report.error(&path.field(key), "missing-field", message);
            }
        }
    }
}

pub(crate) fn endpoint_slice(slice: &EndpointSlice, report: &mut Report<'_>) {
    let path = Path::Root.field("addressType");
    if !report.has(&path) {
        report.error(&path, "missing-field", "addressType is missing");
    }
    let list = Path::Root.field("endpoints");
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let path = list.index(index);
        let addresses = path.field("addresses");
        if endpoint.addresses.is_empty() {
            report.error(&addresses, "missing-field", "at least one address is needed");
        }
        for (index, address) in endpoint.addresses.iter().enumerate() {
            let ok = match slice.address_type {
                AddressType::IPv4 => address.parse::<Ipv4Addr>().is_ok(),
                AddressType::IPv6 => address.parse::<std::net::Ipv6Addr>().is_ok(),
                AddressType::Fqdn => names::is_fqdn(address),
            };
            if !ok {
                let message = format!("\"{}\" is not of the addressType", excerpt(address));
                report.error(&addresses.index(index), "invalid-address", message);
            }
        }
    }
    let list = Path::Root.field("ports");
    for (index, port) in slice.ports.iter().enumerate() {
        checks::port(port.port, &list.index(index).field("port"), report);
    }
}
