//! Fetches the keys of one issuer in time, for as long as somebody follows it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures::FutureExt;
use tokio::time::{Duration, sleep, timeout};

use super::{
    document::PlaceKind,
    key_set::KeySet,
    source::{Held, KeySource},
};
use crate::{config::Stamp, telemetry::metrics::KeyFetchResult};

/// Until it is dropped.
pub(super) async fn follow(source: Arc<KeySource>) {
    if let PlaceKind::File(path) = &source.place.kind {
        let (path, mut seen) = (path.clone(), None);
        loop {
            let stamp = Stamp::of(&path);
            if seen != Some(stamp) {
                seen = Some(stamp);
                fetch(&source).await;
            }
            // A token with an unknown key may come before its file is looked at.
            tokio::select! {
                () = sleep(BETWEEN_LOOKS) => {}
                () = source.wanted.notified() => seen = seen.filter(|_| !source.is_awaited()),
            }
        }
    }
    loop {
        tokio::select! {
            () = sleep(source.wait(Instant::now())) => {}
            // Who woke this may have been served by a fetch that was under way.
            () = source.wanted.notified() => if !source.is_awaited() { continue },
        }
        fetch(&source).await;
    }
}

/// Fetches it once; who is late takes what another fetched meanwhile for the own.
pub(super) async fn fetch(source: &KeySource) {
    let before = source.view(Instant::now()).counts;
    let _alone = source.turn.lock().await;
    if source.view(Instant::now()).counts != before {
        return;
    }
    source.begin();
    let unfinished = Unfinished(Some(source));
    let fetched = timeout(source.terms.timeout, AssertUnwindSafe(held(source)).catch_unwind()).await;
    let fetched = fetched.unwrap_or(Ok(Err(KeyFetchResult::Timeout)));
    unfinished.end();
    source.end(fetched.unwrap_or(Err(KeyFetchResult::Broken)), Instant::now());
}

async fn held(source: &KeySource) -> Result<Held, KeyFetchResult> {
    let document = source.place.fetch(&source.tls).await?;
    let keys = KeySet::parse(&document)?;
    Ok(Held { keys, document: document.into(), since: Instant::now() })
}

/// A fetch that may be dropped before its end: nobody waits for it then.
struct Unfinished<'s>(Option<&'s KeySource>);

impl Unfinished<'_> {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(source) = self.0 {
            source.abandon();
        }
    }
}

/// As endpoints files and certificates.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
