//! Leases among the other limits of a request.

use std::sync::Arc;

use http::Method;

use super::*;
use crate::{
    limit::{Freshness, Lease},
    live::LiveState,
    telemetry::Metrics,
};

struct Bed {
    live: LiveState,
    metrics: Arc<Metrics>,
    snapshot: Snapshot,
}

impl Bed {
    /// A lease of 5 an hour with these words, before what `others` says.
    fn new(words: &str, others: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.yaml");
        let text = format!(
            "listeners: [{{ name: web, address: '127.0.0.1:0' }}]\n\
             fleet: {{ gateways: 5, store: {{ addresses: ['127.0.0.1:6379'] }} }}\n\
             limits: [{{ name: lease, rate: 5/h, burst: 5, scope: fleet, global: true{words} }}{others}]\n\
             routes: [{{ name: all, respond: {{ status: 200 }} }}]\n"
        );
        std::fs::write(&path, text).unwrap();
        let (live, metrics) = (LiveState::default(), Metrics::new().unwrap());
        let snapshot = Snapshot::load(&path, 1, &live, &metrics, |_| {}).unwrap().0;
        Self { live, metrics, snapshot }
    }

    /// The store was asked, and did not answer.
    fn stale(self) -> Self {
        self.live.limits.fleet.stand(Freshness::Stale);
        self
    }

    fn fresh(self) -> Self {
        self.live.limits.fleet.stand(Freshness::Fresh);
        self
    }

    fn ask(&self) -> (Result<(), Rejection>, Limited) {
        let (method, headers) = (Method::GET, HeaderMap::new());
        let facts = Facts {
            host: "a",
            path: "/",
            query: None,
            method: &method,
            headers: &headers,
            client: [127, 0, 0, 1].into(),
            vpc_endpoint: None,
            tenant: None,
            consumer: None,
            whoever: false,
        };
        let mut limited = Limited::default();
        let found = self.snapshot.router.find(&facts).unwrap();
        let request =
            Request { snapshot: &self.snapshot, limits: &self.snapshot.rate_limits, found, facts: &facts };
        (take(&request, Which::All, &mut limited), limited)
    }

    fn lease(&self) -> &Lease {
        match &self.snapshot.rate_limits.get(0).unwrap().counts {
            Counts::Leased(lease, _) => lease,
            _ => panic!("not leased"),
        }
    }

    /// What would be told now, in tokens.
    fn told(&self) -> u64 {
        let now = self.snapshot.rate_limits.clock.at(Instant::now());
        let told = self.lease().cut(9, Duration::from_secs(3_600), now);
        told.iter().map(|told| told.micros / 720_000_000).sum()
    }

    fn counted(&self, result: &str) -> bool {
        let line = format!("tollgate_limit_decisions_total{{limit=\"lease\",result=\"{result}\"}} 1");
        self.metrics.render().contains(&line)
    }
}

#[test]
fn a_lease_is_told_what_is_admitted_and_nothing_that_another_limit_refuses() {
    let bed = Bed::new("", ", { name: one, rate: 1/h, burst: 1, global: true }").fresh();

    assert_eq!((bed.ask().0, bed.ask().0), (Ok(()), Err(Rejection::RateLimited)));

    assert_eq!(bed.told(), 1);
}

#[test]
fn a_lease_that_only_counts_is_told_too() {
    let bed = Bed::new(", enforce: false", "").fresh();

    (0..7).for_each(|_| assert_eq!(bed.ask().0, Ok(())));

    assert_eq!(bed.told(), 5);
    assert_eq!(bed.ask().1.would_refuse(&bed.snapshot).as_slice(), ["lease"]);
}

#[test]
fn without_the_store_a_lease_gives_this_gateways_part_and_is_told_nothing() {
    let bed = Bed::new("", "");

    assert_eq!((bed.ask().0, bed.ask().0), (Ok(()), Err(Rejection::RateLimited)));

    assert_eq!(bed.told(), 0);
    let bed = bed.fresh();
    (0..5).for_each(|_| assert_eq!(bed.ask().0, Ok(())));
    assert_eq!(bed.told(), 5);
}

#[test]
fn without_the_store_a_lease_lets_all_through_where_that_is_said() {
    let bed =
        Bed::new(", on_store_error: allow", ", { name: one, rate: 1/h, burst: 1, global: true }").stale();

    assert_eq!(bed.ask().0, Ok(()));
    assert!(bed.counted("store_allowed"));

    let (answer, limited) = bed.ask();
    assert_eq!((answer, limited.refused_by(&bed.snapshot)), (Err(Rejection::RateLimited), Some("one")));
}

#[test]
fn without_the_store_a_lease_refuses_all_where_that_is_said_and_takes_from_no_other() {
    let bed =
        Bed::new(", on_store_error: deny", ", { name: one, rate: 1/h, burst: 1, global: true }").stale();

    let (answer, limited) = bed.ask();

    assert_eq!((answer, limited.retry_after()), (Err(Rejection::RateLimited), Some(1)));
    assert!(bed.counted("store_denied"));
    assert_eq!(bed.fresh().ask().0, Ok(()));
}

#[test]
fn without_the_store_a_lease_on_trial_would_refuse_where_all_are_to_be_refused() {
    let bed = Bed::new(", on_store_error: deny, enforce: false", "").stale();

    let (answer, limited) = bed.ask();

    assert_eq!((answer, limited.would_refuse(&bed.snapshot).as_slice()), (Ok(()), &["lease"][..]));
    assert!(bed.counted("would_refuse"));
}
