use std::collections::BTreeMap;

/// Topic → partitions.
pub type Assignment = BTreeMap<String, Vec<i32>>;

/// What the leader of a classic group gave to a member. Written by applications, not by the broker, so nothing in it is believed; `None`
/// if it is not an assignment of Kafka's own consumers (Connect has another form).
pub fn read_assignment(bytes: &[u8]) -> Option<Assignment> {
    if bytes.is_empty() {
        return Some(Assignment::new());
    }
    let mut rest = bytes;
    let _version = i16::from_be_bytes(take(&mut rest)?);
    let topics = count(&mut rest, 6)?;
    let mut assignment = Assignment::new();
    for _ in 0..topics {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        rest = after;
        let partitions = count(&mut rest, 4)?;
        let given = assignment.entry(std::str::from_utf8(name).ok()?.to_owned()).or_default();
        for _ in 0..partitions {
            given.push(i32::from_be_bytes(take(&mut rest)?));
        }
        given.sort_unstable();
    }
    Some(assignment)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

/// Length of a list whose items have at least `size` bytes each.
fn count(rest: &mut &[u8], size: usize) -> Option<usize> {
    let count = usize::try_from(i32::from_be_bytes(take(rest)?)).ok()?;
    (count <= rest.len() / size).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_assignment_is_read_and_its_end_is_ignored() {
        let bytes = b"\0\x01\0\0\0\x01\0\x06orders\0\0\0\x02\0\0\0\x03\0\0\0\x01\xff\xff\xff\xff";
        assert_eq!(read_assignment(bytes), Some(BTreeMap::from([("orders".to_owned(), vec![1, 3])])));
        assert_eq!(read_assignment(b""), Some(BTreeMap::new()));
    }

    #[test]
    fn a_huge_number_of_topics_is_not_believed() {
        assert_eq!(read_assignment(b"\0\0\x7f\xff\xff\xff\0\0"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_of_an_application_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_assignment(&bytes);
        }
    }
}
