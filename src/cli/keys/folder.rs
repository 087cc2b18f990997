//! Which folders of keys a verb looks at: one by its path, or those of a
//! configuration's signers.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    cli::{BAD_CONFIG, ConfigFile, USAGE, tell},
    config::{self, Unknown, signer::SignerSpec, types::Name},
    jwt::{KeyFolder, SigningKey, Surveyed, survey},
};

/// Which keys.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Which {
    /// A folder of keys. Without it the folders of a configuration's signers.
    #[arg(conflicts_with = "config")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// This signer's alone.
    #[arg(long, conflicts_with = "folder", value_name = "NAME")]
    signer: Option<Name>,
}

/// A folder as it is.
pub struct Looked {
    /// Whose it is.
    pub signer: Option<String>,
    /// Where it is.
    pub path: KeyFolder,
    /// What lies in it, in order; or why it cannot be listed.
    pub files: io::Result<Vec<Surveyed>>,
}

impl Looked {
    fn at(path: KeyFolder, signer: Option<&SignerSpec>) -> Self {
        let files = survey(&path, signer);
        Self { signer: signer.map(|spec| spec.name.to_string()), path, files }
    }

    /// What keeps a gateway from using it, each as a line.
    pub fn problems(&self) -> Vec<String> {
        match &self.files {
            Err(why) => vec![format!("{} cannot be listed: {why}", self.path)],
            Ok(files) if files.is_empty() => {
                let folder = &self.path;
                vec![format!("{folder} holds no key; make one: `tollgate keys generate --out {folder}`")]
            }
            Ok(files) => {
                let bad = files.iter().filter_map(|file| Some((file, file.key.as_ref().err()?)));
                bad.map(|(file, why)| format!("{} {why}", file.path.display())).collect()
            }
        }
    }

    /// The good keys.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.files.iter().flatten().filter_map(|file| file.key.as_ref().ok())
    }
}

impl Which {
    /// The folders, or the exit code of who was told why there are none.
    pub fn look(&self) -> Result<Vec<Looked>, std::process::ExitCode> {
        if let Some(folder) = &self.folder {
            return Ok(vec![Looked::at(KeyFolder::at(folder.clone()), None)]);
        }
        let loaded =
            config::load(&self.config.file).map_err(|problems| tell(&problems.to_string(), BAD_CONFIG))?;
        let config = &loaded.config;
        let wanted = |spec: &&SignerSpec| self.signer.as_ref().is_none_or(|name| spec.name == *name);
        let all = || config.signers.iter().map(|signer| &*signer.spec);
        let specs = all().filter(wanted);
        let place = |spec: &SignerSpec| KeyFolder::of(&spec.keys, |path| config.resolve(path));
        let looked: Vec<_> = specs.map(|spec| Looked::at(place(spec), Some(spec))).collect();
        if looked.is_empty() {
            let text = match &self.signer {
                Some(name) => {
                    let known = all().map(|spec| spec.name.as_str());
                    format!("error: {}\n", Unknown::new("signer", name.as_str(), known))
                }
                None => "error: there are no `signers`\n".to_owned(),
            };
            return Err(tell(&text, USAGE));
        }
        Ok(looked)
    }
}
