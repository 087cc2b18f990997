//! What stands in a request: methods, header fields, patterns over paths.

use std::{borrow::Cow, fmt, str::FromStr};

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Invalid, text_value};

/// A regular expression in the syntax of the `regex` crate: linear time, no
/// look-around. Compiled when it is read.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// The compiled expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // 1 MiB of compiled program: a pattern beyond it is a list in disguise.
        let built = regex::RegexBuilder::new(text).size_limit(1 << 20).dfa_size_limit(1 << 20).build();
        built.map(Self).map_err(|why| {
            let why = why.to_string().lines().last().unwrap_or_default().trim().to_owned();
            Invalid::new(format!(
                "`{text}` is not a pattern ({why}); write a regular expression, as `^/v[0-9]+/`"
            ))
        })
    }
}

text_value!(Pattern, ".*", "^/v[0-9]+/users/([^/]+)$");

/// The name of a header field: an RFC 9110 token without underscore, which
/// many servers read as a dash.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(HeaderName);

impl FieldName {
    /// The name in lower case, as the `http` crate has it.
    pub fn header(&self) -> &HeaderName {
        &self.0
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for FieldName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let name = HeaderName::from_str(text).ok().filter(|_| !text.contains('_'));
        name.map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a header name; write letters, digits and dashes, as `x-request-tier`"
            ))
        })
    }
}

text_value!(FieldName, "^[A-Za-z0-9!#$%&'*+.^`|~-]+$", "x-request-tier");

/// The value of a header field: visible ASCII, space and tab; no line breaks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldValue(HeaderValue);

impl FieldValue {
    /// The value as the `http` crate has it.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

impl FromStr for FieldValue {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let visible = text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b));
        let value = HeaderValue::from_str(text).ok().filter(|_| visible && text.trim() == text);
        value.map(Self).ok_or_else(|| {
            Invalid::new("not a header value; write visible ASCII on one line, without space at either end")
        })
    }
}

text_value!(FieldValue, r"^([!-~]([\t -~]*[!-~])?)?$", "gold");

/// A request method: upper-case letters and dashes, at most 32. `CONNECT` and
/// `TRACE` cannot be named: the gateway never forwards them.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodName(Method);

impl MethodName {
    /// The method as the `http` crate has it.
    pub fn method(&self) -> &Method {
        &self.0
    }
}

impl From<Method> for MethodName {
    fn from(method: Method) -> Self {
        Self(method)
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for MethodName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let shape =
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
        let method = Method::from_bytes(text.as_bytes()).ok();
        let method = method.filter(|m| shape && *m != Method::CONNECT && *m != Method::TRACE);
        method.map(Self).ok_or_else(|| {
            Invalid::new(format!(
                "`{text}` is not a method that can be forwarded; write upper case, as `GET` or `POST`"
            ))
        })
    }
}

text_value!(MethodName, "^[A-Z-]{1,32}$", "POST");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_name_with_an_underscore_is_refused() {
        assert!("x_tier".parse::<FieldName>().is_err());
        assert!("x-tier".parse::<FieldName>().is_ok());
    }

    #[test]
    fn connect_and_trace_cannot_be_named() {
        assert!("CONNECT".parse::<MethodName>().is_err());
        assert!("TRACE".parse::<MethodName>().is_err());
        assert!("get".parse::<MethodName>().is_err());
        assert!("PROPFIND".parse::<MethodName>().is_ok());
    }
}
