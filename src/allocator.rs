//! The allocator of the process: mimalloc, asked the short way, by Rust and by BoringSSL.
//!
//! Its own crate asks for aligned memory always. mimalloc then takes a detour for
//! every size that is no power of two (a fifth of a request's allocations), and a
//! larger block; yet what it gives without being asked is aligned well enough for
//! nearly every type.

use std::{
    alloc::{GlobalAlloc, Layout},
    ffi::c_void,
};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// mimalloc.
pub struct Mimalloc;

// SAFETY: mimalloc's blocks are at least as long as asked, are aligned as asked where
// that is asked, and as `is_plain` says where it is not.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match is_plain(layout.size(), layout.align()) {
            // SAFETY: any size may be asked for.
            true => unsafe { mi_malloc(layout.size()) },
            // SAFETY: a layout's alignment is a power of two.
            false => unsafe { mi_malloc_aligned(layout.size(), layout.align()) },
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = match is_plain(layout.size(), layout.align()) {
            // SAFETY: as in `alloc`.
            true => unsafe { mi_zalloc(layout.size()) },
            // SAFETY: as in `alloc`.
            false => unsafe { mi_zalloc_aligned(layout.size(), layout.align()) },
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back what it got here.
        unsafe { mi_free(block.cast::<c_void>()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let block = block.cast::<c_void>();
        let block = match is_plain(size, layout.align()) {
            // SAFETY: the caller gives back what it got here.
            true => unsafe { mi_realloc(block, size) },
            // SAFETY: the same, and a layout's alignment is a power of two.
            false => unsafe { mi_realloc_aligned(block, size, layout.align()) },
        };
        block.cast()
    }
}

// BoringSSL asks these, which its `crypto/mem.cc` declares as weak symbols, in place of the
// system's allocator. That keeps what idle connections had: their 4 KB each lie between what
// goes on living, and it returns no page but its last ones.

unsafe extern "C" {
    fn mi_usable_size(block: *const c_void) -> usize;
}

/// A block for BoringSSL, of any size; null when there is no memory.
#[unsafe(no_mangle)]
extern "C" fn OPENSSL_memory_alloc(size: usize) -> *mut c_void {
    // SAFETY: any size may be asked for.
    unsafe { mi_malloc(size) }
}

/// Takes a block back and leaves nothing in it: there are keys among what BoringSSL holds.
///
/// # Safety
///
/// The block came from `OPENSSL_memory_alloc`, and nobody uses it any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn OPENSSL_memory_free(block: *mut c_void) {
    // SAFETY: the block is as long, and the caller's to give.
    unsafe {
        // Not removed as a write that nobody reads: the compiler does not see into `mi_free`.
        block.write_bytes(0, mi_usable_size(block));
        mi_free(block);
    }
}

/// How many bytes of a block may be used, which are no fewer than were asked for.
///
/// # Safety
///
/// The block came from `OPENSSL_memory_alloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn OPENSSL_memory_get_size(block: *mut c_void) -> usize {
    // SAFETY: as the caller says.
    unsafe { mi_usable_size(block) }
}

/// Whether mimalloc's blocks of this size are aligned so without being asked: to 16
/// bytes (`MI_MAX_ALIGN_SIZE`), small ones to their size.
const fn is_plain(size: usize, align: usize) -> bool {
    align <= 16 && align <= size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_aligned_whole_and_its_own() {
        let mut held = Vec::new();
        for align in (0..=12).map(|power| 1 << power) {
            for size in (1..200).chain((200..9000).step_by(37)).chain([1 << 16, (1 << 20) + 1]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: no size is 0.
                let block = unsafe { Mimalloc.alloc(layout) };
                assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                // SAFETY: it is as long.
                unsafe { block.write_bytes(held.len() as u8, size) };
                held.push((block, layout));
            }
        }

        for (number, (block, layout)) in held.into_iter().enumerate() {
            let longer = layout.size() * 2 + 1;
            // SAFETY: it was allocated with this layout, and written from end to end.
            unsafe {
                let block = Mimalloc.realloc(block, layout, longer);
                assert!(block.addr().is_multiple_of(layout.align()), "{layout:?}");
                let kept = std::slice::from_raw_parts(block, layout.size());
                assert!(kept.iter().all(|byte| *byte == number as u8), "{layout:?}");
                Mimalloc.dealloc(block, Layout::from_size_align_unchecked(longer, layout.align()));
            }
        }
    }

    unsafe extern "C" {
        fn mi_is_in_heap_region(block: *const c_void) -> bool;
    }

    #[test]
    fn what_boringssl_allocates_is_mimallocs() {
        for size in [1, 100, 4096, 20_000, 300_000] {
            // SAFETY: each block is used as long as it is held, and within its length.
            unsafe {
                let block = boring_sys::OPENSSL_malloc(size);
                assert!(mi_is_in_heap_region(block) && mi_usable_size(block) >= size, "{size}");
                block.write_bytes(0xff, size);
                let longer = boring_sys::OPENSSL_realloc(block, size * 3);
                assert!(mi_is_in_heap_region(longer), "{size}");
                let kept = std::slice::from_raw_parts(longer.cast::<u8>(), size);
                assert!(kept.iter().all(|byte| *byte == 0xff), "{size}");
                boring_sys::OPENSSL_free(longer);
            }
        }
    }

    #[test]
    fn nothing_of_boringssls_is_left_in_a_block_that_it_gave_back() {
        let secret = [0xab; 1000];
        let mut held = Vec::new();
        // So many that a block comes back of them, whichever mimalloc gives out first.
        for _ in 0..1000 {
            // SAFETY: the block is as long.
            let block = unsafe { boring_sys::OPENSSL_memdup(secret.as_ptr().cast(), secret.len()) };
            held.push(block);
        }
        // SAFETY: each was allocated here, once.
        held.iter().for_each(|block| unsafe { boring_sys::OPENSSL_free(*block) });

        let mut again = 0;
        for _ in 0..1000 {
            // SAFETY: the block is as long, and mimalloc gives out pages that it has written to.
            let block = unsafe { mi_malloc(secret.len()) };
            again += usize::from(held.contains(&block));
            let left = unsafe { std::slice::from_raw_parts(block.cast::<u8>(), secret.len()) };
            assert!(!left.windows(8).any(|bytes| bytes == &secret[..8]));
        }
        assert!(again > 0, "no block came back");
    }

    #[test]
    fn zeroed_blocks_are_zero_after_others_used_them() {
        for size in [1, 24, 100, 1500, 70_000] {
            for align in [1, 8, 16, 64] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: no size is 0, and each block is used as long as it is held.
                unsafe {
                    let used = Mimalloc.alloc(layout);
                    used.write_bytes(0xff, size);
                    Mimalloc.dealloc(used, layout);
                    let block = Mimalloc.alloc_zeroed(layout);
                    assert!(std::slice::from_raw_parts(block, size).iter().all(|byte| *byte == 0));
                    Mimalloc.dealloc(block, layout);
                }
            }
        }
    }
}
