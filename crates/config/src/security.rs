//! The API group `security.istio.io`: PeerAuthentication and AuthorizationPolicy.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::label::LabelSelector;

/// `security.istio.io` PeerAuthentication: what a workload accepts from its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// The workloads of the namespace; absent: all (of the mesh, in the root namespace).
    pub selector: Option<LabelSelector>,
    /// For all ports.
    pub mtls: MutualTls,
    /// By the workload's port; only with a selector.
    pub port_level_mtls: BTreeMap<u16, MutualTls>,
}

/// Mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// The mode.
    pub mode: MutualTlsMode,
}

/// What is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the parent scope says; PERMISSIVE at the top.
    #[default]
    Unset,
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

/// `security.istio.io` AuthorizationPolicy: who may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// The workloads of the namespace (of all namespaces, in the root namespace); absent: all.
    pub selector: Option<LabelSelector>,
    /// Deprecated form of `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// Gateways or services in place of the selector. A sidecar passes over such a policy.
    pub target_refs: Vec<PolicyTargetReference>,
    /// What happens when a rule matches.
    pub action: AuthorizationAction,
    /// Any of these. Empty: matches nothing, so that an ALLOW policy denies all.
    pub rules: Vec<Rule>,
    /// The extension provider of a CUSTOM policy.
    pub provider: Option<ExtensionProvider>,
}

/// A reference to the object a policy is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargetReference {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; only the policy's own.
    pub namespace: String,
}

/// What an AuthorizationPolicy does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthorizationAction {
    /// Allow what matches, deny the rest.
    #[default]
    Allow,
    /// Deny what matches.
    Deny,
    /// Only note it.
    Audit,
    /// Ask an extension provider.
    Custom,
}

/// The provider of a CUSTOM policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Its name in MeshConfig.
    pub name: String,
}

/// All parts must match; an absent part matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Any of these sources.
    pub from: Vec<From>,
    /// Any of these operations.
    pub to: Vec<To>,
    /// All of these conditions.
    pub when: Vec<Condition>,
}

/// A source in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct From {
    /// The source.
    pub source: Source,
}

/// An operation in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct To {
    /// The operation.
    pub operation: Operation,
}

/// Who calls: within a list any, between lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// `<trust domain>/ns/<ns>/sa/<sa>` without `spiffe://`.
    pub principals: Vec<String>,
    /// None of these principals.
    pub not_principals: Vec<String>,
    /// `<iss>/<sub>` of a token.
    pub request_principals: Vec<String>,
    /// None of these request principals.
    pub not_request_principals: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// None of these namespaces.
    pub not_namespaces: Vec<String>,
    /// `ns/sa`, or `sa` in the policy's namespace. No wildcards.
    pub service_accounts: Vec<String>,
    /// None of these service accounts.
    pub not_service_accounts: Vec<String>,
    /// Addresses of the direct peer, IP or CIDR.
    pub ip_blocks: Vec<String>,
    /// None of these addresses.
    pub not_ip_blocks: Vec<String>,
    /// Addresses of the original client (X-Forwarded-For or PROXY protocol).
    pub remote_ip_blocks: Vec<String>,
    /// None of these addresses.
    pub not_remote_ip_blocks: Vec<String>,
    /// Trust domains.
    pub trust_domains: Vec<String>,
    /// None of these trust domains.
    pub not_trust_domains: Vec<String>,
}

/// What is called: within a list any, between lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Host header, without case.
    pub hosts: Vec<String>,
    /// None of these hosts.
    pub not_hosts: Vec<String>,
    /// Ports, as text.
    pub ports: Vec<String>,
    /// None of these ports.
    pub not_ports: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// None of these methods.
    pub not_methods: Vec<String>,
    /// Paths: exact, `prefix*`, `*suffix`, `*`, or a template with `{*}` and `{**}`.
    pub paths: Vec<String>,
    /// None of these paths.
    pub not_paths: Vec<String>,
}

/// A condition on one attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// The attribute, such as `request.headers[x-user]`.
    pub key: String,
    /// Any of these.
    pub values: Vec<String>,
    /// None of these.
    pub not_values: Vec<String>,
}
