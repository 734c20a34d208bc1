//! The Kubernetes objects that a mesh is made of.

mod config_map;
mod deployment;
mod endpoint_slice;
mod pod;
mod service;

pub(crate) use config_map::decode_base64;
pub use config_map::{ConfigMap, Namespace, Secret, ServiceAccount};
pub use deployment::{Deployment, DeploymentSelector, PodTemplate, TemplateMeta};
pub use endpoint_slice::{
    AddressType, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, ObjectReference,
};
pub use pod::{
    Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, FieldRef, GrpcAction,
    HttpGetAction, HttpHeader, Pod, PodCondition, PodSpec, PodStatus, Probe, TcpSocketAction,
};
pub use service::{Service, ServicePort, ServiceType, Transport};
