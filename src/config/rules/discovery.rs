//! Rules for `discovery`.

use super::{At, Rules};
use crate::config::{discovery::DiscoverySpec, types::Span};

impl Rules for DiscoverySpec {
    fn check(&self, at: &mut At<'_>) {
        // With one of them lost, the others have other places.
        let placed = self.resolvers.iter().enumerate().filter(|_| at.is_whole("resolvers"));
        for (index, resolver) in placed.collect::<Vec<_>>() {
            if resolver.socket().port() == 0 {
                let text = format!("`{resolver}` has no port; write the port that it listens at, as `:53`");
                at.error(format!("resolvers[{index}]"), text);
            }
        }
        at.range("timeout", self.timeout, Span::millis(100), Span::secs(30));
        at.range("max_addresses", self.max_addresses, 1, 10_000);
        if self.min_ttl > self.max_ttl {
            let text = format!("`{}` is more than `max_ttl`; write at most `{}`", self.min_ttl, self.max_ttl);
            at.error("min_ttl", text);
        }
    }
}
