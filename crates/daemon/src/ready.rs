//! Readiness: named conditions that all must hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;

/// The conditions under which a process says that it is ready. Clones share the conditions.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<BTreeMap<String, bool>>>,
}

/// One condition of a [`Readiness`].
#[derive(Clone, Debug)]
pub struct Gate {
    name: String,
    readiness: Readiness,
}

impl Readiness {
    /// With no condition it is ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that does not hold yet.
    pub fn gate(&self, name: impl Into<String>) -> Gate {
        let name = name.into();
        self.set(&name, false);
        Gate { name, readiness: self.clone() }
    }

    /// Whether all conditions hold.
    pub fn is_ready(&self) -> bool {
        self.pending().is_empty()
    }

    /// The names of the conditions that do not hold, sorted.
    pub fn pending(&self) -> Vec<String> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().filter(|(_, open)| !**open).map(|(name, _)| name.clone()).collect()
    }

    fn set(&self, name: &str, open: bool) {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.insert(name.to_owned(), open);
    }
}

impl Gate {
    /// Says that the condition holds.
    pub fn open(&self) {
        self.readiness.set(&self.name, true);
    }

    /// Says that the condition holds no more.
    pub fn close(&self) {
        self.readiness.set(&self.name, false);
    }
}

/// Serves `GET path`: 200 when ready, else 503 with the names of what is missing.
pub fn ready_router(path: &str, readiness: Readiness) -> Router {
    Router::new().route(path, get(answer)).with_state(readiness)
}

async fn answer(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let pending = readiness.pending();
    if pending.is_empty() {
        return (StatusCode::OK, "ready\n".into());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", pending.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_gates_must_be_open() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let config = readiness.gate("config");
        let listeners = readiness.gate("listeners");
        config.open();
        assert_eq!(readiness.pending(), ["listeners"]);
        listeners.open();
        assert!(readiness.is_ready());
        config.close();
        assert!(!readiness.is_ready());
    }
}
