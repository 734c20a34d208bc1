//! AuthorizationPolicies: what a tiny evaluator of the YAML says is what the filters do, and the
//! ways in which policies have been got around before.

use std::sync::Arc;

use config::{
    AuthorizationPolicy, Spec,
    security::{AuthorizationAction, Operation, Rule, Source},
};
use proptest::prelude::*;

use crate::mesh::{Call, Mesh};

/// A server with a policy, a caller `client` in the same namespace, `foreign` in another one, and
/// `plain` without a sidecar.
fn mesh(policies: &str) -> Mesh {
    let pod = |name: &str, namespace: &str, account: &str, inject: &str| {
        format!(
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec:\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    \
             metadata: {{labels: {{app: {name}, sidecar.istio.io/inject: \"{inject}\"}}}}\n    \
             spec: {{serviceAccountName: {account}, containers: [{{name: app, image: none}}]}}\n"
        )
    };
    let service = |name: &str, namespace: &str, port: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nspec: {{selector: {{app: server}}, ports: [{port}]}}\n"
        )
    };
    let text = [
        pod("server", "shop", "server", "true"),
        pod("client", "shop", "client.a", "true"),
        pod("foreign", "other", "client.a", "true"),
        pod("plain", "shop", "client.a", "false"),
        service("server", "shop", "{name: http, port: 80, targetPort: 8080}"),
        service("bytes", "shop", "{name: tcp, port: 7000, targetPort: 7000}"),
        policies.to_owned(),
    ];
    Mesh::new(&text.concat())
}

fn policy(action: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, \
         namespace: shop}}\nspec: {{selector: {{matchLabels: {{app: server}}}}, action: {action}, \
         rules: {rules}}}\n"
    )
}

/// Whether `from` may get `path` on the server, past one policy.
fn passes(action: &str, rules: &str, from: &str, call: &Call) -> bool {
    let mesh = mesh(&policy(action, rules));
    let call = if from == "plain" {
        // Without a name server of its own it calls the pod.
        let ip = mesh.pods["server"].ip;
        Call { url: call.url.replace("server.shop:80", &format!("{ip}:8080")), ..call.clone() }
    } else {
        call.clone()
    };
    mesh.call(from, &call).status == 200
}

fn get(path: &str) -> Call {
    Call::get(&format!("http://server.shop:80{path}"))
}

#[test]
fn a_plaintext_peer_is_not_let_in_by_what_it_is_not() {
    for list in ["notPrincipals", "notNamespaces"] {
        for value in ["other", "*"] {
            let rules = format!("[{{from: [{{source: {{{list}: [\"{value}\"]}}}}]}}]");
            assert!(!passes("ALLOW", &rules, "plain", &get("/")), "{list} {value}");
        }
        let rules = format!("[{{from: [{{source: {{{list}: [\"other\"]}}}}]}}]");
        assert!(passes("ALLOW", &rules, "client", &get("/")), "{list}");
        // Denying whoever is not known does deny whoever has no name at all.
        assert!(!passes("DENY", &rules, "plain", &get("/")), "{list}");
    }
}

#[test]
fn literals_are_not_expressions() {
    let rules = "[{from: [{source: {principals: [\"cluster.local/ns/shop/sa/client.a\"]}}]}]";
    assert!(passes("ALLOW", rules, "client", &get("/")));
    for list in ["serviceAccounts: [\"shop/client-a\"]", "serviceAccounts: [\"shop/cl.ent.a\"]"] {
        let rules = format!("[{{from: [{{source: {{{list}}}}}]}}]");
        assert!(!passes("ALLOW", &rules, "client", &get("/")), "{list}");
    }
    let rules = "[{from: [{source: {namespaces: [\"sh.p\"]}}]}]";
    assert!(!passes("ALLOW", rules, "client", &get("/")));
    let rules = "[{to: [{operation: {paths: [\"/a.b/{*}\"]}}]}]";
    assert!(passes("ALLOW", rules, "client", &get("/a.b/c")));
    assert!(!passes("ALLOW", rules, "client", &get("/axb/c")));
    assert!(!passes("ALLOW", rules, "client", &get("/a.b/c/d")));
}

#[test]
fn a_port_or_a_dot_does_not_get_a_host_past_a_policy() {
    let rules = "[{to: [{operation: {hosts: [\"Server.shop\"]}}]}]";
    for url in ["http://server.shop:80/", "http://SERVER.SHOP:80/"] {
        assert!(!passes("DENY", rules, "client", &Call::get(url)), "{url}");
    }
    let rules = "[{to: [{operation: {hosts: [\"*.shop\"]}}]}]";
    assert!(!passes("DENY", rules, "client", &get("/")));
    let rules = "[{to: [{operation: {hosts: [\"other.shop\"]}}]}]";
    assert!(passes("DENY", rules, "client", &get("/")));
}

#[test]
fn each_value_of_a_header_counts() {
    let rules = "[{when: [{key: \"request.headers[x-role]\", values: [\"admin\"]}]}]";
    let call = get("/").header("x-role", "user").header("x-role", "admin");
    assert!(!passes("DENY", rules, "client", &call));
    assert!(passes("DENY", rules, "client", &get("/").header("x-role", "user")));
}

#[test]
fn what_is_not_supported_is_closed() {
    let token = "[{from: [{source: {requestPrincipals: [\"*\"]}}]}]";
    assert!(!passes("ALLOW", token, "client", &get("/")));
    assert!(!passes("DENY", token, "client", &get("/")));
    let claim = "[{when: [{key: \"request.auth.claims[group]\", values: [\"a\"]}]}]";
    assert!(!passes("ALLOW", claim, "client", &get("/")));
    assert!(!passes("DENY", claim, "client", &get("/")));
    let no_token = "[{from: [{source: {notRequestPrincipals: [\"*\"]}}]}]";
    assert!(!passes("ALLOW", no_token, "client", &get("/")));
}

#[test]
fn on_bytes_an_http_rule_allows_nothing_and_denies_more() {
    let call = Call::get("http://bytes.shop:7000/");
    let http = "[{to: [{operation: {methods: [\"GET\"]}}]}]";
    assert!(!passes("ALLOW", http, "client", &call));
    assert!(!passes("DENY", http, "client", &call));
    let port = "[{to: [{operation: {ports: [\"7000\"]}}]}]";
    assert!(passes("ALLOW", port, "client", &call));
    assert!(!passes("DENY", port, "client", &call));
    let from = "[{from: [{source: {namespaces: [other]}}]}]";
    assert!(passes("DENY", from, "client", &call));
    assert!(!passes("DENY", from, "foreign", &call));
}

#[test]
fn a_policy_is_named_as_istio_names_it() {
    let mesh = mesh(&policy(
        "DENY",
        "[{to: [{operation: {paths: [\"/b\"]}}]}, {to: [{operation: {paths: [\"/a\"]}}]}]",
    ));
    let outcome = mesh.call("client", &get("/a"));
    assert_eq!(outcome.policy.as_deref(), Some("ns[shop]-policy[p]-rule[1]"));
}

#[test]
fn deny_is_asked_before_allow_and_the_root_namespace_holds_everywhere() {
    let root = "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: \
                root, namespace: istio-system}\nspec: {action: DENY, rules: [{from: [{source: \
                {namespaces: [other]}}]}]}\n";
    let mesh = mesh(&(policy("ALLOW", "[{}]") + root));
    assert_eq!(mesh.call("client", &get("/")).status, 200);
    assert_eq!(mesh.call("foreign", &get("/")).status, 403);
}

#[test]
fn a_dry_run_denies_nothing() {
    let text = policy("DENY", "[{}]").replace(
        "namespace: shop}\nspec",
        "namespace: shop, annotations: {istio.io/dry-run: \"true\"}}\nspec",
    );
    assert_eq!(mesh(&text).call("client", &get("/")).status, 200);
}

#[test]
fn trust_domain_aliases_are_the_same_identity() {
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: \
                  istio-system}\ndata: {mesh: \"trustDomainAliases: [old.example]\"}\n";
    let rules = "[{from: [{source: {principals: [\"old.example/ns/shop/sa/client.a\"]}}]}]";
    let mesh = mesh(&(policy("ALLOW", rules) + config));
    assert_eq!(mesh.call("client", &get("/")).status, 200);
}

// The evaluator: straight from the documentation, on strings.

fn value_matches(pattern: &str, value: &str) -> bool {
    if pattern == "*" {
        return !value.is_empty();
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        return value.ends_with(suffix);
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => value == pattern,
    }
}

struct Request<'a> {
    /// Namespace and service account of an authenticated caller.
    identity: Option<(&'a str, &'a str)>,
    path: &'a str,
    method: &'a str,
}

/// One attribute: among the values, and not among the others. `value` is none for an identity that
/// the caller does not have.
fn attribute(values: &[String], not: &[String], value: Option<&str>, allow: bool) -> bool {
    let among = |list: &[String]| value.is_some_and(|v| list.iter().any(|p| value_matches(p, v)));
    let anonymous_is_out = allow && value.is_none();
    (values.is_empty() || among(values)) && (not.is_empty() || (!among(not) && !anonymous_is_out))
}

fn source_matches(source: &Source, request: &Request<'_>, allow: bool) -> bool {
    let principal = request.identity.map(|(ns, sa)| format!("cluster.local/ns/{ns}/sa/{sa}"));
    let namespace = request.identity.map(|(ns, _)| ns);
    attribute(&source.principals, &source.not_principals, principal.as_deref(), allow)
        && attribute(&source.namespaces, &source.not_namespaces, namespace, allow)
}

fn operation_matches(operation: &Operation, request: &Request<'_>) -> bool {
    let o = operation;
    attribute(&o.methods, &o.not_methods, Some(request.method), false)
        && attribute(&o.paths, &o.not_paths, Some(request.path), false)
        && attribute(&o.ports, &o.not_ports, Some("8080"), false)
}

fn rule_matches(rule: &Rule, request: &Request<'_>, allow: bool) -> bool {
    let from = |from: &config::security::From| source_matches(&from.source, request, allow);
    let to = |to: &config::security::To| operation_matches(&to.operation, request);
    (rule.from.is_empty() || rule.from.iter().any(from))
        && (rule.to.is_empty() || rule.to.iter().any(to))
}

fn allowed(policies: &[AuthorizationPolicy], request: &Request<'_>) -> bool {
    let of = |action| policies.iter().filter(move |policy| policy.action == action);
    let matches = |policy: &AuthorizationPolicy, allow| {
        policy.rules.iter().any(|rule| rule_matches(rule, request, allow))
    };
    if of(AuthorizationAction::Deny).any(|policy| matches(policy, false)) {
        return false;
    }
    let mut allowing = of(AuthorizationAction::Allow).peekable();
    allowing.peek().is_none() || allowing.any(|policy| matches(policy, true))
}

/// A field with a short list of values, or nothing.
fn list(name: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = String> {
    let list = proptest::sample::subsequence(values, 1..=2.min(values.len()));
    proptest::option::weighted(0.4, list).prop_map(move |list| match list {
        Some(list) => format!("{name}: {list:?}, "),
        None => String::new(),
    })
}

const PRINCIPALS: &[&str] = &[
    "*",
    "cluster.local/ns/shop/sa/client.a",
    "cluster.local/ns/other/*",
    "*/sa/client.a",
    "cluster.local/ns/shop/sa/client-a",
];
const NAMESPACES: &[&str] = &["shop", "other", "sh.p", "oth*", "*op"];
const PATHS: &[&str] = &["/a", "/a/*", "*.html", "*", "/b.html"];
const METHODS: &[&str] = &["GET", "P*", "*T"];
const PORTS: &[&str] = &["8080", "81"];

fn rules() -> impl Strategy<Value = String> {
    let source = (
        list("principals", PRINCIPALS),
        list("notPrincipals", PRINCIPALS),
        list("namespaces", NAMESPACES),
        list("notNamespaces", NAMESPACES),
    );
    let operation = (
        list("methods", METHODS),
        list("notMethods", METHODS),
        list("paths", PATHS),
        list("notPaths", PATHS),
        list("ports", PORTS),
    );
    let rule = (source, operation).prop_map(|((a, b, c, d), (e, f, g, h, i))| {
        let (from, to) = (a + &b + &c + &d, e + &f + &g + &h + &i);
        let from = if from.is_empty() { from } else { format!("from: [{{source: {{{from}}}}}], ") };
        let to = if to.is_empty() { to } else { format!("to: [{{operation: {{{to}}}}}]") };
        format!("{{{from}{to}}}")
    });
    proptest::collection::vec(rule, 0..3).prop_map(|rules| format!("[{}]", rules.join(", ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_filters_do_what_the_policies_say(
        allow in proptest::option::of(rules()),
        // A DENY policy without rules is refused when it is validated.
        deny in proptest::option::of(rules().prop_filter("rules", |rules| rules != "[]")),
    ) {
        let mut text = String::new();
        text += &allow.map(|rules| policy("ALLOW", &rules)).unwrap_or_default();
        text += &deny.map(|rules| policy("DENY", &rules).replace("name: p", "name: q")).unwrap_or_default();
        let policies: Vec<AuthorizationPolicy> = crate::mesh::parse(&text)
            .iter()
            .filter_map(|object: &Arc<config::Object>| match &object.spec {
                Spec::AuthorizationPolicy(policy) => Some(policy.clone()),
                _ => None,
            })
            .collect();
        let mesh = mesh(&text);
        for (from, identity) in [
            ("client", Some(("shop", "client.a"))),
            ("foreign", Some(("other", "client.a"))),
            ("plain", None),
        ] {
            for (method, path) in [("GET", "/a"), ("POST", "/a/b"), ("PUT", "/b.html")] {
                let wanted = allowed(&policies, &Request { identity, path, method });
                let ip = mesh.pods["server"].ip;
                let host = if identity.is_some() { "server.shop:80".to_owned() } else { format!("{ip}:8080") };
                let call = Call::new(method, &format!("http://{host}{path}"));
                let got = mesh.call(from, &call).status == 200;
                prop_assert_eq!(got, wanted, "{} {} {}\n{}", from, method, path, text);
            }
        }
    }
}
