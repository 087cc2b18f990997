//! Which trace a request belongs to: W3C `traceparent` and AWS's
//! `X-Amzn-Trace-Id`.
//!
//! Of a request that is not recorded (`spans`) the gateway is no link of the
//! chain: a well-formed `traceparent` goes on unchanged, with the caller's span as
//! parent. Without one none is made up, since its sampled flag cannot say
//! "undecided": 0 would switch tracing off in every service behind that follows
//! its parent (OpenTelemetry's default), 1 would record everything in every
//! service that samples a share. `X-Amzn-Trace-Id` can leave that open and is
//! made when it is missing, as an ALB does. So there is always a trace id for
//! the access log, and the endpoint is always told it.

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use super::hex;

/// What a request's trace fields say and what is to be done with them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceContext {
    trace_id: [u8; 32],
    keeps_traceparent: bool,
    keeps_amazon: bool,
}

impl TraceContext {
    /// No trace yet.
    pub const fn none() -> Self {
        Self { trace_id: [b'0'; 32], keeps_traceparent: false, keeps_amazon: false }
    }

    /// Reads the two fields; a field that came more than once is to be given as
    /// `None`. With neither well-formed a trace begins: its id is the time and
    /// these random bytes, which is what X-Ray takes.
    ///
    /// When both are well-formed, both are kept, and `traceparent` names the
    /// trace.
    pub fn new(traceparent: Option<&[u8]>, amazon: Option<&[u8]>, now: SystemTime, random: [u8; 12]) -> Self {
        let parent = traceparent.and_then(parse_traceparent);
        let root = amazon.and_then(parse_amazon);
        Self {
            trace_id: parent.or(root).unwrap_or_else(|| begin(now, &random)),
            keeps_traceparent: parent.is_some(),
            keeps_amazon: root.is_some(),
        }
    }

    /// 32 lower-case hexadecimal digits, never all zero.
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).unwrap_or_default()
    }

    /// The same as bytes.
    pub fn trace_id_bytes(&self) -> &[u8; 32] {
        &self.trace_id
    }

    /// Whether the client's `traceparent` and `tracestate` go on as they came;
    /// else both are to be removed.
    pub fn keeps_traceparent(&self) -> bool {
        self.keeps_traceparent
    }

    /// Whether its `X-Amzn-Trace-Id` is well-formed and goes on.
    pub fn keeps_amazon(&self) -> bool {
        self.keeps_amazon
    }

    /// A `traceparent` for a request that brought none, with this span as parent.
    pub fn new_traceparent(&self, span: [u8; 8], sampled: bool) -> Option<HeaderValue> {
        let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
        value.get_mut(3..35)?.copy_from_slice(&self.trace_id);
        hex::write(value.get_mut(36..52)?, &span);
        // An all-zero span is none (W3C Trace Context, 3.2.2.4).
        *value.get_mut(51)? = if span == [0; 8] { b'1' } else { *value.get(51)? };
        *value.last_mut()? = if sampled { b'1' } else { b'0' };
        HeaderValue::from_bytes(&value).ok()
    }

    /// What `X-Amzn-Trace-Id` is to be instead of what came; `None`: it goes on
    /// as it came.
    pub fn new_amazon(&self) -> Option<HeaderValue> {
        if self.keeps_amazon {
            return None;
        }
        let (time, unique) = self.trace_id.split_at_checked(TIME_DIGITS)?;
        let mut value = *b"Root=1-00000000-000000000000000000000000";
        let (_, digits) = value.split_at_mut_checked(b"Root=1-".len())?;
        digits.get_mut(..TIME_DIGITS)?.copy_from_slice(time);
        digits.get_mut(TIME_DIGITS + 1..)?.copy_from_slice(unique);
        HeaderValue::from_bytes(&value).ok()
    }
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context, §3.2): of
/// version 00 exactly, of a later version by what 00 has at its beginning.
fn parse_traceparent(value: &[u8]) -> Option<[u8; 32]> {
    let (version, rest) = value.split_first_chunk::<2>()?;
    let (trace_id, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<32>()?;
    let (parent, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
    let (flags, later) = rest.strip_prefix(b"-")?.split_first_chunk::<2>()?;
    let tail = match version {
        b"00" => later.is_empty(),
        b"ff" => false,
        _ => matches!(later, [] | [b'-', ..]),
    };
    let digits = hex::is_lower(version) & is_id(trace_id) & is_id(parent) & hex::is_lower(flags);
    (tail && digits).then_some(*trace_id)
}

/// The trace id of a well-formed `X-Amzn-Trace-Id`: `key=value` parts between
/// semicolons, of which one is the root. Load balancers add parts of their own.
fn parse_amazon(value: &[u8]) -> Option<[u8; 32]> {
    if value.len() > MAX_AMAZON_BYTES {
        return None;
    }
    let mut root = None;
    for part in value.split(|b| *b == b';') {
        let equals = part.iter().position(|b| *b == b'=')?;
        let (key, value) = (part.get(..equals)?, part.get(equals + 1..)?);
        let well_formed = match key {
            b"Root" => root.replace(parse_root(value)?).is_none(),
            b"Parent" => value.len() == 16 && hex::is_lower(value),
            b"Sampled" => matches!(value, b"0" | b"1" | b"?"),
            _ => !key.is_empty() && part.iter().all(u8::is_ascii_graphic),
        };
        well_formed.then_some(())?;
    }
    root
}

/// `1-67891233-abcdef012345678912345678` as the 32 digits of one id.
fn parse_root(value: &[u8]) -> Option<[u8; 32]> {
    let (time, rest) = value.strip_prefix(b"1-")?.split_first_chunk::<TIME_DIGITS>()?;
    let unique: &[u8; 32 - TIME_DIGITS] = rest.strip_prefix(b"-")?.try_into().ok()?;
    let mut trace_id = [0; 32];
    let (first, last) = trace_id.split_at_mut(TIME_DIGITS);
    first.copy_from_slice(time);
    last.copy_from_slice(unique);
    is_id(&trace_id).then_some(trace_id)
}

/// An id whose first eight digits are the time in seconds.
fn begin(now: SystemTime, random: &[u8; 12]) -> [u8; 32] {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut trace_id = [b'0'; 32];
    let (time, unique) = trace_id.split_at_mut(TIME_DIGITS);
    // Until 2106; an id needs no more.
    hex::write(time, &(seconds as u32).to_be_bytes());
    hex::write(unique, random);
    trace_id
}

/// Lower-case digits, not all zero.
#[inline]
fn is_id(digits: &[u8]) -> bool {
    hex::is_lower(digits) && digits.iter().any(|digit| *digit != b'0')
}

const TIME_DIGITS: usize = 8;

/// Several times what any AWS service sends.
const MAX_AMAZON_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const ROOT: &str = "Root=1-67891233-abcdef012345678912345678";

    fn read(traceparent: Option<&str>, amazon: Option<&str>) -> TraceContext {
        let now = UNIX_EPOCH + Duration::from_secs(0x6f00_1234);
        TraceContext::new(
            traceparent.map(str::as_bytes),
            amazon.map(str::as_bytes),
            now,
            *b"\x01\xff..........",
        )
    }

    #[test]
    fn a_made_traceparent_is_well_formed_and_names_the_same_trace() {
        let context = TraceContext::new(None, None, SystemTime::now(), [7; 12]);

        for (span, sampled, end) in [([1; 8], true, "-01"), ([0; 8], false, "-00")] {
            let made = context.new_traceparent(span, sampled).unwrap();

            assert_eq!(parse_traceparent(made.as_bytes()), Some(context.trace_id));
            assert!(made.to_str().unwrap().ends_with(end));
        }
    }

    #[test]
    fn a_well_formed_traceparent_is_kept_and_names_the_trace_for_aws_too() {
        let context = read(Some(PARENT), None);

        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.keeps_traceparent());
        assert_eq!(context.new_amazon().unwrap(), "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn without_either_a_trace_begins_whose_id_starts_with_the_time() {
        let context = read(None, None);

        assert_eq!(context.trace_id(), "6f00123401ff2e2e2e2e2e2e2e2e2e2e");
        assert!(!context.keeps_traceparent());
        assert_eq!(context.new_amazon().unwrap(), "Root=1-6f001234-01ff2e2e2e2e2e2e2e2e2e2e");
    }

    #[test]
    fn a_well_formed_root_is_kept_and_names_the_trace() {
        for tail in
            ["", ";Parent=463ac35c9f6413ad;Sampled=1", ";Sampled=?", ";Sampled=0;Lineage=a87bd80c:1|68fd"]
        {
            let context = read(None, Some(&format!("{ROOT}{tail}")));

            assert_eq!(context.trace_id(), "67891233abcdef012345678912345678", "{tail}");
            assert_eq!(context.new_amazon(), None, "{tail}");
            assert!(!context.keeps_traceparent());
        }
        let behind_alb = format!("Self=1-67891234-12456789abcdef012345678;{ROOT};CalledFrom=app");
        assert_eq!(read(None, Some(&behind_alb)).new_amazon(), None);
    }

    #[test]
    fn two_names_are_both_kept_and_traceparent_is_told() {
        let context = read(Some(PARENT), Some(ROOT));

        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.keeps_traceparent());
        assert_eq!(context.new_amazon(), None);
    }

    #[test]
    fn a_malformed_traceparent_is_not_kept() {
        let with = |from: &str, to: &str| PARENT.replacen(from, to, 1);
        for bad in [
            String::new(),
            "00".to_owned(),
            with("00-4", "ff-4"),
            with("00-4", "0-4"),
            with("00-4", "0g-4"),
            with("4bf9", "4BF9"),
            with("4bf9", "4bf"),
            with("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            with("00f067aa0ba902b7", &"0".repeat(16)),
            with("-01", "-1"),
            with("-01", "-0x"),
            with("-01", "-01-"),
            with("-01", "-01-more"),
            with("-01", "_01"),
            with("36-00f0", "3600-f0"),
            format!(" {PARENT}"),
            format!("{PARENT}, {PARENT}"),
        ] {
            assert!(!read(Some(&bad), None).keeps_traceparent(), "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_kept_if_it_begins_as_version_00_does() {
        let later = PARENT.replacen("00-", "cc-", 1);

        for good in [later.clone(), format!("{later}-"), format!("{later}-what-the-future-brings")] {
            assert!(read(Some(&good), None).keeps_traceparent(), "{good}");
        }
        for bad in [format!("{later}.what"), format!("{later}0")] {
            assert!(!read(Some(&bad), None).keeps_traceparent(), "{bad}");
        }
    }

    #[test]
    fn a_malformed_root_is_replaced_by_one_for_the_same_trace() {
        for bad in [
            "",
            "Root=",
            "Root=1-67891233-abcdef01234567891234567",
            "Root=1-67891233-abcdef0123456789123456789",
            "Root=1-67891233_abcdef012345678912345678",
            "Root=2-67891233-abcdef012345678912345678",
            "Root=1-6789123G-abcdef012345678912345678",
            "Root=1-00000000-000000000000000000000000",
            "Parent=463ac35c9f6413ad;Sampled=1",
            &format!("{ROOT};{ROOT}"),
            &format!("{ROOT};Parent=463ac35c9f6413a"),
            &format!("{ROOT};Sampled=2"),
            &format!("{ROOT};"),
            &format!("{ROOT}; Sampled=1"),
            &format!("{ROOT};=x"),
            &format!("{ROOT};Note={}", "x".repeat(600)),
        ] {
            let context = read(Some(PARENT), Some(bad));

            assert_eq!(context.new_amazon().unwrap(), "Root=1-4bf92f35-77b34da6a3ce929d0e0e4736", "{bad}");
        }
    }

    fn near_traceparent() -> impl Strategy<Value = String> {
        let exact = "(00|01|ff|cc)-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?";
        let near = "[0-9a-fF]{1,3}[-_][0-9a-f]{31,33}-[0-9a-g]{15,17}-[0-9a-f]{1,3}[-x]?";
        prop_oneof![exact, near, "\\PC{0,70}"]
    }

    proptest! {
        #[test]
        fn a_traceparent_is_kept_exactly_if_the_grammar_has_it(value in near_traceparent()) {
            let grammar = "^(00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\
                |[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?)$";
            let grammar = regex::Regex::new(grammar).unwrap();
            let excluded = value.starts_with("ff") || value.starts_with("00") && value.len() != 55;
            let zero = value.contains(&"0".repeat(32)) || value.contains(&format!("-{}-", "0".repeat(16)));

            let kept = read(Some(&value), None).keeps_traceparent();

            prop_assert_eq!(kept, grammar.is_match(&value) && !excluded && !zero);
        }

        #[test]
        fn any_bytes_give_a_trace_id_that_both_fields_agree_on(
            parent: Option<Vec<u8>>,
            amazon: Option<Vec<u8>>,
            random: [u8; 12],
            seconds in 1_600_000_000_u64..4_000_000_000,
        ) {
            let now = UNIX_EPOCH + Duration::from_secs(seconds);
            let context = TraceContext::new(parent.as_deref(), amazon.as_deref(), now, random);

            let id = context.trace_id().as_bytes();
            prop_assert!(id.len() == 32 && is_id(id));
            if let Some(made) = context.new_amazon() {
                let again = TraceContext::new(None, Some(made.as_bytes()), now, [0; 12]);
                prop_assert_eq!(again.trace_id(), context.trace_id());
                prop_assert!(again.new_amazon().is_none());
            }
        }
    }
}
