//! The real programs that tests run against, as `cargo xtask test` keeps them in the user's cache.
//!
//! Tests never fetch anything themselves.

use std::env;
use std::path::PathBuf;

/// The place of stock Envoy in the cache. The same as in `xtask/src/peers.rs`.
const ENVOY_IN_CACHE: &str = "envoy/1.40.0/bin/envoy";

/// The stock Envoy to test against: `$MIZZEN_ENVOY`, else the one in the peers' cache, else `None`.
#[must_use]
pub fn envoy() -> Option<PathBuf> {
    if let Some(named) = env::var_os("MIZZEN_ENVOY") {
        return Some(PathBuf::from(named)).filter(|path| path.is_file());
    }
    Some(cache()?.join(ENVOY_IN_CACHE)).filter(|path| path.is_file())
}

/// `$MIZZEN_PEERS`, else `$XDG_CACHE_HOME/mizzen/peers`, else `~/.cache/mizzen/peers`.
fn cache() -> Option<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("MIZZEN_PEERS")
        .or_else(|| named("XDG_CACHE_HOME").map(|dir| dir.join("mizzen/peers")))
        .or_else(|| named("HOME").map(|dir| dir.join(".cache/mizzen/peers")))
}
