//! Ids that are made once, from random bytes of the caller.

/// A UUID in the form Kafka writes it: 16 bytes in URL-safe base64 without padding, 22 characters.
///
/// The bits of a random UUID (version 4) are set, so it is never one of Kafka's reserved ids, and it never begins
/// with `-`, which the storage tool would take for an option.
pub(super) fn kafka_uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    if random[0] >> 2 == 62 {
        random[0] ^= 0x80;
    }
    base64_url(&random)
}

/// Is it of the form that [`kafka_uuid`] makes?
pub(super) fn is_kafka_uuid(text: &str) -> bool {
    text.len() == 22 && !text.starts_with('-') && text.bytes().all(|b| ALPHABET.contains(&b))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64_url(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = group >> (18 - 6 * digit) & 0x3f;
            out.push(char::from(ALPHABET[index as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_has_the_form_kafka_writes() {
        assert_eq!(base64_url(b"Man"), "TWFu");
        assert_eq!(base64_url(b"Ma"), "TWE");
        assert_eq!(kafka_uuid([0; 16]), "AAAAAAAAQACAAAAAAAAAAA");
        assert!(!kafka_uuid([0xfb; 16]).starts_with('-'));
    }

    proptest! {
        #[test]
        fn every_id_is_of_its_form(random: [u8; 16]) {
            prop_assert!(is_kafka_uuid(&kafka_uuid(random)));
        }
    }
}
