//! How our own cells become Prometheus families at a scrape.
//!
//! The `prometheus` crate's own handles serve what is rare. What each request
//! touches is counted in sharded cells and told through [`Scrape`].

use std::{collections::HashMap, sync::Arc};

use prometheus::{
    Registry, Result,
    core::{Collector, Desc},
    proto::{Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// Something that says its values when it is asked.
pub(super) trait Scrape: Send + Sync + 'static {
    /// The families that it tells.
    const FAMILIES: &'static [Family];

    /// The values of each family, in the order of `FAMILIES`.
    fn scrape(&self) -> Vec<Vec<Metric>>;
}

/// Name, help, labels and kind of a family.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) kind: MetricType,
}

impl Family {
    /// A count under these label values.
    pub(super) fn count(&self, labels: &[&str], n: u64) -> Metric {
        self.value(labels, n as f64)
    }

    /// A counter's or gauge's value under these label values.
    pub(super) fn value(&self, labels: &[&str], value: f64) -> Metric {
        let mut metric = self.metric(labels);
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    }

    /// A histogram's value under these label values.
    pub(super) fn histogram(&self, labels: &[&str], value: Histogram) -> Metric {
        let mut metric = self.metric(labels);
        metric.set_histogram(value);
        metric
    }

    fn metric(&self, labels: &[&str]) -> Metric {
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        Metric::from_label(self.labels.iter().zip(labels).map(pair).collect())
    }

    fn desc(&self) -> Result<Desc> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }

    fn with(&self, values: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(values);
        family
    }
}

/// What a registry holds of a [`Scrape`].
pub(super) struct Scraped<T> {
    what: Arc<T>,
    descs: Vec<Desc>,
}

impl<T: Scrape> Scraped<T> {
    /// Puts it into every scrape of the registry. Fails if one of its names is
    /// taken or malformed.
    pub(super) fn register(registry: &Registry, what: Arc<T>) -> Result<()> {
        let descs = T::FAMILIES.iter().map(Family::desc).collect::<Result<_>>()?;
        registry.register(Box::new(Self { what, descs }))
    }
}

impl<T: Scrape> Collector for Scraped<T> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        T::FAMILIES.iter().zip(self.what.scrape()).map(|(family, values)| family.with(values)).collect()
    }
}
