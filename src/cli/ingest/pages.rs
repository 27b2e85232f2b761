//! `ingest URL`: pages of web sites, brought here before they are ingested like any file.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde::Serialize;

use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::error::{Error, Result};
use crate::hub;
use crate::index::Home;
use crate::web::{self, Count, Crawl, Event};

/// Links from the page that is named.
const DEPTH: u32 = 1;
/// Pages of one address.
const PAGES: u32 = 200;

/// How far to go from an address.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub depth: Option<u32>,
    pub pages: Option<u32>,
    pub max_file: u64,
}

/// What is there to be ingested now, and what no longer.
#[derive(Debug, Default)]
pub struct Pages {
    pub files: Vec<PathBuf>,
    pub gone: Vec<PathBuf>,
    pub count: Count,
}

/// Those of `given` that are addresses, and the others.
///
/// # Errors
/// `Invalid` for an address that is none, for limits of a crawl without one, and where `watch` is asked for one.
pub fn addresses(given: &[PathBuf], limits: &Limits, watch: bool) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let is_address = |path: &Path| path.to_str().is_some_and(web::is_address);
    let (addresses, paths): (Vec<PathBuf>, Vec<PathBuf>) =
        given.iter().cloned().partition(|path| is_address(path));
    let addresses: Vec<String> = addresses.iter().map(|address| address.display().to_string()).collect();
    let offline = std::env::var(hub::OFFLINE).is_ok_and(|value| !value.is_empty() && value != "0");
    for address in &addresses {
        let url = web::parse(address)?;
        if watch {
            return Err(Error::invalid(format!("`--watch` follows files, and `{url}` is none"))
                .hint("ingest the address again when you want to know what has changed there"));
        }
        if offline && !web::is_here(&url) {
            return Err(Error::invalid(format!(
                "`{url}` is not on this machine, and {} is set",
                hub::OFFLINE
            ))
            .hint(format!("unset {} to fetch it", hub::OFFLINE)));
        }
    }
    let limited = [("--depth", limits.depth), ("--max-pages", limits.pages)];
    if let (true, Some((flag, _))) =
        (addresses.is_empty(), limited.into_iter().find(|(_, limit)| limit.is_some()))
    {
        return Err(Error::invalid(format!("`{flag}` is for addresses, and none is given"))
            .hint("an address begins with http:// or https://"));
    }
    Ok((addresses, paths))
}

/// Fetches the pages of `addresses` for `collection`.
///
/// # Errors
/// As [`Crawl::run`].
pub fn fetch(
    addresses: &[String],
    home: &Home,
    collection: &str,
    limits: &Limits,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Result<Pages> {
    home.create()?;
    let collections = home.collections()?;
    let mut pages = Pages::default();
    for address in addresses {
        let start = web::parse(address)?;
        let crawl = Crawl {
            home: home.dir(),
            collection,
            collections: &collections,
            start: &start,
            depth: limits.depth.unwrap_or(DEPTH),
            pages: limits.pages.unwrap_or(PAGES) as usize,
            max_file: limits.max_file,
        };
        let spinner = printer.spinner();
        let crawled = crawl.run(&shown(&spinner, interrupt, printer));
        spinner.finish_and_clear();
        let crawled = crawled?;
        printer.note(format!("{start}: {}", line(&crawled.count)));
        if crawled.cut {
            printer.note(format!("there is more than {} pages; `--max-pages` allows more", crawl.pages));
        }
        pages.files.extend(crawled.files);
        pages.gone.extend(crawled.dropped);
        add(&mut pages.count, &crawled.count);
    }
    // What one address no longer leads to, another may.
    pages.gone.retain(|file| !pages.files.contains(file));
    Ok(pages)
}

fn shown<'a>(
    spinner: &'a ProgressBar,
    interrupt: &'a Interrupt,
    printer: &'a Printer,
) -> impl Fn(Event) -> ControlFlow<()> + 'a {
    let last = RefCell::new(String::new());
    move |event| {
        match event {
            Event::Waiting => {}
            Event::Page { url, found } => spinner.set_message(format!("{found} pages; {url}")),
            Event::Failed { error } => {
                let text = error.to_string();
                if *last.borrow() != text {
                    spinner.suspend(|| printer.failed(error));
                }
                *last.borrow_mut() = text;
            }
        }
        if interrupt.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn line(count: &Count) -> String {
    let Count { fetched, unchanged, gone, kept, failed, passed } = count;
    format!(
        "pages fetched {fetched} unchanged {unchanged} gone {gone} failed {} ({kept} of them kept as they were, {passed} passed over)",
        kept + failed
    )
}

fn add(sum: &mut Count, count: &Count) {
    sum.fetched += count.fetched;
    sum.unchanged += count.unchanged;
    sum.gone += count.gone;
    sum.kept += count.kept;
    sum.failed += count.failed;
    sum.passed += count.passed;
}

/// A summary with what became of pages beside it.
#[derive(Serialize)]
pub struct With<'a, T> {
    #[serde(flatten)]
    pub summary: &'a T,
    pub pages: Count,
}
