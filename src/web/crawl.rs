//! A crawl: from one page over links to others of its site, nearest first.
//!
//! What the site says is gone, goes. What it cannot say (it fails, or cannot be reached) stays as it was, and its copy's
//! links are followed in its place, so that a bad day of a site costs nothing. What no link leads to any more is dropped,
//! as a first crawl would never have found it.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use url::Url;

use super::address::{follow, is_here, same_site};
use super::fetch::{Client, Fetched, Got};
use super::links::{Directives, Page};
use super::media::{as_utf8, ending};
use super::moment::timestamp;
use super::robots::{self, Robots};
use super::shelf::Shelf;
use crate::bytes::size;
use crate::error::{Error, IoContext, Result};

/// Redirects from one page to the next, before they count as a circle.
const HOPS: u32 = 5;
/// Requests for each page that may be kept: most that leads nowhere is asked for in vain.
const REQUESTS: usize = 4;
/// Pages in a row that cannot be reached, before the site counts as down.
const PATIENCE: u32 = 3;

/// Where to begin, and how far to go.
pub struct Crawl<'a> {
    /// Where copies are kept, see [`super::FOLDER`].
    pub home: &'a Path,
    /// For whom: what one collection no longer wants may be another's.
    pub collection: &'a str,
    /// Collections that exist.
    pub collections: &'a [String],
    pub start: &'a Url,
    /// Links from the first page; 0 is that page alone.
    pub depth: u32,
    /// Pages to keep at most.
    pub pages: usize,
    /// Bytes of a page.
    pub max_file: u64,
}

/// What became of the pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// New, or other than they were.
    pub fetched: usize,
    pub unchanged: usize,
    /// No longer there, or no longer to be found or kept.
    pub gone: usize,
    /// Could not be fetched; what was there stays.
    pub kept: usize,
    /// Could not be fetched, and were not there.
    pub failed: usize,
    /// Not for us: by robots.txt or their own word, on another site, of no format that is read.
    pub passed: usize,
}

/// What a crawl leads to.
#[derive(Debug, Default)]
pub struct Crawled {
    /// The copies of the pages that were found.
    pub files: Vec<PathBuf>,
    /// Of those found before and no more.
    pub dropped: Vec<PathBuf>,
    pub count: Count,
    /// There was more than the limit of pages.
    pub cut: bool,
}

/// What the person may want to see while it runs.
pub enum Event<'a> {
    /// Waiting: for the site, or until it may be asked again.
    Waiting,
    /// Asking for a page, `found` being kept so far.
    Page {
        url: &'a Url,
        found: usize,
    },
    Failed {
        error: &'a Error,
    },
}

/// A page to visit.
struct Visit {
    url: Url,
    depth: u32,
    hops: u32,
}

impl Crawl<'_> {
    /// Fetches the pages, `on_event` being asked to go on several times a second.
    ///
    /// # Errors
    /// `Transient` when nothing can be fetched and nothing was there before, `NotFound` when the first page is gone and
    /// was not there, `Invalid` when the site does not want it fetched or it leads to another site, `Busy` while another
    /// process fetches from that site, `Interrupted` when `on_event` breaks: what was fetched is kept.
    pub fn run(&self, on_event: &dyn Fn(Event) -> ControlFlow<()>) -> Result<Crawled> {
        let stopped = std::cell::Cell::new(false);
        let stop = || {
            stopped.set(stopped.get() || on_event(Event::Waiting).is_break());
            stopped.get()
        };
        let mut shelf = Shelf::open(self.home, self.start)?;
        let mut client = Client::new(is_here(self.start), self.max_file, &stop);
        let mut run = Run {
            crawl: self,
            on_event,
            shelf: &mut shelf,
            crawled: Crawled::default(),
            found: BTreeSet::new(),
            down: 0,
            first: None,
        };
        let robots = run.robots(&mut client);
        let walked = robots.and_then(|robots| run.walk(&mut client, &robots));
        let Run { mut crawled, found, first, down, .. } = run;
        // What was fetched until something went wrong is kept all the same.
        let whole = walked.is_ok() && !stopped.get() && down < PATIENCE;
        let dropped = shelf.found(self.collection, self.start, found.clone(), whole, self.collections)?;
        shelf.save()?;
        walked?;
        if stopped.get() {
            return Err(Error::interrupted("stopped; the pages that were fetched are kept")
                .hint("the same `incontext ingest` goes on from there"));
        }
        let at = |file: &String| shelf.dir().join(file);
        let gone: Vec<String> = dropped.into_iter().filter(|file| !found.contains(file)).collect();
        crawled.count.gone = gone.len();
        crawled.dropped = gone.iter().map(at).collect();
        crawled.files = found.iter().map(at).filter(|path| path.is_file()).collect();
        match first {
            Some(error) if crawled.files.is_empty() && crawled.dropped.is_empty() => Err(error),
            _ => Ok(crawled),
        }
    }
}

/// A crawl under way.
struct Run<'a> {
    crawl: &'a Crawl<'a>,
    on_event: &'a dyn Fn(Event) -> ControlFlow<()>,
    shelf: &'a mut Shelf,
    crawled: Crawled,
    /// Files of the pages found so far.
    found: BTreeSet<String>,
    /// Pages in a row that could not be reached.
    down: u32,
    /// What is wrong with the page it began with.
    first: Option<Error>,
}

impl Run<'_> {
    /// What the site allows. A site without a robots.txt allows everything; of one that fails nothing is fetched, as
    /// RFC 9309 has it.
    fn robots(&mut self, client: &mut Client) -> Result<Robots> {
        let mut url = self.crawl.start.clone();
        url.set_path("/robots.txt");
        url.set_query(None);
        for _ in 0..=HOPS {
            match client.get_some(&url, robots::MOST) {
                Got::Page(Fetched { bytes, .. }) => {
                    let robots = Robots::parse(&String::from_utf8_lossy(&bytes));
                    client.pause = robots.delay.unwrap_or(client.pause);
                    return Ok(robots);
                }
                Got::Moved(place) => match follow(&url, &place).filter(|next| same_site(next, &url)) {
                    Some(next) => url = next,
                    None => return Ok(Robots::default()),
                },
                Got::Failed { why, .. } => {
                    let report = format!("`{url}`: {why}; what a site does not allow cannot be known then");
                    return Err(Error::transient(report)
                        .hint("try again later; what was fetched before is still there"));
                }
                _ => return Ok(Robots::default()),
            }
        }
        Ok(Robots::default())
    }

    fn walk(&mut self, client: &mut Client, robots: &Robots) -> Result<()> {
        let mut seen = BTreeSet::from([self.crawl.start.clone()]);
        let mut queue = VecDeque::from([Visit { url: self.crawl.start.clone(), depth: 0, hops: 0 }]);
        let mut requests = 0;
        while let Some(visit) = queue.pop_front() {
            if self.found.len() >= self.crawl.pages || requests >= self.crawl.pages.saturating_mul(REQUESTS) {
                self.crawled.cut = true;
                return Ok(());
            }
            let event = Event::Page { url: &visit.url, found: self.found.len() };
            if (self.on_event)(event).is_break() || self.down >= PATIENCE {
                return Ok(());
            }
            if !robots.allows(&visit.url) {
                let error =
                    Error::invalid(format!("`{}`: the site's robots.txt does not allow it", visit.url))
                        .hint("ask the site's owner, or save the page as a file");
                self.pass(&visit, error)?;
                continue;
            }
            requests += 1;
            for next in self.visit(&visit, client)? {
                if seen.insert(next.url.clone()) {
                    // What a page has moved to stands in its place.
                    if next.hops > 0 { queue.push_front(next) } else { queue.push_back(next) }
                }
            }
        }
        Ok(())
    }

    /// Fetches a page and keeps it, and says which to visit next.
    fn visit(&mut self, visit: &Visit, client: &mut Client) -> Result<Vec<Visit>> {
        let Visit { url, depth, hops } = visit;
        let validators = self.shelf.copy(url).map(|(_, validators)| validators.clone());
        let reads = |kind: &str| ending(kind, url).is_some();
        let got = client.get(url, validators.as_ref(), reads);
        if !matches!(got, Got::Failed { unreachable: true, .. } | Got::Stopped) {
            self.down = 0;
        }
        match got {
            Got::Page(page) => return self.page(visit, page),
            Got::Same => {
                self.crawled.count.unchanged += 1;
                return self.as_it_was(visit);
            }
            Got::Moved(place) => {
                let next = follow(url, &place);
                let Some(next) = next.filter(|next| same_site(next, url)) else {
                    let error = Error::invalid(format!("`{url}` leads to another site: `{place}`"));
                    self.pass(visit, error.hint("if that is the one you mean, ingest that address"))?;
                    return Ok(Vec::new());
                };
                if *hops == HOPS || next == *url {
                    let error = Error::invalid(format!("`{url}`: it is moved on and on, last to `{next}`"));
                    self.fail(visit, error);
                    return Ok(Vec::new());
                }
                // Its copy was another page's.
                self.shelf.remove(url)?;
                return Ok(vec![Visit { url: next, depth: *depth, hops: hops + 1 }]);
            }
            Got::Gone(status) => {
                self.shelf.remove(url)?;
                if *depth == 0 {
                    let error =
                        Error::not_found(format!("`{url}`: there is no such page (HTTP status {status})"));
                    self.first = Some(error.hint("check the address"));
                }
            }
            Got::Unreadable(kind) => {
                let error = Error::invalid(format!("`{url}` is `{kind}`, which is no format that is read"));
                self.pass(visit, error.hint("`incontext ingest --help` and the guide list the formats"))?;
            }
            Got::TooLarge => {
                let error = Error::too_long(format!("`{url}` has more than {}", size(self.crawl.max_file)));
                self.fail(visit, error.hint("allow it with `--max-file MB`"));
                return self.kept(visit);
            }
            Got::Refused(status) => {
                self.fail(
                    visit,
                    Error::invalid(format!("`{url}`: the site refuses it (HTTP status {status})")),
                );
                return self.kept(visit);
            }
            Got::Failed { why, unreachable } => {
                self.down += u32::from(unreachable);
                self.fail(visit, Error::transient(format!("`{url}`: {why}")));
                return self.kept(visit);
            }
            Got::Stopped => {}
        }
        Ok(Vec::new())
    }

    /// A page that came.
    fn page(&mut self, visit: &Visit, page: Fetched) -> Result<Vec<Visit>> {
        let Fetched { bytes, kind, charset, validators, directives } = page;
        let Some(ending) = ending(&kind, &visit.url) else { return Ok(Vec::new()) };
        let bytes = as_utf8(bytes, charset.as_deref(), ending);
        let read = match ending {
            "html" | "xhtml" => Page::read(&String::from_utf8_lossy(&bytes)),
            _ => Page::default(),
        };
        let directives = read.directives.and(directives);
        if directives.noindex {
            let error = Error::invalid(format!("`{}` asks not to be kept (`noindex`)", visit.url));
            self.pass(visit, error)?;
        } else {
            let changed =
                self.shelf.keep(&visit.url, ending, &bytes, validators, &timestamp(SystemTime::now()))?;
            let count = &mut self.crawled.count;
            *(if changed { &mut count.fetched } else { &mut count.unchanged }) += 1;
            self.found.extend(self.shelf.file(&visit.url).map(str::to_owned));
        }
        Ok(self.next(visit, &read, directives))
    }

    /// A page whose copy stays, as far as it goes.
    fn as_it_was(&mut self, visit: &Visit) -> Result<Vec<Visit>> {
        let Some((file, _)) = self.shelf.copy(&visit.url) else { return Ok(Vec::new()) };
        self.found.extend(self.shelf.file(&visit.url).map(str::to_owned));
        if !file.extension().is_some_and(|ending| ending == "html" || ending == "xhtml") {
            return Ok(Vec::new());
        }
        let bytes = std::fs::read(&file).at("read", &file)?;
        let read = Page::read(&String::from_utf8_lossy(&bytes));
        Ok(self.next(visit, &read, read.directives))
    }

    /// The same for one that could not be fetched.
    fn kept(&mut self, visit: &Visit) -> Result<Vec<Visit>> {
        match self.shelf.copy(&visit.url) {
            Some(_) => self.crawled.count.kept += 1,
            None => self.crawled.count.failed += 1,
        }
        self.as_it_was(visit)
    }

    /// The pages of this site that `read`, found at `visit`, leads to.
    fn next(&self, visit: &Visit, read: &Page, directives: Directives) -> Vec<Visit> {
        if visit.depth >= self.crawl.depth || directives.nofollow {
            return Vec::new();
        }
        let base =
            read.base.as_ref().and_then(|base| follow(&visit.url, base)).unwrap_or_else(|| visit.url.clone());
        let urls = read.links.iter().filter_map(|link| follow(&base, link));
        let here = urls.filter(|url| same_site(url, self.crawl.start));
        here.map(|url| Visit { url, depth: visit.depth + 1, hops: 0 }).collect()
    }

    /// A page that is not for us: what there was of it goes. Only of the page that was asked for the reason is said.
    fn pass(&mut self, visit: &Visit, error: Error) -> Result<()> {
        self.crawled.count.passed += 1;
        self.shelf.remove(&visit.url)?;
        if visit.depth == 0 {
            let _ = (self.on_event)(Event::Failed { error: &error });
            self.first = Some(error);
        }
        Ok(())
    }

    fn fail(&mut self, visit: &Visit, error: Error) {
        let _ = (self.on_event)(Event::Failed { error: &error });
        if visit.depth == 0 {
            self.first = Some(error);
        }
    }
}
