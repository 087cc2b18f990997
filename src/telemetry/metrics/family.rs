//! How our own cells become Prometheus families at a scrape.
//!
//! The `prometheus` crate's own handles serve what is rare. What each request
//! touches is counted in sharded cells and told through [`Scrape`].

use std::{
    collections::HashMap,
    ops::Deref,
    slice,
    sync::{Arc, Mutex},
};

use prometheus::{
    Registry, Result, TextEncoder,
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};

pub(super) use super::text::Sample;
use super::{
    histogram::Total,
    text::{self, Number},
    traffic::lock,
};

/// Something that says its values when it is asked.
pub(super) trait Scrape: Send + Sync + 'static {
    /// The families that it tells.
    const FAMILIES: &'static [Family];

    /// The values of each family, in the order of `FAMILIES`.
    fn scrape(&self) -> Vec<Vec<Sample>>;
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
    pub(super) fn count(&self, labels: &[&str], n: u64) -> Sample {
        Sample::new(self.name, &self.pairs(labels), Number::Whole(n))
    }

    /// A counter's or gauge's value under these label values.
    pub(super) fn value(&self, labels: &[&str], value: f64) -> Sample {
        Sample::new(self.name, &self.pairs(labels), Number::of(value))
    }

    /// A histogram's value under these label values.
    pub(super) fn histogram(&self, labels: &[&str], value: &Total) -> Sample {
        Sample::histogram(self.name, &self.pairs(labels), value)
    }

    fn pairs(&self, values: &[&str]) -> String {
        text::pairs(self.labels.iter().copied().zip(values.iter().copied()))
    }

    fn desc(&self) -> Result<Desc> {
        let labels = self.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new())
    }
}

/// Where a scrape takes its families from: the crate's registry for what is rare, and our
/// own cells.
///
/// Those are written as text where they are counted: as the crate's metrics, each with
/// strings of its own for every label's name and value, 10,000 series took twice as long.
/// The registry has their names alone, so that none is taken twice.
#[derive(Default)]
pub(super) struct Families {
    registry: Registry,
    own: Mutex<Vec<Box<dyn Tell>>>,
}

impl Families {
    /// Every family that has a value, by name, in the text format 0.0.4.
    pub(super) fn render(&self) -> Result<String> {
        let own = lock(&self.own).iter().flat_map(|own| own.tell()).collect::<Vec<_>>();
        let own = own.into_iter().filter(|(_, samples)| !samples.is_empty());
        let own = own.map(|(family, samples)| Told::Own(family, samples));
        let mut told: Vec<_> = own.chain(self.registry.gather().into_iter().map(Told::Crates)).collect();
        told.sort_by(|one, other| one.name().cmp(other.name()));
        // Growing to it would copy it twice.
        let mut text = String::with_capacity(told.iter().map(Told::most_bytes).sum());
        told.iter().try_for_each(|family| family.push(&mut text))?;
        Ok(text)
    }
}

impl Deref for Families {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.registry
    }
}

/// A family at a scrape.
enum Told {
    Own(&'static Family, Vec<Sample>),
    Crates(MetricFamily),
}

impl Told {
    fn name(&self) -> &str {
        match self {
            Self::Own(family, _) => family.name,
            Self::Crates(family) => family.name(),
        }
    }

    /// Nearly all that its text takes.
    fn most_bytes(&self) -> usize {
        match self {
            Self::Own(family, samples) => {
                let lines: usize = samples.iter().map(|sample| sample.text().len()).sum();
                2 * family.name.len() + family.help.len() + 40 + lines
            }
            Self::Crates(family) => (family.name().len() + 100) * (family.get_metric().len() + 2),
        }
    }

    fn push(&self, text: &mut String) -> Result<()> {
        match self {
            Self::Own(family, samples) => {
                text::push_head(text, (family.name, family.help), family.kind);
                samples.iter().for_each(|sample| text.push_str(sample.text()));
                Ok(())
            }
            Self::Crates(family) => TextEncoder::new().encode_utf8(slice::from_ref(family), text),
        }
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

/// What tells families at a scrape.
trait Tell: Send {
    fn tell(&self) -> Vec<(&'static Family, Vec<Sample>)>;
}

/// What is asked of a [`Scrape`].
pub(super) struct Scraped<T>(Arc<T>);

impl<T: Scrape> Scraped<T> {
    /// Puts it into every scrape. Fails if one of its names is taken or malformed.
    pub(super) fn register(families: &Families, what: Arc<T>) -> Result<()> {
        let descs = T::FAMILIES.iter().map(Family::desc).collect::<Result<Vec<_>>>()?;
        families.registry.register(Box::new(Taken(descs)))?;
        lock(&families.own).push(Box::new(Self(what)));
        Ok(())
    }
}

impl<T: Scrape> Tell for Scraped<T> {
    fn tell(&self) -> Vec<(&'static Family, Vec<Sample>)> {
        T::FAMILIES.iter().zip(self.0.scrape()).collect()
    }
}
