//! Whose data folder it is. An instance that was deleted and made again under its old id must not adopt old data.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::ExecError;
use crate::disk;

/// Holds the uid of the instance that owns the folder.
const MARKER: &str = ".zms-uid";
/// What an interrupted writing of the marker leaves behind begins like this.
const HALF_MARKER: &str = ".zms-uid.";
/// May be in a folder that is otherwise empty: a file system of its own brings it along.
const LOST_AND_FOUND: &str = "lost+found";

/// Makes sure that the folder exists and belongs to `uid`; a new or empty one is taken for it.
pub fn claim(folder: &Path, uid: &str) -> Result<(), ExecError> {
    let at = |attempt: &str, error| ExecError::system(format!("{attempt} {}", folder.display()), error);
    DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(|error| at("make the data folder", error))?;
    match look(folder, uid).map_err(|error| at("find out whose data is in", error))? {
        Owner::Itself => Ok(()),
        Owner::Nobody => disk::write_whole(&folder.join(MARKER), format!("{uid}\n").as_bytes(), 0o640)
            .map_err(|error| at("write the owner into", error)),
        Owner::Another(refusal) => Err(ExecError::config(refusal)),
    }
}

/// Why an instance with this uid would not take the folder; nothing is changed.
pub fn refusal(folder: &Path, uid: &str) -> io::Result<Option<String>> {
    Ok(match look(folder, uid)? {
        Owner::Itself | Owner::Nobody => None,
        Owner::Another(refusal) => Some(refusal),
    })
}

enum Owner {
    Itself,
    Nobody,
    /// With a sentence about it.
    Another(String),
}

fn look(folder: &Path, uid: &str) -> io::Result<Owner> {
    match fs::read_to_string(folder.join(MARKER)) {
        Ok(owner) if owner.trim() == uid => return Ok(Owner::Itself),
        Ok(owner) => {
            return Ok(Owner::Another(format!(
                "{} holds the data of an instance with uid {:?}, this one has {uid:?}: move the folder away or restore \
                 the instance it belongs to",
                folder.display(),
                owner.trim()
            )));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(match something_in(folder)? {
        None => Owner::Nobody,
        Some(name) => Owner::Another(format!(
            "{} is not empty (it has {name:?}) and has no file {MARKER} that says whose it is: empty it, or write {uid} \
             into that file if the data is meant for this instance",
            folder.display()
        )),
    })
}

fn something_in(folder: &Path) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with(HALF_MARKER) && name != LOST_AND_FOUND {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::exec::Exit;

    #[test]
    fn a_new_folder_is_taken_and_found_again() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("data/kafka-1");
        claim(&folder, "u-1").unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o027, 0, "closed to others");
        fs::write(folder.join("log.dat"), "x").unwrap();
        claim(&folder, "u-1").unwrap();
    }

    #[test]
    fn data_of_another_is_refused_with_both_names() {
        let place = tempfile::tempdir().unwrap();
        claim(place.path(), "old").unwrap();
        let error = claim(place.path(), "new").unwrap_err();
        assert_eq!(error.exit(), Exit::Config);
        assert_eq!(refusal(place.path(), "new").unwrap(), Some(error.to_string()));
        assert_eq!(refusal(place.path(), "old").unwrap(), None);
        assert_eq!(refusal(&place.path().join("not-there"), "new").unwrap(), None);
        assert!(error.to_string().contains("\"old\"") && error.to_string().contains("\"new\""), "{error}");
    }

    #[test]
    fn unsigned_data_is_not_adopted_but_an_empty_or_half_signed_folder_is() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("meta.properties"), "x").unwrap();
        let error = claim(place.path(), "u").unwrap_err();
        assert!(error.to_string().contains("meta.properties"), "{error}");
        fs::remove_file(place.path().join("meta.properties")).unwrap();
        fs::write(place.path().join(".zms-uid.77.tmp"), "u").unwrap();
        fs::create_dir(place.path().join(LOST_AND_FOUND)).unwrap();
        claim(place.path(), "u").unwrap();
        assert_eq!(fs::read_to_string(place.path().join(MARKER)).unwrap(), "u\n");
    }
}
