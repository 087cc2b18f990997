//! What the store does with what it is told: the script of `store`, in Rust.
//!
//! Always holds: a key is never further ahead than one limit that saw every request
//! at once would have it, as long as nothing is told later than `age_us` after it was
//! spent, and every gateway says the same age.

use std::time::Duration;

use super::Reckoned;

/// What the store keeps of a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cell {
    /// When the key owes nothing any more, in microseconds of the store's clock.
    pub due: u64,
    /// What was ever spent on it, in microseconds.
    pub total: u64,
}

impl Cell {
    /// What stands there, as the store writes it; what somebody else wrote is none.
    pub fn read(text: &[u8]) -> Option<Self> {
        let (due, total) = str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self { due: number(due)?, total: number(total)? })
    }
}

/// Decimal digits; what is too large is the most that is exact.
fn number(digits: &str) -> Option<u64> {
    let is_one = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| digits.parse().unwrap_or(MOST).min(MOST))
}

/// Adds what was spent since `age_us` ago. All in microseconds.
pub fn reckon(
    cell: Option<Cell>,
    now_us: u64,
    spent_us: u64,
    age_us: u64,
    most_ahead_us: u64,
) -> (Cell, Reckoned) {
    let Cell { due, total } = cell.unwrap_or_default();
    let begun = due.max(now_us.saturating_sub(age_us));
    let due = begun.saturating_add(spent_us).min(now_us.saturating_add(most_ahead_us));
    let total = total.saturating_add(spent_us).min(MOST);
    let ahead = Duration::from_micros(due.saturating_sub(now_us));
    (Cell { due, total }, Reckoned { ahead, total })
}

/// What the store adds up is a double, exact up to 2^53: of this and of what is told
/// at once the sum is.
const MOST: u64 = 1 << 52;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_has_of_a_key_is_two_numbers_or_nothing() {
        let read = |text: &str| Cell::read(text.as_bytes());

        assert_eq!(read("12 0"), Some(Cell { due: 12, total: 0 }));
        let most = Some(Cell { due: 1, total: MOST });
        assert_eq!((read("1 99999999999999999999"), read(&format!("1 {}", 1_u64 << 60))), (most, most));
        for bad in ["", " ", "1", "1 ", " 1", "1  1", "-1 1", "+1 1", "1 1 ", "1 1\n", "1e3 1"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(Cell::read(b"\xff 1"), None);
    }

    #[test]
    fn a_total_has_an_end_that_is_exact() {
        let (cell, told) = reckon(Cell::read(b"0 99999999999999999999"), 10_000, 500, 0, 700);

        assert_eq!((cell.due, cell.total, told.total), (10_500, MOST, MOST));
    }

    #[test]
    fn what_is_spent_begins_so_long_ago_and_is_added_to_what_is_owed() {
        let (first, told) = reckon(None, 10_000, 500, 200, 9_999);
        let (second, further) = reckon(Some(first), 10_100, 500, 200, 9_999);

        assert_eq!((first.due, told.ahead.as_micros()), (10_300, 300));
        assert_eq!((second.due, further.ahead.as_micros(), further.total), (10_800, 700, 1_000));
    }

    #[test]
    fn debt_has_an_end() {
        let (cell, told) = reckon(None, 10_000, 1 << 50, 0, 700);

        assert_eq!((cell.due, cell.total), (10_700, 1 << 50));
        assert_eq!(told.ahead.as_micros(), 700);
    }
}
