//! HTTP: the codec of a connection, the filters of a request, the router, and the way back.

mod body;
mod codec;
mod cors;
mod edge;
mod exchange;
mod filters;
mod headers;
mod local_reply;
mod manager;
mod mirror;
mod mutation;
mod request;
mod response;
mod router;
mod upgrade;

pub(crate) use body::RequestBody;
pub(crate) use codec::{LocalExecutor, serve};
pub(crate) use manager::Manager;
