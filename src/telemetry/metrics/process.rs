//! The process as the kernel sees it, under the names that every Prometheus
//! client library uses.
//!
//! Read from `/proc/self` at each scrape; what cannot be read is left out. The
//! `prometheus` crate's own collector would bring `procfs` and its tree.

use std::fs;

use prometheus::proto::MetricType;

use super::family::{Family, Sample, Scrape};

/// What does not change while the process lives.
pub(super) struct Process {
    start_seconds: Option<f64>,
}

impl Process {
    /// Of this process.
    pub(super) fn new() -> Self {
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| value(&text, "btime "));
        let ticks = stat_field(STAT_START);
        Self { start_seconds: boot.zip(ticks).map(|(boot, ticks)| boot + ticks / TICKS_PER_SECOND) }
    }
}

impl Scrape for Process {
    const FAMILIES: &'static [Family] = &[CPU, START, RESIDENT, VIRTUAL, THREADS, OPEN_FDS, MAX_FDS];

    fn scrape(&self) -> Vec<Vec<Sample>> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let cpu_ticks = stat_field(STAT_USER_TICKS).zip(stat_field(STAT_SYSTEM_TICKS));
        let values = [
            cpu_ticks.map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            self.start_seconds,
            value(&status, "VmRSS:").map(|kib| kib * 1024.0),
            value(&status, "VmSize:").map(|kib| kib * 1024.0),
            value(&status, "Threads:"),
            open_fds(),
            value(&limits, "Max open files "),
        ];
        let told = Self::FAMILIES.iter().zip(values);
        told.map(|(family, value)| value.map(|v| family.value(&[], v)).into_iter().collect()).collect()
    }
}

/// The number that follows a key at the start of a line.
fn value(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/self/stat`, counted from 1 as proc(5) does.
fn stat_field(number: usize) -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name and may contain anything.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Since Linux 6.2 the folder's size says it; before, every entry is looked at,
/// of which one is the look itself.
fn open_fds() -> Option<f64> {
    let folder = "/proc/self/fd";
    let size = fs::metadata(folder).ok().map(|m| m.len()).filter(|n| *n > 0);
    let counted = || fs::read_dir(folder).ok().map(|entries| entries.count().saturating_sub(1) as u64);
    size.or_else(counted).map(|n| n as f64)
}

/// `USER_HZ` on every architecture that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

const STAT_USER_TICKS: usize = 14;
const STAT_SYSTEM_TICKS: usize = 15;
const STAT_START: usize = 22;

const fn plain(name: &'static str, help: &'static str, kind: MetricType) -> Family {
    Family { name, help, labels: &[], kind }
}

const CPU: Family = plain(
    "process_cpu_seconds_total",
    "Time on a processor, of the process and of the kernel for it.",
    MetricType::COUNTER,
);
const START: Family =
    plain("process_start_time_seconds", "When the process started, since 1970.", MetricType::GAUGE);
const RESIDENT: Family = plain("process_resident_memory_bytes", "Memory in RAM.", MetricType::GAUGE);
const VIRTUAL: Family = plain("process_virtual_memory_bytes", "Memory mapped.", MetricType::GAUGE);
const THREADS: Family = plain("process_threads", "Threads.", MetricType::GAUGE);
const OPEN_FDS: Family = plain("process_open_fds", "File descriptors in use.", MetricType::GAUGE);
const MAX_FDS: Family = plain("process_max_fds", "File descriptors that may be in use.", MetricType::GAUGE);

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_kernel_says_everything_about_this_process() {
        let told = Process::new().scrape();

        let value = |line: &str| line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        let values: Vec<f64> = told.iter().flatten().map(|sample| value(sample.text())).collect();
        assert_eq!(values.len(), Process::FAMILIES.len());
        let [_, start, resident, virtual_size, threads, open, max] = values[..] else { panic!("{values:?}") };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - start).abs() < 3_600.0, "{start}");
        assert!(resident > 1e6 && virtual_size >= resident, "{resident} {virtual_size}");
        assert!(threads >= 1.0 && open >= 3.0 && open <= max, "{threads} {open} {max}");
    }

    #[test]
    fn opening_a_file_counts_one_more() {
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();

        assert!(open_fds().unwrap() >= held.len() as f64 + 3.0);
    }

    #[test]
    fn a_line_without_a_number_says_nothing() {
        assert_eq!(value("Max open files            1024   524288  files", "Max open files "), Some(1024.0));
        assert_eq!(value("VmRSS:\t unknown", "VmRSS:"), None);
        assert_eq!(value("", "VmRSS:"), None);
    }
}
