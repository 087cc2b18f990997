//! Where the instance says that it runs: the metadata service, version 2.
//!
//! Owns the token step, the three questions and how long all of it may take. Asked
//! at start-up and by a reload that asks first; what it said is remembered. When
//! it says nothing the gateway serves without a zone of its own: an instance
//! must not stay down because its metadata service is.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{config::location::LocationSpec, live::LiveState, upstream::Place};

/// Asks, if the configuration wants it and nobody did. Blocks for at most a few
/// seconds. Whether something was learned.
pub fn learn(spec: &LocationSpec, live: &LiveState) {
    if !spec.asks_imds() || live.knows_place() {
        return;
    }
    match ask(&endpoint(), TIMEOUT) {
        Ok(place) => {
            log::info!(
                "location learned: zone={} region={}",
                place.zone.as_deref().unwrap_or("-"),
                place.region.as_deref().unwrap_or("-")
            );
            live.learn_place(place);
        }
        Err(why) => log::error!("location unknown, every zone counts as equally near: {why}"),
    }
}

/// Why the metadata service said nothing.
#[derive(Debug)]
enum Unknown {
    /// It cannot be reached, or broke off.
    Io(io::Error),
    /// It is no `http://ADDRESS:PORT`.
    Endpoint(String),
    /// It answered with another status.
    Status(&'static str, String),
    /// What it says is no zone.
    NoZone,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "the metadata service does not answer: error={why}"),
            Self::Endpoint(text) => {
                write!(f, "{VARIABLE}={text} is not an endpoint; write an address, as `{STANDARD}`")
            }
            Self::Status(path, line) => write!(f, "the metadata service refused: path={path} status={line}"),
            Self::NoZone => f.write_str("the metadata service told no zone id"),
        }
    }
}

impl From<io::Error> for Unknown {
    fn from(why: io::Error) -> Self {
        Self::Io(why)
    }
}

/// As AWS's own tools do it.
fn endpoint() -> String {
    std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()).unwrap_or_else(|| STANDARD.to_owned())
}

fn ask(endpoint: &str, timeout: Duration) -> Result<Place, Unknown> {
    let service = Service::at(endpoint, Instant::now() + timeout)?;
    let token = service.exchange("PUT", TOKEN, &format!("{TOKEN_TTL}: 60"))?;
    let token = format!("{TOKEN_FIELD}: {}", token.trim());
    let zone = service.exchange("GET", ZONE, &token)?;
    let zone = zone.trim().parse::<crate::config::types::Name>().map_err(|_| Unknown::NoZone)?;
    // Older services do not know it; the zone is what counts.
    let told = |path| {
        let text = service.exchange("GET", path, &token).ok()?;
        Some(Arc::from(text.trim())).filter(|text: &Arc<str>| !text.is_empty())
    };
    let (region, zone_name) = (told(REGION), told(ZONE_NAME));
    Ok(Place { zone: Some(zone.as_str().into()), zone_name, region, ..Place::default() })
}

/// Where to ask, and until when.
struct Service {
    address: SocketAddr,
    deadline: Instant,
}

impl Service {
    fn at(endpoint: &str, deadline: Instant) -> Result<Self, Unknown> {
        let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
        let bare = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match bare.unwrap_or(authority).parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, 80),
            Err(_) => authority.parse().map_err(|_| Unknown::Endpoint(endpoint.to_owned()))?,
        };
        Ok(Self { address, deadline })
    }

    /// One request on a connection of its own; the answer's body.
    fn exchange(&self, method: &str, path: &'static str, field: &str) -> Result<String, Unknown> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut stream = TcpStream::connect_timeout(&self.address, left)?;
        stream.set_read_timeout(Some(left))?;
        stream.set_write_timeout(Some(left))?;
        let host = self.address;
        stream.write_all(
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{field}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let line = head.lines().next().unwrap_or_default();
        match line.split(' ').nth(1) {
            Some("200") => Ok(body.to_owned()),
            _ => Err(Unknown::Status(path, line.to_owned())),
        }
    }
}

const VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const STANDARD: &str = "http://169.254.169.254";
const TOKEN: &str = "/latest/api/token";
const TOKEN_TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_FIELD: &str = "X-aws-ec2-metadata-token";
const ZONE: &str = "/latest/meta-data/placement/availability-zone-id";
const ZONE_NAME: &str = "/latest/meta-data/placement/availability-zone";
const REGION: &str = "/latest/meta-data/placement/region";
/// It is on the same machine; a hop limit of 1 behind a bridge drops silently.
const TIMEOUT: Duration = Duration::from_secs(2);
const LONGEST: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    use std::{io::BufRead, net::TcpListener, thread};

    use super::*;

    /// A metadata service that wants its token, and says this where.
    fn service(zone: (u16, &'static str)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = io::BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                let fields: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let has = |wanted: &str| fields.iter().any(|field| field.eq_ignore_ascii_case(wanted));
                let (status, body) = match request.split(' ').collect::<Vec<_>>()[..2] {
                    ["PUT", TOKEN] if has("x-aws-ec2-metadata-token-ttl-seconds: 60") => (200, "secret=="),
                    ["PUT", _] => (400, ""),
                    _ if !has("x-aws-ec2-metadata-token: secret==") => (401, ""),
                    ["GET", ZONE] => zone,
                    ["GET", REGION] => (200, "us-east-1"),
                    ["GET", ZONE_NAME] => (200, "us-east-1d"),
                    _ => (404, ""),
                };
                let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
        });
        endpoint
    }

    #[test]
    fn the_zone_and_the_region_are_asked_with_a_token() {
        let place = ask(&service((200, "use1-az4")), Duration::from_secs(20)).unwrap();

        assert_eq!((place.zone.as_deref(), place.region.as_deref()), (Some("use1-az4"), Some("us-east-1")));
        assert_eq!(place.zone_name.as_deref(), Some("us-east-1d"));
    }

    #[test]
    fn what_is_no_zone_is_none() {
        for (answer, wanted) in [((404, "nothing"), "status=HTTP/1.1 404 X"), ((200, "<html>"), "no zone id")]
        {
            let why = ask(&service(answer), Duration::from_secs(20)).unwrap_err().to_string();

            assert!(why.contains(wanted), "{why}");
        }
    }

    #[test]
    fn an_endpoint_is_an_address_with_or_without_a_port_or_a_scheme() {
        for (text, address) in [
            ("http://169.254.169.254", "169.254.169.254:80"),
            ("169.254.169.254:8080", "169.254.169.254:8080"),
            ("http://[fd00:ec2::254]", "[fd00:ec2::254]:80"),
            ("http://[fd00:ec2::254]:8080/", "[fd00:ec2::254]:8080"),
            ("fd00:ec2::254", "[fd00:ec2::254]:80"),
        ] {
            let service = Service::at(text, Instant::now());

            assert_eq!(service.map(|it| it.address.to_string()).ok().as_deref(), Some(address), "{text}");
        }
    }

    #[test]
    fn a_service_that_is_absent_or_silent_ends_in_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let begun = Instant::now();

        assert!(matches!(ask(&format!("http://{address}"), Duration::from_millis(50)), Err(Unknown::Io(_))));
        drop(silent);
        assert!(matches!(ask(&format!("http://{address}"), Duration::from_secs(2)), Err(Unknown::Io(_))));
        assert!(matches!(ask("metadata.internal", Duration::from_secs(2)), Err(Unknown::Endpoint(_))));
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}
