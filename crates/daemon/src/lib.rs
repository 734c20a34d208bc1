//! What every long-running role needs: signals, drain, readiness, logging, listening sockets, a
//! metrics page and admin HTTP.
//!
//! Nothing here knows what a role does. There is no global state but the logger and the signal
//! handlers.

pub mod http_client;
mod listen;
mod log;
mod metrics;
mod ready;
mod serve;
mod shutdown;

pub use listen::{TcpOptions, bind_tcp, bind_unix};
pub use log::{LogFormat, LogOptions, init_logging};
pub use metrics::{metrics_router, metrics_text};
pub use ready::{Gate, Readiness, ready_router};
pub use serve::{Listener, serve};
pub use shutdown::{Drain, on_signals};
