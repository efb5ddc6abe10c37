use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// An authority, and a certificate of it.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate, PEM.
    pub authority_pem: String,
    /// The server's key (PKCS#8) and certificate in one PEM, as ZooKeeper, Kafka and RocketMQ read it.
    pub server_pem: String,
}

impl Certificates {
    /// New ones, for `127.0.0.1` and `localhost`.
    pub fn new() -> Self {
        Self::for_names(["127.0.0.1", "localhost"])
    }

    /// New ones whose server has these names.
    pub fn for_names(names: impl IntoIterator<Item = &'static str>) -> Self {
        let mut authority = CertificateParams::new([]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than the server's: OpenSSL takes a certificate whose issuer is called as itself for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "authority for tests");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let server = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        Self { authority_pem: authority.pem(), server_pem: format!("{}{}", key.serialize_pem(), server.pem()) }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
