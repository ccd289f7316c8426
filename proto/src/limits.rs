//! How much one sender may say. Each number has its reason; going over it is refused with an
//! error that names the field, and counted.

/// Entities of one node. The kernel's own limit is higher, but a node of 110 pods has under
/// 1,000 cgroups; 20,000 leaves room for the largest host without letting one sender take all
/// memory.
pub const ENTITIES_PER_NODE: u32 = 20_000;

/// Columns of one node: metrics times label sets (disks, interfaces, mounts).
pub const COLUMNS_PER_NODE: u32 = 4_096;

/// Values in one frame: 8 MB when unpacked.
pub const CELLS_PER_FRAME: usize = 1_000_000;

/// Bytes of one gRPC message. A key frame of 1,000 entities and 40 metrics has about 200 KB.
pub const MESSAGE_BYTES: usize = 4 << 20;

/// Bytes of a name: Kubernetes allows 253.
pub const NAME_BYTES: usize = 253;

/// Bytes of a cgroup path: the kernel's PATH_MAX.
pub const PATH_BYTES: usize = 4_096;

/// Bytes of a metric's name.
pub const METRIC_NAME_BYTES: usize = 128;

/// Labels of one column.
pub const LABELS_PER_COLUMN: usize = 8;

/// Bytes of a label's key, as in Kubernetes.
pub const LABEL_KEY_BYTES: usize = 63;

/// Bytes of a label's value: a mount point may be long.
pub const LABEL_VALUE_BYTES: usize = 1_024;

/// Bytes of an image's name.
pub const IMAGE_BYTES: usize = 512;

/// Bytes of the agent's version.
pub const VERSION_BYTES: usize = 64;

/// The longest that a sender waits for an acknowledgement, in milliseconds: nobody keeps more than
/// a minute of frames for fewer acknowledgements.
pub const ACKNOWLEDGE_WITHIN_MS: u32 = 60_000;
