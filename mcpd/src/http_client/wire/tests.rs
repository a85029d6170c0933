//! Answers as hostile servers give them, whole and in pieces, and what becomes of the connections.

use super::*;
use crate::http_client::Target;
use http::Method;
use http_body_util::BodyExt;
use proptest::prelude::*;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What came of an answer: its status and its body, and what was wrong in the end.
type Told = Result<(u16, Vec<u8>, Option<String>), String>;

/// Connections on which `answer` is given to the first request.
async fn server(answer: Vec<u8>, stays: bool) -> (Wire, Request) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(&answer).await;
        if stays {
            let _ = stream.read(&mut request).await;
        }
    });
    let to = Target::parse(&format!("http://{address}/v1")).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    (Wire(Io::Plain(stream)), Request::new(&Method::POST, &to).body(vec![Bytes::from_static(b"{}")]))
}

/// What is told of an answer, and whether its connection is kept.
async fn told(answer: &[u8], stays: bool) -> (Told, bool) {
    let (wire, request) = server(answer.to_vec(), stays).await;
    let pool = Arc::new(Pool::default());
    let told = match wire.send(request, Arc::downgrade(&pool)).await {
        Err(error) => Err(error.to_string()),
        Ok((head, mut body)) => {
            let (mut all, mut wrong) = (Vec::new(), None);
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => all.extend_from_slice(&frame.into_data().unwrap()),
                    Err(error) => wrong = Some(error.to_string()),
                }
            }
            assert!(body.is_end_stream());
            Ok((head.status.as_u16(), all, wrong))
        }
    };
    (told, pool.take().is_some())
}

async fn is(answer: &str, body: &str, wrong: Option<&str>, is_kept: bool) {
    let told = told(answer.as_bytes(), is_kept).await;
    let wanted = Ok((200, body.as_bytes().to_vec(), wrong.map(str::to_owned)));
    assert_eq!(told, (wanted, is_kept), "{answer:?}");
}

#[tokio::test]
async fn only_an_answer_that_ended_as_it_should_gives_its_connection_back() {
    let ended = Some("the connection ended");
    let length = |head: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
    is(&length("Content-Length: 2", "ab"), "ab", None, true).await;
    is(&length("Content-Length: 0", ""), "", None, true).await;
    is(&format!("{CHUNKED}2\r\nab\r\n0\r\n\r\n"), "ab", None, true).await;
    is(&format!("{CHUNKED}2\r\nab\r\n0\r\nSet-Cookie: x\r\n\r\n"), "ab", None, true).await;
    is(&format!("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n{CHUNKED}0\r\n\r\n"), "", None, true).await;
    is(&length("Content-Length: 2\r\nConnection: close", "ab"), "ab", None, false).await;
    is(&length("Content-Length: 2", "abc"), "ab", None, false).await;
    is(&format!("{CHUNKED}2\r\nab\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"), "ab", None, false).await;
    is(&length("X: 1", "ab"), "ab", None, false).await;
    is("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab", None, false).await;
    is(&length("Content-Length: 3", "ab"), "ab", ended, false).await;
    is(&format!("{CHUNKED}3\r\nab"), "ab", ended, false).await;
    is(&format!("{CHUNKED}2\r\nab\r\n"), "ab", ended, false).await;
    is(&format!("{CHUNKED}2\r\nab\r\n0\r\n"), "ab", ended, false).await;
    is(&format!("{CHUNKED}2\r\nab\r\nx"), "ab", Some("a chunk of the answer has no clear size"), false).await;
}

#[tokio::test]
async fn x07_what_is_no_answer_is_none() {
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(HEAD_MAX));
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_MAX / 20);
    let too_large = "the head of the answer is larger than 64 KiB";
    for (answer, wrong) in [
        (large.as_str(), too_large),
        (&endless, too_large),
        ("", "the connection ended"),
        ("HTTP/1.1 200 OK\r\n", "the connection ended"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "the connection ended"),
        ("HTTP/1.1 200 OK\r\nX: 1\n\r\n", "a line of the answer's head does not end in CR LF"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "the answer gives its length twice, or in no clear way",
        ),
    ] {
        let (told, is_kept) = told(answer.as_bytes(), false).await;
        assert_eq!((told, is_kept), (Err(wrong.to_owned()), false), "{answer:.100?}");
    }
    let switched = told(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nabc", false).await;
    assert_eq!(switched, (Ok((101, vec![], None)), false));
}

#[tokio::test]
async fn a_kept_connection_that_has_ended_is_not_used() {
    let (wire, request) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), false).await;
    let pool = Arc::new(Pool::default());
    let (_, body) = wire.send(request, Arc::downgrade(&pool)).await.unwrap();
    drop(body);
    // The end is seen by whoever looks after the kernel has told of it.
    while pool.take().is_some_and(|wire| {
        pool.keep(wire);
        true
    }) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_server_gets_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 16]).await;
        let _ = stream.write_all(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\nno").await;
        std::future::pending::<()>().await;
    });
    let to = Target::parse(&format!("http://{address}/")).unwrap();
    let request = Request::new(&Method::POST, &to).body(vec![vec![b' '; 64 << 20].into()]);
    let wire = Wire(Io::Plain(TcpStream::connect(address).await.unwrap()));
    let pool = Arc::new(Pool::default());
    let (head, body) = wire.send(request, Arc::downgrade(&pool)).await.unwrap();
    assert_eq!(head.status, 413);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "no");
    assert!(pool.take().is_none(), "not all of the request was written");
}

/// The head and the body of an answer that comes in pieces; without I/O.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(u16, Vec<u8>, Option<Then>), Malformed> {
    let (mut kept, mut finder, mut passed) = (Vec::new(), Finder::default(), 0);
    let mut begun: Option<(Parsed, Vec<u8>, Then)> = None;
    for bytes in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        match &mut begun {
            None => {
                let read = reads(&mut kept, &mut finder, &mut passed, bytes)?;
                begun = read.map(|(parsed, piece)| (parsed, piece.data.to_vec(), piece.then));
            }
            Some((parsed, body, then @ Then::More)) => {
                let piece = parsed.framing.take(bytes);
                body.extend_from_slice(&piece.data);
                *then = piece.then;
            }
            // Whoever sees that more came than was asked for does not care how.
            Some((_, _, then @ Then::Over { .. })) => *then = Then::Over { is_exact: false },
            Some((_, _, Then::Wrong(_))) => break,
        }
    }
    Ok(begun
        .map_or((0, vec![], None), |(parsed, body, then)| (parsed.head.status.as_u16(), body, Some(then))))
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        text in "(HTTP/1.1 100 Go\r\n\r\n)?HTTP/1.1 200 OK\r\n(Content-Length: 7\r\n|Transfer-Encoding: chunked\r\n|X: 1\r\n|\n){0,2}\r\n(3\r\nabc\r\n|1\r\na\r\n|0\r\n\r\n|abc){0,4}",
        cuts in prop::collection::vec(0..160_usize, 0..8),
    ) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut from = 0;
        let pieces = cuts.into_iter().chain([bytes.len()]).map(|cut| {
            let piece = &bytes[from..cut];
            from = cut;
            piece
        });
        prop_assert_eq!(read(pieces), read([bytes]));
    }
}
