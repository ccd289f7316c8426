//! What pods, containers and images have on disk, between those who find it out and the sampling
//! thread.
//!
//! It takes long to find out and changes slowly, so it is looked at once a minute or so by a thread of
//! its own ([`volumes`](crate::volumes)), which asks the runtimes for the layers of their containers
//! ([`runtimes`](crate::runtimes)) and leaves the whole here. The sampling thread takes what is newest and repeats it
//! tick by tick. It never waits, and allocates nothing while nothing is new.

pub mod cri;
pub mod docker;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use tally_proto::name::{ContainerId, ContainerName, PodUid};
use tokio::sync::mpsc;

/// How full something is. What is not known is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes that it takes.
    pub used_bytes: Option<u64>,
    /// Of the filesystem that it lies in.
    pub room: Option<Room>,
}

/// The size of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of it.
    pub limit_bytes: u64,
    /// What may still be written.
    pub available_bytes: u64,
    /// All inodes.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// A volume of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// `Volume:` and its name.
    pub resource: Box<str>,
    /// How full it is.
    pub space: Space,
    /// Whether the kubelet counts it as the pod's ephemeral storage.
    pub is_ephemeral: bool,
    /// Whether the pod writes in it; else the API server fills it.
    pub holds_data: bool,
}

/// A pod's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// Its volumes. `None` when no
    /// folder of the kubelet is seen for it.
    pub volumes: Option<Vec<Volume>>,
    /// Logs of its containers. Whoever has none has logged nothing yet.
    pub logs: HashMap<ContainerName, Space>,
}

/// A container's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its writable layer.
    pub layer: Option<Space>,
    /// Its logs, where they are not in a folder of its pod.
    pub logs: Option<Space>,
}

impl ContainerUsage {
    /// Ephemeral storage as Heapster tells it: of a container whose layer and logs are both known.
    pub fn ephemeral_bytes(&self) -> Option<u64> {
        self.layer?.used_bytes?.checked_add(self.logs?.used_bytes?)
    }
}

impl PodUsage {
    /// Ephemeral storage as the kubelet tells it: layers and logs of the containers, and volumes on its
    /// own disk. A container whose layer was not measured yet is new, and left out as there; anything
    /// else that is not known makes the sum unknown.
    pub fn ephemeral_bytes<'a>(
        &self,
        containers: impl IntoIterator<Item = &'a ContainerUsage>,
    ) -> Option<u64> {
        let volumes = self.volumes.as_ref()?.iter().filter(|volume| volume.is_ephemeral);
        let mut parts: Vec<Space> = volumes.map(|volume| volume.space).collect();
        for ContainerUsage { layer, logs } in containers {
            parts.extend(layer.iter().chain(logs));
        }
        parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.used_bytes?))
    }
}

/// All that is known at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Pods that have a folder of the kubelet or of logs.
    pub pods: HashMap<PodUid, PodUsage>,
    /// Containers whose runtime was asked.
    pub containers: HashMap<ContainerId, ContainerUsage>,
    /// Whether a runtime of pods told of its layers.
    pub knows_layers: bool,
    /// What all images take.
    pub images_bytes: Option<u64>,
    /// How often something was left unmeasured so far.
    pub given_up: u64,
}

/// What the runtimes say of their containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Layers that a runtime measured itself; `None` of one that it did not measure yet.
    pub measured: HashMap<ContainerId, Option<Layer>>,
    /// Where those are that it did not.
    pub unmeasured: HashMap<ContainerId, ContainerPaths>,
    /// Whether a runtime of pods answered.
    pub has_cri: bool,
    /// What all images take.
    pub images_bytes: Option<u64>,
}

/// A writable layer, as CRI tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Bytes that it takes.
    pub used_bytes: u64,
    /// A directory in the filesystem that it lies in, on the host.
    pub filesystem: Box<str>,
}

/// Where a container's files are on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPaths {
    /// The directory of its writable layer.
    pub layer: Option<Box<str>>,
    /// The file of its log.
    pub log: Option<Box<str>>,
}

/// Where the newest is.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Option<Arc<DiskUsage>>>>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<DiskUsage>>> {
        // It is only replaced, so it is whole after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes that the newest.
    pub fn put(&self, usage: Arc<DiskUsage>) {
        let before = self.lock().replace(usage);
        // Not while it is locked.
        drop(before);
    }

    /// The newest; `None` until there is any.
    pub fn newest(&self) -> Option<Arc<DiskUsage>> {
        self.lock().clone()
    }
}

/// The end of whoever wants to know of layers.
#[derive(Clone, Debug)]
pub struct LayerQuestions(mpsc::Sender<LayerQuestion>);

/// The end of whoever asks the runtimes.
#[derive(Debug)]
pub struct LayerInbox(mpsc::Receiver<LayerQuestion>);

/// Somebody wants to know of all layers.
#[derive(Debug)]
pub struct LayerQuestion(SyncSender<Layers>);

/// Both ends. At most one question is open.
pub fn layer_questions() -> (LayerQuestions, LayerInbox) {
    let (sender, receiver) = mpsc::channel(1);
    (LayerQuestions(sender), LayerInbox(receiver))
}

impl LayerQuestions {
    /// Waits for what the runtimes say, at most for so long.
    pub fn ask(&self, within: Duration) -> Option<Layers> {
        let (answer, answered) = sync_channel(1);
        self.0.try_send(LayerQuestion(answer)).ok()?;
        answered.recv_timeout(within).ok()
    }
}

impl LayerInbox {
    /// Waits for the next question; `None` when nobody asks any more.
    pub async fn next(&mut self) -> Option<LayerQuestion> {
        self.0.recv().await
    }
}

impl LayerQuestion {
    /// Answers it. Who asked may not wait any more.
    pub fn answer(self, layers: Layers) {
        drop(self.0.try_send(layers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(used_bytes: Option<u64>) -> Space {
        Space { used_bytes, room: None }
    }

    #[test]
    fn a_container_has_ephemeral_storage_when_layer_and_logs_are_known() {
        for (layer, logs, expected) in [
            (Some(Some(5)), Some(Some(2)), Some(7)),
            (Some(Some(5)), None, None),
            (None, Some(Some(2)), None),
            (Some(Some(5)), Some(None), None),
            (Some(Some(u64::MAX)), Some(Some(2)), None),
        ] {
            let container = ContainerUsage { layer: layer.map(space), logs: logs.map(space) };
            assert_eq!(container.ephemeral_bytes(), expected);
        }
    }

    #[track_caller]
    fn check_pod(
        volumes: Option<&[(u64, bool)]>,
        parts: &[(Option<u64>, Option<u64>)],
        sum: Option<u64>,
    ) {
        let volume = |(used, is_ephemeral): &(u64, bool)| Volume {
            resource: "Volume:v".into(),
            // 0 stands for unknown here.
            space: space(Some(*used).filter(|used| 0 < *used)),
            is_ephemeral: *is_ephemeral,
            holds_data: true,
        };
        let volumes = volumes.map(|volumes| volumes.iter().map(volume).collect());
        let pod = PodUsage { volumes, logs: HashMap::new() };
        let used = |used: &Option<u64>| used.map(|used| space(Some(used)));
        let containers: Vec<ContainerUsage> = parts
            .iter()
            .map(|(layer, logs)| ContainerUsage { layer: used(layer), logs: used(logs) })
            .collect();
        assert_eq!(pod.ephemeral_bytes(&containers), sum);
    }

    #[test]
    fn a_pods_ephemeral_storage_is_layers_logs_and_volumes_on_the_kubelets_disk() {
        check_pod(
            Some(&[(100, true), (1000, false)]),
            &[(Some(10), Some(1)), (Some(20), None)],
            Some(131),
        );
        check_pod(Some(&[]), &[(None, None), (None, Some(3))], Some(3));
        check_pod(Some(&[(0, true)]), &[(Some(10), Some(1))], None);
        check_pod(Some(&[(0, false)]), &[(Some(10), Some(1))], Some(11));
        check_pod(None, &[(Some(10), Some(1))], None);
    }

    #[test]
    fn the_newest_stays_until_a_newer_one_comes() {
        let board = Board::default();
        assert_eq!(board.newest(), None);
        for given_up in [1, 2] {
            let usage = Arc::new(DiskUsage { given_up, ..DiskUsage::default() });
            board.put(Arc::clone(&usage));
            assert!(Arc::ptr_eq(&board.newest().unwrap(), &usage));
            assert!(Arc::ptr_eq(&board.newest().unwrap(), &usage));
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_or_given_up() {
        let (questions, mut inbox) = layer_questions();
        let asked = questions.clone();
        let late = tokio::task::spawn_blocking(move || asked.ask(Duration::from_millis(1)));
        assert_eq!(late.await.unwrap(), None, "nobody answers in time");
        inbox.next().await.unwrap().answer(Layers::default());
        let asks = tokio::task::spawn_blocking(move || questions.ask(Duration::from_secs(60)));
        let layers = Layers { has_cri: true, ..Layers::default() };
        inbox.next().await.unwrap().answer(layers.clone());
        assert_eq!(asks.await.unwrap(), Some(layers));
        assert!(inbox.next().await.is_none());
    }
}
