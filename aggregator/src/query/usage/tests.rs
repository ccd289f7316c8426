use super::{
    fixture::{Container, NEWEST, NOW, Pod, add, cluster, deliver, model, steady},
    *,
};

fn all() -> LabelSelector {
    LabelSelector::default()
}

/// What all pods of a scope use that a selector matches.
fn usage(queries: &Queries, scope: PodScope<'_>, labels: &LabelSelector) -> Vec<PodUsage> {
    let containers = Containers::Measured;
    ask(queries, PodsAsked { scope, labels, chosen: &|_, _| true, containers })
}

/// What pods use, whether it is kept or written.
fn ask(queries: &Queries, asked: PodsAsked<'_>) -> Vec<PodUsage> {
    const OF_A_PIECE: usize = 2;
    let kept = queries.pod_usage(asked, NOW);
    let write = |seen: &SeenPod<'_, '_>, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{:?}\n", seen.kept()).as_bytes());
    };
    let written = queries.write_pod_usage(asked, NOW, || write);
    let bytes = written.bytes();
    assert!(bytes + kept.len() * 12 <= written.memory());
    let written: Vec<Vec<u8>> = written.pieces(OF_A_PIECE).collect();
    assert_eq!(written.concat().len(), bytes);
    let lines = |pods: &[PodUsage]| pods.iter().map(|pod| format!("{pod:?}\n")).collect::<String>();
    let expected: Vec<Vec<u8>> =
        kept.chunks(OF_A_PIECE).map(|pods| lines(pods).into_bytes()).collect();
    assert!(written == expected, "{kept:?}");
    kept
}

/// Pods as `namespace/name`.
fn names(pods: &[PodUsage]) -> Vec<String> {
    pods.iter().map(|pod| format!("{}/{}", pod.key.namespace, pod.key.name)).collect()
}

#[track_caller]
fn check(queries: &Queries, scope: PodScope<'_>, selector: &str, expected: &[&str]) {
    let labels = LabelSelector::parse(selector).unwrap();
    assert_eq!(names(&usage(queries, scope, &labels)), expected, "{selector}");
}

#[test]
fn pods_are_sorted_by_namespace_and_name_wherever_they_are() {
    let queries = cluster();
    check(&queries, PodScope::Cluster, "", &["batch/job", "shop/web-1", "shop/web-2"]);
    check(&queries, PodScope::Namespace("shop"), "", &["shop/web-1", "shop/web-2"]);
    check(&queries, PodScope::Namespace("none"), "", &[]);
    check(&queries, PodScope::One("shop", "web-2"), "", &["shop/web-2"]);
    check(&queries, PodScope::One("batch", "web-2"), "", &[]);
}

#[test]
fn labels_and_names_choose() {
    let queries = cluster();
    check(&queries, PodScope::Cluster, "app=web", &["shop/web-1", "shop/web-2"]);
    check(&queries, PodScope::Cluster, "app notin (web)", &["batch/job"]);
    let chosen = |_: &str, name: &str| name != "web-1";
    let (scope, labels) = (PodScope::Cluster, &all());
    let asked = PodsAsked { scope, labels, chosen: &chosen, containers: Containers::Measured };
    let found = ask(&queries, asked);
    assert_eq!(names(&found), ["batch/job", "shop/web-2"]);
    let zone = LabelSelector::parse("zone=a").unwrap();
    let nodes = queries.node_usage(None, &zone, NOW);
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["node-a"]);
    assert!(queries.node_usage(Some("node-b"), &zone, NOW).is_empty());
}

#[test]
fn cpu_is_of_the_time_between_two_readings_and_memory_of_the_second() {
    let node = cluster().node_usage(Some("node-a"), &all(), NOW).remove(0);
    let end = UnixMs(NEWEST.unix_ms().0 + 250);
    assert_eq!(node.interval, Interval { end, tick: NEWEST, length_us: 15_000_000 });
    let usage = Usage {
        cpu_nanocores: 500_000_000,
        memory_bytes: 1 << 30,
        swap_bytes: Some(4096),
        ephemeral_storage_bytes: None,
    };
    assert_eq!((node.usage, &*node.labels), (usage, "kubernetes.io/os:linux,zone:a"));
}

#[test]
fn a_pod_has_the_earliest_time_of_its_containers() {
    let pod = usage(&cluster(), PodScope::One("shop", "web-1"), &all()).remove(0);
    let containers = pod.containers.iter().map(|one| (&*one.name, one.usage.cpu_nanocores));
    assert_eq!(containers.collect::<Vec<_>>(), [("app", 100_000_000), ("late", 250_000_000)]);
    assert_eq!(pod.interval.end, UnixMs(NEWEST.unix_ms().0 + 500));
}

#[test]
fn the_window_is_the_time_that_really_passed() {
    let model = model();
    let cells = |offset, total| Some((offset, [Some(total), Some(5), None, None]));
    let drifting = Container("app", [cells(900_000, 1_000), cells(100_000, 14_201_000)]);
    deliver(&model, "n", &[Pod("s", "p", vec![drifting])]);
    let pod = usage(&Queries::new(model), PodScope::Cluster, &all()).remove(0);
    assert_eq!(pod.interval.length_us, 14_200_000);
    assert_eq!(pod.containers[0].usage.cpu_nanocores, 1_000_000);
}

#[test]
fn a_container_without_two_readings_or_memory_is_left_out_and_zero_is_a_number() {
    let model = model();
    let cells = |cpu, memory| Some((0, [cpu, memory, None, None]));
    let zero = cells(Some(0), Some(0));
    let container = |name, before, now| Container(name, [before, now]);
    deliver(
        &model,
        "n",
        &[
            Pod("s", "new", vec![container("app", None, zero)]),
            Pod("s", "both", vec![container("new", None, zero), container("zero", zero, zero)]),
            Pod(
                "s",
                "back",
                vec![container("app", cells(Some(9), Some(9)), cells(Some(8), Some(9)))],
            ),
            Pod("s", "lean", vec![container("app", cells(Some(9), None), cells(Some(9), None))]),
            Pod("s", "gone", vec![container("app", zero, None)]),
        ],
    );
    let pods = usage(&Queries::new(model), PodScope::Cluster, &all());
    assert_eq!(names(&pods), ["s/both"]);
    assert_eq!(pods[0].containers.len(), 1);
    assert_eq!(
        (&*pods[0].containers[0].name, pods[0].containers[0].usage.memory_bytes),
        ("zero", 0)
    );
}

#[test]
fn what_the_api_server_has_no_longer_is_gone_at_once() {
    let queries = cluster();
    let mut inventory = Inventory::default();
    add(&mut inventory, "NodeList", &[("", "node-b", r#"{"zone": "new"}"#)]);
    add(&mut inventory, "PodList", &[("shop", "web-1", r#"{"app": "renamed"}"#)]);
    queries.model.set_inventory(inventory);
    check(&queries, PodScope::Cluster, "", &["shop/web-1"]);
    check(&queries, PodScope::Cluster, "app=renamed", &["shop/web-1"]);
    let nodes = queries.node_usage(None, &all(), NOW);
    assert_eq!((&*nodes[0].name, &*nodes[0].labels, nodes.len()), ("node-b", "zone:new", 1));
    // What was heard before stands until all is heard again.
    queries.model.set_complete(false);
    check(&queries, PodScope::Cluster, "app=web", &["shop/web-1", "shop/web-2"]);
}

#[test]
fn without_an_api_server_there_are_pods_and_no_labels() {
    let model = model();
    deliver(&model, "n", &[Pod("s", "p", vec![steady("app", 1, 1)])]);
    let queries = Queries::new(model);
    check(&queries, PodScope::Cluster, "", &["s/p"]);
    check(&queries, PodScope::Cluster, "!app", &["s/p"]);
    check(&queries, PodScope::Cluster, "app", &[]);
}

#[test]
fn of_a_pod_on_two_nodes_the_later_reading_counts() {
    let model = model();
    deliver(&model, "old", &[Pod("s", "p", vec![steady("app", 1, 1)])]);
    deliver(&model, "new", &[Pod("s", "p", vec![steady("late", 2, 2)])]);
    let pods = usage(&Queries::new(model), PodScope::Cluster, &all());
    assert_eq!((pods.len(), &*pods[0].containers[0].name), (1, "late"));
}

#[test]
fn a_node_that_is_silent_for_three_resolutions_is_left_out_with_its_pods() {
    let queries = cluster();
    let at = |seconds: i64| UnixMs(NEWEST.unix_ms().0 + seconds * 1000);
    let found = |now| {
        let (scope, labels) = (PodScope::Cluster, &all());
        let containers = Containers::Measured;
        let asked = PodsAsked { scope, labels, chosen: &|_, _| true, containers };
        let pods = queries.pod_usage(asked, now);
        (queries.node_usage(None, &all(), now).len(), pods.len())
    };
    assert_eq!(found(at(45)), (2, 3));
    assert_eq!(found(at(46)), (0, 0));
    assert_eq!(found(at(-1)), (2, 3), "an agent's clock may be ahead");
}

#[test]
fn containers_are_in_the_order_of_the_specification_and_may_all_have_to_be_there() {
    let model = model();
    let mut inventory = Inventory::default();
    add(&mut inventory, "PodList", &[("s", "whole", "{}"), ("s", "part", "{}")]);
    model.set_inventory(inventory);
    let whole = ["a-debugger", "stub", "app"].map(|name| steady(name, 1, 1)).into();
    let part = vec![steady("app", 1, 1)];
    let unknown = vec![steady("any", 1, 1)];
    let pods = [Pod("s", "whole", whole), Pod("s", "part", part), Pod("s", "unknown", unknown)];
    deliver(&model, "n", &pods);
    let queries = Queries::new(model);
    let found = |containers| {
        let (scope, labels) = (PodScope::Cluster, &all());
        let asked = PodsAsked { scope, labels, chosen: &|_, _| true, containers };
        let pods = ask(&queries, asked).into_iter();
        let of = |pod: PodUsage| {
            let names = pod.containers.iter().map(|one| one.name.to_string());
            format!("{}: {}", pod.key.name, names.collect::<Vec<_>>().join(" "))
        };
        pods.map(of).collect::<Vec<_>>()
    };
    let measured = ["part: app", "unknown: any", "whole: app stub a-debugger"];
    assert_eq!(found(Containers::Measured), measured);
    assert_eq!(found(Containers::Specified), ["unknown: any", "whole: app stub"]);
}

#[test]
fn pods_of_many_nodes_are_in_order() {
    let model = model();
    let all_names = (0..60).map(|at| &*format!("p{:02}", at * 37 % 60).leak());
    let all_names: Vec<&'static str> = all_names.collect();
    for (node, names) in ["a", "b", "c", "d"].into_iter().zip(all_names.chunks(15)) {
        let pods = names.iter().map(|name| {
            let namespace = if name.ends_with('7') { "other" } else { "s" };
            Pod(namespace, name, vec![steady("app", 1, 1)])
        });
        deliver(&model, node, &pods.collect::<Vec<_>>());
    }
    let queries = Queries::new(model);
    let (scope, labels) = (PodScope::Cluster, &all());
    let containers = Containers::Measured;
    let asked = PodsAsked { scope, labels, chosen: &|_, _| true, containers };
    let found = names(&ask(&queries, asked));
    assert!(found.is_sorted() && found.len() == 60, "{found:?}");
}
