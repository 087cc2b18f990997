//! What a running process cannot change any more.

use crate::config::{Config, Problems, Source};

/// What this process cannot change any more, as problems of the new files.
pub(super) fn frozen(old: &Config, new: &Config) -> Problems {
    let mut problems = Problems::default();
    let mut must_stay = |differs: bool, source: &Source| {
        if differs {
            problems.error(
                source,
                "this changes by a restart or an upgrade alone: `tollgate upgrade`, or a restart where that is refused, as in a container; or write it as it was",
            );
        }
    };
    let names = |c: &Config| c.listeners.iter().map(|l| l.spec.name.clone()).collect::<Vec<_>>();
    must_stay(names(old) != names(new), &new.main.key("listeners"));
    if names(old) == names(new) {
        for (old, new) in old.listeners.iter().zip(&new.listeners) {
            must_stay(old.spec.address != new.spec.address, &new.source.key("address"));
            must_stay(old.spec.tls.is_some() != new.spec.tls.is_some(), &new.source.key("tls"));
        }
    }
    let (was, is) = (&old.connections, &new.connections);
    let connections = new.main.key("connections");
    must_stay(old.readiness != new.readiness, &new.main.key("readiness"));
    must_stay(old.admin != new.admin, &new.main.key("admin"));
    must_stay(old.runtime != new.runtime, &new.main.key("runtime"));
    must_stay(old.access_log != new.access_log, &new.main.key("access_log"));
    must_stay(was.max_streams != is.max_streams, &connections.key("max_streams"));
    must_stay(was.idle != is.idle, &connections.key("idle"));
    problems
}
