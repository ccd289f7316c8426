# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it: loads of a known size, for busybox.
. "$HERE/../setup/lab.sh"

MIB=$((1 << 20))
FILL_BYTES=$((40 * MIB))
WRITE_BYTES=$((16 * MIB))
SEND_BYTES=$((32 * MIB))
PORT=5000

export BURN='while :; do :; done'
# The pipe is full before dd's buffer is empty, so that it holds all of it.
export FILL="dd if=/dev/zero bs=$FILL_BYTES count=1 2>/dev/null | sleep 100000"
# Past the page cache: on cgroup v1 what is written back later counts to nobody.
export WRITE="dd if=/dev/zero of=/data/known bs=$MIB count=16 oflag=direct 2>/dev/null"
# With its input at an end nc would close before everything was received.
export RECEIVE="tail -f /dev/null | nc -l -p $PORT >/dev/null"
export SEND="dd if=/dev/zero bs=$MIB count=32 2>/dev/null | nc"
# More than the cgroup has: the kernel kills it.
export OVERUSE="dd if=/dev/zero of=/dev/null bs=$((64 * MIB)) count=1 2>/dev/null"
export PORT

# count_disk: on cgroup v1 kernels from 6.10 on count the bytes of a disk only once any cgroup has had a
# limit on it. This one is too high to hold anything back, and goes at once.
count_disk() {
    local group=/sys/fs/cgroup/blkio/tally-known-loads disk
    [ -d /sys/fs/cgroup/blkio ] || return 0
    disk=$(findmnt -no MAJ:MIN -T "$TALLY_RUN")
    # Limits are for whole disks.
    [ ! -e "/sys/dev/block/$disk/partition" ] || disk=$(cat "/sys/dev/block/$disk/../dev")
    mkdir "$group"
    echo "$disk 107374182400" >"$group/blkio.throttle.write_bps_device" || true
    rmdir "$group"
}

# started COMMAND…: what a set-up script prints, or why it could not, and its code.
started() {
    local printed code=0
    printed=$("$@") || code=$?
    [ $code = 0 ] || { echo "$printed" >&2; exit $code; }
    echo "$printed"
}
