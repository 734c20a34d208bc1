//! The proxy as the agent sees it, whichever it is: is it ready, how busy is it, drain.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::envoy::Admin;

/// A handle on the running proxy.
#[derive(Clone)]
pub(crate) struct Steering {
    target: Target,
    configured: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Target {
    Mizzen(proxy::Handle),
    Envoy(Admin),
}

impl Steering {
    pub(crate) fn mizzen(handle: proxy::Handle) -> Self {
        Self::new(Target::Mizzen(handle))
    }

    pub(crate) fn envoy(admin: Admin) -> Self {
        Self::new(Target::Envoy(admin))
    }

    fn new(target: Target) -> Self {
        Self { target, configured: Arc::default(), draining: Arc::default() }
    }

    /// Whether traffic may come: clusters and listeners have arrived once, the server is live, and
    /// nobody asked for a drain. Otherwise why not.
    pub(crate) async fn readiness(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining");
        }
        match &self.target {
            Target::Mizzen(handle) if handle.is_ready() => Ok(()),
            Target::Mizzen(_) => Err("the proxy has no clusters and listeners yet"),
            Target::Envoy(admin) => {
                if !self.configured.load(Ordering::Relaxed) {
                    if !admin.is_configured().await {
                        return Err("Envoy has no clusters and listeners yet");
                    }
                    self.configured.store(true, Ordering::Relaxed);
                }
                if admin.is_live().await { Ok(()) } else { Err("Envoy is not live") }
            }
        }
    }

    /// Asks clients to go away; a sidecar's application may still call out.
    pub(crate) async fn drain(&self, inbound_only: bool) {
        self.draining.store(true, Ordering::Relaxed);
        match &self.target {
            Target::Mizzen(handle) if inbound_only => handle.drain_inbound(),
            Target::Mizzen(handle) => handle.drain(),
            Target::Envoy(admin) => admin.drain(inbound_only).await,
        }
    }

    /// Open connections of clients, if the proxy says.
    pub(crate) async fn active_connections(&self) -> Option<u64> {
        match &self.target {
            Target::Mizzen(handle) => Some(handle.active_connections()),
            Target::Envoy(admin) => admin.active_connections().await,
        }
    }
}
