//! Which claim of a token.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Invalid, text_value};

/// A claim of a token: its name, or the way to it through objects with dots between, as
/// `realm_access.roles`. A claim of that very name goes first.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimName(String);

impl ClaimName {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim among these; `None` where there is none, or it is `null`.
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let found = claims.get(&self.0).or_else(|| self.walk(claims));
        found.filter(|value| !value.is_null())
    }

    fn walk<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.0.split_once('.')?;
        rest.split('.').try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

/// Whether a claim says this: it is this text, number or word, or a list with it.
pub fn claim_says(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(own) => own == text,
        Value::Number(number) => number.to_string() == text,
        Value::Bool(true) => text == "true",
        Value::Bool(false) => text == "false",
        // A list in a list says nothing: nobody writes it, and the depth ends here.
        Value::Array(items) => items.iter().any(|item| !item.is_array() && claim_says(item, text)),
        Value::Null | Value::Object(_) => false,
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ClaimName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if (1..=256).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new(format!(
            "`{}` is no name of a claim; write 1 to 256 bytes, as `groups` or `realm_access.roles`",
            text.escape_debug()
        )))
    }
}

text_value!(ClaimName, "^.{1,256}$", "realm_access.roles");

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_and_else_by_the_way_to_it() {
        let claims = json!({
            "groups": ["a"], "a.b": 1, "a": { "b": 2, "c": { "d": 3 }, "n": null },
            "https://example.com/roles": "x",
        });
        let find = |name: &str| {
            let name: ClaimName = name.parse().unwrap();
            name.find(claims.as_object().unwrap()).map(Value::to_string)
        };

        assert_eq!(find("groups").as_deref(), Some("[\"a\"]"));
        assert_eq!(find("a.b").as_deref(), Some("1"));
        assert_eq!(find("a.c.d").as_deref(), Some("3"));
        assert_eq!(find("https://example.com/roles").as_deref(), Some("\"x\""));
        for none in ["b", "a.n", "a.c.d.e", "groups.0", "a..b", "."] {
            assert_eq!(find(none), None, "{none}");
        }
        assert!("".parse::<ClaimName>().is_err() && "a\nb".parse::<ClaimName>().is_err());
    }

    #[test]
    fn a_claim_says_its_text_and_each_of_its_list() {
        for (claim, text, says) in [
            (json!("admin"), "admin", true),
            (json!("admin"), "adm", false),
            (json!(["ops", "admin"]), "admin", true),
            (json!([["admin"]]), "admin", false),
            (json!(7), "7", true),
            (json!([7, true]), "true", true),
            (json!(false), "false", true),
            (json!({ "admin": true }), "admin", false),
            (json!(null), "null", false),
        ] {
            assert_eq!(claim_says(&claim, text), says, "{claim} {text}");
        }
    }
}
