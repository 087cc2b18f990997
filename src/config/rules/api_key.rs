//! Rules for the entries of files of API keys.

use super::{At, Rules};
use crate::config::api_keys::{ApiKeySpec, is_scope};

impl Rules for ApiKeySpec {
    fn check(&self, at: &mut At<'_>) {
        for (index, scope) in self.scopes.iter().enumerate() {
            if !is_scope(scope) {
                let text =
                    format!("`{}` is no scope; write one word, as `orders:read`", scope.escape_debug());
                at.error(format!("scopes[{index}]"), text);
            }
        }
    }
}
