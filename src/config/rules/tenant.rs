//! Rules for `tenants` and `privatelink`.

use super::{At, Rules};
use crate::config::tenant::{PrivateLinkSpec, TenantSpec, UNKNOWN_TENANT};

impl Rules for TenantSpec {
    fn check(&self, at: &mut At<'_>) {
        if self.vpc_endpoints.is_empty() && at.is_whole("vpc_endpoints") {
            at.error("vpc_endpoints", "nobody is this tenant; write at least one id of a VPC endpoint");
        }
        if self.name.as_str() == UNKNOWN_TENANT {
            let text = "metrics call endpoints of no tenant `unknown`; write another name";
            at.error("name", text);
        }
    }
}

impl Rules for PrivateLinkSpec {
    fn check(&self, _: &mut At<'_>) {}
}
