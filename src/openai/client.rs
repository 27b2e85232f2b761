//! Asking an endpoint: what may pass is asked again, with growing pauses, until the first word of an answer is here.

use std::io::Read;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::Endpoint;
use super::events::{Broken, Events};
use super::failure::{Again, Attempt, Failure, Place, looks_like_html, tidied, unwelcome};
use super::wire::{ChatRequest, ChatResponse, EmbeddingRequest, EmbeddingResponse, StreamOptions, Usage};
use crate::error::{Error, Result};
use crate::http;

/// An answer that is no stream is read up to this size; an error's own words, up to [`LONGEST_COMPLAINT`].
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;
const LONGEST_COMPLAINT: u64 = 64 * 1024;

/// Connections that stay open for the next request: as many as are asked at a time.
const KEPT_OPEN: usize = 64;

pub struct Client {
    endpoint: Endpoint,
    agent: Agent,
}

/// A completion that came to its end, or that the reader had enough of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub text: String,
    /// The server's own word: `stop`, `length` or another; `None` where it gave none, and when the reader stopped it.
    pub finish_reason: Option<String>,
    /// Where the server counts.
    pub usage: Option<Usage>,
}

/// Is told the text as it comes; breaking hangs up.
type OnText<'a> = &'a mut dyn FnMut(&str) -> ControlFlow<()>;

impl Client {
    pub fn new(endpoint: Endpoint) -> Self {
        let patience = endpoint.patience;
        let config = http::agent(!endpoint.is_local())
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            // A refusal has a body that says why; and a key goes nowhere but where it was meant to go.
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(KEPT_OPEN)
            .max_idle_connections_per_host(KEPT_OPEN)
            .build();
        Self { agent: config.new_agent(), endpoint }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Has `request` answered, as a stream where the server can. A setting that the server says it does not know is left
    /// out, or given by its newer name, and the request sent once more.
    ///
    /// # Errors
    /// `Transient` when the endpoint cannot be reached, is silent, busy, or breaks off; `NotFound` and `Invalid` when it
    /// refuses; `TooLong` when the prompt does not fit the model; `Invalid` for whatever is no answer.
    pub fn chat(&self, request: &ChatRequest, on_text: OnText) -> Result<Reply> {
        let stream_options = Some(StreamOptions { include_usage: true });
        let mut request = ChatRequest { stream: true, stream_options, ..request.clone() };
        loop {
            let outcome = self.persist("chat/completions", &request.model, &request, |place, response| {
                read_reply(place, response, on_text)
            });
            match outcome {
                Err(error @ Error::Invalid(_)) if !do_without(&mut request, unwelcome(&error)) => {
                    return Err(error);
                }
                Err(Error::Invalid(_)) => {}
                outcome => return outcome,
            }
        }
    }

    /// The vectors of `input`, in order, as the server gives them.
    ///
    /// # Errors
    /// As [`Self::chat`]; `Invalid` when their number is not that of the texts.
    pub fn embeddings(&self, model: &str, input: &[&str]) -> Result<Vec<Vec<f32>>> {
        let request = EmbeddingRequest {
            model: model.to_owned(),
            input: input.iter().map(|&text| text.to_owned()).collect(),
        };
        self.persist("embeddings", model, &request, |place, response| {
            let body = read_whole(place, response)?;
            let answer: EmbeddingResponse =
                place.parsed(&body).map_err(|failure| unpooled(place, &body, failure))?;
            in_order(answer, input.len()).map_err(|what| place.nonsense(&what))
        })
    }

    /// Posts `body` and has `read` make something of the answer, again and again while that may help.
    fn persist<T>(
        &self,
        path: &str,
        model: &str,
        body: &impl Serialize,
        mut read: impl FnMut(&Place, Response<Body>) -> Attempt<T>,
    ) -> Result<T> {
        let url = format!("{}/{path}", self.endpoint.base_url());
        let place = Place { endpoint: &self.endpoint, url: &url, model };
        let bytes = serde_json::to_vec(body)
            .map_err(|error| Error::invalid(format!("cannot write the request: {error}")))?;
        let mut attempts = 0;
        loop {
            let outcome = self.post(&place, &bytes).and_then(|response| read(&place, response));
            let Failure { error, again } = match outcome {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            attempts += 1;
            let Again::After(told) = again else { return Err(error) };
            match self.endpoint.patience.pause_after(attempts, told) {
                Some(pause) => thread::sleep(pause),
                None => return Err(given_up(error, attempts, told)),
            }
        }
    }

    /// One request; an answer with a status that means yes.
    fn post(&self, place: &Place, body: &[u8]) -> Attempt<Response<Body>> {
        let mut request = self.agent.post(place.url).content_type("application/json");
        if let Some(key) = self.endpoint.key() {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let response = request.send(body).map_err(|error| place.unanswered(&error, false))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let told = header("Retry-After").map(str::to_owned);
        let location = header("Location").map(str::to_owned);
        let location = location.filter(|_| status.is_redirection());
        // Whatever of its words arrives is good enough.
        let mut words = Vec::new();
        let body = response.into_body().into_reader();
        let _ = body.take(LONGEST_COMPLAINT).read_to_end(&mut words);
        Err(place.refused(status.as_u16(), told.as_deref(), location.as_deref(), &words))
    }
}

impl Place<'_> {
    fn parsed<T: DeserializeOwned>(&self, body: &[u8]) -> Attempt<T> {
        let text = String::from_utf8_lossy(body);
        if looks_like_html(&text) {
            return Err(self.nonsense("answered with a web page"));
        }
        if text.trim().is_empty() {
            return Err(self.nonsense("answered with nothing"));
        }
        let start: String = tidied(&text).chars().take(80).collect();
        let json: Value = serde_json::from_str(&text)
            .map_err(|_| self.nonsense(&format!("answered with something that is no JSON: {start}")))?;
        if let Some(error) = json.get("error").filter(|error| !error.is_null()) {
            return Err(self.complained(error));
        }
        serde_json::from_value(json).map_err(|error| {
            self.nonsense(&format!("answered with other JSON than asked ({error}): {start}"))
        })
    }
}

/// Streamed or whole, as the server likes.
fn read_reply(place: &Place, response: Response<Body>, on_text: OnText) -> Attempt<Reply> {
    let kind = response.headers().get("Content-Type").and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.to_lowercase().contains("text/event-stream")) {
        return read_stream(place, response, on_text);
    }
    let answer: ChatResponse = place.parsed(&read_whole(place, response)?)?;
    let Some(choice) = answer.choices.first() else {
        return Err(place.nonsense("answered without a choice"));
    };
    let text = choice.text().unwrap_or_default().to_owned();
    let mut finish_reason = choice.finish_reason.clone();
    if text.is_empty() {
        return Err(wordless(place, finish_reason.as_deref()));
    }
    if on_text(&text).is_break() {
        finish_reason = None;
    }
    Ok(Reply { text, finish_reason, usage: answer.usage })
}

fn read_stream(place: &Place, response: Response<Body>, on_text: OnText) -> Attempt<Reply> {
    let coding = response.headers().get("Transfer-Encoding").and_then(|value| value.to_str().ok());
    let chunked = coding.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let mut events = Events::new(response.into_body().into_reader(), place.endpoint.patience.silence);
    let mut reply = Reply { text: String::new(), finish_reason: None, usage: None };
    loop {
        let seen = !reply.text.is_empty();
        let data = match events.next() {
            Ok(Some(data)) => data,
            // Some servers hang up without `[DONE]`; a reason to end is as good.
            Ok(None) if reply.finish_reason.is_some() => break,
            Ok(None) => return Err(place.half(seen, "the connection was closed")),
            Err(Broken::Silent) => return Err(place.silent()),
            Err(Broken::Garbage(what)) => return Err(place.nonsense(&format!("sent {what}"))),
            Err(Broken::Failed(error)) => return Err(place.unanswered(&error.into(), seen)),
        };
        if data.trim() == "[DONE]" {
            // llama-cpp-python says it, too, when it drops an answer because somebody else asks. One that is whole has a
            // reason to end.
            match reply.finish_reason {
                Some(_) => break,
                None => return Err(place.half(seen, "the server ended it without a reason")),
            }
        }
        let event: ChatResponse = match place.parsed(data.as_bytes()) {
            Err(_) if events.at_end() => return Err(place.half(seen, "the connection was closed")),
            event => event?,
        };
        reply.usage = event.usage.or(reply.usage);
        let Some(choice) = event.choices.first() else { continue };
        if let Some(text) = choice.text().filter(|text| !text.is_empty()) {
            reply.text.push_str(text);
            if on_text(text).is_break() {
                return Ok(Reply { finish_reason: None, ..reply });
            }
        }
        if choice.finish_reason.is_some() {
            reply.finish_reason.clone_from(&choice.finish_reason);
        }
    }
    if chunked {
        // The end of the body, which is on its way: only then can the connection serve another request.
        events.finish();
    }
    if reply.text.is_empty() {
        return Err(wordless(place, reply.finish_reason.as_deref()));
    }
    Ok(reply)
}

/// The server said yes and the model nothing.
fn wordless(place: &Place, finish_reason: Option<&str>) -> Failure {
    let (why, hint) = match finish_reason {
        Some("length") => (
            " before its tokens ran out",
            "a model that thinks before it answers needs more: raise `max_tokens` in the prompt template",
        ),
        Some("content_filter") => (": a content filter stopped it", "ask in other words, or another model"),
        _ => ("", "ask again, or another model"),
    };
    let Place { url, model, .. } = place;
    place.never(Error::invalid(format!("`{model}` at `{url}` wrote nothing{why}")).hint(hint))
}

/// The body of an answer that is no stream.
fn read_whole(place: &Place, response: Response<Body>) -> Attempt<Vec<u8>> {
    let silence = place.endpoint.patience.silence;
    let start = Instant::now();
    let mut reader = response.into_body().into_reader().take(LONGEST_ANSWER);
    let mut body = Vec::new();
    let mut piece = [0; 64 * 1024];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => body.extend_from_slice(&piece[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(place.unanswered(&error.into(), false)),
        }
        // Byte by byte is no answer either.
        if start.elapsed() > silence {
            return Err(place.silent());
        }
    }
    match body.len() as u64 == LONGEST_ANSWER {
        true => Err(place.nonsense("answered without end")),
        false => Ok(body),
    }
}

/// `failure`, or a better word for it: llama.cpp gives the vectors of all tokens where a model does not say how to pool.
fn unpooled(place: &Place, body: &[u8], failure: Failure) -> Failure {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let first = json.as_ref().and_then(|json| json.pointer("/data/0/embedding/0"));
    if !first.is_some_and(Value::is_array) {
        return failure;
    }
    let Place { url, model, .. } = place;
    let what = format!("`{model}` at `{url}` gives a vector for each token instead of one for the text");
    place.never(Error::invalid(what).hint(
        "is it an embedding model? If so, its server has to be told how to pool (llama-server: `--pooling mean`)",
    ))
}

/// The vectors by the place they say they have.
fn in_order(answer: EmbeddingResponse, texts: usize) -> Result<Vec<Vec<f32>>, String> {
    let wrong = format!("answered with {} vectors for {texts} texts", answer.data.len());
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; texts];
    for (at, found) in answer.data.into_iter().enumerate() {
        let slot = vectors.get_mut(found.index.unwrap_or(at)).ok_or_else(|| wrong.clone())?;
        if slot.replace(found.embedding).is_some() {
            return Err("answered with two vectors for one text".to_owned());
        }
    }
    vectors.into_iter().collect::<Option<_>>().ok_or(wrong)
}

/// Takes `setting` out of the request, or gives it its newer name; `false` when there is nothing to change.
fn do_without(request: &mut ChatRequest, setting: Option<&str>) -> bool {
    match setting {
        Some("stream_options") => request.stream_options.take().is_some(),
        Some("max_tokens") => match request.max_tokens.take() {
            Some(most) => {
                request.max_completion_tokens = Some(most);
                true
            }
            None => false,
        },
        Some("temperature") => request.temperature.take().is_some(),
        Some("top_p") => request.top_p.take().is_some(),
        Some("seed") => request.seed.take().is_some(),
        // The reader looks for them as well.
        Some("stop") => !std::mem::take(&mut request.stop).is_empty(),
        _ => false,
    }
}

fn given_up(error: Error, attempts: u32, told: Option<Duration>) -> Error {
    let times = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    match told {
        Some(told) => error.within(format!("given up after {times}, being told to wait {}s", told.as_secs())),
        None => error.within(format!("given up after {times}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::wire::Embedding;

    fn vectors(indices: &[Option<usize>], texts: usize) -> Result<Vec<f32>, String> {
        let data = indices.iter().enumerate();
        let data = data.map(|(at, &index)| Embedding { index, embedding: vec![at as f32] }).collect();
        Ok(in_order(EmbeddingResponse { data, usage: None }, texts)?.concat())
    }

    #[test]
    fn vectors_go_where_they_say_they_belong_and_each_text_gets_one() {
        assert_eq!(vectors(&[None, None], 2).unwrap(), [0.0, 1.0]);
        assert_eq!(vectors(&[Some(1), Some(0)], 2).unwrap(), [1.0, 0.0]);
        assert!(vectors(&[Some(0)], 2).unwrap_err().contains("1 vectors for 2 texts"));
        assert!(vectors(&[None, None, None], 2).unwrap_err().contains("3 vectors for 2 texts"));
        assert!(vectors(&[Some(0), Some(0)], 2).unwrap_err().contains("two vectors"));
        assert!(vectors(&[Some(usize::MAX)], 1).is_err());
        assert!(vectors(&[], 0).unwrap().is_empty());
    }

    #[test]
    fn a_setting_is_given_up_once() {
        let mut request = ChatRequest { max_tokens: Some(7), ..ChatRequest::default() };
        assert!(do_without(&mut request, Some("max_tokens")));
        assert_eq!((request.max_tokens, request.max_completion_tokens), (None, Some(7)));
        assert!(!do_without(&mut request, Some("max_tokens")));
        assert!(!do_without(&mut request, None));
    }
}
