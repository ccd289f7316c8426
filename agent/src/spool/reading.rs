//! What is found on disk: by a scan at the beginning, and when a segment is read to be sent.

use tally_proto::{message::Sequence, record::End};

use super::{
    News, Outcome, Spool,
    disk::{Found, NotRead, SegmentNumber, Summary},
    index::Segment,
    segment::{Contents, Unreadable},
};
use crate::outbox::Lost;

impl Spool {
    /// Takes in what earlier runs left.
    pub(super) fn scanned(&mut self, found: Vec<Found>) {
        self.is_scanned = true;
        let (mut newer, mut version, mut unlike) = (0, 0, 0);
        let (mut damaged, mut missing, mut end_before) = (0, 0, End::Whole);
        for Found { segment, summary } in found {
            self.next = self.next.max(SegmentNumber(segment.0 + 1));
            let summary = match summary {
                Ok(summary) => summary,
                Err(NotRead::Unreadable(Unreadable::Newer(found))) => {
                    (newer, version) = (newer + 1, found.max(version));
                    continue;
                }
                Err(NotRead::Unreadable(Unreadable::NoBeginning)) => {
                    // A crash leaves this where a file was just begun; nothing was in it.
                    self.unneeded.push(segment);
                    continue;
                }
                Err(NotRead::Disk(_)) => {
                    damaged += 1;
                    continue;
                }
            };
            let end = summary.end;
            damaged += u64::from(end == End::Damaged);
            let Some(known) = self.known(segment, &summary) else {
                self.unneeded.push(segment);
                continue;
            };
            unlike += u64::from(!known.is_sendable);
            let gap = self.cut_earlier(&known);
            missing += if end_before == End::Whole { 0 } else { gap };
            end_before = end;
            self.index.push(known);
        }
        self.faults += damaged;
        // How many values they had nobody knows.
        self.lost.add(Lost { frames: missing, samples: 0 });
        let (segments, frames) = self
            .index
            .iter()
            .fold((0, 0), |(segments, frames), segment| (segments + 1, frames + segment.frames()));
        let news = [
            (0 < segments, News::Found { segments, frames }),
            (0 < unlike, News::NotAlike { segments: unlike }),
            (0 < newer, News::Newer { segments: newer, version }),
            (0 < damaged, News::Damaged { segments: damaged, frames: missing }),
        ];
        self.news.extend(news.into_iter().filter(|(is_so, _)| *is_so).map(|(_, news)| news));
    }

    fn known(&self, number: SegmentNumber, summary: &Summary) -> Option<Segment> {
        let Summary { hello, frames, samples, bytes, end: _ } = summary;
        let (first, last, newest) = (*frames)?;
        let is_sendable =
            hello.node == self.hello.node && hello.resolution == self.hello.resolution;
        Some(Segment {
            number,
            run: hello.run,
            is_sendable,
            first,
            last,
            newest,
            samples: *samples,
            bytes: *bytes,
            acknowledged: Sequence(0),
        })
    }

    /// A segment's frames end where the next one of its run begins: what a failed write left at
    /// its end was written again. Says how many frames are missing between the two.
    fn cut_earlier(&mut self, next: &Segment) -> u64 {
        let before = self.index.newest().filter(|before| before.run == next.run).cloned();
        let Some(before) = before else { return 0 };
        if next.first <= before.last {
            self.index.change(before.number, |segment| segment.cut_from(next.first));
            if next.first <= before.first {
                self.index.remove(before.number);
                self.unneeded.push(before.number);
            }
        }
        next.first.0.saturating_sub(before.last.0 + 1)
    }

    /// A segment was read to be sent.
    pub(super) fn read(
        &mut self,
        segment: SegmentNumber,
        contents: Option<Contents>,
        kept: Sequence,
    ) -> Outcome {
        let Some(known) = self.index.get(segment).cloned() else { return Outcome::Nothing };
        let mut contents = contents.filter(|contents| contents.hello.run == known.run);
        if let Some(contents) = &mut contents {
            contents.frames.retain(|outgoing| outgoing.frame.sequence <= known.last);
        }
        let frames = contents.as_ref().map_or(&[][..], |contents| &contents.frames);
        let first = frames.first().map(|outgoing| outgoing.frame.sequence);
        let last = frames.last().map(|outgoing| outgoing.frame.sequence);
        if first != Some(known.first) {
            self.not_read(segment, kept);
            return Outcome::Read(segment, None);
        }
        if let Some(last) = last.filter(|last| *last < known.last) {
            // It was damaged since it was written or looked at.
            let is_own = known.run == self.hello.run;
            let cut = Segment { acknowledged: known.acknowledged.max(last), ..known };
            let lost = cut.lost_before(if is_own { kept } else { Sequence(u64::MAX) });
            self.faults += 1;
            self.lost.add(lost);
            self.news.push(News::Damaged { segments: 1, frames: lost.frames });
            let next = Sequence(last.0 + 1);
            self.index.change(segment, |segment| segment.cut_from(next));
        }
        Outcome::Read(segment, contents)
    }

    /// Gives a segment up, but leaves its file: what can't be read now may be readable later.
    pub(super) fn not_read(&mut self, segment: SegmentNumber, kept: Sequence) {
        self.faults += 1;
        self.take_out(segment, kept);
        self.news.push(News::NotRead(segment));
    }
}
