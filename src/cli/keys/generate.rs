//! `tollgate keys generate`: a fresh key in a file of its own.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    process::ExitCode,
};

use time::OffsetDateTime;

use super::certificate;
use crate::{
    cli::{FAILED, USAGE, print, tell},
    config::{signer::Algorithm, types::Name},
    jwt::SigningKey,
};

/// Makes a key.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// What it signs with: ES256, EdDSA, RS256 or PS256; RSA keys have 2048 bits.
    #[arg(long, default_value = "ES256", value_parser = algorithm)]
    algorithm: Algorithm,
    /// A signer's folder of keys; it has to be there. Run by root, the key becomes the
    /// folder's owner's; in a folder of root's and one group's alone (mode 0750) that
    /// group may read it.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The file's name without `.pem`. Default: the time, as `20261121-044715`. Of
    /// keys that appear together the one whose name sorts last is the newest.
    #[arg(long)]
    name: Option<Name>,
    /// Write a certificate of this name below the key, signed by itself, for ten
    /// years: profile `kong_upstream_jwt` sends it. Not with EdDSA.
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// Print file, kid and algorithm as JSON.
    #[arg(long)]
    json: bool,
}

impl Generate {
    /// Exits 0, or 1 when there is no folder or the name is taken.
    pub fn run(&self) -> io::Result<ExitCode> {
        let file = self.out.join(self.file_name());
        let key = SigningKey::generate(self.algorithm)?;
        let mut pem = key.to_pem()?;
        if let Some(name) = &self.certificate {
            match certificate::of(&pem, name) {
                Ok(certificate) => pem.extend(certificate),
                Err(_) => return Ok(tell(NO_CERTIFICATE, USAGE)),
            }
        }
        if let Err(why) = write(&self.out, &file, &pem) {
            return Ok(tell(&self.told(&file, &why), FAILED));
        }
        let (shown, kid) = (file.display(), &key.public.kid);
        if self.json {
            let told = serde_json::json!({
                "file": shown.to_string(), "kid": kid.as_str(), "algorithm": self.algorithm.name(),
            });
            return print(&format!("{told:#}\n"));
        }
        let text = format!("made {shown}: {}, kid {kid}\nnow: tollgate reload\n", self.algorithm);
        print(&text)
    }

    fn file_name(&self) -> String {
        match &self.name {
            Some(name) => format!("{name}.pem"),
            None => by_date(OffsetDateTime::now_utc()),
        }
    }

    fn told(&self, file: &Path, why: &io::Error) -> String {
        let (file, folder) = (file.display(), self.out.display());
        match why.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("error: {file} is there already, and may sign; write another --name\n")
            }
            io::ErrorKind::NotFound => format!(
                "error: there is no folder {folder}; make it for the gateway's user: `install -d -m 0700 -o USER {folder}`\n"
            ),
            _ => format!("error: {file}: {why}\n"),
        }
    }
}

fn by_date(at: OffsetDateTime) -> String {
    let (date, month) = (at.date(), u8::from(at.month()));
    format!(
        "{:04}{month:02}{:02}-{:02}{:02}{:02}.pem",
        date.year(),
        date.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// Writes beside, under a name that no gateway reads, and links it into place: who
/// reads the folder meets the whole key or none, and nothing is overwritten.
fn write(folder: &Path, file: &Path, pem: &[u8]) -> io::Result<()> {
    let beside = folder.join(format!(".new-key-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = give(folder, &out)
        .and_then(|()| out.write_all(pem))
        .and_then(|()| out.sync_all())
        .and_then(|()| fs::hard_link(&beside, file));
    // Its second name, or what is left of a failure.
    fs::remove_file(&beside)?;
    written
}

/// What root makes could not be read by the gateway. It becomes the folder's owner's; in
/// a folder of root's that is for one group alone, as the package makes it, that group
/// reads it. Whose folder everyone reads was not made for a group's secrets: Debian has
/// `root:staff` below `/usr/local`.
fn give(folder: &Path, file: &fs::File) -> io::Result<()> {
    let theirs = fs::metadata(folder)?;
    if file.metadata()?.uid() != 0 {
        return Ok(());
    }
    fchown(file, Some(theirs.uid()), Some(theirs.gid()))?;
    if theirs.uid() == 0 && theirs.gid() != 0 && theirs.mode() & 0o077 == 0o050 {
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
    }
    Ok(())
}

/// An algorithm by its name in tokens.
pub fn algorithm(text: &str) -> Result<Algorithm, String> {
    let same = |algorithm: &Algorithm| algorithm.name().eq_ignore_ascii_case(text);
    let found = Algorithm::ALL.into_iter().find(same);
    found.ok_or_else(|| "write ES256, EdDSA, RS256 or PS256".to_owned())
}

const NO_CERTIFICATE: &str =
    "error: no certificate of this name and algorithm can be made; write 1 to 64 letters, and not EdDSA\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_date_sort_as_the_keys_were_made() {
        let at = |secs| by_date(OffsetDateTime::from_unix_timestamp(secs).unwrap());

        assert_eq!(at(1_800_000_000), "20270115-080000.pem");
        assert!(at(1_799_999_999) < at(1_800_000_000));
    }

    #[test]
    fn a_key_that_is_there_is_not_touched_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pem");

        write(folder.path(), &file, b"first").unwrap();
        let refused = write(folder.path(), &file, b"second").unwrap_err();

        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"first");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
