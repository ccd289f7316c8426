//! Flags of the secure port.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{ApiServer, Faults, listen};
use crate::{callers::ANONYMOUS, kubernetes::own_certificate::Place};

/// Of the Service that leads to us, where no other name is given.
pub const SERVICE: &str = "tally-aggregator";

/// The APIs that are usually ours.
const API_SERVICES: [&str; 2] = ["v1beta1.metrics.k8s.io", "v1.metrics.k8s.io"];

/// Letters of a name that is part of a host's.
const NAME_MOST: usize = 63;

/// The flags.
#[derive(Clone, Debug, Args)]
pub struct SecureFlags {
    /// Address and port for HTTPS, where every caller is checked as an aggregated API server checks
    /// them: by certificate, token or front proxy, and whether it may. Not set: none
    #[arg(long, value_name = "IP:PORT", env = "TALLY_AGGREGATOR_SECURE_LISTEN")]
    pub secure_listen: Option<String>,

    /// Certificate for it, in PEM, with those between it and its authority; read again when it
    /// changes. Not set: one is generated and renewed; with an API server it is kept in a Secret,
    /// else in the history directory (tls/ca.crt there is for clients), with --no-history nowhere
    #[arg(long, value_name = "FILE", env = "TALLY_AGGREGATOR_TLS_CERT_FILE")]
    #[arg(requires = "tls_private_key_file")]
    #[arg(conflicts_with_all = ["service_name", "tls_secret", "api_service"])]
    pub tls_cert_file: Option<PathBuf>,

    /// Key of that certificate, in PEM
    #[arg(long, value_name = "FILE", env = "TALLY_AGGREGATOR_TLS_PRIVATE_KEY_FILE")]
    #[arg(requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,

    /// Service that leads to the secure port: a generated certificate is for its names. Not set:
    /// tally-aggregator in the namespace of the pod or the kubeconfig
    #[arg(long, value_name = "NAMESPACE/NAME", env = "TALLY_AGGREGATOR_SERVICE_NAME")]
    pub service_name: Option<String>,

    /// Secret in which a generated certificate is kept. Not set: SERVICE-tls beside the Service
    #[arg(long, value_name = "NAMESPACE/NAME", env = "TALLY_AGGREGATOR_TLS_SECRET")]
    pub tls_secret: Option<String>,

    /// APIService that gets the authority of a generated certificate if it leads to that Service
    /// (repeatable; in the environment: separated by commas). Not set: v1beta1.metrics.k8s.io and
    /// v1.metrics.k8s.io
    #[arg(long, value_name = "NAME", env = "TALLY_AGGREGATOR_API_SERVICE", value_delimiter = ',')]
    pub api_service: Vec<String>,

    /// Authorities of users' certificates, in PEM, instead of those that the API server trusts: the
    /// common name is the user, organizations are its groups. Read again when it changes
    #[arg(long, value_name = "FILE", env = "TALLY_AGGREGATOR_CLIENT_CA_FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// File of tokens: token,user,uid,"group,group" a line, as for Kubernetes' API server. Read
    /// again when it changes
    #[arg(long, value_name = "FILE", env = "TALLY_AGGREGATOR_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,

    /// Users that may ask everything (repeatable, or separated by commas). Others may what the API
    /// server says; without one nothing, and without this flag everybody with a certificate or a
    /// token may ask everything. system:anonymous is everybody
    #[arg(
        long,
        value_name = "USER",
        env = "TALLY_AGGREGATOR_ALLOWED_USERS",
        value_delimiter = ','
    )]
    pub allowed_users: Vec<String>,
}

/// What the secure port runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecureSettings {
    /// Address of the port.
    pub listen: SocketAddr,
    /// Where its certificate comes from.
    pub certificate: CertificateSource,
    /// Authorities of users.
    pub client_ca: Option<PathBuf>,
    /// Tokens of users.
    pub tokens: Option<PathBuf>,
    /// Users that may everything.
    pub allowed_users: BTreeSet<String>,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// From files.
    Files {
        /// The certificate.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// It is made.
    Generated {
        /// For this Service.
        service: Option<Place>,
        /// Kept here.
        secret: Option<Place>,
        /// For these.
        api_services: Vec<String>,
    },
}

impl SecureFlags {
    /// Checks them; `None` where there is to be no secure port.
    pub(super) fn check(
        &self,
        api_server: &ApiServer,
        faults: &mut Faults,
    ) -> Option<SecureSettings> {
        let Some(text) = &self.secure_listen else {
            for (flag, is_set) in self.others() {
                let unused = || format!("{flag} is of no use without --secure-listen");
                faults.collect(flag, if is_set { Err(unused()) } else { Ok(()) }, ());
            }
            return None;
        };
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let listen = faults.collect("--secure-listen", listen(text, true), nowhere);
        let service = self.service_name.as_deref().map(place).transpose();
        let service = faults.collect("--service-name", service, None);
        let secret = self.tls_secret.as_deref().map(place).transpose();
        let secret = faults.collect("--tls-secret", secret, None);
        let certificate = match (&self.tls_cert_file, &self.tls_private_key_file) {
            (Some(certificate), Some(key)) => {
                CertificateSource::Files { certificate: certificate.clone(), key: key.clone() }
            }
            _ => CertificateSource::Generated {
                service,
                secret,
                api_services: match self.api_service.as_slice() {
                    [] => API_SERVICES.map(str::to_owned).into(),
                    named => named.to_vec(),
                },
            },
        };
        let settings = SecureSettings {
            listen,
            certificate,
            client_ca: self.client_ca_file.clone(),
            tokens: self.token_file.clone(),
            allowed_users: self.allowed_users.iter().cloned().collect(),
        };
        let lets_in = *api_server != ApiServer::None || settings.lets_somebody_in();
        let nobody = || NOBODY.to_owned();
        faults.collect("--secure-listen", if lets_in { Ok(()) } else { Err(nobody()) }, ());
        Some(settings)
    }

    /// The other flags, and whether they are set.
    fn others(&self) -> [(&'static str, bool); 8] {
        [
            ("--tls-cert-file", self.tls_cert_file.is_some()),
            ("--tls-private-key-file", self.tls_private_key_file.is_some()),
            ("--service-name", self.service_name.is_some()),
            ("--tls-secret", self.tls_secret.is_some()),
            ("--api-service", !self.api_service.is_empty()),
            ("--client-ca-file", self.client_ca_file.is_some()),
            ("--token-file", self.token_file.is_some()),
            ("--allowed-users", !self.allowed_users.is_empty()),
        ]
    }
}

/// What to do where nobody could be let in.
pub const NOBODY: &str = "without an API server nobody would be let in: give --client-ca-file or \
                          --token-file, or let everybody in by --allowed-users system:anonymous";

impl SecureSettings {
    /// Whether anybody can be let in without an API server's word.
    pub fn lets_somebody_in(&self) -> bool {
        let is_open = self.allowed_users.contains(ANONYMOUS);
        self.client_ca.is_some() || self.tokens.is_some() || is_open
    }
}

fn place(text: &str) -> Result<Place, String> {
    let is_name = |name: &str| {
        let is_letter = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        (1..=NAME_MOST).contains(&name.len()) && name.bytes().all(is_letter)
    };
    match text.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => {
            Ok(Place { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err(format!("{text:?} is no namespace and name, such as kube-system/tally")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::settings::{Flags, Settings};

    fn check(arguments: &str) -> Result<Option<SecureSettings>, String> {
        let arguments = ["tally-aggregator"].into_iter().chain(arguments.split_whitespace());
        let flags = Flags::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let settings = Settings::check(&flags).map_err(|faults| faults.to_string())?;
        Ok(settings.secure)
    }

    #[track_caller]
    fn check_fault(arguments: &str, expected: &str) {
        let fault = check(arguments).expect_err("a fault");
        assert!(fault.contains(expected) && !fault.contains('\n'), "{fault}");
    }

    #[test]
    fn there_is_no_secure_port_unless_it_is_asked_for() {
        assert_eq!(check(""), Ok(None));
        check_fault("--token-file /t", "--token-file is of no use without --secure-listen");
        check_fault("--allowed-users a", "--allowed-users: ");
    }

    #[test]
    fn it_may_be_reached_from_the_network() {
        let settings = check("--secure-listen 0.0.0.0:6443").unwrap().unwrap();
        assert_eq!(settings.listen, "0.0.0.0:6443".parse().unwrap());
        let expected = CertificateSource::Generated {
            service: None,
            secret: None,
            api_services: API_SERVICES.map(str::to_owned).into(),
        };
        assert_eq!(settings.certificate, expected);
        check_fault("--secure-listen x", "--secure-listen: \"x\" is no IP address and port");
    }

    #[test]
    fn a_generated_certificate_has_a_service_a_secret_and_api_services() {
        let flags = "--secure-listen [::1]:1 --service-name a/b --tls-secret c/d --api-service e,f";
        let place = |namespace: &str, name: &str| {
            Some(Place { namespace: namespace.to_owned(), name: name.to_owned() })
        };
        let expected = CertificateSource::Generated {
            service: place("a", "b"),
            secret: place("c", "d"),
            api_services: vec!["e".to_owned(), "f".to_owned()],
        };
        assert_eq!(check(flags).unwrap().unwrap().certificate, expected);
        for bad in ["a", "a/", "/b", "a/b/c", "A/b", "a/b_c"] {
            check_fault(
                &format!("--secure-listen [::1]:1 --service-name {bad}"),
                "--service-name: ",
            );
        }
        check_fault("--secure-listen [::1]:1 --tls-secret x", "--tls-secret: ");
    }

    #[test]
    fn a_certificate_of_files_has_both() {
        let flags = "--secure-listen [::1]:1 --tls-cert-file /c --tls-private-key-file /k";
        let (certificate, key) = ("/c".into(), "/k".into());
        let expected = CertificateSource::Files { certificate, key };
        assert_eq!(check(flags).unwrap().unwrap().certificate, expected);
        assert!(check("--secure-listen [::1]:1 --tls-cert-file /c").is_err());
        assert!(check("--secure-listen [::1]:1 --tls-private-key-file /k").is_err());
        assert!(check(&format!("{flags} --tls-secret a/b")).is_err());
    }

    #[test]
    fn without_an_api_server_somebody_must_be_let_in() {
        let alone = "--secure-listen [::1]:1 --no-kubernetes";
        check_fault(alone, "--secure-listen: without an API server nobody would be let in");
        check_fault(&format!("{alone} --allowed-users a"), "nobody would be let in");
        for way in ["--client-ca-file /c", "--token-file /t", "--allowed-users a,system:anonymous"]
        {
            assert!(check(&format!("{alone} {way}")).is_ok(), "{way}");
        }
        let both = check(&format!("{alone} --token-file /t --allowed-users a,b")).unwrap().unwrap();
        assert_eq!(both.allowed_users, ["a", "b"].map(str::to_owned).into());
        assert_eq!(both.tokens, Some("/t".into()));
        let ca = check(&format!("{alone} --client-ca-file /c")).unwrap().unwrap();
        assert_eq!(ca.client_ca, Some("/c".into()));
    }
}
