//! Reads again and again whom the API server trusts, as it publishes it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use rustls::crypto::CryptoProvider;
use tokio::time::{sleep, timeout};

use crate::{
    callers::{
        decision::Published,
        trust::{BadTrust, Trust},
    },
    self_metrics::secure::{Reread, Secure},
    telemetry::chain,
};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// How long an authority that was taken away is trusted on, and a new one is not.
const READ_EVERY: Duration = Duration::from_secs(10);

/// An API server that is there answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why it is not known whom the API server trusts now.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("cannot read the ConfigMap {NAMESPACE}/{NAME}")]
    Fault(#[from] Box<kube::Error>),
    #[error("the API server does not answer within {PATIENCE:?}")]
    Late,
    #[error("the ConfigMap {NAMESPACE}/{NAME} is not understood")]
    Bad(#[from] BadTrust),
}

/// What to do about it.
const HELP: &str = "a RoleBinding to the Role extension-apiserver-authentication-reader of kube-system \
                    lets it be read";

impl Unread {
    fn is_forbidden(&self) -> bool {
        match self {
            Self::Fault(error) => {
                matches!(&**error, kube::Error::Api(status) if status.code == 403)
            }
            Self::Late | Self::Bad(_) => false,
        }
    }
}

/// Follows what an API server publishes. While it can't be read, what it said last stands.
pub struct TrustReader {
    client: Client,
    crypto: Arc<CryptoProvider>,
    published: Arc<ArcSwap<Published>>,
    metrics: Secure,
    /// What `published` was made of.
    data: Option<BTreeMap<String, String>>,
    has_failed: bool,
}

impl TrustReader {
    /// Asks with `client`, and says what it learns in `published`.
    pub fn new(
        client: Client,
        crypto: Arc<CryptoProvider>,
        published: Arc<ArcSwap<Published>>,
        metrics: Secure,
    ) -> Self {
        Self { client, crypto, published, metrics, data: None, has_failed: false }
    }

    /// Reads for as long as it is polled.
    pub async fn run(mut self) {
        loop {
            self.read().await;
            sleep(READ_EVERY).await;
        }
    }

    async fn read(&mut self) {
        match self.try_read().await {
            Ok(()) => {
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!("it is known again whom the API server trusts");
                }
            }
            Err(error) => {
                self.metrics.reread_faults.get_or_create(&Reread { what: "trust" }).inc();
                if !std::mem::replace(&mut self.has_failed, true) {
                    let help = error.is_forbidden().then_some(HELP);
                    tracing::warn!(
                        error = chain(&error),
                        help,
                        "whom the API server trusts can't be read: what it said last stands"
                    );
                }
            }
        }
    }

    async fn try_read(&mut self) -> Result<(), Unread> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), NAMESPACE);
        let found = timeout(PATIENCE, api.get_opt(NAME)).await.map_err(|_| Unread::Late)?;
        let found = found.map_err(Box::new)?;
        // One that is gone is no reason to trust nobody: it comes back with the API server's next
        // start.
        let data = match (found, &self.data) {
            (Some(found), _) => found.data.unwrap_or_default(),
            (None, None) => BTreeMap::new(),
            (None, Some(_)) => return Ok(()),
        };
        if self.data.as_ref() == Some(&data) {
            return Ok(());
        }
        let trust = Trust::of(&data, &self.crypto)?;
        let (clients, front_proxy) = (trust.clients.is_some(), trust.front_proxy.is_some());
        tracing::info!(clients, front_proxy, "it is known whom the API server trusts");
        self.published.store(Arc::new(Published::Known(trust)));
        self.data = Some(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Mutex, PoisonError},
    };

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use kube::client::Body;
    use rustls::crypto::ring::default_provider;
    use serde_json::{Value, json};

    use super::*;

    /// What the API server says: nothing, that there is none, or one.
    #[derive(Clone, Default)]
    struct Pretended(Arc<Mutex<Option<(u16, Value)>>>);

    impl Pretended {
        fn says(&self, said: Option<(u16, Value)>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
        }

        fn client(&self) -> Client {
            let said = Arc::clone(&self.0);
            let service = tower::service_fn(move |request: Request<Body>| {
                assert_eq!(
                    request.uri().path(),
                    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
                );
                let said = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                async move {
                    let (code, body) = said.ok_or_else(|| io::Error::other("refused"))?;
                    let answer = Response::builder().status(code);
                    answer.body(Full::new(Bytes::from(body.to_string()))).map_err(io::Error::other)
                }
            });
            Client::new(service, "default")
        }
    }

    fn map(names: &str) -> Option<(u16, Value)> {
        let ca = crate::callers::certificate::tests::Signer::new("proxy").pem;
        let data =
            json!({"requestheader-client-ca-file": ca, "requestheader-allowed-names": names});
        Some((200, json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": data})))
    }

    const GONE: &str = "gone";

    /// The names of the front proxy that is known.
    fn known(published: &ArcSwap<Published>) -> String {
        match &**published.load() {
            Published::Known(Trust { front_proxy: Some(proxy), .. }) => proxy.names.join(","),
            Published::Known(_) => "nobody".to_owned(),
            Published::NotYet => "not yet".to_owned(),
            Published::Never => "never".to_owned(),
        }
    }

    #[tokio::test]
    async fn what_was_said_last_stands_until_something_else_is_said() {
        let server = Pretended::default();
        let published = Arc::new(ArcSwap::from_pointee(Published::NotYet));
        let metrics = Secure::default();
        let crypto = Arc::new(default_provider());
        let mut reader =
            TrustReader::new(server.client(), crypto, Arc::clone(&published), metrics.clone());
        let gone = || {
            Some((
                404,
                json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": GONE}),
            ))
        };
        let forbidden = Some((403, json!({"kind": "Status", "code": 403, "reason": "Forbidden"})));
        let steps = [
            (None, "not yet", 1),
            (forbidden, "not yet", 2),
            (gone(), "nobody", 2),
            (map("[\"a\"]"), "a", 2),
            (None, "a", 3),
            (gone(), "a", 3),
            (map("broken"), "a", 4),
            (map("[\"b\"]"), "b", 4),
        ];
        for (said, expected, faults) in steps {
            server.says(said.clone());
            reader.read().await;
            assert_eq!(known(&published), expected, "{said:?}");
            let counted = metrics.reread_faults.get_or_create(&Reread { what: "trust" }).get();
            assert_eq!(counted, faults, "{said:?}");
        }
    }
}
