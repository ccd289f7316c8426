//! One round over a socket that speaks the Container Runtime Interface.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, PoisonError},
};

use hyper_util::rt::TokioIo;
use prost::Message;
use tally_proto::name::{ContainerId, ImageName};
use tokio::net::UnixStream;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::ANSWER_BYTES;
use crate::{
    disk_usage::{
        Layers,
        cri::{
            ImageFsInfoRequest, ImageFsInfoResponse, ListContainerStatsRequest,
            ListContainerStatsResponse, images_bytes, layers as layers_of,
        },
    },
    names::{
        Called,
        cri::{
            Container, ContainerStatusRequest, ContainerStatusResponse, IdFilter,
            ListContainersRequest, ListContainersResponse, ListPodSandboxRequest,
            ListPodSandboxResponse, PodSandbox, called,
        },
    },
};

/// A version of CRI. The messages that are used are the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1Alpha2,
}

/// A round without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CriError {
    #[error("cannot talk HTTP/2")]
    Connect(#[from] tonic::transport::Error),
    #[error("{method}: {}", .status.message())]
    Refused { method: &'static str, status: Box<Status> },
}

/// Names of the containers that are wanted; of all when none is named.
pub(super) async fn ask(
    stream: UnixStream,
    version: &mut Option<Version>,
    wanted: &[ContainerId],
) -> Result<HashMap<ContainerId, Called>, CriError> {
    let mut client = Client { channel: channel(stream).await?, version: Version::V1 };
    client.version = match *version {
        Some(known) => known,
        None => client.find_version().await?,
    };
    *version = Some(client.version);
    let (containers, sandboxes) = match wanted {
        [] => (client.containers(None).await?, client.sandboxes(None).await?),
        wanted => client.one_by_one(wanted).await?,
    };
    let mut called = called(&sandboxes, &containers);
    client.name_images(&containers, &mut called).await?;
    Ok(called)
}

/// Layers of all containers, and what all images take.
pub(super) async fn layers(stream: UnixStream) -> Result<Layers, CriError> {
    let mut client = Client { channel: channel(stream).await?, version: Version::V1 };
    client.find_version().await?;
    let stats: ListContainerStatsResponse =
        client.call("ListContainerStats", ListContainerStatsRequest {}).await?;
    let images: ImageFsInfoResponse =
        client.call_of(IMAGES, "ImageFsInfo", ImageFsInfoRequest {}).await?;
    Ok(Layers {
        measured: layers_of(stats.stats),
        has_cri: true,
        images_bytes: images_bytes(&images.image_filesystems),
        ..Layers::default()
    })
}

/// The services of CRI.
const CONTAINERS: &str = "RuntimeService";
const IMAGES: &str = "ImageService";

/// Speaks over that stream and no other: it is not connected again when it breaks.
async fn channel(stream: UnixStream) -> Result<Channel, tonic::transport::Error> {
    let stream = Mutex::new(Some(stream));
    let connect = service_fn(move |_| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stream = stream.map(TokioIo::new);
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    // containerd refuses an authority that is a path, so the socket's is made up.
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await
}

struct Client {
    channel: Channel,
    version: Version,
}

impl Client {
    /// Runtimes that were made before Kubernetes 1.23 speak the older one alone.
    async fn find_version(&mut self) -> Result<Version, CriError> {
        let nobody = IdFilter { id: "0".repeat(64) };
        match self.sandboxes(Some(nobody.clone())).await {
            Err(CriError::Refused { status, .. }) if status.code() == Code::Unimplemented => {
                self.version = Version::V1Alpha2;
                self.sandboxes(Some(nobody)).await?;
            }
            other => drop(other?),
        }
        Ok(self.version)
    }

    async fn one_by_one(
        &mut self,
        wanted: &[ContainerId],
    ) -> Result<(Vec<Container>, Vec<PodSandbox>), CriError> {
        let (mut containers, mut sandboxes) = (Vec::new(), Vec::<PodSandbox>::new());
        for id in wanted {
            let filter = IdFilter { id: id.to_string() };
            let found = self.containers(Some(filter)).await?;
            // What is no container is a sandbox.
            let sandbox = match found.first() {
                Some(container) => container.pod_sandbox_id.clone(),
                None => id.to_string(),
            };
            containers.extend(found);
            if sandboxes.iter().all(|known| known.id != sandbox) {
                sandboxes.extend(self.sandboxes(Some(IdFilter { id: sandbox })).await?);
            }
        }
        Ok((containers, sandboxes))
    }

    async fn containers(&mut self, filter: Option<IdFilter>) -> Result<Vec<Container>, CriError> {
        let request = ListContainersRequest { filter };
        let response: ListContainersResponse = self.call("ListContainers", request).await?;
        Ok(response.containers)
    }

    async fn sandboxes(&mut self, filter: Option<IdFilter>) -> Result<Vec<PodSandbox>, CriError> {
        let request = ListPodSandboxRequest { filter };
        let response: ListPodSandboxResponse = self.call("ListPodSandbox", request).await?;
        Ok(response.items)
    }

    /// Asks for the names of images that a list has by digest, once for each digest.
    async fn name_images(
        &mut self,
        containers: &[Container],
        called: &mut HashMap<ContainerId, Called>,
    ) -> Result<(), CriError> {
        let mut known: HashMap<&str, Option<ImageName>> = HashMap::new();
        for container in containers {
            let Ok(id) = ContainerId::parse(&container.id) else { continue };
            let Some(Called::InPod { image: image @ None, .. }) = called.get_mut(&id) else {
                continue;
            };
            let Some(digest) = container.image.as_ref().map(|image| &*image.image) else {
                continue;
            };
            if !known.contains_key(digest) {
                let request = ContainerStatusRequest { container_id: container.id.clone() };
                let name = match self.call("ContainerStatus", request).await {
                    Ok(ContainerStatusResponse { status }) => status
                        .and_then(|status| ImageName::parse(status.image.as_ref()?.name()?).ok()),
                    // It may be gone meanwhile.
                    Err(CriError::Refused { .. }) => None,
                    Err(error) => return Err(error),
                };
                known.insert(digest, name);
            }
            *image = known.get(digest).cloned().flatten();
        }
        Ok(())
    }

    async fn call<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A, CriError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.call_of(CONTAINERS, method, request).await
    }

    async fn call_of<Q, A>(
        &mut self,
        service: &str,
        method: &'static str,
        request: Q,
    ) -> Result<A, CriError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let refused = |status| CriError::Refused { method, status: Box::new(status) };
        let version = match self.version {
            Version::V1 => "v1",
            Version::V1Alpha2 => "v1alpha2",
        };
        let path = PathAndQuery::try_from(format!("/runtime.{version}.{service}/{method}"));
        let path = path.map_err(|_| refused(Status::internal("no path")))?;
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
        grpc.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let response = grpc.unary(Request::new(request), path, codec).await.map_err(refused)?;
        Ok(response.into_inner())
    }
}
