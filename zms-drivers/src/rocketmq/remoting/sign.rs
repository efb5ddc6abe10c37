//! Signing requests as RocketMQ's ACL wants it.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Request;
use crate::open::Credentials;

const ACCESS_KEY: &str = "AccessKey";
const SIGNATURE: &str = "Signature";
/// The field by which a message's own id is asked for. Brokers leave it out when they check the signature of a client of our version.
pub const BY_UNIQUE_ID: &str = "_UNIQUE_KEY_QUERY";

/// Signs requests of one access key.
pub(super) struct Signer {
    access_key: String,
    /// SHA-1 is what every broker checks, and the only one that none refuses.
    secret_key: hmac::Key,
}

impl Signer {
    pub fn new(credentials: &Credentials) -> Self {
        let secret_key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, credentials.password.as_bytes());
        Self { access_key: credentials.user.clone(), secret_key }
    }

    /// The signature is over the values of all fields in the order of their names but [`BY_UNIQUE_ID`], then the body.
    pub fn sign(&self, request: &mut Request) {
        let fields: &mut BTreeMap<String, String> = &mut request.fields;
        fields.remove(SIGNATURE);
        fields.insert(ACCESS_KEY.to_owned(), self.access_key.clone());
        let mut context = hmac::Context::with_key(&self.secret_key);
        let signed = fields.iter().filter(|(name, _)| *name != BY_UNIQUE_ID);
        signed.for_each(|(_, value)| context.update(value.as_bytes()));
        context.update(&request.body);
        fields.insert(SIGNATURE.to_owned(), BASE64_STANDARD.encode(context.sign()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::RequestCode;
    use super::*;
    use crate::open::Mechanism;

    #[test]
    fn a_request_is_signed_over_its_sorted_values_and_body() {
        let credentials = Credentials { mechanism: Mechanism::Plain, user: "key".to_owned(), password: "secret".to_owned() };
        let signer = Signer::new(&credentials);
        let mut request = Request::new(RequestCode::SendMessageV2).with("topic", "t").with("a", 1).with_body("body");
        signer.sign(&mut request);
        // printf 'key1tbody' | openssl dgst -sha1 -hmac secret -binary | base64
        assert_eq!(request.fields[SIGNATURE], "8IgmO7b9kO9hyoRRq3e98RucwgI=");
        let before = request.clone();
        signer.sign(&mut request);
        assert_eq!(request, before, "signing again changes nothing");
        let by_id = before.clone().with(BY_UNIQUE_ID, true);
        let mut signed = by_id.clone();
        signer.sign(&mut signed);
        assert_eq!(signed, by_id, "it is not signed");
        request.body = "other".into();
        signer.sign(&mut request);
        assert_ne!(request.fields[SIGNATURE], before.fields[SIGNATURE]);
    }
}
