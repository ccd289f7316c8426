//! Which certificate is shown, and what is asked of clients.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use super::pair::Pair;
use crate::self_metrics::secure::Secure;

/// What is spoken over TLS, what is liked best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate that is shown, and that may change. Without one no handshake succeeds.
#[derive(Debug)]
pub struct Serving {
    current: ArcSwapOption<CertifiedKey>,
    metrics: Secure,
}

impl Serving {
    /// Without a certificate.
    pub fn new(metrics: Secure) -> Self {
        Self { current: ArcSwapOption::empty(), metrics }
    }

    /// Shows `pair` from the next handshake on.
    pub fn show(&self, pair: Pair) {
        self.metrics.certificate_ends.set(pair.ends_s);
        self.current.store(Some(pair.key));
    }
}

#[cfg(test)]
impl Serving {
    /// What is shown.
    pub(crate) fn shown(&self) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

/// How the secure port speaks TLS.
pub fn config(serving: Arc<Serving>, crypto: Arc<CryptoProvider>) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&crypto));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = builder.with_client_cert_verifier(Arc::new(AnyCertificate(crypto)));
    let mut config = builder.with_cert_resolver(serving);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

/// Takes every client's certificate, if the client has the key to it, and those without one.
struct AnyCertificate(Arc<CryptoProvider>);

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AnyCertificate")
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None, so that clients show what they have.
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
