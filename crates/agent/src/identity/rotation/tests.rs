//! Rotation in virtual time: the runtime's clock is paused and the wall clock follows it.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use pki::{Ca, SpiffeId};

use super::*;

/// A CA that can be switched off; it notes when it was asked.
struct FakeCa {
    ca: Ca,
    clock: Clock,
    lifetime: Duration,
    down: AtomicBool,
    calls: Mutex<Vec<Instant>>,
}

impl Issuer for Arc<FakeCa> {
    async fn issue(&self) -> Result<Material, CaError> {
        self.calls.lock().expect("not poisoned").push(Instant::now());
        if self.down.load(Ordering::Relaxed) {
            return Err(CaError::ShortChain(0));
        }
        let spiffe = SpiffeId::new("cluster.local", "default", "a").expect("a name");
        let identity =
            self.ca.workload_identity(&spiffe, self.lifetime, (self.clock)()).expect("signed");
        Ok(Material { identity, roots: self.ca.roots().to_pem() })
    }
}

fn virtual_clock() -> Clock {
    let (start, epoch) = (Instant::now(), SystemTime::now());
    Arc::new(move || epoch + start.elapsed())
}

/// A clock that is this many seconds ahead of another one (behind, when negative).
fn shifted(clock: &Clock, seconds: &Arc<AtomicI64>) -> Clock {
    let (clock, seconds) = (Arc::clone(clock), Arc::clone(seconds));
    Arc::new(move || {
        let by = seconds.load(Ordering::Relaxed);
        let distance = Duration::from_secs(by.unsigned_abs());
        if by < 0 { clock() - distance } else { clock() + distance }
    })
}

fn start(lifetime: Duration) -> (Arc<FakeCa>, super::super::MaterialReceiver) {
    start_with(lifetime, &Arc::default())
}

/// The rotation's clock is off by some seconds from the CA's.
fn start_with(
    lifetime: Duration,
    off_by: &Arc<AtomicI64>,
) -> (Arc<FakeCa>, super::super::MaterialReceiver) {
    let clock = virtual_clock();
    let own = shifted(&clock, off_by);
    let fake = Arc::new(FakeCa {
        ca: Ca::self_signed("cluster.local", clock()).expect("a CA"),
        clock: Arc::clone(&clock),
        lifetime,
        down: AtomicBool::new(false),
        calls: Mutex::default(),
    });
    let (publish, receiver) = watch::channel(None);
    let metrics = Metrics::new().expect("registered");
    tokio::spawn(Rotation { issuer: Arc::clone(&fake), clock: own, publish, metrics }.run());
    (fake, receiver)
}

async fn next(receiver: &mut super::super::MaterialReceiver) -> Arc<Material> {
    receiver.changed().await.expect("the rotation runs");
    receiver.borrow_and_update().clone().expect("there is material")
}

#[tokio::test(start_paused = true)]
async fn renews_at_half_life_give_or_take_a_hundredth() {
    for lifetime in [Duration::from_secs(20), Duration::from_secs(24 * 3600)] {
        let (_ca, mut receiver) = start(lifetime);
        next(&mut receiver).await;
        for _ in 0..4 {
            let before = Instant::now();
            next(&mut receiver).await;
            let share = before.elapsed().as_secs_f64() / lifetime.as_secs_f64();
            // The certificate's end has whole seconds.
            let second = 1.0 / lifetime.as_secs_f64();
            assert!((0.489 - second..=0.511).contains(&share), "{lifetime:?}: {share}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn keeps_asking_and_keeps_the_old_certificate() {
    let (ca, mut receiver) = start(Duration::from_secs(3600));
    let old = next(&mut receiver).await;
    ca.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(10 * 3600)).await;
    assert!(!receiver.has_changed().expect("the rotation runs"));
    let kept = receiver.borrow().clone().expect("there is material");
    assert_eq!(kept.identity.leaf().serial, old.identity.leaf().serial);
    ca.down.store(false, Ordering::Relaxed);
    let back = Instant::now();
    next(&mut receiver).await;
    assert!(back.elapsed() <= LAST_RETRY * 2, "{:?}", back.elapsed());
    let calls = ca.calls.lock().expect("not poisoned");
    let gaps: Vec<_> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().skip(1).all(|gap| *gap >= FIRST_RETRY.mul_f64(0.7)), "no tight loop");
    assert!(gaps.iter().skip(1).all(|gap| *gap <= LAST_RETRY.mul_f64(1.3)), "never gives up");
}

#[tokio::test(start_paused = true)]
async fn short_certificates_are_retried_within_their_life() {
    let (ca, mut receiver) = start(Duration::from_secs(20));
    next(&mut receiver).await;
    ca.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(15)).await;
    ca.down.store(false, Ordering::Relaxed);
    let back = Instant::now();
    next(&mut receiver).await;
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_does_not_stop_renewal() {
    let (hour, year) = (Duration::from_secs(3600), 365 * 86_400);
    let off_by = Arc::default();
    let (_ca, mut receiver) = start_with(hour, &off_by);
    next(&mut receiver).await;
    // Set back: the certificate ends all the same.
    off_by.store(-year, Ordering::Relaxed);
    let before = Instant::now();
    next(&mut receiver).await;
    assert!(before.elapsed() < hour.mul_f64(0.55), "{:?}", before.elapsed());
    // Set forward, as after a sleep: renewed at the next look at the clock.
    off_by.store(0, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    next(&mut receiver).await;
    let before = Instant::now();
    off_by.store(3000, Ordering::Relaxed);
    next(&mut receiver).await;
    assert!(before.elapsed() <= CLOCK_CHECK * 2, "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_makes_no_flood_of_requests() {
    let (ca, mut receiver) = start_with(Duration::from_secs(3600), &Arc::new(86_400.into()));
    next(&mut receiver).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = ca.calls.lock().expect("not poisoned").len();
    assert!(calls <= 65, "{calls} requests in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_no_reason_to_hurry() {
    let (ca, mut receiver) = start(Duration::from_secs(20));
    next(&mut receiver).await;
    ca.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(60)).await;
    ca.calls.lock().expect("not poisoned").clear();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = ca.calls.lock().expect("not poisoned").len();
    assert!(calls <= 80, "{calls} requests in ten minutes");
}
