//! How one line of the process log looks. Always one line: what comes from
//! outside cannot begin another one or move a terminal's cursor.

use std::{
    fmt::{self, Write as _},
    io::{self, Write},
    time::SystemTime,
};

use env_logger::fmt::style;
use log::{Level, Record};

use crate::telemetry::timestamp;

/// Who reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// People: `12:34:56.789 INFO  message`, in colour.
    Terminal,
    /// The systemd journal, which knows the time and takes the priority from a
    /// prefix: `<6>level=info target=… message`.
    Journal,
    /// Programs: `time=… level=info target=… message`.
    Plain,
}

/// Writes a record, in the colour of its level if people read it, and how many
/// records from the same place were left out before it.
pub(super) fn write(
    out: &mut dyn Write,
    (style, color): (Style, style::Style),
    record: &Record,
    now: SystemTime,
    left_out: u32,
) -> io::Result<()> {
    let time = timestamp::rfc3339(now);
    let (level, target) = (record.level(), record.target());
    match style {
        Style::Terminal => {
            out.write_all(time.get(TIME_OF_DAY).unwrap_or_default())?;
            write!(out, " {color}{level:5}{color:#} ")?;
        }
        Style::Journal => write!(out, "<{}>level={} target={target} ", priority(level), word(level))?,
        Style::Plain => {
            out.write_all(b"time=")?;
            out.write_all(&time)?;
            write!(out, " level={} target={target} ", word(level))?;
        }
    }
    let mut line = OneLine { out, outcome: Ok(()) };
    let told = line.write_fmt(*record.args());
    line.outcome.and(told.map_err(io::Error::other))?;
    if left_out > 0 {
        write!(out, " left_out={left_out}")?;
    }
    out.write_all(b"\n")
}

/// syslog(3)'s numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Escapes what would break the line.
struct OneLine<'a> {
    out: &'a mut dyn Write,
    outcome: io::Result<()>,
}

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(is_breaking) {
            let last = part.chars().next_back().filter(|c| is_breaking(*c));
            let plain = last.map_or(part, |c| part.strip_suffix(c).unwrap_or(part));
            self.outcome = self.out.write_all(plain.as_bytes());
            if let (Ok(()), Some(c)) = (&self.outcome, last) {
                self.outcome = write!(self.out, "{}", c.escape_default());
            }
            if self.outcome.is_err() {
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// Control characters, and what Unicode calls a line or paragraph separator.
fn is_breaking(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `12:34:56.789` in `2026-11-20T12:34:56.789Z`.
const TIME_OF_DAY: std::ops::Range<usize> = 11..23;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn written(style: Style, level: Level, message: &str, left_out: u32) -> String {
        let mut out = Vec::new();
        let now = UNIX_EPOCH + Duration::from_millis(1_795_199_099_123);
        let color = style::AnsiColor::Green.on_default();
        let args = format_args!("{message}");
        let record = Record::builder().level(level).target("tollgate::edge").args(args).build();
        write(&mut out, (style, color), &record, now, left_out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_read_time_level_and_message() {
        let line = written(Style::Terminal, Level::Info, "snapshot published: generation=3", 0);

        assert_eq!(line, "18:24:59.123 \u{1b}[32mINFO \u{1b}[0m snapshot published: generation=3\n");
    }

    #[test]
    fn the_journal_reads_a_priority_first_and_no_time() {
        let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

        let heads = levels.map(|level| written(Style::Journal, level, "x", 0));

        let words = ["error", "warn", "info", "debug", "trace"];
        let expected = [3, 4, 6, 7, 7].iter().zip(words);
        let expected = expected.map(|(p, w)| format!("<{p}>level={w} target=tollgate::edge x\n"));
        assert_eq!(heads.to_vec(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn programs_read_keys() {
        let line = written(Style::Plain, Level::Warn, "endpoint ejected: address=10.0.1.10:80", 41);

        let expected = "time=2026-11-20T18:24:59.123Z level=warn target=tollgate::edge \
            endpoint ejected: address=10.0.1.10:80 left_out=41\n";
        assert_eq!(line, expected);
    }

    #[test]
    fn nothing_in_a_message_begins_a_line_or_a_terminal_sequence() {
        for style in [Style::Journal, Style::Plain] {
            let line = written(style, Level::Info, "a\nb\r\n<0>c\u{1b}[2Jd\u{2028}é\u{85}\n", 0);

            assert!(line.ends_with(" a\\nb\\r\\n<0>c\\u{1b}[2Jd\\u{2028}é\\u{85}\\n\n"), "{line}");
            assert_eq!(line.chars().filter(|c| is_breaking(*c)).count(), 1);
        }
    }

    #[test]
    fn a_closed_output_is_an_error_and_no_panic() {
        let record = Record::builder().args(format_args!("x")).build();

        let outcome =
            write(&mut &mut [0_u8; 3][..], (Style::Plain, style::Style::new()), &record, UNIX_EPOCH, 0);

        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}
