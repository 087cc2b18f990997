//! Asks DNS: hickory's resolver, in our words.
//!
//! Owns who is asked, and how hickory's errors are read. Always holds: nothing is
//! cached here, since each name's own time to live says when to ask again; names
//! are whole ones, so that neither `ndots` nor search domains count; and
//! /etc/hosts is not read.

use std::{io, net::IpAddr, time::Duration};

use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType, rdata::SRV},
    },
    system_conf,
};

use crate::{config::discovery::DiscoverySpec, telemetry::metrics::LookupResult};

/// Who is asked.
pub(super) struct Resolver(TokioResolver);

/// The records of an answer, and how long they may be taken for true.
#[derive(Debug, PartialEq)]
pub(super) struct Records<T> {
    pub(super) records: Vec<T>,
    pub(super) ttl: Duration,
}

/// A record of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// Empty: there is no such service.
    pub(super) host: String,
}

/// One of the two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    V4,
    V6,
}

impl Resolver {
    /// Asks those of the configuration, else those of the system. Fails when the
    /// system's cannot be read.
    pub(super) fn new(spec: &DiscoverySpec) -> Result<Self, NetError> {
        let servers = match spec.resolvers.as_slice() {
            [] => system_conf::read_system_conf()?.0.into_parts().2,
            written => {
                written.iter().map(|address| server(address.socket().ip(), address.socket().port())).collect()
            }
        };
        let mut builder = Hickory::builder_with_config(
            ResolverConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        );
        *builder.options_mut() = options(spec);
        builder.build().map(Self)
    }

    /// A host's addresses of a family.
    pub(super) async fn addresses(
        &self,
        host: &str,
        family: Family,
    ) -> Result<Records<IpAddr>, LookupResult> {
        let kind = match family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        self.ask(host, kind, |data| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
        .await
    }

    /// A service's hosts.
    pub(super) async fn services(&self, name: &str) -> Result<Records<Service>, LookupResult> {
        self.ask(name, RecordType::SRV, |data| match data {
            RData::SRV(record) => Some(service(record)),
            _ => None,
        })
        .await
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<Records<T>, LookupResult> {
        let mut name = Name::from_ascii(name).map_err(|_| LookupResult::NoSuchName)?;
        name.set_fqdn(true);
        let answer = self.0.lookup(name, kind).await.map_err(|why| failure(&why))?;
        // Of the aliases on the way, too.
        let ttl = answer.answers().iter().map(|record| record.ttl).min().unwrap_or_default();
        let records: Vec<T> = answer.answers().iter().filter_map(|record| pick(&record.data)).collect();
        if records.is_empty() {
            return Err(LookupResult::Empty);
        }
        Ok(Records { records, ttl: Duration::from_secs(ttl.into()) })
    }
}

fn server(address: IpAddr, port: u16) -> NameServerConfig {
    let at = |connection: ConnectionConfig| {
        let mut connection = connection;
        connection.port = port;
        connection
    };
    // TCP for answers that do not fit.
    NameServerConfig::new(address, true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}

fn options(spec: &DiscoverySpec) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // Twice within the time of a look-up: one packet may be lost.
    options.timeout = spec.timeout.duration() / 2;
    options.attempts = 1;
    // More than are asked at once.
    options.max_active_requests = 256;
    options
}

fn service(record: &SRV) -> Service {
    let SRV { priority, weight, port, target, .. } = record;
    let host = target.to_ascii().to_ascii_lowercase();
    Service { priority: *priority, weight: *weight, port: *port, host: host.trim_end_matches('.').to_owned() }
}

fn failure(why: &NetError) -> LookupResult {
    let of_code = |code: ResponseCode| match code {
        ResponseCode::NXDomain => LookupResult::NoSuchName,
        ResponseCode::NoError => LookupResult::Empty,
        _ => LookupResult::ServerFailure,
    };
    match why {
        NetError::Dns(DnsError::NoRecordsFound(none)) => of_code(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => of_code(*code),
        NetError::Timeout => LookupResult::Timeout,
        NetError::Io(why) if why.kind() == io::ErrorKind::TimedOut => LookupResult::Timeout,
        _ => LookupResult::Unreachable,
    }
}
