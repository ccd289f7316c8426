//! Names of what came, before it is declared.
//!
//! Where runtimes can be asked for names, a container is an entity once its name is known, so that no
//! sample of it ever has another. The name is asked for when its cgroup is first seen, and waited for
//! while everybody else is read; mostly it is there before that is done, and nothing is late. A pod's
//! name is its containers'. The kubelet makes its cgroup first and a sandbox only when its volumes are
//! mounted; until then there is nothing in it to measure.

use std::time::Duration;

use tally_proto::{
    declaration::EntityNumber,
    message::Declarations,
    name::{ContainerId, PodUid},
    tick::Tick,
};

use super::Discovery;
use crate::{
    identity::{Identity, identify},
    inquiry::Inquiry,
    names::{Api, Called, questions::Answer},
    sampler::{Host, member::Kind, population::Population, processes::is_at_or_below},
};

/// How long one reading waits for names. A runtime answers within some milliseconds; at one reading a
/// second it is still over before the next, and whoever is later is named at the next.
const NAMES_WITHIN: Duration = Duration::from_millis(400);

/// How long a pod without containers waits for one: mounting volumes may take minutes.
const EMPTY_POD_SECONDS: u64 = 300;

/// Whether what a cgroup is called is known.
pub(super) enum Name {
    /// It is, or nobody can tell.
    Is(Option<Called>),
    /// It will be.
    Waits,
}

/// A cgroup that came and waits for its name.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Its path.
    pub path: String,
    /// When it was first seen.
    pub since: Tick,
}

impl Discovery {
    /// Waits for the names of those who came, and declares who has one now. Says whether anybody did.
    pub(in crate::sampler) fn look_for_names(
        &mut self,
        host: &mut Host,
        population: &mut Population,
        said: &mut Declarations,
        tick: Tick,
    ) -> bool {
        let Some(inquiry) = host.inquiry.as_ref().filter(|_| !self.waiting.is_empty()) else {
            return false;
        };
        inquiry.wait(NAMES_WITHIN);
        let before = self.waiting.len();
        self.admit_waiting(host, population, said, tick);
        self.plan(host, population);
        self.waiting.len() < before
    }

    /// Nobody needs to be asked about what is gone.
    pub(super) fn forget_gone(&mut self, host: &Host, population: &mut Population) {
        let gone = population.take_gone_nameless();
        if let Some(inquiry) = &host.inquiry {
            gone.iter().for_each(|id| inquiry.forget(id));
        }
    }

    pub(super) fn admit_waiting(
        &mut self,
        host: &mut Host,
        population: &mut Population,
        said: &mut Declarations,
        tick: Tick,
    ) {
        // A container takes its pod along, so each is looked for again.
        for waiting in self.waiting.clone() {
            if self.stop_waiting(&waiting.path) {
                self.admit(host, population, said, tick, waiting);
            }
        }
    }

    pub(super) fn stop_waiting_below(&mut self, host: &Host, path: &str) {
        self.waiting.retain(|waiting| {
            let goes = is_at_or_below(&waiting.path, path);
            if goes && let (Some(inquiry), Some(id)) = (&host.inquiry, container_id(&waiting.path))
            {
                inquiry.forget(&id);
            }
            !goes
        });
    }

    /// Whether it did wait.
    fn stop_waiting(&mut self, path: &str) -> bool {
        let place = self.waiting.iter().position(|waiting| waiting.path == path);
        place.map(|place| self.waiting.remove(place)).is_some()
    }

    /// The pod of a container that is called so: one that is known, one that waited for this container,
    /// or a new one without a cgroup of its own.
    pub(super) fn pod_of_container(
        &mut self,
        host: &mut Host,
        population: &mut Population,
        said: &mut Declarations,
        uid: PodUid,
        called: Option<&Called>,
    ) -> Option<EntityNumber> {
        if let Some(pod) = population.pod(&uid) {
            if let Some(called) = called {
                population.name(pod, called, said);
            }
            return Some(pod);
        }
        let is_its = |waiting: &Waiting| identify(&waiting.path).what == Identity::Pod(uid.clone());
        let kind = Kind::Pod(uid.clone());
        match self.waiting.iter().position(is_its).map(|place| self.waiting.remove(place)) {
            Some(pod) => self.admit_as(host, population, said, &pod.path, (kind, called.cloned())),
            None => population.admit(host, kind, None, said, |member| {
                member.called = called.cloned();
            }),
        }
    }

    /// Names who had to be measured without a name.
    pub(super) fn name_late(
        &mut self,
        host: &Host,
        population: &mut Population,
        said: &mut Declarations,
    ) {
        let Some(inquiry) = &host.inquiry else { return };
        for (id, called) in inquiry.take_late() {
            let is_taken =
                matches!(&called, Called::Free { name, .. } if population.is_free_name_taken(name));
            let Some(number) = population.container(&id).filter(|_| !is_taken) else { continue };
            population.name(number, &called, said);
            if let Some(Kind::PodContainer { pod, .. }) =
                population.get_mut(number).map(|member| &member.kind)
            {
                let pod = *pod;
                population.name(pod, &called, said);
            }
        }
    }
}

/// What is known of the name of what came at `since`.
pub(super) fn name_of(inquiry: Option<&Inquiry>, what: &Identity, tick: Tick, since: Tick) -> Name {
    let Some(inquiry) = inquiry else { return Name::Is(None) };
    let asked = match what {
        Identity::Pod(_) if tick.0.saturating_sub(since.0) < EMPTY_POD_SECONDS => {
            return Name::Waits;
        }
        Identity::PodContainer(_, container) => Some((&container.id, Api::Cri)),
        Identity::FreeContainer(container) => {
            Api::of_free(container).map(|api| (&container.id, api))
        }
        Identity::Pod(_) | Identity::Node | Identity::Group | Identity::Part => None,
    };
    let Some((id, api)) = asked else { return Name::Is(None) };
    match inquiry.ask(id, api) {
        Answer::Wait => Name::Waits,
        Answer::Called(called) => Name::Is(Some(called)),
        Answer::Unknown => Name::Is(None),
    }
}

fn container_id(path: &str) -> Option<ContainerId> {
    match identify(path).what {
        Identity::PodContainer(_, container) | Identity::FreeContainer(container) => {
            Some(container.id)
        }
        Identity::Pod(_) | Identity::Node | Identity::Group | Identity::Part => None,
    }
}
