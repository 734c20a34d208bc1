//! Role-based access control. A rule that is not known is always refused: nothing else is safe.

use pb::envoy::{
    config::rbac::v3::{
        self as rbac, permission,
        permission::Rule,
        principal::{self, Identifier},
        rbac::Action,
    },
    extensions::filters::{http::rbac::v3 as http, network::rbac::v3 as network},
    r#type::matcher::v3::{PathMatcher, StringMatcher as PbStringMatcher, path_matcher},
};

use super::{
    address,
    context::{Context, Result, fields},
    matcher,
};
use crate::{Permission, Policy, Principal, Rbac, RbacAction, RbacFilter, StringMatcher};

pub(super) fn encode_http(value: &RbacFilter) -> http::Rbac {
    http::Rbac {
        rules: value.rules.as_ref().map(encode),
        shadow_rules: value.shadow_rules.as_ref().map(encode),
        shadow_rules_stat_prefix: value.shadow_rules_stat_prefix.clone(),
        ..Default::default()
    }
}

pub(super) fn decode_http(message: http::Rbac, cx: &mut Context) -> Result<RbacFilter> {
    fields! {
        cx, message => http::Rbac { rules, shadow_rules, shadow_rules_stat_prefix }
        ignored { rules_stat_prefix, shadow_matcher, track_per_rule_stats }
        rejected { matcher }
    }
    Ok(RbacFilter {
        rules: cx.optional("rules", rules, decode)?,
        shadow_rules: cx.optional("shadow_rules", shadow_rules, decode)?,
        shadow_rules_stat_prefix,
        stat_prefix: String::new(),
    })
}

pub(super) fn encode_network(value: &RbacFilter) -> network::Rbac {
    network::Rbac {
        rules: value.rules.as_ref().map(encode),
        shadow_rules: value.shadow_rules.as_ref().map(encode),
        shadow_rules_stat_prefix: value.shadow_rules_stat_prefix.clone(),
        stat_prefix: value.stat_prefix.clone(),
        ..Default::default()
    }
}

pub(super) fn decode_network(message: network::Rbac, cx: &mut Context) -> Result<RbacFilter> {
    fields! {
        cx, message => network::Rbac { rules, shadow_rules, shadow_rules_stat_prefix, stat_prefix }
        ignored { shadow_matcher, enforcement_type, delay_deny }
        rejected { matcher }
    }
    Ok(RbacFilter {
        rules: cx.optional("rules", rules, decode)?,
        shadow_rules: cx.optional("shadow_rules", shadow_rules, decode)?,
        shadow_rules_stat_prefix,
        stat_prefix,
    })
}

fn encode(value: &Rbac) -> rbac::Rbac {
    let action = match value.action {
        RbacAction::Allow => Action::Allow,
        RbacAction::Deny => Action::Deny,
        RbacAction::Log => Action::Log,
    };
    let policies = value.policies.iter();
    let policies = policies.map(|(name, policy)| {
        let policy = rbac::Policy {
            permissions: policy.permissions.iter().map(encode_permission).collect(),
            principals: policy.principals.iter().map(encode_principal).collect(),
            ..Default::default()
        };
        (name.clone(), policy)
    });
    rbac::Rbac { action: action.into(), policies: policies.collect(), ..Default::default() }
}

fn decode(message: rbac::Rbac, cx: &mut Context) -> Result<Rbac> {
    fields! {
        cx, message => rbac::Rbac { action, policies }
        ignored { audit_logging_options }
    }
    let action = match cx.enumeration("action", action)? {
        Action::Allow => RbacAction::Allow,
        Action::Deny => RbacAction::Deny,
        Action::Log => RbacAction::Log,
    };
    let policies = cx.at("policies", |cx| {
        let policies = policies.into_iter();
        policies
            .map(|(name, policy)| {
                let policy = cx.key(&name, |cx| decode_policy(policy, cx))?;
                Ok((name, policy))
            })
            .collect()
    })?;
    Ok(Rbac { action, policies })
}

fn decode_policy(message: rbac::Policy, cx: &mut Context) -> Result<Policy> {
    fields! {
        cx, message => rbac::Policy { permissions, principals }
        rejected { condition, checked_condition, cel_config }
    }
    Ok(Policy {
        permissions: cx.some("permissions", permissions, decode_permission)?,
        principals: cx.some("principals", principals, decode_principal)?,
    })
}

fn encode_path(value: &StringMatcher) -> PathMatcher {
    PathMatcher { rule: Some(path_matcher::Rule::Path(matcher::encode(value))) }
}

fn decode_path(message: PathMatcher, cx: &mut Context) -> Result<StringMatcher> {
    let PathMatcher { rule } = message;
    let path = rule.map(|path_matcher::Rule::Path(path)| path);
    cx.required::<PbStringMatcher, _>("path", path, matcher::decode)
}

fn encode_permission(value: &Permission) -> rbac::Permission {
    let set = |rules: &[Permission]| permission::Set {
        rules: rules.iter().map(encode_permission).collect(),
    };
    let rule = match value {
        Permission::Any => Rule::Any(true),
        Permission::And(rules) => Rule::AndRules(set(rules)),
        Permission::Or(rules) => Rule::OrRules(set(rules)),
        Permission::Not(rule) => Rule::NotRule(Box::new(encode_permission(rule))),
        Permission::Header(header) => Rule::Header(matcher::encode_header(header)),
        Permission::UrlPath(path) => Rule::UrlPath(encode_path(path)),
        Permission::DestinationIp(range) => Rule::DestinationIp(address::encode_range(range)),
        Permission::DestinationPort(port) => Rule::DestinationPort((*port).into()),
        Permission::RequestedServerName(name) => Rule::RequestedServerName(matcher::encode(name)),
    };
    rbac::Permission { rule: Some(rule) }
}

#[expect(deprecated, reason = "a decoder names every kind")]
fn decode_permission(message: rbac::Permission, cx: &mut Context) -> Result<Permission> {
    let rbac::Permission { rule } = message;
    let set =
        |permission::Set { rules }, cx: &mut Context| cx.some("rules", rules, decode_permission);
    Ok(match rule {
        Some(Rule::Any(true)) => Permission::Any,
        Some(Rule::Any(false)) => return cx.fail_at("any", "must be true"),
        Some(Rule::AndRules(rules)) => Permission::And(cx.at("and_rules", |cx| set(rules, cx))?),
        Some(Rule::OrRules(rules)) => Permission::Or(cx.at("or_rules", |cx| set(rules, cx))?),
        Some(Rule::NotRule(rule)) => {
            Permission::Not(Box::new(cx.at("not_rule", |cx| decode_permission(*rule, cx))?))
        }
        Some(Rule::Header(header)) => {
            Permission::Header(cx.at("header", |cx| matcher::decode_header(header, cx))?)
        }
        Some(Rule::UrlPath(path)) => {
            Permission::UrlPath(cx.at("url_path", |cx| decode_path(path, cx))?)
        }
        Some(Rule::DestinationIp(range)) => Permission::DestinationIp(
            cx.at("destination_ip", |cx| address::decode_range(range, cx))?,
        ),
        Some(Rule::DestinationPort(port)) => {
            Permission::DestinationPort(cx.short("destination_port", port)?)
        }
        Some(Rule::RequestedServerName(name)) => Permission::RequestedServerName(
            cx.at("requested_server_name", |cx| matcher::decode(name, cx))?,
        ),
        Some(
            Rule::DestinationPortRange(_)
            | Rule::Metadata(_)
            | Rule::Matcher(_)
            | Rule::UriTemplate(_)
            | Rule::SourcedMetadata(_),
        ) => return cx.fail("this kind of permission is not supported"),
        None => return cx.fail("must have a rule"),
    })
}

fn encode_principal(value: &Principal) -> rbac::Principal {
    let set =
        |ids: &[Principal]| principal::Set { ids: ids.iter().map(encode_principal).collect() };
    let identifier = match value {
        Principal::Any => Identifier::Any(true),
        Principal::And(ids) => Identifier::AndIds(set(ids)),
        Principal::Or(ids) => Identifier::OrIds(set(ids)),
        Principal::Not(id) => Identifier::NotId(Box::new(encode_principal(id))),
        Principal::Authenticated(name) => Identifier::Authenticated(principal::Authenticated {
            principal_name: name.as_ref().map(matcher::encode),
        }),
        Principal::DirectRemoteIp(range) => {
            Identifier::DirectRemoteIp(address::encode_range(range))
        }
        Principal::RemoteIp(range) => Identifier::RemoteIp(address::encode_range(range)),
        Principal::Header(header) => Identifier::Header(matcher::encode_header(header)),
        Principal::UrlPath(path) => Identifier::UrlPath(encode_path(path)),
    };
    rbac::Principal { identifier: Some(identifier) }
}

#[expect(deprecated, reason = "a decoder names every kind")]
fn decode_principal(message: rbac::Principal, cx: &mut Context) -> Result<Principal> {
    let rbac::Principal { identifier } = message;
    let set = |principal::Set { ids }, cx: &mut Context| cx.some("ids", ids, decode_principal);
    Ok(match identifier {
        Some(Identifier::Any(true)) => Principal::Any,
        Some(Identifier::Any(false)) => return cx.fail_at("any", "must be true"),
        Some(Identifier::AndIds(ids)) => Principal::And(cx.at("and_ids", |cx| set(ids, cx))?),
        Some(Identifier::OrIds(ids)) => Principal::Or(cx.at("or_ids", |cx| set(ids, cx))?),
        Some(Identifier::NotId(id)) => {
            Principal::Not(Box::new(cx.at("not_id", |cx| decode_principal(*id, cx))?))
        }
        Some(Identifier::Authenticated(principal::Authenticated { principal_name })) => {
            Principal::Authenticated(cx.at("authenticated", |cx| {
                cx.optional("principal_name", principal_name, matcher::decode)
            })?)
        }
        Some(Identifier::DirectRemoteIp(range)) => Principal::DirectRemoteIp(
            cx.at("direct_remote_ip", |cx| address::decode_range(range, cx))?,
        ),
        Some(Identifier::RemoteIp(range)) => {
            Principal::RemoteIp(cx.at("remote_ip", |cx| address::decode_range(range, cx))?)
        }
        Some(Identifier::Header(header)) => {
            Principal::Header(cx.at("header", |cx| matcher::decode_header(header, cx))?)
        }
        Some(Identifier::UrlPath(path)) => {
            Principal::UrlPath(cx.at("url_path", |cx| decode_path(path, cx))?)
        }
        Some(
            Identifier::SourceIp(_)
            | Identifier::Metadata(_)
            | Identifier::FilterState(_)
            | Identifier::SourcedMetadata(_)
            | Identifier::Custom(_),
        ) => return cx.fail("this kind of principal is not supported"),
        None => return cx.fail("must have an identifier"),
    })
}
