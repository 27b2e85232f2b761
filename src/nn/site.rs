//! The address of a place in the network. Methods name places by it, and their tensors are named after it.

use std::fmt;

/// What stands at a place: a linear layer, or the end of a sublayer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Query, key, value and output projections of attention.
    Q,
    K,
    V,
    O,
    /// The MLP's linears; `Gate` exists in gated MLPs only.
    Gate,
    Up,
    Down,
    /// The attention sublayer's output, before it joins the residual stream.
    Attention,
    /// The MLP sublayer's output, before it joins the residual stream.
    Mlp,
    /// The linear between an encoder's first token and the head for its classes; its layer is the one above the last.
    Pooler,
    /// The output head; the layer number is 0 and means nothing.
    Head,
}

/// A part of one layer; prints as `layers.3.q`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// From 0.
    pub layer: usize,
    pub part: Part,
}

impl Site {
    pub fn new(layer: usize, part: Part) -> Self {
        Self { layer, part }
    }

    pub fn head() -> Self {
        Self::new(0, Part::Head)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Head => return f.write_str("head"),
            Part::Pooler => return f.write_str("pooler"),
            Part::Q => "q",
            Part::K => "k",
            Part::V => "v",
            Part::O => "o",
            Part::Gate => "gate",
            Part::Up => "up",
            Part::Down => "down",
            Part::Attention => "attention",
            Part::Mlp => "mlp",
        };
        write!(f, "layers.{}.{part}", self.layer)
    }
}
