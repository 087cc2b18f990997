//! Reads what a configuration is made of from disk: the main file, the
//! fragments beside it, and the files that `${file:…}` names.
//!
//! Owns which files are read and that none is larger than it may be, blocks,
//! or is anything but text. Does not know YAML.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Problem, Problems, Severity, Source};

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// As the operator named it; a fragment's begins with the main file's folder.
    pub path: Arc<Path>,
    /// All of it.
    pub text: String,
}

/// Why a file could not be read, for the operator.
#[derive(Debug, PartialEq)]
pub(super) struct Unread {
    /// The line of what is wrong, counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub text: String,
    /// It may pass although the file stays as it is.
    pub passes: bool,
}

/// The main file and its fragments, in the order of their names. What cannot
/// be read is told and left out.
pub(super) fn read_all(main: &Path, problems: &mut Problems) -> Vec<Text> {
    let mut texts = Vec::new();
    let fragments = fragments(main, problems);
    for path in std::iter::once(main.to_owned()).chain(fragments) {
        match read(&path, MOST_BYTES) {
            Ok(text) => texts.push(Text { path: Arc::from(path), text }),
            Err(Unread { line, text, .. }) => {
                let source = Source::file(&path);
                problems.add(Problem { severity: Severity::Error, source, line, text });
            }
        }
    }
    texts
}

/// The text of a regular file of at most `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<String, Unread> {
    let told = |text: String| Unread { line: None, text, passes: false };
    let file = open(path).map_err(|why| failed(&why))?;
    let about = file.metadata().map_err(|why| failed(&why))?;
    if !about.is_file() {
        let kind = if about.is_dir() { "a directory" } else { "a device, pipe or socket" };
        return Err(told(format!("this is {kind}; name a regular file")));
    }
    let too_large = || told(format!("the file is larger than {most} bytes; write less"));
    if about.len() > most {
        return Err(too_large());
    }

    let mut bytes = Vec::with_capacity(about.len() as usize + 1);
    // One more than allowed: the file may grow while it is read.
    file.take(most + 1).read_to_end(&mut bytes).map_err(|why| failed(&why))?;
    if bytes.len() as u64 > most {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes);
    let text = text.map_err(|why| not_text(why.as_bytes(), why.utf8_error().valid_up_to()))?;
    // Some editors begin a file with it; serde_yaml would see two documents.
    Ok(match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

// Not blocking: opening a pipe would otherwise wait for someone who writes.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

// What says that the file is not there, or not for us, changes with the file; what
// says that there are no descriptors left, or that a disk does not answer, without.
fn failed(why: &io::Error) -> Unread {
    let stays = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
    Unread { line: None, text: reason(why), passes: !stays.contains(&why.kind()) }
}

fn reason(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; let the gateway's user read it, and enter the folders above it".to_owned()
        }
        _ => format!("the file cannot be read: {why}"),
    }
}

fn not_text(bytes: &[u8], at: usize) -> Unread {
    let line = bytes.iter().take(at).filter(|b| **b == b'\n').count() + 1;
    let byte = bytes.get(at).copied().unwrap_or_default();
    let text = format!("byte {at} (0x{byte:02x}) is not UTF-8; save the file as UTF-8");
    Unread { line: Some(line), text, passes: false }
}

fn fragments(main: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let folder = main.parent().unwrap_or(Path::new("")).join(FRAGMENTS);
    let listed = std::fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let listed = match listed {
        Ok(listed) => listed,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(why) => {
            problems.error(&Source::file(&folder), reason(&why));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = listed.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| is_fragment(path, problems));
    paths.sort();
    paths
}

fn is_fragment(path: &Path, problems: &mut Problems) -> bool {
    // Hidden files are what editors and volume mounts keep for themselves.
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let extension = path.extension().map(|e| e.as_encoded_bytes()).unwrap_or_default();
    if !hidden && extension == b"yml" {
        problems.warn(&Source::file(path), "not read: the name of a fragment ends in `.yaml`");
    }
    !hidden && extension == b"yaml"
}

const BYTE_ORDER_MARK: char = '\u{feff}';
const FRAGMENTS: &str = "conf.d";
const MOST_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_its_ceiling_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.yaml");
        // Sparse: were it read, it would be 50 MB of NUL.
        File::create(&path).unwrap().set_len(50_000_000).unwrap();

        let why = read(&path, MOST_BYTES).unwrap_err();

        assert_eq!(why.text, "the file is larger than 16777216 bytes; write less");
    }

    #[test]
    fn a_missing_file_a_folder_and_a_pipe_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let name = std::ffi::CString::new(pipe.as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: a valid path, and nobody else uses the folder.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);

        let told = |path: &Path| read(path, 10).unwrap_err().text;

        assert_eq!(told(&folder.path().join("none")), "there is no such file");
        assert_eq!(told(folder.path()), "this is a directory; name a regular file");
        assert_eq!(told(&pipe), "this is a device, pipe or socket; name a regular file");
    }

    #[test]
    fn what_is_the_machines_fault_may_pass_and_what_is_the_files_does_not() {
        let folder = tempfile::tempdir().unwrap();

        assert!(failed(&io::Error::from_raw_os_error(libc::EMFILE)).passes);
        assert!(failed(&io::Error::from_raw_os_error(libc::EIO)).passes);
        assert!(!read(&folder.path().join("none"), 10).unwrap_err().passes);
        assert!(!read(folder.path(), 10).unwrap_err().passes);
    }

    #[test]
    fn a_file_that_may_not_be_read_says_who_has_to_be_let() {
        let why = io::Error::from(io::ErrorKind::PermissionDenied);

        assert!(reason(&why).contains("let the gateway's user read it"));
    }

    #[test]
    fn a_link_that_leads_to_itself_is_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loop.yaml");
        std::os::unix::fs::symlink(&path, &path).unwrap();

        let why = read(&path, 10).unwrap_err();

        assert!(why.text.starts_with("the file cannot be read: "), "{}", why.text);
    }

    #[test]
    fn bytes_that_are_not_text_are_told_by_offset_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latin.yaml");
        std::fs::write(&path, b"a: 1\nb: caf\xe9\n").unwrap();

        let why = read(&path, 100).unwrap_err();

        assert_eq!(why.line, Some(2));
        assert_eq!(why.text, "byte 11 (0xe9) is not UTF-8; save the file as UTF-8");
    }

    #[test]
    fn fragments_come_by_name_and_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join(FRAGMENTS);
        std::fs::create_dir(&inside).unwrap();
        for name in ["b.yaml", "a.yaml", ".hidden.yaml", "c.yml", "notes.txt"] {
            std::fs::write(inside.join(name), "").unwrap();
        }
        let mut problems = Problems::default();

        let found = fragments(&folder.path().join("main.yaml"), &mut problems);

        assert_eq!(found, [inside.join("a.yaml"), inside.join("b.yaml")]);
        assert!(problems.to_string().contains("c.yml: not read"), "{problems}");
        assert!(!problems.has_errors());
    }
}
