//! The metrics page, parsed.

use std::collections::BTreeMap;

/// Every sample of one scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Vec<Sample>);

/// One line of the page.
#[derive(Clone, Debug)]
pub struct Sample {
    /// As `tollgate_requests_total`.
    pub name: String,
    /// By name.
    pub labels: BTreeMap<String, String>,
    /// A count, a gauge or a bucket.
    pub value: f64,
}

impl Metrics {
    /// Reads a page; panics at a line that is no sample.
    pub fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(samples.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect())
    }

    /// The sum of all samples of this name that have (at least) these labels;
    /// 0 when there are none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name, labels).map(|sample| sample.value).sum()
    }

    /// Everything that was refused until now: counts by `flag …` of a request and
    /// by `reason …` of a connection, those that are not 0.
    pub fn refused(&self) -> BTreeMap<String, f64> {
        let mut counted = BTreeMap::new();
        let of =
            [("tollgate_rejections_total", "flag"), ("tollgate_connections_ended_early_total", "reason")];
        for (name, label) in of {
            for sample in self.samples(name, &[]).filter(|sample| sample.value > 0.0) {
                *counted.entry(format!("{label} {}", sample.labels[label])).or_insert(0.0) += sample.value;
            }
        }
        counted
    }

    /// Whether there is such a sample.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.samples(name, labels).next().is_some()
    }

    /// Every sample.
    pub fn all(&self) -> impl Iterator<Item = &Sample> {
        self.0.iter()
    }

    /// Samples of this name with (at least) these labels.
    pub fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample, (key, value): &(&str, &str)| {
            sample.labels.get(*key).is_some_and(|own| own == value)
        };
        let named = self.0.iter().filter(move |sample| sample.name == name);
        named.filter(move |sample| labels.iter().all(|label| has(sample, label)))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
    };
    let label = |text: &str| {
        let (key, value) = text.trim_end_matches(',').split_once("=\"")?;
        Some((key.trim_start_matches(',').to_owned(), value.strip_suffix('"')?.to_owned()))
    };
    // Label values are configured names: none has a quote.
    let labels = labels.split_inclusive("\",").map(|text| text.trim_end_matches(','));
    let labels = labels.filter(|text| !text.is_empty()).map(label).collect::<Option<_>>()?;
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}
