//! Our certificate in a Secret, and its authorities in the APIServices that lead to us.
//!
//! Every replica does the same, and none is special: whoever finds the Secret missing or due writes
//! it, and whoever is second reads what the first wrote. A Secret without an authority's key is not
//! ours (cert-manager makes such): it is read and never written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rustls::crypto::CryptoProvider;
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::{
    clock::Clock,
    self_metrics::secure::{Reread, Secure},
    telemetry::chain,
    tls::{
        generated::{Kept, NotMade},
        pair::{BadPair, Pair},
        serving::Serving,
    },
};

/// How long somebody's overwrite stands, and another replica's new certificate is not shown.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// After a fault: an API server that begins needs some seconds.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// An API server that is there answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many replicas may write the Secret in the same moment.
const TRIES: usize = 5;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";

/// A namespace and a name in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// Where the certificate is kept, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The Service under whose names we are reached.
    pub service: Place,
    /// The Secret.
    pub secret: Place,
    /// APIServices that may lead to the Service.
    pub api_services: Vec<String>,
}

/// Why the certificate is as it was.
#[derive(Debug, thiserror::Error)]
enum NotKept {
    #[error("the Secret {secret} can't be read or written")]
    Secret { secret: String, source: Box<kube::Error> },
    #[error("the Secret {secret} holds no certificate")]
    Bad { secret: String, source: BadPair },
    #[error("the Secret {secret} changed again and again")]
    Contended { secret: String },
    #[error("the APIService {name} can't be read or written")]
    ApiService { name: String, source: Box<kube::Error> },
    #[error("the API server does not answer within {PATIENCE:?}")]
    Late,
    #[error(transparent)]
    NotMade(#[from] NotMade),
}

/// Keeps certificate and APIServices as they should be.
pub struct OwnCertificate {
    client: Client,
    wanted: Wanted,
    crypto: Arc<CryptoProvider>,
    serving: Arc<Serving>,
    clock: Clock,
    metrics: Secure,
    /// What is shown.
    shown: Option<Kept>,
    has_failed: bool,
}

impl Wanted {
    /// What the certificate is for.
    pub fn names(&self) -> Vec<String> {
        let Place { namespace, name } = &self.service;
        let of_service = ["", ".svc", ".svc.cluster.local"];
        let of_service = of_service.map(|end| format!("{name}.{namespace}{end}"));
        of_service.into_iter().chain(["localhost".to_owned(), "127.0.0.1".to_owned()]).collect()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.namespace, self.name)
    }
}

impl OwnCertificate {
    /// Shows by `serving` what it keeps with `client`.
    pub fn new(
        client: Client,
        wanted: Wanted,
        (serving, crypto): (Arc<Serving>, Arc<CryptoProvider>),
        (clock, metrics): (Clock, Secure),
    ) -> Self {
        let (shown, has_failed) = Default::default();
        Self { client, wanted, crypto, serving, clock, metrics, shown, has_failed }
    }

    /// Looks after them for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            let is_good = self.look().await;
            sleep(if is_good { LOOK_EVERY } else { LOOK_AGAIN }).await;
        }
    }

    /// Makes all of it as it should be, as far as that is possible now.
    async fn look(&mut self) -> bool {
        let mut faults = Vec::new();
        match timeout(PATIENCE, self.keep()).await.unwrap_or(Err(NotKept::Late)) {
            Ok(()) => (),
            Err(fault) => faults.push(("certificate", fault)),
        }
        if let Some(shown) = self.shown.clone() {
            for name in self.wanted.api_services.clone() {
                let mended = timeout(PATIENCE, self.mend(&name, &shown.bundle)).await;
                if let Err(fault) = mended.unwrap_or(Err(NotKept::Late)) {
                    faults.push(("api_service", fault));
                }
            }
        }
        for (what, _) in &faults {
            self.metrics.reread_faults.get_or_create(&Reread { what }).inc();
        }
        let had_failed = std::mem::replace(&mut self.has_failed, !faults.is_empty());
        match faults.first() {
            Some((_, fault)) if !had_failed => tracing::warn!(
                error = chain(fault),
                "the certificate of the secure port, or an APIService, stays as it was"
            ),
            None if had_failed => {
                tracing::info!("certificate and APIServices are as they should be")
            }
            _ => (),
        }
        faults.is_empty()
    }

    /// Reads the Secret, writes it if need be, and shows what is in it.
    async fn keep(&mut self) -> Result<(), NotKept> {
        let place = &self.wanted.secret;
        let secret = || place.to_string();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &place.namespace);
        let failed =
            |error: kube::Error| NotKept::Secret { secret: secret(), source: Box::new(error) };
        for _ in 0..TRIES {
            let found = api.get_opt(&place.name).await.map_err(failed)?;
            let held = found.as_ref().map(kept);
            let is_foreign = held
                .as_ref()
                .is_some_and(|held| !held.certificate.is_empty() && held.authority_key.is_empty());
            let now_s = self.clock.now().0.div_euclid(1_000);
            let new = match is_foreign {
                true => None,
                false => Kept::renewed(held.as_ref(), &self.wanted.names(), now_s)?,
            };
            let Some(new) = new else {
                return self.show(held.unwrap_or_default());
            };
            let written = match found {
                None => api.create(&PostParams::default(), &made(place, &new)).await,
                Some(found) => {
                    let found = Secret { data: Some(data(found.data, &new)), ..found };
                    api.replace(&place.name, &PostParams::default(), &found).await
                }
            };
            match written {
                Ok(_) => {
                    tracing::info!(secret = %place, "a certificate for the secure port was made");
                    return self.show(new);
                }
                // Another replica was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => (),
                Err(error) => return Err(failed(error)),
            }
        }
        Err(NotKept::Contended { secret: secret() })
    }

    fn show(&mut self, kept: Kept) -> Result<(), NotKept> {
        if self.shown.as_ref() == Some(&kept) {
            return Ok(());
        }
        let pair = Pair::of_pem(kept.certificate.as_bytes(), kept.key.as_bytes(), &self.crypto);
        let bad = |source| NotKept::Bad { secret: self.wanted.secret.to_string(), source };
        self.serving.show(pair.map_err(bad)?);
        self.shown = Some(kept);
        Ok(())
    }

    /// Gives an APIService the bundle, if it is there and leads to us.
    async fn mend(&self, name: &str, bundle: &str) -> Result<(), NotKept> {
        let api: Api<APIService> = Api::all(self.client.clone());
        let failed = |error: kube::Error| NotKept::ApiService {
            name: name.to_owned(),
            source: Box::new(error),
        };
        let Some(found) = api.get_opt(name).await.map_err(failed)? else { return Ok(()) };
        let spec = found.spec.unwrap_or_default();
        if bundle.is_empty() || !leads_to(&spec, &self.wanted.service) || has(&spec, bundle) {
            return Ok(());
        }
        // With its version: if it leads elsewhere by now, it is not touched.
        let patch = json!({
            "metadata": {"resourceVersion": found.metadata.resource_version},
            "spec": {
                "caBundle": ByteString(bundle.as_bytes().to_vec()),
                "insecureSkipTLSVerify": false,
            },
        });
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map_err(failed)?;
        self.metrics.api_services_mended.inc();
        tracing::info!(name, "an APIService got our bundle of authorities");
        Ok(())
    }
}

fn leads_to(spec: &APIServiceSpec, service: &Place) -> bool {
    let Some(found) = &spec.service else { return false };
    (found.namespace.as_ref(), found.name.as_ref())
        == (Some(&service.namespace), Some(&service.name))
}

fn has(spec: &APIServiceSpec, bundle: &str) -> bool {
    let held = spec.ca_bundle.as_ref().map(|bundle| bundle.0.as_slice());
    held == Some(bundle.as_bytes()) && spec.insecure_skip_tls_verify != Some(true)
}

fn kept(secret: &Secret) -> Kept {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        // What is no text is no PEM.
        bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok()).unwrap_or_default()
    };
    Kept {
        certificate: text(CERTIFICATE),
        key: text(KEY),
        bundle: text(BUNDLE),
        authority_key: text(AUTHORITY_KEY),
    }
}

/// What was in the Secret beside our four stays.
fn data(held: Option<BTreeMap<String, ByteString>>, kept: &Kept) -> BTreeMap<String, ByteString> {
    let ours = [
        (CERTIFICATE, &kept.certificate),
        (KEY, &kept.key),
        (BUNDLE, &kept.bundle),
        (AUTHORITY_KEY, &kept.authority_key),
    ];
    let ours = ours.map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())));
    held.unwrap_or_default().into_iter().chain(ours).collect()
}

fn made(place: &Place, kept: &Kept) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(place.name.clone()),
            namespace: Some(place.namespace.clone()),
            ..ObjectMeta::default()
        },
        data: Some(data(None, kept)),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests;
