//! Where leased limits settle up, from what the operator wrote and a file of
//! authorities.

use std::{path::Path, sync::Arc, time::SystemTime};

use crate::{
    config::{Config, Problems},
    limit::store::StoreSettings,
    tls::authorities,
};

/// How it is reached, with the authorities that its certificate must come from. `None`
/// where none is written, and where something is wrong: then `problems` says what.
pub(super) fn settings(
    config: &Config,
    now: SystemTime,
    problems: &mut Problems,
) -> Option<Arc<StoreSettings>> {
    let spec = config.fleet.store.as_ref()?;
    let tls = config.main.key("fleet").key("store").key("tls");
    let path = spec.tls.as_ref().and_then(|tls| tls.ca.as_deref());
    let resolve = |path: &Path| config.resolve(path);
    let ca = path.map(|path| authorities(path, &tls.key("ca"), &resolve, now, problems));
    // Told already.
    let ca = ca.map_or(Some(None), |read| read.map(Some))?;
    match StoreSettings::new(spec, ca.as_deref()) {
        Ok(settings) => Some(Arc::new(settings)),
        Err(why) => {
            problems.error(&tls, format!("cannot be set up: {why}; check the authorities in `ca`"));
            None
        }
    }
}
