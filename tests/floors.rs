//! The floors of the house: a module imports only what stands below it, and
//! subjects do not know each other. `src/lib.rs` draws the picture.

// Helpers of tests stand outside `#[test]` functions; they may fail loudly.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command};

/// From the ground up; modules of one floor do not import each other.
const FLOORS: &[&[&str]] = &[
    &["config"],
    &["telemetry"],
    &["outward"],
    &["route", "upstream", "limit", "tls", "identity", "jwt"],
    &["gate"],
    &["edge"],
    &["live"],
    &["snapshot"],
    &["gateway"],
    &["lifecycle"],
    &["admin"],
    &["server"],
    &["cli"],
];

#[test]
fn no_module_imports_a_higher_floor_or_a_neighbour() {
    let mut wrong = Vec::new();
    each_source(Path::new("src"), &mut |path, text| {
        let Some(own) = module_of(path) else { return };
        for used in used_modules(text) {
            let (Some(own_floor), Some(used_floor)) = (floor(&own), floor(&used)) else {
                wrong.push(format!("{}: `{own}` or `{used}` stands on no floor", path.display()));
                continue;
            };
            if used != own && used_floor >= own_floor {
                wrong.push(format!("{}: `{own}` imports `{used}`", path.display()));
            }
        }
    });

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_source_file_is_too_long() {
    let mut wrong = Vec::new();
    each_source(Path::new("src"), &mut |path, text| {
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        if lines > 420 {
            wrong.push(format!("{}: {lines} lines before its tests", path.display()));
        }
    });

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_carried_crate_is_the_published_one_and_its_patch() {
    let tree = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        // A fresh machine holds no crates of other platforms.
        .args(["--filter-platform", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)])
        .output()
        .unwrap();
    let tree: serde_json::Value = serde_json::from_slice(&tree.stdout).unwrap();
    let published = tree["packages"].as_array().unwrap().iter().find(|package| {
        package["name"] == "pingora-proxy" && package["source"].is_string() && package["version"] == "0.9.1"
    });
    let manifest = published.unwrap()["manifest_path"].as_str().unwrap();
    let published = Path::new(manifest).parent().unwrap().join("src");

    let found = Command::new("diff")
        .arg("-ruN")
        .args([published.as_path(), Path::new("vendor/pingora-proxy/src")])
        .output()
        .unwrap();

    let found = String::from_utf8(found.stdout).unwrap();
    let found: Vec<_> = found.lines().filter_map(|line| without_places(line, &published)).collect();
    let patch = fs::read_to_string("vendor/pingora-proxy.patch").unwrap();
    assert!(found.join("\n") == patch.trim_end(), "it should be:\n{}", found.join("\n"));
}

/// A line of `diff` without what differs from machine to machine.
fn without_places(line: &str, published: &Path) -> Option<String> {
    if line.starts_with("diff ") {
        return None;
    }
    let path = line.split('\t').next().unwrap_or_default();
    let old = path.strip_prefix("--- ").and_then(|path| Path::new(path).strip_prefix(published).ok());
    let new = path.strip_prefix("+++ vendor/pingora-proxy/src/").map(Path::new);
    Some(match (old, new) {
        (Some(old), _) => format!("--- a/{}", old.display()),
        (_, Some(new)) => format!("+++ b/{}", new.display()),
        _ => line.to_owned(),
    })
}

#[test]
fn every_source_file_says_what_it_owns() {
    let mut wrong = Vec::new();
    each_source(Path::new("src"), &mut |path, text| {
        if !text.starts_with("//!") {
            wrong.push(path.display().to_string());
        }
    });

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn each_source(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, visit);
        } else if path.extension().is_some_and(|e| e == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// `src/route/path.rs` and `src/live.rs` are `route` and `live`; the entry
/// points and `bin/` stand outside.
fn module_of(path: &Path) -> Option<String> {
    let inner = path.strip_prefix("src").ok()?;
    let first = inner.iter().next()?.to_str()?.trim_end_matches(".rs");
    (!["bin", "main", "lib"].contains(&first)).then(|| first.to_owned())
}

/// Every `x` of `crate::x`, of grouped imports and of paths in code.
fn used_modules(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut used = Vec::new();
    for (at, marker) in code.match_indices("crate::") {
        let rest = &code[at + marker.len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(heads_of_group(group)),
            None => used.push(word(rest)),
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

fn heads_of_group(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut expect) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expect = true,
            c if expect && c.is_alphanumeric() => {
                heads.push(word(&group[at..]));
                expect = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}
