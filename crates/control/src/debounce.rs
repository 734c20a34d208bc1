//! Waiting for quiet: changes that come close together are taken together.
//!
//! Istio's rule (`PILOT_DEBOUNCE_AFTER`, `PILOT_DEBOUNCE_MAX`): act when nothing more came for a
//! while, or when the first change has waited long enough.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

/// How long changes are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Debounce {
    /// Act when nothing came for this long.
    pub quiet: Duration,
    /// Act at the latest this long after the first change.
    pub cap: Duration,
}

impl Default for Debounce {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(100), cap: Duration::from_secs(10) }
    }
}

impl Debounce {
    /// Waits for a first change and for the quiet after it. Answers when the first change came,
    /// or `None` when there will be no more.
    pub(crate) async fn wait(&self, changes: &mut Receiver<()>) -> Option<Instant> {
        changes.recv().await?;
        let first = Instant::now();
        let latest = first + self.cap;
        loop {
            let deadline = (Instant::now() + self.quiet).min(latest);
            match timeout_at(deadline, changes.recv()).await {
                Ok(Some(())) if Instant::now() < latest => {}
                Ok(_) | Err(_) => return Some(first),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn acts_after_quiet() {
        let (send, mut receive) = mpsc::channel(8);
        send.send(()).await.unwrap();
        let start = Instant::now();
        tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                send.send(()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        });
        let first = Debounce::default().wait(&mut receive).await.unwrap();
        assert_eq!(first, start);
        assert_eq!(start.elapsed(), Duration::from_millis(350));
    }

    #[tokio::test(start_paused = true)]
    async fn never_waits_longer_than_the_cap() {
        let (send, mut receive) = mpsc::channel(8);
        let start = Instant::now();
        tokio::spawn(async move {
            loop {
                send.send(()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        Debounce::default().wait(&mut receive).await.unwrap();
        let waited = start.elapsed();
        assert!(waited >= Duration::from_secs(10) && waited < Duration::from_millis(10_050));
    }

    #[tokio::test]
    async fn ends_with_its_source() {
        let (send, mut receive) = mpsc::channel::<()>(1);
        drop(send);
        assert!(Debounce::default().wait(&mut receive).await.is_none());
    }
}
