//! What the secure port counts: handshakes, certificates, who asked, and what they may.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// One way of saying who one is, and how that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Authentication {
    /// `front_proxy`, `certificate`, `token` or `anonymous`.
    pub method: &'static str,
    /// `ok`, `refused`, or `unknown` where the API server could not be asked.
    pub result: &'static str,
}

/// How the question ended whether somebody may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Authorization {
    /// `allowed`, `denied`, or `unknown` where the API server could not be asked.
    pub result: &'static str,
}

/// What the API server was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Review {
    /// `token` or `access`.
    pub kind: &'static str,
}

/// What is read again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reread {
    /// `certificate`, `client_ca`, `tokens`, `trust` or `api_service`.
    pub what: &'static str,
}

/// Counts of the secure port. Nothing is counted without one.
#[derive(Clone, Debug)]
pub struct Secure {
    /// TLS handshakes that failed.
    pub handshakes_failed: Counter,
    /// The last second of the certificate that is shown.
    pub certificate_ends: Gauge,
    /// What can't be read again, or is no good, so that the old stands.
    pub reread_faults: Family<Reread, Counter>,
    /// APIServices that got the bundle.
    pub api_services_mended: Counter,
    /// Who asked.
    pub authentications: Family<Authentication, Counter>,
    /// What they may.
    pub authorizations: Family<Authorization, Counter>,
    /// Questions to the API server that were answered from memory.
    pub reviews_cached: Family<Review, Counter>,
    /// Questions that had no answer.
    pub review_faults: Family<Review, Counter>,
    /// How long those took that had one.
    pub review_duration: Family<Review, Histogram>,
}

impl Default for Secure {
    fn default() -> Self {
        Self {
            handshakes_failed: Counter::default(),
            certificate_ends: Gauge::default(),
            reread_faults: Family::default(),
            api_services_mended: Counter::default(),
            authentications: Family::default(),
            authorizations: Family::default(),
            reviews_cached: Family::default(),
            review_faults: Family::default(),
            review_duration: Family::new_with_constructor(review_histogram),
        }
    }
}

impl Secure {
    pub(super) fn register(&self, all: &mut Registry) {
        let all = all.sub_registry_with_prefix("secure");
        all.register(
            "handshakes_failed",
            "TLS handshakes that failed, took too long, or came before there was a certificate",
            self.handshakes_failed.clone(),
        );
        all.register(
            "certificate_end_timestamp_seconds",
            "The last second of the certificate that is shown",
            self.certificate_ends.clone(),
        );
        all.register(
            "reread_faults",
            "Times that a certificate, an authority, tokens or an APIService could not be read again \
             or was no good, so that the old stands",
            self.reread_faults.clone(),
        );
        all.register(
            "api_services_mended",
            "Times that an APIService lacked our bundle of authorities and got it",
            self.api_services_mended.clone(),
        );
        all.register(
            "authentications",
            "Requests by how they said who asks, and whether it was true",
            self.authentications.clone(),
        );
        all.register(
            "authorizations",
            "Requests by whether they were allowed",
            self.authorizations.clone(),
        );
        all.register(
            "reviews_cached",
            "TokenReviews and SubjectAccessReviews that were answered from memory",
            self.reviews_cached.clone(),
        );
        all.register(
            "review_faults",
            "TokenReviews and SubjectAccessReviews that the API server did not answer",
            self.review_faults.clone(),
        );
        all.register_with_unit(
            "review_duration",
            "Time until the API server answered a TokenReview or a SubjectAccessReview",
            Unit::Seconds,
            self.review_duration.clone(),
        );
    }
}

/// From 1 ms, what an API server takes that has nothing else to do, to the 5 s it may take.
fn review_histogram() -> Histogram {
    Histogram::new(exponential_buckets(1e-3, 2.0, 13))
}
