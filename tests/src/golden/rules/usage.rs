//! The rules of the resource metrics API (section 7 of the contract).

use super::Instead;
use crate::golden::recording::Case;

/// "Node-local naming asks nothing of the API server" (design): a pod that the API server does not
/// know is there, where Heapster failed (500).
pub fn what_the_node_names_is_there(case: &Case) -> Option<Instead> {
    let target = &case.request.target;
    let is_of_pod = target.starts_with("/apis/") && target.contains("/pods/");
    (is_of_pod && case.response.status == 500).then_some(Instead::Status(200))
}
