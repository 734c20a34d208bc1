//! The workload's identity: what is shown to peers and what peers are checked against, where it
//! comes from, and when it is renewed.

mod ca;
mod rotation;

use std::sync::Arc;

use pki::CertifiedIdentity;
use tokio::sync::watch;

pub(crate) use self::{
    ca::CaClient,
    rotation::{Clock, Rotation},
};

/// One generation of the workload's certificate with the roots that came with it.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    pub(crate) identity: CertifiedIdentity,
    /// The roots of the mesh in PEM.
    pub(crate) roots: String,
}

/// The current material; none until the CA has answered once.
pub(crate) type MaterialReceiver = watch::Receiver<Option<Arc<Material>>>;
