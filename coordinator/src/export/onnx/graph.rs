//! A graph that is built node by node.

use super::messages::{
    Attribute, Dimension, Graph, Length, Node, Tensor, TensorShape, TensorType, Type, ValueInfo, ValueType,
};

/// The name of a value of the graph.
pub type Value = String;

/// A side of a value: so long, or as long as the input says by this name.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// So long.
    Fixed(usize),
    /// As it comes.
    Named(&'static str),
}

/// A graph to which nodes are added in the order in which they are computed.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    /// Before the names of values, so that those of graphs within graphs differ.
    prefix: String,
}

impl Builder {
    /// An empty graph of this name.
    pub fn new(name: &str) -> Self {
        let graph = Graph { name: name.to_owned(), ..Graph::default() };
        Self { graph, prefix: String::new() }
    }

    /// An empty graph of a name that no other has, for a node of a graph whose constants it may read.
    pub fn within(name: &str) -> Self {
        Self { prefix: format!("{name}."), ..Self::new(name) }
    }

    /// The graph.
    pub fn finish(self) -> Graph {
        self.graph
    }

    /// Adds a node; its only result.
    pub fn node(&mut self, operator: &str, inputs: &[&Value], attributes: Vec<Attribute>) -> Value {
        self.nodes(operator, inputs, attributes, 1).remove(0)
    }

    /// Adds a node; its results.
    pub fn nodes(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attribute: Vec<Attribute>,
        outputs: usize,
    ) -> Vec<Value> {
        let name = format!("{}{operator}.{}", self.prefix, self.graph.node.len());
        let output: Vec<Value> = (0..outputs).map(|output| format!("{name}.{output}")).collect();
        self.graph.node.push(Node {
            input: inputs.iter().map(|&input| input.clone()).collect(),
            output: output.clone(),
            name,
            op_type: operator.to_owned(),
            attribute,
        });
        output
    }

    /// A constant array of single precision.
    pub fn floats(&mut self, shape: &[usize], values: impl IntoIterator<Item = f32>) -> Value {
        self.constant(Type::Float, shape, values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    /// A constant number of double precision.
    pub fn double(&mut self, value: f64) -> Value {
        self.constant(Type::Double, &[], value.to_le_bytes().to_vec())
    }

    /// Constant whole numbers.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(Type::Int64, &[values.len()], bytes)
    }

    fn constant(&mut self, kind: Type, shape: &[usize], raw_data: Vec<u8>) -> Value {
        let name = format!("{}constant.{}", self.prefix, self.graph.initializer.len());
        let dims = shape.iter().map(|&side| side as i64).collect();
        self.graph.initializer.push(Tensor { dims, data_type: kind as i32, name: name.clone(), raw_data });
        name
    }

    /// An input of single precision.
    pub fn input(&mut self, name: &str, shape: &[Side]) -> Value {
        let name = format!("{}{name}", self.prefix);
        self.graph.input.push(described(&name, shape));
        name
    }

    /// Makes a value an output of this name.
    pub fn output(&mut self, name: &str, value: &Value, shape: &[Side]) {
        let name = format!("{}{name}", self.prefix);
        self.graph.node.push(Node {
            input: vec![value.clone()],
            output: vec![name.clone()],
            name: format!("output.{name}"),
            op_type: "Identity".to_owned(),
            attribute: Vec::new(),
        });
        self.graph.output.push(described(&name, shape));
    }
}

fn described(name: &str, shape: &[Side]) -> ValueInfo {
    let dimension = |side: &Side| {
        let length = match side {
            Side::Fixed(length) => Length::Fixed(*length as i64),
            Side::Named(name) => Length::Named((*name).to_owned()),
        };
        Dimension { value: Some(length) }
    };
    let shape = TensorShape { dim: shape.iter().map(dimension).collect() };
    let tensor_type = TensorType { elem_type: Type::Float as i32, shape: Some(shape) };
    ValueInfo { name: name.to_owned(), kind: Some(ValueType { tensor_type: Some(tensor_type) }) }
}
