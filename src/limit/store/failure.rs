//! What went wrong with the store, in the words of metrics.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::{limit::NoSeeds, telemetry::metrics::ExchangeResult};

/// Why the store is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreError {
    /// An exchange ended so.
    Exchange(ExchangeResult),
    /// It answers, and what it has in the place of seeds is none.
    Seeds,
}

impl StoreError {
    /// What operators call it: the word of the exchange, or `seeds`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exchange(result) => result.word(),
            Self::Seeds => "seeds",
        }
    }

    /// What the exchange is counted as.
    pub(super) fn result(self) -> ExchangeResult {
        match self {
            Self::Exchange(result) => result,
            Self::Seeds => ExchangeResult::Broken,
        }
    }
}

impl From<ExchangeResult> for StoreError {
    fn from(result: ExchangeResult) -> Self {
        Self::Exchange(result)
    }
}

impl From<NoSeeds> for StoreError {
    fn from(_: NoSeeds) -> Self {
        Self::Seeds
    }
}

/// How an exchange ended that ended with this.
pub(super) fn of(why: &RedisError) -> ExchangeResult {
    match why.kind() {
        ErrorKind::AuthenticationFailed => ExchangeResult::Unauthorized,
        ErrorKind::Io if why.is_timeout() => ExchangeResult::Timeout,
        ErrorKind::Io => ExchangeResult::Closed,
        ErrorKind::ClusterConnectionNotFound => ExchangeResult::Unreachable,
        ErrorKind::Server(kind) => of_server(kind, why),
        ErrorKind::Extension => of_code(why.code().unwrap_or_default()),
        _ => ExchangeResult::Broken,
    }
}

fn of_server(kind: ServerErrorKind, why: &RedisError) -> ExchangeResult {
    match kind {
        ServerErrorKind::ReadOnly => ExchangeResult::ReadOnly,
        ServerErrorKind::NoPerm => ExchangeResult::Unauthorized,
        ServerErrorKind::BusyLoading
        | ServerErrorKind::MasterDown
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::TryAgain
        | ServerErrorKind::Moved
        | ServerErrorKind::Ask => ExchangeResult::NotReady,
        // A script wraps what its commands say.
        _ => of_code(why.detail().unwrap_or_default()),
    }
}

/// By the word that an error begins with.
fn of_code(text: &str) -> ExchangeResult {
    let starts = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if starts(&["OOM"]) {
        ExchangeResult::Full
    } else if starts(&["NOAUTH", "WRONGPASS", "invalid password"]) {
        ExchangeResult::Unauthorized
    } else if starts(&["READONLY"]) {
        ExchangeResult::ReadOnly
    } else if starts(&["MISCONF", "BUSY"]) {
        ExchangeResult::NotReady
    } else {
        ExchangeResult::Refused
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn answered(line: &str) -> ExchangeResult {
        let value = parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap();
        of(&value.extract_error().unwrap_err())
    }

    #[test]
    fn what_the_store_says_is_told_in_a_word() {
        for (line, word) in [
            ("-OOM command not allowed when used memory > 'maxmemory'.", "full"),
            ("-READONLY You can't write against a read only replica.", "read_only"),
            ("-NOAUTH Authentication required.", "unauthorized"),
            ("-WRONGPASS invalid username-password pair or user is disabled.", "unauthorized"),
            ("-NOPERM this user has no permissions to run the 'evalsha' command", "unauthorized"),
            ("-LOADING Redis is loading the dataset in memory", "not_ready"),
            ("-CLUSTERDOWN The cluster is down", "not_ready"),
            ("-MOVED 3999 127.0.0.1:6381", "not_ready"),
            ("-MISCONF Redis is configured to save RDB snapshots", "not_ready"),
            ("-ERR unknown command", "refused"),
        ] {
            assert_eq!(answered(line).word(), word, "{line}");
        }
    }
}
