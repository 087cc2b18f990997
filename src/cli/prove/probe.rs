//! A probe: what is sent, and how it is compared with what should become of it.

use std::io;

use super::{
    mint::Mint,
    must::Must,
    report::{Got, Row},
    request::Sender,
};

/// One request with a token of some kind.
pub struct Probe {
    /// What reports call it.
    pub name: &'static str,
    /// What the token is, and what to do about an upstream that takes it wrongly.
    pub about: &'static str,
    /// What should become of it.
    pub must: fn(&Mint<'_>) -> Must,
    /// The values of the field; one field each.
    pub values: fn(&Mint<'_>) -> io::Result<Vec<String>>,
    /// Whether the same is sent once before.
    pub is_replay: bool,
}

impl Probe {
    /// Sends it, and says how it went. `good` is the status that a good token got.
    ///
    /// # Errors
    /// The token cannot be made.
    pub fn run(&self, mint: &Mint<'_>, sender: &Sender<'_>, good: Option<u16>) -> io::Result<Row> {
        let must = (self.must)(mint);
        if matches!(must, Must::Skip(_)) {
            return Ok(Row::new(self, must, Got::NotSent));
        }
        let values = (self.values)(mint)?;
        if self.is_replay {
            let first = Got::of(sender.send(&values), &values, good);
            if !matches!(first, Got::Accepted(_)) {
                return Ok(Row::new(self, Must::Accept, first));
            }
        }
        Ok(Row::new(self, must, Got::of(sender.send(&values), &values, good)))
    }

    /// One that is sent once.
    pub const fn new(
        name: &'static str,
        about: &'static str,
        must: fn(&Mint<'_>) -> Must,
        values: fn(&Mint<'_>) -> io::Result<Vec<String>>,
    ) -> Self {
        Self { name, about, must, values, is_replay: false }
    }
}
