//! Which API server, and how it is reached.

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::util::MapResultLayer;

use super::health::Health;

/// What every pod of a Kubernetes has in its environment.
const OWN_HOST: &str = "KUBERNETES_SERVICE_HOST";

/// An API server that is there answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A watch says something at least as often as it is begun anew, and a page of a list is ready
/// much sooner.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// An API server that can't be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum BadServer {
    /// The kubeconfig file is missing or broken.
    #[error("the kubeconfig file {} names no API server (--kubeconfig)", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// We run in Kubernetes, and without a service account.
    #[error("{OWN_HOST} is set, but the pod has no service account (--no-kubernetes does without)")]
    Own(#[source] Box<InClusterError>),
    /// Certificates, keys or the address are no good.
    #[error("what is known of the API server is of no use")]
    Client(#[source] Box<kube::Error>),
}

/// How an API server is reached.
#[derive(Clone, Debug)]
pub struct Server(Config);

impl Server {
    /// That of the Kubernetes we run in; `None` where we run in none.
    pub fn own() -> Result<Option<Self>, BadServer> {
        if env::var_os(OWN_HOST).is_none() {
            return Ok(None);
        }
        let config = Config::incluster().map_err(|error| BadServer::Own(Box::new(error)))?;
        Ok(Some(Self::with_timeouts(config)))
    }

    /// The one of a kubeconfig file's current context.
    pub async fn of_kubeconfig(path: &Path) -> Result<Self, BadServer> {
        let bad = |error| BadServer::Kubeconfig { path: path.to_owned(), source: Box::new(error) };
        let file = Kubeconfig::read_from(path).map_err(bad)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await.map_err(bad)?;
        Ok(Self::with_timeouts(config))
    }

    fn with_timeouts(mut config: Config) -> Self {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        Self(config)
    }

    /// Where it is.
    pub fn address(&self) -> String {
        self.0.cluster_url.to_string()
    }

    /// The namespace that is meant where none is named.
    pub fn default_namespace(&self) -> &str {
        &self.0.default_namespace
    }

    /// Asks it for single objects.
    pub fn plain_client(&self) -> Result<Client, BadServer> {
        let bad = |error| BadServer::Client(Box::new(error));
        Ok(ClientBuilder::try_from(self.0.clone()).map_err(bad)?.build())
    }

    /// Asks it for one watch, whose health is told of every answer.
    pub(super) fn client(&self, health: &Arc<Health>) -> Result<Client, BadServer> {
        let bad = |error| BadServer::Client(Box::new(error));
        let health = Arc::clone(health);
        let answered = MapResultLayer::new(move |answer: Result<http::Response<_>, _>| {
            if let Ok(answer) = &answer {
                health.answered(answer.status());
            }
            answer
        });
        let builder = ClientBuilder::try_from(self.0.clone()).map_err(bad)?;
        Ok(builder.with_layer(&answered).build())
    }
}
