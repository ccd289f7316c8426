# shellcheck shell=bash
# Sourced: programs with a service account of the API server of tests/setup/kube-api-up, as in a pod.
# KUBECONFIG is that of its administrator.

kubectl() { "$TALLY_KUBERNETES/kubectl" "$@"; }

# account_token NAMESPACE ACCOUNT: a token of it, for an hour.
account_token() {
    echo '{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}' |
        kubectl create --raw "/api/v1/namespaces/$1/serviceaccounts/$2/token" -f - |
        grep -o '"token":"[^"]*"' | cut -d '"' -f 4 | tr -d '\n'
}

# pod_account NAMESPACE ACCOUNT FOLDER: what a pod of this account would have mounted.
pod_account() {
    mkdir "$3"
    account_token "$1" "$2" >"$3/token"
    cp "$TALLY_RUN/kubernetes/pki/ca.crt" "$3/ca.crt"
    echo -n "$1" >"$3/namespace"
}

# in_pod FOLDER COMMAND…: with the account of the folder where a pod has it, for this command alone.
in_pod() {
    export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT=16443
    # shellcheck disable=SC2016 # the inner shell expands it
    exec unshare --mount bash -euc '
        mount -t tmpfs tmpfs /run
        mkdir -p /run/secrets/kubernetes.io
        ln -s "$1" /run/secrets/kubernetes.io/serviceaccount
        exec "${@:2}"' in_pod "$@"
}
