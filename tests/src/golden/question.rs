//! What a recorded path asks, taken apart a second time and on its own, so that a fault in the
//! server's routing cannot hide behind itself.

/// The object a path is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Everything.
    Cluster,
    /// A namespace.
    Namespace(String),
    /// A node.
    Node(String),
    /// A pod, by namespace and name.
    Pod(String, String),
    /// A container of a pod.
    PodContainer,
    /// A free container of a node.
    FreeContainer,
    /// A pod, by its uid.
    PodById(String),
    /// A container of a pod, by the pod's uid.
    ContainerById(String),
}

/// What is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of what.
    pub subject: Subject,
    /// Segments of the path after the subject, decoded.
    pub rest: Vec<String>,
    /// Of history, not of the model.
    pub is_past: bool,
    /// The pairs of the query, decoded.
    pub parameters: Vec<(String, String)>,
}

impl Question {
    /// Takes a target under /api/v1/model or /api/v1/historical apart; `None` for any other.
    pub fn parse(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (is_past, path) = match path.strip_prefix("/api/v1/model/") {
            Some(path) => (false, path),
            None => (true, path.strip_prefix("/api/v1/historical/")?),
        };
        let segments: Vec<String> = path.trim_end_matches('/').split('/').map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (subject, rest) = match *segments.as_slice() {
            ["nodes", _, "freecontainers", _, ref rest @ ..] if !rest.is_empty() => {
                (Subject::FreeContainer, rest)
            }
            ["pod-id", uid, "containers", _, ref rest @ ..] => {
                (Subject::ContainerById(uid.to_owned()), rest)
            }
            ["pod-id", uid, ref rest @ ..] => (Subject::PodById(uid.to_owned()), rest),
            ["nodes", node, ref rest @ ..] => (Subject::Node(node.to_owned()), rest),
            ["namespaces", _, "pods", _, "containers", _, ref rest @ ..] => {
                (Subject::PodContainer, rest)
            }
            ["namespaces", namespace, "pods", pod, ref rest @ ..] => {
                (Subject::Pod(namespace.to_owned(), pod.to_owned()), rest)
            }
            ["namespaces", namespace, ref rest @ ..] => {
                (Subject::Namespace(namespace.to_owned()), rest)
            }
            _ => (Subject::Cluster, &*segments),
        };
        let rest = rest.iter().map(|&segment| segment.to_owned()).collect();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = pairs.map(|(key, value)| (decoded(key), decoded(value))).collect();
        Some(Self { subject, rest, is_past, parameters })
    }

    /// A parameter that is there and not empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.parameters.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// What follows the subject, or the list of subjects.
    fn numbers(&self) -> &[String] {
        match self.rest.as_slice() {
            [list, _, rest @ ..] if list == "pod-list" || list == "pod-id-list" => rest,
            rest => rest,
        }
    }

    /// The metric asked for, under its present name.
    pub fn metric(&self) -> Option<String> {
        let metric = match self.numbers() {
            [names, metric @ ..] if names == "metrics" => metric,
            [names, _, metric @ ..] if names == "metrics-aggregated" => metric,
            _ => return None,
        };
        let name = match metric.join("/").as_str() {
            "" => return None,
            "cpu-usage" => "cpu/usage_rate".to_owned(),
            "cpu-limit" => "cpu/limit".to_owned(),
            "memory-limit" => "memory/limit".to_owned(),
            "memory-usage" => "memory/usage".to_owned(),
            "memory-working" => "memory/working_set".to_owned(),
            name => name.to_owned(),
        };
        Some(name)
    }

    /// The pods of a pod-list.
    pub fn listed_pods(&self) -> Vec<Subject> {
        match (&self.subject, self.rest.as_slice()) {
            (Subject::Namespace(namespace), [list, pods, ..]) if list == "pod-list" => {
                let pod = |pod: &str| Subject::Pod(namespace.clone(), pod.to_owned());
                pods.split(',').map(pod).collect()
            }
            (Subject::Cluster, [list, uids, ..]) if list == "pod-id-list" => {
                uids.split(',').map(|uid| Subject::PodById(uid.to_owned())).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Percent-decoding; recorded targets have no malformed escapes in their paths.
fn decoded(segment: &str) -> String {
    let mut parts = segment.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        bytes.extend(u8::from_str_radix(digits, 16));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, subject: Subject, metric: Option<&str>) {
        let question = Question::parse(&format!("/api/v1/model/{path}?start=x")).unwrap();
        assert_eq!((question.subject.clone(), question.metric().as_deref()), (subject, metric));
    }

    #[test]
    fn subject_and_metric_are_found_at_every_level() {
        check("metrics/cpu-usage", Subject::Cluster, Some("cpu/usage_rate"));
        check("nodes", Subject::Cluster, None);
        check("nodes/n/freecontainers/", Subject::Node("n".into()), None);
        check(
            "nodes/n/freecontainers/%2Fa/metrics/cpu%2Fusage",
            Subject::FreeContainer,
            Some("cpu/usage"),
        );
        check("namespaces/s/pods/p/metrics/", Subject::Pod("s".into(), "p".into()), None);
        check("namespaces/s/pod-list/a,b/metrics/x/y", Subject::Namespace("s".into()), Some("x/y"));
    }

    #[test]
    fn questions_to_history_have_more() {
        let parse = |path: &str| Question::parse(&format!("/api/v1/historical/{path}")).unwrap();
        let one = parse("pod-id/u/containers/c/metrics-aggregated/max/x/y?start=a%2Bb&end=");
        assert_eq!(one.subject, Subject::ContainerById("u".into()));
        assert_eq!((one.metric().as_deref(), one.is_past), (Some("x/y"), true));
        assert_eq!((one.parameter("start"), one.parameter("end")), (Some("a+b"), None));
        let list = parse("pod-id-list/u,v/metrics/memory-usage");
        assert_eq!(list.listed_pods(), ["u", "v"].map(|uid| Subject::PodById(uid.into())));
        assert_eq!(list.metric().as_deref(), Some("memory/usage"));
        assert_eq!(parse("pod-id/u/containers").subject, Subject::PodById("u".into()));
    }
}
