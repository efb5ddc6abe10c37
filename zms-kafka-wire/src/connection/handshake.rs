//! What happens once on a connection: versions are agreed on, and we say who we are.

use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Message, StrBytes, VersionRange};
use tokio::time::Instant;

use super::Connection;
use super::scram::Scram;
use crate::options::{Mechanism, Sasl};
use crate::{Code, WireError};

const VERSIONS: &str = "ApiVersions";

impl Connection {
    /// KIP-511: a broker that does not know our version of ApiVersions answers in version 0, with error 35 and the versions that it knows.
    pub(super) async fn negotiate(&mut self) -> Result<(), WireError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("zms"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let newest = <ApiVersionsRequest as Message>::VERSIONS.max;
        let body = self.exchange(VERSIONS, &request, newest).await?;
        let refused = body.len() >= 2 && (&body[..2]).get_i16() == Code::UnsupportedVersion.code();
        let answer = if refused {
            let known = self.versions_of(body, 0)?;
            let key = kafka_protocol::messages::ApiKey::ApiVersions as i16;
            let theirs = known.api_keys.iter().find(|range| range.api_key == key).map_or(0, |range| range.max_version);
            let version = theirs.clamp(0, newest);
            let body = self.exchange(VERSIONS, &request, version).await?;
            self.versions_of(body, version)?
        } else {
            self.versions_of(body, newest)?
        };
        WireError::check(VERSIONS, answer.error_code, None)?;
        let range = |min, max| VersionRange { min, max };
        self.versions = answer.api_keys.iter().map(|key| (key.api_key, range(key.min_version, key.max_version))).collect();
        Ok(())
    }

    fn versions_of(&self, mut body: Bytes, version: i16) -> Result<ApiVersionsResponse, WireError> {
        ApiVersionsResponse::decode(&mut body, version).map_err(|error| self.garbled(VERSIONS, format!("{error:#}")))
    }

    pub(super) async fn authenticate(&mut self, sasl: &Sasl) -> Result<(), WireError> {
        let mechanism = StrBytes::from_static_str(sasl.mechanism.name());
        let handshake = self.call("SaslHandshake", &SaslHandshakeRequest::default().with_mechanism(mechanism)).await?;
        if let Some(code) = Code::try_from_code(handshake.error_code) {
            let offered: Vec<&str> = handshake.mechanisms.iter().map(StrBytes::as_str).collect();
            return Err(self.denied(format!("{}: {code}; the broker offers {}", sasl.mechanism.name(), offered.join(", "))));
        }
        let last = match sasl.mechanism {
            Mechanism::Plain => self.say(format!("\0{}\0{}", sasl.user, sasl.password).into_bytes()).await?,
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                let mut scram = Scram::new(sasl).map_err(|why| self.denied(why))?;
                let first = self.say(scram.first().into_bytes()).await?;
                let proof = scram.proof(&first.auth_bytes).map_err(|why| self.denied(why))?;
                let last = self.say(proof.into_bytes()).await?;
                scram.verify(&last.auth_bytes).map_err(|why| self.denied(why))?;
                last
            }
        };
        // After `connections.max.reauth.ms` the broker closes the connection: another is opened a little before.
        if let Ok(lifetime @ 1..) = u64::try_from(last.session_lifetime_ms) {
            self.good_until = Some(Instant::now() + Duration::from_millis(lifetime / 10 * 9));
        }
        Ok(())
    }

    async fn say(&self, bytes: Vec<u8>) -> Result<SaslAuthenticateResponse, WireError> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes.into());
        let answer = self.call("SaslAuthenticate", &request).await?;
        match Code::try_from_code(answer.error_code) {
            None => Ok(answer),
            Some(code) => {
                let message = answer.error_message.as_deref().filter(|message| !message.is_empty());
                Err(self.denied(message.map_or_else(|| code.to_string(), str::to_owned)))
            }
        }
    }

    fn denied(&self, why: String) -> WireError {
        WireError::Denied { address: self.address.clone(), why }
    }
}
