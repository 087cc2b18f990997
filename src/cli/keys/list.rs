//! `tollgate keys list`: the keys of folders, and what is wrong with each.

use std::{io, process::ExitCode};

use serde_json::{Value, json};

use super::folder::{Looked, Which};
use crate::{
    cli::{FAILED, print, tell},
    jwt::Surveyed,
};

/// Lists keys.
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl List {
    /// Exits 0, 1 when anything is wrong, 78 for a configuration that cannot be read.
    pub fn run(&self) -> io::Result<ExitCode> {
        let looked = match self.which.look() {
            Ok(looked) => looked,
            Err(code) => return Ok(code),
        };
        let problems: Vec<_> = looked.iter().flat_map(Looked::problems).collect();
        if self.json {
            let folders: Vec<_> = looked.iter().map(as_json).collect();
            print(&format!("{:#}\n", json!({ "ok": problems.is_empty(), "folders": folders })))?;
        } else {
            print(&looked.iter().map(table).collect::<Vec<_>>().join("\n"))?;
            let lines: String = problems.iter().map(|line| format!("error: {line}\n")).collect();
            tell(&lines, FAILED);
        }
        Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

fn table(looked: &Looked) -> String {
    let signer = looked.signer.as_ref().map(|name| format!("SIGNER {name}  ")).unwrap_or_default();
    let mut out = format!("{signer}FOLDER {}\n", looked.path);
    out.push_str(&format!("  {:<28} {:<9} {:<5} KID\n", "FILE", "ALGORITHM", "CERT"));
    for file in looked.files.iter().flatten() {
        let name = name(file);
        out.push_str(&match &file.key {
            Ok(key) => {
                let certificate = if key.certificate.is_some() { "yes" } else { "-" };
                let (algorithm, kid) = (key.algorithm().name(), &key.public.kid);
                format!("  {name:<28} {algorithm:<9} {certificate:<5} {kid}\n")
            }
            Err(_) => format!("  {name:<28} {:<9} {:<5} -\n", "-", "-"),
        });
    }
    out
}

fn as_json(looked: &Looked) -> Value {
    let key = |file: &Surveyed| match &file.key {
        Ok(key) => json!({
            "file": name(file), "kid": key.public.kid.as_str(), "algorithm": key.algorithm().name(),
            "certificate": key.certificate.is_some(),
        }),
        Err(why) => json!({ "file": name(file), "problem": why }),
    };
    let keys: Vec<_> = looked.files.iter().flatten().map(key).collect();
    json!({
        "signer": looked.signer, "folder": looked.path.to_string(),
        "keys": keys, "problems": looked.problems(),
    })
}

fn name(file: &Surveyed) -> String {
    file.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
