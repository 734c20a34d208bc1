//! Listener filters, and the ports on which they are off.

use pb::envoy::{
    config::listener::v3::{
        self as listener, ListenerFilterChainMatchPredicate as Predicate,
        listener_filter::ConfigType,
        listener_filter_chain_match_predicate::{MatchSet, Rule},
    },
    extensions::filters::listener::{
        http_inspector::v3::HttpInspector, original_dst::v3::OriginalDst,
        proxy_protocol::v3::ProxyProtocol, tls_inspector::v3::TlsInspector,
    },
    r#type::v3::Int32Range,
};

use crate::{
    ListenerFilter, ListenerFilterKind,
    codec::{
        any::{is, pack},
        context::{Context, Result, fields},
    },
};

pub(super) fn encode(value: &ListenerFilter) -> listener::ListenerFilter {
    let (name, config) = match value.kind {
        ListenerFilterKind::OriginalDst => ("original_dst", pack(&OriginalDst::default())),
        ListenerFilterKind::TlsInspector => ("tls_inspector", pack(&TlsInspector::default())),
        ListenerFilterKind::HttpInspector => ("http_inspector", pack(&HttpInspector::default())),
        ListenerFilterKind::ProxyProtocol => ("proxy_protocol", pack(&ProxyProtocol::default())),
    };
    listener::ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        filter_disabled: encode_ports(&value.disabled_ports),
        config_type: Some(ConfigType::TypedConfig(config)),
    }
}

pub(super) fn decode(
    message: listener::ListenerFilter,
    cx: &mut Context,
) -> Result<ListenerFilter> {
    let listener::ListenerFilter { name: _, filter_disabled, config_type } = message;
    let kind = match config_type {
        Some(ConfigType::TypedConfig(any)) => cx.at("typed_config", |cx| decode_kind(&any, cx))?,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return cx.fail_at("config_discovery", "is not supported");
        }
        None => return cx.fail_at("typed_config", "must be set"),
    };
    let ports = cx.optional("filter_disabled", filter_disabled, decode_ports)?;
    Ok(ListenerFilter { kind, disabled_ports: ports.unwrap_or_default() })
}

fn decode_kind(any: &pb::Any, cx: &mut Context) -> Result<ListenerFilterKind> {
    if is::<OriginalDst>(any) {
        let OriginalDst {} = cx.open(any)?;
        Ok(ListenerFilterKind::OriginalDst)
    } else if is::<HttpInspector>(any) {
        let HttpInspector {} = cx.open(any)?;
        Ok(ListenerFilterKind::HttpInspector)
    } else if is::<TlsInspector>(any) {
        fields! {
            cx, cx.open(any)? => TlsInspector {}
            ignored {
                enable_ja3_fingerprinting, enable_ja4_fingerprinting, initial_read_buffer_size,
                max_client_hello_size,
            }
            rejected { close_connection_on_client_hello_parsing_errors }
        }
        Ok(ListenerFilterKind::TlsInspector)
    } else if is::<ProxyProtocol>(any) {
        fields! {
            cx, cx.open(any)? => ProxyProtocol {}
            ignored { rules, pass_through_tlvs, stat_prefix, tlv_location }
            rejected { allow_requests_without_proxy_protocol, disallowed_versions }
        }
        Ok(ListenerFilterKind::ProxyProtocol)
    } else {
        cx.fail(format!("listener filter {} is not supported", any.type_url))
    }
}

fn encode_ports(ports: &[(u16, u16)]) -> Option<Predicate> {
    let range = |&(first, last): &(u16, u16)| Predicate {
        rule: Some(Rule::DestinationPortRange(Int32Range {
            start: first.into(),
            end: i32::from(last) + 1,
        })),
    };
    match ports {
        [] => None,
        [one] => Some(range(one)),
        several => {
            let rules = several.iter().map(range).collect();
            Some(Predicate { rule: Some(Rule::OrMatch(MatchSet { rules })) })
        }
    }
}

/// The ports on which a predicate holds.
fn decode_ports(message: Predicate, cx: &mut Context) -> Result<Vec<(u16, u16)>> {
    let Predicate { rule } = message;
    match rule {
        Some(Rule::DestinationPortRange(Int32Range { start, end })) => {
            let ports = (u16::try_from(start), u16::try_from(end.saturating_sub(1)));
            match ports {
                (Ok(first), Ok(last)) if first <= last => Ok(vec![(first, last)]),
                _ => cx.fail_at(
                    "destination_port_range",
                    format!("{start}..{end} is not a range of ports"),
                ),
            }
        }
        Some(Rule::OrMatch(MatchSet { rules })) => {
            cx.at("or_match", |cx| Ok(cx.some("rules", rules, decode_ports)?.concat()))
        }
        Some(Rule::AndMatch(MatchSet { rules })) => cx.at("and_match", |cx| {
            let rules = cx.some("rules", rules, decode_ports)?;
            let outside = rules.into_iter().flat_map(complement).collect();
            Ok(complement(outside))
        }),
        Some(Rule::NotMatch(rule)) => {
            Ok(complement(cx.at("not_match", |cx| decode_ports(*rule, cx))?))
        }
        Some(Rule::AnyMatch(true)) => Ok(vec![(0, u16::MAX)]),
        Some(Rule::AnyMatch(false)) => cx.fail_at("any_match", "must be true"),
        None => cx.fail("must have a rule"),
    }
}

/// The ports that are in none of the ranges, in order.
fn complement(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut outside = Vec::new();
    let mut next = Some(0);
    for (first, last) in ranges {
        let Some(from) = next else { break };
        if first > from {
            outside.push((from, first - 1));
        }
        if last >= from {
            next = last.checked_add(1);
        }
    }
    outside.extend(next.map(|from| (from, u16::MAX)));
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complement_of_ports() {
        assert_eq!(complement(vec![]), [(0, 65535)]);
        assert_eq!(complement(vec![(0, 65535)]), []);
        assert_eq!(
            complement(vec![(80, 90), (85, 100), (443, 443)]),
            [(0, 79), (101, 442), (444, 65535)]
        );
        assert_eq!(complement(vec![(0, 5), (2, 3)]), [(6, 65535)]);
    }
}
