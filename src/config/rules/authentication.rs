//! Rules for `authentication`.

use super::{At, Rules, client_certificate, issuer};
use crate::config::authentication::{ANONYMOUS, AuthenticationSpec};

impl Rules for AuthenticationSpec {
    fn check(&self, at: &mut At<'_>) {
        if self.name.as_str() == ANONYMOUS {
            at.error("name", "routes write `anonymous` where nobody has to vouch; write another name");
        }
        let kinds = [
            ("jwt", self.jwt.is_some()),
            ("api_keys", self.api_keys.is_some()),
            ("client_certificate", self.client_certificate.is_some()),
        ];
        let written: Vec<_> = kinds.iter().filter(|(_, written)| *written).map(|(key, _)| *key).collect();
        match written[..] {
            [] if kinds.iter().all(|(key, _)| at.is_whole(key)) => {
                at.error("name", "nothing says how callers prove who they are; write one of `jwt`, `api_keys` and `client_certificate`");
            }
            [first, second, ..] => {
                let text = format!("an entry is of one kind, and this has `{first}`; write a second entry");
                at.error(second, text);
            }
            _ => {}
        }
        if let Some(jwt) = &self.jwt {
            issuer::check(jwt, at);
        }
        if let Some(keys) = &self.api_keys
            && keys.files.is_empty()
            && at.is_whole("api_keys")
        {
            at.error("api_keys.files", "nobody has a key; write at least one file");
        }
        if let Some(spec) = &self.client_certificate
            && at.is_whole("client_certificate")
        {
            client_certificate::check(spec, at);
        }
    }
}
