//! What is wrong between agent and aggregator, how long to be patient with it, and what to log.
//!
//! A fault that lasts is said once when it begins and once when it ends; one that turns into
//! another begins anew.

use std::time::Duration;

use tonic::Code;

use crate::backlog::Refusal;

/// The time to connect at first: a packet that was lost is sent again after a second.
const CONNECT_FIRST: Duration = Duration::from_secs(2);

/// The time to connect in the end: name servers may be slow, and thousands of agents connect at once.
const CONNECT_LAST: Duration = Duration::from_secs(10);

/// What kind of failure it is, as far as it changes what the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection came about.
    Unreachable,
    /// A connection, but no answer in time.
    Silent,
    /// The aggregator ended the stream without saying why.
    Closed,
    /// The aggregator, or something before it, said why.
    Status(Code),
    /// The answer was no answer to what was said.
    NotUnderstood,
}

/// How soon it is worth to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It may end by itself.
    Soon,
    /// It lasts until a person changes something.
    Slow,
}

/// Whether a failure is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// To be logged.
    Begins,
    /// Known already.
    Continues,
}

impl Kind {
    pub(super) fn pace(self) -> Pace {
        match self {
            Self::NotUnderstood
            | Self::Status(
                Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::Unimplemented
                | Code::Unauthenticated
                | Code::PermissionDenied,
            ) => Pace::Slow,
            Self::Unreachable | Self::Silent | Self::Closed | Self::Status(_) => Pace::Soon,
        }
    }

    /// What of a stream's frames and declarations is not accepted, once the stream was welcomed.
    pub(super) fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Status(Code::InvalidArgument) => Some(Refusal::Content),
            Self::Status(Code::FailedPrecondition) => Some(Refusal::Time),
            _ => None,
        }
    }

    /// What the person on call can do.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "check that the aggregator runs and that --aggregator names it",
            Self::Silent => "the aggregator, or a proxy before it, accepts but does not answer",
            Self::Closed => "the aggregator ended the stream; it may be restarting",
            Self::NotUnderstood => "check that --aggregator names an aggregator of this version",
            Self::Status(code) => advice_on(code),
        }
    }
}

fn advice_on(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => {
            "the aggregator does not accept what this agent says: compare their versions"
        }
        Code::FailedPrecondition => {
            "give agent and aggregator the same --resolution, versions that understand each other, \
             and clocks that agree"
        }
        Code::AlreadyExists => {
            "another agent speaks for this node: stop it, or give one of them another --node"
        }
        Code::ResourceExhausted => "the aggregator is at one of its limits: see its log",
        Code::Unimplemented => "no aggregator listens there: check --aggregator",
        Code::Unauthenticated | Code::PermissionDenied => {
            "this agent may not speak for this node: see the aggregator's log"
        }
        _ => {
            "the aggregator is stopping or the network failed; no action is needed if this ends soon"
        }
    }
}

/// The fault that lasts, if any.
#[derive(Debug, Default)]
pub(super) struct Outage {
    lasting: Option<(Kind, u64)>,
    overflowing: bool,
}

impl Outage {
    /// Another failure.
    pub(super) fn failed(&mut self, kind: Kind) -> Report {
        match &mut self.lasting {
            Some((known, failures)) => {
                *failures += 1;
                if *known == kind {
                    return Report::Continues;
                }
                *known = kind;
            }
            None => self.lasting = Some((kind, 1)),
        }
        Report::Begins
    }

    /// How long the next connection may take to come about; twice as long after each failure but the first.
    /// The address of a service leads to a pod that is gone, from which no answer comes, until the network
    /// knows of its successor, and only another connection is led there.
    pub(super) fn connect_within(&self) -> Duration {
        let failures = self.lasting.map_or(0, |(_, failures)| failures);
        let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        CONNECT_FIRST.saturating_mul(2u32.saturating_pow(doubled)).min(CONNECT_LAST)
    }

    /// A stream stands. How many failures went before, if any did.
    pub(super) fn ended(&mut self) -> Option<u64> {
        self.overflowing = false;
        self.lasting.take().map(|(_, failures)| failures)
    }

    /// Whether frames that were just dropped are the first since the last stream began.
    pub(super) fn overflows(&mut self, dropped: u64) -> bool {
        0 < dropped && !std::mem::replace(&mut self.overflowing, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Kind = Kind::Status(Code::FailedPrecondition);

    #[test]
    fn a_fault_is_news_once_until_it_changes_or_ends() {
        let mut outage = Outage::default();
        let reports = [Kind::Unreachable, Kind::Unreachable, REFUSED, REFUSED, Kind::Unreachable]
            .map(|kind| outage.failed(kind));
        let news =
            [Report::Begins, Report::Continues, Report::Begins, Report::Continues, Report::Begins];
        assert_eq!(reports, news);
        assert_eq!((outage.ended(), outage.ended()), (Some(5), None));
        assert_eq!(outage.failed(Kind::Unreachable), Report::Begins);
    }

    #[test]
    fn a_connection_may_take_longer_each_time_none_came_about() {
        let mut outage = Outage::default();
        assert_eq!(outage.connect_within(), CONNECT_FIRST);
        let seconds = [(); 5].map(|()| {
            outage.failed(Kind::Unreachable);
            outage.connect_within().as_secs()
        });
        assert_eq!(seconds, [2, 4, 8, 10, 10]);
        outage.lasting = Some((Kind::Unreachable, u64::MAX));
        assert_eq!(outage.connect_within(), CONNECT_LAST);
        outage.ended();
        assert_eq!(outage.connect_within(), CONNECT_FIRST);
    }

    #[test]
    fn an_overflow_is_news_once_a_stream() {
        let mut outage = Outage::default();
        assert_eq!([0, 1, 1].map(|dropped| outage.overflows(dropped)), [false, true, false]);
        outage.ended();
        assert!(outage.overflows(2));
    }

    #[test]
    fn what_a_person_must_change_is_tried_slowly() {
        let slow = |kind: Kind| kind.pace() == Pace::Slow;
        assert!(
            [REFUSED, Kind::Status(Code::InvalidArgument), Kind::NotUnderstood].map(slow)
                == [true; 3]
        );
        let soon = [Code::Unavailable, Code::AlreadyExists, Code::ResourceExhausted, Code::Unknown];
        assert!(soon.map(|code| slow(Kind::Status(code))) == [false; 4]);
        assert!([Kind::Unreachable, Kind::Silent, Kind::Closed].map(slow) == [false; 3]);
    }
}
