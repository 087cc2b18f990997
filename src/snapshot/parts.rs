//! What a snapshot is made of that needs more than one section, or other files.
//!
//! Owns the order in which they are looked at, and what of a broken configuration is
//! looked at all the same.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use super::{AuthenticatorKind, Snapshot, store};
use crate::{
    config::{
        self, Config, Problems, Source, Sourced, authentication::AuthenticatorIndex, listener::ListenerSpec,
        signer::SignerIndex, tenant::TenantIndex, upstream::UpstreamSpec,
    },
    edge::ProxyProtocol,
    identity::Tenants,
    jwt::{Now, Signers},
    limit::store::StoreSettings,
    live::LiveState,
    route::{Before, Defaults, Names, Router, UpstreamIndex},
    tls::{TlsTable, UpstreamTls},
    upstream::{
        Upstream,
        peer::{PeerTls, Unfit},
    },
};

/// What is built from more than one section or from other files.
pub(super) struct Parts {
    pub(super) tls: Vec<Option<Arc<TlsTable>>>,
    pub(super) upstreams: Vec<Arc<Upstream>>,
    pub(super) upstream_tls: Vec<Option<UpstreamTerms>>,
    pub(super) tenants: Tenants,
    pub(super) router: Option<Router>,
    pub(super) store: Option<Arc<StoreSettings>>,
    pub(super) signers: Signers,
    pub(super) authenticators: Vec<Option<AuthenticatorKind>>,
}

impl Parts {
    /// What of `before` is as it was is used again.
    pub(super) fn build(
        config: &Config,
        before: Option<&Snapshot>,
        live: &LiveState,
        problems: &mut Problems,
    ) -> Self {
        let now = SystemTime::now();
        let tls = config.listeners.iter().map(|l| table(l, config, now, problems)).collect();
        let upstream_tls: Vec<_> =
            config.upstreams.iter().map(|u| upstream_tls(u, config, now, problems)).collect();
        let place = live.place(&config.location);
        let upstream = |(u, terms): (&Sourced<UpstreamSpec>, &Option<UpstreamTerms>)| {
            let known = live.upstream(&u.spec.name.as_str().into());
            let endpoints = live.endpoints(&u.spec, config);
            Arc::new(Upstream::new(
                &u.spec,
                endpoints,
                terms.as_ref().map(|terms| &terms.peer),
                &place,
                known,
            ))
        };
        let upstreams = config.upstreams.iter().zip(&upstream_tls).map(upstream).collect();
        let tenants = Tenants::build(&config.tenants, &config.privatelink, &config.main, problems);
        let before = before.map(|before| Before {
            router: &before.router,
            specs: &before.config().routes,
            defaults: defaults(before.config()),
            names: names(before.config()),
        });
        let known = (&defaults(config), &names(config));
        let router = Router::build_after(before, &config.routes, known, problems);
        let store = store::settings(config, now, problems);
        let resolve = |path: &Path| config.resolve(path);
        let signers = Signers::build(&config.signers, &resolve, &live.jwt, Now::read(), problems);
        let authentication = config.authentication.iter().enumerate();
        let authenticators = authentication
            .map(|(index, entry)| AuthenticatorKind::build(index, entry, (config, live), problems));
        let authenticators = authenticators.collect();
        Self { tls, upstreams, upstream_tls, tenants, router, store, signers, authenticators }
    }
}

fn defaults(config: &Config) -> Defaults {
    Defaults { max_body: config.requests.max_body.bytes(), paths: config.requests.paths() }
}

fn names(config: &Config) -> Names {
    let upstreams = config.upstreams.iter().enumerate();
    let tenants = config.tenants.iter().enumerate();
    let signers = config.signers.iter().enumerate();
    let authentication = config.authentication.iter().enumerate();
    Names {
        upstreams: upstreams.map(|(i, u)| (u.spec.name.clone(), UpstreamIndex(i))).collect(),
        tenants: tenants.map(|(i, t)| (t.spec.name.clone(), TenantIndex(i))).collect(),
        signers: signers.map(|(i, s)| (s.spec.name.clone(), SignerIndex(i))).collect(),
        authenticators: authentication.map(|(i, a)| (a.spec.name.clone(), AuthenticatorIndex(i))).collect(),
    }
}

/// Adds what the parts of a broken configuration have wrong, without what may
/// only follow from what is missing of it: nothing of an entry that is broken
/// itself, no unknown upstream or tenant while one of those is broken.
pub(super) fn everything_wrong(broken: config::Broken, live: &LiveState) -> Problems {
    let mut problems = broken.problems;
    let Some(rest) = broken.rest else { return problems };
    let mut further = Problems::default();
    Parts::build(&rest.config, None, live, &mut further);
    rest.locate(&mut further);
    let entry = |source: &Source| {
        let end = source.key.find(']').map_or(source.key.len(), |at| at + 1);
        (source.file.clone(), source.key.get(..end).unwrap_or_default().to_owned())
    };
    let bad: HashSet<_> = problems.iter().map(|problem| entry(&problem.source)).collect();
    let is_bad = |section| bad.iter().any(|(_, key)| key.is_empty() || key.starts_with(section));
    let (upstream_is_bad, tenant_is_bad) = (is_bad("upstreams"), is_bad("tenants"));
    // Of a file of keys, whose keys name tenants and limits.
    let names_are_bad = tenant_is_bad || is_bad("limits");
    for problem in further.iter() {
        let key = &problem.source.key;
        let follows = (upstream_is_bad && key.ends_with(".upstream"))
            || (tenant_is_bad && (key.contains(".tenants[") || key.starts_with("privatelink")))
            || (names_are_bad && key.starts_with("keys["));
        if !follows && !bad.contains(&entry(&problem.source)) {
            problems.add(problem.clone());
        }
    }
    problems.sort();
    problems
}

fn table(
    listener: &Sourced<ListenerSpec>,
    config: &Config,
    now: SystemTime,
    problems: &mut Problems,
) -> Option<Arc<TlsTable>> {
    let spec = listener.spec.tls.as_ref()?;
    let resolve = |path: &Path| config.resolve(path);
    TlsTable::build(spec, &listener.source.key("tls"), &resolve, now, problems).map(Arc::new)
}

pub(super) fn proxy_protocol(spec: &ListenerSpec) -> Option<Arc<ProxyProtocol>> {
    spec.proxy_protocol.as_ref().and_then(ProxyProtocol::new).map(Arc::new)
}

pub(super) fn upstream_tls(
    spec: &Sourced<UpstreamSpec>,
    config: &Config,
    now: SystemTime,
    problems: &mut Problems,
) -> Option<UpstreamTerms> {
    let tls = spec.spec.tls.as_ref()?;
    let resolve = |path: &Path| config.resolve(path);
    let built = UpstreamTls::build(tls, &spec.source.key("tls"), &resolve, now, problems)?;
    let peer = PeerTls {
        server_name: tls.server_name.clone(),
        ca: built.ca,
        client: built.client,
        verify_name: built.verify_name,
        check: Some(built.check.hook(|fault| Arc::new(Unfit(fault.word())))),
        identity: built.identity,
    };
    Some(UpstreamTerms { peer, shown: built.shown })
}

/// TLS towards an upstream.
#[derive(Clone)]
pub(super) struct UpstreamTerms {
    /// What connections need.
    pub(super) peer: PeerTls,
    /// The file of the certificate that the gateway shows, and until when it is valid.
    pub(super) shown: Option<(PathBuf, SystemTime)>,
}
