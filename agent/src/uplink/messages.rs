//! Declarations cut into messages that no receiver refuses for their size, and that leave it no
//! larger buffer than a frame does: a connection's buffer keeps the size of its largest message
//! for as long as it lives.

use tally_proto::{
    limits::{
        IMAGE_BYTES, LABEL_KEY_BYTES, LABEL_VALUE_BYTES, LABELS_PER_COLUMN, MESSAGE_BYTES,
        METRIC_NAME_BYTES, PATH_BYTES,
    },
    message::{AgentMessage, Declarations},
};

/// The most that one declaration's texts can have: a column's labels, or an entity's path, its
/// name (which may be a path too) and its image; and some room for the fields around them.
const DECLARATION_BYTES_MAX: usize = {
    let column = LABELS_PER_COLUMN * (LABEL_KEY_BYTES + LABEL_VALUE_BYTES) + METRIC_NAME_BYTES;
    let entity = 2 * PATH_BYTES + IMAGE_BYTES;
    (if entity < column { column } else { entity }) + 1024
};

/// Declarations in one message: with texts of usual lengths about as many bytes as a frame.
const DECLARATIONS_MAX: usize = 24;

// However long the texts are, a message is within the limit.
const _: () = assert!(DECLARATIONS_MAX * DECLARATION_BYTES_MAX <= MESSAGE_BYTES);

/// The messages that say all of `declarations`; none when there is nothing to say.
pub(super) fn declarations(declarations: Declarations) -> impl Iterator<Item = AgentMessage> {
    let Declarations { entities, columns, retired } = declarations;
    let retired = (!retired.is_empty()).then(|| Declarations { retired, ..Default::default() });
    let entities = chunks(entities).map(|entities| Declarations { entities, ..Default::default() });
    let columns = chunks(columns).map(|columns| Declarations { columns, ..Default::default() });
    retired.into_iter().chain(entities).chain(columns).map(AgentMessage::Declarations)
}

fn chunks<T>(all: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut rest = all.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<T> = rest.by_ref().take(DECLARATIONS_MAX).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use tally_proto::declaration::{Declared, EntityDeclaration, EntityNumber};

    use super::*;

    #[test]
    fn nothing_to_say_is_no_message() {
        assert_eq!(declarations(Declarations::default()).count(), 0);
    }

    #[test]
    fn many_declarations_are_cut_and_keep_their_order_after_the_retired() {
        let entities: Vec<EntityDeclaration> = (0..1000)
            .map(|number| EntityDeclaration {
                number: EntityNumber(number),
                start: None,
                what: Declared::Node,
            })
            .collect();
        let all = Declarations { entities, retired: vec![EntityNumber(7)], ..Default::default() };
        let said: Vec<Declarations> = declarations(all.clone())
            .map(|message| match message {
                AgentMessage::Declarations(said) => said,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said[0].retired, all.retired);
        assert!(said.iter().all(|said| said.entities.len() <= DECLARATIONS_MAX));
        let joined: Vec<_> = said.into_iter().flat_map(|said| said.entities).collect();
        assert_eq!(joined, all.entities);
    }
}
