//! How a collection is built: the settings that decide what is stored, and the few that only decide how it is ranked.
//!
//! The first kind (chunker, embedder, distance, word analysis) is fixed when a collection is made: vectors of another
//! model or passages of another size next to the old ones would compare apples with pears without anyone noticing, so
//! [`Profile::check`] refuses and names both sides. The second kind (fusion, ranking weights) may be edited at any time.
//! Knows nothing of models: the embedder is a name, a fingerprint and a length.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, IoContext, Result};
use crate::text::chunk::Limits;

/// The profile the binary carries; `index/default.toml`.
pub const DEFAULT_PROFILE: &str = include_str!("../../index/default.toml");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub chunker: Limits,
    pub embedder: Embedder,
    #[serde(default)]
    pub vectors: Vectors,
    #[serde(default)]
    pub lexical: Lexical,
    #[serde(default)]
    pub fusion: Fusion,
    /// Only of a collection that was calibrated; others follow the program's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// Only of a collection whose vectors and words a Qdrant server keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
}

/// A Qdrant server or cluster, and how it keeps a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// `http://host:6334`, or `https://`; may be edited when the server moves.
    pub url: String,
    /// What the collection is called there, up to the number of the time it was built; empty: a name that is nobody else's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub collection: String,
    /// Parts that a collection is split into, each on one machine of a cluster.
    pub shard_number: u32,
    /// Machines that hold each part.
    pub replication_factor: u32,
    pub quantization: Quantization,
    /// Words of a chunk on the average, stop words left out: what BM25 measures a chunk's length by.
    pub mean_length: f32,
}

/// What of the vectors a server holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quantization {
    /// Themselves.
    #[default]
    None,
    /// One byte a value; what they find is compared again with the vectors on the disk.
    Scalar,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedder {
    pub name: String,
    /// Length of a vector.
    pub dimension: usize,
    /// Digest of the weights; empty in a profile that leaves it to whoever loads the model.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vectors {
    pub distance: Distance,
    /// Up to this many points every vector is compared; above, an HNSW graph is built.
    pub exact_below: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    Cosine,
}

/// How text becomes the words that are stored and searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lexical {
    pub language: Language,
    pub stop_words: bool,
    pub stemmer: bool,
    pub ranking: Ranking,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    English,
}

/// BM25's constants and the weight of identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ranking {
    pub k1: f32,
    pub b: f32,
    pub names: f32,
}

/// How the two legs become one list.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "WrittenFusion")]
pub struct Fusion {
    pub method: Method,
    /// Convex: what is made of the scores.
    pub scale: Scale,
    /// Reciprocal rank fusion: a passage at rank r (from 1) scores 1 / (k + r).
    pub k: f32,
    /// Convex: the share of the dense leg, from 0 to 1.
    pub alpha: f32,
    /// Passages each leg hands over.
    pub candidates: usize,
}

/// Fusion as a profile has it, where fields may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFusion {
    method: Option<Method>,
    scale: Option<Scale>,
    k: Option<f32>,
    alpha: Option<f32>,
    candidates: Option<usize>,
}

impl From<WrittenFusion> for Fusion {
    /// A collection ranks as on the day it was built: who named a method and no scale did so before there was one.
    fn from(written: WrittenFusion) -> Self {
        let now = Self::default();
        let before = written.method.is_some();
        let scale = written.scale.unwrap_or(if before { Scale::MinMax } else { now.scale });
        let alpha = written.alpha.unwrap_or(if scale == now.scale { now.alpha } else { MINMAX_ALPHA });
        Self {
            method: written.method.unwrap_or(now.method),
            scale,
            k: written.k.unwrap_or(now.k),
            alpha,
            candidates: written.candidates.unwrap_or(now.candidates),
        }
    }
}

/// The share of the dense leg over min-max normalised scores, unless a profile says otherwise.
const MINMAX_ALPHA: f32 = 0.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Rrf,
    Convex,
}

/// What a convex combination makes of a leg's scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// The leg's best candidate has 1 and its worst 0. What profiles meant before there was a choice.
    #[default]
    MinMax,
    /// How far above the floor a score is, the floor being what a passage has at most that the leg did not name: a cosine
    /// as it is; BM25, whose own bounds depend on the question, as a share of the leg's best.
    Natural,
}

/// A logistic model of whether a question is answerable, over what `retrieve::gate` sees of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gate {
    pub intercept: f32,
    pub best_cosine: f32,
    pub gap: f32,
    pub coverage: f32,
    pub bm25: f32,
    pub agreement: f32,
    pub sentence_cosine: f32,
    pub sentence_coverage: f32,
    /// Below this confidence a question is not answered.
    pub threshold: f32,
}

/// Starting values, see `retrieve::gate`.
impl Default for Gate {
    fn default() -> Self {
        Self {
            intercept: -13.6,
            best_cosine: 5.0,
            gap: 0.0,
            coverage: 6.5,
            bm25: 0.0,
            agreement: 0.0,
            sentence_cosine: 13.0,
            sentence_coverage: 3.5,
            threshold: 0.5,
        }
    }
}

impl Default for Vectors {
    fn default() -> Self {
        Self { distance: Distance::Cosine, exact_below: 20_000 }
    }
}

impl Server {
    /// Everything but where it is; without its name there when `open`.
    fn described(&self, open: bool) -> String {
        let Self { url: _, collection, shard_number, replication_factor, quantization, mean_length } = self;
        let name = if open || collection.is_empty() { "" } else { collection };
        let quantization = format!("{quantization:?}").to_lowercase();
        format!(
            "vectors on a Qdrant server ({name}{}shard_number {shard_number}, replication_factor {replication_factor}, quantization {quantization}, mean_length {mean_length})",
            if name.is_empty() { "" } else { ", " }
        )
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            url: String::new(),
            collection: String::new(),
            shard_number: 1,
            replication_factor: 1,
            quantization: Quantization::None,
            mean_length: 80.0,
        }
    }
}

impl Default for Lexical {
    fn default() -> Self {
        Self { language: Language::English, stop_words: true, stemmer: true, ranking: Ranking::default() }
    }
}

impl Default for Ranking {
    fn default() -> Self {
        Self { k1: 1.2, b: 0.75, names: 0.5 }
    }
}

impl Default for Fusion {
    fn default() -> Self {
        Self { method: Method::Convex, scale: Scale::Natural, k: 60.0, alpha: 0.7, candidates: 100 }
    }
}

impl Default for Profile {
    /// What `index/default.toml` says.
    fn default() -> Self {
        Self {
            chunker: Limits::default(),
            embedder: Embedder {
                name: "all-minilm-l6-v2".into(),
                dimension: 384,
                fingerprint: String::new(),
            },
            vectors: Vectors::default(),
            lexical: Lexical::default(),
            fusion: Fusion::default(),
            gate: None,
            server: None,
        }
    }
}

impl Profile {
    /// Reads a profile from TOML text.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown or missing field, or a value out of its range.
    pub fn parse(toml: &str) -> Result<Self> {
        let profile: Self = toml::from_str(toml).map_err(|error| {
            Error::invalid(format!("not an index profile: {}", error.to_string().trim_end()))
                .hint("`index/default.toml` lists every field")
        })?;
        profile.validate()?;
        Ok(profile)
    }

    /// Reads a profile file.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, otherwise as [`Profile::parse`], with the file's name.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        Self::parse(&text).map_err(|error| error.within(format!("`{}`", path.display())))
    }

    /// The profile as TOML, every field written out.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a name cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::invalid(format!("cannot write the index profile: {error}")))
    }

    fn validate(&self) -> Result<()> {
        self.chunker.check()?;
        let Ranking { k1, b, names } = self.lexical.ranking;
        let Fusion { k, alpha, candidates, .. } = self.fusion;
        let rules = [
            (!self.embedder.name.is_empty(), "embedder: a name"),
            (self.embedder.dimension > 0, "embedder: dimension > 0"),
            (k1.is_finite() && k1 >= 0.0, "lexical.ranking: k1 >= 0"),
            ((0.0..=1.0).contains(&b), "lexical.ranking: 0 <= b <= 1"),
            (names.is_finite() && names >= 0.0, "lexical.ranking: names >= 0"),
            (k.is_finite() && k >= 0.0, "fusion: k >= 0"),
            ((0.0..=1.0).contains(&alpha), "fusion: 0 <= alpha <= 1"),
            (candidates > 0, "fusion: candidates > 0"),
            (self.server.as_ref().is_none_or(|s| s.shard_number > 0), "server: shard_number > 0"),
            (self.server.as_ref().is_none_or(|s| s.replication_factor > 0), "server: replication_factor > 0"),
            (
                self.server.as_ref().is_none_or(|s| s.mean_length.is_finite() && s.mean_length > 0.0),
                "server: mean_length > 0",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(Error::invalid(format!("index profile breaks the rule `{rule}`"))
                .hint("`index/default.toml` has working values")),
        }
    }

    /// Whether a collection built with `self` may be used as `wanted` says.
    ///
    /// # Errors
    /// [`Error::Mismatch`] naming the first setting that decided what is stored and differs, with both values.
    pub fn check(&self, wanted: &Self) -> Result<()> {
        match self.difference(wanted) {
            None => Ok(()),
            Some((setting, built, asked)) => Err(Error::mismatch(format!(
                "the collection was built with {setting} {built}, not with {asked}"
            ))
            .hint(
                "build it anew with `incontext ingest PATH --rebuild`, or keep a second collection with `-c NAME`",
            )),
        }
    }

    /// The first difference in what is stored: the setting, what `self` has, what `other` has. An empty fingerprint
    /// stands for any.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let embedder = |e: &Embedder| match e.fingerprint.get(..12).unwrap_or(&e.fingerprint) {
            "" => format!("`{}` ({} dimensions)", e.name, e.dimension),
            print => format!("`{}` ({} dimensions, fingerprint {print})", e.name, e.dimension),
        };
        let chunker = |c: &Limits| {
            let Limits { body, max_body, header, total, min, overlap } = c;
            format!(
                "(body {body}, max_body {max_body}, header {header}, total {total}, min {min}, overlap {overlap})"
            )
        };
        let lexical = |l: &Lexical| {
            format!("({:?}, stop_words {}, stemmer {})", l.language, l.stop_words, l.stemmer).to_lowercase()
        };
        let (a, b) = (&self.embedder, &other.embedder);
        // The fingerprint decides; the name only where one side leaves it open.
        let same = match a.fingerprint.is_empty() || b.fingerprint.is_empty() {
            true => a.name == b.name,
            false => a.fingerprint == b.fingerprint,
        };
        if a.dimension != b.dimension || !same {
            return Some(("embedder", embedder(a), embedder(b)));
        }
        if self.chunker != other.chunker {
            return Some(("chunker", chunker(&self.chunker), chunker(&other.chunker)));
        }
        if self.vectors.distance != other.vectors.distance {
            let name = |v: &Vectors| format!("{:?}", v.distance).to_lowercase();
            return Some(("distance", name(&self.vectors), name(&other.vectors)));
        }
        let (a, b) = (lexical(&self.lexical), lexical(&other.lexical));
        if a != b {
            return Some(("word analysis", a, b));
        }
        let kept = |own: &Self, other: &Self| match &own.server {
            None => "vectors in its own folder".to_owned(),
            Some(server) => {
                let one_is_open = other.server.as_ref().is_some_and(|other| other.collection.is_empty());
                server.described(one_is_open)
            }
        };
        let (a, b) = (kept(self, other), kept(other, self));
        (a != b).then_some(("its", a, b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_the_default() {
        assert_eq!(Profile::parse(DEFAULT_PROFILE).unwrap(), Profile::default());
    }

    #[test]
    fn a_profile_survives_its_own_toml() {
        let mut profile = Profile::default();
        profile.embedder.fingerprint = "abc".into();
        profile.fusion.method = Method::Rrf;
        assert_eq!(Profile::parse(&profile.to_toml().unwrap()).unwrap(), profile);
    }

    #[test]
    fn a_collection_keeps_the_fusion_it_was_built_with() {
        let of = |fusion: &str| {
            let (rest, _) = DEFAULT_PROFILE.split_once("\n[fusion]").unwrap();
            Profile::parse(&format!("{rest}\n{fusion}")).unwrap().fusion
        };
        let (now, minmax) = (Fusion::default(), Scale::MinMax);
        let convex = Fusion { method: Method::Convex, scale: minmax, alpha: 0.4, ..now };
        assert_eq!(of("[fusion]\nmethod = \"convex\"\nk = 60.0\nalpha = 0.4\ncandidates = 100\n"), convex);
        assert_eq!(of("[fusion]\nmethod = \"convex\"\n"), Fusion { alpha: 0.5, ..convex });
        let rrf = Fusion { method: Method::Rrf, scale: minmax, alpha: 0.5, ..now };
        assert_eq!(of("[fusion]\nmethod = \"rrf\"\nk = 60.0\nalpha = 0.5\ncandidates = 100\n"), rrf);
        assert_eq!(of("[fusion]\nalpha = 0.4\n"), Fusion { alpha: 0.4, ..now });
        assert_eq!(of(""), now);
        let scaled = of("[fusion]\nmethod = \"convex\"\nscale = \"natural\"\n");
        assert_eq!(scaled, now);
    }

    #[test]
    fn unknown_fields_and_impossible_sizes_are_refused() {
        let unknown = DEFAULT_PROFILE.replace("overlap = 32", "overlap = 32\nsize = 3");
        assert!(Profile::parse(&unknown).unwrap_err().to_string().contains("size"));
        let longer = DEFAULT_PROFILE.replace("total = 254", "total = 253");
        assert!(Profile::parse(&longer).unwrap_err().to_string().contains("together are above total 253"));
    }

    #[test]
    fn another_embedder_is_refused_with_both_names_and_a_way_out() {
        let mut other = Profile::default();
        other.embedder.name = "bge-small".into();
        let error = Profile::default().check(&other).unwrap_err();
        assert!(matches!(error, Error::Mismatch(_)));
        let text = error.to_string();
        assert!(text.contains("all-minilm-l6-v2") && text.contains("bge-small"), "{text}");
        assert!(error.advice().unwrap().contains("--rebuild"));
    }

    #[test]
    fn an_unknown_fingerprint_matches_any_and_two_known_ones_must_agree() {
        let (mut a, mut b) = (Profile::default(), Profile::default());
        a.embedder.fingerprint = "aa".into();
        a.check(&b).unwrap();
        b.embedder.fingerprint = "bb".into();
        assert!(a.check(&b).unwrap_err().to_string().contains("fingerprint aa"));
    }

    #[test]
    fn ranking_and_fusion_may_differ() {
        let mut other = Profile::default();
        other.fusion.method = Method::Rrf;
        other.lexical.ranking.names = 0.0;
        Profile::default().check(&other).unwrap();
        other.lexical.stemmer = false;
        assert!(Profile::default().check(&other).is_err());
    }
}
