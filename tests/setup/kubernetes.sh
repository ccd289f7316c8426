# shellcheck shell=bash
# Sourced by what starts and ends parts of Kubernetes: certificates, and programs in the background.
# The caller sets RUN, the folder of what they write, and may set ENTER, a command that runs each of them.

KUBERNETES=$TALLY_KUBERNETES
# With a containerd beside them it is that one.
PATH=$KUBERNETES:$PATH
PKI=$RUN/pki
CONFIG=$RUN/kubeconfig
ENTER=()

# authority NAME: a certificate authority.
authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$PKI/$1.key" -out "$PKI/$1.crt" -days 3650 -subj "/CN=tally-test-$1"
}

# certificate AUTHORITY NAME SUBJECT EXTENSION: without an extension it would be of version 1, which few take.
certificate() {
    openssl req -newkey rsa:2048 -nodes -keyout "$PKI/$2.key" -out "$PKI/$2.csr" -subj "$3"
    openssl x509 -req -in "$PKI/$2.csr" -CA "$PKI/$1.crt" -CAkey "$PKI/$1.key" -CAcreateserial \
        -out "$PKI/$2.crt" -days 3650 -extfile <(echo "$4")
}

# config URL CERTIFICATE FILE: how the owner of a certificate reaches the API server.
config() {
    cat >"$3" <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: tally, cluster: {server: "$1", certificate-authority: $PKI/ca.crt}}]
users: [{name: $2, user: {client-certificate: $PKI/$2.crt, client-key: $PKI/$2.key}}]
contexts: [{name: tally, context: {cluster: tally, user: $2}}]
current-context: tally
CONFIG
}

# start NAME COMMAND…: in the background, with its pid and its log in files.
start() {
    local name=$1
    shift
    "${ENTER[@]}" setsid "$@" </dev/null >>"$RUN/$name.log" 2>&1 &
    echo $! >"$RUN/$name.pid"
}

runs() { [ -e "$RUN/$1.pid" ] && [ -d "/proc/$(cat "$RUN/$1.pid")" ]; }

# end NAME SIGNAL
end() {
    [ -e "$RUN/$1.pid" ] || return 0
    local pid
    pid=$(cat "$RUN/$1.pid")
    # A pid may be another program's by now.
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "${1:0:15}" ]; then
        kill "-$2" "$pid"
        gone() { [ ! -d "/proc/$pid" ]; }
        wait_until gone || fail "$1 ($pid) does not end; see $RUN/$1.log"
    fi
    rm "$RUN/$1.pid"
}

# is_of_old: whether it is of before 1.24, when programs had ports in clear text and kubelets other runtimes than CRI's.
is_of_old() { [ "$("$KUBERNETES/kube-apiserver" --version | cut -d . -f 2)" -lt 24 ]; }

kubectl() { "${ENTER[@]}" "$KUBERNETES/kubectl" --kubeconfig "$CONFIG" "$@"; }

answers() { kubectl get --raw /readyz; }
