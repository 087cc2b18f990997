//! Which signer vouches, for which upstream, and what for: out of a configuration.

use crate::{
    cli::{BAD_CONFIG, ConfigFile, USAGE},
    config::{
        self, Config, Problems, Sourced, Unknown,
        signer::{BindSpec, BodyMode, ProfileSpec, SignerSpec},
        types::Name,
    },
    jwt::{JwtLive, Now, Signers},
};

/// What names the signer.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("vouches").required(true))]
pub struct Arguments {
    // Its signer's folder of keys has to be readable.
    #[command(flatten)]
    config: ConfigFile,
    /// The route whose signer vouches, and whose first upstream is asked.
    #[arg(long, group = "vouches")]
    route: Option<Name>,
    /// The signer itself; with --upstream where it has no `audience`.
    #[arg(long, group = "vouches")]
    signer: Option<Name>,
    /// What the upstream is called in the configuration: the audience, if the signer
    /// fixes none. Default: the route's first.
    #[arg(long)]
    upstream: Option<Name>,
    /// The tokens are of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// The tokens are of this consumer.
    #[arg(long)]
    consumer: Option<String>,
}

/// A signer with its keys, and whom it vouches for.
pub struct Setting {
    /// As it is written.
    pub signer: SignerSpec,
    /// It alone.
    pub signers: Signers,
    /// What the upstream is called.
    pub upstream: String,
    /// What the route is called.
    pub route: String,
    /// The zone that the configuration names.
    pub zone: Option<String>,
    /// Who asks.
    pub tenant: Option<String>,
    /// Who asks.
    pub consumer: Option<String>,
}

/// Why there is nothing to prove with.
pub struct Refused {
    /// For the operator.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Setting {
    /// Reads the configuration and the signer's keys; nothing else that it names.
    pub fn new(arguments: &Arguments) -> Result<Self, Refused> {
        let loaded = config::load(&arguments.config.file).map_err(unusable)?;
        let config = &loaded.config;
        let (signer, upstream) = named(config, arguments)?;
        let upstream = arguments.upstream.as_ref().or(upstream).map(ToString::to_string);
        if upstream.is_none() && signer.spec.audience.is_none() {
            return Err(usage("the signer has no `audience`: write --upstream NAME too".to_owned()));
        }
        let mut problems = Problems::default();
        let live = JwtLive::default();
        let resolve = |path: &std::path::Path| config.resolve(path);
        let signers =
            Signers::build(std::slice::from_ref(signer), &resolve, &live, Now::read(), &mut problems);
        if problems.has_errors() {
            return Err(unusable(problems));
        }
        Ok(Self {
            signer: SignerSpec::clone(&signer.spec),
            signers,
            upstream: upstream.unwrap_or_default(),
            route: arguments.route.as_ref().map_or_else(|| "prove".to_owned(), ToString::to_string),
            zone: config.location.zone.as_ref().map(ToString::to_string),
            tenant: arguments.tenant.clone(),
            consumer: arguments.consumer.clone(),
        })
    }

    /// Whether tokens say this of their request.
    pub fn binds(&self, part: BindSpec) -> bool {
        self.signer.profile == ProfileSpec::Native && self.signer.bind.contains(&part)
    }

    /// Whether tokens carry the hash of the body itself.
    pub fn binds_body(&self) -> bool {
        self.signer.binds_body() && self.signer.body.mode != BodyMode::Unsigned
    }
}

fn named<'a>(
    config: &'a Config,
    arguments: &'a Arguments,
) -> Result<(&'a Sourced<SignerSpec>, Option<&'a Name>), Refused> {
    let (name, upstream) = match (&arguments.signer, &arguments.route) {
        (Some(signer), _) => (signer, None),
        (None, Some(name)) => {
            let route = config.routes.iter().find(|route| route.spec.name == *name);
            let known = config.routes.iter().map(|route| route.spec.name.as_str());
            let route = route.ok_or_else(|| none("route", name, known))?;
            let signer = route.spec.sign.as_ref();
            let signer = signer.ok_or_else(|| usage(format!("route `{name}` has no `sign`")))?;
            (signer, route.spec.to.first().map(|target| &target.upstream))
        }
        (None, None) => return Err(usage("write --route or --signer".to_owned())),
    };
    let signer = config.signers.iter().find(|signer| signer.spec.name == *name);
    let known = config.signers.iter().map(|signer| signer.spec.name.as_str());
    let signer = signer.ok_or_else(|| none("signer", name, known))?;
    Ok((signer, upstream))
}

fn none<'a>(what: &'static str, name: &Name, known: impl Iterator<Item = &'a str>) -> Refused {
    usage(Unknown::new(what, name.as_str(), known).to_string())
}

fn usage(text: String) -> Refused {
    Refused { text: format!("error: {text}\n"), code: USAGE }
}

fn unusable(problems: Problems) -> Refused {
    Refused { text: problems.to_string(), code: BAD_CONFIG }
}
