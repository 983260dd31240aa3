//! A network as the nodes and constants of an ONNX graph.

use netfit_spaces::{Activation, Block, Conv, Layer, LayerKind, Network, Skip};

use crate::{
    INPUT, OUTPUT, Result, Tensor, Weights,
    fold::{fold, numbers},
    proto::{AttributeProto, FLOAT, INT64, NodeProto, TensorProto},
};

/// Nodes in order, and the constants that they use.
pub(crate) struct Graph<'a> {
    weights: &'a Weights,
    pub(crate) nodes: Vec<NodeProto>,
    pub(crate) constants: Vec<TensorProto>,
    /// The tensor that the next layer reads.
    current: String,
    /// Whether it is `[N, C]` instead of `[N, C, H, W]`.
    flat: bool,
}

impl<'a> Graph<'a> {
    /// The graph of a network, from [`INPUT`] to [`OUTPUT`].
    ///
    /// Padding is kernel / 2 on every side. Where the last block leaves a 1x1 image, [`OUTPUT`] is `[N, classes]`.
    pub(crate) fn new(network: &Network, weights: &'a Weights) -> Result<Self> {
        let (nodes, constants) = (Vec::new(), Vec::new());
        let mut graph = Self { weights, nodes, constants, current: INPUT.to_owned(), flat: false };
        for (index, block) in network.blocks().iter().enumerate() {
            graph.block(&network.block_name(index), block)?;
        }
        let last = network.blocks().len() - 1;
        let output = network.blocks()[last].output();
        if (output.height, output.width) == (1, 1) {
            graph.flatten(&network.block_name(last));
        }
        if let Some(node) = graph.nodes.last_mut() {
            node.output = vec![OUTPUT.to_owned()];
        }
        Ok(graph)
    }

    fn block(&mut self, name: &str, block: &Block) -> Result<()> {
        if block.skip() != Skip::None {
            self.unflatten(&format!("{name}/skip"));
        }
        let input = self.current.clone();
        for layer in block.layers() {
            let (place, source) =
                (format!("{name}/{}", layer.name), format!("{name}.{}", layer.name));
            self.layer(&layer, &place, &source)?;
        }
        let skip = match block.skip() {
            Skip::None => None,
            Skip::Identity => Some(input),
            Skip::Pool => Some(self.mean_of_neighbours(format!("{name}/skip"), input)),
        };
        if let Some(skip) = skip {
            let inputs = vec![self.current.clone(), skip];
            self.current = self.node(format!("{name}/add"), "Add", inputs, vec![]);
        }
        Ok(())
    }

    /// The mean of the 3x3 around each pixel, of those that are there.
    fn mean_of_neighbours(&mut self, name: String, input: String) -> String {
        let attributes = vec![
            AttributeProto::ints("kernel_shape", vec![3; 2]),
            AttributeProto::ints("pads", vec![1; 4]),
            AttributeProto::ints("strides", vec![1; 2]),
            AttributeProto::int("count_include_pad", 0),
        ];
        self.node(name, "AveragePool", vec![input], attributes)
    }

    /// `place` starts the nodes' names, `source` the weights'.
    fn layer(&mut self, layer: &Layer, place: &str, source: &str) -> Result<()> {
        let (inputs, outputs) = (layer.input.channels, layer.output.channels);
        match layer.kind {
            LayerKind::Conv(conv) => {
                self.unflatten(place);
                let folded = fold(self.weights, source)?;
                let shape = [outputs, inputs / conv.groups, conv.kernel, conv.kernel];
                self.conv(&format!("{place}/conv"), conv, shape, &folded.weight, &folded.bias);
                self.activation(place, conv.activation);
            }
            LayerKind::SqueezeExcite { squeeze } => {
                self.unflatten(place);
                self.squeeze_excite(place, source, inputs, squeeze)?;
            }
            LayerKind::Pool => {
                self.unflatten(place);
                self.step(format!("{place}/mean"), "GlobalAveragePool");
            }
            LayerKind::Linear { bias, activation } => {
                self.flatten(place);
                self.linear(place, source, [outputs, inputs], bias)?;
                self.activation(place, activation);
            }
        }
        Ok(())
    }

    fn conv(&mut self, name: &str, conv: Conv, shape: [usize; 4], weight: &[f32], bias: &[f32]) {
        let inputs = vec![
            self.current.clone(),
            self.constant(format!("{name}.weight"), &shape, weight),
            self.constant(format!("{name}.bias"), &shape[..1], bias),
        ];
        let both = |value: usize, count: usize| vec![value as i64; count];
        let attributes = vec![
            AttributeProto::int("group", conv.groups as i64),
            AttributeProto::ints("kernel_shape", both(conv.kernel, 2)),
            AttributeProto::ints("pads", both(conv.kernel / 2, 4)),
            AttributeProto::ints("strides", both(conv.stride, 2)),
        ];
        self.current = self.node(name.to_owned(), "Conv", inputs, attributes);
    }

    fn squeeze_excite(
        &mut self,
        place: &str,
        source: &str,
        channels: usize,
        squeeze: usize,
    ) -> Result<()> {
        let input = self.current.clone();
        let plain = Conv { kernel: 1, stride: 1, groups: 1, activation: Activation::None };
        self.step(format!("{place}/mean"), "GlobalAveragePool");
        for (name, shape) in
            [("reduce", [squeeze, channels, 1, 1]), ("expand", [channels, squeeze, 1, 1])]
        {
            let weight = numbers(self.weights, &format!("{source}.{name}.weight"))?;
            let bias = numbers(self.weights, &format!("{source}.{name}.bias"))?;
            self.conv(&format!("{place}/{name}"), plain, shape, weight, bias);
            if name == "reduce" {
                self.step(format!("{place}/relu"), "Relu");
            }
        }
        let gate = self.hard_sigmoid(place);
        self.current = self.node(format!("{place}/scale"), "Mul", vec![input, gate], vec![]);
        Ok(())
    }

    fn linear(&mut self, place: &str, source: &str, shape: [usize; 2], bias: bool) -> Result<()> {
        let name = format!("{place}/gemm");
        let weight = numbers(self.weights, &format!("{source}.weight"))?;
        let mut inputs =
            vec![self.current.clone(), self.constant(format!("{name}.weight"), &shape, weight)];
        if bias {
            let bias = numbers(self.weights, &format!("{source}.bias"))?;
            inputs.push(self.constant(format!("{name}.bias"), &shape[..1], bias));
        }
        self.current = self.node(name, "Gemm", inputs, vec![AttributeProto::int("transB", 1)]);
        Ok(())
    }

    /// h-swish is written as `HardSigmoid` and `Mul`: ONNX Runtime fuses the pair into the convolution before it and
    /// keeps our names, whereas it expands the function `HardSwish` into the same pair under names of its own.
    fn activation(&mut self, place: &str, activation: Activation) {
        match activation {
            Activation::None => {}
            Activation::Relu => self.step(format!("{place}/relu"), "Relu"),
            Activation::Relu6 => {
                let name = format!("{place}/relu6");
                let inputs = vec![
                    self.current.clone(),
                    self.constant(format!("{name}.min"), &[], &[0.0]),
                    self.constant(format!("{name}.max"), &[], &[6.0]),
                ];
                self.current = self.node(name, "Clip", inputs, vec![]);
            }
            Activation::HSwish => {
                let input = self.current.clone();
                let gate = self.hard_sigmoid(place);
                self.current =
                    self.node(format!("{place}/hswish"), "Mul", vec![input, gate], vec![]);
            }
        }
    }

    fn hard_sigmoid(&mut self, place: &str) -> String {
        let attributes =
            vec![AttributeProto::float("alpha", 1.0 / 6.0), AttributeProto::float("beta", 0.5)];
        let inputs = vec![self.current.clone()];
        self.node(format!("{place}/hsigmoid"), "HardSigmoid", inputs, attributes)
    }

    /// `[N, C, 1, 1]` to `[N, C]`, unless that is done.
    fn flatten(&mut self, place: &str) {
        if !self.flat {
            self.step(format!("{place}/flatten"), "Flatten");
            self.flat = true;
        }
    }

    /// `[N, C]` back to `[N, C, 1, 1]`, for an image operation after a linear map.
    fn unflatten(&mut self, place: &str) {
        if self.flat {
            let name = format!("{place}/unflatten");
            let axes = format!("{name}.axes");
            let raw_data = [2_i64, 3].iter().flat_map(|axis| axis.to_le_bytes()).collect();
            self.constants.push(TensorProto {
                name: axes.clone(),
                dims: vec![2],
                data_type: INT64,
                raw_data,
            });
            let inputs = vec![self.current.clone(), axes];
            self.current = self.node(name, "Unsqueeze", inputs, vec![]);
            self.flat = false;
        }
    }

    /// A node that reads the current tensor and nothing else.
    fn step(&mut self, name: String, op: &str) {
        let inputs = vec![self.current.clone()];
        self.current = self.node(name, op, inputs, vec![]);
    }

    /// Adds a node; returns the name of its output.
    fn node(
        &mut self,
        name: String,
        op: &str,
        input: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let output = format!("{name}:0");
        self.nodes.push(NodeProto {
            input,
            output: vec![output.clone()],
            name,
            op_type: op.to_owned(),
            attribute,
            domain: String::new(),
        });
        output
    }

    fn constant(&mut self, name: String, shape: &[usize], data: &[f32]) -> String {
        self.constants.push(TensorProto {
            dims: shape.iter().map(|&side| side as i64).collect(),
            data_type: FLOAT,
            name: name.clone(),
            raw_data: Tensor::bytes(data),
        });
        name
    }
}
