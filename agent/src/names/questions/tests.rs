use proptest::prelude::*;
use tally_proto::name::ContainerName;

use super::*;

const EVERYBODY: Reach = Reach { answered: 1, failed: 0 };
const SOME: Reach = Reach { answered: 1, failed: 1 };
const NOBODY: Reach = Reach { answered: 0, failed: 1 };

fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

fn free(name: &str) -> Called {
    Called::Free { name: ContainerName::parse(name).unwrap(), image: None }
}

/// Everything that is due is asked, and `known` is what the runtime knows.
fn ask_round(
    questions: &mut Questions,
    now_ms: u64,
    known: &[(&str, &str)],
    reach: Reach,
) -> usize {
    let now = Duration::from_millis(now_ms);
    let due = questions.due(now);
    let called = known.iter().map(|(of, name)| (id(of), free(name))).collect();
    questions.answer(now, &due, Round { called, cri: reach, docker: reach }, u64::MAX);
    due.len()
}

fn ask(questions: &mut Questions) -> Answer {
    questions.ask(&id("a"), Api::Docker)
}

#[test]
fn a_new_container_is_asked_about_at_once_and_only_once() {
    let mut questions = Questions::default();
    assert_eq!(ask_round(&mut questions, 0, &[], EVERYBODY), 0);
    assert_eq!(ask(&mut questions), Answer::Wait);
    assert!(questions.has_new());
    assert_eq!(ask_round(&mut questions, 1, &[("a", "web"), ("b", "db")], EVERYBODY), 1);
    assert_eq!(ask_round(&mut questions, 2, &[], EVERYBODY), 0);
    assert_eq!(ask(&mut questions), Answer::Called(free("web")));
    assert!(questions.open.is_empty() && questions.wake_at().is_none());
}

#[test]
fn one_that_the_runtime_does_not_know_yet_is_asked_about_again() {
    let mut questions = Questions::default();
    ask(&mut questions);
    let times = [0, 49, 50, 149, 150, 350].map(|now_ms| {
        assert_eq!(ask(&mut questions), Answer::Wait);
        ask_round(&mut questions, now_ms, &[], EVERYBODY)
    });
    assert_eq!(times, [1, 0, 1, 0, 1, 1]);
    ask_round(&mut questions, 2_000, &[("a", "web")], EVERYBODY);
    assert_eq!(ask(&mut questions), Answer::Called(free("web")));
}

#[test]
fn nobody_is_waited_for_longer_than_patience() {
    for (reach, is_late) in [(EVERYBODY, false), (SOME, true)] {
        let mut questions = Questions::default();
        ask(&mut questions);
        ask_round(&mut questions, 0, &[], reach);
        ask_round(&mut questions, 2_999, &[], reach);
        assert_eq!(ask(&mut questions), Answer::Wait);
        ask_round(&mut questions, 9_000, &[], reach);
        assert_eq!(ask(&mut questions), Answer::Unknown);
        assert_eq!(questions.open.len(), usize::from(is_late), "{reach:?}");
    }
}

#[test]
fn where_nobody_can_be_asked_nobody_waits() {
    for reach in [NOBODY, Reach::default()] {
        let mut questions = Questions::default();
        ask(&mut questions);
        ask_round(&mut questions, 0, &[], reach);
        assert_eq!(ask(&mut questions), Answer::Unknown);
        assert_eq!(ask(&mut questions), Answer::Unknown);
    }
}

#[test]
fn who_has_no_name_is_named_when_somebody_can_be_asked() {
    let mut questions = Questions::default();
    ask(&mut questions);
    ask_round(&mut questions, 0, &[], NOBODY);
    ask(&mut questions);
    // 2 s after the first attempt, then twice as long each time.
    let times = [1_000, 2_000, 3_000, 6_000].map(|now| ask_round(&mut questions, now, &[], NOBODY));
    assert_eq!(times, [0, 1, 0, 1]);
    assert!(questions.take_late().is_empty());
    ask_round(&mut questions, 60_000, &[("a", "web")], EVERYBODY);
    assert_eq!(questions.take_late(), [(id("a"), free("web"))]);
    assert!(questions.open.is_empty());
}

#[test]
fn who_is_unknown_to_everybody_is_not_asked_about_for_ever() {
    let mut questions = Questions::default();
    ask(&mut questions);
    ask_round(&mut questions, 0, &[], NOBODY);
    ask(&mut questions);
    ask_round(&mut questions, 10_000, &[], EVERYBODY);
    assert!(questions.open.is_empty());
}

#[test]
fn the_two_apis_are_asked_apart() {
    let mut questions = Questions::default();
    questions.ask(&id("a"), Api::Cri);
    questions.ask(&id("b"), Api::Docker);
    let due = questions.due(Duration::ZERO);
    let round = Round { called: HashMap::new(), cri: EVERYBODY, docker: NOBODY };
    questions.answer(Duration::ZERO, &due, round, 0);
    assert_eq!(questions.ask(&id("a"), Api::Cri), Answer::Wait);
    assert_eq!(questions.ask(&id("b"), Api::Docker), Answer::Unknown);
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut questions = Questions::default();
    ask(&mut questions);
    let due = questions.due(Duration::ZERO);
    questions.forget(&id("a"));
    let called = HashMap::from([(id("a"), free("web"))]);
    let round = Round { called, cri: EVERYBODY, docker: EVERYBODY };
    questions.answer(Duration::ZERO, &due, round, 0);
    assert!(questions.open.is_empty() && questions.take_late().is_empty());
}

proptest! {
    /// Whatever runtimes do, a container has one name or none, nobody waits for ever, and nothing
    /// is kept of who is gone.
    #[test]
    fn every_question_ends(
        rounds in prop::collection::vec((0u64..2_000, any::<bool>(), 0usize..2, 0usize..2), 0..40),
    ) {
        let mut questions = Questions::default();
        let (mut now_ms, mut waits_since) = (0, None);
        let mut names = Vec::new();
        let mut is_fetched = false;
        for (pause_ms, knows, answered, failed) in rounds {
            if !is_fetched {
                match ask(&mut questions) {
                    Answer::Wait => {
                        let since = *waits_since.get_or_insert(now_ms);
                        // The round that ends its patience may come that much later.
                        prop_assert!(now_ms - since < 3_000 + 2 * 2_000);
                    }
                    Answer::Called(called) => {
                        names.push(called);
                        is_fetched = true;
                    }
                    Answer::Unknown => is_fetched = true,
                }
            }
            let known: &[(&str, &str)] = if knows && answered == 1 { &[("a", "web")] } else { &[] };
            ask_round(&mut questions, now_ms, known, Reach { answered, failed });
            names.extend(questions.take_late().into_iter().map(|(_, called)| called));
            now_ms += pause_ms;
        }
        prop_assert!(names.len() <= 1, "{names:?}");
        questions.forget(&id("a"));
        prop_assert!(questions.open.is_empty() && questions.wake_at().is_none());
    }
}
