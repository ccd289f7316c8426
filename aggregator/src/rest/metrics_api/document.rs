//! Documents that never change while the server runs: each made once, with a tag by which clients
//! know that they have it.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, header::IF_NONE_MATCH};
use serde_json::Value;

use super::{
    discovery, openapi, openapi_protobuf,
    route::{MetricsQuestion, Version},
};

/// A document, in JSON if not in protobuf.
#[derive(Debug)]
pub(super) struct Document {
    pub value: Value,
    pub bytes: Bytes,
    /// Of its bytes, in hexadecimal digits.
    pub hash: String,
}

impl Document {
    fn json(value: Value) -> Self {
        let json = value.to_string().into_bytes();
        Self::new(value, json)
    }

    fn openapi_protobuf(value: Value) -> Self {
        let protobuf = openapi_protobuf::document(&value);
        Self::new(value, protobuf)
    }

    fn new(value: Value, bytes: Vec<u8>) -> Self {
        let hash = format!("{:08X}", crc32fast::hash(&bytes));
        Self { value, bytes: bytes.into(), hash }
    }

    /// As headers have it.
    pub(super) fn tag(&self) -> String {
        format!("\"{}\"", self.hash)
    }

    /// Whether the client has it already.
    pub(super) fn is_known(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(IF_NONE_MATCH).iter();
        let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|all| all.split(','));
        let own = self.tag();
        tags.map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == own)
    }
}

macro_rules! documents {
    ($($name:ident: $made:expr;)*) => {
        $(static $name: LazyLock<Document> = LazyLock::new(|| Document::json($made));)*
    };
}

documents! {
    GROUPS: discovery::groups();
    AGGREGATED_V2: discovery::aggregated("v2");
    AGGREGATED_V2BETA1: discovery::aggregated("v2beta1");
    GROUP: discovery::group();
    RESOURCES_V1: discovery::resources(Version::V1);
    RESOURCES_V1BETA1: discovery::resources(Version::V1Beta1);
    SERVER_VERSION: discovery::server_version();
    OPENAPI_V2: openapi::v2();
    OPENAPI_V3: openapi::v3_index(|version| openapi_v3(version).hash.clone());
    OPENAPI_V3_V1: openapi::v3(Version::V1);
    OPENAPI_V3_V1BETA1: openapi::v3(Version::V1Beta1);
}

static OPENAPI_V2_PROTOBUF: LazyLock<Document> =
    LazyLock::new(|| Document::openapi_protobuf(openapi::v2()));

/// The description in OpenAPI 2 as protobuf.
pub(super) fn openapi_v2_protobuf() -> &'static Document {
    &OPENAPI_V2_PROTOBUF
}

/// The list of groups with their resources, in a version of its own API.
pub(super) fn aggregated(version: &str) -> &'static Document {
    if version == "v2" { &AGGREGATED_V2 } else { &AGGREGATED_V2BETA1 }
}

fn openapi_v3(version: Version) -> &'static Document {
    match version {
        Version::V1 => &OPENAPI_V3_V1,
        Version::V1Beta1 => &OPENAPI_V3_V1BETA1,
    }
}

/// The document that a question asks for; `None` where it asks for none.
pub(super) fn of(question: &MetricsQuestion) -> Option<&'static Document> {
    Some(match question {
        MetricsQuestion::Groups => &GROUPS,
        MetricsQuestion::Group => &GROUP,
        MetricsQuestion::Resources(Version::V1) => &RESOURCES_V1,
        MetricsQuestion::Resources(Version::V1Beta1) => &RESOURCES_V1BETA1,
        MetricsQuestion::ServerVersion => &SERVER_VERSION,
        MetricsQuestion::OpenApiV2 => &OPENAPI_V2,
        MetricsQuestion::OpenApiV3 => &OPENAPI_V3,
        MetricsQuestion::OpenApiV3Of(version) => openapi_v3(*version),
        MetricsQuestion::Usage(..)
        | MetricsQuestion::HeapsterUsage(_)
        | MetricsQuestion::Unknown => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_what_it_has() {
        let tag = GROUP.tag();
        let check = |said: &str, known| {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, said.parse().unwrap())]);
            assert_eq!(GROUP.is_known(&headers), known, "{said}");
        };
        check(&tag, true);
        check(&format!("\"x\", W/{tag}"), true);
        check("*", true);
        check("\"x\"", false);
        check(&GROUP.hash, false);
        assert!(!GROUP.is_known(&HeaderMap::new()));
    }
}
