//! An authority of our own, and the certificate it gives us.
//!
//! Both are renewed when two thirds of their life are over. A new authority is announced, beside
//! the old one, before anything is shown that it vouches for: with it the *old* one vouches for a
//! new certificate, and the new one comes to its turn when that is renewed. Until the old one
//! ends it stays in the bundle. So whoever has any bundle of the last third of an authority's life
//! trusts what is shown.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::OffsetDateTime;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

const DAY_S: i64 = 86_400;
/// A third of it is more than a certificate's whole life, so an authority never ends before what
/// it vouches for.
const AUTHORITY_LIVES_S: i64 = 10 * 365 * DAY_S;
/// What is left at its renewal, four months, is how long nobody has to look after it while the API
/// server or the disk refuses the new one.
const CERTIFICATE_LIVES_S: i64 = 365 * DAY_S;
/// Clocks of others may be behind.
const BEGINS_BEFORE_S: i64 = 3_600;
/// Authorities in a bundle: there are never more than two unless the clock jumps.
const AUTHORITIES: usize = 4;

/// An authority and a certificate, in PEM, as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The certificate that is shown.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The authorities, the one that vouches for the next certificate first.
    pub bundle: String,
    /// The key of the first.
    pub authority_key: String,
}

/// Nothing could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate")]
pub struct NotMade(#[from] rcgen::Error);

/// An authority that can vouch.
struct Authority {
    pem: String,
    key: KeyPair,
    life: Life,
}

/// From the second in which something begins to be valid to the last in which it is.
#[derive(Clone, Copy, Debug)]
struct Life {
    begins_s: i64,
    ends_s: i64,
}

impl Kept {
    /// What should be kept instead of `held` at `now_s`, with a certificate for `names`: hosts and
    /// IP addresses. `None` when it is good as it is.
    pub fn renewed(
        held: Option<&Self>,
        names: &[String],
        now_s: i64,
    ) -> Result<Option<Self>, NotMade> {
        let authority =
            held.and_then(Authority::of).filter(|authority| !authority.life.ended(now_s));
        let (Some(held), Some(authority)) = (held, authority) else {
            let authority = Authority::make(now_s)?;
            let (certificate, key) = authority.vouch(names, now_s)?;
            let authority_key = authority.key.serialize_pem();
            return Ok(Some(Self { certificate, key, bundle: authority.pem, authority_key }));
        };
        let authority_is_due = authority.life.is_due(now_s);
        if !authority_is_due && held.certificate_is_good(names, now_s) {
            return Ok(None);
        }
        let (certificate, key) = authority.vouch(names, now_s)?;
        let next = if authority_is_due { Authority::make(now_s)? } else { authority };
        let still_valid = |pem: &String| life(pem).is_some_and(|life| !life.ended(now_s));
        let mut bundle = vec![next.pem.clone()];
        let others = blocks(&held.bundle).filter(still_valid).filter(|pem| *pem != next.pem);
        bundle.extend(others.take(AUTHORITIES - 1));
        let authority_key = next.key.serialize_pem();
        Ok(Some(Self { certificate, key, bundle: bundle.concat(), authority_key }))
    }

    /// Whether the certificate belongs to its key, is for these names and need not be renewed.
    fn certificate_is_good(&self, names: &[String], now_s: i64) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(self.certificate.as_bytes()) else {
            return false;
        };
        let Ok((_, certificate)) = parse_x509_certificate(&der) else { return false };
        let is_its_key =
            KeyPair::from_pem(&self.key).is_ok_and(|key| is_key_of(&key, &certificate));
        is_its_key && !Life::of(&certificate).is_due(now_s) && has_names(&certificate, names)
    }
}

impl Life {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { begins_s: validity.not_before.timestamp(), ends_s: validity.not_after.timestamp() }
    }

    fn is_due(self, now_s: i64) -> bool {
        let whole = self.ends_s.saturating_sub(self.begins_s);
        self.begins_s.saturating_add(whole / 3 * 2) <= now_s
    }

    fn ended(self, now_s: i64) -> bool {
        self.ends_s < now_s
    }
}

impl Authority {
    /// The first of the bundle, if its key is there.
    fn of(held: &Kept) -> Option<Self> {
        let pem = blocks(&held.bundle).next()?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_, certificate) = parse_x509_certificate(&der).ok()?;
        let key = KeyPair::from_pem(&held.authority_key).ok()?;
        let is_authority = certificate.is_ca() && is_key_of(&key, &certificate);
        let life = Life::of(&certificate);
        is_authority.then_some(Self { pem, key, life })
    }

    fn make(now_s: i64) -> Result<Self, NotMade> {
        let life = Life { begins_s: now_s - BEGINS_BEFORE_S, ends_s: now_s + AUTHORITY_LIVES_S };
        // Two of the same name would be hard to tell apart.
        let mut params = params(&format!("tally-aggregator-ca@{now_s}"), life);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { pem: params.self_signed(&key)?.pem(), key, life })
    }

    /// A certificate and its key.
    fn vouch(&self, names: &[String], now_s: i64) -> Result<(String, String), NotMade> {
        let ends_s = (now_s + CERTIFICATE_LIVES_S).min(self.life.ends_s);
        let life = Life { begins_s: now_s - BEGINS_BEFORE_S, ends_s };
        let mut params = params("tally-aggregator", life);
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_ca_cert_pem(&self.pem, &self.key)?;
        Ok((params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
    }
}

fn params(name: &str, life: Life) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let at =
        |second| OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (params.not_before, params.not_after) = (at(life.begins_s), at(life.ends_s));
    params
}

fn is_key_of(key: &KeyPair, certificate: &X509Certificate<'_>) -> bool {
    rcgen::PublicKeyData::subject_public_key_info(key) == certificate.public_key().raw
}

fn has_names(certificate: &X509Certificate<'_>, names: &[String]) -> bool {
    let Ok(Some(found)) = certificate.subject_alternative_name() else { return false };
    let mut found: Vec<String> = found.value.general_names.iter().map(told).collect();
    let mut wanted = names.to_vec();
    found.sort();
    wanted.sort();
    found == wanted
}

fn told(name: &GeneralName<'_>) -> String {
    match *name {
        GeneralName::DNSName(name) => name.to_owned(),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| v6()).map(|address| address.to_string()).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// When a certificate in PEM is valid.
fn life(pem: &str) -> Option<Life> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = parse_x509_certificate(&der).ok()?;
    Some(Life::of(&certificate))
}

/// The certificates of a bundle, each with the end of its last line.
fn blocks(pem: &str) -> impl Iterator<Item = String> {
    const END: &str = "-----END CERTIFICATE-----";
    let whole = pem.split_inclusive(END).filter(|block| block.ends_with(END));
    whole.map(|block| format!("{}\n", block.trim_start().replace('\r', "")))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{ServerName, UnixTime},
    };

    use super::*;
    use crate::tls::crypto;

    const NOW_S: i64 = 1_795_423_525;

    fn names() -> Vec<String> {
        ["tally.kube-system.svc", "localhost", "127.0.0.1", "::1"].map(str::to_owned).into()
    }

    fn renewed(held: Option<&Kept>, now_s: i64) -> Option<Kept> {
        Kept::renewed(held, &names(), now_s).unwrap()
    }

    /// Whether who has that bundle trusts what is shown.
    fn trusts(bundle: &str, shown: &Kept, name: &str, now_s: i64) -> bool {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto());
        let certificate = CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s.unsigned_abs()));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let verifier = verifier.build().unwrap();
        verifier.verify_server_cert(&certificate, &[], &name, &[], now).is_ok()
    }

    #[test]
    fn what_is_made_is_trusted_under_its_names_and_no_other() {
        let kept = renewed(None, NOW_S).unwrap();
        for name in names() {
            assert!(trusts(&kept.bundle, &kept, &name, NOW_S), "{name}");
        }
        assert!(!trusts(&kept.bundle, &kept, "tally.default.svc", NOW_S));
        let other = renewed(None, NOW_S).unwrap();
        assert!(!trusts(&other.bundle, &kept, "localhost", NOW_S));
    }

    #[test]
    fn what_is_good_stays() {
        let kept = renewed(None, NOW_S).unwrap();
        assert_eq!(renewed(Some(&kept), NOW_S), None);
        assert_eq!(renewed(Some(&kept), NOW_S + 243 * DAY_S), None);
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life_by_the_same_authority() {
        let kept = renewed(None, NOW_S).unwrap();
        let later = NOW_S + 244 * DAY_S;
        let new = renewed(Some(&kept), later).unwrap();
        assert_eq!((&new.bundle, &new.authority_key), (&kept.bundle, &kept.authority_key));
        assert_ne!(new.certificate, kept.certificate);
        assert!(trusts(&kept.bundle, &new, "localhost", later + 365 * DAY_S));
    }

    #[test]
    fn a_certificate_for_other_names_or_another_key_is_made_anew() {
        let kept = renewed(None, NOW_S).unwrap();
        let names = vec!["other".to_owned()];
        let new = Kept::renewed(Some(&kept), &names, NOW_S).unwrap().unwrap();
        assert!(trusts(&kept.bundle, &new, "other", NOW_S));
        for broken in [
            Kept { key: renewed(None, NOW_S).unwrap().key, ..kept.clone() },
            Kept { key: String::new(), ..kept.clone() },
            Kept { certificate: "x".to_owned(), ..kept.clone() },
        ] {
            let new = renewed(Some(&broken), NOW_S).unwrap();
            assert!(trusts(&kept.bundle, &new, "localhost", NOW_S));
        }
    }

    #[test]
    fn what_is_no_authority_is_made_anew() {
        let kept = renewed(None, NOW_S).unwrap();
        for broken in [
            Kept::default(),
            Kept { bundle: "x".to_owned(), ..kept.clone() },
            Kept { authority_key: kept.key.clone(), ..kept.clone() },
            Kept {
                bundle: kept.certificate.clone(),
                authority_key: kept.key.clone(),
                ..kept.clone()
            },
        ] {
            let new = renewed(Some(&broken), NOW_S).unwrap();
            assert!(trusts(&new.bundle, &new, "localhost", NOW_S));
            assert_ne!(new.bundle, kept.bundle);
        }
        let ended = NOW_S + AUTHORITY_LIVES_S + 1;
        let new = renewed(Some(&kept), ended).unwrap();
        assert!(trusts(&new.bundle, &new, "localhost", ended));
        assert_eq!(blocks(&new.bundle).count(), 1);
    }

    /// Twenty-five years, looked at each week: at any time, whoever took the bundle anew within
    /// the last half year trusts what is shown, and so does whoever has it from today.
    #[test]
    fn whoever_has_a_bundle_of_not_long_ago_trusts_what_is_shown() {
        let mut kept = renewed(None, NOW_S).unwrap();
        let mut bundles: Vec<String> = Vec::new();
        let mut authorities = 1;
        for week in 0..25 * 52 {
            let now_s = NOW_S + week * 7 * DAY_S;
            if let Some(new) = renewed(Some(&kept), now_s) {
                authorities += i32::from(new.authority_key != kept.authority_key);
                kept = new;
            }
            assert!(blocks(&kept.bundle).count() <= 2, "week {week}");
            bundles.push(kept.bundle.clone());
            for bundle in bundles.iter().rev().take(26) {
                assert!(trusts(bundle, &kept, "localhost", now_s), "week {week}");
            }
        }
        assert_eq!(authorities, 4);
    }
}
