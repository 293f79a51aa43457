//! A tolerant reader of an answer while it arrives.
//!
//! An HTTP library checks whether an answer is well-formed, and returns an error instead of a body if it is not. This reader accepts
//! what has arrived: there may be any number of headers, the length may be wrong, and the end may be missing.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;
use url::Url;

use super::encoding::decoded;
use super::{Answer, Enough, FailureKind, Headers};

/// The size limit for the headers of an answer, in bytes.
const HEAD_LIMIT: usize = 1024 * 1024;

/// The pause between segments after which the reader checks the part that has arrived. A check of each segment of a long answer would
/// cost too much.
const PAUSE: Duration = Duration::from_millis(20);

/// The time for which the reader waits for more data after the end of an answer that is not enough. Its length may be wrong.
const BEYOND: Duration = Duration::from_millis(250);

/// The reason why an answer ended before it was complete, and the system's message.
pub(super) type Broken = (FailureKind, Option<String>);

/// Reads an answer until it is complete, or until the part that has arrived is enough. `limit` is the most bytes of its body.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    deadline: Instant,
    limit: usize,
    enough: Enough,
    url: &Url,
) -> Result<Answer, Broken> {
    let mut received = Received::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut until = deadline;
    // Whether the process was found to have reached the deadline. If it was stopped until then, an answer may be there that the
    // system has not reported yet.
    let mut is_last_look = false;
    // Whether data has arrived that the loop has not checked yet.
    let mut is_news = false;
    let mut failed = None;
    loop {
        let pause = if is_news || failed.is_some() { until.min(Instant::now() + PAUSE) } else { until };
        let ended = match tokio::time::timeout_at(pause, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => {
                received.push(&buffer[..count]);
                is_news = true;
                received.is_too_long(limit).then_some((FailureKind::TooLarge, None))
            }
            // TLS reports an error in a record before it returns the content of the records before it.
            Ok(Err(error)) if failed.is_none() => {
                failed = Some(error.to_string());
                continue;
            }
            Ok(_) => Some((FailureKind::CutOff, failed.take())),
            Err(_) if Instant::now() >= deadline && !is_last_look => {
                is_last_look = true;
                until = Instant::now() + PAUSE;
                None
            }
            Err(_) if Instant::now() >= until => Some((FailureKind::Timeout, failed.take())),
            Err(_) => failed.take().map(|cause| (FailureKind::CutOff, Some(cause))),
        };
        let paused = pause <= Instant::now();
        if ended.is_none() && !paused && !received.is_whole() {
            continue;
        }
        is_news = false;
        let at_its_end = matches!(ended, Some((FailureKind::CutOff, None)));
        let Some(head) = &received.head else {
            if let Some(broken) = ended {
                return Err(broken);
            }
            continue;
        };
        let answer = |body: &[u8]| Answer {
            status: head.status,
            headers: head.headers.clone(),
            body: decoded(&head.headers, body, limit).into_owned(),
            url: url.clone(),
        };
        let is_whole = received.is_whole() || (at_its_end && head.framing == Framing::ToTheEnd);
        if is_whole {
            let whole = answer(received.body());
            // Only a success contains tokens. After the end of any other answer there is nothing to wait for.
            if !(200..=299).contains(&head.status) || enough(whole.status, &whole.body, true) {
                return Ok(whole);
            }
        }
        let all = answer(&received.all());
        if enough(all.status, &all.body, ended.is_some()) {
            return Ok(all);
        }
        match ended {
            Some(_) if is_whole => return Ok(answer(received.body())),
            Some(broken) => return Err(broken),
            None if is_whole => until = until.min(*received.whole_since.get_or_insert_with(Instant::now) + BEYOND),
            None => {}
        }
    }
}

/// The way in which the end of a body is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    ToTheEnd,
}

struct Head {
    status: u16,
    headers: Headers,
    framing: Framing,
}

/// The bytes that have arrived on a connection so far.
#[derive(Default)]
struct Received {
    /// The bytes after the parsed heads.
    bytes: Vec<u8>,
    head: Option<Head>,
    chunks: Chunks,
    /// Whether the bytes cannot be an HTTP answer, because the first line is not a status line.
    is_foreign: bool,
    whole_since: Option<Instant>,
}

impl Received {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while self.head.is_none() && !self.is_foreign {
            let Some((head, length)) = self.parse_head() else { break };
            self.bytes.drain(..length);
            self.head = head;
        }
        if self.head.as_ref().is_some_and(|head| head.framing == Framing::Chunked) {
            self.chunks.read(&self.bytes);
        }
    }

    /// Parses the head at the start of the bytes, and returns it and its length once it is complete. Of an informational head (1xx) it
    /// returns only the length.
    fn parse_head(&mut self) -> Option<(Option<Head>, usize)> {
        // Some servers send an extra line end after the previous body or after an informational head.
        let blank = self.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.bytes.drain(..blank);
        let started = self.bytes.len().min(5);
        if !self.bytes[..started].eq_ignore_ascii_case(&b"HTTP/"[..started]) {
            self.is_foreign = true;
            return None;
        }
        let (mut lines, mut at) = (Vec::new(), 0);
        loop {
            let end = at + self.bytes[at..].iter().position(|byte| *byte == b'\n')?;
            let line = self.bytes[at..end].trim_ascii_end();
            at = end + 1;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines.first().and_then(|line| {
            let word = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)?;
            std::str::from_utf8(word).ok()?.parse().ok().filter(|status| (100..=999).contains(status))
        });
        let Some(status) = status else {
            self.is_foreign = true;
            return None;
        };
        if (100..=199).contains(&status) && status != 101 {
            return Some((None, at));
        }
        let headers = Headers::new(lines.iter().skip(1).filter_map(|line| {
            let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':')?);
            Some((String::from_utf8_lossy(name.trim_ascii()), String::from_utf8_lossy(value[1..].trim_ascii())))
        }));
        let framing = framing(status, &headers);
        Some((Some(Head { status, headers, framing }), at))
    }

    /// Whether the body has reached the end that the headers specify.
    fn is_whole(&self) -> bool {
        match self.head.as_ref().map(|head| head.framing) {
            Some(Framing::Length(length)) => self.bytes.len() >= length,
            Some(Framing::Chunked) => self.chunks.at == Expect::Nothing,
            Some(Framing::ToTheEnd) | None => false,
        }
    }

    /// The body up to the end that the headers specify.
    fn body(&self) -> &[u8] {
        match self.head.as_ref().map(|head| head.framing) {
            Some(Framing::Length(length)) => &self.bytes[..length.min(self.bytes.len())],
            Some(Framing::Chunked) => &self.chunks.body,
            Some(Framing::ToTheEnd) | None => &self.bytes,
        }
    }

    /// All bytes that may belong to the body, even beyond the end that the headers specify.
    fn all(&self) -> Vec<u8> {
        match self.head.as_ref().map(|head| head.framing) {
            Some(Framing::Chunked) => {
                [&self.chunks.body, &self.bytes[self.chunks.read.min(self.bytes.len())..]].concat()
            }
            _ => self.bytes.clone(),
        }
    }

    fn is_too_long(&self, limit: usize) -> bool {
        match &self.head {
            Some(_) => {
                self.body().len() > limit || self.bytes.len() > limit.saturating_mul(2).saturating_add(HEAD_LIMIT)
            }
            None => self.bytes.len() > HEAD_LIMIT,
        }
    }
}

/// The framing of a body. A chunked encoding takes precedence over a length. Lengths count only if they all agree.
fn framing(status: u16, headers: &Headers) -> Framing {
    if matches!(status, 204 | 304) {
        return Framing::Length(0);
    }
    if headers.all("transfer-encoding").any(|value| value.to_ascii_lowercase().contains("chunked")) {
        return Framing::Chunked;
    }
    let mut lengths =
        headers.all("content-length").flat_map(|value| value.split(',')).map(|value| value.trim().parse().ok());
    match lengths.next().flatten() {
        Some(length) if lengths.all(|other| other == Some(length)) => Framing::Length(length),
        _ => Framing::ToTheEnd,
    }
}

/// A chunked body, as far as it has arrived.
#[derive(Default)]
struct Chunks {
    body: Vec<u8>,
    /// The number of bytes that were parsed.
    read: usize,
    at: Expect,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Size,
    Data(usize),
    /// The line end after the data of a chunk.
    LineEnd,
    Trailers,
    Nothing,
    /// The body is not chunked, or its chunks are invalid.
    Anything,
}

impl Chunks {
    /// Continues to parse the body. `bytes` are all bytes after the head.
    fn read(&mut self, bytes: &[u8]) {
        loop {
            let rest = &bytes[self.read..];
            let line = || rest.iter().position(|byte| *byte == b'\n').map(|end| (rest[..end].trim_ascii(), end + 1));
            match self.at {
                Expect::Size => {
                    let Some((line, length)) = line() else { return };
                    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
                    let size = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
                    self.at = match size.and_then(|text| usize::from_str_radix(text, 16).ok()) {
                        Some(0) => Expect::Trailers,
                        Some(size) => Expect::Data(size),
                        None => Expect::Anything,
                    };
                    if self.at != Expect::Anything {
                        self.read += length;
                    }
                }
                Expect::Data(left) => {
                    let count = left.min(rest.len());
                    self.body.extend_from_slice(&rest[..count]);
                    self.read += count;
                    if count < left {
                        self.at = Expect::Data(left - count);
                        return;
                    }
                    self.at = Expect::LineEnd;
                }
                Expect::LineEnd => {
                    let length = match rest {
                        [b'\r', b'\n', ..] => 2,
                        [b'\n', ..] => 1,
                        [] | [b'\r'] => return,
                        _ => {
                            self.at = Expect::Anything;
                            return;
                        }
                    };
                    self.read += length;
                    self.at = Expect::Size;
                }
                Expect::Trailers => {
                    let Some((line, length)) = line() else { return };
                    self.read += length;
                    if line.is_empty() {
                        self.at = Expect::Nothing;
                    }
                }
                Expect::Nothing | Expect::Anything => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use proptest::prelude::*;
    use tokio::io::{AsyncWriteExt, ReadBuf};

    use super::*;

    /// Accepts a body once it has its last brace.
    fn braced(_status: u16, body: &[u8], _ended: bool) -> bool {
        body.ends_with(b"}") || body.windows(2).any(|pair| pair == b"}\r")
    }

    fn never(_status: u16, _body: &[u8], _ended: bool) -> bool {
        false
    }

    /// The result of reading segments that arrive one after the other. Then the server closes the connection or stays silent.
    async fn outcome(parts: &[&str], closes: bool, enough: Enough) -> Result<(u16, String), FailureKind> {
        let (mut server, mut client) = tokio::io::duplex(64 * 1024);
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        let serving = tokio::spawn(async move {
            for part in parts {
                server.write_all(&part).await.unwrap();
                tokio::time::sleep(PAUSE * 2).await;
            }
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        let url = Url::parse("http://127.0.0.1/").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let answer = read(&mut client, deadline, 1_000, enough, &url).await;
        serving.abort();
        answer.map(|answer| (answer.status, String::from_utf8(answer.body).unwrap())).map_err(|broken| broken.0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_answer_is_itself() {
        for (head, body, expected) in [
            ("content-length: 2\r\n\r\n", "{}", "{}"),
            ("content-length: 2, 2\r\n\r\n", "{}", "{}"),
            ("content-length: 0\r\n\r\n", "", ""),
            ("transfer-encoding: chunked\r\n\r\n", "1\r\n{\r\n1;x=y\r\n}\r\n0\r\nx-t: 1\r\n\r\n", "{}"),
            ("Transfer-Encoding: gzip, Chunked\r\n\r\n", "00002\r\n{}\r\n000\r\n\r\n", "{}"),
        ] {
            let text = format!("HTTP/1.1 400 Bad Request\r\n{head}{body}");
            for cut in 0..=text.len() {
                let (first, second) = text.split_at(cut);
                let outcome = outcome(&[first, second], false, never).await;
                assert_eq!(outcome, Ok((400, expected.to_owned())), "{head} {cut}");
            }
        }
        assert_eq!(
            outcome(&["HTTP/1.1 200 OK\r\n\r\nto the end"], true, never).await,
            Ok((200, "to the end".to_owned()))
        );
        assert_eq!(outcome(&["HTTP/1.1 204 No Content\r\n\r\n"], false, never).await, Ok((204, String::new())));
        let hints = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\na: b\r\n\r\nHTTP/1.0 200\r\n\r\n{}";
        assert_eq!(outcome(&[hints], true, never).await, Ok((200, "{}".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_enough_is_an_answer_however_it_ends() {
        for text in [
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{}",
            "HTTP/1.1 204 No Content\r\n\r\n{}",
            "HTTP/1.1 200 OK\n: x\nnone\n two\n\n{}",
            "\r\n\nHTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.1 100 Continue\r\n\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}",
            "http/1.1 \t200  OK\r\n\r\n{}",
        ] {
            for closes in [true, false] {
                let (status, body) =
                    outcome(&[text], closes, braced).await.unwrap_or_else(|kind| panic!("{text} {kind:?}"));
                assert!(status < 300 && body.starts_with("{}"), "{text} {body}");
                for cut in 0..text.len() {
                    let outcome = outcome(&[&text[..cut], &text[cut..]], closes, braced).await;
                    assert!(outcome.is_ok_and(|(_, body)| body.starts_with("{}")), "{text} {cut}");
                }
            }
        }
    }

    /// A stream that returns the scripted results one by one, and then its end.
    struct Script(VecDeque<io::Result<&'static [u8]>>);

    impl AsyncRead for Script {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.0.pop_front().unwrap_or(Ok(b"")).map(|bytes| buffer.put_slice(bytes)))
        }
    }

    /// A stream whose data came while the process was stopped: after the deadline the first look does not find them yet.
    struct Stopped {
        until: Instant,
        has_looked: bool,
        data: VecDeque<&'static [u8]>,
    }

    impl AsyncRead for Stopped {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if Instant::now() < self.until {
                return Poll::Pending;
            }
            if !std::mem::replace(&mut self.has_looked, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(bytes) = self.data.pop_front() else { return Poll::Pending };
            buffer.put_slice(bytes);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_came_while_the_process_was_stopped_is_read_after_the_deadline() {
        let url = Url::parse("http://127.0.0.1/").unwrap();
        for (data, expected) in [
            (&[&b"HTTP/1.1 200 OK\r\n\r\n{}"[..]][..], Ok(())),
            (&[b"HTTP/1.1 200 OK\r\n\r\n{", b"}"], Ok(())),
            (&[b"HTTP/1.1 200 OK\r\n\r\n{"], Err(FailureKind::Timeout)),
            (&[], Err(FailureKind::Timeout)),
        ] {
            let until = Instant::now() + Duration::from_secs(20);
            let mut stream = Stopped { until, has_looked: false, data: data.iter().copied().collect() };
            let answer = read(&mut stream, until, 1_000, braced, &url).await;
            assert_eq!(answer.map(|answer| assert_eq!(answer.body, b"{}")).map_err(|(kind, _)| kind), expected);
            assert!(until.elapsed() <= PAUSE * 2, "it waits no longer");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_before_a_broken_record_is_not_lost() {
        let broken = || Err(io::Error::other("a broken record"));
        let url = Url::parse("http://127.0.0.1/").unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        for (script, expected) in [
            (vec![broken(), Ok(&b"HTTP/1.1 200 OK\r\n\r\n{}"[..]), broken()], Ok(())),
            (vec![Ok(&b"HTTP/1.1 200 OK\r\n\r\n{"[..]), broken(), Ok(&b"}"[..])], Ok(())),
            (vec![Ok(&b"HTTP/1.1 200 OK\r\n\r\n{"[..]), broken(), broken()], Err("a broken record")),
            (vec![broken()], Err("a broken record")),
        ] {
            let mut stream = Script(script.into());
            match (read(&mut stream, deadline, 1_000, braced, &url).await, expected) {
                (Ok(answer), Ok(())) => assert_eq!(answer.body, b"{}"),
                (Err((kind, cause)), Err(words)) => {
                    assert_eq!((kind, cause.as_deref()), (FailureKind::CutOff, Some(words)));
                }
                (outcome, _) => panic!("{outcome:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_enough_is_as_broken_as_it_came() {
        for (text, closes, kind) in [
            ("", true, FailureKind::CutOff),
            ("", false, FailureKind::Timeout),
            ("HTTP/1.1 200 OK\r\n", true, FailureKind::CutOff),
            ("HTTP/1.1 200 OK\r\n", false, FailureKind::Timeout),
            ("HTTP/1.1 200 OK\r\n\r\n{", false, FailureKind::Timeout),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{", true, FailureKind::CutOff),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{", true, FailureKind::CutOff),
            ("HTTP/1.1 2x0 OK\r\n\r\n{}", true, FailureKind::CutOff),
            ("{}", true, FailureKind::CutOff),
        ] {
            assert_eq!(outcome(&[text], closes, braced).await, Err(kind), "{text}");
        }
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1_001));
        assert_eq!(outcome(&[&long], false, braced).await, Err(FailureKind::TooLarge));
        let long = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(200_000));
        assert_eq!(outcome(&[&long], false, braced).await, Err(FailureKind::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_without_what_matters_is_read_on_for_a_moment_only() {
        let started = Instant::now();
        let outcome = outcome(&["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"], false, never).await;
        assert_eq!(outcome, Ok((200, "x".to_owned())));
        assert!(started.elapsed() < BEYOND * 2);
    }

    proptest! {
        #[test]
        fn nothing_panics(parts in prop::collection::vec("(HTTP/1\\.1 200|content-length: 2|transfer-encoding: chunked|[0-9a-f]{1,3}|\r\n|\\PC){0,12}", 0..4)) {
            let mut received = Received::default();
            for part in parts {
                received.push(part.as_bytes());
                let _ = (received.is_whole(), received.body().len(), received.all().len(), received.is_too_long(9));
            }
        }
    }
}
