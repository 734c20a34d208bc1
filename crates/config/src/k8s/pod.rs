//! Pod, and the parts it shares with a Deployment's template: containers, environment, probes.

use serde::Deserialize;

use crate::value::{Accepted, IntOrString, Unsupported};

/// `v1` Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// What it is.
    pub spec: PodSpec,
    /// How it is.
    pub status: PodStatus,
}

/// A pod's state, as kubelet (or the local runtime) reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Its address; empty before it has one.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Conditions, such as `Ready`.
    pub conditions: Vec<PodCondition>,
    /// Not used.
    #[serde(rename = "podIPs")]
    pub pod_ips: Accepted,
    /// Not used.
    #[serde(rename = "hostIP")]
    pub host_ip: Accepted,
    /// Not used.
    #[serde(rename = "hostIPs")]
    pub host_ips: Accepted,
    /// Not used.
    pub start_time: Accepted,
    /// Not used.
    pub container_statuses: Accepted,
    /// Not used.
    pub init_container_statuses: Accepted,
    /// Not used.
    pub ephemeral_container_statuses: Accepted,
    /// Not used.
    pub qos_class: Accepted,
    /// Not used.
    pub message: Accepted,
    /// Not used.
    pub reason: Accepted,
    /// Not used.
    pub observed_generation: Accepted,
    /// Not used.
    pub nominated_node_name: Accepted,
    /// Not used.
    pub resize: Accepted,
    /// Not used.
    pub resource_claim_statuses: Accepted,
}

impl PodStatus {
    /// Whether the condition `Ready` holds.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions.iter().any(|c| c.condition_type == "Ready" && c.status == "True")
    }
}

/// A condition of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodCondition {
    /// Such as `Ready`.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Not used.
    pub reason: Accepted,
    /// Not used.
    pub message: Accepted,
    /// Not used.
    pub last_probe_time: Accepted,
    /// Not used.
    pub last_transition_time: Accepted,
    /// Not used.
    pub observed_generation: Accepted,
}

/// A pod's containers and identity. What the one-machine runtime cannot do is reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// The service account; empty: `default` (see [`Self::service_account`]).
    pub service_account_name: String,
    /// The processes.
    pub containers: Vec<Container>,
    /// The node it runs on.
    pub node_name: String,
    /// Its host name; empty: its name.
    pub hostname: String,
    /// Seconds from SIGTERM to SIGKILL; absent: 30.
    pub termination_grace_period_seconds: Option<u32>,
    /// Not used.
    pub volumes: Option<Unsupported>,
    /// Not used.
    pub init_containers: Option<Unsupported>,
    /// Not used.
    pub ephemeral_containers: Option<Unsupported>,
    /// Not used.
    pub security_context: Option<Unsupported>,
    /// Not used.
    pub host_network: Option<Unsupported>,
    /// Not used.
    #[serde(rename = "hostPID")]
    pub host_pid: Option<Unsupported>,
    /// Not used.
    #[serde(rename = "hostIPC")]
    pub host_ipc: Option<Unsupported>,
    /// Not used.
    pub host_users: Option<Unsupported>,
    /// Not used.
    pub host_aliases: Option<Unsupported>,
    /// Not used.
    pub dns_config: Option<Unsupported>,
    /// Not used.
    pub dns_policy: Accepted,
    /// Not used.
    pub subdomain: Option<Unsupported>,
    /// Not used.
    pub share_process_namespace: Option<Unsupported>,
    /// Not used: the older name of `service_account_name`.
    #[serde(rename = "serviceAccount")]
    pub deprecated_service_account: Accepted,
    /// Processes are always restarted.
    pub restart_policy: Accepted,
    /// Not used.
    pub image_pull_secrets: Accepted,
    /// Not used.
    pub automount_service_account_token: Accepted,
    /// Not used.
    pub enable_service_links: Accepted,
    /// Scheduling: there is one machine.
    pub node_selector: Accepted,
    /// Scheduling.
    pub affinity: Accepted,
    /// Scheduling.
    pub tolerations: Accepted,
    /// Scheduling.
    pub topology_spread_constraints: Accepted,
    /// Scheduling.
    pub priority_class_name: Accepted,
    /// Scheduling.
    pub priority: Accepted,
    /// Scheduling.
    pub preemption_policy: Accepted,
    /// Scheduling.
    pub scheduler_name: Accepted,
    /// Scheduling.
    pub scheduling_gates: Accepted,
    /// Not used.
    pub runtime_class_name: Accepted,
    /// Not used.
    pub active_deadline_seconds: Option<Unsupported>,
    /// Not used.
    pub readiness_gates: Option<Unsupported>,
    /// Not used.
    pub os: Accepted,
    /// Not used.
    pub overhead: Accepted,
    /// Not used.
    pub resources: Accepted,
    /// Not used.
    pub resource_claims: Option<Unsupported>,
    /// Not used.
    pub hostname_override: Option<Unsupported>,
    /// Not used.
    #[serde(rename = "setHostnameAsFQDN")]
    pub set_hostname_as_fqdn: Option<Unsupported>,
}

impl PodSpec {
    /// The name of the service account whose identity the pod has.
    #[must_use]
    pub fn service_account(&self) -> &str {
        if self.service_account_name.is_empty() { "default" } else { &self.service_account_name }
    }
}

/// One process of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image; the one-machine runtime runs `command` instead.
    pub image: String,
    /// The program and its first arguments.
    pub command: Vec<String>,
    /// More arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<EnvVar>,
    /// The ports it listens on.
    pub ports: Vec<ContainerPort>,
    /// Where it starts.
    pub working_dir: String,
    /// May it get calls?
    pub readiness_probe: Option<Probe>,
    /// Must it be restarted?
    pub liveness_probe: Option<Probe>,
    /// Has it started?
    pub startup_probe: Option<Probe>,
    /// Not used.
    pub resources: Accepted,
    /// Not used.
    pub resize_policy: Accepted,
    /// Not used.
    pub image_pull_policy: Accepted,
    /// Not used.
    pub env_from: Option<Unsupported>,
    /// Not used.
    pub volume_mounts: Option<Unsupported>,
    /// Not used.
    pub volume_devices: Option<Unsupported>,
    /// Not used.
    pub lifecycle: Option<Unsupported>,
    /// Not used.
    pub security_context: Option<Unsupported>,
    /// Not used.
    pub restart_policy: Option<Unsupported>,
    /// Not used.
    pub restart_policy_rules: Option<Unsupported>,
    /// Not used.
    pub stdin: Accepted,
    /// Not used.
    pub stdin_once: Accepted,
    /// Not used.
    pub tty: Accepted,
    /// Not used.
    pub termination_message_path: Accepted,
    /// Not used.
    pub termination_message_policy: Accepted,
}

/// An environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// A value from elsewhere.
    pub value_from: Option<EnvVarSource>,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVarSource {
    /// A field of the pod.
    pub field_ref: Option<FieldRef>,
    /// Not used.
    pub config_map_key_ref: Option<Unsupported>,
    /// Not used.
    pub secret_key_ref: Option<Unsupported>,
    /// Not used.
    pub resource_field_ref: Option<Unsupported>,
    /// Not used.
    pub file_key_ref: Option<Unsupported>,
}

/// A field of the pod: `metadata.name`, `metadata.namespace`, `metadata.uid`,
/// `metadata.labels['k']`, `metadata.annotations['k']`, `spec.serviceAccountName`,
/// `spec.nodeName`, `status.podIP` or `status.hostIP`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    /// The field.
    pub field_path: String,
    /// Not used.
    pub api_version: Accepted,
}

/// A port a container listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// A name that Services may use as target.
    pub name: String,
    /// The number.
    pub container_port: u16,
    /// The transport.
    pub protocol: super::service::Transport,
    /// Not used.
    pub host_port: Option<Unsupported>,
    /// Not used.
    #[serde(rename = "hostIP")]
    pub host_ip: Option<Unsupported>,
}

/// A health probe: exactly one of the actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// An HTTP GET that must answer 2xx or 3xx.
    pub http_get: Option<HttpGetAction>,
    /// A connection that must be accepted.
    pub tcp_socket: Option<TcpSocketAction>,
    /// A command that must exit with 0.
    pub exec: Option<ExecAction>,
    /// A gRPC health check.
    pub grpc: Option<GrpcAction>,
    /// Absent: 0.
    pub initial_delay_seconds: Option<u32>,
    /// Absent: 10.
    pub period_seconds: Option<u32>,
    /// Absent: 1.
    pub timeout_seconds: Option<u32>,
    /// Absent: 1.
    pub success_threshold: Option<u32>,
    /// Absent: 3.
    pub failure_threshold: Option<u32>,
    /// Not used.
    pub termination_grace_period_seconds: Accepted,
}

/// An HTTP probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpGetAction {
    /// Empty: `/`.
    pub path: String,
    /// A number or a container port's name.
    pub port: Option<IntOrString>,
    /// Empty: the pod's address.
    pub host: String,
    /// `HTTP` (when empty) or `HTTPS`.
    pub scheme: String,
    /// Headers to send.
    pub http_headers: Vec<HttpHeader>,
}

/// A header of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A TCP probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSocketAction {
    /// A number or a container port's name.
    pub port: Option<IntOrString>,
    /// Empty: the pod's address.
    pub host: String,
}

/// A command as a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecAction {
    /// The command.
    pub command: Vec<String>,
}

/// A gRPC probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcAction {
    /// The port.
    pub port: u16,
    /// The service asked about.
    pub service: String,
}
