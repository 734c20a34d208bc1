//! One configuration object of a known kind.

use std::sync::Arc;

use config::{Diagnostic, Kind, Object, ObjectKey, ObjectMeta, Origin};
use xds::Value;

use crate::diagnostics::warning;

/// A configuration object with its specification taken out of the sum of kinds.
#[derive(Debug)]
pub(crate) struct Item<T> {
    pub(crate) kind: Kind,
    pub(crate) meta: ObjectMeta,
    pub(crate) origin: Origin,
    pub(crate) spec: T,
    /// The whole object, for the places of its fields.
    pub(crate) object: Arc<Object>,
}

impl<T: Clone> Item<T> {
    pub(crate) fn new(object: &Arc<Object>, spec: &T) -> Self {
        Self {
            kind: object.spec.kind(),
            meta: object.meta.clone(),
            origin: object.origin.clone(),
            spec: spec.clone(),
            object: Arc::clone(object),
        }
    }
}

impl<T> Item<T> {
    /// `namespace/name`.
    pub(crate) fn qualified_name(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }

    /// The path that Istio writes into `istio`/`config` of what comes from an object.
    pub(crate) fn config_path(&self) -> Value {
        let group = match self.kind {
            Kind::PeerAuthentication | Kind::AuthorizationPolicy => "security.istio.io",
            _ => "networking.istio.io",
        };
        let (namespace, name) = (&self.meta.namespace, &self.meta.name);
        Value::from(format!(
            "/apis/{group}/v1/namespaces/{namespace}/{}/{name}",
            kebab_case(self.kind.name())
        ))
    }

    /// A warning about this object.
    pub(crate) fn warning(
        &self,
        code: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (namespace, name) = (self.meta.namespace.clone(), self.meta.name.clone());
        let key = ObjectKey::new(self.kind, namespace, name);
        warning(key, &self.origin, code, field.into(), message.into())
    }
}

impl<T> Item<T> {
    /// A warning at a field's own place.
    pub(crate) fn warning_at(
        &self,
        code: &'static str,
        field: &str,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (line, column) = self.object.place(field);
        Diagnostic { line, column, ..self.warning(code, field, message) }
    }
}

fn kebab_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
