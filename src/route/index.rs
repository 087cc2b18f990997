//! A hash index that is written once: from a hash and a text to a number.
//!
//! Owns neither the text nor the hashing. A slot says where its text is, so that
//! text and the thing with the number are fetched side by side: in a large table
//! the time goes by waiting for memory. At most half of the slots are in use.

use super::text::{Text, slice};

/// Numbers by text.
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
    text: Text,
}

impl Index {
    /// An index of these hashes, texts and numbers.
    pub(super) fn new(entries: &[(u64, Text, u32)]) -> Self {
        if entries.is_empty() {
            return Self::default();
        }
        let free = Slot { tag: 0, number: FREE, text: Text::default() };
        let mut slots = vec![free; (entries.len() * 2).next_power_of_two()].into_boxed_slice();
        for &(hash, text, number) in entries {
            let (wrapped, first) = slots.split_at_mut(start(hash, slots.len()));
            let slot = first.iter_mut().chain(wrapped).find(|slot| slot.number == FREE);
            // Half of the slots are free.
            slot.into_iter().for_each(|slot| *slot = Slot { tag: tag(hash), number, text });
        }
        Self { slots }
    }

    /// The number with this hash and text that `is` what is looked for. `all` is
    /// where the texts of the entries are.
    pub(super) fn find(&self, hash: u64, text: &str, all: &str, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = start(hash, self.slots.len());
        loop {
            let slot = self.slots.get(at)?;
            if slot.number == FREE {
                return None;
            }
            if slot.tag == tag(hash) && slice(all, slot.text) == text && is(slot.number) {
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

    const ALL: &str = "abcdefgh";

    fn letter(at: u32) -> Text {
        Text { at, len: 1 }
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        assert_eq!(Index::new(&[]).find(7, "a", ALL, |_| true), None);
    }

    #[test]
    fn equal_hashes_are_told_apart_by_text_and_equal_texts_by_the_caller() {
        let index = Index::new(&[(7, letter(0), 0), (7, letter(1), 1), (7, letter(1), 2)]);

        assert_eq!(index.find(7, "a", ALL, |_| true), Some(0));
        assert_eq!(index.find(7, "b", ALL, |_| true), Some(1));
        assert_eq!(index.find(7, "b", ALL, |n| n == 2), Some(2));
        assert_eq!(index.find(7, "a", ALL, |n| n == 2), None);
        assert_eq!(index.find(7, "c", ALL, |_| true), None);
        assert_eq!(index.find(8, "a", ALL, |_| true), None);
    }

    #[test]
    fn a_run_that_reaches_the_end_goes_on_at_the_beginning() {
        let entries: Vec<_> = (0..8).map(|n| (15, letter(n), n)).collect();

        let index = Index::new(&entries);

        assert_eq!(index.slots.len(), 16);
        for (n, text) in (0..8).zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
            assert_eq!(index.find(15, text, ALL, |_| true), Some(n));
        }
        assert_eq!(index.find(1 << 32 | 15, "a", ALL, |_| true), None);
    }
}
