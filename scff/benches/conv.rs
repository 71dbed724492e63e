use ndarray::linalg::general_mat_mul;
use ndarray::parallel::prelude::*;
use ndarray::{Array2, Axis};
use scff::batch::{Epoch, Step};
use scff::goodness::LossParameters;
use scff::layer::*;
use scff::optimizer::OptimizerParameters;
use scff::seed::{NO_LAYER, Purpose, Seed, symmetric};
use scff::train::*;
use std::sync::Arc;
use std::time::Instant;
const H: Hyperparameters = Hyperparameters {
    loss: LossParameters { theta_pos: 4.0, theta_neg: 6.0, lambda: 1e-4 },
    optimizer: OptimizerParameters { learning_rate: 0.003, weight_decay: 1e-4, gamma: 0.9, period: 1000 },
};
fn rows(salt: u64, n: usize, e: usize) -> Array2<f32> {
    let mut random = Seed(salt).stream(Purpose::Augmentation, NO_LAYER, Epoch(0), Step(0));
    Array2::from_shape_simple_fn((n, e), || symmetric(&mut random, 1.0))
}
fn spec(
    side: usize,
    cin: usize,
    cout: usize,
    k: usize,
    pairs: PairSource,
    transmit: Transmit,
    block: usize,
) -> LayerSpec {
    let map = LinearMap::Conv(Conv {
        input: MapShape { height: side, width: side, channels: cin },
        channels: cout,
        kernel: k,
        padding: k / 2,
    });
    let pool = Some(if cout == 1536 {
        Pool { kind: PoolKind::Average, size: 2, stride: 2, padding: 0 }
    } else {
        Pool { kind: PoolKind::Max, size: 4, stride: 2, padding: 1 }
    });
    LayerSpec { name: "c".into(), map, pairs, transmit, pool, readout_pool: None, block }
}
fn layer(spec: LayerSpec) -> TrainingLayer {
    let mut random = Seed(3).stream(Purpose::Initialization, NO_LAYER, Epoch(0), Step(0));
    let state = LayerState::initial(&spec.map, &mut random);
    TrainingLayer::new(spec, H, &state).unwrap()
}
fn med(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}
fn gemm(m: usize, n: usize, k: usize, trans: bool) -> f64 {
    // two threads each run one
    let make = |r, c| rows(1, r, c);
    let data: Vec<_> = (0..2)
        .map(|_| {
            if trans {
                (make(k, m), make(k, n), Array2::<f32>::zeros((m, n)))
            } else {
                (make(m, k), make(n, k), Array2::<f32>::zeros((m, n)))
            }
        })
        .collect();
    let reps = (4e9 / (2.0 * m as f64 * n as f64 * k as f64)).ceil() as usize;
    let mut data = data;
    let t = Instant::now();
    data.par_iter_mut().for_each(|(a, b, c)| {
        for _ in 0..reps {
            if trans {
                general_mat_mul(1.0, &a.t(), b, 1.0, c)
            } else {
                general_mat_mul(1.0, a, &b.t(), 0.0, c)
            }
        }
    });
    2.0 * reps as f64 * 2.0 * (m * n * k) as f64 / t.elapsed().as_secs_f64() / 1e9
}
fn main() {
    scff::blas::use_one_thread_per_call();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        println!("{} sgemm2048 {:.0}", scff::blas::kernel(), gemm(2048, 2048, 2048, false));
        if std::env::var("SHAPES").is_ok() {
            for (m, n, k) in [
                (1024, 96, 75),
                (512, 96, 75),
                (256, 96, 75),
                (1024, 96, 80),
                (512, 384, 864),
                (256, 384, 864),
                (1024, 384, 864),
                (512, 192, 864),
                (448, 384, 3456),
                (448, 1536, 3456),
                (448, 768, 3456),
                (320, 1536, 3456),
                (640, 1536, 3456),
            ] {
                println!("fwd {m}x{n}x{k}: {:.0}", gemm(m, n, k, false));
            }
            for (m, n, k) in [
                (96, 75, 1024),
                (96, 75, 512),
                (384, 864, 512),
                (384, 864, 1024),
                (192, 864, 512),
                (384, 3456, 448),
                (384, 3456, 512),
                (768, 3456, 448),
                (1536, 3456, 448),
                (1536, 3456, 320),
                (1536, 3456, 640),
                (384, 3456, 640),
                (384, 3456, 320),
            ] {
                println!("grad {m}x{n}x{k}: {:.0}", gemm(m, n, k, true));
            }
        }
        let b: Vec<usize> = std::env::var("BLOCKS")
            .unwrap_or("96,384,384".into())
            .split(',')
            .map(|x| x.parse().unwrap())
            .collect();
        let l1 = || spec(32, 3, 96, 5, PairSource::Makes, Transmit::Triangle, b[0]);
        let l2 = || spec(16, 96, 384, 3, PairSource::Takes, Transmit::Triangle, b[1]);
        let l3 = || spec(8, 384, 1536, 3, PairSource::Makes, Transmit::Relu, b[2]);
        let gf = [
            2.0 * 2.0 * 100.0 * 7.3728e-3,
            2.0 * 100.0 * 7.3728e-3 + 2.0 * 2.0 * 200.0 * 84.93e-3,
            2.0 * 2.0 * 100.0 * 339.7e-3,
        ];
        let mut stages = [
            TrainingStage::new(vec![], layer(l1())),
            TrainingStage::new(vec![Arc::new(layer(l1()).freeze())], layer(l2())),
            TrainingStage::new(vec![], layer(l3())),
        ];
        let inputs = [rows(1, 100, 3072), rows(1, 100, 3072), rows(1, 100, 24576)];
        for (i, stage) in stages.iter_mut().enumerate() {
            let n = [40, 12, 8][i];
            let mut t = vec![];
            for _ in 0..n {
                let x = inputs[i].clone();
                let s = Instant::now();
                stage.step(x, false, &[7]);
                t.push(s.elapsed().as_secs_f64() * 1e3);
            }
            let m = med(t);
            println!("layer {}: {m:.1} ms, {:.0} GF/s", i + 1, gf[i] / m * 1e3);
        }
        // parts
        for (i, s) in [l1(), l2(), l3()].into_iter().enumerate() {
            let mut layer = layer(s.clone());
            let n = if i == 1 { 200 } else { 100 };
            let x = rows(1, n, s.map.inputs());
            let input = if i == 1 {
                scff::pair::PairedRows::take(scff::pair::PairActivations { rows: x, positives: 100 }, &s.map)
            } else {
                scff::pair::PairedRows::make(x, &s.map, false, &[7])
            };
            let (mut f, mut g, mut bw) = (vec![], vec![], vec![]);
            for _ in 0..8 {
                let t = Instant::now();
                let p = layer.forward(&input);
                f.push(t.elapsed().as_secs_f64() * 1e3);
                let t = Instant::now();
                let good = p.total(s.map.channels(), input.pairs().len());
                let l = scff::goodness::loss_and_gradient(&good, input.positives(), &H.loss);
                std::hint::black_box(l);
                g.push(t.elapsed().as_secs_f64() * 1e3);
                let t = Instant::now();
                layer.backward(&input, &good);
                bw.push(t.elapsed().as_secs_f64() * 1e3);
            }
            println!("layer {}: forward {:.1} loss {:.1} backward {:.1}", i + 1, med(f), med(g), med(bw));
        }
        let _ = Axis(0);
    });
}
