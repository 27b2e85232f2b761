//! Files whose bytes are not their text: read by the real program, cited by page, and refused by name when they are
//! broken, locked or made to harm.

use std::fs;
use std::io::{Cursor, Write};

use crate::bad_input::{assert_usable, folder, ingest, summary};
use crate::run::Folder;

/// A PDF of pages of lines, in 10 points from the top; `trailer` may hold more.
fn pdf(pages: &[&[&str]], trailer: &str) -> Vec<u8> {
    let kids: String = (0..pages.len()).map(|page| format!("{} 0 R ", 10 + 2 * page)).collect();
    let mut file = format!(
        "%PDF-1.4\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n\
         2 0 obj\n<</Type/Pages/Count {}/Kids[{kids}]>>\nendobj\n\
         3 0 obj\n<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>\nendobj\n",
        pages.len()
    );
    for (page, lines) in pages.iter().enumerate() {
        let id = 10 + 2 * page;
        let show =
            |(at, line): (usize, &&str)| format!("BT /F 10 Tf 50 {} Td ({line}) Tj ET\n", 700 - 12 * at);
        let content: String = lines.iter().enumerate().map(show).collect();
        let resources = "/MediaBox[0 0 600 800]/Resources<</Font<</F 3 0 R>>>>";
        file +=
            &format!("{id} 0 obj\n<</Type/Page/Parent 2 0 R/Contents {} 0 R{resources}>>\nendobj\n", id + 1);
        file +=
            &format!("{} 0 obj\n<</Length {}>>stream\n{content}\nendstream\nendobj\n", id + 1, content.len());
    }
    let ids = (1..4).chain(10..10 + 2 * pages.len());
    let places = ids.map(|id| (id, file.find(&format!("\n{id} 0 obj")).unwrap() + 1));
    let table: String = places.map(|(id, at)| format!("{id} 1\n{at:010} 00000 n \n")).collect();
    let at = file.len();
    file += &format!("xref\n0 1\n0000000000 65535 f \n{table}trailer<</Size 99/Root 1 0 R{trailer}>>\n");
    (file + &format!("startxref\n{at}\n%%EOF\n")).into_bytes()
}

fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn hit(folder: &Folder, word: &str) -> serde_json::Value {
    folder.ok(&["search", word, "--mode", "lexical", "--json"]).json()["hits"][0].clone()
}

#[test]
fn a_pdf_is_cited_by_page_until_its_file_changes() {
    let folder = folder();
    fs::write(
        folder.at("docs/p.pdf"),
        pdf(&[&["falo bado."], &["The valo of the kimo is a mate-", "rilo."]], ""),
    )
    .unwrap();
    assert_eq!(ingest(&folder), ("added 2 updated 0 unchanged 0 removed 0 failed 0".into(), String::new()));
    let found = hit(&folder, "kimo");
    assert_eq!((&found["path"], &found["title"]), (&"docs/p.pdf".into(), &"p".into()));
    // The passage begins on the first page; the sentence stands on the second.
    assert_eq!(found["page"], 1);
    assert!(found["text"].as_str().unwrap().contains("a materilo."), "{found}");
    assert!(folder.ok(&["search", "kimo", "--mode", "lexical"]).out.contains("docs/p.pdf p. 1"));

    let ask = |args: &[&str]| folder.run(&[&["ask", "What is the valo of the kimo?"], args].concat());
    let answer = ask(&["--json"]);
    if answer.code == Some(0) {
        let citation = answer.json()["citations"][0].clone();
        assert_eq!((&citation["page"], &citation["status"]), (&2.into(), &"verified".into()), "{citation}");
        assert_eq!(citation["quote"], "The valo of the kimo is a materilo.");
        assert!(ask(&[]).out.contains("docs/p.pdf p. 2"));
        fs::write(folder.at("docs/p.pdf"), pdf(&[&["other"]], "")).unwrap();
        assert_eq!(ask(&["--json"]).json()["citations"][0]["status"], "changed");
    }
    assert_usable(&folder);
    // What comes near and is not enough has its page too.
    let profile = folder.at(".incontext/collections/default/profile.toml");
    let strict = fs::read_to_string(&profile).unwrap() + "\n[gate]\nthreshold = 1.0\n";
    fs::write(&profile, strict).unwrap();
    let refused = ask(&[]);
    assert!(refused.code == Some(3) && refused.out.contains("nearest: docs/p.pdf p. 1"), "{refused:#?}");
}

#[test]
fn a_broken_or_locked_file_is_named_with_its_reason_and_the_rest_goes_in() {
    let folder = folder();
    let whole = pdf(&[&["malo nalo"]], "");
    let zeros = "0".repeat(64);
    let locked = format!("/ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{zeros}>/U<{zeros}>>>");
    let noise: Vec<u8> = (0..5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut noisy = b"%PDF-1.7\n".to_vec();
    noisy.extend(&noise);
    let bomb = zipped(&[("word/document.xml", &"<w:p/>".repeat(3_000_000))]);
    assert!(bomb.len() < 200_000);
    for (name, bytes, _) in [
        ("cut.pdf", &whole[..whole.len() - 40], ""),
        ("half.pdf", &whole[..whole.len() / 2], ""),
        ("locked.pdf", &pdf(&[&["x"]], &locked), ""),
        ("noise.pdf", &noise, ""),
        ("noisy.pdf", &noisy, ""),
        ("scan.pdf", &pdf(&[&[]], ""), ""),
        ("bomb.docx", &bomb, ""),
        ("noise.docx", &noise, ""),
        ("other.epub", &zipped(&[("a", "b")]), ""),
    ] {
        fs::write(folder.at("docs").join(name), bytes).unwrap();
    }
    folder.write("docs/bad.json", "{\"a\": ");
    folder.write("docs/bad.ipynb", "{}");
    let start = std::time::Instant::now();
    let (counts, said) = ingest(&folder);
    assert_eq!(counts, "added 1 updated 0 unchanged 0 removed 0 failed 11", "{said}");
    for complaint in [
        "`docs/cut.pdf`: a PDF that is cut off",
        "`docs/half.pdf`: ",
        "`docs/locked.pdf`: locked by a password",
        "`docs/noise.pdf`: not a PDF",
        "`docs/noisy.pdf`: ",
        "`docs/scan.pdf`: a PDF of 1 pages without text",
        "`docs/bomb.docx`: `word/document.xml` inside",
        "`docs/noise.docx`: not a whole zip archive",
        "`docs/other.epub`: a zip archive, but not an EPUB",
        "`docs/bad.json`: not JSON",
        "`docs/bad.ipynb`: JSON, but no notebook",
    ] {
        assert!(said.contains(complaint), "{complaint}: {said}");
    }
    assert!(start.elapsed().as_secs() < 60);
    assert_usable(&folder);
}

#[test]
fn a_table_of_a_million_lines_is_refused_soon_and_within_little_memory() {
    let folder = folder();
    folder.write("docs/long.csv", &"bado,fido\n".repeat(1_000_000));
    folder.write("docs/short.csv", "name,says\nkilo,\"malo, nalo\"\n");
    let start = std::time::Instant::now();
    let (counts, said) = ingest(&folder);
    assert_eq!(counts, "added 2 updated 0 unchanged 0 removed 0 failed 1", "{said}");
    assert!(said.contains("`docs/long.csv`: a table of more than 200000 rows"), "{said}");
    assert!(start.elapsed().as_secs() < 30);
    let found = hit(&folder, "nalo");
    assert_eq!(
        (&found["text"], &found["lines"]),
        (&"name: kilo\nsays: malo, nalo".into(), &[2, 2][..].into())
    );
    assert_usable(&folder);
}

#[test]
fn office_files_books_notebooks_and_data_are_found_by_what_they_say() {
    let folder = folder();
    let text = "<w:document><w:p><w:r><w:t>A rado in words.</w:t></w:r></w:p></w:document>";
    fs::write(folder.at("docs/a.docx"), zipped(&[("word/document.xml", text)])).unwrap();
    let book = [
        ("META-INF/container.xml", "<container><rootfile full-path=\"b.opf\"/></container>"),
        (
            "b.opf",
            "<package><title>Book</title><item id=\"c\" href=\"c.xhtml\" media-type=\"application/xhtml+xml\"/><itemref idref=\"c\"/></package>",
        ),
        ("c.xhtml", "<html><body><h1>One</h1><p>A sado in a book.</p></body></html>"),
    ];
    fs::write(folder.at("docs/b.epub"), zipped(&book)).unwrap();
    folder.write(
        "docs/c.ipynb",
        "{\"cells\": [{\"cell_type\": \"markdown\", \"source\": [\"# Tado\\n\", \"in a cell\"]}]}",
    );
    folder.write("docs/d.json", "{\"deep\": {\"er\": \"a vado\"}}");
    folder.write("docs/e.rst", "Zado\n====\n\nA :ref:`wado <x>`.\n");
    assert_eq!(ingest(&folder).0, "added 6 updated 0 unchanged 0 removed 0 failed 0");
    for (word, path, text) in [
        ("rado", "docs/a.docx", "A rado in words."),
        ("sado", "docs/b.epub", "One\n\nA sado in a book."),
        ("tado", "docs/c.ipynb", "# Tado\nin a cell"),
        ("vado", "docs/d.json", "deep.er: a vado"),
        ("wado", "docs/e.rst", "Zado\n\nA wado."),
    ] {
        let found = hit(&folder, word);
        assert_eq!((&found["path"], &found["text"]), (&path.into(), &text.into()));
        assert_eq!(found.get("page"), None);
    }
    assert_usable(&folder);
}

#[cfg(unix)]
#[test]
fn a_command_of_the_person_s_own_reads_what_is_not_built_in() {
    let folder = folder();
    folder.write("docs/a.xyz", "malo nalo");
    folder.write("docs/-b.xyz", "kilo");
    let with = |loader: &str| {
        summary(folder.run(&["ingest", "docs", "--profile", "profile.toml", "--loader", loader]))
    };
    let (counts, said) = with("xyz=tr a-m A-M {}");
    assert!(counts.ends_with("failed 2") && said.contains("`tr` failed (exit code"), "{counts} {said}");
    assert_eq!(with("xyz=cat {}").0, "added 2 updated 0 unchanged 1 removed 0 failed 0");
    assert_eq!(hit(&folder, "nalo")["path"], "docs/a.xyz");
    let ran = folder.run(&["ingest", "docs", "--loader", "xyz"]);
    assert!(ran.code == Some(1) && ran.err.contains("no `=`"), "{ran:#?}");
}
