//! Checkpoints against models: the stored ones load, and every way of not fitting is named, all faults at once.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;

use common::vectors;
use jet_models::dsl::ModelSpec;
use jet_models::dsl::import::hf;
use jet_models::dsl::weight::{Role, WeightRef};
use jet_models::weights::safetensors::{TensorData, write};
use jet_models::weights::{Checkpoint, Error, RandomWeights, Safetensors, WeightSource};
use jet_numerics::{DType, first_non_finite};
use std::collections::BTreeMap;
use std::path::Path;

const FOLDERS: [&str; 13] = [
    "jet/tiny_model",
    "jet/tiny_model_bf16",
    "nemotron_h/two_layer",
    "nemotron_h/two_layer_bf16_sharded",
    "nemotron_h/tiny_m_star_mlp",
    "nemotron_h/tiny_m_wide",
    "nemotron_h/tiny_bias_clamp",
    "nemotron_h/tiny_moe",
    "nemotron_h/tiny_moe_groups_latent",
    "dense/tiny_llama",
    "dense/tiny_llama_untied_bias",
    "dense/tiny_qwen2",
    "dense/tiny_qwen3",
];

fn spec(folder: &str) -> ModelSpec {
    let text = std::fs::read_to_string(vectors(folder).join("config.json")).unwrap();
    hf::import(&text, folder.rsplit('/').next().unwrap()).unwrap().0
}

#[test]
fn every_stored_checkpoint_fits_its_config() {
    for folder in FOLDERS {
        let spec = spec(folder);
        let checkpoint = Checkpoint::open(&spec, &vectors(folder)).unwrap_or_else(|e| panic!("{e}"));
        checkpoint.check_finite().unwrap();
        let mut bytes = 0;
        for decl in spec.weights() {
            let tensor = checkpoint.get(decl.id).unwrap();
            assert_eq!(tensor.shape[..], decl.shape.0[..], "{folder} {}", decl.name);
            assert_eq!(checkpoint.info(decl.id).unwrap().dtype, tensor.dtype);
            assert_eq!(tensor.to_f32().len() as u64, decl.shape.elements());
            bytes += tensor.bytes.len() as u64;
            checkpoint.release(decl.id);
            assert_eq!(
                checkpoint.get(decl.id).unwrap().to_f32(),
                tensor.to_f32(),
                "released pages come back"
            );
        }
        assert_eq!(checkpoint.total_bytes().unwrap(), bytes);
    }
}

#[test]
fn a_weight_the_model_does_not_have_is_an_error() {
    let spec = spec("dense/tiny_llama");
    let checkpoint = Checkpoint::open(&spec, &vectors("dense/tiny_llama")).unwrap();
    let none = checkpoint.get(WeightRef { layer: Some(1), role: Role::ALog }).unwrap_err().to_string();
    assert_eq!(none, "the model `tiny_llama` has no weight `ALog` in block 1");
    assert!(checkpoint.get(WeightRef { layer: None, role: Role::LmHead }).is_err(), "the head is tied");
}

/// A tensor as it is written, owned.
#[derive(Clone)]
struct Item {
    name: String,
    dtype: DType,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

fn items(path: &Path) -> Vec<Item> {
    let file = Safetensors::open(path).unwrap();
    let entries = file.table().entries().iter();
    let item = |name: &str| {
        let t = file.tensor(name).unwrap();
        Item { name: name.to_owned(), dtype: t.dtype, shape: t.shape.to_vec(), bytes: t.bytes.to_vec() }
    };
    entries.map(|e| item(&e.name)).collect()
}

/// The faults of a copy of `folder` whose tensors `change` has changed; `Ok` where it loads.
fn changed(folder: &str, change: impl FnOnce(&mut Vec<Item>)) -> Result<(), String> {
    let mut items = items(&vectors(folder).join("model.safetensors"));
    change(&mut items);
    let dir = tempfile::tempdir().unwrap();
    let data: Vec<_> = items
        .iter()
        .map(|i| TensorData { name: &i.name, dtype: i.dtype, shape: &i.shape, bytes: &i.bytes })
        .collect();
    write(&dir.path().join("model.safetensors"), &BTreeMap::new(), &data).unwrap();
    let checkpoint = Checkpoint::open(&spec(folder), dir.path()).map_err(|e| e.to_string())?;
    checkpoint.check_finite().map_err(|e| e.to_string())
}

fn of<'a>(items: &'a mut [Item], name: &str) -> &'a mut Item {
    items.iter_mut().find(|i| i.name == name).unwrap()
}

#[test]
fn all_faults_come_together() {
    let error = changed("dense/tiny_llama", |items| {
        items.retain(|i| i.name != "model.norm.weight");
        let mut extra = of(items, "model.layers.0.mlp.up_proj.weight").clone();
        extra.name = "model.layers.9.mlp.up_proj.weight".to_owned();
        let shape = extra.shape.clone();
        items.push(extra);
        of(items, "model.layers.0.mlp.up_proj.weight").shape = vec![shape[1], shape[0]];
        let k = of(items, "model.layers.1.self_attn.k_proj.weight");
        k.dtype = DType::I32;
    })
    .unwrap_err();
    for expected in [
        "4 faults for the model `tiny_llama`",
        "`model.norm.weight` is missing; expected shape [72]",
        "`model.layers.9.mlp.up_proj.weight` ",
        "belongs to no weight of the model",
        "model.safetensors: `model.layers.0.mlp.up_proj.weight` has shape [72, ",
        "`model.layers.1.self_attn.k_proj.weight` is stored as i32",
    ] {
        assert!(error.contains(expected), "{error}\nshould contain {expected:?}");
    }
}

#[test]
fn other_spellings_are_accepted_but_not_twice() {
    let rename = |items: &mut Vec<Item>, from: &str, to: &str| {
        items.iter_mut().for_each(|i| i.name = i.name.replace(from, to));
    };
    changed("nemotron_h/two_layer", |i| {
        rename(i, "backbone.", "model.");
        rename(i, "embeddings.weight", "embedding.weight");
    })
    .unwrap();
    changed("dense/tiny_qwen3", |i| rename(i, "model.", "")).unwrap();
    let error = changed("nemotron_h/two_layer", |items| {
        let mut twin = of(items, "backbone.norm_f.weight").clone();
        twin.name = "model.norm_f.weight".to_owned();
        items.push(twin);
    })
    .unwrap_err();
    assert!(error.contains("`backbone.norm_f.weight`") && error.contains("are the same weight"), "{error}");
}

#[test]
fn idle_tensors_are_skipped() {
    changed("nemotron_h/two_layer", |items| {
        for name in ["mtp.layers.0.norm.weight", "backbone.layers.0.mixer.rotary_emb.inv_freq"] {
            items.push(Item { name: name.to_owned(), dtype: DType::F32, shape: vec![1], bytes: vec![0; 4] });
        }
    })
    .unwrap();
}

#[test]
fn a_tied_head_may_be_there_if_it_is_the_embedding() {
    let head = |items: &mut Vec<Item>| {
        let mut head = of(items, "model.embed_tokens.weight").clone();
        head.name = "lm_head.weight".to_owned();
        items.push(head);
    };
    changed("jet/tiny_model", head).unwrap();
    let error = changed("jet/tiny_model", |items| {
        head(items);
        of(items, "lm_head.weight").bytes[0] ^= 1;
    })
    .unwrap_err();
    assert!(error.contains("`lm_head.weight` differs from the embedding"), "{error}");
}

#[test]
fn numbers_that_are_none_are_found() {
    let error = changed("dense/tiny_qwen2", |items| {
        let norm = of(items, "model.norm.weight");
        let at = norm.bytes.len() - 4;
        norm.bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
        let up = of(items, "model.layers.2.mlp.up_proj.weight");
        let cols = up.shape[1] as usize;
        up.bytes[4 * (3 * cols + 5)..][..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    })
    .unwrap_err();
    assert!(error.contains("2 faults"), "{error}");
    assert!(
        error.contains(
            "`model.layers.2.mlp.up_proj.weight` holds an infinity or NaN, first at row 3, column 5"
        )
    );
    assert!(
        error.contains("`model.norm.weight` holds an infinity or NaN, first at row 0, column 55"),
        "{error}"
    );
}

#[test]
fn a_folder_of_another_model_is_an_error() {
    let error = Checkpoint::open(&spec("dense/tiny_qwen3"), &vectors("dense/tiny_qwen2")).unwrap_err();
    assert!(matches!(error, Error::Mismatch { ref faults, .. } if faults.len() > 10));
    assert!(error.to_string().contains(" more"), "long lists are cut");
}

#[test]
fn random_weights_have_the_true_shapes_and_depend_on_nothing_but_the_seed() {
    for folder in ["jet/tiny_model", "nemotron_h/tiny_moe_groups_latent", "dense/tiny_qwen2"] {
        let spec = spec(folder);
        let (a, b, c) =
            (RandomWeights::new(&spec, 7), RandomWeights::new(&spec, 7), RandomWeights::new(&spec, 8));
        let mut differ = false;
        for decl in spec.weights().into_iter().rev() {
            let tensor = a.get(decl.id).unwrap();
            assert_eq!((tensor.dtype, &tensor.shape[..]), (DType::Bf16, &decl.shape.0[..]));
            assert_eq!(a.info(decl.id).unwrap().bytes(), tensor.bytes.len() as u64);
            assert_eq!(first_non_finite(tensor.dtype, &tensor.bytes), None, "{}", decl.name);
            assert_eq!(tensor.bytes, b.get(decl.id).unwrap().bytes);
            differ |= tensor.bytes != c.get(decl.id).unwrap().bytes;
        }
        assert!(differ);
        assert_eq!((a.seed(), a.describe().as_str()), (Some(7), "random weights, seed 7"));
    }
}

#[test]
fn random_weights_follow_the_initialisation() {
    let spec = spec("nemotron_h/tiny_m_wide");
    let weights = RandomWeights::with_dtype(&spec, 1, DType::F32);
    let values = |layer, role| weights.get(WeightRef { layer, role }).unwrap().to_f32();
    let layer = spec.layers().find(|(_, c, _)| *c == 'M').map(|(i, ..)| i);
    let within = |v: &[f32], lo: f32, hi: f32| v.iter().all(|x| (lo..=hi).contains(x));
    assert!(within(&values(layer, Role::Norm), 1.0, 1.0) && within(&values(layer, Role::DSkip), 1.0, 1.0));
    assert!(within(&values(layer, Role::ALog), 0.0, 16f32.ln()));
    // softplus(dt_bias) is a step size between 1e-3 and 0.1.
    let steps: Vec<f32> = values(layer, Role::DtBias).iter().map(|b| b.exp().ln_1p()).collect();
    assert!(within(&steps, 0.99e-3, 0.101), "{steps:?}");
    let embedding = values(None, Role::Embedding);
    let deviation = (embedding.iter().map(|x| x * x).sum::<f32>() / embedding.len() as f32).sqrt();
    assert!((deviation - 0.02).abs() < 1e-3, "{deviation}");
    let (a, b) = (values(layer, Role::InProj), values(layer, Role::OutProj));
    assert_ne!(a[..64], b[..64], "no two weights share their values");
}

#[test]
fn random_weights_come_in_block_formats_where_rows_allow() {
    let spec = spec("dense/tiny_qwen3");
    let weights = RandomWeights::with_dtype(&spec, 1, DType::Q8_0);
    let plain = RandomWeights::with_dtype(&spec, 1, DType::F32);
    let dtypes: Vec<DType> = spec.weights().iter().map(|w| weights.info(w.id).unwrap().dtype).collect();
    assert!(dtypes.contains(&DType::F32) && dtypes.contains(&DType::Bf16) && dtypes.contains(&DType::Q8_0));
    for decl in spec.weights() {
        let (a, b) = (weights.get(decl.id).unwrap().to_f32(), plain.get(decl.id).unwrap().to_f32());
        let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-3, "{}: {worst}", decl.name);
    }
}
