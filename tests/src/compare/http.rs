//! A kept-alive connection to a server on this host, one question after the other, without threads or
//! tasks: what a question takes is the server's time, and as little as can be of this side's.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context, bail};

/// A server that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest answer that is read.
const BYTES_MOST: u64 = 256 << 20;

/// A connection that is made when it is needed.
#[derive(Debug)]
pub struct Http {
    port: u16,
    stream: Option<BufReader<TcpStream>>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: String,
    closes: bool,
}

impl Http {
    /// To a port of this host.
    pub fn new(port: u16) -> Self {
        Self { port, stream: None }
    }

    /// Asks, and gives the body of an answer that is a success.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
        let answer = match self.stream.take() {
            // A server may have closed what has rested; what is sent again changes nothing.
            Some(old) => {
                self.exchange(old, method, path, body).or_else(|_| self.anew(method, path, body))
            }
            None => self.anew(method, path, body),
        };
        let answer = answer.with_context(|| format!("no answer to {method} {path}"))?;
        if !(200..300).contains(&answer.status) {
            bail!("{path}: {} {}", answer.status, answer.body);
        }
        Ok(answer.body)
    }

    fn anew(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        self.exchange(BufReader::new(stream), method, path, body)
    }

    fn exchange(
        &mut self,
        mut stream: BufReader<TcpStream>,
        method: &str,
        path: &str,
        body: &str,
    ) -> io::Result<Answer> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().write_all(body.as_bytes())?;
        let answer = read(&mut stream)?;
        self.stream = (!answer.closes).then_some(stream);
        Ok(answer)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A line without its end.
fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if stream.take(1 << 16).read_line(&mut text)? == 0 {
        return Err(broken("the connection ended"));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// One answer; what follows it stays in the stream.
fn read(stream: &mut impl BufRead) -> io::Result<Answer> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status: u16 = status.ok_or_else(|| broken("no status"))?;
    let (mut length, mut chunked, mut closes) = (None, false, false);
    loop {
        let header = line(stream)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = value.parse().ok(),
            Some(("transfer-encoding", "chunked")) => chunked = true,
            Some(("connection", "close")) => closes = true,
            _ => {}
        }
    }
    let mut body = Vec::new();
    match length {
        _ if status == 204 => {}
        _ if chunked => chunks(stream, &mut body)?,
        Some(length) => exactly(stream, length, &mut body)?,
        None => {
            closes = true;
            stream.take(BYTES_MOST).read_to_end(&mut body)?;
        }
    }
    let body = String::from_utf8(body).map_err(|_| broken("the answer is no text"))?;
    Ok(Answer { status, body, closes })
}

fn chunks(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(stream)?;
        let size = size.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(|_| broken("a chunk without a size"))?;
        exactly(stream, size, body)?;
        // After the last chunk this is the line that ends the answer: nobody here sends trailers.
        line(stream)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn exactly(stream: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if BYTES_MOST < length {
        return Err(broken("the answer is too long"));
    }
    let read = stream.take(length).read_to_end(body)?;
    if u64::try_from(read).is_ok_and(|read| read == length) {
        Ok(())
    } else {
        Err(broken("the connection ended"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sent: &str, expected: Option<(u16, &str, bool)>, left: &str) {
        let mut stream = sent.as_bytes();
        let answer = read(&mut stream).ok();
        let expected =
            expected.map(|(status, body, closes)| Answer { status, body: body.to_owned(), closes });
        assert_eq!(answer, expected, "{sent:?}");
        if answer.is_some() {
            assert_eq!(stream, left.as_bytes(), "{sent:?}");
        }
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", Some((200, "ab", false)), "c");
        check("HTTP/1.1 204 No Content\r\n\r\nHTTP", Some((204, "", false)), "HTTP");
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n";
        check(&format!("{chunked}0\r\n\r\nd"), Some((200, "abc", false)), "d");
        check("HTTP/1.0 400 Bad\r\n\r\nabc", Some((400, "abc", true)), "");
    }

    #[test]
    fn a_server_that_closes_is_believed() {
        let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
        check(closing, Some((200, "a", true)), "");
    }

    #[test]
    fn half_an_answer_is_none() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None, "");
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", None, "");
        check("", None, "");
    }
}
