//! The compiled kernels of GPU tasks, bound to their entries by content.

use crate::common::output;
use jet_cache::{Contents, CubinRef, Digest, Entry, StoreKey};
use jet_codegen::nvrtc::CubinStore;
use jet_codegen::schedule::{Problem, Values};
use jet_runtime::gpu::{Shippable, Shipping};
use std::collections::{BTreeMap, BTreeSet};

/// A kernel that an entry wants.
struct Wanted {
    entry: StoreKey,
    source: Shippable,
}

/// Binds a kernel to each entry of a GPU that has none of its present source, compiled unless `store` has it. Gives the
/// tasks that stay without, with the reason.
pub(super) fn bind(all: &mut Contents, store: Option<&CubinStore>) -> Vec<String> {
    let mut failed = Vec::new();
    let mut devices: BTreeMap<String, (Shipping, Vec<Wanted>)> = BTreeMap::new();
    for (key, entry) in &all.entries {
        match wanted(entry, |digest| all.cubins.contains_key(digest)) {
            None => {}
            Some(Ok((shipping, source))) => {
                let name = format!("{} {}", entry.key.fields().device.kind, shipping.arch());
                let (_, list) = devices.entry(name).or_insert_with(|| (shipping, Vec::new()));
                list.push(Wanted { entry: *key, source });
            }
            Some(Err(why)) => failed.push(format!("{}: {why}", entry.key)),
        }
    }
    for (device, (shipping, wanted)) in devices {
        let sources: BTreeSet<Shippable> = wanted.iter().map(|w| w.source.clone()).collect();
        let sources: Vec<Shippable> = sources.into_iter().collect();
        output::complain(&format!("{} kernels for {device} …", sources.len()));
        let compiled = shipping.compile(&sources, store);
        let named: BTreeMap<&Shippable, _> = sources.iter().zip(compiled).collect();
        for w in &wanted {
            let Some(entry) = all.entries.get_mut(&w.entry) else { continue };
            match &named[&w.source] {
                Ok(bytes) => {
                    let digest = Digest::of(bytes);
                    all.cubins.entry(digest).or_insert_with(|| bytes.clone());
                    let (kernel, arch) = (w.source.name.clone(), shipping.arch().to_owned());
                    entry.cubins.retain(|c| c.kernel != kernel);
                    entry.cubins.push(CubinRef { kernel, arch, digest });
                    entry.cubins.sort();
                }
                Err(why) => failed.push(format!("{}: {why}", entry.key)),
            }
        }
    }
    failed
}

/// The source that is still to be compiled for `entry`; nothing where it has its kernel, or where its device has none.
fn wanted(entry: &Entry, there: impl Fn(&Digest) -> bool) -> Option<Result<(Shipping, Shippable), String>> {
    let fields = entry.key.fields();
    let shipping = match Shipping::to(&fields.device.kind, &fields.device.facts)? {
        Ok(shipping) => shipping,
        Err(why) => return Some(Err(why.to_string())),
    };
    let problem =
        Problem { family: fields.family.clone(), dims: fields.dims.clone(), format: fields.format.clone() };
    match shipping.source(&problem, &Values(entry.schedule.clone())) {
        Ok(source) if entry.cubins.iter().any(|c| c.kernel == source.name && there(&c.digest)) => None,
        Ok(source) => Some(Ok((shipping, source))),
        Err(why) => Some(Err(why.to_string())),
    }
}
