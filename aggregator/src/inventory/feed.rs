//! What a watch of the API server says, brought into an inventory.
//!
//! A watch begins with a list, and begins anew with another when the server has forgotten where it
//! was. What was known stays until that list is complete; only then what it lacks is gone.

use std::collections::HashSet;

use tally_proto::{
    declaration::PodKey,
    name::{NamespaceName, NodeName},
    tick::UnixMs,
};

use super::{BadObjects, Inventory, LabelForm, Object, Touched};

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nodes.
    Node,
    /// Namespaces.
    Namespace,
    /// Pods.
    Pod,
}

/// One thing that a watch says.
#[derive(Clone, Debug)]
pub enum Event {
    /// A list begins.
    ListBegins,
    /// The list has this object.
    Listed(Object),
    /// The list is complete.
    ListEnds,
    /// An object is new, or other than before.
    Changed(Object),
    /// An object is gone.
    Deleted(Object),
}

/// What one watch said so far, as far as what it says next depends on that.
#[derive(Debug)]
pub struct Feed {
    kind: Kind,
    form: LabelForm,
    listed: Listed,
}

/// What the list under way has.
#[derive(Debug, Default)]
struct Listed {
    nodes: HashSet<NodeName>,
    namespaces: HashSet<NamespaceName>,
    pods: HashSet<PodKey>,
}

impl Feed {
    /// A watch of one kind that said nothing yet. Labels are joined as `form` says.
    pub fn new(kind: Kind, form: LabelForm) -> Self {
        Self { kind, form, listed: Listed::default() }
    }

    /// Brings what was said at `now` into the inventory, and says whom that touches. After an error
    /// the object is as it was before.
    pub fn take(
        &mut self,
        inventory: &mut Inventory,
        event: Event,
        now: UnixMs,
    ) -> Result<Touched, BadObjects> {
        match event {
            Event::ListBegins => {
                self.listed = Listed::default();
                Ok(Touched::default())
            }
            Event::Listed(object) => {
                self.note(&object)?;
                self.add(inventory, &object, now)
            }
            Event::Changed(object) => self.add(inventory, &object, now),
            Event::Deleted(object) => self.remove(inventory, &object, now),
            Event::ListEnds => {
                let listed = std::mem::take(&mut self.listed);
                Ok(match self.kind {
                    Kind::Node => inventory.keep_nodes(&listed.nodes),
                    Kind::Namespace => inventory.keep_namespaces(&listed.namespaces),
                    Kind::Pod => inventory.keep_pods(&listed.pods, now),
                })
            }
        }
    }

    fn note(&mut self, object: &Object) -> Result<(), BadObjects> {
        match self.kind {
            Kind::Node => drop(self.listed.nodes.insert(object.node_name()?)),
            Kind::Namespace => drop(self.listed.namespaces.insert(object.namespace()?.0)),
            Kind::Pod => drop(self.listed.pods.insert(object.pod_key()?.0)),
        }
        Ok(())
    }

    fn add(
        &self,
        inventory: &mut Inventory,
        object: &Object,
        now: UnixMs,
    ) -> Result<Touched, BadObjects> {
        Ok(match self.kind {
            Kind::Node => inventory.add_node(object.node(&self.form)?),
            Kind::Namespace => {
                let (name, uid) = object.namespace()?;
                inventory.add_namespace(name, uid)
            }
            Kind::Pod => inventory.add_pod_at(object.pod(&self.form)?, Some(now)),
        })
    }

    fn remove(
        &self,
        inventory: &mut Inventory,
        object: &Object,
        now: UnixMs,
    ) -> Result<Touched, BadObjects> {
        Ok(match self.kind {
            Kind::Node => inventory.remove_node(&object.node_name()?),
            Kind::Namespace => inventory.remove_namespace(&object.namespace()?.0),
            Kind::Pod => {
                let (key, uid) = object.pod_key()?;
                inventory.remove_pod(&key, &uid, now)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tally_proto::name::{ContainerId, PodName, PodUid};

    use super::*;

    fn pod(name: &str, uid: &str, more: &Value) -> Object {
        let mut object = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "7"},
            "spec": {"nodeName": "node-a", "containers": [{"name": "app"}]},
        });
        merge(&mut object, more);
        serde_json::from_value(object).unwrap()
    }

    fn merge(into: &mut Value, more: &Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (key, value) in more {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, more) => *into = more.clone(),
        }
    }

    fn key(name: &str) -> PodKey {
        PodKey {
            namespace: NamespaceName::parse("shop").unwrap(),
            name: PodName::parse(name).unwrap(),
        }
    }

    fn uid(text: &str) -> PodUid {
        PodUid::parse(text).unwrap()
    }

    /// Pods of an inventory that is fed with one event after the other.
    struct Fed(Inventory, Feed);

    impl Fed {
        fn new() -> Self {
            Self(Inventory::default(), Feed::new(Kind::Pod, LabelForm::default()))
        }

        /// Takes what is said, and checks which nodes that touches.
        #[track_caller]
        fn check(&mut self, event: Event, nodes: &[&str]) {
            let touched = self.1.take(&mut self.0, event, UnixMs(7)).unwrap();
            let found: Vec<&str> = touched.nodes.iter().map(|name| name.as_str()).collect();
            assert_eq!(found, nodes);
            assert!(touched.namespaces.is_empty());
        }
    }

    #[test]
    fn what_changes_nothing_that_is_used_touches_nobody() {
        let mut fed = Fed::new();
        fed.check(Event::Changed(pod("a", "u1", &json!({}))), &["node-a"]);
        let heartbeat =
            json!({"metadata": {"resourceVersion": "8"}, "status": {"phase": "Running"}});
        fed.check(Event::Changed(pod("a", "u1", &heartbeat)), &[]);
        let restarted =
            json!({"status": {"containerStatuses": [{"name": "app", "restartCount": 1}]}});
        fed.check(Event::Changed(pod("a", "u1", &restarted)), &["node-a"]);
        assert_eq!(fed.0.pod(&key("a")).unwrap().containers[0].restart_count, Some(1));
    }

    #[test]
    fn a_stored_label_that_changes_touches_the_node() {
        let stored = [("app".to_owned(), "app".to_owned())].into();
        // Nothing else is other than before.
        let ignored = ["app".to_owned()].into();
        let form = LabelForm { stored, ignored, ..LabelForm::default() };
        let mut fed = Fed(Inventory::default(), Feed::new(Kind::Pod, form));
        let labelled = |app| Event::Changed(pod("a", "u1", &json!({"metadata": {"labels": app}})));
        fed.check(labelled(json!({"app": "web"})), &["node-a"]);
        fed.check(labelled(json!({"app": "web"})), &[]);
        fed.check(labelled(json!({"app": "shop"})), &["node-a"]);
        let stored = fed.0.pod(&key("a")).unwrap().stored_labels.clone().unwrap();
        assert_eq!(stored.iter().collect::<Vec<_>>(), [("app", "shop")]);
        fed.check(labelled(json!({})), &["node-a"]);
        assert_eq!(fed.0.pod(&key("a")).unwrap().stored_labels, None);
    }

    #[test]
    fn pods_with_the_same_stored_labels_have_them_together() {
        let stored = [("app".to_owned(), "app".to_owned())].into();
        let form = LabelForm { stored, ..LabelForm::default() };
        let mut fed = Fed(Inventory::default(), Feed::new(Kind::Pod, form));
        let web = json!({"metadata": {"labels": {"app": "web"}}});
        for (name, uid) in [("a", "u1"), ("b", "u2")] {
            fed.check(Event::Changed(pod(name, uid, &web)), &["node-a"]);
        }
        let [a, b] = ["a", "b"].map(|name| fed.0.pod(&key(name)).unwrap().stored_labels.clone());
        assert!(std::sync::Arc::ptr_eq(&a.unwrap(), &b.unwrap()));
    }

    #[test]
    fn a_pod_touches_the_node_it_came_to_and_the_one_it_left() {
        let mut fed = Fed::new();
        fed.check(Event::Changed(pod("a", "u1", &json!({"spec": {"nodeName": ""}}))), &[]);
        fed.check(Event::Changed(pod("a", "u1", &json!({}))), &["node-a"]);
        let moved = pod("a", "u2", &json!({"spec": {"nodeName": "node-b"}}));
        fed.check(Event::Changed(moved), &["node-a", "node-b"]);
        assert!(fed.0.pod_of_uid(&uid("u1")).is_none());
        assert_eq!(fed.0.gone_pod(&uid("u1")).unwrap().1, UnixMs(7));
        assert_eq!(fed.0.pod_of_uid(&uid("u2")).unwrap().key, key("a"));
    }

    #[test]
    fn a_deleted_pod_is_gone_but_not_its_successor() {
        let mut fed = Fed::new();
        fed.check(Event::Changed(pod("a", "u2", &json!({}))), &["node-a"]);
        fed.check(Event::Deleted(pod("a", "u1", &json!({}))), &[]);
        assert!(fed.0.pod(&key("a")).is_some());
        fed.check(Event::Deleted(pod("a", "u2", &json!({}))), &["node-a"]);
        assert!(fed.0.pod(&key("a")).is_none());
        assert!(fed.0.pod_of_uid(&uid("u2")).is_none());
    }

    #[test]
    fn what_a_new_list_lacks_is_gone_once_the_list_is_complete() {
        let mut fed = Fed::new();
        let listed = |name, uid| Event::Listed(pod(name, uid, &json!({})));
        fed.check(Event::ListBegins, &[]);
        fed.check(listed("a", "u1"), &["node-a"]);
        fed.check(listed("b", "u2"), &["node-a"]);
        fed.check(Event::ListEnds, &[]);
        fed.check(Event::Changed(pod("c", "u3", &json!({}))), &["node-a"]);
        // A list that breaks off takes nothing away, and is not part of the next.
        fed.check(Event::ListBegins, &[]);
        fed.check(listed("b", "u2"), &[]);
        fed.check(Event::ListBegins, &[]);
        fed.check(listed("a", "u1"), &[]);
        assert!(fed.0.pod(&key("b")).is_some());
        fed.check(Event::ListEnds, &["node-a"]);
        assert!(fed.0.pod(&key("a")).is_some());
        assert!(fed.0.pod(&key("b")).is_none() && fed.0.pod(&key("c")).is_none());
        assert!(fed.0.pod_of_uid(&uid("u3")).is_none());
    }

    #[test]
    fn an_object_that_is_none_leaves_what_was_known() {
        let mut fed = Fed::new();
        fed.check(Event::Changed(pod("a", "u1", &json!({}))), &["node-a"]);
        fed.check(Event::ListBegins, &[]);
        let broken = json!({"spec": {"containers": [
            {"name": "app", "resources": {"requests": {"cpu": "much"}}},
        ]}});
        let broken = Event::Listed(pod("a", "u1", &broken));
        assert!(matches!(
            fed.1.take(&mut fed.0, broken, UnixMs(7)),
            Err(BadObjects::Quantity { .. })
        ));
        fed.check(Event::ListEnds, &[]);
        assert!(fed.0.pod(&key("a")).is_some());
    }

    #[test]
    fn a_static_pod_is_known_by_its_nodes_uid_and_helpers_by_their_ids() {
        let mut fed = Fed::new();
        let id = "ab".repeat(32);
        let object = json!({
            "metadata": {"annotations": {
                "kubernetes.io/config.mirror": "0123456789abcdef0123456789abcdef",
                "long": "x",
            }},
            "status": {"initContainerStatuses": [
                {"name": "wait", "containerID": format!("containerd://{id}")},
            ]},
        });
        fed.check(Event::Changed(pod("etcd", "u1", &object)), &["node-a"]);
        let known = fed.0.pod_of_uid(&uid("0123456789abcdef0123456789abcdef")).unwrap();
        assert_eq!(known.key, key("etcd"));
        let name = known.container_name(&ContainerId::parse(&id).unwrap());
        assert_eq!(name.unwrap().as_str(), "wait");
        fed.check(Event::Deleted(pod("etcd", "u1", &json!({}))), &["node-a"]);
        assert!(fed.0.pod_of_uid(&uid("0123456789abcdef0123456789abcdef")).is_none());
    }

    #[test]
    fn a_namespace_touches_the_nodes_that_have_its_pods() {
        let (mut inventory, form) = (Inventory::default(), LabelForm::default());
        let mut feed = Feed::new(Kind::Namespace, form.clone());
        let object = json!({"metadata": {"name": "shop", "uid": "n1"}});
        let object: Object = serde_json::from_value(object).unwrap();
        let name = NamespaceName::parse("shop").unwrap();
        let all = Touched { namespaces: vec![name.clone()], ..Touched::default() };
        let mut take = |event| feed.take(&mut inventory, event, UnixMs(7)).unwrap();
        assert_eq!(take(Event::Changed(object.clone())), all);
        assert_eq!(take(Event::Changed(object.clone())), Touched::default());
        assert_eq!(take(Event::ListBegins), Touched::default());
        assert_eq!(take(Event::ListEnds), all);
        assert_eq!(take(Event::Deleted(object)), Touched::default());
        let node = json!({"metadata": {"name": "node-a"}, "status": {"capacity": {"cpu": "4"}}});
        let node: Object = serde_json::from_value(node).unwrap();
        let mut feed = Feed::new(Kind::Node, form);
        let mut take = |event| feed.take(&mut inventory, event, UnixMs(7)).unwrap().nodes.len();
        assert_eq!(
            [take(Event::Changed(node.clone())), take(Event::Changed(node.clone()))],
            [1, 0]
        );
        assert_eq!([take(Event::Deleted(node.clone())), take(Event::Deleted(node))], [1, 0]);
    }
}
