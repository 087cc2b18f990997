//! Rules for `location`.

use super::{At, Rules};
use crate::config::location::LocationSpec;

impl Rules for LocationSpec {
    fn check(&self, at: &mut At<'_>) {
        for (index, entry) in self.gateways_per_zone.iter().enumerate() {
            at.range(&format!("gateways_per_zone[{index}].gateways"), entry.gateways, 1, 100_000);
            let earlier = self.gateways_per_zone.iter().take(index);
            if earlier.map(|other| &other.zone).any(|zone| *zone == entry.zone) {
                let text = format!("`{}` is counted already; write each zone once", entry.zone);
                at.error(format!("gateways_per_zone[{index}].zone"), text);
            }
        }
        for (index, entry) in self.zone_names.iter().enumerate() {
            if self.zone_names.iter().take(index).any(|other| other.name == entry.name) {
                let text = format!("`{}` is a zone already; write each name once", entry.name);
                at.error(format!("zone_names[{index}].name"), text);
            }
        }
        if self.zone.is_none() && !self.gateways_per_zone.is_empty() {
            let text = "it counts for the own zone alone, and none is written; write `zone`";
            at.error("gateways_per_zone", text);
        }
    }
}
