//! Takes zones out of the tiers by hand, and back in.
//!
//! Owns the decision: a zone without which the rest would be overloaded stays,
//! unless forced. One change at a time, so that two together cannot take out
//! what each alone may.

use std::{fmt, sync::Arc, time::Instant};

use serde::Serialize;

use super::Reloader;
use crate::{
    config::Unknown,
    snapshot::Snapshot,
    upstream::{DrainEffect, Seen},
};

/// What became of a zone.
#[derive(Clone, Debug, Serialize)]
pub struct ZoneChange {
    /// Its name.
    pub zone: String,
    /// False: it was so already.
    pub changed: bool,
    /// Whether the rest is overloaded by it.
    pub forced: bool,
    /// The upstreams with endpoints there, and what is left of them.
    pub upstreams: Vec<DrainEffect>,
}

/// Why a zone stays as it is.
#[derive(Debug)]
pub enum ZoneRefused {
    /// No upstream has endpoints there.
    Unknown(Unknown),
    /// The rest would be overloaded.
    Overload(ZoneChange),
    /// Another process serves by now.
    Elsewhere,
}

impl fmt::Display for ZoneRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self {
            Self::Unknown(why) => return why.fmt(f),
            Self::Overload(change) => change,
            Self::Elsewhere => return write!(f, "another process serves by now; ask again"),
        };
        write!(f, "without {} the rest of these upstreams would be overloaded:", change.zone)?;
        let bad = change.upstreams.iter().filter(|effect| effect.overload.is_some());
        bad.clone().try_for_each(|effect| write!(f, "\n  {effect}"))?;
        write!(f, "\nnothing was changed; --force takes it out nevertheless")
    }
}

impl std::error::Error for ZoneRefused {}

impl Reloader {
    /// Takes a zone's endpoints out of the tiers, in panic too, until it is
    /// restored or the process ends. Refused when the rest would be overloaded,
    /// unless forced. Requests that are on their way finish.
    pub fn drain_zone(&self, zone: &str, force: bool, now: Instant) -> Result<ZoneChange, ZoneRefused> {
        let _turn = self.own_turn();
        if self.successor.get().is_some() {
            return Err(ZoneRefused::Elsewhere);
        }
        let alone = self.alone();
        let before = self.current.load();
        check(&before, zone)?;
        let upstreams = effects(&before, zone, now);
        let forced = upstreams.iter().any(|effect| effect.overload.is_some());
        let is_new = !before.place().is_drained(Some(zone));
        let change =
            ZoneChange { zone: zone.to_owned(), changed: is_new, forced: forced && is_new, upstreams };
        if !is_new {
            return Ok(change);
        }
        if forced && !force {
            return Err(ZoneRefused::Overload(change));
        }
        self.live.drain_zone(zone, true);
        self.refresh_alone(&alone);
        log::warn!(
            "zone drained by hand: zone={zone} forced={forced} upstreams={} endpoints={}",
            names(&change.upstreams),
            change.upstreams.iter().map(|effect| effect.endpoints).sum::<usize>()
        );
        Ok(change)
    }

    /// Takes a zone back in: its endpoints rise as those that come back do.
    pub fn restore_zone(&self, zone: &str, now: Instant) -> Result<ZoneChange, ZoneRefused> {
        let _turn = self.own_turn();
        if self.successor.get().is_some() {
            return Err(ZoneRefused::Elsewhere);
        }
        let alone = self.alone();
        let before = self.current.load();
        check(&before, zone)?;
        let changed = self.live.drain_zone(zone, false);
        self.refresh_alone(&alone);
        let upstreams = effects(&before, zone, now);
        if changed {
            log::info!("zone restored by hand: zone={zone} upstreams={}", names(&upstreams));
        }
        Ok(ZoneChange { zone: zone.to_owned(), changed, forced: false, upstreams })
    }
}

fn check(snapshot: &Snapshot, zone: &str) -> Result<(), ZoneRefused> {
    let known = snapshot.zones();
    Unknown::check("zone", zone, known.iter().map(|zone| &**zone)).map_err(ZoneRefused::Unknown)
}

fn effects(snapshot: &Snapshot, zone: &str, now: Instant) -> Vec<DrainEffect> {
    let place = snapshot.place();
    let without =
        |(spec, upstream): (_, &Arc<_>)| Seen { spec, upstream, home: place, place }.without_zone(zone, now);
    snapshot.with_specs().filter_map(without).collect()
}

fn names(effects: &[DrainEffect]) -> String {
    effects.iter().map(|effect| &*effect.upstream).collect::<Vec<_>>().join(",")
}
