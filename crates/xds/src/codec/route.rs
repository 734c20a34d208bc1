//! Route configurations, virtual hosts and routes.

mod action;
mod headers;
mod redirect;
mod retry;

use pb::envoy::config::route::v3::{
    self as route, Decorator, DirectResponseAction, NonForwardingAction, route::Action as PbAction,
    route_match::PathSpecifier, virtual_host::TlsRequirementType,
};

use super::{
    context::{Context, Result, fields},
    http_filter, matcher, metadata,
};
use crate::{
    Action, DirectResponse, PathMatch, Route, RouteConfiguration, RouteMatch, VirtualHost,
};

pub(super) fn encode(value: &RouteConfiguration) -> route::RouteConfiguration {
    route::RouteConfiguration {
        name: value.name.clone(),
        virtual_hosts: value.virtual_hosts.iter().map(encode_virtual_host).collect(),
        validate_clusters: Some(value.validate_clusters),
        ignore_port_in_host_matching: value.ignore_port_in_host_matching,
        max_direct_response_body_size_bytes: value.max_direct_response_body_size_bytes,
        ..Default::default()
    }
}

pub(super) fn decode(
    message: route::RouteConfiguration,
    cx: &mut Context,
) -> Result<RouteConfiguration> {
    fields! {
        cx, message => route::RouteConfiguration {
            name, virtual_hosts, validate_clusters, ignore_port_in_host_matching,
            max_direct_response_body_size_bytes,
        }
        ignored { most_specific_header_mutations_wins, metadata }
        rejected {
            vhds, internal_only_headers, response_headers_to_add, response_headers_to_remove,
            request_headers_to_add, request_headers_to_remove, cluster_specifier_plugins,
            request_mirror_policies, vhost_header, ignore_path_parameters_in_path_matching,
            typed_per_filter_config, route_specifiers,
        }
    }
    Ok(RouteConfiguration {
        name,
        virtual_hosts: cx.each("virtual_hosts", virtual_hosts, decode_virtual_host)?,
        validate_clusters: validate_clusters.unwrap_or(false),
        ignore_port_in_host_matching,
        max_direct_response_body_size_bytes,
    })
}

fn encode_virtual_host(value: &VirtualHost) -> route::VirtualHost {
    let require_tls =
        if value.require_tls { TlsRequirementType::All } else { TlsRequirementType::None };
    route::VirtualHost {
        name: value.name.clone(),
        domains: value.domains.clone(),
        routes: value.routes.iter().map(encode_route).collect(),
        require_tls: require_tls.into(),
        include_request_attempt_count: value.include_request_attempt_count,
        typed_per_filter_config: http_filter::encode_per_route(&value.typed_per_filter_config),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_virtual_host(message: route::VirtualHost, cx: &mut Context) -> Result<VirtualHost> {
    fields! {
        cx, message => route::VirtualHost {
            name, domains, routes, require_tls, include_request_attempt_count,
            typed_per_filter_config,
        }
        ignored {
            virtual_clusters, rate_limits, include_attempt_count_in_response,
            include_is_timeout_retry_header, per_request_buffer_limit_bytes,
            request_body_buffer_limit, metadata,
        }
        rejected {
            matcher, request_headers_to_add, request_headers_to_remove, response_headers_to_add,
            response_headers_to_remove, cors, retry_policy, retry_policy_typed_config,
            hedge_policy, request_mirror_policies, route_specifiers,
        }
    }
    let require_tls = match cx.enumeration("require_tls", require_tls)? {
        TlsRequirementType::None => false,
        TlsRequirementType::All => true,
        TlsRequirementType::ExternalOnly => {
            return cx.fail_at("require_tls", "EXTERNAL_ONLY is not supported");
        }
    };
    Ok(VirtualHost {
        name,
        domains,
        routes: cx.each("routes", routes, decode_route)?,
        require_tls,
        include_request_attempt_count,
        typed_per_filter_config: http_filter::decode_per_route(typed_per_filter_config, cx)?,
    })
}

fn encode_route(value: &Route) -> route::Route {
    let decorator = (!value.operation.is_empty())
        .then(|| Decorator { operation: value.operation.clone(), ..Default::default() });
    let headers = headers::encode(&value.headers);
    route::Route {
        name: value.name.clone(),
        r#match: Some(encode_match(&value.route_match)),
        action: Some(encode_action(&value.action)),
        metadata: metadata::encode(&value.metadata),
        decorator,
        request_headers_to_add: headers.request_add,
        request_headers_to_remove: headers.request_remove,
        response_headers_to_add: headers.response_add,
        response_headers_to_remove: headers.response_remove,
        typed_per_filter_config: http_filter::encode_per_route(&value.typed_per_filter_config),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "a decoder names every field")]
fn decode_route(message: route::Route, cx: &mut Context) -> Result<Route> {
    fields! {
        cx, message => route::Route {
            name, r#match, metadata, decorator, typed_per_filter_config, request_headers_to_add,
            request_headers_to_remove, response_headers_to_add, response_headers_to_remove,
            action,
        }
        ignored {
            tracing, per_request_buffer_limit_bytes, stat_prefix, request_body_buffer_limit,
        }
        rejected { route_specifiers }
    }
    let operation = cx.optional("decorator", decorator, |decorator, cx| {
        fields! { cx, decorator => Decorator { operation } ignored { propagate } }
        Ok(operation)
    })?;
    let headers = headers::Messages {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    };
    Ok(Route {
        name,
        route_match: cx.required("match", r#match, decode_match)?,
        action: decode_action(action, cx)?,
        metadata: metadata::decode(metadata, cx),
        operation: operation.unwrap_or_default(),
        headers: headers::decode(headers, cx)?,
        typed_per_filter_config: http_filter::decode_per_route(typed_per_filter_config, cx)?,
    })
}

fn encode_match(value: &RouteMatch) -> route::RouteMatch {
    let path = match &value.path {
        PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.clone()),
        PathMatch::PathSeparatedPrefix(prefix) => {
            PathSpecifier::PathSeparatedPrefix(prefix.clone())
        }
        PathMatch::Path(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(matcher::encode_regex(regex)),
    };
    route::RouteMatch {
        path_specifier: Some(path),
        case_sensitive: (!value.case_sensitive).then_some(false),
        headers: value.headers.iter().map(matcher::encode_header).collect(),
        query_parameters: value.query_parameters.iter().map(matcher::encode_query).collect(),
        runtime_fraction: value.runtime_fraction.map(matcher::encode_runtime_fraction),
        ..Default::default()
    }
}

fn decode_match(message: route::RouteMatch, cx: &mut Context) -> Result<RouteMatch> {
    fields! {
        cx, message => route::RouteMatch {
            case_sensitive, runtime_fraction, headers, query_parameters, path_specifier,
        }
        rejected { cookies, grpc, tls_context, dynamic_metadata, filter_state }
    }
    let path = match path_specifier {
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(prefix),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => PathMatch::PathSeparatedPrefix(prefix),
        Some(PathSpecifier::Path(path)) => PathMatch::Path(path),
        Some(PathSpecifier::SafeRegex(regex)) => {
            PathMatch::Regex(cx.at("safe_regex", |cx| matcher::decode_regex(regex, cx))?)
        }
        Some(PathSpecifier::ConnectMatcher(_)) => {
            return cx.fail_at("connect_matcher", "is not supported");
        }
        Some(PathSpecifier::PathMatchPolicy(_)) => {
            return cx.fail_at("path_match_policy", "is not supported");
        }
        None => return cx.fail("must say which paths it takes, such as prefix"),
    };
    Ok(RouteMatch {
        path,
        case_sensitive: case_sensitive.unwrap_or(true),
        headers: cx.each("headers", headers, matcher::decode_header)?,
        query_parameters: cx.each("query_parameters", query_parameters, matcher::decode_query)?,
        runtime_fraction: cx.optional(
            "runtime_fraction",
            runtime_fraction,
            matcher::decode_runtime_fraction,
        )?,
    })
}

fn encode_action(value: &Action) -> PbAction {
    match value {
        Action::Route(action) => PbAction::Route(action::encode(action)),
        Action::Redirect(redirect) => PbAction::Redirect(redirect::encode(redirect)),
        Action::DirectResponse(response) => PbAction::DirectResponse(DirectResponseAction {
            status: response.status.into(),
            body: (!response.body.is_empty()).then(|| metadata::inline_bytes(&response.body)),
            ..Default::default()
        }),
        Action::NonForwarding => PbAction::NonForwardingAction(NonForwardingAction::default()),
    }
}

fn decode_action(message: Option<PbAction>, cx: &mut Context) -> Result<Action> {
    match message {
        Some(PbAction::Route(action)) => {
            let action = cx.at("route", |cx| action::decode(action, cx))?;
            Ok(Action::Route(Box::new(action)))
        }
        Some(PbAction::Redirect(redirect)) => {
            cx.at("redirect", |cx| redirect::decode(redirect, cx)).map(Action::Redirect)
        }
        Some(PbAction::DirectResponse(response)) => {
            cx.at("direct_response", |cx| decode_response(response, cx)).map(Action::DirectResponse)
        }
        Some(PbAction::NonForwardingAction(NonForwardingAction {})) => Ok(Action::NonForwarding),
        Some(PbAction::FilterAction(_)) => cx.fail_at("filter_action", "is not supported"),
        None => cx.fail_at("action", "must be set"),
    }
}

fn decode_response(message: DirectResponseAction, cx: &mut Context) -> Result<DirectResponse> {
    fields! {
        cx, message => DirectResponseAction { status, body }
        rejected { body_format }
    }
    let status = cx.short("status", status)?;
    if !(200..600).contains(&status) {
        return cx.fail_at("status", format!("{status} is not between 200 and 599"));
    }
    let body = cx.optional("body", body, metadata::decode_inline)?;
    Ok(DirectResponse { status, body: body.unwrap_or_default() })
}
