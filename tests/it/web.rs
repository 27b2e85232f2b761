//! `ingest URL`: a site on the loopback is fetched, cited, fetched again when it has changed, and misbehaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::defaults;
use crate::run::{Folder, Ran};
use crate::tiny;

/// What a site answers at a place.
#[derive(Clone)]
struct Page {
    status: &'static str,
    headers: Vec<String>,
    body: String,
    /// Sent over and over, without an end.
    endless: bool,
}

impl Page {
    fn of(kind: &str, body: &str) -> Self {
        // A version of its own, as servers have it.
        let tag = format!("ETag: \"{}\"", blake3_of(body));
        Self {
            status: "200 OK",
            headers: vec![format!("Content-Type: {kind}"), tag],
            body: body.to_owned(),
            endless: false,
        }
    }

    fn html(body: &str) -> Self {
        Self::of("text/html; charset=utf-8", body)
    }

    fn status(status: &'static str) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), endless: false }
    }

    fn moved(place: &str) -> Self {
        Self { headers: vec![format!("Location: {place}")], ..Self::status("302 Found") }
    }
}

fn blake3_of(text: &str) -> u64 {
    text.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
}

/// A request as it came.
#[derive(Clone, Debug)]
struct Asked {
    place: String,
    /// Whether it named a version it has.
    has: bool,
    at: Instant,
}

struct Site {
    url: String,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Site {
    fn of(pages: &[(&str, Page)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pages = pages.iter().map(|(place, page)| ((*place).to_owned(), page.clone()));
        let pages = Arc::new(Mutex::new(pages.collect::<BTreeMap<_, _>>()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (there, log) = (Arc::clone(&pages), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (there, log) = (Arc::clone(&there), Arc::clone(&log));
                // Whoever hangs up has seen enough.
                thread::spawn(move || drop(serve(&stream, &there, &log)));
            }
        });
        Self { url, pages, asked }
    }

    fn at(&self, place: &str) -> String {
        format!("{}{place}", self.url)
    }

    fn set(&self, place: &str, page: Page) {
        self.pages.lock().unwrap().insert(place.to_owned(), page);
    }

    fn remove(&self, place: &str) {
        self.pages.lock().unwrap().remove(place);
    }

    /// What was asked for since the last time, without robots.txt.
    fn asked(&self) -> Vec<Asked> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.into_iter().filter(|asked| asked.place != "/robots.txt").collect()
    }

    fn places(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.place).collect()
    }

    /// The folder of its copies, as the index names it.
    fn folder(&self) -> String {
        format!(".incontext/web/{}", self.url.trim_start_matches("http://").replace(':', "_"))
    }
}

fn serve(
    mut stream: &TcpStream,
    pages: &Mutex<BTreeMap<String, Page>>,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let place = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let tag = headers
        .iter()
        .find_map(|line| line.to_lowercase().strip_prefix("if-none-match: ").map(str::to_owned));
    log.lock().unwrap().push(Asked { place: place.clone(), has: tag.is_some(), at: Instant::now() });
    let page = pages.lock().unwrap().get(&place).cloned().unwrap_or_else(|| Page::status("404 Not Found"));
    let same = tag.is_some_and(|tag| page.headers.iter().any(|header| *header == format!("ETag: {tag}")));
    if same {
        return write!(stream, "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n");
    }
    let headers: String = page.headers.iter().map(|header| format!("{header}\r\n")).collect();
    write!(stream, "HTTP/1.1 {}\r\n{headers}Connection: close\r\n", page.status)?;
    if page.endless {
        write!(stream, "\r\n")?;
        loop {
            stream.write_all(page.body.as_bytes())?;
        }
    }
    write!(stream, "Content-Length: {}\r\n\r\n{}", page.body.len(), page.body)
}

const OPTIONS: [&str; 4] = ["--embedder", "./.tiny", "--profile", "profile.toml"];

fn folder() -> Folder {
    let folder = Folder::new();
    tiny::encoder(&folder.at(".tiny"), 0);
    folder.write("profile.toml", tiny::PROFILE);
    folder
}

fn ingest(folder: &Folder, args: &[&str]) -> Ran {
    folder.run(&[&["ingest"], args, &OPTIONS].concat())
}

/// What became of the pages of an ingest that ends with `code`, as `--json` has it.
fn pages(folder: &Folder, args: &[&str], code: i32) -> Value {
    let ran = ingest(folder, &[args, &["--json"]].concat());
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    ran.json()
}

/// Paths of all documents, without the folder of the site.
fn documents(folder: &Folder, site: &Site) -> Vec<String> {
    let shown = folder.ok(&["collections", "show", "--json"]).json();
    let paths = shown["documents"].as_array().unwrap().iter();
    let prefix = site.folder() + "/";
    paths.map(|document| document["path"].as_str().unwrap().replace(&prefix, "")).collect()
}

fn manual() -> Site {
    Site::of(&[
        ("/robots.txt", Page::of("text/plain", "User-agent: *\nDisallow: /private\n")),
        (
            "/",
            Page::html(
                "<title>Manual</title><h1>Manual</h1><p>All about balo.</p><a href='guide/#part'>a</a><a href='/guide/'>b</a>\
                 <a href='notes.md'>c</a><a href='/private/x'>d</a><a rel=nofollow href='/ugc'>e</a><a href='/draft'>f</a>\
                 <a href='/logo.png'>g</a><a href='mailto:a@example.org'>h</a><a href='http://127.0.0.1:9/'>i</a>\
                 <a href='/gone'>j</a><a href='/old'>k</a>",
            ),
        ),
        (
            "/guide/",
            Page::html(
                "<title>Guide</title><p>Green tea is steeped for two minutes.</p><a href='deep'>l</a>",
            ),
        ),
        ("/guide/deep", Page::html("<p>Deep water.</p><a href='deeper'>m</a>")),
        ("/guide/deeper", Page::html("<p>Deeper water.</p>")),
        (
            "/notes.md",
            Page::of("text/markdown", "---\nurl: /elsewhere\nkind: note\n---\n# Notes\n\nBarley malt.\n"),
        ),
        ("/private/x", Page::html("secret")),
        ("/ugc", Page::html("spam")),
        (
            "/draft",
            Page::html(
                "<meta name=robots content=noindex><p>Unfinished.</p><a href='/linked-by-a-draft'>n</a>",
            ),
        ),
        ("/logo.png", Page::of("image/png", "\u{1}")),
        ("/old", Page::moved("/new")),
        ("/new", Page::html("<p>Moved here.</p>")),
    ])
}

#[test]
fn pages_of_one_site_are_saved_found_and_cited_with_their_address() {
    let (folder, site) = (folder(), manual());
    let summary = pages(&folder, &[&site.at("/")], 0);
    assert_eq!((&summary["added"], &summary["pages"]["fetched"]), (&4.into(), &4.into()), "{summary}");
    // robots.txt, `noindex`, an image.
    assert_eq!(summary["pages"]["passed"], 3, "{summary}");
    assert_eq!(documents(&folder, &site), ["guide/index.html", "index.html", "new.html", "notes.md"]);
    assert_eq!(site.places(), ["/", "/guide/", "/notes.md", "/draft", "/logo.png", "/gone", "/old", "/new"]);

    let hit = |args: &[&str]| {
        let found = folder.ok(&[&["search"], args, &["--mode", "lexical", "--json"]].concat()).json();
        found["hits"][0].clone()
    };
    let tea = hit(&["green tea"]);
    assert_eq!(tea["url"], site.at("/guide/"));
    assert_eq!(tea["path"], format!("{}/guide/index.html", site.folder()));
    // The copy is byte for byte what was sent.
    let sent = site.pages.lock().unwrap()["/guide/"].body.clone();
    assert_eq!(fs::read_to_string(folder.at(tea["path"].as_str().unwrap())).unwrap(), sent);
    // Over what the page says of itself; its other fields stay.
    assert_eq!(
        hit(&["barley", "--where", "url~/notes", "--where", "kind=note"])["url"],
        site.at("/notes.md")
    );
    assert_eq!(hit(&["barley", "--where", "fetched>=2024-01-01"])["url"], site.at("/notes.md"));

    // As far as one says.
    let summary = pages(&folder, &[&site.at("/"), "--depth", "2"], 0);
    assert_eq!((&summary["added"], &summary["unchanged"]), (&1.into(), &4.into()), "{summary}");
    assert!(documents(&folder, &site).contains(&"guide/deep.html".to_owned()));
    let summary = pages(&folder, &[&site.at("/"), "--depth", "0"], 0);
    assert_eq!((&summary["removed"], &summary["pages"]["gone"]), (&4.into(), &4.into()), "{summary}");
    assert_eq!(documents(&folder, &site), ["index.html"]);
}

#[test]
fn a_page_is_cited_by_the_saved_copy_and_shown_with_its_address() {
    if defaults::encoder().is_none() {
        return;
    }
    let site = manual();
    let folder = Folder::new();
    folder.ok(&["ingest", &site.at("/"), "--quiet"]);
    let question = ["ask", "How long is green tea steeped?", "--answer", "extractive"];
    let citation = folder.ok(&[&question[..], &["--json"]].concat()).json()["citations"][0].clone();
    assert_eq!((&citation["status"], &citation["url"]), (&"verified".into(), &site.at("/guide/").into()));
    let copy = fs::read(folder.at(citation["path"].as_str().unwrap())).unwrap();
    let at = |end: usize| citation["bytes"][end].as_u64().unwrap() as usize;
    assert_eq!(&copy[at(0)..at(1)], citation["quote"].as_str().unwrap().as_bytes());
    let shown = folder.ok(&question).out;
    let line = format!("[1] {}/guide/index.html:1  Guide  {}", site.folder(), site.at("/guide/"));
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn again_only_what_has_changed_is_sent_and_what_is_gone_goes() {
    let (folder, site) = (folder(), manual());
    let all = site.at("/");
    pages(&folder, &[&all], 0);
    site.asked();
    let copy = folder.at(&format!("{}/guide/index.html", site.folder()));
    let before = fs::metadata(&copy).unwrap().modified().unwrap();
    let summary = pages(&folder, &[&all], 0);
    assert_eq!((&summary["unchanged"], &summary["pages"]["unchanged"]), (&4.into(), &4.into()), "{summary}");
    assert!(site.asked().iter().filter(|asked| asked.has).count() == 4);
    assert_eq!(fs::metadata(&copy).unwrap().modified().unwrap(), before);

    // A page that changes, one that is gone, one that nothing leads to any more, one whose server has a bad day.
    site.set("/guide/", Page::html("<title>Guide</title><p>White tea takes five minutes.</p>"));
    site.remove("/new");
    let start = site.pages.lock().unwrap()["/"].body.clone();
    site.set("/", Page::html(&start.replace("<a href='notes.md'>c</a>", "<a href='/fresh'>c</a>")));
    site.set("/fresh", Page::html("<p>Fresh bread.</p>"));
    let summary = pages(&folder, &[&all], 0);
    let counts = ["added", "updated", "unchanged", "removed"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(counts, [1, 2, 0, 2], "{summary}");
    assert_eq!(summary["pages"]["gone"], 2, "{summary}");
    assert_eq!(documents(&folder, &site), ["fresh.html", "guide/index.html", "index.html"]);
    let copies = |name: &str| folder.at(&format!("{}/{name}", site.folder())).exists();
    assert!(!copies("new.html") && !copies("notes.md") && copies("fresh.html"));

    site.set("/guide/", Page::status("503 Service Unavailable"));
    let ran = ingest(&folder, &[&all]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(
        ran.err.contains(&format!("failed: `{}`: the site answers with HTTP status 503", site.at("/guide/"))),
        "{ran:#?}"
    );
    assert!(ran.err.contains("failed 1 (1 of them kept as they were"), "{ran:#?}");
    assert_eq!(documents(&folder, &site), ["fresh.html", "guide/index.html", "index.html"]);
    // Of a site that allows nothing to be known, nothing is fetched and nothing is lost.
    site.set("/robots.txt", Page::status("500 Oops"));
    site.asked();
    let ran = ingest(&folder, &[&all]);
    assert!(
        ran.code == Some(1) && ran.err.contains("/robots.txt`: the site answers with HTTP status 500"),
        "{ran:#?}"
    );
    assert!(site.asked().is_empty());
    assert_eq!(documents(&folder, &site).len(), 3);
    // All of it.
    site.pages.lock().unwrap().clear();
    let summary = pages(&folder, &[&all], 0);
    assert_eq!((&summary["removed"], &summary["pages"]["gone"]), (&3.into(), &3.into()), "{summary}");
    let ran = ingest(&folder, &[&all]);
    assert!(ran.code == Some(1) && ran.err.contains("there is no such page (HTTP status 404)"), "{ran:#?}");
}

#[test]
fn an_unreachable_site_leaves_what_was_there() {
    let (folder, site) = (folder(), manual());
    pages(&folder, &[&site.at("/")], 0);
    let before = documents(&folder, &site);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = ingest(&folder, &[&format!("http://{nobody}/")]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    assert!(ran.err.starts_with(&format!("error: `http://{nobody}/robots.txt`: ")), "{ran:#?}");
    assert_eq!(documents(&folder, &site), before);
}

#[test]
fn folders_and_pages_do_not_get_into_each_others_way() {
    let (folder, site) = (folder(), manual());
    folder.write("notes/a.md", "Filter coffee.");
    // Both at once, and then each alone.
    let summary = pages(&folder, &["notes", &site.at("/guide/"), "--depth", "0"], 0);
    assert_eq!(summary["added"], 2, "{summary}");
    let ran = ingest(&folder, &["notes", "."]);
    assert!(ran.out.starts_with("added 1 updated 0 unchanged 1 removed 0 failed 0"), "{ran:#?}");
    folder.remove("notes/a.md");
    let summary = pages(&folder, &[&site.at("/guide/"), "--depth", "0"], 0);
    assert_eq!((&summary["unchanged"], &summary["removed"]), (&1.into(), &0.into()), "{summary}");
    assert_eq!(documents(&folder, &site), ["guide/index.html", "notes/a.md", "profile.toml"]);

    // What one collection no longer wants may be another's.
    let other = [&site.at("/"), "-c", "other"];
    pages(&folder, &other, 0);
    pages(&folder, &[&site.at("/guide/"), "--depth", "1"], 0);
    pages(&folder, &["notes", &site.at("/guide/"), "--depth", "0"], 0);
    let copy = |name: &str| folder.at(&format!("{}/{name}", site.folder())).exists();
    assert!(copy("guide/index.html") && copy("index.html") && !copy("guide/deep.html"));
    site.remove("/guide/");
    pages(&folder, &[&site.at("/guide/"), "--depth", "0"], 0);
    assert!(!copy("guide/index.html"));
    let summary = pages(&folder, &other, 0);
    assert_eq!(summary["removed"], 1, "{summary}");
}

#[test]
fn a_site_that_misbehaves_is_left_alone_in_time() {
    let endless = Page { endless: true, ..Page::html("<p>more</p>") };
    let lies = Page {
        headers: vec!["Content-Type: text/html".into(), "Content-Length: 99999999".into()],
        endless: true,
        ..Page::html("x")
    };
    let site = Site::of(&[
        (
            "/",
            Page::html(
                "<p>Start.</p><a href=/loop>1</a><a href=/away>2</a><a href=/endless>3</a><a href=/lies>4</a><a href=/bad>5</a>",
            ),
        ),
        ("/loop", Page::moved("/pool")),
        ("/pool", Page::moved("/loop")),
        ("/self", Page::moved("/self")),
        ("/away", Page::moved("http://127.0.0.1:9/")),
        ("/endless", endless),
        ("/lies", lies),
        ("/bad", Page::status("403 Forbidden")),
        ("/zip", Page::of("application/zip", "PK")),
        ("/private", Page::html("secret")),
        ("/robots.txt", Page::of("text/plain", "User-agent: incontext\nDisallow: /private\n")),
    ]);
    let folder = folder();
    let ran = ingest(&folder, &[&site.at("/"), "--max-file", "1"]);
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    for said in [
        "/endless` has more than 1",
        "/lies` has more than 1",
        "/bad`: the site refuses it (HTTP status 403)",
    ] {
        assert!(ran.err.contains(said), "{said}: {ran:#?}");
    }
    assert_eq!(documents(&folder, &site), ["index.html"]);
    for (place, said) in [
        ("/self", "it is moved on and on"),
        ("/away", "leads to another site: `http://127.0.0.1:9/`"),
        ("/zip", "is `application/zip`, which is no format that is read"),
        ("/private", "robots.txt does not allow it"),
    ] {
        let ran = ingest(&folder, &[&site.at(place), "-c", "none"]);
        assert!(ran.code == Some(1) && ran.err.contains(said), "{place}: {ran:#?}");
    }
    assert!(!site.places().contains(&"/private".to_owned()));
    assert_eq!(folder.ok(&["collections", "list"]).out.lines().count(), 1);
}

#[test]
fn a_crawl_has_an_end_and_takes_its_time_where_it_is_asked_to() {
    let link = |to: usize| {
        Page::html(&format!("<p>Number {to}.</p><a href='/{to}'>next</a><a href='/{to}?again'>same</a>"))
    };
    let mut site: Vec<(String, Page)> =
        (0..50).map(|number| (format!("/{number}"), link(number + 1))).collect();
    site.push(("/robots.txt".into(), Page::of("text/plain", "User-agent: *\nCrawl-delay: 0.7\n")));
    let site: Vec<(&str, Page)> = site.iter().map(|(place, page)| (&**place, page.clone())).collect();
    let site = Site::of(&site);
    let folder = folder();
    let ran = ingest(&folder, &[&site.at("/0"), "--depth", "40", "--max-pages", "3"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    assert!(ran.err.contains("there is more than 3 pages"), "{ran:#?}");
    assert_eq!(documents(&folder, &site), ["0.html", "1.html", "2.html"]);
    let times: Vec<Instant> = site.asked().iter().map(|asked| asked.at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(690)), "{times:?}");
}

#[test]
fn what_cannot_be_fetched_is_refused_before_anything_is_done() {
    let folder = folder();
    let offline = |address: &str| {
        let mut command = folder.command(&[&["ingest", address], &OPTIONS[..]].concat());
        Ran::of(command.env("INCONTEXT_OFFLINE", "1").output().unwrap())
    };
    let ran = offline("https://docs.example.org/");
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.err, @r"
    error: `https://docs.example.org/` is not on this machine, and INCONTEXT_OFFLINE is set
    hint: unset INCONTEXT_OFFLINE to fetch it
    ");
    let site = manual();
    assert_eq!(offline(&site.at("/notes.md")).code, Some(0), "this machine is not the network");
    insta::assert_snapshot!(folder.shown(&["ingest", "https://docs.example.org/", "--watch"]), @r"
    exit 1
    -- stderr
    error: `--watch` follows files, and `https://docs.example.org/` is none
    hint: ingest the address again when you want to know what has changed there
    ");
    insta::assert_snapshot!(folder.shown(&["ingest", "notes", "--depth", "2"]), @r"
    exit 1
    -- stderr
    error: `--depth` is for addresses, and none is given
    hint: an address begins with http:// or https://
    ");
    insta::assert_snapshot!(folder.shown(&["ingest", "https://me:secret@example.org/"]), @r"
    exit 1
    -- stderr
    error: the address at `example.org` has a name or password in it, which would be kept with every page
    hint: pages behind a password are not fetched; save them as files
    ");
}
