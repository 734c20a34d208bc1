//! The four services of the bookinfo example: a small application made of programs that call each
//! other over plain HTTP and know nothing of the mesh around them.
//!
//! `productpage` asks `details` and `reviews`; `reviews` (v2, v3) asks `ratings`. The shape follows
//! Istio's Bookinfo sample so that its tutorials can be followed; text and code are our own.

mod client;
mod details;
mod forward;
mod options;
mod page;
mod productpage;
mod ratings;
mod reviews;
mod server;

pub use options::{Options, Service, Upstreams, Version};
pub use server::{Server, run};
