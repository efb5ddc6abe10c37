//! Bodies that their producers compressed.

use std::io::Read as _;

use bytes::Bytes;

/// A body is larger than this only by a fault or in bad faith: brokers take 4 MiB unless they are told otherwise.
pub(crate) const LARGEST: usize = 32 << 20;

const COMPRESSED: i32 = 1;

/// The body as it was sent.
///
/// # Errors
/// In words, if it is damaged, larger than [`LARGEST`], or compressed in a way that no client knows.
pub(crate) fn inflate(body: Bytes, system_flag: i32) -> Result<Bytes, String> {
    if system_flag & COMPRESSED == 0 || body.is_empty() {
        return Ok(body);
    }
    let packed: &[u8] = &body;
    match (system_flag >> 8) & 7 {
        // 0: clients before 4.9.3, which knew only zlib and did not say so.
        0 | 3 => read(flate2::read::ZlibDecoder::new(packed), "zlib"),
        1 => read(lz4_flex::frame::FrameDecoder::new(packed), "lz4"),
        2 => {
            let decoder = zstd::stream::read::Decoder::new(packed).map_err(|error| format!("zstd: {error}"))?;
            read(decoder, "zstd")
        }
        other => Err(format!("compressed by method {other}; there are 1 (lz4), 2 (zstd) and 3 (zlib)")),
    }
}

fn read(packed: impl std::io::Read, method: &str) -> Result<Bytes, String> {
    let mut plain = Vec::new();
    packed.take(LARGEST as u64 + 1).read_to_end(&mut plain).map_err(|error| format!("{method}: {error}"))?;
    if plain.len() > LARGEST {
        return Err(format!("{method}: more than {LARGEST} bytes"));
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(method: i32, plain: &[u8]) -> Bytes {
        match method {
            1 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap().into()
            }
            2 => zstd::stream::encode_all(plain, 3).unwrap().into(),
            _ => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap().into()
            }
        }
    }

    /// Packed by the compressors of Apache's own client 5.5.0 (`tests/java/Pack.java`), which write other frames than our libraries do.
    #[test]
    fn what_java_packed_is_undone() {
        let plain = include_bytes!("../../../tests/golden/rocketmq-java/body.plain");
        for (method, packed) in [
            (1, &include_bytes!("../../../tests/golden/rocketmq-java/body.lz4")[..]),
            (2, include_bytes!("../../../tests/golden/rocketmq-java/body.zstd")),
            (3, include_bytes!("../../../tests/golden/rocketmq-java/body.zlib")),
        ] {
            assert!(packed.len() < plain.len(), "method {method} packs");
            assert_eq!(inflate(Bytes::from_static(packed), COMPRESSED | method << 8).unwrap(), plain[..], "method {method}");
            let cut = Bytes::from_static(&packed[..packed.len() / 2]);
            assert!(inflate(cut, COMPRESSED | method << 8).is_err(), "method {method}, half of it");
        }
    }

    #[test]
    fn every_method_is_undone_and_a_bomb_is_not() {
        let (plain, bomb) = (b"body".repeat(1_000), vec![0; LARGEST + 1]);
        for method in [0, 1, 2, 3] {
            let flag = COMPRESSED | method << 8;
            assert_eq!(inflate(packed(method, &plain), flag).unwrap(), plain, "method {method}");
            assert!(inflate(packed(method, &bomb), flag).unwrap_err().contains("more than"), "method {method}");
            assert!(inflate(Bytes::from_static(b"damaged"), flag).is_err(), "method {method}");
        }
        assert_eq!(inflate(Bytes::from_static(b"plain"), 3 << 8).unwrap(), "plain");
        assert!(inflate(Bytes::from_static(b"x"), COMPRESSED | 5 << 8).unwrap_err().contains("method 5"));
    }
}
