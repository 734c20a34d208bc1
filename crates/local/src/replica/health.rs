//! A container's three probes over time: has it started, may it get calls, must it be restarted.

use std::time::Duration;

use config::k8s::{Container, Probe, Transport};
use tokio::sync::watch;

use super::Replica;
use super::probe::{accepts, ask};

/// How often a container that has not started, or is not ready, is asked. The kubelet waits a whole
/// period; on one machine a developer waits for the answer.
const IMPATIENT: Duration = Duration::from_millis(100);

/// A probe's numbers, with Kubernetes' defaults.
struct Schedule<'a> {
    probe: &'a Probe,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    needed: u32,
    allowed: u32,
}

impl<'a> From<&'a Probe> for Schedule<'a> {
    fn from(probe: &'a Probe) -> Self {
        let seconds = |value: Option<u32>, default: u32| {
            Duration::from_secs(value.filter(|value| *value > 0).unwrap_or(default).into())
        };
        Self {
            probe,
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            needed: probe.success_threshold.unwrap_or(1).max(1),
            allowed: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }
}

/// Tells whether the container is ready, from each of its starts on, and when it must be ended to
/// be started again. Never ends.
pub(super) async fn follow(
    replica: &Replica,
    container: &Container,
    mut running: watch::Receiver<bool>,
    set_ready: impl Fn(bool),
    restart: impl Fn(&str),
) {
    loop {
        if running.wait_for(|running| *running).await.is_err() {
            return std::future::pending().await;
        }
        let one_run = async {
            if !started(replica, container).await {
                restart("startup probe failed");
                return std::future::pending().await;
            }
            tokio::join!(
                readiness(replica, container, &set_ready),
                liveness(replica, container, &restart)
            );
        };
        tokio::select! {
            () = one_run => {}
            _ = running.changed() => set_ready(false),
        }
    }
}

/// Waits for the startup probe to pass; false when it failed as often as it may.
async fn started(replica: &Replica, container: &Container) -> bool {
    let Some(probe) = &container.startup_probe else { return true };
    let schedule = Schedule::from(probe);
    tokio::time::sleep(schedule.delay).await;
    let limit = tokio::time::Instant::now() + schedule.period * schedule.allowed;
    while !ask(replica, container, probe, schedule.timeout).await {
        if tokio::time::Instant::now() >= limit {
            return false;
        }
        tokio::time::sleep(IMPATIENT.min(schedule.period)).await;
    }
    true
}

/// Follows the readiness of one run of the container. Never ends.
async fn readiness(replica: &Replica, container: &Container, set_ready: &impl Fn(bool)) {
    let Some(probe) = &container.readiness_probe else {
        wait_for_port(replica, container).await;
        set_ready(true);
        return std::future::pending().await;
    };
    let schedule = Schedule::from(probe);
    tokio::time::sleep(schedule.delay).await;
    let (mut ready, mut successes, mut failures) = (false, 0, 0);
    loop {
        let passed = ask(replica, container, schedule.probe, schedule.timeout).await;
        (successes, failures) = if passed { (successes + 1, 0) } else { (0, failures + 1) };
        if passed && successes >= schedule.needed {
            ready = true;
        } else if failures >= schedule.allowed {
            ready = false;
        }
        set_ready(ready);
        let pause = if ready { schedule.period } else { IMPATIENT.min(schedule.period) };
        tokio::time::sleep(pause).await;
    }
}

/// Without a probe a container is ready once its first TCP port accepts: nobody is better served by
/// refused connections.
async fn wait_for_port(replica: &Replica, container: &Container) {
    let tcp = container.ports.iter().find(|port| port.protocol == Transport::Tcp);
    let Some(port) = tcp else { return };
    while !accepts(replica, port.container_port).await {
        tokio::time::sleep(IMPATIENT).await;
    }
}

/// Asks for a restart when the container stopped to live. Never ends.
async fn liveness(replica: &Replica, container: &Container, restart: &impl Fn(&str)) {
    let Some(probe) = &container.liveness_probe else { return std::future::pending().await };
    let schedule = Schedule::from(probe);
    tokio::time::sleep(schedule.delay).await;
    let mut failures = 0;
    loop {
        tokio::time::sleep(schedule.period).await;
        let passed = ask(replica, container, schedule.probe, schedule.timeout).await;
        failures = if passed { 0 } else { failures + 1 };
        if failures >= schedule.allowed {
            restart("liveness probe failed");
            return std::future::pending().await;
        }
    }
}
