//! Verdicts of authorization policies: what each says, and which of its conditions failed.

use std::collections::BTreeMap;

use engine::{Rbac, RbacInput};
use xds::{Permission, Policy, Principal, RbacAction, RbacFilter};

use super::call::Request;
use super::journey::{Answer, Miss, Step};
use super::miss;
use super::origin::{Origins, policy_name};

/// What is said of a policy without rules.
const NO_RULE: &str = "it has no rule, so it matches nobody";

/// Who asks for what.
pub(super) struct Asked<'a> {
    pub(super) input: RbacInput<'a>,
    /// The request, where there is one.
    pub(super) request: Option<&'a Request>,
}

/// Evaluates a filter; the answer, when it refuses.
pub(super) fn check(
    filter: &RbacFilter,
    asked: &Asked<'_>,
    origins: Origins<'_>,
    steps: &mut Vec<Step>,
) -> Option<Answer> {
    if let Some(shadow) = &filter.shadow_rules {
        let verdict = judge(shadow, asked, origins);
        steps.push(verdict.step.detail("a dry run: it decides nothing"));
    }
    let verdict = judge(filter.rules.as_ref()?, asked, origins);
    steps.push(verdict.step);
    if verdict.allowed {
        return None;
    }
    let reason = format!("RBAC: access denied ({})", verdict.why);
    Some(match asked.request {
        Some(_) => Answer::refused(403, "-", reason),
        None => Answer::refused(None, "UAEX", format!("{reason}; the connection is closed")),
    })
}

struct Verdict {
    allowed: bool,
    why: String,
    step: Step,
}

fn judge(rbac: &xds::Rbac, asked: &Asked<'_>, origins: Origins<'_>) -> Verdict {
    let (matched, allowed) = match Rbac::new(rbac) {
        Ok(compiled) => {
            let verdict = compiled.evaluate(&asked.input);
            (verdict.policy.map(str::to_owned), verdict.allowed)
        }
        Err(_) => (None, false),
    };
    let action = match rbac.action {
        RbacAction::Allow => "ALLOW",
        RbacAction::Deny => "DENY",
        RbacAction::Log => "AUDIT",
    };
    // Of several that match, the engine tells the first.
    let missed = rbac.policies.iter().filter(|(name, _)| Some(*name) != matched.as_ref());
    let passed_over: Vec<Miss> = missed
        .map(|(name, policy)| Miss {
            name: shown(name),
            why: Some(misses(policy, asked))
                .filter(|why| !why.is_empty())
                .unwrap_or_else(|| vec!["it matches too".to_owned()]),
            origin: origins.of_policy(name),
        })
        .collect();
    let (mut why, origin) = match &matched {
        Some(name) => (format!("{} matches", shown(name)), origins.of_policy(name)),
        None => (format!("no {action} policy matches"), None),
    };
    let says = if allowed { "allowed" } else { "denied" };
    let step = Step::new("policy", format!("{action}: {says}, {why}")).from(origin);
    let nearest = passed_over.iter().filter(|miss| !miss.why.iter().any(|why| why == NO_RULE));
    if let (None, Some(miss)) = (&matched, nearest.min_by_key(|miss| miss.why.len())) {
        why = format!("{why}; nearest is {}: {}", miss.name, miss.why.join("; "));
    }
    Verdict { allowed, step: step.past(passed_over), why }
}

/// A policy's name as people write it.
fn shown(name: &str) -> String {
    policy_name(name).map_or_else(
        || name.to_owned(),
        |(namespace, policy, rule)| format!("{namespace}/{policy} rule {rule}"),
    )
}

/// The conditions of a policy that are not met. Of several ways to meet it the nearest counts.
fn misses(policy: &Policy, asked: &Asked<'_>) -> Vec<String> {
    let mut why = Vec::new();
    let ways = policy.principals.iter().map(|principal| principal_misses(principal, asked));
    why.extend(ways.min_by_key(Vec::len).unwrap_or_default());
    let ways = policy.permissions.iter().map(|permission| permission_misses(permission, asked));
    why.extend(ways.min_by_key(Vec::len).unwrap_or_default());
    why.dedup();
    why
}

fn principal_misses(principal: &Principal, asked: &Asked<'_>) -> Vec<String> {
    if holds(Permission::Any, principal.clone(), asked) {
        return Vec::new();
    }
    let input = &asked.input;
    match principal {
        Principal::And(list) => list.iter().flat_map(|one| principal_misses(one, asked)).collect(),
        Principal::Or(list) => {
            let ways = list.iter().map(|one| principal_misses(one, asked));
            either(ways.collect())
        }
        Principal::Not(inner) if **inner == Principal::Any => {
            vec![NO_RULE.to_owned()]
        }
        Principal::Not(inner) => {
            vec![format!("the source is one of those excluded: {}", principal_words(inner))]
        }
        Principal::Authenticated(_) => {
            let who = match input.principals {
                [] => "the source has no identity (plain text)".to_owned(),
                names => format!("the source is {}", names.join(", ")),
            };
            vec![format!("{who}, not {}", principal_words(principal))]
        }
        Principal::DirectRemoteIp(_) => {
            vec![format!(
                "the source address {} is not in {}",
                input.direct_remote.ip(),
                principal_words(principal)
            )]
        }
        Principal::RemoteIp(_) => {
            vec![format!(
                "the client address {} is not in {}",
                input.remote.ip(),
                principal_words(principal)
            )]
        }
        Principal::Header(header) => vec![header_miss(header, asked)],
        other => vec![format!("the source is not {}", principal_words(other))],
    }
}

fn permission_misses(permission: &Permission, asked: &Asked<'_>) -> Vec<String> {
    if holds(permission.clone(), Principal::Any, asked) {
        return Vec::new();
    }
    match permission {
        Permission::And(list) => {
            list.iter().flat_map(|one| permission_misses(one, asked)).collect()
        }
        Permission::Or(list) => {
            let ways = list.iter().map(|one| permission_misses(one, asked));
            either(ways.collect())
        }
        Permission::Not(inner) if **inner == Permission::Any => Vec::new(),
        Permission::Not(inner) => {
            vec![format!("the request is one of those excluded: {}", permission_words(inner))]
        }
        Permission::Header(header) => vec![header_miss(header, asked)],
        Permission::UrlPath(path) => match asked.request {
            Some(request) => {
                vec![format!(
                    "the path {} is not {}",
                    request.info().path_only(),
                    miss::string(path)
                )]
            }
            None => vec!["it asks for a path, and the connection is no HTTP".to_owned()],
        },
        Permission::DestinationPort(port) => {
            vec![format!("the port {} is not {port}", asked.input.destination.port())]
        }
        other => vec![format!("the request is not {}", permission_words(other))],
    }
}

/// Of several ways: what the nearest misses, or all when each misses one thing.
fn either(ways: Vec<Vec<String>>) -> Vec<String> {
    if ways.iter().all(|way| way.len() == 1) && ways.len() > 1 {
        return vec![ways.concat().join(", and ")];
    }
    ways.into_iter().min_by_key(Vec::len).unwrap_or_default()
}

fn header_miss(header: &xds::HeaderMatcher, asked: &Asked<'_>) -> String {
    match asked.request {
        Some(request) => miss::header(header, request),
        None => format!("it asks for {}, and the connection is no HTTP", header.name),
    }
}

/// Whether one permission and one principal hold, by the engine's own word.
fn holds(permission: Permission, principal: Principal, asked: &Asked<'_>) -> bool {
    let policy = Policy { permissions: vec![permission], principals: vec![principal] };
    let policies = BTreeMap::from([(String::new(), policy)]);
    let rbac = Rbac::new(&xds::Rbac { action: RbacAction::Allow, policies });
    rbac.is_ok_and(|rbac| rbac.evaluate(&asked.input).allowed)
}

fn principal_words(principal: &Principal) -> String {
    let all = |list: &[Principal], word: &str| {
        list.iter().map(principal_words).collect::<Vec<_>>().join(word)
    };
    match principal {
        Principal::Any => "anybody".to_owned(),
        Principal::And(list) => all(list, " and "),
        Principal::Or(list) => all(list, " or "),
        Principal::Not(inner) => format!("not {}", principal_words(inner)),
        Principal::Authenticated(None) => "any identity".to_owned(),
        Principal::Authenticated(Some(name)) => miss::string(name),
        Principal::DirectRemoteIp(range) | Principal::RemoteIp(range) => range.to_string(),
        Principal::Header(header) => format!("header {}", header.name),
        other => format!("{other:?}"),
    }
}

fn permission_words(permission: &Permission) -> String {
    let all = |list: &[Permission], word: &str| {
        list.iter().map(permission_words).collect::<Vec<_>>().join(word)
    };
    match permission {
        Permission::Any => "anything".to_owned(),
        Permission::And(list) => all(list, " and "),
        Permission::Or(list) => all(list, " or "),
        Permission::Not(inner) => format!("not {}", permission_words(inner)),
        Permission::Header(header) => match &header.kind {
            xds::HeaderMatchKind::String(value) => {
                format!("{} {}", header.name.trim_start_matches(':'), miss::string(value))
            }
            _ => format!("header {}", header.name),
        },
        Permission::UrlPath(path) => format!("path {}", miss::string(path)),
        Permission::DestinationPort(port) => format!("port {port}"),
        other => format!("{other:?}"),
    }
}
