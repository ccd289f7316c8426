# shellcheck shell=bash
# Sourced by the scripts beside it: where the lab lies, how packages get there, and how to give up.
#
# TALLY_LAB  what is installed once: images, kernels, the CRI client (default ~/.cache/tally-lab).
# TALLY_RUN  what running daemons write (default $TALLY_LAB/run); on a disk that overlayfs can use
#            as an upper layer, so in a virtual machine it is the machine's own disk.
# TALLY_KUBERNETES  the programs of the Kubernetes that is used (default $TALLY_LAB/kubernetes, which
#            install-kubernetes makes; install-newer-kubernetes makes $TALLY_LAB/newer-kubernetes).
# TALLY_RUNTIME  whose pods cri-pods makes and in-pods looks at: containerd (default) or crio.

export TALLY_LAB=${TALLY_LAB:-$HOME/.cache/tally-lab}
export TALLY_RUN=${TALLY_RUN:-$TALLY_LAB/run}
export TALLY_KUBERNETES=${TALLY_KUBERNETES:-$TALLY_LAB/kubernetes}
SETUP=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export SETUP

# 77 is what test runners take as "not run": the machine lacks something, nothing is broken.
skip() {
    echo "SKIPPED: $*"
    exit 77
}

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || skip "not root: mounts, network namespaces and cgroups need it"
}

# need_command NAME SCRIPT: SCRIPT is what would have installed it.
need_command() {
    command -v "$1" >/dev/null || skip "$1 is not installed: run tests/setup/$2 first"
}

# Waits up to a minute, which an emulated machine may need, until the command succeeds.
wait_until() {
    local _
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}

# Installs the packages that are missing; others may be using apt meanwhile.
apt_install() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep 'ok installed' >/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || skip "no apt-get here to install ${missing[*]}"
    wait_until apt-get update -qq || skip "apt-get update fails: is there a package mirror?"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null ||
        skip "apt-get cannot install ${missing[*]}"
}

# Points apt at other Debian suites without touching the machine's own configuration.
# After this, `apt-get download` and `apt-cache` see bullseye, bookworm, trixie and sid, and
# `apt-get source` sees bookworm. With the name of another architecture than this machine's they see its packages too.
use_other_suites() {
    local dir=$TALLY_LAB/apt${1:+-$1} mirror suite
    command -v apt-get >/dev/null || skip "no apt-get here"
    # shellcheck disable=SC2016 # apt expands it
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sort -u | sed -n 1p)
    [ -n "$mirror" ] || skip "apt knows no Debian mirror: is this a Debian machine, and was apt-get update run?"
    mkdir -p "$dir/lists/partial"
    {
        for suite in bullseye bookworm trixie sid; do
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
        done
        echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
    } >"$dir/sources.list.new"
    if ! cmp -s "$dir/sources.list.new" "$dir/sources.list"; then rm -f "$dir/updated"; fi
    mv "$dir/sources.list.new" "$dir/sources.list"
    cat >"$dir/apt.conf" <<CONF
Dir::Etc::SourceList "$dir/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$dir/lists";
Dir::Cache::pkgcache "$dir/pkgcache.bin";
Dir::Cache::srcpkgcache "$dir/srcpkgcache.bin";
APT::Sandbox::User "root";
CONF
    [ $# = 0 ] || echo "APT::Architectures {\"$(dpkg --print-architecture)\"; \"$1\"; };" >>"$dir/apt.conf"
    export APT_CONFIG=$dir/apt.conf
    [ -e "$dir/updated" ] || { apt-get update -qq && touch "$dir/updated"; } ||
        skip "the mirror does not offer bullseye, bookworm, trixie and sid"
}

# make_pod_network FOLDER: the network that a runtime of ours gives its pods, for it to read in FOLDER/cni.
make_pod_network() {
    mkdir -p "$1/cni"
    cat >"$1/cni/10-tally.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "tally", "plugins": [{
  "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
  "ipam": {"type": "host-local", "dataDir": "$1/ipam",
           "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
    modprobe -qa bridge veth overlay 2>/dev/null || true
}
