//! Users of client certificates.
//!
//! The TLS handshake has found out that a client has the key to its certificate. Whether an
//! authority vouches for it is asked here, with every request: so authorities can change, and
//! certificates end, while a connection is open.

use std::{fmt, sync::Arc};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{parse_x509_certificate, x509::X509Name};

use super::User;

/// The certificates that a client sent: its own, and those between it and its authority.
pub type Chain = Arc<[CertificateDer<'static>]>;

/// Certificates in one bundle of authorities.
const AUTHORITIES: usize = 256;

/// Authorities that vouch for clients.
#[derive(Clone)]
pub struct Authorities(Arc<dyn ClientCertVerifier>);

/// A bundle of authorities that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthorities {
    /// A block of it is no PEM.
    #[error("it is not in PEM")]
    Pem,
    /// It holds none.
    #[error("it holds no certificate")]
    Empty,
    /// It holds very many.
    #[error("it holds more than {AUTHORITIES} certificates")]
    TooMany,
    /// One of them can vouch for nobody.
    #[error("certificate {number} of it is no authority's: {why}")]
    Certificate {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// What a certificate says of its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name, empty for none.
    pub common_name: String,
    /// The organizations.
    pub organizations: Vec<String>,
}

/// A certificate for which no authority vouches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unvouched(String);

impl Authorities {
    /// Those of a bundle in PEM.
    pub fn of_pem(pem: &[u8], crypto: &Arc<CryptoProvider>) -> Result<Self, BadAuthorities> {
        let mut roots = RootCertStore::empty();
        for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(pem)) {
            if AUTHORITIES < number {
                return Err(BadAuthorities::TooMany);
            }
            let certificate = certificate.map_err(|_| BadAuthorities::Pem)?;
            let bad =
                |why: rustls::Error| BadAuthorities::Certificate { number, why: why.to_string() };
            roots.add(certificate).map_err(bad)?;
        }
        let crypto = Arc::clone(crypto);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto).build();
        Ok(Self(verifier.map_err(|_| BadAuthorities::Empty)?))
    }

    /// Who the owner of a chain is at `now`, if one of these vouches for it.
    pub fn subject(&self, chain: &Chain, now: UnixTime) -> Result<Subject, Unvouched> {
        let Some((own, between)) = chain.split_first() else {
            return Err(Unvouched("there is no certificate".to_owned()));
        };
        let verified = self.0.verify_client_cert(own, between, now);
        verified.map_err(|error| Unvouched(error.to_string()))?;
        Subject::of(own)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Authorities(…)")
    }
}

impl Subject {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Unvouched> {
        let parsed = parse_x509_certificate(certificate);
        let (_, certificate) = parsed.map_err(|error| Unvouched(error.to_string()))?;
        let name: &X509Name<'_> = certificate.subject();
        let text = |value: Result<&str, _>| {
            value.map(str::to_owned).map_err(|_| Unvouched("its subject is no text".to_owned()))
        };
        // Of several common names the last counts, as in Go.
        let common_name = name.iter_common_name().last().map(|name| text(name.as_str()));
        let organizations = name.iter_organization().map(|name| text(name.as_str()));
        Ok(Self {
            common_name: common_name.transpose()?.unwrap_or_default(),
            organizations: organizations.collect::<Result<_, _>>()?,
        })
    }

    /// The user that it is, if it has a name.
    pub fn user(self) -> Option<User> {
        let Self { common_name: name, organizations: groups } = self;
        (!name.is_empty()).then(|| User { name, groups, ..User::default() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use rustls::crypto::ring::default_provider;
    use time::OffsetDateTime;

    use super::*;

    /// The second in which everything is valid.
    pub(crate) const NOW: i64 = 1_795_423_525;

    /// An authority that signs what a test wants.
    pub(crate) struct Signer {
        issuer: Issuer<'static, KeyPair>,
        pub(crate) pem: String,
    }

    impl Signer {
        pub(crate) fn new(name: &str) -> Self {
            let mut params = params(name, &[], -100..100);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let pem = params.self_signed(&key).unwrap().pem();
            Self { issuer: Issuer::new(params, key), pem }
        }

        pub(crate) fn authorities(&self) -> Authorities {
            Authorities::of_pem(self.pem.as_bytes(), &Arc::new(default_provider())).unwrap()
        }

        fn sign(&self, params: CertificateParams) -> Chain {
            let key = KeyPair::generate().unwrap();
            [params.signed_by(&key, &self.issuer).unwrap().der().clone()].into()
        }

        pub(crate) fn client(&self, name: &str, organizations: &[&str]) -> Chain {
            self.sign(params(name, organizations, -10..10))
        }
    }

    fn params(
        name: &str,
        organizations: &[&str],
        seconds: std::ops::Range<i64>,
    ) -> CertificateParams {
        let mut params = CertificateParams::default();
        let at = |second| OffsetDateTime::from_unix_timestamp(NOW + second).unwrap();
        (params.not_before, params.not_after) = (at(seconds.start), at(seconds.end));
        params.distinguished_name = rcgen::DistinguishedName::new();
        if !name.is_empty() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for organization in organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        params
    }

    pub(crate) fn now() -> UnixTime {
        at(0)
    }

    fn at(second: i64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs((NOW + second).unsigned_abs()))
    }

    #[test]
    fn the_common_name_is_the_user_and_the_organizations_are_its_groups() {
        let ca = Signer::new("ca");
        let subject = ca.authorities().subject(&ca.client("ada", &["dev"]), now()).unwrap();
        let user =
            User { name: "ada".to_owned(), groups: vec!["dev".to_owned()], ..User::default() };
        assert_eq!(subject.user(), Some(user));
        let nameless = ca.authorities().subject(&ca.client("", &["dev"]), now()).unwrap();
        assert_eq!(nameless.user(), None);
    }

    #[test]
    fn only_what_an_authority_vouches_for_counts() {
        let (ca, other) = (Signer::new("ca"), Signer::new("ca"));
        let refused = |chain: &Chain, now| ca.authorities().subject(chain, now).is_err();
        assert!(refused(&other.client("ada", &[]), now()), "another authority's of the same name");
        assert!(refused(&ca.client("ada", &[]), at(11)), "one that has ended");
        assert!(refused(&ca.client("ada", &[]), at(-11)), "one that begins later");
        assert!(refused(&[].into(), now()), "none");
        assert!(refused(&[CertificateDer::from(vec![48, 0])].into(), now()), "one that is none");
        let mut server = params("ada", &[], -10..10);
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        assert!(refused(&ca.sign(server), now()), "a server's");
        assert!(!refused(&ca.client("ada", &[]), at(9)));
    }

    #[test]
    fn a_bundle_vouches_with_each_of_its_authorities() {
        let (old, new) = (Signer::new("old"), Signer::new("new"));
        let bundle = format!("{}\n# a comment\n{}", old.pem, new.pem);
        let both = Authorities::of_pem(bundle.as_bytes(), &Arc::new(default_provider())).unwrap();
        for ca in [old, new] {
            assert!(both.subject(&ca.client("ada", &[]), now()).is_ok());
        }
    }

    #[test]
    fn a_bundle_that_is_none_says_why() {
        let bad = |pem: &str| {
            Authorities::of_pem(pem.as_bytes(), &Arc::new(default_provider())).expect_err("bad")
        };
        assert_eq!(bad(""), BadAuthorities::Empty);
        let junk = bad("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(matches!(junk, BadAuthorities::Certificate { number: 1, .. }), "{junk:?}");
        assert_eq!(
            bad("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
            BadAuthorities::Pem
        );
    }
}
