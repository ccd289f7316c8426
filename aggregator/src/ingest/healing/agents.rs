//! Agents: what they measured and have no acknowledgement for, and the streams that carry it.

use std::{collections::VecDeque, sync::Arc};

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
}

/// A stream from the agent's side.
pub(super) struct Link {
    session: Session,
    run: u64,
    packer: Packer,
    said: Option<Option<u64>>,
    /// How many of those that wait were sent.
    sent: usize,
    unacknowledged: VecDeque<(u64, Position)>,
}

impl Agent {
    /// One that has measured nothing.
    pub(super) fn new(node: usize) -> Self {
        let waiting = VecDeque::new();
        Self { node, run: 1, sequence: 0, waiting, cut_until: 0, link: None }
    }

    /// Measures a tick.
    pub(super) fn measure(&mut self, index: u64) {
        self.sequence += 1;
        let (run, sequence) = (self.run, self.sequence);
        self.waiting.push_back(Measured { run, sequence, index });
    }

    fn hello(&self, run: u64) -> Hello {
        Hello {
            node: NodeName::parse(&format!("node-{}", self.node)).unwrap(),
            boot: BootId([1; 16]),
            run: Run(run),
            resolution: Resolution::from_seconds(STEP_S).unwrap(),
            agent_version: "test".to_owned(),
        }
    }

    /// Sends what waits. `false` when the stream was refused.
    pub(super) fn deliver(&mut self, server: &Server) -> bool {
        let run = self.waiting.front().map_or(self.run, |measured| measured.run);
        if self.link.as_ref().is_none_or(|link| link.run != run) {
            self.connect(server, run);
        }
        let Some(link) = &mut self.link else { return false };
        let fine = loop {
            let Some(measured) = self.waiting.get(link.sent).filter(|one| one.run == run) else {
                break true;
            };
            if !link.send(self.node, *measured) {
                break false;
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
        let Ok(Reply::Welcome(welcome, position)) = session.take(hello) else {
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
    fn send(&mut self, node: usize, measured: Measured) -> bool {
        let generation = generation(node, measured.index);
        if self.said != Some(generation) {
            let mut said = declarations(node, measured.index);
            if self.said.is_some() && generation.is_none() {
                said.retired = [3, 4, 5].map(EntityNumber).into();
            }
            self.said = Some(generation);
            let said = encode::agent_message(AgentMessage::Declarations(said));
            if self.session.take(said).is_err() {
                return false;
            }
        }
        let (mut builder, mut columns) = (Builder::new(), Vec::new());
        fill(&mut builder, node, measured.index);
        self.packer.pack(builder.finish(), &mut columns);
        let frame = PackedFrame {
            sequence: Sequence(measured.sequence),
            tick: tick(measured.index),
            columns: Bytes::from(columns),
        };
        match self.session.take(encode::agent_message(AgentMessage::Frame(frame))) {
            Ok(Reply::Counted(taken)) => {
                self.unacknowledged.push_back((measured.sequence, taken.position));
                true
            }
            Ok(Reply::Unrecorded) => true,
            Ok(other) => panic!("{other:?}"),
            Err(status) => {
                assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
                false
            }
        }
    }
}
