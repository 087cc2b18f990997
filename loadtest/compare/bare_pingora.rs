//! The fairest bare build that Tollgate can be held against: same crates, profile and
//! allocator. What it does is `bare.rs`.

use std::error::Error;

mod bare;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    bare::run()
}
