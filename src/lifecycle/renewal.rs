//! Takes certificates, keys, authorities and files of API keys again when they change.
//!
//! Owns when files are looked at and what is told of those that do not fit. The
//! configuration is not watched: a file that an editor has half written is no intent.
//! A certificate that somebody renews is, every time.
//!
//! Files are looked at as `endpoints_file`s are, by what `stat` says, twice a second; a
//! change counts once two looks in a row see the same. A key that is there before its
//! chain is no error at once: what was shown goes on, and each further change is
//! another try. Only what fits after a minute neither is told, once.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::reload::Reloader;
use crate::{
    config::{Problems, Severity, authentication::AuthenticatorIndex},
    snapshot::{Snapshot, TlsFiles},
    telemetry::{metrics::CertificateReload, short_hash},
};

/// What was seen of files, and what does not fit.
#[derive(Default)]
pub(super) struct Renewals {
    /// At the last look.
    seen: Option<TlsFiles>,
    /// When it was last tried to take these.
    tried: Option<(TlsFiles, Instant)>,
    misfits: BTreeMap<String, Misfit>,
}

struct Misfit {
    since: Instant,
    told: bool,
}

/// Files of certificates that changed and cannot be taken.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct MisfitStatus {
    pub problem: String,
    pub for_seconds: u64,
}

/// Looks at the files of the snapshot that serves for as long as the process lives.
/// Fails when the system gives no thread.
pub fn watch_certificates(reloader: Arc<Reloader>) -> io::Result<()> {
    let watch = move || {
        loop {
            thread::sleep(BETWEEN_LOOKS);
            // A watch that ended unheard would let certificates expire.
            let look = std::panic::AssertUnwindSafe(|| reloader.look_at_certificates(Instant::now()));
            if std::panic::catch_unwind(look).is_err() {
                log::error!("files of certificates could not be looked at; the next look tries again");
            }
        }
    };
    thread::Builder::new().name("certificates".to_owned()).spawn(watch).map(drop)
}

impl Reloader {
    /// What changed on the disk and does not fit.
    pub fn misfits(&self, now: Instant) -> Vec<MisfitStatus> {
        let misfits = |(problem, misfit): (&String, &Misfit)| MisfitStatus {
            problem: problem.clone(),
            for_seconds: now.saturating_duration_since(misfit.since).as_secs(),
        };
        self.renewals().misfits.iter().map(misfits).collect()
    }

    /// One look; it takes what changed and stands still.
    fn look_at_certificates(&self, now: Instant) {
        let serving = self.current.load();
        let files = TlsFiles::look(serving.config());
        if self.renewals().look(&serving, &files, now) {
            self.renew(&serving, &files, now);
        }
        self.tell_misfits(now);
    }

    fn renew(&self, looked_at: &Arc<Snapshot>, files: &TlsFiles, now: Instant) {
        let _alone = self.alone();
        let before = self.current.load();
        if !Arc::ptr_eq(&before, looked_at) {
            // The next look is at the files that this one names.
            return;
        }
        let renewal = before.renewed(files, &self.live);
        let is_whole = !renewal.problems.has_errors();
        self.renewals().tried(files.clone(), &renewal.problems, now);
        if renewal.is_new {
            let (generation, hash) = (before.generation, short_hash(&before.hash));
            if renewal.changed > 0 || renewal.authenticators.is_empty() {
                log::info!(
                    "certificates read again: changed={} generation={generation} hash={hash}",
                    renewal.changed
                );
            }
            let names = renewal.authenticators.iter().filter_map(|index| {
                renewal.next.authentication.get(AuthenticatorIndex(*index)).map(|one| &*one.name)
            });
            names.for_each(|name| {
                log::info!("authentication read again: name={name} generation={generation} hash={hash}");
            });
            drop(before);
            self.publish(renewal.next);
        }
        if is_whole {
            let warnings = renewal.problems.iter().filter(|p| p.severity == Severity::Warning);
            warnings.for_each(|warning| log::warn!("{warning}"));
            self.metrics.configuration().certificates_read(CertificateReload::Taken);
        }
    }

    fn tell_misfits(&self, now: Instant) {
        let mut renewals = self.renewals();
        let is_due =
            |misfit: &&mut Misfit| !misfit.told && now.saturating_duration_since(misfit.since) >= TOLD_AFTER;
        let mut told = 0;
        for (problem, misfit) in renewals.misfits.iter_mut() {
            if let Some(misfit) = Some(misfit).filter(is_due) {
                misfit.told = true;
                told += 1;
                log::warn!("file not taken, what it held goes on: {problem}");
            }
        }
        if told > 0 {
            self.metrics.configuration().certificates_read(CertificateReload::Refused);
        }
    }

    fn renewals(&self) -> MutexGuard<'_, Renewals> {
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Renewals {
    /// Whether it is time to try to take these.
    fn look(&mut self, serving: &Snapshot, files: &TlsFiles, now: Instant) -> bool {
        if files == serving.tls_files() {
            *self = Self::default();
            return false;
        }
        self.is_to_try(files, now)
    }

    /// Whether these files stand still and were not tried yet, or long ago: it may have
    /// been the machine that could not read them.
    fn is_to_try(&mut self, files: &TlsFiles, now: Instant) -> bool {
        let is_still = self.seen.as_ref() == Some(files);
        self.seen = Some(files.clone());
        let is_known = self
            .tried
            .as_ref()
            .is_some_and(|(tried, at)| tried == files && now.saturating_duration_since(*at) < BETWEEN_TRIES);
        is_still && !is_known
    }

    /// What did not fit before and does not fit now has not fitted since then.
    fn tried(&mut self, files: TlsFiles, problems: &Problems, now: Instant) {
        self.tried = Some((files, now));
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        let mut before = std::mem::take(&mut self.misfits);
        for problem in errors.map(|problem| problem.to_string().trim_end().to_owned()) {
            let misfit = before.remove(&problem).unwrap_or(Misfit { since: now, told: false });
            self.misfits.insert(problem, misfit);
        }
    }
}

/// As `endpoints_file`s; what changes counts after two.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Of files that did not change since.
const BETWEEN_TRIES: Duration = Duration::from_secs(10);

/// Who renews writes a chain and a key within seconds.
const TOLD_AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Source,
        lifecycle::reload::tests::reloader,
        tls::testing::{self, Kind, VALID},
    };

    fn files(text: &str) -> TlsFiles {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollgate.yaml");
        std::fs::write(&path, format!("listeners: [{{ name: l, address: 127.0.0.1:80{text} }}]")).unwrap();
        TlsFiles::look(&crate::config::load(&path).unwrap().config)
    }

    #[test]
    fn what_stands_still_is_tried_once_and_again_after_a_while() {
        let (one, now) = (files(", tls: { certificates: [{ chain: a, key: b }] }"), Instant::now());
        let mut renewals = Renewals::default();

        assert!(!renewals.is_to_try(&one, now), "it may be half written");
        assert!(renewals.is_to_try(&one, now));
        renewals.tried(one.clone(), &Problems::default(), now);
        assert!(!renewals.is_to_try(&one, now + BETWEEN_LOOKS));
        assert!(renewals.is_to_try(&one, now + BETWEEN_TRIES));
        let other = files("");
        assert!(!renewals.is_to_try(&other, now + BETWEEN_TRIES));
        assert!(renewals.is_to_try(&other, now + BETWEEN_TRIES));
    }

    #[test]
    fn what_does_not_fit_for_a_minute_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let authority = testing::ca("Test root").unwrap();
        let issue = || testing::leaf(&authority, &["a.test"], Kind::Ecdsa, VALID).unwrap();
        let (old, new) = (issue(), issue());
        write("a.pem", &old.chain);
        write("a.key", &old.key);
        let tls = "tls: { certificates: [{ chain: a.pem, key: a.key }] }";
        write("tollgate.yaml", &format!("listeners: [{{ name: web, address: '127.0.0.1:0', {tls} }}]"));
        let (reloader, now) = (reloader(&folder), Instant::now());
        let counted = |result: &str| {
            let name = format!("tollgate_certificate_reloads_total{{result=\"{result}\"}} ");
            let page = reloader.metrics.render();
            page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
        };
        let looks = |after: Duration| (0..2).for_each(|_| reloader.look_at_certificates(now + after));

        write("a.pem", &new.chain);
        looks(Duration::ZERO);
        looks(TOLD_AFTER - BETWEEN_LOOKS);
        assert_eq!((reloader.misfits(now).len(), counted("refused")), (1, "0".to_owned()));
        looks(TOLD_AFTER);
        looks(TOLD_AFTER * 2);
        assert_eq!(reloader.misfits(now + TOLD_AFTER)[0].for_seconds, TOLD_AFTER.as_secs());
        assert_eq!((counted("refused"), counted("ok")), ("1".to_owned(), "0".to_owned()));

        write("a.key", &new.key);
        looks(TOLD_AFTER * 3);

        assert_eq!(
            (reloader.misfits(now).len(), counted("refused"), counted("ok")),
            (0, "1".into(), "1".into())
        );
        let serving = reloader.current.load();
        assert_eq!((serving.generation, serving.certificates().count()), (1, 1));
    }

    #[test]
    fn a_misfit_is_as_old_as_its_first_try() {
        let (files, now) = (files(""), Instant::now());
        let problems = |texts: &[&str]| {
            let mut problems = Problems::default();
            texts.iter().for_each(|text| problems.error(&Source::file("t.yaml"), *text));
            problems
        };
        let mut renewals = Renewals::default();
        renewals.tried(files.clone(), &problems(&["a", "b"]), now);

        renewals.tried(files, &problems(&["b", "c"]), now + TOLD_AFTER);

        let since: Vec<_> = renewals.misfits.iter().map(|(text, m)| (text.clone(), m.since - now)).collect();
        let named = |text: &str| format!("error: t.yaml: {text}");
        assert_eq!(since, [(named("b"), Duration::ZERO), (named("c"), TOLD_AFTER)]);
    }
}
