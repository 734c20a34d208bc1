//! The environment of a container: its variables, fields of the pod, and `$(NAME)` references, by
//! Kubernetes' rules.

use std::collections::BTreeMap;

use config::k8s::Container;

use super::Replica;
use crate::address;

/// A container's variables, in their order; later ones may refer to earlier ones.
pub(super) fn of(replica: &Replica, container: &Container) -> Vec<(String, String)> {
    let mut environment: Vec<(String, String)> = Vec::new();
    for variable in &container.env {
        let field = variable.value_from.as_ref().and_then(|source| source.field_ref.as_ref());
        let value = match field {
            Some(field) => pod_field(replica, &field.field_path).unwrap_or_default(),
            None => expand(&variable.value, &environment),
        };
        environment.push((variable.name.clone(), value));
    }
    environment
}

/// The value of a downward API field. `None` for fields that do not exist, which parsing refuses.
fn pod_field(replica: &Replica, path: &str) -> Option<String> {
    let metadata = &replica.wanted.template.metadata;
    let keyed = |map: &BTreeMap<String, String>, prefix: &str| {
        let key = path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(map.get(key).cloned().unwrap_or_default())
    };
    match path {
        "metadata.name" => Some(replica.pod.clone()),
        "metadata.namespace" => Some(replica.wanted.namespace.clone()),
        "metadata.uid" => Some(format!("{}.{}", replica.wanted.namespace, replica.pod)),
        "spec.serviceAccountName" => {
            Some(replica.wanted.template.spec.service_account().to_owned())
        }
        "spec.nodeName" => Some("mizzen".to_owned()),
        "status.podIP" | "status.podIPs" => Some(replica.address.to_string()),
        "status.hostIP" | "status.hostIPs" => Some(address::CONTROL_PLANE.to_string()),
        _ => keyed(&metadata.labels, "metadata.labels")
            .or_else(|| keyed(&metadata.annotations, "metadata.annotations")),
    }
}

/// Replaces `$(NAME)` by the variable's value. `$$` is a dollar sign, and a reference to a variable
/// that does not exist stays as it is.
pub(super) fn expand(text: &str, environment: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = after;
            continue;
        }
        let reference = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        let known = reference.and_then(|(name, after)| {
            let (_, value) = environment.iter().rev().find(|(known, _)| known == name)?;
            Some((value, after))
        });
        match known {
            Some((value, after)) => {
                expanded.push_str(value);
                rest = after;
            }
            None => {
                expanded.push('$');
                rest = &rest[1..];
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_follow_kubernetes() {
        let environment =
            [("PORT".to_owned(), "80".to_owned()), ("A".to_owned(), "$(PORT)".to_owned())];
        let expand = |text| expand(text, &environment);
        assert_eq!(expand("--port=$(PORT)"), "--port=80");
        assert_eq!(expand("$(NONE) $$(PORT) $ $(PORT"), "$(NONE) $(PORT) $ $(PORT");
        assert_eq!(expand("$(A)é$(PORT)"), "$(PORT)é80");
    }
}
