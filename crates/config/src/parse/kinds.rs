//! Which kinds there are: those that Mizzen acts on, those of Istio that it does not know yet,
//! and those of Kubernetes that are none of a mesh's business.

use crate::{
    Kind,
    report::Problem,
    yaml::{Node, Path, excerpt, nearest},
};

const CORE: &str = "";
const APPS: &str = "apps";
const DISCOVERY: &str = "discovery.k8s.io";
const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const TELEMETRY: &str = "telemetry.istio.io";
const EXTENSIONS: &str = "extensions.istio.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

const V1: &[&str] = &["v1"];
const ISTIO_NETWORKING: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const ISTIO_SECURITY: &[&str] = &["v1", "v1beta1"];

/// What is done with a kind.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    Known(Kind),
    /// Not supported yet; the sentence says what that means for the user.
    NotYet(&'static str),
    /// Nothing of a mesh's; the words after the object's name.
    Ignored(&'static str),
}

/// A kind: group, versions, name and what is done with it.
type Row = (&'static str, &'static [&'static str], &'static str, Found);

const NOT_RUN: Found =
    Found::Ignored("ignored by Mizzen: only Deployments are run (use a Deployment)");
const IGNORED: Found = Found::Ignored("ignored by Mizzen");

const KINDS: &[Row] = &[
    (CORE, V1, "Namespace", Found::Known(Kind::Namespace)),
    (CORE, V1, "ServiceAccount", Found::Known(Kind::ServiceAccount)),
    (CORE, V1, "Service", Found::Known(Kind::Service)),
    (CORE, V1, "Pod", Found::Known(Kind::Pod)),
    (CORE, V1, "ConfigMap", Found::Known(Kind::ConfigMap)),
    (CORE, V1, "Secret", Found::Known(Kind::Secret)),
    (DISCOVERY, V1, "EndpointSlice", Found::Known(Kind::EndpointSlice)),
    (APPS, V1, "Deployment", Found::Known(Kind::Deployment)),
    (NETWORKING, ISTIO_NETWORKING, "VirtualService", Found::Known(Kind::VirtualService)),
    (NETWORKING, ISTIO_NETWORKING, "DestinationRule", Found::Known(Kind::DestinationRule)),
    (NETWORKING, ISTIO_NETWORKING, "Gateway", Found::Known(Kind::Gateway)),
    (NETWORKING, &["v1alpha3"], "EnvoyFilter", Found::Known(Kind::EnvoyFilter)),
    (NETWORKING, ISTIO_NETWORKING, "ServiceEntry", Found::Known(Kind::ServiceEntry)),
    (NETWORKING, ISTIO_NETWORKING, "WorkloadEntry", Found::Known(Kind::WorkloadEntry)),
    (NETWORKING, ISTIO_NETWORKING, "WorkloadGroup", Found::Known(Kind::WorkloadGroup)),
    (NETWORKING, ISTIO_NETWORKING, "Sidecar", Found::Known(Kind::Sidecar)),
    (SECURITY, ISTIO_SECURITY, "PeerAuthentication", Found::Known(Kind::PeerAuthentication)),
    (SECURITY, ISTIO_SECURITY, "AuthorizationPolicy", Found::Known(Kind::AuthorizationPolicy)),
    (
        SECURITY,
        ISTIO_SECURITY,
        "RequestAuthentication",
        Found::NotYet(
            "no token is checked, so requests with a bad token are not refused by it; a rule that \
             asks for request principals or claims matches nothing",
        ),
    ),
    (NETWORKING, &["v1beta1"], "ProxyConfig", Found::Known(Kind::ProxyConfig)),
    (TELEMETRY, &["v1", "v1alpha1"], "Telemetry", Found::Known(Kind::Telemetry)),
    (EXTENSIONS, &["v1alpha1"], "WasmPlugin", Found::NotYet(NO_EFFECT)),
    (EXTENSIONS, &["v1alpha1"], "TrafficExtension", Found::NotYet(NO_EFFECT)),
    ("networking.k8s.io", V1, "Ingress", Found::NotYet(NO_EFFECT_USE_GATEWAY)),
    ("networking.k8s.io", V1, "IngressClass", IGNORED),
    (
        "networking.k8s.io",
        V1,
        "NetworkPolicy",
        Found::Ignored(
            "ignored by Mizzen: it does not restrict traffic here (use an AuthorizationPolicy)",
        ),
    ),
    (APPS, V1, "StatefulSet", NOT_RUN),
    (APPS, V1, "DaemonSet", NOT_RUN),
    (APPS, V1, "ReplicaSet", NOT_RUN),
    (APPS, V1, "ControllerRevision", IGNORED),
    ("batch", V1, "Job", NOT_RUN),
    ("batch", V1, "CronJob", NOT_RUN),
    (CORE, V1, "ReplicationController", NOT_RUN),
    (CORE, V1, "Endpoints", Found::NotYet("it has no effect, use an EndpointSlice")),
    (CORE, V1, "Node", IGNORED),
    (CORE, V1, "Event", IGNORED),
    (CORE, V1, "PersistentVolume", IGNORED),
    (CORE, V1, "PersistentVolumeClaim", IGNORED),
    (CORE, V1, "LimitRange", IGNORED),
    (CORE, V1, "ResourceQuota", IGNORED),
    (CORE, V1, "PodTemplate", IGNORED),
    (CORE, V1, "Binding", IGNORED),
];

const NO_EFFECT: &str = "it has no effect";
const NO_EFFECT_USE_GATEWAY: &str =
    "it has no effect, use a Gateway of networking.istio.io and a VirtualService";

/// Groups of which every kind is handled alike.
const GROUPS: &[(&str, Found)] = &[
    (GATEWAY_API, Found::NotYet(NO_EFFECT_USE_GATEWAY)),
    ("gateway.networking.x-k8s.io", Found::NotYet(NO_EFFECT)),
    ("inference.networking.k8s.io", Found::NotYet(NO_EFFECT)),
];

/// Finds what an object is from its `apiVersion` and `kind`.
pub(crate) fn identify(node: &Node) -> Result<Found, Problem> {
    if !matches!(node.value, crate::yaml::Value::Map(_)) {
        let message = format!("expected a Kubernetes object, found {}", node.describe());
        let help = "begin with apiVersion and kind".to_owned();
        return Err(
            Problem::error(node.position, "not-an-object", None, message).with_help(Some(help))
        );
    }
    let api_version = word(node, "apiVersion")?;
    let kind = word(node, "kind")?;
    let (group, version) = api_version.rsplit_once('/').unwrap_or((CORE, api_version));
    if let Some((_, versions, _, found)) = row(group, kind) {
        if versions.contains(&version) {
            return Ok(*found);
        }
        let message = format!("there is no version \"{}\" of {kind}", excerpt(version));
        let help = format!("write {}", api_version_of(group, versions));
        return Err(error(node, "apiVersion", "unknown-version", message, Some(help)));
    }
    if let Some((_, found)) = GROUPS.iter().find(|(name, _)| *name == group) {
        return Ok(*found);
    }
    unknown(node, group, kind)
}

fn row(group: &str, kind: &str) -> Option<&'static Row> {
    KINDS.iter().find(|(row_group, _, row_kind, _)| *row_group == group && *row_kind == kind)
}

fn api_version_of(group: &str, versions: &[&str]) -> String {
    let version = versions.first().copied().unwrap_or("v1");
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A kind that is not in the table: an error when it is probably a mistake.
fn unknown(node: &Node, group: &str, kind: &str) -> Result<Found, Problem> {
    let groups = || KINDS.iter().map(|(group, ..)| *group);
    if groups().any(|known| known == group) && group != "networking.k8s.io" && group != "batch" {
        let in_group = KINDS.iter().filter(|(known, ..)| *known == group).map(|row| row.2);
        let help = elsewhere(kind)
            .or_else(|| nearest(kind, in_group).map(|name| format!("did you mean \"{name}\"?")));
        let place = if group.is_empty() { "the core group".to_owned() } else { group.to_owned() };
        let message = format!("there is no kind \"{}\" in {place}", excerpt(kind));
        return Err(error(node, "kind", "unknown-kind", message, help));
    }
    let near_group = nearest(group, groups().filter(|known| !known.is_empty()));
    match near_group {
        Some(near) if row(near, kind).is_some() => {
            let message = format!("there is no API group \"{}\"", excerpt(group));
            let help = elsewhere(kind);
            Err(error(node, "apiVersion", "unknown-group", message, help))
        }
        _ => Ok(IGNORED),
    }
}

/// The hint for a kind that another group has.
fn elsewhere(kind: &str) -> Option<String> {
    let (group, versions, ..) = KINDS.iter().find(|(_, _, name, _)| *name == kind)?;
    Some(format!("{kind} is in {}", api_version_of(group, versions)))
}

fn word<'a>(node: &'a Node, name: &'static str) -> Result<&'a str, Problem> {
    match node.get(name) {
        Some(value) => match value.as_str() {
            Some(text) if !text.is_empty() => Ok(text),
            _ => {
                let message = format!("expected text, found {}", value.describe());
                Err(error(node, name, "invalid-value", message, None))
            }
        },
        None => {
            let message = format!("{name} is missing");
            let help = "every object begins with apiVersion and kind".to_owned();
            Err(Problem::error(node.position, "missing-field", None, message).with_help(Some(help)))
        }
    }
}

fn error(
    node: &Node,
    field: &'static str,
    code: &'static str,
    message: String,
    help: Option<String>,
) -> Problem {
    let position = node.position_of(&Path::Root.field(field));
    Problem::error(position, code, Some(field.to_owned()), message).with_help(help)
}

/// `Sidecar shop/default: ` for an object that is not read further.
pub(crate) fn title(node: &Node) -> String {
    let text = |path: &Path<'_>| node.find(path).and_then(Node::as_str).map(excerpt);
    let meta = Path::Root.field("metadata");
    let kind = text(&Path::Root.field("kind")).unwrap_or_default();
    let name = text(&meta.field("name")).unwrap_or_default();
    match text(&meta.field("namespace")) {
        Some(namespace) => format!("{kind} {namespace}/{name}: "),
        None => format!("{kind} {name}: "),
    }
}
