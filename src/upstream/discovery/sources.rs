//! Everything that is looked up: who wants it, what became of it, what is told of
//! it.
//!
//! Owns the table, the log lines and the counts. Does not look: `rounds` does, and
//! brings outcomes.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::{
    super::{EndpointSource, Found, FoundSet},
    files::Seen,
    history::{Answer, Bounds, History, News, Odd},
    names::Families,
    user::User,
};
use crate::{
    config::Config,
    telemetry::metrics::{LookupResult, SourceGauges},
};

/// By source.
#[derive(Default)]
pub(super) struct Sources(HashMap<EndpointSource, Entry>);

/// Who uses which source.
pub(super) type Wanted = HashMap<EndpointSource, Vec<User>>;

struct Entry {
    users: Vec<User>,
    history: History,
    /// Of the snapshot that serves; else only of one that may come to.
    followed: bool,
    under_way: bool,
    /// What is under way goes by an older configuration.
    outdated: bool,
    seen: Seen,
    lookups: [u64; LookupResult::ALL.len()],
}

/// What a look has to know of what was before.
pub(super) struct Task {
    pub(super) source: EndpointSource,
    pub(super) had: Families,
    pub(super) seen: Seen,
}

/// A look that is over.
pub(super) struct Looked {
    pub(super) source: EndpointSource,
    /// `None`: nothing new.
    pub(super) outcome: Option<Result<Answer, Failed>>,
    pub(super) seen: Seen,
}

/// Why, and what is wrong in detail.
pub(super) type Failed = (LookupResult, Vec<String>);

/// What is told of a source by `tollgate status`.
#[derive(Debug)]
pub struct SourceView {
    /// As it is written.
    pub source: String,
    /// How many endpoints it stands for; `None` when that was never known.
    pub endpoints: Option<usize>,
    /// Since when look-ups fail, and how.
    pub failing: Option<(Duration, &'static str)>,
    /// When it is looked up again.
    pub next: Duration,
}

/// What the upstreams of a configuration stand on, and its limits.
pub(super) fn wanted(config: &Config) -> Wanted {
    let mut wanted = Wanted::new();
    for upstream in &config.upstreams {
        let file = upstream.spec.endpoints_file.as_ref().map(|file| config.resolve(file));
        for source in EndpointSource::all_of(&upstream.spec, file) {
            wanted.entry(source).or_default().push(User::Upstream(upstream.spec.name.as_str().into()));
        }
    }
    if let Some(file) = &config.fleet.gateways_file {
        wanted.entry(EndpointSource::File(config.resolve(file))).or_default().push(User::Fleet);
    }
    wanted
}

impl Sources {
    /// Takes in what nobody follows yet, to be looked up before it is.
    pub(super) fn begin(&mut self, wanted: &Wanted, now: Instant) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (source, users) in wanted {
            let entry = self.0.entry(source.clone()).or_insert_with(|| Entry::new(now));
            if !entry.followed {
                entry.users.clone_from(users);
                tasks.push(entry.task(source));
            }
        }
        tasks
    }

    /// Says which of these were not found.
    pub(super) fn missing(&self, wanted: &Wanted) -> Vec<(EndpointSource, Vec<User>)> {
        let unheard = |source: &&EndpointSource| {
            let history = self.0.get(*source).map(|entry| &entry.history);
            history.is_some_and(|history| history.set().is_none() && history.failing().is_none())
        };
        let missing = wanted.keys().filter(unheard);
        missing.filter_map(|source| Some((source.clone(), wanted.get(source)?.clone()))).collect()
    }

    /// From now on it is these. With `anew`, what that holds of them: it is told of
    /// each set whether it may stay, and all are looked up at once. Says whether
    /// `found` lost any of these.
    pub(super) fn follow(
        &mut self,
        wanted: Wanted,
        anew: Option<&dyn Fn(&FoundSet) -> bool>,
        found: &Found,
        now: Instant,
    ) -> bool {
        let mut lost = false;
        self.0.retain(|source, _| {
            let keeps = wanted.contains_key(source);
            if !keeps {
                found.forget(source);
            }
            keeps
        });
        for (source, users) in wanted {
            let entry = self.0.entry(source.clone()).or_insert_with(|| Entry::new(now));
            entry.users = users;
            if let Some(may_stay) = anew.filter(|_| entry.followed && !source.is_file()) {
                lost |= entry.renew(may_stay, now) && found.forget(&source);
            }
            entry.followed = true;
        }
        lost
    }

    /// Takes out what is due, at most so many.
    pub(super) fn due(&mut self, most: usize, now: Instant) -> Vec<Task> {
        let due = self.0.iter_mut().filter(|(_, entry)| entry.is_idle() && entry.history.next() <= now);
        let begin = |(source, entry): (&EndpointSource, &mut Entry)| {
            entry.under_way = true;
            entry.task(source)
        };
        due.take(most).map(begin).collect()
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter(|entry| entry.is_idle()).map(|entry| entry.history.next()).min()
    }

    /// Takes a look in; says whether `found` changed. One of a source that is gone
    /// by now is forgotten.
    pub(super) fn settle(&mut self, looked: Looked, bounds: &Bounds, found: &Found, now: Instant) -> bool {
        let Looked { source, outcome, seen } = looked;
        let Some(entry) = self.0.get_mut(&source) else { return false };
        entry.under_way = false;
        entry.seen = seen;
        if std::mem::take(&mut entry.outdated) {
            entry.history.hurry(now);
            return false;
        }
        let Some(outcome) = outcome else {
            entry.history.wait(now, bounds.retry.0);
            return false;
        };
        let (result, details) = match &outcome {
            Ok(_) => (LookupResult::Found, Vec::new()),
            Err((why, details)) => (*why, details.clone()),
        };
        entry.count(result);
        let outcome = outcome.map_err(|(why, _)| why);
        let mut news = entry.history.settle(outcome, bounds, now, fastrand::f64());
        if source.is_file() && result != LookupResult::Found && news.is_empty() {
            // It changed from bad to bad: another thing to mend.
            news.push(News::Failing(result));
        }
        for user in &entry.users {
            news.iter().for_each(|news| tell(user, &source, news, entry, bounds));
        }
        details.iter().for_each(|detail| log::warn!("endpoints file: {detail}"));
        entry.publish(&source, &news, found)
    }

    /// What an upstream stands on.
    pub(super) fn views(&self, upstream: &str, now: Instant) -> Vec<SourceView> {
        let followed = self.0.iter().filter(|(_, entry)| entry.followed);
        let used = followed.filter(|(_, entry)| entry.users.iter().any(|user| user.is_upstream(upstream)));
        let used: BTreeSet<&EndpointSource> = used.map(|(source, _)| source).collect();
        used.into_iter().filter_map(|source| Some(self.0.get(source)?.view(source, now))).collect()
    }

    /// What is told at a scrape.
    pub(super) fn gauges(&self, now: Instant) -> Vec<SourceGauges> {
        let followed = self.0.iter().filter(|(_, entry)| entry.followed);
        let each = followed.flat_map(|(source, entry)| {
            entry.users.iter().map(move |user| SourceGauges {
                upstream: user.label().to_owned(),
                source: source.to_string(),
                lookups: entry.lookups,
                endpoints: entry.endpoints().unwrap_or_default(),
                age: entry.history.confirmed().map(|at| now.saturating_duration_since(at)),
                stale: entry.history.failing().is_some(),
            })
        });
        each.collect()
    }
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            users: Vec::new(),
            history: History::new(now),
            followed: false,
            under_way: false,
            outdated: false,
            seen: Seen::default(),
            lookups: [0; LookupResult::ALL.len()],
        }
    }

    fn task(&self, source: &EndpointSource) -> Task {
        let set = self.history.set().filter(|_| !source.is_file());
        Task { source: source.clone(), had: Families::of(set), seen: self.seen }
    }

    /// To be looked up by another configuration, which may not let its set stay;
    /// says whether that is so.
    fn renew(&mut self, may_stay: impl Fn(&FoundSet) -> bool, now: Instant) -> bool {
        self.outdated = self.under_way;
        self.history.hurry(now);
        let goes = self.history.set().is_some_and(|set| !may_stay(set));
        if goes {
            self.history = History::new(now);
        }
        goes
    }

    fn is_idle(&self) -> bool {
        self.followed && !self.under_way
    }

    fn count(&mut self, result: LookupResult) {
        if let Some(count) = self.lookups.get_mut(result as usize) {
            *count += 1;
        }
    }

    fn endpoints(&self) -> Option<usize> {
        self.history.set().map(FoundSet::count)
    }

    fn publish(&self, source: &EndpointSource, news: &[News], found: &Found) -> bool {
        let changed = |news: &News| matches!(news, News::Changed { .. } | News::Dropped);
        if !news.iter().any(changed) {
            return false;
        }
        match self.history.set() {
            Some(set) => found.learn(source, set.clone()),
            None => found.forget(source),
        }
    }

    fn view(&self, source: &EndpointSource, now: Instant) -> SourceView {
        let failing = self.history.failing();
        SourceView {
            source: source.to_string(),
            endpoints: self.endpoints(),
            failing: failing.map(|f| (now.saturating_duration_since(f.since), f.why.word())),
            next: self.history.next().saturating_duration_since(now),
        }
    }
}

fn tell(user: &User, source: &EndpointSource, news: &News, entry: &Entry, bounds: &Bounds) {
    match news {
        News::Changed { added, removed, kept } => log::info!(
            "endpoints changed: {user} source={source} added={added} removed={removed} kept={kept}"
        ),
        News::Recovered => log::info!("endpoints are found again: {user} source={source}"),
        News::Failing(why) => match entry.endpoints() {
            Some(kept) => log::warn!(
                "endpoints not found, the last ones stay: {user} source={source} reason={} kept={kept}",
                why.word()
            ),
            None => {
                log::warn!("endpoints not found: {user} source={source} reason={}", why.word())
            }
        },
        News::Dropped => log::error!(
            "endpoints dropped, not found for too long: {user} source={source} keep_s={}",
            bounds.keep.unwrap_or_default().as_secs()
        ),
        News::LeftOut(Odd { refused, cut }) => log::warn!(
            "addresses left out: {user} source={source} refused={refused} beyond_max_addresses={cut}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        ttl: (Duration::from_secs(1), Duration::from_secs(300)),
        retry: (Duration::from_secs(1), Duration::from_secs(30)),
        keep: None,
    };

    fn source() -> EndpointSource {
        EndpointSource::Host("orders.internal".into(), 80)
    }

    fn wanted() -> Wanted {
        Wanted::from([(source(), vec![User::Upstream("orders".into())])])
    }

    fn looked(address: &str) -> Looked {
        let set = FoundSet::Addresses(vec![address.parse().unwrap()]);
        let answer = Answer { set, ttl: Duration::from_secs(5), odd: Odd::default() };
        Looked { source: source(), outcome: Some(Ok(answer)), seen: Seen::default() }
    }

    #[test]
    fn what_only_a_refused_reload_named_is_neither_looked_up_nor_told_and_goes_with_the_next() {
        let (mut sources, found, now) = (Sources::default(), Found::default(), Instant::now());
        sources.begin(&wanted(), now);
        sources.settle(looked("10.0.0.1:80"), &BOUNDS, &found, now);

        let later = now + Duration::from_secs(3600);
        assert_eq!(sources.due(9, later).len(), 0);
        assert!(sources.next().is_none());
        assert!(sources.gauges(later).is_empty() && sources.views("orders", later).is_empty());
        // It may be long ago by now.
        assert_eq!(sources.begin(&wanted(), later).len(), 1);
        sources.follow(Wanted::new(), None, &found, later);
        assert!(!found.knows(&source()));
    }

    #[test]
    fn a_look_that_began_by_an_older_configuration_counts_for_nothing() {
        let (mut sources, found, now) = (Sources::default(), Found::default(), Instant::now());
        sources.follow(wanted(), None, &found, now);
        assert_eq!((sources.due(9, now).len(), sources.due(9, now).len()), (1, 0));

        sources.follow(wanted(), Some(&|_| true), &found, now);

        assert!(!sources.settle(looked("127.0.0.1:80"), &BOUNDS, &found, now));
        assert!(!found.knows(&source()));
        assert_eq!(sources.due(9, now).len(), 1);
        assert!(sources.settle(looked("10.0.0.1:80"), &BOUNDS, &found, now));
        assert!(found.knows(&source()));
    }

    #[test]
    fn what_a_new_configuration_does_not_admit_goes_at_once() {
        let (mut sources, found, now) = (Sources::default(), Found::default(), Instant::now());
        sources.follow(wanted(), None, &found, now);
        sources.settle(looked("10.0.0.1:80"), &BOUNDS, &found, now);

        assert!(!sources.follow(wanted(), Some(&|_| true), &found, now));
        assert!(found.knows(&source()));
        assert!(sources.follow(wanted(), Some(&|_| false), &found, now));
        assert!(!found.knows(&source()));
    }
}
