//! Looks at the first bytes of a connection: is it TLS and for whom, is it HTTP and which. Pure:
//! bytes in, findings out. Fragments of any size give the same findings as the whole.

mod client_hello;
mod http;

#[cfg(test)]
use client_hello::ClientHello;
pub(crate) use client_hello::{HelloParse, parse_client_hello};
pub(crate) use http::{HttpParse, HttpVersion, parse_http};

#[cfg(test)]
mod tests;
