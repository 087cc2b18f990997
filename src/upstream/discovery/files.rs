//! Looks at an `endpoints_file`: whether it changed, and what is in it.
//!
//! Owns when a file is read. It is looked at again and again, by what `stat` says
//! of it, not by inotify: a file that is renamed into place, a link whose target's
//! folder is swapped (as volume mounts do it) and a file that is not there yet are
//! one case then, and none is a watch that someone forgot to move; a `stat` twice a
//! second costs nothing. A change counts once two looks in a row see the same, so
//! that a file that is being written is not read half; but a writer that pauses
//! longer has to write beside it and rename.

use std::{io, path::Path, time::Duration};

use super::{
    super::FoundSet,
    history::{Answer, Odd},
};
use crate::{
    config::{self, Stamp, Unusable, upstream::EndpointSpec},
    telemetry::metrics::LookupResult,
};

/// What was seen of a file, last and when it was read last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    last: Option<Stamp>,
    read: Option<Stamp>,
    /// What was wrong then may have passed by now.
    again: bool,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum FileLook {
    /// Nothing new, or nothing that is sure yet.
    Same,
    /// It changed.
    Read(Result<Answer, (LookupResult, Vec<String>)>),
}

/// Looks, and reads it if it changed, or if it was the machine that could not read
/// it. Blocks for as long as the disk takes.
pub(super) fn look(path: &Path, seen: &mut Seen) -> FileLook {
    look_by(config::read_endpoints_file, path, seen)
}

fn look_by(read: impl FnOnce(&Path) -> Contents, path: &Path, seen: &mut Seen) -> FileLook {
    let stamp = Stamp::of(path);
    let is_first = seen.last.is_none();
    let is_still = seen.last.replace(stamp) == Some(stamp);
    let is_known = seen.read == Some(stamp);
    if (is_known && !seen.again) || !(is_still || is_first) {
        return FileLook::Same;
    }
    seen.read = Some(stamp);
    let contents = read(path);
    let had_to_pass = std::mem::replace(&mut seen.again, matches!(&contents, Err(bad) if bad.passes));
    match is_known && had_to_pass && seen.again {
        true => FileLook::Same,
        false => FileLook::Read(answer(contents, stamp)),
    }
}

type Contents = Result<Vec<EndpointSpec>, Unusable>;

fn answer(contents: Contents, stamp: Stamp) -> Result<Answer, (LookupResult, Vec<String>)> {
    let endpoints = contents.map_err(|Unusable { problems, .. }| {
        let why = match stamp {
            Stamp::None(io::ErrorKind::NotFound) => LookupResult::MissingFile,
            _ => LookupResult::BadFile,
        };
        (why, problems.iter().map(ToString::to_string).collect())
    })?;
    if endpoints.is_empty() {
        return Err((LookupResult::Empty, Vec::new()));
    }
    Ok(Answer { set: FoundSet::of_file(&endpoints), ttl: BETWEEN_LOOKS, odd: Odd::default() })
}

/// From one look to the next; a change counts after two.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn told(look: FileLook) -> String {
        match look {
            FileLook::Same => "same".to_owned(),
            FileLook::Read(Ok(answer)) => format!("{} endpoints", answer.set.addresses().len()),
            FileLook::Read(Err((why, _))) => why.word().to_owned(),
        }
    }

    #[test]
    fn a_change_counts_once_it_is_seen_twice_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.yaml");
        let mut seen = Seen::default();
        let mut look = || told(look(&path, &mut seen));
        assert_eq!([look(), look()], ["missing_file", "same"]);

        fs::write(&path, "endpoints: [{ address: 10.0.0.1:80 }]").unwrap();
        assert_eq!([look(), look(), look()], ["same", "1 endpoints", "same"]);

        fs::write(&path, "endpoints: [{ address: 10.0.0.1:80 }, {").unwrap();
        assert_eq!(look(), "same");
        fs::write(&path, "endpoints: [{ address: 10.0.0.1:80 }, { address: 10.0.0.2:80 }]").unwrap();
        assert_eq!([look(), look(), look()], ["same", "2 endpoints", "same"]);

        for (text, wanted) in [("endpoints: []", "empty"), ("endpoints: {}", "bad_file"), ("", "bad_file")] {
            fs::write(&path, text).unwrap();
            assert_eq!([look(), look(), look()], ["same", wanted, "same"], "{text}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!([look(), look(), look()], ["same", "missing_file", "same"]);
    }

    #[test]
    fn what_the_machine_could_not_read_is_told_once_and_read_again_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.yaml");
        fs::write(&path, "endpoints: [{ address: 10.0.0.1:80 }]").unwrap();
        let (mut seen, reads) = (Seen::default(), std::cell::Cell::new(0));
        let mut look = |fails: Option<bool>| {
            let read = |path: &Path| {
                reads.set(reads.get() + 1);
                match fails {
                    Some(passes) => Err(Unusable { problems: Default::default(), passes }),
                    None => config::read_endpoints_file(path),
                }
            };
            told(look_by(read, &path, &mut seen))
        };

        assert_eq!([look(Some(true)), look(Some(true)), look(None)], ["bad_file", "same", "1 endpoints"]);
        assert_eq!((look(None), reads.get()), ("same".to_owned(), 3));
        fs::write(&path, "endpoints: {}").unwrap();
        assert_eq!([look(None), look(Some(true)), look(Some(false))], ["same", "bad_file", "bad_file"]);
        assert_eq!((look(None), reads.get()), ("same".to_owned(), 5));
    }

    #[test]
    fn files_that_are_renamed_and_links_that_are_swapped_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, count) in [("v1", 1), ("v2", 2)] {
            let list = (0..count).map(|n| format!("{{ address: 10.0.0.{n}:80 }}")).collect::<Vec<_>>();
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("orders.yaml"), format!("endpoints: [{}]", list.join(", "))).unwrap();
        }
        symlink("v1", at("data")).unwrap();
        symlink("data/orders.yaml", at("orders.yaml")).unwrap();
        let mut seen = Seen::default();
        let mut look = || told(look(&at("orders.yaml"), &mut seen));
        assert_eq!([look(), look()], ["1 endpoints", "same"]);

        symlink("v2", at("new")).unwrap();
        fs::rename(at("new"), at("data")).unwrap();
        assert_eq!([look(), look(), look()], ["same", "2 endpoints", "same"]);

        fs::rename(at("v1").join("orders.yaml"), at("orders.yaml")).unwrap();
        assert_eq!([look(), look(), look()], ["same", "1 endpoints", "same"]);
    }

    #[test]
    fn what_is_no_file_to_be_read_is_a_bad_one() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large.yaml");
        fs::File::create(&large).unwrap().set_len(50_000_000).unwrap();
        let latin = folder.path().join("latin.yaml");
        fs::write(&latin, b"endpoints: [caf\xe9]").unwrap();

        for path in [folder.path(), &large, &latin] {
            assert_eq!(told(look(path, &mut Seen::default())), "bad_file", "{}", path.display());
        }
    }
}
