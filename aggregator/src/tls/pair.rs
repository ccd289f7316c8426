//! A certificate and its key, as they are read from somewhere.

use std::sync::Arc;

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

/// Certificates between a server's and its authority's.
const CHAIN: usize = 16;

/// A certificate that can be shown.
#[derive(Clone, Debug)]
pub struct Pair {
    /// With its key.
    pub key: Arc<CertifiedKey>,
    /// The last second in which it is valid.
    pub ends_s: i64,
}

/// A certificate that can't be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPair {
    /// It is something else.
    #[error("the certificate is no certificate in PEM")]
    Certificate,
    /// A chain that leads nowhere.
    #[error("the certificate has more than {CHAIN} others after it")]
    TooMany,
    /// It is something else.
    #[error("the key is no private key in PEM")]
    Key,
    /// They belong to others, or are of a kind that can't be used.
    #[error("the key is not that of the certificate, or can't be used: {0}")]
    Mismatch(String),
}

impl Pair {
    /// Of a certificate, with those between it and its authority after it, and its key.
    pub fn of_pem(
        certificate: &[u8],
        key: &[u8],
        crypto: &Arc<CryptoProvider>,
    ) -> Result<Self, BadPair> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|_| BadPair::Certificate)?;
        if CHAIN < chain.len() {
            return Err(BadPair::TooMany);
        }
        let first = chain.first().ok_or(BadPair::Certificate)?;
        let (_, parsed) = parse_x509_certificate(first).map_err(|_| BadPair::Certificate)?;
        let ends_s = parsed.validity().not_after.timestamp();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadPair::Key)?;
        let key = CertifiedKey::from_der(chain, key, crypto);
        let key = key.map_err(|error| BadPair::Mismatch(error.to_string()))?;
        Ok(Self { key: Arc::new(key), ends_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{crypto, generated::Kept};

    #[test]
    fn a_pair_belongs_together() {
        let make = || Kept::renewed(None, &["a".to_owned()], 1_795_423_525).unwrap().unwrap();
        let (one, other) = (make(), make());
        let read = |certificate: &str, key: &str| {
            Pair::of_pem(certificate.as_bytes(), key.as_bytes(), &crypto())
        };
        let ends_s = read(&one.certificate, &one.key).unwrap().ends_s;
        assert_eq!(ends_s, 1_795_423_525 + 365 * 86_400);
        let bad = |certificate: &str, key: &str| read(certificate, key).expect_err("bad");
        assert!(matches!(bad(&one.certificate, &other.key), BadPair::Mismatch(_)));
        assert_eq!(bad("", &one.key), BadPair::Certificate);
        assert_eq!(bad(&one.key, &one.key), BadPair::Certificate);
        assert_eq!(bad(&one.certificate, &one.certificate), BadPair::Key);
        assert_eq!(bad(&one.certificate.repeat(CHAIN + 1), &one.key), BadPair::TooMany);
    }
}
