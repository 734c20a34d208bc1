//! The addresses of the mesh's own network, as ARCHITECTURE.md lays it out: 10.244.0.0/16 on the
//! bridge, the control plane at 10.244.0.1, one address a replica.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The bridge's name in the mesh's root network namespace.
pub(crate) const BRIDGE: &str = "mizzen0";
/// The bridge's own address: the control plane, and every replica's default gateway.
pub(crate) const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The prefix length of the bridge's network.
pub(crate) const PREFIX: u8 = 16;
/// The name server of every replica. Nothing listens there: capture redirects port 53 to the agent.
pub(crate) const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// The first replica's number; 0 is the network's address and 1 the bridge's.
const FIRST: u16 = 2;

/// Gives every replica a number of its own, from which its address and interface names follow.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    used: BTreeSet<u16>,
    last: u16,
}

impl Allocator {
    /// The next number that is free, `None` when all 65,533 are in use. A number that was given
    /// back is used again as late as possible, so that a proxy's stale endpoint reaches nobody.
    pub(crate) fn take(&mut self) -> Option<u16> {
        let from = self.last.saturating_add(1).max(FIRST);
        let free =
            (from..u16::MAX).chain(FIRST..from).find(|number| !self.used.contains(number))?;
        self.used.insert(free);
        self.last = free;
        Some(free)
    }

    /// Gives a number back.
    pub(crate) fn release(&mut self, number: u16) {
        self.used.remove(&number);
    }
}

/// The address of the replica with this number.
pub(crate) fn of_replica(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 244, high, low)
}

/// The bridge's end of a replica's veth pair. At most 15 bytes, the kernel's limit.
pub(crate) fn host_interface(number: u16) -> String {
    format!("mz{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_behind_the_bridge_and_come_back_late() {
        let mut allocator = Allocator::default();
        assert_eq!(allocator.take(), Some(2));
        assert_eq!(allocator.take(), Some(3));
        allocator.release(2);
        assert_eq!(allocator.take(), Some(4));
        assert_eq!(of_replica(2), Ipv4Addr::new(10, 244, 0, 2));
        assert_eq!(of_replica(258), Ipv4Addr::new(10, 244, 1, 2));
    }

    #[test]
    fn numbers_run_out_and_wrap() {
        let mut allocator = Allocator::default();
        let all = std::iter::from_fn(|| allocator.take()).count();
        assert_eq!(all, usize::from(u16::MAX - FIRST));
        allocator.release(7);
        assert_eq!(allocator.take(), Some(7));
        assert_eq!(allocator.take(), None);
    }

    #[test]
    fn an_interface_name_fits_the_kernel() {
        assert!(host_interface(u16::MAX).len() <= 15);
    }
}
