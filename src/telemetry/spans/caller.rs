//! What a request's trace fields say of its caller, and what they become.
//!
//! Works on fields that [`TraceContext`](super::super::TraceContext) found well-formed:
//! places in them are known. Does not own whether a request is recorded.

use http::HeaderValue;

/// What the caller said of its own part of the trace.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Caller {
    /// Its span: 16 digits.
    pub span: Option<[u8; 16]>,
    /// Whether it records; `None`: it did not say.
    pub sampled: Option<bool>,
    /// The trace's id ends in 56 random bits (W3C Trace Context Level 2).
    pub random: bool,
}

impl Caller {
    /// By a well-formed `traceparent`.
    pub fn of_traceparent(value: &[u8]) -> Self {
        let span = value.get(36..).and_then(<[u8]>::first_chunk).copied();
        let flags = value.get(53..55).and_then(|digits| std::str::from_utf8(digits).ok());
        let flags = flags.and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or_default();
        Self { span, sampled: Some(flags & SAMPLED != 0), random: flags & RANDOM != 0 }
    }

    /// By a well-formed `X-Amzn-Trace-Id`.
    pub fn of_amazon(value: &[u8]) -> Self {
        let mut caller = Self::default();
        for part in value.split(|b| *b == b';') {
            if let Some(span) = part.strip_prefix(b"Parent=") {
                caller.span = span.try_into().ok();
            } else if let Some(sampled) = part.strip_prefix(b"Sampled=") {
                caller.sampled = match sampled {
                    b"0" => Some(false),
                    b"1" => Some(true),
                    _ => None,
                };
            }
        }
        caller
    }
}

/// A `traceparent` of the first version.
pub fn traceparent(trace_id: &[u8; 32], span: &[u8; 16], sampled: bool, random: bool) -> Option<HeaderValue> {
    let flags = if sampled { SAMPLED } else { 0 } | if random { RANDOM } else { 0 };
    let mut value = *b"00-00000000000000000000000000000000-0000000000000000-00";
    value.get_mut(3..35)?.copy_from_slice(trace_id);
    value.get_mut(36..52)?.copy_from_slice(span);
    *value.last_mut()? = b'0' + flags;
    HeaderValue::from_bytes(&value).ok()
}

/// The same well-formed `traceparent` of a caller that says it records, when nobody does.
pub fn unsampled(value: &[u8]) -> Option<HeaderValue> {
    let mut value = value.to_vec();
    if Caller::of_traceparent(&value).sampled == Some(true) {
        // The digit is an odd one: the one before it has the same other bits.
        *value.get_mut(54)? -= 1;
    }
    HeaderValue::from_bytes(&value).ok()
}

/// A well-formed `X-Amzn-Trace-Id` with another `Parent`, if there is one, and another
/// `Sampled`; what else is in it stays. `None` when it names another trace.
pub fn amazon(
    value: &[u8],
    trace_id: &[u8; 32],
    span: Option<&[u8; 16]>,
    sampled: bool,
) -> Option<HeaderValue> {
    let mut next = Vec::with_capacity(value.len() + MOST_ADDED);
    for part in value.split(|b| *b == b';') {
        if part.starts_with(b"Root=") && !names(part, trace_id) {
            return None;
        }
        let is_replaced = part.starts_with(b"Sampled=") || span.is_some() && part.starts_with(b"Parent=");
        if !is_replaced {
            next.extend_from_slice(part);
            next.push(b';');
        }
    }
    if let Some(span) = span {
        next.extend_from_slice(b"Parent=");
        next.extend_from_slice(span);
        next.push(b';');
    }
    next.extend_from_slice(if sampled { b"Sampled=1" } else { b"Sampled=0" });
    HeaderValue::from_bytes(&next).ok()
}

/// Whether `Root=1-67891233-abcdef012345678912345678` is this trace.
fn names(root: &[u8], trace_id: &[u8; 32]) -> bool {
    let digits = root.get(b"Root=1-".len()..).unwrap_or_default().iter().filter(|b| **b != b'-');
    digits.eq(trace_id)
}

/// Flags of a `traceparent`.
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

const MOST_ADDED: usize = ";Parent=0123456789abcdef;Sampled=1".len();

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8; 32] = b"67891233abcdef012345678912345678";
    const ROOT: &str = "Root=1-67891233-abcdef012345678912345678";
    const SPAN: &[u8; 16] = b"00f067aa0ba902b7";

    #[test]
    fn a_traceparent_tells_the_caller_s_span_and_flags() {
        let of = |flags: &str| {
            Caller::of_traceparent(format!("00-{}-00f067aa0ba902b7-{flags}", "1".repeat(32)).as_bytes())
        };

        assert_eq!(of("01"), Caller { span: Some(*SPAN), sampled: Some(true), random: false });
        assert_eq!(of("02"), Caller { span: Some(*SPAN), sampled: Some(false), random: true });
        assert_eq!(of("ff").sampled, Some(true));
        assert_eq!(of("fe").sampled, Some(false));
    }

    #[test]
    fn an_amazon_field_tells_them_as_far_as_it_has_them() {
        let of = |tail: &str| Caller::of_amazon(format!("{ROOT}{tail}").as_bytes());

        assert_eq!(of(""), Caller::default());
        assert_eq!(of(";Sampled=?"), Caller::default());
        assert_eq!(of(";Sampled=0").sampled, Some(false));
        let whole = Caller { span: Some(*b"463ac35c9f6413ad"), sampled: Some(true), random: false };
        assert_eq!(of(";Parent=463ac35c9f6413ad;Sampled=1;Lineage=a:1"), whole);
    }

    #[test]
    fn what_goes_on_names_our_span() {
        assert_eq!(
            traceparent(ID, SPAN, true, true).unwrap(),
            "00-67891233abcdef012345678912345678-00f067aa0ba902b7-03"
        );
        assert_eq!(traceparent(ID, SPAN, false, false).unwrap().as_bytes().last(), Some(&b'0'));
    }

    #[test]
    fn a_flag_that_does_not_count_is_taken_back_alone() {
        for (flags, left) in [("01", "00"), ("03", "02"), ("0b", "0a"), ("ff", "fe")] {
            let value = format!("cc-{}-00f067aa0ba902b7-{flags}-more", "1".repeat(32));
            let expected = value.replace(&format!("-{flags}-more"), &format!("-{left}-more"));
            assert_eq!(unsampled(value.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn an_amazon_field_keeps_what_is_not_ours() {
        let value = format!("Self=1-1-2;{ROOT};Parent=463ac35c9f6413ad;Sampled=?;Lineage=a:1");

        let ours = amazon(value.as_bytes(), ID, Some(SPAN), true).unwrap();
        let passed = amazon(value.as_bytes(), ID, None, false).unwrap();

        assert_eq!(ours, format!("Self=1-1-2;{ROOT};Lineage=a:1;Parent=00f067aa0ba902b7;Sampled=1"));
        assert_eq!(passed, format!("Self=1-1-2;{ROOT};Parent=463ac35c9f6413ad;Lineage=a:1;Sampled=0"));
        assert_eq!(amazon(value.as_bytes(), &[b'1'; 32], Some(SPAN), true), None);
    }
}
