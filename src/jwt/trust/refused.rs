//! Why a token does not count.

/// Why a token does not count. The client never hears it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refused {
    /// It is not three parts with dots between: nothing that an issuer of tokens makes.
    NoToken,
    /// It is longer than any token should be.
    TooLong,
    /// A part is not base64url without padding and without bits that stand for nothing.
    Encoding,
    /// A part is no JSON object, or one with a name twice, or nested too deeply.
    Json,
    /// It asks for something that nobody here understands (`crit`).
    Critical,
    /// Its algorithm is none, shares a secret, is not accepted, or is not its key's.
    Algorithm,
    /// It is of another type (`typ`).
    Type,
    /// The issuer's key set has no such key.
    UnknownKey,
    /// It names no key, and the set has more than one that could be meant.
    NoKeyId,
    /// Nobody can tell: the issuer's keys were never had, or are too old.
    NoKeys,
    /// Its signature is not its key's.
    Signature,
    /// It expired, or says not when.
    Expired,
    /// It does not count yet.
    NotYet,
    /// Another made it.
    Issuer,
    /// It is for others.
    Audience,
    /// A claim that has to be there is not, or is another; or it names nobody.
    Claim,
    /// A scope that has to be there is not.
    Scope,
}

impl Refused {
    /// Whether it may count once the issuer's keys were fetched again.
    pub fn may_be_a_new_key(self) -> bool {
        matches!(self, Self::UnknownKey | Self::NoKeys)
    }
}
