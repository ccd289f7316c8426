//! Ends a connection on which nothing was heard or said for long.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A connection that ends, as if the other side had closed it, after so much silence.
#[derive(Debug)]
pub(super) struct Idle<S> {
    inner: S,
    silence: Duration,
    ends: Pin<Box<Sleep>>,
}

impl<S> Idle<S> {
    /// Gives `inner` so much `silence`.
    pub(super) fn new(inner: S, silence: Duration) -> Self {
        Self { inner, silence, ends: Box::pin(sleep(silence)) }
    }

    fn begin_anew(&mut self) {
        self.ends.set(sleep(self.silence));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if read.is_ready() {
            self.begin_anew();
            return read;
        }
        // Nothing read is the end.
        self.ends.as_mut().poll(context).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if written.is_ready() {
            self.begin_anew();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_a_word_in_time_does_not() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Idle::new(ours, Duration::from_secs(90));
        let speaks = async {
            sleep(Duration::from_secs(80)).await;
            theirs.write_all(b"a").await.unwrap();
            sleep(Duration::from_secs(600)).await;
        };
        let heard = async {
            let mut text = String::new();
            ours.read_to_string(&mut text).await.unwrap();
            text
        };
        tokio::select! {
            () = speaks => panic!("it never ended"),
            text = heard => assert_eq!(text, "a"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_we_say_counts_too() {
        let (ours, _theirs) = duplex(64);
        let mut ours = Idle::new(ours, Duration::from_secs(90));
        let began = tokio::time::Instant::now();
        sleep(Duration::from_secs(80)).await;
        ours.write_all(b"a").await.unwrap();
        assert_eq!(ours.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(began.elapsed().as_secs(), 170);
    }
}
