//! Whether the header of a GGUF file can be believed, before anything is computed or allocated from it.
//!
//! candle's reader holds lengths and counts against the size of the file. What it takes on trust is checked here: the
//! alignment it divides by, sizes whose product overflows, and tensors that reach beyond the file or into each other.

use candle_core::quantized::gguf_file::Content;

use crate::error::{Error, Result};

/// The largest alignment that makes sense: a page of memory on any machine.
const LARGEST_ALIGNMENT: u64 = 1 << 16;

/// How deep arrays may lie in arrays; candle stops there too.
const DEEPEST: usize = 64;

/// Looks at what [`Content::read`] would divide by.
///
/// # Errors
/// `Corrupt` when the alignment is no power of two. A header too short to tell is left to `Content::read`.
pub(super) fn alignment(bytes: &[u8]) -> Result<()> {
    match (Header { rest: bytes, short: false }).alignment() {
        Some(value) if !value.is_power_of_two() || value > LARGEST_ALIGNMENT => {
            Err(damaged(format!("`general.alignment` is {value}")))
        }
        _ => Ok(()),
    }
}

/// Looks at where the tensors lie in a file of `length` bytes.
///
/// # Errors
/// `Corrupt`, naming the tensor.
pub(super) fn layout(content: &Content, length: usize) -> Result<()> {
    let data = (length as u64).saturating_sub(content.tensor_data_offset);
    let mut spans = Vec::with_capacity(content.tensor_infos.len());
    for (name, info) in &content.tensor_infos {
        let dims = info.shape.dims();
        let (block, width) = (info.ggml_dtype.block_size(), info.ggml_dtype.type_size());
        let elements = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let size = elements.and_then(|elements| (elements / block).checked_mul(width));
        // What is expanded to 32-bit floats must have a size, too; and candle makes slices of nothing that are none.
        let expands = elements.is_some_and(|n| n.checked_mul(size_of::<f32>()).is_some());
        let Some(size) = size.filter(|&size| size > 0 && expands) else {
            return Err(damaged(format!("tensor `{name}` claims the impossible shape {dims:?}")));
        };
        let end = info.offset.checked_add(size as u64).filter(|&end| end <= data);
        let Some(end) = end else {
            return Err(damaged(format!(
                "tensor `{name}` claims {size} bytes at {}, the file holds {data} bytes of tensors",
                info.offset
            )));
        };
        spans.push((info.offset, end, name));
    }
    spans.sort_unstable();
    match spans.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => Err(damaged(format!("tensors `{}` and `{}` overlap", pair[0].2, pair[1].2))),
        None => Ok(()),
    }
}

fn damaged(what: String) -> Error {
    Error::corrupt(format!("GGUF: {what}")).hint("fetch the model again")
}

/// What is still to be read of a header.
struct Header<'a> {
    rest: &'a [u8],
    /// Version 1 wrote lengths in 4 bytes, later ones in 8.
    short: bool,
}

impl Header<'_> {
    /// The value of `general.alignment`, if there is one.
    fn alignment(&mut self) -> Option<u64> {
        self.take(4)?;
        self.short = self.number(4)? == 1;
        self.length()?; // of tensors
        let entries = self.length()?;
        let mut found = None;
        for _ in 0..entries {
            let key = self.length()?;
            let is_alignment = self.take(key)? == b"general.alignment";
            let kind = self.number(4)?;
            let value = self.value(kind, 0)?;
            if is_alignment {
                // The last one counts, and negative numbers are not taken for one.
                found = value;
            }
        }
        found
    }

    /// Steps over a value; inside, it as a number when it is an integer of at most 32 bits.
    fn value(&mut self, kind: u64, depth: usize) -> Option<Option<u64>> {
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                let length = self.length()?;
                self.take(length)?;
                return Some(None);
            }
            9 if depth < DEEPEST => {
                let kind = self.number(4)?;
                for _ in 0..self.length()? {
                    self.value(kind, depth + 1)?;
                }
                return Some(None);
            }
            _ => return None,
        };
        let number = self.number(width)?;
        let sign = 1 << (8 * width - 1);
        Some(match kind {
            0 | 2 | 4 => Some(number),
            1 | 3 | 5 if number < sign => Some(number),
            _ => None,
        })
    }

    fn length(&mut self) -> Option<u64> {
        self.number(if self.short { 4 } else { 8 })
    }

    fn number(&mut self, width: u64) -> Option<u64> {
        let bytes = self.take(width)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn take(&mut self, length: u64) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use candle_core::quantized::gguf_file::Value;
    use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
    use candle_core::{Device, Tensor};

    use super::*;

    fn file(alignment: Value) -> Vec<u8> {
        let tensor = Tensor::ones((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        let tensor = QTensor::quantize(&tensor, GgmlDType::F32).unwrap();
        let nested = Value::Array(vec![Value::Array(vec![Value::String("a".into())])]);
        let mut bytes = Cursor::new(Vec::new());
        let metadata = [("before", &nested), ("general.alignment", &alignment), ("after", &Value::F64(1.0))];
        gguf_file::write(&mut bytes, &metadata, &[("a", &tensor), ("b", &tensor)]).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn an_alignment_that_cannot_be_divided_by_is_refused() {
        for wrong in [Value::U32(0), Value::U8(0), Value::I16(0), Value::U32(33), Value::U32(1 << 31)] {
            assert!(alignment(&file(wrong)).unwrap_err().to_string().contains("general.alignment"));
        }
        for fine in [Value::U32(32), Value::I32(-1), Value::U64(0), Value::String("x".into())] {
            alignment(&file(fine)).unwrap();
        }
    }

    #[test]
    fn tensors_that_leave_the_file_or_meet_are_named() {
        let bytes = file(Value::U32(32));
        let read = || Content::read(&mut Cursor::new(&bytes)).unwrap();
        layout(&read(), bytes.len()).unwrap();
        let broken = |change: &dyn Fn(&mut gguf_file::TensorInfo)| {
            let mut content = read();
            change(content.tensor_infos.get_mut("b").unwrap());
            layout(&content, bytes.len()).unwrap_err().to_string()
        };
        assert!(broken(&|b| b.offset = u64::MAX).contains("`b` claims"));
        assert!(broken(&|b| b.offset = 0).contains("overlap"));
        assert!(broken(&|b| b.shape = (1 << 40, 1 << 40).into()).contains("impossible shape"));
        // Found by fuzzing: candle made a slice of a pointer that is none (undefined behaviour).
        assert!(broken(&|b| b.shape = (2, 0).into()).contains("impossible shape"));
        assert!(broken(&|b| b.shape = (1 << 30, 1 << 30).into()).contains("`b` claims"));
    }
}
