//! What stands in the place of the module `cuda` in a build without it.

use crate::Error;
use crate::device::Device;
use std::sync::Arc;

/// What a GPU's name begins with.
pub const PREFIX: &str = "cuda:";

/// A build without CUDA opens nothing and says so; `None` where the name is none of a GPU.
pub fn open(name: &str) -> Option<Result<Arc<dyn Device>, Error>> {
    let asked = name == "cuda" || name.starts_with(PREFIX);
    asked.then(|| {
        let reason = "this build has no CUDA; build with the feature `cuda`".to_owned();
        Err(Error::Device { device: name.to_owned(), reason })
    })
}

/// As [`open`].
#[cfg(feature = "gpu")]
pub fn backend(name: &str) -> Option<Result<Box<dyn crate::gpu::Backend>, Error>> {
    open(name).map(|opened| Err(opened.err().expect("nothing is opened")))
}

/// None.
pub fn names() -> Vec<String> {
    vec![]
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_gpu_is_refused_with_the_feature_that_it_needs() {
        assert!(super::open("cpu").is_none());
        assert!(super::open("cuda:0").unwrap().err().unwrap().to_string().contains("`cuda`"));
    }
}
