//! The bare proxy as who begins with Pingora gets it: the system's allocator, and cargo's
//! own release profile (`--profile stock`). What it does is `bare.rs`.

use std::error::Error;

mod bare;

fn main() -> Result<(), Box<dyn Error>> {
    bare::run()
}
