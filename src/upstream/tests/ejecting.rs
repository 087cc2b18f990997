//! Who is ejected, for how long, and who never is.

use super::*;

const BAD: Outcome = Outcome::ServerError;

fn detecting(count: usize, outliers: Value) -> Upstream {
    zones([count, 0, 0], json!({ "outlier_detection": outliers }))
}

fn ejected(upstream: &Upstream, now: Instant) -> Vec<usize> {
    let all = upstream.endpoints().iter().enumerate();
    all.filter(|(_, endpoint)| endpoint.ejected_for(now).is_some()).map(|(index, _)| index).collect()
}

#[test]
fn one_error_ejects_for_a_minute_where_it_is_set_so() {
    let (upstream, start) = (
        detecting(4, json!({ "consecutive_5xx": 1, "interval": "1s", "base_ejection": "1m" })),
        Instant::now(),
    );
    upstream.view(start);

    upstream.observe(2, BAD, start);

    let at = |second| ejected(&upstream, start + Duration::from_secs(second));
    assert_eq!((at(0), at(59), at(60)), (vec![2], vec![2], vec![]));
    assert!(picks(&upstream, &Tried::default(), start).iter().all(|index| *index != 2));
    let returned = picks(&upstream, &Tried::default(), start + Duration::from_secs(60));
    assert!(share(&returned, 2..3) > 0.01 && share(&returned, 2..3) < 0.06, "{}", share(&returned, 2..3));
}

#[test]
fn only_errors_one_after_the_other_count() {
    let (upstream, now) = (detecting(4, json!({})), Instant::now());

    for outcome in [BAD, BAD, BAD, BAD, Outcome::Good, BAD, BAD, BAD, BAD] {
        upstream.observe(0, outcome, now);
    }
    assert_eq!(ejected(&upstream, now), [0; 0]);
    upstream.observe(0, BAD, now);
    assert_eq!(ejected(&upstream, now), [0]);
    (0..3).for_each(|_| drop(upstream.observe(1, Outcome::GatewayError, now)));
    assert_eq!(ejected(&upstream, now), [0, 1]);
}

#[test]
fn back_on_probation_the_first_outcome_decides_and_the_next_sentence_is_longer() {
    let (upstream, start) = (detecting(4, json!({})), Instant::now());
    let at = |second| start + Duration::from_secs(second);
    (0..5).for_each(|_| drop(upstream.observe(0, BAD, start)));
    upstream.view(at(30));

    upstream.observe(0, BAD, at(30));

    assert_eq!((ejected(&upstream, at(89)), ejected(&upstream, at(90))), (vec![0], vec![]));
    upstream.view(at(90));
    upstream.observe(0, Outcome::Good, at(90));
    upstream.observe(0, BAD, at(91));
    assert_eq!(ejected(&upstream, at(91)), [0; 0]);
}

#[test]
fn time_in_service_is_forgiven() {
    let (upstream, start) = (detecting(4, json!({ "consecutive_5xx": 1 })), Instant::now());
    let at = |second| start + Duration::from_secs(second);
    upstream.observe(0, BAD, start);
    upstream.view(at(30));

    upstream.observe(0, BAD, at(300));

    assert_eq!((ejected(&upstream, at(329)), ejected(&upstream, at(330))), (vec![0], vec![]));
}

#[test]
fn an_endpoint_far_below_the_others_is_ejected() {
    let outliers =
        json!({ "consecutive_5xx": 0, "consecutive_gateway_errors": 0, "success_rate": { "requests": 20 } });
    let (upstream, start) = (detecting(6, outliers), Instant::now());
    let round = |now| {
        for nth in 0..600 {
            let bad = nth % 6 == 3 && nth % 12 < 6;
            upstream.observe(nth % 6, if bad { BAD } else { Outcome::Good }, now);
        }
    };

    round(start);
    assert_eq!(ejected(&upstream, start), [0; 0]);
    upstream.observe(0, Outcome::Good, start + Duration::from_secs(10));

    assert_eq!(ejected(&upstream, start + Duration::from_secs(10)), [3]);
}

proptest! {
    #[test]
    fn never_the_last_one_nor_more_than_the_share(
        count in 1usize..12, share in 0u16..=100, which in prop::collection::vec(0usize..12, 0..200),
    ) {
        let most = format!("{share}%");
        let upstream = detecting(count, json!({ "consecutive_5xx": 1, "max_ejected": most }));
        let now = Instant::now();

        which.iter().for_each(|index| drop(upstream.observe(index % count, BAD, now)));

        let out = ejected(&upstream, now).len();
        prop_assert!(out < count);
        prop_assert!(out <= (count * usize::from(share) / 100).max(1));
        prop_assert!(upstream.pick(&Tried::default(), 7, now).is_ok());
    }
}
