//! The nodes and constants of a quantised graph.

use std::collections::HashMap;

use super::{
    LINEAR, Ranges, SHAPES,
    affine::{Affine, Channel},
    is, observed, without_clamps,
};
use crate::{
    Error, OUTPUT, Result, Tensor,
    proto::{AttributeProto, FLOAT, GraphProto, INT8, INT32, NodeProto, TensorProto, UINT8},
};

/// Weights reach from `-most` to `most`.
pub(crate) fn quantized(
    graph: &GraphProto,
    ranges: &Ranges,
    most: i8,
) -> Result<(Vec<NodeProto>, Vec<TensorProto>)> {
    let nodes = without_clamps(&graph.node);
    let constants = graph.initializer.iter().map(|tensor| (&*tensor.name, tensor)).collect();
    let (held, kept) = (HashMap::new(), Vec::new());
    let mut quantizer = Quantizer { constants, ranges, most, held, nodes: kept, made: Vec::new() };
    let observed = observed(&nodes);
    for node in &nodes {
        quantizer.node(node)?;
        let output = &node.output[0];
        let place = output.strip_suffix(":0").unwrap_or(output);
        if observed.contains(output) {
            quantizer.by_range(output, place)?;
        } else if is(node, &SHAPES) && output != OUTPUT {
            quantizer.as_before(output, place, &node.input[0]);
        }
    }
    Ok((quantizer.nodes, quantizer.made))
}

/// A tensor that was quantised.
#[derive(Clone)]
struct Held {
    affine: Affine,
    /// How the names of its scale and its zero point begin.
    numbers: String,
    /// Its name where it is read as 32-bit numbers again.
    read: String,
}

struct Quantizer<'a> {
    constants: HashMap<&'a str, &'a TensorProto>,
    ranges: &'a Ranges,
    most: i8,
    held: HashMap<String, Held>,
    nodes: Vec<NodeProto>,
    /// New constants, and those that are still read.
    made: Vec<TensorProto>,
}

impl Quantizer<'_> {
    /// Quantises a tensor by its range; `place` starts the names of what that takes.
    fn by_range(&mut self, tensor: &str, place: &str) -> Result<()> {
        let range = self.ranges.get(tensor).copied().unwrap_or([f32::NAN; 2]);
        if !(range[0].is_finite() && range[1].is_finite() && range[0] <= range[1]) {
            return Err(Error::Range { tensor: tensor.to_owned(), found: range });
        }
        let affine = Affine::new(range);
        self.constant(format!("{place}.scale"), &[], FLOAT, Tensor::bytes(&[affine.scale]));
        self.constant(format!("{place}.zero_point"), &[], UINT8, vec![affine.zero_point]);
        self.pair(tensor, place, affine, place);
        Ok(())
    }

    /// Quantises a tensor as the one that it is another shape of: a runtime then shapes whole numbers.
    fn as_before(&mut self, tensor: &str, place: &str, source: &str) {
        if let Some(held) = self.held.get(source).cloned() {
            self.pair(tensor, place, held.affine, &held.numbers);
        }
    }

    /// To whole numbers and back, by a scale and a zero point whose names begin with `numbers`.
    fn pair(&mut self, tensor: &str, place: &str, affine: Affine, numbers: &str) {
        let (scale, zero_point) = (format!("{numbers}.scale"), format!("{numbers}.zero_point"));
        let (name, whole) = (format!("{place}/quantize"), format!("{place}/quantize:0"));
        let inputs = vec![tensor.to_owned(), scale.clone(), zero_point.clone()];
        self.push(name, "QuantizeLinear", inputs, &whole, vec![]);
        let read = format!("{place}/dequantize:0");
        let name = format!("{place}/dequantize");
        self.push(name, "DequantizeLinear", vec![whole, scale, zero_point], &read, vec![]);
        let numbers = numbers.to_owned();
        self.held.insert(tensor.to_owned(), Held { affine, numbers, read });
    }

    /// A node of the model, which reads what was quantised.
    fn node(&mut self, node: &NodeProto) -> Result<()> {
        let mut inputs: Vec<String> = node.input.iter().map(|input| self.read(input)).collect();
        if is(node, &LINEAR)
            && let Some(input) = self.held.get(&node.input[0])
        {
            let scale = input.affine.scale;
            self.weights(&node.input, scale, &mut inputs)?;
        } else {
            // Bounds and axes.
            let constants = &self.constants;
            let read = node.input.iter().filter_map(|input| constants.get(input.as_str()));
            self.made.extend(read.map(|&constant| constant.clone()));
        }
        self.nodes.push(NodeProto { input: inputs, ..node.clone() });
        Ok(())
    }

    /// Where a tensor is read.
    fn read(&self, tensor: &str) -> String {
        self.held.get(tensor).map_or_else(|| tensor.to_owned(), |held| held.read.clone())
    }

    /// A node's weights and bias as whole numbers that are read as 32-bit ones, by output channel.
    fn weights(&mut self, names: &[String], scale: f32, inputs: &mut [String]) -> Result<()> {
        let numbers = |name: &String| match self.constants.get(name.as_str()) {
            Some(tensor) if tensor.data_type == FLOAT && !tensor.dims.is_empty() => {
                Ok((tensor.dims.clone(), floats(&tensor.raw_data)))
            }
            _ => Err(Error::Missing { name: name.clone(), count: self.constants.len() }),
        };
        let (sides, weights) = numbers(&names[1])?;
        let bias = names.get(2).map(numbers).transpose()?.map(|(_, bias)| bias);
        let count = usize::try_from(sides[0]).unwrap_or_default();
        let each = weights.len().checked_div(count).unwrap_or_default().max(1);
        let of = |(index, weights)| {
            let bias = bias.as_ref().and_then(|bias| bias.get(index)).copied();
            Channel::new(weights, bias, scale, self.most)
        };
        let channels: Vec<Channel> = weights.chunks(each).enumerate().map(of).collect();
        let scales: Vec<f32> = channels.iter().map(|channel| channel.scale).collect();
        let whole = channels.iter().flat_map(|channel| &channel.weights);
        let data = whole.map(|&weight| weight as u8).collect();
        inputs[1] = self.dequantized(&names[1], &sides, (INT8, data), &scales);
        if let Some(name) = names.get(2) {
            let data = channels.iter().filter_map(|channel| channel.bias);
            let data = data.flat_map(i32::to_le_bytes).collect();
            let scales: Vec<f32> = scales.iter().map(|channel| channel * scale).collect();
            inputs[2] = self.dequantized(name, &sides[..1], (INT32, data), &scales);
        }
        Ok(())
    }

    /// Whole numbers of a type around 0, with a scale for each entry of the first side; returns where they are read as 32-bit
    /// ones.
    fn dequantized(
        &mut self,
        name: &str,
        sides: &[i64],
        (kind, data): (i32, Vec<u8>),
        scales: &[f32],
    ) -> String {
        let count = [scales.len() as i64];
        let scale = format!("{name}.scale");
        self.constant(name.to_owned(), sides, kind, data);
        self.constant(scale.clone(), &count, FLOAT, Tensor::bytes(scales));
        let read = format!("{name}/dequantize:0");
        let mut inputs = vec![name.to_owned(), scale];
        // A bias needs none; without those of weights ONNX Runtime fuses no Gemm.
        if kind == INT8 {
            let zero_point = format!("{name}.zero_point");
            self.constant(zero_point.clone(), &count, kind, vec![0; scales.len()]);
            inputs.push(zero_point);
        }
        let along = vec![AttributeProto::int("axis", 0)];
        self.push(format!("{name}/dequantize"), "DequantizeLinear", inputs, &read, along);
        read
    }

    fn push(
        &mut self,
        name: String,
        op: &str,
        input: Vec<String>,
        output: &str,
        attribute: Vec<AttributeProto>,
    ) {
        let (output, op_type, domain) = (vec![output.to_owned()], op.to_owned(), String::new());
        self.nodes.push(NodeProto { input, output, name, op_type, attribute, domain });
    }

    fn constant(&mut self, name: String, sides: &[i64], data_type: i32, raw_data: Vec<u8>) {
        self.made.push(TensorProto { dims: sides.to_vec(), data_type, name, raw_data });
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let number = |bytes: &[u8]| bytes.try_into().map(f32::from_le_bytes).unwrap_or_default();
    bytes.chunks_exact(4).map(number).collect()
}
