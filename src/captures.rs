//! Real exchanges with vLLM and llama-server, for tests: see `tests/engine/captures`.

use std::path::Path;

/// The body of a captured response, with its chunks joined. A cut body ends where the capture ends.
pub(crate) fn body(engine: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/engine/captures")
        .join(engine)
        .join(format!("{name}.response.http"));
    let raw = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let split = raw.windows(4).position(|four| four == b"\r\n\r\n").expect("a head and a body");
    let head = String::from_utf8_lossy(&raw[..split]).to_lowercase();
    let body = &raw[split + 4..];
    if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_vec() }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let (Some(size), data) = (size, &rest[end + 2..]) else { break };
        let taken = size.min(data.len());
        out.extend_from_slice(&data[..taken]);
        if size == 0 || data.len() < size + 2 {
            break;
        }
        rest = &data[size + 2..];
    }
    out
}
