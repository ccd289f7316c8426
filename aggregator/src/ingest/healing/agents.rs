//! Agents: what they measured and have no acknowledgement for, and the streams that carry it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tally_proto::{
    columns::{Builder, Packer},
    declaration::EntityNumber,
    encode,
    message::{AgentMessage, BootId, Hello, PackedFrame, Run, Sequence},
    name::NodeName,
    tick::Resolution,
};

use super::{
    super::session::{Reply, Session},
    truth::{STEP_S, declarations, fill, generation, tick},
    world::Server,
};
use crate::journal::Position;

/// What an agent measured and has no acknowledgement for.
#[derive(Clone, Copy)]
pub(super) struct Measured {
    run: u64,
    sequence: u64,
    index: u64,
    /// Whether it is not the first of its tick.
    is_again: bool,
}

/// One node's agent.
pub(super) struct Agent {
    node: usize,
    run: u64,
    sequence: u64,
    pub(super) waiting: VecDeque<Measured>,
    /// No stream comes about before this tick.
    pub(super) cut_until: u64,
    pub(super) link: Option<Link>,
    /// Frames that the server could not record, each as often as it was sent.
    pub(super) unrecorded: u64,
}

/// A stream from the agent's side.
pub(super) struct Link {
    session: Session,
    run: u64,
    packer: Packer,
    said: Option<Option<u64>>,
    /// The tick that was sent last.
    last: Option<u64>,
    /// How many of those that wait were sent.
    sent: usize,
    unacknowledged: VecDeque<(u64, Position)>,
}

impl Agent {
    /// One that has measured nothing.
    pub(super) fn new(node: usize) -> Self {
        let waiting = VecDeque::new();
        Self { node, run: 1, sequence: 0, waiting, cut_until: 0, link: None, unrecorded: 0 }
    }

    /// Measures a tick.
    pub(super) fn measure(&mut self, index: u64) {
        self.sequence += 1;
        let (run, sequence) = (self.run, self.sequence);
        self.waiting.push_back(Measured { run, sequence, index, is_again: false });
    }

    /// Its clock is set back, so that it measures ticks from `first` on again, and then right.
    pub(super) fn measure_again(&mut self, first: u64, index: u64) {
        for index in first..=index {
            self.measure(index);
            self.waiting.back_mut().unwrap().is_again = true;
        }
    }

    fn hello(&self, run: u64) -> Hello {
        Hello {
            node: NodeName::parse(&format!("node-{}", self.node)).unwrap(),
            boot: BootId([1; 16]),
            run: Run(run),
            resolution: Resolution::from_seconds(STEP_S).unwrap(),
            agent_version: "test".to_owned(),
            acknowledge_within: Duration::ZERO,
        }
    }

    /// Sends what waits. `false` when the stream was refused.
    pub(super) fn deliver(&mut self, server: &Server) -> bool {
        let run = self.waiting.front().map_or(self.run, |measured| measured.run);
        if self.link.as_ref().is_none_or(|link| link.run != run) {
            self.connect(server, run);
        }
        let Some(link) = &mut self.link else { return false };
        // As the service does whenever the disk has taken something.
        if link.session.resend().is_some() {
            self.link = None;
            return false;
        }
        let fine = loop {
            let Some(measured) = self.waiting.get(link.sent).filter(|one| one.run == run) else {
                break true;
            };
            // Ticks ascend on a stream.
            if link.last.replace(measured.index).is_some_and(|last| measured.index <= last) {
                break false;
            }
            match link.send(self.node, *measured, server) {
                Some(Reply::Unrecorded) => self.unrecorded += 1,
                Some(_) => (),
                None => break false,
            }
            link.sent += 1;
        };
        if !fine {
            self.link = None;
        }
        fine
    }

    fn connect(&mut self, server: &Server, run: u64) {
        self.link = None;
        let mut session = Session::new(Arc::clone(&server.shared));
        let hello = encode::agent_message(AgentMessage::Hello(self.hello(run)));
        let Ok(Reply::Welcome(welcome, position, _)) = session.take(hello) else {
            panic!("a hello is answered with a welcome");
        };
        // As the service does: what is not durable is not promised.
        let durable = position <= *server.announce.borrow();
        if durable {
            let known = welcome.acknowledged.0;
            self.waiting.retain(|measured| measured.run != run || known < measured.sequence);
        }
        self.link = Some(Link {
            session,
            run,
            packer: Packer::new(),
            said: None,
            last: None,
            sent: 0,
            unacknowledged: VecDeque::new(),
        });
    }

    /// What is durable is acknowledged.
    pub(super) fn hear(&mut self, durable: Position) {
        let Some(link) = &mut self.link else { return };
        while let Some((sequence, position)) = link.unacknowledged.front().copied()
            && position <= durable
        {
            link.unacknowledged.pop_front();
            while self
                .waiting
                .front()
                .is_some_and(|one| one.run == link.run && one.sequence <= sequence)
            {
                self.waiting.pop_front();
                link.sent = link.sent.saturating_sub(1);
            }
        }
    }

    /// Another run begins; what the last one measured is still to be delivered.
    pub(super) fn restart(&mut self) {
        self.link = None;
        self.run += 1;
        self.sequence = 0;
    }
}

impl Link {
    /// What the server says; nothing when it ends the stream.
    fn send(&mut self, node: usize, measured: Measured, server: &Server) -> Option<Reply> {
        let generation = generation(node, measured.index);
        if self.said != Some(generation) {
            let mut said = declarations(node, measured.index);
            if self.said.is_some() && generation.is_none() {
                said.retired = [3, 4, 5].map(EntityNumber).into();
            }
            self.said = Some(generation);
            let said = encode::agent_message(AgentMessage::Declarations(said));
            self.session.take(said).ok()?;
        }
        let (mut builder, mut columns) = (Builder::new(), Vec::new());
        fill(&mut builder, node, measured.index, measured.is_again);
        self.packer.pack(builder.finish(), &mut columns);
        let frame = PackedFrame {
            sequence: Sequence(measured.sequence),
            tick: tick(measured.index),
            columns: Bytes::from(columns),
        };
        match self.session.take(encode::agent_message(AgentMessage::Frame(frame))) {
            Ok(reply) => {
                if let Reply::Counted(taken) = reply {
                    self.unacknowledged.push_back((measured.sequence, taken.position));
                }
                Some(reply)
            }
            Err(status) => {
                let ahead_ms = tick(measured.index).unix_ms().since(server.shared.clock.now());
                let expected = match server.shared.rules.clock_skew_ms < ahead_ms {
                    true => tonic::Code::FailedPrecondition,
                    false => tonic::Code::Unavailable,
                };
                assert_eq!(status.code(), expected, "{status:?}");
                None
            }
        }
    }
}
