//! A prompt template: its front matter, its body, one rendering.
#![no_main]

use std::collections::BTreeMap;

use incontext::prompt::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    if let Ok(template) = Template::parse("fuzz", source, &|_| Ok(String::new())) {
        let _ = template.render(&BTreeMap::from([("question", "x")]));
    }
});
