//! How series are written: the text format 0.0.4 of Prometheus.
//!
//! Owns the format of what is ours. Does not own names and values, nor what is counted by
//! the `prometheus` crate, which writes that itself; both write alike (the test).

use std::fmt::Write;

use prometheus::proto::MetricType;

use super::histogram::{BOUNDS, Total};

/// The lines of one series.
#[derive(Clone)]
pub(super) struct Sample(String);

/// A value.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl Sample {
    /// A counter or gauge: its name, its labels as [`pairs`] makes them, its value.
    pub(super) fn new(name: &str, pairs: &str, value: Number) -> Self {
        let mut text = String::with_capacity(name.len() + pairs.len() + LONGEST_END);
        push_line(&mut text, (name, ""), pairs, value);
        Self(text)
    }

    /// A histogram.
    pub(super) fn histogram(name: &str, pairs: &str, value: &Total) -> Self {
        let longest = name.len() + pairs.len() + "_bucket,le=\"0.0005\"".len() + LONGEST_END;
        let mut text = String::with_capacity(longest * (BOUNDS.len() + 2));
        let mut with_bound = String::with_capacity(pairs.len() + 16);
        for (bound, n) in BOUNDS.iter().zip(value.at_most) {
            with_bound.clear();
            with_bound.push_str(pairs);
            with_bound.push_str(if pairs.is_empty() { "le=\"" } else { ",le=\"" });
            with_bound.push_str(bound);
            with_bound.push('"');
            push_line(&mut text, (name, "_bucket"), &with_bound, Number::Whole(n));
        }
        push_line(&mut text, (name, "_sum"), pairs, Number::of(value.sum_us as f64 / 1e6));
        let count = value.at_most.last().copied().unwrap_or_default();
        push_line(&mut text, (name, "_count"), pairs, Number::Whole(count));
        Self(text)
    }

    /// As written.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl Number {
    /// Whole where it is: most gauges are, and digits of a fraction take ten times as long.
    pub(super) fn of(value: f64) -> Self {
        let whole = value as u64;
        match whole as f64 == value && whole < LARGEST_WHOLE && value.is_sign_positive() {
            true => Self::Whole(whole),
            false => Self::Real(value),
        }
    }
}

/// Labels and their values, as they stand between braces.
pub(super) fn pairs<'a>(labels: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> String {
    let length = labels.clone().map(|(label, value)| label.len() + value.len() + 4).sum();
    let mut text = String::with_capacity(length);
    for (label, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(label);
        text.push_str("=\"");
        push_escaped(&mut text, value);
        text.push('"');
    }
    text
}

/// What stands before a family's series: name and help, and what it is.
pub(super) fn push_head(text: &mut String, (name, help): (&str, &str), kind: MetricType) {
    let kind = match kind {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        _ => "gauge",
    };
    // Writing into a `String` cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn push_line(text: &mut String, (name, part): (&str, &str), pairs: &str, value: Number) {
    text.push_str(name);
    text.push_str(part);
    if !pairs.is_empty() {
        text.push('{');
        text.push_str(pairs);
        text.push('}');
    }
    text.push(' ');
    match value {
        Number::Whole(value) => text.push_str(itoa::Buffer::new().format(value)),
        // Writing into a `String` cannot fail.
        Number::Real(value) => drop(write!(text, "{value}")),
    }
    text.push('\n');
}

fn push_escaped(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest.as_bytes()) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        text.push_str(if special.starts_with('\n') { "\\n" } else { "\\" });
        let (kept, after) = special.split_at(1);
        text.push_str(kept.trim_end_matches('\n'));
        rest = after;
    }
    text.push_str(rest);
}

/// Braces, a space, the end of the line and 20 digits.
const LONGEST_END: usize = 24;

/// From here on not every whole number is an `f64`.
const LARGEST_WHOLE: u64 = 1 << 53;

#[cfg(test)]
mod tests {
    use prometheus::{
        Encoder, TextEncoder,
        proto::{self, Metric, MetricFamily},
    };

    use super::*;
    use crate::telemetry::metrics::{family::Family, histogram::BOUNDS_US};

    const LABELS: [&str; 2] = ["route", "a \\ \"quoted\"\nname\n"];

    /// What the crate makes of a metric with the same labels.
    fn crates(kind: MetricType, labels: bool, fill: impl Fn(&mut Metric)) -> String {
        let pair = |(name, value): (&str, &str)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name(name.into());
            pair.set_value(value.into());
            pair
        };
        let pairs = ["one", "other"].into_iter().zip(LABELS).filter(|_| labels).map(pair);
        let mut metric = Metric::from_label(pairs.collect());
        fill(&mut metric);
        let mut family = MetricFamily::default();
        family.set_name("name".into());
        family.set_help("Help.".into());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        let mut text = Vec::new();
        TextEncoder::new().encode(&[family], &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    fn ours(kind: MetricType, labels: bool, sample: impl Fn(&Family, &[&str]) -> Sample) -> String {
        let names: &[&str] = if labels { &["one", "other"] } else { &[] };
        let family = Family { name: "name", help: "Help.", labels: names, kind };
        let mut text = String::new();
        push_head(&mut text, (family.name, family.help), kind);
        text + sample(&family, if labels { &LABELS } else { &[] }).text()
    }

    #[test]
    fn counters_and_gauges_are_written_as_the_crate_writes_them() {
        for value in [0.0, -0.0, 1.0, 0.5, -3.0, 1e-9, 1_783_036_800.25, 9.007e15, 1e21, f64::MAX, f64::NAN] {
            for labels in [true, false] {
                let gauge = crates(MetricType::GAUGE, labels, |metric| {
                    let mut gauge = proto::Gauge::default();
                    gauge.set_value(value);
                    metric.set_gauge(gauge);
                });
                assert_eq!(ours(MetricType::GAUGE, labels, |f, l| f.value(l, value)), gauge);
            }
        }
        for n in [0, 1, 4711, 1 << 53] {
            let counter = crates(MetricType::COUNTER, true, |metric| {
                let mut counter = proto::Counter::default();
                counter.set_value(n as f64);
                metric.set_counter(counter);
            });
            assert_eq!(ours(MetricType::COUNTER, true, |f, l| f.count(l, n)), counter);
        }
    }

    #[test]
    fn histograms_are_written_as_the_crate_writes_them() {
        let at_most = std::array::from_fn(|nth| 3 * nth as u64);
        let total = Total { at_most, sum_us: 1_234_567 };
        let fill = |metric: &mut Metric| {
            let bucket = |(bound, n): (&u64, u64)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*bound as f64 / 1e6);
                bucket.set_cumulative_count(n);
                bucket
            };
            let mut histogram = proto::Histogram::default();
            histogram.set_bucket(BOUNDS_US.iter().zip(at_most).map(bucket).collect());
            histogram.set_sample_count(at_most[BOUNDS_US.len()]);
            histogram.set_sample_sum(1.234567);
            metric.set_histogram(histogram);
        };

        for labels in [true, false] {
            let ours = ours(MetricType::HISTOGRAM, labels, |f, l| f.histogram(l, &total));
            assert_eq!(ours, crates(MetricType::HISTOGRAM, labels, fill));
        }
    }
}
