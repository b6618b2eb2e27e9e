//! Which arithmetic each part of a model has.

use crate::device::Precision;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A part of a model whose arithmetic can be chosen apart from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The block with this index: its matrices.
    Layer(u32),
    /// What belongs to no block: the matrix in front of the logits.
    Head,
    /// The KV caches of all blocks.
    Caches,
}

impl Part {
    /// The part that a step of a program belongs to, by its layer ([`jet_codegen::program::Step::layer`]).
    pub fn of_layer(layer: Option<u32>) -> Self {
        layer.map_or(Self::Head, Self::Layer)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer) => f.pad(&layer.to_string()),
            Self::Head => f.pad("head"),
            Self::Caches => f.pad("caches"),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "head" => Ok(Self::Head),
            "caches" => Ok(Self::Caches),
            layer => layer.parse().map(Self::Layer).map_err(|_| {
                format!("`{layer}` is no part of a model; expected a layer's index, head or caches")
            }),
        }
    }
}

/// The precision of each part of a model: one for all, and what differs from it.
///
/// ```
/// use jet_runtime::device::Precision;
/// use jet_runtime::recipe::{Part, Recipe};
///
/// let recipe = Recipe::from(Precision::F32).with(Part::Layer(2), Precision::Native);
/// assert_eq!(recipe.of(Part::Layer(2)), Precision::Native);
/// assert_eq!(recipe.of(Part::Head), Precision::F32);
/// assert_eq!(recipe.to_string(), "f32, 2 native");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Recipe {
    default: Precision,
    /// Only what differs from the default, so that equal recipes are equal values.
    parts: BTreeMap<Part, Precision>,
}

impl Recipe {
    /// What the parts have that are not listed.
    pub fn default_precision(&self) -> Precision {
        self.default
    }

    /// The precision of one part.
    pub fn of(&self, part: Part) -> Precision {
        self.parts.get(&part).copied().unwrap_or(self.default)
    }

    /// The same with another precision for one part.
    #[must_use]
    pub fn with(mut self, part: Part, precision: Precision) -> Self {
        if precision == self.default {
            self.parts.remove(&part);
        } else {
            self.parts.insert(part, precision);
        }
        self
    }

    /// The parts that differ from the default, in order.
    pub fn exceptions(&self) -> impl ExactSizeIterator<Item = (Part, Precision)> + '_ {
        self.parts.iter().map(|(part, precision)| (*part, *precision))
    }

    /// The one precision of all parts, where there is one.
    pub fn uniform(&self) -> Option<Precision> {
        self.parts.is_empty().then_some(self.default)
    }
}

impl From<Precision> for Recipe {
    fn from(default: Precision) -> Self {
        Self { default, parts: BTreeMap::new() }
    }
}

impl From<&Recipe> for Recipe {
    fn from(recipe: &Recipe) -> Self {
        recipe.clone()
    }
}

/// `f32, 0-3+7+head native, 8 bf16`: the default, then what differs, precision by precision.
impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.default.name())?;
        for (name, precision) in Precision::ALL {
            let parts: Vec<Part> =
                self.exceptions().filter(|(_, p)| p == precision).map(|(part, _)| part).collect();
            if !parts.is_empty() {
                write!(f, ", {} {name}", ranges(&parts))?;
            }
        }
        Ok(())
    }
}

/// Layers that follow each other as `first-last`, everything joined by `+`.
fn ranges(parts: &[Part]) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut run: Option<(u32, u32)> = None;
    let close = |run: Option<(u32, u32)>, out: &mut Vec<String>| match run {
        Some((first, last)) if first == last => out.push(first.to_string()),
        Some((first, last)) => out.push(format!("{first}-{last}")),
        None => {}
    };
    for part in parts {
        match (part, run) {
            (Part::Layer(layer), Some((first, last))) if *layer == last + 1 => run = Some((first, *layer)),
            (Part::Layer(layer), _) => {
                close(run, &mut out);
                run = Some((*layer, *layer));
            }
            (other, _) => {
                close(run.take(), &mut out);
                out.push(other.to_string());
            }
        }
    }
    close(run, &mut out);
    out.join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_with_the_default_is_no_exception() {
        let plain = Recipe::from(Precision::F32);
        let mixed = plain.clone().with(Part::Layer(1), Precision::Bf16);
        assert_eq!((plain.uniform(), mixed.uniform()), (Some(Precision::F32), None));
        assert_eq!(mixed.with(Part::Layer(1), Precision::F32), plain);
    }

    #[test]
    fn a_recipe_prints_its_runs_of_layers() {
        let mut recipe = Recipe::from(Precision::F32).with(Part::Head, Precision::Native);
        for layer in [0, 1, 2, 7] {
            recipe = recipe.with(Part::Layer(layer), Precision::Native);
        }
        recipe = recipe.with(Part::Layer(8), Precision::Bf16).with(Part::Caches, Precision::Bf16);
        assert_eq!(recipe.to_string(), "f32, 8+caches bf16, 0-2+7+head native");
        assert_eq!(Recipe::from(Precision::Native).to_string(), "native");
    }

    #[test]
    fn parts_are_read_as_they_are_printed() {
        for part in [Part::Layer(0), Part::Layer(41), Part::Head, Part::Caches] {
            assert_eq!(part.to_string().parse(), Ok(part));
        }
        assert!("tail".parse::<Part>().unwrap_err().contains("head or caches"));
    }
}
