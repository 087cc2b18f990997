//! A hash index that is written once: from a hash to the numbers of the things
//! that have it.
//!
//! Owns neither the things nor the hashing: the caller compares. One cache line
//! for most look-ups, eight bytes a slot, at most half of the slots in use.

/// Numbers by hash.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two of them, or none.
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The upper half of the hash, so that a stranger is seldom compared.
    tag: u32,
    /// `FREE`, or the number.
    number: u32,
}

impl Index {
    /// An index of these pairs of hash and number.
    pub(super) fn new(entries: &[(u64, u32)]) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        let free = Slot { tag: 0, number: FREE };
        let mut slots = vec![free; (entries.len() * 2).next_power_of_two()].into_boxed_slice();
        for &(hash, number) in entries {
            let (tag, start) = (tag(hash), start(hash, slots.len()));
            let (wrapped, first) = slots.split_at_mut(start);
            let slot = first.iter_mut().chain(wrapped).find(|slot| slot.number == FREE);
            // Half of the slots are free.
            slot.into_iter().for_each(|slot| *slot = Slot { tag, number });
        }
        Self { slots }
    }

    /// The number with this hash that `is` what is looked for.
    pub(super) fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = start(hash, self.slots.len());
        loop {
            let slot = self.slots.get(at)?;
            if slot.number == FREE {
                return None;
            }
            if slot.tag == tag(hash) && is(slot.number) {
                return Some(slot.number);
            }
            at = (at + 1) & mask;
        }
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn start(hash: u64, slots: usize) -> usize {
    hash as usize & slots.wrapping_sub(1)
}

const FREE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_index_finds_nothing() {
        assert_eq!(Index::new(&[]).find(7, |_| true), None);
    }

    #[test]
    fn equal_hashes_are_told_apart_by_the_caller() {
        let index = Index::new(&[(7, 0), (7, 1), (7, 2), (u64::MAX, 3)]);

        assert_eq!(index.find(7, |n| n == 2), Some(2));
        assert_eq!(index.find(7, |n| n == 3), None);
        assert_eq!(index.find(u64::MAX, |_| true), Some(3));
    }

    #[test]
    fn a_run_that_reaches_the_end_goes_on_at_the_beginning() {
        let entries: Vec<_> = (0..8).map(|n| (15, n)).collect();
        let index = Index::new(&entries);

        assert_eq!(index.slots.len(), 16);
        assert!((0..8).all(|wanted| index.find(15, |n| n == wanted) == Some(wanted)));
        assert_eq!(index.find(1 << 32 | 15, |_| true), None);
    }
}
