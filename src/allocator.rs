//! The allocator of the process: mimalloc, asked the short way.
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
