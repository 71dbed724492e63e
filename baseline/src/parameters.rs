//! What is learnt: tensors of `scff` as variables of the library, and their optimiser.

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use ndarray::ArrayD;
use scff::batch::Step;
use scff::layer::{self, LayerState, Tensors};
use scff::optimizer::Update;

/// The tensors of a layer or of a readout, with the moments of their optimiser.
pub struct Parameters {
    variables: Vec<Variable>,
}

struct Variable {
    /// As it was when it came; its values are out of date.
    tensor: layer::Tensor,
    values: Var,
    moments: [Vec<f32>; 2],
}

impl Parameters {
    /// Variables of these values, with moments of zero.
    pub fn new(tensors: &Tensors) -> Result<Self> {
        let variable = |tensor: &layer::Tensor| {
            let values = numbers(tensor);
            let zeros = vec![0.0; values.len()];
            Variable::new(tensor, values, [zeros.clone(), zeros])
        };
        Ok(Self { variables: tensors.iter().map(variable).collect::<Result<_>>()? })
    }

    /// Variables as they were when [`Self::state`] gave them.
    pub fn of_state(state: &LayerState) -> Result<Self> {
        let LayerState { parameters, first_moments, second_moments, .. } = state;
        let all = parameters.iter().zip(first_moments.iter().zip(second_moments.iter()));
        let variable = |(tensor, (first, second))| {
            Variable::new(tensor, numbers(tensor), [numbers(first), numbers(second)])
        };
        Ok(Self { variables: all.map(variable).collect::<Result<_>>()? })
    }

    /// The tensors with the values that they have now.
    pub fn tensors(&self) -> Result<Tensors> {
        self.variables.iter().map(|variable| Ok(variable.of(variable.numbers()?))).collect()
    }

    /// What is carried from one step to the next, after so many.
    pub fn state(&self, step: Step) -> Result<LayerState> {
        let moments = |which: usize| -> Tensors {
            self.variables.iter().map(|variable| variable.of(variable.moments[which].clone())).collect()
        };
        Ok(LayerState {
            step,
            parameters: self.tensors()?,
            first_moments: moments(0),
            second_moments: moments(1),
        })
    }

    /// The variable of this name.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn get(&self, name: &str) -> &Tensor {
        let variable = self.variables.iter().find(|variable| variable.tensor.name == name);
        variable.unwrap_or_else(|| panic!("a tensor `{name}`")).values.as_tensor()
    }

    /// All variables, in the order of their tensors.
    #[cfg(test)]
    pub(crate) fn variables(&self) -> impl Iterator<Item = &Var> {
        self.variables.iter().map(|variable| &variable.values)
    }

    /// One step of AdamW; what has no gradient stays as it is.
    pub fn update(
        &mut self,
        gradients: &GradStore,
        learning_rate: f64,
        weight_decay: f64,
        step: Step,
    ) -> Result<()> {
        let update = Update::new(learning_rate, weight_decay, step);
        for variable in &mut self.variables {
            let Some(gradient) = gradients.get(&variable.values) else { continue };
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            let mut values = variable.numbers()?;
            let [first, second] = &mut variable.moments;
            update.apply(&mut values, first, second, &gradient, 0.0);
            let shape = variable.values.shape().clone();
            variable.values.set(&Tensor::from_vec(values, shape, &Device::Cpu)?)?;
        }
        Ok(())
    }
}

impl Variable {
    fn new(tensor: &layer::Tensor, values: Vec<f32>, moments: [Vec<f32>; 2]) -> Result<Self> {
        let values = Var::from_vec(values, tensor.values.shape(), &Device::Cpu)?;
        Ok(Self { values, tensor: tensor.clone(), moments })
    }

    /// A tensor of its name and shape.
    fn of(&self, values: Vec<f32>) -> layer::Tensor {
        let values = ArrayD::from_shape_vec(self.tensor.values.raw_dim(), values);
        layer::Tensor { values: values.expect("as many numbers as before"), ..self.tensor }
    }

    fn numbers(&self) -> Result<Vec<f32>> {
        self.values.flatten_all()?.to_vec1()
    }
}

fn numbers(tensor: &layer::Tensor) -> Vec<f32> {
    tensor.values.iter().copied().collect()
}
