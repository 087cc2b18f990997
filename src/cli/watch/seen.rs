//! What two looks at the gateway told, and what follows from both.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;

/// What was seen until now.
pub struct Seen {
    /// Where the gateway is asked.
    pub socket: PathBuf,
    /// The last answer.
    pub now: Option<Value>,
    before: Option<Value>,
    /// Since when nothing answers, and why.
    silent: Option<(Instant, String)>,
    /// Another process answers than before: which, and since when.
    follows: Option<(u64, Instant)>,
}

impl Seen {
    /// Nothing yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), now: None, before: None, silent: None, follows: None }
    }

    /// One more look.
    pub fn take(&mut self, asked: io::Result<Value>, at: Instant) {
        match asked {
            Ok(answer) => self.answered(answer, at),
            Err(why) => {
                let since = self.silent.take().map_or(at, |(since, _)| since);
                self.silent = Some((since, told(&why)));
                // Nothing is known of the meantime until there is another answer.
                self.before = None;
            }
        }
    }

    fn answered(&mut self, answer: Value, at: Instant) {
        self.silent = None;
        // The gateway shows one answer for a moment: no time has passed in it.
        if self.now.as_ref().is_some_and(|now| same(now, &answer, "pid") && same(now, &answer, "uptime_ms")) {
            return;
        }
        let former = self.now.replace(answer);
        let Some(now) = &self.now else { return };
        let pid = |value: &Value| value.get("pid").and_then(Value::as_u64);
        let is_other = former.as_ref().is_some_and(|former| pid(former) != pid(now));
        if is_other {
            self.follows = former.as_ref().and_then(pid).map(|pid| (pid, at));
        }
        self.before = former.filter(|_| !is_other);
    }

    /// For how long nothing answers, and why.
    pub fn silent_for(&self, now: Instant) -> Option<(Duration, &str)> {
        let (since, why) = self.silent.as_ref()?;
        Some((now.saturating_duration_since(*since), why))
    }

    /// The process before the one that answers, for a minute after.
    pub fn follows(&self, now: Instant) -> Option<u64> {
        let (pid, since) = self.follows?;
        (now.saturating_duration_since(since) < Duration::from_secs(60)).then_some(pid)
    }

    /// How much a count grew in a second between the last two answers. `None` while there
    /// is one answer, and where the count began anew.
    pub fn rate(&self, count: impl Fn(&Value) -> u64) -> Option<f64> {
        let (now, before) = (self.now.as_ref()?, self.before.as_ref()?);
        let uptime = |value: &Value| value.get("uptime_ms").and_then(Value::as_u64);
        let spent = uptime(now)?.checked_sub(uptime(before)?).filter(|spent| *spent > 0)?;
        let grew = count(now).checked_sub(count(before))?;
        Some(grew as f64 * 1e3 / spent as f64)
    }

    /// For programs: the last answer, or why there is none.
    pub fn json(&self) -> Value {
        match (&self.silent, &self.now) {
            (Some((_, why)), _) => serde_json::json!({ "error": why }),
            (None, now) => now.clone().unwrap_or_default(),
        }
    }
}

fn same(a: &Value, b: &Value, key: &str) -> bool {
    a.get(key) == b.get(key)
}

fn told(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "no gateway listens".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the gateway does not answer".to_owned(),
        _ => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pid: u64, uptime_ms: u64, requests: u64) -> io::Result<Value> {
        Ok(serde_json::json!({ "pid": pid, "uptime_ms": uptime_ms, "requests": requests }))
    }

    fn requests(value: &Value) -> u64 {
        value.get("requests").and_then(Value::as_u64).unwrap()
    }

    #[test]
    fn a_rate_is_between_two_answers_of_one_process() {
        let (mut seen, at) = (Seen::new(Path::new("/s")), Instant::now());
        seen.take(answer(1, 1_000, 10), at);
        assert_eq!(seen.rate(requests), None);

        seen.take(answer(1, 3_000, 110), at);
        assert_eq!(seen.rate(requests), Some(50.0));
        seen.take(answer(1, 3_000, 110), at);
        assert_eq!(seen.rate(requests), Some(50.0), "the same answer again");

        seen.take(answer(2, 500, 3), at);
        assert_eq!((seen.rate(requests), seen.follows(at)), (None, Some(1)));
        seen.take(answer(2, 1_500, 5), at);
        assert_eq!(seen.rate(requests), Some(2.0));
        assert_eq!(seen.follows(at + Duration::from_secs(61)), None);
    }

    #[test]
    fn who_is_gone_is_gone_since_the_first_look_that_found_nobody() {
        let (mut seen, at) = (Seen::new(Path::new("/s")), Instant::now());
        let nobody = || Err(io::Error::from(io::ErrorKind::NotFound));
        seen.take(answer(1, 1_000, 10), at);

        seen.take(nobody(), at);
        seen.take(nobody(), at + Duration::from_secs(2));

        let later = at + Duration::from_secs(3);
        assert_eq!(seen.silent_for(later), Some((Duration::from_secs(3), "no gateway listens")));
        assert_eq!((seen.rate(requests), &seen.json()["error"]), (None, &"no gateway listens".into()));
        assert!(seen.now.is_some());
        seen.take(answer(1, 6_000, 20), later);
        assert_eq!((seen.silent_for(later), seen.rate(requests)), (None, Some(2.0)));
    }
}
