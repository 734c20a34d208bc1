//! When a certificate is renewed: at half of its remaining life, give or take a hundredth, and
//! then until it succeeds. The old certificate stays in use meanwhile.
//!
//! Two clocks are looked at, and the first that says so counts. The wall clock goes on while the
//! machine sleeps; the monotonic one goes on when the wall clock is set back.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand::Rng as _;
use tokio::{sync::watch, time::Instant};

use super::{Material, ca::CaError};
use crate::metrics::Metrics;

/// The share of a certificate's life after which it is renewed.
const RATIO: f64 = 0.5;
const JITTER: f64 = 0.01;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// How often the wall clock is looked at while waiting: a machine that slept has missed time that
/// the monotonic clock did not count.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// Who gives out certificates.
pub(crate) trait Issuer: Send + Sync + 'static {
    /// Asks for a new certificate.
    fn issue(&self) -> impl Future<Output = Result<Material, CaError>> + Send;
}

/// The wall clock.
pub(crate) type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Renews one workload's certificate for ever.
pub(crate) struct Rotation<I> {
    pub(crate) issuer: I,
    pub(crate) clock: Clock,
    pub(crate) publish: watch::Sender<Option<Arc<Material>>>,
    pub(crate) metrics: Metrics,
}

impl<I: Issuer> Rotation<I> {
    /// Runs until cancelled by being dropped.
    pub(crate) async fn run(self) {
        let mut expires = None;
        loop {
            let material = self.obtain(expires).await;
            let not_after = material.identity.not_after();
            let remaining = material.identity.remaining((self.clock)());
            tracing::info!(
                lifetime_s = remaining.as_secs(),
                serial = material.identity.leaf().serial,
                "certificate issued"
            );
            self.compare_clocks(&material);
            self.note_expiry(not_after);
            self.publish.send_replace(Some(Arc::new(material)));
            expires = Some(not_after);
            let share = RATIO + rand::rng().random_range(-JITTER..=JITTER);
            let wait = match remaining.is_zero() {
                // Clocks differ: asking again at once would only be a load on the CA.
                true => LAST_RETRY.mul_f64(2.0 * share),
                false => remaining.mul_f64(share).max(FIRST_RETRY),
            };
            self.wait(wait, not_after).await;
        }
    }

    /// Asks until there is an answer. `expires` is the end of the certificate in use.
    async fn obtain(&self, expires: Option<SystemTime>) -> Material {
        let mut pause = FIRST_RETRY;
        loop {
            match self.issuer.issue().await {
                Ok(material) => return material,
                Err(error) => {
                    let left = expires.map(|end| {
                        self.note_expiry(end);
                        end.duration_since((self.clock)()).unwrap_or_default()
                    });
                    tracing::warn!(
                        %error,
                        retry_ms = pause.as_millis(),
                        current_certificate_s = left.map(|left| left.as_secs()),
                        "no new certificate yet"
                    );
                    let jitter = 1.0 + rand::rng().random_range(-0.2..=0.2);
                    tokio::time::sleep(pause.mul_f64(jitter)).await;
                    pause = (pause * 2).min(longest_pause(left));
                }
            }
        }
    }

    async fn wait(&self, wait: Duration, not_after: SystemTime) {
        let (due, deadline) = ((self.clock)() + wait, Instant::now() + wait);
        while let Ok(left) = due.duration_since((self.clock)()) {
            let left = left.min(deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(CLOCK_CHECK)).await;
            self.note_expiry(not_after);
        }
    }

    fn compare_clocks(&self, material: &Material) {
        let (now, leaf) = ((self.clock)(), &material.identity);
        if now < leaf.not_before() || now >= leaf.not_after() {
            tracing::warn!(
                not_before = %rfc3339(leaf.not_before()),
                not_after = %rfc3339(leaf.not_after()),
                now = %rfc3339(now),
                "a certificate that was signed just now is not valid by this machine's clock: \
                 check the clocks of this machine and of the control plane's"
            );
        }
    }

    fn note_expiry(&self, not_after: SystemTime) {
        let now = (self.clock)();
        let seconds = match not_after.duration_since(now) {
            Ok(left) => left.as_secs_f64(),
            Err(past) => -past.duration().as_secs_f64(),
        };
        self.metrics.certificate_expiry.with_label_values(&["default"]).set(seconds);
    }
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|error| error.to_string(), |time| time.to_string())
}

/// The longest pause between two attempts: short enough that several fit in what is left of the
/// certificate in use. With nothing left there is nothing to be in time for.
fn longest_pause(left: Option<Duration>) -> Duration {
    match left {
        None | Some(Duration::ZERO) => LAST_RETRY,
        Some(left) => (left / 8).clamp(FIRST_RETRY * 5, LAST_RETRY),
    }
}

#[cfg(test)]
mod tests;
