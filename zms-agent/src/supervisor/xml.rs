//! One XML-RPC call over a unix socket.

use std::path::Path;

use dxr::{FaultResponse, MethodCall, MethodResponse, Value};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::rpc::{Fault, RpcError};

/// Longest answer, in bytes; one program is about 2 KiB of it.
const ANSWER_LIMIT: usize = 4 << 20;

/// Makes a call on a connection of its own. Without a deadline: that is the caller's.
pub async fn call(socket: &Path, method: &str, parameters: Vec<Value>) -> Result<Value, RpcError> {
    let question = MethodCall { name: method.into(), params: parameters }
        .to_xml()
        .map_err(|error| RpcError::Answer(format!("cannot be asked: {error}")))?;
    let stream = UnixStream::connect(socket).await.map_err(RpcError::Connect)?;
    let broken = |error: hyper::Error| RpcError::Answer(format!("the connection broke: {error}"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::post("/RPC2")
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "text/xml")
        .body(Full::new(Bytes::from(question)))
        .expect("the request has only fixed parts");
    // The connection is driven here and not in a task, so that it ends with the call.
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| {
            let long = error.downcast_ref::<LengthLimitError>().is_some();
            RpcError::Answer(if long { format!("is longer than {ANSWER_LIMIT} bytes") } else { format!("broke off: {error}") })
        })?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(answer, connection);
    let (status, body) = tokio::select! {
        answer = &mut answer => answer?,
        // It ends early when the other side closes; what was received by then is still handed out.
        _ = &mut connection => answer.await?,
    };
    let text = readable(&body);
    if status != StatusCode::OK {
        return Err(RpcError::Answer(format!("is HTTP {status}: {}", start_of(&text))));
    }
    understand(&text)
}

fn understand(text: &str) -> Result<Value, RpcError> {
    match MethodResponse::from_xml(text) {
        Ok(response) => Ok(response.value),
        Err(_) => match FaultResponse::from_xml(text) {
            Ok(response) => Err(RpcError::Fault(Fault::from(response.fault))),
            Err(_) => Err(RpcError::Answer(format!("is not XML-RPC: {}", start_of(text)))),
        },
    }
}

/// supervisord puts texts into its answer as they are, whatever bytes a process's error message had: what XML does
/// not allow is replaced.
fn readable(body: &[u8]) -> String {
    let allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    String::from_utf8_lossy(body).chars().map(|c| if allowed(&c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn start_of(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}
