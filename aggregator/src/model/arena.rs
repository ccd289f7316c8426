//! Where the bytes of stored frames are: one after the other in large pieces.
//!
//! A frame of its own piece would be rounded up to a size of the allocator, a tenth of all frames.
//! Frames that come together leave the window together, so a piece is given back as a whole when
//! the last of them has left.

use std::sync::Mutex;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::lock;

/// Bytes of a piece. What is left at its end is half a frame, and a node that fell silent holds
/// this much for each of its last frames until they are swept.
const PIECE: usize = 32 << 10;

/// Frames of more bytes than this have a piece of their own.
const LARGE: usize = PIECE / 8;

/// The piece that is being filled.
#[derive(Debug, Default)]
pub struct Arena(Mutex<BytesMut>);

impl Arena {
    /// Keeps a copy. The lock is held for as long as copying takes.
    pub fn keep(&self, bytes: &[u8]) -> Bytes {
        if LARGE < bytes.len() {
            return Bytes::copy_from_slice(bytes);
        }
        if bytes.is_empty() {
            return Bytes::new();
        }
        let mut piece = lock(&self.0);
        if piece.capacity() < bytes.len() {
            *piece = BytesMut::with_capacity(PIECE);
        }
        piece.put_slice(bytes);
        piece.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stand_one_after_the_other_and_stay_what_they_were() {
        let arena = Arena::default();
        let frames = (0..200u8).map(|number| vec![number; 1_000 + usize::from(number)]);
        let frames: Vec<Vec<u8>> = frames.collect();
        let kept: Vec<Bytes> = frames.iter().map(|frame| arena.keep(frame)).collect();
        assert_eq!(kept, frames);
        let follows = |pair: &[Bytes]| pair[0].as_ptr_range().end == pair[1].as_ptr();
        let pieces = kept.windows(2).filter(|pair| !follows(pair)).count() + 1;
        let bytes: usize = frames.iter().map(Vec::len).sum();
        assert!(pieces <= bytes.div_ceil(PIECE - 2_000), "{pieces} pieces for {bytes} bytes");
    }

    #[test]
    fn what_is_large_or_nothing_takes_nothing_of_a_piece() {
        let arena = Arena::default();
        assert_eq!(arena.keep(&[7; 2 * PIECE]).len(), 2 * PIECE);
        assert_eq!(arena.keep(&[]), Bytes::new());
        assert_eq!(lock(&arena.0).capacity(), 0);
    }
}
