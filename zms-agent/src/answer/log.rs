//! A piece of an instance's log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use zms_core::host::Finding;

use super::redact::redact;

/// Longest piece, in bytes.
const LIMIT: usize = 256 << 10;

/// Whole lines from byte `from` on, or the last ones. A log that has shrunk meanwhile (it was rotated) is read from its beginning.
pub fn piece(path: &Path, from: Option<u64>) -> io::Result<Finding> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    let tail = size.saturating_sub(LIMIT as u64);
    let start = match from {
        Some(from) if from <= size => from,
        Some(_) => 0,
        None => tail,
    };
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LIMIT as u64).read_to_end(&mut bytes)?;
    // The end of a log begins with a whole line, and no piece ends within one that is still being written.
    let skip = if from.is_none() && start > 0 { bytes.iter().position(|b| *b == b'\n').map_or(0, |n| n + 1) } else { 0 };
    let end = match bytes[skip..].iter().rposition(|b| *b == b'\n') {
        Some(last) => skip + last + 1,
        // A line longer than a piece is told in pieces; one that is shorter is not finished.
        None if bytes.len() == LIMIT => bytes.len(),
        None => skip,
    };
    let mut text = String::new();
    let mut told = skip;
    for line in bytes[skip..end].split_inclusive(|b| *b == b'\n') {
        let line_text = redact(&String::from_utf8_lossy(line));
        if text.len() + line_text.len() > LIMIT && !text.is_empty() {
            break;
        }
        text.push_str(&line_text);
        told += line.len();
    }
    if text.len() > LIMIT {
        text.truncate(text.floor_char_boundary(LIMIT));
    }
    Ok(Finding::Log { text, from: start + skip as u64, next: start + told as u64, size })
}

/// A log is a file in its place: an instance that put a link, a pipe or a device there does not make us read something else.
fn open(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).map_err(
            |error| match error.raw_os_error() {
                Some(libc::ELOOP) => io::Error::other("it is a symbolic link, which is not followed"),
                _ if error.kind() == io::ErrorKind::NotFound => io::Error::new(error.kind(), "there is none on this host yet"),
                _ => error,
            },
        )?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path, from: Option<u64>) -> (String, u64, u64, u64) {
        match piece(path, from).unwrap() {
            Finding::Log { text, from, next, size } => (text, from, next, size),
            other => panic!("{other:?}"),
        }
    }

    fn log(content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.log");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn pieces_follow_one_another_without_a_gap_and_end_with_a_line() {
        let lines: Vec<String> = (0..30_000).map(|n| format!("line {n} of a long log\n")).collect();
        let whole = lines.concat();
        let (_keep, path) = log(format!("{whole}unfinished").as_bytes());
        let (mut text, mut at) = (String::new(), 0);
        loop {
            let (piece, from, next, _) = read(&path, Some(at));
            assert!(from == at && piece.len() <= LIMIT && (piece.is_empty() || piece.ends_with('\n')));
            text.push_str(&piece);
            if next == at {
                break;
            }
            at = next;
        }
        assert!(text == whole, "{} of {} bytes", text.len(), whole.len());
        let (end, from, next, size) = read(&path, None);
        assert!(end.starts_with("line ") && end.ends_with("line 29999 of a long log\n"), "{}", &end[..40]);
        assert_eq!((next, size), (whole.len() as u64, whole.len() as u64 + 10));
        assert_eq!(from + end.len() as u64, next);
    }

    #[test]
    fn garbage_one_endless_line_and_a_log_that_shrank_are_no_trouble() {
        let (_keep, path) = log(b"\xff\xfe ok\n");
        assert_eq!(read(&path, Some(900)), ("\u{fffd}\u{fffd} ok\n".into(), 0, 6, 6));
        let (_keep, path) = log(&vec![0xff; 3 * LIMIT]);
        let (text, _, next, _) = read(&path, Some(0));
        assert!(text.len() <= LIMIT && next == LIMIT as u64, "{} {next}", text.len());
        let (_keep, path) = log(b"");
        assert_eq!(read(&path, None), (String::new(), 0, 0, 0));
    }

    #[test]
    fn secrets_in_a_log_do_not_leave_the_host() {
        let (_keep, path) = log(b"a\nssl.key.password=abc\nb\n");
        assert_eq!(read(&path, None).0, "a\nssl.key.password=***\nb\n");
    }

    #[test]
    fn a_link_a_pipe_or_a_folder_in_place_of_a_log_is_not_read() {
        let (folder, secret) = log(b"root:x:0:0\n");
        let link = folder.path().join("link.log");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(piece(&link, None).unwrap_err().to_string().contains("symbolic link"));
        let pipe = folder.path().join("pipe.log");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(piece(&pipe, None).unwrap_err().to_string().contains("no file"));
        assert!(piece(folder.path(), None).unwrap_err().to_string().contains("no file"));
        assert!(piece(&folder.path().join("none.log"), None).unwrap_err().to_string().contains("none on this host"));
    }
}
