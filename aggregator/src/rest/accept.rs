//! Which media types and encodings a client takes, by its `Accept` and `Accept-Encoding` headers
//! (RFC 9110, 12.5.1 and 12.5.3).

use http::{
    HeaderMap,
    header::{ACCEPT, ACCEPT_ENCODING},
};

/// How much a client wants a media type: thousandths, 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quality(pub u16);

/// How precisely a media range names a type. The most precise range decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Anything,
    SameType,
    Exact,
}

/// Whether JSON satisfies the client. Whoever says nothing takes anything.
pub(super) fn takes_json(headers: &HeaderMap) -> bool {
    wanted(headers, "application", "json").is_none_or(|(_, quality)| Quality(0) < quality)
}

/// Whether the client asks for OpenMetrics by name, and wants plain text no more than it.
pub(super) fn prefers_openmetrics(headers: &HeaderMap) -> bool {
    let exact = |kind, subtype| match wanted(headers, kind, subtype) {
        Some((Precision::Exact, quality)) => quality,
        _ => Quality(0),
    };
    let openmetrics = exact("application", "openmetrics-text");
    Quality(0) < openmetrics && exact("text", "plain") <= openmetrics
}

/// Whether the client refuses the answer as it is and in every encoding that there is here.
pub(super) fn refuses_every_encoding(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let (mut unnamed, mut identity) = (None, None);
    for coding in values.flat_map(|value| value.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let taken = Quality(0) < quality(parameters);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" | "deflate" | "zstd" if taken => return false,
            "identity" => identity = Some(taken),
            "*" => unnamed = Some(taken),
            _ => (),
        }
    }
    // `*` stands for what is not named; whatever it stands for here, there is something to give.
    unnamed != Some(true) && identity.or(unnamed) == Some(false)
}

/// What the client says of `kind/subtype`; `None` when it has no `Accept` header at all.
fn wanted(headers: &HeaderMap, kind: &str, subtype: &str) -> Option<(Precision, Quality)> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).map(str::trim);
    // An empty header says nothing.
    let mut ranges = ranges.filter(|range| !range.is_empty()).peekable();
    ranges.peek()?;
    let of_range = |range: &str| {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        Some((precision(name.trim(), kind, subtype)?, quality(parameters)))
    };
    Some(ranges.filter_map(of_range).max().unwrap_or((Precision::Anything, Quality(0))))
}

fn precision(range: &str, kind: &str, subtype: &str) -> Option<Precision> {
    let (its_kind, its_subtype) = range.split_once('/')?;
    if (its_kind, its_subtype) == ("*", "*") {
        Some(Precision::Anything)
    } else if !its_kind.eq_ignore_ascii_case(kind) {
        None
    } else if its_subtype == "*" {
        Some(Precision::SameType)
    } else {
        its_subtype.eq_ignore_ascii_case(subtype).then_some(Precision::Exact)
    }
}

/// The weight among a range's parameters; what cannot be read is 1, the default.
pub(super) fn quality(parameters: &str) -> Quality {
    let pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut weights = pairs.filter(|(key, _)| key.eq_ignore_ascii_case("q"));
    weights.next().and_then(|(_, weight)| thousandths(weight)).unwrap_or(Quality(1000))
}

/// `0`, `1`, `0.5`, `0.125`.
fn thousandths(weight: &str) -> Option<Quality> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let whole: u16 = whole.parse().ok()?;
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    (whole <= 1 && fraction < 1000).then(|| Quality((whole * 1000 + fraction).min(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[track_caller]
    fn check_json(accept: &str, takes: bool) {
        assert_eq!(takes_json(&headers(accept)), takes, "{accept}");
    }

    #[test]
    fn any_range_that_json_satisfies_is_enough() {
        assert!(takes_json(&HeaderMap::new()));
        check_json("application/json", true);
        check_json("application/json; charset=utf-8", true);
        check_json("application/*", true);
        check_json("*/*", true);
        check_json("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true);
        check_json("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", true);
    }

    #[test]
    fn an_empty_header_says_nothing() {
        check_json("", true);
        check_json(" , ", true);
    }

    #[test]
    fn an_encoding_is_refused_only_where_it_is_said() {
        let check = |accept: &str, refuses| {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, accept.parse().unwrap())]);
            assert_eq!(refuses_every_encoding(&headers), refuses, "{accept}");
        };
        check("", false);
        check("br", false);
        check("gzip;q=0", false);
        check("identity;q=0", true);
        check("*;q=0", true);
        check("br, Identity;q=0.0", true);
        check("identity;q=0, gzip;q=0.1", false);
        check("identity;q=0, *", false);
        check("*;q=0, identity", false);
        assert!(!refuses_every_encoding(&HeaderMap::new()));
    }

    #[test]
    fn other_types_and_nonsense_are_not() {
        check_json("text/html", false);
        check_json("application/vnd.kubernetes.protobuf", false);
        check_json("foo", false);
    }

    #[test]
    fn the_most_precise_range_decides() {
        check_json("application/json;q=0, */*", false);
        check_json("application/json;q=0.001, */*;q=0", true);
        check_json("*/*;q=0.0", false);
    }

    #[test]
    fn openmetrics_is_given_to_those_who_name_it() {
        let check = |accept, prefers| {
            assert_eq!(prefers_openmetrics(&headers(accept)), prefers, "{accept}")
        };
        check("application/openmetrics-text", true);
        check(
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            true,
        );
        check("application/openmetrics-text;q=0.2,text/plain", false);
        check("*/*", false);
        check("text/plain", false);
        assert!(!prefers_openmetrics(&HeaderMap::new()));
    }
}
