//! A hasher for small keys that no outsider can choose: numbers, addresses, pointers. It costs a
//! multiplication for each word, and resists no attack.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A map with such keys.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// Odd, with about as many ones as zeros, so that each bit of a word reaches many of the product
/// (Fibonacci hashing: 2^64 divided by the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hasher of a [`FastMap`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FastHasher(u64);

impl FastHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.add(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    /// The high bits are the good ones; maps look at the low ones first.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::Hash as _};

    use super::*;

    #[test]
    fn neighbours_get_different_hashes() {
        let hash = |key: (u32, u16)| {
            let mut hasher = FastHasher::default();
            key.hash(&mut hasher);
            hasher.finish()
        };
        let all: HashSet<u64> =
            (0..100).flat_map(|a| (0..100).map(move |b| hash((a, b)))).collect();
        assert_eq!(all.len(), 10_000);
        let low: HashSet<u64> = all.iter().map(|hash| hash & 0xffff).collect();
        assert!(low.len() > 9_000, "{}", low.len());
    }
}
