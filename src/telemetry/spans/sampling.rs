//! Whether a request is recorded.
//!
//! Pure: from the trace's id, so that every gateway of a fleet with the same ratio
//! records the same traces. As OpenTelemetry samples by ratio: the last 56 bits of the id
//! are the random ones, and a trace is taken when they reach what the ratio leaves out.

use crate::config::{
    tracing::{ParentFlag, SamplingSpec},
    types::Ratio,
};

/// Decides which requests are recorded.
#[derive(Clone, Copy, Debug)]
pub struct Sampler {
    share: Share,
    parent: ParentFlag,
}

impl Sampler {
    /// As configured.
    pub fn new(spec: &SamplingSpec) -> Self {
        Self { share: Share::new(spec.ratio), parent: spec.parent }
    }

    /// Whether a request of this trace is recorded. `said` is what the flag of its
    /// caller says, `believed` whether he is one of those whose word counts; `own` is the
    /// route's share in the place of the general one.
    pub fn takes(&self, trace_id: &[u8; 32], said: Option<bool>, believed: bool, own: Option<Share>) -> bool {
        let counts = match self.parent {
            ParentFlag::Always => true,
            ParentFlag::Trusted => believed,
            ParentFlag::Never => false,
        };
        said.filter(|_| counts).unwrap_or_else(|| own.unwrap_or(self.share).has(trace_id))
    }
}

/// The share of all traces that is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// The first of the random numbers that is taken.
    from: u64,
}

impl Share {
    /// This much of all.
    pub fn new(ratio: Ratio) -> Self {
        let left_out = u64::from(MILLION - ratio.millionths());
        // 56 bits and 20 are more than 64.
        Self {
            from: u64::try_from(u128::from(left_out) * (1 << RANDOM_BITS) / u128::from(MILLION))
                .unwrap_or(u64::MAX),
        }
    }

    fn has(self, trace_id: &[u8; 32]) -> bool {
        random_of(trace_id) >= self.from
    }
}

/// What the last 14 of the digits say; they are hexadecimal ones by their type's promise.
fn random_of(trace_id: &[u8; 32]) -> u64 {
    let (_, digits) = trace_id.split_at(32 - RANDOM_BITS / 4);
    digits.iter().fold(0, |number, digit| number << 4 | u64::from(value(*digit)))
}

fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => 0,
    }
}

const RANDOM_BITS: usize = 56;
const MILLION: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(ratio: &str, parent: ParentFlag) -> Sampler {
        Sampler::new(&SamplingSpec { ratio: ratio.parse().unwrap(), parent })
    }

    fn share(ratio: &str) -> Share {
        Share::new(ratio.parse().unwrap())
    }

    /// With these last 14 digits.
    fn trace(random: &str) -> [u8; 32] {
        format!("67891233ffffffffff{random}").into_bytes().try_into().unwrap()
    }

    #[test]
    fn the_ratio_takes_the_upper_end_of_the_random_bits() {
        // Half of 2^56, and the number before it.
        let (half, below) = (trace("80000000000000"), trace("7fffffffffffff"));

        assert!(share("50%").has(&half) && !share("50%").has(&below));
        assert!(share("100%").has(&trace("00000000000000")));
        assert!(!share("0%").has(&trace("ffffffffffffff")));
        // OpenTelemetry's threshold of a quarter is c0000000000000.
        assert!(share("25%").has(&trace("c0000000000000")) && !share("25%").has(&trace("bfffffffffffff")));
    }

    #[test]
    fn a_higher_ratio_takes_everything_that_a_lower_one_takes() {
        for n in 0..1_000_u64 {
            let id = trace(&format!("{:014x}", n * 72_057_594_037_928));
            assert!(!share("3%").has(&id) || share("4.5%").has(&id));
        }
        let taken =
            (0..1_000_u64).filter(|n| share("5%").has(&trace(&format!("{:014x}", n * 72_057_594_037_928))));
        assert_eq!(taken.count(), 50);
    }

    #[test]
    fn a_flag_decides_where_it_counts_and_the_ratio_elsewhere() {
        let id = trace("ffffffffffffff");
        let never = |parent, said, believed| sampler("0%", parent).takes(&id, said, believed, None);
        let ever = |parent, said, believed| sampler("100%", parent).takes(&id, said, believed, None);

        assert!(never(ParentFlag::Trusted, Some(true), true));
        assert!(!never(ParentFlag::Trusted, Some(true), false));
        assert!(never(ParentFlag::Always, Some(true), false));
        assert!(!never(ParentFlag::Never, Some(true), true));
        assert!(!ever(ParentFlag::Trusted, Some(false), true));
        assert!(ever(ParentFlag::Trusted, Some(false), false));
        assert!(ever(ParentFlag::Trusted, None, true));
    }

    #[test]
    fn a_route_s_share_stands_in_for_the_general_one_and_not_for_a_flag() {
        let id = trace("00000000000000");
        let takes = |said, own| sampler("0%", ParentFlag::Trusted).takes(&id, said, true, own);

        assert!(takes(None, Some(share("100%"))));
        assert!(!takes(Some(false), Some(share("100%"))));
    }
}
