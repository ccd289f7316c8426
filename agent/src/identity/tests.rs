//! Real forms of paths, as kubelets, runtimes and systemd write them.

use super::*;

const ID: &str = "0f3c2d1e4b5a69788796a5b4c3d2e1f00f3c2d1e4b5a69788796a5b4c3d2e1f0";
const POD: &str = "1b6f1dd1-3b5f-4a2e-9f5c-6c1d6f0a7b21";
const STATIC_POD: &str = "f5d1c9a3e7b24c6d8e0f1a2b3c4d5e6f";

/// What is expected, in one word or two.
#[derive(Debug, PartialEq, Eq)]
enum Is {
    Node,
    Pod(&'static str),
    PodContainer(&'static str, Option<Runtime>),
    Free(&'static str, Option<Runtime>),
    Group,
    Part,
}

/// `ID`, `POD` and `P_O_D` stand for ids and uids.
#[track_caller]
fn check(path: &str, expected: &Is, entities_below: bool) {
    let path = path.replace("P_O_D", &POD.replace('-', "_"));
    let path = path.replace("STATIC", STATIC_POD).replace("POD", POD).replace("ID", ID);
    let found = identify(&path);
    let expected = match *expected {
        Is::Node => Identity::Node,
        Is::Pod(uid) => Identity::Pod(PodUid::parse(uid).unwrap()),
        Is::PodContainer(uid, runtime) => Identity::PodContainer(
            PodUid::parse(uid).unwrap(),
            Container { id: ContainerId::parse(ID).unwrap(), runtime },
        ),
        Is::Free(id, runtime) => {
            Identity::FreeContainer(Container { id: ContainerId::parse(id).unwrap(), runtime })
        }
        Is::Group => Identity::Group,
        Is::Part => Identity::Part,
    };
    assert_eq!(found, Identified { what: expected, entities_below }, "{path}");
}

#[test]
fn the_root_is_the_node() {
    check("/", &Is::Node, true);
}

#[test]
fn pods_of_every_class_and_driver() {
    for path in [
        "/kubepods/podPOD",
        "/kubepods/burstable/podPOD",
        "/kubepods/besteffort/podPOD",
        "/kubelet/kubepods/burstable/podPOD",
        "/kubepods.slice/kubepods-podP_O_D.slice",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podP_O_D.slice",
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podP_O_D.slice",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podP_O_D.slice",
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podP_O_D.slice",
    ] {
        check(path, &Is::Pod(POD), true);
    }
    for path in [
        "/kubepods/burstable/podSTATIC",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSTATIC.slice",
    ] {
        check(path, &Is::Pod(STATIC_POD), true);
    }
}

#[test]
fn parents_of_pods_are_groups() {
    for path in [
        "/kubepods",
        "/kubepods/burstable",
        "/kubepods/besteffort",
        "/kubepods.slice",
        "/kubepods.slice/kubepods-burstable.slice",
        "/kubepods.slice/kubepods-besteffort.slice",
    ] {
        check(path, &Is::Group, true);
    }
}

#[test]
fn containers_of_pods() {
    for (path, runtime) in [
        ("/kubepods/podPOD/ID", None),
        ("/kubepods/burstable/podPOD/ID", None),
        ("/kubepods/besteffort/podPOD/ID", None),
        ("/kubepods/burstable/podPOD/crio-ID", Some(Runtime::CriO)),
        (
            "/kubepods.slice/kubepods-podP_O_D.slice/cri-containerd-ID.scope",
            Some(Runtime::Containerd),
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podP_O_D.slice/cri-containerd-ID.scope",
            Some(Runtime::Containerd),
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podP_O_D.slice/crio-ID.scope",
            Some(Runtime::CriO),
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podP_O_D.slice/docker-ID.scope",
            Some(Runtime::Docker),
        ),
        ("/kubepods.slice/kubepods-podP_O_D.slice/libpod-ID.scope", Some(Runtime::Podman)),
        ("/kubepods.slice/kubepods-podP_O_D.slice/newcomer-ID.scope", None),
        (
            "/system.slice/containerd.service/kubepods-burstable-podP_O_D.slice:cri-containerd:ID",
            Some(Runtime::Containerd),
        ),
        ("/kubepods-besteffort-podP_O_D.slice:cri-containerd:ID", Some(Runtime::Containerd)),
        ("/system.slice/crio.service/kubepods-podP_O_D.slice:crio:ID", Some(Runtime::CriO)),
    ] {
        check(path, &Is::PodContainer(POD, runtime), false);
    }
}

#[test]
fn monitors_and_unknown_parts_of_pods_are_parts() {
    for path in [
        "/kubepods.slice/kubepods-podP_O_D.slice/crio-conmon-ID.scope",
        "/kubepods/burstable/podPOD/crio-conmon-ID",
        "/kubepods/burstable/podPOD/some-name",
        "/kubepods/burstable/podPOD/some-name/ID",
    ] {
        check(path, &Is::Part, false);
    }
}

#[test]
fn free_containers() {
    for (path, runtime) in [
        ("/docker/ID", Some(Runtime::Docker)),
        ("/system.slice/docker-ID.scope", Some(Runtime::Docker)),
        ("/custom.slice/docker-ID.scope", Some(Runtime::Docker)),
        ("/my-parent/ID", None),
        ("/actions_job/ID", None),
        ("/machine.slice/libpod-ID.scope", Some(Runtime::Podman)),
        ("/libpod_parent/libpod-ID", Some(Runtime::Podman)),
        ("/libpod_parent/ID/libpod-ID", Some(Runtime::Podman)),
        ("/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope", Some(Runtime::Podman)),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            Some(Runtime::Podman),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-ID.scope",
            Some(Runtime::Docker),
        ),
        ("/system.slice/app.service/libpod-payload-ID", Some(Runtime::Podman)),
        ("/system.slice/cri-containerd-ID.scope", Some(Runtime::Containerd)),
        ("/system.slice/nerdctl-ID.scope", Some(Runtime::Containerd)),
        ("/system.slice/crio-ID.scope", Some(Runtime::CriO)),
        ("/k8s.io/ID", Some(Runtime::Containerd)),
        ("/moby/ID", Some(Runtime::Containerd)),
        ("/system.slice/containerd.service/system.slice:docker:ID", Some(Runtime::Docker)),
    ] {
        check(path, &Is::Free(ID, runtime), false);
    }
    for (path, id, runtime) in [
        ("/default/web1", "web1", Runtime::Containerd),
        ("/lxc/web1", "web1", Runtime::Lxc),
        ("/lxc.payload/web1", "web1", Runtime::Lxc),
        ("/lxc.payload.web1", "web1", Runtime::Lxc),
    ] {
        check(path, &Is::Free(id, Some(runtime)), false);
    }
}

#[test]
fn slices_and_mere_parents_are_groups_that_are_looked_into() {
    for path in [
        "/docker",
        "/default",
        "/lxc",
        "/lxc.monitor.web1",
        "/libpod_parent",
        "/libpod_parent/ID",
        "/machine.slice",
        "/machine.slice/machine-libpod_pod_ID.slice",
        "/system.slice",
        "/user.slice/user-1000.slice",
        "/system.slice/system-getty.slice",
        "/system.slice/dev-hugepages.mount",
        "/system.slice/docker.service",
        "/system.slice/containerd.service",
        "/user.slice/user-1000.slice/user@1000.service",
        "/system.slice/system-getty.slice/getty@tty1.service",
        "/process_api/0b28e350dae9700a2df6d03f7f77de2e",
        "/libpod_parent/conmon",
    ] {
        check(path, &Is::Group, true);
    }
}

#[test]
fn scopes_and_systemds_containers_are_groups_that_own_what_is_below() {
    for path in [
        "/init.scope",
        "/user.slice/user-1000.slice/session-3.scope",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "/machine.slice/machine-web1.scope",
        "/machine.slice/systemd-nspawn@web1.service",
        "/machine.slice/libpod-conmon-ID.scope",
        "/system.slice/crio-conmon-ID.scope",
    ] {
        check(path, &Is::Group, false);
        check(&format!("{path}/below"), &Is::Part, false);
        check(&format!("{path}/payload/system.slice/docker-ID.scope"), &Is::Part, false);
    }
}

#[test]
fn what_is_below_a_container_belongs_to_it() {
    for path in [
        "/docker/ID/docker",
        "/docker/ID/docker/ID",
        "/docker/ID/kubelet/kubepods/burstable/podPOD/ID",
        "/docker/ID/init.scope",
        "/docker/ID/system.slice/ssh.service",
        "/system.slice/docker-ID.scope/system.slice/cron.service",
        "/kubepods/burstable/podPOD/ID/docker/ID",
        "/kubepods.slice/kubepods-podP_O_D.slice/cri-containerd-ID.scope/init.scope",
        "/machine.slice/libpod-ID.scope/container",
        "/lxc.payload.web1/system.slice/ssh.service",
        "/default/web1/below",
    ] {
        check(path, &Is::Part, false);
    }
}

#[test]
fn what_is_below_a_service_belongs_to_it_unless_it_is_a_container() {
    for path in [
        "/system.slice/systemd-udevd.service/udev",
        "/user.slice/user-1000.slice/user@1000.service/init.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.service",
    ] {
        check(path, &Is::Part, true);
    }
}

#[test]
fn names_that_only_look_alike_are_groups() {
    for path in [
        "/podPOD",
        "/mykubepods/podPOD",
        "/system.slice/kubepodsx-podP_O_D.slice",
        "/kubepods/pod",
        "/docker/0f3c",
        "/docker/buildkit",
        "/docker-ID",
        "/a:b:c",
    ] {
        let found = identify(&path.replace("ID", ID)).what;
        let is_docker = path == "/docker-ID";
        assert_eq!(matches!(found, Identity::FreeContainer(_)), is_docker, "{path}");
        assert_eq!(found == Identity::Group, !is_docker, "{path}");
    }
}

proptest::proptest! {
    #[test]
    fn any_path_has_an_identity(path in "[/a-z0-9:._-]{0,80}|.*") {
        let found = identify(&path);
        proptest::prop_assert!(found.what != Identity::Part || path.contains('/'));
    }
}
