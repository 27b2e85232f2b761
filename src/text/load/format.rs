//! How a file is read, decided by its name alone: a table.

use std::path::Path;

use crate::text::document::Format;

const MARKDOWN: &[&str] = &["md", "markdown", "mdx", "mdown", "mkd"];
const TEXT: &[&str] = &["txt", "text", "log", "adoc", "asciidoc", "org", "tex"];
const HTML: &[&str] = &["html", "htm", "xhtml"];
const JSON_LINES: &[&str] = &["jsonl", "ndjson"];
const PDF: &[&str] = &["pdf"];
const DOCX: &[&str] = &["docx", "docm", "dotx"];
const EPUB: &[&str] = &["epub"];
const TABLE: &[&str] = &["csv", "tsv"];
const JSON: &[&str] = &["json"];
const NOTEBOOK: &[&str] = &["ipynb"];
const RST: &[&str] = &["rst"];

/// Programs and the files that configure them.
const CODE: &[&str] = &[
    "awk", "bash", "bat", "bzl", "c", "cc", "cfg", "clj", "cljs", "cmake", "conf", "cpp", "cr", "cs", "css",
    "cu", "cuh", "cxx", "d", "dart", "ebnf", "el", "elm", "erl", "ex", "exs", "f", "f90", "fish", "fs",
    "fsx", "gd", "glsl", "go", "gradle", "graphql", "groovy", "h", "hcl", "hh", "hpp", "hrl", "hs", "hxx",
    "ini", "j2", "java", "jinja", "jl", "js", "jsx", "kt", "kts", "less", "lisp", "lua", "m", "mjs", "ml",
    "mli", "mm", "nim", "nix", "pas", "php", "pl", "pm", "proto", "ps1", "py", "pyi", "r", "rb", "rkt", "rs",
    "sass", "scala", "scm", "scss", "sh", "sol", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts", "tsx",
    "v", "vb", "vhd", "vim", "vue", "wgsl", "yaml", "yml", "zig", "zsh",
];

/// Names that need no extension to be known, in lower case.
const TEXT_NAMES: &[&str] = &[
    "authors",
    "changelog",
    "changes",
    "contributing",
    "contributors",
    "copying",
    "credits",
    "faq",
    "history",
    "install",
    "license",
    "licence",
    "maintainers",
    "news",
    "notice",
    "readme",
    "thanks",
    "todo",
];
const CODE_NAMES: &[&str] = &[
    "build",
    "cmakelists.txt",
    "containerfile",
    "dockerfile",
    "gemfile",
    "gnumakefile",
    "jenkinsfile",
    "justfile",
    "makefile",
    "procfile",
    "rakefile",
    "vagrantfile",
    "workspace",
];

/// How the file called `path` is read; `None` when its name says nothing. Upper and lower case are the same.
pub fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    if CODE_NAMES.contains(&name.as_str()) {
        return Some(Format::Code);
    }
    let Some(extension) = Path::new(&name).extension().and_then(|extension| extension.to_str()) else {
        // `LICENSE-MIT` and `README_zh` are a licence and a readme.
        let stem = name.split(['-', '_']).next().unwrap_or(&name);
        return TEXT_NAMES.contains(&stem).then_some(Format::Text);
    };
    let table = [
        (MARKDOWN, Format::Markdown),
        (TEXT, Format::Text),
        (HTML, Format::Html),
        (JSON_LINES, Format::JsonLines),
        (PDF, Format::Pdf),
        (DOCX, Format::Docx),
        (EPUB, Format::Epub),
        (TABLE, Format::Table),
        (JSON, Format::Json),
        (NOTEBOOK, Format::Notebook),
        (RST, Format::Rst),
        (CODE, Format::Code),
    ];
    table.into_iter().find(|(extensions, _)| extensions.contains(&extension)).map(|(_, format)| format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_the_format() {
        for (name, format) in [
            ("a/b.md", Some(Format::Markdown)),
            ("B.MDX", Some(Format::Markdown)),
            ("notes.txt", Some(Format::Text)),
            ("README", Some(Format::Text)),
            ("LICENSE-MIT", Some(Format::Text)),
            ("CMakeLists.txt", Some(Format::Code)),
            ("Dockerfile", Some(Format::Code)),
            ("main.rs", Some(Format::Code)),
            ("corpus.ndjson", Some(Format::JsonLines)),
            ("index.htm", Some(Format::Html)),
            ("Paper.PDF", Some(Format::Pdf)),
            ("photo.jpg", None),
            ("mystery", None),
        ] {
            assert_eq!(format_of(Path::new(name)), format, "{name}");
        }
    }
}
