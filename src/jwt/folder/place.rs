//! Where a signer's keys lie: in a folder of their own, or among systemd's credentials.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
};

/// Where a signer's keys lie.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    path: PathBuf,
    /// Its name, for keys that are credentials: these lie together with others.
    credential: Option<String>,
}

impl KeyFolder {
    /// What `keys` of a signer means: a path, or `credential:NAME`.
    pub fn of(keys: &Path, resolve: impl Fn(&Path) -> PathBuf) -> Self {
        match keys.to_str().and_then(|keys| keys.strip_prefix(CREDENTIAL)) {
            Some(name) => Self {
                path: env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).unwrap_or_default(),
                credential: Some(name.to_owned()),
            },
            None => Self::at(resolve(keys)),
        }
    }

    /// A folder of keys alone.
    pub fn at(path: PathBuf) -> Self {
        Self { path, credential: None }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Files that could be keys: `NAME.pem` and `NAME.key`. A name that begins with a dot
    /// is an editor's or an orchestrator's.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| self.is_key(&name.to_string_lossy())) {
                paths.push(path);
            }
        }
        paths.sort_unstable();
        Ok(paths)
    }

    fn is_key(&self, name: &str) -> bool {
        let stem = name.strip_suffix(".pem").or_else(|| name.strip_suffix(".key"));
        match &self.credential {
            None => stem.is_some() && !name.starts_with('.'),
            // A folder's files are credentials called `NAME_FILE`; one file is called `NAME`.
            Some(credential) => {
                let rest = stem.unwrap_or(name).strip_prefix(&**credential);
                rest.is_some_and(|rest| rest.is_empty() || (stem.is_some() && rest.starts_with('_')))
            }
        }
    }

    /// What to say when no key is found there, because of `why` if it cannot be listed.
    pub(super) fn told(&self, why: Option<&io::Error>, make: &str) -> String {
        match (&self.credential, why) {
            (Some(name), Some(_)) if self.path.as_os_str().is_empty() => format!(
                "`{self}` is nowhere: the service was given no credentials; write `LoadCredential={name}:FOLDER` into its unit"
            ),
            (Some(name), None) => format!(
                "`{}` holds no credential `{name}`; write `LoadCredential={name}:FOLDER` into the service's unit",
                self.path.display()
            ),
            (None, None) => {
                format!("`{self}` holds no key; put one there: `{make} {self}`")
            }
            (_, Some(error)) => {
                format!("`{}` cannot be listed ({error}); write the path of a folder", self.path.display())
            }
        }
    }
}

impl fmt::Display for KeyFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credential {
            Some(name) => write!(f, "{CREDENTIAL}{name}"),
            None => self.path.display().fmt(f),
        }
    }
}

/// Stands before the name of a credential.
const CREDENTIAL: &str = "credential:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_credentials_those_of_the_name_are_keys() {
        let place = KeyFolder { path: PathBuf::new(), credential: Some("jwt".to_owned()) };
        let is_key = |name: &&str| place.is_key(name);
        let keys = ["jwt", "jwt.pem", "jwt.key", "jwt_a.pem", "jwt_2026-11.key"];
        let others = ["jwt_a", "jwt-other.pem", "jwts.pem", "tls.pem", "tls_jwt.pem", "redis", ".jwt.pem"];

        assert!(keys.iter().all(is_key) && !others.iter().any(is_key));
    }
}
