//! How much of the traffic each tier takes. Pure arithmetic.
//!
//! Always holds: shares are finite, none is negative, and they sum to 1, or to 0
//! when no tier can take anything.

use std::time::{Duration, Instant};

/// What each tier takes: as much of what nearer ones left as its capacity says.
/// When all together cannot take everything, each takes more than that, in
/// proportion. Capacities are shares of the whole traffic.
pub(super) fn split(capacities: &[f64]) -> Vec<f64> {
    let mut left = 1.0;
    let mut shares: Vec<f64> = Vec::with_capacity(capacities.len());
    for capacity in capacities {
        let take = capacity.clamp(0.0, left);
        left -= take;
        // What rounding left is nothing.
        left = if left < NOTHING { 0.0 } else { left };
        shares.push(take);
    }
    scale(&mut shares);
    shares
}

/// Brings shares to a sum of 1, unless all are 0.
pub(super) fn scale(shares: &mut [f64]) {
    let total: f64 = shares.iter().sum();
    if total > 0.0 {
        shares.iter_mut().for_each(|share| *share /= total);
    }
}

/// How much of the own zone's traffic its endpoints should take, and of which
/// zones how much is to spare, when each gateway has as many clients.
pub(super) struct Fairness {
    /// At most this share of what the gateways here have stays here.
    pub(super) own: f64,
    /// By zone, in the order of `ready`: how much of its capacity is left over
    /// by its own gateways, 0 to 1.
    pub(super) spare: Vec<f64>,
}

/// `ready` is the weight in service of each zone, `gateways` how many gateways
/// are in it; the own zone is the one at `own`.
pub(super) fn fairness(ready: &[u64], gateways: &[u32], own: usize) -> Option<Fairness> {
    let of_all = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let (weight, count): (u64, u64) = (ready.iter().sum(), gateways.iter().map(|g| u64::from(*g)).sum());
    let zone =
        |(ready, gateways): (&u64, &u32)| (of_all(*ready, weight), of_all(u64::from(*gateways), count));
    let zones: Vec<_> = ready.iter().zip(gateways).map(zone).collect();
    let (here, ours) = *zones.get(own)?;
    if ours <= 0.0 || weight == 0 {
        return None;
    }
    let spare = |(ready, gateways): &(f64, f64)| {
        if *ready > 0.0 { ((ready - gateways) / ready).max(0.0) } else { 0.0 }
    };
    Some(Fairness { own: (here / ours).min(1.0), spare: zones.iter().map(spare).collect() })
}

/// How much of a tier counts as in service: what is, but after a loss the rise
/// waits, and is then slow. What flaps stays at its lowest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    level: Option<f64>,
    /// Not before then, after a loss.
    rise: Option<Instant>,
}

/// How a tier comes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Return {
    /// How long it has to lose nothing.
    pub(super) hold_down: Duration,
    /// How long it then takes from nothing to all.
    pub(super) slow_start: Duration,
}

impl Held {
    /// What counts now, and when that may change by time alone.
    pub(super) fn follow(&mut self, actual: f64, now: Instant, how: Return) -> (f64, Option<Instant>) {
        let level = *self.level.get_or_insert(actual);
        // Still down counts as lost again: what flaps waits from its last fall on.
        if actual < level || (actual <= level && self.rise.is_some()) {
            *self = Self { level: Some(actual), rise: Some(now + how.hold_down) };
            return (actual, None);
        }
        let Some(rise) = self.rise.filter(|_| actual > level) else {
            // At its height, or it never lost anything: then a rise is a start.
            self.level = Some(actual);
            return (actual, None);
        };
        if now < rise {
            return (level, Some(rise));
        }
        let next = (level + STEP).min(actual);
        let at = (next < actual).then(|| now + how.slow_start.mul_f64(STEP));
        *self = Self { level: Some(next), rise: at };
        (next, at)
    }
}

const STEP: f64 = 0.1;
const NOTHING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOW: Return = Return { hold_down: Duration::from_secs(5), slow_start: Duration::from_secs(10) };

    fn close(got: &[f64], wanted: &[f64]) {
        let near = got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near && got.len() == wanted.len(), "{got:?}, not {wanted:?}");
    }

    #[test]
    fn a_tier_with_enough_takes_everything_and_a_thin_one_spills() {
        close(&split(&[1.4, 1.4]), &[1.0, 0.0]);
        close(&split(&[1.0, 1.4]), &[1.0, 0.0]);
        close(&split(&[0.7, 1.4]), &[0.7, 0.3]);
        close(&split(&[0.0, 1.4]), &[0.0, 1.0]);
        close(&split(&[0.5, 0.2, 0.9]), &[0.5, 0.2, 0.3]);
    }

    #[test]
    fn what_is_too_little_for_all_is_shared_in_proportion() {
        close(&split(&[0.3, 0.1]), &[0.75, 0.25]);
        close(&split(&[0.0, 0.1]), &[0.0, 1.0]);
        close(&split(&[0.0, 0.0]), &[0.0, 0.0]);
        close(&split(&[]), &[]);
    }

    #[test]
    fn a_small_zone_with_many_gateways_gives_the_rest_to_zones_that_have_to_spare() {
        // One endpoint here and two over there, as many gateways on both sides.
        let fair = fairness(&[1, 2, 0], &[3, 3, 0], 0).unwrap();

        assert!((fair.own - 2.0 / 3.0).abs() < 1e-9, "{}", fair.own);
        close(&fair.spare, &[0.0, 0.25, 0.0]);
    }

    #[test]
    fn a_zone_with_more_endpoints_than_gateways_keeps_everything() {
        assert!((fairness(&[2, 1], &[1, 1], 0).unwrap().own - 1.0).abs() < 1e-9);
        assert!(fairness(&[2, 1], &[0, 1], 0).is_none());
        assert!(fairness(&[0, 0], &[1, 1], 0).is_none());
        assert!(fairness(&[1], &[1], 1).is_none());
    }

    #[test]
    fn a_loss_counts_at_once_and_a_return_waits_and_is_slow() {
        let (start, mut held) = (Instant::now(), Held::default());
        let mut at = |s: f64, actual| held.follow(actual, start + Duration::from_secs_f64(s), HOW).0;

        assert_eq!([at(0.0, 1.0), at(1.0, 0.0), at(2.0, 1.0), at(5.9, 1.0)], [1.0, 0.0, 0.0, 0.0]);
        let rising: Vec<_> = (0..12).map(|second| at(6.0 + f64::from(second), 1.0)).collect();
        close(&rising, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn what_flaps_stays_at_its_lowest() {
        let (start, mut held) = (Instant::now(), Held::default());
        let mut at = |s: u64, actual| held.follow(actual, start + Duration::from_secs(s), HOW).0;
        at(0, 1.0);

        let levels = (0..60).map(|second| at(second, if second % 4 == 0 { 0.2 } else { 1.0 }));

        assert!(levels.fold(0.0, f64::max) < 0.3);
    }

    #[test]
    fn a_start_is_no_return() {
        let (now, mut held) = (Instant::now(), Held::default());

        let levels = [0.0, 0.3, 1.0].map(|actual| held.follow(actual, now, HOW).0);

        assert_eq!(levels, [0.0, 0.3, 1.0]);
    }

    proptest! {
        #[test]
        fn shares_sum_to_one_and_are_no_nonsense(capacities in prop::collection::vec(0.0..2.0f64, 0..8)) {
            let shares = split(&capacities);

            let total: f64 = shares.iter().sum();
            let wanted = if capacities.iter().all(|capacity| *capacity == 0.0) { 0.0 } else { 1.0 };
            prop_assert!((total - wanted).abs() < 1e-9);
            prop_assert!(shares.iter().all(|share| share.is_finite() && *share >= 0.0));
            prop_assert!(shares.iter().zip(&capacities).all(|(s, c)| *c > 0.0 || *s == 0.0));
        }

        #[test]
        fn more_health_never_means_less_traffic(
            capacities in prop::collection::vec(0.0..2.0f64, 1..6), at in 0usize..6, more in 0.0..1.0f64,
        ) {
            let mut better = capacities.clone();
            let at = at % capacities.len();
            better[at] += more;

            prop_assert!(split(&better)[at] >= split(&capacities)[at] - 1e-9);
        }
    }
}
