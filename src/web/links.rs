//! What a page says to programs: where it leads, and whether it wants to be kept and followed.

use std::convert::Infallible;

use html5gum::Tokenizer;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};

/// As a page has it, or a header `X-Robots-Tag`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// Not to be kept.
    pub(super) noindex: bool,
    /// Its links not to be followed.
    pub(super) nofollow: bool,
}

impl Directives {
    /// Of a list such as `noindex, nofollow`, which may begin with whom it is for.
    pub(super) fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut for_us = true;
        for word in text.split(',') {
            let mut word = word.trim().to_ascii_lowercase();
            if let Some((name, rest)) = word.split_once(':').filter(|(name, _)| !name.contains(' ')) {
                for_us = matches!(name, "incontext" | "robots" | "*");
                word = rest.trim().to_owned();
            }
            found.noindex |= for_us && matches!(word.as_str(), "noindex" | "none");
            found.nofollow |= for_us && matches!(word.as_str(), "nofollow" | "none");
        }
        found
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { noindex: self.noindex || other.noindex, nofollow: self.nofollow || other.nofollow }
    }
}

/// What is found on a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// As written, in order, without those that say `nofollow`.
    pub(super) links: Vec<String>,
    /// What links are relative to, if not the page.
    pub(super) base: Option<String>,
    pub(super) directives: Directives,
    /// The attributes of the tag being read.
    tag: Tag,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tag {
    name: String,
    attribute: String,
    attributes: Vec<(String, String)>,
}

impl Page {
    pub(super) fn read(html: &str) -> Self {
        let mut page = Self::default();
        let mut emitter = CallbackEmitter::new(
            |event: CallbackEvent<'_>, _: html5gum::Span<usize>| -> Option<Infallible> {
                page.event(event);
                None
            },
        );
        // So that what a script writes is no link.
        emitter.naively_switch_states(true);
        let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
        page
    }

    fn event(&mut self, event: CallbackEvent<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match event {
            CallbackEvent::OpenStartTag { name } => self.tag = Tag { name: text(name), ..Tag::default() },
            CallbackEvent::AttributeName { name } => self.tag.attribute = text(name),
            CallbackEvent::AttributeValue { value } => {
                let name = std::mem::take(&mut self.tag.attribute);
                self.tag.attributes.push((name, text(value)));
            }
            CallbackEvent::CloseStartTag { .. } => {
                let tag = std::mem::take(&mut self.tag);
                self.start_tag(&tag);
            }
            _ => {}
        }
    }

    fn start_tag(&mut self, tag: &Tag) {
        match tag.name.as_str() {
            "a" | "area" => {
                let rel = tag.get("rel").unwrap_or_default().to_ascii_lowercase();
                if let Some(link) = tag.get("href")
                    && !rel.split_whitespace().any(|word| word == "nofollow")
                {
                    self.links.push(link.to_owned());
                }
            }
            "base" if self.base.is_none() => self.base = tag.get("href").map(str::to_owned),
            "meta" => {
                let name = tag.get("name").unwrap_or_default();
                if name.eq_ignore_ascii_case("robots") || name.eq_ignore_ascii_case("incontext") {
                    let said = Directives::parse(tag.get("content").unwrap_or_default());
                    self.directives = self.directives.and(said);
                }
            }
            _ => {}
        }
    }
}

impl Tag {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_those_of_anchors_that_may_be_followed() {
        let page = Page::read(
            "<BASE href='/b/'><a href='one?a=1&amp;b=2'>1</a><A HREF=two rel='external'>2</A><a name=x>3</a>\
             <a rel='me NoFollow' href=three>4</a><area href='four'><script>'<a href=five>'</script><!-- <a href=six> -->\
             <link href=seven><a href='eight' href='nine'>",
        );
        assert_eq!(page.links, ["one?a=1&b=2", "two", "four", "eight"]);
        assert_eq!(page.base.as_deref(), Some("/b/"));
        assert_eq!(page.directives, Directives::default());
    }

    #[test]
    fn a_page_may_ask_not_to_be_kept_or_followed() {
        let said =
            |content: &str| Page::read(&format!("<meta name='Robots' content='{content}'>")).directives;
        assert_eq!(said("NOINDEX"), Directives { noindex: true, nofollow: false });
        assert_eq!(said("index, nofollow"), Directives { noindex: false, nofollow: true });
        assert_eq!(said("none"), Directives { noindex: true, nofollow: true });
        assert_eq!(said("max-snippet:3, noarchive"), Directives::default());
        assert_eq!(Page::read("<meta name=other content=noindex>").directives, Directives::default());
        assert_eq!(Directives::parse("otherbot: noindex, nofollow"), Directives::default());
        assert_eq!(Directives::parse("incontext: noindex"), Directives { noindex: true, nofollow: false });
    }
}
