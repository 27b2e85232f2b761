//! An encoder behind an OpenAI-compatible endpoint.
//!
//! How it counts tokens only the endpoint knows, so another tokenizer stands in: it decides where passages are cut, and
//! the window is set with room to spare. What the endpoint computes cannot be seen either; who serves it, its name and
//! the length of its vectors are all that tells it from another one.

use super::Overflow;
use crate::error::{Error, Result};
use crate::openai::{Client, Endpoint};
use crate::text::tokenizer::Tokenizer;

/// Texts of one request: few enough for any server, enough that the way there does not count.
const BATCH: usize = 64;

pub struct HttpEncoder {
    name: String,
    model: String,
    client: Client,
    tokenizer: Tokenizer,
    window: usize,
    dimension: usize,
    fingerprint: String,
}

impl HttpEncoder {
    /// Tokens we give an encoder to read that does not say how many it can: nearly all of them read as many.
    pub const WINDOW: usize = 512;

    /// The encoder that `endpoint` knows as `model`, reading texts up to `window` tokens as `tokenizer` counts them. Its
    /// vectors have `dimension` numbers; where that is not known, one text is embedded to find out.
    ///
    /// # Errors
    /// As [`Client::embeddings`].
    pub fn new(
        model: &str,
        endpoint: Endpoint,
        tokenizer: Tokenizer,
        window: usize,
        dimension: Option<usize>,
    ) -> Result<Self> {
        let client = Client::new(endpoint);
        let dimension = match dimension {
            Some(dimension) => dimension,
            None => client.embeddings(model, &["How long is a vector?"])?.first().map_or(0, Vec::len),
        };
        let name = format!("openai:{model}");
        if dimension == 0 {
            return Err(Error::invalid(format!(
                "`{name}` at `{}` gives empty vectors",
                client.endpoint().base_url()
            ))
            .hint("is it an embedding model?"));
        }
        let identity = format!("{}\n{model}\n{dimension}", client.endpoint().base_url());
        let fingerprint = blake3::hash(identity.as_bytes()).to_hex()[..16].to_owned();
        Ok(Self { name, model: model.to_owned(), client, tokenizer, window, dimension, fingerprint })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub fn dimension(&self) -> usize {
        self.dimension
    }

    pub fn window(&self) -> usize {
        self.window
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(super) fn embed(&self, texts: &[&str], overflow: Overflow) -> Result<Vec<Vec<f32>>> {
        let fitting = texts.iter().map(|text| self.fitting(text, overflow)).collect::<Result<Vec<&str>>>()?;
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in fitting.chunks(BATCH) {
            for vector in self.client.embeddings(&self.model, batch)? {
                vectors.push(self.unit(vector)?);
            }
        }
        Ok(vectors)
    }

    /// As much of `text` as the window holds, two tokens being the encoder's own.
    fn fitting<'t>(&self, text: &'t str, overflow: Overflow) -> Result<&'t str> {
        let room = self.window.saturating_sub(2);
        // A token has a byte at least.
        if text.len() <= room {
            return Ok(text);
        }
        let tokens = self.tokenizer.offsets(text)?;
        match (tokens.get(room), overflow) {
            (None, _) => Ok(text),
            (Some(_), Overflow::Refuse) => {
                let start: String = text.chars().take(40).collect();
                Err(Error::too_long(format!(
                    "{} tokens do not fit the encoder's window of {}: `{start}...`",
                    tokens.len() + 2,
                    self.window
                ))
                .hint("chunk with smaller limits in the index profile"))
            }
            (Some(first_out), Overflow::Truncate) => Ok(text.get(..first_out.start).unwrap_or(text)),
        }
    }

    /// Checked and brought to length 1.
    fn unit(&self, mut vector: Vec<f32>) -> Result<Vec<f32>> {
        let norm = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        let wrong = match vector.len() {
            length if length != self.dimension => {
                format!("a vector of {length} numbers, where others have {}", self.dimension)
            }
            _ if !norm.is_finite() || norm == 0.0 => "a vector without a direction".to_owned(),
            _ => {
                vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
                return Ok(vector);
            }
        };
        Err(Error::invalid(format!(
            "`{}` at `{}` gave {wrong}",
            self.name,
            self.client.endpoint().base_url()
        ))
        .hint(
            "is it the model that it was? A collection of another one has to be built anew, with --rebuild",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tokenizer::tests::tiny_bert;

    fn encoder(window: usize) -> HttpEncoder {
        let endpoint = Endpoint::new("http://127.0.0.1:9/v1", None).unwrap();
        HttpEncoder::new("m", endpoint, tiny_bert(), window, Some(3)).unwrap()
    }

    #[test]
    fn vectors_come_out_with_length_one_and_those_that_cannot_are_refused() {
        let encoder = encoder(512);
        assert_eq!(encoder.unit(vec![3.0, 0.0, -4.0]).unwrap(), [0.6, 0.0, -0.8]);
        assert_eq!(encoder.unit(vec![0.0, 3e38, 0.0]).unwrap(), [0.0, 1.0, 0.0]);
        for wrong in
            [vec![], vec![1.0, 2.0], vec![0.0; 3], vec![f32::NAN, 1.0, 1.0], vec![f32::INFINITY, 1.0, 1.0]]
        {
            assert!(matches!(encoder.unit(wrong), Err(Error::Invalid(_))));
        }
    }

    #[test]
    fn a_question_is_cut_to_the_window_and_a_passage_refused() {
        let encoder = encoder(7);
        let text = "the alpha the beta"; // the al ##pha the be ##ta
        assert_eq!(encoder.fitting(text, Overflow::Truncate).unwrap(), "the alpha the be");
        assert!(matches!(encoder.fitting(text, Overflow::Refuse), Err(Error::TooLong(_))));
        assert_eq!(encoder.fitting("the al", Overflow::Refuse).unwrap(), "the al");
    }

    #[test]
    fn address_name_and_length_tell_encoders_apart() {
        let print = |model: &str, url: &str, dimension| {
            let endpoint = Endpoint::new(url, None).unwrap();
            let encoder = HttpEncoder::new(model, endpoint, tiny_bert(), 512, Some(dimension)).unwrap();
            encoder.fingerprint().to_owned()
        };
        let first = print("m", "http://127.0.0.1:9/v1", 3);
        assert_eq!(first, print("m", "http://127.0.0.1:9/v1/", 3));
        assert_ne!(first, print("n", "http://127.0.0.1:9/v1", 3));
        assert_ne!(first, print("m", "http://127.0.0.1:8/v1", 3));
        assert_ne!(first, print("m", "http://127.0.0.1:9/v1", 4));
    }
}
