//! Looks sources up when they are due, for as long as the process lives.
//!
//! Owns how many look-ups are under way and what rules them. Always holds: a
//! source is looked up once at a time, and each look-up of a name ends.

use std::{
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, mpsc::SyncSender},
    time::{Duration, Instant},
};

use futures::FutureExt;
use hickory_resolver::net::NetError;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    super::{EndpointSource, Found, FoundSet, live::locked},
    files::{self, FileLook, Seen},
    history::{Answer, Bounds},
    names::Names,
    resolver::Resolver,
    screen::Screen,
    sources::{Failed, Looked, Sources, Task, Wanted},
};
use crate::{config::discovery::DiscoverySpec, telemetry::metrics::LookupResult};

/// How it is looked up, as a configuration says.
pub(super) struct Looker {
    spec: DiscoverySpec,
    /// Holds whether or not anybody can be asked.
    screen: Screen,
    /// Empty: nobody can be asked yet, as at a boot before /etc/resolv.conf is there.
    resolver: OnceLock<Resolver>,
    build: Build,
    timeout: Duration,
    bounds: Bounds,
}

impl Looker {
    /// As this configuration says. Who is asked is read anew, if anybody has to be.
    pub(super) fn new(spec: &DiscoverySpec, wanted: &Wanted) -> Self {
        Self::built_by(Box::new(Resolver::new), spec, wanted)
    }

    fn built_by(build: Build, spec: &DiscoverySpec, wanted: &Wanted) -> Self {
        let ttl = (spec.min_ttl.duration(), spec.max_ttl.duration());
        let keep = Some(spec.keep.duration());
        let retry = (RETRY.0.min(ttl.1), RETRY.1.min(ttl.1));
        let looker = Self {
            spec: spec.clone(),
            screen: Screen::new(&spec.allow),
            resolver: OnceLock::new(),
            build,
            timeout: spec.timeout.duration(),
            bounds: Bounds { ttl, retry, keep },
        };
        if wanted.keys().any(|source| !source.is_file())
            && let Err(why) = looker.resolver()
        {
            log::warn!("no resolver to ask for names of endpoints, each look tries again: error={why}");
        }
        looker
    }

    /// Whether an endpoint may be at each address of a set.
    pub(super) fn admits(&self, set: &FoundSet) -> bool {
        set.addresses().iter().all(|address| self.screen.admits(address.ip()))
    }

    /// Whom to ask; tries again to find out while that is not known.
    fn resolver(&self) -> Result<&Resolver, NetError> {
        match self.resolver.get() {
            Some(resolver) => Ok(resolver),
            None => {
                let built = (self.build)(&self.spec)?;
                Ok(self.resolver.get_or_init(|| built))
            }
        }
    }

    fn names(&self) -> Result<Names<'_>, LookupResult> {
        let resolver = self.resolver().map_err(|_| LookupResult::Unreachable)?;
        let most = usize::try_from(self.spec.max_addresses).unwrap_or(usize::MAX);
        Ok(Names { resolver, screen: &self.screen, most })
    }

    /// What rules a source.
    pub(super) fn bounds(&self, source: &EndpointSource) -> Bounds {
        let looks = (files::BETWEEN_LOOKS, files::BETWEEN_LOOKS);
        match source {
            EndpointSource::File(_) => Bounds { ttl: looks, retry: looks, keep: None },
            EndpointSource::Host(..) | EndpointSource::Service(_) => self.bounds,
        }
    }

    /// Looks up; ends in time, whatever happens.
    pub(super) async fn look(&self, task: Task) -> Looked {
        let Task { source, had, seen } = task;
        if let EndpointSource::File(path) = &source {
            let (outcome, seen) = look_at_file(path.clone(), seen).await;
            return Looked { source, outcome, seen };
        }
        let asked = async {
            let names = self.names()?;
            match &source {
                EndpointSource::Host(host, port) => names.host(host, *port, had).await,
                EndpointSource::Service(name) => names.service(name, had).await,
                EndpointSource::File(_) => Err(LookupResult::BadFile),
            }
        };
        let whole = tokio::time::timeout(self.timeout, asked);
        // One that never ended would never be looked up again.
        let outcome = AssertUnwindSafe(whole).catch_unwind().await;
        let outcome = outcome.unwrap_or(Ok(Err(LookupResult::Unreachable)));
        let outcome = outcome.unwrap_or(Err(LookupResult::Timeout)).map_err(|why| (why, Vec::new()));
        Looked { source, outcome: Some(outcome), seen }
    }
}

/// Fails while nobody is known whom to ask.
type Build = Box<dyn Fn(&DiscoverySpec) -> Result<Resolver, NetError> + Send + Sync>;

async fn look_at_file(path: PathBuf, mut seen: Seen) -> (Option<Result<Answer, Failed>>, Seen) {
    let before = seen;
    let look = move || (files::look(&path, &mut seen), seen);
    match tokio::task::spawn_blocking(look).await {
        Ok((FileLook::Same, seen)) => (None, seen),
        Ok((FileLook::Read(read), seen)) => (Some(read), seen),
        Err(why) => (Some(Err((LookupResult::BadFile, vec![why.to_string()]))), before),
    }
}

/// What look-ups share with whoever asks about them.
pub(super) struct Shared {
    pub(super) sources: Mutex<Sources>,
    pub(super) found: Arc<Found>,
    /// Hears that something changed; one word is enough for many.
    pub(super) changed: SyncSender<()>,
}

impl Shared {
    /// Takes a look in; says whether anything changed.
    pub(super) fn settle(&self, looked: Looked, looker: &Looker) -> bool {
        let bounds = looker.bounds(&looked.source);
        locked(&self.sources).settle(looked, &bounds, &self.found, Instant::now())
    }
}

/// Looks up what is due.
pub(super) struct Rounds {
    pub(super) shared: Arc<Shared>,
    pub(super) looker: Arc<Looker>,
}

impl Rounds {
    /// Until nobody can order anything any more.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Arc<Looker>>) {
        let mut looks: JoinSet<Looked> = JoinSet::new();
        loop {
            let now = Instant::now();
            self.begin(&mut looks, &mut orders, now);
            // With every place taken, the next thing to happen is that one ends.
            let next = locked(&self.shared.sources).next().filter(|_| looks.len() < MOST_LOOKS);
            let wake = next.map_or(now + IDLE, |due| due.max(now + TICK));
            tokio::select! {
                Some(looked) = looks.join_next() => {
                    if looked.is_ok_and(|looked| self.shared.settle(looked, &self.looker)) {
                        // Full: it is going to look anyway.
                        let _ = self.shared.changed.try_send(());
                    }
                }
                order = orders.recv() => match order {
                    Some(looker) => self.looker = looker,
                    None => return,
                },
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn begin(
        &mut self,
        looks: &mut JoinSet<Looked>,
        orders: &mut mpsc::UnboundedReceiver<Arc<Looker>>,
        now: Instant,
    ) {
        let room = MOST_LOOKS.saturating_sub(looks.len());
        let due = locked(&self.shared.sources).due(room, now);
        // Orders are sent before what they are about is due: whatever rules the
        // ones taken out is here by now.
        while let Ok(looker) = orders.try_recv() {
            self.looker = looker;
        }
        for task in due {
            let looker = self.looker.clone();
            looks.spawn(async move { looker.look(task).await });
        }
    }
}

/// A resolver answers in milliseconds. When it is silent a look-up takes its whole
/// timeout, so that 16 a second are tried.
pub(super) const MOST_LOOKS: usize = 32;

/// After a failure: soon, for it may have been one packet; then seldom, for a
/// resolver that fails has enough to do.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

const TICK: Duration = Duration::from_millis(2);
const IDLE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    };

    use super::{super::user::User, *};

    fn source() -> EndpointSource {
        EndpointSource::Host("orders.internal".into(), 80)
    }

    fn wanted() -> Wanted {
        Wanted::from([(source(), vec![User::Upstream("orders".into())])])
    }

    fn nobody() -> Build {
        Box::new(|_| Err(NetError::from("nobody to ask")))
    }

    #[tokio::test]
    async fn whom_to_ask_is_tried_to_find_out_at_each_look_until_it_is_known() {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let build: Build = Box::new(move |spec| match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Err(NetError::from("nobody to ask")),
            _ => Resolver::new(spec),
        });
        let spec: DiscoverySpec =
            serde_yaml::from_str("{ resolvers: [\"127.0.0.1:1\"], timeout: 100ms }").unwrap();
        let looker = Looker::built_by(build, &spec, &wanted());
        assert!(looker.resolver.get().is_none());

        for _ in 0..2 {
            let task = Task { source: source(), had: Default::default(), seen: Seen::default() };
            assert!(looker.look(task).await.outcome.unwrap().is_err());
        }

        assert!(looker.resolver.get().is_some());
        assert_eq!(tries.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_may_not_be_is_not_admitted_either_while_nobody_can_be_asked() {
        let looker = Looker::built_by(nobody(), &DiscoverySpec::default(), &wanted());
        let set = |text: &str| FoundSet::Addresses(vec![text.parse().unwrap()]);

        assert!(looker.admits(&set("10.0.0.1:80")));
        assert!(!looker.admits(&set("127.0.0.1:80")));
    }

    #[tokio::test]
    async fn a_look_that_is_due_by_a_new_order_goes_by_it() {
        let by = || Arc::new(Looker::built_by(nobody(), &DiscoverySpec::default(), &wanted()));
        let (old, new) = (by(), by());
        let (changed, _changes) = sync_channel(1);
        let shared = Arc::new(Shared { sources: Mutex::default(), found: Arc::default(), changed });
        let mut rounds = Rounds { shared: shared.clone(), looker: old };
        let (order, mut orders) = mpsc::unbounded_channel();
        order.send(new.clone()).ok().unwrap();
        let (mut looks, now) = (JoinSet::new(), Instant::now());
        locked(&shared.sources).follow(wanted(), None, &shared.found, now);

        rounds.begin(&mut looks, &mut orders, now);

        assert_eq!(looks.len(), 1);
        assert!(Arc::ptr_eq(&rounds.looker, &new));
    }
}
