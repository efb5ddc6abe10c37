//! TLS on every port, and accounts on the brokers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::RocketLine;
use crate::Certificates;

/// Access key and secret key of the account that may do everything.
pub(super) const ADMIN: (&str, &str) = ("operator", "secret-of-operator");

/// An account that 4.9 has from its start: it may send to and consume from the topic `allowed`, as the group `allowed`, and nothing else. 5 keeps
/// accounts in its store, where an operator makes them.
pub(super) const LIMITED: (&str, &str) = ("application", "secret-of-application");

/// With what this process asks servers of the testbed.
pub(super) fn client(certificates: &Certificates) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificates.authority_pem.as_bytes()).unwrap()).unwrap();
    // Said here because a test's program may have a second provider in its tree, and rustls refuses to guess then.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// A server's key and certificates, and what tells it of them.
pub(super) fn write(folder: &Path, line: RocketLine, certificates: &Certificates) {
    certify(folder, certificates);
    fs::write(folder.join("authority.pem"), &certificates.authority_pem).unwrap();
    // In "test mode", which is the default, each server makes a certificate of its own at each start.
    let tls = format!(
        "tls.test.mode.enable=false\ntls.server.need.client.auth=none\ntls.server.authClient=false\ntls.server.keyPath={folder}/server.pem\n\
         tls.server.certPath={folder}/server.pem\ntls.client.authServer=true\ntls.client.trustCertPath={folder}/authority.pem\n",
        folder = folder.display()
    );
    fs::write(folder.join("conf/tls.properties"), tls).unwrap();
    if line == RocketLine::V4 {
        let accounts = format!(
            "accounts:\n- accessKey: {}\n  secretKey: {}\n  admin: true\n- accessKey: {}\n  secretKey: {}\n  admin: false\n  \
             defaultTopicPerm: DENY\n  defaultGroupPerm: DENY\n  topicPerms:\n  - allowed=PUB|SUB\n  groupPerms:\n  - allowed=SUB\n",
            ADMIN.0, ADMIN.1, LIMITED.0, LIMITED.1
        );
        fs::write(folder.join("conf/plain_acl.yml"), accounts).unwrap();
    }
}

/// Its key and certificate. Servers look at the file twice a second, and take what is new for connections from then on.
pub(super) fn certify(folder: &Path, certificates: &Certificates) {
    let (aside, file) = (folder.join("server.pem.new"), folder.join("server.pem"));
    fs::write(&aside, &certificates.server_pem).unwrap();
    fs::rename(aside, file).unwrap();
}

/// What a server's JVM is told.
pub(super) fn flags(folder: &Path) -> [String; 3] {
    [
        "-Dtls.server.mode=enforcing".to_owned(),
        format!("-Dtls.config.file={}", folder.join("conf/tls.properties").display()),
        // 5 keeps accounts in RocksDB, which unpacks 60 MB of library there and leaves it behind when it is killed.
        format!("-Djava.io.tmpdir={}", folder.display()),
    ]
}

/// Lines of a broker's configuration.
pub(super) fn settings(line: RocketLine) -> String {
    match line {
        RocketLine::V4 => "aclEnable=true\n".to_owned(),
        RocketLine::V5 => {
            let auth = "org.apache.rocketmq.auth";
            format!(
                "authenticationEnabled=true\n\
                 authenticationProvider={auth}.authentication.provider.DefaultAuthenticationProvider\n\
                 authenticationMetadataProvider={auth}.authentication.provider.LocalAuthenticationMetadataProvider\n\
                 authorizationEnabled=true\n\
                 authorizationProvider={auth}.authorization.provider.DefaultAuthorizationProvider\n\
                 authorizationMetadataProvider={auth}.authorization.provider.LocalAuthorizationMetadataProvider\n\
                 initAuthenticationUser={{\"username\":\"{user}\",\"password\":\"{password}\"}}\n\
                 innerClientAuthenticationCredentials={{\"accessKey\":\"{user}\",\"secretKey\":\"{password}\"}}\n",
                user = ADMIN.0,
                password = ADMIN.1
            )
        }
    }
}
