//! The log file of an instance: what it prints, and what we have to say about its start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zms_core::names::InstanceId;

/// Opens it for appending: whoever rotates copies and truncates, and every writer goes on at the end.
pub fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Adds a line of our own. A log that cannot be written is no reason to fail, whoever reads the exit code or our
/// standard error learns the rest.
pub fn say(path: &Path, id: &InstanceId, text: &str) {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let line = format!("{now} zms-agent exec {id}: {text}\n");
    let _ = open(path).and_then(|mut file| file.write_all(line.as_bytes()));
}
