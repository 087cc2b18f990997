//! How long things took: counts in cells that grow with the value, as HdrHistogram's.
//!
//! Owns the error: what is told is never less than what was recorded and at most
//! 0.8 % more, from a microsecond to the end of time, in 60 KiB.

use std::time::Duration;

use serde::Serialize;

/// Microseconds, counted.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Values below [`HALF`] times two one by one; above, each doubling in [`HALF`] cells.
    cells: Vec<u64>,
    count: u64,
    max: u64,
}

/// What people ask of a histogram, in microseconds.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Told {
    pub count: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Histogram {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self { cells: vec![0; CELLS], count: 0, max: 0 }
    }

    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let value = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(cell) = self.cells.get_mut(cell_of(value)) {
            *cell += 1;
        }
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Counts all that another one counted.
    pub fn add(&mut self, other: &Self) {
        for (cell, more) in self.cells.iter_mut().zip(&other.cells) {
            *cell += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The value that so many of a million do not exceed; 0 of nothing.
    pub fn of_a_million(&self, part: u64) -> u64 {
        let wanted = (u128::from(self.count) * u128::from(part)).div_ceil(1_000_000);
        let mut seen = 0;
        for (cell, count) in self.cells.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= wanted && *count > 0 {
                return highest_of(cell).min(self.max);
            }
        }
        self.max
    }

    /// The usual ones.
    pub fn told(&self) -> Told {
        Told {
            count: self.count,
            p50: self.of_a_million(500_000),
            p90: self.of_a_million(900_000),
            p99: self.of_a_million(990_000),
            p999: self.of_a_million(999_000),
            max: self.max,
        }
    }
}

fn cell_of(value: u64) -> usize {
    // How far the value is beyond what is counted one by one, in doublings.
    let doublings = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    // Below 2 * HALF, and from HALF on where there are doublings.
    let place = usize::try_from(value >> doublings).unwrap_or(usize::MAX);
    doublings as usize * HALF + place
}

/// The highest value that is counted there.
fn highest_of(cell: usize) -> u64 {
    let doublings = (cell / HALF).saturating_sub(1);
    let place = (cell - doublings * HALF) as u128;
    u64::try_from(((place + 1) << doublings) - 1).unwrap_or(u64::MAX)
}

/// Each doubling has so many cells, by the power of two: an error of 1/128.
const BITS: u32 = 7;
const HALF: usize = 1 << BITS;
const CELLS: usize = (u64::BITS - BITS + 1) as usize * HALF;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_told_with_an_error_below_one_in_a_hundred_and_never_too_low() {
        let near = |power: u32| [(1_u64 << power) - 1, 1 << power, (1 << power) + (1 << power) / 3];
        for value in (0..64).flat_map(near).chain([0, 255, 256, 1_000_000, u64::MAX]) {
            let told = highest_of(cell_of(value));

            assert!(told >= value, "{value} is told as {told}");
            assert!((told - value) as f64 <= value as f64 / 127.0, "{value} is told as {told}");
            assert!(cell_of(value) < CELLS, "{value} has no cell");
        }
    }

    #[test]
    fn cells_follow_one_another_without_a_gap() {
        for cell in 0..CELLS - 1 {
            assert_eq!(cell_of(highest_of(cell)), cell);
            assert_eq!(cell_of(highest_of(cell) + 1), cell + 1);
        }
    }

    #[test]
    fn percentiles_of_a_thousand_are_where_they_must_be() {
        let (mut one, mut two) = (Histogram::new(), Histogram::new());
        for value in 1..=100 {
            one.record(Duration::from_micros(value));
        }
        two.record(Duration::from_secs(3));

        assert_eq!(one.told(), Told { count: 100, p50: 50, p90: 90, p99: 99, p999: 100, max: 100 });
        one.add(&two);
        assert_eq!((one.told().p99, one.told().max), (100, 3_000_000));
        assert_eq!(Histogram::new().told(), Told { count: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 });
    }
}
