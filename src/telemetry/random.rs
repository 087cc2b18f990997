//! Random bytes that nobody can guess, cheap enough for one id for each request.
//!
//! BoringSSL's generator fills a pool for each thread; ids are cut from it. A
//! byte is given out once.

use std::cell::RefCell;

/// So many random bytes, at most 4096.
pub fn random<const N: usize>() -> [u8; N] {
    const { assert!(N <= POOL) };
    thread_local! {
        static HERE: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL], used: POOL }) };
    }
    HERE.with_borrow_mut(Pool::take)
}

struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

impl Pool {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > POOL {
            // BoringSSL ends the process rather than fail here.
            boring::rand::rand_bytes(&mut self.bytes).ok();
            self.used = 0;
        }
        let cut = self.bytes.get(self.used..).and_then(<[u8]>::first_chunk).copied();
        self.used += N;
        cut.unwrap_or([0; N])
    }
}

/// One call into BoringSSL then serves 256 ids.
const POOL: usize = 4096;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_id_comes_twice_across_refills_and_threads() {
        let ids = || (0..10_000).map(|_| random::<16>()).collect::<Vec<_>>();

        let other = std::thread::spawn(ids).join().unwrap();
        let all: HashSet<_> = ids().into_iter().chain(other).collect();

        assert_eq!(all.len(), 20_000);
    }

    #[test]
    fn odd_sizes_never_reach_past_the_pool() {
        for _ in 0..2_000 {
            assert_ne!(random::<13>(), [0; 13]);
        }
        assert_ne!(random::<4096>(), [0; 4096]);
    }

    #[test]
    fn every_bit_is_set_about_half_the_time() {
        let mut ones = [0_u32; 128];
        for _ in 0..4_000 {
            let id = u128::from_ne_bytes(random());
            ones.iter_mut().enumerate().for_each(|(bit, n)| *n += u32::from(id >> bit & 1 == 1));
        }

        // 2000 +- 8 standard deviations of 31.6.
        assert!(ones.iter().all(|n| (1_747..2_253).contains(n)), "{ones:?}");
    }
}
