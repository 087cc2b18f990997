//! Consistent hashing: the same key, the same endpoint, and only the keys of an
//! endpoint that comes or goes move.
//!
//! A ring of points, made once for a snapshot; who is out of service or has too
//! much is passed over. Points depend on the address alone, so that every
//! gateway has the same ring.

use std::net::SocketAddr;

/// The endpoints of a tier around a ring.
#[derive(Debug)]
pub(super) struct Ring {
    /// In their order; each with an index into the upstream's endpoints.
    points: Box<[(u64, u32)]>,
}

impl Ring {
    /// `members` are indexes, addresses and weights; none has weight 0.
    pub(super) fn new(members: &[(u32, SocketAddr, u16)]) -> Self {
        let total: u64 = members.iter().map(|(_, _, weight)| u64::from(*weight)).sum();
        let each = POINTS.min(MOST / members.len().max(1) as u64).max(1);
        let mut points = Vec::new();
        for (index, address, weight) in members {
            let count = (u64::from(*weight) * each * members.len() as u64).div_ceil(total.max(1));
            let seed = hash(address.to_string().as_bytes());
            points.extend((0..count).map(|nth| (spread(seed ^ spread(nth + 1)), *index)));
        }
        points.sort_unstable();
        Self { points: points.into() }
    }

    /// The first endpoint from the key's place on that is accepted. Looks at so
    /// many points at most; then at nobody.
    pub(super) fn find(&self, key: u64, mut accepts: impl FnMut(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(at, _)| *at < key);
        let around = self.points.iter().skip(start).chain(self.points.iter().take(start));
        let mut indexes = around.map(|(_, index)| *index as usize);
        indexes.find(|index| accepts(*index))
    }
}

/// FNV-1a, spread over all bits: the same in every process.
pub fn hash<'k>(key: impl IntoIterator<Item = &'k u8>) -> u64 {
    spread(key.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// The finish of MurmurHash3: every bit of the number counts for every other.
pub(super) fn spread(number: u64) -> u64 {
    let once = (number ^ number >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let twice = (once ^ once >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    twice ^ twice >> 33
}

/// Points of an endpoint of mean weight: shares are then within a tenth or so.
const POINTS: u64 = 128;
/// Points in all, more or less: 4 MiB.
const MOST: u64 = 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ports: std::ops::Range<u16>) -> Ring {
        let members: Vec<_> =
            ports.map(|port| (u32::from(port), SocketAddr::from(([10, 0, 0, 1], port)), 1)).collect();
        Ring::new(&members)
    }

    fn keys() -> impl Iterator<Item = u64> {
        (0..20_000_u32).map(|n| hash(&n.to_be_bytes()))
    }

    #[test]
    fn keys_are_spread_and_stay() {
        let ring = ring(0..10);
        let mut counts = [0; 10];

        keys().for_each(|key| counts[ring.find(key, |_| true).unwrap()] += 1);

        assert!(counts.iter().all(|count| (1_400..2_700).contains(count)), "{counts:?}");
        assert!(keys().all(|key| ring.find(key, |_| true) == ring.find(key, |_| true)));
    }

    #[test]
    fn only_the_keys_of_who_leaves_move() {
        let (before, after) = (ring(0..10), ring(0..9));

        for key in keys() {
            let was = before.find(key, |_| true).unwrap();
            assert!(was == 9 || after.find(key, |_| true) == Some(was));
            // Out of service is as good as gone.
            assert_eq!(before.find(key, |index| index != 9), after.find(key, |_| true));
        }
    }

    #[test]
    fn nobody_is_found_where_nobody_is_accepted() {
        assert_eq!(ring(0..3).find(7, |_| false), None);
        assert_eq!(ring(0..0).find(7, |_| true), None);
    }
}
