//! What methods are told of a network: which module of its files holds which linear.

use candle_core::Tensor;

use super::config::{Config, Family};
use super::names::{Classes, Qkv};
use super::transformer::Transformer;
use crate::error::Result;
use crate::nn::{Bare, Linear, Module, Network, Norm, Part, Shape, Site, SublayerNorm};

/// The modules that hold linears of `layer`.
fn of_layer(config: &Config, layer: usize) -> Vec<Module> {
    let (names, shape) = (config.family.names(), &config.shape);
    let here = |name: &str| format!("{}{}.{layer}.{name}", names.trunk, names.layers);
    let module = |name: &str, parts: &[Part]| {
        let mut end = 0;
        let mut input = 0;
        let parts = parts.iter().map(|&part| {
            let (out, width) = shape.linear(part).unwrap_or_default();
            let rows = end..end + out;
            (end, input) = (rows.end, width);
            (Site::new(layer, part), rows)
        });
        let parts = parts.collect();
        Module { path: here(name), layer, parts, input, transposed: names.transposed }
    };
    let mut modules = match names.qkv {
        Qkv::Apart { q, k, v } => {
            vec![module(q, &[Part::Q]), module(k, &[Part::K]), module(v, &[Part::V])]
        }
        Qkv::Fused(name) => vec![module(name, &[Part::Q, Part::K, Part::V])],
    };
    modules.push(module(names.o, &[Part::O]));
    modules.extend(names.gate.map(|gate| module(gate, &[Part::Gate])));
    modules.push(module(names.up, &[Part::Up]));
    modules.push(module(names.down, &[Part::Down]));
    modules
}

impl Network for Transformer {
    fn shape(&self) -> Shape {
        self.config.shape
    }

    fn causal(&self) -> bool {
        self.config.causal
    }

    fn trunk(&self) -> &'static str {
        self.config.family.names().trunk
    }

    fn modules(&self) -> Vec<Module> {
        (0..self.config.shape.layers).flat_map(|layer| of_layer(&self.config, layer)).collect()
    }

    fn embedding(&self) -> String {
        let names = self.config.family.names();
        format!("{}{}", names.trunk, names.embedding)
    }

    fn pooler(&self) -> Option<Module> {
        let (names, shape) = (self.config.family.names(), &self.config.shape);
        let Classes::First { dense, in_trunk: true, .. } = names.classes else { return None };
        Some(Module {
            path: format!("{}{dense}", names.trunk),
            layer: shape.layers,
            parts: vec![(Site::new(shape.layers, Part::Pooler), 0..shape.hidden)],
            input: shape.hidden,
            transposed: false,
        })
    }

    /// As AdapterHub names them.
    fn sublayer(&self, layer: usize, part: Part) -> String {
        let names = self.config.family.names();
        let place = match (self.config.family, part) {
            (Family::Bert | Family::Roberta, Part::Attention) => "attention.output",
            (Family::Bert | Family::Roberta, _) => "output",
            (_, Part::Attention) => "attention_adapters",
            _ => "output_adapters",
        };
        format!("{}{}.{layer}.{place}", names.trunk, names.layers)
    }

    fn attention(&self, layer: usize) -> String {
        let names = self.config.family.names();
        let (Qkv::Apart { q, .. } | Qkv::Fused(q)) = names.qkv;
        let module = q.rsplit_once('.').map_or(q, |(module, _)| module);
        format!("{}{}.{layer}.{module}", names.trunk, names.layers)
    }

    fn linear(&self, site: Site) -> Option<&Linear> {
        let block = self.blocks().get(site.layer)?;
        let (attention, mlp) = (&block.attention, &block.mlp);
        match site.part {
            Part::Q => Some(&attention.q),
            Part::K => Some(&attention.k),
            Part::V => Some(&attention.v),
            Part::O => Some(&attention.o),
            Part::Gate => mlp.gate.as_ref(),
            Part::Up => Some(&mlp.up),
            Part::Down => Some(&mlp.down),
            Part::Attention | Part::Mlp | Part::Pooler | Part::Head => None,
        }
    }

    fn norm_behind(&self, site: Site) -> Option<&Norm> {
        let norms = &self.blocks().get(site.layer)?.norms;
        let norm = if site.part == Part::Attention { &norms.0 } else { &norms.1 };
        match norm {
            SublayerNorm::Around { after, .. } => Some(after),
            SublayerNorm::Before(_) | SublayerNorm::After(_) => None,
        }
    }

    fn words(&self, ids: &[u32]) -> Result<Tensor> {
        self.look_up(ids, &Bare)
    }
}
