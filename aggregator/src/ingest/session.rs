//! One stream, message by message: hello, then declarations and frames.

use std::sync::Arc;

use bytes::Bytes;
use tally_proto::{
    decode,
    message::{AgentMessage, Declarations, Hello, PackedFrame, Run, Sequence, Welcome},
    tick::Tick,
    wire,
};
use tonic::{Code, Status};

use super::{Shared, pending::Patience, record::Record, status::Refused};
use crate::{admission::Refusal, journal::Position, model::node::NodeSlot, self_metrics};

/// What a message is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing.
    None,
    /// A hello, once all up to the position is durable; and how the agent waits from then on.
    Welcome(Welcome, Position, Patience),
    /// A frame; it may be acknowledged once the position is durable.
    Counted(Taken),
    /// A frame that counts and could not be recorded: it is not acknowledged.
    Unrecorded,
}

/// A frame that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its place in its run.
    pub(super) sequence: Sequence,
    /// Where its record ends.
    pub(super) position: Position,
    /// Of its columns.
    pub(super) bytes: usize,
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Session {
    shared: Arc<Shared>,
    speaker: Option<Speaker>,
}

/// Who speaks on a stream, once it said hello.
#[derive(Debug)]
struct Speaker {
    shared: Arc<Shared>,
    node: Arc<NodeSlot>,
    /// Which of the node's streams this is.
    turn: u64,
    run: Run,
    /// What it says into the journal; nothing is kept without one.
    record: Option<Record>,
    before: Option<(u64, Tick)>,
    /// The bytes of the frame before. While they are held gRPC can't use their buffer again and
    /// makes one of the next message's size; else the buffer of the first, absolute frame, ten
    /// times as large as any later one, would stay for as long as the connection does.
    held: Bytes,
}

impl Session {
    /// A stream that said nothing yet.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, speaker: None }
    }

    /// Takes one message. After an error the stream must end.
    pub(super) fn take(&mut self, message: wire::AgentMessage) -> Result<Reply, Status> {
        self.take_checked(message).map_err(|refused| self.refuse(&refused))
    }

    /// Whether frames of this stream could not be recorded. Its agent may wait for their
    /// acknowledgement before it says anything more.
    pub(super) fn is_missing(&self) -> bool {
        self.record().is_some_and(Record::is_missing)
    }

    /// Once what could not be recorded can be: the status with which the stream must end, so that
    /// it is sent again.
    pub(super) fn resend(&self) -> Option<Status> {
        let must_resend = self.record().is_some_and(Record::must_resend);
        must_resend.then(|| self.refuse(&Refused::Resend))
    }

    fn record(&self) -> Option<&Record> {
        self.speaker.as_ref()?.record.as_ref()
    }

    fn refuse(&self, refused: &Refused) -> Status {
        let reason = self_metrics::Refusal { reason: refused.reason() };
        let metrics = &self.shared.metrics;
        if matches!(refused, Refused::Frame(_)) {
            metrics.frames_refused.get_or_create(&reason).inc();
        }
        metrics.streams_refused.get_or_create(&reason).inc();
        let status = refused.status();
        let node = self.speaker.as_ref().map(|speaker| speaker.node.name.as_str());
        tracing::info!(node, reason = reason.reason, "stream refused: {}", status.message());
        status
    }

    fn take_checked(&mut self, message: wire::AgentMessage) -> Result<Reply, Refused> {
        match (decode::agent_message(message)?, &mut self.speaker) {
            (AgentMessage::Hello(hello), None) => {
                // Nodes have their turns at different ticks.
                let turn = crc32fast::hash(hello.node.as_bytes());
                let patience = Patience::new(hello.acknowledge_within, hello.resolution, turn);
                let (speaker, welcome, position) = Speaker::begin(&self.shared, hello)?;
                self.speaker = Some(speaker);
                Ok(Reply::Welcome(welcome, position, patience))
            }
            // A newer agent may say more than this version knows.
            (AgentMessage::Unknown, _) => Ok(Reply::None),
            (AgentMessage::Hello(_), Some(_)) => Err(Refusal::SecondHello.into()),
            (_, None) => Err(Refusal::NoHello.into()),
            (AgentMessage::Declarations(said), Some(speaker)) => {
                speaker.declare(said)?;
                Ok(Reply::None)
            }
            (AgentMessage::Frame(frame), Some(speaker)) => {
                let position = speaker.frame(&frame)?;
                let PackedFrame { sequence, tick: _, columns } = frame;
                let bytes = columns.len();
                speaker.held = columns;
                Ok(position.map_or(Reply::Unrecorded, |position| {
                    Reply::Counted(Taken { sequence, position, bytes })
                }))
            }
        }
    }

    /// Counts a message that could not even be decoded.
    pub(super) fn count_undecodable(&self, status: &Status) {
        if matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted | Code::Internal) {
            let reason = self_metrics::Refusal { reason: "undecodable" };
            self.shared.metrics.streams_refused.get_or_create(&reason).inc();
        }
    }

    /// Counts an acknowledgement that is being sent.
    pub(super) fn count_ack(&self) {
        self.shared.metrics.acks_sent.inc();
    }
}

impl Speaker {
    fn begin(shared: &Arc<Shared>, hello: Hello) -> Result<(Self, Welcome, Position), Refused> {
        shared.rules.check_hello(&hello)?;
        let node = shared.model.node(&hello.node);
        let mut writer = node.writer();
        let silence_ms = i64::from(shared.rules.resolution.seconds()) * 3_000;
        let turn = writer
            .begin_stream(hello.boot, shared.clock.now(), silence_ms)
            .ok_or_else(|| Refused::NodeTaken(hello.node.to_string()))?;
        let acknowledged = writer.recorded(hello.run);
        drop(writer);
        tracing::info!(node = %hello.node, version = hello.agent_version, "agent connected");
        let shared = Arc::clone(shared);
        let journal = shared.journal.clone();
        let position = journal.as_ref().map_or(Position(0), |journal| journal.position());
        let run = hello.run;
        let record = journal.map(|journal| Record::new(journal, hello));
        let held = Bytes::new();
        let speaker = Self { shared, node, turn, run, record, before: None, held };
        Ok((speaker, Welcome { acknowledged }, position))
    }

    fn declare(&mut self, said: Declarations) -> Result<(), Refused> {
        for declared in &said.entities {
            self.shared.rules.check_entity(declared.number.0)?;
        }
        let mut writer = self.node.writer();
        if !writer.is_current(self.turn) {
            return Err(Refused::TakenOver);
        }
        if let Some(record) = &mut self.record {
            record.declare(&said);
        }
        self.shared.model.declare(&mut writer, said);
        Ok(())
    }

    /// Where the frame's record ends; `None` when it could not be recorded.
    fn frame(&mut self, frame: &PackedFrame) -> Result<Option<Position>, Refused> {
        if self.record.as_ref().is_some_and(Record::must_resend) {
            return Err(Refused::Resend);
        }
        let now = self.shared.clock.now();
        self.shared.rules.check_frame(frame, self.before, now)?;
        self.before = Some((frame.sequence.0, frame.tick));
        let mut writer = self.node.writer();
        if !writer.is_current(self.turn) {
            return Err(Refused::TakenOver);
        }
        let applied = self.shared.model.apply(&self.node, &mut writer, self.run, frame, now)?;
        if self.shared.rules.was_set_back(applied.newest, frame, now) {
            self.shared.clock_set_back.cancel();
        }
        let position = match &mut self.record {
            Some(record) => record.frame(&mut writer, frame, applied),
            None => {
                writer.record(self.run, frame);
                Some(Position(0))
            }
        };
        drop(writer);
        let metrics = &self.shared.metrics;
        if position.is_none() {
            metrics.frames_unrecorded.inc();
        }
        if applied.duplicate {
            metrics.frames_duplicate.inc();
            return Ok(position);
        }
        metrics.frames_received.inc();
        metrics.samples_received.inc_by(count(applied.samples));
        metrics.bytes_received.inc_by(count(frame.columns.len()));
        if applied.late || applied.too_old {
            metrics.frames_late.inc();
        }
        Ok(position)
    }
}

/// However a stream ends, nobody waits for it any longer.
impl Drop for Speaker {
    fn drop(&mut self) {
        self.shared.model.end_stream(&self.node, self.turn);
        tracing::info!(node = %self.node.name, "agent disconnected");
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
