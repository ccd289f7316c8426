//! Asks the runtimes what the layers of their containers take, or where they are.
//!
//! CRI's runtimes measure layers themselves. Docker and podman would only do so on demand, so they are
//! asked where a container's files are, once for each; who asked walks there.

use std::{collections::HashMap, path::Path, time::Duration};

use tally_proto::name::ContainerId;
use tokio::{net::UnixStream, time::timeout};
use tracing::{debug, info};

use super::{AskError, Options, cri, docker};
use crate::{
    disk_usage::{ContainerPaths, LayerInbox, Layers, docker as answers},
    names::Api,
    telemetry::chain,
};

/// How long one socket may take: containerd reads the cgroup of every container before it answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Containers that are looked up in one round; on a host with more the others follow in the next ones.
const LOOKED_UP_MAX: usize = 200;

/// Answers the questions of the inbox until nobody asks any more.
pub async fn run(mut inbox: LayerInbox, options: Options) {
    let mut known = HashMap::new();
    while let Some(question) = inbox.next().await {
        question.answer(round(&options, &mut known).await);
    }
}

async fn round(options: &Options, known: &mut HashMap<ContainerId, ContainerPaths>) -> Layers {
    let mut layers = Layers::default();
    for path in options.cri.find(Api::Cri, &options.host_root) {
        if let Some(told) = within(&path, of_cri(&path)).await {
            first_wins(&mut layers.measured, told.measured);
            layers.has_cri = true;
            layers.images_bytes = layers.images_bytes.or(told.images_bytes);
        }
    }
    for path in options.docker.find(Api::Docker, &options.host_root) {
        if let Some(told) = within(&path, of_docker(&path, known)).await {
            first_wins(&mut layers.unmeasured, told);
        }
    }
    known.clone_from(&layers.unmeasured);
    layers
}

/// The system's own sockets are asked first, and no user's says otherwise.
fn first_wins<T>(known: &mut HashMap<ContainerId, T>, told: HashMap<ContainerId, T>) {
    for (id, value) in told {
        known.entry(id).or_insert(value);
    }
}

async fn within<T>(path: &Path, asked: impl Future<Output = Result<T, AskError>>) -> Option<T> {
    match timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(AskError::Late)) {
        Ok(told) => Some(told),
        Err(error) => {
            // Whether it answers at all is said where it is asked for names.
            let reason = chain(&error);
            debug!(socket = %path.display(), %reason, "this socket tells of no layers");
            None
        }
    }
}

async fn of_cri(path: &Path) -> Result<Layers, AskError> {
    let stream = UnixStream::connect(path).await.map_err(AskError::Dead)?;
    Ok(cri::layers(stream).await?)
}

async fn of_docker(
    path: &Path,
    known: &HashMap<ContainerId, ContainerPaths>,
) -> Result<HashMap<ContainerId, ContainerPaths>, AskError> {
    let list = docker::get(connect(path).await?, answers::LIST).await?;
    let mut found = HashMap::new();
    let mut looked_up = 0;
    for id in answers::ids(&list).unwrap_or_default() {
        let at = match known.get(&id) {
            Some(at) => at.clone(),
            None if LOOKED_UP_MAX <= looked_up => {
                info!(socket = %path.display(), "many containers are new; some are looked up later");
                break;
            }
            None => {
                looked_up += 1;
                // It may be gone meanwhile.
                match docker::get(connect(path).await?, &answers::path(&id)).await {
                    Ok(told) => answers::paths(&told).unwrap_or_default(),
                    Err(_) => continue,
                }
            }
        };
        found.insert(id, at);
    }
    Ok(found)
}

async fn connect(path: &Path) -> Result<UnixStream, AskError> {
    UnixStream::connect(path).await.map_err(AskError::Dead)
}
