# shellcheck shell=bash
# Sourced by what builds programs from Go's module proxy. The caller sets PROGRAMS, the folder where they go.

# What is needed to build them, gone afterwards.
PART=$PROGRAMS.part

# find_go MODULE@VERSION: a Go, with its caches in $PART, that gets this module from the proxy. Debian 12's is
# too old; an early one fetches the one that a program asks for by itself.
find_go() {
    mkdir -p "$PROGRAMS" "$PART"
    if ! command -v go >/dev/null; then
        use_other_suites
        mkdir -p "$PART/packages"
        (
            cd "$PART/packages"
            apt-get download -qq golang-1.24-go/trixie golang-1.24-src/trixie || skip "no go here, and the mirror does not offer it"
            for package in ./*.deb; do dpkg -x "$package" .; done
        )
        export GOROOT=$PART/packages/usr/lib/go-1.24
        export PATH=$GOROOT/bin:$PATH
    fi
    export GOPATH=$PART/go-path GOCACHE=$PART/go-cache CGO_ENABLED=0 GOFLAGS=-modcacherw
    (cd / && go list -m "$1") >/dev/null 2>&1 || skip "Go's module proxy does not answer"
}

# built NAME COMMAND…: skips what is there; the log of a failure is told.
built() {
    local name=$1
    shift
    [ ! -x "$PROGRAMS/$name" ] || return 0
    # In the background, as `|| fail` would let the shell go on after an error within.
    ("$@") >"$PART/$name.log" 2>&1 &
    wait $! || fail "$name does not build; the end of $PART/$name.log: $(tail -n 3 "$PART/$name.log")"
}

# Once all are built. Toolchains are read-only whatever the flags say.
forget_sources() {
    chmod -R u+w "$PART"
    rm -r "$PART"
}
