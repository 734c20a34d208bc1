//! What is doubtful about the objects taken together: references that lead nowhere, selectors
//! that select nothing, rules that cannot work. Findings refuse no file: an object may be on its
//! way. The ideas are those of `istioctl analyze`.

mod entries;
mod gateways;
mod mtls;
mod policies;
mod routes;
mod services;
mod sidecars;
#[cfg(test)]
mod tests;
mod world;

use std::sync::Arc;

use crate::{
    Diagnostic, Object, Severity, Spec,
    report::MAX_PROBLEMS,
    yaml::{Path, excerpt, nearest},
};
use world::World;

/// Findings across `objects`, in no particular order.
pub fn analyze<'a>(objects: impl IntoIterator<Item = &'a Arc<Object>>) -> Vec<Diagnostic> {
    let objects: Vec<&Arc<Object>> = objects.into_iter().collect();
    let world = World::new(&objects);
    let mut findings = Findings::default();
    for object in &objects {
        findings.begin_object();
        match &object.spec {
            Spec::VirtualService(vs) => routes::check(object, vs, &world, &mut findings),
            Spec::DestinationRule(rule) => {
                services::destination_rule(object, rule, &world, &mut findings);
                mtls::check(object, rule, &world, &mut findings);
            }
            Spec::Gateway(gateway) => gateways::check(object, gateway, &world, &mut findings),
            Spec::Service(service) => services::service(object, service, &world, &mut findings),
            Spec::Deployment(deployment) => {
                services::deployment(object, deployment, &world, &mut findings);
            }
            Spec::PeerAuthentication(pa) => policies::peer(object, pa, &world, &mut findings),
            Spec::AuthorizationPolicy(ap) => {
                policies::authorization(object, ap, &world, &mut findings);
            }
            Spec::ServiceEntry(entry) => {
                entries::service_entry(object, entry, &world, &mut findings);
            }
            Spec::WorkloadEntry(entry) => {
                entries::workload_entry(object, entry, &world, &mut findings);
            }
            Spec::Sidecar(sidecar) => sidecars::check(object, sidecar, &world, &mut findings),
            _ => {}
        }
    }
    findings.begin_object();
    routes::shared_hosts(&objects, &mut findings);
    findings.begin_object();
    policies::several_for_one_scope(&objects, &mut findings);
    findings.begin_object();
    entries::shared_hosts(&objects, &mut findings);
    findings.begin_object();
    sidecars::several_for_one_scope(&objects, &mut findings);
    findings.list
}

/// An object and the path in it.
type Place<'a> = (&'a Object, &'a Path<'a>);

#[derive(Default)]
struct Findings {
    list: Vec<Diagnostic>,
    /// Where the present object's begin.
    begin: usize,
}

impl Findings {
    fn begin_object(&mut self) {
        self.begin = self.list.len();
    }

    /// Whether enough was said about the present object.
    fn is_full(&self) -> bool {
        self.list.len() - self.begin >= MAX_PROBLEMS
    }

    fn error(&mut self, at: Place<'_>, code: &'static str, message: String, help: Option<String>) {
        self.add(Severity::Error, at, code, (message, help));
    }

    fn warning(
        &mut self,
        at: Place<'_>,
        code: &'static str,
        message: String,
        help: Option<String>,
    ) {
        self.add(Severity::Warning, at, code, (message, help));
    }

    fn add(
        &mut self,
        severity: Severity,
        (object, path): Place<'_>,
        code: &'static str,
        (message, help): (String, Option<String>),
    ) {
        if self.is_full() {
            return;
        }
        let position = object.node.position_of(path);
        let field = path.to_string();
        self.list.push(Diagnostic {
            file: Arc::clone(&object.origin.file),
            line: position.line,
            column: position.column,
            severity,
            code,
            object: Some(object.key()),
            field: (!field.is_empty()).then_some(field),
            message,
            help,
        });
    }
}

fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|name| format!("did you mean \"{}\"?", excerpt(name)))
}
