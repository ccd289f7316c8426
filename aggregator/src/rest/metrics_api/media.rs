//! Which form a client takes, by its `Accept` header, as an API server negotiates it: the first
//! wish that can be fulfilled, the wishes sorted by quality. A wish may name another kind of object
//! to put the answer into: `application/json;as=Table;g=meta.k8s.io;v=v1`.

use http::{HeaderMap, HeaderValue, header::ACCEPT};

use super::super::accept::{self, Quality};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Json,
    Yaml,
    Protobuf,
    /// A description in OpenAPI 2 as protobuf.
    OpenApiProtobuf,
}

/// What an answer is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing: it is what was asked for.
    Itself,
    /// A table of this version of `meta.k8s.io`.
    Table(&'static str),
    /// A list of groups with their resources, of this version of `apidiscovery.k8s.io`.
    Discovery(&'static str),
}

/// One form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub encoding: Encoding,
    pub shape: Shape,
}

/// What usage can be given in; the first is for those who say nothing.
pub(super) const USAGE: [Form; 5] = [
    Form::JSON,
    Form::itself(Encoding::Yaml),
    Form::itself(Encoding::Protobuf),
    Form { encoding: Encoding::Json, shape: Shape::Table("v1") },
    Form { encoding: Encoding::Json, shape: Shape::Table("v1beta1") },
];

/// What an error can be given in.
pub(super) const STATUS: [Form; 3] =
    [Form::JSON, Form::itself(Encoding::Yaml), Form::itself(Encoding::Protobuf)];

/// What documents can be given in.
pub(super) const DOCUMENT: [Form; 2] = [Form::JSON, Form::itself(Encoding::Yaml)];

/// What the list of groups can be given in.
pub(super) const GROUPS: [Form; 4] = [
    Form::JSON,
    Form::itself(Encoding::Yaml),
    Form { encoding: Encoding::Json, shape: Shape::Discovery("v2") },
    Form { encoding: Encoding::Json, shape: Shape::Discovery("v2beta1") },
];

/// What the description in OpenAPI 2 can be given in.
pub(super) const OPENAPI_V2: [Form; 2] = [Form::JSON, Form::itself(Encoding::OpenApiProtobuf)];

/// What JSON alone can be given in.
pub(super) const JSON: [Form; 1] = [Form::JSON];

impl Form {
    /// JSON of what was asked for.
    pub(super) const JSON: Self = Self::itself(Encoding::Json);

    const fn itself(encoding: Encoding) -> Self {
        Self { encoding, shape: Shape::Itself }
    }

    /// As the answer's header says it. A table says so in itself.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match (self.encoding, self.shape) {
            (Encoding::Json, Shape::Discovery("v2beta1")) => {
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
            }
            (Encoding::Json, Shape::Discovery(_)) => {
                "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            }
            // What is asked for is none that a header may have: a client would refuse it.
            (Encoding::OpenApiProtobuf, _) => {
                "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
            }
            (encoding, _) => encoding.media_type(),
        })
    }
}

impl Encoding {
    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
            Self::OpenApiProtobuf => "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
        }
    }
}

/// One wish of a client.
struct Wished<'a> {
    quality: Quality,
    /// How much of it is `*`.
    stars: usize,
    kind: &'a str,
    subtype: &'a str,
    /// Group, version and kind of what the answer should be put into.
    into: Option<(&'a str, &'a str, &'a str)>,
}

/// The form of `offers` that the client wants most; `None` when it takes none of them. Whoever says
/// nothing gets the first.
pub(super) fn choose(headers: &HeaderMap, offers: &[Form]) -> Option<Form> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).map(str::trim);
    let ranges: Vec<&str> = ranges.filter(|range| !range.is_empty()).collect();
    if ranges.is_empty() {
        return offers.first().copied();
    }
    let mut wished: Vec<Wished<'_>> = ranges.into_iter().filter_map(wished).collect();
    // Of equal ones the first stays the first.
    wished.sort_by_key(|wish| (std::cmp::Reverse(wish.quality), wish.stars));
    wished.iter().find_map(|wish| offers.iter().find(|offer| wish.is_met_by(**offer)).copied())
}

fn wished(range: &str) -> Option<Wished<'_>> {
    let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
    let (kind, subtype) = name.trim().split_once('/')?;
    let quality = accept::quality(parameters);
    let of = |sought: &str| {
        let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == sought).map_or("", |(_, value)| value.trim_matches('"'))
    };
    let into = (of("g"), of("v"), of("as"));
    let into = (!into.2.is_empty()).then_some(into);
    let stars = [kind, subtype].into_iter().filter(|part| *part == "*").count();
    (Quality(0) < quality).then_some(Wished { quality, stars, kind, subtype, into })
}

impl Wished<'_> {
    fn is_met_by(&self, offer: Form) -> bool {
        let (kind, subtype) = offer.encoding.media_type().split_once('/').unwrap_or_default();
        let is_kind = self.kind == "*" || self.kind.eq_ignore_ascii_case(kind);
        let is_subtype = self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype);
        let into = match offer.shape {
            Shape::Itself => None,
            Shape::Table(version) => Some(("meta.k8s.io", version, "Table")),
            Shape::Discovery(version) => {
                Some(("apidiscovery.k8s.io", version, "APIGroupDiscoveryList"))
            }
        };
        is_kind && is_subtype && self.into == into
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_of(offers: &[Form], accept: &str, expected: Option<(Encoding, Shape)>) {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        let chosen = choose(&headers, offers).map(|form| (form.encoding, form.shape));
        assert_eq!(chosen, expected, "{accept}");
    }

    #[track_caller]
    fn check(accept: &str, encoding: Encoding, shape: Shape) {
        check_of(&USAGE, accept, Some((encoding, shape)));
    }

    #[test]
    fn clients_of_kubernetes_get_what_they_ask_for_first() {
        let protobuf = "application/vnd.kubernetes.protobuf";
        check(&format!("{protobuf},application/json"), Encoding::Protobuf, Shape::Itself);
        check(&format!("{protobuf}, */*"), Encoding::Protobuf, Shape::Itself);
        check("application/yaml", Encoding::Yaml, Shape::Itself);
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check(kubectl, Encoding::Json, Shape::Table("v1"));
        let older = "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json";
        check(older, Encoding::Json, Shape::Table("v1beta1"));
    }

    #[test]
    fn who_says_nothing_or_anything_gets_json() {
        assert_eq!(choose(&HeaderMap::new(), &USAGE), Some(USAGE[0]));
        for accept in ["", "*/*", "application/*", "application/json", "text/html, */*;q=0.1"] {
            check(accept, Encoding::Json, Shape::Itself);
        }
    }

    #[test]
    fn quality_decides_then_precision_then_order() {
        let protobuf = "application/vnd.kubernetes.protobuf";
        check(
            &format!("application/json;q=0.5,{protobuf};q=0.6"),
            Encoding::Protobuf,
            Shape::Itself,
        );
        check("application/yaml;q=0.9,*/*;q=0.8", Encoding::Yaml, Shape::Itself);
        check("*/*, application/yaml", Encoding::Yaml, Shape::Itself);
        check("application/yaml,application/json", Encoding::Yaml, Shape::Itself);
    }

    #[test]
    fn what_cannot_be_given_is_passed_over() {
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        check(&format!("{partial},application/json"), Encoding::Json, Shape::Itself);
        check_of(&USAGE, partial, None);
        check_of(&USAGE, "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1", None);
        check_of(&USAGE, "text/html", None);
        check_of(&USAGE, "application/json;q=0", None);
        check_of(&USAGE, "nonsense", None);
        check_of(&JSON, "application/yaml", None);
    }

    #[test]
    fn kubectl_up_to_1_26_takes_its_description_in_protobuf_alone() {
        let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
        let check = |accept: &str, encoding| {
            check_of(&OPENAPI_V2, accept, Some((encoding, Shape::Itself)));
        };
        check(protobuf, Encoding::OpenApiProtobuf);
        check("application/json", Encoding::Json);
        check("*/*", Encoding::Json);
    }

    #[test]
    fn discovery_is_aggregated_for_who_knows_it() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        let check = |accept: &str, shape| check_of(&GROUPS, accept, Some((Encoding::Json, shape)));
        check(&format!("{v2},{beta},application/json"), Shape::Discovery("v2"));
        check(&format!("{beta},application/json"), Shape::Discovery("v2beta1"));
        check("application/json", Shape::Itself);
        assert_eq!(GROUPS[2].content_type(), v2);
        assert_eq!(GROUPS[3].content_type(), beta);
    }
}
