//! Field selectors: `metadata.name=web-1,metadata.namespace!=kube-system`.

/// Terms in one selector. There are two fields.
const TERMS: usize = 64;

/// Which objects, by what they are called. The empty one matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: Field,
    equals: bool,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
}

/// A text that is no selector of such objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFields {
    /// No comparison.
    #[error("{0:?} is no comparison by =, == or !=")]
    Term(String),
    /// A field by which nothing can be chosen.
    #[error("{0:?} is not a known field: only {1} are")]
    Field(String, &'static str),
    /// Too many.
    #[error("there are more than {TERMS} terms")]
    TooMany,
}

impl FieldSelector {
    /// Takes a selector's text apart; only what is in namespaces can be chosen by its own.
    pub(super) fn parse(text: &str, namespaced: bool) -> Result<Self, BadFields> {
        let terms: Vec<&str> = text.split(',').filter(|term| !term.is_empty()).collect();
        if TERMS < terms.len() {
            return Err(BadFields::TooMany);
        }
        terms.into_iter().map(|text| term(text, namespaced)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether something that is called so is chosen.
    pub(super) fn matches(&self, namespace: &str, name: &str) -> bool {
        self.0.iter().all(|term| {
            let own = match term.field {
                Field::Name => name,
                Field::Namespace => namespace,
            };
            (own == term.value) == term.equals
        })
    }
}

fn term(text: &str, namespaced: bool) -> Result<Term, BadFields> {
    let (field, equals, value) = if let Some((field, value)) = text.split_once("!=") {
        (field, false, value)
    } else if let Some((field, value)) = text.split_once('=') {
        (field, true, value.strip_prefix('=').unwrap_or(value))
    } else {
        return Err(BadFields::Term(text.to_owned()));
    };
    let field = match field.trim() {
        "metadata.name" => Field::Name,
        "metadata.namespace" if namespaced => Field::Namespace,
        other => {
            let known =
                if namespaced { "metadata.name and metadata.namespace" } else { "metadata.name" };
            return Err(BadFields::Field(other.to_owned(), known));
        }
    };
    Ok(Term { field, equals, value: value.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, matches: bool) {
        assert_eq!(
            FieldSelector::parse(text, true).unwrap().matches("shop", "web"),
            matches,
            "{text}"
        );
    }

    #[track_caller]
    fn check_bad(text: &str, namespaced: bool, expected: &str) {
        let bad = FieldSelector::parse(text, namespaced).expect_err(text).to_string();
        assert_eq!(bad, expected);
    }

    #[test]
    fn name_and_namespace_choose() {
        check("", true);
        check("metadata.name=web", true);
        check("metadata.name==web", true);
        check("metadata.name=job", false);
        check("metadata.name!=web", false);
        check("metadata.namespace=shop,metadata.name=web", true);
        check("metadata.namespace!=shop,metadata.name=web", false);
        check("metadata.name=", false);
    }

    #[test]
    fn other_fields_are_refused() {
        let known = "only metadata.name and metadata.namespace are";
        check_bad(
            "spec.nodeName=n",
            true,
            &format!("\"spec.nodeName\" is not a known field: {known}"),
        );
        let known = "only metadata.name are";
        check_bad(
            "metadata.namespace=n",
            false,
            &format!("\"metadata.namespace\" is not a known field: {known}"),
        );
        check_bad("metadata.name", true, "\"metadata.name\" is no comparison by =, == or !=");
        check_bad(&vec!["metadata.name=a"; 65].join(","), true, "there are more than 64 terms");
    }
}
