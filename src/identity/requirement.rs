//! Who has to vouch for a request, and what follows from what they say.

use crate::config::authentication::{ANONYMOUS, AuthenticateSpec, AuthenticatorIndex};

use super::consumer::{Consumer, Flaw, Said};

/// Who has to vouch for a route's requests.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Requirement {
    /// Nobody.
    #[default]
    Nobody,
    /// The first of these to which something is presented; with `anonymous` nobody,
    /// where nothing is.
    #[allow(missing_docs)]
    Any { of: Box<[AuthenticatorIndex]>, anonymous: bool },
    /// Each of these; the first says who asks.
    All(Box<[AuthenticatorIndex]>),
}

/// What became of a request's authentication.
#[derive(Clone, Debug, PartialEq)]
pub enum Authenticated {
    /// Nobody had to vouch, or nobody was asked to.
    Anonymous,
    /// This is who asks.
    As(Consumer),
    /// Nobody vouched. The ones who were presented something, if any, and what is
    /// wrong with it.
    Refused(Option<(AuthenticatorIndex, Flaw)>),
    /// This one has to be asked again later.
    Unsettled(AuthenticatorIndex),
}

impl Requirement {
    /// As written; names that nobody has were told before.
    pub fn new(spec: &AuthenticateSpec, find: impl Fn(&str) -> Option<AuthenticatorIndex>) -> Self {
        if matches!(spec, AuthenticateSpec::Word(_)) {
            return Self::Nobody;
        }
        let named = spec.names().1.iter().map(|name| name.as_str()).filter(|name| *name != ANONYMOUS);
        let of = named.filter_map(find).collect();
        match spec.needs_all() {
            true => Self::All(of),
            false => Self::Any { of, anonymous: spec.admits_anonymous() },
        }
    }

    /// Those who may have to vouch.
    pub fn authenticators(&self) -> &[AuthenticatorIndex] {
        match self {
            Self::Nobody => &[],
            Self::Any { of, .. } | Self::All(of) => of,
        }
    }

    /// Asks as many as it needs, in the order that they were written.
    ///
    /// Who presents something bad is refused, also where anonymous would get in or
    /// another would vouch: a client that believes to be somebody is never served as
    /// somebody else.
    pub fn ask(&self, ask: impl FnMut(AuthenticatorIndex) -> Said) -> Authenticated {
        match self {
            Self::Nobody => Authenticated::Anonymous,
            Self::Any { of, anonymous } => ask_any(of, *anonymous, ask),
            Self::All(of) => ask_all(of, ask),
        }
    }
}

fn ask_any(
    of: &[AuthenticatorIndex],
    anonymous: bool,
    mut ask: impl FnMut(AuthenticatorIndex) -> Said,
) -> Authenticated {
    let mut nobodys = None;
    for index in of {
        match ask(*index) {
            Said::Nothing => {}
            Said::Foreign => nobodys = nobodys.or(Some((*index, Flaw::Issuer))),
            Said::Vouched(consumer) => return Authenticated::As(consumer),
            Said::Refused(flaw) => return Authenticated::Refused(Some((*index, flaw))),
            Said::Unsettled => return Authenticated::Unsettled(*index),
        }
    }
    match (nobodys, anonymous) {
        (None, true) => Authenticated::Anonymous,
        (nobodys, _) => Authenticated::Refused(nobodys),
    }
}

fn ask_all(of: &[AuthenticatorIndex], mut ask: impl FnMut(AuthenticatorIndex) -> Said) -> Authenticated {
    let mut first: Option<Consumer> = None;
    for index in of {
        let consumer = match ask(*index) {
            Said::Nothing => return Authenticated::Refused(None),
            Said::Foreign => return Authenticated::Refused(Some((*index, Flaw::Issuer))),
            Said::Refused(flaw) => return Authenticated::Refused(Some((*index, flaw))),
            Said::Unsettled => return Authenticated::Unsettled(*index),
            Said::Vouched(consumer) => consumer,
        };
        match &mut first {
            None => first = Some(consumer),
            Some(first) => first.learn(consumer),
        }
    }
    first.map_or(Authenticated::Refused(None), Authenticated::As)
}
