//! Who it is, and may they: as far as that is known here.

use std::{collections::BTreeSet, sync::Arc};

use http::HeaderMap;
use rustls::pki_types::UnixTime;

use super::{
    User,
    bearer::{Bearer, Token},
    certificate::{Authorities, Chain},
    token_file::Tokens,
    trust::Trust,
};

/// How somebody says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An API server says it.
    FrontProxy,
    /// By a client certificate.
    Certificate,
    /// By a token.
    Token,
    /// Not at all.
    Anonymous,
}

impl Method {
    /// Its name in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::FrontProxy => "front_proxy",
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Whom the API server trusts.
#[derive(Clone, Debug)]
pub enum Published {
    /// There is no API server.
    Never,
    /// It was not asked successfully yet.
    NotYet,
    /// As it said last.
    Known(Trust),
}

/// What files say of users.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Who vouches for users, instead of whom the API server trusts with that.
    pub clients: Option<Authorities>,
    /// Tokens.
    pub tokens: Option<Arc<Tokens>>,
}

/// What is known of users.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// By the API server.
    pub published: &'a Published,
    /// By files.
    pub files: &'a Files,
}

/// What a request shows.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// Its connection's certificate, and those between it and its authority.
    pub chain: Option<&'a Chain>,
    /// All of its headers.
    pub headers: &'a HeaderMap,
    /// One of them, understood.
    pub bearer: Bearer,
}

/// What was found out about who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// It is known.
    User(User, Method),
    /// The API server knows whose token that is.
    OwnerOf(Token),
    /// It says something that is not true.
    Nobody(Method),
    /// Only the API server could say whether it is true, and it has not said yet.
    Unknown(Method),
}

/// Finds out who asks, at `now`: by what an API server says, by certificate, by token, in this
/// order; what is shown in vain does not matter if something else convinces.
pub fn who(known: Known<'_>, shown: Shown<'_>, now: UnixTime) -> Who {
    if let Some(chain) = shown.chain {
        if let Some(user) = asked_for(known, chain, shown.headers, now) {
            return Who::User(user.authenticated(), Method::FrontProxy);
        }
        let published = match known.published {
            Published::Known(trust) => trust.clients.as_ref(),
            Published::Never | Published::NotYet => None,
        };
        let clients = known.files.clients.as_ref().or(published);
        let subject = clients.and_then(|clients| clients.subject(chain, now).ok());
        if let Some(user) = subject.and_then(|subject| subject.user()) {
            return Who::User(user.authenticated(), Method::Certificate);
        }
    }
    match shown.bearer {
        Bearer::Token(token) => {
            let tokens = known.files.tokens.as_ref();
            match tokens.and_then(|tokens| tokens.user(&token)) {
                Some(user) => Who::User(user.clone().authenticated(), Method::Token),
                None if matches!(known.published, Published::Never) => Who::Nobody(Method::Token),
                None => Who::OwnerOf(token),
            }
        }
        Bearer::TooLong => Who::Nobody(Method::Token),
        Bearer::None if shown.chain.is_none() => Who::User(User::anonymous(), Method::Anonymous),
        Bearer::None if matches!(known.published, Published::NotYet) => {
            Who::Unknown(Method::Certificate)
        }
        Bearer::None => Who::Nobody(Method::Certificate),
    }
}

/// For whom the owner of a certificate asks, if it may ask for others.
fn asked_for(known: Known<'_>, chain: &Chain, headers: &HeaderMap, now: UnixTime) -> Option<User> {
    let Published::Known(Trust { front_proxy: Some(proxy), .. }) = known.published else {
        return None;
    };
    let name = proxy.authorities.subject(chain, now).ok()?.common_name;
    if !proxy.names.is_empty() && !proxy.names.contains(&name) {
        return None;
    }
    proxy.headers.user(headers)
}

/// Who may what without an API server's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Users that may everything.
    pub allowed: BTreeSet<String>,
    /// Whether there is an API server to be asked about the others.
    pub has_api_server: bool,
}

/// Whether somebody may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// Yes.
    Yes,
    /// No.
    No,
    /// The API server knows.
    Ask,
}

impl Rules {
    /// Whether `user` may do anything at all.
    pub fn may(&self, user: &User) -> May {
        if self.allowed.contains(&user.name) {
            return May::Yes;
        }
        match (self.has_api_server, self.allowed.is_empty()) {
            (true, _) if user.is_master() => May::Yes,
            (true, _) => May::Ask,
            // Whoever made the authority, or the file of tokens, let them in.
            (false, true) if user.name != super::ANONYMOUS => May::Yes,
            (false, _) => May::No,
        }
    }
}

/// Paths that everybody may ask for: probes come without anything.
pub fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/livez" | "/readyz")
}

/// Whether a request is for somebody else than it shows. An API server takes these headers away
/// when it passes a request on; one that comes with them would be answered to the wrong user.
pub fn impersonates(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("impersonate-"))
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::default_provider;

    use super::{
        super::{
            certificate::tests::{Signer, now},
            front_proxy::tests::{headers, usual},
            trust::FrontProxy,
        },
        *,
    };

    const FORGED: &[(&str, &str)] =
        &[("x-remote-user", "admin"), ("x-remote-group", "system:masters")];

    struct World {
        clients: Signer,
        proxy: Signer,
        published: Published,
        files: Files,
    }

    impl World {
        fn new() -> Self {
            let (clients, proxy) = (Signer::new("clients"), Signer::new("proxy"));
            let front_proxy = FrontProxy {
                authorities: proxy.authorities(),
                names: vec!["front-proxy-client".to_owned()],
                headers: usual(),
            };
            let trust =
                Trust { clients: Some(clients.authorities()), front_proxy: Some(front_proxy) };
            let (published, files) = (Published::Known(trust), Files::default());
            Self { clients, proxy, published, files }
        }

        /// `method user group,group` or what else it is.
        fn who(
            &self,
            chain: Option<&Chain>,
            lines: &[(&str, &str)],
            token: Option<&str>,
        ) -> String {
            let known = Known { published: &self.published, files: &self.files };
            let bearer = token.map_or(Bearer::None, |token| Bearer::Token(Token::new(token)));
            let headers = headers(lines);
            match who(known, Shown { chain, headers: &headers, bearer }, now()) {
                Who::User(user, method) => {
                    format!("{} {} {}", method.word(), user.name, user.groups.join(","))
                }
                Who::OwnerOf(token) => format!("owner of {}", token.secret()),
                Who::Nobody(method) => format!("nobody by {}", method.word()),
                Who::Unknown(method) => format!("unknown by {}", method.word()),
            }
        }
    }

    const NOBODY: &str = "anonymous system:anonymous system:unauthenticated";

    #[test]
    fn headers_count_from_the_front_proxy_and_from_nobody_else() {
        let world = World::new();
        let proxy = world.proxy.client("front-proxy-client", &[]);
        let asked = [("x-remote-user", "ada"), ("x-remote-group", "dev")];
        let expected = "front_proxy ada dev,system:authenticated";
        assert_eq!(world.who(Some(&proxy), &asked, None), expected);
        assert_eq!(world.who(None, FORGED, None), NOBODY);
        let user = world.clients.client("bob", &[]);
        let expected = "certificate bob system:authenticated";
        assert_eq!(world.who(Some(&user), FORGED, None), expected);
        let misnamed = world.proxy.client("other", &[]);
        assert_eq!(world.who(Some(&misnamed), FORGED, None), "nobody by certificate");
        let same_name = world.clients.client("front-proxy-client", &[]);
        let expected = "certificate front-proxy-client system:authenticated";
        assert_eq!(world.who(Some(&same_name), FORGED, None), expected);
        let stranger = Signer::new("proxy").client("front-proxy-client", &[]);
        assert_eq!(world.who(Some(&stranger), FORGED, None), "nobody by certificate");
    }

    #[test]
    fn a_front_proxy_that_asks_for_nobody_is_nobody() {
        let world = World::new();
        let proxy = world.proxy.client("front-proxy-client", &["system:masters"]);
        assert_eq!(world.who(Some(&proxy), &[], None), "nobody by certificate");
    }

    #[test]
    fn any_name_will_do_where_none_is_asked_for() {
        let mut world = World::new();
        if let Published::Known(Trust { front_proxy: Some(proxy), .. }) = &mut world.published {
            proxy.names.clear();
        }
        let proxy = world.proxy.client("any", &[]);
        let expected = "front_proxy ada system:authenticated";
        assert_eq!(world.who(Some(&proxy), &[("x-remote-user", "ada")], None), expected);
    }

    #[test]
    fn a_certificate_in_vain_does_not_matter_beside_a_token() {
        let world = World::new();
        let stranger = Signer::new("clients").client("bob", &["system:masters"]);
        assert_eq!(world.who(Some(&stranger), &[], None), "nobody by certificate");
        assert_eq!(world.who(Some(&stranger), &[], Some("t")), "owner of t");
        let user = world.clients.client("bob", &["dev"]);
        let expected = "certificate bob dev,system:authenticated";
        assert_eq!(world.who(Some(&user), &[], Some("t")), expected);
    }

    #[test]
    fn a_file_of_authorities_stands_instead_of_the_published_ones() {
        let mut world = World::new();
        let own = Signer::new("own");
        world.files.clients = Some(own.authorities());
        let user = own.client("ada", &[]);
        assert_eq!(world.who(Some(&user), &[], None), "certificate ada system:authenticated");
        let user = world.clients.client("bob", &[]);
        assert_eq!(world.who(Some(&user), &[], None), "nobody by certificate");
    }

    #[test]
    fn tokens_of_the_file_need_nobody_to_be_asked() {
        let mut world = World::new();
        let tokens = Tokens::parse("t,ada,1,dev").unwrap();
        world.files.tokens = Some(Arc::new(tokens));
        assert_eq!(world.who(None, &[], Some("t")), "token ada dev,system:authenticated");
        assert_eq!(world.who(None, &[], Some("u")), "owner of u");
        world.published = Published::Never;
        assert_eq!(world.who(None, &[], Some("u")), "nobody by token");
        let known = Known { published: &world.published, files: &world.files };
        let shown = Shown { chain: None, headers: &headers(&[]), bearer: Bearer::TooLong };
        assert_eq!(who(known, shown, now()), Who::Nobody(Method::Token));
    }

    #[test]
    fn before_the_api_server_has_said_whom_it_trusts_a_certificate_is_not_judged() {
        let mut world = World::new();
        world.published = Published::NotYet;
        let user = world.clients.client("bob", &[]);
        assert_eq!(world.who(Some(&user), &[], None), "unknown by certificate");
        assert_eq!(world.who(None, FORGED, None), NOBODY);
        let both = Trust::of(&std::collections::BTreeMap::new(), &Arc::new(default_provider()));
        world.published = Published::Known(both.unwrap());
        assert_eq!(world.who(Some(&user), &[], None), "nobody by certificate");
    }

    #[track_caller]
    fn check_rules(allowed: &[&str], has_api_server: bool, expected: [May; 4]) {
        let allowed = allowed.iter().map(|name| (*name).to_owned()).collect();
        let rules = Rules { allowed, has_api_server };
        let user = |name: &str, group: &str| User {
            name: name.to_owned(),
            groups: vec![group.to_owned()],
            ..User::default()
        };
        let users = [
            user("ada", "dev"),
            user("bob", "dev"),
            user("eve", "system:masters"),
            User::anonymous(),
        ];
        assert_eq!(users.map(|user| rules.may(&user)), expected);
    }

    #[test]
    fn the_api_server_is_asked_about_those_who_are_not_allowed_anyway() {
        use May::{Ask, No, Yes};
        check_rules(&[], true, [Ask, Ask, Yes, Ask]);
        check_rules(&["ada"], true, [Yes, Ask, Yes, Ask]);
        check_rules(&["ada"], false, [Yes, No, No, No]);
        check_rules(&[], false, [Yes, Yes, Yes, No]);
        check_rules(&["system:anonymous"], false, [No, No, No, Yes]);
    }

    #[test]
    fn probes_are_open_and_nothing_near_them() {
        let paths =
            ["/healthz", "/livez", "/readyz", "/healthz/healthz", "/readyz/", "/metrics", "/"];
        assert_eq!(paths.map(is_open), [true, true, true, false, false, false, false]);
    }

    #[test]
    fn requests_for_somebody_else_are_seen() {
        assert!(impersonates(&headers(&[("Impersonate-User", "a")])));
        assert!(impersonates(&headers(&[("impersonate-extra-x", "a")])));
        assert!(!impersonates(&headers(&[("x-impersonate-user", "a")])));
    }
}
