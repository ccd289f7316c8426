//! Watches nodes, namespaces and pods of an API server, and keeps the model's inventory as it says.
//!
//! One watch of each kind, each with a connection of its own. Every object is trimmed to what is
//! used as it is read. A watch that the server has forgotten begins anew with a list; while the
//! server is away it is asked again and again, ever more seldom, and what it said last stands.

mod backoff;
mod health;
pub mod own_certificate;
mod resource;
pub mod reviews;
mod server;
pub mod trust;

use std::{fmt, pin::pin, sync::Arc};

use futures_util::{StreamExt as _, future::join_all};
use kube::{Api, Client, runtime::watcher};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

pub use self::server::{BadServer, Server};
use self::{backoff::Backoff, health::Health, resource::Watched};
use crate::{
    clock::Clock,
    inventory::{
        LabelForm,
        feed::{Event, Feed, Kind},
    },
    model::Model,
    self_metrics::{Kubernetes, WatchedKind},
    telemetry::chain,
};

/// All that are watched, namespaces before the pods that are in them.
const KINDS: [Kind; 3] = [Kind::Namespace, Kind::Node, Kind::Pod];

/// The server ends a watch after so long, and it goes on from where it was. One that lost its
/// connection without a word is found out 5 s later.
const WATCH_SECONDS: u32 = 60;

/// The server no longer knows what happened since the watch was last heard of.
const EXPIRED: u16 = 410;

/// What is to be fed with what the API server says.
#[derive(Clone, Debug)]
pub struct Fed {
    /// The model, whose inventory it is.
    pub model: Arc<Model>,
    /// How labels become one text.
    pub form: LabelForm,
    /// The time.
    pub clock: Clock,
    /// Where is counted.
    pub metrics: Kubernetes,
}

/// The watches of an API server.
#[derive(Debug)]
pub struct Watches {
    each: Vec<Watch>,
    fed: Fed,
}

/// The watch of one kind.
struct Watch {
    kind: Kind,
    client: Client,
    health: Arc<Health>,
}

impl Watches {
    /// Of `server`. From now on the model's inventory is incomplete.
    pub fn new(server: &Server, fed: Fed) -> Result<Self, BadServer> {
        Self::with(fed, |health| server.client(health))
    }

    fn with<E>(fed: Fed, client: impl Fn(&Arc<Health>) -> Result<Client, E>) -> Result<Self, E> {
        let watch = |kind| {
            let health = Arc::new(Health::new(word(kind), fed.metrics.clone()));
            Ok(Watch { kind, client: client(&health)?, health })
        };
        let each = KINDS.into_iter().map(watch).collect::<Result<_, E>>()?;
        fed.model.set_complete(false);
        Ok(Self { each, fed })
    }

    /// Watches for as long as it is polled. Says it once when all that the API server has is known
    /// for the first time; until then the model has what was recorded.
    pub async fn run(self, complete: oneshot::Sender<()>) {
        let (listed, mut lists) = mpsc::channel(KINDS.len());
        let followed = self.each.into_iter().map(|watch| follow(watch, &self.fed, listed.clone()));
        let followed = join_all(followed);
        let all_listed = async {
            for _ in KINDS {
                lists.recv().await;
            }
            tracing::info!("all that the API server has is known");
            self.fed.model.set_complete(true);
            // Nobody may wait for it any longer.
            complete.send(()).ok();
        };
        tokio::join!(followed, all_listed);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Watch").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Follows the watch of one kind; says it when its first list is complete.
async fn follow(watch: Watch, fed: &Fed, listed: mpsc::Sender<()>) {
    let Watch { kind, client, health } = watch;
    let mut feed = Feed::new(kind, fed.form.clone());
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    let api: Api<Watched> = Api::all_with(client, &kind);
    let mut events = pin!(watcher(api, config));
    let (mut listed, mut backoff) = (Some(listed), Backoff::new());
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => taken(event),
            Err(watcher::Error::WatchError(status)) if status.code == EXPIRED => {
                tracing::debug!(kind = word(kind), "the watch expired, and begins with a list");
                sleep(backoff.wait(health.take_answered())).await;
                continue;
            }
            Err(error) => {
                health.failed(&error);
                // The watch goes on when it is asked for what is next.
                sleep(backoff.wait(health.take_answered())).await;
                continue;
            }
        };
        let ends_list = matches!(event, Event::ListEnds);
        take(&mut feed, event, fed, kind);
        if ends_list {
            fed.metrics.lists.get_or_create(&WatchedKind { kind: word(kind) }).inc();
        }
        if let Some(listed) = listed.take_if(|_| ends_list) {
            listed.send(()).await.ok();
        }
    }
}

/// Brings one event into the inventory.
fn take(feed: &mut Feed, event: Event, fed: &Fed, kind: Kind) {
    let label = WatchedKind { kind: word(kind) };
    let (mut objects, now) = (0, fed.clock.now());
    let changed = fed.model.change_inventory(|inventory| {
        let touched = feed.take(inventory, event, now);
        objects = inventory.count(kind);
        touched
    });
    fed.metrics.events.get_or_create(&label).inc();
    fed.metrics.objects.get_or_create(&label).set(i64::try_from(objects).unwrap_or(i64::MAX));
    if let Err(error) = changed {
        fed.metrics.objects_refused.get_or_create(&label).inc();
        let error = chain(&error);
        tracing::debug!(error, "an object of the API server is not understood, and left as it was");
    }
}

fn taken(event: watcher::Event<Watched>) -> Event {
    match event {
        watcher::Event::Init => Event::ListBegins,
        watcher::Event::InitApply(object) => Event::Listed(object.into_object()),
        watcher::Event::InitDone => Event::ListEnds,
        watcher::Event::Apply(object) => Event::Changed(object.into_object()),
        watcher::Event::Delete(object) => Event::Deleted(object.into_object()),
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Node => "node",
        Kind::Namespace => "namespace",
        Kind::Pod => "pod",
    }
}

#[cfg(test)]
mod tests;
