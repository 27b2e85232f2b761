//! A model server on the loopback that does what a test wants of it, well or badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    /// The value of `Authorization`.
    pub authorization: Option<String>,
    pub body: Value,
}

/// What the server sends back, piece by piece; then it hangs up.
pub struct Reply {
    head: String,
    pieces: Vec<String>,
    /// Before each piece.
    pause: Duration,
    /// Before hanging up.
    stall: Duration,
}

impl Reply {
    fn new(status: &str, kind: &str, pieces: Vec<String>) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n");
        Self { head, pieces, pause: Duration::ZERO, stall: Duration::ZERO }
    }

    pub fn json(status: &str, body: &Value) -> Self {
        Self::new(status, "application/json", vec![body.to_string()])
    }

    /// Any text as any content type.
    pub fn raw(kind: &str, body: &str) -> Self {
        Self::new("200 OK", kind, vec![body.to_owned()])
    }

    /// A refusal in the usual form.
    pub fn error(status: &str, message: &str) -> Self {
        Self::json(status, &json!({ "error": { "message": message, "type": "some_error" } }))
    }

    /// A stream of whatever events, `data: ` put before each.
    pub fn events<S: ToString>(events: impl IntoIterator<Item = S>) -> Self {
        let pieces = events.into_iter().map(|event| format!("data: {}\n\n", event.to_string())).collect();
        Self::new("200 OK", "text/event-stream; charset=utf-8", pieces)
    }

    /// A completion as it should be: a role, the pieces, a reason to end, usage, `[DONE]`.
    pub fn streamed(pieces: &[&str]) -> Self {
        let role = json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": "" } }] });
        let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
        let usage = json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19 } });
        let mut events = vec![role.to_string()];
        events.extend(pieces.iter().map(|piece| delta(piece)));
        events.extend([end.to_string(), usage.to_string(), "[DONE]".to_owned()]);
        Self::events(events)
    }

    /// Closes the connection without a word.
    pub fn hang_up() -> Self {
        Self { head: String::new(), pieces: Vec::new(), pause: Duration::ZERO, stall: Duration::ZERO }
    }

    /// And then this.
    pub fn and(mut self, piece: &str) -> Self {
        self.pieces.push(piece.to_owned());
        self
    }

    pub fn header(mut self, line: &str) -> Self {
        self.head.push_str(&format!("{line}\r\n"));
        self
    }

    pub fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    pub fn stall(self, stall: Duration) -> Self {
        Self { stall, ..self }
    }
}

/// One event with a piece of text.
pub fn delta(text: &str) -> String {
    json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] }).to_string()
}

/// `answer` gets each request and how many came before it.
pub struct Server {
    /// With `/v1`.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Pieces that found somebody to read them.
    sent: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (seen, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (log, count, answer) = (Arc::clone(&seen), Arc::clone(&sent), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, count, answer) = (Arc::clone(&log), Arc::clone(&count), Arc::clone(&answer));
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    let before = {
                        let mut log = log.lock().unwrap();
                        log.push(request.clone());
                        log.len() - 1
                    };
                    // A client that hangs up early is one of the things tested.
                    let _ = send(stream, &answer(&request, before), &count);
                });
            }
        });
        Self { url, seen, sent }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

/// An address at which nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut text = String::new();
        let read = reader.read_line(&mut text).ok()?;
        (read > 0).then(|| text.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    while let Some(header) = line().filter(|header| !header.is_empty()) {
        headers.push(header);
    }
    let value = |name: &str| {
        let of = |header: &String| {
            let (key, value) = header.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        headers.iter().find_map(of)
    };
    let mut body = vec![0; value("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { path, authorization: value("authorization"), body: serde_json::from_slice(&body).ok()? })
}

fn send(mut stream: TcpStream, reply: &Reply, count: &AtomicUsize) -> std::io::Result<()> {
    if reply.head.is_empty() {
        return Ok(());
    }
    write!(stream, "{}Connection: close\r\n\r\n", reply.head)?;
    for piece in &reply.pieces {
        thread::sleep(reply.pause);
        stream.write_all(piece.as_bytes())?;
        stream.flush()?;
        count.fetch_add(1, Ordering::SeqCst);
    }
    thread::sleep(reply.stall);
    Ok(())
}

/// Answers `/embeddings`: a text is how often each of its words occurs, so texts with words in common are alike.
pub fn embeddings(request: &Seen, dimension: usize) -> Reply {
    let texts = request.body["input"].as_array().unwrap();
    let vector = |text: &str| {
        let mut vector = vec![0.01_f64; dimension];
        for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
        {
            let hash =
                word.bytes().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            vector[hash % dimension] += 1.0;
        }
        vector
    };
    let data = texts.iter().enumerate();
    let data =
        data.map(|(index, text)| json!({ "index": index, "embedding": vector(text.as_str().unwrap()) }));
    // Backwards: the index says where a vector belongs, not its place.
    let data: Vec<Value> = data.rev().collect();
    Reply::json("200 OK", &json!({ "object": "list", "data": data }))
}
