//! The words of a script.
//!
//! Owns their spelling and what cannot be done together. A bad step is refused
//! with what to write, so that a typing error in a test is a 400 and no mystery.

use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{Ending, Fault, Framing, Reading, Script};
use crate::{
    payload::{Pace, Payload},
    request::Field,
};

/// A step that is not part of the language.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptProblem {
    /// No step has this name.
    Unknown(String),
    /// The step's value is not well-formed.
    BadValue { step: String, example: &'static str },
    /// The step cannot go together with an earlier one.
    Conflict(String),
}

impl fmt::Display for ScriptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(step) => {
                write!(f, "`{step}` is not a step; write one of")?;
                STEPS.iter().try_for_each(|(_, example)| write!(f, " {example}"))
            }
            Self::BadValue { step, example } => write!(f, "`{step}` is not well-formed; write `{example}`"),
            Self::Conflict(step) => write!(f, "`{step}` cannot go together with an earlier step of its kind"),
        }
    }
}

impl std::error::Error for ScriptProblem {}

impl FromStr for Script {
    type Err = ScriptProblem;

    fn from_str(text: &str) -> Result<Self, ScriptProblem> {
        let mut script = Self::default();
        for step in steps(text) {
            let (key, value) = step.split_once('=').unwrap_or((&step, ""));
            let Some((_, example)) = STEPS.iter().find(|(name, _)| *name == key) else {
                return Err(ScriptProblem::Unknown(step));
            };
            match script.apply(key, value) {
                Some(true) => {}
                Some(false) => return Err(ScriptProblem::Conflict(step)),
                None => return Err(ScriptProblem::BadValue { step, example }),
            }
        }
        Ok(script)
    }
}

impl Script {
    /// Takes one step in. `None`: the value is not well-formed; `Some(false)`:
    /// an earlier step stands in the way.
    fn apply(&mut self, key: &str, value: &str) -> Option<bool> {
        match key {
            "status" => self.status = Some(value.parse().ok().filter(|code| (200..=999).contains(code))?),
            "delay" => self.delay = duration(value)?,
            "header" => self.headers.push(field(value)?),
            "trailers" => self.trailers.push(field(value)?),
            "drip" => self.drip = Some(pace(value)?),
            "slow_read" => return Some(once(&mut self.reading, Reading::Slow(pace(value)?))),
            "ws_close" => self.ws_close = Some(value.parse().ok()?),
            "body" => return Some(once(&mut self.payload, Some(Payload::Bytes(value.to_owned().into())))),
            "size" => return Some(once(&mut self.payload, Some(Payload::Pattern(value.parse().ok()?)))),
            "sse" => return Some(once(&mut self.payload, Some(events(value)?))),
            "truncate" => return Some(once(&mut self.fault, Some(Fault::Truncate(value.parse().ok()?)))),
            "raw" => return Some(once(&mut self.fault, Some(Fault::Raw(base64(value)?)))),
            _ if !value.is_empty() => return None,
            _ => return self.apply_flag(key),
        }
        Some(true)
    }

    fn apply_flag(&mut self, key: &str) -> Option<bool> {
        Some(match key {
            "early_hints" => {
                self.early_hints = true;
                true
            }
            "no_body" => once(&mut self.payload, Some(Payload::Nothing)),
            "chunked" => once(&mut self.framing, Framing::Chunked),
            "http10" => once(&mut self.framing, Framing::Http10),
            "close" => once(&mut self.ending, Ending::Close),
            "close_silently" => once(&mut self.ending, Ending::CloseSilently),
            "never_reads" => once(&mut self.reading, Reading::Never),
            "never_answers" => once(&mut self.fault, Some(Fault::NeverAnswers)),
            "reset_before_header" => once(&mut self.fault, Some(Fault::ResetBeforeHeader)),
            "reset_after_header" => once(&mut self.fault, Some(Fault::ResetAfterHeader)),
            "close_before_header" => once(&mut self.fault, Some(Fault::CloseBeforeHeader)),
            _ => return None,
        })
    }
}

/// The steps of a script: split at commas; `\,` is a comma within a step.
fn steps(text: &str) -> Vec<String> {
    let (mut steps, mut step) = (Vec::new(), String::new());
    let mut characters = text.trim_end().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ',' => steps.push(std::mem::take(&mut step)),
            '\\' if characters.next_if_eq(&',').is_some() => step.push(','),
            other => step.push(other),
        }
    }
    steps.push(step);
    steps.iter().map(|step| step.trim_start().to_owned()).filter(|step| !step.is_empty()).collect()
}

/// Sets what only one step may set; `false` when another step did.
fn once<T: Default + PartialEq>(slot: &mut T, value: T) -> bool {
    let free = *slot == T::default() || *slot == value;
    *slot = value;
    free
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().ok()?;
    match text.strip_prefix(digits)? {
        "us" => Some(Duration::from_micros(count)),
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        _ => None,
    }
}

fn pace(text: &str) -> Option<Pace> {
    let (every, bytes) = text.split_once('/')?;
    let bytes = bytes.parse().ok().filter(|&bytes| bytes > 0)?;
    Some(Pace { every: duration(every)?, bytes })
}

fn events(text: &str) -> Option<Payload> {
    let (count, every) = text.split_once('/')?;
    Some(Payload::Events { count: count.parse().ok()?, every: duration(every)? })
}

fn field(text: &str) -> Option<Field> {
    let (name, value) = text.split_once(':')?;
    let value = value.trim();
    // The name keeps its spelling for HTTP/1; these two only judge.
    HeaderName::from_bytes(name.as_bytes()).ok()?;
    HeaderValue::from_str(value).ok()?;
    Some((name.to_owned(), value.to_owned()))
}

fn base64(text: &str) -> Option<Bytes> {
    boring::base64::decode_block(text).ok().map(Bytes::from)
}

/// Every step with an example of it.
const STEPS: [(&str, &str); 23] = [
    ("status", "status=503"),
    ("delay", "delay=200ms"),
    ("header", "header=name:value"),
    ("body", "body=text"),
    ("size", "size=10485760"),
    ("sse", "sse=5/100ms"),
    ("no_body", "no_body"),
    ("drip", "drip=10ms/1"),
    ("trailers", "trailers=name:value"),
    ("early_hints", "early_hints"),
    ("chunked", "chunked"),
    ("http10", "http10"),
    ("close", "close"),
    ("close_silently", "close_silently"),
    ("never_reads", "never_reads"),
    ("slow_read", "slow_read=10ms/1024"),
    ("never_answers", "never_answers"),
    ("reset_before_header", "reset_before_header"),
    ("reset_after_header", "reset_after_header"),
    ("close_before_header", "close_before_header"),
    ("truncate", "truncate=100"),
    ("raw", "raw=base64"),
    ("ws_close", "ws_close=4001"),
];

/// For the end of `--help`.
pub const STEPS_HELP: &str = "\
A script is a list of steps with commas between; `\\,` is a comma within a step.

The answer:
  status=503            delay=200ms (after the request, before the header)
  header=name:value     body=text | size=10485760 | sse=5/100ms | no_body
  drip=10ms/1           the body in pieces of 1 byte every 10 ms (gRPC: 10 ms between messages)
  trailers=name:value   early_hints (a 103 first)
  chunked | http10      close | close_silently
The request body:
  never_reads | slow_read=10ms/1024
Faults, one a script:
  reset_before_header | reset_after_header | close_before_header
  truncate=100 | never_answers | raw=base64
HTTP/2:
  truncate and reset_after_header are RST_STREAM, close is GOAWAY; reset_before_header and
  close_before_header end the connection; raw, http10 and close_silently are refused
WebSocket:
  ws_close=4001

Control, never scripted:
  GET  /__origin/fast                      121 bytes of JSON with as little work as possible
  GET  /__origin/health                    200 or 503
  POST /__origin/health?state=down|up
  GET  /__origin/stats                     counters
  GET  /__origin/log                       the last 1000 requests, JSON lines
  POST /__origin/script?set=status%3D503   the default script; empty for none";

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        text.parse::<Script>().unwrap_err().to_string()
    }

    #[test]
    fn steps_add_up() {
        let script: Script =
            "status=503, delay=200ms,header=A-b: c:d,header=x:,chunked,drip=1s/2,close".parse().unwrap();

        let expected = Script {
            status: Some(503),
            delay: Duration::from_millis(200),
            headers: vec![("A-b".into(), "c:d".into()), ("x".into(), "".into())],
            framing: Framing::Chunked,
            drip: Some(Pace { every: Duration::from_secs(1), bytes: 2 }),
            ending: Ending::Close,
            ..Script::default()
        };
        assert_eq!(script, expected);
    }

    #[test]
    fn an_empty_script_is_the_default() {
        assert_eq!("".parse(), Ok(Script::default()));
        assert_eq!(" , ".parse(), Ok(Script::default()));
    }

    #[test]
    fn an_escaped_comma_belongs_to_its_step() {
        let script: Script = r"body={a\,b\n},status=200".parse().unwrap();

        assert_eq!(script.payload, Some(Payload::Bytes(r"{a,b\n}".into())));
        assert_eq!(script.status, Some(200));
    }

    #[test]
    fn raw_bytes_come_as_base64() {
        let script: Script = "raw=SFRUUC8xLjEgYWJjDQo=".parse().unwrap();

        assert_eq!(script.fault, Some(Fault::Raw(Bytes::from_static(b"HTTP/1.1 abc\r\n"))));
    }

    #[test]
    fn a_bad_step_is_refused_with_what_to_write() {
        assert_eq!(problem("status=99"), "`status=99` is not well-formed; write `status=503`");
        assert_eq!(problem("delay=5"), "`delay=5` is not well-formed; write `delay=200ms`");
        assert_eq!(problem("drip=1ms/0"), "`drip=1ms/0` is not well-formed; write `drip=10ms/1`");
        assert_eq!(problem("close=1"), "`close=1` is not well-formed; write `close`");
        assert!(problem("stauts=503").starts_with("`stauts=503` is not a step; write one of status=503 "));
    }

    #[test]
    fn two_steps_of_one_kind_are_refused() {
        let pairs = [
            "close,close_silently",
            "truncate=5,never_answers",
            "body=x,size=5",
            "chunked,http10",
            "never_reads,slow_read=1s/1",
        ];

        for pair in pairs {
            assert!(problem(pair).contains("cannot go together"), "{pair}");
        }
        assert!("never_answers,never_answers".parse::<Script>().is_ok());
    }

    #[test]
    fn every_step_of_the_list_is_understood_and_explained() {
        for (name, example) in STEPS {
            let example = example.replace("base64", "YQ==");
            assert!(example.parse::<Script>().is_ok(), "{example}");
            assert!(STEPS_HELP.contains(name), "{name}");
        }
    }
}
