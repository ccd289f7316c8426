//! Whom an API server trusts, as it publishes it for the servers behind it: the ConfigMap
//! `extension-apiserver-authentication` of `kube-system`.

use std::{collections::BTreeMap, sync::Arc};

use rustls::crypto::CryptoProvider;

use super::{
    certificate::{Authorities, BadAuthorities},
    front_proxy::Headers,
};

/// Whom to believe what.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Who vouches for users.
    pub clients: Option<Authorities>,
    /// Who asks for others, and how it says for whom.
    pub front_proxy: Option<FrontProxy>,
}

/// An API server that asks for others.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// Who vouches for it.
    pub authorities: Authorities,
    /// The names it may have; any when there are none.
    pub names: Vec<String>,
    /// Where it says for whom it asks.
    pub headers: Headers,
}

/// A ConfigMap that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTrust {
    /// A bundle is none.
    #[error("{key} is no bundle of authorities")]
    Authorities {
        /// Which.
        key: &'static str,
        /// Why.
        source: BadAuthorities,
    },
    /// A list is none.
    #[error("{key} is no list of texts in JSON")]
    List {
        /// Which.
        key: &'static str,
    },
}

impl Trust {
    /// As the data of the ConfigMap say.
    pub fn of(
        data: &BTreeMap<String, String>,
        crypto: &Arc<CryptoProvider>,
    ) -> Result<Self, BadTrust> {
        let authorities = |key: &'static str| {
            let pem = data.get(key).filter(|pem| !pem.trim().is_empty());
            let read = pem.map(|pem| Authorities::of_pem(pem.as_bytes(), crypto));
            read.transpose().map_err(|source| BadTrust::Authorities { key, source })
        };
        let list = |key: &'static str| -> Result<Vec<String>, BadTrust> {
            let Some(json) = data.get(key).filter(|json| !json.is_empty()) else {
                return Ok(Vec::new());
            };
            serde_json::from_str(json).map_err(|_| BadTrust::List { key })
        };
        let front_proxy = match authorities("requestheader-client-ca-file")? {
            None => None,
            Some(authorities) => Some(FrontProxy {
                authorities,
                names: list("requestheader-allowed-names")?,
                headers: Headers {
                    user: list("requestheader-username-headers")?,
                    uid: list("requestheader-uid-headers")?,
                    group: list("requestheader-group-headers")?,
                    extra_prefix: list("requestheader-extra-headers-prefix")?,
                },
            }),
        };
        Ok(Self { clients: authorities("client-ca-file")?, front_proxy })
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::default_provider;

    use super::{
        super::{certificate::tests::Signer, front_proxy::tests::usual},
        *,
    };

    fn read(lines: &[(&str, &str)]) -> Result<Trust, BadTrust> {
        let line = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Trust::of(&lines.iter().map(line).collect(), &Arc::new(default_provider()))
    }

    #[test]
    fn what_is_published_is_trusted() {
        let (clients, proxy) = (Signer::new("clients"), Signer::new("proxy"));
        let trust = read(&[
            ("client-ca-file", &clients.pem),
            ("requestheader-client-ca-file", &proxy.pem),
            ("requestheader-allowed-names", "[\"front-proxy-client\"]"),
            ("requestheader-username-headers", "[\"X-Remote-User\"]"),
            ("requestheader-uid-headers", "[\"X-Remote-Uid\"]"),
            ("requestheader-group-headers", "[\"X-Remote-Group\"]"),
            ("requestheader-extra-headers-prefix", "[\"X-Remote-Extra-\"]"),
        ]);
        let trust = trust.unwrap();
        let front_proxy = trust.front_proxy.unwrap();
        assert_eq!(front_proxy.names, ["front-proxy-client"]);
        assert_eq!(front_proxy.headers, usual());
        assert!(trust.clients.is_some());
    }

    #[test]
    fn what_is_not_published_is_not_trusted() {
        let trust = read(&[("requestheader-username-headers", "[\"X-Remote-User\"]")]).unwrap();
        assert!(trust.clients.is_none() && trust.front_proxy.is_none());
        assert!(read(&[("client-ca-file", "\n")]).unwrap().clients.is_none());
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let proxy = Signer::new("proxy");
        let (key, source) = ("client-ca-file", BadAuthorities::Empty);
        assert_eq!(read(&[(key, "x")]).err(), Some(BadTrust::Authorities { key, source }));
        let key = "requestheader-allowed-names";
        let bad = read(&[("requestheader-client-ca-file", &proxy.pem), (key, "front-proxy")]);
        assert_eq!(bad.err(), Some(BadTrust::List { key }));
    }
}
