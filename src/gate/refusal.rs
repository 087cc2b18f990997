//! Why the gate refuses: a closed list, one status and one flag word each.
//!
//! Owns neither the answer's body nor the decision to close: it says whether
//! the connection can still be trusted, the caller writes and closes.

use http::StatusCode;

/// Why a request is not let in.
///
/// The flag words stand in logs and metrics and never change their meaning.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// The request line is not `METHOD SP target SP HTTP/1.x CRLF`.
    RequestLine,
    /// The method is not a token of at most 32 bytes.
    Method,
    /// The method is not in the allow-list; the answer carries `Allow`.
    MethodNotAllowed,
    /// The target is neither origin-form nor an absolute-form of `http` or
    /// `https`, or has a byte that no target may have.
    Target,
    /// The path has no single meaning.
    Path,
    /// The path has a `;`, and `requests.path_parameters` is `reject`.
    PathParameter,
    /// The target is longer than `requests.max_target_bytes`.
    TargetTooLong,
    /// Nothing says which host is meant.
    HostMissing,
    /// The host is not one host and at most one port.
    Host,
    /// Two places name different hosts.
    HostMismatch,
    /// More header fields than `requests.max_header_fields`.
    TooManyFields,
    /// A header larger than `requests.max_header_bytes`.
    HeaderTooLarge,
    /// A field name is not a token.
    FieldName,
    /// A field name has an underscore, which many servers read as a dash.
    Underscore,
    /// A field value has space at an end (HTTP/2).
    FieldValue,
    /// A line ends with LF alone, or the header block is not what was parsed.
    LineEnding,
    /// `Transfer-Encoding` is not exactly one `chunked`, or stands where it
    /// must not: in HTTP/1.0 or HTTP/2.
    TransferEncoding,
    /// `Content-Length` is not exactly one number.
    ContentLength,
    /// `Transfer-Encoding` and `Content-Length` together.
    TwoFramings,
    /// `Connection` names a field that must arrive, names too many, or stands
    /// in HTTP/2.
    Connection,
}

impl Refusal {
    /// All of them, for the metrics that count from zero.
    pub const ALL: [Refusal; 20] = [
        Self::RequestLine,
        Self::Method,
        Self::MethodNotAllowed,
        Self::Target,
        Self::Path,
        Self::PathParameter,
        Self::TargetTooLong,
        Self::HostMissing,
        Self::Host,
        Self::HostMismatch,
        Self::TooManyFields,
        Self::HeaderTooLarge,
        Self::FieldName,
        Self::Underscore,
        Self::FieldValue,
        Self::LineEnding,
        Self::TransferEncoding,
        Self::ContentLength,
        Self::TwoFramings,
        Self::Connection,
    ];

    /// The status of the answer: 400, 405, 414 or 431.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyFields | Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The short word of the access log and the metrics.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::RequestLine => "bad_request_line",
            Self::Method => "bad_method",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Target => "bad_target",
            Self::Path => "bad_path",
            Self::PathParameter => "path_parameter",
            Self::TargetTooLong => "target_too_long",
            Self::HostMissing => "no_host",
            Self::Host => "bad_host",
            Self::HostMismatch => "host_mismatch",
            Self::TooManyFields => "too_many_fields",
            Self::HeaderTooLarge => "header_too_large",
            Self::FieldName => "bad_header_name",
            Self::Underscore => "underscore_header",
            Self::FieldValue => "bad_header_value",
            Self::LineEnding => "bad_line_ending",
            Self::TransferEncoding => "bad_transfer_encoding",
            Self::ContentLength => "bad_content_length",
            Self::TwoFramings => "two_framings",
            Self::Connection => "bad_connection",
        }
    }

    /// What is wrong, for the operator; the client reads less.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RequestLine => {
                "the request line is not `METHOD target HTTP/1.1`; a space or a byte beyond ASCII is written as an escape, `%20`"
            }
            Self::Method => "the method is not a token of at most 32 bytes",
            Self::MethodNotAllowed => "the method is not in `requests.methods`",
            Self::Target => "the target is neither `/path?query` nor `http(s)://host/path`",
            Self::Path => {
                "the path has no single meaning: `..` above the root, a bad escape, an encoded slash or control"
            }
            Self::PathParameter => {
                "the path has `;` or `%3B`, which some servers cut off, and `requests.path_parameters` is `reject`"
            }
            Self::TargetTooLong => "the target is longer than `requests.max_target_bytes`",
            Self::HostMissing => "nothing says which host is meant",
            Self::Host => "the host is not one host and at most one port",
            Self::HostMismatch => "two places name different hosts",
            Self::TooManyFields => "there are more header fields than `requests.max_header_fields`",
            Self::HeaderTooLarge => "the header is larger than `requests.max_header_bytes`",
            Self::FieldName => "a field name is not a token",
            Self::Underscore => "a field name has an underscore, which many servers read as a dash",
            Self::FieldValue => "a field value has space at an end",
            Self::LineEnding => "a line ends with LF alone",
            Self::TransferEncoding => "`Transfer-Encoding` is not exactly one `chunked`",
            Self::ContentLength => "`Content-Length` is not exactly one number",
            Self::TwoFramings => "`Transfer-Encoding` and `Content-Length` stand together",
            Self::Connection => "`Connection` names a field that must arrive, or too many",
        }
    }

    /// Whether an HTTP/1 connection must close after the answer, because where
    /// this request ends is in doubt. HTTP/2 frames its streams itself: there
    /// only the stream ends.
    ///
    /// `Host` and the method are content: a connection on which they are wrong
    /// goes on. An underscore is not, since `Content_Length` is one.
    pub const fn closes(self) -> bool {
        match self {
            Self::MethodNotAllowed
            | Self::Path
            | Self::PathParameter
            | Self::HostMissing
            | Self::Host
            | Self::HostMismatch
            | Self::TooManyFields
            | Self::HeaderTooLarge => false,
            Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::TargetTooLong
            | Self::FieldName
            | Self::Underscore
            | Self::FieldValue
            | Self::LineEnding
            | Self::TransferEncoding
            | Self::ContentLength
            | Self::TwoFramings
            | Self::Connection => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_flag_word_of_its_own() {
        let flags: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.flag()).collect();

        assert_eq!(flags.len(), Refusal::ALL.len());
    }

    #[test]
    fn a_doubt_about_framing_closes_and_a_wrong_name_does_not() {
        for refusal in [Refusal::TwoFramings, Refusal::ContentLength, Refusal::LineEnding] {
            assert!(refusal.closes(), "{refusal:?}");
        }
        for refusal in [Refusal::Host, Refusal::MethodNotAllowed, Refusal::Path] {
            assert!(!refusal.closes(), "{refusal:?}");
        }
    }

    #[test]
    fn the_status_says_whose_limit_was_passed() {
        assert_eq!(Refusal::TargetTooLong.status(), 414);
        assert_eq!(Refusal::TooManyFields.status(), 431);
        assert_eq!(Refusal::HeaderTooLarge.status(), 431);
        assert_eq!(Refusal::MethodNotAllowed.status(), 405);
        assert_eq!(Refusal::TwoFramings.status(), 400);
    }
}
