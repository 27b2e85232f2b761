//! Words: an inverted index (tantivy) from terms to chunks, ranked by BM25.
//!
//! tantivy keeps the postings; the score is computed here, term by term over its postings, for one reason: it must
//! depend on nothing but the chunks that are there. tantivy's own statistics count deleted documents until a merge
//! happens to drop them, and it adds up a score in whatever order the segments suggest, so the same documents could rank
//! differently after another history. Here lengths are exact, deleted documents do not count, every chunk's terms are
//! added in the order of the question, and equal scores are ordered by id.
//!
//! Two fields, see [`super::analyse`]: `words` at weight 1, `names` (identifiers) at [`Ranking::names`].

use std::path::Path;

use tantivy::index::SegmentReader;
use tantivy::merge_policy::LogMergePolicy;
use tantivy::postings::{Postings, SegmentPostings};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{PreTokenizedString, Token};
use tantivy::{DocSet, Index, IndexWriter, ReloadPolicy, TERMINATED, TantivyDocument, Term};

use crate::error::{Error, IoContext, Result};

use super::ChunkId;
use super::analyse::{Analyser, Terms};
use super::profile::{self, Ranking};
use super::store::best;

/// Of the one indexing thread; tantivy takes no less.
const WRITER_BYTES: usize = 32 << 20;

/// The inverted index, open for reading. It sees what had been committed when it was opened.
pub struct Words {
    analyser: Analyser,
    fields: Fields,
    ranking: Ranking,
    segments: Vec<Segment>,
    /// Chunks that are there.
    chunks: u64,
    /// Mean number of terms of a chunk, by field.
    mean: [f32; 2],
}

/// The inverted index, open for writing.
pub struct WordsWriter {
    analyser: Analyser,
    fields: Fields,
    writer: IndexWriter,
}

#[derive(Clone, Copy)]
struct Fields {
    id: Field,
    words: Field,
    names: Field,
    words_length: Field,
    names_length: Field,
}

/// The weight of a question's term: what is needed to score it in any chunk.
struct Weighed {
    term: Term,
    /// 0 for words, 1 for names.
    field: usize,
    /// Inverse document frequency x repetitions in the question x the field's weight.
    weight: f32,
}

/// A segment's columns, read once.
struct Segment {
    reader: SegmentReader,
    ids: Vec<ChunkId>,
    /// Terms of each document, by field.
    lengths: [Vec<u64>; 2],
}

impl Words {
    /// Opens the index in the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is none or it cannot be read.
    pub fn open(dir: &Path, settings: &profile::Lexical) -> Result<Self> {
        let (schema, fields) = schema();
        let index = Index::open_in_dir(dir).map_err(|error| damaged(dir, &error))?;
        same_layout(dir, &index, &schema)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let searcher = reader.map_err(|error: tantivy::TantivyError| damaged(dir, &error))?.searcher();
        let segments =
            searcher.segment_readers().iter().map(Segment::open).collect::<tantivy::Result<Vec<_>>>();
        let segments = segments.map_err(|error| damaged(dir, &error))?;

        let chunks: u64 = segments.iter().map(|segment| u64::from(segment.reader.num_docs())).sum();
        let mean = [0, 1].map(|field| {
            let total: u64 = segments.iter().map(|segment| segment.total_length(field)).sum();
            total as f32 / chunks.max(1) as f32
        });
        Ok(Self {
            analyser: Analyser::new(settings),
            fields,
            ranking: settings.ranking,
            segments,
            chunks,
            mean,
        })
    }

    /// The `k` chunks that BM25 ranks first, with their scores, best first, equal ones by id. A chunk needs one of the
    /// question's terms; there is no query syntax.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the postings cannot be read.
    pub fn search(&self, question: &str, k: usize) -> Result<Vec<(ChunkId, f32)>> {
        self.search_among(None, question, k)
    }

    /// The same among the chunks `chosen` alone, ascending. Their scores are those they have among all: what is rare, and how
    /// long a chunk is on the average, is asked of the whole index.
    ///
    /// # Errors
    /// As [`Words::search`].
    pub fn search_among(
        &self,
        chosen: Option<&[ChunkId]>,
        question: &str,
        k: usize,
    ) -> Result<Vec<(ChunkId, f32)>> {
        let is_chosen = |id: &ChunkId| chosen.is_none_or(|ids| ids.binary_search(id).is_ok());
        let terms = self.weighed(&self.analyser.analyse(question)).map_err(|error| unreadable(&error))?;
        let mut found = Vec::new();
        for segment in &self.segments {
            let scores = self.scores(segment, &terms).map_err(|error| unreadable(&error))?;
            let hits = scores.iter().zip(&segment.ids).filter(|(score, id)| **score > 0.0 && is_chosen(id));
            found.extend(hits.map(|(&score, &id)| (id, score)));
        }
        Ok(best(found, k))
    }

    /// The distinct words of `text` in order, each with its inverse document frequency here.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the postings cannot be read.
    pub fn query_terms(&self, text: &str) -> Result<Vec<(String, f32)>> {
        let words = counted(self.analyser.analyse(text).words);
        let idf = |word: &str| self.idf(0, word).map_err(|error| unreadable(&error));
        words.into_iter().map(|(word, _)| Ok((word.clone(), idf(&word)?))).collect()
    }

    /// The words of `text` as they are stored and searched, in order, with repetitions.
    pub fn analyse(&self, text: &str) -> Vec<String> {
        self.analyser.analyse(text).words
    }

    /// Every chunk there is, ascending.
    pub fn ids(&self) -> Vec<ChunkId> {
        let alive = |segment: &'_ Segment| -> Vec<ChunkId> {
            segment.reader.doc_ids_alive().map(|doc| segment.ids[doc as usize]).collect()
        };
        let mut ids: Vec<_> = self.segments.iter().flat_map(alive).collect();
        ids.sort_unstable();
        ids
    }

    /// How many chunks there are.
    pub fn count(&self) -> usize {
        self.chunks as usize
    }

    fn weighed(&self, terms: &Terms) -> tantivy::Result<Vec<Weighed>> {
        let words = counted(terms.words.clone()).into_iter().map(|term| (0, self.fields.words, 1.0, term));
        let names = counted(terms.names.clone())
            .into_iter()
            .map(|term| (1, self.fields.names, self.ranking.names, term));
        words
            .chain(names)
            .map(|(field, of, boost, (term, repetitions))| {
                let weight = self.idf(field, &term)? * repetitions as f32 * boost;
                Ok(Weighed { term: Term::from_field_text(of, &term), field, weight })
            })
            .collect()
    }

    /// ln(1 + (N - n + 0.5) / (n + 0.5)) over the chunks that are there.
    fn idf(&self, field: usize, term: &str) -> tantivy::Result<f32> {
        let term = Term::from_field_text([self.fields.words, self.fields.names][field], term);
        let mut holding = 0;
        for segment in &self.segments {
            holding += segment.frequency(&term)?;
        }
        Ok((1.0 + ((self.chunks - holding) as f32 + 0.5) / (holding as f32 + 0.5)).ln())
    }

    /// BM25 of every document of a segment; 0 where no term occurs or the document is deleted.
    fn scores(&self, segment: &Segment, terms: &[Weighed]) -> tantivy::Result<Vec<f32>> {
        let Ranking { k1, b, .. } = self.ranking;
        let mut scores = vec![0.0; segment.ids.len()];
        for Weighed { term, field, weight } in terms {
            let Some(mut postings) = segment.postings(term)? else { continue };
            let (lengths, mean) = (&segment.lengths[*field], self.mean[*field]);
            while postings.doc() != TERMINATED {
                let doc = postings.doc() as usize;
                let (frequency, length) = (postings.term_freq() as f32, lengths[doc] as f32);
                scores[doc] +=
                    weight * frequency * (k1 + 1.0) / (frequency + k1 * (1.0 - b + b * length / mean));
                postings.advance();
            }
        }
        for doc in (0..scores.len()).filter(|&doc| segment.reader.is_deleted(doc as u32)) {
            scores[doc] = 0.0;
        }
        Ok(scores)
    }
}

impl Segment {
    fn open(reader: &SegmentReader) -> tantivy::Result<Self> {
        let column = |name: &str| -> tantivy::Result<Vec<u64>> {
            let values = reader.fast_fields().column_first_or_default::<u64>(name)?;
            Ok((0..reader.max_doc()).map(|doc| values.get_val(doc)).collect())
        };
        let (ids, lengths) = (column("id")?, [column("words_length")?, column("names_length")?]);
        Ok(Self { reader: reader.clone(), ids, lengths })
    }

    fn total_length(&self, field: usize) -> u64 {
        self.reader.doc_ids_alive().map(|doc| self.lengths[field][doc as usize]).sum()
    }

    fn postings(&self, term: &Term) -> tantivy::Result<Option<SegmentPostings>> {
        Ok(self.reader.inverted_index(term.field())?.read_postings(term, IndexRecordOption::WithFreqs)?)
    }

    /// Documents that hold `term` and are not deleted.
    fn frequency(&self, term: &Term) -> tantivy::Result<u64> {
        let Some(postings) = self.postings(term)? else { return Ok(0) };
        let frequency = match self.reader.alive_bitset() {
            Some(alive) => postings.doc_freq_given_deletes(alive),
            None => postings.doc_freq(),
        };
        Ok(frequency.into())
    }
}

impl WordsWriter {
    /// Opens the index in the folder `dir`, or makes an empty one there.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when what is there cannot be opened.
    pub fn open(dir: &Path, settings: &profile::Lexical) -> Result<Self> {
        std::fs::create_dir_all(dir).at("create", dir)?;
        let (schema, fields) = schema();
        let index = match dir.join("meta.json").exists() {
            true => Index::open_in_dir(dir),
            false => Index::create_in_dir(dir, schema.clone()),
        };
        let index = index.map_err(|error| damaged(dir, &error))?;
        same_layout(dir, &index, &schema)?;
        // One thread: batches are small, and chunks keep the order in which they come.
        let writer = index.writer_with_num_threads(1, WRITER_BYTES).map_err(|error| damaged(dir, &error))?;
        let mut policy = LogMergePolicy::default();
        policy.set_del_docs_ratio_before_merge(0.3);
        writer.set_merge_policy(Box::new(policy));
        Ok(Self { analyser: Analyser::new(settings), fields, writer })
    }

    /// Adds a chunk under an id that is not there yet. Seen after [`WordsWriter::commit`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the indexing thread has died.
    pub fn add(&mut self, id: ChunkId, text: &str) -> Result<()> {
        let Terms { words, names } = self.analyser.analyse(text);
        let mut document = TantivyDocument::default();
        document.add_u64(self.fields.id, id);
        document.add_u64(self.fields.words_length, words.len() as u64);
        document.add_u64(self.fields.names_length, names.len() as u64);
        document.add_pre_tokenized_text(self.fields.words, tokens(words));
        document.add_pre_tokenized_text(self.fields.names, tokens(names));
        self.writer.add_document(document).map(drop).map_err(|error| unwritable(&error))
    }

    /// Removes chunks; unknown ids are no error. Seen after [`WordsWriter::commit`].
    pub fn delete(&mut self, ids: &[ChunkId]) {
        for &id in ids {
            self.writer.delete_term(Term::from_field_u64(self.fields.id, id));
        }
    }

    /// Makes everything so far durable and visible to those who open the index from now on. A writer dropped without it leaves
    /// no trace.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what stopped it, such as a full disk.
    pub fn commit(&mut self) -> Result<()> {
        self.writer.commit().map(drop).map_err(|error| unwritable(&error))
    }

    /// Waits for merges under way and closes the index.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with what stopped a merge.
    pub fn close(self) -> Result<()> {
        self.writer.wait_merging_threads().map_err(|error| unwritable(&error))
    }
}

fn schema() -> (Schema, Fields) {
    let indexing =
        TextFieldIndexing::default().set_index_option(IndexRecordOption::WithFreqs).set_fieldnorms(false);
    let text = TextOptions::default().set_indexing_options(indexing);
    let mut schema = Schema::builder();
    let fields = Fields {
        id: schema.add_u64_field("id", INDEXED | FAST),
        words: schema.add_text_field("words", text.clone()),
        names: schema.add_text_field("names", text),
        words_length: schema.add_u64_field("words_length", FAST),
        names_length: schema.add_u64_field("names_length", FAST),
    };
    (schema.build(), fields)
}

fn same_layout(dir: &Path, index: &Index, schema: &Schema) -> Result<()> {
    if index.schema() == *schema {
        return Ok(());
    }
    Err(Error::corrupt(format!("words in `{}` have another layout", dir.display()))
        .hint("`incontext ingest` again rebuilds what is missing"))
}

fn tokens(terms: Vec<String>) -> PreTokenizedString {
    let token = |(position, text)| Token { position, text, ..Token::default() };
    PreTokenizedString { text: String::new(), tokens: terms.into_iter().enumerate().map(token).collect() }
}

/// Distinct terms in order of first occurrence, with how often each occurs.
pub(super) fn counted(terms: Vec<String>) -> Vec<(String, usize)> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for term in terms {
        match counted.iter_mut().find(|(seen, _)| *seen == term) {
            Some((_, times)) => *times += 1,
            None => counted.push((term, 1)),
        }
    }
    counted
}

fn damaged(dir: &Path, error: &tantivy::TantivyError) -> Error {
    Error::corrupt(format!("words in `{}`: {error}", dir.display()))
        .hint("`incontext ingest` again rebuilds what is missing")
}

fn unreadable(error: &tantivy::TantivyError) -> Error {
    Error::corrupt(format!("reading words: {error}"))
        .hint("`incontext ingest` again rebuilds what is missing")
}

fn unwritable(error: &tantivy::TantivyError) -> Error {
    Error::corrupt(format!("writing words: {error}"))
        .hint("is the disk full? then free some space and ingest again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> (tempfile::TempDir, WordsWriter) {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = WordsWriter::open(dir.path(), &profile::Lexical::default()).unwrap();
        for (id, text) in (1..).zip(texts) {
            writer.add(id, text).unwrap();
        }
        writer.commit().unwrap();
        (dir, writer)
    }

    fn open(dir: &tempfile::TempDir) -> Words {
        Words::open(dir.path(), &profile::Lexical::default()).unwrap()
    }

    fn found(words: &Words, question: &str) -> Vec<ChunkId> {
        words.search(question, 10).unwrap().into_iter().map(|hit| hit.0).collect()
    }

    #[test]
    fn the_score_is_bm25_to_the_letter() {
        let (dir, _writer) = index(&["apple banana", "apple apple cherry date", "egg"]);
        // N 3, n 2, mean length 7/3, k1 1.2, b 0.75
        let idf = (1.0f32 + (3.0 - 2.0 + 0.5) / (2.0 + 0.5)).ln();
        let tf = |f: f32, length: f32| f * 2.2 / (f + 1.2 * (0.25 + 0.75 * length / (7.0 / 3.0)));
        let hits = open(&dir).search("apples", 10).unwrap();
        let expected = [(2, idf * tf(2.0, 4.0)), (1, idf * tf(1.0, 2.0))];
        for (hit, expected) in hits.iter().zip(expected) {
            assert_eq!(hit.0, expected.0);
            assert!((hit.1 - expected.1).abs() < 1e-6);
        }
        assert_eq!(hits.len(), 2);
    }

    #[test]
    fn any_term_of_the_question_is_enough_and_syntax_means_nothing() {
        let (dir, _writer) = index(&["owning a value", "borrowing a value", "中文资料"]);
        let words = open(&dir);
        assert_eq!(found(&words, "own OR title:\"borrowed\" AND -(x"), [1, 2]);
        assert_eq!(found(&words, "文资"), [3]);
        assert!(found(&words, "to be or not to be").is_empty());
        assert!(found(&words, "").is_empty());
    }

    #[test]
    fn an_exact_identifier_beats_its_parts() {
        let (dir, _writer) =
            index(&["bar foo and foo bar again", "foo_bar here it stays", "v1.2.3 came", "v1.2.4 came"]);
        let words = open(&dir);
        assert_eq!(found(&words, "foo_bar"), [2, 1]);
        assert_eq!(found(&words, "v1.2.3"), [3]);
    }

    #[test]
    fn equal_scores_are_ordered_by_id() {
        let (dir, _writer) = index(&["same words"; 9]);
        assert_eq!(open(&dir).search("words", 3).unwrap().iter().map(|h| h.0).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn deleted_chunks_leave_no_trace_in_scores() {
        let (dir, mut writer) =
            index(&["apple pie recipe", "apple", "cherry and foo_bar", "apple tart", "fig"]);
        writer.delete(&[2, 3, 99]);
        writer.add(6, "apple crumble of figs").unwrap();
        writer.commit().unwrap();
        let (fresh, mut writer) = index(&[]);
        for (id, text) in
            [(6, "apple crumble of figs"), (5, "fig"), (4, "apple tart"), (1, "apple pie recipe")]
        {
            writer.add(id, text).unwrap();
            writer.commit().unwrap();
        }
        let (old, new) = (open(&dir), open(&fresh));
        assert_eq!(old.ids(), [1, 4, 5, 6]);
        assert_eq!(old.count(), 4);
        for question in ["apple", "fig pie", "cherry", "apple figs foo_bar"] {
            assert_eq!(old.search(question, 10).unwrap(), new.search(question, 10).unwrap());
            assert_eq!(old.query_terms(question).unwrap(), new.query_terms(question).unwrap());
        }
    }

    #[test]
    fn among_chosen_chunks_the_best_of_these_come_with_the_scores_they_have_among_all() {
        let (dir, _writer) =
            index(&["apple", "apple pear fig", "apple apple", "pear", "apple pie with cream"]);
        let words = open(&dir);
        let all = words.search("apple", 10).unwrap();
        let last = all[all.len() - 1];
        assert_eq!(words.search_among(Some(&[last.0]), "apple", 1).unwrap(), [last]);
        assert_eq!(words.search_among(Some(&[4]), "apple", 1).unwrap(), []);
        let two: Vec<_> = all.iter().copied().filter(|hit| [2, 5].contains(&hit.0)).collect();
        assert_eq!(words.search_among(Some(&[2, 4, 5]), "apple", 10).unwrap(), two);
    }

    #[test]
    fn what_was_not_committed_is_not_there() {
        let (dir, mut writer) = index(&["apple"]);
        writer.add(2, "pear").unwrap();
        drop(writer);
        WordsWriter::open(dir.path(), &profile::Lexical::default()).unwrap().commit().unwrap();
        assert_eq!(open(&dir).ids(), [1]);
    }

    #[test]
    fn rare_words_weigh_more_than_common_ones() {
        let (dir, _writer) = index(&["apple", "apple pear", "apple"]);
        let words = open(&dir);
        let terms = words.query_terms("Apples, the pears and kiwis; apples").unwrap();
        assert_eq!(terms.iter().map(|t| t.0.as_str()).collect::<Vec<_>>(), ["appl", "pear", "kiwi"]);
        assert!(terms.is_sorted_by(|a, b| a.1 < b.1));
        assert_eq!(words.analyse("the Pears"), ["pear"]);
    }
}
