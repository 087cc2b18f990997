//! How our own cells become Prometheus families at a scrape.
//!
//! The `prometheus` crate's own handles serve what is rare. What each request
//! touches is counted in sharded cells and told through [`Scrape`].

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex},
};

use prometheus::{
    Registry, Result,
    core::{Collector, Desc},
    proto::{Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::traffic::lock;

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

/// Where a scrape takes its families from: the crate's registry for what is rare, and our
/// own cells.
///
/// Those come in order already. The registry would sort them all the same, which took a
/// third of a scrape of 10,000 series; it has their names alone, so that none is taken
/// twice.
#[derive(Default)]
pub(super) struct Families {
    registry: Registry,
    own: Mutex<Vec<Box<dyn Collector>>>,
}

impl Families {
    /// Every family that has a value, by name.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        let own = lock(&self.own).iter().flat_map(|own| own.collect()).collect::<Vec<_>>();
        families.extend(own.into_iter().filter(|family| !family.get_metric().is_empty()));
        families.sort_by(|one, other| one.name().cmp(other.name()));
        families
    }
}

impl Deref for Families {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.registry
    }
}

/// Names that are taken.
struct Taken(Vec<Desc>);

impl Collector for Taken {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        Vec::new()
    }
}

/// What is asked of a [`Scrape`].
pub(super) struct Scraped<T> {
    what: Arc<T>,
    descs: Vec<Desc>,
}

impl<T: Scrape> Scraped<T> {
    /// Puts it into every scrape. Fails if one of its names is taken or malformed.
    pub(super) fn register(families: &Families, what: Arc<T>) -> Result<()> {
        let descs = T::FAMILIES.iter().map(Family::desc).collect::<Result<Vec<_>>>()?;
        families.registry.register(Box::new(Taken(descs.clone())))?;
        lock(&families.own).push(Box::new(Self { what, descs }));
        Ok(())
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
