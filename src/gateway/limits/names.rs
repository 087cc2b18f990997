//! Notes down what the keys are called that operators may ask about.
//!
//! Owns which those are, and the text of a key's parts. Does not own how they are
//! hashed (`hold`) nor what of them is shown (`limit`).

use std::borrow::Cow;

use serde_json::Value;

use super::{Request, hold::parameter};
use crate::{
    gateway::balance_key::cookie,
    identity::ClientKey,
    limit::{Ask, KeyHash, KeyName, KeyPart, Limit, Verdict},
};

impl Request<'_> {
    /// A key that has used half of its burst is one that an operator may ask about.
    pub(super) fn remember_busy(&self, index: usize, asks: &[Ask<'_>], verdict: &Verdict) {
        let standing = verdict.standing();
        let busy = standing.remaining() <= standing.terms().burst() / 2;
        let ask = asks.get(standing.limit()).filter(|_| busy);
        if let (Some(ask), Some(limit)) = (ask, self.limits.get(index)) {
            self.remember(limit, ask.key);
        }
    }

    pub(super) fn remember(&self, limit: &Limit, key: KeyHash) {
        if !limit.key.parts.is_empty() && limit.names.wants(key) {
            limit.names.learn(key, self.name(limit));
        }
    }

    /// What the limit's key is called for this request.
    #[cold]
    fn name(&self, limit: &Limit) -> KeyName {
        let mut name = KeyName::default();
        for part in &limit.key.parts {
            name.add(part, self.text(part).as_deref(), &self.limits.seeds);
        }
        name
    }

    /// A part of a key as an operator reads it; `None` when the request has none.
    fn text(&self, part: &KeyPart) -> Option<Cow<'_, [u8]>> {
        let facts = self.facts;
        Some(match part {
            KeyPart::ClientAddress => {
                Cow::Owned(ClientKey::new(facts.vpc_endpoint, facts.client).to_string().into_bytes())
            }
            KeyPart::Tenant => self.snapshot.tenants.name(facts.tenant?)?.as_bytes().into(),
            KeyPart::Consumer => facts.consumer?.name.as_bytes().into(),
            KeyPart::Claim(name) => match name.find(facts.consumer?.claims?)? {
                Value::String(text) => text.as_bytes().into(),
                other => Cow::Owned(other.to_string().into_bytes()),
            },
            KeyPart::Header(name) => facts.headers.get(name)?.as_bytes().into(),
            KeyPart::Cookie(name) => cookie(facts.headers, name)?.into(),
            KeyPart::Query(name) => parameter(facts.query?, name)?.as_bytes().into(),
            KeyPart::Route => self.found.route.name.as_bytes().into(),
            KeyPart::Method => facts.method.as_str().as_bytes().into(),
            KeyPart::PathTemplate => self.found.template().1.as_bytes().into(),
        })
    }
}
