//! Vectors in a map, every one compared: the reference the other stores are held against.

use std::collections::BTreeMap;

use super::ChunkId;
use super::store::Point;

/// A store that lives as long as the process.
#[derive(Debug, Default)]
pub struct Memory {
    /// Normalised to length 1 (a zero vector stays zero, its cosine with anything is 0).
    points: BTreeMap<ChunkId, Vec<f32>>,
}

impl Memory {
    pub(super) fn upsert(&mut self, points: &[Point]) {
        self.points.extend(points.iter().map(|point| (point.id, normalised(point.vector))));
    }

    pub(super) fn delete(&mut self, ids: &[ChunkId]) {
        for id in ids {
            self.points.remove(id);
        }
    }

    pub(super) fn search(&self, chosen: Option<&[ChunkId]>, vector: &[f32], k: usize) -> Vec<(ChunkId, f32)> {
        let query = normalised(vector);
        let cosine = |other: &[f32]| query.iter().zip(other).map(|(a, b)| a * b).sum();
        let is_chosen = |id: &ChunkId| chosen.is_none_or(|ids| ids.binary_search(id).is_ok());
        let points = self.points.iter().filter(|(id, _)| is_chosen(id));
        let scored = points.map(|(&id, vector)| (id, cosine(vector)));
        super::store::best(scored.collect(), k)
    }

    pub(super) fn vectors(&self, ids: &[ChunkId]) -> Vec<Option<Vec<f32>>> {
        ids.iter().map(|id| self.points.get(id).cloned()).collect()
    }

    pub(super) fn ids(&self) -> Vec<ChunkId> {
        self.points.keys().copied().collect()
    }
}

fn normalised(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length == 0.0 { vector.to_vec() } else { vector.iter().map(|x| x / length).collect() }
}
